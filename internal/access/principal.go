package access

import "github.com/underseal/underseal/internal/fault"

// Kinds of principals.
const (
	User    = "user"    // a person
	Service = "service" // a program
)

// Principal is who asks, with everything that counts for them: their own roles and
// grants and those of their groups.
type Principal struct {
	Name   string // never changes; what tasks are assigned to
	Tenant string
	Kind   string // User or Service
	Roles  []Role
	Groups []string
	Grants []Grant
	Scopes []Scope // of the credential that was used; none: it takes nothing away

	Disabled       bool
	TenantDisabled bool
}

// Role is the name of a role.
type Role string

// The roles. What each may do is in policies.cedar.
const (
	Admin    Role = "Admin"
	Designer Role = "Designer"
	Executor Role = "Executor"
	Viewer   Role = "Viewer"
	Auditor  Role = "Auditor"
	Operator Role = "Operator" // in the tenant MainTenant alone
)

// MainTenant is the tenant whose Operators make and disable tenants.
const MainTenant = "main"

// Roles returns all roles.
func Roles() []Role { return []Role{Admin, Designer, Executor, Viewer, Auditor, Operator} }

// ParseRole returns the role of a name, which is spelled as in Roles; any other is
// Invalid.
func ParseRole(name string) (Role, error) {
	for _, r := range Roles() {
		if string(r) == name {
			return r, nil
		}
	}
	return "", fault.New(fault.Invalid, "there is no role %q", name).WithCode("unknown_role").
		WithHint("roles are %s", listed(Roles()))
}
