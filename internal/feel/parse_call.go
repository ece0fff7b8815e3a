package feel

import "strings"

// parseCall reads the arguments of a call of x.
func (p *parser) parseCall(from int, x node) node {
	p.expect("(")
	args, names := p.parseArguments()
	call := &callNode{place: place(from), fn: x, args: args, names: names}
	callee, isName := x.(*nameNode)
	if !isName || p.bound[callee.name] > 0 {
		return call
	}
	if callee.fn == nil {
		line, column := position(p.src, callee.at())
		p.unknown = append(p.unknown, Call{callee.name, line, column})
		return call
	}
	call.builtin = callee.fn
	call.form, call.args = callee.fn.choose(args, names)
	return call
}

// parseArguments reads up to the closing parenthesis. names is nil when the
// arguments are positional.
func (p *parser) parseArguments() (args []node, names []string) {
	for !p.isSymbol(")") && p.failure == nil {
		if name, end := p.argumentName(); name != "" {
			if len(names) < len(args) {
				p.fail(p.tok.from, "named and positional arguments are mixed")
			}
			names = append(names, name)
			p.advance(end)
		} else if len(names) > 0 {
			p.fail(p.tok.from, "named and positional arguments are mixed")
		}
		args = append(args, p.parseItem())
		if !p.accept(",") {
			break
		}
	}
	p.expect(")")
	return args, names
}

// argumentName looks ahead for "name :" and returns the name and the offset
// behind the colon.
func (p *parser) argumentName() (name string, end int) {
	name, to := p.declaredName("")
	after := scan(p.src, to)
	if name == "" || after.kind != tokenSymbol || after.text != ":" {
		return "", 0
	}
	return name, after.to
}

// parseUnaryTests reads "-", "not(tests)" or tests.
func (p *parser) parseUnaryTests() node {
	t := &testsNode{place: place(p.tok.from)}
	if p.isSymbol("-") && scan(p.src, p.tok.to).kind == tokenEnd {
		p.next()
		t.any = true
		return t
	}
	if after := scan(p.src, p.tok.to); p.isWord("not") && after.kind == tokenSymbol && after.text == "(" && p.notSpansAll(after) {
		p.next()
		p.next()
		t.not = true
		t.tests = asTests(p.parseTests())
		p.expect(")")
		return t
	}
	t.tests = asTests(p.parseTests())
	return t
}

// asTests makes an expression that is true or false by its form the outcome of
// a test, where any other is compared with the input.
func asTests(tests []node) []node {
	for i, t := range tests {
		switch t.(type) {
		case *compareNode, *logicNode, *betweenNode, *inNode, *instanceNode, *quantNode:
			tests[i] = &inputNode{place(t.at()), t}
		}
	}
	return tests
}

// notSpansAll reports whether the parenthesis closes at the very end: in
// "not(a), b" or "not(a) and b" the word not is the built-in function.
func (p *parser) notSpansAll(open token) bool {
	depth := 0
	for tok := open; ; tok = scan(p.src, tok.to) {
		switch {
		case tok.kind == tokenEnd || tok.kind == tokenBad:
			return false
		case tok.kind == tokenSymbol && strings.Contains("([{", tok.text):
			depth++
		case tok.kind == tokenSymbol && strings.Contains(")]}", tok.text):
			depth--
			if depth == 0 {
				return scan(p.src, tok.to).kind == tokenEnd
			}
		}
	}
}

func (p *parser) parseTests() []node {
	tests := []node{p.parseTest()}
	for p.accept(",") {
		tests = append(tests, p.parseTest())
	}
	return tests
}

// parseTest reads a positive unary test.
func (p *parser) parseTest() node {
	if op, ok := p.compareOp(); ok {
		return p.parseOneSided(op)
	}
	from := p.tok.from
	outer := p.usesItem
	p.usesItem = false
	x := p.parseExpression()
	if p.usesItem {
		x = &inputNode{place(from), x}
	}
	p.usesItem = p.usesItem || outer
	return x
}

// parseInTests reads what follows "in": one test, or several in parentheses.
func (p *parser) parseInTests() []node {
	if !p.isSymbol("(") {
		return []node{p.parseInTest()}
	}
	from := p.next().from
	first := p.parseTest()
	if p.isSymbol("..") {
		return []node{p.parseRange(from, first, false)}
	}
	tests := []node{first}
	for p.accept(",") {
		tests = append(tests, p.parseTest())
	}
	p.expect(")")
	return tests
}

func (p *parser) parseInTest() node {
	if op, ok := p.compareOp(); ok {
		return p.parseOneSided(op)
	}
	return p.parseAdditive()
}
