package process

import (
	"fmt"
	"slices"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/feel"
)

// graph is what Seal computes.
type graph struct {
	sealed     bool
	byID       map[string]int // elements
	flowByID   map[string]int
	starts     []int         // per subprocess its start event
	start      int           // of the process
	nodes      []node        // per element
	conditions []*expression // per flow
	joins      []joinGateway
	place      []int32           // per flow its place among the incoming flows of its target
	names      map[string]string // the one copy of each name that the model uses
}

// node holds an element's expressions, prepared.
type node struct {
	inputs, outputs []mapping
	jobType         *expression
	retries         *expression
	user            userExpressions
	script          *expression
	timer           *expression
	result          string // of a script
	join            *joinGateway
	waits           bool // holds its token until an event comes
}

type userExpressions struct{ assignee, groups, users, due *expression }

// mapping is a Mapping with its target cut into the variable and the place inside.
type mapping struct {
	source   *expression
	variable string
	steps    []pathStep
	place    string // the steps as they stand in paths, ".name"
	target   string // whole, for incidents
}

// Seal checks the graph, links boundary events to their activities and computes
// what the interpreter needs: start events, prepared expressions, the tree of
// declared paths, and per join which elements can still reach which of its
// incoming flows. A definition must be sealed before its first use and not be
// changed after. The error is fault.Invalid with one detail per problem.
func (d *Definition) Seal() error {
	d.graph = graph{}
	tree, problems := compilePolicy(&d.Policy)
	c := checker{d: d}
	for _, problem := range problems {
		c.report("policy", "%s", problem)
	}
	if c.index() {
		c.elements()
		c.routing(tree)
	}
	if len(c.details) > 0 {
		return fault.New(fault.Invalid, "process %q cannot be executed", d.ID).WithDetails(c.details...)
	}
	d.Policy.tree = tree
	d.prepare()
	d.sealed = true
	return nil
}

// Element returns the dense number of the element with a BPMN id.
func (d *Definition) Element(id string) (int, bool) {
	i, ok := d.byID[id]
	return i, ok
}

// Mentions reports whether the model itself names a variable: in its policy, an expression,
// a mapping or as a script's result. Others come with a start, a form or a worker's result.
func (d *Definition) Mentions(variable string) bool {
	_, named := d.names[variable]
	return named || d.Policy.compiled().roots[variable] != nil
}

// prepare fills the graph of a definition that was checked.
func (d *Definition) prepare() {
	d.names = map[string]string{}
	for _, f := range d.Policy.Fields {
		name, _, _ := splitPath(f.Path)
		d.name(name)
	}
	d.nodes = make([]node, len(d.Elements))
	for i := range d.Elements {
		d.prepareNode(&d.nodes[i], &d.Elements[i])
	}
	d.conditions = make([]*expression, len(d.Flows))
	for i, f := range d.Flows {
		d.conditions[i] = d.expression(f.Condition)
	}
	d.place = make([]int32, len(d.Flows))
	for i := range d.Elements {
		for k, f := range d.Elements[i].Incoming {
			d.place[f] = int32(k)
		}
	}
	d.prepareJoins()
}

func (d *Definition) prepareNode(n *node, e *Element) {
	n.inputs, n.outputs = d.mappings(e.Inputs), d.mappings(e.Outputs)
	switch {
	case e.Job != nil:
		n.jobType, n.retries = d.expression(e.Job.Type), d.expression(e.Job.Retries)
	case e.User != nil:
		n.user = userExpressions{
			d.expression(e.User.Assignee), d.expression(e.User.CandidateGroups),
			d.expression(e.User.CandidateUsers), d.expression(e.User.DueDate),
		}
	case e.Script != nil:
		n.script, n.result = d.expression(e.Script.Expression), d.name(e.Script.Result)
	case e.Timer != nil:
		n.timer = d.expression(e.Timer.Expression)
	}
	n.waits = e.Kind == ServiceTask || e.Kind == UserTask || e.Kind == SubProcess
}

// expression prepares one expression. The names it reads are remembered, so that
// the variables of all instances share one copy of them.
func (d *Definition) expression(e *feel.Expression) *expression {
	x := newExpression(e)
	if x == nil {
		return nil
	}
	for i := range x.reads {
		x.reads[i].variable = d.name(x.reads[i].variable)
	}
	return x
}

func (d *Definition) mappings(list []Mapping) []mapping {
	prepared := make([]mapping, len(list))
	for i, m := range list {
		name, steps, _ := splitPath(m.Target)
		prepared[i] = mapping{d.expression(m.Source), d.name(name), steps, m.Target[len(escape(name)):], m.Target}
	}
	return prepared
}

// name returns the shared copy of a name, making it if there is none.
func (d *Definition) name(name string) string {
	if shared, ok := d.names[name]; ok {
		return shared
	}
	d.names[name] = name
	return name
}

// shared returns the shared copy of a name if there is one.
func (d *Definition) shared(name string) string {
	if shared, ok := d.names[name]; ok {
		return shared
	}
	return name
}

// checker collects what is wrong with a definition.
type checker struct {
	d       *Definition
	details []fault.Detail
}

func (c *checker) report(place, format string, args ...any) {
	c.details = append(c.details, fault.Detail{Place: place, Message: fmt.Sprintf(format, args...)})
}

// index checks ids and that every number points somewhere; nothing else can be
// checked when it is false.
func (c *checker) index() bool {
	d, before := c.d, len(c.details)
	d.byID, d.flowByID = make(map[string]int, len(d.Elements)), make(map[string]int, len(d.Flows))
	for i := range d.Elements {
		e := &d.Elements[i]
		if _, twice := d.byID[e.ID]; twice || e.ID == "" {
			c.report(e.ID, "element id is missing or used twice")
		}
		d.byID[e.ID] = i
		if e.Parent < -1 || e.Parent >= i || e.Parent >= 0 && d.Elements[e.Parent].Kind != SubProcess {
			c.report(e.ID, "parent is not a subprocess before it in document order")
		}
		e.Boundaries = nil
	}
	for i, f := range d.Flows {
		if _, twice := d.flowByID[f.ID]; twice || f.ID == "" {
			c.report(f.ID, "flow id is missing or used twice")
		}
		d.flowByID[f.ID] = i
		c.flow(i, f)
	}
	return len(c.details) == before
}

func (c *checker) flow(i int, f Flow) {
	elements := c.d.Elements
	if f.From < 0 || f.From >= len(elements) || f.To < 0 || f.To >= len(elements) {
		c.report(f.ID, "flow has no source or no target")
		return
	}
	from, to := &elements[f.From], &elements[f.To]
	if from.Parent != to.Parent {
		c.report(f.ID, "flow crosses the border of a subprocess")
	}
	if !slices.Contains(from.Outgoing, i) || !slices.Contains(to.Incoming, i) {
		c.report(f.ID, "flow is not listed by its source or its target")
	}
}

// elements checks what each kind needs and finds the start events.
func (c *checker) elements() {
	d := c.d
	d.starts = make([]int, len(d.Elements))
	d.start = -1
	for i := range d.starts {
		d.starts[i] = -1
	}
	for i := range d.Elements {
		e := &d.Elements[i]
		c.flowsOf(i, e)
		c.needs(e)
		c.place(i, e)
	}
	if d.start < 0 {
		c.report(d.ID, "process has no start event")
	}
	for i := range d.Elements {
		if d.Elements[i].Kind == SubProcess && d.starts[i] < 0 {
			c.report(d.Elements[i].ID, "subprocess has no start event")
		}
	}
}

// flowsOf checks an element's flows.
func (c *checker) flowsOf(i int, e *Element) {
	listed := func(flows []int, end func(Flow) int) bool {
		return !slices.ContainsFunc(flows, func(f int) bool {
			return f < 0 || f >= len(c.d.Flows) || end(c.d.Flows[f]) != i
		})
	}
	if !listed(e.Incoming, func(f Flow) int { return f.To }) || !listed(e.Outgoing, func(f Flow) int { return f.From }) {
		c.report(e.ID, "element lists a flow that is not its own")
	}
	if e.Default != -1 && !slices.Contains(e.Outgoing, e.Default) {
		c.report(e.ID, "default flow does not leave the element")
	}
	if len(e.Incoming) > 0 && (e.Kind == StartEvent || e.Kind.isBoundary()) {
		c.report(e.ID, "event cannot have incoming flows")
	}
	if len(e.Outgoing) > 0 && (e.Kind == EndEvent || e.Kind == TerminateEndEvent || e.Kind == ErrorEndEvent) {
		c.report(e.ID, "end event cannot have outgoing flows")
	}
}

// needs checks that an element has what its kind is executed with.
func (c *checker) needs(e *Element) {
	require := func(ok bool, what string) {
		if !ok {
			c.report(e.ID, "element needs %s", what)
		}
	}
	switch e.Kind {
	case ServiceTask:
		require(e.Job != nil && e.Job.Type != nil, "a job type")
	case UserTask:
		require(e.User != nil, "a user task specification")
	case ScriptTask:
		require(e.Script != nil && e.Script.Expression != nil && e.Script.Result != "", "a script and a result variable")
	case TimerCatchEvent, TimerBoundaryEvent:
		require(e.Timer != nil && e.Timer.Expression != nil, "a timer expression")
	case ErrorEndEvent:
		require(e.Error != nil && e.Error.Code != "", "an error code")
	case ErrorBoundaryEvent:
		require(e.Error != nil && e.Interrupting, "an error, and to interrupt")
	case StartEvent, EndEvent, TerminateEndEvent, Task, ExclusiveGateway, ParallelGateway, InclusiveGateway, SubProcess:
	default:
		c.report(e.ID, "element has unknown kind %d", e.Kind)
	}
	if e.Timer != nil && e.Timer.Kind == TimerCycle {
		require(e.Kind == TimerBoundaryEvent && !e.Interrupting, "a date or duration: cycles are for non-interrupting boundary events")
	}
	for _, m := range slices.Concat(e.Inputs, e.Outputs) {
		_, steps, ok := splitPath(m.Target)
		require(ok && m.Source != nil && !slices.ContainsFunc(steps, func(s pathStep) bool { return s.name == "" }),
			"a source and a target like applicant.name in every mapping")
	}
}

// place files boundary events with their activities and starts with their scopes.
func (c *checker) place(i int, e *Element) {
	d := c.d
	switch {
	case e.Kind.isBoundary():
		if e.AttachedTo < 0 || e.AttachedTo >= len(d.Elements) ||
			!d.Elements[e.AttachedTo].Kind.isActivity() || d.Elements[e.AttachedTo].Parent != e.Parent {
			c.report(e.ID, "boundary event is not attached to an activity of its scope")
			return
		}
		host := &d.Elements[e.AttachedTo]
		if e.Kind == TimerBoundaryEvent && (host.Kind == Task || host.Kind == ScriptTask) {
			c.report(e.ID, "timer never fires: the activity that it is attached to does not wait")
		}
		host.Boundaries = append(host.Boundaries, i)
	case e.Kind == StartEvent:
		slot := &d.start
		if e.Parent >= 0 {
			slot = &d.starts[e.Parent]
		}
		if *slot >= 0 {
			c.report(e.ID, "second start event of its scope")
		}
		*slot = i
	}
}

func (k Kind) isBoundary() bool { return k == TimerBoundaryEvent || k == ErrorBoundaryEvent }

func (k Kind) isActivity() bool {
	return k == Task || k == UserTask || k == ServiceTask || k == ScriptTask || k == SubProcess
}
