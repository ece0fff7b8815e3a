package canon_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// drawValue draws any value of up to depth levels.
func drawValue(t *rapid.T, depth int) canon.Value {
	kinds := 10
	if depth > 1 {
		kinds = 12
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		return canon.Null{}
	case 1:
		return canon.Bool(rapid.Bool().Draw(t, "bool"))
	case 2, 3:
		return canon.String(rapid.String().Draw(t, "string"))
	case 4, 5:
		return drawNumber(t)
	case 6:
		return drawDate(t)
	case 7:
		return drawTime(t)
	case 8:
		return canon.DateTime{Date: drawDate(t), Time: drawTime(t)}
	case 9:
		if n := rapid.Int64().Draw(t, "duration"); n%2 == 0 {
			return canon.DayTimeDuration{Nanoseconds: time.Duration(n)}
		}
		return canon.YearMonthDuration{Months: rapid.Int64().Draw(t, "months")}
	case 10:
		l := canon.List{}
		for range rapid.IntRange(0, 4).Draw(t, "length") {
			l = append(l, drawValue(t, depth-1))
		}
		return l
	}
	return drawContext(t, depth)
}

func drawNumber(t *rapid.T) canon.Number {
	text := rapid.StringMatching(`-?(0|[1-9][0-9]{0,33})(e-?[0-9]{1,3})?`).Draw(t, "number")
	n, err := canon.ParseNumber(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func drawDate(t *rapid.T) canon.Date {
	d := canon.Date{Year: rapid.IntRange(-999999999, 999999999).Draw(t, "year"), Month: rapid.IntRange(1, 12).Draw(t, "month")}
	d.Day = rapid.IntRange(1, canon.DaysIn(d.Year, d.Month)).Draw(t, "day")
	return d
}

func drawTime(t *rapid.T) canon.Time {
	at := canon.Time{
		Hour: rapid.IntRange(0, 23).Draw(t, "hour"), Minute: rapid.IntRange(0, 59).Draw(t, "minute"),
		Second: rapid.IntRange(0, 59).Draw(t, "second"), Nanosecond: rapid.IntRange(0, 999999999).Draw(t, "nanosecond"),
	}
	switch rapid.IntRange(0, 2).Draw(t, "zone") {
	case 1:
		at.Zone = canon.Zone{Kind: canon.ZoneOffset, Offset: rapid.IntRange(-18*3600, 18*3600).Draw(t, "offset")}
	case 2:
		at.Zone = canon.Zone{Kind: canon.ZoneNamed, Name: rapid.SampledFrom([]string{"Europe/Paris", "Etc/GMT+5", "UTC"}).Draw(t, "name")}
	}
	return at
}

func drawContext(t *rapid.T, depth int) canon.Value {
	names := rapid.SliceOfNDistinct(rapid.StringN(0, 6, -1), 0, 4, rapid.ID).Draw(t, "names")
	var entries []canon.Entry
	for _, name := range names {
		entries = append(entries, canon.Entry{Name: name, Value: drawValue(t, depth-1)})
	}
	c, err := canon.NewContext(entries...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDecodeReturnsWhatWasEncoded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawValue(t, 4)
		encoded := canon.Encode(v)
		got, err := canon.Decode(encoded)
		if err != nil {
			t.Fatalf("%s: %v", encoded, err)
		}
		if !canon.Equal(got, v) || !canon.Equal(v, got) || !bytes.Equal(canon.Encode(got), encoded) {
			t.Fatalf("%s decodes to %v and encodes as %s", encoded, got, canon.Encode(got))
		}
		if _, err := canon.DecodeJSON(canon.EncodeJSON(v)); err != nil {
			t.Fatalf("%s: %v", canon.EncodeJSON(v), err)
		}
	})
}

func TestEqualIsEqualEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawValue(t, 2), drawValue(t, 2)
		if got, want := canon.Equal(a, b), bytes.Equal(canon.Encode(a), canon.Encode(b)); got != want {
			t.Fatalf("Equal(%v, %v) = %v, encodings equal: %v", a, b, got, want)
		}
	})
}

func TestEncodeMendsTextThatIsNotUTF8(t *testing.T) {
	encoded := canon.Encode(canon.String("a\xffb"))
	if got, err := canon.Decode(encoded); err != nil || got != canon.String("a\ufffdb") {
		t.Errorf("%s decodes to %v, %v", encoded, got, err)
	}
}

func TestEncodeTakesNilAsNull(t *testing.T) {
	if got := string(canon.Encode(canon.List{nil, (*canon.Context)(nil)})); got != `["l",null,{}]` {
		t.Errorf("encoded %s", got)
	}
	if !canon.Equal(nil, canon.Null{}) || !canon.Equal(canon.Null{}, nil) || canon.TypeName(nil) != "null" {
		t.Error("nil is not null")
	}
}

func TestItems(t *testing.T) {
	for _, items := range [][]canon.Value{nil, {canon.String("string"), canon.String("x")}, {canon.NewNumber(1), canon.List{canon.Null{}}, canon.Null{}}} {
		got, err := canon.DecodeItems(canon.EncodeItems(items...))
		if err != nil || !canon.Equal(canon.List(got), canon.List(items)) {
			t.Errorf("%s decodes to %v, %v", canon.EncodeItems(items...), got, err)
		}
	}
	if got := string(canon.EncodeItems(canon.String("number"), canon.NewNumber(5))); got != `["number",["n","5"]]` {
		t.Errorf("encoded %s", got)
	}
	for _, text := range []string{"", "null", "{}", "[", "[]x", "[,]", "[null,]", "[null null]", "[1]", "[null", "[ ]", `["n","01"]]`} {
		if got, err := canon.DecodeItems([]byte(text)); !fault.Is(err, fault.Integrity) {
			t.Errorf("DecodeItems(%s) = %v, %v; want an integrity fault", text, got, err)
		}
	}
}

// What fits into one envelope decodes, however deeply it is nested.
func TestEverythingOf64KiBDecodes(t *testing.T) {
	var v canon.Value = canon.List{}
	for range 12_000 {
		c, err := canon.NewContext(canon.Entry{Value: v})
		if err != nil {
			t.Fatal(err)
		}
		v = c
	}
	encoded := canon.Encode(v)
	if got, err := canon.Decode(encoded); err != nil || !canon.Equal(got, v) {
		t.Errorf("%d bytes: %v", len(encoded), err)
	}
	if _, err := canon.Decode([]byte(strings.Repeat(`["l",`, 10_000_000))); !fault.Is(err, fault.Integrity) {
		t.Errorf("10 million levels: %v, want an integrity fault", err)
	}
}

func TestTuplesAreUnambiguous(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		item := rapid.SampledFrom([]string{"", "a", "b", "ab", "\x00\x00\x00\x01a", "\x00"})
		a, b := rapid.SliceOfN(item, 0, 4).Draw(t, "a"), rapid.SliceOfN(item, 0, 4).Draw(t, "b")
		same := bytes.Equal(canon.AppendTuple(nil, a...), canon.AppendTuple(nil, b...))
		if want := strings.Join(a, "|") == strings.Join(b, "|") && len(a) == len(b); same != want {
			t.Fatalf("%q and %q: same %v", a, b, same)
		}
	})
	if got, want := string(canon.AppendTuple([]byte("x"), "a", "bc")), "x\x00\x00\x00\x02\x00\x00\x00\x01a\x00\x00\x00\x02bc"; got != want {
		t.Errorf("AppendTuple = %q, want %q", got, want)
	}
	if got := canon.Uint64(258); got != "\x00\x00\x00\x00\x00\x00\x01\x02" {
		t.Errorf("Uint64 = %q", got)
	}
}

// FuzzDecode looks for a panic and a second spelling of a value.
func FuzzDecode(f *testing.F) {
	for _, name := range []string{"canon_accept.json", "canon_refuse.json"} {
		for _, v := range load(f, name) {
			f.Add([]byte(v.Text))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := canon.Decode(data)
		switch {
		case err != nil && (v != nil || !fault.Is(err, fault.Integrity)):
			t.Errorf("refused with %v, %v", v, err)
		case err == nil && !bytes.Equal(canon.Encode(v), data):
			t.Errorf("%q encodes again as %q", data, canon.Encode(v))
		}
	})
}

func benchValue(b *testing.B) canon.Value {
	text := `{"amount":12500.50,"applicant":{"id":"c-1","name":"Ada Lovelace","ssn":"078-05-1120"},"approved":true,` +
		`"items":[1,2,3,4],"note":"` + strings.Repeat("x", 128) + `"}`
	v, err := canon.DecodeJSON([]byte(text))
	if err != nil {
		b.Fatal(err)
	}
	return v
}

func BenchmarkEncode(b *testing.B) {
	v := benchValue(b)
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		dst = canon.AppendEncode(dst[:0], v)
	}
}

func BenchmarkDecode(b *testing.B) {
	encoded := canon.Encode(benchValue(b))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := canon.Decode(encoded); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeJSON(b *testing.B) {
	text := canon.EncodeJSON(benchValue(b))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := canon.DecodeJSON(text); err != nil {
			b.Fatal(err)
		}
	}
}
