// Package process is the interpreter of BPMN processes: Step takes a compiled
// definition, an instance's state and one event, changes the state, and says
// which fields changed and what is to be done after the commit.
//
// It is a function of its arguments. It has no clock (an event carries its
// time), no randomness (numbers are counted in the state), no I/O and no
// goroutines, and nothing depends on the order of a map, so replaying an
// instance's events gives the same state, byte for byte, on any machine.
//
// An instance is an arena of scopes and tokens. A scope is one run of the
// process or of a subprocess, or an activity with variables of its own. A token
// stands on one element; one that waits at a join remembers by which flow it
// came. Variables live in scopes and are looked up along the chain of parents,
// as in Camunda 8. Each is kept and reported as fields, the unit of sealing:
// a declared path inside a variable is a field of its own, with a label that
// says how confidential it is and about whom.
//
// The structure that Encode writes holds no values. Its format, and the
// decisions behind the joins, are in docs/design/process.md.
package process

import (
	"time"

	"github.com/underseal/underseal/internal/feel"
)

// Kind is what an element does when a token reaches it.
type Kind uint8

// The kinds of element that are executed. A model that uses any other element
// is refused when it is deployed.
const (
	StartEvent Kind = iota + 1
	EndEvent
	TerminateEndEvent
	ErrorEndEvent
	TimerCatchEvent
	TimerBoundaryEvent
	ErrorBoundaryEvent
	Task        // undefined or manual task: passes through
	UserTask    // work for a person
	ServiceTask // work for a worker (also send and business rule tasks with a job type)
	ScriptTask  // a FEEL expression
	ExclusiveGateway
	ParallelGateway
	InclusiveGateway
	SubProcess // embedded
)

// Definition is one compiled process: an immutable graph that many instances
// share. Elements and flows have dense numbers that live in memory only; stored
// state names them by their BPMN ids. Make one by filling Process, Elements,
// Flows and Policy and calling Seal, which checks the graph and computes what
// the joins need.
type Definition struct {
	ID      string // of the BPMN process
	Name    string
	Version int
	Hash    string // hex SHA-256 of the model's original bytes

	Elements []Element // document order; index = dense number
	Flows    []Flow    // document order
	Policy   Policy

	// what Seal computes follows, unexported, in this struct
	graph
}

// Element is one BPMN node. Parent is the enclosing subprocess or -1.
type Element struct {
	ID, Name string
	Kind     Kind
	Parent   int
	Line     int // in the model's source, for diagnostics

	Incoming, Outgoing []int // flows, document order
	Default            int   // flow taken when no condition holds, or -1

	Inputs, Outputs []Mapping // activities only; see Mapping

	Job    *JobSpec    // ServiceTask
	User   *UserSpec   // UserTask
	Script *ScriptSpec // ScriptTask
	Timer  *TimerSpec  // TimerCatchEvent, TimerBoundaryEvent
	Error  *ErrorSpec  // ErrorEndEvent, ErrorBoundaryEvent

	AttachedTo   int   // boundary events: the activity, else -1
	Interrupting bool  // boundary events
	Boundaries   []int // activities: attached boundary events, document order (set by Seal)
}

// Flow is a sequence flow between two elements of the same scope.
type Flow struct {
	ID        string
	From, To  int
	Condition *feel.Expression // nil: unconditional
}

// Mapping is one input or output mapping. Inputs are evaluated in the enclosing
// scope and written into the activity's own; outputs are evaluated there and
// written to the enclosing scopes. Target may be a path ("applicant.name").
type Mapping struct {
	Source *feel.Expression
	Target string
}

// JobSpec says what a service task asks of a worker.
type JobSpec struct {
	Type    *feel.Expression // usually a constant string
	Retries *feel.Expression // nil: 3
	Headers []Header         // constant text for the worker
	Signed  bool             // its result must be signed by the worker
}

// Header is one constant of a job.
type Header struct{ Name, Value string }

// UserSpec says who may do a user task and with which form.
type UserSpec struct {
	Assignee        *feel.Expression // nil: nobody
	CandidateGroups *feel.Expression // list of strings, nil: none
	CandidateUsers  *feel.Expression
	DueDate         *feel.Expression // date-time, nil: none
	FormKey         string           // names a JSON Schema file of the deployment, "" for none
	Signed          bool             // what is entered must be signed by the person
}

// ScriptSpec is a FEEL script and the variable its result goes to.
type ScriptSpec struct {
	Expression *feel.Expression
	Result     string
}

// TimerSpec is one of a date, a duration or a cycle; the expression gives it.
type TimerSpec struct {
	Kind       TimerKind
	Expression *feel.Expression // gives a date-time, a duration, or for cycles text "R3/PT1H"
}

// TimerKind is the kind of a timer event definition.
type TimerKind uint8

// The kinds of timer. A cycle is for non-interrupting boundary events.
const (
	TimerDate TimerKind = iota + 1
	TimerDuration
	TimerCycle
)

// ErrorSpec is a BPMN error's code; "" on a boundary event catches any.
type ErrorSpec struct{ Code string }

// Mode says whether all fields of a process's instances are sealed.
type Mode string

// The two modes; a model without one is standard.
const (
	Standard     Mode = "standard"
	Confidential Mode = "confidential"
)

// Policy is what a model says about its data (the seal: namespace).
type Policy struct {
	Mode      Mode
	Default   Class
	Retention string        // ISO 8601 duration, "" for none
	Fields    []FieldPolicy // sorted by Path

	tree *policyTree // of Fields, made by Seal
}

// FieldPolicy classifies one declared field. Path is a variable's name or a
// path inside it: "applicant.ssn", "people[].phone".
type FieldPolicy struct {
	Path    string
	Class   Class
	Subject string // path of the field that names the person, or ""; "people[].id" pairs by index
	Search  string // "" or "exact"
}

// Limits of one instance's execution.
const (
	// MaxTransitions bounds the internal transitions of one step; beyond it the
	// instance gets an incident instead of spinning for ever.
	MaxTransitions = 10_000
	// DefaultRetries is how often a job is offered when its model says nothing.
	DefaultRetries = 3
	// DefaultBackoff is the pause before a failed job's next try, doubled for
	// each further one unless the worker names its own.
	DefaultBackoff = time.Second
	// MaxBackoff bounds that doubling.
	MaxBackoff = time.Hour
)
