package canon_test

import (
	"testing"

	"github.com/cockroachdb/apd/v3"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

const (
	thirtyFour = "1234567890123456789012345678901234"
	thirtyFive = thirtyFour + "5"
)

func TestParseNumberGivesCanonicalText(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"0", "0"}, {"-0", "0"}, {"0.000", "0"}, {"0e9999999999999", "0"}, {"-0.0E-5", "0"},
		{"1", "1"}, {"-1", "-1"}, {"12.50", "12.5"}, {"100", "100"}, {"1e2", "100"}, {"1E+2", "100"},
		{"0.1", "0.1"}, {"1e-7", "0.0000001"}, {"0.00000001", "1e-8"}, {"-1.50e-10", "-1.5e-10"},
		{"9007199254740993", "9007199254740993"}, {"18446744073709551616", "18446744073709551616"},
		{thirtyFour, thirtyFour}, {thirtyFour + "0", "1.234567890123456789012345678901234e34"},
		{"1e33", "1000000000000000000000000000000000"}, {"1e34", "1e34"}, {"123e40", "1.23e42"},
		{"9e6144", "9e6144"}, {"1e-6144", "1e-6144"}, {"10e-6145", "1e-6144"},
		{"0." + thirtyFour, "0." + thirtyFour}, {"-19.99", "-19.99"},
	} {
		n, err := canon.ParseNumber(test.text)
		if err != nil {
			t.Errorf("ParseNumber(%q): %v", test.text, err)
			continue
		}
		if n.String() != test.want {
			t.Errorf("ParseNumber(%q) = %s, want %s", test.text, n, test.want)
		}
		again, err := canon.ParseNumber(n.String())
		if err != nil || !canon.Equal(again, n) {
			t.Errorf("ParseNumber(%q) of canonical text: %v, %v", n, again, err)
		}
	}
}

func TestParseNumberRefuses(t *testing.T) {
	for _, text := range []string{
		"", "-", "+1", "01", "-01", ".5", "5.", "1.e5", "1e", "1e+", "1x", " 1", "1 ", "0x10", "NaN", "Infinity", "1_000", "١",
		thirtyFive, "0." + thirtyFive, "1e6145", "1e-6145", "10e6144", "1e99999999999999999999", "1e-99999999999999999999",
	} {
		if n, err := canon.ParseNumber(text); !fault.Is(err, fault.Invalid) {
			t.Errorf("ParseNumber(%q) = %v, %v, want invalid", text, n, err)
		}
	}
}

func TestNewNumberTakesEveryInt64(t *testing.T) {
	for _, test := range []struct {
		i    int64
		want string
	}{{0, "0"}, {-1, "-1"}, {1000, "1000"}, {1<<63 - 1, "9223372036854775807"}, {-1 << 63, "-9223372036854775808"}} {
		if got := canon.NewNumber(test.i).String(); got != test.want {
			t.Errorf("NewNumber(%d) = %s", test.i, got)
		}
	}
}

func TestNumberFromDecimal(t *testing.T) {
	decimal := func(text string) *apd.Decimal {
		d, _, err := apd.NewFromString(text)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, test := range []struct{ text, want string }{
		{"1.500", "1.5"}, {"-0.00", "0"}, {thirtyFour + "000", "1.234567890123456789012345678901234e36"},
	} {
		n, err := canon.NumberFromDecimal(decimal(test.text))
		if err != nil || n.String() != test.want {
			t.Errorf("NumberFromDecimal(%s) = %v, %v, want %s", test.text, n, err, test.want)
		}
	}
	for _, text := range []string{"NaN", "Infinity", "-Infinity", thirtyFive, "1e7000", "1e-7000"} {
		if n, err := canon.NumberFromDecimal(decimal(text)); !fault.Is(err, fault.Invalid) {
			t.Errorf("NumberFromDecimal(%s) = %v, %v, want invalid", text, n, err)
		}
	}
}

func TestZeroNumberIsZero(t *testing.T) {
	var n canon.Number
	if n.String() != "0" || !n.Decimal().IsZero() || !canon.Equal(n, canon.NewNumber(0)) {
		t.Errorf("the zero Number is %s", n)
	}
}
