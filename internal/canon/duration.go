package canon

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/underseal/underseal/internal/fault"
)

// String returns the duration as in ISO 8601 with hours under 24 and minutes
// and seconds under 60: "P1DT2H3M4.5S", "-PT30M"; none is "PT0S".
func (d DayTimeDuration) String() string { return string(d.append(make([]byte, 0, 32))) }

func (d DayTimeDuration) append(dst []byte) []byte {
	const second, minute, hour, day = 1e9, 60e9, 3600e9, 86400e9
	rest := magnitude(int64(d.Nanoseconds))
	if rest == 0 {
		return append(dst, "PT0S"...)
	}
	if d.Nanoseconds < 0 {
		dst = append(dst, '-')
	}
	dst = appendUnit(append(dst, 'P'), rest/day, 'D')
	if rest %= day; rest == 0 {
		return dst
	}
	dst = appendUnit(append(dst, 'T'), rest/hour, 'H')
	dst = appendUnit(dst, rest%hour/minute, 'M')
	if rest %= minute; rest == 0 {
		return dst
	}
	dst = strconv.AppendUint(dst, rest/second, 10)
	return append(appendFraction(dst, int(rest%second)), 'S')
}

// String returns the duration as in ISO 8601 with months under 12: "P1Y2M",
// "-P3M"; none is "P0M".
func (d YearMonthDuration) String() string { return string(d.append(make([]byte, 0, 24))) }

func (d YearMonthDuration) append(dst []byte) []byte {
	if d.Months == 0 {
		return append(dst, "P0M"...)
	}
	if d.Months < 0 {
		dst = append(dst, '-')
	}
	months := magnitude(d.Months)
	dst = appendUnit(append(dst, 'P'), months/12, 'Y')
	return appendUnit(dst, months%12, 'M')
}

func appendUnit(dst []byte, n uint64, unit byte) []byte {
	if n == 0 {
		return dst
	}
	return append(strconv.AppendUint(dst, n, 10), unit)
}

// magnitude returns |n|, also of the lowest int64.
func magnitude(n int64) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}

// ParseDuration reads an ISO 8601 duration. One of years and months alone is a
// YearMonthDuration ("P1Y2M"), any other a DayTimeDuration ("P1DT2H3M4.5S").
// Mixing the two, weeks, or more than int64 nanoseconds (292 years) or months
// is Invalid.
func ParseDuration(text string) (Value, error) {
	v, ok := parseDuration(text)
	if !ok {
		return nil, fault.New(fault.Invalid, "duration is not accepted: want the form P1DT2H30M or P1Y6M, within 292 years of nanoseconds")
	}
	return v, nil
}

func parseDuration(text string) (Value, bool) {
	rest, negative := strings.CutPrefix(text, "-")
	rest, found := strings.CutPrefix(rest, "P")
	if !found || rest == "" {
		return nil, false
	}
	if last := rest[len(rest)-1]; !strings.Contains(rest, "T") && (last == 'Y' || last == 'M') {
		sum := total{negative: negative, ok: true}
		rest = sum.add(rest, 'Y', 12)
		rest = sum.add(rest, 'M', 1)
		months, ok := sum.value(rest)
		return YearMonthDuration{months}, ok
	}
	n, ok := parseDayTime(rest, negative)
	return DayTimeDuration{time.Duration(n)}, ok
}

func parseDayTime(text string, negative bool) (int64, bool) {
	days, clock, hasClock := strings.Cut(text, "T")
	sum := total{negative: negative, ok: true}
	if rest := sum.add(days, 'D', 86400e9); rest != "" || hasClock && clock == "" {
		return 0, false
	}
	rest := sum.add(clock, 'H', 3600e9)
	rest = sum.add(rest, 'M', 60e9)
	rest = sum.addSeconds(rest)
	return sum.value(rest)
}

// total adds up the parts of a duration; ok turns false when it overflows.
type total struct {
	negative bool
	ok       bool
	sum      uint64
}

// add takes digits and the unit off the text's start, if they are there.
func (t *total) add(text string, unit byte, size uint64) (rest string) {
	digits, rest := cutDigits(text)
	if digits == "" || rest == "" || rest[0] != unit {
		return text
	}
	t.addDigits(digits, size)
	return rest[1:]
}

// addSeconds is add for "S", which may have a fraction.
func (t *total) addSeconds(text string) string {
	digits, rest := cutDigits(text)
	nanoseconds, rest, ok := cutFraction(rest)
	if digits == "" || !ok || rest != "S" {
		return text
	}
	t.addDigits(digits, 1e9)
	t.addDigits(strconv.Itoa(nanoseconds), 1)
	return ""
}

func (t *total) addDigits(digits string, size uint64) {
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n > (1<<63)/size || n*size > 1<<63-t.sum {
		t.ok = false
		return
	}
	t.sum += n * size
}

// value returns the signed sum; rest is what no unit took.
func (t *total) value(rest string) (int64, bool) {
	if rest != "" || !t.ok {
		return 0, false
	}
	if t.negative {
		return int64(-t.sum), true
	}
	return int64(t.sum), t.sum <= math.MaxInt64
}
