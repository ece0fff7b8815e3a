package engine

import (
	"context"
	"slices"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/store"
)

// operator is who acts on the server's machine, with its files.
const operator = "operator"

// NewSetupLink makes the link that makes an administrator of the main tenant, and the
// tenant if there is none; the link before ends. It is for whoever has the server's
// files, and asks nobody.
func (e *Engine) NewSetupLink(ctx context.Context) (string, error) {
	scope := e.TenantScope(identity.MainTenant)
	e.people.changing.Lock()
	defer e.people.changing.Unlock()
	a := amendment{kind: tenantChanged}
	t, err := e.openTenant(ctx, scope)
	if fault.Is(err, fault.NotFound) {
		a.kind = tenantCreated
		t, err = e.newTenant(ctx, scope)
	}
	if err != nil {
		return "", err
	}
	link, err := e.invite(ctx, scope, &t.Setup, &a)
	if err != nil {
		return "", err
	}
	if err := e.SettleKeyOrders(ctx); err != nil { // the tenant's keys may have been made just now
		return "", err
	}
	a.of, a.fields = &t.dossier, t.Fields()
	return link, e.amend(ctx, scope, amender{act: "admin", actor: actorOf(Caller{Principal: operator})}, a)
}

// Setup uses a link, once: that of an invited user makes the user active, that of a tenant
// makes its administrator, whom the request names. Each gets an API key. Whatever is wrong
// with a link, the answer is the same.
func (e *Engine) Setup(ctx context.Context, r api.SetupRequest, address string) (api.SetupDone, error) {
	done, err := e.setUp(ctx, r, address)
	if fault.CodeOf(err) == "unauthenticated" {
		e.strange(ctx, address)
	}
	return done, err
}

func (e *Engine) setUp(ctx context.Context, r api.SetupRequest, address string) (api.SetupDone, error) {
	scope, token, found, err := e.identity.Find(ctx, identity.LinkText, r.Link)
	if err != nil {
		return api.SetupDone{}, err
	}
	if !found {
		return api.SetupDone{}, badLink()
	}
	e.people.changing.Lock()
	defer e.people.changing.Unlock()
	row, err := e.store.Credential(ctx, scope, token)
	if fault.Is(err, fault.NotFound) {
		return api.SetupDone{}, badLink()
	}
	if err != nil {
		return api.SetupDone{}, err
	}
	t, err := e.openTenant(ctx, scope)
	if err != nil {
		return api.SetupDone{}, err
	}
	if t.State != identity.Active {
		return api.SetupDone{}, badLink()
	}
	if row.Object == t.id {
		return e.setUpAdministrator(ctx, t, token, r.Name, address)
	}
	return e.activate(ctx, scope, row.Object, token, address)
}

func badLink() error {
	return fault.New(fault.Denied, "the link is malformed, used, expired or unknown").WithCode("unauthenticated").
		WithHint("a link counts once and for 24 hours; whoever made it can make another")
}

// activate uses the link of an invited user.
func (e *Engine) activate(ctx context.Context, scope store.Scope, id store.ID, token [32]byte, address string) (api.SetupDone, error) {
	p, err := e.openPrincipal(ctx, scope, id)
	if fault.Is(err, fault.NotFound) || err == nil && (!p.Invitation.Redeems(token, e.moment()) || p.State != identity.Invited) {
		return api.SetupDone{}, badLink()
	}
	if err != nil {
		return api.SetupDone{}, err
	}
	a := amendment{kind: principalActivated}
	withdraw(&p.Invitation, &a)
	p.State = identity.Active
	return e.letIn(ctx, p, a, address)
}

// setUpAdministrator uses a tenant's link. Somebody of that name who is there already
// gets everything back: the link is from whoever has the server's files, or there is
// nobody yet.
func (e *Engine) setUpAdministrator(ctx context.Context, t *tenant, token [32]byte, name, address string) (api.SetupDone, error) {
	if !t.Setup.Redeems(token, e.moment()) {
		return api.SetupDone{}, badLink()
	}
	if err := identity.CheckName(name); err != nil {
		return api.SetupDone{}, err
	}
	used := amendment{of: &t.dossier, kind: tenantChanged}
	withdraw(&t.Setup, &used)
	used.fields = t.Fields()
	p, err := e.namedPrincipal(ctx, t.scope, name)
	if fault.Is(err, fault.NotFound) {
		if p, err = e.newPrincipal(ctx, t.scope, name); err == nil {
			p.Kind = access.User
		}
	}
	if err != nil {
		return api.SetupDone{}, err
	}
	a := amendment{kind: principalActivated}
	withdraw(&p.Invitation, &a)
	p.State, p.Roles = identity.Active, firstRoles(t.scope, p.Roles)
	return e.letIn(ctx, p, a, address, used)
}

// firstRoles adds those of a first administrator to the roles that somebody has.
func firstRoles(scope store.Scope, has []access.Role) []access.Role {
	roles := slices.Clone(has)
	for _, r := range []access.Role{access.Admin, access.Designer, access.Executor, access.Viewer, access.Operator} {
		if !slices.Contains(roles, r) && (r != access.Operator || scope.Tenant() == identity.MainTenant) {
			roles = append(roles, r)
		}
	}
	return roles
}

// letIn gives a principal who used a link the first API key.
func (e *Engine) letIn(ctx context.Context, p *principal, a amendment, address string, more ...amendment) (api.SetupDone, error) {
	key, err := e.addKey(ctx, p, identity.APIKey{Name: "setup"}, &a)
	if err != nil {
		return api.SetupDone{}, err
	}
	a.of, a.fields = &p.dossier, p.Fields()
	by := amender{act: "user", actor: actorOf(Caller{Principal: p.Name, Address: address})}
	if err := e.amend(ctx, p.scope, by, append([]amendment{a}, more...)...); err != nil {
		return api.SetupDone{}, err
	}
	return api.SetupDone{Tenant: p.scope.Tenant(), User: p.Name, Key: key}, nil
}
