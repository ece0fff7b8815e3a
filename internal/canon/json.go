package canon

import (
	"fmt"
	"strconv"

	"github.com/underseal/underseal/internal/fault"
)

// maxJSONDepth is how deep JSON from outside may nest.
const maxJSONDepth = 128

// DecodeJSON reads ordinary JSON (RFC 8259) strictly: one value, UTF-8, no
// duplicate names, no half surrogates, no byte order mark, numbers of at most
// 34 digits taken from their text, at most 128 levels. Objects become contexts
// and arrays lists; there are no dates in JSON, so a date stays a string.
// A refusal is Invalid, with the JSON pointer of the value in its details.
func DecodeJSON(data []byte) (Value, error) {
	r := jsonReader{scanner{data: data}}
	r.skipSpace()
	v, p := r.value()
	r.skipSpace()
	if p == nil && r.pos != len(data) {
		p = r.problem("there is more after the value")
	}
	if p != nil {
		return nil, fault.New(fault.Invalid, "JSON is not accepted").WithCode("invalid_json").
			WithDetails(fault.Detail{Place: p.pointer(), Message: fmt.Sprintf("byte %d: %s", p.at, p.what)})
	}
	return v, nil
}

// CheckJSON refuses what DecodeJSON refuses. It goes before json.Unmarshal,
// which would take the last of two equal names, mend bad UTF-8 and round.
func CheckJSON(data []byte) error {
	_, err := DecodeJSON(data)
	return err
}

// EncodeJSON returns v as ordinary JSON, for people and programs outside:
// numbers as their canonical digits, dates, times and durations as strings.
// Types are lost, so it is never hashed or sealed.
func EncodeJSON(v Value) []byte { return appendJSON(nil, v) }

func appendJSON(dst []byte, v Value) []byte {
	switch v := v.(type) {
	case Number:
		return v.append(dst)
	case List:
		return appendJSONList(dst, v)
	case *Context:
		return appendContext(dst, v, appendJSON)
	case appender: // the other scalars, whose text needs no escapes
		return append(v.append(append(dst, '"')), '"')
	}
	return AppendEncode(dst, v)
}

func appendJSONList(dst []byte, l List) []byte {
	dst = append(dst, '[')
	for i, item := range l {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendJSON(dst, item)
	}
	return append(dst, ']')
}

// jsonReader reads ordinary JSON.
type jsonReader struct{ scanner }

func (r *jsonReader) value() (Value, *problem) {
	if r.depth++; r.depth > maxJSONDepth {
		return nil, r.problem("nested deeper than 128 levels")
	}
	defer func() { r.depth-- }()
	switch c := r.peek(); {
	case c == '"':
		text, p := r.text()
		return String(text), p
	case c == '{':
		return r.object()
	case c == '[':
		return r.array()
	case c == '-' || c >= '0' && c <= '9':
		return r.number()
	}
	return r.word()
}

func (r *jsonReader) number() (Value, *problem) {
	end := r.pos
	for end < len(r.data) && isNumberByte(r.data[end]) {
		end++
	}
	n, what := parseNumber(string(r.data[r.pos:end]))
	if what != "" {
		return nil, r.problem("number is not accepted: " + what)
	}
	r.pos = end
	return n, nil
}

func isNumberByte(c byte) bool {
	return c >= '0' && c <= '9' || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E'
}

func (r *jsonReader) array() (Value, *problem) {
	r.pos++
	l := List{}
	r.skipSpace()
	for !r.take(']') {
		if len(l) > 0 && !r.take(',') {
			return nil, r.problem("a comma or the array's end is missing")
		}
		r.skipSpace()
		v, p := r.value()
		if p != nil {
			return nil, p.in(strconv.Itoa(len(l)))
		}
		l = append(l, v)
		r.skipSpace()
	}
	return l, nil
}

func (r *jsonReader) object() (Value, *problem) {
	at := r.pos
	r.pos++
	c := &Context{}
	r.skipSpace()
	for !r.take('}') {
		if len(c.entries) > 0 && !r.take(',') {
			return nil, r.problem("a comma or the object's end is missing")
		}
		e, p := r.entry()
		if p != nil {
			return nil, p
		}
		c.entries = append(c.entries, e)
		r.skipSpace()
	}
	if name, twice := sortEntries(c.entries); twice {
		p := &problem{at: at, what: "name occurs twice in this object"}
		return nil, p.in(name)
	}
	return c, nil
}

// entry reads a name, a colon and a value.
func (r *jsonReader) entry() (Entry, *problem) {
	r.skipSpace()
	if r.peek() != '"' {
		return Entry{}, r.problem("a name is missing")
	}
	name, p := r.text()
	if p != nil {
		return Entry{}, p
	}
	r.skipSpace()
	if !r.take(':') {
		return Entry{}, r.problem("a colon is missing").in(name)
	}
	r.skipSpace()
	v, p := r.value()
	if p != nil {
		return Entry{}, p.in(name)
	}
	return Entry{name, v}, nil
}
