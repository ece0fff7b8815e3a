package canon

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Encode returns the one encoding of v (docs/design/canon.md). A nil Value is
// null. Text that is not UTF-8, which no decoder of ours lets in, is encoded
// with U+FFFD in place of the bad bytes, so what is encoded always decodes.
func Encode(v Value) []byte { return AppendEncode(nil, v) }

// AppendEncode adds the encoding of v to dst.
func AppendEncode(dst []byte, v Value) []byte {
	switch v := v.(type) {
	case nil, Null:
		return append(dst, "null"...)
	case Bool:
		return appendBool(dst, v)
	case String:
		return AppendString(dst, string(v))
	case Number:
		return append(v.append(append(dst, `["n","`...)), `"]`...)
	case Date:
		return append(v.append(append(dst, `["d","`...)), `"]`...)
	case Time:
		return append(v.append(append(dst, `["t","`...)), `"]`...)
	case DateTime:
		return append(v.append(append(dst, `["dt","`...)), `"]`...)
	case DayTimeDuration:
		return append(v.append(append(dst, `["dd","`...)), `"]`...)
	case YearMonthDuration:
		return append(v.append(append(dst, `["ym","`...)), `"]`...)
	case List:
		return appendList(dst, v)
	case *Context:
		return appendContext(dst, v, AppendEncode)
	}
	panic(fmt.Sprintf("canon: internal error: cannot encode %T", v))
}

// EncodeItems returns the encodings of the items as a JSON array without a tag.
// It serves records of fixed shape, such as [type, value].
func EncodeItems(items ...Value) []byte {
	dst := []byte{'['}
	for i, item := range items {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendEncode(dst, item)
	}
	return append(dst, ']')
}

func appendBool(dst []byte, b Bool) []byte {
	if b {
		return append(dst, "true"...)
	}
	return append(dst, "false"...)
}

func appendList(dst []byte, l List) []byte {
	dst = append(dst, `["l"`...)
	for _, item := range l {
		dst = AppendEncode(append(dst, ','), item)
	}
	return append(dst, ']')
}

// appendContext writes an object whose values encode writes.
func appendContext(dst []byte, c *Context, encode func([]byte, Value) []byte) []byte {
	dst = append(dst, '{')
	for i := range c.Len() {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, c.entries[i].Name)
		dst = encode(append(dst, ':'), c.entries[i].Value)
	}
	return append(dst, '}')
}

const hexDigits = "0123456789abcdef"

// AppendString adds the encoding of the string s to dst. It has the escapes of
// RFC 8785 section 3.2.2.2: the two-character ones where they exist, \u00xx with lower case
// digits for the other control characters, and nothing else.
func AppendString(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\ufffd")
	}
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x20 && s[i] != '"' && s[i] != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		dst = appendEscape(dst, s[i])
		start = i + 1
	}
	return append(append(dst, s[start:]...), '"')
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, `\b`...)
	case '\t':
		return append(dst, `\t`...)
	case '\n':
		return append(dst, `\n`...)
	case '\f':
		return append(dst, `\f`...)
	case '\r':
		return append(dst, `\r`...)
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}
