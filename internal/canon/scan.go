package canon

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads the tokens that canonical and ordinary JSON share.
type scanner struct {
	data  []byte
	pos   int
	depth int // of the value being read; the outermost has 1
}

// problem is what is wrong with a text, and where. It holds no value of the text.
type problem struct {
	at   int      // byte offset
	what string   // "number has ..."
	path []string // names and indices to the value, innermost first
}

func (s *scanner) problem(what string) *problem { return &problem{at: s.pos, what: what} }

// in adds a name or index that leads to the problem.
func (p *problem) in(step string) *problem {
	p.path = append(p.path, step)
	return p
}

// pointer returns the path as a JSON pointer (RFC 6901).
func (p *problem) pointer() string {
	var b strings.Builder
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	for i := len(p.path) - 1; i >= 0; i-- {
		b.WriteByte('/')
		b.WriteString(escape.Replace(p.path[i]))
	}
	return b.String()
}

// place returns the pointer and the offset as one text.
func (p *problem) place() string {
	return strconv.Quote(p.pointer()) + ", byte " + strconv.Itoa(p.at)
}

// peek returns the next byte, 0 at the end (which begins no token).
func (s *scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

// take moves past c if it is next.
func (s *scanner) take(c byte) bool {
	if s.peek() != c || s.pos >= len(s.data) {
		return false
	}
	s.pos++
	return true
}

// skipSpace moves past JSON's four kinds of whitespace.
func (s *scanner) skipSpace() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// word moves past one of the three literal names.
func (s *scanner) word() (Value, *problem) {
	for _, w := range [...]struct {
		text  string
		value Value
	}{{"null", Null{}}, {"true", Bool(true)}, {"false", Bool(false)}} {
		if strings.HasPrefix(string(s.data[s.pos:min(len(s.data), s.pos+5)]), w.text) {
			s.pos += len(w.text)
			return w.value, nil
		}
	}
	if s.pos >= len(s.data) {
		return nil, s.problem("a value is missing")
	}
	return nil, s.problem("this is not the start of a value")
}

// text reads a string, escapes resolved. The opening quote is next.
func (s *scanner) text() (string, *problem) {
	start := s.pos + 1
	for i := start; i < len(s.data); i++ {
		switch c := s.data[i]; {
		case c == '"':
			if !utf8.Valid(s.data[start:i]) {
				return "", s.problem("string is not UTF-8")
			}
			s.pos = i + 1
			return string(s.data[start:i]), nil
		case c == '\\':
			return s.escapedText()
		case c < 0x20:
			s.pos = i
			return "", s.problem("string has a control character that is not escaped")
		}
	}
	return "", s.problem("string has no end")
}

// escapedText is text for strings with escapes.
func (s *scanner) escapedText() (string, *problem) {
	at := s.pos
	var b []byte
	for s.pos++; s.pos < len(s.data); {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			if !utf8.Valid(b) {
				return "", &problem{at: at, what: "string is not UTF-8"}
			}
			return string(b), nil
		case c == '\\':
			r, p := s.escape()
			if p != nil {
				return "", p
			}
			b = utf8.AppendRune(b, r)
		case c < 0x20:
			return "", s.problem("string has a control character that is not escaped")
		default:
			b = append(b, c)
			s.pos++
		}
	}
	return "", &problem{at: at, what: "string has no end"}
}

// escape reads one escape, or the two of a surrogate pair. Half a pair is no
// Unicode text and is refused.
func (s *scanner) escape() (rune, *problem) {
	if s.pos+1 >= len(s.data) {
		return 0, s.problem("string has no end")
	}
	if i := strings.IndexByte(`"\/bfnrt`, s.data[s.pos+1]); i >= 0 {
		s.pos += 2
		return rune("\"\\/\b\f\n\r\t"[i]), nil
	}
	r, ok := s.hexEscape(s.pos)
	if !ok {
		return 0, s.problem("string has an escape that JSON does not know")
	}
	if !utf16.IsSurrogate(r) {
		s.pos += 6
		return r, nil
	}
	low, _ := s.hexEscape(s.pos + 6)
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		return 0, s.problem("string has half a surrogate pair")
	}
	s.pos += 12
	return r, nil
}

// hexEscape reads \uXXXX at pos.
func (s *scanner) hexEscape(pos int) (rune, bool) {
	if pos+6 > len(s.data) || s.data[pos] != '\\' || s.data[pos+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range s.data[pos+2 : pos+6] {
		digit := strings.IndexByte("0123456789abcdef", c|0x20)
		if digit < 0 || c < '0' {
			return 0, false
		}
		r = r<<4 | rune(digit)
	}
	return r, true
}
