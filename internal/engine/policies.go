package engine

import (
	"context"
	"slices"
	"strings"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/store"
)

// Policies shows the tenant's own policies.
func (e *Engine) Policies(ctx context.Context, c Caller) (api.Policies, error) {
	return readNow(ctx, e, c, func(c Caller) (api.Policies, error) { return e.policiesAs(ctx, c) })
}

func (e *Engine) policiesAs(ctx context.Context, c Caller) (api.Policies, error) {
	if err := e.may(ctx, c, access.ReadPolicy, "policy", ""); err != nil {
		return api.Policies{}, err
	}
	t, err := e.openTenant(ctx, c.Scope)
	if err != nil {
		return api.Policies{}, err
	}
	return e.policiesOf(t)
}

func (e *Engine) policiesOf(t *tenant) (api.Policies, error) {
	items, err := e.wirePolicies(t)
	return api.Policies{Text: t.Policies, Items: items, Leaf: t.head.leaf.String()}, err
}

func (e *Engine) wirePolicies(t *tenant) ([]api.Policy, error) {
	items := []api.Policy{}
	own, err := e.policies.ParseTenantPolicies(t.Policies)
	if err != nil {
		return items, t.tampered("has policies that cannot be read").WithCause(err)
	}
	for _, id := range own.IDs() {
		items = append(items, api.Policy{ID: id, Reason: own.Reason(id)})
	}
	return items, nil
}

// SetPolicies sets the tenant's own policies. Those after which nobody could set them are
// refused.
func (e *Engine) SetPolicies(ctx context.Context, c Caller, r api.PoliciesRequest, idem string) (api.Policies, error) {
	may := func(c Caller) error { return e.may(ctx, c, access.SetPolicy, "policy", "") }
	if err := may(c); err != nil {
		return api.Policies{}, err
	}
	if _, err := e.policies.ParseTenantPolicies(r.Text); err != nil {
		return api.Policies{}, err
	}
	ch := change{c.Scope.Tenant(), "set-policies", idem, r, r.Reason, false}
	t, err := e.changeTenant(ctx, c, ch, may, func(c Caller, t *tenant) (amendment, error) {
		t.Policies = r.Text
		rules, err := e.rules(t.Tenant)
		if err != nil {
			return amendment{}, err
		}
		return settingSet("policies"), e.requireSetters(ctx, c, rules)
	})
	if err != nil {
		return api.Policies{}, err
	}
	return e.policiesOf(t)
}

// everybody opens all principals and groups of a tenant, and keeps nobody from changing them:
// of many that takes long.
func (e *Engine) everybody(ctx context.Context, scope store.Scope) ([]*principal, []identity.Group, error) {
	opened, _, err := openPage(ctx, e, scope, store.Group, Page{}, 0, e.openGroup)
	if err != nil {
		return nil, nil, err
	}
	groups := make([]identity.Group, len(opened))
	for i, g := range opened {
		groups[i] = g.Group
	}
	var all []*principal
	for page := (Page{}); ; {
		some, next, err := openPage(ctx, e, scope, store.Principal, page, electorsAtOnce, e.openPrincipal)
		if all = append(all, some...); err != nil || next == "" {
			return all, groups, err
		}
		page.After = next
	}
}

// membershipsOf returns the groups that a principal is in.
func membershipsOf(p *identity.Principal, groups []identity.Group) []identity.Group {
	var of []identity.Group
	for _, g := range groups {
		if slices.Contains(p.Groups, g.Name) {
			of = append(of, g)
		}
	}
	return of
}

const (
	maxPolicyChanges = 200 // that are shown
	maxTestProcesses = 20  // that policies are tried on
)

// TestPolicies says what would be decided otherwise if policies were set. Of many people that
// takes long, so a company does it once at a time, and leaves the others their part of the
// machine.
func (e *Engine) TestPolicies(ctx context.Context, c Caller, r api.PoliciesTestRequest) (api.PoliciesTest, error) {
	return readNow(ctx, e, c, func(c Caller) (api.PoliciesTest, error) { return e.testPoliciesAs(ctx, c, r) })
}

func (e *Engine) testPoliciesAs(ctx context.Context, c Caller, r api.PoliciesTestRequest) (api.PoliciesTest, error) {
	if err := e.may(ctx, c, access.SetPolicy, "policy", ""); err != nil {
		return api.PoliciesTest{}, err
	}
	own, err := e.policies.ParseTenantPolicies(r.Text)
	if err != nil {
		return api.PoliciesTest{}, err
	}
	turn := e.trying.of(c.Scope)
	if !turn.TryLock() {
		return api.PoliciesTest{}, fault.New(fault.Unavailable, "somebody of the company tries policies already").WithCode("too_many_requests").
			WithHint("try again when that is done")
	}
	defer turn.Unlock()
	rows, err := e.store.Newest(ctx, c.Scope, "", maxTestProcesses)
	if err != nil {
		return api.PoliciesTest{}, err
	}
	all, groups, err := e.everybody(ctx, c.Scope)
	if err != nil {
		return api.PoliciesTest{}, err
	}
	slices.SortFunc(all, func(a, b *principal) int { return strings.Compare(a.Name, b.Name) })
	test := policiesTest{caller: c, engine: e, next: e.policies.With(own), out: api.PoliciesTest{Items: []api.PolicyChange{}}}
	for _, row := range rows {
		test.processes = append(test.processes, row.Process)
	}
	for _, p := range all {
		if err := ctx.Err(); err != nil {
			return api.PoliciesTest{}, fault.New(fault.Unavailable, "couldn't try the policies on all principals in time").WithCause(err)
		}
		test.try(identity.NewKnown(c.Scope, c.Rules, p.Principal, membershipsOf(&p.Principal, groups)).Who().Effective())
	}
	return test.out, nil
}

// policiesTest compares what is decided now with what other policies would decide.
type policiesTest struct {
	engine    *Engine
	caller    Caller
	next      *access.Policies
	processes []string
	out       api.PoliciesTest
}

// try compares all decisions about a principal.
func (t *policiesTest) try(who *access.Effective) {
	in := t.engine.circumstances(t.caller)
	for _, action := range access.Actions() {
		if !t.next.Own(action) && !t.caller.Rules.Policies.Own(action) {
			continue
		}
		for _, on := range t.resources(action, who) {
			before := t.caller.Rules.Policies.Decide(who, action, on, in)
			after := t.next.Decide(who, action, on, in)
			if t.out.Tried++; before.Allowed == after.Allowed {
				continue
			}
			if t.out.Changed++; t.out.Changed <= maxPolicyChanges {
				t.out.Items = append(t.out.Items, api.PolicyChange{
					Principal: who.Principal().Name, Action: string(action), Kind: string(on.Kind), Process: on.Process,
					Allowed: after.Allowed, Policies: after.Policies,
				})
			}
		}
	}
}

// resources returns what a decision is tried on: something of each process, where the
// action is on something of one.
func (t *policiesTest) resources(action access.Action, who *access.Effective) []access.Resource {
	kind, tenant := action.Kind(), t.caller.Scope.Tenant()
	on := access.Resource{Kind: kind, Tenant: tenant}
	switch kind {
	case access.Tenant:
		on.ID, on.Name = tenant, tenant
	case access.Process, access.Instance, access.Task, access.Job, access.Incident, access.Field:
		if len(t.processes) == 0 {
			break
		}
		var list []access.Resource
		for _, id := range t.processes {
			if on.Process = id; kind == access.Process {
				on.ID = id
			}
			if kind == access.Task {
				on.Users = []string{who.Principal().Name}
			}
			list = append(list, on)
		}
		return list
	}
	return []access.Resource{on}
}
