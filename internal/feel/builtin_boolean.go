package feel

import "github.com/underseal/underseal/internal/canon"

var booleanFunctions = []definition{
	{"not(negand: Any)", not},
	{"is(value1?: Any, value2?: Any)", is},
	{"all(list...: Any)", func(c *call) value { return decide(c, false) }},
	{"any(list...: Any)", func(c *call) value { return decide(c, true) }},
}

func not(c *call) value {
	switch v := single(c.args[0]).(type) {
	case canon.Bool:
		return !v
	case canon.Null:
		return v
	}
	return c.fail("the argument is a %s", typeName(c.args[0]))
}

// is compares the values as they are written: 12:00Z is not 13:00+01:00.
func is(c *call) value {
	if c.args[0] == nil && c.args[1] == nil {
		return c.fail("two values are needed")
	}
	return canon.Bool(c.identical(c.args[0], c.args[1]))
}

func (m *machine) identical(a, b canon.Value) bool {
	if isNull(a) || isNull(b) {
		return isNull(a) && isNull(b)
	}
	switch a := a.(type) {
	case canon.Time:
		return a == b
	case canon.DateTime:
		return a == b
	}
	return m.sameItem(a, b)
}

// decide is the "or" (when is true) or the "and" of a list.
func decide(c *call, when bool) value {
	if isNull(c.args[0]) {
		return c.fail("the list is null")
	}
	unknown := false
	for _, item := range c.list(0) {
		if !c.step(1) {
			return canon.Null{}
		}
		b, ok := item.(canon.Bool)
		if ok && bool(b) == when {
			return b
		}
		unknown = unknown || !ok
	}
	if unknown {
		return c.fail("the list holds what is not true or false")
	}
	return canon.Bool(!when)
}
