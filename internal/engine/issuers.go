package engine

import (
	"cmp"
	"context"
	"slices"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/identity"
)

// Issuers lists whose word the caller's tenant takes for who calls.
func (e *Engine) Issuers(ctx context.Context, c Caller) (api.Issuers, error) {
	return readNow(ctx, e, c, func(c Caller) (api.Issuers, error) { return e.issuersAs(ctx, c) })
}

func (e *Engine) issuersAs(ctx context.Context, c Caller) (api.Issuers, error) {
	if err := e.mayTenant(ctx, c, access.ReadTenant); err != nil {
		return api.Issuers{}, err
	}
	t, err := e.openTenant(ctx, c.Scope)
	if err != nil {
		return api.Issuers{}, err
	}
	return t.wireIssuers(), nil
}

func (t *tenant) wireIssuers() api.Issuers {
	out := api.Issuers{Items: make([]api.Issuer, len(t.Tenant.Issuers)), Leaf: t.head.leaf.String()}
	for i, of := range t.Tenant.Issuers {
		out.Items[i] = api.Issuer{
			ID: of.ID, Kind: string(of.Kind), URL: of.URL, Client: of.Client, SecretSet: of.Secret != "", Scopes: of.Scopes,
			NameClaim: of.NameClaim, GroupClaim: of.GroupClaim, Creates: of.Creates, Audiences: of.Audiences, Authority: of.Authority,
		}
		for _, g := range of.Given {
			out.Items[i].Given = append(out.Items[i].Given, api.IssuerGroup{Group: g.Group, Groups: g.Groups, Roles: plain(g.Roles)})
		}
	}
	return out
}

// defaultNameClaim is what most providers have.
const defaultNameClaim = "preferred_username"

// SetIssuer makes an issuer, or sets another in its place, by whose word people come in from
// then on.
func (e *Engine) SetIssuer(ctx context.Context, c Caller, id string, r api.IssuerRequest, idem string) (api.Issuers, error) {
	may := func(c Caller) error { return cmp.Or(e.mayIssuers(ctx, c), e.freshPerson(c)) }
	return e.changeIssuers(ctx, c, change{"", "set-issuer " + id, idem, r, r.Reason, false}, may, func(all []identity.Issuer) ([]identity.Issuer, error) {
		next := issuerOf(id, r)
		i := slices.IndexFunc(all, func(i identity.Issuer) bool { return i.ID == id })
		if i < 0 {
			return append(all, next), nil
		}
		// A secret goes nowhere but where it was given for.
		if former := all[i]; next.Secret == "" && !r.Public && former.URL == next.URL && former.Client == next.Client {
			next.Secret = former.Secret
		}
		all[i] = next
		return all, nil
	})
}

func issuerOf(id string, r api.IssuerRequest) identity.Issuer {
	i := identity.Issuer{
		ID: id, Kind: identity.IssuerKind(r.Kind), URL: r.URL, Client: r.Client, Secret: r.Secret, Scopes: r.Scopes,
		NameClaim: r.NameClaim, GroupClaim: r.GroupClaim, Creates: r.Creates, Audiences: r.Audiences, Authority: r.Authority,
	}
	if i.Kind == identity.People && i.NameClaim == "" {
		i.NameClaim = defaultNameClaim
	}
	for _, g := range r.Given {
		given := identity.Given{Group: g.Group, Groups: g.Groups}
		for _, role := range g.Roles {
			given.Roles = append(given.Roles, access.Role(role))
		}
		i.Given = append(i.Given, given)
	}
	return i
}

// RemoveIssuer ends that an issuer's word counts, from the next request on, and for calls
// that wait. Who is linked to it stays so, for if it comes back.
func (e *Engine) RemoveIssuer(ctx context.Context, c Caller, id string, r api.ReasonRequest, idem string) (api.Issuers, error) {
	may := func(c Caller) error { return e.mayIssuers(ctx, c) }
	return e.changeIssuers(ctx, c, change{"", "remove-issuer " + id, idem, r, r.Reason, false}, may, func(all []identity.Issuer) ([]identity.Issuer, error) {
		i := slices.IndexFunc(all, func(i identity.Issuer) bool { return i.ID == id })
		if i < 0 {
			return nil, noSuch("issuer", id)
		}
		return slices.Delete(all, i, i+1), nil
	})
}

// mayIssuers is mayTenant for the tenant's issuers. Whoever names an issuer can be anybody
// whom it may name: that is for who may give the credentials of all of them.
func (e *Engine) mayIssuers(ctx context.Context, c Caller) error {
	if err := e.mayTenant(ctx, c, access.ChangeTenant); err != nil {
		return err
	}
	if err := notMightier(c, identity.APIKey{}); err != nil {
		return err
	}
	if c.Scope.Tenant() == identity.MainTenant { // where Operators may be linked
		if _, err := givable(c, []string{string(access.Operator)}); err != nil {
			return err
		}
	}
	return nil
}

// changeIssuers carries out a change of the tenant's issuers, which leaves an administrator.
func (e *Engine) changeIssuers(ctx context.Context, c Caller, ch change, may func(Caller) error, edit func([]identity.Issuer) ([]identity.Issuer, error)) (api.Issuers, error) {
	var t *tenant
	found, err := e.changed(ctx, c, c.Scope, ch, may, func(c Caller) (amendment, error) {
		var err error
		if t, err = e.openTenant(ctx, c.Scope); err != nil {
			return amendment{}, err
		}
		next, err := edit(slices.Clone(t.Tenant.Issuers))
		if err == nil {
			err = identity.CheckIssuers(next)
		}
		if err != nil {
			return amendment{}, err
		}
		t.Tenant.Issuers = next
		return amendment{of: &t.dossier, kind: tenantChanged, fields: t.Fields()}, e.requireAdministratorOf(ctx, c, t)
	})
	if found && err == nil {
		t, err = e.openTenant(ctx, c.Scope)
	}
	if err != nil {
		return api.Issuers{}, err
	}
	return t.wireIssuers(), nil
}
