package feel

import "github.com/underseal/underseal/internal/canon"

// finish removes what a canon.Value cannot hold from the result.
func (m *machine) finish(v canon.Value, at int) (Result, error) {
	v = m.storable(v, at)
	if m.err != nil {
		return Result{Value: canon.Null{}}, m.err
	}
	return Result{Value: v, Warnings: m.warnings}, nil
}

// storable replaces functions and ranges by null. It visits each value once per
// place it stands at and counts there what its encoding takes: a result that
// shares its parts is as large as it is for those who write it out, copy it or
// read it again in another expression.
func (m *machine) storable(v canon.Value, at int) canon.Value {
	if !m.step(1) {
		return canon.Null{}
	}
	switch v := v.(type) {
	case *function, *interval:
		m.encoded(len("null"))
		return m.warn(at, "a %s cannot be kept as a value", typeName(v))
	case canon.List:
		return m.storableList(v, at)
	case *canon.Context:
		return m.storableContext(v, at)
	}
	m.encodedLeaf(v)
	return v
}

// encodedLeaf counts the encoding of a value that has no parts.
func (m *machine) encodedLeaf(v canon.Value) {
	switch v := v.(type) {
	case nil, canon.Null:
		m.encoded(len("null"))
	case canon.Bool:
		m.encoded(len("false"))
	case canon.String:
		m.encodedText(string(v))
	default:
		m.scratch = canon.AppendEncode(m.scratch[:0], v)
		m.encoded(len(m.scratch))
	}
}

// encoded counts bytes of the result's encoding; false means that it is too long.
func (m *machine) encoded(n int) bool {
	m.result -= n
	if m.result < 0 {
		m.exceed("bytes in the result")
	}
	return m.err == nil
}

// encodedText counts a text without its escapes first, which says most.
func (m *machine) encodedText(s string) bool {
	if !m.encoded(len(s)) {
		return false
	}
	m.scratch = canon.AppendString(m.scratch[:0], s)
	return m.encoded(len(m.scratch) - len(s))
}

func (m *machine) storableList(list canon.List, at int) canon.Value {
	if !m.encoded(len(`["l"]`)+len(list)) || !m.enter() {
		return canon.Null{}
	}
	defer m.leave()
	kept := list
	for i, item := range list {
		v := m.storable(item, at)
		if m.err != nil {
			return canon.Null{}
		}
		if unchanged(v, item) {
			continue
		}
		if &kept[0] == &list[0] {
			if !m.alloc(valueSize * len(list)) {
				return canon.Null{}
			}
			kept = append(canon.List(nil), list...)
		}
		kept[i] = v
	}
	return kept
}

func (m *machine) storableContext(c *canon.Context, at int) canon.Value {
	if !m.encoded(len("{}")+2*c.Len()) || !m.enter() {
		return canon.Null{}
	}
	defer m.leave()
	var changed []canon.Entry
	for i := range c.Len() {
		entry := c.At(i)
		if !m.encodedText(entry.Name) {
			return canon.Null{}
		}
		kept := m.storable(entry.Value, at)
		if m.err != nil {
			return canon.Null{}
		}
		if changed == nil && !unchanged(kept, entry.Value) {
			if changed = m.entries(c); changed == nil {
				return canon.Null{}
			}
		}
		if changed != nil {
			changed[i].Value = kept
		}
	}
	if changed == nil {
		return c
	}
	return m.newContext(at, changed)
}

// entries copies the entries of a context that has some; nil when the limit is
// exceeded.
func (m *machine) entries(c *canon.Context) []canon.Entry {
	if !m.alloc(4 * valueSize * c.Len()) {
		return nil
	}
	entries := make([]canon.Entry, c.Len())
	for i := range entries {
		entries[i] = c.At(i)
	}
	return entries
}
