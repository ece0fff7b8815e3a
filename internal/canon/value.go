// Package canon holds the values that processes work with and the one encoding
// of values, leaves and statements that is hashed, signed and bound.
//
// There is exactly one encoding of each value and the decoder refuses every
// other spelling, so two equal values always have equal hashes. Numbers are
// decimals of up to 34 digits, never floats, so nothing rounds. The strict
// decoder of ordinary JSON (DecodeJSON) lives here too, because what is
// accepted from outside must be what can be encoded.
//
// The format is docs/design/canon.md.
package canon

import (
	"time"

	"github.com/cockroachdb/apd/v3"
)

// Value is one of Null, Bool, String, Number, Date, Time, DateTime,
// DayTimeDuration, YearMonthDuration, List and *Context. Values are immutable:
// whoever holds one may share it and must not change it.
type Value interface{ value() }

type (
	// Null is the absent value. FEEL's errors evaluate to it.
	Null struct{}
	// Bool is true or false.
	Bool bool
	// String is a text of Unicode scalar values (valid UTF-8).
	String string
	// Number is a finite decimal of at most 34 significant digits. Make one
	// with ParseNumber, NewNumber or NumberFromDecimal.
	Number struct{ d *apd.Decimal }
	// Date is a calendar day without a time zone. Whoever makes one other than
	// by ParseDate checks Valid, or it cannot be decoded again; so with Time
	// and DateTime.
	Date struct {
		Year       int // -999999999 to 999999999
		Month, Day int
	}
	// Time is a time of day; it may carry an offset or a named zone.
	Time struct {
		Hour, Minute, Second, Nanosecond int
		Zone                             Zone
	}
	// DateTime is a Date and a Time.
	DateTime struct {
		Date Date
		Time Time
	}
	// DayTimeDuration is FEEL's "days and time duration", of nanoseconds.
	DayTimeDuration struct{ Nanoseconds time.Duration }
	// YearMonthDuration is FEEL's "years and months duration", in months.
	YearMonthDuration struct{ Months int64 }
	// List is an ordered list of values.
	List []Value
	// Context is a map from names to values. Its entries are sorted by name
	// (bytes of UTF-8) and unique. Make one with NewContext.
	Context struct{ entries []Entry }
	// Entry is one name and value of a Context.
	Entry struct {
		Name  string
		Value Value
	}
)

// Zone is the zone of a Time: none (local), an offset from UTC, or a name of
// the IANA database.
type Zone struct {
	Kind   ZoneKind
	Offset int    // seconds east of UTC, with ZoneOffset
	Name   string // for instance "Europe/Paris", with ZoneNamed
}

// ZoneKind says which of the three a Zone is.
type ZoneKind uint8

// The kinds of zone.
const (
	ZoneLocal ZoneKind = iota
	ZoneOffset
	ZoneNamed
)

func (Null) value()              {}
func (Bool) value()              {}
func (String) value()            {}
func (Number) value()            {}
func (Date) value()              {}
func (Time) value()              {}
func (DateTime) value()          {}
func (DayTimeDuration) value()   {}
func (YearMonthDuration) value() {}
func (List) value()              {}
func (*Context) value()          {}
