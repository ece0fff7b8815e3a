package process

import (
	"slices"
	"strings"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// variable is one named value of a scope with the labels of its fields.
type variable struct {
	name  string
	value canon.Value // whole
	label *Label      // of the field that holds the variable or the rest of it
	parts []part      // the other fields, sorted by suffix; nearly always none
	fresh bool        // already in the run's journal; false between steps
}

// part is a declared path inside a variable that has a value.
type part struct {
	suffix string // ".ssn", "[0].phone"
	label  *Label
}

// ScopeVariables are the variables of one scope: the root's, number 0 and without
// an element, or those of an activity.
type ScopeVariables struct {
	Scope     uint64
	Element   string
	Variables *canon.Context
}

func compareVariables(v variable, name string) int { return strings.Compare(v.name, name) }

// findVariable returns the variable of a sorted list, or nil. Lists are short, so
// comparing lengths first and bytes seldom is faster than halving.
func findVariable(list []variable, name string) *variable {
	if len(list) > 32 {
		if i, found := slices.BinarySearchFunc(list, name, compareVariables); found {
			return &list[i]
		}
		return nil
	}
	for i := range list {
		if list[i].name == name {
			return &list[i]
		}
	}
	return nil
}

// resolve finds the nearest variable of the name from a scope upwards and the
// scope that holds it; nil and the root if there is none.
func (s *State) resolve(from uint64, name string) (holder uint64, v *variable) {
	for {
		sc := s.scope(from)
		if v = findVariable(sc.vars, name); v != nil || from == 0 {
			return from, v
		}
		from = sc.parent
	}
}

// labelOfRead joins the labels of the fields that a read inside the variable
// touches, its place given as a generic suffix: the longest field that holds the
// place, and all inside it. Expressions do not escape names, so with a declared
// name that needs it every field counts.
func (v *variable) labelOfRead(place string) *Label {
	if len(v.parts) == 0 {
		return v.label
	}
	if slices.ContainsFunc(v.parts, func(p part) bool { return strings.Contains(p.suffix, "%") }) {
		return v.labelOfAll()
	}
	owner := v.owner(place)
	var u union
	if owner == "" {
		u.add(v.label)
	}
	for _, p := range v.parts {
		if suffix := generic(p.suffix); suffix == owner || within(suffix, place) {
			u.add(p.label)
		}
	}
	return u.label()
}

// owner returns the generic suffix of the longest field that holds a place.
func (v *variable) owner(place string) string {
	owner := ""
	for _, p := range v.parts {
		if suffix := generic(p.suffix); len(suffix) > len(owner) && within(place, suffix) {
			owner = suffix
		}
	}
	return owner
}

// labelOfAll joins the labels of all fields of the variable.
func (v *variable) labelOfAll() *Label {
	if len(v.parts) == 0 {
		return v.label
	}
	u := union{top: v.label}
	for _, p := range v.parts {
		u.add(p.label)
	}
	return u.label()
}

// origin says what labels a written value gets. Undeclared fields get loose.
// Declared ones get the policy's label, joined with derived if that is not nil. What stays
// as it was keeps its own besides.
type origin struct {
	loose, derived *Label
	kept           keptLabels
}

// fromOutside is the origin of what a start or an operator writes.
func (d *Definition) fromOutside() origin { return origin{loose: d.Policy.tree.standard} }

// fromWork is the origin of results of somebody who was given inputs with the label.
func (d *Definition) fromWork(given *Label) origin {
	return origin{loose: join(d.Policy.tree.standard, given)}
}

// fromExpression is the origin of what was computed from fields with the label.
func (d *Definition) fromExpression(read *Label) origin {
	l := join(d.Policy.tree.standard, read)
	return origin{loose: l, derived: read}
}

// newVariable makes a variable of a scope with the labels of its fields.
func (d *Definition) newVariable(scope uint64, name string, value canon.Value, o origin) variable {
	node := d.Policy.tree.roots[name]
	v := variable{name: d.shared(name), value: value, label: join(o.loose, o.kept.of(name, ""))}
	if node == nil {
		return v
	}
	pieces := split(node, scope, name, value)
	v.label = d.labelOf(&pieces[0], scope, name, o)
	for i := range pieces[1:] {
		p := &pieces[i+1]
		v.parts = append(v.parts, part{p.suffix, d.labelOf(p, scope, name, o)})
	}
	return v
}

// labelOf labels one field of a variable.
func (d *Definition) labelOf(p *piece, scope uint64, name string, o origin) *Label {
	l := o.loose
	if p.node != nil && p.node.declared {
		l = join(p.node.labelAt(scope, name, p.indices), o.derived)
	}
	return join(join(l, p.extra), o.kept.of(name, p.suffix))
}

// putInside makes the variable that results from writing a value at a place
// inside old, which may be nil. Fields inside the place get new labels; the one
// that holds it holds old data too and keeps its label, joined; others keep theirs.
func (d *Definition) putInside(old *variable, scope uint64, m *mapping, value canon.Value, o origin) variable {
	if len(m.steps) == 0 {
		return d.newVariable(scope, m.variable, value, o)
	}
	var whole canon.Value
	if old != nil {
		whole = old.value
	}
	v := d.newVariable(scope, m.variable, putAt(whole, m.steps, value), o)
	if old == nil {
		return v
	}
	owner := v.owner(m.place)
	v.label = keepLabel(v.label, old.label, "", m.place, owner)
	for i, p := range v.parts {
		v.parts[i].label = keepLabel(p.label, old.labelOfPart(p.suffix), generic(p.suffix), m.place, owner)
	}
	return v
}

// keepLabel decides between a field's new label and the one it had.
func keepLabel(label, had *Label, field, place, owner string) *Label {
	switch {
	case had == nil || field != "" && within(field, place):
		return label
	case field == owner:
		return join(label, had)
	}
	return had
}

// labelOfPart returns the label of one field of the variable; nil if there is none.
func (v *variable) labelOfPart(suffix string) *Label {
	if suffix == "" {
		return v.label
	}
	i, found := slices.BinarySearchFunc(v.parts, suffix, func(p part, suffix string) int { return strings.Compare(p.suffix, suffix) })
	if !found {
		return nil
	}
	return v.parts[i].label
}

// rename drops a scope's prefix from those subjects of the variable's labels that
// are listed, and reports whether there were any. Labels are shared and so not
// changed themselves.
func (v *variable) rename(subjects []string, prefix string) bool {
	label := v.label.rename(subjects, prefix)
	changed := label != v.label
	v.label = label
	for i, p := range v.parts {
		if label := p.label.rename(subjects, prefix); label != p.label {
			v.parts = slices.Clone(v.parts)
			v.parts[i].label, changed = label, true
		}
	}
	return changed
}

// put replaces or adds a variable in a sorted list.
func put(list []variable, v variable) []variable {
	i, found := slices.BinarySearchFunc(list, v.name, compareVariables)
	if found {
		list[i] = v
		return list
	}
	return slices.Insert(list, i, v)
}

// held is a variable and the scope that has it.
type held struct {
	scope uint64
	variable
}

// heldBy lists the variables of one scope.
func heldBy(sc *scope) []held {
	list := make([]held, len(sc.vars))
	for i, v := range sc.vars {
		list[i] = held{sc.id, v}
	}
	return list
}

// visible lists the variables that a scope sees, nearest first per name, sorted.
func (s *State) visible(from uint64) []held {
	sc := s.scope(from)
	all := heldBy(sc)
	for from != 0 {
		from = sc.parent
		sc = s.scope(from)
		for _, v := range sc.vars {
			i, found := slices.BinarySearchFunc(all, v.name, func(h held, name string) int { return compareVariables(h.variable, name) })
			if !found {
				all = slices.Insert(all, i, held{sc.id, v})
			}
		}
	}
	return all
}

// labelOfVisible joins the labels of all that a scope sees.
func (s *State) labelOfVisible(from uint64) *Label {
	var u union
	for {
		sc := s.scope(from)
		for i := range sc.vars {
			if v := &sc.vars[i]; v.label != u.top || len(v.parts) > 0 { // nearly all share the default label
				u.add(v.labelOfAll())
			}
		}
		if from == 0 {
			return u.label()
		}
		from = sc.parent
	}
}

// labelGiven joins the labels of what the worker at a token is given now: the
// activity's own variables if it has input mappings, else all it can see. A form
// is shown both.
func (s *State) labelGiven(t *token, form bool) *Label {
	if t.inner == 0 {
		return s.labelOfVisible(t.scope)
	}
	if form {
		return s.labelOfVisible(t.inner)
	}
	var u union
	for _, v := range s.scope(t.inner).vars {
		u.add(v.labelOfAll())
	}
	return u.label()
}

// Eye says which fields somebody sees. It is asked for each field of what is shown
// to them; the nil one sees everything.
type Eye func(Field) bool

// seen puts together what an eye sees of a variable; false if that is nothing.
func (d *Definition) seen(h held, see Eye) (canon.Value, bool) {
	if see == nil {
		return h.value, true
	}
	var value canon.Value
	whole, some := true, false
	for i, f := range d.fieldsOf(h.scope, &h.variable) {
		switch {
		case !see(Field{f.path, f.value, *f.label, f.search}):
			whole = false
		case i == 0:
			value, some = f.value, true
		default:
			steps, _ := splitSuffix(f.path[len(scopePrefix(h.scope))+len(escape(h.name)):])
			value, some = putGrowing(value, steps, f.value), true
		}
	}
	if whole {
		return h.value, true
	}
	return value, some
}

// context returns what an eye sees of variables. Of one that it sees in part the rest
// is left out, as if it had been erased: an item of a list leaves null in its place.
func (d *Definition) context(list []held, see Eye) *canon.Context {
	entries := make([]canon.Entry, 0, len(list))
	for _, h := range list {
		if value, some := d.seen(h, see); some {
			entries = append(entries, canon.Entry{Name: h.name, Value: value})
		}
	}
	c, err := canon.NewContext(entries...)
	if err != nil {
		panic("process: internal error: variables of a scope are not a context: " + err.Error())
	}
	return c
}

// Variables returns what an eye sees of the root scope's variables.
func (s *State) Variables(see Eye) *canon.Context {
	if len(s.scopes) == 0 {
		return s.d.context(nil, see)
	}
	return s.d.context(heldBy(&s.scopes[0]), see)
}

// AllVariables returns what an eye sees of the variables of every scope by number, the
// root's first.
func (s *State) AllVariables(see Eye) []ScopeVariables {
	all := make([]ScopeVariables, len(s.scopes))
	for i := range s.scopes {
		sc := &s.scopes[i]
		all[i] = ScopeVariables{Scope: sc.id, Variables: s.d.context(heldBy(sc), see)}
		if sc.id != 0 {
			all[i].Element = s.elementOf(sc.host)
		}
	}
	return all
}

// TaskVariables returns what an eye sees of what the form of a user task is shown: its
// own variables and all that it sees of the enclosing scopes. It is fault.NotFound if no
// such task is open.
func (s *State) TaskVariables(id uint64, see Eye) (*canon.Context, error) {
	i := find(s.tasks, id)
	if i < 0 {
		return nil, fault.New(fault.NotFound, "task %d is not open", id)
	}
	t := s.token(s.tasks[i].token)
	return s.d.context(s.visible(max(t.inner, t.scope)), see), nil
}

// TaskFields shows an eye each field of what the form of a user task is shown, and its
// draft; of a task that is not open nothing.
func (s *State) TaskFields(id uint64, see Eye) {
	if _, err := s.TaskVariables(id, see); err != nil {
		return
	}
	if draft, ok := s.lookup(DraftPath(id)); ok {
		see(Field{draft.path, draft.value, *draft.label, draft.search})
	}
}

// TaskDraft returns what a person saved of a task's form without completing it.
func (s *State) TaskDraft(id uint64) (*canon.Context, bool) {
	note := findVariable(s.notes, DraftPath(id))
	if note == nil {
		return nil, false
	}
	draft, ok := note.value.(*canon.Context)
	return draft, ok
}

// JobEye is the eye of who works a job, which sees what the job was given.
func (s *State) JobEye(id uint64) Eye {
	i := find(s.jobs, id)
	if i < 0 || s.token(s.jobs[i].token).inner == 0 {
		return nil
	}
	own := scopePrefix(s.token(s.jobs[i].token).inner)
	return func(f Field) bool { return strings.HasPrefix(f.Path, own) }
}

// JobVariables returns what an eye sees of what a worker is given: only the activity's
// own variables if it has input mappings, else all that it sees. It is fault.NotFound if
// no such job is open.
func (s *State) JobVariables(id uint64, see Eye) (*canon.Context, error) {
	i := find(s.jobs, id)
	if i < 0 {
		return nil, fault.New(fault.NotFound, "job %d is not open", id)
	}
	t := s.token(s.jobs[i].token)
	if t.inner != 0 {
		return s.d.context(heldBy(s.scope(t.inner)), see), nil
	}
	return s.d.context(s.visible(t.scope), see), nil
}
