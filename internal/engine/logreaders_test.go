package engine_test

import (
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

func TestReadersAreListedAndRevoked(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	ctx := t.Context()
	var made []api.NewLogReader
	for _, name := range []string{"the auditor", "a mirror", "a third"} {
		r, err := env.Engine.CreateLogReader(ctx, env.Ann, api.LogReaderRequest{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, r)
	}
	if made[0].Path == made[1].Path || len(made[0].Path) < len("/log/usl_main_")+52 {
		t.Errorf("paths %q and %q, want 256 random bits in each", made[0].Path, made[1].Path)
	}
	for range 2 { // again changes nothing
		r, err := env.Engine.RevokeLogReader(ctx, env.Ann, made[1].ID)
		if err != nil || r.Revoked == nil {
			t.Fatalf("revoked: %+v, %v", r, err)
		}
	}
	first, err := env.Engine.LogReaders(ctx, env.Ann, engine.Page{Limit: 2})
	if err != nil {
		t.Fatal(err)
	}
	rest, err := env.Engine.LogReaders(ctx, env.Ann, engine.Page{Limit: 2, After: first.Next})
	if err != nil {
		t.Fatal(err)
	}
	all := append(first.Items, rest.Items...)
	if len(all) != 3 || rest.Next != "" {
		t.Fatalf("listed %+v and %+v, want three", first, rest)
	}
	for i, r := range all {
		if r.ID != made[i].ID || r.Name != made[i].Name || r.By != "ann" || (r.Revoked != nil) != (i == 1) {
			t.Errorf("reader %d is %+v, want %+v", i, r, made[i])
		}
	}
	for _, id := range []string{"", "x", made[0].ID + " ", "00000000-0000-7000-8000-000000000000"} {
		if _, err := env.Engine.RevokeLogReader(ctx, env.Ann, id); !fault.Is(err, fault.NotFound) {
			t.Errorf("revoking %q: %v, want NotFound", id, err)
		}
	}
}

// A revocation that was taken back in the database, whole as the row is, does not make
// the path good again: the log knows better.
func TestARevocationThatWasTakenBackStands(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	made, err := env.Engine.CreateLogReader(t.Context(), env.Ann, api.LogReaderRequest{Name: "the auditor"})
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.TrimPrefix(made.Path, "/log/")
	execRaw(t, env, `CREATE TABLE kept AS SELECT * FROM readers`)
	if _, err := env.Engine.LogFile(t.Context(), secret, "shards", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.RevokeLogReader(t.Context(), env.Ann, made.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.LogFile(t.Context(), secret, "shards", ""); !fault.Is(err, fault.NotFound) {
		t.Fatalf("a revoked reader: %v", err)
	}
	execRaw(t, env, `REPLACE INTO readers SELECT * FROM kept; DROP TABLE kept`)
	for range 2 {
		if _, err := env.Engine.LogFile(t.Context(), secret, "shards", ""); !fault.Is(err, fault.Integrity) {
			t.Errorf("a reader whose revocation was taken back: %v, want Integrity", err)
		}
		if _, err := env.Engine.RevokeLogReader(t.Context(), env.Ann, made.ID); !fault.Is(err, fault.Integrity) {
			t.Errorf("revoked again: %v, want Integrity", err)
		}
		env.Restart(nil)
	}
}

// What a reader may ask for is bounded, and one that asks too much takes nothing from
// another.
func TestAReaderThatAsksTooMuchWaits(t *testing.T) {
	t.Parallel()
	at := time.Now()
	env := testenv.New(t, func(c *node.Config) { c.Now = func() time.Time { return at } })
	var secrets []string
	for _, name := range []string{"a mirror", "an auditor"} {
		r, err := env.Engine.CreateLogReader(t.Context(), env.Ann, api.LogReaderRequest{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, strings.TrimPrefix(r.Path, "/log/"))
	}
	ask := func(secret string) string {
		_, err := env.Engine.LogFile(t.Context(), secret, "shards", "")
		return fault.CodeOf(err)
	}
	for n := range 2001 {
		want := ""
		if n == 2000 {
			want = "too_many_requests"
		}
		if got := ask(secrets[0]); got != want {
			t.Fatalf("request %d: %q, want %q", n+1, got, want)
		}
	}
	if got := ask(secrets[1]); got != "" {
		t.Errorf("the other reader: %q", got)
	}
}

// TestADisabledTenantsLogIsNotRead by those who have a path to it, until it is enabled.
func TestADisabledTenantsLogIsNotRead(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	ctx, e := t.Context(), env.Engine
	acme := env.Tenant("acme")
	made, err := e.CreateLogReader(ctx, acme.Ann, api.LogReaderRequest{Name: "the auditor"})
	if err != nil {
		t.Fatal(err)
	}
	read := func() error {
		_, err := e.LogFile(ctx, strings.TrimPrefix(made.Path, "/log/"), "shards", "")
		return err
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.DisableTenant(ctx, env.Ann, "acme", api.ReasonRequest{}, ""); err != nil {
		t.Fatal(err)
	}
	if err := read(); !fault.Is(err, fault.NotFound) {
		t.Errorf("the log of a disabled tenant: %v, want NotFound", err)
	}
	if _, err := e.EnableTenant(ctx, env.Ann, "acme", api.ReasonRequest{}, ""); err != nil {
		t.Fatal(err)
	}
	if err := read(); err != nil {
		t.Errorf("when it is enabled: %v", err)
	}
}

// A reader is good from everywhere and without end, so nobody gets one with a key that is
// not, nor by a session that somebody finds.
func TestAKeyGetsNoReaderThatOutlivesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := testenv.New(t, nil)
		ctx, e := t.Context(), env.Engine
		create := func(by engine.Caller) error {
			_, err := e.CreateLogReader(ctx, by, api.LogReaderRequest{Name: "x"})
			return err
		}
		key := func(r api.APIKeyRequest) engine.Caller {
			t.Helper()
			r.User = "ann"
			k, err := e.CreateAPIKey(ctx, env.Ann, r, "")
			if err != nil {
				t.Fatal(err)
			}
			return env.SignIn(k.Text)
		}
		scopes, soon := []string{"log:manage-readers"}, time.Now().Add(time.Hour)
		for name, by := range map[string]engine.Caller{
			"from some networks": key(api.APIKeyRequest{Scopes: scopes, Networks: []string{env.Ann.Address + "/32"}}),
			"with an end":        key(api.APIKeyRequest{Scopes: scopes, Expires: &soon}),
		} {
			if err := create(by); fault.CodeOf(err) != "scope_exceeded" {
				t.Errorf("by a key %s: %v, want scope_exceeded", name, err)
			}
		}
		if err := create(key(api.APIKeyRequest{Scopes: scopes})); err != nil {
			t.Errorf("by a key for that: %v", err)
		}
		seated, err := engine.BeginSession(ctx, e, env.Ann, home)
		if err != nil {
			t.Fatal(err)
		}
		ann := by(t, env, seated)
		if err := create(ann); err != nil {
			t.Errorf("signed in just now: %v", err)
		}
		time.Sleep(6 * time.Minute)
		if err := create(by(t, env, seated)); fault.CodeOf(err) != "step_up_required" {
			t.Errorf("signed in a while ago: %v, want step_up_required", err)
		}
	})
}

// The readers that somebody made show nothing while their maker is disabled, and end when
// all that admits the maker does.
func TestReadersEndWithTheirMaker(t *testing.T) { onBoth(t, readersOfAMaker) }

func readersOfAMaker(t *testing.T, env *testenv.Env) {
	ctx, e := t.Context(), env.Engine
	bob := env.Person("bob", "Admin")
	path := func(by engine.Caller) string {
		t.Helper()
		r, err := e.CreateLogReader(ctx, by, api.LogReaderRequest{Name: "x"})
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimPrefix(r.Path, "/log/")
	}
	bobs, anns := path(bob), path(env.Ann)
	reads := func(what string, want bool) {
		t.Helper()
		for secret, want := range map[string]bool{bobs: want, anns: true} {
			if _, err := e.LogFile(ctx, secret, "shards", ""); fault.Is(err, fault.NotFound) == want || !want && err == nil {
				t.Errorf("%s: a reader of %v: %v", what, map[bool]string{true: "Bob's", false: "Ann's"}[secret == bobs], err)
			}
		}
	}
	reason := api.ReasonRequest{Reason: "stolen"}
	enable := func() {
		t.Helper()
		if _, err := e.EnableUser(ctx, env.Ann, "bob", reason, ""); err != nil {
			t.Fatal(err)
		}
	}
	reads("before", true)
	if _, err := e.DisableUser(ctx, env.Ann, "bob", reason, ""); err != nil {
		t.Fatal(err)
	}
	reads("disabled", false)
	enable()
	reads("enabled again", true)
	if _, err := e.RevokeUser(ctx, env.Ann, "bob", reason, ""); err != nil {
		t.Fatal(err)
	}
	reads("revoked", false)
	enable()
	reads("enabled after that", false)
	if _, err := e.CreateLogReader(ctx, bob, api.LogReaderRequest{Name: "x"}); !unauthenticated(err) {
		t.Errorf("who was revoked makes a reader: %v", err)
	}
	list, err := e.LogReaders(ctx, env.Ann, engine.Page{})
	if err != nil || len(list.Items) != 2 || list.Items[0].Revoked == nil || list.Items[1].Revoked != nil {
		t.Errorf("listed: %+v, %v, want that Bob's is revoked", list, err)
	}
	checkedWhole(t, env)
}

// Who revokes themselves ends the readers that they made, too.
func TestWhoRevokesThemselvesEndsTheirReaders(t *testing.T) {
	env := testenv.New(t, nil)
	bob := env.Person("bob", "Admin")
	if _, err := env.Engine.CreateLogReader(t.Context(), bob, api.LogReaderRequest{Name: "x"}); err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.RevokeUser(t.Context(), bob, "bob", api.ReasonRequest{Reason: "stolen"}, ""); err != nil {
		t.Fatal(err)
	}
	if list, err := env.Engine.LogReaders(t.Context(), env.Ann, engine.Page{}); err != nil || len(list.Items) != 1 || list.Items[0].Revoked == nil {
		t.Errorf("listed: %+v, %v, want that it is revoked", list, err)
	}
}
