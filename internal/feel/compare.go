package feel

import (
	"strings"

	"github.com/underseal/underseal/internal/canon"
)

func (n *compareNode) eval(m *machine) canon.Value {
	a, b := m.eval(n.a), m.eval(n.b)
	return m.comparison(n.at(), n.op, a, b)
}

func (m *machine) comparison(at int, op compareOp, a, b canon.Value) canon.Value {
	if op == opEqual || op == opNotEqual {
		equal, ok := m.equal(a, b)
		if !ok {
			return m.warn(at, "cannot compare %s with %s", typeName(a), typeName(b))
		}
		return canon.Bool(equal == (op == opEqual))
	}
	order, ok := m.compare(a, b)
	if !ok {
		return m.warn(at, "cannot compare %s with %s", typeName(a), typeName(b))
	}
	switch op {
	case opLess:
		return canon.Bool(order < 0)
	case opLessEqual:
		return canon.Bool(order <= 0)
	case opGreater:
		return canon.Bool(order > 0)
	}
	return canon.Bool(order >= 0)
}

func (n *betweenNode) eval(m *machine) canon.Value {
	x := m.eval(n.x)
	r := &interval{low: m.eval(n.low), high: m.eval(n.high), lowIncluded: true, highIncluded: true}
	return m.contains(n.at(), r, x)
}

// compare orders two values of one type: numbers, strings (by code point),
// dates, times, dates and times, durations. ok is false for all others, and for
// times of which only one has a zone.
func (m *machine) compare(a, b canon.Value) (order int, ok bool) {
	switch a := a.(type) {
	case canon.Number:
		if b, same := b.(canon.Number); same {
			return a.Decimal().Cmp(b.Decimal()), true
		}
	case canon.String:
		if b, same := b.(canon.String); same {
			return strings.Compare(string(a), string(b)), m.step(min(len(a), len(b)) / 64)
		}
	case canon.Date:
		if b, same := b.(canon.Date); same {
			return order64(dayNumber(a), dayNumber(b)), true
		}
	case canon.DateTime:
		if b, same := b.(canon.DateTime); same {
			return m.compareDateTimes(a, b)
		}
	case canon.Time:
		if b, same := b.(canon.Time); same {
			return m.compareTimes(a, b)
		}
	case canon.DayTimeDuration:
		if b, same := b.(canon.DayTimeDuration); same {
			return order64(int64(a.Nanoseconds), int64(b.Nanoseconds)), true
		}
	case canon.YearMonthDuration:
		if b, same := b.(canon.YearMonthDuration); same {
			return order64(a.Months, b.Months), true
		}
	}
	return 0, false
}

func order64(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// equal follows table 53 of DMN 1.5: null equals null alone; values of
// different types are not comparable (ok is false).
func (m *machine) equal(a, b canon.Value) (equal, ok bool) {
	if isNull(a) || isNull(b) {
		return isNull(a) && isNull(b), true
	}
	switch a := a.(type) {
	case canon.Bool:
		b, same := b.(canon.Bool)
		return a == b, same
	case canon.List:
		b, same := b.(canon.List)
		return same && m.equalLists(a, b), same
	case *canon.Context:
		b, same := b.(*canon.Context)
		return same && m.equalContexts(a, b), same
	case *interval:
		b, same := b.(*interval)
		return same && m.equalRanges(a, b), same
	case *function:
		b, same := b.(*function)
		return a == b, same
	}
	order, ok := m.compare(a, b)
	return ok && order == 0, ok
}

// sameItem is equality inside lists, where what cannot be compared differs.
func (m *machine) sameItem(a, b canon.Value) bool {
	if !m.step(1) {
		return false
	}
	equal, ok := m.equal(a, b)
	return equal && ok
}

func (m *machine) equalLists(a, b canon.List) bool {
	if len(a) != len(b) || !m.enter() {
		return false
	}
	defer m.leave()
	for i := range a {
		if !m.sameItem(a[i], b[i]) {
			return false
		}
	}
	return true
}

func (m *machine) equalContexts(a, b *canon.Context) bool {
	if a.Len() != b.Len() || !m.enter() {
		return false
	}
	defer m.leave()
	for i := range a.Len() {
		x, y := a.At(i), b.At(i)
		if !m.step(len(x.Name)/64) || x.Name != y.Name || !m.sameItem(x.Value, y.Value) {
			return false
		}
	}
	return true
}

func (m *machine) equalRanges(a, b *interval) bool {
	return a.unary == b.unary && (!a.unary || a.op == b.op) &&
		a.lowIncluded == b.lowIncluded && a.highIncluded == b.highIncluded &&
		m.sameItem(a.low, b.low) && m.sameItem(a.high, b.high)
}
