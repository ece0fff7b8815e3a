package feel

import "github.com/underseal/underseal/internal/canon"

// typeRef is a type as the grammar writes it.
type typeRef struct {
	name    string     // "number", "list", "context", "function", "range", ..
	item    *typeRef   // of list and range; result of function
	params  []*typeRef // of function
	entries []entryType
	unknown bool // a name that DMN would define elsewhere
}

type entryType struct {
	name string
	typ  *typeRef
}

var simpleTypes = []string{
	"Any", "Null", "number", "string", "boolean", "date", "time", "date and time",
	"days and time duration", "years and months duration", "list", "context", "function", "range",
}

var typeNames = newNameTable(simpleTypes)

func (p *parser) parseType() *typeRef {
	p.enter()
	defer p.leave(1)
	if p.tok.kind != tokenWord {
		p.fail(p.tok.from, "expected a type, found %s", p.found())
		return &typeRef{}
	}
	name, end := typeNames.match(p.src, p.tok.from)
	if name == "" {
		return p.parseUnknownType()
	}
	p.advance(end)
	t := &typeRef{name: name}
	if !p.isSymbol("<") {
		return t
	}
	switch name {
	case "list", "range":
		p.next()
		t.item = p.parseType()
		p.expect(">")
	case "context":
		p.parseEntryTypes(t)
	case "function":
		p.parseFunctionType(t)
	}
	return t
}

// parseUnknownType reads a name that only a DMN model could define.
func (p *parser) parseUnknownType() *typeRef {
	t := &typeRef{name: p.joinWords(), unknown: true}
	for p.accept(".") {
		if p.tok.kind != tokenWord {
			p.fail(p.tok.from, "expected a type's name after the dot, found %s", p.found())
			break
		}
		t.name += "." + p.joinWords()
	}
	return t
}

func (p *parser) parseEntryTypes(t *typeRef) {
	p.next()
	for !p.isSymbol(">") && p.failure == nil {
		entry := entryType{name: p.parseKey()}
		p.expect(":")
		entry.typ = p.parseType()
		t.entries = append(t.entries, entry)
		if !p.accept(",") {
			break
		}
	}
	p.expect(">")
}

func (p *parser) parseFunctionType(t *typeRef) {
	p.next()
	for !p.isSymbol(">") && p.failure == nil {
		t.params = append(t.params, p.parseType())
		if !p.accept(",") {
			break
		}
	}
	p.expect(">")
	p.expect("->")
	t.item = p.parseType()
}

func (n *instanceNode) eval(m *machine) canon.Value {
	v := m.eval(n.x)
	is, ok := m.instanceOf(v, n.typ)
	if !ok {
		return m.warn(n.at(), "unknown type %q", shorten(n.typ.name))
	}
	return canon.Bool(is)
}

// instanceOf reports whether v conforms to the type; ok is false when the type
// is not known.
func (m *machine) instanceOf(v canon.Value, t *typeRef) (is, ok bool) {
	if t.unknown || !m.step(1) {
		return false, false
	}
	if isNull(v) {
		return t.name == "Null", true
	}
	if t.name == "Any" {
		return true, true
	}
	if typeName(v) != t.name {
		return false, true
	}
	if !m.enter() {
		return false, false
	}
	defer m.leave()
	switch v := v.(type) {
	case canon.List:
		return m.allInstances(v, t.item)
	case *canon.Context:
		return m.contextInstance(v, t)
	case *interval:
		return m.rangeInstance(v, t.item)
	case *function:
		return functionInstance(v, t), true
	}
	return true, true
}

func (m *machine) allInstances(list canon.List, item *typeRef) (is, ok bool) {
	if item == nil || item.name == "Any" {
		return true, true
	}
	for _, v := range list {
		if !m.step(1) {
			return false, false
		}
		if is, ok := m.conforms(v, item); !is || !ok {
			return false, ok
		}
	}
	return true, true
}

// conforms is instanceOf for parts of a value and for arguments, where null
// belongs to every type.
func (m *machine) conforms(v canon.Value, t *typeRef) (is, ok bool) {
	if isNull(v) && !t.unknown {
		return true, true
	}
	return m.instanceOf(v, t)
}

func (m *machine) contextInstance(c *canon.Context, t *typeRef) (is, ok bool) {
	for _, e := range t.entries {
		if !m.step(1 + len(e.name)/64) {
			return false, false
		}
		v, found := c.Get(e.name)
		if !found {
			return false, true
		}
		if is, ok := m.conforms(v, e.typ); !is || !ok {
			return false, ok
		}
	}
	return true, true
}

func (m *machine) rangeInstance(r *interval, item *typeRef) (is, ok bool) {
	if item == nil {
		return true, true
	}
	end := r.low
	if isNull(end) {
		end = r.high
	}
	return m.instanceOf(end, item)
}

// functionInstance compares the number of parameters; parameters without a type
// accept anything and results are not known before a call.
func functionInstance(f *function, t *typeRef) bool {
	if t.item == nil {
		return true
	}
	if f.builtin != nil {
		return f.builtin.takes(len(t.params))
	}
	return len(f.params) == len(t.params)
}
