package access

import (
	"slices"
	"time"

	"github.com/underseal/underseal/internal/fault"
)

// Resource is what is asked for, with what its record says of it; never what a caller
// says. What is empty or not set does not apply.
type Resource struct {
	Kind   Kind
	ID     string // may be empty
	Tenant string

	Process  string            // that it is, or belongs to
	Instance string            // that it is, or belongs to
	Element  string            // of a task or job
	Assignee string            // who has claimed the task
	Users    []string          // candidates of the task
	Groups   []string          // candidates of the task
	Values   map[string]string // searchable fields of the instance and their values, by path
	Field    string            // path of a Field, as a policy spells it: without a scope, "[]" for each index
	InForm   bool              // the form of the task names the field
	Given    bool              // the job was given the field
	Name     string            // of a secret, connector or tenant
	Owner    string            // principal that it is or belongs to: themselves, a key, a session

	Confidential bool // the process has confidential data
}

// Kind is a kind of resources.
type Kind string

// The kinds. Field is one field of an instance, task or job, with all that is known of
// that one.
const (
	Process   Kind = "process"
	Instance  Kind = "instance"
	Task      Kind = "task"
	Job       Kind = "job"
	Incident  Kind = "incident"
	Field     Kind = "field"
	File      Kind = "file" // that is in no instance yet
	Person    Kind = "person"
	Erasure   Kind = "erasure"
	Hold      Kind = "hold"
	Key       Kind = "key"
	Signer    Kind = "signer"
	Log       Kind = "log"
	Someone   Kind = "principal"
	Group     Kind = "group"
	Given     Kind = "grant"
	APIKey    Kind = "apikey"
	Session   Kind = "session"
	Policy    Kind = "policy"
	Breach    Kind = "breakglass"
	Tenant    Kind = "tenant"
	Secret    Kind = "secret"
	Connector Kind = "connector"
)

// Kinds returns all kinds of resources.
func Kinds() []Kind {
	return []Kind{
		Process, Instance, Task, Job, Incident, Field, File, Person, Erasure, Hold, Key, Signer, Log,
		Someone, Group, Given, APIKey, Session, Policy, Breach, Tenant, Secret, Connector,
	}
}

// ParseKind returns the kind of a name; any other text is Invalid.
func ParseKind(name string) (Kind, error) {
	if slices.Contains(Kinds(), Kind(name)) {
		return Kind(name), nil
	}
	return "", fault.New(fault.Invalid, "there is no kind of resources %q", name).WithCode("unknown_kind").
		WithHint("kinds are %s", listed(Kinds()))
}

// Circumstances are those of a request. The zero value permits nothing.
type Circumstances struct {
	Now      time.Time // by which grants expire
	Network  bool      // the request comes from a network that is allowed
	Held     bool      // by a legal hold; known for OrderErasure alone
	FourEyes bool      // the tenant wants confidential processes deployed by two people
	Approved bool      // a second person agreed
	Purpose  string    // that was given, may be empty
}
