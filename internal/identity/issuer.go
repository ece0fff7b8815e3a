package identity

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// IssuerKind is whom an issuer vouches for, and how.
type IssuerKind string

// The kinds of issuers.
const (
	People       IssuerKind = "people"       // signs them in, by OpenID Connect
	Services     IssuerKind = "services"     // gives them access tokens (JWT)
	Certificates IssuerKind = "certificates" // gives services client certificates (mTLS)
)

// Issuer is whose word a tenant takes for who calls. Nobody is anybody by it who is not
// linked to it, but by Creates.
type Issuer struct {
	Tenant string // whose settings it is of; not sealed with them

	ID   string // see CheckName
	Kind IssuerKind

	// URL is exactly what its tokens name as iss, and where it says what it is (OpenID
	// Connect Discovery); not of Certificates. https, or http on this machine.
	URL string

	// Of People: as whom the tenant is known there, and what of its tokens counts.
	Client     string   // client id
	Secret     string   // of the client; empty: a public client
	Scopes     []string // asked for besides openid
	NameClaim  string   // a new principal is called after
	GroupClaim string   // lists what Given names; "a.b" is b in a
	Given      []Given
	Creates    bool // who is not linked yet becomes a principal

	Audiences []string // of Services: a token is for one of them

	Authority string // of Certificates: the CA's certificates, PEM
}

// Given is what the members of a group of an issuer have here. At each sign-in, what is
// named in any Given is given or taken as the issuer then says.
type Given struct {
	Group  string // there
	Groups []string
	Roles  []access.Role // but Operator
}

// Bounds of an issuer's settings.
const (
	maxIssuers     = 20
	maxIssuerText  = 1024
	maxGiven       = 100
	maxAuthorities = 64 << 10 // bytes of PEM
)

// IsGoodKey reports whether signatures of an issuer may be by a public key. What is checked
// with a long RSA key takes the server long, for whoever asks it to; Go's TLS has the same
// bound.
func IsGoodKey(public any) bool {
	key, isRSA := public.(*rsa.PublicKey)
	return !isRSA || key.N.BitLen() >= 2048 && key.N.BitLen() <= 8192
}

// CheckIssuers refuses settings that no tenant can have (Invalid), with the place of each
// mistake.
func CheckIssuers(all []Issuer) error {
	if len(all) > maxIssuers {
		return issuerFault(fault.Detail{Place: "", Message: "a tenant has at most 20 issuers"})
	}
	var wrong []fault.Detail
	for i := range all {
		place := "/" + all[i].ID
		for _, d := range all[i].mistakes() {
			wrong = append(wrong, fault.Detail{Place: place + d.Place, Message: d.Message})
		}
		for _, other := range all[:i] {
			if other.ID == all[i].ID {
				wrong = append(wrong, fault.Detail{Place: place, Message: "there are two of this id"})
			}
			if other.Kind == all[i].Kind && other.URL == all[i].URL && other.URL != "" {
				wrong = append(wrong, fault.Detail{Place: place + "/url", Message: "there are two of this kind at this URL"})
			}
		}
	}
	if wrong != nil {
		return issuerFault(wrong...)
	}
	return nil
}

func issuerFault(wrong ...fault.Detail) error {
	return fault.New(fault.Invalid, "the issuers cannot be set").WithCode("issuers_invalid").WithDetails(wrong...)
}

// Apply gives a principal what it is given for groups of the issuer, and takes what it would
// be given for others; what is named in no Given stays.
func (i *Issuer) Apply(p *Principal, there []string) {
	var groups, may []string
	var roles, could []access.Role
	for _, g := range i.Given {
		may, could = append(may, g.Groups...), append(could, g.Roles...)
		if slices.Contains(there, g.Group) {
			groups, roles = append(groups, g.Groups...), append(roles, g.Roles...)
		}
	}
	p.Groups, p.Roles = rearranged(p.Groups, may, groups), rearranged(p.Roles, could, roles)
}

// rearranged returns what somebody has without what is not given of what could be, and with
// the rest of what is given.
func rearranged[T comparable](has, could, given []T) []T {
	out := slices.DeleteFunc(slices.Clone(has), func(v T) bool { return slices.Contains(could, v) && !slices.Contains(given, v) })
	for _, v := range given {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// mistakes says what is wrong with an issuer, each with its place in it.
func (i *Issuer) mistakes() []fault.Detail {
	var w mistakes
	w.refuse(CheckName(i.ID) != nil, "/id", "it has 1 to 64 of the characters a-z, 0-9 and ._@-, and is neither . nor ..")
	w.refuse(i.Kind != Certificates && !isIssuerURL(i.URL), "/url", "it is an https address without query, exactly as its tokens name it")
	switch i.Kind {
	case People:
		i.peopleMistakes(&w)
	case Services:
		w.refuse(len(i.Audiences) == 0 || len(i.Audiences) > maxIssuers || !every(i.Audiences, isPlain), "/audiences", "1 to 20, of one of which a token is to be")
	case Certificates:
		_, err := i.Authorities()
		w.refuse(err != nil, "/authority", "it is one or more certificates in PEM, of authorities, 64 KiB at most, RSA keys of 2,048 to 8,192 bits")
		w.refuse(i.URL != "", "/url", "issuers of certificates have none")
	default:
		w.refuse(true, "/kind", "it is people, services or certificates")
	}
	w.refuse(i.Kind != People && i.forPeople(), "", "client, secret, scopes, claims and groups are those of an issuer of people")
	w.refuse(i.Kind != Services && i.Audiences != nil, "/audiences", "only issuers for services have them")
	w.refuse(i.Kind != Certificates && i.Authority != "", "/authority", "only issuers of certificates have one")
	return w
}

// forPeople reports whether anything is set that only issuers of people have.
func (i *Issuer) forPeople() bool {
	return i.Client != "" || i.Secret != "" || i.Scopes != nil || i.NameClaim != "" || i.GroupClaim != "" || i.Given != nil || i.Creates
}

func (i *Issuer) peopleMistakes(w *mistakes) {
	w.refuse(!isPlain(i.Client), "/client", "it is the client id that the issuer gave the tenant")
	w.refuse(i.Secret != "" && !isPlain(i.Secret), "/secret", "it has at most 1,024 characters, none of them a space")
	w.refuse(len(i.Scopes) > maxIssuers || !every(i.Scopes, isPlain), "/scopes", "at most 20, each without spaces")
	w.refuse(!isPlain(i.NameClaim), "/name_claim", "it is the name of a claim, such as preferred_username")
	w.refuse(i.GroupClaim != "" && !isPlain(i.GroupClaim), "/group_claim", "it is the name of a claim, such as groups")
	w.refuse(i.GroupClaim == "" && i.Given != nil, "/group_claim", "it must say which claim lists the groups")
	w.refuse(len(i.Given) > maxGiven, "/given", "at most 100 groups")
	for _, g := range i.Given {
		place := "/given/" + g.Group
		w.refuse(g.Group == "" || len(g.Group) > maxIssuerText, place, "a group has a name")
		w.refuse(len(g.Groups)+len(g.Roles) == 0, place, "it names neither groups nor roles")
		w.refuse(!every(g.Groups, func(name string) bool { return CheckName(name) == nil }), place+"/groups", "one is no name of a group")
		w.refuse(!every(g.Roles, func(r access.Role) bool { _, err := access.ParseRole(string(r)); return err == nil }), place+"/roles", "one is no role: they are Admin, Designer, Executor, Viewer and Auditor")
		w.refuse(slices.Contains(g.Roles, access.Operator), place+"/roles", "no issuer makes somebody an Operator")
	}
}

// mistakes are what is wrong, in the order of being found.
type mistakes []fault.Detail

func (w *mistakes) refuse(bad bool, place, message string) {
	if bad {
		*w = append(*w, fault.Detail{Place: place, Message: message})
	}
}

func every[T any](list []T, good func(T) bool) bool {
	return !slices.ContainsFunc(list, func(t T) bool { return !good(t) })
}

// isPlain reports whether text has 1 to 1,024 characters, none of them a space or a
// control character.
func isPlain(text string) bool {
	return text != "" && len(text) <= maxIssuerText &&
		!strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == unicode.ReplacementChar })
}

// isIssuerURL reports whether text may be an issuer (OpenID Connect Core section 1.2).
// In clear anybody between could be the issuer, so that is for this machine alone.
func isIssuerURL(text string) bool {
	u, err := url.Parse(text)
	if err != nil || !isPlain(text) || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(text, "#") {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && err == nil && ip.IsLoopback()
}

// Authorities returns the certificates that an issuer of certificates signs with.
func (i *Issuer) Authorities() ([]*x509.Certificate, error) {
	refused := fault.New(fault.Invalid, "the authority of issuer %q is not made of certificates of authorities", i.ID).WithCode("issuers_invalid")
	rest := []byte(i.Authority)
	if len(rest) > maxAuthorities {
		return nil, refused
	}
	var found []*x509.Certificate
	for len(strings.TrimSpace(string(rest))) > 0 {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" {
			return nil, refused
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil || !c.IsCA || !IsGoodKey(c.PublicKey) {
			return nil, refused
		}
		found = append(found, c)
	}
	if found == nil {
		return nil, refused
	}
	return found, nil
}

// value returns an issuer as it is sealed, without its client's secret.
func (i *Issuer) value() canon.Value {
	given := make(canon.List, len(i.Given))
	for j, g := range i.Given {
		given[j] = contextOf(text("group", g.Group), list("groups", g.Groups), list("roles", g.Roles))
	}
	return contextOf(
		text("id", i.ID), text("kind", string(i.Kind)), text("url", i.URL), text("client", i.Client),
		list("scopes", i.Scopes), text("name_claim", i.NameClaim), text("group_claim", i.GroupClaim),
		canon.Entry{Name: "given", Value: given}, canon.Entry{Name: "creates", Value: canon.Bool(i.Creates)},
		list("audiences", i.Audiences), text("authority", i.Authority),
	)
}

func list[T ~string](name string, of []T) canon.Entry {
	return canon.Entry{Name: name, Value: texts(of)}
}

func issuerOf(v canon.Value) Issuer {
	creates, _ := entryOf(v, "creates").(canon.Bool)
	return Issuer{
		ID: textOf(entryOf(v, "id")), Kind: IssuerKind(textOf(entryOf(v, "kind"))), URL: textOf(entryOf(v, "url")),
		Client: textOf(entryOf(v, "client")), Scopes: textsOf[string](entryOf(v, "scopes")),
		NameClaim: textOf(entryOf(v, "name_claim")), GroupClaim: textOf(entryOf(v, "group_claim")),
		Given: listOf(entryOf(v, "given"), givenOf), Creates: bool(creates),
		Audiences: textsOf[string](entryOf(v, "audiences")), Authority: textOf(entryOf(v, "authority")),
	}
}

func givenOf(v canon.Value) Given {
	return Given{Group: textOf(entryOf(v, "group")), Groups: textsOf[string](entryOf(v, "groups")), Roles: textsOf[access.Role](entryOf(v, "roles"))}
}

func issuers(list []Issuer) canon.List {
	out := make(canon.List, len(list))
	for i := range list {
		out[i] = list[i].value()
	}
	return out
}

// SecretsField is the field of a tenant that has the secrets of its clients at issuers. It is
// apart from what is known of these, since nobody is ever shown it: evidence discloses
// fields, and none of this.
const SecretsField = "issuer_secrets"

func issuerSecrets(all []Issuer) canon.List {
	out := canon.List{}
	for i := range all {
		if all[i].Secret != "" {
			out = append(out, contextOf(text("id", all[i].ID), text("secret", all[i].Secret)))
		}
	}
	return out
}

// issuersOf returns a tenant's issuers, with what issuerSecrets made of them.
func issuersOf(tenant string, sealed, secrets canon.Value) []Issuer {
	all := listOf(sealed, issuerOf)
	for i := range all {
		all[i].Tenant = tenant
	}
	kept, _ := secrets.(canon.List)
	for _, v := range kept {
		if i := slices.IndexFunc(all, func(i Issuer) bool { return i.ID == textOf(entryOf(v, "id")) }); i >= 0 {
			all[i].Secret = textOf(entryOf(v, "secret"))
		}
	}
	return all
}
