package canon

import (
	"strconv"
	"strings"

	"github.com/cockroachdb/apd/v3"

	"github.com/underseal/underseal/internal/fault"
)

// The range of numbers, that of IEEE 754-2008 decimal128.
const (
	// MaxDigits is the highest number of significant digits.
	MaxDigits = 34
	// MaxExponent and MinExponent bound the exponent of the first digit: a
	// number is d.ddd × 10^x with MinExponent <= x <= MaxExponent.
	MaxExponent = 6144
	MinExponent = -6144
)

// Numbers whose first digit has an exponent within these are written plainly
// ("0.0000001" to 34 digits before the point), all others scientifically.
const (
	minPlainExponent = -7
	maxPlainExponent = MaxDigits - 1
)

var zero = new(apd.Decimal)

// ParseNumber reads a number in the syntax of JSON (RFC 8259 section 6).
// Leading and trailing zeros do not count as digits. More than 34 significant
// digits, or an exponent out of range, are Invalid: nothing is ever rounded.
func ParseNumber(text string) (Number, error) {
	n, what := parseNumber(text)
	if what != "" {
		return Number{}, fault.New(fault.Invalid, "number is not accepted: %s", what)
	}
	return n, nil
}

// NewNumber returns the integer i.
func NewNumber(i int64) Number {
	d := new(apd.Decimal).SetInt64(i)
	reduce(d)
	return Number{d}
}

// NumberFromDecimal takes over d, which must not be used afterwards. Infinite,
// NaN, longer than 34 digits or out of range is Invalid.
func NumberFromDecimal(d *apd.Decimal) (Number, error) {
	if d.Form != apd.Finite {
		return Number{}, fault.New(fault.Invalid, "number is not accepted: it is not finite")
	}
	reduce(d)
	if what := check(d); what != "" {
		return Number{}, fault.New(fault.Invalid, "number is not accepted: %s", what)
	}
	return Number{d}, nil
}

// Decimal returns the number for calculations. The caller must not change it.
// Its coefficient has no trailing zeros: 100 is 1 × 10^2.
func (n Number) Decimal() *apd.Decimal {
	if n.d == nil {
		return zero
	}
	return n.d
}

// String returns the number's one canonical text, which is JSON too.
func (n Number) String() string { return string(n.append(make([]byte, 0, 48))) }

// append adds the canonical text to dst.
func (n Number) append(dst []byte) []byte {
	d := n.Decimal()
	if d.Negative {
		dst = append(dst, '-')
	}
	var buf [40]byte
	digits := appendCoefficient(buf[:0], d)
	first := len(digits) - 1 + int(d.Exponent)
	switch {
	case first < minPlainExponent || first > maxPlainExponent:
		return appendScientific(dst, digits, first)
	case first < 0:
		dst = append(dst, '0', '.')
		dst = appendZeros(dst, -first-1)
		return append(dst, digits...)
	case d.Exponent >= 0:
		dst = append(dst, digits...)
		return appendZeros(dst, int(d.Exponent))
	}
	dst = append(dst, digits[:first+1]...)
	dst = append(dst, '.')
	return append(dst, digits[first+1:]...)
}

func appendScientific(dst, digits []byte, first int) []byte {
	dst = append(dst, digits[0])
	if len(digits) > 1 {
		dst = append(dst, '.')
		dst = append(dst, digits[1:]...)
	}
	dst = append(dst, 'e')
	return strconv.AppendInt(dst, int64(first), 10)
}

func appendCoefficient(dst []byte, d *apd.Decimal) []byte {
	if d.Coeff.IsUint64() {
		return strconv.AppendUint(dst, d.Coeff.Uint64(), 10)
	}
	return d.Coeff.Append(dst, 10)
}

func appendZeros(dst []byte, n int) []byte {
	for range n {
		dst = append(dst, '0')
	}
	return dst
}

// reduce brings a finite d to its one form: no trailing zeros in the
// coefficient, zero without sign and exponent.
func reduce(d *apd.Decimal) {
	if d.IsZero() {
		d.Negative, d.Exponent = false, 0
		return
	}
	if !d.Coeff.IsUint64() {
		d.Reduce(d)
		return
	}
	c, e := d.Coeff.Uint64(), d.Exponent
	for c%10 == 0 {
		c, e = c/10, e+1
	}
	if e != d.Exponent {
		d.Coeff.SetUint64(c)
		d.Exponent = e
	}
}

// check says what is wrong with a reduced decimal, "" if nothing.
func check(d *apd.Decimal) string {
	digits := d.NumDigits()
	first := digits - 1 + int64(d.Exponent)
	switch {
	case digits > MaxDigits:
		return tooManyDigits(int(digits))
	case !d.IsZero() && (first < MinExponent || first > MaxExponent):
		return outOfRange
	}
	return ""
}

const outOfRange = "its size is not between 1e-6144 and 1e6145"

func tooManyDigits(n int) string {
	return "it has " + strconv.Itoa(n) + " significant digits, at most 34 are kept without rounding"
}

// parseNumber is ParseNumber that returns what is wrong instead of an error.
func parseNumber(text string) (Number, string) {
	p, ok := splitNumber(text)
	if !ok {
		return Number{}, "it is not written as JSON numbers are"
	}
	digits := strings.TrimLeft(p.whole+p.fraction, "0")
	reduced := strings.TrimRight(digits, "0")
	if reduced == "" {
		return Number{zero}, ""
	}
	if len(reduced) > MaxDigits {
		return Number{}, tooManyDigits(len(reduced))
	}
	exponent := p.exponent - len(p.fraction) + len(digits) - len(reduced)
	first := exponent + len(reduced) - 1
	if first < MinExponent || first > MaxExponent {
		return Number{}, outOfRange
	}
	d := &apd.Decimal{Negative: p.negative, Exponent: int32(exponent)}
	if u, err := strconv.ParseUint(reduced, 10, 64); err == nil {
		d.Coeff.SetUint64(u)
	} else {
		d.Coeff.SetString(reduced, 10)
	}
	return Number{d}, ""
}

// numberParts are the pieces of a JSON number. The exponent is cut off after
// nine digits: far out of range, yet safe to add lengths to.
type numberParts struct {
	negative        bool
	whole, fraction string
	exponent        int
}

func splitNumber(text string) (p numberParts, ok bool) {
	rest, negative := strings.CutPrefix(text, "-")
	p.negative = negative
	p.whole, rest = cutDigits(rest)
	if p.whole == "" || len(p.whole) > 1 && p.whole[0] == '0' {
		return p, false
	}
	if r, found := strings.CutPrefix(rest, "."); found {
		if p.fraction, rest = cutDigits(r); p.fraction == "" {
			return p, false
		}
	}
	if rest == "" {
		return p, true
	}
	p.exponent, ok = parseExponent(rest)
	return p, ok
}

// parseExponent reads "e" or "E", an optional sign and digits.
func parseExponent(text string) (int, bool) {
	if text[0] != 'e' && text[0] != 'E' {
		return 0, false
	}
	rest, negative := strings.CutPrefix(text[1:], "-")
	if !negative {
		rest, _ = strings.CutPrefix(rest, "+")
	}
	digits, rest := cutDigits(rest)
	if digits == "" || rest != "" {
		return 0, false
	}
	const limit = 1e8
	n := 0
	for i := 0; i < len(digits) && n < limit; i++ {
		n = n*10 + int(digits[i]-'0')
	}
	if negative {
		n = -n
	}
	return n, true
}

// cutDigits splits text after its leading ASCII digits.
func cutDigits(text string) (digits, rest string) {
	i := 0
	for i < len(text) && text[i] >= '0' && text[i] <= '9' {
		i++
	}
	return text[:i], text[i:]
}
