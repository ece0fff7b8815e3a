package engine

import (
	"cmp"
	"context"
	"slices"

	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
)

// lens is the one way in which values of an instance leave the engine: whoever is
// answered looks at them through one. It decides field by field what its caller sees, and
// remembers it for the answer and for the log.
type lens struct {
	engine *Engine
	caller Caller
	live   *Live
	on     access.Resource        // the instance, task or job that is looked at
	form   func(path string) bool // whether the task's form names a field; nil: it is no task
	job    uint64                 // whose variables are looked at, and nothing else; 0: it is no job
	task   uint64                 // the same of a task, with its draft; 0: it is no task
	known  map[asked]verdict
	alike  bool // fields are decided alike, except by what asked says of them
	away   bool // what is seen is taken along as a file, which break-glass is not for

	seen, masked, hidden, revealed []string // paths that were looked at
	purposes                       []string
	glasses                        []string // ids of what of it was shown by break-glass
	at                             asked    // where the file stands that was looked at last
}

// sight is what somebody sees of a field.
type sight byte

const (
	isHidden sight = iota // not that there is one
	isMasked              // that there is one
	isClear               // its value
)

type asked struct {
	path      string // as a policy spells it; "" for all that are alike
	sensitive bool
	inForm    bool
}

// verdict is a decision about a field. Purpose is empty unless a grant to reveal it, or a
// break-glass, was needed; glass is the id of that.
type verdict struct {
	sight          sight
	purpose, glass string
}

// lens returns one for a caller who may see the resource, which is the instance or
// something of it.
func (e *Engine) lens(c Caller, l *Live, on access.Resource) *lens {
	rules := c.Rules.Policies
	alike := rules.FieldsAlike(c.Who, access.ReadValue) && rules.FieldsAlike(c.Who, access.RevealValue)
	return &lens{engine: e, caller: c, live: l, on: on, known: map[asked]verdict{}, alike: alike}
}

// exportLens is for what somebody takes along: an export, or evidence.
func (e *Engine) exportLens(c Caller, l *Live) *lens {
	v := e.lens(c, l, l.resource())
	v.away = true
	return v
}

// taskLens is for who sees a task.
func (e *Engine) taskLens(ctx context.Context, c Caller, l *Live, t process.OpenUserTask) (*lens, *form, error) {
	v := e.lens(c, l, l.taskResource(t.ID))
	v.task = t.ID
	form, err := e.taskForm(ctx, l, t)
	v.form = func(path string) bool { return form.names(&l.def.compiled.Policy, path) }
	return v, form, err
}

// jobLens is for who works a job, and for nothing but what the job was given.
func (e *Engine) jobLens(c Caller, l *Live, job process.OpenJob) *lens {
	on := l.resource()
	on.Kind, on.ID, on.Element, on.Given = access.Job, refText(l.id, job.ID), job.Element, true
	v := e.lens(c, l, on)
	v.job = job.ID
	return v
}

// decide decides about a field by its path, of which anybody may say whether it is
// sensitive but the caller.
func (v *lens) decide(path string, sensitive bool) verdict {
	field := process.PolicyPath(path)
	q := asked{field, sensitive, v.form != nil && v.form(field)}
	if v.alike {
		q.path = ""
	}
	d, known := v.known[q]
	if known {
		return d
	}
	on := v.on
	on.Kind, on.Field, on.InForm = access.Field, field, q.inForm
	read := v.engine.decide(v.caller, access.ReadValue, on)
	switch {
	case !read.Allowed:
	case !sensitive:
		d = verdict{isClear, read.Purpose, read.Glass}
	default:
		d = v.engine.unmask(v.caller, on, read)
	}
	if v.away && d.glass != "" {
		d = verdict{sight: isMasked}
	}
	v.known[q] = d
	return d
}

// unmask decides about a sensitive field that the caller may see masked, as was read.
func (e *Engine) unmask(c Caller, on access.Resource, read access.Decision) verdict {
	d := e.decide(c, access.RevealValue, on)
	if !d.Allowed {
		return verdict{sight: isMasked}
	}
	return verdict{isClear, cmp.Or(d.Purpose, read.Purpose), cmp.Or(d.Glass, read.Glass)}
}

// names reports whether the caller may be told of a field, whatever its value.
func (v *lens) names(path string) bool { return v.decide(path, false).sight == isClear }

// named returns those of some paths that the caller may be told of.
func (v *lens) named(paths []string) []string {
	return slices.DeleteFunc(slices.Clone(paths), func(path string) bool { return !v.names(path) })
}

// erasedOf returns the paths of what was erased of what a task is shown, with its draft.
// Those of other scopes and of others' drafts are not for who does the task.
func (v *lens) erasedOf(task uint64) []string {
	var paths []string
	v.live.state.TaskFields(task, func(f process.Field) bool {
		if v.live.isErased(f.Path) {
			paths = append(paths, f.Path)
		}
		return false
	})
	return v.named(sorted(paths))
}

// look decides about a value that is about to be shown, and remembers it.
func (v *lens) look(path string, sensitive bool) bool {
	return v.note(path, v.decide(path, sensitive))
}

// see is look for a live field; it is a process.Eye. An erased one reads as null, and is
// told by its path alone.
func (v *lens) see(f process.Field) bool {
	if v.live.isErased(f.Path) {
		return v.names(f.Path)
	}
	return v.look(f.Path, f.Label.Sensitive())
}

func (v *lens) note(path string, d verdict) bool {
	switch d.sight {
	case isHidden:
		v.hidden = append(v.hidden, path)
	case isMasked:
		v.masked = append(v.masked, path)
	case isClear:
		v.seen = append(v.seen, path)
		if d.purpose != "" {
			v.revealed, v.purposes = append(v.revealed, path), append(v.purposes, d.purpose)
		}
		if d.glass != "" {
			v.glasses = append(v.glasses, d.glass)
		}
	}
	return d.sight == isClear
}

// mask returns what was masked since the last call, for one answer or part of it.
func (v *lens) mask() []string {
	paths := sorted(v.masked)
	v.hidden, v.masked = append(v.hidden, v.masked...), nil
	return paths
}

// told says what was shown through the lens. Of a field that was shown without all that
// is below it, the rest is told as withheld.
func (v *lens) told(element string) shown {
	s := shown{object: v.live.id, element: element, revealed: sorted(v.revealed)}
	seen := map[string]bool{}
	for _, path := range v.seen {
		seen[path] = true
	}
	for _, path := range sorted(v.seen) {
		if !isBelow(path, seen) {
			s.paths = append(s.paths, path)
		}
	}
	for _, path := range sorted(slices.Concat(v.masked, v.hidden)) {
		if isBelow(path, seen) && !seen[path] {
			s.withheld = append(s.withheld, path)
		}
	}
	s.purposes, s.glasses = sorted(v.purposes), sorted(v.glasses)
	return s
}

// isBelow reports whether a field is inside one of those of a set.
func isBelow(path string, outer map[string]bool) bool {
	for i := range len(path) {
		if (path[i] == '.' || path[i] == '[') && outer[path[:i]] {
			return true
		}
	}
	return false
}

func sorted(paths []string) []string {
	paths = slices.Clone(paths)
	slices.Sort(paths)
	return slices.Compact(paths)
}

// lookFile is look for a file. Whoever sees a field in which it stands sees the file.
func (v *lens) lookFile(f *file) bool {
	best, sensitive := verdict{}, f.label.Sensitive()
	for _, path := range v.placesOf(f) {
		if d := v.decide(path, sensitive); d.sight > best.sight || d.sight == best.sight && d.purpose == "" {
			best, v.at = d, asked{path: path, sensitive: sensitive}
		}
	}
	return v.note(filePath(f.id), best)
}

// placesOf returns the fields by which a file may be seen: those of what is looked at in
// which it stands and which are at least as strict, for a job can hand its id on in
// another; and its own, but for a job. Of a task that counts only for what the task sees:
// drafts of others and inner scopes are not for who does it.
func (v *lens) placesOf(f *file) (places []string) {
	there := false
	collect := func(field process.Field) bool {
		if holds(field.Value, canon.String(fileName(f.id))) {
			if there = true; field.Label.Covers(f.label) {
				places = append(places, field.Path)
			}
		}
		return false
	}
	switch {
	case v.job != 0:
		_, _ = v.live.state.JobVariables(v.job, collect) // one that is closed was given nothing
		return places
	case v.task != 0:
		v.live.state.TaskFields(v.task, collect)
		if !there {
			return nil
		}
	default:
		for _, field := range v.live.state.Fields() {
			collect(field)
		}
	}
	return append(places, filePath(f.id))
}

// still reports whether somebody sees the file that was looked at last, by what they may
// now. Of the instance it is what the lens was made with that counts.
func (v *lens) still(c Caller) bool {
	now := lens{engine: v.engine, caller: c, on: v.on, form: v.form, known: map[asked]verdict{}}
	return v.engine.readsFiles(c, v.on) && now.decide(v.at.path, v.at.sensitive).sight == isClear
}

// refuseMasked is the answer to who asked for a value that is masked for them.
func (e *Engine) refuseMasked(ctx context.Context, c Caller, instance, path string) error {
	e.denied(ctx, c, access.RevealValue, string(access.Instance), instance)
	return fault.New(fault.Denied, "%s may not see %q in clear", c.Principal, path).WithCode("masked").
		WithHint("ask an administrator for a grant to reveal it, and say what for: the header Underseal-Purpose, or --purpose")
}
