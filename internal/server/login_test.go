package server_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/limit"
	"github.com/underseal/underseal/internal/server"
)

const attemptName = "__Host-underseal-login"

// cookies are those that an answer sets, by name.
func cookies(w *httptest.ResponseRecorder) map[string]*http.Cookie {
	set := map[string]*http.Cookie{}
	for _, c := range w.Result().Cookies() {
		set[c.Name] = c
	}
	return set
}

// visit is what a browser sends that another site has sent here.
func visit(path, attempt string) *http.Request {
	r := browse("GET", path, "", "seal.example.org:8700", "", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate")
	if attempt != "" {
		r.Header.Add("Cookie", attemptName+"="+attempt)
	}
	return r
}

func TestABrowserIsSentToTheProvider(t *testing.T) {
	e := &fakeEngine{}
	w := serve(newServer(t, e), visit("/v1/login/acme/corp?to=/tasks", ""))
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "https://login.example.org/auth?state=s" || w.Body.Len() != 0 {
		t.Fatalf("%d to %q: %s", w.Code, w.Header().Get("Location"), w.Body)
	}
	c := cookies(w)[attemptName]
	if c == nil || c.Value != goodAttempt || !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteLaxMode || c.MaxAge != 600 {
		t.Errorf("the cookie is %+v", c)
	}
	got := e.last(t)
	in, _ := got.in.(engine.Login)
	if got.id != "acme corp" || got.idem != "https://seal.example.org:8700/v1/login/acme/corp/done" || in.To != "/tasks" || in.From.Host != "seal.example.org" {
		t.Errorf("the engine is asked %+v", got)
	}
}

// The provider sends the browser back to where it began.
func TestWhereABrowserComesBack(t *testing.T) {
	for _, c := range []struct {
		host   string
		strict bool
		want   string
	}{
		{"seal.example.org", false, "https://seal.example.org"},
		{"127.0.0.1:8700", false, "http://127.0.0.1:8700"},
		{"[::1]:8700", false, "http://[::1]:8700"},
		{"localhost:8700", false, "http://localhost:8700"},
		{"localhost:8700", true, "https://localhost:8700"},
		{"192.0.2.1", false, "https://192.0.2.1"},
	} {
		e := &fakeEngine{}
		r := visit("/v1/login/acme/corp", "")
		r.Host = c.host
		w := serve(newServer(t, e, func(s *server.Config) { s.StrictTransport = c.strict }), r)
		if got := e.last(t).idem; w.Code != http.StatusSeeOther || got != c.want+"/v1/login/acme/corp/done" {
			t.Errorf("%s: %d, back to %q", c.host, w.Code, got)
		}
	}
	for _, host := range []string{"", "a b", "a@b", "a/b", "a?b"} {
		r := visit("/v1/login/acme/corp", "")
		r.Host = host
		if w := serve(newServer(t, &fakeEngine{}), r); w.Code != http.StatusMisdirectedRequest {
			t.Errorf("host %q: %d", host, w.Code)
		}
	}
}

func TestABrowserBringsTheAnswer(t *testing.T) {
	for _, c := range []struct {
		name, query, attempt, to string
	}{
		{"to a page", "?code=c&state=s&iss=https://login.example.org&session_state=x&to=/tasks", goodAttempt, "0;url=/tasks"},
		{"to none", "?code=c&state=s", goodAttempt, ""},
		{"without an attempt", "?code=c&state=s", "", ""}, // the engine refuses
	} {
		e := &fakeEngine{}
		w := serve(newServer(t, e), visit("/v1/login/acme/corp/done"+c.query, c.attempt))
		if w.Code != http.StatusOK || w.Header().Get("Refresh") != c.to || strings.Contains(w.Body.String(), goodSession) {
			t.Errorf("%s: %d, then %q: %s", c.name, w.Code, w.Header().Get("Refresh"), w.Body)
		}
		set := cookies(w)
		if s := set[cookieName]; s == nil || s.Value != goodSession || !s.HttpOnly || !s.Secure || s.SameSite != http.SameSiteLaxMode {
			t.Errorf("%s: the session is %+v", c.name, s)
		}
		if a := set[attemptName]; a == nil || a.Value != "" || a.MaxAge >= 0 {
			t.Errorf("%s: the attempt is %+v, want it taken away", c.name, a)
		}
		got := e.last(t)
		in, _ := got.in.(engine.LoginAnswer)
		if got.id != "acme corp" || got.idem != c.attempt || in.Answer.Get("code") != "c" || in.From.Host != "seal.example.org" {
			t.Errorf("%s: the engine is asked %+v", c.name, got)
		}
	}
	refused := &fakeEngine{err: fault.New(fault.Denied, "nobody").WithCode("unauthenticated").WithCause(fault.New(fault.Denied, "the nonce is another"))}
	w := serve(newServer(t, refused), visit("/v1/login/acme/corp/done?code=c&state=s", goodAttempt))
	if set := cookies(w); w.Code != http.StatusUnauthorized || set[cookieName] != nil || set[attemptName] == nil || strings.Contains(w.Body.String(), "nonce") {
		t.Errorf("refused: %d, %v, %s", w.Code, set, w.Body)
	}
	two := visit("/v1/login/acme/corp/done?code=c&state=s", goodAttempt)
	two.Header.Add("Cookie", attemptName+"=planted")
	e := &fakeEngine{}
	if serve(newServer(t, e), two); e.last(t).idem != "" {
		t.Errorf("of two attempts the engine is given %q", e.last(t).idem)
	}
}

// redeems is what a program sends to be signed in.
const redeems = `{"code":"c-1","verifier":"vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv"}`

// For a program the browser is told its port and challenge, gets no session, and shows whom
// the link signs in, which nobody follows but the person.
func TestABrowserBringsAProgramItsCode(t *testing.T) {
	challenge := strings.Repeat("c", 43)
	e := &fakeEngine{}
	if w := serve(newServer(t, e), visit("/v1/login/acme/corp?port=5000&challenge="+challenge, "")); w.Code != http.StatusSeeOther {
		t.Fatalf("begun: %d %s", w.Code, w.Body)
	}
	if in, _ := e.last(t).in.(engine.Login); in.Port != 5000 || in.Challenge != challenge {
		t.Errorf("the engine is asked %+v", in)
	}
	for _, query := range []string{"port=1023", "port=65536", "port=x", "port=0x5000", "port=", "port=-5000", "port=5000.0", "port=5000&port=5001", "challenge=" + challenge + "c", "challenge=" + challenge[1:]} {
		e := &fakeEngine{}
		if w := serve(newServer(t, e), visit("/v1/login/acme/corp?"+query, "")); w.Code != 400 || len(e.calls) > 0 {
			t.Errorf("%s: %d, %d calls", query, w.Code, len(e.calls))
		}
	}
	w := serve(newServer(t, e), visit("/v1/login/acme/corp/done?code=for-a-command&state=s", goodAttempt))
	set := cookies(w)
	if w.Code != 200 || set[cookieName] != nil || set[attemptName] == nil || set[attemptName].MaxAge >= 0 || w.Header().Get("Refresh") != "" || w.Header().Get("Location") != "" {
		t.Errorf("finished: %d, %v, %v", w.Code, w.Header(), set)
	}
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
		"Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	page := w.Body.String()
	for _, want := range []string{
		`href="http://127.0.0.1:5000/?challenge=challenge&amp;code=c-1"`, "<b>zoe&lt;</b>", "<b>acme</b>", "192.0.2.7", api.CheckCode("challenge"), "underseal login",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %s: %s", want, page)
		}
	}
	if strings.Count(page, "c-1") != 1 || strings.Contains(page, "<script") || strings.Contains(page, "http-equiv") {
		t.Errorf("the page is %s", page)
	}
}

// A program that is signed in gets the session's text, as by a password, and no cookie.
func TestAProgramRedeemsACode(t *testing.T) {
	e := &fakeEngine{}
	r := request("POST", "/v1/login/acme/corp/session", redeems)
	r.Header.Del("Authorization")
	w := serve(newServer(t, e), r)
	if w.Code != 200 || !strings.Contains(w.Body.String(), goodSession) || len(w.Result().Cookies()) > 0 {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	in, _ := e.last(t).in.(engine.Redemption)
	if in.Tenant != "acme" || in.Issuer != "corp" || in.Code != "c-1" || len(in.Verifier) != 43 || in.From != (engine.From{Address: "192.0.2.1"}) {
		t.Errorf("the engine is asked %+v", in)
	}
	for name, body := range map[string]string{
		"no verifier": `{"code":"c-1"}`, "a short one": `{"code":"c-1","verifier":"v"}`, "no code": `{"verifier":"` + in.Verifier + `"}`, "nothing": ``,
	} {
		e := &fakeEngine{}
		if w := serve(newServer(t, e), request("POST", "/v1/login/acme/corp/session", body)); w.Code != 400 || len(e.calls) > 0 {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	for _, site := range []string{"cross-site", "same-site"} {
		e := &fakeEngine{}
		r := request("POST", "/v1/login/acme/corp/session", redeems)
		r.Header.Set("Sec-Fetch-Site", site)
		if w := serve(newServer(t, e), r); w.Code != 403 || len(e.calls) > 0 {
			t.Errorf("a page's, %s: %d", site, w.Code)
		}
	}
	refused := &fakeEngine{err: fault.New(fault.Denied, "nobody").WithCode("unauthenticated").WithCause(fault.New(fault.Denied, "the verifier is another"))}
	if w := serve(newServer(t, refused), request("POST", "/v1/login/acme/corp/session", redeems)); w.Code != 401 || strings.Contains(w.Body.String(), "verifier") {
		t.Errorf("refused: %d %s", w.Code, w.Body)
	}
}

func signOut(form, kind string) *http.Request {
	r := httptest.NewRequest("POST", "/v1/login/acme/corp/logout", strings.NewReader(form))
	r.Header.Set("Content-Type", kind)
	return r
}

const formType = "application/x-www-form-urlencoded"

func TestAProviderSignsOut(t *testing.T) {
	e := &fakeEngine{}
	s := newServer(t, e)
	form := url.Values{"logout_token": {goodToken}}.Encode()
	w := serve(s, signOut(form, formType+"; charset=utf-8"))
	if got := e.last(t); w.Code != 200 || w.Header().Get("Cache-Control") != "no-store" || got.id != "acme corp" || got.idem != goodToken {
		t.Errorf("%d, %v, asked %+v", w.Code, w.Header(), got)
	}
	for name, r := range map[string]*http.Request{
		"no token":  signOut("a=b", formType),
		"two":       signOut(form+"&"+form, formType),
		"no form":   signOut(`{"logout_token":"x"}`, "application/json"),
		"no type":   signOut(form, ""),
		"malformed": signOut("logout_token=%zz", formType),
		"too long":  signOut("logout_token="+strings.Repeat("a", 70_000), formType),
		"a page's": func() *http.Request {
			r := signOut(form, formType)
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			return r
		}(),
	} {
		e := &fakeEngine{}
		if w := serve(newServer(t, e), r); w.Code < 400 || w.Code >= 500 || len(e.calls) != 0 {
			t.Errorf("%s: %d, the engine is asked %v", name, w.Code, e.calls)
		}
	}
	refused := &fakeEngine{err: fault.New(fault.Invalid, "the logout token is not accepted").WithCode("token_refused")}
	if w := serve(newServer(t, refused), signOut(form, formType)); w.Code != 400 {
		t.Errorf("a token that is refused: %d, want 400", w.Code)
	}
}

// A provider may sign out as many people as there are, which are calls of their company, and
// who guesses may not, nor while the provider cannot be asked.
func TestHowManyAProviderSignsOut(t *testing.T) {
	e := &fakeEngine{}
	now := limits(t, limit.Rates{Address: hour(30)})
	form := url.Values{"logout_token": {goodToken}}.Encode()
	s := newServer(t, e, func(c *server.Config) { now(c) })
	for i := range 40 {
		if w := serve(s, signOut(form, formType)); w.Code != 200 {
			t.Fatalf("the %d. sign-out: %d", i+1, w.Code)
		}
	}
	for _, err := range []error{fault.New(fault.Invalid, "the logout token is not accepted").WithCode("token_refused"), fault.New(fault.Unavailable, "the issuer is away")} {
		e := &fakeEngine{err: err}
		s, last := newServer(t, e, limits(t, limit.Rates{Address: hour(30)})), 0
		for range 40 {
			last = serve(s, signOut(form, formType)).Code
		}
		if last != http.StatusTooManyRequests {
			t.Errorf("the last of 40 that are answered with %q: %d, want 429", err, last)
		}
	}
	var company *limit.Limiter
	s = newServer(t, &fakeEngine{}, limits(t, limit.Rates{Tenant: hour(5)}), func(c *server.Config) { company = c.Limits })
	for range 2 {
		if w := serve(s, signOut(form, formType)); w.Code != 200 {
			t.Errorf("a sign-out, whatever the company's rate: %d, want 200", w.Code)
		}
	}
	if refused := company.Admit(limit.Call{Tenant: "acme", Key: "k"}); refused.Limit != "tenant" {
		t.Errorf("a call of the company after its sign-outs is refused by %q, want tenant", refused.Limit)
	}
}
