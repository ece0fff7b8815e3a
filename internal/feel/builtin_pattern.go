package feel

import (
	"strings"
	"unicode/utf8"

	"github.com/underseal/underseal/internal/canon"
)

var patternFunctions = []definition{
	{"matches(input: string, pattern: string, flags?: string?)", matches},
	{"replace(input: string, pattern: string, replacement: string, flags?: string?)", replace},
	{"split(string: string, delimiter: string)", split},
}

// compile translates and compiles a pattern once per evaluation.
func (c *call) compile(text, flags string) (pattern, bool) {
	key := flags + "/" + text
	if p, ok := c.patterns[key]; ok {
		return p, c.step(10)
	}
	if !c.step(compileCost(text, flags)) || !c.alloc(1000*len(text)) {
		return pattern{}, false
	}
	p, problem := compilePattern(text, flags, c.alloc)
	if problem != "" {
		c.fail("%s", problem)
		return p, false
	}
	if c.patterns == nil {
		c.patterns = map[string]pattern{}
	}
	c.patterns[key] = p
	return p, c.err == nil
}

// compileCost is the cost in steps of a pattern: each of its bytes may name a
// class of many ranges. To ignore case the engine goes through wide ranges
// letter by letter; without letters beyond ASCII there are none.
func compileCost(text, flags string) int {
	cost := 100 * len(text)
	if !strings.Contains(flags, "i") {
		return cost
	}
	if utf8.RuneCountInString(text) < len(text) {
		return 20 * cost
	}
	return 4 * cost
}

func matches(c *call) value {
	input := c.str(0)
	p, ok := c.compile(c.str(1), c.str(2))
	if !ok || !c.step(len(input)*(1+p.nodes)/16) {
		return canon.Null{}
	}
	return canon.Bool(p.re.MatchString(input))
}

func split(c *call) value {
	input := c.str(0)
	p, ok := c.compile(c.str(1), "")
	if !ok {
		return canon.Null{}
	}
	list, last, end := canon.List{}, 0, -1
	c.eachMatch(p, input, func(match []int) bool {
		if end = match[0]; match[1] > 0 {
			list = append(list, canon.String(input[last:end]))
		}
		last = match[1]
		return c.alloc(4 * valueSize)
	})
	if end == len(input) && (input != "" || c.str(1) == "") { // an empty match there separates nothing
		return list
	}
	return append(list, canon.String(input[last:]))
}

func replace(c *call) value {
	input := c.str(0)
	p, ok := c.compile(c.str(1), c.str(3))
	if !ok || !c.alloc(len(input)) {
		return canon.Null{}
	}
	pieces, ok := replacement(c.str(2), p.re.NumSubexp(), strings.Contains(c.str(3), "q"))
	if !ok {
		return c.fail("the replacement has a $ or \\ without meaning")
	}
	var b strings.Builder
	last := 0
	c.eachMatch(p, input, func(match []int) bool {
		start := b.Len()
		b.WriteString(input[last:match[0]])
		for _, p := range pieces {
			b.WriteString(p.expand(input, match))
		}
		last = match[1]
		return c.step(1+len(pieces)/4) && c.allocText(b.Len()-start)
	})
	b.WriteString(input[last:])
	return c.text(b.String())
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
