package engine

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/store"
)

// Kinds of leaves in a principal's chain; those of roles are in groups' chains, too.
const (
	principalInvited   = "principal.invited"
	principalActivated = "principal.activated"
	principalChanged   = "principal.changed"
	principalDisabled  = "principal.disabled"
	principalEnabled   = "principal.enabled"
	roleGiven          = "role.given"
	roleTaken          = "role.taken"
	groupJoined        = "group.joined"
	groupLeft          = "group.left"
)

// linkAge is how long a link counts.
const linkAge = 24 * time.Hour

// maxMemberships bounds in how many groups a principal is.
const maxMemberships = 100

// Me says who the caller is, and what they have. Everybody may know that.
func (e *Engine) Me(ctx context.Context, c Caller) (api.Me, error) {
	return readNow(ctx, e, c, func(c Caller) (api.Me, error) { return e.meAs(ctx, c) })
}

func (e *Engine) meAs(_ context.Context, c Caller) (api.Me, error) {
	who := c.Who.Principal()
	return api.Me{
		Tenant: who.Tenant, User: who.Name, Kind: who.Kind, Roles: plain(who.Roles), Groups: who.Groups,
		Grants: wireGrants(who.Grants), Key: c.Key, Scopes: plain(who.Scopes), Address: c.Address,
	}, nil
}

// plain returns names as texts.
func plain[T ~string](names []T) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = string(n)
	}
	return out
}

// Users lists the tenant's principals.
func (e *Engine) Users(ctx context.Context, c Caller, p Page) (api.Users, error) {
	return readNow(ctx, e, c, func(c Caller) (api.Users, error) { return e.usersAs(ctx, c, p) })
}

func (e *Engine) usersAs(ctx context.Context, c Caller, p Page) (api.Users, error) {
	if err := e.may(ctx, c, access.ReadPrincipal, "principal", ""); err != nil {
		return api.Users{}, err
	}
	limit, err := p.limit()
	if err != nil {
		return api.Users{}, err
	}
	all, next, err := openPage(ctx, e, c.Scope, store.Principal, p, limit, e.openPrincipal)
	if err != nil {
		return api.Users{}, err
	}
	out := api.Users{Items: make([]api.User, len(all)), Next: next}
	for i, p := range all {
		out.Items[i] = p.wire()
	}
	return out, nil
}

// User returns a principal.
func (e *Engine) User(ctx context.Context, c Caller, name string) (api.User, error) {
	return readNow(ctx, e, c, func(c Caller) (api.User, error) { return e.userAs(ctx, c, name) })
}

func (e *Engine) userAs(ctx context.Context, c Caller, name string) (api.User, error) {
	if err := e.mayOwn(ctx, c, access.ReadPrincipal, "principal", name, name); err != nil {
		return api.User{}, err
	}
	p, err := e.namedPrincipal(ctx, c.Scope, name)
	if err != nil {
		return api.User{}, err
	}
	return p.wire(), nil
}

func (p *principal) wire() api.User {
	u := api.User{
		Name: p.Name, Kind: p.Kind, Display: p.Display, Mail: p.Mail, State: string(p.State),
		Roles: plain(p.Roles), Groups: slices.Concat([]string{}, p.Groups), Object: textID(p.id), Leaf: p.head.leaf.String(),
	}
	if p.Invitation != (identity.Link{}) {
		u.Invited = &p.Invitation.Expires
	}
	for _, f := range p.Federated {
		u.Identities = append(u.Identities, api.Identity{ID: f.ID, Issuer: f.Issuer, Subject: f.Subject, Made: f.Made, Ended: optional(f.Ended)})
	}
	for i := range p.Passkeys {
		u.Passkeys = append(u.Passkeys, wirePasskey(&p.Passkeys[i]))
	}
	return u
}

// InviteUser makes a principal: a user gets a link, a service is active at once.
func (e *Engine) InviteUser(ctx context.Context, c Caller, r api.UserRequest, idem string) (api.Invited, error) {
	var roles []access.Role
	may := func(c Caller) (err error) {
		if roles, err = e.mayInvite(ctx, c, r); err == nil {
			err = e.freshPerson(c)
		}
		return err
	}
	var link string
	p, err := e.changePrincipal(ctx, c, change{r.Name, "invite-user", idem, r, r.Reason, true}, may, func(c Caller) (*principal, amendment, error) {
		p, err := e.newPrincipal(ctx, c.Scope, r.Name)
		if err != nil {
			return nil, amendment{}, err
		}
		p.Kind, p.Display, p.Mail, p.Roles = r.Kind, r.Display, r.Mail, roles
		for _, name := range r.Groups {
			if err := e.join(ctx, c, p, name); err != nil {
				return nil, amendment{}, err
			}
		}
		if r.Kind == access.Service {
			p.State = identity.Active
			return p, amendment{kind: principalActivated}, nil
		}
		p.Kind, p.State = access.User, identity.Invited
		a := amendment{kind: principalInvited}
		link, err = e.invite(ctx, c.Scope, &p.Invitation, &a)
		return p, a, err
	})
	if err != nil {
		return api.Invited{}, err
	}
	return api.Invited{User: p.wire(), Link: link}, nil
}

// mayInvite asks for all that an invitation gives, and returns its roles. A link is good
// for an API key without scopes.
func (e *Engine) mayInvite(ctx context.Context, c Caller, r api.UserRequest) ([]access.Role, error) {
	if err := e.may(ctx, c, access.InvitePrincipal, "principal", r.Name); err != nil {
		return nil, err
	}
	if len(r.Roles) > 0 {
		if err := e.may(ctx, c, access.GiveRole, "principal", r.Name); err != nil {
			return nil, err
		}
	}
	if len(r.Groups) > 0 {
		if err := e.may(ctx, c, access.ChangeGroup, "principal", r.Name); err != nil {
			return nil, err
		}
	}
	if r.Kind != access.Service {
		if err := notMightier(c, identity.APIKey{}); err != nil {
			return nil, err
		}
	}
	if err := identity.CheckPrincipalName(r.Name); err != nil {
		return nil, err
	}
	return givable(c, r.Roles)
}

// newPrincipal returns a principal that has no step yet. Conflict when there is one of
// that name.
func (e *Engine) newPrincipal(ctx context.Context, scope store.Scope, name string) (*principal, error) {
	switch _, err := e.namedPrincipal(ctx, scope, name); {
	case err == nil:
		return nil, fault.New(fault.Conflict, "there is a user %q already", name).WithCode("user_exists").
			WithHint("names are never given twice; `underseal users invite --again` makes another link for who is invited")
	case !fault.Is(err, fault.NotFound):
		return nil, err
	}
	d, err := e.newDossier(ctx, scope, store.Principal, name)
	return &principal{d, identity.Principal{Name: name}}, err
}

// invite puts a new link in the place of one, and returns its text.
func (e *Engine) invite(ctx context.Context, scope store.Scope, l *identity.Link, a *amendment) (string, error) {
	text := identity.LinkText.Generate(scope.Tenant())
	token, err := e.identity.Token(ctx, scope, identity.LinkText, text)
	if err != nil {
		return "", err
	}
	withdraw(l, a)
	*l = identity.Link{Token: token, Expires: e.moment().Add(linkAge)}
	a.given = append(a.given, token)
	return text, nil
}

// withdraw ends a link, if there is one.
func withdraw(l *identity.Link, a *amendment) {
	if *l != (identity.Link{}) {
		a.ended = append(a.ended, l.Token)
	}
	*l = identity.Link{}
}

// InviteAgain gives an invited user another link; the one before ends.
func (e *Engine) InviteAgain(ctx context.Context, c Caller, name string, r api.ReasonRequest, idem string) (api.Invited, error) {
	return e.linkAgain(ctx, c, change{name, "invite-again " + name, idem, r, r.Reason, true}, func(p *principal) error {
		if p.State == identity.Invited {
			return nil
		}
		return fault.New(fault.Conflict, "user %q is not invited any more: %s", name, p.State).WithCode("not_invited").
			WithHint("`underseal apikeys create` makes another API key")
	})
}

// linkAgain makes a link of a principal that there is, if it is ready for one, in place of
// the one before.
func (e *Engine) linkAgain(ctx context.Context, c Caller, ch change, ready func(*principal) error) (api.Invited, error) {
	may := func(c Caller) error {
		return cmp.Or(e.may(ctx, c, access.InvitePrincipal, "principal", ch.name), notMightier(c, identity.APIKey{}), e.freshPerson(c))
	}
	var link string
	p, err := e.changePrincipal(ctx, c, ch, may, func(c Caller) (*principal, amendment, error) {
		a := amendment{kind: principalInvited}
		p, err := e.namedPrincipal(ctx, c.Scope, ch.name)
		if err == nil {
			err = ready(p)
		}
		if err == nil {
			err = e.requireGivable(ctx, c, p)
		}
		if err == nil {
			link, err = e.invite(ctx, c.Scope, &p.Invitation, &a)
		}
		return p, a, err
	})
	if err != nil {
		return api.Invited{}, err
	}
	return api.Invited{User: p.wire(), Link: link}, nil
}

// ChangeUser changes how people know a principal.
func (e *Engine) ChangeUser(ctx context.Context, c Caller, name string, r api.ProfileRequest, idem string) (api.User, error) {
	return e.changeUser(ctx, c, access.ChangePrincipal, change{name, "change-user " + name, idem, r, r.Reason, false}, principalChanged, func(_ Caller, p *principal, _ *amendment) error {
		p.Display, p.Mail = r.Display, r.Mail
		return nil
	})
}

// DisableUser ends all that a principal may, until it is enabled again: from the next
// request on, and for calls that wait.
func (e *Engine) DisableUser(ctx context.Context, c Caller, name string, r api.ReasonRequest, idem string) (api.User, error) {
	return e.changeUser(ctx, c, access.DisablePrincipal, change{name, "disable-user " + name, idem, r, r.Reason, false}, principalDisabled, func(c Caller, p *principal, a *amendment) error {
		if p.State == identity.Disabled {
			return already("user", name, "disabled")
		}
		p.disable(a)
		return e.requireAdministrator(ctx, c, p)
	})
}

// EnableUser gives a disabled principal back what it had, but for a link.
func (e *Engine) EnableUser(ctx context.Context, c Caller, name string, r api.ReasonRequest, idem string) (api.User, error) {
	return e.changeUser(ctx, c, access.DisablePrincipal, change{name, "enable-user " + name, idem, r, r.Reason, false}, principalEnabled, func(_ Caller, p *principal, _ *amendment) error {
		if p.State != identity.Disabled {
			return already("user", name, "enabled")
		}
		p.State = identity.Active
		return nil
	})
}

// GiveUserRole gives a principal a role.
func (e *Engine) GiveUserRole(ctx context.Context, c Caller, name string, r api.RoleRequest, idem string) (api.User, error) {
	return e.changeUser(ctx, c, access.GiveRole, change{name, "give-role " + name, idem, r, r.Reason, false}, roleGiven, func(c Caller, p *principal, _ *amendment) error {
		if err := giveRole(c, &p.Roles, r.Role); err != nil {
			return err
		}
		return e.requireAdministrator(ctx, c, p)
	})
}

// TakeUserRole takes a principal's own role. What groups give stays.
func (e *Engine) TakeUserRole(ctx context.Context, c Caller, name string, r api.RoleRequest, idem string) (api.User, error) {
	return e.changeUser(ctx, c, access.GiveRole, change{name, "take-role " + name, idem, r, r.Reason, false}, roleTaken, func(c Caller, p *principal, _ *amendment) error {
		if err := takeRole(c, &p.Roles, r.Role); err != nil {
			return err
		}
		return e.requireAdministrator(ctx, c, p)
	})
}

// JoinGroup makes a principal a member of a group.
func (e *Engine) JoinGroup(ctx context.Context, c Caller, name string, r api.MemberRequest, idem string) (api.User, error) {
	return e.changeUser(ctx, c, access.ChangeGroup, change{name, "join-group " + name, idem, r, r.Reason, false}, groupJoined, func(c Caller, p *principal, _ *amendment) error {
		if err := e.join(ctx, c, p, r.Group); err != nil {
			return err
		}
		return e.requireAdministrator(ctx, c, p)
	})
}

// join makes a principal a member, which changes the group as well: who may change the one
// may be forbidden to change the other.
func (e *Engine) join(ctx context.Context, c Caller, p *principal, group string) error {
	if err := e.may(ctx, c, access.ChangeGroup, string(access.Group), group); err != nil {
		return err
	}
	g, err := e.namedGroup(ctx, p.scope, group)
	if err != nil {
		return err
	}
	if _, err := givable(c, plain(g.Roles)); err != nil {
		return err
	}
	if slices.Contains(p.Groups, group) {
		return already("user", p.Name, "in group "+group)
	}
	if len(p.Groups) >= maxMemberships {
		return fault.New(fault.Invalid, "user %q is in %d groups; more are not possible", p.Name, len(p.Groups)).WithCode("too_many_groups")
	}
	p.Groups = append(slices.Clone(p.Groups), group)
	return nil
}

// LeaveGroup ends a membership.
func (e *Engine) LeaveGroup(ctx context.Context, c Caller, name string, r api.MemberRequest, idem string) (api.User, error) {
	return e.changeUser(ctx, c, access.ChangeGroup, change{name, "leave-group " + name, idem, r, r.Reason, false}, groupLeft, func(c Caller, p *principal, _ *amendment) error {
		if err := e.may(ctx, c, access.ChangeGroup, string(access.Group), r.Group); err != nil {
			return err
		}
		i := slices.Index(p.Groups, r.Group)
		if i < 0 {
			return fault.New(fault.Conflict, "user %q is not in the group %q", name, r.Group).WithCode("unchanged")
		}
		g, err := e.anyGroup(ctx, p.scope, r.Group)
		if err != nil {
			return err
		}
		if _, err := givable(c, plain(g.Roles)); err != nil {
			return err
		}
		p.Groups = slices.Delete(slices.Clone(p.Groups), i, i+1)
		return e.requireAdministrator(ctx, c, p)
	})
}

func already(kind, name, what string) error {
	return fault.New(fault.Conflict, "%s %q is %s already", kind, name, what).WithCode("unchanged")
}

// giveRole adds a role that the caller can give.
func giveRole(c Caller, roles *[]access.Role, name string) error {
	given, err := givable(c, []string{name})
	if err != nil {
		return err
	}
	if slices.Contains(*roles, given[0]) {
		return fault.New(fault.Conflict, "the role %s is given already", name).WithCode("unchanged")
	}
	*roles = append(slices.Clone(*roles), given[0])
	return nil
}

func takeRole(c Caller, roles *[]access.Role, name string) error {
	taken, err := givable(c, []string{name})
	if err != nil {
		return err
	}
	i := slices.Index(*roles, taken[0])
	if i < 0 {
		return fault.New(fault.Conflict, "the role %s is not given; a group may give it", name).WithCode("unchanged")
	}
	*roles = slices.Delete(slices.Clone(*roles), i, i+1)
	return nil
}

// givable reads names of roles that the caller can give and take: Operator is one of the
// main tenant alone, and its Operators'.
func givable(c Caller, names []string) ([]access.Role, error) {
	var roles []access.Role
	for _, name := range names {
		role, err := access.ParseRole(name)
		if err != nil {
			return nil, err
		}
		if role == access.Operator && (c.Scope.Tenant() != identity.MainTenant || !slices.Contains(c.Who.Principal().Roles, access.Operator)) {
			return nil, fault.New(fault.Denied, "the role %s is given in the tenant %s alone, by who has it", role, identity.MainTenant)
		}
		if !slices.Contains(roles, role) {
			roles = append(roles, role)
		}
	}
	return roles, nil
}

// requireGivable refuses to make a credential of somebody who has a role, by a group as
// well, that the caller cannot give: whoever gets the credential's text has that role.
func (e *Engine) requireGivable(ctx context.Context, c Caller, p *principal) error {
	roles, err := e.rolesOf(ctx, p)
	if err == nil {
		_, err = givable(c, plain(roles))
	}
	return err
}

// rolesOf returns the roles of a principal, those by groups as well.
func (e *Engine) rolesOf(ctx context.Context, p *principal) ([]access.Role, error) {
	roles := slices.Clone(p.Roles)
	for _, name := range p.Groups {
		g, err := e.anyGroup(ctx, p.scope, name)
		if err != nil {
			return nil, err
		}
		roles = append(roles, g.Roles...)
	}
	return roles, nil
}

// change is a request that changes a dossier. Who may ask for it is decided twice: before
// anything waits, and when nobody else changes the tenant's dossiers any more, by what the
// caller may then.
type change struct {
	name      string // of the dossier
	operation string // for the idempotency key
	idem      string
	body      any
	reason    string
	secret    bool // the answer holds what is shown once
}

// changeUser carries out a change of a principal that there is.
func (e *Engine) changeUser(ctx context.Context, c Caller, action access.Action, ch change, kind string, edit func(Caller, *principal, *amendment) error) (api.User, error) {
	may := func(c Caller) error { return e.may(ctx, c, action, "principal", ch.name) }
	return e.changeUserAs(ctx, c, ch, may, kind, edit)
}

// changeUserAs is changeUser for whoever may, as that says.
func (e *Engine) changeUserAs(ctx context.Context, c Caller, ch change, may func(Caller) error, kind string, edit func(Caller, *principal, *amendment) error) (api.User, error) {
	p, err := e.changePrincipal(ctx, c, ch, may, func(c Caller) (*principal, amendment, error) {
		p, err := e.namedPrincipal(ctx, c.Scope, ch.name)
		if err != nil {
			return nil, amendment{}, err
		}
		a := amendment{kind: kind}
		err = edit(c, p, &a)
		return p, a, err
	})
	if err != nil {
		return api.User{}, err
	}
	return p.wire(), nil
}

// changePrincipal carries out a change: edit opens the principal and says what its step
// is. It returns the principal as it is then.
func (e *Engine) changePrincipal(ctx context.Context, c Caller, ch change, may func(Caller) error,
	edit func(Caller) (*principal, amendment, error),
) (*principal, error) {
	var p *principal
	found, err := e.changed(ctx, c, c.Scope, ch, may, func(c Caller) (a amendment, err error) {
		if p, a, err = edit(c); err == nil {
			a.of, a.fields = &p.dossier, p.Fields()
		}
		return a, err
	})
	if found && err == nil {
		return e.namedPrincipal(ctx, c.Scope, ch.name)
	}
	return p, err
}

// changed makes the step of a dossier that edit says, unless the request was carried out
// before (found). Scope is whose dossier it is. Edit gets the caller as they are then, and
// is asked again if that is not who they are any more.
func (e *Engine) changed(ctx context.Context, c Caller, scope store.Scope, ch change, may func(Caller) error,
	edit func(Caller) (amendment, error),
) (found bool, err error) {
	return asNow(ctx, e, c, func(c Caller) (bool, error) { return e.changedAs(ctx, c, scope, ch, may, edit) })
}

func (e *Engine) changedAs(ctx context.Context, c Caller, scope store.Scope, ch change, may func(Caller) error,
	edit func(Caller) (amendment, error),
) (found bool, err error) {
	if err := cmp.Or(may(c), access.CheckReason(ch.reason)); err != nil {
		return false, err
	}
	inside := c
	inside.Scope = scope
	again, err := e.request(ctx, inside, ch.operation, ch.idem, ch.body)
	if err != nil {
		return false, err
	}
	if found, err = e.changeNow(ctx, c, scope, ch, again, may, edit); err == nil && !found {
		e.endLeases(ctx, scope)
	}
	return found, err
}

// changeNow is changed from when nobody else changes the tenant's dossiers.
func (e *Engine) changeNow(ctx context.Context, c Caller, scope store.Scope, ch change, again *request, may func(Caller) error,
	edit func(Caller) (amendment, error),
) (found bool, err error) {
	defer e.people.change(c.Scope, scope)()
	if c, err = e.present(ctx, c); err == nil {
		err = may(c)
	}
	if err != nil {
		return false, err
	}
	if _, found, err := e.repeated(ctx, scope, again); found || err != nil {
		if found && ch.secret {
			err = shownOnce()
		}
		return found, err
	}
	a, err := edit(c)
	if err != nil {
		return false, err
	}
	return false, e.amend(ctx, scope, amender{act: "admin", actor: actorIn(scope, c), reason: ch.reason, again: again, by: &c}, a)
}

// shownOnce refuses to repeat an answer that held a secret, which is kept nowhere.
func shownOnce() error {
	return fault.New(fault.Conflict, "an earlier request with this idempotency key was carried out, and its answer cannot be given again").
		WithCode("shown_once").WithHint("if that answer was lost, revoke what it made, and make another")
}
