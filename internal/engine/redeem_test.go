package engine_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/testenv"
)

// Verifiers of programs, which are at another address than the browser.
var (
	verifier = strings.Repeat("v", 43)
	another  = strings.Repeat("w", 43)
	program  = engine.From{Address: "192.0.2.8"}
)

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// beginFor begins a sign-in of a program, and returns what the browser brings in the end.
func beginFor(t *testing.T, env *testenv.Env, company, code, challenge string) engine.LoginAnswer {
	t.Helper()
	at := engine.At{Tenant: company, Issuer: "corp"}
	b, err := env.Engine.BeginLogin(t.Context(), engine.Login{At: at, From: browser, Redirect: backHere, Port: 5000, Challenge: challenge})
	if err != nil {
		t.Fatal(err)
	}
	_, state, _ := strings.Cut(b.Address, "state=")
	return engine.LoginAnswer{At: at, From: browser, Attempt: b.Attempt, Answer: url.Values{"code": {code}, "state": {state}}}
}

// handed has a browser sign somebody in for a program, and returns what it is to bring there.
func handed(t *testing.T, env *testenv.Env, company, code, challenge string) engine.Handed {
	t.Helper()
	out, err := env.Engine.FinishLogin(t.Context(), beginFor(t, env, company, code, challenge))
	if err != nil || out.Handed == nil || out.Session != (api.NewSession{}) {
		t.Fatalf("the browser is answered %+v, %v; want a code and no session", out, err)
	}
	return *out.Handed
}

// redemption is what a program brings of a code.
func redemption(code string) engine.Redemption {
	return engine.Redemption{At: engine.At{Tenant: "main", Issuer: "corp"}, From: program, LoginRedemption: api.LoginRedemption{Code: code, Verifier: verifier}}
}

// newTwoCompanies are two whose people an issuer signs in, each with a zoe.
func newTwoCompanies(t *testing.T, s *staff) (env, acme *testenv.Env) {
	t.Helper()
	env = newCompany(t, s, corp)
	acme = env.Tenant("acme")
	if _, err := acme.Engine.CreateGroup(t.Context(), acme.Ann, api.GroupRequest{Name: "clerks"}, ""); err != nil {
		t.Fatal(err)
	}
	setIssuer(t, acme, "corp", corp)
	for _, of := range []*testenv.Env{env, acme} {
		personWithPassword(t, of, "zoe", "Executor")
		linked(t, of, "zoe", "7")
	}
	s.in["zoe"] = identity.Claims{Subject: "7", Session: "there"}
	return env, acme
}

// A program is signed in by the code that the browser brings it, as whom the issuer means,
// and the browser is not, whoever is signed in there.
func TestAProgramIsSignedInByABrowser(t *testing.T) {
	t.Parallel()
	s := newStaff()
	env, _ := newTwoCompanies(t, s)
	personWithPassword(t, env, "bob", "Executor")
	bobs := session(t, env, "bob", browser)
	answer := beginFor(t, env, "main", "zoe", challengeOf(verifier))
	answer.From.Former = bobs.Text
	out, err := env.Engine.FinishLogin(t.Context(), answer)
	if err != nil || out.Session != (api.NewSession{}) || out.To != "" || out.Handed == nil {
		t.Fatalf("the browser is answered %+v, %v; want a code and no session", out, err)
	}
	if h, want := *out.Handed, (identity.Command{Port: 5000, Challenge: challengeOf(verifier), Address: browser.Address}); h.User != "zoe" || h.Command != want || strings.Contains(h.Code, "zoe") {
		t.Errorf("handed over is %+v", h)
	}
	if all, err := env.Engine.Sessions(t.Context(), env.Ann, "zoe", engine.Page{}); err != nil || len(all.Items) != 0 {
		t.Errorf("before the code is redeemed zoe has the sessions %+v, %v", all.Items, err)
	}
	in, err := env.Engine.RedeemLogin(t.Context(), redemption(out.Handed.Code))
	if err != nil || in.Cookie || in.How != "federated corp" || in.User != "zoe" || in.Address != program.Address || !in.Verified.IsZero() {
		t.Fatalf("signed in: %+v, %v", in, err)
	}
	if c, err := env.Engine.Authenticate(t.Context(), in.Text, program.Address); err != nil || c.Principal != "zoe" {
		t.Errorf("the session is %+v, %v", c, err)
	}
	if _, err := env.Engine.AuthenticateCookie(t.Context(), in.Text, browser.Host, browser.Address); !unauthenticated(err) {
		t.Errorf("the session as a cookie: %v", err)
	}
	if !isIn(t, env, bobs) {
		t.Error("who was signed in in the browser is not any more")
	}

	// What asks for a proof asks for a sign-in that has asked anew.
	c, err := env.Engine.Authenticate(t.Context(), in.Text, program.Address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.BeginPasskey(t.Context(), c); fault.CodeOf(err) != api.CodeStepUp {
		t.Errorf("a passkey without a proof: %v", err)
	}
	b, err := env.Engine.BeginLogin(t.Context(), engine.Login{At: answer.At, From: browser, Redirect: backHere, Again: true, Port: 65535, Challenge: challengeOf(verifier)})
	if err != nil {
		t.Fatal(err)
	}
	_, state, _ := strings.Cut(b.Address, "state=")
	out, err = env.Engine.FinishLogin(t.Context(), engine.LoginAnswer{At: answer.At, From: browser, Attempt: b.Attempt, Answer: url.Values{"code": {"zoe"}, "state": {state}}})
	if err != nil {
		t.Fatal(err)
	}
	if in, err = env.Engine.RedeemLogin(t.Context(), redemption(out.Handed.Code)); err != nil || in.Verified.IsZero() {
		t.Fatalf("signed in anew: %+v, %v", in, err)
	}
	if c, err = env.Engine.Authenticate(t.Context(), in.Text, program.Address); err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.BeginPasskey(t.Context(), c); err != nil {
		t.Errorf("a passkey with a proof: %v", err)
	}
}

func TestWhatProgramsAreNotSignedIn(t *testing.T) {
	t.Parallel()
	env := newCompany(t, newStaff(), corp)
	good := challengeOf(verifier)
	for _, in := range []engine.Login{
		{Port: 5000}, {Challenge: good}, {Port: 1023, Challenge: good}, {Port: -5000, Challenge: good}, {Port: 65536, Challenge: good},
		{Port: 5000, Challenge: good[:42]}, {Port: 5000, Challenge: good + "A"}, {Port: 5000, Challenge: good + "="}, {Port: 5000, Challenge: strings.Repeat("+", 43)},
		{Port: 5000, Challenge: good[:42] + "\n"}, {Port: 5000, Challenge: good, To: "/tasks"},
	} {
		in.At, in.From, in.Redirect = engine.At{Tenant: "main", Issuer: "corp"}, browser, backHere
		if b, err := env.Engine.BeginLogin(t.Context(), in); fault.CodeOf(err) != "invalid_command" || !fault.Is(err, fault.Invalid) || b != (engine.LoginBegun{}) {
			t.Errorf("port %d, challenge %q: %+v, %v", in.Port, in.Challenge, b, err)
		}
	}
}

// A code counts once, for a minute, at the company and issuer that it was made at, for the
// program that began, and while the person may come in.
func TestACodeSignsNobodyElseIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStaff()
		env, acme := newTwoCompanies(t, s)
		setIssuer(t, env, "spare", api.IssuerRequest{Kind: "people", URL: idp + "/spare", Client: "underseal", Public: true})
		act := func(what string, err error) {
			t.Helper()
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
		good := redemption(handed(t, env, "main", "zoe", challengeOf(verifier)).Code)
		time.Sleep(time.Minute - time.Microsecond)
		in, err := env.Engine.RedeemLogin(t.Context(), good)
		act("a code of a minute", err)
		_, err = env.Engine.RevokeSession(t.Context(), env.Ann, in.ID)
		act("revoke", err)
		for _, c := range []struct {
			name   string
			change func(*engine.Redemption)
		}{
			{"another verifier", func(r *engine.Redemption) { r.Verifier = another }},
			{"no verifier", func(r *engine.Redemption) { r.Verifier = "" }},
			{"the challenge as the verifier", func(r *engine.Redemption) { r.Verifier = challengeOf(verifier) }},
			{"the code of another program", func(r *engine.Redemption) { r.Code = handed(t, env, "main", "zoe", challengeOf(another)).Code }},
			{"the code of another company", func(r *engine.Redemption) { r.Code = handed(t, acme, "acme", "zoe", challengeOf(verifier)).Code }},
			{"at another company", func(r *engine.Redemption) { r.Tenant = "acme" }},
			{"at another issuer", func(r *engine.Redemption) { r.Issuer = "spare" }},
			{"no code", func(r *engine.Redemption) { r.Code = "" }},
			{"a code that is no text", func(r *engine.Redemption) { r.Code = "%%" }},
			{"a changed code", func(r *engine.Redemption) { r.Code = "A" + r.Code[1:] }},
			{"an attempt as a code", func(r *engine.Redemption) { r.Code = beginFor(t, env, "main", "zoe", challengeOf(verifier)).Attempt }},
			{"too late", func(*engine.Redemption) { time.Sleep(time.Minute) }},
			{"after all their sessions were ended", func(*engine.Redemption) {
				_, err := env.Engine.EndUserSessions(t.Context(), env.Ann, "zoe", api.ReasonRequest{}, "")
				act("end", err)
			}},
			{"after all sessions of the company were ended", func(*engine.Redemption) {
				_, err := env.Engine.EndAllSessions(t.Context(), env.Ann, api.ReasonRequest{}, "")
				act("end all", err)
			}},
			{"after a sign-out at the issuer", func(*engine.Redemption) {
				time.Sleep(59 * time.Second)
				s.out["out"] = identity.Logout{Subject: "7", Session: "there"}
				act("sign out", env.Engine.EndLogins(t.Context(), engine.At{Tenant: "main", Issuer: "corp"}, "out", "192.0.2.9"))
			}},
			{"after the issuer's client has changed", func(*engine.Redemption) {
				other := corp
				other.Client = "another"
				setIssuer(t, env, "corp", other)
			}},
			{"after the link to the issuer was taken", func(*engine.Redemption) {
				u, err := env.Engine.User(t.Context(), env.Ann, "zoe")
				act("show", err)
				_, err = env.Engine.UnlinkUser(t.Context(), env.Ann, "zoe", api.UnlinkRequest{ID: u.Identities[len(u.Identities)-1].ID}, "")
				act("unlink", err)
				linked(t, env, "zoe", "7")
			}},
			{"after the person was disabled", func(*engine.Redemption) {
				_, err := env.Engine.DisableUser(t.Context(), env.Ann, "zoe", api.ReasonRequest{}, "")
				act("disable", err)
			}},
		} {
			time.Sleep(time.Second) // or what ended the one before could have been just now
			r := redemption(handed(t, env, "main", "zoe", challengeOf(verifier)).Code)
			c.change(&r)
			if in, err := env.Engine.RedeemLogin(t.Context(), r); !unauthenticated(err) || in != (api.NewSession{}) {
				t.Errorf("%s: %+v, %v, want nobody signed in", c.name, in, err)
			}
			setIssuer(t, env, "corp", corp)
		}
		if all, err := env.Engine.Sessions(t.Context(), env.Ann, "", engine.Page{}); err != nil || len(all.Items) != 0 {
			t.Errorf("signed in are %+v, %v", all.Items, err)
		}
	})
}

// A code that is brought twice, or at once by two, signs one in; and so does an attempt of
// which two codes were made.
func TestACodeCountsOnce(t *testing.T) {
	t.Parallel()
	s := newStaff()
	env, _ := newTwoCompanies(t, s)
	answer := beginFor(t, env, "main", "zoe", challengeOf(verifier))
	var codes []string
	for range 2 { // a provider that takes its code twice
		out, err := env.Engine.FinishLogin(t.Context(), answer)
		if err != nil {
			t.Fatal(err)
		}
		codes = append(codes, out.Handed.Code)
	}
	done := make(chan error)
	for i := range 6 {
		go func() {
			_, err := env.Engine.RedeemLogin(t.Context(), redemption(codes[i%2]))
			done <- err
		}()
	}
	in := 0
	for range 6 {
		if err := <-done; err == nil {
			in++
		} else if !unauthenticated(err) {
			t.Error(err)
		}
	}
	if _, err := env.Engine.RedeemLogin(t.Context(), redemption(codes[0])); in != 1 || !unauthenticated(err) {
		t.Errorf("%d are signed in, and once more: %v; want one", in, err)
	}
	if out, err := env.Engine.FinishLogin(t.Context(), answer); !unauthenticated(err) {
		t.Errorf("the answer after that: %+v, %v", out, err)
	}
	if all, err := env.Engine.Sessions(t.Context(), env.Ann, "zoe", engine.Page{}); err != nil || len(all.Items) != 1 {
		t.Errorf("zoe has the sessions %+v, %v", all.Items, err)
	}
}

// A sign-out is remembered for as long as a code may be on its way, also when the issuer
// took its time to answer, and has signed out others since.
func TestASignOutIsNotForgottenBeforeACode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStaff()
		env, _ := newTwoCompanies(t, s)
		signOut := func(subject string) {
			s.out["out"] = identity.Logout{Subject: subject}
			if err := env.Engine.EndLogins(t.Context(), engine.At{Tenant: "main", Issuer: "corp"}, "out", "192.0.2.9"); err != nil {
				t.Error(err)
			}
		}
		s.during = func() { signOut("7"); time.Sleep(10 * time.Second) }
		r := redemption(handed(t, env, "main", "zoe", challengeOf(verifier)).Code)
		time.Sleep(59 * time.Second)
		signOut("9")
		if in, err := env.Engine.RedeemLogin(t.Context(), r); !unauthenticated(err) {
			t.Errorf("signed in: %+v, %v", in, err)
		}
	})
}
