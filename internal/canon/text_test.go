package canon_test

import (
	"fmt"
	"testing"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// textTest says what a text is read as; want is empty for a refusal.
type textTest struct{ text, want string }

func checkTexts[T fmt.Stringer](t *testing.T, parse func(string) (T, error), tests []textTest) {
	t.Helper()
	for _, test := range tests {
		v, err := parse(test.text)
		switch {
		case test.want == "" && !fault.Is(err, fault.Invalid):
			t.Errorf("%q gives %v, %v; want invalid", test.text, v, err)
		case test.want != "" && (err != nil || v.String() != test.want):
			t.Errorf("%q gives %v, %v; want %s", test.text, v, err, test.want)
		}
	}
}

func TestParseDate(t *testing.T) {
	checkTexts(t, canon.ParseDate, []textTest{
		{"2026-11-21", "2026-11-21"}, {"0001-01-01", "0001-01-01"}, {"0000-02-29", "0000-02-29"}, {"-0044-03-15", "-0044-03-15"},
		{"12026-01-01", "12026-01-01"}, {"999999999-12-31", "999999999-12-31"}, {"-999999999-01-01", "-999999999-01-01"},
		{"2024-02-29", "2024-02-29"}, {"2000-02-29", "2000-02-29"},
		{"", ""}, {"2026-11-31", ""}, {"2023-02-29", ""}, {"1900-02-29", ""}, {"2026-13-01", ""}, {"2026-00-01", ""}, {"2026-01-00", ""},
		{"1000000000-01-01", ""}, {"02026-01-01", ""}, {"-0000-01-01", ""}, {"+2026-01-01", ""}, {"26-01-01", ""}, {"2026-1-1", ""},
		{"2026-11-21Z", ""}, {" 2026-11-21", ""}, {"2026/11/21", ""}, {"2026-11-2x", ""}, {"2026-11", ""}, {"--01-01", ""},
	})
}

func TestParseTime(t *testing.T) {
	checkTexts(t, canon.ParseTime, []textTest{
		{"12:30:00", "12:30:00"}, {"23:59:59.999999999", "23:59:59.999999999"}, {"12:30:00.500", "12:30:00.5"}, {"12:30:00.000", "12:30:00"},
		{"12:30:00Z", "12:30:00Z"}, {"12:30:00z", "12:30:00Z"}, {"12:30:00+00:00", "12:30:00Z"}, {"12:30:00-00:00", "12:30:00Z"},
		{"12:30:00+01:00", "12:30:00+01:00"}, {"12:30:00-03:30", "12:30:00-03:30"}, {"10:30:00.0001+05:00:01", "10:30:00.0001+05:00:01"},
		{"12:30:00+05:00:00", "12:30:00+05:00"}, {"12:30:00-18:00", "12:30:00-18:00"}, {"24:00:00", "00:00:00"},
		{"12:30:00@Europe/Paris", "12:30:00@Europe/Paris"}, {"12:30:00@Etc/GMT+5", "12:30:00@Etc/GMT+5"},
		{"12:30:00@America/Port-au-Prince", "12:30:00@America/Port-au-Prince"}, {"12:30:00@xyz/abc", "12:30:00@xyz/abc"},
		{"", ""}, {"12:30", ""}, {"1:30:00", ""}, {"24:00:01", ""}, {"25:00:00", ""}, {"12:60:00", ""}, {"12:30:60", ""}, {"12:30:00.", ""},
		{"12:30:00.1234567890", ""}, {"12:30:00,5", ""}, {"12:30:00 ", ""}, {"12:30:00+19:00", ""}, {"12:30:00+18:00:01", ""}, {"12:30:00+0100", ""},
		{"12:30:00+01:60", ""}, {"12:30:00+01", ""}, {"12:30:00Zx", ""}, {"12:30:00+01:00@Europe/Paris", ""}, {"12:30:00@", ""},
		{"12:30:00@/etc/passwd", ""}, {"12:30:00@../UTC", ""}, {"12:30:00@Europe/../UTC", ""}, {"12:30:00@Europe//Paris", ""},
		{"12:30:00@Europe/", ""}, {"12:30:00@Europe Paris", ""}, {"12:30:00@\"", ""}, {"12:30:00@Zürich", ""},
		{"12:30:00@A123456789012345678901234567890123456789012345678901234567890123x", ""},
		{"x2:30:00", ""}, {"12-30-00", ""}, {"T12:30:00", ""},
	})
}

func TestParseDateTime(t *testing.T) {
	checkTexts(t, canon.ParseDateTime, []textTest{
		{"2026-11-21T12:30:00", "2026-11-21T12:30:00"}, {"2026-11-21T12:30:00.10Z", "2026-11-21T12:30:00.1Z"},
		{"2026-11-21T12:30:00@Europe/Paris", "2026-11-21T12:30:00@Europe/Paris"}, {"-0044-03-15T00:00:00+01:00", "-0044-03-15T00:00:00+01:00"},
		{"2026-11-21T24:00:00Z", "2026-11-22T00:00:00Z"}, {"2026-12-31T24:00:00", "2027-01-01T00:00:00"}, {"2024-02-28T24:00:00", "2024-02-29T00:00:00"},
		{"2026-11-30T24:00:00", "2026-12-01T00:00:00"},
		{"", ""}, {"2026-11-21", ""}, {"T12:30:00", ""}, {"2026-11-21T", ""}, {"2026-11-21 12:30:00", ""}, {"2026-11-21t12:30:00", ""},
		{"2026-11-21T24:00:01", ""}, {"2026-11-31T12:30:00", ""}, {"999999999-12-31T24:00:00", ""}, {"2026-11-21T12:30:00TZ", ""},
	})
}

func TestParseDuration(t *testing.T) {
	parse := func(text string) (fmt.Stringer, error) {
		v, err := canon.ParseDuration(text)
		if err != nil {
			return nil, err
		}
		return v.(fmt.Stringer), nil
	}
	checkTexts(t, parse, []textTest{
		{"P1DT2H3M4.5S", "P1DT2H3M4.5S"}, {"PT0S", "PT0S"}, {"P0D", "PT0S"}, {"-PT0S", "PT0S"}, {"PT24H", "P1D"}, {"PT90M", "PT1H30M"},
		{"PT0.000000001S", "PT0.000000001S"}, {"-PT1.500S", "-PT1.5S"}, {"P1DT0H", "P1D"}, {"PT3600S", "PT1H"}, {"P1DT1S", "P1DT1S"},
		{"P106751DT23H47M16.854775807S", "P106751DT23H47M16.854775807S"}, {"-P106751DT23H47M16.854775808S", "-P106751DT23H47M16.854775808S"},
		{"P1Y2M", "P1Y2M"}, {"P14M", "P1Y2M"}, {"P0M", "P0M"}, {"P0Y", "P0M"}, {"-P1Y", "-P1Y"}, {"-P999999999M", "-P83333333Y3M"},
		{"P9223372036854775807M", "P768614336404564650Y7M"}, {"-P9223372036854775808M", "-P768614336404564650Y8M"},
		{"", ""}, {"P", ""}, {"PT", ""}, {"P1DT", ""}, {"1D", ""}, {"P1", ""}, {"P1W", ""}, {"P1Y1D", ""}, {"P1M1Y", ""}, {"PT1M1H", ""}, {"PT1D", ""},
		{"P1H", ""}, {"P-1D", ""}, {"+P1D", ""}, {"P1.5D", ""}, {"PT1.S", ""}, {"PT.5S", ""}, {"PT1.0000000001S", ""}, {"P1Dx", ""}, {"P1D ", ""},
		{"p1d", ""}, {"P106751DT23H47M16.854775808S", ""}, {"P200000D", ""}, {"P99999999999999999999D", ""}, {"P9223372036854775808M", ""},
		{"P768614336404564650Y8M", ""}, {"P1YT1H", ""}, {"P1D1D", ""},
	})
}

func TestContexts(t *testing.T) {
	entry := func(name string, n int64) canon.Entry { return canon.Entry{Name: name, Value: canon.NewNumber(n)} }
	given := []canon.Entry{entry("b", 2), entry("a", 1)}
	c, err := canon.NewContext(given...)
	if err != nil || c.Len() != 2 || c.At(0).Name != "a" || given[0].Name != "b" {
		t.Fatalf("NewContext = %v, %v", c, err)
	}
	if _, err := canon.NewContext(entry("a", 1), entry("b", 1), entry("a", 2)); !fault.Is(err, fault.Invalid) {
		t.Errorf("a name twice: %v, want invalid", err)
	}
	if _, err := canon.NewContext(entry("\xff", 1)); !fault.Is(err, fault.Invalid) {
		t.Errorf("a name that is not UTF-8: %v, want invalid", err)
	}
	more := c.With("aa", canon.NewNumber(3)).With("a", canon.NewNumber(9)).Without("b").Without("z")
	if got := string(canon.EncodeJSON(more)); got != `{"a":9,"aa":3}` {
		t.Errorf("after changes %s", got)
	}
	if got := string(canon.EncodeJSON(c)); got != `{"a":1,"b":2}` {
		t.Errorf("the first context became %s", got)
	}
	if v, ok := c.Get("b"); !ok || !canon.Equal(v, canon.NewNumber(2)) {
		t.Errorf("Get = %v, %v", v, ok)
	}
	if v, ok := c.Get("c"); ok || v != nil {
		t.Errorf("Get of an unknown name = %v, %v", v, ok)
	}
	var none *canon.Context
	if _, ok := none.Get("a"); ok || none.Len() != 0 || none.Without("a") != nil || none.With("a", canon.Null{}).Len() != 1 {
		t.Error("a nil context is not empty")
	}
}
