package process

import (
	"fmt"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// Bounds of what one instance holds, so that each step's fields can be sealed and
// loading an instance stays quick.
const (
	// MaxFieldBytes bounds a field's encoding, [type,value]. A sealed field takes
	// 64 KiB at most; the difference is for what is sealed with it, and what sealing it for many persons takes.
	MaxFieldBytes = 60_000
	// MaxFields bounds the live fields of an instance, its incidents' texts apart.
	MaxFields = 5_000
	// maxNote bounds an incident's text.
	maxNote = 8_000
)

// tooLarge returns the path of the first field of a variable that is too large, or "".
func (d *Definition) tooLarge(scope uint64, v *variable) string {
	if bound(v.value, MaxFieldBytes-64) > 0 {
		return ""
	}
	for _, f := range d.fieldsOf(scope, v) {
		if len(canon.EncodeItems(canon.String(canon.TypeName(f.value)), f.value)) > MaxFieldBytes {
			return f.path
		}
	}
	return ""
}

// bound takes what the encoding of a value has at most from the bytes left. It is
// not above zero if they may not be enough.
func bound(v canon.Value, left int) int {
	switch v := v.(type) {
	case canon.String:
		return left - 6*len(v) - 8
	case canon.List:
		left -= 8
		for i := 0; i < len(v) && left > 0; i++ {
			left = bound(v[i], left-1)
		}
	case *canon.Context:
		left -= 8
		for i := 0; i < v.Len() && left > 0; i++ {
			left = bound(v.At(i).Value, left-6*len(v.At(i).Name)-8)
		}
	default:
		left -= 128
	}
	return left
}

// count is the number of a variable's fields; none for nil.
func (v *variable) count() int {
	if v == nil {
		return 0
	}
	return 1 + len(v.parts)
}

// fieldCount is the number of live fields of an instance.
func (s *State) fieldCount() int {
	n := len(s.notes) - len(s.incidents)
	for i := range s.scopes {
		for j := range s.scopes[i].vars {
			n += s.scopes[i].vars[j].count()
		}
	}
	return n
}

// admit rejects data from outside that an instance cannot hold, before anything is
// changed. It would be written to what is seen from a scope.
func (r *run) admit(from uint64, values *canon.Context) error {
	more := 0
	for i := range values.Len() {
		entry := values.At(i)
		scope, old := uint64(0), (*variable)(nil)
		if len(r.s.scopes) > 0 {
			scope, old = r.s.resolve(from, entry.Name)
		}
		v := r.d.newVariable(scope, entry.Name, entry.Value, r.d.fromOutside())
		if path := r.d.tooLarge(scope, &v); path != "" {
			return largeField(path)
		}
		more += v.count() - old.count()
	}
	if more > 0 && r.s.fieldCount()+more > MaxFields {
		return fault.New(fault.Invalid, "instance would have more than %d fields: keep lists of declared fields shorter", MaxFields).
			WithCode("too_many_fields")
	}
	return nil
}

// admitResults is admit for the results of the work at a token.
func (r *run) admitResults(token uint64, results *canon.Context) error {
	t := r.s.token(token)
	return r.admit(max(t.scope, t.inner), results)
}

func largeField(path string) error {
	return fault.New(fault.Invalid, "field %q takes more than %d bytes: split the value, or upload the large part as a file",
		path, MaxFieldBytes).WithCode("field_too_large")
}

// pending is a variable that an expression is about to write.
type pending struct {
	scope uint64
	variable
}

// fits says what is wrong with variables that expressions are about to write.
func (r *run) fits(list []pending, label *Label) *problem {
	more := 0
	for i := range list {
		p := &list[i]
		if path := r.d.tooLarge(p.scope, &p.variable); path != "" {
			return &problem{"value_too_large", fmt.Sprintf("field %s would take more than %d bytes: split the value, or keep it elsewhere", path, MaxFieldBytes), label}
		}
		var old *variable
		if vars := r.s.list(p.scope); vars != nil {
			old = findVariable(*vars, p.name)
		}
		more += p.count() - old.count()
	}
	if more > 0 && r.s.fieldCount()+more > MaxFields {
		return &problem{"too_many_fields", fmt.Sprintf("instance would have more than %d fields: keep lists of declared fields shorter", MaxFields), label}
	}
	return nil
}

// findPending returns a scope's variable of the name that is about to be written, or nil.
func findPending(list []pending, scope uint64, name string) *pending {
	for i := range list {
		if list[i].scope == scope && list[i].name == name {
			return &list[i]
		}
	}
	return nil
}
