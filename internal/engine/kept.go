package engine

import (
	"context"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/store"
)

// KeepCheck stores what is to be known of the checks of a tenant after a restart, under
// the tenant's audit key: nobody else can pretend a check, or read what one found.
func (e *Engine) KeepCheck(ctx context.Context, tenant string, state []byte) error {
	scope := e.TenantScope(tenant)
	sealed, err := e.sealText(ctx, scope, e.checkContext(scope), state)
	if err != nil {
		return err
	}
	return e.store.KeepCheck(ctx, scope, sealed)
}

// KeptCheck returns what was kept of the checks of a tenant, nil if nothing was. It is an
// Integrity fault (code "tampered") if no server of this tenant wrote that.
func (e *Engine) KeptCheck(ctx context.Context, tenant string) ([]byte, error) {
	scope := e.TenantScope(tenant)
	sealed, err := e.store.KeptCheck(ctx, scope)
	if err != nil || sealed == nil {
		return nil, err
	}
	state, err := e.openText(ctx, scope, e.checkContext(scope), sealed)
	if fault.Is(err, fault.Integrity) {
		return nil, fault.New(fault.Integrity, "what the server kept of its checks is not what it wrote").WithCode("tampered").WithCause(rowsOf{"checks", err}).
			WithHint("the database was changed behind our back; check everything: underseal fsck --online")
	}
	return state, err
}

func (e *Engine) checkContext(scope store.Scope) envelope.Context {
	return envelope.Context{Deployment: e.deployment, Tenant: scope.Tenant(), Class: "check"}
}

// sealText seals a text of any length under the tenant's audit key, in parts.
func (e *Engine) sealText(ctx context.Context, scope store.Scope, at envelope.Context, text []byte) ([]byte, error) {
	owner, err := e.ring.TenantKey(ctx, scope.Tenant(), keyring.Audit)
	if err != nil {
		return nil, err
	}
	return sealParts(owner, at, text)
}

// openText opens what sealText made. What it did not make is an Integrity fault.
func (e *Engine) openText(ctx context.Context, scope store.Scope, at envelope.Context, sealed []byte) ([]byte, error) {
	parts, id, err := splitParts(sealed)
	if err != nil {
		return nil, err
	}
	owner, err := e.ring.PurposeKey(ctx, scope.Tenant(), keyring.Audit, id)
	if err != nil {
		return nil, err
	}
	return openParts(owner, at, parts)
}
