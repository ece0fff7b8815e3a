package feel

import (
	"regexp"
	"strings"

	"github.com/underseal/underseal/internal/canon"
)

var patternFunctions = []definition{
	{"matches(input: string, pattern: string, flags?: string?)", matches},
	{"replace(input: string, pattern: string, replacement: string, flags?: string?)", replace},
	{"split(string: string, delimiter: string)", split},
}

// compile translates and compiles a pattern once per evaluation and charges for
// what matching it against the input will cost.
func (c *call) compile(text, flags, input string) *regexp.Regexp {
	key := flags + "/" + text
	p, ok := c.patterns[key]
	if !ok {
		if !c.step(20*len(text)) || !c.alloc(200*len(text)) {
			return nil
		}
		var problem string
		if p, problem = compilePattern(text, flags); problem != "" {
			c.fail("%s", problem)
			return nil
		}
		if c.patterns == nil {
			c.patterns = map[string]pattern{}
		}
		c.patterns[key] = p
		c.alloc(8 * p.size)
	}
	if !c.step(10 + len(input)*(1+p.nodes)/16) {
		return nil
	}
	return p.re
}

func matches(c *call) value {
	re := c.compile(c.str(1), c.str(2), c.str(0))
	if re == nil {
		return canon.Null{}
	}
	return canon.Bool(re.MatchString(c.str(0)))
}

func split(c *call) value {
	re := c.compile(c.str(1), "", c.str(0))
	if re == nil || !c.alloc(2*valueSize*(1+len(c.str(0)))) {
		return canon.Null{}
	}
	list := canon.List{}
	for _, part := range re.Split(c.str(0), -1) {
		list = append(list, canon.String(part))
	}
	return list
}

func replace(c *call) value {
	input, re := c.str(0), c.compile(c.str(1), c.str(3), c.str(0))
	if re == nil || !c.allocMatches(re, input) {
		return canon.Null{}
	}
	pieces, ok := replacement(c.str(2), re.NumSubexp(), strings.Contains(c.str(3), "q"))
	if !ok {
		return c.fail("the replacement has a $ or \\ without meaning")
	}
	var b strings.Builder
	last := 0
	for _, match := range re.FindAllStringSubmatchIndex(input, -1) {
		start := b.Len()
		b.WriteString(input[last:match[0]])
		for _, p := range pieces {
			b.WriteString(p.expand(input, match))
		}
		last = match[1]
		if !c.alloc(2 * (b.Len() - start)) {
			return canon.Null{}
		}
	}
	b.WriteString(input[last:])
	return c.text(b.String())
}

// allocMatches charges for the indices of all matches before they are made.
func (c *call) allocMatches(re *regexp.Regexp, input string) bool {
	count := 0
	re.ReplaceAllStringFunc(input, func(string) string { count++; return "" })
	return c.alloc(len(input) + count*(24+16*(1+re.NumSubexp())))
}

// piece is literal text or a group's number.
type piece struct {
	text  string
	group int // -1 for text
}

func (p piece) expand(input string, match []int) string {
	if p.group < 0 {
		return p.text
	}
	if from := match[2*p.group]; from >= 0 {
		return input[from:match[2*p.group+1]]
	}
	return ""
}

// replacement reads $N, \$ and \\ as fn:replace of XPath 3.1 does: $12 is group
// 12 if there is one, else group 1 and a "2"; a group that is missing is empty.
func replacement(text string, groups int, literal bool) (pieces []piece, ok bool) {
	if literal {
		return []piece{{text, -1}}, true
	}
	for i := 0; i < len(text); {
		switch {
		case text[i] == '\\' && i+1 < len(text) && (text[i+1] == '\\' || text[i+1] == '$'):
			pieces = append(pieces, piece{text[i+1 : i+2], -1})
			i += 2
		case text[i] == '$' && i+1 < len(text) && isDigit(text[i+1]):
			group := int(text[i+1] - '0')
			for i += 2; i < len(text) && isDigit(text[i]) && group*10+int(text[i]-'0') <= groups; i++ {
				group = group*10 + int(text[i]-'0')
			}
			if group <= groups {
				pieces = append(pieces, piece{"", group})
			}
		case text[i] == '\\' || text[i] == '$':
			return nil, false
		default:
			end := i + strings.IndexAny(text[i:]+"$", `\$`)
			pieces = append(pieces, piece{text[i:end], -1})
			i = end
		}
	}
	return pieces, true
}
