package process

import (
	"slices"
	"strings"

	"github.com/underseal/underseal/internal/canon"
)

// problem is why a token cannot go on: an incident in the making. Its text names
// no values unless a worker wrote it; the label says what it may be derived from.
type problem struct {
	code, text string
	label      *Label
}

// plan is all that entering an activity comes to. It is evaluated whole before
// anything is written, so that a failed one leaves nothing behind and can be
// tried again.
type plan struct {
	own    []variable // from the input mappings
	job    job
	task   task
	timers []timer
	result *canon.Context // of a script
	read   *Label         // what the script read
}

// enter begins an activity or waiting event at which a token stands.
func (r *run) enter(id uint64) {
	t := *r.s.token(id)
	e, n := &r.d.Elements[t.element], &r.d.nodes[t.element]
	var p plan
	if trouble := r.prepare(&p, &t, e, n); trouble != nil {
		r.park(id, entering, trouble)
		return
	}
	r.s.token(id).phase = working
	if len(n.inputs) > 0 || e.Kind == SubProcess {
		r.openScope(id, p.own)
	}
	for _, timer := range p.timers {
		r.setTimer(id, timer)
	}
	switch e.Kind {
	case ServiceTask:
		r.offerJob(id, p.job)
	case UserTask:
		r.openTask(id, p.task)
	case SubProcess:
		r.spawn(r.s.token(id).inner, r.d.starts[t.element], -1)
	case ScriptTask:
		r.complete(id, p.result, r.d.fromExpression(p.read))
	case TimerCatchEvent:
	default:
		r.complete(id, nil, origin{})
	}
}

// prepare evaluates everything that entering needs, in the activity's own scope.
func (r *run) prepare(p *plan, t *token, e *Element, n *node) *problem {
	v := r.look(t.scope)
	var trouble *problem
	if p.own, trouble = r.evaluateInputs(n.inputs, v); trouble != nil {
		return trouble
	}
	v.locals = p.own
	switch e.Kind {
	case ServiceTask:
		trouble = r.prepareJob(&p.job, n, v)
	case UserTask:
		trouble = r.prepareTask(&p.task, n, v)
	case ScriptTask:
		trouble = r.runScript(p, n, v)
	case TimerCatchEvent:
		trouble = r.prepareTimer(p, t.element, v)
	}
	if !n.waits {
		return trouble
	}
	for _, b := range e.Boundaries {
		if trouble == nil && r.d.Elements[b].Kind == TimerBoundaryEvent {
			trouble = r.prepareTimer(p, int32(b), v)
		}
	}
	return trouble
}

// evaluateInputs computes the variables that an activity gets of its own, with the
// labels of what the mappings read. The scope that openScope will make for them
// has the next number.
func (r *run) evaluateInputs(inputs []mapping, v *view) ([]variable, *problem) {
	if len(inputs) == 0 {
		return nil, nil
	}
	var own []variable
	var read *Label
	for i := range inputs {
		m := &inputs[i]
		value, text := r.evaluate(m.source, v)
		label := v.labelOf(m.source)
		if text != "" {
			return nil, &problem{"expression", "input " + m.target + ": " + text, label}
		}
		old := findVariable(own, m.variable)
		v := r.d.putInside(old, r.s.last+1, m, value, r.d.fromExpression(label))
		read = join(read, label)
		own = put(own, v)
	}
	list := make([]pending, len(own))
	for i := range own {
		list[i] = pending{r.s.last + 1, own[i]}
	}
	return own, r.fits(list, read)
}

// runScript evaluates a script into the variable it is for.
func (r *run) runScript(p *plan, n *node, v *view) *problem {
	value, text := r.evaluate(n.script, v)
	p.read = v.labelOf(n.script)
	if text != "" {
		return &problem{"expression", text, p.read}
	}
	p.result = (*canon.Context)(nil).With(n.result, value)
	scope, _ := r.s.resolve(v.scope, n.result)
	written := r.d.newVariable(scope, n.result, value, r.d.fromExpression(p.read))
	return r.fits([]pending{{scope, written}}, p.read)
}

// openScope gives a token's activity a scope of its own.
func (r *run) openScope(id uint64, own []variable) {
	t := r.s.token(id)
	t.inner = r.s.next()
	r.s.scopes = append(r.s.scopes, scope{id: t.inner, parent: t.scope, host: id})
	for _, v := range own {
		r.set(t.inner, v)
	}
}

// closeScope ends the scope of a token's activity; its variables go.
func (r *run) closeScope(t *token) {
	if t.inner == 0 {
		return
	}
	sc := r.s.scope(t.inner)
	if r.d.Policy.tree.subjects {
		r.renameSubjects(sc)
		r.out.Named = append(r.out.Named, r.naming(sc)...)
	}
	r.forgetScope(sc)
	r.s.scopes = remove(r.s.scopes, t.inner)
	t.inner = 0
}

// naming lists the fields of a scope by which persons are named.
func (r *run) naming(sc *scope) (list []Field) {
	for i := range sc.vars {
		for _, f := range r.d.fieldsOf(sc.id, &sc.vars[i]) {
			if slices.Contains(f.label.Subjects, f.path) {
				list = append(list, Field{Path: f.path, Value: f.value, Label: *f.label})
			}
		}
	}
	return list
}

// renameSubjects lets labels that name a person by a field of a scope that ends
// name the root's field of that path instead, if both name the same person.
func (r *run) renameSubjects(ending *scope) {
	prefix := scopePrefix(ending.id)
	var same []string
	for i := range ending.vars {
		for _, f := range r.d.fieldsOf(ending.id, &ending.vars[i]) {
			if at, ok := r.s.Field(strings.TrimPrefix(f.path, prefix)); ok && canon.Equal(at, f.value) {
				same = append(same, f.path)
			}
		}
	}
	if len(same) == 0 {
		return
	}
	for i := range r.s.scopes {
		if &r.s.scopes[i] != ending {
			r.renameIn(r.s.scopes[i].id, r.s.scopes[i].vars, same, prefix)
		}
	}
	r.renameIn(noteScope, r.s.notes, same, prefix)
	r.renameGiven(same, prefix)
}

func (r *run) renameIn(scope uint64, list []variable, subjects []string, prefix string) {
	for _, v := range list {
		if v.rename(subjects, prefix) {
			r.set(scope, v)
		}
	}
}

// complete ends an activity with its results. Without output mappings each
// result goes to the nearest scope that holds the name, beginning with the
// activity's own; with mappings only those write, to the enclosing scopes.
func (r *run) complete(id uint64, results *canon.Context, o origin) {
	t := r.s.token(id)
	n := &r.d.nodes[t.element]
	if len(n.outputs) == 0 {
		r.merge(max(t.scope, t.inner), results, o)
	} else if trouble := r.applyOutputs(t, n, results, o); trouble != nil {
		r.keepResults(id, results, o)
		r.park(id, completing, trouble)
		return
	}
	r.closeScope(t)
	r.closeTimers(id)
	r.leave(id)
}

// applyOutputs evaluates all output mappings over the results and the activity's
// variables, then writes what they gave.
func (r *run) applyOutputs(t *token, n *node, results *canon.Context, o origin) *problem {
	v := r.look(max(t.scope, t.inner))
	v.locals = r.asVariables(v.scope, results, o)
	values := make([]canon.Value, len(n.outputs))
	labels := make([]*Label, len(n.outputs))
	for i := range n.outputs {
		m := &n.outputs[i]
		var text string
		values[i], text = r.evaluate(m.source, v)
		labels[i] = v.labelOf(m.source)
		if text != "" {
			return &problem{"expression", "output " + m.target + ": " + text, labels[i]}
		}
	}
	var list []pending
	var read *Label
	for i := range n.outputs {
		m := &n.outputs[i]
		scope, old := r.s.resolve(t.scope, m.variable)
		at := findPending(list, scope, m.variable)
		if at != nil {
			old = &at.variable
		}
		written := pending{scope, r.d.putInside(old, scope, m, values[i], r.d.fromExpression(labels[i]))}
		if read = join(read, labels[i]); at != nil {
			*at = written
			continue
		}
		list = append(list, written)
	}
	if trouble := r.fits(list, read); trouble != nil {
		return trouble
	}
	for i := range list {
		r.set(list[i].scope, list[i].variable)
	}
	return nil
}

// keepResults stores results with the activity until its outputs can be mapped.
func (r *run) keepResults(id uint64, results *canon.Context, o origin) {
	if results.Len() == 0 {
		return
	}
	if r.s.token(id).inner == 0 {
		r.openScope(id, nil)
	}
	inner := r.s.token(id).inner
	for _, v := range r.asVariables(inner, results, o) {
		r.set(inner, v)
	}
}

// asVariables labels results as variables of a scope.
func (r *run) asVariables(scope uint64, results *canon.Context, o origin) []variable {
	list := make([]variable, results.Len())
	for i := range list {
		entry := results.At(i)
		list[i] = r.d.newVariable(scope, entry.Name, entry.Value, o)
	}
	return list
}

// merge writes each value to the nearest scope that holds its name, else to the root.
func (r *run) merge(from uint64, values *canon.Context, o origin) {
	for i := range values.Len() {
		entry := values.At(i)
		scope, _ := r.s.resolve(from, entry.Name)
		r.set(scope, r.d.newVariable(scope, entry.Name, entry.Value, o))
	}
}

// end takes a token out of an instance without completing its element: first all
// that runs inside, from the innermost outwards, then what it waits for.
func (r *run) end(id uint64) {
	t := r.s.token(id)
	if t.inner != 0 {
		inner := t.inner
		r.endTokens(inner, 0)
		t = r.s.token(id)
		r.closeScope(t)
	}
	r.closeTimers(id)
	r.closeWork(id)
	r.closeIncidents(id)
	t = r.s.token(id)
	if t.phase != arriving {
		r.trail(r.d.Elements[t.element].ID, "terminated")
	}
	r.went(t)
	r.s.scope(t.scope).live--
	r.s.tokens = remove(r.s.tokens, id)
}

// endTokens ends the tokens of a scope except one, in the order of their numbers.
func (r *run) endTokens(scope, except uint64) {
	var ids []uint64
	for i := range r.s.tokens {
		if t := &r.s.tokens[i]; t.scope == scope && t.id != except {
			ids = append(ids, t.id)
		}
	}
	for _, id := range ids {
		r.end(id)
	}
}

// terminate ends everything else in the scope of a terminate end event.
func (r *run) terminate(id uint64) {
	r.endTokens(r.s.token(id).scope, id)
	r.leave(id)
}

// cancel ends the instance.
func (r *run) cancel() {
	r.endTokens(0, 0)
	r.s.status = Terminated
	r.command(End{Terminated})
}

// closeWork closes the job and the task of a token.
func (r *run) closeWork(token uint64) {
	if i := slices.IndexFunc(r.s.jobs, func(j job) bool { return j.token == token }); i >= 0 {
		r.closeJob(r.s.jobs[i].id)
	}
	if i := slices.IndexFunc(r.s.tasks, func(t task) bool { return t.token == token }); i >= 0 {
		r.closeTask(r.s.tasks[i].id)
	}
}
