package engine_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

func signIn(t *testing.T, env *testenv.Env, key string) error {
	t.Helper()
	_, err := env.Engine.Authenticate(t.Context(), key, "192.0.2.1")
	return err
}

func unauthenticated(err error) bool {
	return fault.Is(err, fault.Denied) && fault.CodeOf(err) == "unauthenticated"
}

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	env, other := testenv.New(t, nil), testenv.NewDeployment(t, nil)
	good := env.Key()
	flipped := []byte(good)
	flipped[20] ^= 1
	tests := []struct {
		name, key string
	}{
		{"none", ""},
		{"no key at all", "secret"},
		{"a truncated key", good[:len(good)-1]},
		{"a key with a changed letter", string(flipped)},
		{"a key of another tenant", strings.Replace(good, "_main_", "_other_", 1)},
		{"a well-formed key of a tenant that is not", identity.APIKeyText.Generate("other")},
		{"a well-formed key that is not", identity.APIKeyText.Generate("main")},
		{"a key of another installation", other.Key()},
	}
	for _, test := range tests {
		t.Run("refuses "+test.name, func(t *testing.T) {
			err := signIn(t, env, test.key)
			if !unauthenticated(err) || err.Error() != identity.Unauthenticated().Error() {
				t.Errorf("error = %v, want the one for everything", err)
			}
			if test.key != "" && strings.Contains(err.Error(), test.key) {
				t.Error("the error quotes the key")
			}
		})
	}
	tenants, err := env.Engine.Tenants(t.Context(), env.Ann)
	if err != nil || len(tenants.Items) != 1 {
		t.Errorf("tenants are %+v, %v, want main alone: asking for another makes none", tenants, err)
	}
}

// The checksum keeps mistyped and made-up keys away from the database.
func TestAMistypedKeyIsNotLookedUp(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	good, unknown := env.Key(), identity.APIKeyText.Generate("main")
	flipped := []byte(good)
	flipped[20] ^= 1
	if err := env.Node.Close(); err != nil {
		t.Fatal(err)
	}
	env.Node = nil
	if err := signIn(t, env, unknown); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("a well-formed key without a database: %v, want Unavailable", err)
	}
	if err := signIn(t, env, string(flipped)); !fault.Is(err, fault.Denied) {
		t.Errorf("a mistyped key: %v, want Denied", err)
	}
}

// TestWhatIsTakenAwayCountsAtOnce takes from Bob whatever he has, and signs him in again.
func TestWhatIsTakenAwayCountsAtOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, whatIsTakenAwayCountsAtOnce)
}

func whatIsTakenAwayCountsAtOnce(t *testing.T, env *testenv.Env) {
	ctx, e := t.Context(), env.Engine
	key := env.PersonsKey("bob", "Viewer", "Designer")
	has := func(want ...string) {
		t.Helper()
		me, err := e.Me(ctx, env.SignIn(key))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(me.Roles, " ") + " " + strings.Join(me.Groups, " "); got != strings.Join(want, " ") {
			t.Errorf("Bob has %q, want %q", got, want)
		}
	}
	done := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	has("Viewer Designer", "")
	done(e.TakeUserRole(ctx, env.Ann, "bob", api.RoleRequest{Role: "Designer"}, ""))
	has("Viewer", "")
	done(e.CreateGroup(ctx, env.Ann, api.GroupRequest{Name: "clerks", Roles: []string{"Executor"}}, ""))
	done(e.JoinGroup(ctx, env.Ann, "bob", api.MemberRequest{Group: "clerks"}, ""))
	has("Viewer Executor", "clerks")
	done(e.TakeGroupRole(ctx, env.Ann, "clerks", api.RoleRequest{Role: "Executor"}, ""))
	has("Viewer", "clerks")
	if _, err := e.DeleteGroup(ctx, env.Ann, "clerks", api.ReasonRequest{}, ""); fault.CodeOf(err) != "group_in_use" {
		t.Errorf("deleting a group with a member: %v, want group_in_use", err)
	}
	done(e.LeaveGroup(ctx, env.Ann, "bob", api.MemberRequest{Group: "clerks"}, ""))
	has("Viewer", "")
	done(e.DeleteGroup(ctx, env.Ann, "clerks", api.ReasonRequest{}, ""))

	g := give(t, env, api.GrantRequest{User: "bob", Right: "view", Process: "loan"})
	if me, err := e.Me(ctx, env.SignIn(key)); err != nil || len(me.Grants) != 1 || me.Grants[0].ID != g.ID {
		t.Errorf("Bob's grants are %+v, %v, want %s", me.Grants, err, g.ID)
	}
	done(e.RevokeGrant(ctx, env.Ann, g.ID, api.ReasonRequest{}, ""))
	if me, err := e.Me(ctx, env.SignIn(key)); err != nil || len(me.Grants) != 0 {
		t.Errorf("Bob's grants are %+v, %v, want none", me.Grants, err)
	}

	done(e.DisableUser(ctx, env.Ann, "bob", api.ReasonRequest{Reason: "left"}, ""))
	if err := signIn(t, env, key); !unauthenticated(err) {
		t.Errorf("disabled, Bob signs in: %v", err)
	}
	done(e.EnableUser(ctx, env.Ann, "bob", api.ReasonRequest{}, ""))
	has("Viewer", "")

	zero := 0
	next, err := e.RotateAPIKey(ctx, env.Ann, env.SignIn(key).Key, api.RotateAPIKeyRequest{}, "")
	done(next, err)
	if err := signIn(t, env, key); err != nil {
		t.Errorf("a key that was rotated, within the overlap: %v", err)
	}
	last, err := e.RotateAPIKey(ctx, env.Ann, next.ID, api.RotateAPIKeyRequest{OverlapMS: &zero}, "")
	done(last, err)
	if err := signIn(t, env, next.Text); !unauthenticated(err) {
		t.Errorf("a key that was rotated without overlap: %v", err)
	}
	done(e.RevokeAPIKey(ctx, env.Ann, last.ID, api.ReasonRequest{Reason: "stolen"}, ""))
	if err := signIn(t, env, last.Text); !unauthenticated(err) {
		t.Errorf("a revoked key: %v", err)
	}
	checkedWhole(t, env)
	env.Restart(nil)
	if err := signIn(t, env, last.Text); !unauthenticated(err) {
		t.Errorf("a revoked key, after a restart: %v", err)
	}
	if err := signIn(t, env, key); err != nil {
		t.Errorf("the first key, after a restart: %v", err)
	}
}

// TestACallThatWaitsIsDecidedAgain revokes the key of a worker who waits for a job. If the
// call begins to wait later than that, it is the same.
func TestACallThatWaitsIsDecidedAgain(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("all.bpmn", everything)
	worker := env.Person("worker", "Executor")
	give(t, env, api.GrantRequest{User: "worker", Right: "work", Process: "*"})
	answer := make(chan error)
	go func() {
		_, err := env.Engine.ActivateJobs(t.Context(), worker, api.ActivateRequest{Type: "work", Worker: "w", WaitMS: 60_000})
		answer <- err
	}()
	if _, err := env.Engine.RevokeAPIKey(t.Context(), env.Ann, worker.Key, api.ReasonRequest{}, ""); err != nil {
		t.Fatal(err)
	}
	env.Start("everything", `{}`)
	if err := <-answer; !unauthenticated(err) {
		t.Errorf("the call answers %v, want that nobody is known", err)
	}
}

// TestAKeyGetsNoMightierKey asks, with a key that is for little, for keys that are for
// more.
func TestAKeyGetsNoMightierKey(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	ctx, e := t.Context(), env.Engine
	own, err := e.CreateAPIKey(ctx, env.Ann, api.APIKeyRequest{User: "ann", Scopes: []string{"apikey:*", "task:list"}}, "")
	if err != nil {
		t.Fatal(err)
	}
	little := env.SignIn(own.Text)
	for _, scopes := range [][]string{nil, {"task:*"}, {"apikey:read", "task:read"}} {
		if _, err := e.CreateAPIKey(ctx, little, api.APIKeyRequest{User: "ann", Scopes: scopes}, ""); fault.CodeOf(err) != "scope_exceeded" {
			t.Errorf("a key for %v: %v, want scope_exceeded", scopes, err)
		}
	}
	if _, err := e.RotateAPIKey(ctx, little, env.Ann.Key, api.RotateAPIKeyRequest{}, ""); fault.CodeOf(err) != "scope_exceeded" {
		t.Errorf("the text of a key for everything: %v, want scope_exceeded", err)
	}
	for _, scopes := range [][]string{{"task:list"}, {"apikey:*"}} {
		if _, err := e.CreateAPIKey(ctx, little, api.APIKeyRequest{User: "ann", Scopes: scopes}, ""); err != nil {
			t.Errorf("a key for %v: %v", scopes, err)
		}
	}
	if _, err := e.RotateAPIKey(ctx, little, own.ID, api.RotateAPIKeyRequest{}, ""); err != nil {
		t.Errorf("another text of its own: %v", err)
	}
	inviting, err := e.CreateAPIKey(ctx, env.Ann, api.APIKeyRequest{User: "ann", Scopes: []string{"principal:invite"}}, "")
	if err != nil {
		t.Fatal(err)
	}
	inviter := env.SignIn(inviting.Text)
	if _, err := e.InviteUser(ctx, inviter, api.UserRequest{Name: "dan", Kind: "user"}, ""); fault.CodeOf(err) != "scope_exceeded" {
		t.Errorf("a link, which is good for a key for everything: %v, want scope_exceeded", err)
	}
	if _, err := e.InviteUser(ctx, inviter, api.UserRequest{Name: "dan", Kind: "service", Groups: []string{"admins"}}, ""); !fault.Is(err, fault.Denied) {
		t.Errorf("a member of a group: %v, want Denied", err)
	}
}

// TestAKeyGetsNoKeyThatOutlivesIt or is good from elsewhere.
func TestAKeyGetsNoKeyThatOutlivesIt(t *testing.T) {
	t.Parallel()
	clock := newClock(time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC))
	env := testenv.New(t, func(c *node.Config) { c.Now = clock.now })
	ctx, e := t.Context(), env.Engine
	tomorrow, later := clock.now().Add(24*time.Hour), clock.now().Add(48*time.Hour)
	bound := func(r api.APIKeyRequest) engine.Caller {
		t.Helper()
		r.User = "ann"
		made, err := e.CreateAPIKey(ctx, env.Ann, r, "")
		if err != nil {
			t.Fatal(err)
		}
		return env.SignIn(made.Text)
	}
	ending, office := bound(api.APIKeyRequest{Expires: &tomorrow}), bound(api.APIKeyRequest{Networks: []string{"192.0.2.0/24"}})
	exceeded := func(what string, err error) {
		t.Helper()
		if fault.CodeOf(err) != "scope_exceeded" {
			t.Errorf("%s: %v, want scope_exceeded", what, err)
		}
	}
	made := func(c engine.Caller, r api.APIKeyRequest) error {
		r.User = "ann"
		return second(e.CreateAPIKey(ctx, c, r, ""))
	}
	exceeded("a key without end", made(ending, api.APIKeyRequest{}))
	exceeded("a key that ends later", made(ending, api.APIKeyRequest{Expires: &later}))
	exceeded("a key from anywhere", made(office, api.APIKeyRequest{}))
	exceeded("a key from a larger network", made(office, api.APIKeyRequest{Networks: []string{"192.0.2.0/23"}}))
	exceeded("another text of a key without end", second(e.RotateAPIKey(ctx, ending, env.Ann.Key, api.RotateAPIKeyRequest{}, "")))
	clock.pass(time.Hour)
	exceeded("another text of its own, which would end later", second(e.RotateAPIKey(ctx, ending, ending.Key, api.RotateAPIKeyRequest{}, "")))
	exceeded("a link, which is good for a key without end", second(e.InviteUser(ctx, ending, api.UserRequest{Name: "dan", Kind: "user"}, "")))
	if err := made(ending, api.APIKeyRequest{Expires: &tomorrow}); err != nil {
		t.Errorf("a key that ends at the same time: %v", err)
	}
	if err := made(office, api.APIKeyRequest{Networks: []string{"192.0.2.7"}}); err != nil {
		t.Errorf("a key from a part of the network: %v", err)
	}
}

func TestTheLastAdministratorStays(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	ctx, e := t.Context(), env.Engine
	refused := func(what string, err error) {
		t.Helper()
		if fault.CodeOf(err) != "last_administrator" {
			t.Errorf("%s: %v, want last_administrator", what, err)
		}
	}
	_, err := e.TakeUserRole(ctx, env.Ann, "ann", api.RoleRequest{Role: "Admin"}, "")
	refused("taking the role", err)
	_, err = e.DisableUser(ctx, env.Ann, "ann", api.ReasonRequest{}, "")
	refused("disabling", err)
	_, err = e.RevokeAPIKey(ctx, env.Ann, env.Ann.Key, api.ReasonRequest{}, "")
	refused("revoking the only key", err)
	if _, err := e.CreateGroup(ctx, env.Ann, api.GroupRequest{Name: "admins", Roles: []string{"Admin"}}, ""); err != nil {
		t.Fatal(err)
	}
	bobsKey := env.PersonsKey("bob")
	if _, err := e.JoinGroup(ctx, env.Ann, "bob", api.MemberRequest{Group: "admins"}, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := e.TakeUserRole(ctx, env.Ann, "ann", api.RoleRequest{Role: "Admin"}, ""); err != nil {
		t.Fatalf("with another administrator: %v", err)
	}
	key, err := e.Authenticate(ctx, env.Key(), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Users(ctx, key, engine.Page{}); !fault.Is(err, fault.Denied) {
		t.Errorf("Ann, without the role: %v, want Denied", err)
	}
	bob := env.SignIn(bobsKey)
	_, err = e.TakeGroupRole(ctx, bob, "admins", api.RoleRequest{Role: "Admin"}, "")
	refused("taking the group's role", err)
	_, err = e.LeaveGroup(ctx, bob, "bob", api.MemberRequest{Group: "admins"}, "")
	refused("leaving the group", err)
}

func TestAnOperatorIsMadeByOperatorsOfMain(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	acme := env.Tenant("acme")
	admin := env.Person("bob", "Admin")
	for name, c := range map[string]engine.Caller{"an Admin of main": admin, "an Admin of another tenant": acme.Ann} {
		if _, err := env.Engine.GiveUserRole(t.Context(), c, "ann", api.RoleRequest{Role: "Operator"}, ""); !fault.Is(err, fault.Denied) {
			t.Errorf("%s makes an Operator: %v, want Denied", name, err)
		}
		if _, err := env.Engine.CreateTenant(t.Context(), c, api.TenantRequest{Name: "other"}, ""); !fault.Is(err, fault.Denied) {
			t.Errorf("%s makes a tenant: %v, want Denied", name, err)
		}
	}
	if _, err := env.Engine.GiveUserRole(t.Context(), env.Ann, "bob", api.RoleRequest{Role: "Operator"}, ""); err != nil {
		t.Errorf("an Operator makes another: %v", err)
	}
}

// TestTheLastOperatorStays, and an Operator is one until an Operator takes the role, by a
// group as well.
func TestTheLastOperatorStays(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	ctx, e := t.Context(), env.Engine
	bob, oscar := env.Person("bob", "Admin"), env.PersonsKey("oscar")
	if _, err := e.CreateGroup(ctx, env.Ann, api.GroupRequest{Name: "ops", Roles: []string{"Operator"}}, ""); err != nil {
		t.Fatal(err)
	}
	ops := api.MemberRequest{Group: "ops"}
	if _, err := e.JoinGroup(ctx, env.Ann, "oscar", ops, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := e.LeaveGroup(ctx, bob, "oscar", ops, ""); !fault.Is(err, fault.Denied) {
		t.Errorf("an Admin has an Operator leave the group: %v, want Denied", err)
	}
	if !slices.Contains(env.SignIn(oscar).Who.Principal().Roles, "Operator") {
		t.Error("Oscar is no Operator any more")
	}
	if _, err := e.RevokeUser(ctx, bob, "ann", api.ReasonRequest{}, ""); err != nil {
		t.Errorf("an Admin revokes an Operator who is not the last one: %v", err)
	}
	if _, err := e.GiveUserRole(ctx, bob, "oscar", api.RoleRequest{Role: "Admin"}, ""); err != nil {
		t.Fatal(err)
	}
	root := env.SignIn(oscar)
	for what, err := range map[string]error{
		"revoking":                   errorOf(e.RevokeUser(ctx, bob, "oscar", api.ReasonRequest{}, "")),
		"disabling":                  errorOf(e.DisableUser(ctx, bob, "oscar", api.ReasonRequest{}, "")),
		"revoking the only key":      errorOf(e.RevokeAPIKey(ctx, bob, root.Key, api.ReasonRequest{}, "")),
		"leaving the group":          errorOf(e.LeaveGroup(ctx, root, "oscar", ops, "")),
		"taking the role of a group": errorOf(e.TakeGroupRole(ctx, root, "ops", api.RoleRequest{Role: "Operator"}, "")),
	} {
		if fault.CodeOf(err) != "last_operator" {
			t.Errorf("%s: %v, want last_operator", what, err)
		}
	}
}

// TestNobodyBecomesAnOperatorByDetours tries what gives a role without naming it.
func TestNobodyBecomesAnOperatorByDetours(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	ctx, e := t.Context(), env.Engine
	bob := env.Person("bob", "Admin")
	if _, err := e.CreateGroup(ctx, env.Ann, api.GroupRequest{Name: "hosts", Roles: []string{"Operator"}}, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := e.InviteUser(ctx, env.Ann, api.UserRequest{Name: "eve", Kind: "user", Groups: []string{"hosts"}}, ""); err != nil {
		t.Fatal(err)
	}
	detours := map[string]error{
		"joining a group":             errorOf(e.JoinGroup(ctx, bob, "bob", api.MemberRequest{Group: "hosts"}, "")),
		"inviting into a group":       errorOf(e.InviteUser(ctx, bob, api.UserRequest{Name: "dan", Kind: "user", Groups: []string{"hosts"}}, "")),
		"another link for an invited": errorOf(e.InviteAgain(ctx, bob, "eve", api.ReasonRequest{}, "")),
		"a key of an Operator":        errorOf(e.CreateAPIKey(ctx, bob, api.APIKeyRequest{User: "ann"}, "")),
		"another text of a key":       errorOf(e.RotateAPIKey(ctx, bob, env.Ann.Key, api.RotateAPIKeyRequest{}, "")),
		"a new root key":              errorOf(e.RotateKey(ctx, bob, api.RotateKeyRequest{Key: "root"})),
		"giving up a root key":        errorOf(e.RetireKey(ctx, bob, api.RetireKeyRequest{Key: "root", Version: "1", DryRun: true})),
	}
	for what, err := range detours {
		if !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v, want Denied", what, err)
		}
	}
	if _, err := e.InviteAdministrator(ctx, env.Ann, "main", api.ReasonRequest{}, ""); fault.CodeOf(err) != "main_tenant" {
		t.Errorf("an Operator makes a link for an administrator of main: %v, want main_tenant", err)
	}
}

// TestTwoCompanies has two companies with the same names of everything on one server.
func TestTwoCompanies(t *testing.T) { onBoth(t, twoCompanies) }

func twoCompanies(t *testing.T, env *testenv.Env) {
	ctx, e := t.Context(), env.Engine
	acme, bolt := env.Tenant("acme"), env.Tenant("bolt")
	for _, company := range []*testenv.Env{acme, bolt} {
		company.Deploy("all.bpmn", everything)
	}
	ours, theirs := acme.Start("everything", `{"note": "of acme"}`), bolt.Start("everything", `{"note": "of bolt"}`)
	acmes, bolts := acme.Person("zoe", "Viewer"), bolt.Person("zoe", "Viewer")
	for _, c := range []struct {
		who         engine.Caller
		own, others string
	}{{acmes, ours, theirs}, {bolts, theirs, ours}, {acme.Ann, ours, theirs}} {
		list, err := e.Instances(ctx, c.who, engine.InstanceFilter{}, engine.Page{})
		if err != nil || len(list.Items) != 1 || list.Items[0].ID != c.own {
			t.Errorf("%s of %s sees %+v, %v, want the company's own", c.who.Principal, c.who.Scope.Tenant(), list.Items, err)
		}
		_, none := e.Instance(ctx, c.who, "00000000-0000-7000-8000-000000000000")
		_, err = e.Instance(ctx, c.who, c.others)
		if !fault.Is(err, fault.NotFound) || strings.ReplaceAll(err.Error(), c.others, "ID") != strings.ReplaceAll(none.Error(), "00000000-0000-7000-8000-000000000000", "ID") {
			t.Errorf("the other company's instance: %v, want as one that is not: %v", err, none)
		}
	}
	users, err := e.Users(ctx, acme.Ann, engine.Page{})
	if err != nil || len(users.Items) != 2 {
		t.Errorf("acme's people are %+v, %v, want two", users.Items, err)
	}
	if _, err := e.Tenants(ctx, acme.Ann); !fault.Is(err, fault.Denied) {
		t.Errorf("acme's administrator lists tenants: %v, want Denied", err)
	}
	if _, err := e.InviteAdministrator(ctx, env.Ann, "acme", api.ReasonRequest{}, ""); fault.CodeOf(err) != "tenant_set_up" {
		t.Errorf("an Operator invites an administrator of a tenant that has one: %v, want tenant_set_up", err)
	}
	if _, err := e.DisableTenant(ctx, env.Ann, "acme", api.ReasonRequest{Reason: "did not pay"}, ""); err != nil {
		t.Fatal(err)
	}
	if err := signIn(t, env, acme.Key()); !unauthenticated(err) {
		t.Errorf("somebody of a disabled tenant: %v", err)
	}
	if err := signIn(t, env, bolt.Key()); err != nil {
		t.Errorf("somebody of the other tenant: %v", err)
	}
	if _, err := e.EnableTenant(ctx, env.Ann, "acme", api.ReasonRequest{}, ""); err != nil {
		t.Fatal(err)
	}
	env.Restart(nil)
	if err := signIn(t, env, acme.Key()); err != nil {
		t.Errorf("after the tenant was enabled: %v", err)
	}
}

func TestALinkIsUsedOnce(t *testing.T) {
	t.Parallel()
	clock := newClock(time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC))
	env := testenv.New(t, func(c *node.Config) { c.Now = clock.now })
	ctx, e := t.Context(), env.Engine
	use := func(link, name string) error {
		_, err := e.Setup(ctx, api.SetupRequest{Link: link, Name: name}, "192.0.2.1")
		return err
	}
	invited, err := e.InviteUser(ctx, env.Ann, api.UserRequest{Name: "bob", Kind: "user"}, "")
	if err != nil {
		t.Fatal(err)
	}
	again, err := e.InviteAgain(ctx, env.Ann, "bob", api.ReasonRequest{}, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := use(invited.Link, ""); !unauthenticated(err) {
		t.Errorf("a link that another took the place of: %v", err)
	}
	if err := use(again.Link, ""); err != nil {
		t.Errorf("a link: %v", err)
	}
	if err := use(again.Link, ""); !unauthenticated(err) {
		t.Errorf("a link for the second time: %v", err)
	}
	if err := use(env.Key(), ""); !unauthenticated(err) {
		t.Errorf("an API key as a link: %v", err)
	}
	if err := use(identity.LinkText.Generate("other"), "x"); !unauthenticated(err) {
		t.Errorf("a link of no tenant: %v", err)
	}
	late, err := e.InviteUser(ctx, env.Ann, api.UserRequest{Name: "late", Kind: "user"}, "")
	if err != nil {
		t.Fatal(err)
	}
	link := newLink(t, e, "main")
	if err := use(link, "No Name"); !fault.Is(err, fault.Invalid) {
		t.Errorf("an administrator called %q: %v, want Invalid", "No Name", err)
	}
	clock.pass(24 * time.Hour)
	for name, text := range map[string]string{"an invitation": late.Link, "a setup link": link} {
		if err := use(text, "x"); !unauthenticated(err) {
			t.Errorf("%s after a day: %v", name, err)
		}
	}
}

// newLink makes a setup link as whoever has the server's files.
func newLink(t *testing.T, e *engine.Engine, tenant string) string {
	t.Helper()
	made, err := e.NewSetupLink(t.Context(), tenant)
	if err != nil {
		t.Fatal(err)
	}
	if made.Tenant.Name != tenant || made.Tenant.SetUp == nil || made.Link == "" {
		t.Fatalf("the link of %s is %+v", tenant, made)
	}
	return made.Link
}

// Whoever tries credentials does not see by the time which tenants there are: the same is
// asked of the databases, which is seen by what is missing there.
func TestWhoNamesNoTenantIsLookedForAsAnyOther(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	env := testenv.New(t, func(c *node.Config) { c.Now = func() time.Time { return at } })
	ask := func(tenant string) (all [3]string) {
		_, key := env.Engine.Authenticate(t.Context(), identity.APIKeyText.Generate(tenant), "192.0.2.1")
		_, session := env.Engine.Authenticate(t.Context(), identity.SessionText.Generate(tenant), "192.0.2.1")
		_, link := env.Engine.Setup(t.Context(), api.SetupRequest{Link: identity.LinkText.Generate(tenant)}, "192.0.2.1")
		for i, err := range []error{key, session, link} {
			if all[i] = fault.CodeOf(err); err == nil {
				t.Fatalf("somebody is known by what nobody has, of %s", tenant)
			}
		}
		return all
	}
	no := [3]string{"unauthenticated", "unauthenticated", "unauthenticated"}
	for _, missing := range []struct {
		file, table string
		asked       [3]bool
	}{
		{"data.db", "", [3]bool{}}, {"keys.db", "tenant_keys", [3]bool{}},
		{"data.db", "credentials", [3]bool{true, false, true}}, {"keys.db", "sessions", [3]bool{false, true, false}},
	} {
		rename := func(from, to string) {
			db := openRaw(t, filepath.Join(env.Config.Data, missing.file))
			defer db.Close()
			if _, err := db.Exec(`ALTER TABLE ` + from + ` RENAME TO ` + to); err != nil {
				t.Fatal(err)
			}
		}
		if missing.table != "" {
			rename(missing.table, "away")
		}
		there, none := ask("main"), ask("none")
		if there != none {
			t.Errorf("without the table %q: %q where there is a tenant, %q where there is none", missing.table, there, none)
		}
		for i, asked := range missing.asked {
			if (there[i] != no[i]) != asked {
				t.Errorf("without the table %q: %q", missing.table, there)
			}
		}
		if missing.table != "" {
			rename("away", missing.table)
		}
	}
}

// TestASetupLink counts once, only the newest of its tenant, and only on its server.
func TestASetupLink(t *testing.T) {
	t.Parallel()
	env, other := testenv.New(t, nil), testenv.NewDeployment(t, nil)
	e := env.Engine
	use := func(e *engine.Engine, link, name string) error {
		_, err := e.Setup(t.Context(), api.SetupRequest{Link: link, Name: name}, "192.0.2.1")
		return err
	}
	first, second := newLink(t, e, "main"), newLink(t, e, "main")
	if err := use(e, first, "zoe"); !unauthenticated(err) {
		t.Errorf("a link that another took the place of: %v", err)
	}
	newLink(t, other.Engine, "main")
	if err := use(other.Engine, second, "zoe"); !unauthenticated(err) {
		t.Errorf("the link of another server: %v", err)
	}
	if err := use(e, second, "zoe"); err != nil {
		t.Errorf("a link: %v", err)
	}
	if err := use(e, second, "yan"); !unauthenticated(err) {
		t.Errorf("a link for the second time: %v", err)
	}
	again := newLink(t, e, "main")
	env.Restart(nil)
	if err := use(env.Engine, again, "yan"); err != nil {
		t.Errorf("a link after a restart: %v", err)
	}
	if err := use(env.Engine, again, "yan"); !unauthenticated(err) {
		t.Errorf("after a restart, for the second time: %v", err)
	}
}

// TestWhoHasTheFilesLetsSomebodyIntoACompany of which nobody can sign in any more.
func TestWhoHasTheFilesLetsSomebodyIntoACompany(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	ctx, e := t.Context(), env.Engine
	env.Tenant("acme")
	done, err := e.Setup(ctx, api.SetupRequest{Link: newLink(t, e, "acme"), Name: "zoe"}, "192.0.2.1")
	if err != nil || done.Tenant != "acme" {
		t.Fatalf("the link of a company: %+v, %v", done, err)
	}
	zoe := env.SignIn(done.Key.Text)
	if _, err := e.DisableUser(ctx, zoe, "ann", api.ReasonRequest{}, ""); err != nil {
		t.Errorf("its administrator: %v", err)
	}
	if _, err := e.Tenants(ctx, zoe); !fault.Is(err, fault.Denied) {
		t.Errorf("a company's administrator as an operator: %v, want Denied", err)
	}
	link := newLink(t, e, "acme")
	if _, err := e.InviteAdministrator(ctx, env.Ann, "acme", api.ReasonRequest{}, ""); fault.CodeOf(err) != "tenant_set_up" {
		t.Errorf("an Operator, while that link waits: %v, want tenant_set_up", err)
	}
	if done, err = e.Setup(ctx, api.SetupRequest{Link: link, Name: "ann"}, "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Users(ctx, env.SignIn(done.Key.Text), engine.Page{}); err != nil {
		t.Errorf("somebody who was disabled, by a link: %v", err)
	}

	if _, err := e.NewSetupLink(ctx, "nobody"); !fault.Is(err, fault.NotFound) {
		t.Errorf("a link of a company that is not there: %v, want NotFound", err)
	}
	if _, err := e.DisableTenant(ctx, env.Ann, "acme", api.ReasonRequest{}, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := e.NewSetupLink(ctx, "acme"); fault.CodeOf(err) != "tenant_disabled" {
		t.Errorf("a link of a company that is disabled: %v, want tenant_disabled", err)
	}
}

// TestASetupLinkForSomebodyWhoIsThere makes them administrator, and nobody else whom they
// were made for or who has their keys.
func TestASetupLinkForSomebodyWhoIsThere(t *testing.T) {
	t.Parallel()
	s := newStaff()
	creates := corp
	creates.Creates = true
	env := newCompany(t, s, creates)
	ctx, e := t.Context(), env.Engine
	s.in["squatter"] = identity.Claims{Subject: "66", Name: "zoe"}
	_, c := loggedIn(t, env, "squatter")
	key, err := e.CreateAPIKey(ctx, env.Ann, api.APIKeyRequest{User: "zoe"}, "")
	if err != nil {
		t.Fatal(err)
	}
	reset, err := e.ResetPassword(ctx, env.Ann, "zoe", api.ReasonRequest{}, "")
	if err != nil {
		t.Fatal(err)
	}
	if done, err := e.Setup(ctx, api.SetupRequest{Link: reset.Link, Password: zoesPassword}, home.Address); err != nil || done.Ended {
		t.Fatalf("the link of a person: %+v, %v", done, err)
	}
	squatted, _ := loggedIn(t, env, "squatter")
	own := session(t, env, "zoe", home)
	a := testenv.NewAuthenticator(t, false)
	registerPasskey(t, env, by(t, env, own), a)
	if reset, err = e.ResetPassword(ctx, env.Ann, "zoe", api.ReasonRequest{}, ""); err != nil {
		t.Fatal(err)
	}

	done, err := e.Setup(ctx, api.SetupRequest{Link: newLink(t, e, "main"), Name: "zoe"}, home.Address)
	if err != nil || !done.Ended {
		t.Fatalf("set up: %+v, %v", done, err)
	}
	if zoe := env.SignIn(done.Key.Text); !slices.Contains(zoe.Who.Principal().Roles, "Operator") {
		t.Errorf("she has %v", zoe.Who.Principal().Roles)
	}
	_, byKey := e.Authenticate(ctx, key.Text, home.Address)
	_, byPassword := attempt(t, env, "main", "zoe", zoesPassword, home)
	_, byPasskey := e.SignInByPasskey(ctx, a.SignIn(askToSignIn(t, env)), home)
	_, byIssuer := logIn(t, env, "squatter")
	_, byLink := e.Setup(ctx, api.SetupRequest{Link: reset.Link, Password: zoesPassword}, home.Address)
	for what, err := range map[string]error{"key": byKey, "password": byPassword, "passkey": byPasskey, "issuer's word": byIssuer, "link": byLink} {
		if !unauthenticated(err) {
			t.Errorf("her former %s: %v, want nobody admitted", what, err)
		}
	}
	if isIn(t, env, squatted) || admits(t, env, own) {
		t.Errorf("a session of %s of before admits", c.Principal)
	}
	sequenced(t, env)
	found, err := e.Audit(ctx, env.Ann, api.AuditQuery{AuditFilter: api.AuditFilter{Kind: "principal.activated"}})
	if err != nil || !slices.ContainsFunc(found.Items, func(i api.AuditEntry) bool { return strings.Contains(i.Reason, "has ended") }) {
		t.Errorf("the log has %+v, %v, want that it has ended", found.Items, err)
	}

	if _, err := e.InviteUser(ctx, env.Ann, api.UserRequest{Name: "robot", Kind: "service"}, ""); err != nil {
		t.Fatal(err)
	}
	link := newLink(t, e, "main")
	if _, err := e.Setup(ctx, api.SetupRequest{Link: link, Name: "robot"}, home.Address); fault.CodeOf(err) != "no_person" {
		t.Errorf("a program as administrator: %v, want no_person", err)
	}
	if done, err := e.Setup(ctx, api.SetupRequest{Link: link, Name: "yan"}, home.Address); err != nil || done.Ended {
		t.Errorf("the link afterwards: %+v, %v", done, err)
	}
}

// TestNobodyIsCalledAsTheServerItself in the log, whoever names them.
func TestNobodyIsCalledAsTheServerItself(t *testing.T) {
	t.Parallel()
	s := newStaff()
	creates := corp
	creates.Creates = true
	env := newCompany(t, s, creates)
	link := newLink(t, env.Engine, "main")
	for _, name := range []string{"engine", "operator", "platform", "system"} {
		s.in[name] = identity.Claims{Subject: name, Name: strings.ToUpper(name)}
		_, invited := env.Engine.InviteUser(t.Context(), env.Ann, api.UserRequest{Name: name, Kind: "user"}, "")
		_, service := env.Engine.InviteUser(t.Context(), env.Ann, api.UserRequest{Name: name, Kind: "service"}, "")
		_, setUp := env.Engine.Setup(t.Context(), api.SetupRequest{Link: link, Name: name}, home.Address)
		for _, err := range []error{invited, service, setUp} {
			if fault.CodeOf(err) != "reserved_name" {
				t.Errorf("%s: %v, want reserved_name", name, err)
			}
		}
		if _, err := logIn(t, env, name); !unauthenticated(err) {
			t.Errorf("%s by an issuer: %v", name, err)
		}
	}
}

// TestAwaitsSetup until somebody was let in.
func TestAwaitsSetup(t *testing.T) {
	t.Parallel()
	clock := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	n, err := node.Open(t.Context(), node.Config{
		Data: filepath.Join(t.TempDir(), "data"), KeyFile: filepath.Join(t.TempDir(), "key"), Create: true, Now: func() time.Time { return clock },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	awaits := func(want bool, wantUntil time.Time) {
		t.Helper()
		if until, got, err := n.Engine.AwaitsSetup(t.Context()); err != nil || got != want || !until.Equal(wantUntil) {
			t.Errorf("it awaits somebody: %v, until %s, %v, want %v, until %s", got, until, err, want, wantUntil)
		}
	}
	awaits(true, time.Time{})
	link := newLink(t, n.Engine, "main")
	awaits(true, clock.Add(24*time.Hour))
	if _, err := n.Engine.Setup(t.Context(), api.SetupRequest{Link: link, Name: "ann"}, "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	awaits(false, time.Time{})
	newLink(t, n.Engine, "main")
	awaits(false, time.Time{})
}

// TestARepeatedChangeOfPeople repeats requests with the same idempotency key.
func TestARepeatedChangeOfPeople(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	ctx, e := t.Context(), env.Engine
	env.Person("bob")
	first, err := e.GiveUserRole(ctx, env.Ann, "bob", api.RoleRequest{Role: "Viewer"}, "k1")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := e.GiveUserRole(ctx, env.Ann, "bob", api.RoleRequest{Role: "Viewer"}, "k1"); err != nil || again.Leaf != first.Leaf {
		t.Errorf("the same again: %+v, %v, want %+v", again, err, first)
	}
	if _, err := e.GiveUserRole(ctx, env.Ann, "bob", api.RoleRequest{Role: "Auditor"}, "k1"); fault.CodeOf(err) != "idempotency_mismatch" {
		t.Errorf("another role with the same key: %v, want idempotency_mismatch", err)
	}
	g, err := e.GiveGrant(ctx, env.Ann, api.GrantRequest{User: "bob", Right: "view", Process: "*"}, "k2")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := e.GiveGrant(ctx, env.Ann, api.GrantRequest{User: "bob", Right: "view", Process: "*"}, "k2"); err != nil || again.ID != g.ID {
		t.Errorf("the same grant again: %+v, %v, want %+v", again, err, g)
	}
	if _, err := e.CreateAPIKey(ctx, env.Ann, api.APIKeyRequest{User: "bob"}, "k3"); err != nil {
		t.Fatal(err)
	}
	if _, err := e.CreateAPIKey(ctx, env.Ann, api.APIKeyRequest{User: "bob"}, "k3"); fault.CodeOf(err) != "shown_once" {
		t.Errorf("the same key again: %v, want shown_once", err)
	}
}

// TestWhenAKeyWasUsedIsShown also after a restart.
func TestWhenAKeyWasUsedIsShown(t *testing.T) {
	t.Parallel()
	july := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	env := testenv.New(t, func(c *node.Config) { c.Now = func() time.Time { return july } })
	env.Person("bob")
	shown := func() {
		t.Helper()
		keys, err := env.Engine.APIKeys(t.Context(), env.Ann, "bob", engine.Page{})
		if err != nil || len(keys.Items) != 1 || keys.Items[0].Used == nil || !keys.Items[0].Used.Equal(july) {
			t.Errorf("Bob's keys are %+v, %v, want one that was used at %s", keys.Items, err, july)
		}
	}
	shown()
	env.Restart(nil)
	shown()
}

// moveCredential has the one row by which somebody is found lead to somebody else, by SQL.
func moveCredential(t *testing.T, env *testenv.Env, from, to api.User) {
	t.Helper()
	hex := func(object string) string { return strings.ReplaceAll(object, "-", "") }
	env.Restart(func() {
		db := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
		defer db.Close()
		result, err := db.Exec(`UPDATE credentials SET object = x'` + hex(to.Object) + `' WHERE object = x'` + hex(from.Object) + `'`)
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := result.RowsAffected(); n != 1 {
			t.Fatalf("%d rows changed, want one of %s", n, from.Name)
		}
	})
}

// TestACredentialThatIsMovedAdmitsNobody changes where credentials lead.
func TestACredentialThatIsMovedAdmitsNobody(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	key := env.PersonsKey("bob", "Viewer")
	bob, err := env.Engine.User(t.Context(), env.Ann, "bob")
	if err != nil {
		t.Fatal(err)
	}
	ann, err := env.Engine.User(t.Context(), env.Ann, "ann")
	if err != nil {
		t.Fatal(err)
	}
	moveCredential(t, env, bob, ann)
	if err := signIn(t, env, key); !unauthenticated(err) {
		t.Errorf("Bob's key, said to be Ann's: %v, want nobody known", err)
	}
	found := 0
	for c := env.Engine.NewCheck(identity.MainTenant, engine.CheckState{}, engine.CheckOptions{}); !c.Done(); {
		findings, err := c.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range findings {
			if found++; f.Where != "credentials" {
				t.Errorf("the check names %+v, want credentials alone", f)
			}
		}
	}
	if found != 2 {
		t.Errorf("%d findings, want one of whose it was and one of whose it is said to be", found)
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	env := testenv.New(b, nil)
	for b.Loop() {
		if _, err := env.Engine.Authenticate(b.Context(), env.Key(), "192.0.2.1"); err != nil {
			b.Fatal(err)
		}
	}
}
