package api

import "time"

// Identity is who a principal is elsewhere: whom one of the tenant's issuers means, or the
// holder of a certificate.
type Identity struct {
	ID      string     `json:"id"`
	Issuer  string     `json:"issuer" doc:"its URL, certificate:ID of who issues certificates, or certificate for a single one"`
	Subject string     `json:"subject"`
	Made    time.Time  `json:"made"`
	Ended   *time.Time `json:"ended,omitempty" doc:"it admits nobody since then, nor is it somebody else's before it is unlinked"`
}

// LinkRequest says who a principal is elsewhere.
type LinkRequest struct {
	Issuer  string `json:"issuer" minLength:"1" maxLength:"64" doc:"id of one of the tenant's issuers, or certificate"`
	Subject string `json:"subject" minLength:"1" maxLength:"255" doc:"claim sub of its tokens; spiffe://..., dns:NAME or subject:CN=.. of its certificates; sha256:... of a certificate"`
	Reason  string `json:"reason,omitempty" doc:"sealed" maxLength:"1000"`
}

// UnlinkRequest ends that a principal is somebody elsewhere.
type UnlinkRequest struct {
	ID     string `json:"id" minLength:"1" maxLength:"255" doc:"of the identity"`
	Reason string `json:"reason,omitempty" doc:"sealed" maxLength:"1000"`
}

// Issuer is whose word a tenant takes for who calls (docs/design/access.md).
type Issuer struct {
	ID         string        `json:"id"`
	Kind       string        `json:"kind" enum:"people,services,certificates"`
	URL        string        `json:"url,omitempty" maxLength:"1024" doc:"https address, exactly as its tokens name it; not of certificates"`
	Client     string        `json:"client,omitempty" maxLength:"1024" doc:"of people: client id of the tenant there"`
	SecretSet  bool          `json:"secret_set" doc:"of people: the client has a secret, which is not shown"`
	Scopes     []string      `json:"scopes,omitempty" maxItems:"20" doc:"of people: asked for besides openid"`
	NameClaim  string        `json:"name_claim,omitempty" maxLength:"1024" doc:"of people: a new user is called after"`
	GroupClaim string        `json:"group_claim,omitempty" maxLength:"1024" doc:"of people: lists the groups of given; a.b is b in a"`
	Given      []IssuerGroup `json:"given,omitempty" maxItems:"100" doc:"of people: what groups there have here"`
	Creates    bool          `json:"creates" doc:"of people: who is not linked yet becomes a user"`
	Audiences  []string      `json:"audiences,omitempty" maxItems:"20" doc:"of services: a token is for one of them"`
	Authority  string        `json:"authority,omitempty" maxLength:"65536" doc:"of certificates: those of the CA, PEM"`
}

// IssuerGroup is what the members of a group of an issuer have.
type IssuerGroup struct {
	Group  string   `json:"group" minLength:"1" maxLength:"1024" doc:"there"`
	Groups []string `json:"groups,omitempty" maxItems:"100" doc:"that they are in here"`
	Roles  []string `json:"roles,omitempty" maxItems:"10"`
}

// IssuerRequest sets an issuer, in place of the one of that id.
type IssuerRequest struct {
	Kind       string        `json:"kind" enum:"people,services,certificates"`
	URL        string        `json:"url,omitempty" maxLength:"1024"`
	Client     string        `json:"client,omitempty" maxLength:"1024"`
	Secret     string        `json:"secret,omitempty" maxLength:"1024" doc:"left out: as before, if URL and client are"`
	Public     bool          `json:"public,omitempty" doc:"the client has no secret any more"`
	Scopes     []string      `json:"scopes,omitempty" maxItems:"20"`
	NameClaim  string        `json:"name_claim,omitempty" maxLength:"1024" doc:"default preferred_username"`
	GroupClaim string        `json:"group_claim,omitempty" maxLength:"1024"`
	Given      []IssuerGroup `json:"given,omitempty" maxItems:"100"`
	Creates    bool          `json:"creates,omitempty"`
	Audiences  []string      `json:"audiences,omitempty" maxItems:"20"`
	Authority  string        `json:"authority,omitempty" maxLength:"65536"`
	Reason     string        `json:"reason,omitempty" doc:"sealed" maxLength:"1000"`
}

// Issuers are all issuers of a tenant.
type Issuers struct {
	Items []Issuer `json:"items"`
	Leaf  string   `json:"leaf" doc:"hash of the newest leaf in the tenant's chain, hex"`
}
