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

// A tenant has an administrator at any time: somebody who signs in, for all that they may,
// has the role, and whom the tenant's own policies let. So has main an Operator. Any change
// of a person's roles, groups and ways in, of what a group gives, or of whose word counts,
// can end that, also one that only gives: policies and networks can be of who has a role.
// Whoever may be the last one is asked for only where one could be lost, and first among
// those who come to mind, so that it does not matter how many people the tenant has.

// ways are how who has a role may sign in. What counts by fewer of them is asked on its own:
// the account for the day when the issuer is away stays, however many come in by the issuer.
type ways int

const (
	kept   ways = iota // by what the tenant keeps: a password, a passkey, an API key
	anyWay             // or where an issuer of the tenant signs them in
)

// electorate is who has a tenant's mightiest role if something is otherwise than it is.
type electorate struct {
	engine  *Engine
	scope   store.Scope
	present *identity.Rules
	role    access.Role // Admin, or Operator
	by      ways
	at      time.Time // when they sign in
	from    string    // address of who asks

	rules     *identity.Rules     // as they are to be; nil: as they are
	changed   *identity.Principal // as it is to be; nil: none
	regrouped *identity.Group     // as it is to be; nil: none
}

// asItIs is the electorate if nothing is otherwise.
func (v *electorate) asItIs() *electorate {
	now := *v
	now.rules, now.changed, now.regrouped = v.present, nil, nil
	return &now
}

// holds reports whether a principal, as it is now, would hold the role. Where people come
// from is not known but of who asks: who could come from there, and could not any more, would
// be shut out.
func (v *electorate) holds(ctx context.Context, now *identity.Principal) (bool, error) {
	then := now
	if v.changed != nil && v.changed.Name == now.Name {
		then = v.changed
	}
	if here, err := v.comes(ctx, then, v.from); here || err != nil {
		return here, err
	}
	if anywhere, err := v.comes(ctx, then, ""); !anywhere || err != nil {
		return false, err
	}
	shutOut, err := v.asItIs().comes(ctx, now, v.from)
	return !shutOut, err
}

// comes reports whether a principal signs in from an address ("": from anywhere) and has the
// role then.
func (v *electorate) comes(ctx context.Context, p *identity.Principal, from string) (bool, error) {
	way := *p
	var err error
	if way.Passkeys, err = v.engine.usablePasskeys(ctx, v.scope, p.Name, p.Passkeys); err != nil || !v.signsIn(&way, from) {
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
	known := identity.NewKnown(v.scope, v.rules, *p, groups)
	if known.DemandsPasskey() && !v.engine.enrolsByPassword(p) {
		way.Password = ""
	}
	who := known.Who()
	if !v.signsIn(&way, from) || !slices.Contains(who.Roles, v.role) || from != "" && !v.rules.Tenant.Networks.Allow(who.Roles, from) {
		return false, nil
	}
	return v.role != access.Admin || !v.rules.Policies.LocksOut(who.Effective(), v.at), nil
}

func (v *electorate) signsIn(p *identity.Principal, from string) bool {
	return p.SignsIn(v.at, from) || v.by == anyWay && p.SignsInAt(v.rules.Tenant.Issuers)
}

// electorsAtOnce is how many principals are opened before it is asked for more.
const electorsAtOnce = 100

// any reports whether somebody holds the role: who asks, somebody who was here
// lately, or anybody.
func (v *electorate) any(ctx context.Context, asks string) (bool, error) {
	for _, name := range append([]string{asks}, v.engine.people.withRole(v.scope, v.role)...) {
		p, err := v.engine.namedPrincipal(ctx, v.scope, name)
		if fault.Is(err, fault.NotFound) { // who asks is of another tenant
			continue
		}
		if err != nil {
			return false, err
		}
		if found, err := v.holds(ctx, &p.Principal); found || err != nil {
			return found, err
		}
	}
	for page := (Page{}); ; {
		all, next, err := openPage(ctx, v.engine, v.scope, store.Principal, page, electorsAtOnce, v.engine.openPrincipal)
		if err != nil {
			return false, err
		}
		for _, p := range all {
			if found, err := v.holds(ctx, &p.Principal); found || err != nil {
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
	return e.requireAdministratorBy(ctx, c, changed, kept, anyWay)
}

// requireAdministratorBy is requireAdministrator for who signs in by certain ways.
func (e *Engine) requireAdministratorBy(ctx context.Context, c Caller, changed *principal, by ...ways) error {
	if changed.head.seq == 0 { // who is new was not the last one
		return nil
	}
	before, err := identity.ParsePrincipal(changed.values)
	if err != nil {
		return err
	}
	return e.requireElectorate(ctx, c, &before, &electorate{scope: changed.scope, changed: &changed.Principal}, by...)
}

// requireAdministratorWith is requireAdministrator for a group that gives other roles.
func (e *Engine) requireAdministratorWith(ctx context.Context, c Caller, g *group) error {
	return e.requireElectorate(ctx, c, nil, &electorate{scope: g.scope, regrouped: &g.Group}, kept, anyWay)
}

// requireAdministratorOf is requireAdministrator for a tenant that takes the word of other
// issuers, which are no matter to who comes in by what the tenant keeps.
func (e *Engine) requireAdministratorOf(ctx context.Context, c Caller, t *tenant) error {
	rules, err := e.rules(t.Tenant)
	if err != nil {
		return err
	}
	return e.requireElectorate(ctx, c, nil, &electorate{scope: t.scope, rules: rules}, anyWay)
}

// requireElectorate refuses what leaves nobody in one of the roles that only who has it, or
// who has the server's files, can give again, by fewer ways in or by more. It is asked of now
// and of in two weeks: a key that ends soon is a way in that stays for nobody. Before is who
// is changed; nil: nobody alone.
func (e *Engine) requireElectorate(ctx context.Context, c Caller, before *identity.Principal, v *electorate, by ...ways) error {
	present, err := e.rulesOf(ctx, v.scope)
	if err != nil {
		return err
	}
	roles := []access.Role{access.Admin}
	if v.scope.Tenant() == identity.MainTenant {
		roles = append(roles, access.Operator)
	}
	v.engine, v.present, v.from = e, present, c.Address
	if v.rules == nil {
		v.rules = present
	}
	for _, v.role = range roles {
		for _, v.by = range by {
			for _, v.at = range []time.Time{e.moment(), e.moment().Add(endsSoon)} {
				if lost, err := v.loses(ctx, c.Principal, before); err != nil {
					return err
				} else if lost {
					return lastOne(v.role)
				}
			}
		}
	}
	return nil
}

// loses reports whether somebody holds the role, and nobody would.
func (v *electorate) loses(ctx context.Context, asks string, before *identity.Principal) (bool, error) {
	now := v.asItIs()
	now.from = ""
	if before != nil {
		if did, err := now.holds(ctx, before); !did || err != nil {
			return false, err
		}
	}
	if found, err := v.any(ctx, asks); found || err != nil {
		return false, err
	}
	return now.any(ctx, asks)
}

// waysThatStay are those by which somebody is the last one who keeps a role.
const waysThatStay = "a password, a passkey, or an API key without scopes and end; if somebody has one of these, to sign in at an issuer is not enough"

func lastOne(role access.Role) error {
	if role == access.Operator {
		return fault.New(fault.Conflict, "nobody would be an Operator any more").WithCode("last_operator").
			WithHint("first an Operator gives somebody else the role Operator, or the last one gets another way in that stays: " + waysThatStay)
	}
	return fault.New(fault.Conflict, "nobody would be an administrator any more").WithCode("last_administrator").
		WithHint("first give somebody else the role Admin, or the last one another way in that stays: " + waysThatStay)
}

// requireSetters refuses policies that would leave nobody who signs in and can set them. That
// is asked where nobody could before, too: policies hold for whomever the tenant's next setup
// link makes administrator.
func (e *Engine) requireSetters(ctx context.Context, c Caller, rules *identity.Rules) error {
	v := &electorate{scope: c.Scope, rules: rules}
	found, err := false, e.requireElectorate(ctx, c, nil, v, kept, anyWay)
	if err == nil {
		v.role, v.by, v.at, v.from = access.Admin, anyWay, e.moment(), ""
		found, err = v.any(ctx, c.Principal)
	}
	if err == nil && !found || fault.CodeOf(err) == "last_administrator" {
		err = fault.New(fault.Conflict, "with these policies nobody could change them any more").WithCode("locked_out").
			WithHint("let somebody with the role Admin do policy:read and policy:set, who has a way in that stays: " + waysThatStay)
	}
	return err
}
