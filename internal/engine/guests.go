package engine

import (
	"context"
	"reflect"
	"slices"
	"strings"

	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/store"
)

// identityMapped is the step by which a principal got and lost what groups of an issuer give.
const identityMapped = "identity.mapped"

// guest is whom an issuer has signed in: a principal, the id of its link to the issuer, and
// the generations of sessions that begin by that.
type guest struct {
	name, link string
	ended      identity.Generations
}

// welcome returns the principal that an issuer means, by issuer and subject alone, as it is
// once it has what its groups there give and nothing that others would. Who is linked to
// nobody becomes a principal, if the issuer creates some.
func (e *Engine) welcome(ctx context.Context, scope store.Scope, i identity.Issuer, c identity.Claims, address string) (guest, error) {
	token, err := e.identity.FederatedToken(ctx, scope, c.Issuer, c.Subject)
	if err != nil {
		return guest{}, err
	}
	// Who is nobody here keeps nobody of the tenant waiting.
	_, err = e.store.Credential(ctx, scope, token)
	if fault.Is(err, fault.NotFound) && i.Creates {
		if err := e.learnLinks(ctx, scope); err != nil {
			return guest{}, err
		}
		err = nil
	}
	if err != nil {
		return guest{}, nobody(notLinked(err))
	}
	who, changed, err := e.welcomeNow(ctx, scope, i, c, token, address)
	if changed && err == nil {
		e.endLeases(ctx, scope)
	}
	return who, err
}

// notLinked is Denied for what is not found.
func notLinked(err error) error {
	if fault.Is(err, fault.NotFound) {
		return fault.New(fault.Denied, "the issuer's subject is linked to nobody here").WithCause(err)
	}
	return err
}

// welcomeNow is welcome from when nobody else changes the tenant's dossiers.
func (e *Engine) welcomeNow(ctx context.Context, scope store.Scope, i identity.Issuer, c identity.Claims, token [32]byte, address string) (who guest, changed bool, err error) {
	defer e.people.change(scope, scope)()
	rules, err := e.rulesOf(ctx, scope)
	if err != nil {
		return who, false, err
	}
	if now, found := peopleIssuer(rules.Tenant, i.ID); !found || !reflect.DeepEqual(now, i) {
		return who, false, nobody(fault.New(fault.Denied, "the settings of issuer %q were changed meanwhile", i.ID))
	}
	var a amendment
	p, link, err := e.vouchedPerson(ctx, scope, &i, c, token, &a)
	if err != nil {
		return who, false, err
	}
	who = guest{p.Name, link, identity.Generations{Principal: p.Ended, Tenant: rules.Tenant.Ended}}
	if err := e.mapGroups(ctx, &i, c.Groups, p, address, &a); err != nil || a.kind == "" {
		return who, false, err
	}
	a.of, a.fields = &p.dossier, p.Fields()
	a.facts = []fieldWrite{{path: "$how", value: canon.String(identity.ByIssuer + i.ID), label: confidential, fact: true}}
	by := amender{act: "user", actor: actorOf(Caller{Principal: p.Name, Address: address})}
	return who, true, e.amend(ctx, scope, by, a)
}

// vouchedPerson opens the principal that an issuer means, or makes it. The amendment has a
// kind if that is a step: who was invited only has come now.
func (e *Engine) vouchedPerson(ctx context.Context, scope store.Scope, i *identity.Issuer, c identity.Claims, token [32]byte, a *amendment) (*principal, string, error) {
	row, err := e.store.Credential(ctx, scope, token)
	if fault.Is(err, fault.NotFound) && i.Creates {
		return e.newcomer(ctx, scope, i, c, a)
	}
	if err != nil {
		return nil, "", nobody(notLinked(err))
	}
	p, err := e.openPrincipal(ctx, scope, row.Object)
	if err != nil {
		return nil, "", err
	}
	at := slices.IndexFunc(p.Federated, func(f identity.Federated) bool { return f.Token == token })
	if at < 0 || !p.Federated[at].Ended.IsZero() || p.Kind != access.User || p.State != identity.Active && p.State != identity.Invited {
		return nil, "", nobody(fault.New(fault.Denied, "whom the issuer means may not come in"))
	}
	if p.State == identity.Invited {
		a.kind, p.State = principalActivated, identity.Active
		withdraw(&p.Invitation, a)
	}
	return p, p.Federated[at].ID, nil
}

// newcomer makes a principal of somebody whom an issuer has signed in. A name that is there
// already is somebody else's, whoever the issuer calls so.
func (e *Engine) newcomer(ctx context.Context, scope store.Scope, i *identity.Issuer, c identity.Claims, a *amendment) (*principal, string, error) {
	name := strings.Map(lowered, c.Name)
	if err := identity.CheckPrincipalName(name); err != nil {
		return nil, "", nobody(fault.New(fault.Denied, "the claim %s of the ID token is no name of a new user", i.NameClaim))
	}
	p, err := e.newPrincipal(ctx, scope, name)
	if fault.Is(err, fault.Conflict) {
		err = nobody(fault.New(fault.Denied, "there is a user of the name in the claim %s already, who is not linked to the subject", i.NameClaim))
	}
	if err != nil {
		return nil, "", err
	}
	p.Kind, p.State, p.Display, p.Mail = access.User, identity.Active, c.Display, c.Mail
	a.kind = principalActivated
	if err := e.link(ctx, p, i.URL, c.Subject, a); err != nil {
		return nil, "", err
	}
	return p, p.Federated[0].ID, nil
}

// lowered is a letter of a name in lower case. Those of other alphabets stay what they are,
// which no name has: a few of them, such as the Kelvin sign, have a letter of ASCII for their
// lower case, and whoever calls themselves so elsewhere would take somebody's name here.
func lowered(r rune) rune {
	if 'A' <= r && r <= 'Z' {
		return r - 'A' + 'a'
	}
	return r
}

// mapGroups gives a principal what groups of the issuer give, and takes what others would.
func (e *Engine) mapGroups(ctx context.Context, i *identity.Issuer, there []string, p *principal, address string, a *amendment) error {
	gives, err := e.mappable(ctx, p.scope, i)
	if err != nil {
		return err
	}
	before := p.Principal
	gives.Apply(&p.Principal, there)
	if slices.Equal(before.Roles, p.Roles) && slices.Equal(before.Groups, p.Groups) {
		return nil
	}
	if a.kind == "" {
		a.kind = identityMapped
	}
	if len(p.Groups) > maxMemberships {
		return nobody(fault.New(fault.Denied, "the issuer gives more than %d groups", maxMemberships))
	}
	// Of who comes in at issuers alone it is not asked: to sign nobody in would keep nobody in,
	// and what the issuer takes it gives again.
	return e.requireAdministratorBy(ctx, Caller{Scope: p.scope, Principal: p.Name, Address: address}, p, kept)
}

// mappable is an issuer that gives only groups that there are, and none that makes an
// Operator, whom no issuer makes.
func (e *Engine) mappable(ctx context.Context, scope store.Scope, i *identity.Issuer) (*identity.Issuer, error) {
	out := *i
	out.Given = slices.Clone(i.Given)
	for at := range out.Given {
		var groups []string
		for _, name := range out.Given[at].Groups {
			g, err := e.anyGroup(ctx, scope, name)
			if err != nil && !fault.Is(err, fault.NotFound) {
				return nil, err
			}
			if err == nil && g.State == identity.Active && !slices.Contains(g.Roles, access.Operator) {
				groups = append(groups, name)
			}
		}
		out.Given[at].Groups = groups
	}
	return &out, nil
}
