package process

import (
	"cmp"
	"slices"
)

// What was given counts by what a worker or person may have seen at any time while
// the job or task is open, not by what is visible in the end: a field may be
// overwritten or lose its label in between, and what was seen stays seen. Only what
// a step leaves behind is ever shown, so one look per step is enough.

// remember joins the labels of what this step made visible to the open jobs and
// tasks with those of what they were given before.
func (r *run) remember() {
	if len(r.s.jobs)+len(r.s.tasks) == 0 {
		return
	}
	written := r.written()
	for i := range r.s.jobs {
		j := &r.s.jobs[i]
		r.give(&j.given, j.id, r.s.token(j.token), written, false)
	}
	for i := range r.s.tasks {
		t := &r.s.tasks[i]
		r.give(&t.given, t.id, r.s.token(t.token), written, true)
	}
}

// labeled is a scope with the labels of what the step wrote there.
type labeled struct {
	id    uint64
	label *Label
}

func (l labeled) number() uint64 { return l.id }

// written lists the scopes to which the step wrote, sorted.
func (r *run) written() []labeled {
	var list []labeled
	for i := range r.journal {
		j := &r.journal[i]
		vars := r.s.list(j.scope)
		if j.scope == noteScope || vars == nil {
			continue
		}
		v := findVariable(*vars, j.old.name)
		if v == nil {
			continue
		}
		at := findOrAdd(&list, j.scope)
		list[at].label = join(list[at].label, v.labelOfAll())
	}
	return list
}

// findOrAdd returns the position of a scope in the sorted list.
func findOrAdd(list *[]labeled, scope uint64) int {
	at, found := slices.BinarySearchFunc(*list, scope, func(l labeled, scope uint64) int { return cmp.Compare(l.id, scope) })
	if !found {
		*list = slices.Insert(*list, at, labeled{id: scope})
	}
	return at
}

// give brings the label of what one job or task was given up to date.
func (r *run) give(given **Label, id uint64, t *token, written []labeled, form bool) {
	if id > r.first {
		*given = join(r.d.Policy.tree.standard, r.s.labelGiven(t, form))
		return
	}
	if len(written) == 0 {
		return
	}
	scope := max(t.scope, t.inner)
	for {
		if at := find(written, scope); at >= 0 {
			*given = join(*given, written[at].label)
		}
		if scope == 0 || scope == t.inner && !form {
			return
		}
		scope = r.s.scope(scope).parent
	}
}

// renameGiven lets what was given name the root's fields, see renameSubjects.
func (r *run) renameGiven(subjects []string, prefix string) {
	for i := range r.s.jobs {
		if j := &r.s.jobs[i]; j.given != nil {
			j.given = j.given.rename(subjects, prefix)
		}
	}
	for i := range r.s.tasks {
		if t := &r.s.tasks[i]; t.given != nil {
			t.given = t.given.rename(subjects, prefix)
		}
	}
}
