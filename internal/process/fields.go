package process

import (
	"slices"
	"strconv"
	"strings"

	"github.com/underseal/underseal/internal/canon"
)

// Field is the unit of sealing: a variable, a declared path inside one, or what
// is left of a variable when its declared paths are taken out.
type Field struct {
	Path   string
	Value  canon.Value
	Label  Label
	Search string // from the policy: "" or "exact"
}

// Split cuts a variable of a scope (0: the root) into its fields, sorted by
// path. The longest declared path wins; the rest of the variable is its first
// field. An item of a list that is a field of its own leaves null in its place.
// What does not have the declared shape (a text where a policy names something
// inside a context) stays in the rest, which then takes the labels of everything
// declared there.
func Split(p *Policy, scope uint64, name string, v canon.Value) []Field {
	t := p.compiled()
	node := t.roots[name]
	pieces := split(node, scope, name, v)
	fields := make([]Field, len(pieces))
	prefix := scopePrefix(scope) + escape(name)
	for i, piece := range pieces {
		f := Field{Path: prefix + piece.suffix, Value: piece.value, Label: *t.standard}
		if piece.node != nil && piece.node.declared {
			f.Label, f.Search = *piece.node.labelAt(scope, name, piece.indices), piece.node.search
		}
		f.Label = *join(&f.Label, piece.extra)
		fields[i] = f
	}
	return fields
}

// Merge is the inverse of Split: it puts the fields of one variable together
// again. The fields may be in any order; the variable's own must be among them.
func Merge(fields []Field) canon.Value {
	sorted := slices.Clone(fields)
	slices.SortFunc(sorted, func(a, b Field) int { return strings.Compare(a.Path, b.Path) })
	v := sorted[0].Value
	for _, f := range sorted[1:] {
		steps, _ := splitSuffix(f.Path[len(sorted[0].Path):])
		v = putAt(v, steps, f.Value)
	}
	return v
}

// piece is one field of a variable before it has its full path and label.
type piece struct {
	suffix  string // "" for the rest, else ".ssn", "[0].phone"
	value   canon.Value
	node    *policyNode // nil when nothing of the variable is declared
	indices []int
	extra   *Label // of what lacked the declared shape
}

// split cuts a variable along the policy's tree; the rest comes first.
func split(node *policyNode, scope uint64, name string, v canon.Value) []piece {
	if !node.inside() {
		return []piece{{value: v, node: node}}
	}
	c := cutter{scope: scope, variable: name, pieces: make([]piece, 1, 8)}
	rest, extra := c.cut(node, v, "", nil)
	c.pieces[0] = piece{value: rest, node: node, extra: extra}
	slices.SortFunc(c.pieces, func(a, b piece) int { return strings.Compare(a.suffix, b.suffix) })
	return c.pieces
}

type cutter struct {
	scope    uint64
	variable string
	pieces   []piece
}

// cut takes the declared paths out of v and returns what is left with the labels
// of what could not be taken out.
func (c *cutter) cut(n *policyNode, v canon.Value, suffix string, indices []int) (canon.Value, *Label) {
	var extra *Label
	switch value := v.(type) {
	case nil, canon.Null:
		return v, nil
	case *canon.Context:
		if n.item != nil {
			extra = n.item.beneath(c.scope, c.variable, indices)
		}
		return c.cutContext(n, value, suffix, indices, extra)
	case canon.List:
		for _, child := range n.children {
			extra = join(extra, child.beneath(c.scope, c.variable, indices))
		}
		return c.cutList(n, value, suffix, indices, extra)
	}
	for _, child := range n.children {
		extra = join(extra, child.beneath(c.scope, c.variable, indices))
	}
	if n.item != nil {
		extra = join(extra, n.item.beneath(c.scope, c.variable, indices))
	}
	return v, extra
}

func (c *cutter) cutContext(n *policyNode, v *canon.Context, suffix string, indices []int, extra *Label) (canon.Value, *Label) {
	for _, child := range n.children {
		inner, found := v.Get(child.name)
		if !found {
			continue
		}
		path := suffix + "." + escape(child.name)
		left, more := c.cut(child, inner, path, indices)
		if child.declared {
			c.pieces = append(c.pieces, piece{path, left, child, indices, more})
			v = v.Without(child.name)
			continue
		}
		v, extra = v.With(child.name, left), join(extra, more)
	}
	return v, extra
}

func (c *cutter) cutList(n *policyNode, v canon.List, suffix string, indices []int, extra *Label) (canon.Value, *Label) {
	if n.item == nil {
		return v, extra
	}
	v = slices.Clone(v)
	u := union{top: extra}
	for i, inner := range v {
		path := suffix + "[" + strconv.Itoa(i) + "]"
		here := append(slices.Clip(indices), i)
		left, more := c.cut(n.item, inner, path, here)
		if n.item.declared {
			c.pieces = append(c.pieces, piece{path, left, n.item, here, more})
			v[i] = canon.Null{}
			continue
		}
		v[i] = left
		u.add(more)
	}
	return v, u.label()
}

// putAt returns v with the value at the given place replaced. Where a context is
// needed and something else stands, a new one takes its place; items of lists
// must exist.
func putAt(v canon.Value, steps []pathStep, value canon.Value) canon.Value {
	if len(steps) == 0 {
		return value
	}
	if s := steps[0]; s.name == "" {
		list, ok := v.(canon.List)
		if !ok || s.index < 0 || s.index >= len(list) {
			return v
		}
		list = slices.Clone(list)
		list[s.index] = putAt(list[s.index], steps[1:], value)
		return list
	}
	context, _ := v.(*canon.Context)
	inner, _ := context.Get(steps[0].name)
	return context.With(steps[0].name, putAt(inner, steps[1:], value))
}

// putGrowing is putAt for a value of which parts were erased: where a list or an
// item of one is needed and missing, it is made, with nulls before it.
func putGrowing(v canon.Value, steps []pathStep, value canon.Value) canon.Value {
	if len(steps) == 0 {
		return value
	}
	s := steps[0]
	if s.name != "" {
		context, _ := v.(*canon.Context)
		inner, _ := context.Get(s.name)
		return context.With(s.name, putGrowing(inner, steps[1:], value))
	}
	if s.index < 0 {
		return v
	}
	list, _ := v.(canon.List)
	list = slices.Clone(list)
	for len(list) <= s.index {
		list = append(list, canon.Null{})
	}
	list[s.index] = putGrowing(list[s.index], steps[1:], value)
	return list
}
