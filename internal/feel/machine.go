package feel

import (
	"fmt"
	"time"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// The defaults of Limits.
const (
	defaultSteps  = 1_000_000
	defaultDepth  = 256
	defaultBytes  = 16 << 20
	defaultResult = 1 << 20
	maxWarnings   = 32
)

// machine is one evaluation. The counters count down; when one falls below
// zero, err is set, every evaluation returns null at once and every loop stops.
type machine struct {
	src      string
	scope    Scope
	env      *Env
	frame    *frame
	steps    int
	depth    int
	bytes    int
	result   int
	scratch  []byte // a leaf that is written
	err      error
	warnings []Warning
	patterns map[string]pattern // compiled so far, by flags and pattern
	zones    map[string]*time.Location
}

// frame binds one name, or the item of a filter with the names of its entries.
// What a frame binds never changes, so functions may keep it.
type frame struct {
	parent *frame
	name   string
	value  canon.Value
	item   *canon.Context // names that come before name, may be nil
	kept   bool           // by a function, and charged for
}

const frameSize = 80 // bytes

func newMachine(src string, s Scope, env *Env) *machine {
	m := &machine{src: src, scope: s, env: env, steps: env.Limits.Steps, depth: env.Limits.Depth, bytes: env.Limits.Bytes, result: env.Limits.Result}
	if m.steps == 0 {
		m.steps = defaultSteps
	}
	if m.depth == 0 {
		m.depth = defaultDepth
	}
	if m.bytes == 0 {
		m.bytes = defaultBytes
	}
	if m.result == 0 {
		m.result = defaultResult
	}
	return m
}

// Eval computes the expression. An error inside it is the value null and a
// warning; the error returned is fault.Invalid with code "expression_limit",
// when a limit is exceeded. A function or range as the whole result, or inside
// it, is null with a warning, since no variable can hold it.
func (e *Expression) Eval(s Scope, env Env) (Result, error) {
	m := newMachine(e.src, s, &env)
	return m.finish(m.eval(e.root), e.root.at())
}

// EvalTests tests the input with the unary tests that were parsed, or with an
// expression taken for one test. The value is true, false or null.
func (e *Expression) EvalTests(input canon.Value, s Scope, env Env) (Result, error) {
	m := newMachine(e.src, s, &env)
	if input == nil {
		input = canon.Null{}
	}
	m.bind("?", input)
	if tests, ok := e.root.(*testsNode); ok {
		return m.finish(m.eval(tests), 0)
	}
	return m.finish(m.anyTest([]node{e.root}, input), 0)
}

// eval evaluates a node and counts it.
func (m *machine) eval(n node) canon.Value {
	m.steps--
	if m.steps < 0 {
		m.exceed("steps")
		return canon.Null{}
	}
	return n.eval(m)
}

// step counts work that is no node; false means to stop.
func (m *machine) step(n int) bool {
	m.steps -= n
	if m.steps < 0 {
		m.exceed("steps")
	}
	return m.err == nil
}

// alloc counts memory before it is taken; false means not to take it.
func (m *machine) alloc(n int) bool {
	m.bytes -= n
	if m.bytes < 0 {
		m.exceed("bytes")
	}
	return m.err == nil
}

// enter counts one level of nesting; true is to be given back with leave.
func (m *machine) enter() bool {
	if m.depth <= 0 {
		m.exceed("depth")
		return false
	}
	m.depth--
	return true
}

func (m *machine) leave() { m.depth++ }

func (m *machine) exceed(what string) {
	if m.err == nil {
		m.err = fault.New(fault.Invalid, "evaluate expression %q: more %s than allowed", shorten(m.src), what).
			WithCode("expression_limit").WithHint("simplify the expression or give it less data")
	}
	m.steps = -1
}

// warn records why the part of the expression at the offset is null.
func (m *machine) warn(at int, format string, args ...any) canon.Value {
	if len(m.warnings) < maxWarnings && m.step(1+at/256) {
		line, column := position(m.src, at)
		m.warnings = append(m.warnings, Warning{line, column, fmt.Sprintf(format, args...)})
	}
	return canon.Null{}
}

// keep charges for the frames that a function keeps from being freed.
func (m *machine) keep() {
	for f := m.frame; f != nil && !f.kept && m.alloc(frameSize); f = f.parent {
		f.kept = true
	}
}

// bind adds a name to the frames.
func (m *machine) bind(name string, v canon.Value) {
	m.frame = &frame{parent: m.frame, name: name, value: v}
}

// lookup finds a variable: the frames from the inside out, then the scope.
func (m *machine) lookup(name string) (canon.Value, bool) {
	walked := 0
	for f := m.frame; f != nil; f = f.parent {
		if walked++; walked%16 == 0 {
			m.steps--
		}
		if f.item != nil {
			if v, ok := f.item.Get(name); ok {
				return v, true
			}
		}
		if f.name == name {
			return f.value, true
		}
	}
	if m.scope == nil {
		return nil, false
	}
	v, ok := m.scope.Lookup(name)
	if ok && v == nil {
		v = canon.Null{}
	}
	return v, ok
}

// zone returns the zone of a name; nil is one that is not known. It asks once
// for each, since finding one may take long.
func (m *machine) zone(name string) (*time.Location, bool) {
	if m.env.Zone == nil {
		return nil, false
	}
	zone, asked := m.zones[name]
	if !asked && m.step(1000) {
		if known, ok := m.env.Zone(name); ok {
			zone = known
		}
		if m.zones == nil {
			m.zones = map[string]*time.Location{}
		}
		m.zones[name] = zone
	}
	return zone, zone != nil
}

func (n constNode) eval(*machine) canon.Value { return n.value }

// badLiteral is an @"..." literal that is no temporal value.
type badLiteral struct{ place }

func (n *badLiteral) eval(m *machine) canon.Value {
	return m.warn(n.at(), "the literal is no date, time or duration")
}

func (n *zonedNode) eval(m *machine) canon.Value {
	if _, ok := m.zone(n.zone); !ok {
		return m.warn(n.at(), "unknown time zone")
	}
	return n.value
}

func (n *nameNode) eval(m *machine) canon.Value {
	if !m.step(len(n.name) / 64) {
		return canon.Null{}
	}
	if v, ok := m.lookup(n.name); ok {
		return v
	}
	if n.fn != nil {
		return &function{builtin: n.fn}
	}
	return m.warn(n.at(), "there is no variable %q", shorten(n.name))
}
