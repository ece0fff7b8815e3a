package process

import (
	"strings"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// Who writes a variable of which they do not see all must not overwrite the rest without
// knowing: what they neither saw nor name stays, with its label. Where that cannot be, the
// event is refused.

// Unseen returns the paths that an eye does not see of those variables of several fields
// that an event of a person writes to: of what a task enters, or of what is set.
func (s *State) Unseen(event Event, see Eye) []string {
	switch e := event.(type) {
	case TaskCompleted:
		if i := find(s.tasks, e.Task); i >= 0 {
			t := s.token(s.tasks[i].token)
			return s.unseen(max(t.scope, t.inner), e.Variables, see)
		}
	case VariablesSet:
		return s.unseen(0, e.Variables, see)
	}
	return nil
}

func (s *State) unseen(from uint64, written *canon.Context, see Eye) (paths []string) {
	for i := range written.Len() {
		scope, old := s.resolve(from, written.At(i).Name)
		fields := s.d.fieldsOf(scope, old)
		if len(fields) < 2 {
			continue
		}
		for _, f := range fields {
			if !see(Field{f.path, f.value, *f.label, f.search}) {
				paths = append(paths, f.path)
			}
		}
	}
	return paths
}

// unseen reports whether the author of the event does not see a field that the step set.
func (r *run) unseen(f *field) bool {
	return r.in.Sees != nil && !r.kept[f.path] && !r.in.Sees(Field{f.path, f.value, *f.label, f.search})
}

// keptLabels are the labels of fields that stay, by variable and suffix.
type keptLabels map[string]map[string]*Label

func (k keptLabels) of(variable, suffix string) *Label { return k[variable][suffix] }

// keepUnseen adds to what is written from a scope what its author did not see of the same
// variables, and to its origin the labels of that.
func (r *run) keepUnseen(from uint64, written *canon.Context, unseen []string, o origin) (*canon.Context, origin, error) {
	if len(unseen) == 0 {
		return written, o, nil
	}
	hidden := map[string]bool{}
	for _, path := range unseen {
		hidden[path] = true
	}
	o.kept = keptLabels{}
	for i := range written.Len() {
		entry := written.At(i)
		scope, old := r.s.resolve(from, entry.Name)
		if old == nil {
			continue
		}
		k := keeper{d: r.d, scope: scope, name: entry.Name, fields: r.d.fieldsOf(scope, old), hidden: hidden, kept: map[string]*Label{}, whole: map[string]bool{}}
		value, ok := k.keep(entry.Value)
		if !ok {
			return nil, o, fault.New(fault.Denied, "variable %q holds more than you may see, and what you write would take that away", entry.Name).
				WithCode("unseen_parts").WithHint("write the parts that you see, and lists as they were shown; or ask for a grant to reveal the rest")
		}
		written, o.kept[entry.Name] = written.With(entry.Name, value), k.kept
		r.keep(&k)
	}
	return written, o, nil
}

// keep notes which fields stay untouched. What is left of a variable may have been written
// to.
func (r *run) keep(k *keeper) {
	for i := range k.fields {
		f := &k.fields[i]
		if suffix := k.suffix(f); suffix == "" || k.kept[suffix] == nil {
			continue
		}
		if r.kept == nil {
			r.kept = map[string]bool{}
		}
		r.kept[f.path] = true
	}
}

// keeper puts back into a variable that is written what its author did not see of it.
type keeper struct {
	d      *Definition
	scope  uint64
	name   string
	fields []field         // of the variable as it is, its own first
	hidden map[string]bool // paths that the author did not see
	kept   map[string]*Label
	whole  map[string]bool // suffixes of lists that were put back
}

func (k *keeper) suffix(f *field) string {
	return f.path[len(scopePrefix(k.scope))+len(escape(k.name)):]
}

// keep returns the value with what stays; false if that has no place in it.
func (k *keeper) keep(value canon.Value) (canon.Value, bool) {
	named := map[string]bool{}
	for _, p := range split(k.d.Policy.tree.roots[k.name], k.scope, k.name, value) {
		named[p.suffix] = true
	}
	sent := value
	value, ok := k.keepOwn(value)
	for i := range k.fields[1:] {
		f := &k.fields[i+1]
		suffix := k.suffix(f)
		switch list, _, inList := strings.Cut(suffix, "["); {
		case !ok:
			return nil, false
		case inList && !k.hidden[f.path]: // the rest of its items may be what is left of the variable
			if k.hidden[k.fields[0].path] && given(sent, list) {
				value, ok = k.keepList(value, list)
			}
		case !k.hidden[f.path]:
		case inList:
			value, ok = k.keepList(value, list)
			k.kept[suffix] = f.label
		case !named[suffix]:
			value, ok = k.putBack(value, suffix, f.value)
			k.kept[suffix] = f.label
		}
	}
	return value, ok
}

// given reports whether something is written at a suffix.
func given(value canon.Value, suffix string) bool {
	steps, _ := splitSuffix(suffix)
	_, there := valueAt(value, steps)
	return there
}

// keepOwn keeps what is left of the variable without its declared parts, if only some of
// these were seen. Of a variable that was not seen at all its author knew that they write
// it anew.
func (k *keeper) keepOwn(value canon.Value) (canon.Value, bool) {
	own, seen := &k.fields[0], false
	for i := range k.fields {
		seen = seen || !k.hidden[k.fields[i].path]
	}
	if !k.hidden[own.path] || !seen {
		return value, true
	}
	old, wasContext := own.value.(*canon.Context)
	sent, isContext := value.(*canon.Context)
	if !wasContext || !isContext {
		return nil, false
	}
	k.kept[""] = own.label
	return overlay(old, sent), true
}

// overlay returns a context with what another one says, and the rest of the first.
func overlay(old, sent *canon.Context) *canon.Context {
	for i := range sent.Len() {
		entry := sent.At(i)
		before, _ := old.Get(entry.Name)
		outer, wasContext := before.(*canon.Context)
		inner, isContext := entry.Value.(*canon.Context)
		if wasContext && isContext {
			entry.Value = overlay(outer, inner)
		}
		old = old.With(entry.Name, entry.Value)
	}
	return old
}

// putBack puts a part into contexts. Something else on the way to it would be replaced, so
// it has no place then.
func (k *keeper) putBack(value canon.Value, suffix string, part canon.Value) (canon.Value, bool) {
	steps, _ := splitSuffix(suffix)
	at := value
	for _, s := range steps {
		context, ok := at.(*canon.Context)
		if !ok {
			return nil, false
		}
		inner, there := context.Get(s.name)
		if !there {
			break
		}
		at = inner
	}
	return putAt(value, steps, part), true
}

// keepList keeps the list at a suffix, which must be written as it was shown: in another
// one nobody can say what belongs to which item. It counts once, and only as it was shown:
// a list that is taken for what it really is would tell who guessed it.
func (k *keeper) keepList(value canon.Value, suffix string) (canon.Value, bool) {
	if k.whole[suffix] {
		return value, true
	}
	steps, _ := splitSuffix(suffix)
	whole, _ := k.assembled(func(*field) bool { return true })
	shown, some := k.assembled(func(f *field) bool { return !k.hidden[f.path] })
	before, _ := valueAt(whole, steps)
	seen, there := valueAt(shown, steps)
	sent, given := valueAt(value, steps)
	if !given || !some || !there || !canon.Equal(sent, seen) {
		return nil, false
	}
	k.whole[suffix] = true
	return putAt(value, steps, before), true
}

// assembled puts those of the variable's fields together that are wanted.
func (k *keeper) assembled(wanted func(*field) bool) (value canon.Value, some bool) {
	for i := range k.fields {
		if f := &k.fields[i]; wanted(f) {
			steps, _ := splitSuffix(k.suffix(f))
			value, some = putGrowing(value, steps, f.value), true
		}
	}
	return value, some
}

// valueAt returns what stands at a place inside contexts; false if nothing does.
func valueAt(v canon.Value, steps []pathStep) (canon.Value, bool) {
	for _, s := range steps {
		context, _ := v.(*canon.Context)
		inner, there := context.Get(s.name)
		if !there {
			return nil, false
		}
		v = inner
	}
	return v, v != nil
}
