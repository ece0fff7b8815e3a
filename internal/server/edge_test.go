package server_test

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/limit"
	"github.com/underseal/underseal/internal/server"
)

// limits returns a limiter at a moment that does not pass.
func limits(t *testing.T, rates limit.Rates) func(*server.Config) {
	t.Helper()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	return func(c *server.Config) {
		c.Limits = limit.New(limit.Config{Rates: rates, Now: func() time.Time { return now }})
	}
}

// hour is so many calls an hour, of which a fifth may come at once.
func hour(calls int) limit.Rate { return limit.Rate{Calls: calls, Per: time.Hour} }

func from(r *http.Request, address string) *http.Request {
	r.RemoteAddr = address
	return r
}

func withKey(r *http.Request, key string) *http.Request {
	r.Header.Set("Authorization", "Bearer "+key)
	return r
}

func TestTooManyCallsAreRefusedWithTheTimeToWait(t *testing.T) {
	s := newServer(t, &fakeEngine{}, limits(t, limit.Rates{Tenant: hour(25)}))
	for i := range 5 {
		if w := serve(s, request("GET", "/v1/tasks", "")); w.Code != 200 {
			t.Fatalf("call %d: %d %s", i, w.Code, w.Body)
		}
	}
	w := serve(s, request("GET", "/v1/tasks", ""))
	p := decodeProblem(t, w)
	// 5 at once leave 20 for the hour, so that 21 pauses of it are 171.4 s.
	if p.Status != 429 || p.Code != "too_many_requests" || w.Header().Get("Retry-After") != "172" || !strings.Contains(p.Detail, "tenant") {
		t.Errorf("Retry-After %q, %+v", w.Header().Get("Retry-After"), p)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if w := serve(s, request("GET", path, "")); w.Code != 200 {
			t.Errorf("%s = %d", path, w.Code)
		}
	}
}

// What is plenty for a person is too little for a program. Whatever a person calls with, it
// is theirs: a key that they make themselves is no way round their limit.
func TestTheLimitOfAPersonStopsNoService(t *testing.T) {
	s := newServer(t, &fakeEngine{}, limits(t, limit.Rates{User: hour(15)}))
	person := func() *http.Request {
		return browse("GET", "/v1/tasks", "", "seal.example.org", goodSession, "Sec-Fetch-Site", "same-origin")
	}
	key := func(key string) *http.Request { return withKey(request("GET", "/v1/tasks", ""), key) }
	token := func() *http.Request { return service("acme", goodToken) }
	certificate := func() *http.Request { return service("acme", "", &x509.Certificate{Raw: []byte("leaf")}) }
	for i, call := range []struct {
		request *http.Request
		want    int
		program bool // the hint says how programs call
	}{
		{key(robotKey), 200, false}, {token(), 200, false}, {certificate(), 200, false}, {key(robotKey), 200, false},
		{key(goodKey), 200, false}, {person(), 200, false}, {key(otherKey), 200, false},
		{person(), 429, false}, {key(goodKey), 429, true}, {key(otherKey), 429, true},
		{key(robotKey), 200, false}, {token(), 200, false}, {certificate(), 200, false},
	} {
		w := serve(s, call.request)
		if said := strings.Contains(w.Body.String(), "--kind service"); w.Code != call.want || said != call.program {
			t.Errorf("call %d = %d, want %d, and how programs call: %v: %s", i, w.Code, call.want, call.program, w.Body)
		}
	}
}

// A call that waits for jobs counts once, however long it waits, and no more than any other.
func TestEveryCallCountsOnce(t *testing.T) {
	s := newServer(t, &fakeEngine{}, limits(t, limit.Rates{Key: limit.Rate{}, Tenant: hour(10)}))
	calls := []*http.Request{
		request("POST", "/v1/jobs/activate", `{"type":"t","worker":"w","wait_ms":60000}`),
		request("GET", "/v1/tasks", ""),
		request("GET", "/v1/tasks", ""),
	}
	for i, want := range []int{200, 200, 429} {
		if w := serve(s, calls[i]); w.Code != want {
			t.Errorf("call %d = %d, want %d: %s", i, w.Code, want, w.Body)
		}
	}
}

// Somebody who tries keys from one address is refused before the engine is asked, and
// nobody else notices: neither from other addresses nor with a good key from the same.
func TestWhoGuessesKeysHoldsUpNobodyElse(t *testing.T) {
	e := &fakeEngine{}
	s := newServer(t, e, limits(t, limit.Rates{Address: hour(100)}))
	if w := serve(s, from(request("GET", "/v1/tasks", ""), "192.0.2.1:1")); w.Code != 200 {
		t.Fatalf("before: %d", w.Code)
	}
	codes := map[int]int{}
	for i := range 1000 {
		w := serve(s, from(withKey(request("GET", "/v1/tasks", ""), fmt.Sprintf("usk_guess%d", i)), fmt.Sprintf("192.0.2.1:%d", i+1)))
		codes[w.Code]++
		if others := serve(s, from(request("GET", "/v1/tasks", ""), "192.0.2.2:1")); others.Code != 200 {
			t.Fatalf("guess %d: another address gets %d", i, others.Code)
		}
		if good := serve(s, from(request("GET", "/v1/tasks", ""), "192.0.2.1:1")); good.Code != 200 {
			t.Fatalf("guess %d: a good key behind the same address gets %d", i, good.Code)
		}
	}
	if codes[401] != 20 || codes[429] != 980 {
		t.Errorf("guesses were answered %v", codes)
	}
	if got := e.asked.Load(); got != 1+20+2*1000 {
		t.Errorf("the engine was asked for credentials %d times", got)
	}
}

func TestCallsWithoutCredentialsCount(t *testing.T) {
	for _, c := range []struct {
		name   string
		method string
		path   string
		header string
		first  int
	}{
		{"no credential", "GET", "/v1/tasks", "", 401},
		{"another scheme", "GET", "/v1/tasks", "Basic eDp5", 401},
		{"no such path", "GET", "/v1/none", "", 404},
		{"no such method", "DELETE", "/v1/tasks", "", 405},
		{"the description", "GET", "/openapi.json", "", 200},
		{"a reader's path", "GET", "/log/usl_guess/shards", "", 404},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, &fakeEngine{}, limits(t, limit.Rates{Address: hour(5)}))
			for _, want := range []int{c.first, 429} {
				r := from(request(c.method, c.path, ""), "192.0.2.1:1")
				r.Header.Del("Authorization")
				if c.header != "" {
					r.Header.Set("Authorization", c.header)
				}
				if w := serve(s, r); w.Code != want {
					t.Errorf("%s %s = %d, want %d", c.method, c.path, w.Code, want)
				}
			}
		})
	}
}

// The address of a limit is that which a trusted proxy names, and nobody else may name one.
func TestLimitsGoByTheAddressThatIsBelieved(t *testing.T) {
	for _, c := range []struct {
		peer string
		want int // the answer to the second of two strangers
	}{{"10.0.0.1:1", 401}, {"192.0.2.1:1", 429}} {
		s := newServer(t, &fakeEngine{}, limits(t, limit.Rates{Address: hour(5)}), trusting("10.0.0.0/8"))
		var last int
		for _, caller := range []string{"198.51.100.1", "198.51.100.2"} {
			r := from(withKey(request("GET", "/v1/tasks", ""), "usk_guess"), c.peer)
			r.Header.Set("X-Forwarded-For", caller)
			last = serve(s, r).Code
		}
		if last != c.want {
			t.Errorf("through %s: %d, want %d", c.peer, last, c.want)
		}
	}
}

// Browsers tell where a request comes from; changes from pages of others are refused
// before anything else, also with credentials that are good.
func TestChangesFromOtherSitesAreRefused(t *testing.T) {
	for _, c := range []struct {
		name      string
		site      string // Sec-Fetch-Site
		origin    string
		host      string
		forbidden bool
	}{
		{"a program", "", "", "", false},
		{"our own page", "same-origin", "https://seal.example.org", "", false},
		{"typed in by the person", "none", "", "", false},
		{"another site", "cross-site", "https://evil.example", "", true},
		{"another site that hides its origin", "cross-site", "null", "", true},
		{"a page of a sister domain", "same-site", "https://blog.example.org", "", true},
		{"an old browser, our own page", "", "https://seal.example.org", "", false},
		{"an old browser, another site", "", "https://evil.example", "", true},
		{"an old browser, another port", "", "https://seal.example.org:444", "", true},
		{"an old browser, a sandboxed frame", "", "null", "", true},
		{"our own page on a port", "", "http://seal.example.org:8700", "seal.example.org:8700", false},
	} {
		for method, path := range map[string]string{
			"POST": "/v1/tasks/1/unclaim", "PUT": "/v1/processes/p/mode", "PATCH": "/v1/instances/1/variables", "DELETE": "/v1/tasks", "GET": "/v1/tasks",
		} {
			e := &fakeEngine{}
			r := request(method, path, map[string]string{"PUT": `{"mode":"standard"}`, "PATCH": `{"variables":{}}`}[method])
			r.Host = "seal.example.org"
			if c.host != "" {
				r.Host = c.host
			}
			for name, value := range map[string]string{"Sec-Fetch-Site": c.site, "Origin": c.origin} {
				if value != "" {
					r.Header.Set(name, value)
				}
			}
			w := serve(newServer(t, e), r)
			refused := w.Code == 403 && strings.Contains(w.Body.String(), `"cross_origin"`)
			if want := c.forbidden && method != "GET"; refused != want || want && (len(e.calls) > 0 || e.asked.Load() > 0) {
				t.Errorf("%s, %s: %d, %d calls, %s", c.name, method, w.Code, len(e.calls), w.Body)
			}
		}
	}
}

func TestOnlyItsOwnNamesReachTheServer(t *testing.T) {
	hosts := []string{"seal.example.org", "127.0.0.1", "::1"}
	s := newServer(t, &fakeEngine{}, func(c *server.Config) { c.Hosts = hosts })
	figures := server.OnlyHosts(hosts, http.NotFoundHandler())
	for _, c := range []struct {
		host string
		ok   bool
	}{
		{"seal.example.org", true},
		{"SEAL.example.org.:443", true},
		{"127.0.0.1:8700", true},
		{"[::1]:8700", true},
		{"[::1]", true},
		{"", true},
		{"evil.example:8700", false},
		{"seal.example.org.evil.example", false},
		{"evil.example@127.0.0.1", false},
		{"127.0.0.2:8700", false},
		{"[::1", true}, // says the same address, if badly
	} {
		for _, path := range []string{"/v1/tasks", "/openapi.json", "/none"} {
			r := request("GET", path, "")
			r.Host = c.host
			if w := serve(s, r); (w.Code != 421) != c.ok || !c.ok && !strings.Contains(w.Body.String(), "misdirected_request") {
				t.Errorf("%s of %q = %d %s", path, c.host, w.Code, w.Body)
			}
		}
		r := request("GET", "/metrics", "")
		r.Host = c.host
		if w := serve(figures, r); (w.Code != 421) != c.ok {
			t.Errorf("figures of %q = %d", c.host, w.Code)
		}
	}
	if w := serve(newServer(t, &fakeEngine{}), request("GET", "http://anything.example/v1/tasks", "")); w.Code != 200 {
		t.Errorf("without names: %d", w.Code)
	}
	// Whoever looks after servers asks by their addresses.
	if w := serve(s, request("GET", "http://10.1.2.3:8700/readyz", "")); w.Code != 200 {
		t.Errorf("readiness: %d", w.Code)
	}
}

// Who uses up the limits of a company or of a person keeps nobody from ending that: what
// takes something away, or names what can be, has a limit of its own, for each credential.
func TestWhatEndsSomethingIsNotHeldUpByOthers(t *testing.T) {
	s := newServer(t, &fakeEngine{}, limits(t, limit.Rates{Tenant: hour(5), User: hour(5), Key: hour(5)}))
	session := func(method, path string) *http.Request {
		return browse(method, path, "", "seal.example.org", goodSession, "Sec-Fetch-Site", "same-origin")
	}
	ask := func(method, path string, call func(string, string) *http.Request) int {
		return serve(s, call(strings.ToUpper(method), strings.NewReplacer("{", "", "}", "").Replace(path))).Code
	}
	program := func(method, path string) *http.Request { return request(method, path, "") }
	for ask("get", "/v1/tasks", program) != 429 || ask("get", "/v1/tasks", session) != 429 {
	}
	verbs := []string{"revoke", "disable", "end", "remove", "unlink", "take", "leave", "signOut", "setLimits"}
	verbs = append(verbs, "listSessions", "listAPIKeys", "listGrants", "getUser", "listIssuers", "listSigners", "listLogReaders", "listBreakGlass")
	ends := 0
	for path, item := range readSpec(t).Paths {
		for method, o := range item {
			if o.Security != nil { // asks for no credentials
				continue
			}
			want := slices.ContainsFunc(verbs, func(verb string) bool { return strings.HasPrefix(o.OperationID, verb) })
			for _, call := range []func(string, string) *http.Request{program, session} {
				if code := ask(method, path, call); (code != 429) != want {
					t.Errorf("%s when others have used up the limits: %d", o.OperationID, code)
				}
			}
			if want {
				ends++
			}
		}
	}
	if ends < 23 {
		t.Errorf("%d operations end something", ends)
	}
	admitted := 0
	for range 400 {
		if ask("post", "/v1/sessions/end", program) != 429 {
			admitted++
		}
	}
	if admitted == 0 || admitted > 60 { // a fifth of an hour's come at once
		t.Errorf("%d more are admitted at once", admitted)
	}
	if code := ask("post", "/v1/me/sign-out", session); code == 429 {
		t.Error("a key that ends too much keeps a session from signing out")
	}
}
