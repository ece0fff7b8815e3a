package feel

import (
	"strings"

	"github.com/cockroachdb/apd/v3"

	"github.com/underseal/underseal/internal/canon"
)

// builtin is a built-in function: one or more forms of one name.
type builtin struct {
	name  string
	forms []*form
}

// form is one list of parameters of a built-in and the code for it.
type form struct {
	signature string
	formals   []formal
	required  int
	variadic  bool // the one parameter takes a list, or all arguments
	run       func(c *call) canon.Value
}

// formal is a parameter of a form.
type formal struct {
	name     string
	kind     string // a FEEL type, "Any", "date" (also date and time), "duration"
	optional bool
	nullable bool
}

// call is what a built-in gets: checked arguments, nil where one was left out.
type call struct {
	*machine
	at   int
	name string
	args []canon.Value
}

// newForm reads a signature: name(param: type, optional?: type). A type with
// "?" takes null too, and "list..." makes the function variadic.
func newForm(signature string, run func(c *call) canon.Value) (name string, f *form) {
	name, rest, _ := strings.Cut(signature, "(")
	f = &form{signature: signature, run: run}
	rest = strings.TrimSuffix(rest, ")")
	if rest == "" {
		return name, f
	}
	for _, text := range strings.Split(rest, ", ") {
		param, kind, _ := strings.Cut(text, ": ")
		p := formal{}
		p.kind, p.nullable = strings.CutSuffix(kind, "?")
		param, f.variadic = strings.CutSuffix(param, "...")
		p.name, p.optional = strings.CutSuffix(param, "?")
		if !p.optional {
			f.required++
		}
		f.formals = append(f.formals, p)
	}
	return name, f
}

func (f *form) takes(arguments int) bool {
	return arguments >= f.required && (arguments <= len(f.formals) || f.variadic)
}

func (b *builtin) takes(arguments int) bool {
	for _, f := range b.forms {
		if f.takes(arguments) {
			return true
		}
	}
	return false
}

// choose picks the form for the arguments and puts named ones in its order,
// nil where one is left out. No form means that none takes them.
func (b *builtin) choose(args []node, names []string) (*form, []node) {
	for _, f := range b.forms {
		if names == nil && f.takes(len(args)) {
			return f, args
		}
		if ordered, ok := f.order(args, names); ok && names != nil {
			return f, ordered
		}
	}
	return nil, args
}

func (f *form) order(args []node, names []string) ([]node, bool) {
	ordered := make([]node, len(f.formals))
	for i, name := range names {
		at := f.index(name)
		if at < 0 || ordered[at] != nil {
			return nil, false
		}
		ordered[at] = args[i]
	}
	for i, formal := range f.formals {
		if ordered[i] == nil && !formal.optional {
			return nil, false
		}
	}
	return ordered, true
}

func (f *form) index(name string) int {
	for i, formal := range f.formals {
		if formal.name == name {
			return i
		}
	}
	return -1
}

func (n *callNode) eval(m *machine) canon.Value {
	if n.builtin == nil {
		return n.evalDynamic(m)
	}
	if n.form == nil {
		return m.warn(n.at(), "no form of %q takes these arguments", n.builtin.name)
	}
	args := make([]canon.Value, len(n.args))
	for i, arg := range n.args {
		if arg != nil {
			args[i] = m.eval(arg)
		}
	}
	return m.invokeBuiltin(n.at(), n.builtin, n.form, args, n.names != nil)
}

// evalDynamic calls the function that an expression evaluates to.
func (n *callNode) evalDynamic(m *machine) canon.Value {
	f, ok := m.eval(n.fn).(*function)
	if !ok {
		return m.warn(n.at(), "what is called is not a function")
	}
	nodes := n.args
	if n.names != nil {
		if nodes, ok = f.orderArgs(n.args, n.names); !ok {
			return m.warn(n.at(), "the function has other parameters")
		}
	}
	args := make([]canon.Value, len(nodes))
	for i, arg := range nodes {
		args[i] = m.eval(arg)
	}
	return m.invoke(n.at(), f, args)
}

// orderArgs puts named arguments in the order of the parameters.
func (f *function) orderArgs(args []node, names []string) ([]node, bool) {
	if f.builtin != nil {
		form, ordered := f.builtin.choose(args, names)
		for _, arg := range ordered {
			if arg == nil {
				return nil, false
			}
		}
		return ordered, form != nil
	}
	if len(args) != len(f.params) {
		return nil, false
	}
	ordered := make([]node, len(args))
	for i, p := range f.params {
		for j, name := range names {
			if name == p.name {
				ordered[i] = args[j]
			}
		}
		if ordered[i] == nil {
			return nil, false
		}
	}
	return ordered, true
}

// invoke calls a function value.
func (m *machine) invoke(at int, f *function, args []canon.Value) canon.Value {
	if f.builtin != nil {
		for _, form := range f.builtin.forms {
			if form.takes(len(args)) {
				return m.invokeBuiltin(at, f.builtin, form, args, false)
			}
		}
		return m.warn(at, "no form of %q takes %d arguments", f.builtin.name, len(args))
	}
	if len(args) != len(f.params) {
		return m.warn(at, "the function takes %d arguments, not %d", len(f.params), len(args))
	}
	if !m.enter() {
		return canon.Null{}
	}
	outer := m.frame
	defer func() { m.frame = outer; m.leave() }()
	inner := f.env
	for i, p := range f.params {
		v, ok := m.coerce(at, p, args[i])
		if !ok {
			return canon.Null{}
		}
		inner = &frame{parent: inner, name: p.name, value: v}
	}
	m.frame = inner
	return m.eval(f.body)
}

// coerce fits an argument to its parameter's type (DMN 1.5, 10.3.2.9.4).
func (m *machine) coerce(at int, p param, v canon.Value) (canon.Value, bool) {
	if p.typ == nil || p.typ.unknown {
		return v, true
	}
	for _, candidate := range []canon.Value{v, single(v), listOf(v)} {
		if is, ok := m.conforms(candidate, p.typ); ok && is {
			return candidate, true
		}
	}
	m.warn(at, "the argument %q is a %s, not a %s", shorten(p.name), typeName(v), p.typ.name)
	return nil, false
}

func (n *functionNode) eval(m *machine) canon.Value {
	if m.keep(); !m.alloc(frameSize) {
		return canon.Null{}
	}
	return &function{params: n.params, body: n.body, env: m.frame}
}

// invokeBuiltin runs a form with arguments in its order. Positional arguments
// that do not fit are tried with the other forms of the name.
func (m *machine) invokeBuiltin(at int, b *builtin, f *form, args []canon.Value, named bool) canon.Value {
	for _, arg := range args {
		if s, isString := arg.(canon.String); isString && !m.step(len(s)/128) {
			return canon.Null{}
		}
	}
	fitted, misfit := f.fit(args)
	if misfit < 0 {
		return f.run(&call{m, at, b.name, fitted})
	}
	for _, other := range b.forms {
		if !named && other != f && other.takes(len(args)) {
			if fitted, no := other.fit(args); no < 0 {
				return other.run(&call{m, at, b.name, fitted})
			}
		}
	}
	p := f.formals[misfit]
	return m.warn(at, "%s: %q is a %s, not a %s", b.name, p.name, typeName(fitted[misfit]), p.kind)
}

// fit returns the arguments as the form's code takes them, and the index of the
// first that does not fit, or -1.
func (f *form) fit(args []canon.Value) (fitted []canon.Value, misfit int) {
	fitted = make([]canon.Value, len(f.formals))
	copy(fitted, f.collect(args))
	for i, p := range f.formals {
		v, ok := fit(fitted[i], p)
		if !ok {
			return fitted, i
		}
		fitted[i] = v
	}
	return fitted, -1
}

// collect puts the arguments of a variadic form into lists. One that takes
// lists collects lists; any other takes a single list for the arguments.
func (f *form) collect(args []canon.Value) []canon.Value {
	last := len(f.formals) - 1
	if !f.variadic || len(args) <= last {
		return args
	}
	rest := canon.List(args[last:])
	if f.formals[last].kind == "list" {
		lists := make(canon.List, len(rest))
		for i, arg := range rest {
			if isNull(arg) {
				return []canon.Value{canon.Null{}}
			}
			lists[i] = listOf(arg)
		}
		rest = lists
	} else if last == 0 && len(rest) == 1 {
		if _, isList := rest[0].(canon.List); isList || isNull(rest[0]) {
			return args
		}
	}
	return append(args[:last:last], rest)
}

// fit checks an argument against a parameter of a built-in, and takes it out of
// or puts it into a list of one where that makes it fit.
func fit(v canon.Value, p formal) (canon.Value, bool) {
	if v == nil && p.optional {
		return nil, true
	}
	if isNull(v) {
		return canon.Null{}, p.nullable || p.kind == "Any"
	}
	if isKind(v, p.kind) {
		return v, true
	}
	if p.kind == "list" {
		return canon.List{v}, true
	}
	one := single(v)
	return one, !isNull(one) && isKind(one, p.kind)
}

func isKind(v canon.Value, kind string) bool {
	switch v.(type) {
	case canon.Number:
		return kind == "number" || kind == "Any"
	case canon.String:
		return kind == "string" || kind == "Any"
	case canon.List:
		return kind == "list" || kind == "Any"
	}
	name := typeName(v)
	switch kind {
	case "Any":
		return true
	case "date":
		return name == "date" || name == "date and time"
	}
	return name == kind
}

// has reports whether an argument was given and is not null.
func (c *call) has(i int) bool { return !isNull(c.args[i]) }

// num returns argument i, which the signature says is a number.
func (c *call) num(i int) *apd.Decimal {
	n, _ := c.args[i].(canon.Number)
	return n.Decimal()
}

// str returns argument i, "" if it was left out.
func (c *call) str(i int) string {
	s, _ := c.args[i].(canon.String)
	return string(s)
}

func (c *call) list(i int) canon.List {
	list, _ := c.args[i].(canon.List)
	return list
}

// fail is the null of a built-in that cannot compute a value.
func (c *call) fail(format string, args ...any) canon.Value {
	return c.warn(c.at, c.name+": "+format, args...)
}

// number returns a computed decimal.
func (c *call) number(d *apd.Decimal, err error) canon.Value {
	return c.inRange(c.at, finite(d, err))
}
