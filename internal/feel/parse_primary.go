package feel

import (
	"github.com/underseal/underseal/internal/canon"
)

// parsePrimary reads a literal, a name or something in brackets.
func (p *parser) parsePrimary() node {
	tok := p.tok
	switch tok.kind {
	case tokenNumber:
		p.next()
		return p.numberLiteral(tok)
	case tokenString:
		p.next()
		return constNode{place(tok.from), canon.String(p.stringLiteral(tok))}
	case tokenWord:
		return p.parseNamed()
	case tokenSymbol:
		switch tok.text {
		case "(":
			return p.parseParenthesis()
		case "[":
			return p.parseList()
		case "]":
			p.next()
			return p.parseRange(tok.from, p.parseExpression(), false)
		case "{":
			return p.parseContext()
		case "@":
			return p.parseAt()
		}
	}
	return p.fail(tok.from, "expected an expression, found %s", p.found())
}

func (p *parser) numberLiteral(tok token) node {
	n, err := parseDecimal(tok.text)
	if err != nil {
		return p.fail(tok.from, "number out of range")
	}
	return constNode{place(tok.from), n}
}

func (p *parser) stringLiteral(tok token) string {
	text, ok := unquote(tok.text)
	if !ok {
		p.fail(tok.from, "string holds an escape that is no character")
	}
	return text
}

// parseAt reads @"2026-11-21" and its like. A text that is no temporal value is
// null, like every error of evaluation.
func (p *parser) parseAt() node {
	from := p.next().from
	tok := p.tok
	if tok.kind != tokenString {
		return p.fail(tok.from, "expected a string after @, found %s", p.found())
	}
	p.next()
	value, ok := parseTemporal(p.stringLiteral(tok))
	if !ok {
		return &badLiteral{place(from)}
	}
	if zone := zoneName(value); zone != "" {
		return &zonedNode{place(from), value, zone}
	}
	return constNode{place(from), value}
}

// parseNamed reads a word that is a literal or begins a name.
func (p *parser) parseNamed() node {
	tok := p.tok
	name, end, fromBuiltins := p.knownName(tok.from)
	if name == "" || name == tok.text {
		switch tok.text {
		case "true", "false":
			p.next()
			return constNode{place(tok.from), canon.Bool(tok.text == "true")}
		case "null":
			p.next()
			return constNode{place(tok.from), canon.Null{}}
		}
		if keywords[tok.text] && name == "" {
			return p.fail(tok.from, "expected an expression, found %s", p.found())
		}
	}
	if name == "" || fromBuiltins && p.wordFollows(end) {
		name = p.joinWords()
	} else {
		p.advance(end)
	}
	if name == "?" {
		p.usesItem = true
	}
	return &nameNode{place(tok.from), name, builtins[name]}
}

// knownName returns the longest name known at the offset, and whether it is
// known as a built-in function only: "date of birth" is then another name.
func (p *parser) knownName(offset int) (name string, end int, fromBuiltins bool) {
	name, end = p.matchName(offset)
	if builtin, builtinEnd := builtinNames.match(p.src, offset); builtinEnd > end {
		return builtin, builtinEnd, true
	}
	return name, end, false
}

// wordFollows reports whether a word that is no keyword comes next.
func (p *parser) wordFollows(offset int) bool {
	after := scan(p.src, offset)
	return after.kind == tokenWord && !keywords[after.text]
}

func (p *parser) matchName(offset int) (name string, end int) {
	if p.work += p.names.candidates(p.src, offset); p.work > maxCompared {
		p.fail(offset, "too many names begin alike")
		return "", offset
	}
	return p.names.match(p.src, offset)
}

// joinWords takes the words that stand side by side for one name: two names
// without an operator between them could be nothing else.
func (p *parser) joinWords() string {
	from := p.tok.from
	to := p.next().to
	for p.tok.kind == tokenWord && !keywords[p.tok.text] {
		to = p.next().to
	}
	return normalName(p.src[from:to])
}

// parseMember reads the name after a dot, which may be a keyword.
func (p *parser) parseMember() string {
	if p.tok.kind != tokenWord {
		p.fail(p.tok.from, "expected a name after the dot, found %s", p.found())
		return ""
	}
	name, end := p.matchName(p.tok.from)
	if joined := p.joinWords(); len(joined) >= len(name) {
		return joined
	}
	p.advance(end)
	return name
}

// parseParenthesis reads (x), (low..high) and (< x).
func (p *parser) parseParenthesis() node {
	from := p.next().from
	if op, ok := p.compareOp(); ok {
		x := p.parseOneSided(op)
		p.expect(")")
		return x
	}
	x := p.parseExpression()
	if p.isSymbol("..") {
		return p.parseRange(from, x, false)
	}
	p.expect(")")
	return x
}

// parseItem reads an item of a list, an entry's value or an argument. There "< 5"
// is a range; where a condition is expected it would be a slip that is never true.
func (p *parser) parseItem() node {
	if op, ok := p.compareOp(); ok {
		return p.parseOneSided(op)
	}
	return p.parseExpression()
}

// parseOneSided reads "< x", a range with one end.
func (p *parser) parseOneSided(op compareOp) node {
	from := p.next().from
	return &unaryNode{place(from), op, p.parseOperand()}
}

// parseOperand reads an arithmetic expression in its own brackets' rules.
func (p *parser) parseOperand() node {
	p.enter()
	defer p.leave(1)
	outer := p.endpoint
	p.endpoint = false
	defer func() { p.endpoint = outer }()
	return p.parseAdditive()
}

// parseRange reads what follows the lower end of a range.
func (p *parser) parseRange(from int, low node, included bool) node {
	p.enter()
	defer p.leave(1)
	p.expect("..")
	outer := p.endpoint
	p.endpoint = true
	high := p.parseAdditive()
	p.endpoint = outer
	switch {
	case p.accept("]"):
		return &rangeNode{place(from), low, high, included, true}
	case p.accept(")"), p.accept("["):
		return &rangeNode{place(from), low, high, included, false}
	}
	return p.fail(p.tok.from, "expected the end of the range, found %s", p.found())
}

func (p *parser) parseList() node {
	from := p.next().from
	if p.accept("]") {
		return &listNode{place(from), nil}
	}
	first := p.parseItem()
	if p.isSymbol("..") {
		return p.parseRange(from, first, true)
	}
	items := []node{first}
	for p.accept(",") {
		items = append(items, p.parseItem())
	}
	p.expect("]")
	return &listNode{place(from), items}
}

// parseContext reads {name: value, ..}; each entry sees the ones before it.
func (p *parser) parseContext() node {
	c := &contextNode{place: place(p.next().from)}
	var names []string
	for !p.isSymbol("}") && p.failure == nil {
		from := p.tok.from
		name := p.parseKey()
		for _, other := range names {
			if other == name {
				return p.fail(from, "the entry %q appears twice", shorten(name))
			}
		}
		p.expect(":")
		c.entries = append(c.entries, entryNode{name, p.parseItem()})
		names = append(names, name)
		p.bind(name)
		if !p.accept(",") {
			break
		}
	}
	p.expect("}")
	p.unbind(names...)
	return c
}

// parseKey reads the key of a context entry: a string or a name.
func (p *parser) parseKey() string {
	if p.tok.kind == tokenString {
		return p.stringLiteral(p.next())
	}
	name, end := p.declaredName("")
	if name == "" {
		p.fail(p.tok.from, "expected a name or a string, found %s", p.found())
		return ""
	}
	p.advance(end)
	return name
}
