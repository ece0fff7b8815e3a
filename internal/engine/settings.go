package engine

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/limit"
	"github.com/underseal/underseal/internal/network"
	"github.com/underseal/underseal/internal/store"
)

// Settings shows what is set for everybody of the caller's tenant.
func (e *Engine) Settings(ctx context.Context, c Caller) (api.Settings, error) {
	return readNow(ctx, e, c, func(c Caller) (api.Settings, error) { return e.settingsAs(ctx, c) })
}

func (e *Engine) settingsAs(ctx context.Context, c Caller) (api.Settings, error) {
	if err := e.mayTenant(ctx, c, access.ReadTenant); err != nil {
		return api.Settings{}, err
	}
	t, err := e.openTenant(ctx, c.Scope)
	if err != nil {
		return api.Settings{}, err
	}
	return e.wireSettings(t)
}

// mayTenant is may for what is about the caller's own tenant.
func (e *Engine) mayTenant(ctx context.Context, c Caller, action access.Action) error {
	if err := e.admitted(c.Scope); err != nil {
		return err
	}
	if on := tenantResource(c.Scope); !e.sees(c, action, on) {
		return e.refuse(ctx, c, action, "tenant", on.ID)
	}
	return nil
}

func tenantResource(scope store.Scope) access.Resource {
	name := scope.Tenant()
	return access.Resource{Kind: access.Tenant, ID: name, Name: name, Tenant: name}
}

func (e *Engine) wireSettings(t *tenant) (api.Settings, error) {
	out := api.Settings{
		Tenant: t.Name, Networks: api.Networks{All: t.Networks.All.Strings(), Roles: []api.RoleNetworks{}},
		Limits:   api.Limits{User: rateText(t.Limits.User), Key: rateText(t.Limits.Key), Tenant: rateText(t.Limits.Tenant)},
		FourEyes: t.FourEyes, FourEyesOff: wireFourEyesOff(&t.FourEyesOff, e.moment()), RequirePasskey: "none", Policies: []string{}, Object: textID(t.id), Leaf: t.head.leaf.String(),
	}
	for _, r := range t.Networks.Roles {
		out.Networks.Roles = append(out.Networks.Roles, api.RoleNetworks{Role: string(r.Role), From: r.From.Strings()})
	}
	if t.RequirePasskey != identity.PasskeyNone {
		out.RequirePasskey = string(t.RequirePasskey)
	}
	items, err := e.wirePolicies(t)
	for _, p := range items {
		out.Policies = append(out.Policies, p.ID)
	}
	return out, err
}

func wireFourEyesOff(o *identity.FourEyesOff, now time.Time) *api.FourEyesOff {
	if !now.Before(o.Expires) {
		return nil
	}
	return &api.FourEyesOff{By: o.By, Expires: o.Expires}
}

func rateText(r *limit.Rate) string {
	if r == nil {
		return ""
	}
	return r.String()
}

// listsWithout says to which lists of the caller's roles their address would have to be
// added; "": to that for everybody, or to each.
func listsWithout(n *identity.Networks, c Caller) string {
	if !n.Allow(nil, c.Address) {
		return ""
	}
	var roles []string
	for _, r := range c.Who.Principal().Roles {
		if !n.Allow([]access.Role{r}, c.Address) {
			roles = append(roles, string(r))
		}
	}
	return " to the list of each role of yours (" + strings.Join(roles, ", ") + ")"
}

// SetNetworks sets where the tenant's people may come from, for requests from then on.
func (e *Engine) SetNetworks(ctx context.Context, c Caller, r api.NetworksRequest, idem string) (api.Settings, error) {
	if err := e.mayTenant(ctx, c, access.ChangeTenant); err != nil {
		return api.Settings{}, err
	}
	networks, err := networksOf(r.Networks)
	if err != nil {
		return api.Settings{}, err
	}
	return e.changeSettings(ctx, c, "networks", change{"", "set-networks", idem, r, r.Reason, false}, func(c Caller, s *identity.Settings) error {
		if !networks.Allow(c.Who.Principal().Roles, c.Address) {
			return fault.New(fault.Conflict, "these networks would shut you out: you come from %s", c.Address).WithCode("locked_out").
				WithHint("add the network that you come from%s, or ask from one of these", listsWithout(&networks, c))
		}
		s.Networks = networks
		return nil
	})
}

// networksOf reads lists of networks, one for each role at most.
func networksOf(r api.Networks) (n identity.Networks, err error) {
	if n.All, err = network.Parse(r.All); err != nil {
		return n, err
	}
	for _, one := range r.Roles {
		role, err := access.ParseRole(one.Role)
		if err != nil {
			return n, err
		}
		from, err := network.Parse(one.From)
		if err != nil {
			return n, err
		}
		if len(one.From) == 0 || slices.ContainsFunc(n.Roles, func(o identity.RoleNetworks) bool { return o.Role == role }) {
			return n, fault.New(fault.Invalid, "the role %s needs one list of networks, with one entry at least", role).WithCode("networks_invalid")
		}
		n.Roles = append(n.Roles, identity.RoleNetworks{Role: role, From: from})
	}
	order := access.Roles()
	slices.SortFunc(n.Roles, func(a, b identity.RoleNetworks) int { return slices.Index(order, a.Role) - slices.Index(order, b.Role) })
	return n, nil
}

// SetLimits sets how often people of the tenant may call.
func (e *Engine) SetLimits(ctx context.Context, c Caller, r api.LimitsRequest, idem string) (api.Settings, error) {
	if err := e.mayTenant(ctx, c, access.ChangeTenant); err != nil {
		return api.Settings{}, err
	}
	limits, err := limitsOf(r.Limits)
	if err != nil {
		return api.Settings{}, err
	}
	return e.changeSettings(ctx, c, "limits", change{"", "set-limits", idem, r, r.Reason, false}, func(_ Caller, s *identity.Settings) error {
		s.Limits = limits
		return nil
	})
}

// leastCalls is how many an hour a tenant's own limit admits at least, so that nobody who
// could lift it is shut out by it for long: a call is admitted within a minute then.
const leastCalls = 100

func limitsOf(r api.Limits) (own limit.Own, err error) {
	for _, one := range []struct {
		text string
		to   **limit.Rate
	}{{r.User, &own.User}, {r.Key, &own.Key}, {r.Tenant, &own.Tenant}} {
		if one.text == "" {
			continue
		}
		rate, err := limit.ParseRate(one.text)
		if err != nil {
			return own, fault.New(fault.Invalid, "%w", err).WithCode("invalid_limit")
		}
		if rate.Calls > 0 && float64(rate.Calls) < leastCalls*rate.Per.Hours() {
			return own, fault.New(fault.Invalid, "the limit %s is less than %d/h", one.text, leastCalls).WithCode("limit_too_low").
				WithHint("with less, administrators might wait for hours before they can change it back; disable who calls too often")
		}
		*one.to = &rate
	}
	return own, nil
}

// SetFourEyes sets whether a confidential process is deployed by two people. One person
// sets it. To end it takes two as well, or who wants to deploy alone would end it before:
// the first asks, and it ends when the second asks for the same within a day.
func (e *Engine) SetFourEyes(ctx context.Context, c Caller, r api.FourEyesRequest, idem string) (api.Settings, error) {
	if err := e.mayTenant(ctx, c, access.ChangeTenant); err != nil {
		return api.Settings{}, err
	}
	return e.changeSettings(ctx, c, "four_eyes", change{"", "set-four-eyes", idem, r, r.Reason, false}, func(c Caller, s *identity.Settings) error {
		now, asked := e.moment(), s.FourEyesOff
		s.FourEyesOff = identity.FourEyesOff{}
		if r.Required || !s.FourEyes {
			s.FourEyes = r.Required
			return nil
		}
		if err := isPerson(c); err != nil {
			e.denied(ctx, c, access.ChangeTenant, "tenant", c.Scope.Tenant())
			return err
		}
		if !now.Before(asked.Expires) {
			s.FourEyesOff = identity.FourEyesOff{By: c.Principal, Key: usedKey(c), Expires: now.Add(fourEyesOffWaits)}
			return nil
		}
		s.FourEyes = false
		return e.confirmedOff(ctx, c, &asked)
	})
}

// fourEyesOffWaits is how long somebody else can confirm an end of four eyes.
const fourEyesOffWaits = 24 * time.Hour

// confirmedOff requires that who confirms an end of four eyes is somebody else than who
// asked for it, that the latter may set it still, and that neither made the other one up.
func (e *Engine) confirmedOff(ctx context.Context, c Caller, asked *identity.FourEyesOff) error {
	if asked.By == c.Principal {
		e.denied(ctx, c, access.ChangeTenant, "tenant", c.Scope.Tenant())
		return fault.New(fault.Denied, "%s asked for an end of four eyes, and another administrator has to confirm it", c.Principal).WithCode("own_proposal").
			WithHint("they set it off as well, before %s", toSecond(asked.Expires))
	}
	first, asker, err := e.inPlaceOf(ctx, c, asked.By)
	if err != nil {
		return err
	}
	if !e.sees(asker, access.ChangeTenant, tenantResource(c.Scope)) {
		return fault.New(fault.Conflict, "%s, who asked for an end of four eyes, may not set it any more", asked.By).WithCode("asker_may_not").
			WithHint("set it on, which takes back what was asked, and off again for somebody else to confirm")
	}
	return e.twoSettled(ctx, c, first, asked.Key)
}

// RequirePasskeys sets whose password alone is not enough to sign in. Whoever demands
// passkeys has one that counts, so that nobody is shut out who could take it back.
func (e *Engine) RequirePasskeys(ctx context.Context, c Caller, r api.RequirePasskeyRequest, idem string) (api.Settings, error) {
	if err := e.mayTenant(ctx, c, access.ChangeTenant); err != nil {
		return api.Settings{}, err
	}
	rule := identity.PasskeyRule(r.Of)
	switch rule {
	case "none":
		rule = identity.PasskeyNone
	case identity.PasskeyAdministrators, identity.PasskeyEveryone:
		if err := e.requireAddress(); err != nil {
			return api.Settings{}, err
		}
	default:
		return api.Settings{}, fault.New(fault.Invalid, "passkeys are demanded of none, administrators or everyone").WithCode("invalid_rule")
	}
	return e.changeSettings(ctx, c, "require_passkey", change{"", "require-passkeys", idem, r, r.Reason, false}, func(c Caller, s *identity.Settings) error {
		p, err := e.namedPrincipal(ctx, c.Scope, c.Principal)
		if err != nil {
			return err
		}
		own, err := e.usablePasskeys(ctx, c.Scope, p.Name, p.Passkeys)
		if err == nil && rule != identity.PasskeyNone && len(own) == 0 {
			err = fault.New(fault.Conflict, "this would shut you out: you have no passkey that counts here").WithCode("locked_out").
				WithHint("register one first, with a browser")
		}
		s.RequirePasskey = rule
		return err
	})
}

// settingSet returns the amendment that sets one setting.
func settingSet(name string) amendment {
	return amendment{kind: tenantChanged, facts: []fieldWrite{{path: "$setting", value: canon.String(name), label: confidential, fact: true}}}
}

// changeSettings carries out a change of one of the settings of the caller's tenant.
func (e *Engine) changeSettings(ctx context.Context, c Caller, name string, ch change, edit func(Caller, *identity.Settings) error) (api.Settings, error) {
	ch.name = c.Scope.Tenant()
	may := func(c Caller) error { return e.mayTenant(ctx, c, access.ChangeTenant) }
	t, err := e.changeTenant(ctx, c, ch, may, func(c Caller, t *tenant) (amendment, error) {
		return settingSet(name), edit(c, &t.Settings)
	})
	if err != nil {
		return api.Settings{}, err
	}
	return e.wireSettings(t)
}
