package engine_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/passkey"
	"github.com/underseal/underseal/internal/testenv"
)

// registerPasskey gives whoever is signed in a passkey.
func registerPasskey(t *testing.T, env *testenv.Env, c engine.Caller, a *testenv.Authenticator) api.Passkey {
	t.Helper()
	q, err := env.Engine.BeginPasskey(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	k, err := env.Engine.RegisterPasskey(t.Context(), c, a.Create("laptop", q))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// personWithPasskey is a person with a password who is signed in and has a passkey.
func personWithPasskey(t *testing.T, env *testenv.Env, name string, a *testenv.Authenticator, roles ...string) (engine.Caller, api.Passkey) {
	t.Helper()
	personWithPassword(t, env, name, roles...)
	s, err := attempt(t, env, env.Ann.Scope.Tenant(), name, zoesPassword, home)
	if err != nil {
		t.Fatal(err)
	}
	c := by(t, env, s)
	return c, registerPasskey(t, env, c, a)
}

func askToSignIn(t *testing.T, env *testenv.Env) api.PasskeyQuestion {
	t.Helper()
	q, err := env.Engine.BeginPasskeySignIn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestSigningInByPasskey(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	for name, ed := range map[string]bool{"ed25519": true, "p256": false} {
		t.Run(name, func(t *testing.T) {
			a := testenv.NewAuthenticator(t, ed)
			_, k := personWithPasskey(t, env, name, a, "Viewer")
			s, err := env.Engine.SignInByPasskey(t.Context(), a.SignIn(askToSignIn(t, env)), home)
			if err != nil || s.User != name || s.How != "passkey" {
				t.Fatalf("signed in: %+v, %v", s, err)
			}
			if c := by(t, env, s); c.Principal != name || c.Scope.Tenant() != "main" {
				t.Errorf("the session is of %+v", c)
			}
			u, err := env.Engine.User(t.Context(), by(t, env, s), name)
			if err != nil || len(u.Passkeys) != 1 || u.Passkeys[0] != k || k.Name != "laptop" || k.Synced {
				t.Errorf("their passkeys are %+v, %v, want %+v", u.Passkeys, err, k)
			}
			signers, err := env.Engine.Signers(t.Context(), env.Ann)
			i := slices.IndexFunc(signers.Items, func(s api.Signer) bool { return s.Name == k.Signer })
			if err != nil || i < 0 || signers.Items[i].Kind != "person" || signers.Items[i].Principal != name || signers.Items[i].Key != k.Key {
				t.Errorf("the signers are %+v, %v, want one of %+v", signers.Items, err, k)
			}
		})
	}
}

// Whatever is wrong with a passkey, nobody is signed in, the answer is the same, and the
// log is told. What is asked for twice, or for something else, has a word of its own.
func TestWrongPasskeysSignNobodyIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := testenv.New(t, nil)
		acme := env.Tenant("acme")
		zoe, bob, eve := testenv.NewAuthenticator(t, false), testenv.NewAuthenticator(t, true), testenv.NewAuthenticator(t, false)
		zoes, _ := personWithPasskey(t, env, "zoe", zoe)
		personWithPasskey(t, env, "bob", bob)
		eves := testenv.NewAuthenticator(t, false)
		personWithPasskey(t, acme, "zoe", eves)
		eve.Handle, eve.ID = zoe.Handle, zoe.ID
		handle := func(a *testenv.Authenticator, text string) *testenv.Authenticator {
			a = a.Copy()
			a.Handle = base64.RawURLEncoding.EncodeToString([]byte(text))
			return a
		}
		raw, err := base64.RawURLEncoding.DecodeString(zoe.Handle)
		if err != nil {
			t.Fatal(err)
		}
		object := string(raw[len("main/"):])
		with := func(edit func(*testenv.Authenticator)) *testenv.Authenticator {
			a := zoe.Copy()
			edit(a)
			return a
		}
		verify, err := env.Engine.BeginVerify(t.Context(), zoes)
		if err != nil {
			t.Fatal(err)
		}
		said := ""
		for _, c := range []struct {
			name, code string
			a          *testenv.Authenticator
		}{
			{"another origin", "unauthenticated", with(func(a *testenv.Authenticator) { a.Origin = "https://evil.example.org" })},
			{"a relying party that is another", "unauthenticated", with(func(a *testenv.Authenticator) { a.RP = "example.org" })},
			{"a person who was not verified", "unauthenticated", with(func(a *testenv.Authenticator) { a.Flags = 0x01 })},
			{"nobody there", "unauthenticated", with(func(a *testenv.Authenticator) { a.Flags = 0x04 })},
			{"a registration", "unauthenticated", with(func(a *testenv.Authenticator) { a.Type = "webauthn.create" })},
			{"somebody else's key", "unauthenticated", eve},
			{"somebody else's passkey", "unauthenticated", with(func(a *testenv.Authenticator) { a.Handle = bob.Handle })},
			{"the other company's passkey", "unauthenticated", handle(eves, "main/"+object)},
			{"one's own passkey at the other company", "unauthenticated", handle(zoe, "acme/"+object)},
			{"no company", "unauthenticated", handle(zoe, "none/"+object)},
			{"nobody's handle", "unauthenticated", handle(zoe, "main/"+strings.Repeat("x", 16))},
			{"a handle that is none", "unauthenticated", handle(zoe, "zoe")},
			{"another challenge", "challenge_unknown", with(func(a *testenv.Authenticator) { a.Challenge = base64.RawURLEncoding.EncodeToString(make([]byte, 32)) })},
			{"a challenge that is none", "challenge_unknown", with(func(a *testenv.Authenticator) { a.Challenge = "AAAA" })},
			{"a challenge for something else", "challenge_unknown", with(func(a *testenv.Authenticator) { a.Challenge = verify.PublicKey.Challenge })},
		} {
			s, err := env.Engine.SignInByPasskey(t.Context(), c.a.SignIn(askToSignIn(t, env)), home)
			if fault.CodeOf(err) != c.code || !fault.Is(err, fault.Denied) || s != (api.NewSession{}) {
				t.Errorf("%s: %+v, %v, want %s", c.name, s, err, c.code)
				continue
			}
			if c.code == "unauthenticated" && said == "" {
				said = err.Error()
			}
			if c.code == "unauthenticated" && err.Error() != said {
				t.Errorf("%s: %v, want the same for everything: %s", c.name, err, said)
			}
		}
		if _, err := env.Engine.DisableUser(t.Context(), env.Ann, "zoe", api.ReasonRequest{}, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := env.Engine.SignInByPasskey(t.Context(), zoe.SignIn(askToSignIn(t, env)), home); !unauthenticated(err) {
			t.Errorf("somebody disabled: %v", err)
		}
		time.Sleep(2 * time.Second) // until it is in the log
		found, err := env.Engine.Audit(t.Context(), env.Ann, api.AuditQuery{AuditFilter: api.AuditFilter{Kind: "sign_in.failed", Principal: "zoe"}})
		if err != nil || len(found.Items) == 0 {
			t.Errorf("the log has %+v, %v, want that somebody tried", found.Items, err)
		}
	})
}

// What is wrong with a registration gives nobody a passkey.
func TestWrongRegistrationsAreRefused(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	personWithPassword(t, env, "zoe")
	s, other := session(t, env, "zoe", home), session(t, env, "zoe", home)
	c := by(t, env, s)
	for _, test := range []struct {
		name, code string
		edit       func(*testenv.Authenticator)
	}{
		{"another origin", "webauthn_origin", func(a *testenv.Authenticator) { a.Origin = "https://seal.example.org.evil.example" }},
		{"another relying party", "webauthn_rp", func(a *testenv.Authenticator) { a.RP = "evil.example" }},
		{"a person who was not verified", "webauthn_verification", func(a *testenv.Authenticator) { a.Flags = 0x01 }},
		{"nobody there", "webauthn_presence", func(a *testenv.Authenticator) { a.Flags = 0x04 }},
		{"an answer", "webauthn_type", func(a *testenv.Authenticator) { a.Type = "webauthn.get" }},
		{"another challenge", "challenge_unknown", func(a *testenv.Authenticator) { a.Challenge = base64.RawURLEncoding.EncodeToString(make([]byte, 32)) }},
		{"a challenge to sign in", "challenge_unknown", func(a *testenv.Authenticator) { a.Challenge = askToSignIn(t, env).PublicKey.Challenge }},
		{"a challenge of another session", "challenge_unknown", func(a *testenv.Authenticator) {
			q, err := env.Engine.BeginPasskey(t.Context(), by(t, env, other))
			if err != nil {
				t.Fatal(err)
			}
			a.Challenge = q.PublicKey.Challenge
		}},
	} {
		a := testenv.NewAuthenticator(t, false)
		test.edit(a)
		q, err := env.Engine.BeginPasskey(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := env.Engine.RegisterPasskey(t.Context(), c, a.Create("x", q)); fault.CodeOf(err) != test.code || !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v, want %s", test.name, err, test.code)
		}
	}
	a := testenv.NewAuthenticator(t, false)
	q, err := env.Engine.BeginPasskey(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	in := a.Create("laptop", q)
	if _, err := env.Engine.RegisterPasskey(t.Context(), c, in); err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.RegisterPasskey(t.Context(), c, in); fault.CodeOf(err) != "unchanged" && fault.CodeOf(err) != "challenge_unknown" {
		t.Errorf("the same registration again: %v", err)
	}
	personWithPassword(t, env, "eve")
	eve := by(t, env, session(t, env, "eve", home))
	if q, err = env.Engine.BeginPasskey(t.Context(), eve); err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.RegisterPasskey(t.Context(), eve, a.Create("stolen", q)); fault.CodeOf(err) != "signer_key_used" {
		t.Errorf("somebody else's passkey registered: %v", err)
	}
	if _, err := env.Engine.BeginPasskey(t.Context(), env.Ann); fault.CodeOf(err) != "no_session" {
		t.Errorf("by an API key: %v", err)
	}
	if u, err := env.Engine.User(t.Context(), env.Ann, "zoe"); err != nil || len(u.Passkeys) != 1 {
		t.Errorf("they have %+v, %v, want one", u.Passkeys, err)
	}
}

// A challenge counts once, for five minutes, and not after a restart.
func TestAChallengeCountsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := testenv.New(t, nil)
		a := testenv.NewAuthenticator(t, false)
		personWithPasskey(t, env, "zoe", a)
		in := a.SignIn(askToSignIn(t, env))
		if _, err := env.Engine.SignInByPasskey(t.Context(), in, home); err != nil {
			t.Fatal(err)
		}
		if _, err := env.Engine.SignInByPasskey(t.Context(), in, home); fault.CodeOf(err) != "challenge_unknown" {
			t.Errorf("the same answer again: %v", err)
		}
		late, early, restarted := a.SignIn(askToSignIn(t, env)), a.SignIn(askToSignIn(t, env)), a.SignIn(askToSignIn(t, env))
		time.Sleep(passkey.Age - time.Second)
		if _, err := env.Engine.SignInByPasskey(t.Context(), early, home); err != nil {
			t.Errorf("within five minutes: %v", err)
		}
		time.Sleep(time.Second)
		if _, err := env.Engine.SignInByPasskey(t.Context(), late, home); fault.CodeOf(err) != "challenge_unknown" {
			t.Errorf("after five minutes: %v", err)
		}
		env.Restart(nil)
		if _, err := env.Engine.SignInByPasskey(t.Context(), restarted, home); fault.CodeOf(err) != "challenge_unknown" {
			t.Errorf("after a restart: %v", err)
		}
	})
}

// A passkey that counts its signatures signs in while the count grows; one whose count
// does not grow may be a copy: it signs nobody in, and the log has it.
func TestACopiedPasskeyRaisesTheAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := testenv.New(t, nil)
		a := testenv.NewAuthenticator(t, false)
		a.Counter = 7
		personWithPasskey(t, env, "zoe", a)
		copied := a.Copy()
		for range 2 {
			if _, err := env.Engine.SignInByPasskey(t.Context(), a.SignIn(askToSignIn(t, env)), home); err != nil {
				t.Fatal(err)
			}
		}
		env.Restart(nil)
		still := a.Copy()
		still.Counter-- // it answers with the same count as the last time
		none := a.Copy()
		none.Counter = 0
		for name, b := range map[string]*testenv.Authenticator{"a count that went back": copied, "a count that stands still": still, "no count any more": none} {
			if _, err := env.Engine.SignInByPasskey(t.Context(), b.SignIn(askToSignIn(t, env)), home); !unauthenticated(err) {
				t.Errorf("%s: %v, want nobody signed in", name, err)
			}
		}
		time.Sleep(2 * time.Second) // until it is in the log
		found, err := env.Engine.Audit(t.Context(), env.Ann, api.AuditQuery{AuditFilter: api.AuditFilter{Kind: "passkey.copied", Principal: "zoe"}})
		if err != nil || len(found.Items) != 3 {
			t.Errorf("the log has %+v, %v, want three alarms", found.Items, err)
		}
		if _, err := env.Engine.SignInByPasskey(t.Context(), a.SignIn(askToSignIn(t, env)), home); err != nil {
			t.Errorf("the passkey whose count grows: %v", err)
		}
	})
}

// What weighs more asks for a proof that is no older than five minutes, by password or
// passkey.
func TestStepUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := testenv.New(t, nil)
		a, b := testenv.NewAuthenticator(t, false), testenv.NewAuthenticator(t, true)
		c, k := personWithPasskey(t, env, "zoe", a)
		time.Sleep(5*time.Minute + time.Second)
		_, begin := env.Engine.BeginPasskey(t.Context(), c)
		_, register := env.Engine.RegisterPasskey(t.Context(), c, api.PasskeyRequest{})
		_, remove := env.Engine.RemovePasskey(t.Context(), c, k.ID, api.ReasonRequest{}, "")
		for name, err := range map[string]error{"begin": begin, "register": register, "remove": remove} {
			if fault.CodeOf(err) != api.CodeStepUp || !fault.Is(err, fault.Denied) {
				t.Errorf("%s: %v, want %s", name, err, api.CodeStepUp)
			}
		}
		q, err := env.Engine.BeginVerify(t.Context(), c)
		if err != nil || len(q.PublicKey.Allow) != 1 {
			t.Fatalf("asked are %+v, %v, want the one passkey", q.PublicKey.Allow, err)
		}
		wrong := b.Get(q.PublicKey)
		if _, err := env.Engine.Verify(t.Context(), c, api.VerifyRequest{Passkey: &wrong}, home); fault.CodeOf(err) != "wrong_passkey" {
			t.Errorf("by another passkey: %v", err)
		}
		answer := a.Get(q.PublicKey)
		for name, in := range map[string]api.VerifyRequest{"by nothing": {}, "by both": {Password: zoesPassword, Passkey: &answer}} {
			if _, err := env.Engine.Verify(t.Context(), c, in, home); fault.CodeOf(err) != "no_proof" {
				t.Errorf("%s: %v", name, err)
			}
		}
		s, err := env.Engine.Verify(t.Context(), c, api.VerifyRequest{Passkey: &answer}, home)
		if err != nil || s.How != "passkey" || s.Verified.Before(c.Session.Verified.Add(5*time.Minute)) {
			t.Fatalf("proved by the passkey: %+v, %v", s, err)
		}
		registerPasskey(t, env, by(t, env, s), b)
		if _, err := env.Engine.Verify(t.Context(), by(t, env, s), api.VerifyRequest{Passkey: &answer}, home); fault.CodeOf(err) != "challenge_unknown" {
			t.Errorf("the same answer for the next session: %v", err)
		}
	})
}

// A passkey that is taken away signs nobody in.
func TestRemovingPasskeys(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	a, b := testenv.NewAuthenticator(t, false), testenv.NewAuthenticator(t, true)
	c, k := personWithPasskey(t, env, "zoe", a)
	last := registerPasskey(t, env, c, b)
	bob, _ := personWithPasskey(t, env, "bob", testenv.NewAuthenticator(t, false))
	if _, err := env.Engine.RemovePasskey(t.Context(), bob, k.ID, api.ReasonRequest{}, ""); !fault.Is(err, fault.Denied) {
		t.Errorf("by somebody else: %v", err)
	}
	if _, err := env.Engine.RevokeSigner(t.Context(), env.Ann, k.Signer, api.RevokeSignerRequest{}, ""); fault.CodeOf(err) != "is_passkey" {
		t.Errorf("as a signer: %v", err)
	}
	if gone, err := env.Engine.RemovePasskey(t.Context(), c, k.ID, api.ReasonRequest{}, ""); err != nil || gone != k {
		t.Fatalf("removed: %+v, %v, want %+v", gone, err, k)
	}
	if _, err := env.Engine.RemovePasskey(t.Context(), c, k.ID, api.ReasonRequest{}, ""); !fault.Is(err, fault.NotFound) {
		t.Errorf("again: %v", err)
	}
	if _, err := env.Engine.SignInByPasskey(t.Context(), a.SignIn(askToSignIn(t, env)), home); !unauthenticated(err) {
		t.Errorf("signed in by the one that was removed: %v", err)
	}
	if _, err := env.Engine.SignInByPasskey(t.Context(), b.SignIn(askToSignIn(t, env)), home); err != nil {
		t.Errorf("signed in by the other one: %v", err)
	}
	if u, err := env.Engine.RevokeUser(t.Context(), env.Ann, "zoe", api.ReasonRequest{}, ""); err != nil || len(u.Passkeys) != 0 {
		t.Errorf("after revoking everything: %+v, %v", u.Passkeys, err)
	}
	signers, err := env.Engine.Signers(t.Context(), env.Ann)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range signers.Items {
		if s.Principal == "zoe" && s.State != "revoked" {
			t.Errorf("signer %s is %s", s.Name, s.State)
		}
	}
	if _, err := env.Engine.RemovePasskey(t.Context(), env.Ann, last.ID, api.ReasonRequest{}, ""); !fault.Is(err, fault.NotFound) {
		t.Errorf("what is revoked already: %v", err)
	}
}

// A session by a passkey, or proved by one, ends with the passkey, and no other does.
func TestASessionEndsWithItsPasskey(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	a, b := testenv.NewAuthenticator(t, false), testenv.NewAuthenticator(t, false)
	c, k := personWithPasskey(t, env, "zoe", a)
	registerPasskey(t, env, c, b)
	signIn := func(a *testenv.Authenticator) api.NewSession {
		t.Helper()
		s, err := env.Engine.SignInByPasskey(t.Context(), a.SignIn(askToSignIn(t, env)), home)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	byA, byB := signIn(a), signIn(b)
	verified, err := env.Engine.Verify(t.Context(), by(t, env, signIn(a)), api.VerifyRequest{Password: zoesPassword}, home)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.RemovePasskey(t.Context(), c, k.ID, api.ReasonRequest{Reason: "stolen"}, ""); err != nil {
		t.Fatal(err)
	}
	if admits(t, env, byA) || admits(t, env, verified) {
		t.Errorf("by the passkey that is gone: %v, by what took its place: %v; want neither", admits(t, env, byA), admits(t, env, verified))
	}
	if _, err := env.Engine.Me(t.Context(), by(t, env, byB)); err != nil || !admits(t, env, byB) {
		t.Errorf("by the other passkey: %v", err)
	}
	if _, err := env.Engine.BeginPasskey(t.Context(), c); err != nil {
		t.Errorf("by the password: %v", err)
	}
}

// provedBy verifies who somebody is by a passkey.
func provedBy(t *testing.T, env *testenv.Env, c engine.Caller, a *testenv.Authenticator, from engine.From) api.NewSession {
	t.Helper()
	q, err := env.Engine.BeginVerify(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	answer := a.Get(q.PublicKey)
	s, err := env.Engine.Verify(t.Context(), c, api.VerifyRequest{Passkey: &answer}, from)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A session that was proved by a passkey, however it began, ends with the passkey, and so
// does what has taken its place since.
func TestAProvedSessionEndsWithThePasskey(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	stolen, kept := testenv.NewAuthenticator(t, false), testenv.NewAuthenticator(t, false)
	zoe, k := personWithPasskey(t, env, "zoe", stolen)
	registerPasskey(t, env, zoe, kept)
	proved := func(a *testenv.Authenticator) api.NewSession {
		t.Helper()
		return provedBy(t, env, by(t, env, session(t, env, "zoe", home)), a, home)
	}
	// The password is changed to the same and ends all sessions but the one in its place.
	carried, err := env.Engine.SetPassword(t.Context(), by(t, env, proved(stolen)), api.PasswordRequest{Old: zoesPassword, New: zoesPassword}, home)
	if err != nil || !admits(t, env, *carried.Session) {
		t.Fatalf("after another password: %v", err)
	}
	stepped, own := proved(stolen), proved(kept)
	if _, err := env.Engine.RemovePasskey(t.Context(), by(t, env, own), k.ID, api.ReasonRequest{Reason: "stolen"}, ""); err != nil {
		t.Fatal(err)
	}
	for what, s := range map[string]api.NewSession{"a session that was proved by it": stepped, "one carried on by another password": *carried.Session} {
		if admits(t, env, s) {
			t.Errorf("%s outlives the passkey", what)
		}
	}
	if !admits(t, env, own) {
		t.Error("a session that was proved by the other passkey has ended")
	}
}

// A session by the word of an issuer that was proved by a passkey ends with either.
func TestAProvedSessionEndsWithItsIssuerToo(t *testing.T) {
	t.Parallel()
	s := newStaff()
	env := newCompany(t, s, corp)
	a, b := testenv.NewAuthenticator(t, false), testenv.NewAuthenticator(t, false)
	zoe, k := personWithPasskey(t, env, "zoe", a)
	registerPasskey(t, env, zoe, b)
	u := linked(t, env, "zoe", "7")
	s.in["zoe"] = identity.Claims{Subject: "7"}
	_, first := loggedIn(t, env, "zoe")
	byA := provedBy(t, env, first, a, browser)
	_, second := loggedIn(t, env, "zoe")
	byB := provedBy(t, env, second, b, browser)
	if !isIn(t, env, byA) || !isIn(t, env, byB) {
		t.Fatal("what was proved does not admit")
	}
	if _, err := env.Engine.RemovePasskey(t.Context(), env.Ann, k.ID, api.ReasonRequest{}, ""); err != nil {
		t.Fatal(err)
	}
	if isIn(t, env, byA) || !isIn(t, env, byB) {
		t.Errorf("without the passkey: %v, by the other one: %v; want this one alone", isIn(t, env, byA), isIn(t, env, byB))
	}
	if _, err := env.Engine.UnlinkUser(t.Context(), env.Ann, "zoe", api.UnlinkRequest{ID: u.Identities[0].ID}, ""); err != nil {
		t.Fatal(err)
	}
	if isIn(t, env, byB) {
		t.Error("without the link, a session by the issuer goes on")
	}
}

func TestWithoutAnAddressThereAreNoPasskeys(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, func(c *node.Config) { c.Passkeys = passkey.RelyingParty{} })
	personWithPassword(t, env, "zoe")
	c := by(t, env, session(t, env, "zoe", home))
	_, begin := env.Engine.BeginPasskey(t.Context(), c)
	_, register := env.Engine.RegisterPasskey(t.Context(), c, api.PasskeyRequest{})
	_, ask := env.Engine.BeginPasskeySignIn(t.Context())
	_, signIn := env.Engine.SignInByPasskey(t.Context(), api.PasskeySignInRequest{}, home)
	_, verify := env.Engine.BeginVerify(t.Context(), c)
	for name, err := range map[string]error{"begin": begin, "register": register, "ask": ask, "sign in": signIn, "verify": verify} {
		if fault.CodeOf(err) != "no_passkeys" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Passkeys are for the address at which they were made.
func TestPasskeysAreForOneAddress(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	a := testenv.NewAuthenticator(t, false)
	personWithPasskey(t, env, "zoe", a)
	env.Config.Passkeys = passkey.RelyingParty{ID: testenv.PasskeyHost, Origins: []string{testenv.PasskeyOrigin + ":8443"}}
	env.Restart(nil)
	if _, err := env.Engine.SignInByPasskey(t.Context(), a.SignIn(askToSignIn(t, env)), home); !unauthenticated(err) {
		t.Errorf("by a passkey of another address: %v", err)
	}
}

// moved has browsers reach the server at another port, and authenticators there.
func moved(env *testenv.Env, port string, all ...*testenv.Authenticator) {
	at := testenv.PasskeyOrigin + port
	env.Config.Passkeys = passkey.RelyingParty{ID: testenv.PasskeyHost, Origins: []string{at}}
	for _, a := range all {
		a.Origin = at
	}
	env.Restart(nil)
}

// One that is for a former address is none by which somebody may demand passkeys, and is one
// in whose place a password alone makes no other.
func TestAPasskeyOfAFormerAddressIsOfNoUse(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	old, mine, next := testenv.NewAuthenticator(t, false), testenv.NewAuthenticator(t, true), testenv.NewAuthenticator(t, false)
	personWithPasskey(t, env, "zoe", old, "Admin")
	in := func() engine.Caller { return by(t, env, session(t, env, "zoe", home)) }
	moved(env, ":8443", mine)
	zoe := in()
	if err := requirePasskeys(t, env, zoe, "administrators"); fault.CodeOf(err) != "locked_out" {
		t.Errorf("demanded by who has one of a former address: %v", err)
	}
	if _, err := env.Engine.BeginVerify(t.Context(), zoe); fault.CodeOf(err) != "no_passkey" {
		t.Errorf("asked for one of a former address: %v", err)
	}
	registerPasskey(t, env, zoe, mine)
	if err := requirePasskeys(t, env, zoe, "everyone"); err != nil {
		t.Fatalf("demanded by who has another: %v", err)
	}

	moved(env, ":9443", next)
	_, add := env.Engine.BeginPasskey(t.Context(), in())
	_, verify := env.Engine.BeginVerify(t.Context(), in())
	if fault.CodeOf(add) != api.CodePasskeyRequired || fault.CodeOf(verify) != "no_passkey" {
		t.Errorf("by a password alone, when none counts any more: %v; proven by one: %v", add, verify)
	}
	zoes, err := env.Engine.User(t.Context(), env.Ann, "zoe")
	if err != nil || len(zoes.Passkeys) != 2 {
		t.Fatalf("zoe is %+v, %v", zoes, err)
	}
	for _, k := range zoes.Passkeys {
		if _, err := env.Engine.RemovePasskey(t.Context(), env.Ann, k.ID, api.ReasonRequest{Reason: "moved"}, ""); err != nil {
			t.Fatal(err)
		}
	}
	registerPasskey(t, env, in(), next)
	if s, err := env.Engine.SignInByPasskey(t.Context(), next.SignIn(askToSignIn(t, env)), home); err != nil || by(t, env, s).RequireProof() != nil {
		t.Errorf("signed in by the next one: %v", err)
	}
	checkedWhole(t, env)
}

// Nor is one who has no other way in an administrator.
func TestAnAdministratorHasAPasskeyThatCounts(t *testing.T) {
	t.Parallel()
	s := newStaff()
	env := newCompany(t, s, corp)
	a := testenv.NewAuthenticator(t, false)
	if _, err := env.Engine.InviteUser(t.Context(), env.Ann, api.UserRequest{Name: "zoe", Kind: "user", Roles: []string{"Admin", "Operator"}}, ""); err != nil {
		t.Fatal(err)
	}
	linked(t, env, "zoe", "7")
	s.in["zoe"] = identity.Claims{Subject: "7", Proved: time.Now()}
	_, zoe := loggedIn(t, env, "zoe")
	registerPasskey(t, env, zoe, a)
	for _, step := range []struct{ port, want string }{{":8443", "last_administrator"}, {"", ""}} {
		moved(env, step.port)
		if _, err := env.Engine.RevokeAPIKey(t.Context(), env.Ann, env.Ann.Key, api.ReasonRequest{}, ""); fault.CodeOf(err) != step.want {
			t.Errorf("with zoe's passkey, at port %q: %v, want %q", step.port, err, step.want)
		}
	}
}

// Whoever finds somebody signed in makes no API key there; a key is asked for nothing more.
func TestAnAPIKeyAsksForAFreshProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := testenv.New(t, nil)
		personWithPassword(t, env, "zoe", "Admin")
		s, err := attempt(t, env, env.Ann.Scope.Tenant(), "zoe", zoesPassword, home)
		if err != nil {
			t.Fatal(err)
		}
		zoe := by(t, env, s)
		made, err := env.Engine.CreateAPIKey(t.Context(), zoe, api.APIKeyRequest{User: "zoe"}, "")
		if err != nil {
			t.Fatalf("just signed in: %v", err)
		}
		if _, err := env.Engine.RotateAPIKey(t.Context(), zoe, made.ID, api.RotateAPIKeyRequest{}, ""); err != nil {
			t.Fatalf("just signed in: %v", err)
		}
		time.Sleep(5*time.Minute + time.Second)
		_, create := env.Engine.CreateAPIKey(t.Context(), zoe, api.APIKeyRequest{User: "zoe"}, "")
		_, rotate := env.Engine.RotateAPIKey(t.Context(), zoe, made.ID, api.RotateAPIKeyRequest{}, "")
		for name, err := range map[string]error{"create": create, "rotate": rotate} {
			if fault.CodeOf(err) != api.CodeStepUp {
				t.Errorf("%s: %v, want %s", name, err, api.CodeStepUp)
			}
		}
		if s, err = env.Engine.Verify(t.Context(), zoe, api.VerifyRequest{Password: zoesPassword}, home); err != nil {
			t.Fatal(err)
		}
		if _, err := env.Engine.RotateAPIKey(t.Context(), by(t, env, s), made.ID, api.RotateAPIKeyRequest{}, ""); err != nil {
			t.Errorf("proved again: %v", err)
		}
		if _, err := env.Engine.CreateAPIKey(t.Context(), env.Ann, api.APIKeyRequest{User: "zoe"}, ""); err != nil {
			t.Errorf("by an API key: %v", err)
		}
	})
}

// Nor does whoever finds an administrator signed in make links, companies, somebody who is
// them elsewhere, or whose word that is. What only takes a way in asks for nothing more.
func TestAWayInAsksForAFreshProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := testenv.New(t, withIssuers(newStaff()))
		ctx, e := t.Context(), env.Engine
		setIssuer(t, env, "corp", api.IssuerRequest{Kind: "people", URL: idp, Client: "underseal", Secret: "sesame"})
		personWithPassword(t, env, "zoe", "Admin", "Operator")
		personWithPassword(t, env, "bob", "Viewer")
		if _, err := e.CreateTenant(ctx, env.Ann, api.TenantRequest{Name: "acme"}, ""); err != nil {
			t.Fatal(err)
		}
		n := 0
		tries := func(c engine.Caller) map[string]error {
			n++
			kim := fmt.Sprintf("kim-%d", n)
			invite := second(e.InviteUser(ctx, c, api.UserRequest{Name: kim, Kind: "user"}, ""))
			if invite != nil {
				if _, err := e.InviteUser(ctx, env.Ann, api.UserRequest{Name: kim, Kind: "user"}, ""); err != nil {
					t.Fatal(err)
				}
			}
			return map[string]error{
				"invite": invite, "invite again": second(e.InviteAgain(ctx, c, kim, api.ReasonRequest{}, "")),
				"reset":  second(e.ResetPassword(ctx, c, "bob", api.ReasonRequest{}, "")),
				"link":   second(e.LinkUser(ctx, c, kim, api.LinkRequest{Issuer: "corp", Subject: kim}, "")),
				"tenant": second(e.CreateTenant(ctx, c, api.TenantRequest{Name: kim}, "")), "its link": second(e.InviteAdministrator(ctx, c, "acme", api.ReasonRequest{}, "")),
				"issuer": second(e.SetIssuer(ctx, c, "robots", robots, "")),
			}
		}
		want := func(c engine.Caller, when, code string) {
			t.Helper()
			for name, err := range tries(c) {
				if fault.CodeOf(err) != code {
					t.Errorf("%s, %s: %v, want %q", name, when, err, code)
				}
			}
		}
		zoe := by(t, env, session(t, env, "zoe", home))
		want(zoe, "just signed in", "")
		time.Sleep(5*time.Minute + time.Second)
		want(zoe, "signed in long ago", api.CodeStepUp)
		if _, err := e.RemoveIssuer(ctx, zoe, "robots", api.ReasonRequest{}, ""); err != nil {
			t.Errorf("taking an issuer's word no more, signed in long ago: %v", err)
		}
		s, err := e.Verify(ctx, zoe, api.VerifyRequest{Password: zoesPassword}, home)
		if err != nil {
			t.Fatal(err)
		}
		want(by(t, env, s), "proved again", "")
		want(env.Ann, "by an API key", "")
	})
}

func requirePasskeys(t *testing.T, env *testenv.Env, c engine.Caller, of string) error {
	t.Helper()
	_, err := env.Engine.RequirePasskeys(t.Context(), c, api.RequirePasskeyRequest{Of: of, Reason: "audit"}, "")
	return err
}

// Where a passkey is demanded, who signs in by a password alone can make their first one,
// and is whole by that; one who has one goes on by that one, and makes no other.
func TestAPasswordAloneIsNotEnough(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	boss, clerk, other := testenv.NewAuthenticator(t, false), testenv.NewAuthenticator(t, true), testenv.NewAuthenticator(t, false)
	zoe, _ := personWithPasskey(t, env, "zoe", boss, "Admin")
	personWithPassword(t, env, "bob", "Viewer")
	begin := func(name string) api.NewSession {
		t.Helper()
		s, err := attempt(t, env, env.Ann.Scope.Tenant(), name, zoesPassword, home)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	in := func(name string) engine.Caller { return by(t, env, begin(name)) }
	before := begin("bob")
	if err := requirePasskeys(t, env, zoe, "administrators"); err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.Sessions(t.Context(), in("bob"), "bob", engine.Page{}); err != nil {
		t.Errorf("a Viewer, where administrators need one: %v", err)
	}
	bare := in("zoe")
	refused := func(c engine.Caller, what string) {
		t.Helper()
		_, list := env.Engine.Sessions(t.Context(), c, c.Principal, engine.Page{})
		_, settings := env.Engine.Settings(t.Context(), c)
		_, key := env.Engine.CreateAPIKey(t.Context(), c, api.APIKeyRequest{User: c.Principal}, "")
		for name, err := range map[string]error{"sessions": list, "settings": settings, "API key": key, "back": requirePasskeys(t, env, c, "none")} {
			if !fault.Is(err, fault.Denied) {
				t.Errorf("%s, %s: %v, want denied", what, name, err)
			}
		}
		_, password := env.Engine.SetPassword(t.Context(), c, api.PasswordRequest{Old: zoesPassword, New: otherWords}, home)
		if code := fault.CodeOf(password); code != api.CodePasskeyRequired || fault.CodeOf(c.RequireProof()) != code {
			t.Errorf("%s, another password: %v, want %s", what, password, api.CodePasskeyRequired)
		}
	}
	refused(bare, "an Admin by a password alone")
	if _, err := env.Engine.BeginPasskey(t.Context(), bare); fault.CodeOf(err) != api.CodePasskeyRequired {
		t.Errorf("a second passkey by a password alone: %v", err)
	}
	if _, err := env.Engine.Settings(t.Context(), env.Ann); err != nil || env.Ann.Session != nil {
		t.Errorf("an Admin's API key: %v", err)
	}
	proven := func(c engine.Caller, a *testenv.Authenticator) engine.Caller {
		t.Helper()
		return by(t, env, provedBy(t, env, c, a, home))
	}
	zoe = proven(bare, boss)
	if err := requirePasskeys(t, env, zoe, "everyone"); err != nil {
		t.Fatalf("by the passkey: %v", err)
	}
	again, err := env.Engine.Authenticate(t.Context(), env.Key(), home.Address)
	if err != nil || again.RequireProof() != nil {
		t.Errorf("an API key: %v", err)
	}
	refused(in("bob"), "somebody without a passkey")
	refused(by(t, env, before), "somebody who was signed in before")
	bob := in("bob")
	// Two questions at once make one passkey.
	first, err := env.Engine.BeginPasskey(t.Context(), bob)
	if err != nil {
		t.Fatal(err)
	}
	second, err := env.Engine.BeginPasskey(t.Context(), bob)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.RegisterPasskey(t.Context(), bob, clerk.Create("laptop", first)); err != nil {
		t.Fatalf("the first passkey: %v", err)
	}
	if _, err := env.Engine.RegisterPasskey(t.Context(), bob, other.Create("phone", second)); fault.CodeOf(err) != api.CodePasskeyRequired {
		t.Errorf("a second passkey by a password alone: %v", err)
	}
	refused(in("bob"), "somebody who has a passkey and did not use it")
	registerPasskey(t, env, proven(bob, clerk), other)
	if s, err := env.Engine.SignInByPasskey(t.Context(), other.SignIn(askToSignIn(t, env)), home); err != nil || by(t, env, s).RequireProof() != nil {
		t.Errorf("signed in by passkey: %v", err)
	}
	reset, err := env.Engine.ResetPassword(t.Context(), env.Ann, "bob", api.ReasonRequest{Reason: "forgotten"}, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.Setup(t.Context(), api.SetupRequest{Link: reset.Link, Password: otherWords}, home.Address); err != nil {
		t.Fatal(err)
	}
	anew, err := attempt(t, env, "main", "bob", otherWords, home)
	if err != nil {
		t.Fatal(err)
	}
	refused(by(t, env, anew), "somebody whose password a link has set")
	checkedWhole(t, env)
}

// Passkeys are demanded by who has one: else nobody might be left who can take it back.
func TestWhoDemandsPasskeysHasOne(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	for _, of := range []string{"administrators", "everyone"} {
		if err := requirePasskeys(t, env, env.Ann, of); fault.CodeOf(err) != "locked_out" {
			t.Errorf("of %s, by who has none: %v", of, err)
		}
	}
	if err := requirePasskeys(t, env, env.Ann, "some"); fault.CodeOf(err) != "invalid_rule" {
		t.Errorf("of some: %v", err)
	}
	if err := requirePasskeys(t, env, env.Ann, "none"); err != nil {
		t.Errorf("of none: %v", err)
	}
	if s, err := env.Engine.Settings(t.Context(), env.Ann); err != nil || s.RequirePasskey != "none" {
		t.Errorf("then: %+v, %v", s, err)
	}
}
