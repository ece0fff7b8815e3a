package engine_test

import (
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
)

// TestRevokingSomebodyEndsAllThatAdmitsThem for good, also after they are enabled again and
// after a restart.
func TestRevokingSomebodyEndsAllThatAdmitsThem(t *testing.T) {
	t.Parallel()
	onBoth(t, revokingSomebody)
}

func revokingSomebody(t *testing.T, env *testenv.Env) {
	ctx, e := t.Context(), env.Engine
	first := env.PersonsKey("bob", "Viewer")
	second, err := e.CreateAPIKey(ctx, env.Ann, api.APIKeyRequest{User: "bob"}, "")
	if err != nil {
		t.Fatal(err)
	}
	invited, err := e.InviteUser(ctx, env.Ann, api.UserRequest{Name: "dan", Kind: "user"}, "")
	if err != nil {
		t.Fatal(err)
	}
	byLink(t, env, "bob", zoesPassword)
	byPassword := api.SignInRequest{Tenant: "main", Name: "bob", Password: zoesPassword}
	session, err := e.SignIn(ctx, byPassword, home)
	if err != nil {
		t.Fatal(err)
	}
	out := func(what string) {
		t.Helper()
		for _, text := range []string{first, second.Text, session.Text} {
			if err := signIn(t, env, text); !unauthenticated(err) {
				t.Errorf("%s, a key or session of Bob's: %v, want nobody known", what, err)
			}
		}
		if _, err := env.Engine.SignIn(ctx, byPassword, home); !unauthenticated(err) {
			t.Errorf("%s, Bob's password: %v, want nobody known", what, err)
		}
		if _, err := env.Engine.Setup(ctx, api.SetupRequest{Link: invited.Link}, "192.0.2.1"); !unauthenticated(err) {
			t.Errorf("%s, Dan's link: %v, want that it is no more", what, err)
		}
	}
	for _, name := range []string{"bob", "dan"} {
		for range 2 { // a request that is repeated
			u, err := e.RevokeUser(ctx, env.Ann, name, api.ReasonRequest{Reason: "stolen"}, "k-"+name)
			if err != nil || u.State != "disabled" || u.Invited != nil {
				t.Fatalf("revoking %s: %+v, %v", name, u, err)
			}
		}
		if _, err := e.RevokeUser(ctx, env.Ann, name, api.ReasonRequest{}, ""); fault.CodeOf(err) != "unchanged" {
			t.Errorf("once more: %v, want unchanged", err)
		}
	}
	out("revoked")
	checkedWhole(t, env)
	for _, name := range []string{"bob", "dan"} {
		if _, err := e.EnableUser(ctx, env.Ann, name, api.ReasonRequest{}, ""); err != nil {
			t.Fatal(err)
		}
	}
	out("enabled again")
	if keys, err := e.APIKeys(ctx, env.Ann, "bob", engine.Page{}); err != nil || len(keys.Items) > 0 {
		t.Errorf("Bob's keys are %+v, %v, want none", keys.Items, err)
	}
	env.Restart(nil)
	out("after a restart")
	if _, err := env.Engine.RevokeUser(ctx, env.Ann, "ann", api.ReasonRequest{}, ""); fault.CodeOf(err) != "last_administrator" {
		t.Errorf("revoking the last administrator: %v, want last_administrator", err)
	}
	checkedWhole(t, env)
}

// TestARevocationWaitsForNoReaders revokes who has made a reader of the log that cannot be
// read: they are out at once, and that something is left is said.
func TestARevocationWaitsForNoReaders(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	key := env.PersonsKey("bob", "Admin")
	if _, err := env.Engine.CreateLogReader(t.Context(), env.SignIn(key), api.LogReaderRequest{Name: "mirror"}); err != nil {
		t.Fatal(err)
	}
	execRaw(t, env, `CREATE TABLE kept AS SELECT * FROM readers; UPDATE readers SET sealed = x'00'`)
	if _, err := env.Engine.RevokeUser(t.Context(), env.Ann, "bob", api.ReasonRequest{Reason: "stolen"}, ""); !fault.Is(err, fault.Integrity) {
		t.Errorf("with a reader that cannot be read: %v, want Integrity", err)
	}
	if err := signIn(t, env, key); !unauthenticated(err) {
		t.Errorf("Bob's key: %v, want nobody known", err)
	}
	execRaw(t, env, `REPLACE INTO readers SELECT * FROM kept; DROP TABLE kept`)
	if u, err := env.Engine.RevokeUser(t.Context(), env.Ann, "bob", api.ReasonRequest{}, ""); err != nil || u.State != "disabled" {
		t.Errorf("what is left: %+v, %v", u, err)
	}
	if list, err := env.Engine.LogReaders(t.Context(), env.Ann, engine.Page{}); err != nil || len(list.Items) != 1 || list.Items[0].Revoked == nil {
		t.Errorf("the readers are %+v, %v, want one that is revoked", list.Items, err)
	}
	if _, err := env.Engine.RevokeUser(t.Context(), env.Ann, "bob", api.ReasonRequest{}, ""); fault.CodeOf(err) != "unchanged" {
		t.Errorf("once more: %v, want unchanged", err)
	}
}
