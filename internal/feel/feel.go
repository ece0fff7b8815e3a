// Package feel parses and evaluates FEEL, the expression language of DMN 1.5.
//
// Parse turns a text into a tree with positions. The tree says which data it
// reads (Reads), which functions it calls that do not exist (Unknown), and it
// evaluates (Eval, EvalTests). What an expression reads is what classes,
// subjects and derived values are computed from, so Reads is conservative: when
// a path is not known before evaluation, the whole of what it may reach is named.
//
// Evaluation is a function of its arguments: no clock, no randomness, no I/O.
// It is metered in steps, depth and bytes. As FEEL demands, an error inside an
// expression is not an error of the evaluation but the value null; a warning
// with its position says why, naming types and names, never values.
//
// Numbers are decimals of 34 digits rounded half-even. What differs from DMN 1.5
// is listed in docs/design/feel.md.
package feel

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/underseal/underseal/internal/canon"
)

// Options say how a text is to be parsed.
type Options struct {
	// Names are names that the scope will know. Only names with spaces or
	// symbols matter: "a-b" is a difference unless it is named here. Words
	// that stand side by side are taken for one name even without this.
	Names []string
	// UnaryTests parses unary tests (as in a decision table's cell) instead of
	// an expression. The tested input is named "?" inside.
	UnaryTests bool
}

// Expression is a parsed text. It is immutable and may be evaluated by several
// goroutines at once.
type Expression struct {
	src     string
	root    node
	reads   []Path
	unknown []Call
}

// Call is a call of a function by a name that nothing defines.
type Call struct {
	Name         string
	Line, Column int // from 1; columns count characters
}

// Scope gives an expression its variables.
type Scope interface {
	// Lookup returns the value of a variable; false means there is none.
	Lookup(name string) (canon.Value, bool)
}

// Env is what an evaluation may know of the world.
type Env struct {
	// Now is what now() and today() return; it should carry a zone.
	Now canon.DateTime
	// Zone returns the zone of an IANA name. Nil knows no names.
	Zone func(name string) (*time.Location, bool)
	// Limits bound the evaluation; zero fields mean the defaults.
	Limits Limits
}

// Limits bound what one evaluation may use.
type Limits struct {
	Steps int // expressions evaluated, list items visited; default 1,000,000
	Depth int // nested function calls and nested values; default 256
	Bytes int // estimate of what is allocated; default 16 MiB
	// Result bounds the encoding (canon.Encode) of the value that leaves, in
	// bytes; default 1 MiB.
	Result int
}

// Result is the outcome of an evaluation.
type Result struct {
	Value canon.Value
	// Warnings say why a part became null, in the order of evaluation; at most 32.
	Warnings []Warning
}

// Warning is an error inside an expression. Message holds no values.
type Warning struct {
	Line, Column int
	Message      string
}

// Source returns the text that was parsed.
func (e *Expression) Source() string { return e.src }

// Reads returns the paths of the free variables that the expression reads,
// sorted and unique. The caller must not change the slice.
func (e *Expression) Reads() []Path { return e.reads }

// Unknown returns the calls of functions that are neither built in nor bound in
// the expression, in the order of the text. The caller must not change the slice.
func (e *Expression) Unknown() []Call { return e.unknown }

// Parse reads an expression or unary tests. Errors are fault.Invalid with one
// detail whose place is "line:column".
func Parse(src string, o Options) (*Expression, error) {
	p := &parser{src: src, names: newNameTable(o.Names)}
	if len(src) > maxSource {
		p.fail(0, "%d bytes are more than the %d allowed", len(src), maxSource)
	} else if !utf8.ValidString(src) {
		p.fail(invalidAt(src), "the text is not UTF-8")
	}
	p.advance(0)
	root := p.parseRoot(o.UnaryTests)
	if p.failure != nil {
		return nil, p.failure
	}
	e := &Expression{src: src, root: root, unknown: p.unknown}
	e.reads = readsOf(root, o.UnaryTests)
	return e, nil
}

// invalidAt returns the offset of the first byte that is not UTF-8.
func invalidAt(src string) int {
	for i, r := range src {
		if _, size := utf8.DecodeRuneInString(src[i:]); r == utf8.RuneError && size == 1 {
			return i
		}
	}
	return len(src)
}

// position returns the line and column, from 1, of a byte offset.
func position(src string, offset int) (line, column int) {
	offset = min(offset, len(src))
	start := strings.LastIndexByte(src[:offset], '\n') + 1
	return 1 + strings.Count(src[:start], "\n"), 1 + utf8.RuneCountInString(src[start:offset])
}
