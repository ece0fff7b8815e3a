package api

import "time"

// Me is who calls.
type Me struct {
	Tenant  string   `json:"tenant"`
	User    string   `json:"user" doc:"name of the principal"`
	Kind    string   `json:"kind" enum:"user,service"`
	Roles   []string `json:"roles" doc:"own ones and those of groups"`
	Groups  []string `json:"groups"`
	Grants  []Grant  `json:"grants" doc:"own ones and those of groups"`
	Key     string   `json:"key" doc:"id of the credential that was used"`
	Scopes  []string `json:"scopes,omitempty" doc:"what the credential is for; none: everything"`
	Address string   `json:"address" doc:"where the call came from"`
}

// Notice is something that happened to the caller's account.
type Notice struct {
	Kind    string    `json:"kind" doc:"of the log's entry: password.set, api_key.created, sign_in.failed .."`
	At      time.Time `json:"at"`
	By      string    `json:"by,omitempty" doc:"who did it; of what failed, who they said to be"`
	Address string    `json:"address,omitempty" doc:"network address that it came from, if it was done in the caller's name"`
	Count   int       `json:"count,omitempty" doc:"how often it happened"`
}

// Notices are what a principal is told about their account.
type Notices struct {
	Items  []Notice `json:"items" doc:"of the last 30 days, the newest first; 100 steps at most, and 50 each of failed sign-ins and copied passkeys"`
	More   bool     `json:"more,omitempty" doc:"there may be more than these"`
	Ending []APIKey `json:"ending" doc:"own API keys that end within two weeks: rotate them; empty for a credential that does not see API keys"`
}

// User is a principal: a person or a program.
type User struct {
	Name    string     `json:"name" doc:"never changes; tasks are assigned to it"`
	Kind    string     `json:"kind" enum:"user,service"`
	Display string     `json:"display,omitempty" doc:"how people know them"`
	Mail    string     `json:"mail,omitempty"`
	State   string     `json:"state" enum:"invited,active,disabled"`
	Roles   []string   `json:"roles" doc:"own ones; groups may give more"`
	Groups  []string   `json:"groups"`
	Invited *time.Time `json:"invited_until,omitempty" doc:"when the link of an invitation ends"`

	Identities []Identity `json:"identities,omitempty" doc:"who they are elsewhere"`
	Passkeys   []Passkey  `json:"passkeys,omitempty"`

	Object string `json:"object" doc:"object id"`
	Leaf   string `json:"leaf" doc:"hash of the newest leaf in the principal's chain, hex"`
}

// Users is a page of principals, in no order that people know.
type Users struct {
	Items []User `json:"items"`
	Next  string `json:"next,omitempty"`
}

// UserRequest makes a principal. A user is invited and gets a link, a service is active
// at once and gets API keys.
type UserRequest struct {
	Name    string   `json:"name" minLength:"1" maxLength:"64" doc:"of a-z, 0-9 and ._@-; neither . nor .."`
	Kind    string   `json:"kind,omitempty" enum:"user,service" doc:"user if it is left out"`
	Display string   `json:"display,omitempty" maxLength:"255"`
	Mail    string   `json:"mail,omitempty" maxLength:"255"`
	Roles   []string `json:"roles,omitempty" maxItems:"10"`
	Groups  []string `json:"groups,omitempty" maxItems:"100"`
	Reason  string   `json:"reason,omitempty" doc:"sealed" maxLength:"1000"`
}

// Invited is a principal and the link that admits them once. The answer alone holds it.
type Invited struct {
	User User   `json:"user"`
	Link string `json:"link,omitempty" doc:"usi_...; for underseal setup"`
}

// ProfileRequest changes how people know a principal.
type ProfileRequest struct {
	Display string `json:"display" maxLength:"255"`
	Mail    string `json:"mail" maxLength:"255"`
	Reason  string `json:"reason,omitempty" doc:"sealed" maxLength:"1000"`
}

// ReasonRequest is a change that needs no more than a reason.
type ReasonRequest struct {
	Reason string `json:"reason,omitempty" doc:"sealed" maxLength:"1000"`
}

// RoleRequest names a role to give or to take.
type RoleRequest struct {
	Role   string `json:"role" minLength:"1" maxLength:"64"`
	Reason string `json:"reason,omitempty" doc:"sealed" maxLength:"1000"`
}

// MemberRequest names a group to join or to leave.
type MemberRequest struct {
	Group  string `json:"group" minLength:"1" maxLength:"64"`
	Reason string `json:"reason,omitempty" doc:"sealed" maxLength:"1000"`
}

// Group gives its roles and grants to its members.
type Group struct {
	Name    string   `json:"name"`
	Display string   `json:"display,omitempty"`
	Roles   []string `json:"roles"`
	Object  string   `json:"object" doc:"object id"`
	Leaf    string   `json:"leaf" doc:"hash of the newest leaf in the group's chain, hex"`
}

// Groups is a page of groups, in no order that people know.
type Groups struct {
	Items []Group `json:"items"`
	Next  string  `json:"next,omitempty"`
}

// GroupRequest makes a group.
type GroupRequest struct {
	Name    string   `json:"name" minLength:"1" maxLength:"64" doc:"of a-z, 0-9 and ._@-; neither . nor .."`
	Display string   `json:"display,omitempty" maxLength:"255"`
	Roles   []string `json:"roles,omitempty" maxItems:"10"`
	Reason  string   `json:"reason,omitempty" doc:"sealed" maxLength:"1000"`
}

// Grant gives a right to a principal or to the members of a group
// (docs/design/access.md).
type Grant struct {
	ID       string     `json:"id"`
	User     string     `json:"user,omitempty" doc:"to whom it is given"`
	Group    string     `json:"group,omitempty" doc:"to whose members it is given"`
	Right    string     `json:"right" enum:"view,start,work,manage,design,read,reveal,use,break-glass"`
	Process  string     `json:"process,omitempty" doc:"id, or * for all"`
	Instance string     `json:"instance,omitempty" doc:"of a break-glass for one"`
	Where    *Where     `json:"where,omitempty" doc:"instances that it holds for"`
	Task     string     `json:"task,omitempty" doc:"id of the task's element"`
	Fields   []string   `json:"fields,omitempty" doc:"paths, or * for all"`
	Name     string     `json:"name,omitempty" doc:"of the secret or connector"`
	Purpose  string     `json:"purpose,omitempty" doc:"of each request that it is used for"`
	Expires  *time.Time `json:"expires,omitempty"`
}

// GivenGrant is a grant that was just given.
type GivenGrant struct {
	Grant
	Notes []string `json:"notes" doc:"what of it nothing fits that is deployed, for people to read: it may be misspelled"`
}

// Where is instances whose searchable field has a value.
type Where struct {
	Path  string `json:"path" minLength:"1" maxLength:"255"`
	Value string `json:"value" maxLength:"255"`
}

// Grants is a page of grants; it may be empty though others follow.
type Grants struct {
	Items []Grant `json:"items"`
	Next  string  `json:"next,omitempty"`
}

// GrantRequest gives a grant to a user or to a group.
type GrantRequest struct {
	User    string     `json:"user,omitempty" maxLength:"64"`
	Group   string     `json:"group,omitempty" maxLength:"64"`
	Right   string     `json:"right" enum:"view,start,work,manage,design,read,reveal,use"`
	Process string     `json:"process,omitempty" maxLength:"255" doc:"id, or * for all"`
	Where   *Where     `json:"where,omitempty"`
	Task    string     `json:"task,omitempty" maxLength:"255"`
	Fields  []string   `json:"fields,omitempty" maxItems:"100"`
	Name    string     `json:"name,omitempty" maxLength:"255"`
	Purpose string     `json:"purpose,omitempty" maxLength:"255"`
	Expires *time.Time `json:"expires,omitempty"`
	Reason  string     `json:"reason,omitempty" doc:"sealed" maxLength:"1000"`
}

// APIKey is a key of a principal, without what makes it one.
type APIKey struct {
	ID       string     `json:"id"`
	User     string     `json:"user"`
	Name     string     `json:"name,omitempty" doc:"what it is for"`
	Scopes   []string   `json:"scopes,omitempty" doc:"actions (job:work) or families (task:*); none: everything"`
	Networks []string   `json:"networks,omitempty" doc:"CIDRs where it may be used from; none: anywhere"`
	Made     time.Time  `json:"made"`
	Expires  *time.Time `json:"expires,omitempty"`
	Used     *time.Time `json:"used,omitempty" doc:"last use, about to the hour"`
}

// APIKeys is a page of keys; it may be empty though others follow.
type APIKeys struct {
	Items []APIKey `json:"items"`
	Next  string   `json:"next,omitempty"`
}

// APIKeyRequest makes a key.
type APIKeyRequest struct {
	User     string     `json:"user" minLength:"1" maxLength:"64"`
	Name     string     `json:"name,omitempty" maxLength:"255" doc:"what it is for"`
	Scopes   []string   `json:"scopes,omitempty" maxItems:"100" doc:"actions (job:work) or families (task:*); none: everything"`
	Networks []string   `json:"networks,omitempty" maxItems:"100" doc:"CIDRs where it may be used from; none: anywhere"`
	Expires  *time.Time `json:"expires,omitempty"`
	Reason   string     `json:"reason,omitempty" doc:"sealed" maxLength:"1000"`
}

// RotateAPIKeyRequest puts another key in a key's place.
type RotateAPIKeyRequest struct {
	OverlapMS *int   `json:"overlap_ms,omitempty" doc:"how long the old key still counts; default a day" minimum:"0" maximum:"2592000000"`
	Reason    string `json:"reason,omitempty" doc:"sealed" maxLength:"1000"`
}

// NewAPIKey is a key and its text. The answer alone holds it.
type NewAPIKey struct {
	APIKey
	Text string `json:"text" doc:"usk_..."`
}

// Tenant is a company on this server.
type Tenant struct {
	Name    string     `json:"name"`
	Display string     `json:"display,omitempty"`
	State   string     `json:"state" enum:"active,disabled"`
	SetUp   *time.Time `json:"setup_until,omitempty" doc:"when the link for its first administrator ends"`
}

// Tenants are all tenants by name.
type Tenants struct {
	Items []Tenant `json:"items"`
}

// TenantRequest makes a tenant.
type TenantRequest struct {
	Name    string `json:"name" minLength:"1" maxLength:"40" doc:"of a-z, 0-9 and -; never used twice"`
	Display string `json:"display,omitempty" maxLength:"255"`
	Reason  string `json:"reason,omitempty" doc:"sealed" maxLength:"1000"`
}

// NewTenant is a tenant and the link that makes its first administrator, once. The answer
// alone holds it.
type NewTenant struct {
	Tenant Tenant `json:"tenant"`
	Link   string `json:"link" doc:"usi_...; for underseal setup"`
}

// SetupRequest uses a link.
type SetupRequest struct {
	Link     string `json:"link" minLength:"1" maxLength:"255" doc:"usi_..."`
	Name     string `json:"name,omitempty" maxLength:"64" doc:"of a tenant's first administrator; others have one"`
	Password string `json:"password,omitempty" maxLength:"1024" doc:"to sign in with, instead of an API key"`
}

// SetupDone is who was set up and their API key, which the answer alone holds; none, if
// they set a password.
type SetupDone struct {
	Tenant string    `json:"tenant"`
	User   string    `json:"user"`
	Key    NewAPIKey `json:"key,omitzero"`
	Ended  bool      `json:"ended,omitempty" doc:"the user was there already: all that admitted them before has ended"`
}
