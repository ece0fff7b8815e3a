package engine

import (
	"context"
	"net/netip"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/store"
)

func (p *people) rulesOf(scope store.Scope) *identity.Rules {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.rules[scope.Tenant()]
}

// rulesOf returns what holds for everybody of a tenant. The caller holds its
// lock.
func (e *Engine) rulesOf(ctx context.Context, scope store.Scope) (*identity.Rules, error) {
	if r := e.people.rulesOf(scope); r != nil {
		return r, nil
	}
	t, err := e.openTenant(ctx, scope)
	if err != nil {
		return nil, err
	}
	r, err := e.rules(t.Tenant)
	if err != nil {
		return nil, t.tampered("has policies that cannot be read").WithCause(err)
	}
	e.people.mu.Lock()
	defer e.people.mu.Unlock()
	if e.people.rules == nil {
		e.people.rules = map[string]*identity.Rules{}
	}
	e.people.rules[scope.Tenant()] = r
	return r, nil
}

// knownRules is rulesOf for who does not hold the tenant's lock.
func (e *Engine) knownRules(ctx context.Context, scope store.Scope) (*identity.Rules, error) {
	if r := e.people.rulesOf(scope); r != nil {
		return r, nil
	}
	lock := e.people.changing.of(scope)
	lock.RLock()
	defer lock.RUnlock()
	return e.rulesOf(ctx, scope)
}

// rules adds a tenant's own policies to the built-in ones.
func (e *Engine) rules(t identity.Tenant) (*identity.Rules, error) {
	if t.Policies == "" {
		return &identity.Rules{Tenant: t, Policies: e.policies}, nil
	}
	own, err := e.policies.ParseTenantPolicies(t.Policies)
	if err != nil {
		return nil, err
	}
	return &identity.Rules{Tenant: t, Policies: e.policies.With(own)}, nil
}

// fromTenant reports whether a tenant's people may come from an address: what is asked
// before it is looked for whose a credential is.
func (e *Engine) fromTenant(ctx context.Context, scope store.Scope, address string) (bool, error) {
	r, err := e.knownRules(ctx, scope)
	if fault.Is(err, fault.NotFound) { // its keys were made, and a crash came before it
		return false, nil
	}
	if err != nil {
		return false, err
	}
	from, _ := netip.ParseAddr(address)
	return r.Tenant.Networks.All.Allows(from), nil
}

// comesFrom requires that a tenant's people may come from an address, before it is looked
// for whose a credential is. One from elsewhere is looked for where nobody has it, as one of
// no tenant is: the time does not say which tenants there are.
func (e *Engine) comesFrom(ctx context.Context, scope store.Scope, kind identity.Credential, token [32]byte, address string) error {
	from, err := e.fromTenant(ctx, scope, address)
	if err != nil || from {
		return err
	}
	if nowhere := e.TenantScope(identity.MainTenant); kind == identity.SessionText {
		_, err = e.store.Session(ctx, nowhere, token)
	} else {
		_, err = e.store.Credential(ctx, nowhere, token)
	}
	if err == nil || fault.Is(err, fault.NotFound) {
		err = identity.Unauthenticated()
	}
	return err
}
