package process

import (
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// run is the work of one Step.
type run struct {
	d  *Definition
	s  *State
	in Input
	at int64 // microseconds since 1970

	first   uint64   // numbers above this were given in this step
	ready   []uint64 // tokens to be moved on, first come first served
	spent   int      // internal transitions
	journal []journaled
	kept    map[string]bool // paths of fields that stay, see keepUnseen
	scratch *view           // see look
	lookout *lookout
	out     Outcome
}

// Step applies one event to an instance and moves it on until everything waits.
// The definition must be sealed and always the same one for a state. What goes
// wrong inside the process becomes an incident; an event that does not fit the
// state is rejected and changes nothing. The error is fault.Internal when the
// definition cannot be the state's; the state is then as before.
func Step(d *Definition, s *State, in Input) (Outcome, error) {
	if !d.sealed {
		return Outcome{}, fault.New(fault.Internal, "process %q is not sealed", d.ID)
	}
	if s.d != nil && s.d != d {
		return Outcome{}, fault.New(fault.Internal, "instance belongs to another definition than %q version %d", d.ID, d.Version)
	}
	r := run{d: d, s: s, in: in, at: in.At.UnixMicro(), first: s.last}
	if err := r.apply(); err != nil {
		return Outcome{Rejected: err, Element: r.out.Element}, nil
	}
	r.work()
	r.remember()
	r.out.Changes = r.changes()
	return r.out, nil
}

// apply starts what the event causes, or rejects the event before anything changed.
func (r *run) apply() error {
	if start, ok := r.in.Event.(Start); ok {
		return r.begin(start.Variables)
	}
	if r.s.status != Active {
		return r.s.notRunning()
	}
	switch e := r.in.Event.(type) {
	case JobCompleted:
		return r.jobCompleted(e)
	case JobFailed:
		return r.jobFailed(e)
	case JobErrored:
		return r.jobErrored(e)
	case TaskClaimed:
		return r.taskClaimed(e)
	case TaskUnclaimed:
		return r.taskUnclaimed(e)
	case TaskSaved:
		return r.taskSaved(e)
	case TaskCompleted:
		return r.taskCompleted(e)
	case TimerFired:
		return r.timerFired(e)
	case VariablesSet:
		return r.variablesSet(e)
	case IncidentRetried:
		return r.incidentRetried(e)
	case Canceled:
		r.cancel()
		return nil
	}
	return fault.New(fault.Conflict, "event %T is not known", r.in.Event)
}

func (s *State) notRunning() error {
	if s.status == "" {
		return fault.New(fault.Conflict, "instance has not been started")
	}
	return fault.New(fault.Conflict, "instance has ended: it is %s", s.status).WithCode("instance_ended")
}

// gone rejects an event for something that does not wait (any more).
func (r *run) gone(what string, id uint64) error { return r.s.gone(what, id) }

func (s *State) gone(what string, id uint64) error {
	if id == 0 || id > s.last {
		return fault.New(fault.NotFound, "instance has no %s %d", what, id)
	}
	return fault.New(fault.Conflict, "%s %d does not wait any more", what, id).WithCode(what + "_closed")
}

func (r *run) variablesSet(e VariablesSet) error {
	variables, o, err := r.keepUnseen(0, e.Variables, e.Unseen, r.d.fromOutside())
	if err != nil {
		return err
	}
	if err := r.admit(0, variables); err != nil {
		return err
	}
	r.merge(0, variables, o)
	return nil
}

// begin starts the instance.
func (r *run) begin(variables *canon.Context) error {
	if r.s.status != "" {
		return fault.New(fault.Conflict, "instance has been started before")
	}
	if err := r.admit(0, variables); err != nil {
		return err
	}
	r.s.d, r.s.status = r.d, Active
	r.s.scopes = append(r.s.scopes, scope{})
	r.merge(0, variables, r.d.fromOutside())
	r.spawn(0, r.d.start, -1)
	return nil
}

const loopLimit = "the step made more than 10,000 internal transitions: look for a loop without a wait"

// work moves tokens on until all of them wait. Inclusive joins are looked at only
// then, one at a time, because each that fires may move what others wait for.
func (r *run) work() {
	for !r.suspended() {
		id, ok := r.takeReady()
		switch {
		case !ok && !r.fireInclusive():
			return
		case !ok:
		case r.spent >= MaxTransitions:
			r.raise(id, "loop_limit", loopLimit, nil, 0)
		default:
			r.spent++
			r.arrive(id)
		}
	}
}

// takeReady returns the next token that is still to be moved on.
func (r *run) takeReady() (uint64, bool) {
	for len(r.ready) > 0 {
		id := r.ready[0]
		r.ready = r.ready[1:]
		if i := find(r.s.tokens, id); i >= 0 && r.s.tokens[i].phase == arriving {
			return id, true
		}
	}
	return 0, false
}

// suspended reports whether the loop limit was reached: then nothing moves until
// that incident is retried or its scope ends.
func (r *run) suspended() bool {
	for i := range r.s.incidents {
		if r.s.incidents[i].code == "loop_limit" {
			return true
		}
	}
	return false
}

// resume queues all tokens that the loop limit stopped.
func (r *run) resume() {
	r.ready = nil
	for i := range r.s.tokens {
		if r.s.tokens[i].phase == arriving {
			r.ready = append(r.ready, r.s.tokens[i].id)
		}
	}
}

// arrive executes the element that a token has come to.
func (r *run) arrive(id uint64) {
	t := r.s.token(id)
	e := &r.d.Elements[t.element]
	r.trail(e.ID, "entered")
	switch e.Kind {
	case StartEvent, EndEvent, ExclusiveGateway, TimerBoundaryEvent, ErrorBoundaryEvent:
		r.leave(id)
	case ParallelGateway:
		r.arriveParallel(id)
	case InclusiveGateway:
		r.arriveInclusive(id)
	case TerminateEndEvent:
		r.terminate(id)
	case ErrorEndEvent:
		r.throw(id, e.Error.Code)
	case Task, UserTask, ServiceTask, ScriptTask, SubProcess, TimerCatchEvent:
		r.enter(id)
	}
}

// spawn makes a token at an element.
func (r *run) spawn(scope uint64, element, flow int) uint64 {
	id := r.s.next()
	r.s.tokens = append(r.s.tokens, token{
		id: id, scope: scope, element: int32(element), flow: int32(flow), phase: arriving,
	})
	r.came(&r.s.tokens[len(r.s.tokens)-1])
	r.s.scope(scope).live++
	r.ready = append(r.ready, id)
	return id
}

// die ends a token; the last one of a scope ends the scope.
func (r *run) die(id uint64) {
	scope := r.s.token(id).scope
	r.went(r.s.token(id))
	r.s.tokens = remove(r.s.tokens, id)
	sc := r.s.scope(scope)
	sc.live--
	if sc.live == 0 {
		r.finishScope(scope)
	}
}

// finishScope completes the subprocess whose last token died, or the instance.
func (r *run) finishScope(id uint64) {
	if id != 0 {
		r.complete(r.s.scope(id).host, nil, origin{})
		return
	}
	r.s.status = Completed
	r.command(End{Completed})
}

func (r *run) trail(element, what string) {
	if r.out.Trail == nil {
		r.out.Trail = make([]Transition, 0, 6)
	}
	r.out.Trail = append(r.out.Trail, Transition{element, what})
}

func (r *run) command(c Command) {
	if r.out.Commands == nil {
		r.out.Commands = make([]Command, 0, 2)
	}
	r.out.Commands = append(r.out.Commands, c)
}

// withdraw adds the command that closes something, or takes the one that opened
// it back if that was in this step: nobody has seen it.
func (r *run) withdraw(id uint64, opened, closes Command) {
	if id <= r.first {
		r.command(closes)
		return
	}
	kept := r.out.Commands[:0]
	for _, c := range r.out.Commands {
		if c != opened {
			kept = append(kept, c)
		}
	}
	r.out.Commands = kept
}
