package identity

import (
	"net/netip"
	"slices"
	"time"

	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/limit"
	"github.com/underseal/underseal/internal/network"
)

// Settings are what a tenant's administrators have set for everybody in it.
type Settings struct {
	Networks Networks
	Limits   limit.Own
	FourEyes bool   // confidential processes are deployed by two people
	Policies string // the tenant's own, in Cedar; empty: none

	FourEyesOff    FourEyesOff
	RequirePasskey PasskeyRule
}

// FourEyesOff is that somebody asked for an end of four eyes, which somebody else has to
// confirm. The zero FourEyesOff is that nobody did.
type FourEyesOff struct {
	By      string // who asked
	Key     string // id of the API key they used; empty: they were signed in
	Expires time.Time
}

func (o *FourEyesOff) value() canon.Value {
	return contextOf(text("by", o.By), text("key", o.Key), canon.Entry{Name: "expires", Value: timeItem(o.Expires)})
}

func fourEyesOffOf(v canon.Value) FourEyesOff {
	return FourEyesOff{textOf(entryOf(v, "by")), textOf(entryOf(v, "key")), timeOf(entryOf(v, "expires"))}
}

// PasskeyRule says whose password alone is not enough.
type PasskeyRule string

// The rules there are. The zero rule is PasskeyNone.
const (
	PasskeyNone           PasskeyRule = ""
	PasskeyAdministrators PasskeyRule = "administrators" // who has the role Admin or Operator
	PasskeyEveryone       PasskeyRule = "everyone"
)

// demands reports whether the rule is for somebody with roles.
func (r PasskeyRule) demands(roles []access.Role) bool {
	return r != PasskeyNone && (r != PasskeyAdministrators || slices.Contains(roles, access.Admin) || slices.Contains(roles, access.Operator))
}

// Networks say where a tenant's people may come from. The zero Networks is anywhere.
type Networks struct {
	All   network.List   // everybody
	Roles []RoleNetworks // who has the role, in the order of access.Roles
}

// RoleNetworks say where from who has a role may come, and nobody else.
type RoleNetworks struct {
	Role access.Role
	From network.List
}

// Allow reports whether somebody with roles may come from an address. Every list that is
// for them must have it.
func (n *Networks) Allow(roles []access.Role, address string) bool {
	from, _ := netip.ParseAddr(address) // what is none is in no network
	return n.All.Allows(from) && !slices.ContainsFunc(n.Roles, func(r RoleNetworks) bool {
		return slices.Contains(roles, r.Role) && !r.From.Allows(from)
	})
}

// Rules are what holds for everybody of a tenant. They come with each caller, so that
// nothing is decided without.
type Rules struct {
	Tenant   Tenant
	Policies *access.Policies // the built-in ones and the tenant's own
}

// fields returns what is sealed of settings, one path each.
func (s *Settings) fields() []Field {
	roles := make(canon.List, len(s.Networks.Roles))
	for i, r := range s.Networks.Roles {
		roles[i] = contextOf(text("role", string(r.Role)), canon.Entry{Name: "from", Value: texts(r.From.Strings())})
	}
	return []Field{
		{"networks", contextOf(canon.Entry{Name: "all", Value: texts(s.Networks.All.Strings())}, canon.Entry{Name: "roles", Value: roles})},
		{"limits", contextOf(rateItem("user", s.Limits.User), rateItem("key", s.Limits.Key), rateItem("tenant", s.Limits.Tenant))},
		{"four_eyes", canon.Bool(s.FourEyes)},
		{"four_eyes_off", s.FourEyesOff.value()},
		{"policies", canon.String(s.Policies)},
		{"require_passkey", canon.String(string(s.RequirePasskey))},
	}
}

func settingsOf(values map[string]canon.Value) Settings {
	limits := values["limits"]
	fourEyes, _ := values["four_eyes"].(canon.Bool)
	return Settings{
		Networks: Networks{
			All:   networksOf(entryOf(values["networks"], "all")),
			Roles: listOf(entryOf(values["networks"], "roles"), roleNetworksOf),
		},
		Limits:   limit.Own{User: rateOf(entryOf(limits, "user")), Key: rateOf(entryOf(limits, "key")), Tenant: rateOf(entryOf(limits, "tenant"))},
		FourEyes: bool(fourEyes), FourEyesOff: fourEyesOffOf(values["four_eyes_off"]), Policies: textOf(values["policies"]), RequirePasskey: PasskeyRule(textOf(values["require_passkey"])),
	}
}

func roleNetworksOf(v canon.Value) RoleNetworks {
	return RoleNetworks{access.Role(textOf(entryOf(v, "role"))), networksOf(entryOf(v, "from"))}
}

func networksOf(v canon.Value) network.List {
	l, _ := network.Parse(textsOf[string](v)) // what it is not is missing when it is compared
	return l
}

// rateItem is a rate as it is sealed; one that is not set is empty.
func rateItem(name string, r *limit.Rate) canon.Entry {
	if r == nil {
		return text(name, "")
	}
	return text(name, r.String())
}

func rateOf(v canon.Value) *limit.Rate {
	r, err := limit.ParseRate(textOf(v))
	if err != nil {
		return nil
	}
	return &r
}
