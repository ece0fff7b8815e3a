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
		withdraw(&p.Invitation, &a)
		for _, key := range p.Keys { // one of them may have been revoked
			a.ended = append(a.ended, key.Token)
		}
		for _, f := range p.Federated {
			a.ended = append(a.ended, f.Token)
		}
		p.State, p.Keys, p.Federated, p.Password = identity.Disabled, nil, nil, "" // which may have been another, too
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
		t.Issuers = nil // one of them may have been removed
		if t.Name != identity.MainTenant {
			a.kind, t.State = tenantDisabled, identity.Disabled
		}
		a.fields = t.Fields()
	}
	return a, nil
}
