package feel

import "github.com/underseal/underseal/internal/canon"

var rangeFunctions = []definition{
	{"range(from: string)", rangeFrom},
	{"before(point1: Any, point2: Any)", relation(before)},
	{"before(point: Any, range: Any)", relation(before)},
	{"before(range: Any, point: Any)", relation(before)},
	{"before(range1: Any, range2: Any)", relation(before)},
	{"after(point1: Any, point2: Any)", swapped(before)},
	{"after(point: Any, range: Any)", swapped(before)},
	{"after(range: Any, point: Any)", swapped(before)},
	{"after(range1: Any, range2: Any)", swapped(before)},
	{"meets(range1: range, range2: range)", relation(meets)},
	{"met by(range1: range, range2: range)", swapped(meets)},
	{"overlaps(range1: range, range2: range)", relation(overlaps)},
	{"overlaps before(range1: range, range2: range)", relation(overlapsBefore)},
	{"overlaps after(range1: range, range2: range)", swapped(overlapsBefore)},
	{"finishes(point: Any, range: range)", relation(finishes)},
	{"finishes(range1: Any, range2: range)", relation(finishes)},
	{"finished by(range: range, point: Any)", swapped(finishes)},
	{"finished by(range1: range, range2: Any)", swapped(finishes)},
	{"includes(range: range, point: Any)", relation(includes)},
	{"includes(range1: range, range2: Any)", relation(includes)},
	{"during(point: Any, range: range)", swapped(includes)},
	{"during(range1: Any, range2: range)", swapped(includes)},
	{"starts(point: Any, range: range)", relation(starts)},
	{"starts(range1: Any, range2: range)", relation(starts)},
	{"started by(range: range, point: Any)", swapped(starts)},
	{"started by(range1: range, range2: Any)", swapped(starts)},
	{"coincides(point1: Any, point2: Any)", relation(coincides)},
	{"coincides(range1: Any, range2: Any)", relation(coincides)},
}

// edge is an end of a range; a missing one lies at infinity, on that side.
type edge struct {
	v        value
	infinity int
	included bool
}

// span is a range, or a point as the range from itself to itself.
type span struct {
	low, high edge
	point     bool
}

func spanOf(v value) (span, bool) {
	r, isRange := v.(*interval)
	if !isRange {
		e := edge{v: v, included: true}
		return span{e, e, true}, !isNull(v)
	}
	s := span{low: edge{v: r.low, included: r.lowIncluded}, high: edge{v: r.high, included: r.highIncluded}}
	if isNull(r.low) {
		s.low.infinity = -1
	}
	if isNull(r.high) {
		s.high.infinity = 1
	}
	return s, !(r.unary && r.op == opNotEqual)
}

// orderer compares edges and remembers when two could not be compared.
type orderer struct {
	*machine
	failed bool
}

func (o *orderer) order(a, b edge) int {
	if a.infinity != 0 || b.infinity != 0 {
		return order64(int64(a.infinity), int64(b.infinity))
	}
	order, ok := o.compare(a.v, b.v)
	o.failed = o.failed || !ok
	return order
}

// relation makes a built-in of a relation of two ranges or points (DMN 1.5,
// table 78).
func relation(holds func(o *orderer, a, b span) bool) func(c *call) value {
	return func(c *call) value { return relate(c, holds, c.args[0], c.args[1]) }
}

func swapped(holds func(o *orderer, a, b span) bool) func(c *call) value {
	return func(c *call) value { return relate(c, holds, c.args[1], c.args[0]) }
}

func relate(c *call, holds func(o *orderer, a, b span) bool, x, y value) value {
	a, ok := spanOf(x)
	b, ok2 := spanOf(y)
	o := &orderer{machine: c.machine}
	if !ok || !ok2 {
		return c.fail("null and != are no ranges or points")
	}
	is := holds(o, a, b)
	if o.failed {
		return c.fail("a %s cannot be compared with a %s", typeName(x), typeName(y))
	}
	return canon.Bool(is)
}

func before(o *orderer, a, b span) bool {
	order := o.order(a.high, b.low)
	return order < 0 || order == 0 && !(a.high.included && b.low.included)
}

func meets(o *orderer, a, b span) bool {
	return o.order(a.high, b.low) == 0 && a.high.included && b.low.included
}

func overlaps(o *orderer, a, b span) bool {
	return !before(o, a, b) && !before(o, b, a)
}

func overlapsBefore(o *orderer, a, b span) bool {
	low, high := o.order(a.low, b.low), o.order(a.high, b.high)
	return (low < 0 || low == 0 && a.low.included && !b.low.included) && !before(o, a, b) &&
		(high < 0 || high == 0 && (!a.high.included || b.high.included))
}

func finishes(o *orderer, a, b span) bool {
	if o.order(a.high, b.high) != 0 || a.high.included != b.high.included {
		return false
	}
	return a.point || lowWithin(o, a, b)
}

func starts(o *orderer, a, b span) bool {
	if o.order(a.low, b.low) != 0 || a.low.included != b.low.included {
		return false
	}
	return a.point || highWithin(o, a, b)
}

func includes(o *orderer, a, b span) bool {
	return lowWithin(o, b, a) && highWithin(o, b, a)
}

// lowWithin reports whether a begins no earlier than b.
func lowWithin(o *orderer, a, b span) bool {
	order := o.order(a.low, b.low)
	return order > 0 || order == 0 && (!a.low.included || b.low.included)
}

// highWithin reports whether a ends no later than b.
func highWithin(o *orderer, a, b span) bool {
	order := o.order(a.high, b.high)
	return order < 0 || order == 0 && (!a.high.included || b.high.included)
}

func coincides(o *orderer, a, b span) bool {
	return a.point == b.point && o.order(a.low, b.low) == 0 && o.order(a.high, b.high) == 0 &&
		a.low.included == b.low.included && a.high.included == b.high.included
}

// rangeFrom reads a range of literals from a text.
func rangeFrom(c *call) value {
	const most = 1000
	text := c.str(0)
	if len(text) > most || !c.step(10+len(text)) || !c.alloc(10*len(text)) {
		return c.fail("the text is longer than %d bytes", most)
	}
	e, err := Parse(text, Options{})
	if err != nil {
		return c.fail("the text is no range")
	}
	r, isRange := e.root.(*rangeNode)
	if !isRange || !isLiteral(r.low) || !isLiteral(r.high) {
		return c.fail("the text is no range of literals")
	}
	warnings := len(c.warnings)
	v := c.eval(r)
	if c.warnings = c.warnings[:warnings]; isNull(v) {
		return c.fail("the ends of the range do not fit")
	}
	if low, high := v.(*interval).low, v.(*interval).high; c.descends(low, high) {
		return c.fail("the range ends before it starts")
	}
	return v
}

func (m *machine) descends(low, high value) bool {
	order, _ := m.compare(low, high)
	return order > 0
}

// isLiteral accepts literals, negative numbers and date("..") with its like.
func isLiteral(n node) bool {
	switch n := n.(type) {
	case constNode, *zonedNode:
		return true
	case *negNode:
		_, isConst := n.x.(constNode)
		return isConst
	case *callNode:
		if n.builtin == nil || len(n.args) != 1 {
			return false
		}
		switch n.builtin.name {
		case "date", "time", "date and time", "duration":
			_, isConst := n.args[0].(constNode)
			return isConst
		}
	}
	return false
}
