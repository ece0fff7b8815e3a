package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/network"
	"github.com/underseal/underseal/internal/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConfigNamesTheBadField(t *testing.T) {
	for want, config := range map[string]server.Config{
		"Engine":  {},
		"MaxBody": {Engine: &fakeEngine{}, MaxBody: -1},
		"Timeout": {Engine: &fakeEngine{}, Timeout: -1},
	} {
		if _, err := server.New(config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New = %v; want an error that names %s", err, want)
		}
	}
}

func TestFaultsBecomeProblems(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		code   string
		kind   string
		detail string
	}{
		{fault.New(fault.Invalid, "form does not fit").WithCode("form_violation"), 400, "form_violation", "invalid", "form does not fit"},
		{fault.New(fault.NotFound, "no task"), 404, "not_found", "not_found", "no task"},
		{fault.New(fault.Conflict, "already done"), 409, "conflict", "conflict", "already done"},
		{fault.New(fault.Denied, "not yours"), 403, "denied", "denied", "not yours"},
		{fault.New(fault.Sealed, "erased"), 410, "sealed", "sealed", "erased"},
		{fault.New(fault.Integrity, "row differs").WithCode("tampered"), 500, "tampered", "integrity", "row differs"},
		{fault.New(fault.Unavailable, "no keys"), 503, "unavailable", "unavailable", "no keys"},
		{fault.New(fault.Unavailable, "the database does not answer: %w", errors.New(secret)), 503, "unavailable", "unavailable", "the database does not answer"},
		{fault.New(fault.Invalid, "line 3: %w", errors.New("no end")), 400, "invalid", "invalid", "line 3: no end"},
		{fmt.Errorf("deploy: %w", fault.New(fault.Conflict, "inner")), 409, "conflict", "conflict", "inner"},
		{fault.New(fault.Internal, secret), 500, "internal", "internal", ""},
		{fault.New(fault.Withheld, secret), 500, "internal", "internal", ""},
		{errors.New(secret), 500, "internal", "internal", ""},
		{fmt.Errorf("query: %w", context.DeadlineExceeded), 503, "unavailable", "unavailable", ""},
	} {
		e := &fakeEngine{err: c.err}
		w := serve(newServer(t, e), request("POST", "/v1/tasks/1/unclaim", ""))
		if told := e.missed.Load() == 1; told != (c.status == 404) {
			t.Errorf("%v: the engine is told that nothing was found: %v", c.err, told)
		}
		p := decodeProblem(t, w)
		if p.Status != c.status || p.Code != c.code || p.Kind != c.kind || c.detail != "" && p.Detail != c.detail {
			t.Errorf("%v became %+v; want %d %s %s %q", c.err, p, c.status, c.code, c.kind, c.detail)
		}
		if strings.Contains(w.Body.String(), secret) {
			t.Errorf("the answer tells what it must not: %s", w.Body)
		}
		if got := w.Header().Get("Retry-After"); (got != "") != (c.status == 503) {
			t.Errorf("Retry-After = %q with status %d", got, c.status)
		}
	}
}

// The names on the wire are those of the program's one table.
func TestKindsAreThoseOfTheFaultTable(t *testing.T) {
	known := map[string]bool{
		api.KindInvalid: true, api.KindNotFound: true, api.KindConflict: true, api.KindDenied: true, api.KindSealed: true,
		api.KindIntegrity: true, api.KindUnavailable: true, api.KindInternal: true,
	}
	for _, k := range fault.Kinds() {
		if k != fault.Withheld && !known[k.String()] {
			t.Errorf("api has no name for the kind %q", k)
		}
		delete(known, k.String())
	}
	if len(known) > 0 {
		t.Errorf("api names kinds that do not exist: %v", known)
	}
}

func TestHintsAndFindingsArePassedOn(t *testing.T) {
	err := fault.New(fault.Invalid, "form").WithHint("look at %s", "the form").
		WithDetails(fault.Detail{Place: "/amount", Message: "must be a number"})
	p := decodeProblem(t, serve(newServer(t, &fakeEngine{err: err}), request("POST", "/v1/tasks/1/complete", "{}")))
	if p.Hint != "look at the form" || len(p.Errors) != 1 || p.Errors[0] != (api.Finding{Place: "/amount", Message: "must be a number"}) {
		t.Errorf("problem = %+v", p)
	}
}

func TestPanicsAreInternalErrors(t *testing.T) {
	var log bytes.Buffer
	for _, v := range []any{secret, errors.New(secret), fault.New(fault.NotFound, secret)} {
		s := newServer(t, &fakeEngine{panics: v}, logTo(&log))
		w := serve(s, request("POST", "/v1/instances", `{"process":"`+secret+`"}`))
		if p := decodeProblem(t, w); p.Status != 500 || p.Code != "internal" || strings.Contains(w.Body.String(), secret) {
			t.Errorf("a panic with %T became %s", v, w.Body)
		}
	}
	if text := log.String(); !strings.Contains(text, "fakeEngine).note") || strings.Contains(text, secret) {
		t.Errorf("log lacks the place or has the value:\n%s", text)
	}
}

func TestRuntimePanicsSayWhatHappened(t *testing.T) {
	var log bytes.Buffer
	e := &fakeEngine{activate: func(context.Context, api.ActivateRequest) (api.Jobs, error) {
		return api.Jobs{Items: make([]api.Job, 1)[len(t.Name()):]}, nil
	}}
	serve(newServer(t, e, logTo(&log)), request("POST", "/v1/jobs/activate", `{"type":"t","worker":"w"}`))
	if !strings.Contains(log.String(), "slice bounds out of range") {
		t.Errorf("log = %s", log.String())
	}
}

func logTo(log *bytes.Buffer) func(*server.Config) {
	return func(c *server.Config) {
		c.Log = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
}

// What comes in a request or stands in an error from elsewhere must reach
// neither the log nor the metrics.
func TestLogAndMetricsHoldNoValues(t *testing.T) {
	var log bytes.Buffer
	metrics, err := server.NewMetrics()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []*fakeEngine{
		{}, {err: errors.New(`strconv.Atoi: parsing "` + secret + `": invalid syntax`)},
		{err: fault.New(fault.Internal, "open: %w", errors.New(`Key (ssn)=(`+secret+`) exists`))},
		{err: fault.New(fault.Unavailable, "dial '%w'", errors.New(secret))},
		{ready: map[string]error{"database": errors.New("password '" + secret + "'")}},
	} {
		s := newServer(t, e, logTo(&log), func(c *server.Config) { c.Metrics = metrics })
		for _, r := range []struct{ method, path, body string }{
			{"POST", "/v1/instances", `{"process":"` + secret + `","variables":{"` + secret + `":"` + secret + `"}}`},
			{"GET", "/v1/instances?value=" + secret, ""},
			{"GET", "/v1/processes/" + secret, ""},
			{"GET", "/" + secret, ""},
			{"GET", "/readyz?" + secret, ""},
			{"GET", "/readyz", ""},
			{strings.ToUpper(secret), "/v1/instances", ""},
		} {
			serve(s, request(r.method, r.path, r.body))
		}
	}
	w := httptest.NewRecorder()
	metrics.Handler().ServeHTTP(w, request("GET", "/metrics", ""))
	for name, text := range map[string]string{"log": log.String(), "metrics": w.Body.String()} {
		if strings.Contains(strings.ToLower(text), secret) {
			t.Errorf("the %s holds a value:\n%s", name, text)
		}
	}
	if want := `underseal_http_requests_total{method="POST",route="/v1/instances",status="200"} 2`; !strings.Contains(w.Body.String(), want) {
		t.Errorf("metrics lack %s:\n%s", want, w.Body)
	}
}

func TestRequestIsLoggedByItsRoute(t *testing.T) {
	var log bytes.Buffer
	w := serve(newServer(t, &fakeEngine{}, logTo(&log)), request("GET", "/v1/tasks/7", ""))
	var line map[string]any
	if err := json.Unmarshal(log.Bytes(), &line); err != nil {
		t.Fatalf("log %s: %v", log.String(), err)
	}
	for name, want := range map[string]any{
		"msg": "request", "level": "DEBUG", "method": "GET", "route": "/v1/tasks/{task}", "status": 200.0,
		"request": w.Header().Get("X-Request-Id"), "principal": "p-1",
	} {
		if line[name] != want {
			t.Errorf("%s = %v; want %v", name, line[name], want)
		}
	}
}

// The ids of requests differ in each part of them: nobody sees by theirs how many requests
// others have made meanwhile.
func TestRequestIDsDiffer(t *testing.T) {
	s := newServer(t, &fakeEngine{})
	first, last := map[string]bool{}, map[string]bool{}
	for range 80 {
		id := serve(s, request("GET", "/healthz", "")).Header().Get("X-Request-Id")
		half := len(id) / 2
		first[id[:half]], last[id[half:]] = true, true
	}
	if len(first) != 80 || len(last) != 80 {
		t.Errorf("%d and %d different halves of 80 ids", len(first), len(last))
	}
}

func TestEveryAnswerHasTheSecurityHeaders(t *testing.T) {
	s := newServer(t, &fakeEngine{})
	for _, path := range []string{"/healthz", "/v1/tasks", "/nowhere", "/openapi.json", "/v1/jobs/activate", "/v1/processes/p/model", "/v1/login/acme/corp", "/log/usl_good/2026/checkpoint"} {
		h := serve(s, request("GET", path, "")).Header()
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", "Cross-Origin-Resource-Policy": "same-origin",
			"Cross-Origin-Opener-Policy": "same-origin", "Strict-Transport-Security": "",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("GET %s: %s = %q; want %q", path, name, got, want)
			}
		}
		if got := h.Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("GET %s allows the origin %q", path, got)
		}
	}
}

func TestBrowsersAreToldToComeOverTLS(t *testing.T) {
	s := newServer(t, &fakeEngine{}, func(c *server.Config) { c.StrictTransport = true })
	for _, path := range []string{"/healthz", "/v1/tasks", "/nowhere", "/v1/login/acme/corp", "/log/usl_good/2026/checkpoint"} {
		if got := serve(s, request("GET", path, "")).Header().Get("Strict-Transport-Security"); got != "max-age=31536000; includeSubDomains" {
			t.Errorf("GET %s: %q", path, got)
		}
	}
}

func TestReadinessNamesWhatIsMissing(t *testing.T) {
	for _, c := range []struct {
		name   string
		ready  map[string]error
		drain  bool
		status int
		want   string
	}{
		{"all is well", map[string]error{"keys": nil, "database": nil}, false, 200, `{"status":"ok","checks":{"database":"ok","keys":"ok"}}`},
		{"no keys", map[string]error{"keys": fault.New(fault.Unavailable, secret), "database": nil}, false, 503, `{"status":"unavailable","checks":{"database":"ok","keys":"unavailable"}}`},
		{"a tenant is not served", map[string]error{"keys": nil, "erasures": fault.New(fault.Unavailable, secret).WithCode(api.CodeDegraded)}, false, 200, `{"status":"degraded","checks":{"erasures":"degraded","keys":"ok"}}`},
		{"a tenant is not served, and no keys", map[string]error{"keys": fault.New(fault.Unavailable, secret), "erasures": fault.New(fault.Unavailable, secret).WithCode(api.CodeDegraded)}, false, 503, `{"status":"unavailable","checks":{"erasures":"degraded","keys":"unavailable"}}`},
		{"draining", map[string]error{"keys": nil}, true, 503, `{"status":"unavailable","checks":{"keys":"ok","serving":"draining"}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, &fakeEngine{ready: c.ready})
			if c.drain {
				s.Drain()
			}
			w := serve(s, request("GET", "/readyz", ""))
			if got := strings.TrimSpace(w.Body.String()); w.Code != c.status || got != c.want {
				t.Errorf("GET /readyz = %d %s; want %d %s", w.Code, got, c.status, c.want)
			}
			if w := serve(s, request("GET", "/healthz", "")); w.Code != 200 {
				t.Errorf("GET /healthz = %d; want 200 as long as there is an answer", w.Code)
			}
		})
	}
}

// Readiness is asked every few seconds; the log tells of what changed.
func TestAnOutageIsLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	engine := &fakeEngine{}
	s := newServer(t, engine, func(c *server.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	ask := func(err error) {
		engine.ready = map[string]error{"keys": err}
		for range 5 {
			serve(s, request("GET", "/readyz", ""))
		}
	}
	away, denied := fault.New(fault.Unavailable, "away"), fault.New(fault.Unavailable, "refused").WithCode("key_denied")
	for _, err := range []error{nil, away, denied, nil, away} {
		ask(err)
	}
	if failed, well := strings.Count(log.String(), "request failed"), strings.Count(log.String(), "works again"); failed != 3 || well != 1 {
		t.Errorf("%d failures and %d recoveries in the log, want 3 and 1: %s", failed, well, &log)
	}
	if lines := strings.Count(log.String(), "\n"); lines != 4 {
		t.Errorf("%d lines in the log, want one for each change: %s", lines, &log)
	}
}

// A client that has hung up gets no answer, and is no error of ours.
func TestClientThatHungUp(t *testing.T) {
	var log bytes.Buffer
	r := request("POST", "/v1/tasks/1/unclaim", "")
	ctx, cancel := context.WithCancel(r.Context())
	cancel()
	w := serve(newServer(t, &fakeEngine{err: context.Canceled}, logTo(&log)), r.WithContext(ctx))
	if w.Body.Len() > 0 || !strings.Contains(log.String(), `"status":499`) || strings.Contains(log.String(), "ERROR") {
		t.Errorf("answer %q, log %s", w.Body, log.String())
	}
}

// trusting makes proxies of networks trusted.
func trusting(networks ...string) func(*server.Config) {
	list, err := network.Parse(networks)
	if err != nil {
		panic(err)
	}
	return func(c *server.Config) { c.TrustedProxies = list }
}

func TestAddressIsOnlyTakenFromTrustedProxies(t *testing.T) {
	for _, c := range []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"no proxy", "192.0.2.7:999", nil, "192.0.2.7"},
		{"a header from anybody", "192.0.2.7:999", []string{"198.51.100.1"}, "192.0.2.7"},
		{"a trusted proxy", "10.1.1.1:999", []string{"198.51.100.1"}, "198.51.100.1"},
		{"a forged address to the left", "10.1.1.1:999", []string{"6.6.6.6, 198.51.100.1"}, "198.51.100.1"},
		{"a chain of trusted proxies", "[::1]:999", []string{"6.6.6.6", "198.51.100.1, 10.2.2.2"}, "198.51.100.1"},
		{"a trusted proxy that says nothing", "10.1.1.1:999", nil, "10.1.1.1"},
		{"a malformed hop", "10.1.1.1:999", []string{"198.51.100.1, unknown, 10.2.2.2"}, "10.2.2.2"},
		{"many headers, the last of which is the proxy's", "10.1.1.1:999", []string{"6.6.6.6", "6.6.6.7,6.6.6.8", "198.51.100.1"}, "198.51.100.1"},
		{"an empty last header", "10.1.1.1:999", []string{"6.6.6.6", ""}, "10.1.1.1"},
		{"an empty hop at the end", "10.1.1.1:999", []string{"6.6.6.6, "}, "10.1.1.1"},
		{"a hop with a port", "10.1.1.1:999", []string{"6.6.6.6, 198.51.100.1:8080"}, "10.1.1.1"},
		{"a hop in brackets", "10.1.1.1:999", []string{"[2001:db8::1]"}, "10.1.1.1"},
		{"a hop in quotes", "10.1.1.1:999", []string{`"198.51.100.1"`}, "10.1.1.1"},
		{"a number that other programs take for an address", "10.1.1.1:999", []string{"0306.0063.0144.1"}, "10.1.1.1"},
		{"a trusted address that somebody pretends to be", "192.0.2.7:999", []string{"10.9.9.9"}, "192.0.2.7"},
		{"nothing but trusted addresses", "10.1.1.1:999", []string{"10.3.3.3, 10.2.2.2"}, "10.3.3.3"},
		{"a trusted address with a zone", "[::1%eth0]:999", []string{"198.51.100.1"}, "198.51.100.1"},
		{"a hop with a zone", "10.1.1.1:999", []string{"fe80::1%eth0"}, "fe80::1"},
		{"spaces around", "10.1.1.1:999", []string{" 6.6.6.6 ,\t198.51.100.1 "}, "198.51.100.1"},
		{"a socket of this machine", "@", []string{"198.51.100.1"}, ""},
		{"an address of version 4 in 6", "[::ffff:10.1.1.1]:999", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := &fakeEngine{}
			s := newServer(t, e, trusting("10.0.0.0/8", "::1/128"))
			r := request("GET", "/v1/tasks", "")
			r.RemoteAddr, r.Header["X-Forwarded-For"] = c.peer, c.forwarded
			// Headers that other proxies use; whoever calls may have set them.
			r.Header.Set("Forwarded", "for=6.6.6.9")
			r.Header.Set("X-Real-Ip", "6.6.6.9")
			r.Header.Set("True-Client-Ip", "6.6.6.9")
			serve(s, r)
			if got := e.last(t).caller.Address; got != c.want {
				t.Errorf("address = %q; want %q", got, c.want)
			}
		})
	}
}

func TestCollectorsThatClashAreRefused(t *testing.T) {
	m, err := server.NewMetrics()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.NewMetrics(m.Requests()); err == nil {
		t.Error("NewMetrics took two collectors of one name")
	}
}
