// Package access decides whether a principal may do something, and says why.
//
// It is pure: who asks, what for and on what are given as data, the policies
// are built in, and the answer names the policies that led to it.
package access

import (
	_ "embed"
	"fmt"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
)

//go:embed policies.cedar
var builtin []byte

// Action is one thing that somebody may or may not do.
type Action string

// The actions, one per use case.
const (
	Deploy         Action = "process:deploy"
	ReadProcess    Action = "process:read"
	SetMode        Action = "process:set-mode"
	Start          Action = "instance:start"
	ReadInstance   Action = "instance:read"
	ExportInstance Action = "instance:export"
	CancelInstance Action = "instance:cancel"
	SetVariables   Action = "instance:set-variables"
	ReadTask       Action = "task:read"
	ClaimTask      Action = "task:claim"
	SaveTask       Action = "task:save"
	CompleteTask   Action = "task:complete"
	WorkJobs       Action = "job:work"
	ReadIncident   Action = "incident:read"
	RetryIncident  Action = "incident:retry"
	OrderErasure   Action = "erasure:order"
	CancelErasure  Action = "erasure:cancel"
	ReadErasure    Action = "erasure:read"
	VerifyErasure  Action = "erasure:verify"
	PlaceHold      Action = "hold:place"
	ReleaseHold    Action = "hold:release"
	ReadHold       Action = "hold:read"
	ReadKey        Action = "key:read"
	RotateKey      Action = "key:rotate"
	RetireKey      Action = "key:retire"
	RegisterSigner Action = "signer:register"
	RotateSigner   Action = "signer:rotate"
	RevokeSigner   Action = "signer:revoke"
	ReadSigner     Action = "signer:read"
	PutFile        Action = "file:put"
	ReadFile       Action = "file:read"

	ReadLog          Action = "log:read"
	ManageLogReaders Action = "log:manage-readers"
	CheckIntegrity   Action = "integrity:check"
	ReadIntegrity    Action = "integrity:read"
	ExportEvidence   Action = "evidence:export"
)

// Principal is who asks.
type Principal struct {
	ID     string
	Tenant string
	Roles  []string // "Admin" alone has rights for now
}

// Resource is what is asked for. Kind is "process", "instance", "task", "job",
// "incident", "key" or "log"; ID may be empty for all of them.
type Resource struct {
	Kind   string
	ID     string
	Tenant string
}

// Decision is an answer with its reasons.
type Decision struct {
	Allowed  bool
	Policies []string // ids of the policies that decided; none: denied by default
}

// Policies is a set of policies. It is immutable and safe for concurrent use.
type Policies struct{ list policyList }

// Builtin returns the built-in policies.
func Builtin() (*Policies, error) {
	parsed, err := cedar.NewPolicyListFromBytes("policies.cedar", builtin)
	if err != nil {
		return nil, fmt.Errorf("couldn't parse the built-in policies: %w", err)
	}
	list := make(policyList, 0, len(parsed))
	for i, p := range parsed {
		id, ok := p.Annotations()["id"]
		if !ok {
			return nil, fmt.Errorf("built-in policy %d has no id", i)
		}
		list = append(list, policy{cedar.PolicyID(id), p})
	}
	return &Policies{list}, nil
}

// Decide answers whether the principal may do the action on the resource. What
// no policy permits is denied, and so is everything when a policy cannot be
// evaluated.
func (p *Policies) Decide(who Principal, action Action, on Resource) Decision {
	entities := newWorld(who, on)
	verdict, diagnostic := cedar.Authorize(p.list, entities, cedar.Request{
		Principal: entities.principal.UID,
		Action:    types.NewEntityUID("Action", types.String(action)),
		Resource:  entities.resource.UID,
	})
	d := Decision{Allowed: verdict == cedar.Allow && len(diagnostic.Errors) == 0}
	for _, reason := range diagnostic.Reasons {
		d.Policies = append(d.Policies, string(reason.PolicyID))
	}
	return d
}
