package process

import (
	"time"

	"github.com/underseal/underseal/internal/canon"
)

// Event is what happens to an instance. Everything that changes an instance is
// one of these; At is the only clock the interpreter knows.
type Event interface{ event() }

// The closed set of events.

type (
	// Start begins the instance with the given root variables.
	Start struct{ Variables *canon.Context }
	// JobCompleted carries a worker's result.
	JobCompleted struct {
		Job       uint64
		Variables *canon.Context
	}
	// JobFailed reports a failed try. Retries is what is left afterwards
	// (negative: one less than now); at zero an incident is raised. Backoff is
	// the pause before the next try (negative: the default, doubled per try).
	JobFailed struct {
		Job     uint64
		Retries int
		Backoff time.Duration
		Message string
	}
	// JobErrored is a BPMN error thrown by a worker.
	JobErrored struct {
		Job       uint64
		Code      string
		Message   string
		Variables *canon.Context
	}
	// TaskClaimed makes a person the task's assignee. Claiming a task that
	// somebody else holds is rejected.
	TaskClaimed struct {
		Task     uint64
		Assignee string
	}
	// TaskUnclaimed gives a task back.
	TaskUnclaimed struct{ Task uint64 }
	// TaskSaved keeps a draft of the form without completing the task.
	TaskSaved struct {
		Task  uint64
		Draft *canon.Context
	}
	// TaskCompleted carries what a person entered. Unseen are paths of fields that they
	// did not see: what of a variable that they write is among them, and they do not name,
	// stays as it is.
	TaskCompleted struct {
		Task      uint64
		Variables *canon.Context
		Unseen    []string
	}
	// TimerFired says that a timer's time has come.
	TimerFired struct{ Timer uint64 }
	// VariablesSet changes root variables from outside. Unseen is as in TaskCompleted.
	VariablesSet struct {
		Variables *canon.Context
		Unseen    []string
	}
	// IncidentRetried tries again what failed; Retries gives a job new tries
	// (0: the default).
	IncidentRetried struct {
		Incident uint64
		Retries  int
	}
	// Canceled ends the instance.
	Canceled struct{}
)

func (Start) event()           {}
func (JobCompleted) event()    {}
func (JobFailed) event()       {}
func (JobErrored) event()      {}
func (TaskClaimed) event()     {}
func (TaskUnclaimed) event()   {}
func (TaskSaved) event()       {}
func (TaskCompleted) event()   {}
func (TimerFired) event()      {}
func (VariablesSet) event()    {}
func (IncidentRetried) event() {}
func (Canceled) event()        {}

// Input is one event with everything impure that a step may need.
type Input struct {
	Event Event
	At    time.Time                           // UTC, microseconds
	Zone  func(string) (*time.Location, bool) // time zones by IANA name, a pure lookup
	// Sees says what the event's author sees. A field that they do not see, and that the
	// step sets to what it was, is a Change all the same: its not being one would tell
	// them that they had guessed it. Nil: they see everything.
	Sees Eye
}

// Outcome is what a step did. The state given to Step has been changed in
// place; on Rejected it is as before.
type Outcome struct {
	// Rejected is non-nil when the event no longer fits (the job, task or timer
	// does not wait, another holds the task). The step is recorded, nothing else
	// happens. Its kind is fault.Conflict, fault.NotFound for a number that was
	// never given, fault.Invalid for data that an instance cannot hold (codes
	// "field_too_large" and "too_many_fields"), or fault.Denied for what would overwrite
	// what its author did not see (code "unseen_parts").
	Rejected error
	// Element is the BPMN id of the element that the event concerned, or "".
	Element string
	// Changes are the fields written or removed, in path order, one per path.
	Changes []Change
	// Named are the fields that named persons in scopes that the step ended, with their
	// last values, which may never have been a Change: labels can name the persons by
	// them ever after.
	Named []Field
	// Commands are what is to be done after the commit, in order. What was opened
	// and closed again within the step is in neither.
	Commands []Command
	// Trail lists the transitions (element ids with entered, completed,
	// terminated, flow taken), for the step's record: clear, no values.
	Trail []Transition
}

// Change is a field with its new value.
type Change struct {
	Path   string      // see FieldPath
	Value  canon.Value // nil: the field is gone (its scope ended)
	Label  Label
	Search string // from the policy: "" or "exact"
	Again  bool   // it has the value and label that it had, see Input.Sees
}

// Transition is one line of a step's record.
type Transition struct {
	Element string // BPMN id
	What    string // "entered", "completed", "terminated", "taken" (a flow)
}

// Command is one thing to do after the commit. Commands carry no values; what
// they concern is looked up in the state by its number.
type Command interface{ command() }

// The closed set of commands.
type (
	// OpenTask and ChangeTask put the task's row as it now is; CloseTask removes it.
	OpenTask   struct{ Task uint64 }
	ChangeTask struct{ Task uint64 }
	CloseTask  struct{ Task uint64 }
	// OfferJob puts the job's row (new, waiting again, or failed and not to be
	// offered until its incident is retried); CloseJob removes it.
	OfferJob struct{ Job uint64 }
	CloseJob struct{ Job uint64 }
	// SetTimer puts a timer's row (new, or a cycle's next time); CloseTimer removes it.
	SetTimer   struct{ Timer uint64 }
	CloseTimer struct{ Timer uint64 }
	// RaiseIncident puts an incident's row; CloseIncident removes it.
	RaiseIncident struct{ Incident uint64 }
	CloseIncident struct{ Incident uint64 }
	// End says that the instance reached its end.
	End struct{ Status Status }
)

func (OpenTask) command()      {}
func (ChangeTask) command()    {}
func (CloseTask) command()     {}
func (OfferJob) command()      {}
func (CloseJob) command()      {}
func (SetTimer) command()      {}
func (CloseTimer) command()    {}
func (RaiseIncident) command() {}
func (CloseIncident) command() {}
func (End) command()           {}
