package feel

import (
	"strings"
	"unicode/utf8"

	"github.com/underseal/underseal/internal/canon"
)

var stringFunctions = []definition{
	{"substring(string: string, start position: number, length?: number)", substring},
	{"string length(string: string)", func(c *call) value { return canon.NewNumber(int64(utf8.RuneCountInString(c.str(0)))) }},
	{"upper case(string: string)", func(c *call) value { return c.mapped(strings.ToUpper) }},
	{"lower case(string: string)", func(c *call) value { return c.mapped(strings.ToLower) }},
	{"substring before(string: string, match: string)", substringBefore},
	{"substring after(string: string, match: string)", substringAfter},
	{"contains(string: string, match: string)", func(c *call) value { return canon.Bool(strings.Contains(c.str(0), c.str(1))) }},
	{"starts with(string: string, match: string)", func(c *call) value { return canon.Bool(strings.HasPrefix(c.str(0), c.str(1))) }},
	{"ends with(string: string, match: string)", func(c *call) value { return canon.Bool(strings.HasSuffix(c.str(0), c.str(1))) }},
	{"string join(list: list, delimiter?: string?)", stringJoin},
}

// text returns a string that a built-in made.
func (c *call) text(s string) value {
	if !c.alloc(len(s)) || !c.step(len(s)/64) {
		return canon.Null{}
	}
	return canon.String(s)
}

// mapped returns the argument in another case, which may take more bytes.
func (c *call) mapped(change func(string) string) value {
	if !c.allocText(len(c.str(0))) {
		return canon.Null{}
	}
	return c.text(change(c.str(0)))
}

// substring counts characters from 1, or from -1 backwards.
func substring(c *call) value {
	s := c.str(0)
	count := int64(utf8.RuneCountInString(s))
	start, ok := intOf(c.num(1))
	if ok && start < 0 {
		start += count + 1
	}
	if !ok || start < 1 || start > count {
		return c.fail("the start position is outside the string")
	}
	length := count
	if c.has(2) {
		if length, ok = intOf(c.num(2)); !ok || length < 1 {
			return c.fail("the length is less than 1")
		}
	}
	s = s[offsetOf(s, start-1):]
	return c.text(s[:offsetOf(s, length)])
}

// offsetOf returns where the character with the index begins, or the length.
func offsetOf(s string, index int64) int {
	for i := range s {
		if index == 0 {
			return i
		}
		index--
	}
	return len(s)
}

func substringBefore(c *call) value {
	before, _, found := strings.Cut(c.str(0), c.str(1))
	if !found {
		return canon.String("")
	}
	return c.text(before)
}

func substringAfter(c *call) value {
	_, after, _ := strings.Cut(c.str(0), c.str(1))
	return c.text(after)
}

// stringJoin leaves nulls out.
func stringJoin(c *call) value {
	var b strings.Builder
	delimiter := ""
	for _, item := range c.list(0) {
		if !c.step(1) {
			return canon.Null{}
		}
		s, ok := item.(canon.String)
		if isNull(item) {
			continue
		}
		if !ok {
			return c.fail("the list holds a %s", typeName(item))
		}
		if !c.alloc(2 * (len(delimiter) + len(s))) {
			return canon.Null{}
		}
		b.WriteString(delimiter)
		b.WriteString(string(s))
		delimiter = c.str(1)
	}
	return canon.String(b.String())
}
