package engine_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

const (
	zoesPassword = "four walls and a blue door"
	otherWords   = "seven boats before the rain"
)

var home = engine.From{Address: "192.0.2.7"}

// personWithPassword invites somebody, who sets a password.
func personWithPassword(t *testing.T, env *testenv.Env, name string, roles ...string) {
	t.Helper()
	invited, err := env.Engine.InviteUser(t.Context(), env.Ann, api.UserRequest{Name: name, Kind: "user", Roles: roles}, "")
	if err != nil {
		t.Fatal(err)
	}
	done, err := env.Engine.Setup(t.Context(), api.SetupRequest{Link: invited.Link, Password: zoesPassword}, home.Address)
	if err != nil || done.Key.Text != "" || done.User != name {
		t.Fatalf("the link is used with a password: %+v, %v, want no key", done, err)
	}
}

// byLink has somebody set a password by a link.
func byLink(t *testing.T, env *testenv.Env, name, password string) {
	t.Helper()
	reset, err := env.Engine.ResetPassword(t.Context(), env.Ann, name, api.ReasonRequest{Reason: "forgotten"}, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.Setup(t.Context(), api.SetupRequest{Link: reset.Link, Password: password}, home.Address); err != nil {
		t.Fatal(err)
	}
}

func attempt(t *testing.T, env *testenv.Env, tenant, name, password string, from engine.From) (api.NewSession, error) {
	t.Helper()
	return env.Engine.SignIn(t.Context(), api.SignInRequest{Tenant: tenant, Name: name, Password: password}, from)
}

// session signs somebody of the main tenant in, who must get in.
func session(t *testing.T, env *testenv.Env, name string, from engine.From) api.NewSession {
	t.Helper()
	s, err := attempt(t, env, "main", name, zoesPassword, from)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// by returns who is signed in by a session.
func by(t *testing.T, env *testenv.Env, s api.NewSession) engine.Caller {
	t.Helper()
	c, err := env.Engine.Authenticate(t.Context(), s.Text, home.Address)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func admits(t *testing.T, env *testenv.Env, s api.NewSession) bool {
	t.Helper()
	_, err := env.Engine.Authenticate(t.Context(), s.Text, home.Address)
	if err != nil && !unauthenticated(err) {
		t.Fatalf("session %s: %v", s.ID, err)
	}
	return err == nil
}

func TestSigningInByPassword(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	acme := env.Tenant("acme")
	personWithPassword(t, env, "zoe", "Viewer")
	personWithPassword(t, env, "gone", "Viewer")
	if _, err := env.Engine.DisableUser(t.Context(), env.Ann, "gone", api.ReasonRequest{}, ""); err != nil {
		t.Fatal(err)
	}
	env.Person("keys", "Viewer") // has an API key and no password
	if _, err := env.Engine.InviteUser(t.Context(), env.Ann, api.UserRequest{Name: "ocr", Kind: "service"}, ""); err != nil {
		t.Fatal(err)
	}
	var said string
	for _, c := range []struct{ name, tenant, user, password string }{
		{"another password", "main", "zoe", otherWords},
		{"no password", "main", "zoe", ""},
		{"a beginning of it", "main", "zoe", zoesPassword[:20]},
		{"nobody", "main", "nobody", zoesPassword},
		{"what is no name", "main", "Zoe ", zoesPassword},
		{"somebody disabled", "main", "gone", zoesPassword},
		{"somebody without a password", "main", "keys", ""},
		{"a program", "main", "ocr", ""},
		{"another tenant's person", "acme", "zoe", zoesPassword},
		{"no tenant", "none", "zoe", zoesPassword},
		{"what is no tenant's name", "../main", "zoe", zoesPassword},
	} {
		s, err := attempt(t, env, c.tenant, c.user, c.password, home)
		if !unauthenticated(err) || s != (api.NewSession{}) {
			t.Errorf("%s: %+v, %v, want nobody signed in", c.name, s, err)
			continue
		}
		if said == "" {
			said = err.Error()
		}
		if err.Error() != said {
			t.Errorf("%s: %v, want the same for everything: %s", c.name, err, said)
		}
	}
	s := session(t, env, "zoe", home)
	c := by(t, env, s)
	if c.Principal != "zoe" || c.Scope.Tenant() != "main" || c.Key != s.ID || !strings.HasPrefix(s.Text, "uss_main_") {
		t.Errorf("signed in is %+v by %+v", c, s)
	}
	if me, err := env.Engine.Me(t.Context(), c); err != nil || me.User != "zoe" || !slices.Contains(me.Roles, "Viewer") {
		t.Errorf("me: %+v, %v", me, err)
	}
	if all, err := env.Engine.Sessions(t.Context(), acme.Ann, "", engine.Page{}); err != nil || len(all.Items) != 0 {
		t.Errorf("the other company sees %+v, %v", all, err)
	}
}

// What the log says of signing in and out, with the address; failures are counted.
func TestSigningInIsInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := testenv.New(t, nil)
		personWithPassword(t, env, "zoe")
		for range 5 {
			if _, err := attempt(t, env, "main", "zoe", otherWords, home); !unauthenticated(err) {
				t.Fatal(err)
			}
		}
		s := session(t, env, "zoe", home)
		if _, err := env.Engine.SignOut(t.Context(), by(t, env, s)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		var got []string
		for _, kind := range []string{"session.started", "session.ended", "sign_in.failed"} {
			found, err := env.Engine.Audit(t.Context(), env.Ann, api.AuditQuery{AuditFilter: api.AuditFilter{Kind: kind, Address: home.Address}, OldestFirst: true})
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range found.Items {
				got = append(got, fmt.Sprint(x.Kind, " ", x.Principal, " ", x.Address, " ", x.Result, " ", x.Count))
			}
		}
		want := []string{
			"session.started zoe 192.0.2.7 done 0", "session.ended zoe 192.0.2.7 done 0",
			"sign_in.failed zoe 192.0.2.7 failed 1", "sign_in.failed zoe 192.0.2.7 failed 4",
		}
		if !slices.Equal(got, want) {
			t.Errorf("the log says\n%q, want\n%q", got, want)
		}
	})
}

// A session ends when it is not used for an hour and, however much it is used, after
// twelve; a restart prolongs neither.
func TestASessionEndsByItself(t *testing.T) {
	if testing.Short() {
		t.Skip("signs in many times, which costs by design")
	}
	for _, c := range []struct {
		name    string
		restart bool
	}{{"while the server runs", false}, {"with restarts", true}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				env := testenv.New(t, nil)
				personWithPassword(t, env, "zoe")
				used, unused := session(t, env, "zoe", home), session(t, env, "zoe", home)
				pass := func(d time.Duration) {
					time.Sleep(d)
					if c.restart {
						env.Restart(nil)
					}
				}
				pass(time.Hour - time.Second)
				if !admits(t, env, used) {
					t.Fatal("a session ended before its hour")
				}
				pass(time.Second)
				if admits(t, env, unused) {
					t.Error("a session that was not used for an hour admits")
				}
				for range 11 {
					pass(55 * time.Minute)
					if !admits(t, env, used) {
						t.Fatal("a session that is used ended")
					}
				}
				pass(55*time.Minute - time.Second)
				if !admits(t, env, used) {
					t.Error("a session ended before its twelve hours")
				}
				pass(time.Second)
				if admits(t, env, used) {
					t.Error("a session of twelve hours admits")
				}
				if left, err := env.Engine.Sessions(t.Context(), env.Ann, "zoe", engine.Page{}); err != nil || len(left.Items) != 0 {
					t.Errorf("listed are %+v, %v", left, err)
				}
				if err := env.Engine.SweepSessions(t.Context()); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// The lengths are settings.
func TestHowLongASessionLastsIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := testenv.New(t, func(c *node.Config) { c.SessionAge, c.SessionIdle = 2*time.Hour, 10*time.Minute })
		personWithPassword(t, env, "zoe")
		s := session(t, env, "zoe", home)
		if got := s.Expires.Sub(s.Made); got != 2*time.Hour || s.Idle.Sub(s.Made) != 10*time.Minute {
			t.Errorf("a session lasts %v, and %v unused", got, s.Idle.Sub(s.Made))
		}
		time.Sleep(10 * time.Minute)
		if admits(t, env, s) {
			t.Error("a session that was not used for ten minutes admits")
		}
	})
}

// Nobody is signed in by a text that was there before they signed in, nor before they
// proved anew who they are.
func TestEverySignInHasATextOfItsOwn(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	personWithPassword(t, env, "eve")
	personWithPassword(t, env, "zoe")
	planted := session(t, env, "eve", home)
	from := home
	from.Former = planted.Text
	zoes := session(t, env, "zoe", from)
	if zoes.Text == planted.Text || admits(t, env, planted) {
		t.Error("the session that the browser had before is still good")
	}
	if _, err := env.Engine.Verify(t.Context(), by(t, env, zoes), api.VerifyRequest{Password: otherWords}, home); !fault.Is(err, fault.Denied) || unauthenticated(err) {
		t.Errorf("proved by another password: %v, want Denied", err)
	}
	again, err := env.Engine.Verify(t.Context(), by(t, env, zoes), api.VerifyRequest{Password: zoesPassword}, home)
	if err != nil {
		t.Fatal(err)
	}
	if again.Text == zoes.Text || admits(t, env, zoes) || !admits(t, env, again) {
		t.Error("proving anew who they are leaves them the text that they had")
	}
	if !again.Expires.Equal(zoes.Expires) || again.Verified.Before(zoes.Verified) {
		t.Errorf("the new session is %+v, want the end of the former: %+v", again, zoes)
	}
}

// Who goes on by a session that has ended since they were let in, as while their password is
// compared, gets none in its place, and two who go by the same one get one.
func TestNothingTakesThePlaceOfASessionThatHasEnded(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	personWithPassword(t, env, "zoe")
	for _, c := range []struct {
		name string
		end  func(engine.Caller) error
		left int
	}{
		{"revoked", func(zoe engine.Caller) error { return second(env.Engine.RevokeSession(t.Context(), env.Ann, zoe.Key)) }, 0},
		{"signed out", func(zoe engine.Caller) error { return second(env.Engine.SignOut(t.Context(), zoe)) }, 0},
		{"replaced", func(zoe engine.Caller) error {
			return second(env.Engine.Verify(t.Context(), zoe, api.VerifyRequest{Password: zoesPassword}, home))
		}, 1},
	} {
		zoe := by(t, env, session(t, env, "zoe", home))
		if err := c.end(zoe); err != nil {
			t.Fatal(err)
		}
		got, err := env.Engine.Verify(t.Context(), zoe, api.VerifyRequest{Password: zoesPassword}, home)
		if !unauthenticated(err) || got != (api.NewSession{}) {
			t.Errorf("%s: %+v, %v, want nobody signed in", c.name, got, err)
		}
		if all, err := env.Engine.Sessions(t.Context(), env.Ann, "zoe", engine.Page{}); err != nil || len(all.Items) != c.left {
			t.Errorf("%s: Zoe is signed in by %+v, %v, want %d", c.name, all.Items, err, c.left)
		}
	}
}

// TestWhoseFormerSessionCannotBeEnded is not signed in twice.
func TestWhoseFormerSessionCannotBeEnded(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	personWithPassword(t, env, "zoe", "Executor")
	former := session(t, env, "zoe", home)
	env.Restart(nil)
	db := openRaw(t, filepath.Join(env.Config.Data, "keys.db"))
	if _, err := db.Exec(`UPDATE sessions SET sealed = x'00'`); err != nil {
		t.Fatal(err)
	}
	from := home
	from.Former = former.Text
	if s, err := attempt(t, env, "main", "zoe", zoesPassword, from); !fault.Is(err, fault.Integrity) || s.Text != "" {
		t.Errorf("signed in: %+v, %v, want Integrity", s, err)
	}
	var left int
	if err := db.QueryRow(`SELECT count(*) FROM sessions`).Scan(&left); err != nil || left != 1 {
		t.Errorf("%d sessions are left, %v, want the former alone", left, err)
	}
}

// A cookie counts at the host where it was set, and nowhere else; nor does it count as a
// program's text, or a program's as a cookie.
func TestACookieIsForItsHost(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	personWithPassword(t, env, "zoe")
	browser := home
	browser.Host = "seal.example.org"
	cookie, program := session(t, env, "zoe", browser), session(t, env, "zoe", home)
	for _, c := range []struct {
		name, text, host string
		admits           bool
	}{
		{"the cookie at its host", cookie.Text, "seal.example.org", true},
		{"the cookie at another host", cookie.Text, "evil.example.org", false},
		{"the cookie at no host", cookie.Text, "", false},
		{"a program's text as a cookie", program.Text, "seal.example.org", false},
		{"a program's text as a cookie at no host", program.Text, "", false},
		{"an API key as a cookie", env.Key(), "seal.example.org", false},
	} {
		if _, err := env.Engine.AuthenticateCookie(t.Context(), c.text, c.host, home.Address); err != nil && !unauthenticated(err) || (err == nil) != c.admits {
			t.Errorf("%s: %v, want admitted %v", c.name, err, c.admits)
		}
	}
	if admits(t, env, cookie) || !admits(t, env, program) {
		t.Error("a cookie is taken from the header for programs, or a program's text is not")
	}
}

// Each way to end sessions, and which it leaves.
func TestWhatEndsSessions(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("signs in many times, which costs by design")
	}
	type world struct {
		*testenv.Env
		zoes  [2]api.NewSession
		bobs  api.NewSession
		acmes api.NewSession
	}
	ended := func(zoe0, zoe1, bob, acme bool) [4]bool { return [4]bool{zoe0, zoe1, bob, acme} }
	for _, c := range []struct {
		name string
		do   func(w *world) error
		want [4]bool // ended: Zoe's two, Bob's, the other company's
	}{
		{"nothing", func(*world) error { return nil }, ended(false, false, false, false)},
		{"signing out", func(w *world) error {
			_, err := w.Engine.SignOut(t.Context(), by(t, w.Env, w.zoes[0]))
			return err
		}, ended(true, false, false, false)},
		{"revoking one's own", func(w *world) error {
			_, err := w.Engine.RevokeSession(t.Context(), by(t, w.Env, w.zoes[0]), w.zoes[1].ID)
			return err
		}, ended(false, true, false, false)},
		{"revoking somebody's", func(w *world) error {
			_, err := w.Engine.RevokeSession(t.Context(), w.Ann, w.zoes[1].ID)
			return err
		}, ended(false, true, false, false)},
		{"revoking all of somebody", func(w *world) error {
			_, err := w.Engine.EndUserSessions(t.Context(), w.Ann, "zoe", api.ReasonRequest{Reason: "stolen"}, "")
			return err
		}, ended(true, true, false, false)},
		{"revoking all one's own", func(w *world) error {
			_, err := w.Engine.EndUserSessions(t.Context(), by(t, w.Env, w.zoes[0]), "zoe", api.ReasonRequest{}, "")
			return err
		}, ended(true, true, false, false)},
		{"revoking all of the tenant", func(w *world) error {
			_, err := w.Engine.EndAllSessions(t.Context(), w.Ann, api.ReasonRequest{Reason: "stolen"}, "")
			return err
		}, ended(true, true, true, false)},
		{"a new password", func(w *world) error {
			set, err := w.Engine.SetPassword(t.Context(), by(t, w.Env, w.zoes[0]), api.PasswordRequest{Old: zoesPassword, New: otherWords}, home)
			if err == nil && !admits(t, w.Env, *set.Session) {
				t.Error("whoever set a password is signed out")
			}
			return err
		}, ended(true, true, false, false)},
		{"disabling and enabling", func(w *world) error {
			if _, err := w.Engine.DisableUser(t.Context(), w.Ann, "zoe", api.ReasonRequest{}, ""); err != nil {
				return err
			}
			if admits(t, w.Env, w.zoes[0]) {
				t.Error("somebody disabled is admitted")
			}
			_, err := w.Engine.EnableUser(t.Context(), w.Ann, "zoe", api.ReasonRequest{}, "")
			return err
		}, ended(true, true, false, false)},
		{"disabling and enabling the company", func(w *world) error {
			if _, err := w.Engine.DisableTenant(t.Context(), w.Ann, "acme", api.ReasonRequest{}, ""); err != nil {
				return err
			}
			_, err := w.Engine.EnableTenant(t.Context(), w.Ann, "acme", api.ReasonRequest{}, "")
			return err
		}, ended(false, false, false, true)},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &world{Env: testenv.New(t, nil)}
			acme := w.Tenant("acme")
			personWithPassword(t, w.Env, "zoe")
			personWithPassword(t, w.Env, "bob")
			personWithPassword(t, acme, "zoe")
			w.zoes = [2]api.NewSession{session(t, w.Env, "zoe", home), session(t, w.Env, "zoe", home)}
			w.bobs = session(t, w.Env, "bob", home)
			var err error
			if w.acmes, err = attempt(t, w.Env, "acme", "zoe", zoesPassword, home); err != nil {
				t.Fatal(err)
			}
			if err := c.do(w); err != nil {
				t.Fatal(err)
			}
			for _, when := range []string{"at once", "after a restart"} {
				got := ended(!admits(t, w.Env, w.zoes[0]), !admits(t, w.Env, w.zoes[1]), !admits(t, w.Env, w.bobs), !admits(t, w.Env, w.acmes))
				if got != c.want {
					t.Errorf("%s: ended are %v, want %v", when, got, c.want)
				}
				w.Restart(nil)
			}
		})
	}
}

// When sessions were used is written down for every company.
func TestUsedSessionsOfAllCompaniesOutliveARestart(t *testing.T) {
	if testing.Short() {
		t.Skip("signs in many times, which costs by design")
	}
	synctest.Test(t, func(t *testing.T) {
		env := testenv.New(t, nil)
		var all []api.NewSession
		for _, company := range []string{"acme", "bridge", "castle"} {
			personWithPassword(t, env.Tenant(company), "zoe")
			s, err := attempt(t, env, company, "zoe", zoesPassword, home)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, s)
		}
		for _, when := range []string{"used", "after a restart"} {
			time.Sleep(40 * time.Minute)
			for i, s := range all {
				if !admits(t, env, s) {
					t.Errorf("%s: that of company %d ended", when, i)
				}
			}
			env.Restart(nil)
		}
	})
}

// Who is nobody's administrator ends no session of others, and learns of none.
func TestSessionsOfOthers(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("signs in many times, which costs by design")
	}
	env := testenv.New(t, nil)
	acme := env.Tenant("acme")
	personWithPassword(t, env, "zoe")
	personWithPassword(t, env, "bob")
	personWithPassword(t, env, "eva", "Auditor")
	zoe, bob, eva := session(t, env, "zoe", home), by(t, env, session(t, env, "bob", home)), by(t, env, session(t, env, "eva", home))
	for _, id := range []string{zoe.ID, "01900000-0000-7000-8000-000000000000", "x"} {
		if _, err := env.Engine.RevokeSession(t.Context(), bob, id); !fault.Is(err, fault.Denied) {
			t.Errorf("Bob ends %q: %v, want Denied", id, err)
		}
		if _, err := env.Engine.RevokeSession(t.Context(), eva, id); !fault.Is(err, fault.Denied) {
			t.Errorf("the Auditor ends %q: %v, want Denied", id, err)
		}
		if _, err := env.Engine.RevokeSession(t.Context(), acme.Ann, id); !fault.Is(err, fault.NotFound) {
			t.Errorf("the other company's Admin ends %q: %v, want NotFound", id, err)
		}
	}
	for _, user := range []string{"", "zoe"} {
		if _, err := env.Engine.Sessions(t.Context(), bob, user, engine.Page{}); !fault.Is(err, fault.Denied) {
			t.Errorf("Bob lists those of %q: %v, want Denied", user, err)
		}
		all, err := env.Engine.Sessions(t.Context(), eva, user, engine.Page{})
		if err != nil || !slices.ContainsFunc(all.Items, func(s api.Session) bool { return s.ID == zoe.ID && s.User == "zoe" && !s.This }) {
			t.Errorf("the Auditor lists those of %q: %+v, %v", user, all, err)
		}
	}
	own, err := env.Engine.Sessions(t.Context(), bob, "bob", engine.Page{})
	if err != nil || len(own.Items) != 1 || !own.Items[0].This {
		t.Errorf("Bob's own are %+v, %v", own, err)
	}
	if _, err := env.Engine.EndUserSessions(t.Context(), bob, "zoe", api.ReasonRequest{}, ""); !fault.Is(err, fault.Denied) {
		t.Errorf("Bob ends Zoe's: %v, want Denied", err)
	}
	if _, err := env.Engine.EndAllSessions(t.Context(), bob, api.ReasonRequest{}, ""); !fault.Is(err, fault.Denied) {
		t.Errorf("Bob ends everybody's: %v, want Denied", err)
	}
	if !admits(t, env, zoe) {
		t.Error("Zoe is signed out")
	}
}

// A list goes on where a page of it ended.
func TestSessionsByPages(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	personWithPassword(t, env, "zoe")
	want := map[string]bool{}
	for range 5 {
		want[session(t, env, "zoe", home).ID] = true
	}
	for p := (engine.Page{Limit: 2}); ; {
		some, err := env.Engine.Sessions(t.Context(), env.Ann, "", p)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range some.Items {
			if !want[s.ID] {
				t.Errorf("session %s is there twice, or was never begun", s.ID)
			}
			delete(want, s.ID)
		}
		if p.After = some.Next; some.Next == "" {
			break
		}
	}
	if len(want) > 0 {
		t.Errorf("not listed are %v", want)
	}
	if _, err := env.Engine.Sessions(t.Context(), env.Ann, "", engine.Page{After: "x"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a cursor that is none: %v, want Invalid", err)
	}
}

// Whoever writes into both databases signs nobody in: rows that are copied, moved or
// prolonged do not open, one that was ended stays ended.
func TestNobodyIsSignedInBySQL(t *testing.T) {
	if testing.Short() {
		t.Skip("signs in many times, which costs by design")
	}
	const half = 30 * time.Minute
	for _, c := range []struct{ name, sql string }{
		{"a session of another person", `UPDATE sessions SET object = (SELECT object FROM sessions WHERE id = x'BOB') WHERE id = x'ZOE'`},
		{"what is sealed of another's", `UPDATE sessions SET sealed = (SELECT sealed FROM sessions WHERE id = x'BOB') WHERE id = x'ZOE'`},
		{"a later end", `UPDATE sessions SET expires = expires + 3600000000 WHERE id = x'ZOE'`},
		{"another session at an issuer", `UPDATE sessions SET there = zeroblob(32) WHERE id = x'ZOE'`},
		{"another id", `UPDATE sessions SET id = x'01900000000070008000000000000000' WHERE id = x'ZOE'`},
		{"the text of another session", `DELETE FROM kept; INSERT INTO kept SELECT * FROM sessions WHERE id = x'BOB'; DELETE FROM sessions WHERE id = x'BOB'; UPDATE sessions SET token = (SELECT token FROM kept) WHERE id = x'ZOE'`},
	} {
		t.Run(c.name, func(t *testing.T) {
			env := testenv.New(t, nil)
			personWithPassword(t, env, "zoe")
			personWithPassword(t, env, "bob")
			zoe, bob := session(t, env, "zoe", home), session(t, env, "bob", home)
			hex := func(id string) string { return strings.ReplaceAll(id, "-", "") }
			env.Restart(func() {
				execKeys(t, env, `CREATE TABLE kept AS SELECT * FROM sessions;`+strings.NewReplacer("ZOE", hex(zoe.ID), "BOB", hex(bob.ID)).Replace(c.sql))
			})
			if _, err := env.Engine.Authenticate(t.Context(), zoe.Text, home.Address); err == nil {
				t.Error("Zoe's text admits")
			}
			if strings.Contains(c.name, "text") {
				if _, err := env.Engine.Authenticate(t.Context(), bob.Text, home.Address); err == nil {
					t.Error("Bob's text admits somebody")
				}
			}
			checkNames(t, env, "sessions")
		})
	}
	t.Run("one that was ended", func(t *testing.T) {
		env := testenv.New(t, nil)
		personWithPassword(t, env, "zoe")
		s := session(t, env, "zoe", home)
		env.Restart(func() { execKeys(t, env, `CREATE TABLE kept AS SELECT * FROM sessions`) })
		if _, err := env.Engine.SignOut(t.Context(), by(t, env, s)); err != nil {
			t.Fatal(err)
		}
		for _, running := range []bool{true, false} {
			if running {
				execKeys(t, env, `INSERT INTO sessions SELECT * FROM kept`)
			} else {
				env.Restart(nil)
			}
			if admits(t, env, s) {
				t.Errorf("while the server runs %v: a session that was brought back admits", running)
			}
		}
	})
	t.Run("one of before a new password", func(t *testing.T) {
		env := testenv.New(t, nil)
		personWithPassword(t, env, "zoe")
		s := session(t, env, "zoe", home)
		env.Restart(func() { execKeys(t, env, `CREATE TABLE kept AS SELECT * FROM sessions`) })
		if _, err := env.Engine.SetPassword(t.Context(), by(t, env, s), api.PasswordRequest{Old: zoesPassword, New: otherWords}, home); err != nil {
			t.Fatal(err)
		}
		env.Restart(func() { execKeys(t, env, `REPLACE INTO sessions SELECT * FROM kept`) })
		if admits(t, env, s) {
			t.Error("a session that was brought back admits")
		}
	})
	t.Run("one that was not used for long", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			env := testenv.New(t, nil)
			personWithPassword(t, env, "zoe")
			s := session(t, env, "zoe", home)
			env.Restart(func() { execKeys(t, env, `CREATE TABLE kept AS SELECT * FROM sessions`) })
			time.Sleep(2 * half)
			env.Restart(func() { execKeys(t, env, `REPLACE INTO sessions SELECT * FROM kept`) })
			if admits(t, env, s) {
				t.Error("a session that was brought back admits")
			}
		})
	})
}

// checkNames requires that the check names something in a table, and nothing elsewhere.
func checkNames(t *testing.T, env *testenv.Env, table string) {
	t.Helper()
	found := 0
	for c := env.Engine.NewCheck("main", engine.CheckState{}, engine.CheckOptions{}); !c.Done(); {
		findings, err := c.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range findings {
			if found++; f.Where != table {
				t.Errorf("the check names %+v, want %s alone", f, table)
			}
		}
	}
	if found == 0 {
		t.Errorf("the check names nothing in %s", table)
	}
}

// Somebody is signed in in a hundred places; one more ends the oldest.
func TestOneSessionTooManyEndsTheOldest(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("signs in many times, which costs by design")
	}
	env := testenv.New(t, nil)
	personWithPassword(t, env, "zoe")
	first := session(t, env, "zoe", home)
	c := by(t, env, first)
	second, err := engine.BeginSession(t.Context(), env.Engine, c, home)
	if err != nil {
		t.Fatal(err)
	}
	for range engine.MaxSessions - 1 {
		if _, err := engine.BeginSession(t.Context(), env.Engine, c, home); err != nil {
			t.Fatal(err)
		}
	}
	if admits(t, env, first) || !admits(t, env, second) {
		t.Error("the oldest session is not the one that ended")
	}
}

func TestSettingAPassword(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("signs in many times, which costs by design")
	}
	env := testenv.New(t, nil)
	personWithPassword(t, env, "zoe")
	zoe := by(t, env, session(t, env, "zoe", home))
	scoped, err := env.Engine.CreateAPIKey(t.Context(), env.Ann, api.APIKeyRequest{User: "zoe", Scopes: []string{"task:*"}}, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.InviteUser(t.Context(), env.Ann, api.UserRequest{Name: "ocr", Kind: "service"}, ""); err != nil {
		t.Fatal(err)
	}
	ocr, err := env.Engine.CreateAPIKey(t.Context(), env.Ann, api.APIKeyRequest{User: "ocr"}, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		who  engine.Caller
		in   api.PasswordRequest
		code string
	}{
		{"without the old one", zoe, api.PasswordRequest{New: otherWords}, "wrong_password"},
		{"with another old one", zoe, api.PasswordRequest{Old: otherWords, New: otherWords}, "wrong_password"},
		{"a short one", zoe, api.PasswordRequest{Old: zoesPassword, New: "fourteen signs"}, "password_too_short"},
		{"little more than the name", zoe, api.PasswordRequest{Old: zoesPassword, New: "zoezoezoezoezoezoe12"}, "password_guessable"},
		{"with a key for something else", env.SignIn(scoped.Text), api.PasswordRequest{Old: zoesPassword, New: otherWords}, "scope_exceeded"},
		{"of a program", env.SignIn(ocr.Text), api.PasswordRequest{New: otherWords}, "no_person"},
		{"the first one, by an API key", env.Ann, api.PasswordRequest{New: otherWords}, "password_by_link"},
	} {
		if _, err := env.Engine.SetPassword(t.Context(), c.who, c.in, home); fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", c.name, err, c.code)
		}
	}
	byLink(t, env, "ann", zoesPassword)
	if set, err := env.Engine.SetPassword(t.Context(), env.Ann, api.PasswordRequest{Old: zoesPassword, New: otherWords}, home); err != nil || set.Session != nil {
		t.Errorf("another one, by an API key: %+v, %v, want no session", set, err)
	}
	if _, err := attempt(t, env, "main", "ann", otherWords, home); err != nil {
		t.Errorf("Ann signs in: %v", err)
	}
}

// Who proves something that ends while it is compared is signed in by it no more: a sign-in
// with the former password, and what ended all sessions, whoever asked first.
func TestNobodyIsSignedInByWhatEndsMeanwhile(t *testing.T) {
	if testing.Short() {
		t.Skip("hashes passwords, which costs by design")
	}
	signIn := func(t *testing.T, env *testenv.Env) (api.NewSession, error) {
		return attempt(t, env, "main", "zoe", zoesPassword, home)
	}
	for _, c := range []struct {
		name   string
		begin  func(*testing.T, *testenv.Env) func(*testing.T, *testenv.Env) (api.NewSession, error)
		hashes bool // what ends it has its turn first
		end    func(t *testing.T, env *testenv.Env) error
	}{
		{"another password", nil, true, func(t *testing.T, env *testenv.Env) error {
			byLink(t, env, "zoe", otherWords)
			return nil
		}},
		{"another password, while it is proved again", func(t *testing.T, env *testenv.Env) func(*testing.T, *testenv.Env) (api.NewSession, error) {
			zoe := by(t, env, session(t, env, "zoe", home))
			return func(t *testing.T, env *testenv.Env) (api.NewSession, error) {
				return env.Engine.Verify(t.Context(), zoe, api.VerifyRequest{Password: zoesPassword}, home)
			}
		}, true, func(t *testing.T, env *testenv.Env) error {
			byLink(t, env, "zoe", otherWords)
			return nil
		}},
		{"the session, while it is proved again", func(t *testing.T, env *testenv.Env) func(*testing.T, *testenv.Env) (api.NewSession, error) {
			zoe := by(t, env, session(t, env, "zoe", home))
			return func(t *testing.T, env *testenv.Env) (api.NewSession, error) {
				return env.Engine.Verify(t.Context(), zoe, api.VerifyRequest{Password: zoesPassword}, home)
			}
		}, false, func(t *testing.T, env *testenv.Env) error {
			all, err := env.Engine.Sessions(t.Context(), env.Ann, "zoe", engine.Page{})
			if err != nil || len(all.Items) != 1 {
				return fmt.Errorf("Zoe is signed in by %+v, %w", all, err)
			}
			return second(env.Engine.RevokeSession(t.Context(), env.Ann, all.Items[0].ID))
		}},
		{"the end of all theirs", nil, false, func(t *testing.T, env *testenv.Env) error {
			_, err := env.Engine.EndUserSessions(t.Context(), env.Ann, "zoe", api.ReasonRequest{}, "")
			return err
		}},
		{"the end of all of the company", nil, false, func(t *testing.T, env *testenv.Env) error {
			_, err := env.Engine.EndAllSessions(t.Context(), env.Ann, api.ReasonRequest{}, "")
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				env := testenv.New(t, nil)
				personWithPassword(t, env, "zoe", "Viewer")
				begin := signIn
				if c.begin != nil {
					begin = c.begin(t, env)
				}
				var s api.NewSession
				var err error
				begun, ended := make(chan struct{}), make(chan struct{})
				tryIt := func() { defer close(begun); s, err = begin(t, env) }
				end := func() {
					defer close(ended)
					if err := c.end(t, env); err != nil {
						t.Error(err)
					}
				}
				// Two of a company hash at once. One turn is taken all the time; in the other one comes
				// what ends the password, then nobody, then the sign-in, which has looked up by now
				// what it is compared with.
				taken, first := held(t, env), held(t, env)
				if c.hashes {
					go end()
					synctest.Wait()
				}
				second := held(t, env)
				go tryIt()
				synctest.Wait()
				if !c.hashes {
					go end()
				}
				first()
				<-ended
				second()
				<-begun
				taken()
				if !unauthenticated(err) || s.Text != "" && admits(t, env, s) {
					t.Errorf("signed in: %+v, %v", s, err)
				}
			})
		})
	}
}

// held takes the next turn of those who have a password hashed, until it is let go.
func held(t *testing.T, env *testenv.Env) (letGo func()) {
	t.Helper()
	gone := make(chan struct{})
	go func() {
		if err := engine.Passwords(env.Engine).Do(t.Context(), "main", func() error { <-gone; return nil }); err != nil {
			t.Error(err)
		}
	}()
	synctest.Wait()
	return func() { close(gone) }
}

// A link that nobody used does not count any more when somebody was disabled.
func TestALinkEndsWithADisabling(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	personWithPassword(t, env, "zoe")
	reset, err := env.Engine.ResetPassword(t.Context(), env.Ann, "zoe", api.ReasonRequest{}, "")
	if err != nil {
		t.Fatal(err)
	}
	invited, err := env.Engine.InviteUser(t.Context(), env.Ann, api.UserRequest{Name: "dan", Kind: "user"}, "")
	if err != nil {
		t.Fatal(err)
	}
	for name, link := range map[string]string{"zoe": reset.Link, "dan": invited.Link} {
		if u, err := env.Engine.DisableUser(t.Context(), env.Ann, name, api.ReasonRequest{}, ""); err != nil || u.Invited != nil {
			t.Fatalf("%s: %+v, %v", name, u, err)
		}
		if _, err := env.Engine.EnableUser(t.Context(), env.Ann, name, api.ReasonRequest{}, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := env.Engine.Setup(t.Context(), api.SetupRequest{Link: link, Password: otherWords}, home.Address); !unauthenticated(err) {
			t.Errorf("the link of %s, who was disabled and enabled: %v", name, err)
		}
	}
	session(t, env, "zoe", home)
	checkedWhole(t, env)
}

// A session that has just begun is known by its row alone: who ended it before it was used
// has ended it.
func TestASessionIsReadBeforeItCounts(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	personWithPassword(t, env, "zoe")
	s := session(t, env, "zoe", home)
	execKeys(t, env, `DELETE FROM sessions`)
	if admits(t, env, s) {
		t.Error("a session without a row admits")
	}
}

// Whoever lets somebody set another password learns none, and the former counts until
// then.
func TestALinkSetsAnotherPassword(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	personWithPassword(t, env, "zoe")
	before := session(t, env, "zoe", home)
	reset, err := env.Engine.ResetPassword(t.Context(), env.Ann, "zoe", api.ReasonRequest{Reason: "forgotten"}, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.Setup(t.Context(), api.SetupRequest{Link: reset.Link}, home.Address); fault.CodeOf(err) != "password_required" {
		t.Errorf("without a password: %v", err)
	}
	if !admits(t, env, before) {
		t.Error("a link that nobody used signs somebody out")
	}
	done, err := env.Engine.Setup(t.Context(), api.SetupRequest{Link: reset.Link, Password: otherWords}, home.Address)
	if err != nil || done.Key.Text != "" {
		t.Fatalf("used: %+v, %v, want no key", done, err)
	}
	if admits(t, env, before) {
		t.Error("a session of before the new password admits")
	}
	if _, err := attempt(t, env, "main", "zoe", zoesPassword, home); !unauthenticated(err) {
		t.Errorf("by the former password: %v", err)
	}
	if _, err := attempt(t, env, "main", "zoe", otherWords, home); err != nil {
		t.Errorf("by the new password: %v", err)
	}
	if _, err := env.Engine.Setup(t.Context(), api.SetupRequest{Link: reset.Link, Password: zoesPassword}, home.Address); !unauthenticated(err) {
		t.Errorf("the link again: %v", err)
	}
	for _, who := range []string{"ann", "zoe"} { // Ann is an Operator, who only Operators let in
		admin := env.Person("admin-of-"+who, "Admin")
		if _, err := env.Engine.ResetPassword(t.Context(), admin, who, api.ReasonRequest{}, ""); fault.Is(err, fault.Denied) != (who == "ann") {
			t.Errorf("an Admin who is no Operator lets %s set a password: %v", who, err)
		}
	}
}
