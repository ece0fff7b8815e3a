package feel

import "github.com/underseal/underseal/internal/canon"

// eval follows table 50 of DMN 1.5: what is not true or false counts as null.
// The chain stops at the first item that decides it.
func (n *logicNode) eval(m *machine) canon.Value {
	unknown := false
	for _, item := range n.items {
		v := m.eval(item)
		b, ok := v.(canon.Bool)
		if ok && bool(b) == n.or {
			return b
		}
		if !ok && !isNull(v) {
			m.warn(item.at(), "a %s is neither true nor false", typeName(v))
		}
		unknown = unknown || !ok
	}
	if unknown {
		return canon.Null{}
	}
	return canon.Bool(!n.or)
}

func (n *ifNode) eval(m *machine) canon.Value {
	v := m.eval(n.cond)
	if b, ok := v.(canon.Bool); ok && bool(b) {
		return m.eval(n.then)
	} else if !ok {
		m.warn(n.cond.at(), "the condition is %s and counts as false", typeName(v))
	}
	return m.eval(n.otherwise)
}

// eval is the "or" (some) or "and" (every) over all combinations.
func (n *quantNode) eval(m *machine) canon.Value {
	unknown, decided := false, false
	ok := m.iterate(n.iterations, func() bool {
		b, isBool := m.eval(n.cond).(canon.Bool)
		decided = isBool && bool(b) != n.every
		unknown = unknown || !isBool
		return !decided
	})
	switch {
	case !ok:
		return canon.Null{}
	case decided:
		return canon.Bool(!n.every)
	case unknown:
		return canon.Null{}
	}
	return canon.Bool(n.every)
}
