package engine_test

import (
	"fmt"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
)

// TestALossConcernsNobodyElse has somebody whom the database lacks: who is known stays
// known, and nobody is asked for while another administrator is at hand.
func TestALossConcernsNobodyElse(t *testing.T) {
	env := testenv.New(t, nil)
	ctx, e := t.Context(), env.Engine
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	zoe, bob := env.PersonsKey("zoe", "Viewer"), env.Person("bob", "Viewer")
	env.Person("dan", "Admin")
	must(e.CreateGroup(ctx, env.Ann, api.GroupRequest{Name: "clerks", Roles: []string{"Viewer", "Admin"}}, ""))
	must(e.JoinGroup(ctx, env.Ann, "bob", api.MemberRequest{Group: "clerks"}, ""))
	env.SignIn(zoe)
	u, err := e.User(ctx, env.Ann, "zoe")
	must(u, err)
	execRaw(t, env, fmt.Sprintf(`DELETE FROM heads WHERE object = x'%x'`, idBytes(t, u.Object)))
	must(e.TakeGroupRole(ctx, env.Ann, "clerks", api.RoleRequest{Role: "Viewer"}, ""))
	must(e.TakeGroupRole(ctx, env.Ann, "clerks", api.RoleRequest{Role: "Admin"}, ""))
	must(e.LeaveGroup(ctx, env.Ann, "bob", api.MemberRequest{Group: "clerks"}, ""))
	must(e.TakeUserRole(ctx, env.Ann, "bob", api.RoleRequest{Role: "Viewer"}, ""))
	must(e.RevokeAPIKey(ctx, env.Ann, bob.Key, api.ReasonRequest{}, ""))
	must(e.DisableUser(ctx, env.Ann, "dan", api.ReasonRequest{}, ""))
	must(nil, signIn(t, env, zoe))
	must(e.SetPolicies(ctx, env.Ann, api.PoliciesRequest{}, ""))
	if _, err := e.DisableUser(ctx, env.Ann, "ann", api.ReasonRequest{}, ""); !fault.Is(err, fault.Integrity) {
		t.Errorf("the last administrator at hand: %v, want Integrity of who is gone", err)
	}
}
