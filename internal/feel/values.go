package feel

import (
	"github.com/underseal/underseal/internal/canon"
)

// function is a function value: one defined in the expression, or a built-in.
// It embeds Null only to be a canon.Value, so that lists and contexts can hold
// it while an expression runs; Eval lets none out.
type function struct {
	canon.Null
	params  []param
	body    node
	env     *frame
	builtin *builtin
}

// interval is a range value. A unary one ("< 10") has one end; low and high are
// then what its properties say, null where there is none.
type interval struct {
	canon.Null
	low, high                 canon.Value
	lowIncluded, highIncluded bool
	unary                     bool
	op                        compareOp
}

// unchanged reports whether storable gave back the value itself.
func unchanged(kept, v canon.Value) bool {
	switch v := v.(type) {
	case *function, *interval:
		return false
	case *canon.Context:
		k, ok := kept.(*canon.Context)
		return ok && k == v
	case canon.List:
		k, ok := kept.(canon.List)
		return ok && (len(k) == 0 || &k[0] == &v[0])
	}
	return true
}

func isNull(v canon.Value) bool {
	switch v.(type) {
	case nil, canon.Null:
		return true
	}
	return false
}

// typeName returns the name of v's type as FEEL writes it.
func typeName(v canon.Value) string {
	switch v.(type) {
	case *function:
		return "function"
	case *interval:
		return "range"
	case canon.DateTime:
		return "date and time"
	case canon.DayTimeDuration:
		return "days and time duration"
	case canon.YearMonthDuration:
		return "years and months duration"
	}
	return canon.TypeName(v)
}

// single takes a value out of a list that holds nothing else (DMN 1.5,
// 10.3.2.9.4, "from singleton list").
func single(v canon.Value) canon.Value {
	if list, ok := v.(canon.List); ok && len(list) == 1 {
		return list[0]
	}
	return v
}

// listOf takes any value but null for a list ("to singleton list").
func listOf(v canon.Value) canon.List {
	switch v := v.(type) {
	case canon.List:
		return v
	case nil, canon.Null:
		return nil
	}
	return canon.List{v}
}

// value is short for the type of everything that is computed.
type value = canon.Value
