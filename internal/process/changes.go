package process

import (
	"slices"
	"strconv"
	"strings"

	"github.com/underseal/underseal/internal/canon"
)

// journaled is a variable as it was before the step's first write to it.
type journaled struct {
	scope uint64 // noteScope for pseudo-fields
	old   variable
	had   bool
}

// noteScope stands for the State's notes, whose names are whole paths.
const noteScope = ^uint64(0)

// IncidentPath is the path of the field that holds an incident's text.
func IncidentPath(id uint64) string { return "$incident." + strconv.FormatUint(id, 10) }

// DraftPath is the path of the field that holds the draft of a user task.
func DraftPath(task uint64) string { return scopePrefix(task) + draftName }

const draftName = "$draft"

// IsDraft reports whether a path is that of what a person saved of a form.
func IsDraft(path string) bool { return strings.HasSuffix(path, draftName) }

// list returns the variables of a scope; nil if the scope is gone.
func (s *State) list(scope uint64) *[]variable {
	if scope == noteScope {
		return &s.notes
	}
	if i := find(s.scopes, scope); i >= 0 {
		return &s.scopes[i].vars
	}
	return nil
}

// set writes a variable, remembering what was there before the step.
func (r *run) set(scope uint64, v variable) {
	list := r.s.list(scope)
	v.fresh = true
	if old := findVariable(*list, v.name); old != nil {
		if !old.fresh {
			r.journal = append(r.journal, journaled{scope, *old, true})
		}
		*old = v
		return
	}
	r.journal = append(r.journal, journaled{scope: scope, old: variable{name: v.name}})
	*list = put(*list, v)
}

// forget takes a note away.
func (r *run) forget(path string) {
	old := findVariable(r.s.notes, path)
	if old == nil {
		return
	}
	if !old.fresh {
		r.journal = append(r.journal, journaled{noteScope, *old, true})
	}
	i, _ := slices.BinarySearchFunc(r.s.notes, path, compareVariables)
	r.s.notes = slices.Delete(r.s.notes, i, i+1)
}

// forgetScope remembers the variables of a scope that is about to end.
func (r *run) forgetScope(sc *scope) {
	for _, v := range sc.vars {
		if !v.fresh {
			r.journal = append(r.journal, journaled{sc.id, v, true})
		}
	}
}

// changes compares the journal with the state and lists the fields that differ.
func (r *run) changes() []Change {
	if len(r.journal) == 0 {
		return nil
	}
	list := make([]Change, 0, len(r.journal))
	for i := range r.journal {
		list = r.compare(list, &r.journal[i])
	}
	slices.SortFunc(list, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return list
}

// compare appends the changes of one variable and clears its mark.
func (r *run) compare(list []Change, j *journaled) []Change {
	var now *variable
	if vars := r.s.list(j.scope); vars != nil {
		now = findVariable(*vars, j.old.name)
	}
	if now != nil {
		now.fresh = false
	}
	switch {
	case now == nil && !j.had:
		return list
	case now == nil:
		return r.diff(list, j.scope, &j.old, nil)
	case !j.had:
		return r.diff(list, j.scope, nil, now)
	}
	return r.diff(list, j.scope, &j.old, now)
}

// diff appends the fields in which two versions of a variable differ; nil is the
// version that does not exist.
func (r *run) diff(list []Change, scope uint64, old, now *variable) []Change {
	before, after := r.d.fieldsOf(scope, old), r.d.fieldsOf(scope, now)
	for len(before) > 0 || len(after) > 0 {
		switch order := compareFirst(before, after); {
		case order < 0:
			f := &before[0]
			list = append(list, Change{Path: f.path, Label: *f.label, Search: f.search})
			before = before[1:]
		case order > 0:
			f := &after[0]
			list = append(list, Change{Path: f.path, Value: f.value, Label: *f.label, Search: f.search})
			after = after[1:]
		default:
			was, f := &before[0], &after[0]
			again := sameLabel(was.label, f.label) && canon.Equal(was.value, f.value)
			if !again || r.unseen(f) {
				list = append(list, Change{f.path, f.value, *f.label, f.search, again})
			}
			before, after = before[1:], after[1:]
		}
	}
	return list
}

// compareFirst says which of two sorted lists has the earlier path first; an empty
// one has the last.
func compareFirst(a, b []field) int {
	switch {
	case len(a) == 0:
		return 1
	case len(b) == 0:
		return -1
	}
	return strings.Compare(a[0].path, b[0].path)
}

// field is a Field that shares its label.
type field struct {
	path   string
	value  canon.Value
	label  *Label
	search string
}

// fieldsOf lists the fields of a variable of a scope; none for nil.
func (d *Definition) fieldsOf(scope uint64, v *variable) []field {
	if v == nil {
		return nil
	}
	if scope == noteScope {
		return []field{{v.name, v.value, v.label, ""}}
	}
	prefix := scopePrefix(scope) + escape(v.name)
	node := d.Policy.tree.roots[v.name]
	if node == nil {
		return []field{{prefix, v.value, v.label, ""}}
	}
	pieces := split(node, scope, v.name, v.value)
	fields := make([]field, len(pieces))
	for i := range pieces {
		p := &pieces[i]
		fields[i] = field{prefix + p.suffix, p.value, v.labelOfPart(p.suffix), p.node.search}
	}
	return fields
}

// fields lists all live fields, by scope and name, notes last.
func (s *State) fields() []field {
	var all []field
	for i := range s.scopes {
		for j := range s.scopes[i].vars {
			all = append(all, s.d.fieldsOf(s.scopes[i].id, &s.scopes[i].vars[j])...)
		}
	}
	for i := range s.notes {
		all = append(all, field{s.notes[i].name, s.notes[i].value, s.notes[i].label, ""})
	}
	return all
}

// lookup finds a live field by its path.
func (s *State) lookup(path string) (field, bool) {
	if isPseudo(path) {
		if note := findVariable(s.notes, path); note != nil {
			return field{path, note.value, note.label, ""}, true
		}
		return field{}, false
	}
	scope, name, _, err := parseFieldPath(path)
	if err != nil {
		return field{}, false
	}
	list := s.list(scope)
	if list == nil || findVariable(*list, name) == nil {
		return field{}, false
	}
	for _, f := range s.d.fieldsOf(scope, findVariable(*list, name)) {
		if f.path == path {
			return f, true
		}
	}
	return field{}, false
}

// Label returns the label of a live field, the zero Label if there is none.
func (s *State) Label(path string) Label {
	if f, ok := s.lookup(path); ok {
		return *f.label
	}
	return Label{}
}

// Ended reports whether a path is that of a field of a scope that has ended.
func (s *State) Ended(path string) bool {
	scope, _, _, err := parseFieldPath(path)
	return err == nil && find(s.scopes, scope) < 0
}

// Search says how a live field may be searched for: "" or "exact".
func (s *State) Search(path string) string {
	f, _ := s.lookup(path)
	return f.search
}

// Field returns the value of a live field.
func (s *State) Field(path string) (canon.Value, bool) {
	f, ok := s.lookup(path)
	return f.value, ok
}

// Fields lists the live fields, by scope and name, pseudo-fields last.
func (s *State) Fields() []Field {
	var all []Field
	for _, f := range s.fields() {
		all = append(all, Field{f.path, f.value, *f.label, f.search})
	}
	return all
}

// FieldPaths lists the live fields, sorted.
func (s *State) FieldPaths() []string {
	fields := s.fields()
	paths := make([]string, len(fields))
	for i, f := range fields {
		paths[i] = f.path
	}
	slices.Sort(paths)
	return paths
}
