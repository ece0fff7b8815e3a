package engine

import (
	"context"
	"slices"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/store"
)

// operator is who acts on the server's machine, with its files.
const operator = "operator"

// NewSetupLink makes the link that makes an administrator of a tenant; the one before
// ends. The main tenant is made if there is none, any other is NotFound, or a Conflict
// when it is disabled. It is for whoever has the server's files, and asks nobody: the
// tenant's own log has it.
func (e *Engine) NewSetupLink(ctx context.Context, name string) (api.NewTenant, error) {
	scope := e.TenantScope(name)
	defer e.people.change(scope, scope)()
	t, kind, err := e.tenantToSetUp(ctx, name)
	if err != nil {
		return api.NewTenant{}, err
	}
	a := amendment{kind: kind}
	link, err := e.invite(ctx, t.scope, &t.Setup, &a)
	if err != nil {
		return api.NewTenant{}, err
	}
	if err := e.SettleKeyOrders(ctx); err != nil { // the tenant's keys may have been made just now
		return api.NewTenant{}, err
	}
	a.of, a.fields = &t.dossier, t.Fields()
	err = e.amend(ctx, t.scope, amender{act: "admin", actor: actorOf(Caller{Principal: operator})}, a)
	if err != nil {
		return api.NewTenant{}, err
	}
	return api.NewTenant{Tenant: t.wire(), Link: link}, nil
}

// tenantToSetUp opens the tenant that gets a link, or makes the main tenant, and returns
// the kind of the leaf that says so.
func (e *Engine) tenantToSetUp(ctx context.Context, name string) (*tenant, string, error) {
	there, err := e.hasTenant(ctx, name)
	if err != nil {
		return nil, "", err
	}
	var t *tenant
	if there {
		t, err = e.openTenant(ctx, e.TenantScope(name))
	}
	none := !there || fault.Is(err, fault.NotFound) // or its keys were made, and a crash came before it
	switch {
	case none && name == identity.MainTenant:
		t, err = e.newTenant(ctx, e.TenantScope(name))
		return t, tenantCreated, err
	case none:
		return nil, "", noSuch("tenant", name)
	case err != nil:
		return nil, "", err
	case t.State != identity.Active:
		return nil, "", fault.New(fault.Conflict, "tenant %q is disabled, so a link would let nobody in", name).WithCode("tenant_disabled").
			WithHint("an Operator enables it first: underseal tenants enable %s", name)
	}
	return t, tenantChanged, nil
}

func (e *Engine) hasTenant(ctx context.Context, name string) (bool, error) {
	names, err := e.store.Keys().Tenants(ctx)
	return slices.Contains(names, name), err
}

// AwaitsSetup reports whether nobody of the main tenant was let in yet, and until when
// its setup link counts; zero: there is none.
func (e *Engine) AwaitsSetup(ctx context.Context) (until time.Time, awaits bool, err error) {
	there, err := e.hasTenant(ctx, identity.MainTenant)
	if err != nil || !there {
		return until, !there, err
	}
	scope := e.TenantScope(identity.MainTenant)
	people, err := e.store.Principals(ctx, scope, store.ID{}, 1)
	if err != nil || len(people) > 0 {
		return until, false, err
	}
	t, err := e.openTenant(ctx, scope)
	if fault.Is(err, fault.NotFound) {
		return until, true, nil
	}
	if err != nil {
		return until, false, err
	}
	return t.Setup.Expires, true, nil
}

// Setup uses a link, once: that of an invited user makes the user active, that of a tenant
// makes its administrator, whom the request names. Each gets an API key or, if the request
// has one, a password. Whatever is wrong
// with a link, the answer is the same.
func (e *Engine) Setup(ctx context.Context, r api.SetupRequest, address string) (api.SetupDone, error) {
	done, err := e.setUp(ctx, r, address)
	if done.Ended {
		e.endLeases(ctx, e.TenantScope(done.Tenant))
	}
	if fault.CodeOf(err) == "unauthenticated" {
		tenant, _ := identity.LinkText.Tenant(r.Link)
		e.strangeAt(ctx, tenant, address)
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
	// Whoever has no link of the tenant keeps nobody of it waiting.
	p, err := e.invited(ctx, scope, token, r.Name, address)
	if err != nil {
		return api.SetupDone{}, err
	}
	kept := ""
	if r.Password != "" { // a hash takes long, so nothing waits for it
		if kept, err = e.keep(ctx, p, r.Password); err != nil {
			return api.SetupDone{}, err
		}
	}
	defer e.people.change(scope, scope)()
	row, err := e.linkRow(ctx, scope, token)
	if err != nil {
		return api.SetupDone{}, err
	}
	t, err := e.openTenant(ctx, scope)
	if err != nil {
		return api.SetupDone{}, err
	}
	switch {
	case t.State != identity.Active:
		return api.SetupDone{}, badLink()
	case row.Object == t.id:
		return e.setUpAdministrator(ctx, t, token, r.Name, kept, address)
	}
	return e.activate(ctx, t, row.Object, token, kept, address)
}

// invited returns who uses a link, before anything of theirs is hashed: the person who was
// invited, who comes from where they may, or, by the tenant's own link and from anywhere,
// the administrator whom the request names. Whether the link counts is asked when it is used.
func (e *Engine) invited(ctx context.Context, scope store.Scope, token [32]byte, name, address string) (*principal, error) {
	row, err := e.linkRow(ctx, scope, token)
	if err != nil {
		return nil, err
	}
	tenant, err := e.dossierID(ctx, scope, store.Tenant, scope.Tenant())
	if err != nil {
		return nil, err
	}
	if row.Object == tenant {
		return &principal{dossier{object: object{scope: scope}}, identity.Principal{Name: name}}, nil
	}
	rules, err := e.knownRules(ctx, scope)
	if err != nil {
		return nil, err
	}
	p, err := e.openPrincipal(ctx, scope, row.Object)
	if fault.Is(err, fault.NotFound) {
		err = badLink()
	}
	if err != nil {
		return nil, err
	}
	return p, e.mayCome(ctx, &rules.Tenant, p, address)
}

// mayCome requires that whoever uses a link may come from an address, with the roles that
// they have.
func (e *Engine) mayCome(ctx context.Context, t *identity.Tenant, p *principal, address string) error {
	roles, err := e.rolesOf(ctx, p)
	if err == nil && !t.Networks.Allow(roles, address) {
		err = badLink()
	}
	return err
}

// linkRow returns where a link leads.
func (e *Engine) linkRow(ctx context.Context, scope store.Scope, token [32]byte) (store.Credential, error) {
	row, err := e.store.Credential(ctx, scope, token)
	if fault.Is(err, fault.NotFound) {
		err = badLink()
	}
	return row, err
}

func badLink() error {
	return fault.New(fault.Denied, "the link is malformed, used, expired or unknown").WithCode("unauthenticated").
		WithHint("a link counts once and for 24 hours; whoever made it can make another")
}

// activate uses the link of an invited user, or of one who sets another password.
func (e *Engine) activate(ctx context.Context, t *tenant, id store.ID, token [32]byte, kept, address string) (api.SetupDone, error) {
	p, err := e.openPrincipal(ctx, t.scope, id)
	if fault.Is(err, fault.NotFound) || err == nil && (!p.Invitation.Redeems(token, e.moment()) || p.State == identity.Disabled) {
		return api.SetupDone{}, badLink()
	}
	if err == nil {
		err = e.mayCome(ctx, &t.Tenant, p, address)
	}
	if err != nil {
		return api.SetupDone{}, err
	}
	a := amendment{kind: principalActivated}
	if p.State == identity.Active {
		if a.kind = passwordSet; kept == "" {
			return api.SetupDone{}, fault.New(fault.Invalid, "the link sets a password, and none was given").WithCode("password_required")
		}
	}
	withdraw(&p.Invitation, &a)
	p.State = identity.Active
	return e.letIn(ctx, p, a, kept, address)
}

// setUpAdministrator uses a tenant's link. Where somebody of that name is there already,
// they become administrator, and all that admitted them before ends: an issuer may have made
// that principal for somebody else, or it is why the link was needed.
func (e *Engine) setUpAdministrator(ctx context.Context, t *tenant, token [32]byte, name, kept, address string) (api.SetupDone, error) {
	if !t.Setup.Redeems(token, e.moment()) {
		return api.SetupDone{}, badLink()
	}
	if err := identity.CheckPrincipalName(name); err != nil {
		return api.SetupDone{}, err
	}
	a := amendment{kind: principalActivated}
	p, err := e.namedPrincipal(ctx, t.scope, name)
	there := err == nil
	switch {
	case there:
		err = e.startAnew(ctx, p, &a)
	case fault.Is(err, fault.NotFound):
		if p, err = e.newPrincipal(ctx, t.scope, name); err == nil {
			p.Kind = access.User
		}
	}
	if err != nil {
		return api.SetupDone{}, err
	}
	p.State, p.Roles = identity.Active, firstRoles(t.scope, p.Roles)
	used, err := e.useSetup(ctx, t, p, address)
	if err != nil {
		return api.SetupDone{}, err
	}
	done, err := e.letIn(ctx, p, a, kept, address, used)
	done.Ended = there && err == nil
	return done, err
}

// startAnew ends all that admits a person, and says so in their step.
func (e *Engine) startAnew(ctx context.Context, p *principal, a *amendment) (err error) {
	if p.Kind != access.User {
		return fault.New(fault.Conflict, "%s is a program, and a link makes a person administrator", p.Name).WithCode("no_person").
			WithHint("the link counts still: use it with another name")
	}
	if a.signers, err = e.revokedKeys(ctx, p, p.Passkeys...); err != nil {
		return err
	}
	p.disable(a)
	p.endWays(a, e.moment())
	a.facts = append(a.facts, fieldWrite{path: "$reason", value: canon.String(startedAnew), label: confidential, fact: true})
	return nil
}

// startedAnew is the reason in the log of who was there when a tenant's link was used.
const startedAnew = "a setup link was used: what admitted this user before has ended"

// useSetup ends a tenant's link, and lifts its networks if they would keep out whom the
// link lets in.
func (e *Engine) useSetup(ctx context.Context, t *tenant, p *principal, address string) (amendment, error) {
	a := amendment{kind: tenantChanged}
	roles, err := e.rolesOf(ctx, p)
	if !t.Networks.Allow(roles, address) {
		a, t.Networks = settingSet("networks"), identity.Networks{}
	}
	withdraw(&t.Setup, &a)
	a.of, a.fields = &t.dossier, t.Fields()
	return a, err
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

// letIn gives a principal who used a link the first API key or, where they brought one, a
// password.
func (e *Engine) letIn(ctx context.Context, p *principal, a amendment, kept, address string, more ...amendment) (api.SetupDone, error) {
	done := api.SetupDone{Tenant: p.scope.Tenant(), User: p.Name}
	if kept != "" {
		p.setPassword(kept, &a)
	} else {
		var err error
		if done.Key, err = e.addKey(ctx, p, identity.APIKey{Name: "setup"}, &a); err != nil {
			return api.SetupDone{}, err
		}
	}
	a.of, a.fields = &p.dossier, p.Fields()
	by := amender{act: "user", actor: actorOf(Caller{Principal: p.Name, Address: address})}
	if err := e.amend(ctx, p.scope, by, append([]amendment{a}, more...)...); err != nil {
		return api.SetupDone{}, err
	}
	return done, nil
}
