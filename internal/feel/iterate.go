package feel

import (
	"github.com/cockroachdb/apd/v3"

	"github.com/underseal/underseal/internal/canon"
)

const valueSize = 16 // bytes of one value in a list

func (n *forNode) eval(m *machine) canon.Value {
	results := canon.List{}
	outer := m.frame
	defer func() { m.frame = outer }()
	ok := m.iterate(n.iterations, func() bool {
		inner := m.frame
		m.bind("partial", results[:len(results):len(results)])
		v := m.eval(n.body)
		m.frame = inner
		results = append(results, v)
		return m.alloc(2 * valueSize)
	})
	if !ok {
		return canon.Null{}
	}
	return results
}

// iterate calls body for all combinations, the last iteration fastest, with the
// names bound. body returns false to stop; iterate returns false when something
// cannot be iterated over.
func (m *machine) iterate(list []iteration, body func() bool) bool {
	_, ok := m.iterateFrom(list, body)
	return ok
}

func (m *machine) iterateFrom(list []iteration, body func() bool) (goOn, ok bool) {
	if len(list) == 0 {
		return body() && m.err == nil, true
	}
	it := list[0]
	next, ok := m.sequence(&it)
	if !ok {
		return false, false
	}
	outer := m.frame
	defer func() { m.frame = outer }()
	for {
		v, more := next()
		if !more {
			return true, true
		}
		if !m.step(1) {
			return false, false
		}
		m.frame = &frame{parent: outer, name: it.name, value: v}
		if goOn, ok := m.iterateFrom(list[1:], body); !goOn || !ok {
			return false, ok
		}
	}
}

// sequence returns a generator of the values an iteration runs over.
func (m *machine) sequence(it *iteration) (next func() (canon.Value, bool), ok bool) {
	from := m.eval(it.from)
	if it.to != nil {
		return m.count(it.from.at(), from, m.eval(it.to), true, true, true)
	}
	if r, isRange := from.(*interval); isRange && !r.unary {
		return m.count(it.from.at(), r.low, r.high, r.lowIncluded, r.highIncluded, false)
	}
	if isNull(from) {
		m.warn(it.from.at(), "cannot iterate over null")
		return nil, false
	}
	list, i := listOf(from), 0
	return func() (canon.Value, bool) {
		if i == len(list) {
			return nil, false
		}
		i++
		return list[i-1], true
	}, true
}

// count generates the numbers or dates from one to the other, one by one, down
// as well as up when reversed is allowed.
func (m *machine) count(at int, from, to canon.Value, withFrom, withTo, down bool) (func() (canon.Value, bool), bool) {
	order, comparable := m.compare(from, to)
	var step func(v canon.Value, by int) canon.Value
	switch from.(type) {
	case canon.Number:
		step = m.addInt
	case canon.Date:
		step = addDay
	}
	if !comparable || step == nil || order > 0 && !down {
		m.warn(at, "cannot iterate from %s to %s", typeName(from), typeName(to))
		return nil, false
	}
	by := 1
	if order > 0 {
		by = -1
	}
	current, done := from, false
	if !withFrom {
		current = step(current, by)
	}
	return func() (canon.Value, bool) {
		left, _ := m.compare(current, to)
		if done || left*by > 0 || left == 0 && !withTo {
			return nil, false
		}
		v := current
		done = left == 0
		current = step(current, by)
		return v, !isNull(v)
	}, true
}

func (m *machine) addInt(v canon.Value, by int) canon.Value {
	n, isNumber := v.(canon.Number)
	if !isNumber {
		return canon.Null{}
	}
	d, one := new(apd.Decimal), apd.New(int64(by), 0)
	if !m.step(alignment(n.Decimal(), one)) {
		return canon.Null{}
	}
	_, err := decimals.Add(d, n.Decimal(), one)
	return finite(d, err)
}

func addDay(v canon.Value, by int) canon.Value {
	d, isDate := v.(canon.Date)
	if !isDate {
		return canon.Null{}
	}
	next, ok := dateOf(dayNumber(d) + int64(by))
	if !ok {
		return canon.Null{}
	}
	return next
}
