package identity

import (
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/network"
)

// State is whether a principal, a group or a tenant counts.
type State string

// The states.
const (
	Invited  State = "invited" // a user who has not used the link yet
	Active   State = "active"
	Disabled State = "disabled"
	Deleted  State = "deleted" // a group
)

// Principal is a person or a program of a tenant, as its object says.
type Principal struct {
	Name    string // see CheckName; never changes
	Kind    string // access.User or access.Service
	Display string // how people know them
	Mail    string

	State      State
	Roles      []access.Role
	Groups     []string // names
	Grants     []access.Grant
	Keys       []APIKey
	Invitation Link
	Password   string      // as package password writes it; empty: none
	Ended      int64       // how often all their sessions were ended
	Federated  []Federated // who they are elsewhere
	Passkeys   []Passkey
}

// APIKey is a key that counts; one that is revoked is not kept.
type APIKey struct {
	ID       string
	Token    [32]byte // keyed hash of its text
	Name     string   // what it is for
	Scopes   []access.Scope
	Networks network.List // where it may be used from
	Made     time.Time
	Expires  time.Time // zero: never
}

// Link is a text that admits whoever has it, once. The zero Link is none.
type Link struct {
	Token   [32]byte
	Expires time.Time
}

// Group gives its roles and grants to its members, who name it.
type Group struct {
	Name    string
	Display string
	State   State // Active or Deleted
	Roles   []access.Role
	Grants  []access.Grant
}

// Tenant is what a tenant's object says of it.
type Tenant struct {
	Name    string
	Display string
	State   State    // Active or Disabled
	Setup   Link     // makes its first administrator
	Issuers []Issuer // whose word counts for who calls
	Ended   int64    // how often all sessions of the tenant were ended
	Settings
	Proposals  []Proposal // of deployments
	BreakGlass []BreakGlass
}

// MainTenant is the tenant that every installation has, and whose Operators make others.
const MainTenant = access.MainTenant

const (
	maxName       = 64
	maxTenantName = 40
	nameLetters   = "abcdefghijklmnopqrstuvwxyz0123456789"
)

// CheckName refuses what no principal or group can be called (Invalid).
func CheckName(name string) error { return checkName(name, nameLetters+"._@-", maxName) }

// reserved are names by which the log says that the server itself acted, or who has its
// files.
var reserved = []string{"engine", "operator", "platform", "system"}

// CheckPrincipalName refuses what no principal can be called (Invalid).
func CheckPrincipalName(name string) error {
	if slices.Contains(reserved, name) {
		return fault.New(fault.Invalid, "the name %q stands for the server itself", name).WithCode("reserved_name").
			WithHint("nobody is called %s", strings.Join(reserved, ", "))
	}
	return CheckName(name)
}

// CheckTenantName refuses what no tenant can be called (Invalid).
func CheckTenantName(name string) error { return checkName(name, nameLetters+"-", maxTenantName) }

func checkName(name, letters string, limit int) error {
	// Names stand in paths, where "." and ".." lead elsewhere: nobody could be reached, nor
	// revoked, who is called so.
	if name != "." && name != ".." && name != "" && len(name) <= limit && strings.Trim(name, letters) == "" {
		return nil
	}
	return fault.New(fault.Invalid, "%q is no name", name).WithCode("invalid_name").
		WithHint("a name has 1 to %d of the characters a-z, 0-9 and %s, and is neither . nor ..", limit, strings.TrimPrefix(letters, nameLetters))
}

// Fields returns what is sealed of a principal.
func (p *Principal) Fields() []Field {
	keys := make(canon.List, len(p.Keys))
	for i := range p.Keys {
		keys[i] = p.Keys[i].value()
	}
	elsewhere := make(canon.List, len(p.Federated))
	for i := range p.Federated {
		elsewhere[i] = p.Federated[i].value()
	}
	return []Field{
		{"profile", contextOf(text("name", p.Name), text("kind", p.Kind), text("display", p.Display), text("mail", p.Mail))},
		{"state", canon.String(p.State)},
		{"roles", texts(p.Roles)},
		{"groups", texts(p.Groups)},
		{"grants", grants(p.Grants)},
		{"keys", keys},
		{"invitation", p.Invitation.value()},
		{"password", canon.String(p.Password)},
		{"sessions", count(p.Ended)},
		{"federated", elsewhere},
		{"passkeys", passkeys(p.Passkeys)},
	}
}

// ParsePrincipal reads what Fields returns; anything else is an Integrity fault.
func ParsePrincipal(values map[string]canon.Value) (Principal, error) {
	profile := values["profile"]
	p := Principal{
		Name: textOf(entryOf(profile, "name")), Kind: textOf(entryOf(profile, "kind")),
		Display: textOf(entryOf(profile, "display")), Mail: textOf(entryOf(profile, "mail")),
		State: State(textOf(values["state"])), Roles: textsOf[access.Role](values["roles"]), Groups: textsOf[string](values["groups"]),
		Grants: listOf(values["grants"], grantOf), Keys: listOf(values["keys"], keyOf), Invitation: linkOf(values["invitation"]),
		Password: textOf(values["password"]), Ended: countOf(values["sessions"]),
		Federated: listOf(values["federated"], federatedOf), Passkeys: listOf(values["passkeys"], passkeyOf),
	}
	return p, same("principal", p.Fields(), values)
}

func (k *APIKey) value() canon.Value {
	return contextOf(
		text("id", k.ID), text("token", hex.EncodeToString(k.Token[:])), text("name", k.Name),
		canon.Entry{Name: "scopes", Value: texts(k.Scopes)}, canon.Entry{Name: "networks", Value: networks(k.Networks)},
		canon.Entry{Name: "made", Value: timeItem(k.Made)}, canon.Entry{Name: "expires", Value: timeItem(k.Expires)},
	)
}

func keyOf(v canon.Value) APIKey {
	return APIKey{
		ID: textOf(entryOf(v, "id")), Token: tokenOf(entryOf(v, "token")), Name: textOf(entryOf(v, "name")),
		Scopes: textsOf[access.Scope](entryOf(v, "scopes")), Networks: networksOf(entryOf(v, "networks")),
		Made: timeOf(entryOf(v, "made")), Expires: timeOf(entryOf(v, "expires")),
	}
}

// value returns a link as it is sealed; null: none.
func (l Link) value() canon.Value {
	if l == (Link{}) {
		return canon.Null{}
	}
	return contextOf(text("token", hex.EncodeToString(l.Token[:])), canon.Entry{Name: "expires", Value: timeItem(l.Expires)})
}

func linkOf(v canon.Value) Link {
	return Link{Token: tokenOf(entryOf(v, "token")), Expires: timeOf(entryOf(v, "expires"))}
}

// Fields returns what is sealed of a group.
func (g *Group) Fields() []Field {
	return []Field{
		{"profile", contextOf(text("name", g.Name), text("display", g.Display))},
		{"state", canon.String(g.State)},
		{"roles", texts(g.Roles)},
		{"grants", grants(g.Grants)},
	}
}

// ParseGroup reads what Fields returns; anything else is an Integrity fault.
func ParseGroup(values map[string]canon.Value) (Group, error) {
	profile := values["profile"]
	g := Group{
		Name: textOf(entryOf(profile, "name")), Display: textOf(entryOf(profile, "display")),
		State: State(textOf(values["state"])), Roles: textsOf[access.Role](values["roles"]), Grants: listOf(values["grants"], grantOf),
	}
	return g, same("group", g.Fields(), values)
}

// Fields returns what is sealed of a tenant.
func (t *Tenant) Fields() []Field {
	return append(t.Settings.fields(),
		Field{"profile", contextOf(text("name", t.Name), text("display", t.Display))},
		Field{"state", canon.String(t.State)},
		Field{"setup", t.Setup.value()},
		Field{"sessions", count(t.Ended)},
		Field{"issuers", issuers(t.Issuers)},
		Field{SecretsField, issuerSecrets(t.Issuers)},
		Field{"proposals", proposals(t.Proposals)},
		Field{"break_glass", broken(t.BreakGlass)},
	)
}

// ParseTenant reads what Fields returns; anything else is an Integrity fault.
func ParseTenant(values map[string]canon.Value) (Tenant, error) {
	profile := values["profile"]
	name := textOf(entryOf(profile, "name"))
	t := Tenant{
		Name: name, Display: textOf(entryOf(profile, "display")),
		State: State(textOf(values["state"])), Setup: linkOf(values["setup"]), Settings: settingsOf(values), Proposals: listOf(values["proposals"], proposalOf),
		BreakGlass: listOf(values["break_glass"], breakGlassOf),
		Issuers:    issuersOf(name, values["issuers"], values[SecretsField]),
		Ended:      countOf(values["sessions"]),
	}
	return t, same("tenant", t.Fields(), values)
}
