package canon

import (
	"strconv"
	"strings"

	"github.com/underseal/underseal/internal/fault"
)

// maxYear is the highest year before and after year 0 (FEEL, DMN 1.5 section 10.3.2.3.7).
const maxYear = 999999999

// Valid reports whether d is a day of the proleptic Gregorian calendar within
// the range of years. Year 0 exists and is a leap year (ISO 8601).
func (d Date) Valid() bool {
	return d.Year >= -maxYear && d.Year <= maxYear &&
		d.Month >= 1 && d.Month <= 12 && d.Day >= 1 && d.Day <= DaysIn(d.Year, d.Month)
}

// DaysIn returns the number of days of a month (1 to 12).
func DaysIn(year, month int) int {
	switch {
	case month == 2 && year%4 == 0 && (year%100 != 0 || year%400 == 0):
		return 29
	case month == 2:
		return 28
	case month == 4 || month == 6 || month == 9 || month == 11:
		return 30
	}
	return 31
}

// String returns the date as in ISO 8601, "2026-11-21"; years have four to nine
// digits and may have a minus.
func (d Date) String() string { return string(d.append(make([]byte, 0, 16))) }

func (d Date) append(dst []byte) []byte {
	year := d.Year
	if year < 0 {
		dst, year = append(dst, '-'), -year
	}
	dst = appendPadded(dst, year, 4)
	dst = appendPadded(append(dst, '-'), d.Month, 2)
	return appendPadded(append(dst, '-'), d.Day, 2)
}

// appendPadded writes n >= 0 with at least width digits, at most four of them zeros.
func appendPadded(dst []byte, n, width int) []byte {
	for limit := 10; width > 1; width-- {
		if n < limit {
			dst = appendZeros(dst, width-1)
			break
		}
		limit *= 10
	}
	return strconv.AppendInt(dst, int64(n), 10)
}

// ParseDate reads "2026-11-21" or "-0044-03-15". A year has four digits, or up
// to nine without leading zeros. A day that does not exist is Invalid.
func ParseDate(text string) (Date, error) {
	d, ok := parseDate(text)
	if !ok {
		return Date{}, fault.New(fault.Invalid, "date is not accepted: want the form 2026-11-21 and a day that exists")
	}
	return d, nil
}

func parseDate(text string) (Date, bool) {
	rest, negative := strings.CutPrefix(text, "-")
	digits, rest := cutDigits(rest)
	if len(digits) < 4 || len(digits) > 9 || len(digits) > 4 && digits[0] == '0' {
		return Date{}, false
	}
	year, _ := strconv.Atoi(digits)
	if negative {
		if year == 0 {
			return Date{}, false
		}
		year = -year
	}
	month, rest, ok1 := cutTwo(rest, '-')
	day, rest, ok2 := cutTwo(rest, '-')
	d := Date{year, month, day}
	return d, ok1 && ok2 && rest == "" && d.Valid()
}

// cutTwo reads the separator and exactly two digits.
func cutTwo(text string, separator byte) (n int, rest string, ok bool) {
	if len(text) < 3 || text[0] != separator {
		return 0, "", false
	}
	n, ok = twoDigits(text[1:3])
	return n, text[3:], ok
}

func twoDigits(text string) (int, bool) {
	tens, ones := text[0]-'0', text[1]-'0'
	return int(tens)*10 + int(ones), tens <= 9 && ones <= 9
}

// Valid reports whether both parts are.
func (dt DateTime) Valid() bool { return dt.Date.Valid() && dt.Time.Valid() }

// String returns the date and the time with a "T" between them.
func (dt DateTime) String() string { return string(dt.append(make([]byte, 0, 48))) }

func (dt DateTime) append(dst []byte) []byte {
	return dt.Time.append(append(dt.Date.append(dst), 'T'))
}

// ParseDateTime reads a date, "T" and a time as ParseDate and ParseTime do.
// 24:00:00 is the start of the next day.
func ParseDateTime(text string) (DateTime, error) {
	dt, ok := parseDateTime(text)
	if !ok {
		return DateTime{}, fault.New(fault.Invalid,
			"date and time is not accepted: want the form 2026-11-21T12:30:00, then nothing, Z, +01:00 or @Europe/Paris")
	}
	return dt, nil
}

func parseDateTime(text string) (DateTime, bool) {
	day, clock, found := strings.Cut(text, "T")
	if !found {
		return DateTime{}, false
	}
	d, ok1 := parseDate(day)
	t, ok2 := parseTime(clock)
	if ok1 && strings.HasPrefix(clock, "24") {
		d = nextDay(d)
	}
	dt := DateTime{d, t}
	return dt, ok1 && ok2 && dt.Valid()
}

func nextDay(d Date) Date {
	switch {
	case d.Day < DaysIn(d.Year, d.Month):
		return Date{d.Year, d.Month, d.Day + 1}
	case d.Month < 12:
		return Date{d.Year, d.Month + 1, 1}
	}
	return Date{d.Year + 1, 1, 1}
}
