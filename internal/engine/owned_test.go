package engine_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
)

// company makes groups and programs with grants and keys, some with none.
func company(t *testing.T, env *testenv.Env) {
	t.Helper()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, e := t.Context(), env.Engine
	for i := range 4 {
		name := fmt.Sprintf("group-%d", i)
		must(e.CreateGroup(ctx, env.Ann, api.GroupRequest{Name: name}, ""))
		for range i {
			must(e.GiveGrant(ctx, env.Ann, api.GrantRequest{Group: name, Right: "view", Process: "*"}, ""))
		}
		name = fmt.Sprintf("service-%d", i)
		must(e.InviteUser(ctx, env.Ann, api.UserRequest{Name: name, Kind: "service"}, ""))
		for range i {
			must(e.GiveGrant(ctx, env.Ann, api.GrantRequest{User: name, Right: "start", Process: "*"}, ""))
			must(e.CreateAPIKey(ctx, env.Ann, api.APIKeyRequest{User: name}, ""))
		}
	}
}

// peoplesLists are all lists of people and what they have: names or ids, and the cursor.
func peoplesLists(t *testing.T, env *testenv.Env) map[string]func(engine.Page) ([]string, string, error) {
	ctx, e := t.Context(), env.Engine
	grants := func(of engine.GrantsOf) func(engine.Page) ([]string, string, error) {
		return func(p engine.Page) (ids []string, next string, err error) {
			out, err := e.Grants(ctx, env.Ann, of, p)
			for _, g := range out.Items {
				ids = append(ids, g.ID+" "+g.User+g.Group)
			}
			return ids, out.Next, err
		}
	}
	keys := func(user string) func(engine.Page) ([]string, string, error) {
		return func(p engine.Page) (ids []string, next string, err error) {
			out, err := e.APIKeys(ctx, env.Ann, user, p)
			for _, k := range out.Items {
				ids = append(ids, k.ID+" "+k.User)
			}
			return ids, out.Next, err
		}
	}
	return map[string]func(engine.Page) ([]string, string, error){
		"users": func(p engine.Page) (names []string, next string, err error) {
			out, err := e.Users(ctx, env.Ann, p)
			for _, u := range out.Items {
				names = append(names, u.Name)
			}
			return names, out.Next, err
		},
		"groups": func(p engine.Page) (names []string, next string, err error) {
			out, err := e.Groups(ctx, env.Ann, p)
			for _, g := range out.Items {
				names = append(names, g.Name)
			}
			return names, out.Next, err
		},
		"grants": grants(engine.GrantsOf{}), "a user's grants": grants(engine.GrantsOf{User: "service-3"}),
		"a group's grants": grants(engine.GrantsOf{Group: "group-3"}), "keys": keys(""), "a user's keys": keys("service-3"),
	}
}

// walk goes through a list, page by page.
func walk(t *testing.T, limit int, list func(engine.Page) ([]string, string, error)) (all []string, err error) {
	t.Helper()
	for p := (engine.Page{Limit: limit}); ; {
		items, next, err := list(p)
		if err != nil {
			return all, err
		}
		if len(items) > limit {
			t.Errorf("a page of %d has %d items", limit, len(items))
		}
		if all = append(all, items...); next == "" {
			return all, nil
		}
		if next == p.After {
			t.Fatalf("the page after %q is the same again", next)
		}
		p.After = next
	}
}

// TestListsOfPeopleComeInPages of every size, which together are the whole list.
func TestListsOfPeopleComeInPages(t *testing.T) { onBoth(t, listsOfPeopleComeInPages) }

func listsOfPeopleComeInPages(t *testing.T, env *testenv.Env) {
	company(t, env)
	want := map[string]int{"users": 5, "groups": 4, "grants": 3 + 6 + 6, "a user's grants": 3, "a group's grants": 3, "keys": 1 + 6, "a user's keys": 3}
	for name, list := range peoplesLists(t, env) {
		whole, err := walk(t, 1000, list)
		if err != nil || len(whole) != want[name] {
			t.Errorf("%s: %q, %v, want %d", name, whole, err, want[name])
		}
		for _, limit := range []int{1, 2, 3, 5} {
			if got, err := walk(t, limit, list); err != nil || !slices.Equal(got, whole) {
				t.Errorf("%s in pages of %d: %q, %v, want %q", name, limit, got, err, whole)
			}
		}
		for _, cursor := range []string{"x", "user.1", "principal.00000000-0000-7000-8000-000000000000.x", "instance.00000000-0000-7000-8000-000000000000.1"} {
			if _, _, err := list(engine.Page{After: cursor}); fault.CodeOf(err) != "invalid_cursor" {
				t.Errorf("%s after %q: %v, want invalid_cursor", name, cursor, err)
			}
		}
	}
}

// TestAListOfPeopleLacksNobodyUnnoticed takes each principal and group away, one at a
// time: no list ends without them.
func TestAListOfPeopleLacksNobodyUnnoticed(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	company(t, env)
	execRaw(t, env, `CREATE TABLE kept AS SELECT * FROM heads`)
	lists := peoplesLists(t, env)
	tried := 0
	for kind, names := range map[string][]string{"principal": {"users", "grants", "keys"}, "group": {"groups", "grants"}} {
		for i := range 4 {
			execRaw(t, env, fmt.Sprintf(`DELETE FROM heads WHERE object = (SELECT object FROM kept WHERE kind = '%s' ORDER BY object LIMIT 1 OFFSET %d)`, kind, i))
			if kind == "principal" {
				if _, err := env.Engine.DeleteGroup(t.Context(), env.Ann, "group-0", api.ReasonRequest{}, ""); !fault.Is(err, fault.Integrity) {
					t.Errorf("a group is deleted that somebody who is gone may be in: %v, want Integrity", err)
				}
			}
			if _, err := env.Engine.TestPolicies(t.Context(), env.Ann, api.PoliciesTestRequest{Text: noHome}); !fault.Is(err, fault.Integrity) {
				t.Errorf("policies are tried without the %s number %d: %v, want Integrity", kind, i, err)
			}
			for _, name := range names {
				for _, limit := range []int{1, 2, 50} {
					tried++
					if got, err := walk(t, limit, lists[name]); !fault.Is(err, fault.Integrity) {
						t.Errorf("without the %s number %d, in pages of %d, %s are %q, %v, want Integrity", kind, i, limit, name, got, err)
					}
				}
			}
			execRaw(t, env, `INSERT OR IGNORE INTO heads SELECT * FROM kept`)
		}
	}
	if tried != 4*3*5 {
		t.Errorf("%d lists tried", tried)
	}
	execRaw(t, env, `DROP TABLE kept`)
}
