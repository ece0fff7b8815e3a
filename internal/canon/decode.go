package canon

import (
	"strconv"

	"github.com/underseal/underseal/internal/fault"
)

// maxNesting is how deep Decode goes. Every encoding of up to 64 KiB, the most
// that one envelope holds, stays below it: a level takes at least five bytes.
const maxNesting = 1 << 14

// Decode reads the encoding of a value and refuses every spelling but the one
// that Encode writes. Since only our own writers make encodings, a refusal is
// an Integrity fault.
func Decode(data []byte) (Value, error) {
	d := decoder{scanner{data: data}}
	v, p := d.value()
	if p == nil && d.pos != len(data) {
		p = d.problem("there is more after the value")
	}
	if p != nil {
		return nil, notCanonical(p)
	}
	return v, nil
}

// DecodeItems reads what EncodeItems wrote, under the same rules as Decode.
func DecodeItems(data []byte) ([]Value, error) {
	d := decoder{scanner{data: data}}
	items, p := d.items()
	if p == nil && d.pos != len(data) {
		p = d.problem("there is more after the items")
	}
	if p != nil {
		return nil, notCanonical(p)
	}
	return items, nil
}

func notCanonical(p *problem) error {
	return fault.New(fault.Integrity, "encoding is not canonical at %s: %s", p.place(), p.what)
}

// decoder reads canonical encodings.
type decoder struct{ scanner }

func (d *decoder) value() (Value, *problem) {
	if d.depth++; d.depth > maxNesting {
		return nil, d.problem("nested too deeply")
	}
	defer func() { d.depth-- }()
	switch d.peek() {
	case '"':
		text, p := d.canonicalText()
		return String(text), p
	case '{':
		return d.context()
	case '[':
		return d.tagged()
	}
	return d.word()
}

// canonicalText reads a string and refuses escapes that were not needed or
// have another spelling.
func (d *decoder) canonicalText() (string, *problem) {
	start := d.pos
	text, p := d.text()
	if p != nil {
		return "", p
	}
	if d.pos-start != len(text)+2 {
		if again := AppendString(nil, text); string(again) != string(d.data[start:d.pos]) {
			return "", &problem{at: start, what: "string has another spelling"}
		}
	}
	return text, nil
}

// context reads an object whose names must ascend, which rules out doubles.
func (d *decoder) context() (Value, *problem) {
	d.pos++
	c := &Context{}
	for !d.take('}') {
		if len(c.entries) > 0 && !d.take(',') {
			return nil, d.problem("a comma or the object's end is missing")
		}
		name, p := d.name(c.entries)
		if p != nil {
			return nil, p
		}
		v, p := d.value()
		if p != nil {
			return nil, p.in(name)
		}
		c.entries = append(c.entries, Entry{name, v})
	}
	return c, nil
}

func (d *decoder) name(before []Entry) (string, *problem) {
	if d.peek() != '"' {
		return "", d.problem("a name is missing")
	}
	name, p := d.canonicalText()
	if p != nil {
		return "", p
	}
	if n := len(before); n > 0 && before[n-1].Name >= name {
		return "", d.problem("names are not in order").in(name)
	}
	if !d.take(':') {
		return "", d.problem("a colon is missing").in(name)
	}
	return name, nil
}

// items reads values between brackets, separated by commas.
func (d *decoder) items() ([]Value, *problem) {
	if !d.take('[') {
		return nil, d.problem("an array is missing")
	}
	if d.take(']') {
		return nil, nil
	}
	return d.rest(nil)
}

// rest reads values up to the closing bracket, at least one.
func (d *decoder) rest(items []Value) ([]Value, *problem) {
	for {
		v, p := d.value()
		if p != nil {
			return nil, p.in(strconv.Itoa(len(items)))
		}
		items = append(items, v)
		if d.take(']') {
			return items, nil
		}
		if !d.take(',') {
			return nil, d.problem("a comma or the array's end is missing")
		}
	}
}

// tagged reads an array that begins with a tag: a list, or a scalar's text.
func (d *decoder) tagged() (Value, *problem) {
	start := d.pos
	d.pos++
	if d.peek() != '"' {
		return nil, d.problem("a tag is missing")
	}
	tag, p := d.canonicalText()
	if p != nil {
		return nil, p
	}
	if tag == "l" {
		return d.list()
	}
	if !d.take(',') || d.peek() != '"' {
		return nil, d.problem("a tag's text is missing")
	}
	text, p := d.canonicalText()
	if p != nil {
		return nil, p
	}
	if !d.take(']') {
		return nil, d.problem("an array's end is missing")
	}
	v, ok := parseTagged(tag, text)
	if !ok {
		return nil, &problem{at: start, what: "tag or text is not known"}
	}
	return v, nil
}

func (d *decoder) list() (Value, *problem) {
	if d.take(']') {
		return List{}, nil
	}
	if !d.take(',') {
		return nil, d.problem("a comma or the array's end is missing")
	}
	items, p := d.rest(nil)
	return List(items), p
}

// appender is a scalar that writes its canonical text.
type appender interface {
	Value
	append(dst []byte) []byte
}

// parseTagged reads a scalar's text and refuses it unless the scalar is written
// the same way again. The parsers accept more than one spelling; this check is
// what keeps encodings unique.
func parseTagged(tag, text string) (Value, bool) {
	v, ok := parseScalar(tag, text)
	if !ok {
		return nil, false
	}
	var buf [48]byte
	return v, string(v.append(buf[:0])) == text
}

func parseScalar(tag, text string) (appender, bool) {
	switch tag {
	case "n":
		n, what := parseNumber(text)
		return n, what == ""
	case "d":
		return scalar(parseDate(text))
	case "t":
		return scalar(parseTime(text))
	case "dt":
		return scalar(parseDateTime(text))
	case "dd", "ym":
		v, ok := parseDuration(text)
		if _, months := v.(YearMonthDuration); !ok || months != (tag == "ym") {
			return nil, false
		}
		return v.(appender), true
	}
	return nil, false
}

func scalar[T appender](v T, ok bool) (appender, bool) { return v, ok }
