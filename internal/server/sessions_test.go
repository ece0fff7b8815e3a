package server_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/limit"
	"github.com/underseal/underseal/internal/server"
)

const cookieName = "__Host-underseal"

// browse is what a page of a host sends with a cookie.
func browse(method, path, body, host, cookie string, head ...string) *http.Request {
	r := request(method, path, body)
	r.Header.Del("Authorization")
	r.Host = host
	if cookie != "" {
		r.Header.Add("Cookie", cookieName+"="+cookie)
	}
	for i := 0; i < len(head); i += 2 {
		r.Header.Add(head[i], head[i+1])
	}
	return r
}

// cookieOf returns the one cookie that is set; nil: none is.
func cookieOf(t *testing.T, w *httptest.ResponseRecorder) *http.Cookie {
	t.Helper()
	switch set := w.Result().Cookies(); len(set) {
	case 0:
		return nil
	case 1:
		return set[0]
	default:
		t.Fatalf("%d cookies are set", len(set))
	}
	return nil
}

// A browser gets the session as a cookie that no script, no other host and no clear
// connection sees, and a program as text.
func TestASessionIsGivenOnce(t *testing.T) {
	s := newServer(t, &fakeEngine{})
	const credentials = `"tenant":"acme","name":"zoe","password":"four walls and a blue door"`
	w := serve(s, browse("POST", "/v1/sessions", `{`+credentials+`,"cookie":true}`, "seal.example.org", "", "Sec-Fetch-Site", "same-origin"))
	c := cookieOf(t, w)
	if w.Code != 200 || c == nil || strings.Contains(w.Body.String(), goodSession) {
		t.Fatalf("a browser gets %d, cookie %v, %s", w.Code, c, w.Body)
	}
	if c.Name != cookieName || c.Value != goodSession || !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteLaxMode || c.MaxAge != 0 || !c.Expires.IsZero() {
		t.Errorf("the cookie is %+v", c)
	}
	w = serve(s, browse("POST", "/v1/sessions", `{`+credentials+`}`, "seal.example.org", ""))
	if w.Code != 200 || cookieOf(t, w) != nil || !strings.Contains(w.Body.String(), goodSession) {
		t.Errorf("a program gets %d, %v, %s", w.Code, w.Result().Cookies(), w.Body)
	}
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control = %q", got)
	}
}

// The session that the browser had ends with a new one, whoever put it there.
func TestTheFormerCookieIsTold(t *testing.T) {
	e := &fakeEngine{}
	s := newServer(t, e)
	r := browse("POST", "/v1/sessions", `{"tenant":"t","name":"n","password":"p","cookie":true}`, "Seal.Example.org:8700", "uss_planted", "Sec-Fetch-Site", "same-origin")
	if w := serve(s, r); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if got := e.last(t); got.id != "seal.example.org" || got.idem != "uss_planted" {
		t.Errorf("the engine is told of host %q and former session %q", got.id, got.idem)
	}
}

func TestWhichCookiesCount(t *testing.T) {
	const read, change = "GET /v1/tasks", "POST /v1/tasks/1/claim"
	for _, c := range []struct {
		name, call, host, cookie string
		head                     []string
		status                   int
	}{
		{"a page of the host reads", read, "seal.example.org", goodSession, []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"a page of the host changes", change, "seal.example.org", goodSession, []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"an older browser's changes", change, "seal.example.org", goodSession, []string{"Origin", "https://seal.example.org"}, 200},
		{"the address bar", read, "seal.example.org", goodSession, []string{"Sec-Fetch-Site", "none"}, 200},
		{"an older browser reads", read, "seal.example.org", goodSession, nil, 200},
		{"who does not say from where changes", change, "seal.example.org", goodSession, nil, 403},
		{"a page of another site changes", change, "seal.example.org", goodSession, []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 403},
		{"an older browser's page of another site", change, "seal.example.org", goodSession, []string{"Origin", "https://evil.example.org"}, 403},
		{"a page without an origin changes", change, "seal.example.org", goodSession, []string{"Origin", "null"}, 403},
		{"a page of a host beside it changes", change, "seal.example.org", goodSession, []string{"Sec-Fetch-Site", "same-site", "Origin", "https://blog.example.org"}, 403},
		{"a page of another site reads", read, "seal.example.org", goodSession, []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"a page of a host beside it reads", read, "seal.example.org", goodSession, []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"at another host", read, "evil.example.org", goodSession, []string{"Sec-Fetch-Site", "same-origin"}, 401},
		{"another text", read, "seal.example.org", "uss_guess", []string{"Sec-Fetch-Site", "same-origin"}, 401},
		{"an API key as a cookie", read, "seal.example.org", goodKey, []string{"Sec-Fetch-Site", "same-origin"}, 401},
		{"two of them", read, "seal.example.org", goodSession, []string{"Sec-Fetch-Site", "same-origin", "Cookie", cookieName + "=uss_other"}, 401},
		{"the name without its prefix", read, "seal.example.org", "", []string{"Cookie", "underseal=" + goodSession}, 401},
		{"a good one beside another header", read, "seal.example.org", goodSession, []string{"Authorization", "Bearer usk_guess"}, 401},
		{"a bad one beside a good header", read, "seal.example.org", "uss_guess", []string{"Authorization", "Bearer " + goodKey}, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			method, path, _ := strings.Cut(c.call, " ")
			e := &fakeEngine{}
			w := serve(newServer(t, e), browse(method, path, "", c.host, c.cookie, c.head...))
			if w.Code != c.status {
				t.Errorf("status = %d, want %d: %s", w.Code, c.status, w.Body)
			}
			if reached := len(e.calls) > 0; reached != (c.status == 200) {
				t.Errorf("the engine is asked: %v", reached)
			}
		})
	}
}

func TestACookieGoesWithItsSession(t *testing.T) {
	s := newServer(t, &fakeEngine{})
	w := serve(s, browse("POST", "/v1/me/sign-out", "", "seal.example.org", goodSession, "Sec-Fetch-Site", "same-origin"))
	if c := cookieOf(t, w); w.Code != 200 || c == nil || c.Name != cookieName || c.MaxAge >= 0 || !c.Secure {
		t.Errorf("signing out: %d, cookie %+v", w.Code, c)
	}
	if got := w.Header().Get("Clear-Site-Data"); got != `"cache", "storage"` {
		t.Errorf("what the browser is to clear: %s", got)
	}
	for path, body := range map[string]string{"POST /v1/me/verify": `{"password":"p"}`, "PUT /v1/me/password": `{"new":"p"}`} {
		method, path, _ := strings.Cut(path, " ")
		w := serve(s, browse(method, path, body, "seal.example.org", goodSession, "Sec-Fetch-Site", "same-origin"))
		if c := cookieOf(t, w); w.Code != 200 || c == nil || c.Value != goodSession || strings.Contains(w.Body.String(), goodSession) {
			t.Errorf("%s: %d, cookie %+v, %s", path, w.Code, c, w.Body)
		}
		w = serve(s, request(method, path, body))
		if c := cookieOf(t, w); w.Code != 200 || c != nil || !strings.Contains(w.Body.String(), goodSession) {
			t.Errorf("%s by a program: %d, cookie %+v, %s", path, w.Code, c, w.Body)
		}
	}
}

// Tries of one account from one address are refused before the engine is asked, then
// those of the account, and nobody else's.
func TestTriesOfAnAccountAreLimited(t *testing.T) {
	e := &fakeEngine{}
	now := limits(t, limit.Rates{SignIn: hour(30)}) // six at once, and 24 from everywhere
	s := newServer(t, e, func(c *server.Config) { now(c) })
	try := func(address, tenant, name string) int {
		return serve(s, from(request("POST", "/v1/sessions", fmt.Sprintf(`{"tenant":%q,"name":%q,"password":"p"}`, tenant, name)), address)).Code
	}
	count := func(address, tenant, name string, n int) (admitted int) {
		for range n {
			if try(address, tenant, name) == 200 {
				admitted++
			}
		}
		return admitted
	}
	for _, c := range []struct {
		address, tenant, name string
		want                  int
	}{
		{"192.0.2.1:1", "acme", "zoe", 6},
		{"192.0.2.2:1", "acme", "zoe", 6},
		{"192.0.2.1:1", "acme", "bob", 6},
		{"192.0.2.1:1", "other", "zoe", 6},
		{"192.0.2.3:1", "acme", "zoe", 6},
		{"192.0.2.4:1", "acme", "zoe", 6},
		{"192.0.2.5:1", "acme", "zoe", 0},
		{"192.0.2.5:1", "acme", "bob", 6},
	} {
		if got := count(c.address, c.tenant, c.name, 20); got != c.want {
			t.Errorf("%s of %s from %s: %d tries of 20 are let through, want %d", c.name, c.tenant, c.address, got, c.want)
		}
	}
	if asked := len(e.calls); asked != 42 {
		t.Errorf("the engine was asked %d times, want 42", asked)
	}
	w := serve(s, from(request("POST", "/v1/sessions", `{"tenant":"acme","name":"zoe","password":"p"}`), "192.0.2.1:1"))
	if w.Code != 429 || w.Header().Get("Retry-After") == "" {
		t.Errorf("refused with %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
}
