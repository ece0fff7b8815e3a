package engine

import (
	"context"
	"slices"

	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/store"
)

// dossier checks a principal, a group or a tenant, and that exactly its credentials lead
// to it. The check looks again by itself before it tells of anything, so no read of its own
// raises the alarm.
func (c *Check) dossier(ctx context.Context, head store.HeadRow) error {
	read, err := c.e.readDossier(ctx, c.scope, head.Object, head.Kind)
	if err != nil {
		return err
	}
	var d *dossier
	var tokens [][32]byte
	link := func(l identity.Link) {
		if l != (identity.Link{}) {
			tokens = append(tokens, l.Token)
		}
	}
	switch head.Kind {
	case store.Principal:
		p, err := c.e.parsedPrincipal(ctx, read)
		if err != nil {
			return err
		}
		for _, k := range p.Keys {
			tokens = append(tokens, k.Token)
		}
		for _, f := range p.Federated {
			tokens = append(tokens, f.Token)
		}
		link(p.Invitation)
		d = &p.dossier
	case store.Tenant:
		t, err := c.e.parsedTenant(ctx, read)
		if err != nil {
			return err
		}
		if t.Name != c.scope.Tenant() {
			return t.tampered("is another one than the tenant's own")
		}
		link(t.Setup)
		for _, p := range t.Proposals {
			if _, err := c.e.proposedFiles(ctx, t, &p); err != nil {
				return err
			}
		}
		d = &t.dossier
	default:
		g, err := c.e.parsedGroup(ctx, read)
		if err != nil {
			return err
		}
		d = &g.dossier
	}
	if err := c.credentials(ctx, d, tokens); err != nil {
		return err
	}
	return c.requestsOf(ctx, &d.object)
}

func (c *Check) credentials(ctx context.Context, d *dossier, tokens [][32]byte) error {
	rows, err := c.e.store.CredentialsOf(ctx, c.scope, d.id)
	if err != nil {
		return err
	}
	for _, token := range tokens {
		if !slices.ContainsFunc(rows, func(r store.Credential) bool { return r.Token == token }) {
			c.tampered(FoundToken, "credentials", d.id, 0, "the row of a credential of the %s is gone: it admits nobody", d.kind)
		}
	}
	for _, r := range rows {
		if !slices.Contains(tokens, r.Token) {
			c.tampered(FoundToken, "credentials", d.id, 0, "a credential leads to the %s that is none of its", d.kind)
		}
	}
	return nil
}
