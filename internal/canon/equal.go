package canon

import (
	"fmt"
	"slices"
)

// TypeName returns the name of v's type as it stands in commitments and
// envelopes: "null", "boolean", "string", "number", "date", "time",
// "date-time", "day-time-duration", "year-month-duration", "list" or
// "context". A nil Value is null.
func TypeName(v Value) string {
	switch v.(type) {
	case nil, Null:
		return "null"
	case Bool:
		return "boolean"
	case String:
		return "string"
	case Number:
		return "number"
	case Date:
		return "date"
	case Time:
		return "time"
	case DateTime:
		return "date-time"
	case DayTimeDuration:
		return "day-time-duration"
	case YearMonthDuration:
		return "year-month-duration"
	case List:
		return "list"
	case *Context:
		return "context"
	}
	panic(fmt.Sprintf("canon: internal error: no type name for %T", v))
}

// Equal reports whether a and b have the same type and the same value, which is
// when their encodings are the same. Times are compared as written: 12:00Z and
// 13:00+01:00 differ here.
func Equal(a, b Value) bool {
	switch a := a.(type) {
	case nil, Null:
		return TypeName(b) == "null"
	case Number:
		b, ok := b.(Number)
		return ok && equalNumbers(a, b)
	case List:
		b, ok := b.(List)
		return ok && slices.EqualFunc(a, b, Equal)
	case *Context:
		b, ok := b.(*Context)
		return ok && equalContexts(a, b)
	case Bool, String, Date, Time, DateTime, DayTimeDuration, YearMonthDuration:
		return a == b
	}
	panic(fmt.Sprintf("canon: internal error: cannot compare %T", a))
}

// equalNumbers compares the fields, since every Number is reduced.
func equalNumbers(a, b Number) bool {
	x, y := a.Decimal(), b.Decimal()
	return x.Negative == y.Negative && x.Exponent == y.Exponent && x.Coeff.Cmp(&y.Coeff) == 0
}

func equalContexts(a, b *Context) bool {
	if a.Len() != b.Len() {
		return false
	}
	for i := range a.Len() {
		if x, y := a.At(i), b.At(i); x.Name != y.Name || !Equal(x.Value, y.Value) {
			return false
		}
	}
	return true
}
