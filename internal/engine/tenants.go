package engine

import (
	"cmp"
	"context"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/store"
)

// Kinds of leaves in the chain of a tenant, which is in its own log.
const (
	tenantCreated  = "tenant.created"
	tenantChanged  = "tenant.changed"
	tenantDisabled = "tenant.disabled"
	tenantEnabled  = "tenant.enabled"
)

// Tenants lists all tenants, for Operators.
func (e *Engine) Tenants(ctx context.Context, c Caller) (api.Tenants, error) {
	return readNow(ctx, e, c, func(c Caller) (api.Tenants, error) { return e.tenantsAs(ctx, c) })
}

func (e *Engine) tenantsAs(ctx context.Context, c Caller) (api.Tenants, error) {
	if err := e.mayOperate(ctx, c, access.ReadTenant, ""); err != nil {
		return api.Tenants{}, err
	}
	names, err := e.store.Keys().Tenants(ctx)
	if err != nil {
		return api.Tenants{}, err
	}
	out := api.Tenants{Items: []api.Tenant{}}
	for _, name := range names {
		t, err := e.openTenant(ctx, e.TenantScope(name))
		if fault.Is(err, fault.NotFound) {
			continue // its keys were made, and a crash came before it
		}
		if err != nil {
			return api.Tenants{}, err
		}
		out.Items = append(out.Items, t.wire())
	}
	return out, nil
}

// mayOperate is may for what only the main tenant's Operators do.
func (e *Engine) mayOperate(ctx context.Context, c Caller, action access.Action, name string) error {
	if err := e.admitted(c.Scope); err != nil {
		return err
	}
	on := access.Resource{Kind: access.Tenant, ID: name, Name: name, Tenant: c.Scope.Tenant()}
	if !e.sees(c, action, on) {
		return e.refuse(ctx, c, action, "tenant", name)
	}
	if c.Scope.Tenant() != identity.MainTenant {
		return fault.New(fault.Denied, "tenants are made and disabled in the tenant %s alone", identity.MainTenant)
	}
	return nil
}

func (t *tenant) wire() api.Tenant {
	out := api.Tenant{Name: t.Name, Display: t.Display, State: string(t.State)}
	if t.Setup != (identity.Link{}) {
		out.SetUp = &t.Setup.Expires
	}
	return out
}

// CreateTenant makes a tenant with keys of its own, and the link that makes its first
// administrator. What the Operator did is in the new tenant's log.
func (e *Engine) CreateTenant(ctx context.Context, c Caller, r api.TenantRequest, idem string) (api.NewTenant, error) {
	may := func(c Caller) error {
		return cmp.Or(e.mayOperate(ctx, c, access.CreateTenant, r.Name), identity.CheckTenantName(r.Name), e.freshPerson(c))
	}
	scope := e.TenantScope(r.Name)
	var t *tenant
	var link string
	_, err := e.changed(ctx, c, scope, change{r.Name, "create-tenant", idem, r, r.Reason, true}, may, func(Caller) (a amendment, err error) {
		if t, err = e.newTenant(ctx, scope); err != nil {
			return a, err
		}
		t.Display, a.kind = r.Display, tenantCreated
		link, err = e.invite(ctx, scope, &t.Setup, &a)
		a.of, a.fields = &t.dossier, t.Fields()
		return a, err
	})
	if err == nil {
		err = e.SettleKeyOrders(ctx) // the tenant's first keys
	}
	if err != nil {
		return api.NewTenant{}, err
	}
	return api.NewTenant{Tenant: t.wire(), Link: link}, nil
}

// newTenant returns a tenant's dossier without a step. Conflict when there is one.
func (e *Engine) newTenant(ctx context.Context, scope store.Scope) (*tenant, error) {
	_, err := e.openTenant(ctx, scope)
	if err == nil {
		return nil, fault.New(fault.Conflict, "there is a tenant %q already", scope.Tenant()).WithCode("tenant_exists").
			WithHint("names are never given twice; `underseal tenants invite` makes another link for one without an administrator")
	}
	if !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	d, err := e.newDossier(ctx, scope, store.Tenant, scope.Tenant())
	if err == nil {
		e.identity.Created(scope.Tenant())
	}
	return &tenant{d, identity.Tenant{Name: scope.Tenant(), State: identity.Active}}, err
}

// InviteAdministrator makes another link for a tenant that has no administrator yet. Once
// somebody used one, an Operator can let nobody in any more.
func (e *Engine) InviteAdministrator(ctx context.Context, c Caller, name string, r api.ReasonRequest, idem string) (api.NewTenant, error) {
	may := func(c Caller) error {
		return cmp.Or(e.mayOperate(ctx, c, access.CreateTenant, name), e.freshPerson(c))
	}
	if err := may(c); err != nil {
		return api.NewTenant{}, err
	}
	if name == identity.MainTenant {
		return api.NewTenant{}, fault.New(fault.Conflict, "administrators of the tenant %s are let in by its own, or by whoever has the server's files", name).
			WithCode("main_tenant")
	}
	var link string
	t, err := e.changeTenant(ctx, c, change{name, "invite-administrator " + name, idem, r, r.Reason, true}, may, func(_ Caller, t *tenant) (amendment, error) {
		a := amendment{kind: tenantChanged}
		people, err := e.hasPeople(ctx, t.scope)
		if err != nil {
			return a, err
		}
		if people {
			return a, fault.New(fault.Conflict, "tenant %q has had an administrator", name).WithCode("tenant_set_up").
				WithHint("its administrators invite others")
		}
		link, err = e.invite(ctx, t.scope, &t.Setup, &a)
		return a, err
	})
	if err != nil {
		return api.NewTenant{}, err
	}
	return api.NewTenant{Tenant: t.wire(), Link: link}, nil
}

// hasPeople reports whether somebody was ever let into a tenant. That a link waits says
// nothing of it: whoever has the server's files makes one at any time.
func (e *Engine) hasPeople(ctx context.Context, scope store.Scope) (bool, error) {
	ids, _, err := e.dossierIDs(ctx, scope, store.Principal, store.ID{}, 1)
	return len(ids) > 0, err
}

// DisableTenant lets nobody of a tenant in any more. Its processes go on, and wait where
// they need somebody.
func (e *Engine) DisableTenant(ctx context.Context, c Caller, name string, r api.ReasonRequest, idem string) (api.Tenant, error) {
	return e.setTenant(ctx, c, change{name, "disable-tenant " + name, idem, r, r.Reason, false}, tenantDisabled, identity.Disabled)
}

// EnableTenant lets a tenant's people in again.
func (e *Engine) EnableTenant(ctx context.Context, c Caller, name string, r api.ReasonRequest, idem string) (api.Tenant, error) {
	return e.setTenant(ctx, c, change{name, "enable-tenant " + name, idem, r, r.Reason, false}, tenantEnabled, identity.Active)
}

func (e *Engine) setTenant(ctx context.Context, c Caller, ch change, kind string, to identity.State) (api.Tenant, error) {
	may := func(c Caller) error { return e.mayOperate(ctx, c, access.DisableTenant, ch.name) }
	if err := may(c); err != nil {
		return api.Tenant{}, err
	}
	if ch.name == identity.MainTenant {
		return api.Tenant{}, fault.New(fault.Conflict, "the tenant %s cannot be disabled: nobody could take it back", ch.name).WithCode("main_tenant")
	}
	t, err := e.changeTenant(ctx, c, ch, may, func(_ Caller, t *tenant) (amendment, error) {
		if t.State == to {
			return amendment{}, already("tenant", ch.name, string(to))
		}
		t.State = to
		t.Ended++
		return amendment{kind: kind}, nil
	})
	if err != nil {
		return api.Tenant{}, err
	}
	return t.wire(), nil
}

// changeTenant carries out a change of a tenant that there is, which is told in its own
// log. Edit gets the caller as they are then.
func (e *Engine) changeTenant(ctx context.Context, c Caller, ch change, may func(Caller) error, edit func(Caller, *tenant) (amendment, error)) (*tenant, error) {
	there, err := e.hasTenant(ctx, ch.name)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, noSuch("tenant", ch.name)
	}
	scope := e.TenantScope(ch.name)
	var t *tenant
	found, err := e.changed(ctx, c, scope, ch, may, func(c Caller) (a amendment, err error) {
		if t, err = e.openTenant(ctx, scope); err != nil {
			if fault.Is(err, fault.NotFound) {
				err = noSuch("tenant", ch.name)
			}
			return a, err
		}
		a, err = edit(c, t)
		a.of, a.fields = &t.dossier, t.Fields()
		return a, err
	})
	if found && err == nil {
		return e.openTenant(ctx, scope)
	}
	return t, err
}
