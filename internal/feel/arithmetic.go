package feel

import (
	"github.com/cockroachdb/apd/v3"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// decimals is the arithmetic of IEEE 754-2008 decimal128 (DMN 1.5, 10.3.2.3.1).
// apd allows concurrent use of a context that nobody changes.
var decimals = apd.Context{
	Precision:   canon.MaxDigits,
	MaxExponent: canon.MaxExponent,
	MinExponent: canon.MinExponent,
	Rounding:    apd.RoundHalfEven,
	Traps:       apd.DefaultTraps,
}

// wide computes the digits of numbers up to the ends of the range exactly.
var wide = apd.Context{
	Precision:   2*canon.MaxExponent + 3*canon.MaxDigits,
	MaxExponent: 4 * canon.MaxExponent,
	MinExponent: 4 * canon.MinExponent,
	Rounding:    apd.RoundDown,
	Traps:       apd.DefaultTraps,
}

// parseDecimal reads a literal; digits beyond 34 are rounded.
func parseDecimal(text string) (canon.Value, error) {
	d, _, err := decimals.NewFromString(text)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read number: %v", err)
	}
	return canon.NumberFromDecimal(d)
}

// finite makes the value of a computed decimal; null if it has none.
func finite(d *apd.Decimal, err error) canon.Value {
	if err != nil {
		return canon.Null{}
	}
	n, err := canon.NumberFromDecimal(d)
	if err != nil {
		return canon.Null{}
	}
	return n
}

// decimalOf returns coefficient * 10^exponent.
func decimalOf(coefficient int64, exponent int32) canon.Value {
	return finite(apd.New(coefficient, exponent), nil)
}

// intOf returns the integer part; false when it has more than 18 digits.
func intOf(d *apd.Decimal) (int64, bool) {
	if d.Exponent == 0 && d.Coeff.IsInt64() {
		n := d.Coeff.Int64()
		if d.Negative {
			n = -n
		}
		return n, true
	}
	if digits := d.NumDigits() + int64(d.Exponent); digits > 18 {
		return 0, false
	} else if digits <= 0 {
		return 0, true
	}
	whole := new(apd.Decimal)
	if _, err := wide.Quantize(whole, d, 0); err != nil {
		return 0, false
	}
	n, err := whole.Int64()
	return n, err == nil
}

func (n *negNode) eval(m *machine) canon.Value {
	switch x := m.eval(n.x).(type) {
	case canon.Number:
		return finite(new(apd.Decimal).Neg(x.Decimal()), nil)
	case canon.DayTimeDuration:
		return m.inRange(n.at(), negated(int64(x.Nanoseconds), func(v int64) canon.Value { return duration(v) }))
	case canon.YearMonthDuration:
		return m.inRange(n.at(), negated(x.Months, func(v int64) canon.Value { return canon.YearMonthDuration{Months: v} }))
	default:
		return m.warn(n.at(), "cannot negate a %s", typeName(x))
	}
}

func negated(v int64, make func(int64) canon.Value) canon.Value {
	if v == -v && v != 0 {
		return canon.Null{}
	}
	return make(-v)
}

// inRange warns when a computed value is null, which says it is out of range.
func (m *machine) inRange(at int, v canon.Value) canon.Value {
	if isNull(v) {
		return m.warn(at, "the result is out of range or not defined")
	}
	return v
}

var arithWords = [...]string{opAdd: "add", opSubtract: "subtract", opMultiply: "multiply", opDivide: "divide", opPower: "raise"}

func (n *arithNode) eval(m *machine) canon.Value {
	a, b := m.eval(n.a), m.eval(n.b)
	x, aIsNumber := a.(canon.Number)
	y, bIsNumber := b.(canon.Number)
	if aIsNumber && bIsNumber {
		return m.calculate(n.at(), n.op, x, y)
	}
	v := m.combine(n.op, a, b)
	if v == nil {
		return m.warn(n.at(), "cannot %s %s and %s", arithWords[n.op], typeName(a), typeName(b))
	}
	return m.inRange(n.at(), v)
}

func (m *machine) calculate(at int, op arithOp, x, y canon.Number) canon.Value {
	a, b, d := x.Decimal(), y.Decimal(), new(apd.Decimal)
	if (op == opAdd || op == opSubtract) && !m.step(alignment(a, b)) || op == opPower && !m.step(powerCost(a, b)) {
		return canon.Null{}
	}
	var err error
	switch op {
	case opAdd:
		_, err = decimals.Add(d, a, b)
	case opSubtract:
		_, err = decimals.Sub(d, a, b)
	case opMultiply:
		_, err = decimals.Mul(d, a, b)
	case opDivide:
		if b.IsZero() {
			return m.warn(at, "division by zero")
		}
		_, err = decimals.Quo(d, a, b)
	case opPower:
		err = power(d, a, b)
	}
	return m.inRange(at, finite(d, err))
}

// alignment is the cost in steps of a sum: the digits between the exponents
// are written out.
func alignment(a, b *apd.Decimal) int {
	gap := int(a.Exponent) - int(b.Exponent)
	return max(gap, -gap) / 4
}

// powerCost is the cost in steps of a ** b; one that is no whole number takes a
// logarithm and an exponential, of about b times the logarithm.
func powerCost(a, b *apd.Decimal) int {
	if n, ok := intOf(b); ok && b.Exponent >= 0 && -64 < n && n < 64 {
		return 50
	}
	cost := 1000 + 5*max(int(a.Exponent), -int(a.Exponent))
	if b.Exponent >= 0 {
		return cost
	}
	const most = 14200 // as for exp
	size := a.NumDigits() + int64(a.Exponent)
	if n, ok := intOf(b); ok && -most < n && n < most {
		return cost + 5*int(min(most, 3*max(n, -n)*(max(size, -size)+1)))
	}
	return cost + 5*most
}

// power computes a ** b. The sizes are checked first, since apd would compute
// digits of results that are then thrown away.
func power(d, a, b *apd.Decimal) error {
	if a.Exponent == 0 && a.NumDigits() == 1 && a.Coeff.Int64() == 1 && b.Exponent > 0 {
		d.SetInt64(1) // 1 or -1, and b is even
		return nil
	}
	size := int64(a.NumDigits()) + int64(a.Exponent)
	if n, ok := intOf(b); !ok || size > 1 && n > canon.MaxExponent || size < 0 && n > canon.MaxExponent {
		if !(a.NumDigits() == 1 && a.Exponent == 0 && a.Coeff.Int64() <= 1) {
			return fault.New(fault.Invalid, "power out of range")
		}
	}
	_, err := decimals.Pow(d, a, b)
	return err
}

// combine computes with operands of which at least one is no number; nil when
// the operator is not defined for their types (tables 56 to 59 of DMN 1.5).
func (m *machine) combine(op arithOp, a, b canon.Value) canon.Value {
	switch op {
	case opAdd:
		return m.add(a, b)
	case opSubtract:
		return m.subtract(a, b)
	case opMultiply:
		if _, ok := a.(canon.Number); ok {
			a, b = b, a
		}
		return scale(a, b, decimals.Mul)
	case opDivide:
		if ratio := durationRatio(a, b); ratio != nil {
			return ratio
		}
		return scale(a, b, decimals.Quo)
	}
	return nil
}

func (m *machine) add(a, b canon.Value) canon.Value {
	if s, ok := a.(canon.String); ok {
		t, ok := b.(canon.String)
		if !ok {
			return nil
		}
		if !m.alloc(len(s) + len(t)) {
			return canon.Null{}
		}
		return s + t
	}
	switch a.(type) {
	case canon.DayTimeDuration, canon.YearMonthDuration:
		if sum := addDurations(a, b, 1); sum != nil {
			return sum
		}
		return m.shift(b, a, 1)
	}
	return m.shift(a, b, 1)
}

func (m *machine) subtract(a, b canon.Value) canon.Value {
	if difference := addDurations(a, b, -1); difference != nil {
		return difference
	}
	if shifted := m.shift(a, b, -1); shifted != nil {
		return shifted
	}
	return m.difference(a, b)
}
