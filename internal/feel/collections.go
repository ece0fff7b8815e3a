package feel

import "github.com/underseal/underseal/internal/canon"

func (n *listNode) eval(m *machine) canon.Value {
	if !m.alloc(valueSize * len(n.items)) {
		return canon.Null{}
	}
	list := make(canon.List, len(n.items))
	for i, item := range n.items {
		list[i] = m.eval(item)
	}
	return list
}

// eval gives each entry the ones before it as variables.
func (n *contextNode) eval(m *machine) canon.Value {
	if !m.alloc(4 * valueSize * len(n.entries)) {
		return canon.Null{}
	}
	outer := m.frame
	defer func() { m.frame = outer }()
	entries := make([]canon.Entry, len(n.entries))
	for i, e := range n.entries {
		v := m.eval(e.value)
		entries[i] = canon.Entry{Name: e.name, Value: v}
		m.bind(e.name, v)
	}
	return m.newContext(n.at(), entries)
}

func (m *machine) newContext(at int, entries []canon.Entry) canon.Value {
	c, err := canon.NewContext(entries...)
	if err != nil {
		return m.warn(at, "an entry of the context appears twice")
	}
	return c
}

// eval selects from a list; any other value counts as a list of one.
func (n *filterNode) eval(m *machine) canon.Value {
	base := m.eval(n.base)
	if isNull(base) {
		return m.warn(n.at(), "cannot filter null")
	}
	list := listOf(base)
	if c, isConst := n.cond.(constNode); isConst {
		if index, isNumber := c.value.(canon.Number); isNumber {
			return m.item(n.at(), list, index)
		}
	}
	if len(list) == 0 {
		return n.filterNothing(m)
	}
	return n.filter(m, list)
}

// filterNothing tells an index, which finds null, from a condition.
func (n *filterNode) filterNothing(m *machine) canon.Value {
	warnings := len(m.warnings)
	v := m.evalWithItem(n.cond, canon.Null{})
	m.warnings = m.warnings[:warnings]
	if index, isNumber := v.(canon.Number); isNumber {
		return m.item(n.at(), nil, index)
	}
	return canon.List{}
}

func (n *filterNode) filter(m *machine, list canon.List) canon.Value {
	kept := canon.List{}
	for i, item := range list {
		v := m.evalWithItem(n.cond, item)
		if m.err != nil {
			return canon.Null{}
		}
		switch v := v.(type) {
		case canon.Bool:
			if bool(v) && m.alloc(valueSize) {
				kept = append(kept, item)
			}
		case canon.Number:
			if i == 0 {
				return m.item(n.at(), list, v)
			}
		}
	}
	return kept
}

// evalWithItem evaluates with "item", and the entries of the item if it is a
// context, as variables.
func (m *machine) evalWithItem(n node, item canon.Value) canon.Value {
	outer := m.frame
	f := &frame{parent: outer, name: "item", value: item}
	f.item, _ = item.(*canon.Context)
	m.frame = f
	v := m.eval(n)
	m.frame = outer
	return v
}

// item returns the item at an index from 1, or from -1 backwards.
func (m *machine) item(at int, list canon.List, index canon.Number) canon.Value {
	i, ok := intOf(index.Decimal())
	if ok && i < 0 {
		i += int64(len(list)) + 1
	}
	if !ok || i < 1 || i > int64(len(list)) {
		return m.warn(at, "the index is outside the list")
	}
	return list[i-1]
}
