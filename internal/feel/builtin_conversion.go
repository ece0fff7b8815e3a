package feel

import (
	"strings"

	"github.com/cockroachdb/apd/v3"

	"github.com/underseal/underseal/internal/canon"
)

var conversionFunctions = []definition{
	{"date(from: Any)", dateFrom},
	{"date(year: number, month: number, day: number)", dateFromParts},
	{"time(from: Any)", timeFrom},
	{"time(hour: number, minute: number, second: number, offset?: days and time duration?)", timeFromParts},
	{"date and time(from: Any)", dateTimeFrom},
	{"date and time(date: date, time: time)", dateTimeFromDate},
	{"date and time(year: number, month: number, day: number, hour: number, minute: number, second: number, offset?: days and time duration?)", dateTimeFromParts},
	{"date and time(year: number, month: number, day: number, hour: number, minute: number, second: number, timezone: string)", dateTimeFromParts},
	{"duration(from: string)", durationFrom},
	{"years and months duration(from: date, to: date)", yearsAndMonths},
	{"number(from: Any)", numberFrom},
	{"number(from: string, grouping separator: string?, decimal separator: string?)", numberFromText},
	{"string(from: Any)", stringFrom},
}

func dateFrom(c *call) value {
	switch v := single(c.args[0]).(type) {
	case canon.Date:
		return v
	case canon.DateTime:
		return v.Date
	case canon.String:
		if d, err := canon.ParseDate(string(v)); err == nil {
			return d
		}
		return c.fail("the text is no date")
	}
	return c.fail("no date can be made from a %s", typeName(c.args[0]))
}

// datePart returns an integer argument as a part of a date or time.
func (c *call) part(i int) int {
	n, ok := intOf(c.num(i))
	if !ok || n > 1<<31 || n < -1<<31 {
		return 1 << 31
	}
	return int(n)
}

func dateFromParts(c *call) value {
	d := canon.Date{Year: c.part(0), Month: c.part(1), Day: c.part(2)}
	if !d.Valid() {
		return c.fail("there is no such day")
	}
	return d
}

func timeFrom(c *call) value {
	switch v := single(c.args[0]).(type) {
	case canon.Time:
		return v
	case canon.DateTime:
		return v.Time
	case canon.Date:
		return canon.Time{Zone: canon.Zone{Kind: canon.ZoneOffset}}
	case canon.String:
		if t, err := canon.ParseTime(string(v)); err == nil {
			return c.zoned(t, t.Zone)
		}
		return c.fail("the text is no time")
	}
	return c.fail("no time can be made from a %s", typeName(c.args[0]))
}

// zoned returns v if its zone is known.
func (c *call) zoned(v value, zone canon.Zone) value {
	if zone.Kind == canon.ZoneNamed {
		if _, ok := c.zone(zone.Name); !ok {
			return c.fail("unknown time zone")
		}
	}
	return v
}

func timeFromParts(c *call) value {
	t, ok := c.clock(0)
	if !ok {
		return c.fail("there is no such time")
	}
	return t
}

// clock reads hour, minute, second and perhaps an offset or a zone's name from
// the arguments beginning at i.
func (c *call) clock(i int) (canon.Time, bool) {
	second := c.num(i + 2)
	nanos := new(apd.Decimal)
	if _, err := decimals.Mul(nanos, second, apd.New(1e9, 0)); err != nil {
		return canon.Time{}, false
	}
	n, ok := intOf(nanos)
	if !ok || n < 0 || n >= 60*1e9 {
		return canon.Time{}, false
	}
	t := canon.Time{Hour: c.part(i), Minute: c.part(i + 1), Second: int(n / 1e9), Nanosecond: int(n % 1e9)}
	switch zone := c.args[i+3].(type) {
	case canon.DayTimeDuration:
		t.Zone = canon.Zone{Kind: canon.ZoneOffset, Offset: int(zone.Nanoseconds / 1e9)}
	case canon.String:
		t.Zone = canon.Zone{Kind: canon.ZoneNamed, Name: string(zone)}
		if _, known := c.zone(t.Zone.Name); !known {
			return canon.Time{}, false
		}
	}
	return t, t.Valid()
}

func dateTimeFrom(c *call) value {
	switch v := single(c.args[0]).(type) {
	case canon.DateTime:
		return v
	case canon.Date:
		return canon.DateTime{Date: v, Time: canon.Time{Zone: canon.Zone{Kind: canon.ZoneOffset}}}
	case canon.String:
		if dt, ok := parseDateTime(string(v)); ok {
			return c.zoned(dt, dt.(canon.DateTime).Time.Zone)
		}
		return c.fail("the text is no date and time")
	}
	return c.fail("no date and time can be made from a %s", typeName(c.args[0]))
}

func dateTimeFromDate(c *call) value {
	t, _ := c.args[1].(canon.Time)
	switch d := c.args[0].(type) {
	case canon.Date:
		return canon.DateTime{Date: d, Time: t}
	case canon.DateTime:
		return canon.DateTime{Date: d.Date, Time: t}
	}
	return canon.Null{}
}

func dateTimeFromParts(c *call) value {
	t, ok := c.clock(3)
	d := canon.Date{Year: c.part(0), Month: c.part(1), Day: c.part(2)}
	if !ok || !d.Valid() {
		return c.fail("there is no such date and time")
	}
	return canon.DateTime{Date: d, Time: t}
}

func durationFrom(c *call) value {
	const most = 1000 // bytes
	if len(c.str(0)) > most {
		return c.fail("the text is longer than %d bytes", most)
	}
	if d, ok := parseDuration(c.str(0)); ok {
		return d
	}
	return c.fail("the text is no duration")
}

// yearsAndMonths counts whole months between the days; times do not count.
func yearsAndMonths(c *call) value {
	from, to := dayOf(c.args[0]), dayOf(c.args[1])
	months := int64(to.Year-from.Year)*12 + int64(to.Month-from.Month)
	switch {
	case months > 0 && to.Day < from.Day:
		months--
	case months < 0 && to.Day > from.Day:
		months++
	}
	return canon.YearMonthDuration{Months: months}
}

func dayOf(v value) canon.Date {
	if dt, ok := v.(canon.DateTime); ok {
		return dt.Date
	}
	d, _ := v.(canon.Date)
	return d
}

func numberFrom(c *call) value {
	switch v := single(c.args[0]).(type) {
	case canon.Number:
		return v
	case canon.String:
		return c.parseNumber(string(v))
	}
	return c.fail("no number can be made from a %s", typeName(c.args[0]))
}

func numberFromText(c *call) value {
	grouping, decimal := c.str(1), c.str(2)
	if !isSeparator(grouping, " .,") || !isSeparator(decimal, ".,") || grouping != "" && grouping == decimal {
		return c.fail("separators are a space, a point or a comma, and differ")
	}
	text := c.str(0)
	if !c.allocText(len(text)) {
		return canon.Null{}
	}
	if grouping != "" {
		text = strings.ReplaceAll(text, grouping, "")
	}
	if decimal == "," {
		if strings.Contains(text, ".") {
			return c.fail("the text is no number")
		}
		text = strings.ReplaceAll(text, ",", ".")
	}
	return c.parseNumber(text)
}

func isSeparator(s, allowed string) bool {
	return s == "" || len(s) == 1 && strings.Contains(allowed, s)
}

// parseNumber reads a number as it may stand in an expression, with a sign.
func (c *call) parseNumber(text string) value {
	const most = 20_000 // bytes; the numbers in range have fewer digits
	if len(text) > most {
		return c.fail("the text is longer than %d bytes", most)
	}
	if !c.step(len(text) / 4) {
		return canon.Null{}
	}
	digits := strings.TrimPrefix(text, "-")
	if tok := scan(digits, 0); tok.kind != tokenNumber || tok.from != 0 || tok.to != len(digits) {
		return c.fail("the text is no number")
	}
	n, err := parseDecimal(text)
	if err != nil {
		return c.fail("the number is out of range")
	}
	return n
}

func stringFrom(c *call) value {
	if s, ok := c.args[0].(canon.String); ok {
		return s
	}
	if isNull(c.args[0]) {
		return c.args[0]
	}
	var b strings.Builder
	c.write(&b, c.args[0])
	if c.err != nil {
		return canon.Null{}
	}
	return canon.String(b.String())
}

// write adds the text of a value, quoting the strings inside lists and contexts.
// Values share their parts, so a small value may have a text without end: each
// part is charged before it is written, at every place it stands.
func (m *machine) write(b *strings.Builder, v value) {
	if !m.step(1) || !m.enter() {
		return
	}
	defer m.leave()
	switch v := v.(type) {
	case canon.Number:
		if d := v.Decimal(); m.allocText(canon.MaxDigits + max(int(d.Exponent), -int(d.Exponent))) {
			m.scratch = d.Append(m.scratch[:0], 'f')
			b.Write(m.scratch)
		}
	case canon.String:
		m.writeQuoted(b, string(v))
	case canon.List:
		m.writeList(b, v)
	case *canon.Context:
		m.writeContext(b, v)
	case *interval:
		m.writeRange(b, v)
	default:
		m.writeText(b, plainText(v))
	}
}

// allocText charges for text: a builder that grows copies what it holds.
func (m *machine) allocText(n int) bool { return m.alloc(2 * n) }

func (m *machine) writeText(b *strings.Builder, text string) {
	if m.allocText(len(text)) {
		b.WriteString(text)
	}
}

// writeQuoted charges for a text in which everything has to be escaped.
func (m *machine) writeQuoted(b *strings.Builder, text string) {
	if m.allocText(2*len(text) + 2) {
		b.WriteString(quote(text))
	}
}

func plainText(v value) string {
	switch v := v.(type) {
	case canon.Bool:
		if v {
			return "true"
		}
		return "false"
	case interface{ String() string }:
		return v.String()
	case *function:
		return "function"
	}
	return "null"
}

var escapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`)

func quote(s string) string { return `"` + escapes.Replace(s) + `"` }

func (m *machine) writeList(b *strings.Builder, list canon.List) {
	m.writeText(b, "[")
	for i, item := range list {
		if i > 0 {
			m.writeText(b, ", ")
		}
		if m.write(b, item); m.err != nil {
			return
		}
	}
	m.writeText(b, "]")
}

func (m *machine) writeContext(b *strings.Builder, c *canon.Context) {
	m.writeText(b, "{")
	for i := range c.Len() {
		if i > 0 {
			m.writeText(b, ", ")
		}
		entry := c.At(i)
		m.writeKey(b, entry.Name)
		if m.write(b, entry.Value); m.err != nil {
			return
		}
	}
	m.writeText(b, "}")
}

func (m *machine) writeKey(b *strings.Builder, name string) {
	if name != "" && scanWord(name, 0) == len(name) && !isDigit(name[0]) {
		m.writeText(b, name)
	} else {
		m.writeQuoted(b, name)
	}
	m.writeText(b, ": ")
}

func (m *machine) writeRange(b *strings.Builder, r *interval) {
	if r.unary {
		m.writeText(b, "("+[...]string{"=", "!=", "<", "<=", ">", ">="}[r.op]+" ")
		if isNull(r.low) {
			m.write(b, r.high)
		} else {
			m.write(b, r.low)
		}
		m.writeText(b, ")")
		return
	}
	open, end := "(", ")"
	if r.lowIncluded {
		open = "["
	}
	if r.highIncluded {
		end = "]"
	}
	m.writeText(b, open)
	m.write(b, r.low)
	m.writeText(b, "..")
	m.write(b, r.high)
	m.writeText(b, end)
}
