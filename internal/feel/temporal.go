package feel

import (
	"math"
	"math/bits"
	"strings"
	"time"

	"github.com/cockroachdb/apd/v3"

	"github.com/underseal/underseal/internal/canon"
)

const (
	nanosPerDay = 86400 * 1e9
	secsPerDay  = 86400
)

// dayNumber counts days from 1970-01-01 in the proleptic Gregorian calendar.
// Years are taken to begin in March, so that the leap day is their last.
func dayNumber(d canon.Date) int64 {
	year, month := int64(d.Year), int64(d.Month)
	if month <= 2 {
		year--
		month += 12
	}
	era := floorDiv(year, 400)
	yearOfEra := year - era*400
	dayOfYear := (153*(month-3)+2)/5 + int64(d.Day) - 1
	return era*146097 + yearOfEra*365 + yearOfEra/4 - yearOfEra/100 + dayOfYear - 719468
}

// dateOf is the inverse of dayNumber; false when the year is out of range.
func dateOf(days int64) (canon.Date, bool) {
	days += 719468
	era := floorDiv(days, 146097)
	dayOfEra := days - era*146097
	yearOfEra := (dayOfEra - dayOfEra/1460 + dayOfEra/36524 - dayOfEra/146096) / 365
	dayOfYear := dayOfEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	month := (5*dayOfYear + 2) / 153
	d := canon.Date{Year: int(era*400 + yearOfEra), Month: int(month) + 3, Day: int(dayOfYear-(153*month+2)/5) + 1}
	if d.Month > 12 {
		d.Month -= 12
		d.Year++
	}
	return d, d.Valid()
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// weekday returns 1 for Monday to 7 for Sunday.
func weekday(d canon.Date) int {
	days := dayNumber(d) + 3 // 1970-01-01 was a Thursday
	return int(days-floorDiv(days, 7)*7) + 1
}

func duration(nanoseconds int64) canon.DayTimeDuration {
	return canon.DayTimeDuration{Nanoseconds: time.Duration(nanoseconds)}
}

func nanosOf(t canon.Time) int64 {
	return int64(t.Hour*3600+t.Minute*60+t.Second)*1e9 + int64(t.Nanosecond)
}

func timeOf(nanoseconds int64, zone canon.Zone) canon.Time {
	s := int(nanoseconds / 1e9)
	return canon.Time{Hour: s / 3600, Minute: s / 60 % 60, Second: s % 60, Nanosecond: int(nanoseconds % 1e9), Zone: zone}
}

// offset returns the seconds east of UTC; false without a zone or when the zone
// is not known.
func (m *machine) offset(dt canon.DateTime) (int, bool) {
	switch dt.Time.Zone.Kind {
	case canon.ZoneOffset:
		return dt.Time.Zone.Offset, true
	case canon.ZoneNamed:
		zone, ok := m.zone(dt.Time.Zone.Name)
		if !ok {
			return 0, false
		}
		t, d := dt.Time, dt.Date
		_, offset := time.Date(d.Year, time.Month(d.Month), d.Day, t.Hour, t.Minute, t.Second, 0, zone).Zone()
		return offset, true
	}
	return 0, false
}

// instant returns seconds since 1970-01-01T00:00:00, of UTC when zoned and of
// the local calendar otherwise. ok is false for an unknown zone.
func (m *machine) instant(dt canon.DateTime) (seconds int64, zoned, ok bool) {
	seconds = dayNumber(dt.Date)*secsPerDay + nanosOf(dt.Time)/1e9
	if dt.Time.Zone.Kind == canon.ZoneLocal {
		return seconds, false, true
	}
	offset, ok := m.offset(dt)
	return seconds - int64(offset), true, ok
}

func (m *machine) compareDateTimes(a, b canon.DateTime) (int, bool) {
	x, xZoned, ok := m.instant(a)
	y, yZoned, ok2 := m.instant(b)
	if !ok || !ok2 || xZoned != yZoned {
		return 0, false
	}
	if x != y {
		return order64(x, y), true
	}
	return order64(int64(a.Time.Nanosecond), int64(b.Time.Nanosecond)), true
}

// epoch is the day on which times of day with named zones are compared.
var epoch = canon.Date{Year: 1970, Month: 1, Day: 1}

func (m *machine) compareTimes(a, b canon.Time) (int, bool) {
	if a.Zone == b.Zone {
		return order64(nanosOf(a), nanosOf(b)), true
	}
	return m.compareDateTimes(canon.DateTime{Date: epoch, Time: a}, canon.DateTime{Date: epoch, Time: b})
}

// addDurations adds or subtracts (sign -1) two durations of one kind; nil for
// other types, null when out of range.
func addDurations(a, b canon.Value, sign int64) canon.Value {
	switch a := a.(type) {
	case canon.DayTimeDuration:
		if b, same := b.(canon.DayTimeDuration); same {
			if sum, ok := addInts(int64(a.Nanoseconds), int64(b.Nanoseconds), sign); ok {
				return duration(sum)
			}
			return canon.Null{}
		}
	case canon.YearMonthDuration:
		if b, same := b.(canon.YearMonthDuration); same {
			if sum, ok := addInts(a.Months, b.Months, sign); ok {
				return canon.YearMonthDuration{Months: sum}
			}
			return canon.Null{}
		}
	}
	return nil
}

// addInts returns a + sign*b unless that overflows.
func addInts(a, b, sign int64) (int64, bool) {
	if b == math.MinInt64 {
		return 0, false
	}
	b *= sign
	sum := a + b
	return sum, (sum > a) == (b > 0)
}

// shift moves a date, time or date and time by a duration; nil for other types.
func (m *machine) shift(v, by canon.Value, sign int64) canon.Value {
	switch by := by.(type) {
	case canon.DayTimeDuration:
		return m.shiftTime(v, int64(by.Nanoseconds), sign)
	case canon.YearMonthDuration:
		switch v := v.(type) {
		case canon.Date:
			return shiftMonths(v, by.Months, sign)
		case canon.DateTime:
			if d, ok := shiftMonths(v.Date, by.Months, sign).(canon.Date); ok {
				return canon.DateTime{Date: d, Time: v.Time}
			}
			return canon.Null{}
		}
	}
	return nil
}

// shiftMonths keeps the day, or takes the last day of a shorter month.
func shiftMonths(d canon.Date, months, sign int64) canon.Value {
	total, ok := addInts(int64(d.Year)*12+int64(d.Month-1), months, sign)
	if !ok {
		return canon.Null{}
	}
	year := floorDiv(total, 12)
	shifted := canon.Date{Year: int(year), Month: int(total-year*12) + 1, Day: d.Day}
	shifted.Day = min(d.Day, canon.DaysIn(shifted.Year, shifted.Month))
	if !shifted.Valid() {
		return canon.Null{}
	}
	return shifted
}

func (m *machine) shiftTime(v canon.Value, nanoseconds, sign int64) canon.Value {
	if nanoseconds == math.MinInt64 {
		return canon.Null{}
	}
	nanoseconds *= sign
	switch v := v.(type) {
	case canon.Date:
		if d, ok := dateOf(dayNumber(v) + floorDiv(nanoseconds, nanosPerDay)); ok {
			return d
		}
		return canon.Null{}
	case canon.Time:
		total := nanosOf(v) + nanoseconds%nanosPerDay
		return timeOf(total-floorDiv(total, nanosPerDay)*nanosPerDay, v.Zone)
	case canon.DateTime:
		if v.Time.Zone.Kind == canon.ZoneNamed {
			return m.shiftZoned(v, nanoseconds)
		}
		return shiftLocal(v, nanoseconds)
	}
	return nil
}

func shiftLocal(dt canon.DateTime, nanoseconds int64) canon.Value {
	days, rest := floorDiv(nanoseconds, nanosPerDay), nanosOf(dt.Time)
	rest += nanoseconds - days*nanosPerDay
	if rest >= nanosPerDay {
		days, rest = days+1, rest-nanosPerDay
	}
	d, ok := dateOf(dayNumber(dt.Date) + days)
	if !ok {
		return canon.Null{}
	}
	return canon.DateTime{Date: d, Time: timeOf(rest, dt.Time.Zone)}
}

// shiftZoned moves along the time line: the offset may change on the way.
func (m *machine) shiftZoned(dt canon.DateTime, nanoseconds int64) canon.Value {
	zone, known := m.zone(dt.Time.Zone.Name)
	before, ok := m.offset(dt)
	if !known || !ok {
		return canon.Null{}
	}
	moved, ok := shiftLocal(dt, nanoseconds).(canon.DateTime)
	if !ok {
		return canon.Null{}
	}
	utc := dayNumber(moved.Date)*secsPerDay + nanosOf(moved.Time)/1e9 - int64(before)
	_, after := time.Unix(utc, 0).In(zone).Zone()
	return shiftLocal(moved, int64(after-before)*1e9)
}

// difference subtracts dates, times or dates and times; nil for other types.
func (m *machine) difference(a, b canon.Value) canon.Value {
	x, aIsTime := a.(canon.Time)
	y, bIsTime := b.(canon.Time)
	if aIsTime && bIsTime {
		return m.timeDifference(x, y)
	}
	from, ok := midnight(a)
	to, ok2 := midnight(b)
	if !ok || !ok2 {
		return nil
	}
	seconds, zoned, ok := m.instant(from)
	others, othersZoned, ok2 := m.instant(to)
	if !ok || !ok2 || zoned != othersZoned {
		return nil
	}
	return nanosValue(seconds-others, int64(from.Time.Nanosecond-to.Time.Nanosecond))
}

func (m *machine) timeDifference(a, b canon.Time) canon.Value {
	if a.Zone == b.Zone {
		return duration(nanosOf(a) - nanosOf(b))
	}
	x, xZoned, ok := m.instant(canon.DateTime{Date: epoch, Time: a})
	y, yZoned, ok2 := m.instant(canon.DateTime{Date: epoch, Time: b})
	if !ok || !ok2 || xZoned != yZoned {
		return nil
	}
	return nanosValue(x-y, int64(a.Nanosecond-b.Nanosecond))
}

// midnight takes a date for the start of its day in UTC (DMN 1.5, 10.3.2.3.6).
func midnight(v canon.Value) (canon.DateTime, bool) {
	switch v := v.(type) {
	case canon.Date:
		return canon.DateTime{Date: v, Time: canon.Time{Zone: canon.Zone{Kind: canon.ZoneOffset}}}, true
	case canon.DateTime:
		return v, true
	}
	return canon.DateTime{}, false
}

// nanosValue is a duration of seconds and nanoseconds, null beyond 292 years.
func nanosValue(seconds, nanoseconds int64) canon.Value {
	negative := seconds < 0
	magnitude := uint64(seconds)
	if negative {
		magnitude = -magnitude
	}
	high, low := bits.Mul64(magnitude, 1e9)
	if high != 0 || low > math.MaxInt64-1e9 {
		return canon.Null{}
	}
	total := int64(low)
	if negative {
		total = -total
	}
	return duration(total + nanoseconds)
}

// scale multiplies or divides a duration by a number; parts of a nanosecond or
// of a month are cut off.
func scale(v, factor canon.Value, op func(d, x, y *apd.Decimal) (apd.Condition, error)) canon.Value {
	f, ok := factor.(canon.Number)
	if !ok {
		return nil
	}
	var amount int64
	_, isDayTime := v.(canon.DayTimeDuration)
	switch v := v.(type) {
	case canon.DayTimeDuration:
		amount = int64(v.Nanoseconds)
	case canon.YearMonthDuration:
		amount = v.Months
	default:
		return nil
	}
	d := new(apd.Decimal)
	if _, err := op(d, apd.New(amount, 0), f.Decimal()); err != nil {
		return canon.Null{}
	}
	n, ok := intOf(d)
	switch {
	case !ok:
		return canon.Null{}
	case isDayTime:
		return duration(n)
	}
	return canon.YearMonthDuration{Months: n}
}

// durationRatio divides durations of one kind; nil for other types.
func durationRatio(a, b canon.Value) canon.Value {
	var x, y int64
	switch a := a.(type) {
	case canon.DayTimeDuration:
		b, same := b.(canon.DayTimeDuration)
		if !same {
			return nil
		}
		x, y = int64(a.Nanoseconds), int64(b.Nanoseconds)
	case canon.YearMonthDuration:
		b, same := b.(canon.YearMonthDuration)
		if !same {
			return nil
		}
		x, y = a.Months, b.Months
	default:
		return nil
	}
	d := new(apd.Decimal)
	_, err := decimals.Quo(d, apd.New(x, 0), apd.New(y, 0))
	return finite(d, err)
}

// parseTemporal reads the text of an @ literal.
func parseTemporal(text string) (canon.Value, bool) {
	switch {
	case strings.HasPrefix(strings.TrimPrefix(text, "-"), "P"):
		return parseDuration(text)
	case strings.Contains(text, "T"):
		return parseDateTime(text)
	}
	if d, err := canon.ParseDate(text); err == nil {
		return d, true
	}
	t, err := canon.ParseTime(text)
	return t, err == nil
}

// parseDuration also takes a point without digits after it ("PT0.S").
func parseDuration(text string) (canon.Value, bool) {
	if strings.HasSuffix(text, ".S") {
		text = strings.TrimSuffix(text, ".S") + "S"
	}
	d, err := canon.ParseDuration(text)
	return d, err == nil
}

// parseDateTime also takes a date alone, for the start of its day.
func parseDateTime(text string) (canon.Value, bool) {
	if d, err := canon.ParseDate(text); err == nil {
		return canon.DateTime{Date: d}, true
	}
	dt, err := canon.ParseDateTime(text)
	return dt, err == nil
}

// zoneName returns the name of a value's zone, if it has one.
func zoneName(v canon.Value) string {
	switch v := v.(type) {
	case canon.Time:
		return v.Zone.Name
	case canon.DateTime:
		return v.Time.Zone.Name
	}
	return ""
}
