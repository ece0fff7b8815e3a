package engine

import (
	"context"
	"math"
	"slices"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/store"
)

// Kinds of leaves in a group's chain.
const (
	groupCreated = "group.created"
	groupChanged = "group.changed" // by a restore, which took its rights
	groupDeleted = "group.deleted"
)

// Groups lists the tenant's groups.
func (e *Engine) Groups(ctx context.Context, c Caller, p Page) (api.Groups, error) {
	return readNow(ctx, e, c, func(c Caller) (api.Groups, error) { return e.groupsAs(ctx, c, p) })
}

func (e *Engine) groupsAs(ctx context.Context, c Caller, p Page) (api.Groups, error) {
	if err := e.may(ctx, c, access.ReadGroup, "group", ""); err != nil {
		return api.Groups{}, err
	}
	limit, err := p.limit()
	if err != nil {
		return api.Groups{}, err
	}
	all, next, err := openPage(ctx, e, c.Scope, store.Group, p, limit, e.openGroup)
	if err != nil {
		return api.Groups{}, err
	}
	out := api.Groups{Items: []api.Group{}, Next: next}
	for _, g := range all {
		if g.State == identity.Active {
			out.Items = append(out.Items, g.wire())
		}
	}
	return out, nil
}

func (g *group) wire() api.Group {
	return api.Group{Name: g.Name, Display: g.Display, Roles: plain(g.Roles), Object: textID(g.id), Leaf: g.head.leaf.String()}
}

// CreateGroup makes a group, or one anew that was deleted.
func (e *Engine) CreateGroup(ctx context.Context, c Caller, r api.GroupRequest, idem string) (api.Group, error) {
	var roles []access.Role
	may := func(c Caller) (err error) {
		roles, err = e.mayCreateGroup(ctx, c, r)
		return err
	}
	return e.changeGroup(ctx, c, change{r.Name, "create-group", idem, r, r.Reason, false}, may, func(c Caller) (*group, amendment, error) {
		g, err := e.newGroup(ctx, c.Scope, r.Name)
		if err != nil {
			return nil, amendment{}, err
		}
		g.Group = identity.Group{Name: r.Name, Display: r.Display, State: identity.Active, Roles: roles}
		return g, amendment{kind: groupCreated}, nil
	})
}

// mayCreateGroup asks for all that a group gives, and returns its roles.
func (e *Engine) mayCreateGroup(ctx context.Context, c Caller, r api.GroupRequest) ([]access.Role, error) {
	if err := e.may(ctx, c, access.CreateGroup, "group", r.Name); err != nil {
		return nil, err
	}
	if len(r.Roles) > 0 {
		if err := e.may(ctx, c, access.GiveRole, "group", r.Name); err != nil {
			return nil, err
		}
	}
	if err := identity.CheckName(r.Name); err != nil {
		return nil, err
	}
	return givable(c, r.Roles)
}

// newGroup returns a group that has no step yet, or one that was deleted.
func (e *Engine) newGroup(ctx context.Context, scope store.Scope, name string) (*group, error) {
	g, err := e.anyGroup(ctx, scope, name)
	switch {
	case fault.Is(err, fault.NotFound):
		d, err := e.newDossier(ctx, scope, store.Group, name)
		return &group{dossier: d}, err
	case err == nil && g.State != identity.Deleted:
		return nil, fault.New(fault.Conflict, "there is a group %q already", name).WithCode("group_exists").WithHint("`underseal groups give` gives it another role, `underseal users join` a member")
	}
	return g, err
}

// DeleteGroup deletes a group that nobody is in, so that nobody is in the next of its
// name. Of many people it takes long to see that, so most of it is done before anybody waits
// for it, such as who revokes one of them.
func (e *Engine) DeleteGroup(ctx context.Context, c Caller, name string, r api.ReasonRequest, idem string) (api.Group, error) {
	looked := map[store.ID]uint64{}
	err := e.may(ctx, c, access.DeleteGroup, string(access.Group), name)
	if err == nil {
		err = e.emptyGroup(ctx, c.Scope, name, looked)
	}
	if err != nil && fault.CodeOf(err) != "group_in_use" { // which a request that is repeated is not told
		return api.Group{}, err
	}
	return e.editGroup(ctx, c, access.DeleteGroup, change{name, "delete-group " + name, idem, r, r.Reason, false}, groupDeleted, func(c Caller, g *group) error {
		g.State, g.Roles, g.Grants = identity.Deleted, nil, nil
		return e.emptyGroup(ctx, c.Scope, name, looked)
	})
}

// emptyGroup requires that nobody is in a group. Of principals it is noted at which step they
// were looked at, and who stands there still is not looked at again.
func (e *Engine) emptyGroup(ctx context.Context, scope store.Scope, name string, looked map[store.ID]uint64) error {
	if err := e.requireAllPinned(ctx, scope, store.Principal); err != nil {
		return err
	}
	pins, err := e.store.PinsOf(ctx, scope, store.Principal, store.ID{}, math.MaxInt32)
	if err != nil {
		return err
	}
	for _, pin := range pins {
		if looked[pin.Object] == pin.Seq {
			continue
		}
		p, err := e.openPrincipal(ctx, scope, pin.Object)
		if err != nil {
			return err
		}
		if slices.Contains(p.Groups, name) {
			return fault.New(fault.Conflict, "user %q is in group %q", p.Name, name).WithCode("group_in_use").
				WithHint("`underseal users leave` ends each membership")
		}
		looked[pin.Object] = pin.Seq
	}
	return nil
}

// GiveGroupRole gives the members of a group a role.
func (e *Engine) GiveGroupRole(ctx context.Context, c Caller, name string, r api.RoleRequest, idem string) (api.Group, error) {
	return e.editGroup(ctx, c, access.GiveRole, change{name, "give-group-role " + name, idem, r, r.Reason, false}, roleGiven, func(c Caller, g *group) error {
		if err := giveRole(c, &g.Roles, r.Role); err != nil {
			return err
		}
		return e.requireAdministratorWith(ctx, c, g)
	})
}

// TakeGroupRole takes a role that a group gives.
func (e *Engine) TakeGroupRole(ctx context.Context, c Caller, name string, r api.RoleRequest, idem string) (api.Group, error) {
	return e.editGroup(ctx, c, access.GiveRole, change{name, "take-group-role " + name, idem, r, r.Reason, false}, roleTaken, func(c Caller, g *group) error {
		if err := takeRole(c, &g.Roles, r.Role); err != nil {
			return err
		}
		return e.requireAdministratorWith(ctx, c, g)
	})
}

// editGroup carries out a change of a group that there is.
func (e *Engine) editGroup(ctx context.Context, c Caller, action access.Action, ch change, kind string, edit func(Caller, *group) error) (api.Group, error) {
	may := func(c Caller) error { return e.may(ctx, c, action, "group", ch.name) }
	return e.changeGroup(ctx, c, ch, may, func(c Caller) (*group, amendment, error) {
		g, err := e.namedGroup(ctx, c.Scope, ch.name)
		if err != nil {
			return nil, amendment{}, err
		}
		return g, amendment{kind: kind}, edit(c, g)
	})
}

// changeGroup is changePrincipal for groups.
func (e *Engine) changeGroup(ctx context.Context, c Caller, ch change, may func(Caller) error,
	edit func(Caller) (*group, amendment, error),
) (api.Group, error) {
	var g *group
	found, err := e.changed(ctx, c, c.Scope, ch, may, func(c Caller) (a amendment, err error) {
		if g, a, err = edit(c); err == nil {
			a.of, a.fields = &g.dossier, g.Fields()
		}
		return a, err
	})
	if found && err == nil {
		g, err = e.anyGroup(ctx, c.Scope, ch.name)
	}
	if err != nil {
		return api.Group{}, err
	}
	return g.wire(), nil
}
