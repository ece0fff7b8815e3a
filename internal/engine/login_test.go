package engine_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

const backHere = "https://seal.example.org/v1/login/main/corp/done"

// staff is an issuer of people: it signs in by code and out by token, as a test says.
type staff struct {
	words
	mu     sync.Mutex // guards begun
	begun  int
	in     map[string]identity.Claims
	out    map[string]identity.Logout
	failed error  // to sign out whom the last token means
	during func() // called while a code is exchanged; may be nil
}

func newStaff() *staff {
	return &staff{in: map[string]identity.Claims{}, out: map[string]identity.Logout{}}
}

func (s *staff) Begin(_ context.Context, i identity.Issuer, redirect string, again bool) (identity.Attempt, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun++
	a := identity.Attempt{State: fmt.Sprintf("state-%d", s.begun), Nonce: "nonce", Verifier: "verifier", Redirect: redirect, Begun: time.Now(), Again: again}
	return a, i.URL + "/auth?state=" + a.State, nil
}

func (s *staff) Finish(_ context.Context, i identity.Issuer, a identity.Attempt, answer url.Values) (identity.Claims, error) {
	if s.during != nil {
		s.during()
	}
	c, ok := s.in[answer.Get("code")]
	if !ok || answer.Get("state") != a.State || a.Nonce != "nonce" || a.Verifier != "verifier" || a.Redirect != backHere {
		return identity.Claims{}, fault.New(fault.Denied, "the code or the state is another").WithCode("token_refused")
	}
	if c.Issuer = i.URL; a.Again {
		c.Proved = time.Now()
	}
	return c, nil
}

func (s *staff) Logout(_ context.Context, _ string, i identity.Issuer, token string, end func(identity.Logout) error) error {
	out, ok := s.out[token]
	if !ok {
		return fault.New(fault.Denied, "the token is another").WithCode("token_refused")
	}
	out.Issuer = i.URL
	s.failed = end(out)
	return s.failed
}

var corp = api.IssuerRequest{
	Kind: "people", URL: idp, Client: "underseal", Secret: "sesame", GroupClaim: "groups",
	Given: []api.IssuerGroup{{Group: "leads", Groups: []string{"clerks"}, Roles: []string{"Designer"}}, {Group: "all", Roles: []string{"Viewer"}}},
}

// newCompany is one with a group and an issuer of people.
func newCompany(t *testing.T, s *staff, in api.IssuerRequest) *testenv.Env {
	t.Helper()
	env := testenv.New(t, withIssuers(s))
	if _, err := env.Engine.CreateGroup(t.Context(), env.Ann, api.GroupRequest{Name: "clerks"}, ""); err != nil {
		t.Fatal(err)
	}
	setIssuer(t, env, "corp", in)
	return env
}

var browser = engine.From{Address: "192.0.2.7", Host: "seal.example.org"}

// begin begins a sign-in, and returns what a browser brings in the end.
func begin(t *testing.T, env *testenv.Env, code string) engine.LoginAnswer {
	t.Helper()
	at := engine.At{Tenant: "main", Issuer: "corp"}
	b, err := env.Engine.BeginLogin(t.Context(), engine.Login{At: at, From: browser, Redirect: backHere, To: "/tasks?mine=1"})
	if err != nil {
		t.Fatal(err)
	}
	_, state, _ := strings.Cut(b.Address, "state=")
	sealed, err := base64.RawURLEncoding.DecodeString(b.Attempt)
	if !strings.HasPrefix(b.Address, idp+"/auth?") || err != nil || !envelope.IsSealed(sealed) || bytes.Contains(sealed, []byte(state)) {
		t.Fatalf("begun is %+v, %v", b, err)
	}
	return engine.LoginAnswer{At: at, From: browser, Attempt: b.Attempt, Answer: url.Values{"code": {code}, "state": {state}}}
}

func logIn(t *testing.T, env *testenv.Env, code string) (engine.LoggedIn, error) {
	t.Helper()
	return env.Engine.FinishLogin(t.Context(), begin(t, env, code))
}

// loggedIn signs somebody in, who must get in, and returns who they are then.
func loggedIn(t *testing.T, env *testenv.Env, code string) (api.NewSession, engine.Caller) {
	t.Helper()
	in, err := logIn(t, env, code)
	if err != nil {
		t.Fatal(err)
	}
	c, err := env.Engine.AuthenticateCookie(t.Context(), in.Session.Text, browser.Host, browser.Address)
	if err != nil {
		t.Fatal(err)
	}
	return in.Session, c
}

func isIn(t *testing.T, env *testenv.Env, s api.NewSession) bool {
	t.Helper()
	_, err := env.Engine.AuthenticateCookie(t.Context(), s.Text, browser.Host, browser.Address)
	if err != nil && !unauthenticated(err) {
		t.Fatal(err)
	}
	return err == nil
}

func linked(t *testing.T, env *testenv.Env, name, subject string) api.User {
	t.Helper()
	u, err := env.Engine.LinkUser(t.Context(), env.Ann, name, api.LinkRequest{Issuer: "corp", Subject: subject}, "")
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// Whom the tenant has linked is let in by issuer and subject alone, and what the issuer's
// groups give is theirs from then on, and no longer than the issuer says.
func TestSigningInByAnIssuer(t *testing.T) {
	t.Parallel()
	s := newStaff()
	env := newCompany(t, s, corp)
	personWithPassword(t, env, "zoe", "Executor")
	linked(t, env, "zoe", "7")
	s.in["lead"] = identity.Claims{Subject: "7", Name: "ann", Mail: "ann@example.org", Groups: []string{"leads", "all", "other"}}
	s.in["staff"] = identity.Claims{Subject: "7", Name: "zoe", Groups: []string{"all"}}

	in, err := logIn(t, env, "lead")
	if err != nil {
		t.Fatal(err)
	}
	if in.To != "/tasks?mine=1" || !in.Session.Cookie || in.Session.How != "federated corp" || in.Session.User != "zoe" {
		t.Errorf("signed in: %+v", in)
	}
	c, err := env.Engine.AuthenticateCookie(t.Context(), in.Session.Text, browser.Host, browser.Address)
	if err != nil || c.Principal != "zoe" {
		t.Fatalf("signed in is %+v, %v", c, err)
	}
	rights := func(c engine.Caller) string {
		who := c.Who.Principal()
		roles := make([]string, len(who.Roles))
		for i, r := range who.Roles {
			roles[i] = string(r)
		}
		slices.Sort(roles)
		return strings.Join(roles, " ") + " / " + strings.Join(who.Groups, " ")
	}
	if got := rights(c); got != "Designer Executor Viewer / clerks" {
		t.Errorf("a lead has %q", got)
	}
	_, c = loggedIn(t, env, "staff")
	if got := rights(c); got != "Executor Viewer / " {
		t.Errorf("who is no lead any more has %q", got)
	}
	if c, err = env.Engine.AuthenticateCookie(t.Context(), in.Session.Text, browser.Host, browser.Address); err != nil || rights(c) != "Executor Viewer / " {
		t.Errorf("their former session has %q, %v", rights(c), err)
	}
	if _, err := env.Engine.AuthenticateCookie(t.Context(), in.Session.Text, "evil.example.org", browser.Address); !unauthenticated(err) {
		t.Errorf("the cookie at another host: %v", err)
	}
}

func TestWhoIsNotLetInByAnIssuer(t *testing.T) {
	t.Parallel()
	s := newStaff()
	env := newCompany(t, s, corp)
	acme := env.Tenant("acme")
	personWithPassword(t, env, "zoe", "Executor")
	personWithPassword(t, env, "gone", "Executor")
	linked(t, env, "zoe", "7")
	linked(t, env, "gone", "8")
	if _, err := env.Engine.DisableUser(t.Context(), env.Ann, "gone", api.ReasonRequest{}, ""); err != nil {
		t.Fatal(err)
	}
	personWithPassword(t, env, "back", "Executor")
	linked(t, env, "back", "11")
	if _, err := env.Engine.RevokeUser(t.Context(), env.Ann, "back", api.ReasonRequest{}, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.EnableUser(t.Context(), env.Ann, "back", api.ReasonRequest{}, ""); err != nil {
		t.Fatal(err)
	}
	s.in["new"] = identity.Claims{Subject: "10", Name: "new"}
	for code, subject := range map[string]string{"zoe": "7", "gone": "8", "stranger": "9", "back": "11"} {
		s.in[code] = identity.Claims{Subject: subject, Name: "zoe", Mail: "zoe@example.org"}
	}
	setIssuer(t, acme, "corp", corp)
	var said string
	for _, c := range []struct {
		name, code string
		change     func(*engine.LoginAnswer)
	}{
		{"a code that is none", "nothing", nil},
		{"somebody of the issuer who is linked to nobody, whatever their name", "stranger", nil},
		{"somebody of the issuer who is linked to nobody, with a name of their own", "new", nil},
		{"somebody disabled", "gone", nil},
		{"somebody who was revoked, and enabled since", "back", nil},
		{"without an attempt", "zoe", func(a *engine.LoginAnswer) { a.Attempt = "" }},
		{"an attempt of nobody", "zoe", func(a *engine.LoginAnswer) { a.Attempt = "9QEBAAE" }},
		{"an attempt that is no text", "zoe", func(a *engine.LoginAnswer) { a.Attempt = "%%" }},
		{"a changed attempt", "zoe", func(a *engine.LoginAnswer) { a.Attempt = "A" + a.Attempt[1:] }},
		{"an attempt of another browser", "zoe", func(a *engine.LoginAnswer) { a.Attempt = begin(t, env, "zoe").Attempt }},
		{"at another host", "zoe", func(a *engine.LoginAnswer) { a.From.Host = "evil.example.org" }},
		{"at another company", "zoe", func(a *engine.LoginAnswer) { a.Tenant = "acme" }},
	} {
		a := begin(t, env, c.code)
		if c.change != nil {
			c.change(&a)
		}
		in, err := env.Engine.FinishLogin(t.Context(), a)
		if !unauthenticated(err) || in != (engine.LoggedIn{}) {
			t.Errorf("%s: %+v, %v, want nobody signed in", c.name, in, err)
			continue
		}
		if said == "" {
			said = err.Error()
		}
		if c.name != "somebody disabled" && err.Error() != said {
			t.Errorf("%s: %v, want the same for everything: %s", c.name, err, said)
		}
	}
	for _, at := range []engine.At{{"main", "other"}, {"none", "corp"}, {"../main", "corp"}, {"", ""}} {
		_, err := env.Engine.BeginLogin(t.Context(), engine.Login{At: at, From: browser, Redirect: backHere})
		_, err2 := env.Engine.FinishLogin(t.Context(), engine.LoginAnswer{At: at, From: browser})
		err3 := env.Engine.EndLogins(t.Context(), at, "x", "192.0.2.9")
		for _, err := range []error{err, err2, err3} {
			if fault.CodeOf(err) != "no_login" {
				t.Errorf("%+v: %v, want that nobody signs in there", at, err)
			}
		}
	}
	elsewhere := engine.Login{At: engine.At{Tenant: "acme", Issuer: "corp"}, From: engine.From{Address: "198.51.100.1", Host: browser.Host}, Redirect: backHere}
	if _, err := env.Engine.BeginLogin(t.Context(), elsewhere); err != nil {
		t.Fatal(err)
	}
	if _, err := acme.Engine.SetNetworks(t.Context(), acme.Ann, api.NetworksRequest{Networks: api.Networks{All: []string{"127.0.0.0/8", "192.0.2.0/24"}}}, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.BeginLogin(t.Context(), elsewhere); fault.CodeOf(err) != "no_login" {
		t.Errorf("from a network that the company does not allow: %v", err)
	}
	for _, to := range []string{"https://evil.example.org/", "//evil.example.org", `/\evil.example.org`, "tasks", "/a\r\nb", "/" + strings.Repeat("a", 600)} {
		_, err := env.Engine.BeginLogin(t.Context(), engine.Login{At: engine.At{Tenant: "main", Issuer: "corp"}, From: browser, Redirect: backHere, To: to})
		if fault.CodeOf(err) != "invalid_to" {
			t.Errorf("to %q: %v, want it refused", to, err)
		}
	}
}

// A link counts for whom it was given to, wherever its row leads.
func TestALinkThatIsMovedSignsNobodyIn(t *testing.T) {
	t.Parallel()
	s := newStaff()
	env := newCompany(t, s, corp)
	personWithPassword(t, env, "zoe", "Executor")
	zoe := linked(t, env, "zoe", "7")
	ann := linked(t, env, "ann", "1")
	s.in["zoe"] = identity.Claims{Subject: "7"}
	if _, c := loggedIn(t, env, "zoe"); c.Principal != "zoe" {
		t.Fatalf("signed in is %s", c.Principal)
	}
	moveCredential(t, env, zoe, ann)
	if in, err := logIn(t, env, "zoe"); !unauthenticated(err) {
		t.Errorf("Zoe's link, said to be Ann's: %+v, %v, want nobody signed in", in, err)
	}
}

// An attempt leads to one session, also after a restart, and to none once what it was begun
// with has changed.
func TestASignInIsFinishedOnce(t *testing.T) {
	t.Parallel()
	s := newStaff()
	env := newCompany(t, s, corp)
	personWithPassword(t, env, "zoe", "Executor")
	linked(t, env, "zoe", "7")
	s.in["zoe"] = identity.Claims{Subject: "7"}
	before, other := begin(t, env, "zoe"), begin(t, env, "zoe")
	env.Restart(func() {})
	if _, err := env.Engine.FinishLogin(t.Context(), before); err != nil {
		t.Fatalf("a sign-in that was begun before a restart: %v", err)
	}
	if _, err := env.Engine.FinishLogin(t.Context(), before); !unauthenticated(err) {
		t.Errorf("the same again: %v", err)
	}
	env.Restart(func() {})
	if _, err := env.Engine.FinishLogin(t.Context(), before); !unauthenticated(err) {
		t.Errorf("the same after another restart: %v", err)
	}
	changed := corp
	changed.Client = "another"
	setIssuer(t, env, "corp", changed)
	if _, err := env.Engine.FinishLogin(t.Context(), other); !unauthenticated(err) {
		t.Errorf("a sign-in as another client: %v", err)
	}
}

// A session that was in a browser before ends when its owner signs in, by passkey or issuer
// as by password, and the new one has another text. An issuer's word displaces only one of
// the same person (TestASignInDisplacesNobodyElse).
func TestAPlantedSessionEndsWithEverySignIn(t *testing.T) {
	t.Parallel()
	s := newStaff()
	s.in["zoe"] = identity.Claims{Subject: "8"}
	env := newCompany(t, s, corp)
	a := testenv.NewAuthenticator(t, true)
	personWithPasskey(t, env, "zoe", a)
	linked(t, env, "zoe", "8")
	personWithPassword(t, env, "eve")
	for name, signIn := range map[string]func(from engine.From) (api.NewSession, error){
		"a passkey": func(from engine.From) (api.NewSession, error) {
			return env.Engine.SignInByPasskey(t.Context(), a.SignIn(askToSignIn(t, env)), from)
		},
		"an issuer": func(from engine.From) (api.NewSession, error) {
			in := begin(t, env, "zoe")
			in.From = from
			out, err := env.Engine.FinishLogin(t.Context(), in)
			return out.Session, err
		},
	} {
		whose := "eve"
		if name == "an issuer" { // whose sign-in is refused where somebody else is signed in
			whose = "zoe"
		}
		planted := session(t, env, whose, browser)
		from := browser
		from.Former = planted.Text
		got, err := signIn(from)
		if err != nil {
			t.Fatalf("by %s: %v", name, err)
		}
		if got.Text == planted.Text || isIn(t, env, planted) || !isIn(t, env, got) {
			t.Errorf("by %s: the session that the browser had before is still good", name)
		}
	}
}

// Who is invited need not use the link, and who is nobody becomes somebody only where the
// tenant wants it, and never somebody who is there.
func TestWhoComesForTheFirstTime(t *testing.T) {
	t.Parallel()
	s := newStaff()
	creates := corp
	creates.Creates = true
	env := newCompany(t, s, creates)
	invited, err := env.Engine.InviteUser(t.Context(), env.Ann, api.UserRequest{Name: "bob", Kind: "user"}, "")
	if err != nil {
		t.Fatal(err)
	}
	linked(t, env, "bob", "1")
	s.in["bob"] = identity.Claims{Subject: "1", Groups: []string{"all"}}
	s.in["new"] = identity.Claims{Subject: "2", Name: "Zoe.New", Display: "Zoe New", Mail: "zoe@example.org", Groups: []string{"leads"}}
	s.in["taken"] = identity.Claims{Subject: "3", Name: "ANN"}
	s.in["nameless"] = identity.Claims{Subject: "4", Name: "Zoë"}
	s.in["unreachable"] = identity.Claims{Subject: "5", Name: ".."}

	if _, c := loggedIn(t, env, "bob"); c.Principal != "bob" {
		t.Errorf("signed in is %s", c.Principal)
	}
	if _, err := env.Engine.Setup(t.Context(), api.SetupRequest{Link: invited.Link}, home.Address); !unauthenticated(err) {
		t.Errorf("the link of who came by the issuer: %v", err)
	}
	_, c := loggedIn(t, env, "new")
	if c.Principal != "zoe.new" || !slices.Equal(c.Who.Principal().Groups, []string{"clerks"}) {
		t.Errorf("signed in is %+v", c.Who.Principal())
	}
	u, err := env.Engine.User(t.Context(), env.Ann, "zoe.new")
	if err != nil || u.Display != "Zoe New" || u.Mail != "zoe@example.org" || u.State != "active" || len(u.Identities) != 1 || u.Identities[0].Subject != "2" {
		t.Errorf("the new user is %+v, %v", u, err)
	}
	if _, c := loggedIn(t, env, "new"); c.Principal != "zoe.new" {
		t.Errorf("signed in again is %s", c.Principal)
	}
	for _, code := range []string{"taken", "nameless", "unreachable"} {
		if _, err := logIn(t, env, code); !unauthenticated(err) {
			t.Errorf("%s: %v", code, err)
		}
	}
	if u, err := env.Engine.User(t.Context(), env.Ann, "ann"); err != nil || len(u.Identities) != 0 {
		t.Errorf("ann is %+v, %v", u, err)
	}
}

// A name that looks like another one, and is not, does not become that: at the issuer it may
// be anybody's.
func TestALookAlikeIsNobodysName(t *testing.T) {
	s := newStaff()
	creates := corp
	creates.Creates = true
	env := newCompany(t, s, creates)
	s.in["kelvin"] = identity.Claims{Subject: "2", Name: "\u212aim"} // whose lower case is that of K
	s.in["kim"] = identity.Claims{Subject: "3", Name: "Kim"}
	if in, err := logIn(t, env, "kelvin"); !unauthenticated(err) {
		t.Errorf("with the Kelvin sign: %+v, %v, want nobody signed in", in.Session, err)
	}
	if in, err := logIn(t, env, "kim"); err != nil || in.Session.User != "kim" {
		t.Errorf("Kim is signed in as %q, %v", in.Session.User, err)
	}
}

// Who was revoked does not come back by the issuer's word: not when they are enabled, and
// not as somebody else, whatever the issuer calls them by then.
func TestWhoWasRevokedIsNobodyToTheIssuer(t *testing.T) {
	t.Parallel()
	s := newStaff()
	creates := corp
	creates.Creates = true
	env := newCompany(t, s, creates)
	s.in["zoe"] = identity.Claims{Subject: "2", Name: "zoe", Groups: []string{"all"}}
	before, _ := loggedIn(t, env, "zoe")
	if _, err := env.Engine.RevokeUser(t.Context(), env.Ann, "zoe", api.ReasonRequest{Reason: "left"}, ""); err != nil {
		t.Fatal(err)
	}
	s.in["zoe"] = identity.Claims{Subject: "2", Name: "eoz", Groups: []string{"leads"}}
	for _, when := range []string{"revoked", "enabled again"} {
		if _, err := logIn(t, env, "zoe"); !unauthenticated(err) {
			t.Errorf("%s: %v, want that nobody is signed in", when, err)
		}
		if isIn(t, env, before) {
			t.Errorf("%s: the session of before admits", when)
		}
		if when == "revoked" {
			if _, err := env.Engine.EnableUser(t.Context(), env.Ann, "zoe", api.ReasonRequest{}, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := env.Engine.User(t.Context(), env.Ann, "eoz"); !fault.Is(err, fault.NotFound) {
		t.Errorf("the one that they could have become: %v, want NotFound", err)
	}
	if u, err := env.Engine.User(t.Context(), env.Ann, "zoe"); err != nil || slices.Contains(u.Groups, "clerks") {
		t.Errorf("zoe is %+v, %v", u, err)
	}
}

// Who was revoked does not come back as somebody else where SQL has taken away what leads to
// them: what is sealed says whom the issuer means.
func TestASubjectWhoseRowIsGoneIsNobodyElse(t *testing.T) {
	t.Parallel()
	s := newStaff()
	creates := corp
	creates.Creates = true
	env := newCompany(t, s, creates)
	s.in["zoe"] = identity.Claims{Subject: "2", Name: "zoe"}
	s.in["bob"], s.in["new"] = identity.Claims{Subject: "3", Name: "bob"}, identity.Claims{Subject: "4", Name: "new"}
	loggedIn(t, env, "zoe")
	if _, err := env.Engine.RevokeUser(t.Context(), env.Ann, "zoe", api.ReasonRequest{Reason: "left"}, ""); err != nil {
		t.Fatal(err)
	}
	db := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
	zoe, err := env.Engine.User(t.Context(), env.Ann, "zoe")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`DELETE FROM credentials WHERE object = x'` + strings.ReplaceAll(zoe.Object, "-", "") + `'`); err != nil {
		t.Fatal(err)
	}
	s.in["zoe"] = identity.Claims{Subject: "2", Name: "eoz"}
	for code, restart := range map[string]bool{"bob": false, "new": true} {
		if restart {
			env.Restart(nil)
		}
		if in, err := logIn(t, env, "zoe"); !fault.Is(err, fault.Integrity) {
			t.Errorf("over a restart %v: %+v, %v, want Integrity", restart, in, err)
		}
		if _, err := env.Engine.LinkUser(t.Context(), env.Ann, "ann", api.LinkRequest{Issuer: "corp", Subject: "2"}, ""); !fault.Is(err, fault.Integrity) {
			t.Errorf("over a restart %v, linked to somebody else: %v, want Integrity", restart, err)
		}
		if _, c := loggedIn(t, env, code); c.Principal != code {
			t.Errorf("somebody else is %s", c.Principal)
		}
	}
	if _, err := env.Engine.User(t.Context(), env.Ann, "eoz"); !fault.Is(err, fault.NotFound) {
		t.Errorf("the one that they could have become: %v, want NotFound", err)
	}
}

// No issuer makes an Operator, not by a group either, and none takes the last
// administrator's role.
func TestWhatAnIssuerDoesNotGive(t *testing.T) {
	t.Parallel()
	s := newStaff()
	in := corp
	in.Given = []api.IssuerGroup{{Group: "ops", Groups: []string{"operators", "gone", "clerks"}}, {Group: "admins", Roles: []string{"Admin"}}}
	env := newCompany(t, s, in)
	if _, err := env.Engine.CreateGroup(t.Context(), env.Ann, api.GroupRequest{Name: "operators", Roles: []string{"Operator"}}, ""); err != nil {
		t.Fatal(err)
	}
	personWithPassword(t, env, "zoe")
	linked(t, env, "zoe", "7")
	linked(t, env, "ann", "1")
	s.in["zoe"] = identity.Claims{Subject: "7", Groups: []string{"ops"}}
	s.in["ann"] = identity.Claims{Subject: "1"}
	if _, c := loggedIn(t, env, "zoe"); !slices.Equal(c.Who.Principal().Groups, []string{"clerks"}) {
		t.Errorf("zoe is in %v", c.Who.Principal().Groups)
	}
	if _, err := logIn(t, env, "ann"); fault.CodeOf(err) != "last_administrator" {
		t.Errorf("the last administrator: %v", err)
	}
	if u, err := env.Engine.User(t.Context(), env.Ann, "ann"); err != nil || !slices.Contains(u.Roles, "Admin") {
		t.Errorf("ann is %+v, %v", u, err)
	}
}

// What a session is good for ends with the link and with the issuer.
func TestASessionEndsWithItsIssuer(t *testing.T) {
	t.Parallel()
	for name, take := range map[string]func(*testing.T, *testenv.Env, api.User) error{
		"the link": func(t *testing.T, env *testenv.Env, u api.User) error {
			_, err := env.Engine.UnlinkUser(t.Context(), env.Ann, "zoe", api.UnlinkRequest{ID: u.Identities[0].ID}, "")
			return err
		},
		"the issuer": func(t *testing.T, env *testenv.Env, _ api.User) error {
			_, err := env.Engine.RemoveIssuer(t.Context(), env.Ann, "corp", api.ReasonRequest{}, "")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStaff()
			env := newCompany(t, s, corp)
			personWithPassword(t, env, "zoe", "Executor")
			u := linked(t, env, "zoe", "7")
			s.in["zoe"] = identity.Claims{Subject: "7"}
			federated, c := loggedIn(t, env, "zoe")
			own := session(t, env, "zoe", home)
			verified, err := env.Engine.Verify(t.Context(), c, api.VerifyRequest{Password: zoesPassword}, browser)
			if err != nil || isIn(t, env, federated) || !isIn(t, env, verified) {
				t.Fatalf("the session in place of the first: %v", err)
			}
			if err := take(t, env, u); err != nil {
				t.Fatal(err)
			}
			if isIn(t, env, verified) || !admits(t, env, own) {
				t.Errorf("by the issuer: %v, by the password: %v; want this one alone", isIn(t, env, verified), admits(t, env, own))
			}
		})
	}
}

// An issuer's word is about somebody who may have left: for what asks for a proof of who
// they are, the issuer has to ask them anew.
func TestAnIssuersWordIsNoProof(t *testing.T) {
	t.Parallel()
	s := newStaff()
	env := newCompany(t, s, corp)
	personWithPassword(t, env, "zoe", "Executor")
	linked(t, env, "zoe", "7")
	s.in["zoe"] = identity.Claims{Subject: "7"}
	in, c := loggedIn(t, env, "zoe")
	if _, err := env.Engine.BeginPasskey(t.Context(), c); fault.CodeOf(err) != api.CodeStepUp || !in.Verified.IsZero() {
		t.Errorf("a passkey by the issuer's word, verified %v: %v, want %s", in.Verified, err, api.CodeStepUp)
	}
	at := engine.At{Tenant: "main", Issuer: "corp"}
	from := browser
	from.Former = in.Text
	b, err := env.Engine.BeginLogin(t.Context(), engine.Login{At: at, From: from, Redirect: backHere, Again: true})
	if err != nil {
		t.Fatal(err)
	}
	_, state, _ := strings.Cut(b.Address, "state=")
	again, err := env.Engine.FinishLogin(t.Context(), engine.LoginAnswer{At: at, From: from, Attempt: b.Attempt, Answer: url.Values{"code": {"zoe"}, "state": {state}}})
	if err != nil || again.Session.Verified.IsZero() || isIn(t, env, in) {
		t.Fatalf("asked anew: %+v, %v", again, err)
	}
	if c, err = env.Engine.AuthenticateCookie(t.Context(), again.Session.Text, browser.Host, browser.Address); err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.BeginPasskey(t.Context(), c); err != nil {
		t.Errorf("a passkey by a proof to the issuer: %v", err)
	}
}

// A page of another site can have a browser begin and finish a sign-in: it takes the place
// of no session of somebody else.
func TestASignInDisplacesNobodyElse(t *testing.T) {
	t.Parallel()
	s := newStaff()
	env := newCompany(t, s, corp)
	acme := env.Tenant("acme")
	setIssuer(t, acme, "corp", corp)
	for subject, name := range map[string]string{"7": "zoe", "8": "bob"} {
		personWithPassword(t, env, name, "Executor")
		linked(t, env, name, subject)
		s.in[name] = identity.Claims{Subject: subject}
	}
	first, _ := loggedIn(t, env, "zoe")
	in := func(code string) (engine.LoggedIn, error) {
		a := begin(t, env, code)
		a.From.Former = first.Text
		return env.Engine.FinishLogin(t.Context(), a)
	}
	from := browser
	from.Former = first.Text
	_, elsewhere := env.Engine.BeginLogin(t.Context(), engine.Login{At: engine.At{Tenant: "acme", Issuer: "corp"}, From: from, Redirect: backHere})
	_, other := in("bob")
	for what, err := range map[string]error{"at another company": elsewhere, "as somebody else": other} {
		if fault.CodeOf(err) != "signed_in_as_other" || !isIn(t, env, first) {
			t.Errorf("%s: %v, want signed_in_as_other, and the session still there", what, err)
		}
	}
	second, err := in("zoe")
	if err != nil || isIn(t, env, first) {
		t.Fatalf("as the same: %v", err)
	}
	first = second.Session
	c, err := env.Engine.AuthenticateCookie(t.Context(), first.Text, browser.Host, browser.Address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.SignOut(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if bob, err := in("bob"); err != nil || bob.Session.User != "bob" {
		t.Errorf("once she has signed out: %+v, %v", bob, err)
	}
}

// An issuer signs out whom it names, or one session of it, and nobody else.
func TestAnIssuerSignsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStaff()
		env := newCompany(t, s, corp)
		for subject, name := range map[string]string{"7": "zoe", "8": "bob"} {
			personWithPassword(t, env, name, "Executor")
			linked(t, env, name, subject)
		}
		for code, c := range map[string]identity.Claims{"zoe 1": {Subject: "7", Session: "1"}, "zoe 2": {Subject: "7", Session: "2"}, "zoe": {Subject: "7"}, "bob 1": {Subject: "8", Session: "1"}} {
			s.in[code] = c
		}
		out := engine.At{Tenant: "main", Issuer: "corp"}
		for _, c := range []struct {
			name string
			of   identity.Logout
			ends []string
		}{
			{"one session of somebody", identity.Logout{Subject: "7", Session: "1"}, []string{"zoe", "zoe 1"}},
			{"all of somebody", identity.Logout{Subject: "7"}, []string{"zoe", "zoe 1", "zoe 2"}},
			{"a session alone", identity.Logout{Session: "1"}, []string{"bob 1", "zoe 1"}},
			{"a session that is not here", identity.Logout{Session: "9"}, nil},
			{"somebody who is not here", identity.Logout{Subject: "9"}, nil},
		} {
			sessions := map[string]api.NewSession{}
			for code := range s.in {
				sessions[code], _ = loggedIn(t, env, code)
			}
			own := session(t, env, "zoe", home)
			time.Sleep(time.Second) // or they could have begun just now
			s.out["out"] = c.of
			if err := env.Engine.EndLogins(t.Context(), out, "out", "192.0.2.9"); err != nil {
				t.Fatal(err)
			}
			var ended []string
			for code, in := range sessions {
				if !isIn(t, env, in) {
					ended = append(ended, code)
				}
			}
			if slices.Sort(ended); !slices.Equal(ended, c.ends) || !admits(t, env, own) {
				t.Errorf("%s: %q end, want %q; by password: %v", c.name, ended, c.ends, admits(t, env, own))
			}
			time.Sleep(2 * time.Minute)
		}
		if err := env.Engine.EndLogins(t.Context(), out, "forged", "192.0.2.9"); !fault.Is(err, fault.Invalid) {
			t.Errorf("a token that does not count: %v", err)
		}
		found, err := env.Engine.Audit(t.Context(), env.Ann, api.AuditQuery{AuditFilter: api.AuditFilter{Kind: "session.ended", Address: "192.0.2.9"}})
		if err != nil || len(found.Items) != 10 || found.Items[0].Principal != "issuer corp" {
			t.Errorf("the log has %d ends by the issuer, %v", len(found.Items), err)
		}
	})
}

// An issuer is told that nobody was signed out, and does it again.
func TestASignOutThatFailsIsMadeAgain(t *testing.T) {
	t.Parallel()
	s := newStaff()
	env := newCompany(t, s, corp)
	personWithPassword(t, env, "zoe", "Executor")
	linked(t, env, "zoe", "7")
	s.in["zoe"], s.out["out"] = identity.Claims{Subject: "7"}, identity.Logout{Subject: "7"}
	in, _ := loggedIn(t, env, "zoe")
	away := fault.New(fault.Denied, "the database does not let us in")
	engine.FailErasures(env.Engine, func(point string) error {
		if point == "commit session.ended" {
			return away
		}
		return nil
	})
	at := engine.At{Tenant: "main", Issuer: "corp"}
	if err := env.Engine.EndLogins(t.Context(), at, "out", "192.0.2.9"); !errors.Is(err, away) || fault.Is(err, fault.Invalid) || !errors.Is(s.failed, away) || !isIn(t, env, in) {
		t.Errorf("a sign-out that fails: %v; of the token: %v; signed in still: %v", err, s.failed, isIn(t, env, in))
	}
	engine.FailErasures(env.Engine, nil)
	if err := env.Engine.EndLogins(t.Context(), at, "out", "192.0.2.9"); err != nil || isIn(t, env, in) {
		t.Errorf("again: %v; signed in still: %v", err, isIn(t, env, in))
	}
}

// A sign-out is of whom the issuer let in before it said so, by its clock: who shows it
// again, where it is not known to be the second time, ends nothing that was begun since,
// nor what is just beginning. What takes the place of a session is of the word by which
// that was begun.
func TestASignOutEndsNothingOfLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStaff()
		env, _ := newTwoCompanies(t, s)
		out := func() {
			if err := env.Engine.EndLogins(t.Context(), engine.At{Tenant: "main", Issuer: "corp"}, "out", "192.0.2.9"); err != nil {
				t.Error(err)
			}
		}
		begin := func() (api.NewSession, engine.Caller) {
			s.in["zoe"] = identity.Claims{Subject: "7", Issued: time.Now()}
			return loggedIn(t, env, "zoe")
		}
		first, _ := begin()
		_, c := begin()
		s.out["out"] = identity.Logout{Subject: "7", Until: time.Now()}
		time.Sleep(time.Minute)
		verified, err := env.Engine.Verify(t.Context(), c, api.VerifyRequest{Password: zoesPassword}, browser)
		if err != nil {
			t.Fatal(err)
		}
		later, _ := begin()
		out()
		if isIn(t, env, first) || isIn(t, env, verified) || !isIn(t, env, later) {
			t.Errorf("in are the first %v, what took the place of another %v, one of later %v; want the last alone", isIn(t, env, first), isIn(t, env, verified), isIn(t, env, later))
		}
		time.Sleep(time.Minute)
		r := redemption(handed(t, env, "main", "zoe", challengeOf(verifier)).Code)
		s.during = out
		if beginning, _ := begin(); !isIn(t, env, beginning) || !isIn(t, env, later) {
			t.Error("a sign-out that is shown again ends what is beginning, or was begun since")
		}
		program, err := env.Engine.RedeemLogin(t.Context(), r)
		if err != nil || !admits(t, env, program) {
			t.Fatalf("a program whose code was made before it was shown again: %v", err)
		}
		s.out["out"] = identity.Logout{Subject: "7", Until: time.Now()}
		if out(); isIn(t, env, later) || admits(t, env, program) {
			t.Error("a sign-out of now leaves somebody in")
		}
	})
}

// A session that is named alone is looked for by that, however many people are signed in.
func TestASignOutOfASessionIsLookedFor(t *testing.T) {
	t.Parallel()
	s := newStaff()
	q := &asked{Issuers: s}
	env := testenv.New(t, func(c *node.Config) { c.Issuers, c.Observe = q, q.note })
	setIssuer(t, env, "corp", api.IssuerRequest{Kind: "people", URL: idp, Client: "underseal", Secret: "sesame"})
	if _, err := env.Engine.InviteUser(t.Context(), env.Ann, api.UserRequest{Name: "zoe", Kind: "user"}, ""); err != nil {
		t.Fatal(err)
	}
	linked(t, env, "zoe", "7")
	var sessions []api.NewSession
	for _, there := range []string{"1", "2", "3", "4", "5", ""} {
		s.in["zoe"] = identity.Claims{Subject: "7", Session: there}
		in, _ := loggedIn(t, env, "zoe")
		sessions = append(sessions, in)
	}
	s.out["out"] = identity.Logout{Session: "3"}
	if err := env.Engine.EndLogins(context.WithValue(t.Context(), lookedAt{}, true), engine.At{Tenant: "main", Issuer: "corp"}, "out", "192.0.2.9"); err != nil {
		t.Fatal(err)
	}
	var read []string
	for _, what := range q.take() {
		if strings.Contains(what, "FROM sessions WHERE") && !strings.Contains(what, "DELETE") {
			read = append(read, what)
		}
	}
	if len(read) != 1 || !strings.HasPrefix(read[0], "1 rows") {
		t.Errorf("read are %q, want the one session", read)
	}
	for i, in := range sessions {
		if isIn(t, env, in) != (i != 2) {
			t.Errorf("session %d is in: %v", i+1, i == 2)
		}
	}
}

// Who is signed out at the issuer while a session of theirs begins gets none.
func TestASignOutIsNotOvertaken(t *testing.T) {
	t.Parallel()
	s := newStaff()
	env := newCompany(t, s, corp)
	personWithPassword(t, env, "zoe", "Executor")
	linked(t, env, "zoe", "7")
	s.in["zoe"], s.out["out"] = identity.Claims{Subject: "7", Session: "1"}, identity.Logout{Subject: "7", Session: "1"}
	s.during = func() {
		if err := env.Engine.EndLogins(t.Context(), engine.At{Tenant: "main", Issuer: "corp"}, "out", "192.0.2.9"); err != nil {
			t.Error(err)
		}
	}
	if in, err := logIn(t, env, "zoe"); !unauthenticated(err) || in != (engine.LoggedIn{}) {
		t.Errorf("signed in: %+v, %v", in, err)
	}
	all, err := env.Engine.Sessions(t.Context(), env.Ann, "zoe", engine.Page{})
	if err != nil || len(all.Items) != 0 {
		t.Errorf("zoe is signed in by %+v, %v", all, err)
	}
}
