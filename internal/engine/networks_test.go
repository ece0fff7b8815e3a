package engine_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/password"
	"github.com/underseal/underseal/internal/testenv"
)

// wayIn is a way to prove who one is, and whether the tenant's rows are read before the
// network is known to be wrong: where a link leads decides whose networks count.
type wayIn struct {
	name  string
	links bool
	try   func(from engine.From) error
}

// TestNetworksComeFirst tries each way in from outside the tenant's networks and those of a
// role: it is refused like whatever is wrong, before anything of the tenant is read for it,
// or hashed. From inside the very same works.
func TestNetworksComeFirst(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("hashes passwords, which costs by design")
	}
	gate := &password.Gate{Slots: 2, Line: 1}
	staff, read := newStaff(), &reads{}
	staff.words = words{"robot": {Subject: "7", Expires: time.Now().Add(time.Hour)}}
	staff.in["zoe"] = identity.Claims{Subject: "8"}
	env := testenv.New(t, func(c *node.Config) { c.Issuers, c.Passwords, c.Observe = staff, gate, read.note })
	acme := env.Tenant("acme")
	ways := waysIn(t, acme, staff)
	setNetworks(t, acme, api.Networks{All: []string{"192.0.2.0/24"}, Roles: []api.RoleNetworks{
		{Role: "Viewer", From: []string{"192.0.2.0/28"}}, {Role: "Executor", From: []string{"192.0.2.0/28"}},
	}})
	if _, err := acme.Engine.Authenticate(t.Context(), acme.Key(), "192.0.2.1"); err != nil { // so that the networks are known
		t.Fatal(err)
	}
	from := func(address string) engine.From { return engine.From{Address: address, Host: browser.Host} }
	for _, way := range ways {
		refused := func(where, address string) {
			t.Helper()
			read.begin("acme")
			err := way.try(from(address))
			if !unauthenticated(err) && fault.CodeOf(err) != "no_login" {
				t.Errorf("%s from outside %s: %v", way.name, where, err)
			}
			if where == "the tenant" && !way.links && read.end() > 0 {
				t.Errorf("%s from outside %s: %d queries about the tenant", way.name, where, read.end())
			}
		}
		end := occupied(t, gate, "acme")
		refused("the tenant", "198.51.100.1")
		refused("the tenant", "")
		if way.links { // whose they are is known
			refused("the role", "192.0.2.99")
		}
		end()
		refused("the role", "192.0.2.99")
		if err := way.try(from("192.0.2.7")); err != nil {
			t.Errorf("%s from inside: %v", way.name, err)
		}
	}
	checkedWhole(t, env)
}

// Nor does who comes from outside see by the time that there is the tenant: whoever names
// none has the same asked of the databases and of who reads tokens.
func TestFromOutsideATenantIsLikeNone(t *testing.T) {
	t.Parallel()
	q := &asked{Issuers: newStaff()}
	env := testenv.New(t, func(c *node.Config) { c.Issuers, c.Observe = q, q.note })
	acme := env.Tenant("acme")
	setIssuer(t, acme, "robots", robots)
	setIssuer(t, acme, "corp", api.IssuerRequest{Kind: "people", URL: idp, Client: "underseal"})
	setNetworks(t, acme, api.Networks{All: []string{"192.0.2.0/24"}})
	ctx, e, a := context.WithValue(t.Context(), lookedAt{}, true), env.Engine, testenv.NewAuthenticator(t, true)
	lone, _ := (authority{}).issue(t, holder("lone"))
	outside := engine.From{Address: "198.51.100.1", Host: browser.Host}
	service := func(p engine.Presented) error {
		p.Address = outside.Address
		_, err := e.AuthenticateService(ctx, p)
		return err
	}
	for name, way := range map[string]struct {
		try  func(tenant string) error
		asks int // at least
	}{
		"an API key": {func(tenant string) error {
			_, err := e.Authenticate(ctx, identity.APIKeyText.Generate(tenant), outside.Address)
			return err
		}, 1},
		"a session's text": {func(tenant string) error {
			_, err := e.Authenticate(ctx, identity.SessionText.Generate(tenant), outside.Address)
			return err
		}, 1},
		"a cookie": {func(tenant string) error {
			_, err := e.AuthenticateCookie(ctx, identity.SessionText.Generate(tenant), browser.Host, outside.Address)
			return err
		}, 1},
		"a link": {func(tenant string) error {
			_, err := e.Setup(ctx, api.SetupRequest{Link: identity.LinkText.Generate(tenant)}, outside.Address)
			return err
		}, 1},
		"a password": {func(tenant string) error {
			_, err := e.SignIn(ctx, api.SignInRequest{Tenant: tenant, Name: "zoe", Password: zoesPassword}, outside)
			return err
		}, 0},
		"a passkey": {func(tenant string) error {
			in := a.SignIn(askToSignIn(t, env))
			in.User = base64.RawURLEncoding.EncodeToString([]byte(tenant + "/0123456789abcdef"))
			_, err := e.SignInByPasskey(ctx, in, outside)
			return err
		}, 1},
		"a service's token": {func(tenant string) error { return service(engine.Presented{Tenant: tenant, Token: "robot"}) }, 1},
		"a client certificate": {func(tenant string) error {
			return service(engine.Presented{Tenant: tenant, Chain: []*x509.Certificate{lone}})
		}, 1},
		"an issuer's sign-in": {func(tenant string) error {
			_, err := e.BeginLogin(ctx, engine.Login{At: engine.At{Tenant: tenant, Issuer: "corp"}, From: outside, Redirect: backHere})
			return err
		}, 0},
		"an issuer's answer": {func(tenant string) error {
			_, err := e.FinishLogin(ctx, engine.LoginAnswer{At: engine.At{Tenant: tenant, Issuer: "corp"}, From: outside, Answer: url.Values{"code": {"zoe"}}})
			return err
		}, 0},
	} {
		during := func(tenant string) []string {
			q.take()
			if err := way.try(tenant); !unauthenticated(err) && fault.CodeOf(err) != "no_login" {
				t.Errorf("%s of %s: %v", name, tenant, err)
			}
			return q.take()
		}
		for _, tenant := range []string{"acme", "none"} { // what is remembered is remembered of both
			during(tenant)
		}
		there, none := during("acme"), during("none")
		if !slices.Equal(there, none) || len(there) < way.asks {
			t.Errorf("%s: from outside of a tenant is asked\n%q\nand for none\n%q\nwant the same, and %d at least", name, there, none, way.asks)
		}
	}
}

// asked is what is asked in calls that are looked at, of databases and of who reads tokens.
type asked struct {
	engine.Issuers
	mu   sync.Mutex
	what []string
}

func (q *asked) note(ctx context.Context, _, query string, rows int) {
	if ctx.Value(lookedAt{}) != nil {
		q.add(fmt.Sprintf("%d rows of %s", rows, strings.Join(strings.Fields(query), " ")))
	}
}

func (q *asked) IssuerOf(token string) (string, bool) {
	q.add("whose token it is")
	return q.Issuers.IssuerOf(token)
}

func (q *asked) add(what string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.what = append(q.what, what)
}

// take returns, in no order, what was asked since it was taken before.
func (q *asked) take() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	defer func() { q.what = nil }()
	return slices.Sorted(slices.Values(q.what))
}

// A password that is right says nothing to who comes from elsewhere, nor does a passkey's
// answer that is wrong.
func TestFromOutsideARoleNothingIsCompared(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	a := testenv.NewAuthenticator(t, true)
	personWithPasskey(t, env, "zoe", a, "Viewer")
	setNetworks(t, env, api.Networks{Roles: []api.RoleNetworks{{Role: "Viewer", From: []string{"192.0.2.0/28"}}}})
	elsewhere := engine.From{Address: "192.0.2.99"}
	_, right := attempt(t, env, "main", "zoe", zoesPassword, elsewhere)
	_, wrong := attempt(t, env, "main", "zoe", otherWords, elsewhere)
	if !unauthenticated(right) || right.Error() != wrong.Error() {
		t.Errorf("the right password: %v, another: %v", right, wrong)
	}
	a.Origin = "https://evil.example.org"
	_, err := env.Engine.SignInByPasskey(t.Context(), a.SignIn(askToSignIn(t, env)), elsewhere)
	if cause := errors.Unwrap(err); !unauthenticated(err) || cause == nil || !strings.Contains(cause.Error(), "may not come in") {
		t.Errorf("a wrong answer of the passkey: %v because of %v, want that it is not looked at", err, cause)
	}
}

// Who fills the line of those who come from elsewhere fills nobody's who may come in.
func TestWhoComesFromElsewhereTakesNoTurn(t *testing.T) {
	t.Parallel()
	gate := &password.Gate{Slots: 2, Line: 1}
	env := testenv.New(t, func(c *node.Config) { c.Passwords = gate })
	personWithPassword(t, env, "zoe")
	setNetworks(t, env, api.Networks{All: []string{"192.0.2.0/24"}})
	held, ends := make(chan struct{}), make(chan struct{})
	over := make(chan error)
	go func() {
		over <- gate.Pretend(t.Context(), "main", func() error { close(held); <-ends; return nil })
	}()
	<-held
	if _, err := attempt(t, env, "main", "zoe", zoesPassword, engine.From{Address: "198.51.100.1"}); fault.CodeOf(err) != api.CodeTooMany {
		t.Errorf("one more from elsewhere: %v, want it refused like a name that is no tenant's", err)
	}
	session(t, env, "zoe", home)
	close(ends)
	if err := <-over; err != nil {
		t.Error(err)
	}
}

// asWeHash is a list of no passwords, which does something while one is asked for.
type asWeHash struct{ do func() }

func (w *asWeHash) Contains(string) (bool, error) {
	if w.do != nil {
		w.do()
	}
	return false, nil
}

// Networks that are set while a first password is hashed count.
func TestALinkIsUsedFromTheNetworksOfThen(t *testing.T) {
	t.Parallel()
	meanwhile := &asWeHash{}
	env := testenv.New(t, func(c *node.Config) { c.Breached = meanwhile })
	invited, err := env.Engine.InviteUser(t.Context(), env.Ann, api.UserRequest{Name: "zoe", Kind: "user"}, "")
	if err != nil {
		t.Fatal(err)
	}
	meanwhile.do = func() { setNetworks(t, env, api.Networks{All: []string{"192.0.2.1"}}) }
	if _, err := env.Engine.Setup(t.Context(), api.SetupRequest{Link: invited.Link, Password: zoesPassword}, home.Address); !unauthenticated(err) {
		t.Errorf("the link is used from elsewhere: %v", err)
	}
}

// occupied fills a tenant's line with a hash that does not end until end is called.
func occupied(t *testing.T, gate *password.Gate, tenant string) (end func()) {
	t.Helper()
	held, ends, over := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() { over <- gate.Do(t.Context(), tenant, func() error { close(held); <-ends; return nil }) }()
	<-held
	return func() {
		close(ends)
		if err := <-over; err != nil {
			t.Error(err)
		}
	}
}

// reads counts the queries about a tenant in calls that are being looked at.
type reads struct {
	mu      sync.Mutex
	tenant  string
	queries int
}

// lookedAt marks the context of such a call.
type lookedAt struct{}

func (r *reads) note(ctx context.Context, tenant, _ string, _ int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if tenant == r.tenant && ctx.Value(lookedAt{}) != nil {
		r.queries++
	}
}

func (r *reads) begin(tenant string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tenant, r.queries = tenant, 0
}

func (r *reads) end() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.queries
}

// waysIn makes people and programs of a company, each with a role, and what they come with.
func waysIn(t *testing.T, acme *testenv.Env, s *staff) []wayIn {
	t.Helper()
	ctx, e := context.WithValue(t.Context(), lookedAt{}, true), acme.Engine
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	a := testenv.NewAuthenticator(t, true)
	personWithPasskey(t, acme, "zoe", a, "Viewer")
	key := acme.PersonsKey("kay", "Viewer")
	text, err := attempt(t, acme, "acme", "zoe", zoesPassword, home)
	must(err)
	cookie, err := attempt(t, acme, "acme", "zoe", zoesPassword, browser)
	must(err)
	setIssuer(t, acme, "robots", robots)
	setIssuer(t, acme, "corp", api.IssuerRequest{Kind: "people", URL: idp, Client: "underseal", Secret: "sesame"})
	linked(t, acme, "zoe", "8")
	lone, _ := (authority{}).issue(t, holder("lone"))
	newService(t, acme, "robot", api.LinkRequest{Issuer: "robots", Subject: "7"}, api.LinkRequest{Issuer: "certificate", Subject: identity.Fingerprint(lone)})
	link := func(name string) string {
		invited, err := e.InviteUser(ctx, acme.Ann, api.UserRequest{Name: name, Kind: "user", Roles: []string{"Viewer"}}, "")
		must(err)
		return invited.Link
	}
	forKey, forPassword := link("kim"), link("pat")
	reset, err := e.ResetPassword(ctx, acme.Ann, "zoe", api.ReasonRequest{Reason: "forgotten"}, "")
	must(err)
	setup := func(link, words string) func(engine.From) error {
		return func(from engine.From) error {
			_, err := e.Setup(ctx, api.SetupRequest{Link: link, Password: words}, from.Address)
			return err
		}
	}
	at := engine.At{Tenant: "acme", Issuer: "corp"}
	b, err := e.BeginLogin(ctx, engine.Login{At: at, From: browser, Redirect: backHere})
	must(err)
	_, state, _ := strings.Cut(b.Address, "state=")
	code := handed(t, acme, "acme", "zoe", challengeOf(verifier)).Code
	waiting := beginFor(t, acme, "acme", "zoe", challengeOf(verifier))
	return []wayIn{
		{"an API key", false, func(f engine.From) error { _, err := e.Authenticate(ctx, key, f.Address); return err }},
		{"a session's text", false, func(f engine.From) error { _, err := e.Authenticate(ctx, text.Text, f.Address); return err }},
		{"a cookie", false, func(f engine.From) error {
			_, err := e.AuthenticateCookie(ctx, cookie.Text, browser.Host, f.Address)
			return err
		}},
		{"a password", false, func(f engine.From) error {
			_, err := e.SignIn(ctx, api.SignInRequest{Tenant: "acme", Name: "zoe", Password: zoesPassword}, f)
			return err
		}},
		{"a passkey", false, func(f engine.From) error {
			_, err := e.SignInByPasskey(ctx, a.SignIn(askToSignIn(t, acme)), f)
			return err
		}},
		{"a service's token", false, func(f engine.From) error {
			_, err := e.AuthenticateService(ctx, engine.Presented{Tenant: "acme", Token: "robot", Address: f.Address})
			return err
		}},
		{"a client certificate", false, func(f engine.From) error {
			_, err := e.AuthenticateService(ctx, engine.Presented{Tenant: "acme", Chain: []*x509.Certificate{lone}, Address: f.Address})
			return err
		}},
		{"an issuer's answer", false, func(f engine.From) error {
			_, err := e.FinishLogin(ctx, engine.LoginAnswer{At: at, From: f, Attempt: b.Attempt, Answer: url.Values{"code": {"zoe"}, "state": {state}}})
			return err
		}},
		{"a program's code", false, func(f engine.From) error {
			_, err := e.RedeemLogin(ctx, engine.Redemption{At: at, From: f, LoginRedemption: api.LoginRedemption{Code: code, Verifier: verifier}})
			return err
		}},
		{"a browser's answer for a program", false, func(f engine.From) error {
			answer := waiting
			answer.From = f
			_, err := e.FinishLogin(ctx, answer)
			return err
		}},
		{"a link for a key", true, setup(forKey, "")},
		{"a link for a first password", true, setup(forPassword, zoesPassword)},
		{"a link for another password", true, setup(reset.Link, otherWords)},
	}
}
