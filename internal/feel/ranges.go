package feel

import "github.com/underseal/underseal/internal/canon"

// eval makes a range; its ends must be of one ordered type.
func (n *rangeNode) eval(m *machine) canon.Value {
	low, high := m.eval(n.low), m.eval(n.high)
	if _, ok := m.compare(low, high); !ok {
		return m.warn(n.at(), "no range goes from %s to %s", typeName(low), typeName(high))
	}
	return &interval{low: low, high: high, lowIncluded: n.lowIncluded, highIncluded: n.highIncluded}
}

// eval makes the range of all values that the comparison is true for.
func (n *unaryNode) eval(m *machine) canon.Value {
	x := m.eval(n.x)
	r := &interval{low: canon.Null{}, high: canon.Null{}, unary: true, op: n.op}
	switch n.op {
	case opLess, opLessEqual:
		r.high, r.highIncluded = x, n.op == opLessEqual
	case opGreater, opGreaterEqual:
		r.low, r.lowIncluded = x, n.op == opGreaterEqual
	case opEqual, opNotEqual:
		r.low, r.high = x, x
		r.lowIncluded, r.highIncluded = n.op == opEqual, n.op == opEqual
	}
	return r
}

// contains reports whether v lies in the range, as a value: null when they
// cannot be compared.
func (m *machine) contains(at int, r *interval, v canon.Value) canon.Value {
	if r.unary {
		x := r.low
		if r.op == opLess || r.op == opLessEqual {
			x = r.high
		}
		return m.comparison(at, r.op, v, x)
	}
	low, ok := m.compare(r.low, v)
	high, ok2 := m.compare(v, r.high)
	if !ok || !ok2 {
		return m.warn(at, "cannot compare %s with a range of %s", typeName(v), typeName(r.low))
	}
	return canon.Bool((low < 0 || low == 0 && r.lowIncluded) && (high < 0 || high == 0 && r.highIncluded))
}

func (n *inNode) eval(m *machine) canon.Value { return m.anyTest(n.tests, m.eval(n.x)) }

func (n *testsNode) eval(m *machine) canon.Value {
	if n.any {
		return canon.Bool(true)
	}
	input, _ := m.lookup("?")
	v := m.anyTest(n.tests, input)
	if b, ok := v.(canon.Bool); ok && n.not {
		return !b
	}
	return v
}

func (n *inputNode) eval(m *machine) canon.Value { return m.eval(n.x) }

// anyTest is the "or" of the tests.
func (m *machine) anyTest(tests []node, input canon.Value) canon.Value {
	unknown := false
	for _, t := range tests {
		b, ok := m.test(t, input).(canon.Bool)
		if ok && bool(b) {
			return b
		}
		unknown = unknown || !ok
	}
	if unknown {
		return canon.Null{}
	}
	return canon.Bool(false)
}

// test applies one test to the input.
func (m *machine) test(t node, input canon.Value) canon.Value {
	if u, ok := t.(*unaryNode); ok {
		return m.comparison(u.at(), u.op, input, m.eval(u.x))
	}
	if q, ok := t.(*inputNode); ok {
		outer := m.frame
		m.bind("?", input)
		v := m.eval(q.x)
		m.frame = outer
		return v
	}
	return m.testValue(t.at(), m.eval(t), input)
}

// testValue tests with a value: a range contains the input, a list has an item
// that does or equals it, anything else equals it.
func (m *machine) testValue(at int, v, input canon.Value) canon.Value {
	switch v := v.(type) {
	case *interval:
		return m.contains(at, v, input)
	case canon.List:
		return m.testList(v, input)
	case canon.Null:
		if !isNull(input) {
			return v
		}
	}
	equal, ok := m.equal(input, v)
	if !ok {
		return m.warn(at, "cannot compare %s with %s", typeName(input), typeName(v))
	}
	return canon.Bool(equal)
}

func (m *machine) testList(list canon.List, input canon.Value) canon.Value {
	if m.sameItem(input, list) {
		return canon.Bool(true)
	}
	for _, item := range list {
		if r, isRange := item.(*interval); isRange {
			warnings := len(m.warnings)
			b, _ := m.contains(0, r, input).(canon.Bool)
			m.warnings = m.warnings[:warnings]
			if b {
				return b
			}
		} else if m.sameItem(input, item) {
			return canon.Bool(true)
		}
		if !m.step(1) {
			return canon.Null{}
		}
	}
	return canon.Bool(false)
}
