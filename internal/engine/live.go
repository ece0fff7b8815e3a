package engine

import (
	"context"
	"slices"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/store"
)

// Live is an instance that is open: its head and fields are decrypted in
// memory. One goroutine at a time may use it.
type Live struct {
	object
	def   *definition
	state *process.State
	dirty bool // stepped, and the step is not durable (yet)
}

// ID returns the instance's id.
func (l *Live) ID() store.ID { return l.id }

// Scope returns the tenant that the instance belongs to.
func (l *Live) Scope() store.Scope { return l.scope }

// State returns the instance's state, which the caller must not change.
func (l *Live) State() *process.State { return l.state }

// Process returns the id of the instance's process.
func (l *Live) Process() string { return l.head.process }

// isErased reports whether the newest version of a field was erased.
func (l *Live) isErased(path string) bool {
	f, ok := l.head.field(path)
	return ok && f.erased
}

// Dirty reports whether the memory may be ahead of the database; then the
// instance must be dropped and opened anew.
func (l *Live) Dirty() bool { return l.dirty }

// Open reads an instance from the database and requires that all its rows
// agree: head with newest leaf, fields with their digests, routing rows with
// the head. A field one of whose keys was destroyed reads as null.
func (e *Engine) Open(ctx context.Context, scope store.Scope, id store.ID) (*Live, error) {
	if err := e.admitted(scope); err != nil {
		return nil, err
	}
	o, err := e.load(ctx, scope, id, store.Instance)
	if err != nil {
		return nil, err
	}
	def, err := e.definition(ctx, scope, o.head.def)
	if err != nil {
		return nil, err
	}
	if def.head.model != o.head.model {
		return nil, o.tampered("runs a model other than the one it names")
	}
	if err := e.checkPersons(ctx, o); err != nil {
		return nil, err
	}
	values, err := e.values(ctx, o)
	if err != nil {
		return nil, err
	}
	live := &Live{object: *o, def: def}
	live.state, err = process.Decode(def.compiled, o.head.state, func(path string) (canon.Value, error) {
		value, ok := values[path]
		if !ok {
			return nil, o.changedIn("fields", "has no row for field %q", path)
		}
		return value, nil
	})
	if err != nil {
		return nil, err
	}
	live.head.state = nil // only needed to read it
	return live, e.checkRows(ctx, live)
}

// checkRows compares an instance's routing rows with its head. They are only
// there for finding work; what they say must never differ from what is sealed.
func (e *Engine) checkRows(ctx context.Context, l *Live) error {
	rows, err := e.store.Rows(ctx, l.scope, l.id)
	if err != nil {
		return err
	}
	want := l.rows()
	if rows.Instance == nil || !equalInstance(*rows.Instance, *want.Instance) {
		return l.changedIn("instances", "has a changed row in the list of instances")
	}
	for _, pair := range []struct {
		name string
		same bool
	}{
		{"tasks", slices.EqualFunc(rows.Tasks, want.Tasks, equalTask)},
		{"jobs", slices.EqualFunc(rows.Jobs, want.Jobs, equalJob)},
		{"timers", slices.EqualFunc(rows.Timers, want.Timers, equalTimer)},
		{"incidents", slices.EqualFunc(rows.Incidents, want.Incidents, equalIncident)},
	} {
		if !pair.same {
			return l.changedIn(pair.name, "has changed, missing or added rows in the list of %s", pair.name)
		}
	}
	return e.checkFiles(ctx, l)
}

// rows returns the routing rows that the instance's state asks for.
func (l *Live) rows() store.Rows {
	instance := l.instanceRow()
	rows := store.Rows{Instance: &instance}
	for _, t := range l.state.Tasks() {
		rows.Tasks = append(rows.Tasks, l.taskRow(t))
	}
	for _, j := range l.state.Jobs() {
		rows.Jobs = append(rows.Jobs, l.jobRow(j))
	}
	for _, t := range l.state.Timers() {
		rows.Timers = append(rows.Timers, timerRow(t))
	}
	for _, i := range l.state.Incidents() {
		rows.Incidents = append(rows.Incidents, l.incidentRow(i))
	}
	return rows
}

func (l *Live) instanceRow() store.InstanceRow {
	return store.InstanceRow{
		Process: l.head.process, Version: l.head.version, Definition: l.head.def, Mode: string(l.head.mode),
		Status: string(l.state.Status()), Incidents: len(l.state.Incidents()),
		Started: l.head.started, Ended: l.head.ended, Key: store.ID(l.owner.ID),
	}
}

func (l *Live) taskRow(t process.OpenUserTask) store.TaskRow {
	return store.TaskRow{
		ID: t.ID, Element: t.Element, Process: l.head.process, Assignee: t.Assignee,
		Groups: t.Groups, Users: t.Users, Created: t.Created, Due: t.Due,
	}
}

func (l *Live) jobRow(j process.OpenJob) store.JobRow {
	return store.JobRow{
		ID: j.ID, Element: j.Element, Process: l.head.process, Type: j.Type, Retries: j.Retries,
		NotBefore: j.NotBefore, Failed: j.Failed, Created: j.Created,
	}
}

func timerRow(t process.OpenTimer) store.TimerRow {
	return store.TimerRow{ID: t.ID, Element: t.Element, Due: t.Due}
}

func (l *Live) incidentRow(i process.OpenIncident) store.IncidentRow {
	return store.IncidentRow{
		ID: i.ID, Element: i.Element, Process: l.head.process, Code: i.Code, Job: i.Job, Created: i.Created,
	}
}

func equalInstance(a, b store.InstanceRow) bool {
	return a.Started.Equal(b.Started) && a.Ended.Equal(b.Ended) &&
		a.Process == b.Process && a.Version == b.Version && a.Definition == b.Definition && a.Mode == b.Mode &&
		a.Status == b.Status && a.Incidents == b.Incidents && a.Key == b.Key
}

func equalTask(a, b store.TaskRow) bool {
	return a.ID == b.ID && a.Element == b.Element && a.Process == b.Process && a.Assignee == b.Assignee &&
		slices.Equal(a.Groups, b.Groups) && slices.Equal(a.Users, b.Users) &&
		a.Created.Equal(b.Created) && a.Due.Equal(b.Due)
}

func equalJob(a, b store.JobRow) bool {
	return a.ID == b.ID && a.Element == b.Element && a.Process == b.Process && a.Type == b.Type &&
		a.Retries == b.Retries && a.NotBefore.Equal(b.NotBefore) && a.Failed == b.Failed && a.Created.Equal(b.Created)
}

func equalTimer(a, b store.TimerRow) bool {
	return a.ID == b.ID && a.Element == b.Element && a.Due.Equal(b.Due)
}

func equalIncident(a, b store.IncidentRow) bool {
	return a.ID == b.ID && a.Element == b.Element && a.Process == b.Process && a.Code == b.Code &&
		a.Job == b.Job && a.Created.Equal(b.Created)
}

// route adds to a write set the routing rows that a step's commands ask for.
func (l *Live) route(set *store.WriteSet, commands []process.Command) {
	for _, command := range commands {
		l.routeOne(set, command)
	}
	row := l.instanceRow()
	set.Instance = &row
}

func (l *Live) routeOne(set *store.WriteSet, command process.Command) {
	switch c := command.(type) {
	case process.OpenTask:
		l.routeTask(set, c.Task)
	case process.ChangeTask:
		l.routeTask(set, c.Task)
	case process.CloseTask:
		set.ClosedTasks = append(set.ClosedTasks, c.Task)
	case process.OfferJob:
		if j, ok := l.state.Job(c.Job); ok {
			set.Jobs = append(set.Jobs, l.jobRow(j))
		}
	case process.CloseJob:
		set.ClosedJobs = append(set.ClosedJobs, c.Job)
	case process.SetTimer:
		if t, ok := l.state.Timer(c.Timer); ok {
			set.Timers = append(set.Timers, timerRow(t))
		}
	case process.CloseTimer:
		set.ClosedTimers = append(set.ClosedTimers, c.Timer)
	case process.RaiseIncident:
		if i, ok := l.state.Incident(c.Incident); ok {
			set.Incidents = append(set.Incidents, l.incidentRow(i))
		}
	case process.CloseIncident:
		set.ClosedIncidents = append(set.ClosedIncidents, c.Incident)
	case process.End:
	}
}

func (l *Live) routeTask(set *store.WriteSet, id uint64) {
	if t, ok := l.state.Task(id); ok {
		set.Tasks = append(set.Tasks, l.taskRow(t))
	}
}
