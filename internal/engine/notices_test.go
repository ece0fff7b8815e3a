package engine_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
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
