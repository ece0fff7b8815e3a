//go:build unix

package crash_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/pgtest"
	"github.com/underseal/underseal/internal/testenv"
)

// TestServerKilledAfterRevocationsKeepsThem kills the server the moment that it has
// acknowledged that a right, a credential or a person's way in has ended: after the next
// start it has, and the log says so.
func TestServerKilledAfterRevocationsKeepsThem(t *testing.T) {
	t.Parallel()
	killAfterRevocations(t, newServer(t, ""))
}

func TestServerKilledAfterRevocationsOnPostgresKeepsThem(t *testing.T) {
	t.Parallel()
	killAfterRevocations(t, newServer(t, pgtest.Database(t)))
}

// An ending is something that admits somebody, and what ends it.
type ending struct {
	kind string                                              // of the entry that says so
	end  func(context.Context, *client.Client) error         // by an administrator, or whom it is about
	over func(context.Context, *client.Client) (bool, error) // that it has ended
}

func killAfterRevocations(t *testing.T, s *server) {
	s.args = append(s.args, "--public-url", testenv.PasskeyOrigin)
	s.start()
	if _, err := s.client().Deploy(s.ctx, api.File{Name: "crash.bpmn", Content: model(t)}); err != nil {
		t.Fatal(err)
	}
	endings := s.endings()
	for last, e := range endings {
		if over, err := e.over(s.ctx, s.client()); over || err != nil {
			t.Fatalf("%s before it was ended: over %v, %v", e.kind, over, err)
		}
		if err := e.end(s.ctx, s.client()); err != nil {
			t.Fatalf("%s: %v", e.kind, err)
		}
		s.kill()
		s.start()
		for _, e := range endings[:last+1] {
			if over, err := e.over(s.ctx, s.client()); !over || err != nil {
				t.Errorf("%s was acknowledged, and after a crash it is over: %v, %v", e.kind, over, err)
			}
		}
	}
	for _, e := range endings {
		s.awaitEntry(e.kind)
	}
	s.stop()
}

// patience is longer than an entry takes to get its place, however busy the machine.
const patience = time.Minute

// awaitEntry waits until the log has an entry of a kind: it gets its place soon after.
func (s *server) awaitEntry(kind string) {
	s.t.Helper()
	for end := time.Now().Add(patience); ; {
		found, err := s.client().Audit(s.ctx, api.AuditQuery{AuditFilter: api.AuditFilter{Kind: kind}, Page: api.Page{Limit: 10}})
		if err != nil {
			s.t.Fatalf("waiting for an entry that says %s: %v", kind, err)
		}
		if len(found.Items) > 0 {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("after %v no entry says %s", patience, kind)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// as returns a client of whoever has a credential.
func (s *server) as(credential string) *client.Client {
	s.t.Helper()
	c, err := client.New(s.config(credential))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

func (s *server) config(credential string) client.Config {
	return client.Config{URL: "http://127.0.0.1:1", Key: credential, Tries: 1, HTTPClient: &http.Client{Transport: &http.Transport{DialContext: s.dial}}}
}

// shut reports whether a call says that the credential is none.
func shut(err error) (bool, error) {
	if client.Code(err) == "unauthenticated" {
		return true, nil
	}
	return false, err
}

// person invites somebody, who sets a password, and returns a session of theirs.
func (s *server) person(name string) (session string) {
	s.t.Helper()
	invited, err := s.client().InviteUser(s.ctx, api.UserRequest{Name: name, Roles: []string{"Viewer"}})
	if err == nil {
		_, err = client.Setup(s.ctx, s.config(""), api.SetupRequest{Link: invited.Link, Password: passwordOf(name)})
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return s.signIn(name, passwordOf(name)).Text
}

func passwordOf(name string) string { return "the first password of " + name[:1] }

func (s *server) signIn(name, password string) api.NewSession {
	s.t.Helper()
	session, err := client.SignIn(s.ctx, s.config(""), api.SignInRequest{Tenant: "main", Name: name, Password: password})
	if err != nil {
		s.t.Fatal(err)
	}
	return session
}

// opens is whether a credential still does, of which the end is asked.
func (s *server) opens(credential string) func(context.Context, *client.Client) (bool, error) {
	return func(ctx context.Context, _ *client.Client) (bool, error) {
		_, err := s.as(credential).Me(ctx)
		return shut(err)
	}
}

// endings makes people with credentials and rights.
func (s *server) endings() []ending {
	s.t.Helper()
	must := func(err error) {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
	}
	c := s.client()
	s.person("keyed")
	key, err := c.CreateAPIKey(s.ctx, api.APIKeyRequest{User: "keyed"})
	must(err)
	s.person("gone")
	goneKey, err := c.CreateAPIKey(s.ctx, api.APIKeyRequest{User: "gone"})
	must(err)
	s.person("away")
	session := s.signIn("away", passwordOf("away"))
	grant, err := c.GiveGrant(s.ctx, api.GrantRequest{User: "keyed", Right: "work", Process: "crash"})
	must(err)
	forgetful := s.person("forgetful")
	return []ending{
		{"grant.revoked", func(ctx context.Context, c *client.Client) error {
			_, err := c.RevokeGrant(ctx, grant.ID, "")
			return err
		}, func(ctx context.Context, c *client.Client) (bool, error) {
			left, err := c.Grants(ctx, api.GrantsQuery{User: "keyed"})
			return len(left.Items) == 0, err
		}},
		{"api_key.revoked", func(ctx context.Context, c *client.Client) error {
			_, err := c.RevokeAPIKey(ctx, key.ID, "")
			return err
		}, s.opens(key.Text)},
		{"session.ended", func(ctx context.Context, c *client.Client) error {
			_, err := c.RevokeSession(ctx, session.ID)
			return err
		}, s.opens(session.Text)},
		{"password.set", func(ctx context.Context, _ *client.Client) error {
			_, err := s.as(forgetful).SetPassword(ctx, api.PasswordRequest{Old: passwordOf("forgetful"), New: "quite another password"})
			return err
		}, func(ctx context.Context, _ *client.Client) (bool, error) {
			_, err := client.SignIn(ctx, s.config(""), api.SignInRequest{Tenant: "main", Name: "forgetful", Password: passwordOf("forgetful")})
			return shut(err)
		}},
		s.passkeyEnding("pass"),
		{"principal.disabled", func(ctx context.Context, c *client.Client) error {
			_, err := c.RevokeUser(ctx, "gone", "")
			return err
		}, s.opens(goneKey.Text)},
	}
}

// passkeyEnding is the removal of somebody's passkey by themselves.
func (s *server) passkeyEnding(name string) ending {
	s.t.Helper()
	owner := s.as(s.person(name))
	q, err := owner.BeginPasskey(s.ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	a := testenv.NewAuthenticator(s.t, true)
	made, err := owner.RegisterPasskey(s.ctx, a.Create("laptop", q))
	if err != nil {
		s.t.Fatal(err)
	}
	return ending{"passkey.removed", func(ctx context.Context, _ *client.Client) error {
		_, err := owner.RemovePasskey(ctx, made.ID, "")
		return err
	}, func(ctx context.Context, _ *client.Client) (bool, error) {
		q, err := client.BeginPasskeySignIn(ctx, s.config(""))
		if err == nil {
			_, err = client.SignInByPasskey(ctx, s.config(""), a.SignIn(q))
		}
		return shut(err)
	}}
}
