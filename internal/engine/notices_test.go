package engine_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
)

// People are told who tried to be them, and what was done to what lets them in, by whom;
// nobody is told of others. A key that ends soon is named.
func TestPeopleAreToldWhatHappenedToTheirAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := testenv.New(t, nil)
		personWithPassword(t, env, "zoe", "Viewer")
		personWithPassword(t, env, "bob")
		for range 3 {
			if _, err := attempt(t, env, "main", "zoe", otherWords, engine.From{Address: "198.51.100.1"}); !unauthenticated(err) {
				t.Fatal(err)
			}
		}
		byLink(t, env, "zoe", zoesPassword)
		soon, late := time.Now().Add(13*24*time.Hour), time.Now().Add(15*24*time.Hour)
		for _, expires := range []time.Time{soon, late} {
			if _, err := env.Engine.CreateAPIKey(t.Context(), env.Ann, api.APIKeyRequest{User: "zoe", Expires: &expires}, ""); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Second) // until the tries are in the log
		zoe := by(t, env, session(t, env, "zoe", home))
		told, err := env.Engine.Notices(t.Context(), zoe)
		if err != nil {
			t.Fatal(err)
		}
		tries, got := 0, map[string]string{}
		for _, n := range told.Items {
			if got[n.Kind] = n.By + " " + n.Address; n.Kind == "sign_in.failed" {
				tries += n.Count
			}
		}
		for kind, want := range map[string]string{
			"sign_in.failed": "zoe 198.51.100.1", "password.set": "zoe " + home.Address, "api_key.created": "ann ", "principal.activated": "zoe " + home.Address,
		} {
			if got[kind] != want {
				t.Errorf("of %s Zoe is told %q, want %q", kind, got[kind], want)
			}
		}
		if tries != 3 || !slices.IsSortedFunc(told.Items, func(a, b api.Notice) int { return b.At.Compare(a.At) }) {
			t.Errorf("Zoe is told of %d tries, want 3, the newest first: %+v", tries, told.Items)
		}
		if len(told.Ending) != 1 || !told.Ending[0].Expires.Equal(soon) {
			t.Errorf("the keys that end soon are %+v", told.Ending)
		}
		bobs, err := env.Engine.Notices(t.Context(), by(t, env, session(t, env, "bob", home)))
		if err != nil || slices.ContainsFunc(bobs.Items, func(n api.Notice) bool { return n.Kind == "sign_in.failed" || n.By == "zoe" }) || len(bobs.Ending) > 0 {
			t.Errorf("Bob is told %+v, %v", bobs, err)
		}
	})
}

// A step of the account is told however often a passkey is used after it, or a stranger
// tries to be them; what is left out is said.
func TestNoStepOfAnAccountIsPushedOut(t *testing.T) {
	if testing.Short() {
		t.Skip("many tries")
	}
	synctest.Test(t, func(t *testing.T) {
		env := testenv.New(t, nil)
		a := testenv.NewAuthenticator(t, true)
		a.Counter = 1
		zoe, _ := personWithPasskey(t, env, "zoe", a)
		for range 101 {
			if _, err := env.Engine.SignInByPasskey(t.Context(), a.SignIn(askToSignIn(t, env)), home); err != nil {
				t.Fatal(err)
			}
		}
		told := func() (kinds map[string]int, more bool) {
			t.Helper()
			out, err := env.Engine.Notices(t.Context(), zoe)
			if err != nil {
				t.Fatal(err)
			}
			kinds = map[string]int{}
			for _, n := range out.Items {
				kinds[n.Kind]++
			}
			return kinds, out.More
		}
		time.Sleep(2 * time.Second) // until it is in the log
		kinds, more := told()
		if kinds["passkey.registered"] != 1 || kinds["passkey.used"] != 0 || more {
			t.Errorf("after many uses Zoe is told %v, more: %v", kinds, more)
		}
		stranger := testenv.NewAuthenticator(t, true)
		stranger.Handle, stranger.ID = a.Handle, a.ID
		for range 51 {
			if _, err := env.Engine.SignInByPasskey(t.Context(), stranger.SignIn(askToSignIn(t, env)), home); !unauthenticated(err) {
				t.Fatal(err)
			}
			time.Sleep(time.Minute) // until it is in the log, and the next one is counted apart
		}
		if kinds, more = told(); kinds["passkey.registered"] != 1 || kinds["sign_in.failed"] != 50 || !more {
			t.Errorf("after many tries Zoe is told %v, more: %v", kinds, more)
		}
	})
}

// A key is told of its person's account no more than its scopes let it see.
func TestAKeysScopesLimitNotices(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	personWithPassword(t, env, "zoe", "Viewer")
	soon := time.Now().Add(24 * time.Hour)
	by := func(scopes ...string) engine.Caller {
		t.Helper()
		k, err := env.Engine.CreateAPIKey(t.Context(), env.Ann, api.APIKeyRequest{User: "zoe", Scopes: scopes, Expires: &soon}, "")
		if err != nil {
			t.Fatal(err)
		}
		c, err := env.Engine.Authenticate(t.Context(), k.Text, home.Address)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if out, err := env.Engine.Notices(t.Context(), by("job:work")); !fault.Is(err, fault.Denied) || len(out.Items)+len(out.Ending) > 0 {
		t.Errorf("a key for jobs is told %+v, %v, want denied", out, err)
	}
	if out, err := env.Engine.Notices(t.Context(), by("principal:read")); err != nil || len(out.Ending) > 0 {
		t.Errorf("a key that sees no keys is told %+v, %v", out, err)
	}
	if out, err := env.Engine.Notices(t.Context(), by("principal:read", "apikey:read")); err != nil || len(out.Ending) == 0 {
		t.Errorf("a key that sees keys is told %+v, %v", out, err)
	}
}
