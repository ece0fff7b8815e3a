package engine_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/passkey"
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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

// byIssuerAlone is a company whose administrators sign in at its issuer, each by their name
// as subject: of the keys of the one who was there before them, one for policies alone is left.
func byIssuerAlone(t *testing.T, s *staff, in api.IssuerRequest, names ...string) *testenv.Env {
	t.Helper()
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	env := testenv.New(t, func(c *node.Config) { c.Issuers, c.Now = s, now })
	ctx, e := t.Context(), env.Engine
	setIssuer(t, env, "corp", in)
	for _, name := range names {
		if _, err := e.InviteUser(ctx, env.Ann, api.UserRequest{Name: name, Kind: "user", Roles: []string{"Admin", "Operator"}}, ""); err != nil {
			t.Fatal(err)
		}
		linked(t, env, name, name)
	}
	end := now().Add(15 * 24 * time.Hour)
	little, err := e.CreateAPIKey(ctx, env.Ann, api.APIKeyRequest{User: "ann", Scopes: []string{"policy:*"}}, "")
	if err != nil {
		t.Fatal(err)
	}
	ends, err := e.CreateAPIKey(ctx, env.Ann, api.APIKeyRequest{User: "ann", Expires: &end}, "")
	if err == nil {
		_, err = e.RevokeAPIKey(ctx, env.SignIn(ends.Text), env.Ann.Key, api.ReasonRequest{}, "")
	}
	if err != nil {
		t.Fatal(err)
	}
	env.Ann = env.SignIn(little.Text)
	ahead.Store(int64(16 * 24 * time.Hour))
	for _, name := range names {
		s.in[name] = identity.Claims{Subject: name, Proved: now()}
	}
	return env
}

// Where nobody administers a company by what it keeps, who signs in at its issuer does, and
// the last one stays. Whose link has ended, and who is invited only, do not.
func TestTheLastAdministratorByAnIssuerStays(t *testing.T) {
	s := newStaff()
	env := byIssuerAlone(t, s, corp, "zoe", "kim", "new")
	ctx, e, reason := t.Context(), env.Engine, api.ReasonRequest{Reason: "gone"}
	_, zoe := loggedIn(t, env, "zoe")
	loggedIn(t, env, "kim")
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	must("with another one", errorOf(e.RevokeUser(ctx, zoe, "kim", reason, "")))
	must("enabling them", errorOf(e.EnableUser(ctx, zoe, "kim", reason, "")))
	u, err := e.User(ctx, zoe, "zoe")
	must("who she is", err)
	client, elsewhere := corp, corp
	client.Client, elsewhere.URL = "another", "https://login.example.com"
	refused := func() map[string]error {
		return map[string]error{
			"removing the issuer":           errorOf(e.RemoveIssuer(ctx, zoe, "corp", reason, "")),
			"another one in its place":      errorOf(e.SetIssuer(ctx, zoe, "corp", elsewhere, "")),
			"one for programs in its place": errorOf(e.SetIssuer(ctx, zoe, "corp", robots, "")),
			"ending her link":               errorOf(e.UnlinkUser(ctx, zoe, "zoe", api.UnlinkRequest{ID: u.Identities[0].ID}, "")),
		}
	}
	for what, err := range refused() {
		lasts(t, what, "last_administrator", err)
	}
	lasts(t, "taking her role", "last_administrator", errorOf(e.TakeUserRole(ctx, zoe, "zoe", api.RoleRequest{Role: "Admin"}, "")))
	lasts(t, "taking her other role", "last_operator", errorOf(e.TakeUserRole(ctx, zoe, "zoe", api.RoleRequest{Role: "Operator"}, "")))
	lasts(t, "disabling her", "last_administrator", errorOf(e.DisableUser(ctx, zoe, "zoe", reason, "")))
	lasts(t, "revoking her", "last_administrator", errorOf(e.RevokeUser(ctx, zoe, "zoe", reason, "")))
	must("the same issuer with another client", errorOf(e.SetIssuer(ctx, zoe, "corp", client, "")))

	k, err := e.CreateAPIKey(ctx, zoe, api.APIKeyRequest{User: "zoe"}, "")
	must("a key", err)
	must("removing the issuer, with a key", errorOf(e.RemoveIssuer(ctx, zoe, "corp", reason, "")))
	zoe = env.SignIn(k.Text)
	must("the issuer again", errorOf(e.SetIssuer(ctx, zoe, "corp", corp, "")))
	lasts(t, "revoking the key, which is the only way in but for the issuer", "last_administrator", errorOf(e.RevokeAPIKey(ctx, zoe, k.ID, reason, "")))
}

// Who signs in at an issuer sets policies where nobody else could, and none after which
// nobody could. Who comes in by what the company keeps still can, if somebody could.
func TestPoliciesOfWhoSignsInAtAnIssuer(t *testing.T) {
	const others = `@id("others") forbid (principal, action == Action::"policy:set", resource) unless { principal.name == "zoe" };`
	set := func(env *testenv.Env, c engine.Caller, text string) error {
		return errorOf(env.Engine.SetPolicies(t.Context(), c, api.PoliciesRequest{Text: text}, ""))
	}
	s := newStaff()
	env := byIssuerAlone(t, s, corp, "zoe")
	_, zoe := loggedIn(t, env, "zoe")
	const all = `@id("all") forbid (principal, action, resource);`
	lasts(t, "what forbids everything", "locked_out", set(env, zoe, all))
	if err := set(env, zoe, others); err != nil {
		t.Errorf("what forbids it to everybody else: %v", err)
	}
	env = newCompany(t, s, corp)
	if _, err := env.Engine.InviteUser(t.Context(), env.Ann, api.UserRequest{Name: "zoe", Kind: "user", Roles: []string{"Admin"}}, ""); err != nil {
		t.Fatal(err)
	}
	linked(t, env, "zoe", "zoe")
	loggedIn(t, env, "zoe")
	lasts(t, "what forbids it to the last one with a key", "locked_out", set(env, env.Ann, others))
	env = byIssuerAlone(t, s, corp) // it would hold for whom the next setup link makes administrator, too
	lasts(t, "what forbids everything, where nobody administers", "locked_out", set(env, env.Ann, all))
}

// What the groups of an issuer give, it takes from the last administrator by that issuer, too:
// to sign nobody in would keep nobody in.
func TestAnIssuerTakesWhatItGave(t *testing.T) {
	s := newStaff()
	in := corp
	in.Given = []api.IssuerGroup{{Group: "leads", Roles: []string{"Admin"}}}
	env := byIssuerAlone(t, s, in, "zoe")
	lead, staff := s.in["zoe"], s.in["zoe"]
	lead.Groups = []string{"leads"}
	for _, c := range []struct {
		says  identity.Claims
		admin bool
	}{{lead, true}, {staff, false}, {lead, true}} {
		s.in["zoe"] = c.says
		if _, zoe := loggedIn(t, env, "zoe"); slices.Contains(zoe.Who.Principal().Roles, "Admin") != c.admin {
			t.Errorf("with groups %v she has %v", c.says.Groups, zoe.Who.Principal().Roles)
		}
	}
}

// Where a passkey is demanded, a password admits who can register their first one by it, and
// keeps nobody else.
func TestAPasswordThatAdmitsNobodyKeepsNoAdministrator(t *testing.T) {
	env := testenv.New(t, nil)
	zoe, _ := personWithPasskey(t, env, "zoe", testenv.NewAuthenticator(t, false), "Admin", "Operator")
	if err := requirePasskeys(t, env, zoe, "administrators"); err != nil {
		t.Fatal(err)
	}
	revoke := func() error {
		return errorOf(env.Engine.RevokeAPIKey(t.Context(), env.Ann, env.Ann.Key, api.ReasonRequest{}, ""))
	}
	moved(env, ":8443")
	lasts(t, "with who has passkeys of another address", "last_administrator", revoke())
	personWithPassword(t, env, "bob", "Admin", "Operator")
	env.Config.Passkeys = passkey.RelyingParty{}
	env.Restart(nil)
	lasts(t, "with who has none, where nobody can have any", "last_administrator", revoke())
	moved(env, ":8443")
	if err := revoke(); err != nil {
		t.Errorf("with who has none yet: %v", err)
	}
}
