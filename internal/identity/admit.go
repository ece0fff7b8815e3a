package identity

import (
	"crypto/subtle"
	"net/netip"
	"slices"
	"time"

	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/limit"
	"github.com/underseal/underseal/internal/network"
	"github.com/underseal/underseal/internal/store"
)

// Caller is somebody who proved who they are. Only this package makes one; the purpose
// is what they say.
type Caller struct {
	Scope     store.Scope // the tenant the caller was admitted to
	Principal string      // the principal's name
	Who       *access.Effective
	Key       string   // id of the credential that was used
	Address   string   // network address the request came from
	Purpose   string   // that the request gives for seeing values, may be empty
	Rules     *Rules   // of the tenant
	Session   *Session // that they are signed in by; nil: they used an API key
	Unproven  bool     // they signed in by a password alone, and the tenant demands a passkey

	known  *Known   // what they were admitted by
	token  [32]byte // of the credential
	limits *APIKey  // what the credential is limited to; nil: nothing
	word   *Word    // by which a service was admitted; nil: it was not
}

// Person reports whether the caller is a person, by whichever of their credentials, and no
// service.
func (c Caller) Person() bool { return c.Who.Principal().Kind == access.User }

// Limits returns how often people of the caller's tenant may call.
func (c Caller) Limits() limit.Own {
	if c.Rules == nil {
		return limit.Own{}
	}
	return c.Rules.Tenant.Limits
}

// Ends returns when the credential that the caller used ends by itself, a session if it
// is not used again; zero: never.
func (c Caller) Ends() time.Time {
	switch {
	case c.Session != nil:
		return c.Session.ends()
	case c.limits != nil:
		return c.limits.Expires
	}
	return time.Time{}
}

// For returns the caller with what they say that they need values for. It is Invalid
// ("invalid_purpose") unless it is one line of at most 255 bytes.
func (c Caller) For(purpose string) (Caller, error) {
	if err := access.CheckPurpose(purpose); err != nil {
		return c, err
	}
	c.Purpose = purpose
	return c, nil
}

// Known is all that decides whether a principal is admitted, and as whom. It is
// immutable.
type Known struct {
	who    access.Principal // without a credential
	rules  *Rules
	active bool
	keys   []knownKey
	ended  Generations

	federated []Federated
	password  string // as it is kept
	passkeys  []Passkey
	alone     Caller // without a credential
	unproven  Caller // whose password alone is not enough, signed in by that
}

// knownKey is a key and whom it admits.
type knownKey struct {
	APIKey
	admits Caller
}

// NewKnown returns a principal of a tenant with the groups that it is in.
func NewKnown(scope store.Scope, r *Rules, p Principal, groups []Group) *Known {
	k := &Known{
		rules: r, active: p.State == Active && r.Tenant.State == Active,
		ended: Generations{p.Ended, r.Tenant.Ended}, password: p.Password, federated: p.Federated, passkeys: p.Passkeys,
	}
	bare := together(scope, r.Tenant, p, groups)
	broken := func(key string) access.Principal {
		who := bare
		who.Grants = slices.Concat(bare.Grants, r.Tenant.brokenFor(&p, key))
		return who
	}
	k.who = broken("")
	who := k.who
	k.alone = Caller{Scope: scope, Principal: p.Name, Who: who.Effective(), Rules: r, known: k}
	if r.Tenant.RequirePasskey.demands(who.Roles) {
		who.Scopes = []access.Scope{""} // no action is in it
		k.unproven = Caller{Scope: scope, Principal: p.Name, Who: who.Effective(), Rules: r, known: k, Unproven: true}
	}
	for _, key := range p.Keys {
		who := broken(key.ID)
		who.Scopes = key.Scopes
		k.keys = append(k.keys, knownKey{key, Caller{Scope: scope, Principal: p.Name, Who: who.Effective(), Key: key.ID, Rules: r, known: k, token: key.Token, limits: &key}})
	}
	return k
}

// together adds what groups give to what a principal has.
func together(scope store.Scope, t Tenant, p Principal, groups []Group) access.Principal {
	who := access.Principal{
		Name: p.Name, Tenant: scope.Tenant(), Kind: p.Kind, Roles: slices.Clone(p.Roles), Grants: slices.Clone(p.Grants),
		Disabled: p.State != Active, TenantDisabled: t.State != Active,
	}
	for _, g := range groups {
		if g.State != Active {
			continue
		}
		who.Groups = append(who.Groups, g.Name)
		who.Grants = append(who.Grants, g.Grants...)
		for _, r := range g.Roles {
			if !slices.Contains(who.Roles, r) {
				who.Roles = append(who.Roles, r)
			}
		}
	}
	return who
}

// Who returns the principal as access decides about it, without a credential's scopes.
func (k *Known) Who() access.Principal { return k.who }

// Admit admits the bearer of an API key by its token. Whatever is wrong (the key is not
// in the list, expired or for another network; the principal or the tenant is disabled),
// the answer is the same.
func (k *Known) Admit(token [32]byte, address string, at time.Time) (Caller, error) {
	key := k.key(token)
	if key == nil || !k.active || !key.Expires.IsZero() && !at.Before(key.Expires) ||
		!within(address, key.Networks) || !k.From(address) {
		return Caller{}, Unauthenticated()
	}
	c := key.admits
	c.Address = address
	return c, nil
}

// From reports whether the principal may come from an address.
func (k *Known) From(address string) bool { return k.rules.Tenant.Networks.Allow(k.who.Roles, address) }

// AdmitSession admits who is signed in by a session, from an address, as Admit does.
func (k *Known) AdmitSession(s *Session, address string, at time.Time) (Caller, error) {
	if s.Principal != k.who.Name || s.Ended != k.ended || !s.Live(at) || !k.SignsIn(address) || !k.stillLets(s) {
		return Caller{}, Unauthenticated()
	}
	c := k.alone
	if s.How == ByPassword && k.unproven.Unproven {
		c = k.unproven
	}
	c.Key, c.Address, c.Session, c.token = s.ID.String(), address, s, s.Token
	return c, nil
}

// stillLets reports whether the principal has what proved a session to be theirs: the link
// to the issuer that signed them in, and the passkey.
func (k *Known) stillLets(s *Session) bool {
	if s.Link != "" && k.Linked(s.Link) == "" {
		return false
	}
	return s.Passkey == "" || slices.ContainsFunc(k.passkeys, func(p Passkey) bool { return p.ID == s.Passkey })
}

// SignsIn reports whether a session of the principal can begin from an address: it is a
// person who may come in, from there.
func (k *Known) SignsIn(address string) bool {
	return k.active && k.who.Kind == access.User && k.From(address)
}

// DemandsPasskey reports whether a password alone is not enough for the principal.
func (k *Known) DemandsPasskey() bool { return k.unproven.Unproven }

// Password is the password as it is kept; empty: there is none.
func (k *Known) Password() string { return k.password }

// Ended are the generations of sessions that begin now.
func (k *Known) Ended() Generations { return k.ended }

// Admitted reports whether it was this that admitted a caller, not what was known before or
// since.
func (k *Known) Admitted(c Caller) bool { return c.known == k }

// KnownAs reports whether a caller and another, who is the same principal, were admitted by the
// same that was known.
func (c Caller) KnownAs(other Caller) bool { return c.known == other.known }

// RequireProof refuses who signed in by a password alone where that is not enough: they may
// register their first passkey, prove who they are by one, and sign out.
func (c Caller) RequireProof() error {
	if !c.Unproven {
		return nil
	}
	return fault.New(fault.Denied, "your company demands a passkey: a password alone is not enough").WithCode("passkey_required").
		WithHint("prove who you are by your passkey (POST /v1/me/verify); if you have none yet, register one first (POST /v1/me/passkeys/begin), with a browser")
}

// Again admits a caller who was admitted before, by what is known now.
func (k *Known) Again(c Caller, at time.Time) (Caller, error) {
	now, err := k.admitAgain(c, at)
	if err == nil {
		now.Purpose = c.Purpose
	}
	return now, err
}

func (k *Known) admitAgain(c Caller, at time.Time) (Caller, error) {
	if c.Session != nil {
		return k.AdmitSession(c.Session, c.Address, at)
	}
	if c.word != nil {
		return k.AdmitService(c.token, *c.word, c.Address, at)
	}
	return k.Admit(c.token, c.Address, at)
}

// Exceeds returns in what a key would be for more than the credential that the caller
// used: its scopes, its networks or its end; "": in nothing.
func (c Caller) Exceeds(k APIKey) string {
	own := c.limits
	switch {
	case own == nil:
		return ""
	case len(own.Scopes) > 0 && (len(k.Scopes) == 0 || slices.ContainsFunc(k.Scopes, func(s access.Scope) bool { return !s.Within(own.Scopes) })):
		return "scopes"
	case !k.Networks.Within(own.Networks):
		return "networks"
	case !own.Expires.IsZero() && (k.Expires.IsZero() || k.Expires.After(own.Expires)):
		return "end"
	}
	return ""
}

// key returns the key of a token; nil: there is none. How long it takes says nothing
// about the tokens that there are.
func (k *Known) key(token [32]byte) (found *knownKey) {
	for i := range k.keys {
		if subtle.ConstantTimeCompare(k.keys[i].Token[:], token[:]) == 1 {
			found = &k.keys[i]
		}
	}
	return found
}

// SignsIn reports whether a principal has a way in at a time and from an address ("": from
// anywhere) that is good for all that it may: no key with scopes is.
func (p *Principal) SignsIn(at time.Time, from string) bool {
	return p.State == Active && (p.Kind == access.User && (p.Password != "" || len(p.Passkeys) > 0) ||
		slices.ContainsFunc(p.Keys, func(k APIKey) bool {
			return len(k.Scopes) == 0 && (k.Expires.IsZero() || at.Before(k.Expires)) && (from == "" || within(from, k.Networks))
		}))
}

// SignsInAt reports whether one of a tenant's issuers signs a principal in. Who is invited
// only, and has not come yet, may be somebody whom the issuer does not know.
func (p *Principal) SignsInAt(issuers []Issuer) bool {
	return p.State == Active && p.Kind == access.User &&
		slices.ContainsFunc(p.Federated, func(f Federated) bool { return f.counts(issuers, p.Kind) })
}

// newlyAdmitted reports whether something admits a principal that was not there before a
// time. Another password ends all sessions, so it need not be asked for.
func (p *Principal) newlyAdmitted(since time.Time) bool {
	return slices.ContainsFunc(p.Keys, func(k APIKey) bool { return !k.Made.Before(since) }) ||
		slices.ContainsFunc(p.Federated, func(f Federated) bool { return !f.Made.Before(since) }) ||
		slices.ContainsFunc(p.Passkeys, func(k Passkey) bool { return !k.Made.Before(since) })
}

// Redeems reports whether the link is the one of a token, and still counts.
func (l Link) Redeems(token [32]byte, at time.Time) bool {
	return subtle.ConstantTimeCompare(l.Token[:], token[:]) == 1 && l != (Link{}) && at.Before(l.Expires)
}

// within reports whether a list of networks allows an address. One that cannot be read is
// in no network.
func within(address string, networks network.List) bool {
	parsed, _ := netip.ParseAddr(address)
	return networks.Allows(parsed)
}

// Unauthenticated is the answer to whatever is wrong with a credential.
func Unauthenticated() error {
	return fault.New(fault.Denied, "the credential is missing, malformed or does not count").
		WithCode("unauthenticated").WithHint("send the header Authorization: Bearer usk_... with an API key that is neither expired nor revoked, or sign in")
}
