package access

import (
	"slices"
	"strings"

	"github.com/underseal/underseal/internal/fault"
)

// Action is one thing that somebody may or may not do: a family, a colon and what is
// done.
type Action string

// The actions, one per use case or a few of the same weight. Those that end in list
// are everybody's: a list holds what its reader may see.
const (
	ListProcesses Action = "process:list"
	ReadProcess   Action = "process:read"
	Deploy        Action = "process:deploy"
	SetMode       Action = "process:set-mode"

	Start          Action = "instance:start"
	ListInstances  Action = "instance:list"
	ReadInstance   Action = "instance:read"
	ExportInstance Action = "instance:export"
	CancelInstance Action = "instance:cancel"
	SetVariables   Action = "instance:set-variables"

	ListTasks    Action = "task:list"
	ReadTask     Action = "task:read"
	ClaimTask    Action = "task:claim"  // for oneself, and giving it back
	AssignTask   Action = "task:assign" // to somebody else
	SaveTask     Action = "task:save"
	CompleteTask Action = "task:complete"

	TakeJobs Action = "job:take" // asking for any; each is decided by WorkJobs
	WorkJobs Action = "job:work"

	ListIncidents Action = "incident:list"
	ReadIncident  Action = "incident:read"
	RetryIncident Action = "incident:retry"

	ReadValue   Action = "value:read"   // masked, if it is sensitive
	RevealValue Action = "value:reveal" // in clear
	PutFile     Action = "file:put"
	ReadFile    Action = "file:read"

	UseSecret    Action = "secret:use"
	UseConnector Action = "connector:use"

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
	RotateRootKey  Action = "key:rotate-root"
	RetireRootKey  Action = "key:retire-root"
	RegisterSigner Action = "signer:register"
	RotateSigner   Action = "signer:rotate"
	RevokeSigner   Action = "signer:revoke"
	ReadSigner     Action = "signer:read"

	ReadLog          Action = "log:read"
	ManageLogReaders Action = "log:manage-readers"
	CheckIntegrity   Action = "integrity:check"
	ReadIntegrity    Action = "integrity:read"
	ExportEvidence   Action = "evidence:export"
	ReadAudit        Action = "audit:read"
	ExportAudit      Action = "audit:export"

	InvitePrincipal  Action = "principal:invite"
	ReadPrincipal    Action = "principal:read"
	ChangePrincipal  Action = "principal:change"
	DisablePrincipal Action = "principal:disable" // and enabling again
	GiveRole         Action = "role:give"         // and taking
	ReadGroup        Action = "group:read"
	CreateGroup      Action = "group:create"
	ChangeGroup      Action = "group:change" // its members, too
	DeleteGroup      Action = "group:delete"
	GiveGrant        Action = "grant:give"
	RevokeGrant      Action = "grant:revoke"
	ReadGrant        Action = "grant:read"
	CreateAPIKey     Action = "apikey:create"
	RotateAPIKey     Action = "apikey:rotate"
	RevokeAPIKey     Action = "apikey:revoke"
	ReadAPIKey       Action = "apikey:read"
	ReadSession      Action = "session:read"
	RevokeSession    Action = "session:revoke"
	ReadPolicy       Action = "policy:read"
	SetPolicy        Action = "policy:set"
	AskExplain       Action = "explain:ask"

	RequestBreakGlass Action = "breakglass:request" // for oneself
	ApproveBreakGlass Action = "breakglass:approve"
	EndBreakGlass     Action = "breakglass:end"
	ReadBreakGlass    Action = "breakglass:read"

	CreateTenant  Action = "tenant:create"
	ReadTenant    Action = "tenant:read"
	ChangeTenant  Action = "tenant:change"
	DisableTenant Action = "tenant:disable" // and enabling again
)

var actions = []Action{
	ListProcesses, ReadProcess, Deploy, SetMode,
	Start, ListInstances, ReadInstance, ExportInstance, CancelInstance, SetVariables,
	ListTasks, ReadTask, ClaimTask, AssignTask, SaveTask, CompleteTask, TakeJobs, WorkJobs,
	ListIncidents, ReadIncident, RetryIncident, ReadValue, RevealValue, PutFile, ReadFile, UseSecret, UseConnector,
	OrderErasure, CancelErasure, ReadErasure, VerifyErasure, PlaceHold, ReleaseHold, ReadHold,
	ReadKey, RotateKey, RetireKey, RotateRootKey, RetireRootKey, RegisterSigner, RotateSigner, RevokeSigner, ReadSigner,
	ReadLog, ManageLogReaders, CheckIntegrity, ReadIntegrity, ExportEvidence, ReadAudit, ExportAudit,
	InvitePrincipal, ReadPrincipal, ChangePrincipal, DisablePrincipal, GiveRole,
	ReadGroup, CreateGroup, ChangeGroup, DeleteGroup, GiveGrant, RevokeGrant, ReadGrant,
	CreateAPIKey, RotateAPIKey, RevokeAPIKey, ReadAPIKey, ReadSession, RevokeSession, ReadPolicy, SetPolicy, AskExplain,
	RequestBreakGlass, ApproveBreakGlass, EndBreakGlass, ReadBreakGlass,
	CreateTenant, ReadTenant, ChangeTenant, DisableTenant,
}

// Actions returns all actions.
func Actions() []Action { return slices.Clone(actions) }

func (a Action) family() string {
	family, _, _ := strings.Cut(string(a), ":")
	return family
}

// familyKinds are the kinds of what the actions of families are on, where they have
// another name.
var familyKinds = map[string]Kind{
	"value": Field, "erasure": Erasure, "integrity": Log, "evidence": Log, "audit": Log, "explain": Someone, "role": Someone,
}

// Kind returns the kind of resources that the action is on.
func (a Action) Kind() Kind {
	if a == Start {
		return Process // the instance is not there yet
	}
	if k, other := familyKinds[a.family()]; other {
		return k
	}
	return Kind(a.family())
}

// ParseAction returns the action of a name; any other text is Invalid.
func ParseAction(name string) (Action, error) {
	if slices.Contains(actions, Action(name)) {
		return Action(name), nil
	}
	return "", fault.New(fault.Invalid, "there is no action %q", name).WithCode("unknown_action").
		WithHint("%s", likelyActions(Action(name).family()))
}

// likelyActions says which actions there are, of a family if there is one of that name.
func likelyActions(family string) string {
	if found := ofFamily(family); len(found) > 0 {
		return "actions of this family are " + listed(found)
	}
	return "an action is a family and what is done, such as task:complete; families are " + listed(families())
}

// families returns what actions begin with, in their order.
func families() []string {
	var found []string
	for _, a := range actions {
		if !slices.Contains(found, a.family()) {
			found = append(found, a.family())
		}
	}
	return found
}

func ofFamily(family string) []Action {
	var found []Action
	for _, a := range actions {
		if a.family() == family {
			found = append(found, a)
		}
	}
	return found
}

// Scope is what an API key may be used for: an action, or a family of them ("task:*").
type Scope string

// ParseScope returns the scope of a text; one that covers no action is Invalid.
func ParseScope(text string) (Scope, error) {
	for _, a := range actions {
		if Scope(text).Covers(a) {
			return Scope(text), nil
		}
	}
	return "", fault.New(fault.Invalid, "scope %q covers no action", text).WithCode("unknown_scope").
		WithHint("a scope is an action, such as job:work, or a family of actions, such as task:*; %s", likelyActions(Action(text).family()))
}

// Covers reports whether a is in the scope.
func (s Scope) Covers(a Action) bool {
	family, all := strings.CutSuffix(string(s), ":*")
	return string(s) == string(a) || all && family == a.family()
}

// Within reports whether all that is in the scope is in one of those of a list, too. The
// empty list is everything.
func (s Scope) Within(all []Scope) bool {
	return len(all) == 0 || !slices.ContainsFunc(actions, func(a Action) bool {
		return s.Covers(a) && !slices.ContainsFunc(all, func(o Scope) bool { return o.Covers(a) })
	})
}

// listed joins names for a message.
func listed[T ~string](names []T) string {
	if len(names) == 0 {
		return "none"
	}
	texts := make([]string, len(names))
	for i, n := range names {
		texts[i] = string(n)
	}
	return strings.Join(texts, ", ")
}
