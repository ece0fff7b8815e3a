package engine

import (
	"context"
	"iter"
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
// those who come to mind, so that it seldom matters how many people the tenant has.

// ways are how who has a role may sign in. What counts by fewer of them is asked on its own:
// the account for the day when the issuer is away stays, however many come in by the issuer.
type ways int

const (
	kept   ways = iota // by what the tenant keeps: a password, a passkey, an API key
	anyWay             // or where an issuer of the tenant signs them in
)

// office is a role that only who has it, or who has the server's files, can give again, with
// the ways in and the time that are asked of.
type office struct {
	role access.Role // Admin, or Operator
	by   ways
	at   time.Time // when they sign in
	held bool      // by somebody as it is, though not as it is to be
}

// offices are those of a tenant, now and in two weeks: a key that ends soon is a way in that
// stays for nobody.
func (e *Engine) offices(scope store.Scope, by ...ways) (all []office) {
	roles := []access.Role{access.Admin}
	if scope.Tenant() == identity.MainTenant {
		roles = append(roles, access.Operator)
	}
	for _, role := range roles {
		for _, w := range by {
			for _, at := range []time.Time{e.moment(), e.moment().Add(endsSoon)} {
				all = append(all, office{role: role, by: w, at: at})
			}
		}
	}
	return all
}

// electorate is who has a tenant's offices if something is otherwise than it is.
type electorate struct {
	engine  *Engine
	scope   store.Scope
	present *identity.Rules
	from    string // address of who asks

	rules     *identity.Rules     // as they are to be; nil: as they are
	changed   *identity.Principal // as it is to be; nil: none
	regrouped *identity.Group     // as it is to be; nil: none
}

// asItIs is the electorate if nothing is otherwise.
func (v *electorate) asItIs() *electorate {
	return &electorate{engine: v.engine, scope: v.scope, present: v.present, rules: v.present}
}

// holds reports whether a principal, as it is now, would hold an office. Where people come
// from is not known but of who asks: who could come from there, and could not any more, would
// be shut out.
func (v *electorate) holds(ctx context.Context, o office, now *identity.Principal) (bool, error) {
	then := now
	if v.changed != nil && v.changed.Name == now.Name {
		then = v.changed
	}
	if here, err := v.comes(ctx, o, then, v.from); here || err != nil {
		return here, err
	}
	if anywhere, err := v.comes(ctx, o, then, ""); !anywhere || err != nil {
		return false, err
	}
	shutOut, err := v.asItIs().comes(ctx, o, now, v.from)
	return !shutOut, err
}

// comes reports whether a principal signs in from an address ("": from anywhere) and has the
// role then.
func (v *electorate) comes(ctx context.Context, o office, p *identity.Principal, from string) (bool, error) {
	way := *p
	var err error
	if way.Passkeys, err = v.engine.usablePasskeys(ctx, v.scope, p.Name, p.Passkeys); err != nil || !v.signsIn(o, &way, from) {
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
	if !v.signsIn(o, &way, from) || !slices.Contains(who.Roles, o.role) || from != "" && !v.rules.Tenant.Networks.Allow(who.Roles, from) {
		return false, nil
	}
	return o.role != access.Admin || !v.rules.Policies.LocksOut(who.Effective(), o.at), nil
}

func (v *electorate) signsIn(o office, p *identity.Principal, from string) bool {
	return p.SignsIn(o.at, from) || o.by == anyWay && p.SignsInAt(v.rules.Tenant.Issuers)
}

// electorsAtOnce is how many principals are opened before it is asked for more.
const electorsAtOnce = 100

// all are the tenant's principals: who asks, who has a role and was here lately, and everybody.
// Somebody may come twice.
func (v *electorate) all(ctx context.Context, asks string) iter.Seq2[*identity.Principal, error] {
	return func(yield func(*identity.Principal, error) bool) {
		known := v.engine.people.withRole(v.scope, access.Admin, access.Operator)
		for _, name := range append([]string{asks}, known...) {
			p, err := v.engine.namedPrincipal(ctx, v.scope, name)
			switch {
			case fault.Is(err, fault.NotFound): // who asks is of another tenant
			case err != nil:
				yield(nil, err)
				return
			case !yield(&p.Principal, nil):
				return
			}
		}
		page := Page{}
		for more := true; more; more = page.After != "" {
			all, next, err := openPage(ctx, v.engine, v.scope, store.Principal, page, electorsAtOnce, v.engine.openPrincipal)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, p := range all {
				if !yield(&p.Principal, nil) {
					return
				}
			}
			page.After = next
		}
	}
}

// withRole returns who is known to have one of some roles.
func (p *people) withRole(scope store.Scope, roles ...access.Role) (names []string) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if a := p.tenant[scope.Tenant()]; a != nil {
		for name, k := range a.byName {
			if slices.ContainsFunc(k.known.Who().Roles, func(r access.Role) bool { return slices.Contains(roles, r) }) {
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
	return e.requireElectorate(ctx, c, &before, &electorate{scope: changed.scope, changed: &changed.Principal}, e.offices(changed.scope, by...))
}

// requireAdministratorWith is requireAdministrator for a group that gives other roles.
func (e *Engine) requireAdministratorWith(ctx context.Context, c Caller, g *group) error {
	return e.requireElectorate(ctx, c, nil, &electorate{scope: g.scope, regrouped: &g.Group}, e.offices(g.scope, kept, anyWay))
}

// requireAdministratorOf is requireAdministrator for a tenant that takes the word of other
// issuers, which are no matter to who comes in by what the tenant keeps.
func (e *Engine) requireAdministratorOf(ctx context.Context, c Caller, t *tenant) error {
	rules, err := e.rules(t.Tenant)
	if err != nil {
		return err
	}
	return e.requireElectorate(ctx, c, nil, &electorate{scope: t.scope, rules: rules}, e.offices(t.scope, anyWay))
}

// requireElectorate refuses what leaves nobody in an office. Before is who is changed; nil:
// nobody alone. Of an office that they do not hold nothing is lost.
func (e *Engine) requireElectorate(ctx context.Context, c Caller, before *identity.Principal, v *electorate, asked []office) error {
	present, err := e.rulesOf(ctx, v.scope)
	if err != nil {
		return err
	}
	v.engine, v.present, v.from = e, present, c.Address
	if v.rules == nil {
		v.rules = present
	}
	open := asked
	if before != nil {
		open = nil
		for _, o := range asked {
			held, err := v.asItIs().holds(ctx, o, before)
			if err != nil {
				return err
			}
			if held {
				open = append(open, o)
			}
		}
	}
	if open, err = v.vacant(ctx, c.Principal, open); err != nil || len(open) == 0 {
		return err
	}
	return lastOne(open[0].role)
}

// vacant returns the offices that somebody holds and nobody would. All are asked for at once,
// since everybody may have to be asked.
func (v *electorate) vacant(ctx context.Context, asks string, open []office) ([]office, error) {
	if len(open) == 0 {
		return nil, nil
	}
	for p, err := range v.all(ctx, asks) {
		if err != nil {
			return nil, err
		}
		var rest []office
		for _, o := range open {
			holds, err := v.holds(ctx, o, p)
			if err == nil && !holds && !o.held {
				o.held, err = v.asItIs().holds(ctx, o, p)
			}
			if err != nil {
				return nil, err
			}
			if !holds {
				rest = append(rest, o)
			}
		}
		if open = rest; len(open) == 0 {
			break
		}
	}
	return slices.DeleteFunc(open, func(o office) bool { return !o.held }), nil
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
	asked := append(e.offices(c.Scope, kept, anyWay), office{role: access.Admin, by: anyWay, at: e.moment(), held: true})
	err := e.requireElectorate(ctx, c, nil, &electorate{scope: c.Scope, rules: rules}, asked)
	if fault.CodeOf(err) == "last_administrator" {
		err = fault.New(fault.Conflict, "with these policies nobody could change them any more").WithCode("locked_out").
			WithHint("let somebody with the role Admin do policy:read and policy:set, who has a way in that stays: " + waysThatStay)
	}
	return err
}
