package feel

import (
	"github.com/cockroachdb/apd/v3"

	"github.com/underseal/underseal/internal/canon"
)

var numberFunctions = []definition{
	{"decimal(n: number, scale: number)", rounder(apd.RoundHalfEven)},
	{"floor(n: number, scale?: number)", rounder(apd.RoundFloor)},
	{"ceiling(n: number, scale?: number)", rounder(apd.RoundCeiling)},
	{"round up(n: number, scale: number)", rounder(apd.RoundUp)},
	{"round down(n: number, scale: number)", rounder(apd.RoundDown)},
	{"round half up(n: number, scale: number)", rounder(apd.RoundHalfUp)},
	{"round half down(n: number, scale: number)", rounder(apd.RoundHalfDown)},
	{"abs(n: Any)", absolute},
	{"modulo(dividend: number, divisor: number)", modulo},
	{"sqrt(number: number)", squareRoot},
	{"log(number: number)", logarithm},
	{"exp(number: number)", exponential},
	{"odd(number: number)", func(c *call) value { return parity(c, true) }},
	{"even(number: number)", func(c *call) value { return parity(c, false) }},
}

// The range of a scale (DMN 1.5, table 75).
const (
	minScale = -6111
	maxScale = 6176
)

// rounder makes a function that rounds to a number of decimals.
func rounder(rounding apd.Rounder) func(c *call) value {
	return func(c *call) value {
		scale := int64(0)
		if c.has(1) {
			var ok bool
			if scale, ok = intOf(c.num(1)); !ok || scale < minScale || scale > maxScale {
				return c.fail("the scale is not between %d and %d", minScale, maxScale)
			}
		}
		if -scale <= int64(c.num(0).Exponent) {
			return c.args[0]
		}
		return c.number(quantize(c.num(0), int32(-scale), rounding), nil)
	}
}

// quantize rounds to a multiple of 10^exponent, which is more than that of x.
// It is here because apd's own makes 0 of everything below a tenth of the unit,
// in whatever direction it rounds.
func quantize(x *apd.Decimal, exponent int32, rounding apd.Rounder) *apd.Decimal {
	d := &apd.Decimal{Exponent: exponent, Negative: x.Negative}
	dropped := int64(exponent) - int64(x.Exponent)
	half, exact := -1, x.IsZero()
	if dropped <= x.NumDigits() {
		unit := new(apd.BigInt).Exp(apd.NewBigInt(10), apd.NewBigInt(dropped), nil)
		rest := new(apd.BigInt)
		d.Coeff.QuoRem(&x.Coeff, unit, rest)
		exact = rest.Sign() == 0
		half = rest.Lsh(rest, 1).Cmp(unit)
	}
	if !exact && rounding.ShouldAddOne(&d.Coeff, x.Negative, half) {
		d.Coeff.Add(&d.Coeff, apd.NewBigInt(1))
	}
	return d
}

func absolute(c *call) value {
	switch v := c.args[0].(type) {
	case canon.Number:
		return finite(new(apd.Decimal).Abs(v.Decimal()), nil)
	case canon.DayTimeDuration:
		return c.inRange(c.at, duration(max(int64(v.Nanoseconds), -int64(v.Nanoseconds))))
	case canon.YearMonthDuration:
		return canon.YearMonthDuration{Months: max(v.Months, -v.Months)}
	}
	return c.fail("a %s has no absolute value", typeName(c.args[0]))
}

// modulo has the sign of the divisor: a - b * floor(a / b).
func modulo(c *call) value {
	a, b := c.num(0), c.num(1)
	if b.IsZero() {
		return c.fail("division by zero")
	}
	if !c.step(1000) {
		return canon.Null{}
	}
	d := new(apd.Decimal)
	if _, err := wide.Rem(d, a, b); err != nil {
		return c.number(nil, err)
	}
	if !d.IsZero() && d.Negative != b.Negative {
		if _, err := wide.Add(d, d, b); err != nil {
			return c.number(nil, err)
		}
	}
	_, err := decimals.Round(d, d)
	return c.number(d, err)
}

func squareRoot(c *call) value {
	if c.num(0).Negative {
		return c.fail("the number is negative")
	}
	return transcendental(c, 200, decimals.Sqrt)
}

func logarithm(c *call) value {
	if c.num(0).Sign() <= 0 {
		return c.fail("the number is not positive")
	}
	return transcendental(c, 4000, decimals.Ln)
}

func exponential(c *call) value {
	const most = 14200 // e^14147 is the last in range
	n, ok := intOf(c.num(0))
	if !ok || n > most || n < -most {
		return c.fail("the result is out of range")
	}
	return transcendental(c, 400+5*int(max(n, -n)), decimals.Exp)
}

// transcendental computes a function that costs much more than a step.
func transcendental(c *call, cost int, f func(d, x *apd.Decimal) (apd.Condition, error)) value {
	if !c.step(cost) {
		return canon.Null{}
	}
	d := new(apd.Decimal)
	_, err := f(d, c.num(0))
	return c.number(d, err)
}

// parity reports whether the number is an odd (or even) integer.
func parity(c *call, odd bool) value {
	d := c.num(0)
	if d.Exponent < 0 {
		return canon.Bool(false)
	}
	isOdd := d.Exponent == 0 && d.Coeff.Bit(0) == 1
	return canon.Bool(isOdd == odd)
}
