package engine_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/testenv"
)

// lasts requires that something is refused since nobody would have a role any more.
func lasts(t *testing.T, what, code string, err error) {
	t.Helper()
	if fault.CodeOf(err) != code {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}

// shutting are settings that shut out who has the role Auditor.
var shutting = map[string]func(t *testing.T, env *testenv.Env){
	"policies": func(t *testing.T, env *testenv.Env) {
		setPolicies(t, env, `@id("x") forbid (principal, action in [Action::"policy:set", Action::"role:give"], resource) when { principal.roles.contains("Auditor") };`)
	},
	"networks": func(t *testing.T, env *testenv.Env) {
		in := api.Networks{All: []string{}, Roles: []api.RoleNetworks{{Role: "Auditor", From: []string{"198.51.100.0/24"}}}}
		if _, err := env.Engine.SetNetworks(t.Context(), env.Ann, api.NetworksRequest{Networks: in}, ""); err != nil {
			t.Fatal(err)
		}
	},
}

// A role that is given can take more than it gives: by the tenant's own policies, or the
// networks of who has it.
func TestNoRoleThatIsGivenShutsTheLastAdministratorOut(t *testing.T) {
	for name, shut := range shutting {
		t.Run(name, func(t *testing.T) {
			env := testenv.New(t, nil).Tenant("acme") // in main, Ann is the last Operator as well
			ctx, e := t.Context(), env.Engine
			shut(t, env)
			ann := env.SignIn(env.Key())
			for _, g := range []api.GroupRequest{{Name: "audit", Roles: []string{"Auditor"}}, {Name: "staff"}} {
				if _, err := e.CreateGroup(ctx, ann, g, ""); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := e.JoinGroup(ctx, ann, "ann", api.MemberRequest{Group: "staff"}, ""); err != nil {
				t.Fatal(err)
			}
			auditor := api.RoleRequest{Role: "Auditor"}
			lasts(t, "giving the role", "last_administrator", errorOf(e.GiveUserRole(ctx, ann, "ann", auditor, "")))
			lasts(t, "joining a group that gives it", "last_administrator", errorOf(e.JoinGroup(ctx, ann, "ann", api.MemberRequest{Group: "audit"}, "")))
			lasts(t, "giving it to a group", "last_administrator", errorOf(e.GiveGroupRole(ctx, ann, "staff", auditor, "")))
			env.Person("abe", "Admin")
			if _, err := e.GiveUserRole(ctx, ann, "ann", auditor, ""); err != nil {
				t.Errorf("with another administrator: %v", err)
			}
		})
	}
}

// What an issuer gives is asked as what it takes.
func TestNoIssuerShutsTheLastAdministratorOut(t *testing.T) {
	s := newStaff()
	in := corp
	in.Given = []api.IssuerGroup{{Group: "audit", Roles: []string{"Auditor"}}}
	env := newCompany(t, s, in)
	shutting["policies"](t, env)
	env.Ann = env.SignIn(env.Key())
	linked(t, env, "ann", "1")
	s.in["ann"] = identity.Claims{Subject: "1", Groups: []string{"audit"}}
	lasts(t, "signing in", "last_administrator", errorOf(logIn(t, env, "ann")))
	if u, err := env.Engine.User(t.Context(), env.Ann, "ann"); err != nil || slices.Contains(u.Roles, "Auditor") {
		t.Errorf("ann is %+v, %v", u, err)
	}
}

// A key that is for less than all, from elsewhere alone or ends soon is no way in for the
// last administrator.
func TestTheLastAdministratorKeepsAKeyForEverything(t *testing.T) {
	env := testenv.New(t, nil)
	ctx, e := t.Context(), env.Engine
	soon, late := time.Now().Add(13*24*time.Hour), time.Now().Add(15*24*time.Hour)
	revoke := func() error {
		return errorOf(e.RevokeAPIKey(ctx, env.SignIn(env.Key()), env.Ann.Key, api.ReasonRequest{}, ""))
	}
	for name, r := range map[string]api.APIKeyRequest{
		"scopes": {Scopes: []string{"job:work"}}, "other networks": {Networks: []string{"198.51.100.0/24"}}, "an end soon": {Expires: &soon},
	} {
		r.User = "ann"
		if _, err := e.CreateAPIKey(ctx, env.Ann, r, ""); err != nil {
			t.Fatal(err)
		}
		lasts(t, "with another key, with "+name, "last_administrator", revoke())
	}
	if _, err := e.CreateAPIKey(ctx, env.Ann, api.APIKeyRequest{User: "ann", Expires: &late}, ""); err != nil {
		t.Fatal(err)
	}
	if err := revoke(); err != nil {
		t.Errorf("with a key that ends late: %v", err)
	}
}

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
