package process

import (
	"slices"
	"time"

	"github.com/underseal/underseal/internal/fault"
)

// Status is an instance's state.
type Status string

// The states of an instance. One that has not been started has none.
const (
	Active     Status = "active"
	Completed  Status = "completed"
	Terminated Status = "canceled"
)

// OpenUserTask is an open user task: what the head and the task's queue row hold.
type OpenUserTask struct {
	ID       uint64
	Element  string
	Assignee string
	Groups   []string // sorted
	Users    []string // sorted
	Created  time.Time
	Due      time.Time // zero: none
}

// OpenJob is a job that waits for a worker.
type OpenJob struct {
	ID        uint64
	Element   string
	Type      string
	Retries   int
	Tries     int
	NotBefore time.Time // zero: now
	Created   time.Time
	Failed    bool // an incident waits; not offered
}

// OpenTimer is a timer that waits.
type OpenTimer struct {
	ID      uint64
	Element string
	Due     time.Time
}

// OpenIncident is something that failed and waits for help. Its text is the
// field "$incident.<id>" of the root scope.
type OpenIncident struct {
	ID      uint64
	Element string
	Code    string // "job_failed", "expression", "clear_routing", "value_too_large", "too_many_fields", "no_flow", "unhandled_error", "loop_limit"
	Job     uint64 // with job_failed, and unhandled_error thrown by a worker
	Created time.Time
}

// State is one instance: an arena of scopes and tokens, what they wait for, and
// the variables. It has one owner; Step changes it in place. All numbers (of
// scopes, tokens, jobs, tasks, timers, incidents) come from one counter, so each
// names one thing for the instance's whole life.
type State struct {
	d      *Definition
	status Status
	last   uint64 // the last number given

	// Sorted by id.
	scopes    []scope
	tokens    []token
	jobs      []job
	tasks     []task
	timers    []timer
	incidents []incident
	notes     []variable // pseudo-fields, named by their paths

	// Room for the one scope, token and job that most instances have, so that a
	// step finds them where the State is: with many instances in memory, looking
	// elsewhere is what takes the time.
	room struct {
		scopes [1]scope
		tokens [1]token
		jobs   [1]job
	}
}

// scope is one run of the process (id 0), of a subprocess, or an activity that
// has variables of its own because of its input mappings.
type scope struct {
	id, parent uint64
	host       uint64 // token of the enclosing scope that stands on the activity
	live       int    // tokens in the scope
	vars       []variable
}

// token stands on one element.
type token struct {
	id      uint64
	scope   uint64
	inner   uint64 // the scope that the token's activity opened, 0: none
	element int32
	flow    int32 // by which it came, -1: none
	phase   phase
}

// phase says what a token waits for.
type phase uint8

const (
	arriving   phase = iota + 1 // to be moved on; outlives a step only at the loop limit
	joined                      // at a join, for other flows
	working                     // in an activity or event, for an event from outside
	entering                    // an incident: what entering evaluates failed
	completing                  // an incident: an output mapping failed
	leaving                     // an incident: no flow could be chosen
	throwing                    // an incident: nothing catches the error of an end event
)

type job struct {
	id, token          uint64
	typ                string
	retries, tries     int
	notBefore, created int64 // microseconds since 1970; notBefore 0: now
	failed             bool
	given              *Label // of all that a worker may have been given, see given.go
}

type task struct {
	id, token     uint64
	assignee      string
	groups, users []string
	created, due  int64  // due 0: none
	given         *Label // of all that a person may have been shown
}

type timer struct {
	id, token uint64
	element   int32
	left      int // firings after the next one, -1: without end
	due       int64
	every     string // the interval of a cycle, as in ISO 8601
}

type incident struct {
	id, token uint64
	code      string
	job       uint64
	created   int64
}

// NewState returns an instance that waits for its Start.
func NewState() *State {
	s := &State{}
	s.scopes, s.tokens, s.jobs = s.room.scopes[:0], s.room.tokens[:0], s.room.jobs[:0]
	return s
}

// Status says whether the instance runs; it is "" before the Start.
func (s *State) Status() Status { return s.status }

// Tasks returns the open user tasks by number.
func (s *State) Tasks() []OpenUserTask { return listOf(s.tasks, s.openTask) }

// Jobs returns the open jobs by number.
func (s *State) Jobs() []OpenJob { return listOf(s.jobs, s.openJob) }

// Timers returns the waiting timers by number.
func (s *State) Timers() []OpenTimer { return listOf(s.timers, s.openTimer) }

// Incidents returns the open incidents by number.
func (s *State) Incidents() []OpenIncident { return listOf(s.incidents, s.openIncident) }

// Task returns an open user task.
func (s *State) Task(id uint64) (OpenUserTask, bool) { return oneOf(s.tasks, id, s.openTask) }

// TaskGone says why no event for a task counts: there never was one (NotFound), or it does
// not wait any more (Conflict). nil: it waits.
func (s *State) TaskGone(id uint64) error {
	if find(s.tasks, id) >= 0 {
		return nil
	}
	gone := s.gone("task", id)
	if s.status != Active && fault.Is(gone, fault.Conflict) {
		return s.notRunning()
	}
	return gone
}

// Job returns an open job.
func (s *State) Job(id uint64) (OpenJob, bool) { return oneOf(s.jobs, id, s.openJob) }

// Timer returns a waiting timer.
func (s *State) Timer(id uint64) (OpenTimer, bool) { return oneOf(s.timers, id, s.openTimer) }

// Incident returns an open incident.
func (s *State) Incident(id uint64) (OpenIncident, bool) {
	return oneOf(s.incidents, id, s.openIncident)
}

func (s *State) openTask(t *task) OpenUserTask {
	return OpenUserTask{t.id, s.elementOf(t.token), t.assignee, slices.Clone(t.groups), slices.Clone(t.users),
		instant(t.created), instant(t.due)}
}

func (s *State) openJob(j *job) OpenJob {
	return OpenJob{j.id, s.elementOf(j.token), j.typ, j.retries, j.tries, instant(j.notBefore), instant(j.created), j.failed}
}

func (s *State) openTimer(t *timer) OpenTimer {
	return OpenTimer{t.id, s.d.Elements[t.element].ID, instant(t.due)}
}

func (s *State) openIncident(i *incident) OpenIncident {
	return OpenIncident{i.id, s.elementOf(i.token), i.code, i.job, instant(i.created)}
}

// elementOf returns the BPMN id of the element that a token stands on.
func (s *State) elementOf(token uint64) string { return s.d.Elements[s.token(token).element].ID }

// instant turns microseconds into a time; 0 is no time.
func instant(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

// numbered is anything that a State keeps sorted by number.
type numbered interface{ number() uint64 }

func (s scope) number() uint64    { return s.id }
func (t token) number() uint64    { return t.id }
func (j job) number() uint64      { return j.id }
func (t task) number() uint64     { return t.id }
func (t timer) number() uint64    { return t.id }
func (i incident) number() uint64 { return i.id }

// find returns the position of a number in a sorted list, -1 if it is not there.
func find[T numbered](list []T, id uint64) int {
	low, high := 0, len(list)
	for low < high {
		middle := int(uint(low+high) / 2)
		if list[middle].number() < id {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low < len(list) && list[low].number() == id {
		return low
	}
	return -1
}

func listOf[T numbered, P any](list []T, public func(*T) P) []P {
	all := make([]P, len(list))
	for i := range list {
		all[i] = public(&list[i])
	}
	return all
}

func oneOf[T numbered, P any](list []T, id uint64, public func(*T) P) (found P, ok bool) {
	i := find(list, id)
	if i < 0 {
		return found, false
	}
	return public(&list[i]), true
}

// remove takes the item with the number out of a sorted list.
func remove[T numbered](list []T, id uint64) []T {
	i := find(list, id)
	return slices.Delete(list, i, i+1)
}

// token returns a live token. The pointer is good until tokens come or go.
func (s *State) token(id uint64) *token { return &s.tokens[find(s.tokens, id)] }

// scope returns a live scope. The pointer is good until scopes come or go.
func (s *State) scope(id uint64) *scope { return &s.scopes[find(s.scopes, id)] }

// next counts a new number.
func (s *State) next() uint64 {
	s.last++
	return s.last
}
