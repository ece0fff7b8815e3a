package process

import (
	"strings"
	"time"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/feel"
)

// expression is a FEEL expression with what Seal found out about it.
type expression struct {
	*feel.Expression
	reads    []read
	constant canon.Value // of a literal, else nil
}

// read is one path that an expression reads, cut into the variable and the generic
// place inside it: "applicant" and ".ssn".
type read struct{ variable, place string }

func newExpression(e *feel.Expression) *expression {
	if e == nil {
		return nil
	}
	x := &expression{Expression: e, constant: literal(e.Source())}
	for _, path := range e.Reads() {
		x.reads = appendReads(x.reads, string(path))
	}
	return x
}

// appendReads cuts "applicant.ssn" at every dot, since a variable's name may hold
// dots itself: those that no variable has do no harm.
func appendReads(list []read, path string) []read {
	path = generic(path)
	for i := range len(path) {
		if path[i] == '.' {
			list = append(list, read{path[:i], path[i:]})
		}
	}
	return append(list, read{path, ""})
}

// literal returns the value of a text literal without escapes, which is what job
// types nearly always are; nil for everything else.
func literal(source string) canon.Value {
	source = strings.TrimSpace(source)
	text, ok := strings.CutPrefix(source, `"`)
	text, closed := strings.CutSuffix(text, `"`)
	if !ok || !closed || strings.ContainsAny(text, `"\`) {
		return nil
	}
	return canon.String(text)
}

// view is what an expression sees: variables about to be written first, then
// those of a scope and its parents.
type view struct {
	s      *State
	scope  uint64
	locals []variable
}

var _ feel.Scope = (*view)(nil)

// Lookup finds the nearest variable of the name.
func (v *view) Lookup(name string) (canon.Value, bool) {
	if found := v.find(name); found != nil {
		return found.value, true
	}
	return nil, false
}

func (v *view) find(name string) *variable {
	if found := findVariable(v.locals, name); found != nil {
		return found
	}
	_, found := v.s.resolve(v.scope, name)
	return found
}

// look returns what a scope sees. There is one view per step, used until the next look.
func (r *run) look(scope uint64) *view {
	if r.scratch == nil {
		r.scratch = &view{s: r.s}
	}
	r.scratch.scope, r.scratch.locals = scope, nil
	return r.scratch
}

// labelOf joins the labels of all that an expression reads.
func (v *view) labelOf(x *expression) *Label {
	var l *Label
	for _, r := range x.reads {
		if found := v.find(r.variable); found != nil {
			l = join(l, found.labelOfRead(r.place))
		}
	}
	return l
}

// evaluate gives the value of x or says in words, without values, why there is
// none: a limit was reached.
func (r *run) evaluate(x *expression, v *view) (canon.Value, string) {
	value, _, trouble := r.evaluateAll(x, v)
	return value, trouble
}

// evaluateAll is evaluate with the warnings of the evaluation.
func (r *run) evaluateAll(x *expression, v *view) (canon.Value, []feel.Warning, string) {
	if x.constant != nil {
		return x.constant, nil, ""
	}
	result, err := x.Eval(v, feel.Env{Now: r.now(), Zone: r.in.Zone})
	if err != nil {
		return nil, nil, quote(x) + ": " + err.Error()
	}
	return result.Value, result.Warnings, ""
}

// mistyped is the problem of an expression that gave a value of the wrong type or,
// if trouble says so, none at all.
func (v *view) mistyped(what string, x *expression, want string, value canon.Value, warnings []feel.Warning, trouble string) *problem {
	if trouble == "" {
		trouble = quote(x) + " gave " + canon.TypeName(value) + ", want " + want
		for _, w := range warnings {
			trouble += "; " + w.Message
		}
	}
	return &problem{"expression", what + ": " + trouble, v.labelOf(x)}
}

// quote shows an expression's source, which is the model's and no secret.
func quote(x *expression) string { return "expression " + strings.TrimSpace(x.Source()) }

// now is the event's time as expressions see it.
func (r *run) now() canon.DateTime {
	t := r.in.At.UTC()
	return canon.DateTime{
		Date: canon.Date{Year: t.Year(), Month: int(t.Month()), Day: t.Day()},
		Time: canon.Time{
			Hour: t.Hour(), Minute: t.Minute(), Second: t.Second(),
			Nanosecond: t.Nanosecond() / int(time.Microsecond) * int(time.Microsecond),
			Zone:       canon.Zone{Kind: canon.ZoneOffset},
		},
	}
}
