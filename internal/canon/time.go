package canon

import (
	"strconv"
	"strings"

	"github.com/underseal/underseal/internal/fault"
)

// maxOffset is the greatest distance of an offset from UTC, in seconds.
const maxOffset = 18 * 3600

// maxZoneName bounds the name of a zone; the longest of the IANA database has 32 bytes.
const maxZoneName = 64

// Valid reports whether t is a time of day and its zone is well formed. Whether
// a named zone exists is for the evaluator to say.
func (t Time) Valid() bool {
	return t.Hour >= 0 && t.Hour < 24 && t.Minute >= 0 && t.Minute < 60 &&
		t.Second >= 0 && t.Second < 60 && t.Nanosecond >= 0 && t.Nanosecond < 1e9 && t.Zone.Valid()
}

// Valid reports whether z is no zone, an offset of at most 18 hours, or a name
// that is well formed (ValidZoneName).
func (z Zone) Valid() bool {
	switch z.Kind {
	case ZoneLocal:
		return z == Zone{}
	case ZoneOffset:
		return z.Name == "" && z.Offset >= -maxOffset && z.Offset <= maxOffset
	case ZoneNamed:
		return z.Offset == 0 && ValidZoneName(z.Name)
	}
	return false
}

// ValidZoneName reports whether name has the form of an IANA zone: parts of
// ASCII letters, digits, '_', '+' and '-', separated by '/', the first one
// beginning with a letter. Such a name never leaves a zone directory.
func ValidZoneName(name string) bool {
	if name == "" || len(name) > maxZoneName || !isLetter(name[0]) {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || strings.ContainsFunc(part, notInZoneName) {
			return false
		}
	}
	return true
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func notInZoneName(r rune) bool {
	return r > 'z' || !isLetter(byte(r)) && (r < '0' || r > '9') && r != '_' && r != '+' && r != '-'
}

// String returns the time as FEEL writes it: "12:30:00", with a fraction
// without trailing zeros, then nothing, "Z", "+01:00", "+01:00:30" or
// "@Europe/Paris".
func (t Time) String() string { return string(t.append(make([]byte, 0, 32))) }

func (t Time) append(dst []byte) []byte {
	dst = appendPadded(dst, t.Hour, 2)
	dst = appendPadded(append(dst, ':'), t.Minute, 2)
	dst = appendPadded(append(dst, ':'), t.Second, 2)
	dst = appendFraction(dst, t.Nanosecond)
	return t.Zone.append(dst)
}

// appendFraction writes nanoseconds as ".5", nothing if there are none.
func appendFraction(dst []byte, nanoseconds int) []byte {
	if nanoseconds == 0 {
		return dst
	}
	dst = appendPadded(append(dst, '.'), nanoseconds, 9)
	for dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	return dst
}

func (z Zone) append(dst []byte) []byte {
	switch {
	case z.Kind == ZoneNamed:
		return append(append(dst, '@'), z.Name...)
	case z.Kind == ZoneLocal:
		return dst
	case z.Offset == 0:
		return append(dst, 'Z')
	}
	sign, offset := byte('+'), z.Offset
	if offset < 0 {
		sign, offset = '-', -offset
	}
	dst = appendPadded(append(dst, sign), offset/3600, 2)
	dst = appendPadded(append(dst, ':'), offset/60%60, 2)
	if offset%60 != 0 {
		dst = appendPadded(append(dst, ':'), offset%60, 2)
	}
	return dst
}

// ParseTime reads the text of a time: hours, minutes and seconds, up to nine
// digits of a fraction, and a zone. 24:00:00 is 00:00:00 and both +00:00 and
// -00:00 are Z. A zone's name is checked for its form only.
func ParseTime(text string) (Time, error) {
	t, ok := parseTime(text)
	if !ok {
		return Time{}, fault.New(fault.Invalid,
			"time is not accepted: want the form 12:30:00, then nothing, Z, +01:00 or @Europe/Paris")
	}
	return t, nil
}

func parseTime(text string) (Time, bool) {
	if len(text) < 8 {
		return Time{}, false
	}
	hour, ok1 := twoDigits(text)
	minute, rest, ok2 := cutTwo(text[2:], ':')
	second, rest, ok3 := cutTwo(rest, ':')
	nanosecond, rest, ok4 := cutFraction(rest)
	zone, ok5 := parseZone(rest)
	if hour == 24 && minute == 0 && second == 0 && nanosecond == 0 {
		hour = 0
	}
	t := Time{hour, minute, second, nanosecond, zone}
	return t, ok1 && ok2 && ok3 && ok4 && ok5 && t.Valid()
}

// cutFraction reads "." and one to nine digits as nanoseconds, if there is one.
func cutFraction(text string) (nanoseconds int, rest string, ok bool) {
	rest, found := strings.CutPrefix(text, ".")
	if !found {
		return 0, text, true
	}
	digits, rest := cutDigits(rest)
	if digits == "" || len(digits) > 9 {
		return 0, "", false
	}
	nanoseconds, _ = strconv.Atoi(digits)
	for range 9 - len(digits) {
		nanoseconds *= 10
	}
	return nanoseconds, rest, true
}

func parseZone(text string) (Zone, bool) {
	switch {
	case text == "":
		return Zone{}, true
	case text == "Z" || text == "z":
		return Zone{Kind: ZoneOffset}, true
	case text[0] == '@':
		return Zone{Kind: ZoneNamed, Name: text[1:]}, true
	case text[0] == '+' || text[0] == '-':
		return parseOffset(text)
	}
	return Zone{}, false
}

// parseOffset reads a sign, "01:00" and perhaps ":30".
func parseOffset(text string) (Zone, bool) {
	hour, rest, ok1 := cutTwo(text, text[0])
	minute, rest, ok2 := cutTwo(rest, ':')
	second, ok3 := 0, true
	if rest != "" {
		second, rest, ok3 = cutTwo(rest, ':')
	}
	offset := hour*3600 + minute*60 + second
	if text[0] == '-' {
		offset = -offset
	}
	ok := ok1 && ok2 && ok3 && rest == "" && minute < 60 && second < 60
	return Zone{Kind: ZoneOffset, Offset: offset}, ok
}
