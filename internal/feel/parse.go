package feel

import (
	"fmt"
	"strings"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

const (
	maxSource = 64 << 10
	// maxNesting bounds the depth of the tree, so that neither the parser nor
	// the evaluator can exhaust the stack. A chain of operators nests too.
	maxNesting = 400
	// maxCompared bounds the search for names: many long names that begin alike
	// are compared at every place where one of them might stand.
	maxCompared = 2_000_000
)

// parser is a recursive descent over the grammar of DMN 1.5, 10.3.1.2. It looks
// one token ahead. After the first failure every token is the end, so all loops
// stop; nodes are never nil.
type parser struct {
	src      string
	tok      token
	names    nameTable
	bound    map[string]int // names bound around this place, counted
	depth    int
	work     int  // names compared so far
	endpoint bool // directly inside the upper end of a range
	usesItem bool // "?" was read since this was last cleared
	unknown  []Call
	failure  error
}

// advance reads the next token from the offset.
func (p *parser) advance(offset int) {
	if p.failure != nil {
		return
	}
	p.tok = scan(p.src, offset)
	if p.tok.kind == tokenBad {
		p.fail(p.tok.from, "%q is no token of FEEL", shorten(p.tok.text))
	}
}

func (p *parser) next() token {
	tok := p.tok
	p.advance(tok.to)
	return tok
}

// fail records the first failure and stops the parser.
func (p *parser) fail(offset int, format string, args ...any) node {
	if p.failure == nil {
		line, column := position(p.src, offset)
		detail := fault.Detail{Place: fmt.Sprintf("%d:%d", line, column), Message: fmt.Sprintf(format, args...)}
		p.failure = fault.New(fault.Invalid, "parse expression %q", shorten(p.src)).WithCode("expression_syntax").WithDetails(detail)
		p.tok = token{kind: tokenEnd, from: len(p.src), to: len(p.src)}
	}
	return constNode{place(offset), canon.Null{}}
}

// shorten cuts a text for a message.
func shorten(text string) string {
	const most = 60
	for i := range text {
		if i > most {
			return text[:i] + "..."
		}
	}
	return text
}

func (p *parser) found() string {
	if p.tok.kind == tokenEnd {
		return "the end"
	}
	return fmt.Sprintf("%q", shorten(p.tok.text))
}

func (p *parser) isSymbol(s string) bool { return p.tok.kind == tokenSymbol && p.tok.text == s }

func (p *parser) isWord(s string) bool { return p.tok.kind == tokenWord && p.tok.text == s }

func (p *parser) accept(symbol string) bool {
	if !p.isSymbol(symbol) {
		return false
	}
	p.next()
	return true
}

func (p *parser) expect(symbol string) {
	if !p.accept(symbol) {
		p.fail(p.tok.from, "expected %q, found %s", symbol, p.found())
	}
}

func (p *parser) acceptWord(word string) bool {
	if !p.isWord(word) {
		return false
	}
	p.next()
	return true
}

func (p *parser) expectWord(word string) {
	if !p.acceptWord(word) {
		p.fail(p.tok.from, "expected %q, found %s", word, p.found())
	}
}

// enter counts one level of the tree; the caller gives it back with leave.
func (p *parser) enter() {
	p.depth++
	if p.depth > maxNesting {
		p.fail(p.tok.from, "nested more than %d deep", maxNesting)
	}
}

func (p *parser) leave(levels int) { p.depth -= levels }

// bind makes a name known until unbind.
func (p *parser) bind(name string) {
	if p.bound == nil {
		p.bound = map[string]int{}
	}
	p.bound[name]++
	p.names.add(name)
}

func (p *parser) unbind(names ...string) {
	for _, name := range names {
		p.bound[name]--
		p.names.remove(name)
	}
}

func (p *parser) parseRoot(unaryTests bool) node {
	var root node
	if unaryTests {
		root = p.parseUnaryTests()
	} else {
		root = p.parseExpression()
	}
	if p.tok.kind != tokenEnd {
		p.fail(p.tok.from, "expected an operator or the end, found %s", p.found())
	}
	return root
}

// parseExpression reads an expression of any kind; brackets inside it are not
// part of a range's end.
func (p *parser) parseExpression() node {
	p.enter()
	defer p.leave(1)
	outer := p.endpoint
	p.endpoint = false
	defer func() { p.endpoint = outer }()
	if p.tok.kind == tokenWord {
		switch p.tok.text {
		case "if":
			return p.parseIf()
		case "for":
			return p.parseFor()
		case "some", "every":
			return p.parseQuantified()
		case "function":
			return p.parseFunction()
		}
	}
	return p.parseLogic(true)
}

// parseLogic reads a chain of "or" (whose items are chains of "and").
func (p *parser) parseLogic(or bool) node {
	word, item := "and", p.parseComparison
	if or {
		word, item = "or", func() node { return p.parseLogic(false) }
	}
	from := p.tok.from
	first := item()
	if !p.isWord(word) {
		return first
	}
	items := []node{first}
	for p.acceptWord(word) {
		items = append(items, item())
	}
	return &logicNode{place(from), or, items}
}

var compareOps = map[string]compareOp{
	"=": opEqual, "!=": opNotEqual, "<": opLess, "<=": opLessEqual, ">": opGreater, ">=": opGreaterEqual,
}

func (p *parser) compareOp() (compareOp, bool) {
	if p.tok.kind != tokenSymbol {
		return 0, false
	}
	op, ok := compareOps[p.tok.text]
	return op, ok
}

func (p *parser) parseComparison() node {
	from := p.tok.from
	x := p.parseAdditive()
	for levels := 0; ; levels++ {
		op, isCompare := p.compareOp()
		switch {
		case isCompare:
			p.next()
			x = &compareNode{place(from), op, x, p.parseAdditive()}
		case p.acceptWord("between"):
			low := p.parseAdditive()
			p.expectWord("and")
			x = &betweenNode{place(from), x, low, p.parseAdditive()}
		case p.acceptWord("in"):
			x = &inNode{place(from), x, p.parseInTests()}
		case p.acceptWord("instance"):
			p.expectWord("of")
			x = &instanceNode{place(from), x, p.parseType()}
		default:
			p.leave(levels)
			return x
		}
		p.enter()
	}
}

var arithOps = map[string]arithOp{"+": opAdd, "-": opSubtract, "*": opMultiply, "/": opDivide, "**": opPower}

// parseBinary reads a left-associative chain of the operators a and b.
func (p *parser) parseBinary(a, b string, operand func() node) node {
	from := p.tok.from
	x := operand()
	levels := 0
	for p.isSymbol(a) || p.isSymbol(b) {
		op := arithOps[p.next().text]
		x = &arithNode{place(from), op, x, operand()}
		p.enter()
		levels++
	}
	p.leave(levels)
	return x
}

func (p *parser) parseAdditive() node { return p.parseBinary("+", "-", p.parseMultiplicative) }

func (p *parser) parseMultiplicative() node { return p.parseBinary("*", "/", p.parsePower) }

func (p *parser) parsePower() node { return p.parseBinary("**", "**", p.parseNegation) }

func (p *parser) parseNegation() node {
	if !p.isSymbol("-") {
		return p.parsePostfix()
	}
	p.enter()
	defer p.leave(1)
	from := p.next().from
	return &negNode{place(from), p.parseNegation()}
}

// parsePostfix reads a primary followed by paths, filters and calls.
func (p *parser) parsePostfix() node {
	from := p.tok.from
	x := p.parsePrimary()
	for levels := 0; ; levels++ {
		switch {
		case p.isSymbol("."):
			p.next()
			x = &pathNode{place(from), x, p.parseMember()}
		case p.isSymbol("[") && !(p.endpoint && p.closesRange()):
			p.next()
			cond := p.parseExpression()
			p.expect("]")
			x = &filterNode{place(from), x, cond}
		case p.isSymbol("("):
			x = p.parseCall(from, x)
		default:
			p.leave(levels)
			return x
		}
		p.enter()
	}
}

// closesRange tells "[1..10[" from a filter at the upper end of a range: what
// follows a closing bracket cannot begin an expression.
func (p *parser) closesRange() bool {
	after := scan(p.src, p.tok.to)
	switch after.kind {
	case tokenEnd:
		return true
	case tokenWord:
		switch after.text {
		case "and", "or", "then", "else", "return", "satisfies", "in", "between", "instance":
			return true
		}
		return false
	case tokenSymbol:
		return after.text != "(" && after.text != "[" && after.text != "{" && after.text != "-" && after.text != "@"
	}
	return false
}

func (p *parser) parseIf() node {
	from := p.next().from
	cond := p.parseExpression()
	p.expectWord("then")
	then := p.parseExpression()
	p.expectWord("else")
	return &ifNode{place(from), cond, then, p.parseExpression()}
}

func (p *parser) parseFor() node {
	from := p.next().from
	iterations, names := p.parseIterations()
	p.expectWord("return")
	names = append(names, "partial")
	p.bind("partial")
	body := p.parseExpression()
	p.unbind(names...)
	return &forNode{place(from), iterations, body}
}

func (p *parser) parseQuantified() node {
	tok := p.next()
	iterations, names := p.parseIterations()
	p.expectWord("satisfies")
	cond := p.parseExpression()
	p.unbind(names...)
	return &quantNode{place(tok.from), tok.text == "every", iterations, cond}
}

// parseIterations reads "a in x, b in 1..n"; each name is bound for what
// follows it, and the caller unbinds them.
func (p *parser) parseIterations() (list []iteration, names []string) {
	for {
		it := iteration{name: p.parseBoundName("in")}
		p.expectWord("in")
		it.from = p.parseExpression()
		if p.accept("..") {
			it.to = p.parseExpression()
		}
		p.bind(it.name)
		list, names = append(list, it), append(names, it.name)
		if !p.accept(",") {
			return list, names
		}
	}
}

// parseBoundName reads a name that is being declared, up to the keyword.
func (p *parser) parseBoundName(until string) string {
	name, end := p.declaredName(until)
	if name == "" {
		p.fail(p.tok.from, "expected a name, found %s", p.found())
		return ""
	}
	p.advance(end)
	return name
}

// declaredName looks ahead for a name where none is known yet, and returns where
// it ends: all words, numbers and symbols that names may hold, up to the keyword
// if there is one. In "check-in in" the first "in" belongs to the name.
func (p *parser) declaredName(until string) (name string, end int) {
	from, to := p.tok.from, p.tok.from
	for tok := p.tok; tok.kind == tokenWord || to > from && continuesName(tok); tok = scan(p.src, to) {
		if tok.text == until && (to == from || to < tok.from) {
			break
		}
		to = tok.to
	}
	return normalName(p.src[from:to]), to
}

// continuesName reports whether the token, which is no word, may stand inside a
// name: a number, or the symbols of rule 30.
func continuesName(tok token) bool {
	return tok.kind == tokenNumber || tok.kind != tokenEnd && strings.Trim(tok.text, "./-'+*") == ""
}

func (p *parser) parseFunction() node {
	from := p.next().from
	p.expect("(")
	var params []param
	var names []string
	for !p.isSymbol(")") && p.failure == nil {
		prm := param{name: p.parseBoundName("")}
		if p.accept(":") {
			prm.typ = p.parseType()
		}
		params, names = append(params, prm), append(names, prm.name)
		if !p.accept(",") {
			break
		}
	}
	p.expect(")")
	if p.isWord("external") {
		return p.fail(p.tok.from, "external functions are not supported: write the body in FEEL")
	}
	for _, name := range names {
		p.bind(name)
	}
	body := p.parseExpression()
	p.unbind(names...)
	return &functionNode{place(from), params, body}
}
