package feel

import "github.com/underseal/underseal/internal/canon"

// node is an expression of the tree. Each type's eval stands in the file of its
// subject; at is the byte offset that warnings about it name.
type node interface {
	eval(m *machine) canon.Value
	at() int
}

// place is the position every node embeds.
type place int

func (p place) at() int { return int(p) }

type (
	// constNode is a literal that was computed when the text was parsed.
	constNode struct {
		place
		value canon.Value
	}
	// zonedNode is an @"..." literal with a named zone, which only the Env knows.
	zonedNode struct {
		place
		value canon.Value
		zone  string
	}
	// nameNode is a name; fn is the built-in of that name, if there is one.
	nameNode struct {
		place
		name string
		fn   *builtin
	}
	// pathNode is base.name.
	pathNode struct {
		place
		base node
		name string
	}
	// filterNode is base[cond]; an index is a filter too.
	filterNode struct {
		place
		base, cond node
	}
	// callNode calls a built-in (form is bound when the text is parsed) or the
	// function that fn evaluates to. names is nil for positional arguments.
	callNode struct {
		place
		builtin *builtin
		form    *form
		fn      node
		args    []node
		names   []string
	}
	// negNode is -x.
	negNode struct {
		place
		x node
	}
	// arithNode is a + - * / or ** b.
	arithNode struct {
		place
		op   arithOp
		a, b node
	}
	// compareNode is a = != < <= > >= b.
	compareNode struct {
		place
		op   compareOp
		a, b node
	}
	// logicNode is a chain of "and" or of "or".
	logicNode struct {
		place
		or    bool
		items []node
	}
	// betweenNode is x between low and high.
	betweenNode struct {
		place
		x, low, high node
	}
	// inNode is x in (tests).
	inNode struct {
		place
		x     node
		tests []node
	}
	// instanceNode is x instance of typ.
	instanceNode struct {
		place
		x   node
		typ *typeRef
	}
	// unaryNode is a comparison whose left side is the tested input: < 10.
	unaryNode struct {
		place
		op compareOp
		x  node
	}
	// rangeNode is an interval with two ends.
	rangeNode struct {
		place
		low, high                 node
		lowIncluded, highIncluded bool
	}
	// inputNode is a test that reads the input as "?".
	inputNode struct {
		place
		x node
	}
	// testsNode is a list of unary tests; any is "-".
	testsNode struct {
		place
		tests    []node
		not, any bool
	}
	listNode struct {
		place
		items []node
	}
	contextNode struct {
		place
		entries []entryNode
	}
	entryNode struct {
		name  string
		value node
	}
	ifNode struct {
		place
		cond, then, otherwise node
	}
	forNode struct {
		place
		iterations []iteration
		body       node
	}
	// quantNode is some or every.
	quantNode struct {
		place
		every      bool
		iterations []iteration
		cond       node
	}
	// iteration is "name in from" or "name in from..to".
	iteration struct {
		name     string
		from, to node // to is nil for a list
	}
	functionNode struct {
		place
		params []param
		body   node
	}
	param struct {
		name string
		typ  *typeRef // nil: Any
	}
)

type arithOp uint8

const (
	opAdd arithOp = iota
	opSubtract
	opMultiply
	opDivide
	opPower
)

type compareOp uint8

const (
	opEqual compareOp = iota
	opNotEqual
	opLess
	opLessEqual
	opGreater
	opGreaterEqual
)
