package engine

import (
	"context"
	"slices"
	"time"

	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/store"
)

// A tenant has an administrator at any time: somebody who signs in, has the role, and
// whom the tenant's own policies let. Whoever may be the last one is asked for only where
// an administrator could be lost, and first among those who come to mind, so that it does
// not matter how many people the tenant has.

// electorate is who administers a tenant if something is otherwise than it is.
type electorate struct {
	engine *Engine
	scope  store.Scope
	rules  *identity.Rules
	now    time.Time

	changed   *identity.Principal // as it is to be; nil: none
	regrouped *identity.Group     // as it is to be; nil: none
}

// administers reports whether a principal is an administrator.
func (v *electorate) administers(ctx context.Context, p *identity.Principal) (bool, error) {
	if v.changed != nil && v.changed.Name == p.Name {
		p = v.changed
	}
	here := *p
	var err error
	if here.Passkeys, err = v.engine.usablePasskeys(ctx, v.scope, p.Name, p.Passkeys); err != nil || !here.SignsIn(v.now) {
		return false, err
	}
	groups := make([]identity.Group, len(p.Groups))
	for i, name := range p.Groups {
		if v.regrouped != nil && v.regrouped.Name == name {
			groups[i] = *v.regrouped
			continue
		}
		g, err := v.engine.anyGroup(ctx, v.scope, name)
		if err != nil {
			return false, err
		}
		groups[i] = g.Group
	}
	who := identity.NewKnown(v.scope, v.rules, *p, groups).Who()
	return slices.Contains(who.Roles, access.Admin) && !v.rules.Policies.LocksOut([]*access.Effective{who.Effective()}, v.now), nil
}

// electorsAtOnce is how many principals are opened before it is asked for more.
const electorsAtOnce = 100

// any reports whether somebody administers the tenant: who asks, somebody who was here
// lately, or anybody.
func (v *electorate) any(ctx context.Context, asks string) (bool, error) {
	for _, name := range append([]string{asks}, v.engine.people.withRole(v.scope, access.Admin)...) {
		p, err := v.engine.namedPrincipal(ctx, v.scope, name)
		if fault.Is(err, fault.NotFound) { // who asks is of another tenant
			continue
		}
		if err != nil {
			return false, err
		}
		if found, err := v.administers(ctx, &p.Principal); found || err != nil {
			return found, err
		}
	}
	for page := (Page{}); ; {
		all, next, err := openPage(ctx, v.engine, v.scope, store.Principal, page, electorsAtOnce, v.engine.openPrincipal)
		if err != nil {
			return false, err
		}
		for _, p := range all {
			if found, err := v.administers(ctx, &p.Principal); found || err != nil {
				return found, err
			}
		}
		if page.After = next; next == "" {
			return false, nil
		}
	}
}

// withRole returns who is known to have a role.
func (p *people) withRole(scope store.Scope, role access.Role) (names []string) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if a := p.tenant[scope.Tenant()]; a != nil {
		for name, k := range a.byName {
			if slices.Contains(k.known.Who().Roles, role) {
				names = append(names, name)
			}
		}
	}
	return names
}

// requireAdministrator refuses a change of a principal after which nobody could take it
// back. It is given what was changed and is not durable.
func (e *Engine) requireAdministrator(ctx context.Context, c Caller, changed *principal) error {
	before, err := identity.ParsePrincipal(changed.values)
	if err != nil {
		return err
	}
	return e.requireElectorate(ctx, c, &before, &electorate{scope: changed.scope, changed: &changed.Principal})
}

// requireAdministratorWithout is requireAdministrator for a group that loses a role.
func (e *Engine) requireAdministratorWithout(ctx context.Context, c Caller, role access.Role, g *group) error {
	if role != access.Admin {
		return nil
	}
	return e.requireElectorate(ctx, c, nil, &electorate{scope: g.scope, regrouped: &g.Group})
}

// requireElectorate requires that somebody administers the tenant, unless before is
// somebody who does not do so now.
func (e *Engine) requireElectorate(ctx context.Context, c Caller, before *identity.Principal, v *electorate) error {
	rules, err := e.rulesOf(ctx, v.scope)
	if err != nil {
		return err
	}
	v.engine, v.rules, v.now = e, rules, e.moment()
	if before != nil {
		now := electorate{engine: e, scope: v.scope, rules: rules, now: v.now}
		if did, err := now.administers(ctx, before); !did || err != nil {
			return err
		}
	}
	found, err := v.any(ctx, c.Principal)
	if err == nil && !found {
		err = fault.New(fault.Conflict, "nobody would be an administrator any more").WithCode("last_administrator").
			WithHint("give somebody else the role Admin, or the last one another API key, first")
	}
	return err
}

// requireSetters refuses policies that would leave nobody who signs in and can set them.
func (e *Engine) requireSetters(ctx context.Context, c Caller, rules *identity.Rules) error {
	v := electorate{engine: e, scope: c.Scope, rules: rules, now: e.moment()}
	found, err := v.any(ctx, c.Principal)
	if err == nil && !found {
		err = fault.New(fault.Conflict, "with these policies nobody could change them any more").WithCode("locked_out").
			WithHint("let somebody with the role Admin do policy:read and policy:set")
	}
	return err
}
