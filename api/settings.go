package api

import "time"

// Settings are what a tenant's administrators have set for everybody in it.
type Settings struct {
	Tenant   string   `json:"tenant"`
	Networks Networks `json:"networks"`
	Limits   Limits   `json:"limits"`
	FourEyes bool     `json:"four_eyes" doc:"confidential processes are deployed by two people"`

	FourEyesOff *FourEyesOff `json:"four_eyes_off,omitempty" doc:"somebody asked for an end of four eyes, and somebody else has to confirm it"`

	RequirePasskey string `json:"require_passkey" enum:"none,administrators,everyone" doc:"whose password alone is not enough"`

	Policies []string `json:"policies" doc:"ids of the tenant's own policies"`
	Object   string   `json:"object" doc:"object id"`
	Leaf     string   `json:"leaf" doc:"hash of the newest leaf in the tenant's chain, hex"`
}

// FourEyesOff is that somebody asked for an end of four eyes.
type FourEyesOff struct {
	By      string    `json:"by"`
	Expires time.Time `json:"expires" doc:"who confirms it later asks anew"`
}

// Networks say where a tenant's people may come from.
type Networks struct {
	All   []string       `json:"all" maxItems:"100" doc:"CIDRs or addresses, for everybody; none: anywhere"`
	Roles []RoleNetworks `json:"roles" maxItems:"10"`
}

// RoleNetworks say where who has a role may come from, and from nowhere else.
type RoleNetworks struct {
	Role string   `json:"role" minLength:"1" maxLength:"64"`
	From []string `json:"from" minItems:"1" maxItems:"100" doc:"CIDRs or addresses"`
}

// NetworksRequest sets where a tenant's people may come from, in place of what was set.
type NetworksRequest struct {
	Networks Networks `json:"networks"`
	Reason   string   `json:"reason,omitempty" doc:"sealed" maxLength:"1000"`
}

// Limits are rates of calls that a tenant has set for itself, such as 1000/h, 50/s or
// 300/15m. 0 is no limit; what is left out is as the server has it.
type Limits struct {
	User   string `json:"user,omitempty" maxLength:"40" doc:"of each person, with all their sessions and API keys; services have none"`
	Key    string `json:"key,omitempty" maxLength:"40" doc:"of each API key"`
	Tenant string `json:"tenant,omitempty" maxLength:"40" doc:"of all together; what the server admits stays the limit"`
}

// LimitsRequest sets a tenant's own limits, in place of what was set.
type LimitsRequest struct {
	Limits Limits `json:"limits"`
	Reason string `json:"reason,omitempty" doc:"sealed" maxLength:"1000"`
}

// FourEyesRequest sets whether confidential processes are deployed by two people. One
// person sets it, two end it: the second by the same request within a day.
type FourEyesRequest struct {
	Required bool   `json:"required"`
	Reason   string `json:"reason,omitempty" doc:"sealed" maxLength:"1000"`
}

// RequirePasskeyRequest sets whose password alone is not enough to sign in.
type RequirePasskeyRequest struct {
	Of     string `json:"of" enum:"none,administrators,everyone" doc:"administrators: who has the role Admin or Operator, by a group, too"`
	Reason string `json:"reason,omitempty" doc:"sealed" maxLength:"1000"`
}

// Policies are a tenant's own policies.
type Policies struct {
	Text  string   `json:"text" doc:"in Cedar"`
	Items []Policy `json:"items"`
	Leaf  string   `json:"leaf" doc:"hash of the newest leaf in the tenant's chain, hex"`
}

// Policy is one of a tenant's own policies.
type Policy struct {
	ID     string `json:"id"`
	Reason string `json:"reason,omitempty" doc:"what people are told"`
}

// PoliciesRequest sets a tenant's own policies, in place of those before.
type PoliciesRequest struct {
	Text   string `json:"text" maxLength:"16384" doc:"forbids in Cedar, each with an @id; empty: none"`
	Reason string `json:"reason,omitempty" doc:"sealed" maxLength:"1000"`
}

// PoliciesTestRequest tries policies without setting them.
type PoliciesTestRequest struct {
	Text string `json:"text" maxLength:"16384" doc:"as they would be set"`
}

// PoliciesTest is what would be decided otherwise. It is asked for each action of each
// principal, on each process or on nothing in particular; a policy that looks at facts of one
// instance or task shows in an explanation alone.
type PoliciesTest struct {
	Items   []PolicyChange `json:"items" doc:"the first 200"`
	Changed int            `json:"changed" doc:"decisions that would be others"`
	Tried   int            `json:"tried" doc:"decisions"`
}

// PolicyChange is a decision that would be another.
type PolicyChange struct {
	Principal string   `json:"principal"`
	Action    string   `json:"action"`
	Kind      string   `json:"kind" doc:"of resource"`
	Process   string   `json:"process,omitempty"`
	Allowed   bool     `json:"allowed" doc:"with the new policies; without them it is the contrary"`
	Policies  []string `json:"policies" doc:"ids of those that would decide"`
}

// ExplainQuery asks why somebody may, or may not, do something.
type ExplainQuery struct {
	Principal string `query:"principal" maxLength:"64"`
	Action    string `query:"action" maxLength:"64" doc:"such as task:complete"`
	Kind      string `query:"kind" maxLength:"64" doc:"of resource; left out: that of the action"`
	ID        string `query:"id" maxLength:"255" doc:"of the resource; left out: nothing in particular"`
	Field     string `query:"field" maxLength:"255" doc:"path of a field of an instance, or of what a task or job shows"`
	Address   string `query:"address" maxLength:"64" doc:"where the request would come from; left out: from an allowed network"`
	Purpose   string `query:"purpose" maxLength:"255"`
}

// Explanation says why a decision is as it is.
type Explanation struct {
	Principal  string     `json:"principal"`
	Action     string     `json:"action"`
	Kind       string     `json:"kind"`
	ID         string     `json:"id,omitempty"`
	Who        Explained  `json:"who" doc:"what the principal has"`
	On         Concerned  `json:"on" doc:"what the record says of the resource, that decisions look at"`
	Allowed    bool       `json:"allowed" doc:"by what does not depend on values that are not shown to who asks"`
	Depends    bool       `json:"depends,omitempty" doc:"not so, but a grant on such a value may permit it: a near miss of the condition unseen"`
	Reasons    []Reason   `json:"reasons" doc:"the policies that decided; none: nothing permits it"`
	Grants     []Grant    `json:"grants" doc:"that match"`
	NearMisses []NearMiss `json:"near_misses" doc:"of a denial: what would permit it but for one thing"`
	Ways       []Reason   `json:"ways" doc:"of a denial for want of a permit: the policies that can permit it"`
	Notes      []string   `json:"notes" doc:"what may not be meant, for people to read"`
}

// Explained is what a principal has that decisions look at, by their groups, too.
type Explained struct {
	Kind   string   `json:"kind" enum:"user,service"`
	Active bool     `json:"active" doc:"neither they nor their company are disabled"`
	Roles  []string `json:"roles"`
	Groups []string `json:"groups"`
	Grants int      `json:"grants" doc:"how many, expired ones too"`
}

// Concerned is what a record says of itself besides values.
type Concerned struct {
	Process  string   `json:"process,omitempty"`
	Element  string   `json:"element,omitempty" doc:"of a task, job or incident"`
	Field    string   `json:"field,omitempty"`
	Assignee string   `json:"assignee,omitempty" doc:"who has claimed the task"`
	Users    []string `json:"users,omitempty" doc:"candidates of the task"`
	Groups   []string `json:"groups,omitempty" doc:"candidates of the task"`
}

// Reason is a policy that decided.
type Reason struct {
	Policy string `json:"policy"`
	Text   string `json:"text"`
}

// NearMiss is what would permit something, but for one thing.
type NearMiss struct {
	Policy    string `json:"policy,omitempty" doc:"the one that forbids what would be permitted"`
	Grant     string `json:"grant,omitempty" doc:"id"`
	Condition string `json:"condition,omitempty" doc:"of the grant, that is not met"`
	Text      string `json:"text"`
}
