package feel

import (
	"strings"
	"unicode/utf8"
)

// tokenKind classifies a token. Names are cut into words here; the parser joins
// words into names, because only it knows which names exist at a place.
type tokenKind uint8

const (
	tokenEnd    tokenKind = iota
	tokenNumber           // 12, .5, 1.2e-3
	tokenString           // "text", with its quotes
	tokenWord             // one word of a name, or a keyword
	tokenSymbol           // an operator or a bracket
	tokenBad              // a rune or literal that no token begins with
)

// token is a slice of the source. Positions are byte offsets.
type token struct {
	kind     tokenKind
	from, to int
	text     string
}

// symbols lists the operators of more than one byte before their prefixes.
var symbols = []string{
	"..", "**", "!=", "<=", ">=", "->",
	"(", ")", "[", "]", "{", "}", ",", ":", ".", "+", "-", "*", "/", "=", "<", ">", "@",
}

// scan returns the first token at or after the offset.
func scan(src string, offset int) token {
	from, ok := skipSpace(src, offset)
	if !ok {
		return token{kind: tokenBad, from: from, to: len(src), text: "comment without end"}
	}
	if from >= len(src) {
		return token{kind: tokenEnd, from: len(src), to: len(src)}
	}
	kind, to := scanAt(src, from)
	return token{kind: kind, from: from, to: to, text: src[from:to]}
}

func scanAt(src string, from int) (tokenKind, int) {
	c := src[from]
	if isDigit(c) || c == '.' && from+1 < len(src) && isDigit(src[from+1]) {
		return tokenNumber, scanNumber(src, from)
	}
	if c == '"' {
		return scanString(src, from)
	}
	r, size := utf8.DecodeRuneInString(src[from:])
	if isNameStart(r) {
		return tokenWord, scanWord(src, from)
	}
	for _, s := range symbols {
		if strings.HasPrefix(src[from:], s) {
			return tokenSymbol, from + len(s)
		}
	}
	return tokenBad, from + size
}

// skipSpace passes white space and both kinds of comments; ok is false when a
// comment does not end.
func skipSpace(src string, i int) (end int, ok bool) {
	for i < len(src) {
		switch {
		case strings.HasPrefix(src[i:], "//"):
			n := strings.IndexByte(src[i:], '\n')
			if n < 0 {
				return len(src), true
			}
			i += n + 1
		case strings.HasPrefix(src[i:], "/*"):
			n := strings.Index(src[i+2:], "*/")
			if n < 0 {
				return i, false
			}
			i += n + 4
		default:
			r, size := utf8.DecodeRuneInString(src[i:])
			if !isSpace(r) {
				return i, true
			}
			i += size
		}
	}
	return i, true
}

func scanNumber(src string, i int) int {
	i = scanDigits(src, i)
	if i+1 < len(src) && src[i] == '.' && isDigit(src[i+1]) {
		i = scanDigits(src, i+1)
	}
	if i < len(src) && (src[i] == 'e' || src[i] == 'E') {
		digits := i + 1
		if digits < len(src) && (src[digits] == '+' || src[digits] == '-') {
			digits++
		}
		if digits < len(src) && isDigit(src[digits]) {
			i = scanDigits(src, digits)
		}
	}
	return i
}

func scanDigits(src string, i int) int {
	for i < len(src) && isDigit(src[i]) {
		i++
	}
	return i
}

func scanString(src string, i int) (tokenKind, int) {
	for i++; i < len(src); i++ {
		switch src[i] {
		case '\\':
			i++
		case '"':
			return tokenString, i + 1
		}
	}
	return tokenBad, len(src)
}

func scanWord(src string, i int) int {
	for i < len(src) {
		r, size := utf8.DecodeRuneInString(src[i:])
		if !isNamePart(r) {
			break
		}
		i += size
	}
	return i
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isSpace follows rules 61 and 62 of the FEEL grammar (DMN 1.5, 10.3.1.2).
func isSpace(r rune) bool {
	switch r {
	case ' ', '\t', '\n', '\v', '\f', '\r', 0x85, 0xA0, 0x1680, 0x180E, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000, 0xFEFF:
		return true
	}
	return 0x2000 <= r && r <= 0x200B
}

// nameRanges are the letters of rule 28 (name start character) beyond ASCII.
var nameRanges = [][2]rune{
	{0xC0, 0xD6}, {0xD8, 0xF6}, {0xF8, 0x2FF}, {0x370, 0x37D}, {0x37F, 0x167F}, {0x1681, 0x180D}, {0x180F, 0x1FFF},
	{0x200C, 0x200D}, {0x2070, 0x218F}, {0x2C00, 0x2FEF}, {0x3001, 0xD7FF}, {0xF900, 0xFDCF}, {0xFDF0, 0xFEFE},
	{0xFF00, 0xFFFC}, {0x10000, 0xEFFFF},
}

func isNameStart(r rune) bool {
	if r < 0x80 {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r == '_' || r == '?'
	}
	for _, pair := range nameRanges {
		if r <= pair[1] {
			return pair[0] <= r
		}
	}
	return false
}

func isNamePart(r rune) bool {
	return isNameStart(r) || '0' <= r && r <= '9' || r == 0xB7 || 0x300 <= r && r <= 0x36F || r == 0x203F || r == 0x2040
}

// unquote resolves the escapes of a string literal. An unknown escape stays as
// it is written, so that "\s" reaches the regular expressions.
func unquote(literal string) (string, bool) {
	text := literal[1 : len(literal)-1]
	if strings.IndexByte(text, '\\') < 0 {
		return text, true
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		if text[i] != '\\' {
			b.WriteByte(text[i])
			i++
			continue
		}
		n, ok := unescape(&b, text[i:])
		if !ok {
			return "", false
		}
		i += n
	}
	return b.String(), true
}

// unescape writes what the escape at the start of text stands for and returns
// its length. It refuses half of a surrogate pair.
func unescape(b *strings.Builder, text string) (int, bool) {
	const plain, meant = `"'\ntr`, "\"'\\\n\t\r"
	if i := strings.IndexByte(plain, text[1]); i >= 0 {
		b.WriteByte(meant[i])
		return 2, true
	}
	r, n := escapedRune(text)
	if n == 0 {
		b.WriteByte('\\')
		return 1, true
	}
	if 0xD800 <= r && r < 0xDC00 {
		low, m := escapedRune(text[n:])
		if m == 0 || low < 0xDC00 || low > 0xDFFF {
			return 0, false
		}
		r, n = 0x10000+(r-0xD800)<<10+(low-0xDC00), n+m
	}
	if !utf8.ValidRune(r) {
		return 0, false
	}
	b.WriteRune(r)
	return n, true
}

// escapedRune reads \uXXXX or \UXXXXXX; length 0 means it is neither.
func escapedRune(text string) (r rune, length int) {
	switch {
	case strings.HasPrefix(text, `\u`):
		length = 6
	case strings.HasPrefix(text, `\U`):
		length = 8
	}
	if length == 0 || len(text) < length {
		return 0, 0
	}
	for _, c := range []byte(text[2:length]) {
		digit := strings.IndexByte("0123456789abcdef", c|0x20)
		if digit < 0 {
			return 0, 0
		}
		r = r<<4 | rune(digit)
	}
	return r, length
}
