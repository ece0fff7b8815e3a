package engine

import (
	"context"

	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/store"
)

// lostSteps is why rights end that restored data have.
const lostSteps = "a restore has lost steps, by which rights may have been taken away"

// endRightsOf ends what a principal, a group or a tenant may that lost steps. People give
// it back, after they looked; whoever has the server's files makes a link for the first of
// them.
func (e *Engine) endRightsOf(ctx context.Context, scope store.Scope, b behindPin) error {
	defer e.people.change(scope, scope)()
	a, err := e.withoutRights(ctx, scope, b)
	if err != nil || a.of == nil {
		return err
	}
	return e.amend(ctx, scope, amender{act: "engine", actor: engineActor, reason: lostSteps}, a)
}

// withoutRights returns the step that ends rights; of nothing: there are none.
func (e *Engine) withoutRights(ctx context.Context, scope store.Scope, b behindPin) (a amendment, err error) {
	switch b.pin.Kind {
	case store.Principal:
		p, err := e.openPrincipal(ctx, scope, b.pin.Object)
		if err != nil {
			return a, err
		}
		a.of, a.kind = &p.dossier, principalDisabled
		if a.signers, err = e.revokedKeys(ctx, p, p.Passkeys...); err != nil {
			return a, err
		}
		p.disable(&a)
		p.endWays(&a, e.moment()) // one of them may have been revoked, or another
		a.fields = p.Fields()
	case store.Group:
		g, err := e.openGroup(ctx, scope, b.pin.Object)
		if err != nil {
			return a, err
		}
		a.of, a.kind = &g.dossier, groupChanged
		g.Roles, g.Grants = nil, nil
		a.fields = g.Fields()
	case store.Tenant:
		t, err := e.openTenant(ctx, scope)
		if err != nil {
			return a, err
		}
		a.of, a.kind = &t.dossier, tenantChanged
		withdraw(&t.Setup, &a)
		t.Issuers, t.BreakGlass = nil, nil // one of them may have been removed, or ended
		if t.Name != identity.MainTenant {
			a.kind, t.State = tenantDisabled, identity.Disabled
		}
		a.fields = t.Fields()
	}
	return a, nil
}
