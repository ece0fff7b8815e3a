package feel

import "github.com/underseal/underseal/internal/canon"

// eval reads an entry of a context, a property of a value, or either of every
// item of a list.
func (n *pathNode) eval(m *machine) canon.Value {
	base := m.eval(n.base)
	list, isList := base.(canon.List)
	if !isList {
		return m.member(n, base)
	}
	if !m.alloc(valueSize * len(list)) {
		return canon.Null{}
	}
	values := make(canon.List, len(list))
	for i, item := range list {
		if !m.step(1) {
			return canon.Null{}
		}
		values[i] = m.member(n, item)
	}
	return values
}

func (m *machine) member(n *pathNode, v canon.Value) canon.Value {
	if c, isContext := v.(*canon.Context); isContext {
		if entry, ok := c.Get(n.name); ok && m.step(len(n.name)/64) {
			return entry
		}
		return m.warn(n.at(), "the context has no entry %q", shorten(n.name))
	}
	if p := m.property(v, n.name); p != nil {
		return p
	}
	return m.warn(n.at(), "a %s has no property %q", typeName(v), shorten(n.name))
}

// property returns a property of tables 60 to 65 of DMN 1.5, nil if the type
// has none of that name.
func (m *machine) property(v canon.Value, name string) canon.Value {
	switch v := v.(type) {
	case canon.Date:
		return dateProperty(v, name)
	case canon.Time:
		return m.timeProperty(canon.Date{Year: 1970, Month: 1, Day: 1}, v, name)
	case canon.DateTime:
		if p := dateProperty(v.Date, name); p != nil {
			return p
		}
		return m.timeProperty(v.Date, v.Time, name)
	case canon.DayTimeDuration:
		return dayTimeProperty(v, name)
	case canon.YearMonthDuration:
		switch name {
		case "years":
			return canon.NewNumber(v.Months / 12)
		case "months":
			return canon.NewNumber(v.Months % 12)
		}
	case *interval:
		return rangeProperty(v, name)
	}
	return nil
}

func dateProperty(d canon.Date, name string) canon.Value {
	switch name {
	case "year":
		return canon.NewNumber(int64(d.Year))
	case "month":
		return canon.NewNumber(int64(d.Month))
	case "day":
		return canon.NewNumber(int64(d.Day))
	case "weekday":
		return canon.NewNumber(int64(weekday(d)))
	}
	return nil
}

func (m *machine) timeProperty(d canon.Date, t canon.Time, name string) canon.Value {
	switch name {
	case "hour":
		return canon.NewNumber(int64(t.Hour))
	case "minute":
		return canon.NewNumber(int64(t.Minute))
	case "second":
		return decimalOf(int64(t.Second)*1e9+int64(t.Nanosecond), -9)
	case "time offset":
		offset, ok := m.offset(canon.DateTime{Date: d, Time: t})
		if !ok {
			return canon.Null{}
		}
		return duration(int64(offset) * 1e9)
	case "timezone":
		if t.Zone.Kind == canon.ZoneNamed {
			return canon.String(t.Zone.Name)
		}
		return canon.Null{}
	}
	return nil
}

func dayTimeProperty(d canon.DayTimeDuration, name string) canon.Value {
	n := int64(d.Nanoseconds)
	switch name {
	case "days":
		return canon.NewNumber(n / nanosPerDay)
	case "hours":
		return canon.NewNumber(n / (3600 * 1e9) % 24)
	case "minutes":
		return canon.NewNumber(n / (60 * 1e9) % 60)
	case "seconds":
		return decimalOf(n%(60*1e9), -9)
	}
	return nil
}

func rangeProperty(r *interval, name string) canon.Value {
	switch name {
	case "start":
		return r.low
	case "end":
		return r.high
	case "start included":
		return canon.Bool(r.lowIncluded)
	case "end included":
		return canon.Bool(r.highIncluded)
	}
	return nil
}
