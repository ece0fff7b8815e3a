package feel

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxPattern = 1000
	maxClasses = 50 // nested character classes
	// maxPatternSize bounds what repetitions may make of a pattern, in words.
	maxPatternSize = 200_000
)

// pattern is a compiled regular expression. nodes is an estimate of the work
// per character of the input; begins says that it looks for a beginning of the
// text or of a line.
type pattern struct {
	re     *regexp.Regexp
	nodes  int
	begins bool
}

// nodeSize is about what a node of a pattern takes, in bytes.
const nodeSize = 200

// compilePattern translates a regular expression of XPath 3.1 (section 5.6.1)
// into Go's syntax. What Go's engine cannot do (back-references) and what is no
// XPath (look-around, \b) is refused; problem then says what. The bytes it takes
// are charged before.
func compilePattern(src, flags string, alloc func(bytes int) bool) (p pattern, problem string) {
	if len(src) > maxPattern {
		return p, fmt.Sprintf("the pattern is longer than %d bytes", maxPattern)
	}
	t := translator{src: src, alloc: alloc}
	for _, flag := range flags {
		switch flag {
		case 's', 'm', 'i':
			t.flags += string(flag)
			t.fold = t.fold || flag == 'i'
		case 'x':
			t.extended = true
		case 'q':
			t.literal = true
		default:
			return p, "flags are s, m, i, x and q"
		}
	}
	text := regexp.QuoteMeta(src)
	if !t.literal {
		if text = t.translate(); t.problem != "" {
			return p, t.problem
		}
	}
	if t.flags != "" {
		text = "(?" + t.flags + ")" + text
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return p, "the pattern is not valid"
	}
	size, nodes := measure(tree)
	if size > maxPatternSize {
		return p, "the pattern is too large when its repetitions are written out"
	}
	if !alloc(nodes * (nodeSize + 16*tree.MaxCap())) {
		return p, "the pattern is too large"
	}
	p.nodes, p.begins = nodes, begins(tree)
	if p.re, err = regexp.Compile(text); err != nil {
		return p, "the pattern is not valid"
	}
	return p, ""
}

// measure estimates what a pattern becomes when it is compiled: counted
// repetitions are written out.
func measure(tree *syntax.Regexp) (size, nodes int) {
	size, nodes = 4+len(tree.Rune), 1
	for _, sub := range tree.Sub {
		s, n := measure(sub)
		size, nodes = size+s, nodes+n
	}
	if tree.Op == syntax.OpLiteral {
		nodes = len(tree.Rune)
	}
	if tree.Op == syntax.OpRepeat {
		times := max(tree.Min, tree.Max, 1)
		size, nodes = times*size, times*nodes
	}
	return min(size, 2*maxPatternSize), min(nodes, 2*maxPatternSize)
}

func begins(tree *syntax.Regexp) bool {
	return tree.Op == syntax.OpBeginText || tree.Op == syntax.OpBeginLine || slices.ContainsFunc(tree.Sub, begins)
}

// translator rewrites a pattern token by token.
type translator struct {
	src      string
	out      strings.Builder
	flags    string
	fold     bool
	extended bool
	literal  bool
	depth    int
	problem  string
	alloc    func(bytes int) bool
}

func (t *translator) fail(problem string) string {
	if t.problem == "" {
		t.problem = problem
	}
	t.src = ""
	return ""
}

func (t *translator) translate() string {
	if t.extended {
		t.src = stripSpace(t.src)
	}
	for t.src != "" {
		switch {
		case t.src[0] == '\\':
			t.out.WriteString(t.escape())
		case t.src[0] == '[':
			t.out.WriteString(t.class())
		case strings.HasPrefix(t.src, "(?") && !strings.HasPrefix(t.src, "(?:"):
			t.fail("the pattern has a group that XPath does not know")
		default:
			_, size := utf8.DecodeRuneInString(t.src)
			t.out.WriteString(t.src[:size])
			t.src = t.src[size:]
		}
	}
	return t.out.String()
}

// stripSpace removes white space outside character classes (flag x).
func stripSpace(src string) string {
	var b strings.Builder
	depth, escaped := 0, false
	for _, r := range src {
		switch {
		case strings.ContainsRune(" \t\n\r", r):
			if depth == 0 {
				continue
			}
			escaped = false
		case escaped:
			escaped = false
		case r == '\\':
			escaped = true
		case r == '[':
			depth++
		case r == ']' && depth > 0:
			depth--
		}
		b.WriteRune(r)
	}
	return b.String()
}

// The multi-character escapes of XML Schema, as members of a Go class.
var classEscapes = map[byte]string{
	'd': `\p{Nd}`, 'D': `\P{Nd}`,
	's': ` \t\n\r`, 'S': `\x00-\x08\x0b\x0c\x0e-\x1f\x21-\x{10ffff}`,
	'w': `\p{L}\p{M}\p{N}\p{S}`, 'W': `\p{P}\p{Z}\p{C}`,
	'i': `\p{L}_:`,
	'c': `\p{L}\p{Nd}\-._:`,
}

// escape takes one escape off the source and returns it outside a class.
func (t *translator) escape() string {
	member := t.member()
	if len(member) == 2 && member[0] == '\\' {
		return member
	}
	return "[" + member + "]"
}

// member takes one escape off the source and returns it for use in a class.
func (t *translator) member() string {
	if len(t.src) < 2 {
		return t.fail("the pattern ends with a backslash")
	}
	c := t.src[1]
	if c == 'p' || c == 'P' {
		return t.property()
	}
	t.src = t.src[2:]
	if strings.IndexByte("dDsSwWic", c) >= 0 {
		return classEscapes[c]
	}
	if strings.IndexByte(`nrt\|.?*+(){}-[]^$`, c) >= 0 {
		return `\` + string(c)
	}
	return t.fail("the pattern has an escape that is not supported")
}

// blocks are the Unicode blocks that \p{Is..} may name.
var blocks = map[string]string{
	"BasicLatin": `\x00-\x7f`, "Latin-1Supplement": `\x{80}-\x{ff}`, "LatinExtended-A": `\x{100}-\x{17f}`,
	"LatinExtended-B": `\x{180}-\x{24f}`, "IPAExtensions": `\x{250}-\x{2af}`, "Greek": `\x{370}-\x{3ff}`,
	"GreekandCoptic": `\x{370}-\x{3ff}`, "Cyrillic": `\x{400}-\x{4ff}`, "Armenian": `\x{530}-\x{58f}`,
	"Hebrew": `\x{590}-\x{5ff}`, "Arabic": `\x{600}-\x{6ff}`, "Devanagari": `\x{900}-\x{97f}`, "Thai": `\x{e00}-\x{e7f}`,
	"Hiragana": `\x{3040}-\x{309f}`, "Katakana": `\x{30a0}-\x{30ff}`, "HangulSyllables": `\x{ac00}-\x{d7a3}`,
	"CJKUnifiedIdeographs": `\x{4e00}-\x{9fff}`, "GeneralPunctuation": `\x{2000}-\x{206f}`, "CurrencySymbols": `\x{20a0}-\x{20cf}`,
}

// property takes \p{..} or \P{..} off the source.
func (t *translator) property() string {
	end := strings.IndexByte(t.src, '}')
	if end < 0 || t.src[2] != '{' {
		return t.fail("the pattern has a property without braces")
	}
	negated, name := t.src[1] == 'P', t.src[3:end]
	t.src = t.src[end+1:]
	if _, known := unicode.Categories[name]; known && len(name) <= 2 {
		if negated {
			return `\P{` + name + `}`
		}
		return `\p{` + name + `}`
	}
	block, isBlock := strings.CutPrefix(name, "Is")
	members, known := blocks[block]
	if !isBlock || !known {
		return t.fail("the pattern names an unknown property")
	}
	if negated {
		return classText(without(everyRune, runesOf("["+members+"]", false)))
	}
	return members
}

// class takes a character class off the source, with what it subtracts.
func (t *translator) class() string {
	if t.depth++; t.depth > maxClasses {
		return t.fail("the pattern nests too many classes")
	}
	defer func() { t.depth-- }()
	members, subtracted := t.classParts()
	if t.problem != "" || subtracted == "" {
		return members
	}
	left, right := runesOf(members, t.fold), runesOf(subtracted, t.fold)
	if !t.alloc(2 * len(left) * len(right)) {
		return t.fail("the pattern is too large")
	}
	rest := classText(without(left, right))
	if rest == "" {
		return `[^\x00-\x{10ffff}]`
	}
	return "(?-i:[" + rest + "])"
}

// classParts returns the class without its subtraction, and the subtracted one.
func (t *translator) classParts() (members, subtracted string) {
	var b strings.Builder
	b.WriteByte('[')
	t.src = t.src[1:]
	if strings.HasPrefix(t.src, "^") {
		b.WriteByte('^')
		t.src = t.src[1:]
	}
	if strings.HasPrefix(t.src, "]") {
		return t.fail("the pattern has an empty class"), ""
	}
	for t.src != "" {
		switch {
		case t.src[0] == ']':
			t.src = t.src[1:]
			b.WriteByte(']')
			return b.String(), subtracted
		case strings.HasPrefix(t.src, "-["):
			t.src = t.src[1:]
			subtracted = t.class()
		case t.src[0] == '[':
			t.fail("the pattern has a bracket in a class")
		case t.src[0] == '\\':
			b.WriteString(t.member())
		default:
			_, size := utf8.DecodeRuneInString(t.src)
			b.WriteString(t.src[:size])
			t.src = t.src[size:]
		}
	}
	return t.fail("the pattern has a class without end"), ""
}

var everyRune = []rune{0, unicode.MaxRune}

// runesOf returns the pairs of first and last rune of a class, nil if it is not
// valid.
func runesOf(class string, fold bool) []rune {
	flags := syntax.Perl
	if fold {
		flags |= syntax.FoldCase
	}
	re, err := syntax.Parse(class, flags)
	if err != nil {
		return nil
	}
	switch re.Op {
	case syntax.OpCharClass:
		return re.Rune
	case syntax.OpLiteral:
		return foldedLiteral(re)
	case syntax.OpAnyChar:
		return everyRune
	}
	return nil
}

// foldedLiteral returns a class of one letter, which the parser made a literal.
func foldedLiteral(re *syntax.Regexp) []rune {
	first := re.Rune[0]
	pairs := []rune{first, first}
	if re.Flags&syntax.FoldCase != 0 {
		for r := unicode.SimpleFold(first); r != first; r = unicode.SimpleFold(r) {
			pairs = append(pairs, r, r)
		}
	}
	return pairs
}

// without subtracts pairs from pairs.
func without(pairs, subtracted []rune) []rune {
	for i := 0; i+1 < len(subtracted); i += 2 {
		low, high := subtracted[i], subtracted[i+1]
		var rest []rune
		for j := 0; j+1 < len(pairs); j += 2 {
			from, to := pairs[j], pairs[j+1]
			if from < low {
				rest = append(rest, from, min(to, low-1))
			}
			if to > high {
				rest = append(rest, max(from, high+1), to)
			}
		}
		pairs = rest
	}
	return pairs
}

func classText(pairs []rune) string {
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(&b, `\x{%x}-\x{%x}`, pairs[i], pairs[i+1])
	}
	return b.String()
}
