package process

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// structure mirrors what Encode writes.
type structure struct {
	V         int                 `json:"v"`
	Status    Status              `json:"status"`
	Last      uint64              `json:"last"`
	Scopes    []scopeStructure    `json:"scopes"`
	Tokens    []tokenStructure    `json:"tokens"`
	Jobs      []jobStructure      `json:"jobs"`
	Tasks     []taskStructure     `json:"tasks"`
	Timers    []timerStructure    `json:"timers"`
	Incidents []incidentStructure `json:"incidents"`
	Fields    [][]string          `json:"fields"`
}

type (
	scopeStructure struct {
		ID, Parent, Host uint64
	}
	tokenStructure struct {
		ID, Scope, Inner     uint64
		Element, Flow, Phase string
	}
	jobStructure struct {
		ID, Token          uint64
		Type               string
		Retries, Tries     int
		Created, NotBefore int64
		Failed             bool
		Given              []string
	}
	taskStructure struct {
		ID, Token     uint64
		Assignee      string
		Groups, Users []string
		Created, Due  int64
		Given         []string
	}
	timerStructure struct {
		ID, Token uint64
		Element   string
		Due       int64
		Every     string
		Left      int
	}
	incidentStructure struct {
		ID, Token uint64
		Code      string
		Job       uint64
		Created   int64
	}
)

// Decode builds the instance whose Encode gave the structure; field returns the
// value of a field by its path, nil for one that was erased, which reads as null;
// its errors are passed on. A structure that is not spelled canonically, hangs
// together wrongly or names what the definition lacks is fault.Integrity.
func Decode(d *Definition, data []byte, field func(path string) (canon.Value, error)) (*State, error) {
	var in structure
	if err := json.Unmarshal(data, &in); err != nil {
		return nil, fault.New(fault.Integrity, "structure of an instance of %q is not readable: %v", d.ID, err)
	}
	if in.V != structureVersion {
		return nil, fault.New(fault.Integrity, "structure of an instance of %q has version %d, want %d: it was written by a newer release",
			d.ID, in.V, structureVersion)
	}
	if in.Status == "" {
		return emptyState(d, data)
	}
	r := reader{d: d, s: NewState()}
	r.s.d, r.s.status, r.s.last = d, in.Status, in.Last
	r.read(&in)
	if r.problem == "" {
		if err := r.readFields(in.Fields, field); err != nil {
			return nil, err
		}
	}
	if r.problem == "" && !bytes.Equal(r.s.Encode(), data) {
		r.problem = "it is not spelled canonically"
	}
	if r.problem != "" {
		return nil, fault.New(fault.Integrity, "structure of an instance of %q is damaged: %s", d.ID, r.problem)
	}
	return r.s, nil
}

func emptyState(d *Definition, data []byte) (*State, error) {
	if s := NewState(); bytes.Equal(s.Encode(), data) {
		return s, nil
	}
	return nil, fault.New(fault.Integrity, "structure of an instance of %q that was not started is not empty", d.ID)
}

// reader builds a state and keeps the first problem it meets.
type reader struct {
	d       *Definition
	s       *State
	problem string
}

func (r *reader) require(ok bool, problem string) {
	if !ok && r.problem == "" {
		r.problem = problem
	}
}

func (r *reader) read(in *structure) {
	r.require(in.Status == Active || in.Status == Completed || in.Status == Terminated, "its status is unknown")
	r.s.scopes = convert(append(r.s.scopes, scope{}), in.Scopes, func(x scopeStructure) scope {
		return scope{id: x.ID, parent: x.Parent, host: x.Host}
	})
	r.s.tokens = convert(r.s.tokens, in.Tokens, r.token)
	r.s.jobs = convert(r.s.jobs, in.Jobs, func(x jobStructure) job {
		return job{x.ID, x.Token, x.Type, x.Retries, x.Tries, x.NotBefore, x.Created, x.Failed, r.given(x.Given)}
	})
	r.s.tasks = convert(r.s.tasks, in.Tasks, func(x taskStructure) task {
		return task{x.ID, x.Token, x.Assignee, x.Groups, x.Users, x.Created, x.Due, r.given(x.Given)}
	})
	r.s.timers = convert(r.s.timers, in.Timers, func(x timerStructure) timer {
		return timer{x.ID, x.Token, r.element(x.Element), x.Left, x.Due, x.Every}
	})
	r.s.incidents = convert(r.s.incidents, in.Incidents, func(x incidentStructure) incident {
		return incident{x.ID, x.Token, x.Code, x.Job, x.Created}
	})
	r.check()
}

// given reads the label of what a job or task was given, which is never less than
// the default.
func (r *reader) given(words []string) *Label {
	standard := r.d.Policy.tree.standard
	if len(words) == 0 {
		return standard
	}
	class, ok := ParseClass(words[0])
	l := r.d.sharedLabel(class, words[1:])
	r.require(ok && l.Covers(*standard) && slices.IsSorted(l.Subjects), "what a job or task was given has an impossible label")
	return l
}

func convert[T, U any](to []U, list []T, one func(T) U) []U {
	to = slices.Grow(to, len(list))
	for _, x := range list {
		to = append(to, one(x))
	}
	return to
}

func (r *reader) token(x tokenStructure) token {
	t := token{id: x.ID, scope: x.Scope, inner: x.Inner, element: r.element(x.Element), flow: -1}
	if x.Flow != "" {
		flow, ok := r.d.flowByID[x.Flow]
		r.require(ok && r.d.Flows[flow].To == int(t.element), "a token came by a flow that does not lead to its element")
		t.flow = int32(flow)
	}
	t.phase = phase(max(slices.Index(phaseNames[:], x.Phase), 0))
	r.require(t.phase != 0, "a token is in an unknown phase")
	return t
}

func (r *reader) element(id string) int32 {
	i, ok := r.d.Element(id)
	r.require(ok, "it names an element that the definition lacks")
	return int32(i)
}

// check follows every number to what it names, so that no step can run into a
// thing that is not there.
func (r *reader) check() {
	s := r.s
	r.require(sorted(s.scopes, s.last) && sorted(s.tokens, s.last) && sorted(s.jobs, s.last) && sorted(s.tasks, s.last) &&
		sorted(s.timers, s.last) && sorted(s.incidents, s.last), "numbers are not in order")
	hasToken := func(id uint64) bool { return find(s.tokens, id) >= 0 }
	for _, sc := range s.scopes[1:] {
		r.require(sc.parent < sc.id && find(s.scopes, sc.parent) >= 0, "a scope has no parent")
		r.require(hasToken(sc.host) && s.token(sc.host).inner == sc.id, "a scope has no token that opened it")
	}
	for i := range s.tokens {
		r.checkToken(&s.tokens[i])
	}
	for _, j := range s.jobs {
		r.require(hasToken(j.token), "a job has no token")
	}
	for _, t := range s.tasks {
		r.require(hasToken(t.token), "a task has no token")
	}
	for _, t := range s.timers {
		r.require(hasToken(t.token) && r.d.Elements[t.element].Kind.hasTimer(), "a timer has no token or no element")
		r.require(t.valid(), "a timer has no possible time or interval")
	}
	for _, i := range s.incidents {
		r.require(hasToken(i.token) && (i.job == 0 || find(s.jobs, i.job) >= 0), "an incident has no token or no job")
	}
}

func (r *reader) checkToken(t *token) {
	if find(r.s.scopes, t.scope) < 0 {
		r.require(false, "a token has no scope")
		return
	}
	r.s.scope(t.scope).live++
	inner := t.inner == 0
	if i := find(r.s.scopes, t.inner); i > 0 {
		inner = r.s.scopes[i].host == t.id && r.s.scopes[i].parent == t.scope
	}
	r.require(inner, "a token has lost the scope that it opened")
	r.require(r.fits(t), "a token is in a phase that its element does not have")
}

// fits reports whether a token can be in its phase at its element.
func (r *reader) fits(t *token) bool {
	kind := r.d.Elements[t.element].Kind
	switch t.phase {
	case joined:
		return t.flow >= 0 && (kind == ParallelGateway || kind == InclusiveGateway)
	case working, entering, completing:
		return kind.isActivity() || kind == TimerCatchEvent
	case throwing:
		return kind == ErrorEndEvent
	case arriving, leaving:
	}
	return true
}

func (k Kind) hasTimer() bool { return k == TimerCatchEvent || k == TimerBoundaryEvent }

// sorted reports whether the numbers rise and none is above the last one given.
func sorted[T numbered](list []T, last uint64) bool {
	for i := range list {
		if list[i].number() > last || i > 0 && list[i-1].number() >= list[i].number() {
			return false
		}
	}
	return true
}

// readFields puts the variables together from their fields.
func (r *reader) readFields(list [][]string, value func(string) (canon.Value, error)) error {
	for len(list) > 0 && r.problem == "" {
		n := 1
		for n < len(list) && len(list[n]) > 0 && len(list[0]) > 0 && isPartOf(list[n][0], list[0][0]) {
			n++
		}
		fields, err := r.open(list[:n], value)
		if err != nil {
			return err
		}
		if r.problem == "" {
			r.place(fields)
		}
		list = list[n:]
	}
	return nil
}

// isPartOf reports whether a path is inside the variable with the given path.
func isPartOf(path, variable string) bool {
	rest, ok := strings.CutPrefix(path, variable)
	return ok && rest != "" && (rest[0] == '.' || rest[0] == '[') && !isPseudo(variable)
}

// open reads labels and values of the fields of one variable.
func (r *reader) open(list [][]string, value func(string) (canon.Value, error)) ([]field, error) {
	fields := make([]field, 0, len(list))
	for _, x := range list {
		if len(x) < 2 {
			r.require(false, "a field has no label")
			return nil, nil
		}
		class, ok := ParseClass(x[1])
		r.require(ok, "a field has an unknown class")
		v, err := value(x[0])
		if err != nil {
			return nil, err
		}
		fields = append(fields, field{path: x[0], value: v, label: r.d.sharedLabel(class, x[2:])})
	}
	return fields, nil
}

// sharedLabel returns the definition's own label if it is this one, so that
// loaded instances share it.
func (d *Definition) sharedLabel(class Class, subjects []string) *Label {
	standard := d.Policy.tree.standard
	if len(subjects) == 0 && class == standard.Class {
		return standard
	}
	return &Label{class, subjects}
}

// place files a variable or note.
func (r *reader) place(fields []field) {
	path := fields[0].path
	if isPseudo(path) {
		r.append(&r.s.notes, variable{name: path, value: orNull(fields[0].value), label: fields[0].label})
		return
	}
	scope, name, suffix, err := parseFieldPath(path)
	list := r.s.list(scope)
	if err != nil || suffix != "" || list == nil {
		r.require(false, "a field has no variable or no scope")
		return
	}
	v := variable{name: r.d.shared(name), value: fields[0].value, label: fields[0].label}
	put := putAt
	if slices.ContainsFunc(fields, field.erased) {
		put = putGrowing
		v.value = orNull(v.value)
	}
	for _, f := range fields[1:] {
		suffix := f.path[len(path):]
		steps, _ := splitSuffix(suffix)
		v.value = put(v.value, steps, orNull(f.value))
		v.parts = append(v.parts, part{suffix, f.label})
	}
	r.require(r.splits(&v, scope, fields), "the fields of a variable are not those of the policy")
	r.append(list, v)
}

// append adds a variable behind those before it in order.
func (r *reader) append(list *[]variable, v variable) {
	last := len(*list) - 1
	r.require(last < 0 || (*list)[last].name < v.name, "fields are not in order")
	*list = append(*list, v)
}

// erased reports whether a field's value was erased; only while a state is read.
func (f field) erased() bool { return f.value == nil }

func orNull(v canon.Value) canon.Value {
	if v == nil {
		return canon.Null{}
	}
	return v
}

// splits reports whether a variable splits into just the fields it was made of.
// What was around a field inside an erased one is erased too and was made anew,
// so of erased fields only the paths must agree.
func (r *reader) splits(v *variable, scope uint64, fields []field) bool {
	node := r.d.Policy.tree.roots[v.name]
	if !node.inside() {
		return len(fields) == 1
	}
	pieces := split(node, scope, v.name, v.value)
	return slices.EqualFunc(pieces, fields, func(p piece, f field) bool {
		return p.suffix == f.path[len(fields[0].path):] && (f.erased() || canon.Equal(p.value, f.value))
	})
}
