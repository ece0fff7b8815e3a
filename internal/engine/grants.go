package engine

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
)

// Kinds of leaves about grants, in the chain of whom they are given to.
const (
	grantGiven   = "grant.given"
	grantRevoked = "grant.revoked"
)

// GiveGrant gives a grant to a user or to the members of a group.
func (e *Engine) GiveGrant(ctx context.Context, c Caller, r api.GrantRequest, idem string) (api.GivenGrant, error) {
	g, err := e.giveGrant(ctx, c, r, idem)
	if err != nil {
		return api.GivenGrant{}, err
	}
	return api.GivenGrant{Grant: g, Notes: e.notesOn(ctx, c, grantOf(r))}, nil
}

func (e *Engine) giveGrant(ctx context.Context, c Caller, r api.GrantRequest, idem string) (api.Grant, error) {
	may := func(c Caller) error { return e.mayOwn(ctx, c, access.GiveGrant, "grant", "", r.User) }
	if err := may(c); err != nil {
		return api.Grant{}, err
	}
	if (r.User == "") == (r.Group == "") {
		return api.Grant{}, fault.New(fault.Invalid, "a grant is given to a user or to a group").WithCode("invalid_grant")
	}
	g := grantOf(r)
	ch := change{r.User + r.Group, "give-grant", idem, r, r.Reason, false}
	add := func(d *dossier, grants *[]access.Grant) error {
		if g.ID == "" { // else it was found by the idempotency key
			g.ID = refText(d.id, d.head.seq+1)
		}
		if err := g.Validate(); err != nil {
			return err
		}
		if !g.Expires.IsZero() && !g.Expires.After(e.moment()) {
			return fault.New(fault.Invalid, "the grant would have expired at %s already", formatTime(g.Expires)).WithCode("invalid_grant")
		}
		if len(*grants) >= access.MaxGrants {
			return fault.New(fault.Invalid, "%q has %d grants; more are not possible", ch.name, len(*grants)).WithCode("too_many_grants").
				WithHint("give it to a group, or revoke some")
		}
		*grants = append(slices.Clone(*grants), g)
		return nil
	}
	found, err := e.changeHolder(ctx, c, ch, may, r.Group != "", grantGiven, add)
	if err != nil {
		return api.Grant{}, err
	}
	if found {
		return e.grantAgain(ctx, c, ch, r)
	}
	return wireGrant(g, r.User, r.Group), nil
}

// grantAgain returns the grant that an earlier request with the same key gave.
func (e *Engine) grantAgain(ctx context.Context, c Caller, ch change, r api.GrantRequest) (api.Grant, error) {
	again, err := e.request(ctx, c, ch.operation, ch.idem, ch.body)
	if err != nil {
		return api.Grant{}, err
	}
	earlier, _, err := e.repeated(ctx, c.Scope, again)
	if err != nil {
		return api.Grant{}, err
	}
	id, err := store.ParseID(earlier.Instance)
	g := grantOf(r)
	g.ID = refText(id, earlier.Seq)
	return wireGrant(g, r.User, r.Group), err
}

func grantOf(r api.GrantRequest) access.Grant {
	g := access.Grant{Right: access.Right(r.Right), Process: r.Process, Task: r.Task, Fields: r.Fields, Name: r.Name, Purpose: r.Purpose}
	if r.Where != nil {
		g.Where = &access.Where{Path: r.Where.Path, Value: r.Where.Value}
	}
	if r.Expires != nil {
		g.Expires = r.Expires.UTC().Truncate(time.Microsecond)
	}
	return g
}

// RevokeGrant ends a grant.
func (e *Engine) RevokeGrant(ctx context.Context, c Caller, id string, r api.ReasonRequest, idem string) (api.Grant, error) {
	may := func(c Caller) error {
		owner, err := e.ownerOfPart(ctx, c, id)
		return cmp.Or(err, e.mayOwn(ctx, c, access.RevokeGrant, "grant", id, owner))
	}
	if err := may(c); err != nil {
		return api.Grant{}, err
	}
	ref, err := parseRef("grant", id)
	if err != nil {
		return api.Grant{}, err
	}
	name, inGroup, err := e.holder(ctx, c.Scope, ref.Instance)
	if fault.Is(err, fault.NotFound) {
		return api.Grant{}, noSuch("grant", id)
	}
	if err != nil {
		return api.Grant{}, err
	}
	revoked := api.Grant{ID: id}
	_, err = e.changeHolder(ctx, c, change{name, "revoke-grant " + id, idem, r, r.Reason, false}, may, inGroup, grantRevoked,
		func(_ *dossier, grants *[]access.Grant) error {
			i := slices.IndexFunc(*grants, func(g access.Grant) bool { return g.ID == id })
			if i < 0 {
				return noSuch("grant", id)
			}
			user, group := holderNames(name, inGroup)
			revoked = wireGrant((*grants)[i], user, group)
			*grants = slices.Delete(slices.Clone(*grants), i, i+1)
			return nil
		})
	return revoked, err
}

func holderNames(name string, inGroup bool) (user, group string) {
	if inGroup {
		return "", name
	}
	return name, ""
}

// holder returns whose dossier an id is: a principal's or a group's.
func (e *Engine) holder(ctx context.Context, scope store.Scope, id store.ID) (name string, inGroup bool, err error) {
	p, err := e.openPrincipal(ctx, scope, id)
	if err == nil {
		return p.Name, false, nil
	}
	if !fault.Is(err, fault.NotFound) {
		return "", false, err
	}
	g, err := e.openGroup(ctx, scope, id)
	if err != nil {
		return "", false, err
	}
	return g.Name, true, nil
}

// changeHolder carries out a change of the grants of a principal or a group.
func (e *Engine) changeHolder(ctx context.Context, c Caller, ch change, may func(Caller) error, inGroup bool, kind string,
	edit func(*dossier, *[]access.Grant) error,
) (found bool, err error) {
	return e.changed(ctx, c, c.Scope, ch, may, func(c Caller) (amendment, error) {
		if inGroup {
			g, err := e.namedGroup(ctx, c.Scope, ch.name)
			if err == nil {
				err = edit(&g.dossier, &g.Grants)
			}
			if err != nil {
				return amendment{}, err
			}
			return amendment{of: &g.dossier, kind: kind, fields: g.Fields()}, nil
		}
		p, err := e.namedPrincipal(ctx, c.Scope, ch.name)
		if err == nil {
			err = edit(&p.dossier, &p.Grants)
		}
		if err != nil {
			return amendment{}, err
		}
		return amendment{of: &p.dossier, kind: kind, fields: p.Fields()}, nil
	})
}

// GrantsOf selects grants: those of a user, of a group, or all.
type GrantsOf struct{ User, Group string }

// Grants lists grants, also those that are expired.
func (e *Engine) Grants(ctx context.Context, c Caller, of GrantsOf, p Page) (api.Grants, error) {
	return readNow(ctx, e, c, func(c Caller) (api.Grants, error) { return e.grantsAs(ctx, c, of, p) })
}

func (e *Engine) grantsAs(ctx context.Context, c Caller, of GrantsOf, p Page) (api.Grants, error) {
	if err := e.mayOwn(ctx, c, access.ReadGrant, "grant", "", of.User); err != nil {
		return api.Grants{}, err
	}
	limit, err := p.limit()
	if err != nil {
		return api.Grants{}, err
	}
	list := owned[api.Grant]{kinds: []store.Kind{store.Group, store.Principal}, id: func(g *api.Grant) string { return g.ID }}
	list.of = func(ctx context.Context, kind store.Kind, id store.ID) ([]api.Grant, error) {
		return e.grantsOf(ctx, c.Scope, kind, id)
	}
	switch {
	case of.User != "":
		who, err := e.namedPrincipal(ctx, c.Scope, of.User)
		if err != nil {
			return api.Grants{}, err
		}
		list.kinds, list.only = []store.Kind{store.Principal}, who.id
	case of.Group != "":
		g, err := e.namedGroup(ctx, c.Scope, of.Group)
		if err != nil {
			return api.Grants{}, err
		}
		list.kinds, list.only = []store.Kind{store.Group}, g.id
	}
	items, next, err := ownedPage(ctx, e, c.Scope, p, limit, list)
	return api.Grants{Items: items, Next: next}, err
}

// grantsOf returns the grants of a principal or a group.
func (e *Engine) grantsOf(ctx context.Context, scope store.Scope, kind store.Kind, id store.ID) ([]api.Grant, error) {
	if kind == store.Group {
		g, err := e.openGroup(ctx, scope, id)
		if err != nil {
			return nil, err
		}
		return wireGrantsOf(g.Grants, "", g.Name), nil
	}
	p, err := e.openPrincipal(ctx, scope, id)
	if err != nil {
		return nil, err
	}
	return wireGrantsOf(p.Grants, p.Name, ""), nil
}

// wireGrants shows grants of whom they are given to, who knows that.
func wireGrants(grants []access.Grant) []api.Grant { return wireGrantsOf(grants, "", "") }

func wireGrantsOf(grants []access.Grant, user, group string) []api.Grant {
	out := make([]api.Grant, len(grants))
	for i, g := range grants {
		out[i] = wireGrant(g, user, group)
	}
	return out
}

func wireGrant(g access.Grant, user, group string) api.Grant {
	out := api.Grant{
		ID: g.ID, User: user, Group: group, Right: string(g.Right), Process: g.Process, Instance: g.Instance, Task: g.Task,
		Fields: g.Fields, Name: g.Name, Purpose: g.Purpose, Expires: optional(g.Expires),
	}
	if g.Where != nil {
		out.Where = &api.Where{Path: g.Where.Path, Value: g.Where.Value}
	}
	return out
}

// optional returns nil for the zero time.
func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
