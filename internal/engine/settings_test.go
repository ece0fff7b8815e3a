package engine_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/limit"
	"github.com/underseal/underseal/internal/testenv"
)

func setNetworks(t *testing.T, env *testenv.Env, n api.Networks) {
	t.Helper()
	if _, err := env.Engine.SetNetworks(t.Context(), env.Ann, api.NetworksRequest{Networks: n, Reason: "audit"}, ""); err != nil {
		t.Fatal(err)
	}
}

func setPolicies(t *testing.T, env *testenv.Env, text string) {
	t.Helper()
	if _, err := env.Engine.SetPolicies(t.Context(), env.Ann, api.PoliciesRequest{Text: text, Reason: "audit"}, ""); err != nil {
		t.Fatal(err)
	}
}

// TestPeopleComeFromTheTenantsNetworks also after a restart, and elsewhere from anywhere.
func TestPeopleComeFromTheTenantsNetworks(t *testing.T) {
	t.Parallel()
	onBoth(t, peopleComeFromTheTenantsNetworks)
}

func peopleComeFromTheTenantsNetworks(t *testing.T, env *testenv.Env) {
	ctx, e := t.Context(), env.Engine
	acme := env.Tenant("acme")
	bob, zoe := env.PersonsKey("bob", "Viewer"), acme.PersonsKey("zoe")
	setNetworks(t, env, api.Networks{All: []string{"192.0.2.0/24", "2001:db8::1"}, Roles: []api.RoleNetworks{{Role: "Admin", From: []string{"192.0.2.1"}}}})
	admitted := func() {
		t.Helper()
		for _, c := range []struct {
			who, key, address string
			want              bool
		}{
			{"Ann, an Admin,", env.Key(), "192.0.2.1", true}, {"Ann, an Admin,", env.Key(), "192.0.2.9", false},
			{"Bob", bob, "192.0.2.9", true}, {"Bob", bob, "::ffff:192.0.2.9", true}, {"Bob", bob, "2001:db8::1", true},
			{"Bob", bob, "198.51.100.1", false}, {"Bob", bob, "2001:db8::2", false}, {"Bob", bob, "", false},
			{"Zoe of another company", zoe, "198.51.100.1", true},
		} {
			_, err := env.Engine.Authenticate(ctx, c.key, c.address)
			if (err == nil) != c.want || err != nil && !unauthenticated(err) {
				t.Errorf("%s from %q: %v, want admitted: %v", c.who, c.address, err, c.want)
			}
		}
	}
	admitted()
	invited, err := e.InviteUser(ctx, env.Ann, api.UserRequest{Name: "dan", Kind: "user"}, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Setup(ctx, api.SetupRequest{Link: invited.Link}, "198.51.100.1"); !unauthenticated(err) {
		t.Errorf("a link from elsewhere: %v", err)
	}
	checkedWhole(t, env)
	env.Restart(nil)
	admitted()
	setNetworks(t, env, api.Networks{})
	if _, err := env.Engine.Authenticate(ctx, bob, "198.51.100.1"); err != nil {
		t.Errorf("from anywhere again: %v", err)
	}
}

// Whoever has the server's files lets somebody in whom the networks keep out.
func TestASetupLinkLiftsNetworks(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	use := func(name, address string) string {
		t.Helper()
		done, err := env.Engine.Setup(t.Context(), api.SetupRequest{Link: newLink(t, env.Engine, "main"), Name: name}, address)
		if err != nil {
			t.Fatal(err)
		}
		return done.Key.Text
	}
	networks := api.Networks{All: []string{"192.0.2.0/24", "198.51.100.0/24"}, Roles: []api.RoleNetworks{
		{Role: "Admin", From: []string{"192.0.2.0/24"}}, {Role: "Auditor", From: []string{"203.0.113.0/24"}},
	}}
	setNetworks(t, env, networks)
	use("yan", "192.0.2.9")
	if s, err := env.Engine.Settings(t.Context(), env.Ann); err != nil || len(s.Networks.All) == 0 || len(s.Networks.Roles) == 0 {
		t.Errorf("used from where one may come from: %+v, %v, want the networks as they were", s.Networks, err)
	}
	for name, address := range map[string]string{"zoe": "198.51.100.1", "zed": "203.0.113.1"} {
		setNetworks(t, env, networks)
		key := use(name, address)
		if _, err := env.Engine.Authenticate(t.Context(), key, address); err != nil {
			t.Errorf("%s from %s: %v", name, address, err)
		}
		if s, err := env.Engine.Settings(t.Context(), env.Ann); err != nil || len(s.Networks.All)+len(s.Networks.Roles) > 0 {
			t.Errorf("used from %s: %+v, %v, want no networks", address, s.Networks, err)
		}
	}
	checkedWhole(t, env)
}

// Who would be shut out is whoever asks, with the roles that they have when it is set.
func TestNetworksAreDecidedByTheRolesOfThen(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	bob := env.Person("bob", "Admin")
	if _, err := env.Engine.GiveUserRole(t.Context(), env.Ann, "bob", api.RoleRequest{Role: "Viewer"}, ""); err != nil {
		t.Fatal(err)
	}
	in := api.NetworksRequest{Networks: api.Networks{Roles: []api.RoleNetworks{{Role: "Viewer", From: []string{"198.51.100.0/24"}}}}}
	if _, err := env.Engine.SetNetworks(t.Context(), bob, in, ""); fault.CodeOf(err) != "locked_out" {
		t.Errorf("by somebody who has become a Viewer meanwhile: %v, want locked_out", err)
	}
}

func TestNetworksThatAreRefused(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	for _, c := range []struct {
		name, code string
		networks   api.Networks
	}{
		{"those that shut oneself out", "locked_out", api.Networks{All: []string{"198.51.100.0/24"}}},
		{"those of a role that shut oneself out", "locked_out", api.Networks{Roles: []api.RoleNetworks{{Role: "Admin", From: []string{"198.51.100.0/24"}}}}},
		{"no network", "networks_invalid", api.Networks{All: []string{"office"}}},
		{"no network of a role", "networks_invalid", api.Networks{Roles: []api.RoleNetworks{{Role: "Viewer", From: []string{"office"}}}}},
		{"a role without any", "networks_invalid", api.Networks{Roles: []api.RoleNetworks{{Role: "Viewer"}}}},
		{"a role twice", "networks_invalid", api.Networks{Roles: []api.RoleNetworks{{Role: "Viewer", From: []string{"192.0.2.1"}}, {Role: "Viewer", From: []string{"192.0.2.2"}}}}},
		{"no role", "unknown_role", api.Networks{Roles: []api.RoleNetworks{{Role: "King", From: []string{"192.0.2.1"}}}}},
	} {
		if _, err := env.Engine.SetNetworks(t.Context(), env.Ann, api.NetworksRequest{Networks: c.networks}, ""); fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", c.name, err, c.code)
		}
	}
	if s, err := env.Engine.Settings(t.Context(), env.Ann); err != nil || len(s.Networks.All)+len(s.Networks.Roles) > 0 {
		t.Errorf("the networks are %+v, %v, want none", s.Networks, err)
	}
}

// TestACallerHasTheTenantsLimits and nobody of another tenant has.
func TestACallerHasTheTenantsLimits(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	acme := env.Tenant("acme")
	in := api.LimitsRequest{Limits: api.Limits{User: "5/s", Tenant: "1000/h"}}
	s, err := acme.Engine.SetLimits(t.Context(), acme.Ann, in, "")
	if err != nil || s.Limits != in.Limits {
		t.Fatalf("the limits are %+v, %v, want %+v", s.Limits, err, in.Limits)
	}
	own := acme.SignIn(acme.Key()).Limits()
	if own.User == nil || *own.User != (limit.Rate{Calls: 5, Per: time.Second}) || own.Tenant == nil || own.Key != nil {
		t.Errorf("somebody of acme has the limits %+v", own)
	}
	if other := env.SignIn(env.Key()).Limits(); other != (limit.Own{}) {
		t.Errorf("somebody of main has the limits %+v, want none", other)
	}
	if _, err := env.Engine.SetLimits(t.Context(), env.Ann, api.LimitsRequest{Limits: api.Limits{Key: "many"}}, ""); fault.CodeOf(err) != "invalid_limit" {
		t.Errorf("a limit that is none: %v, want invalid_limit", err)
	}
	for _, low := range []api.Limits{{Tenant: "1/24h"}, {User: "99/h"}, {Key: "49/30m"}, {Tenant: "1/37s"}} {
		if _, err := env.Engine.SetLimits(t.Context(), env.Ann, api.LimitsRequest{Limits: low}, ""); fault.CodeOf(err) != "limit_too_low" {
			t.Errorf("limits %+v, by which nobody could change them for long: %v, want limit_too_low", low, err)
		}
	}
	for _, least := range []api.Limits{{Tenant: "2400/24h"}, {User: "100/h", Key: "0"}, {Tenant: "1/36s"}} {
		if _, err := env.Engine.SetLimits(t.Context(), env.Ann, api.LimitsRequest{Limits: least}, ""); err != nil {
			t.Errorf("limits %+v: %v", least, err)
		}
	}
}

const noHome = `
@id("no-home")
@reason("Bob has nothing to do with homes")
forbid (principal == user::"bob", action, resource)
when { resource.process == "home" };`

// TestTheTenantsPoliciesCount at once, for lists and records, after a restart, and for no
// other tenant.
func TestTheTenantsPoliciesCount(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	acme := env.Tenant("acme")
	theirs := acme.PersonsKey("bob", "Viewer")
	newClaims(t, env)
	newClaims(t, acme)
	bob := env.PersonsKey("bob", "Viewer")
	seen := func(company *testenv.Env, key string) string {
		t.Helper()
		c := company.SignIn(key)
		processes, err := company.Engine.Processes(t.Context(), c, pageOf(10))
		if err != nil {
			t.Fatal(err)
		}
		list, err := company.Engine.Instances(t.Context(), c, engine.InstanceFilter{}, pageOf(100))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, p := range processes.Items {
			names = append(names, p.ID)
		}
		for _, i := range list.Items {
			if !slices.Contains(names, i.Process) {
				t.Errorf("Bob sees an instance of %s, and the process not", i.Process)
			}
			if _, err := company.Engine.Instance(t.Context(), c, i.ID); err != nil {
				t.Errorf("an instance of the list: %v", err)
			}
		}
		return strings.Join(names, " ")
	}
	if got := seen(env, bob); got != "car home" {
		t.Errorf("before, Bob sees %q", got)
	}
	setPolicies(t, env, noHome)
	if got := seen(env, bob); got != "car" {
		t.Errorf("Bob sees %q, want car alone", got)
	}
	if got := seen(acme, theirs); got != "car home" {
		t.Errorf("Bob of another company sees %q", got)
	}
	env.Restart(nil)
	if got := seen(env, bob); got != "car" {
		t.Errorf("after a restart, Bob sees %q, want car alone", got)
	}
	setPolicies(t, env, "")
	if got := seen(env, bob); got != "car home" {
		t.Errorf("afterwards, Bob sees %q", got)
	}
	checkedWhole(t, env)
}

func TestPoliciesThatLockOutAreRefused(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	ctx, e := t.Context(), env.Engine
	set := func(text string) error {
		return errorOf(e.SetPolicies(ctx, env.Ann, api.PoliciesRequest{Text: text}, ""))
	}
	const onlyBob = `@id("only-bob") forbid (principal, action == Action::"policy:set", resource) unless { principal.name == "bob" };`
	if err := set(`@id("all") forbid (principal, action, resource);`); fault.CodeOf(err) != "locked_out" {
		t.Errorf("a policy that forbids everything: %v, want locked_out", err)
	}
	if err := set(onlyBob); fault.CodeOf(err) != "locked_out" {
		t.Errorf("a policy for somebody who is not there: %v, want locked_out", err)
	}
	if err := set(`@id("x") permit (principal, action, resource);`); fault.CodeOf(err) != "invalid_policies" {
		t.Errorf("a permit: %v, want invalid_policies", err)
	}
	if err := set(`@id("x") forbid (principal, action, resource) when { context.four_eyes };`); fault.CodeOf(err) != "locked_out" {
		t.Errorf("a policy that forbids everything while two people deploy: %v, want locked_out", err)
	}
	env.Person("bob", "Admin")
	if err := set(onlyBob); err != nil {
		t.Fatalf("a policy for another Admin: %v", err)
	}
	env.Ann = env.SignIn(env.Key())
	if err := set(""); !fault.Is(err, fault.Denied) {
		t.Errorf("Ann sets policies: %v, want Denied", err)
	}
	if _, err := e.DisableUser(ctx, env.Ann, "bob", api.ReasonRequest{}, ""); fault.CodeOf(err) != "last_administrator" {
		t.Errorf("disabling the one who can set policies: %v, want last_administrator", err)
	}
}

// TestTryingPoliciesSetsNothing and says whose decisions would change.
func TestTryingPoliciesSetsNothing(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	newClaims(t, env)
	env.Person("bob", "Viewer")
	got, err := env.Engine.TestPolicies(t.Context(), env.Ann, api.PoliciesTestRequest{Text: noHome})
	if err != nil {
		t.Fatal(err)
	}
	var actions []string
	for _, c := range got.Items {
		if c.Principal != "bob" || c.Process != "home" || c.Allowed || !slices.Equal(c.Policies, []string{"no-home"}) {
			t.Errorf("it would change %+v", c)
		}
		actions = append(actions, c.Action)
	}
	if !slices.Contains(actions, "process:read") || !slices.Contains(actions, "task:read") || slices.Contains(actions, "task:complete") || got.Changed != len(actions) {
		t.Errorf("Bob's decisions about %v would change, %d in all", actions, got.Changed)
	}
	if p, err := env.Engine.Policies(t.Context(), env.Ann); err != nil || p.Text != "" {
		t.Errorf("the policies are %+v, %v, want none", p, err)
	}
	setPolicies(t, env, noHome)
	env.Ann = env.SignIn(env.Key())
	if got, err := env.Engine.TestPolicies(t.Context(), env.Ann, api.PoliciesTestRequest{Text: ""}); err != nil || got.Changed != len(actions) || !got.Items[0].Allowed {
		t.Errorf("without them: %+v, %v, want %d changes back", got, err, len(actions))
	}
}

// TestExplain asks about named people and what they may.
func TestExplain(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	w := newClaims(t, env)
	zoe, eve := env.Person("zoe", "Executor"), env.Person("eve")
	env.Person("bob", "Viewer")
	where := give(t, env, api.GrantRequest{User: "eve", Right: "view", Process: "car", Where: &api.Where{Path: "company", Value: "A"}})
	setPolicies(t, env, noHome)
	setNetworks(t, env, api.Networks{All: []string{"192.0.2.0/24"}})
	env.Ann = env.SignIn(env.Key())
	auditor := env.Person("pia", "Auditor")
	ofA, ofB, home := "", "", ""
	for _, i := range w.instances {
		switch {
		case i.Process == "car" && i.Values["company"] == "A":
			ofA = i.ID
		case i.Process == "car":
			ofB = i.ID
		default:
			home = i.ID
		}
	}
	for _, c := range []struct {
		name    string
		q       api.ExplainQuery
		allowed bool
		policy  string // the first that decided
		misses  string // of the first near miss
	}{
		{"Eve's instance", api.ExplainQuery{Principal: "eve", Action: "instance:read", ID: ofA}, true, "grant-view", ""},
		{"another company's instance", api.ExplainQuery{Principal: "eve", Action: "instance:read", ID: ofB}, false, "", where.ID},
		{"what a policy forbids", api.ExplainQuery{Principal: "bob", Action: "instance:read", ID: home}, false, "no-home", "Bob has nothing to do with homes"},
		{"what a role permits", api.ExplainQuery{Principal: "bob", Action: "instance:read", ID: ofB}, true, "role-viewer", ""},
		{"from another network", api.ExplainQuery{Principal: "bob", Action: "instance:read", ID: ofB, Address: "198.51.100.1"}, false, "network", "a network that is not allowed"},
		{"a task of a candidate", api.ExplainQuery{Principal: "zoe", Action: "task:read", ID: taskOf(w, ofB)}, true, "task-seen", ""},
		{"somebody else's task", api.ExplainQuery{Principal: "eve", Action: "task:complete", ID: taskOf(w, ofB)}, false, "", ""},
		{"nothing in particular", api.ExplainQuery{Principal: "zoe", Action: "instance:start"}, true, "role-executor", ""},
		{"a process", api.ExplainQuery{Principal: "eve", Action: "process:read", ID: "car"}, true, "grant-view", ""},
		{"a field", api.ExplainQuery{Principal: "eve", Action: "value:reveal", ID: ofA, Field: "company"}, false, "", ""},
		{"another's action", api.ExplainQuery{Principal: "eve", Action: "grant:give"}, false, "", ""},
	} {
		for _, asking := range []engine.Caller{env.Ann, auditor} {
			x, err := env.Engine.Explain(t.Context(), asking, c.q)
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			want := c
			if asking.Principal == "pia" && c.name == "Eve's instance" { // whose company it is, an Auditor is not told
				want.allowed, want.policy, want.misses = false, "", where.ID
			}
			first, miss := "", ""
			if len(x.Reasons) > 0 {
				first = x.Reasons[0].Policy
			}
			if len(x.NearMisses) > 0 {
				miss = x.NearMisses[0].Text
			}
			if x.Allowed != want.allowed || first != want.policy || !strings.Contains(miss, want.misses) || want.misses == "" && miss != "" {
				t.Errorf("%s: %+v", c.name, x)
			}
		}
	}
	for name, q := range map[string]api.ExplainQuery{
		"nobody": {Principal: "nobody", Action: "task:read"}, "no instance": {Principal: "eve", Action: "instance:read", ID: "x"},
		"an unknown instance": {Principal: "eve", Action: "instance:read", ID: "00000000-0000-7000-8000-000000000000"},
		"an unknown task":     {Principal: "eve", Action: "task:read", ID: ofA + ".999"},
	} {
		if _, err := env.Engine.Explain(t.Context(), env.Ann, q); !fault.Is(err, fault.NotFound) {
			t.Errorf("%s: %v, want NotFound", name, err)
		}
	}
	for name, q := range map[string]api.ExplainQuery{
		"no action": {Principal: "eve", Action: "task:own"}, "no kind": {Principal: "eve", Action: "task:read", Kind: "x"},
		"a field of a task": {Principal: "eve", Action: "task:read", Field: "a"},
	} {
		if _, err := env.Engine.Explain(t.Context(), env.Ann, q); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want Invalid", name, err)
		}
	}
	for _, c := range []engine.Caller{zoe, eve} {
		if _, err := env.Engine.Explain(t.Context(), c, api.ExplainQuery{Principal: c.Principal, Action: "task:read"}); !fault.Is(err, fault.Denied) {
			t.Errorf("%s asks: %v, want Denied", c.Principal, err)
		}
	}
}

// taskOf returns the task ask of an instance.
func taskOf(w *claims, instance string) string {
	i := slices.IndexFunc(w.tasks, func(t access.Resource) bool { return strings.HasPrefix(t.ID, instance) && t.Element == "ask" })
	return w.tasks[i].ID
}
