package process

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// policyTree is a Policy made ready for splitting values: one tree of declared
// paths per variable.
type policyTree struct {
	standard *Label // of what is not declared
	roots    map[string]*policyNode
	subjects bool // some field is about a person
}

// policyNode is one step of declared paths. A node that no policy names is only
// on the way to others.
type policyNode struct {
	name     string
	declared bool
	class    Class
	subjects []subject
	search   string
	label    *Label // in the root scope, when no index has to be filled in

	children []*policyNode // into contexts, sorted by name
	item     *policyNode   // into lists, or nil
}

// subject is the path of the field that names a person, cut at its "[]"s, whose
// indices are those of the field that it is the subject of.
type subject struct {
	variable string
	pieces   []string
}

// of returns the policy's tree; one that was not sealed is compiled for this use.
func (p *Policy) compiled() *policyTree {
	if p.tree != nil {
		return p.tree
	}
	tree, _ := compilePolicy(p)
	return tree
}

// compilePolicy builds the tree and says what is wrong with the policy.
func compilePolicy(p *Policy) (*policyTree, []string) {
	t := &policyTree{standard: &Label{Class: p.Default}, roots: map[string]*policyNode{}}
	var problems []string
	if p.Default > Regulated {
		problems = append(problems, fmt.Sprintf("default class %d does not exist", p.Default))
	}
	for _, f := range p.Fields {
		if problem := t.declare(f); problem != "" {
			problems = append(problems, problem)
		}
	}
	for _, f := range p.Fields {
		t.declareSubject(f.Subject)
	}
	for _, f := range p.Fields {
		t.finish(f.Path)
		t.finish(f.Subject)
	}
	return t, problems
}

// declare enters one field and returns what is wrong with it, or "".
func (t *policyTree) declare(f FieldPolicy) string {
	n := t.node(f.Path)
	switch {
	case n == nil:
		return fmt.Sprintf("path %q is not a path like applicant.ssn or people[].phone", f.Path)
	case n.declared:
		return fmt.Sprintf("path %q is declared twice", f.Path)
	case f.Class > Regulated:
		return fmt.Sprintf("path %q has class %d, which does not exist", f.Path, f.Class)
	}
	n.declared, n.class, n.search = true, f.Class, f.Search
	if f.Subject == "" {
		return ""
	}
	s, ok := parseSubject(f.Subject)
	if !ok {
		return fmt.Sprintf("subject %q of %q is not a path like applicant.id", f.Subject, f.Path)
	}
	if len(s.pieces)-1 > strings.Count(f.Path, "[]") {
		return fmt.Sprintf("subject %q of %q is inside more lists than the field, so no index of it can be known", f.Subject, f.Path)
	}
	n.subjects, t.subjects = []subject{s}, true
	return ""
}

// declareSubject makes the field that names a person a field about that person,
// so that the name is sealed and erased with the rest.
func (t *policyTree) declareSubject(path string) {
	s, ok := parseSubject(path)
	n := t.node(path)
	if !ok || n == nil {
		return
	}
	if !n.declared {
		n.declared, n.class = true, t.standard.Class
	}
	if !slices.ContainsFunc(n.subjects, func(o subject) bool { return slices.Equal(o.pieces, s.pieces) }) {
		n.subjects = append(n.subjects, s)
	}
}

// finish computes the label of a node whose label is the same for all instances.
func (t *policyTree) finish(path string) {
	n := t.node(path)
	if n == nil || !n.declared || strings.Contains(path, "[]") {
		return
	}
	n.label = n.labelAt(0, n.name, nil)
}

// node finds or makes the node of a policy's path; nil if it is malformed.
func (t *policyTree) node(path string) *policyNode {
	name, steps, ok := splitPath(path)
	if !ok || name == "" {
		return nil
	}
	n := t.roots[name]
	if n == nil {
		n = &policyNode{name: name}
		t.roots[name] = n
	}
	for _, s := range steps {
		switch {
		case s.name != "":
			n = n.child(s.name)
		case s.index == anyItem:
			n = n.items()
		default:
			return nil
		}
	}
	return n
}

// Sensitive reports whether a policy makes the field of a path sensitive, whatever its
// values: see Label.Sensitive.
func (p *Policy) Sensitive(path string) bool {
	name, steps, ok := splitPath(path)
	n := p.compiled().roots[name]
	for _, s := range steps {
		n = n.below(s)
	}
	if !ok || n == nil || !n.declared {
		return p.Default >= Confident
	}
	return n.class >= Confident || len(n.subjects) > 0
}

func (n *policyNode) child(name string) *policyNode {
	i, found := slices.BinarySearchFunc(n.children, name, func(c *policyNode, name string) int {
		return strings.Compare(c.name, name)
	})
	if !found {
		n.children = slices.Insert(n.children, i, &policyNode{name: name})
	}
	return n.children[i]
}

func (n *policyNode) items() *policyNode {
	if n.item == nil {
		n.item = &policyNode{}
	}
	return n.item
}

// below returns the node that a step leads to; nil if nothing there is declared.
func (n *policyNode) below(s pathStep) *policyNode {
	switch {
	case n == nil:
		return nil
	case s.name == "":
		return n.item
	}
	i, found := slices.BinarySearchFunc(n.children, s.name, func(c *policyNode, name string) int { return strings.Compare(c.name, name) })
	if !found {
		return nil
	}
	return n.children[i]
}

// inside reports whether anything is declared inside the node's value.
func (n *policyNode) inside() bool { return n != nil && (len(n.children) > 0 || n.item != nil) }

func parseSubject(path string) (subject, bool) {
	name, steps, ok := splitPath(path)
	if !ok || name == "" || slices.ContainsFunc(steps, func(s pathStep) bool { return s.name == "" && s.index != anyItem }) {
		return subject{}, false
	}
	return subject{name, strings.Split(path, "[]")}, true
}

// labelAt returns the label of the field at this node inside the given variable.
// Subjects inside the same variable are in its scope, all others in the root's. A
// person who cannot be told, because a value that lacks the declared lists has no
// index for them, must not leave the field clear: it is then at least confidential.
func (n *policyNode) labelAt(scope uint64, variable string, indices []int) *Label {
	if n.label != nil && scope == 0 {
		return n.label
	}
	l := &Label{Class: n.class}
	for _, s := range n.subjects {
		path, ok := s.at(scope, variable, indices)
		if !ok {
			l.Class = max(l.Class, Confident)
			continue
		}
		l.Subjects = append(l.Subjects, path)
	}
	slices.Sort(l.Subjects)
	l.Subjects = slices.Compact(l.Subjects)
	return l
}

// at fills the indices in; false if there are too few.
func (s subject) at(scope uint64, variable string, indices []int) (string, bool) {
	if len(s.pieces)-1 > len(indices) {
		return "", false
	}
	var b strings.Builder
	if s.variable == variable {
		b.WriteString(scopePrefix(scope))
	}
	for i, piece := range s.pieces {
		if i > 0 {
			b.WriteString("[" + strconv.Itoa(indices[i-1]) + "]")
		}
		b.WriteString(piece)
	}
	return b.String(), true
}

// beneath joins the labels of everything declared at the node and inside it, for
// a value that has not the declared shape and so cannot be split.
func (n *policyNode) beneath(scope uint64, variable string, indices []int) *Label {
	var l *Label
	if n.declared {
		l = n.labelAt(scope, variable, indices)
	}
	for _, c := range n.children {
		l = join(l, c.beneath(scope, variable, indices))
	}
	if n.item != nil {
		l = join(l, n.item.beneath(scope, variable, indices))
	}
	return l
}
