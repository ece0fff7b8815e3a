package feel

import (
	"slices"
	"strings"
)

// Path names data that an expression reads: a variable, then entries after
// dots; "[]" stands for the items of a list: "people[].phone".
type Path string

// Root returns the variable the path begins with.
func (p Path) Root() string {
	if end := strings.IndexAny(string(p), ".["); end > 0 {
		return string(p[:end])
	}
	return string(p)
}

// Overlaps reports whether reading p touches what other names: one is the
// other, or holds it. "[]" is left out of the comparison, because "a.b" reads
// b of every item when a is a list.
func (p Path) Overlaps(other Path) bool {
	a, b := strings.ReplaceAll(string(p), "[]", ""), strings.ReplaceAll(string(other), "[]", "")
	return a == b || strings.HasPrefix(a, b+".") || strings.HasPrefix(b, a+".")
}

func (p Path) member(name string) Path { return p + Path("."+name) }

func (p Path) items() Path {
	if strings.HasSuffix(string(p), "[]") {
		return p
	}
	return p + "[]"
}

// maxOrigins bounds the paths that one value may come from; beyond it whole
// variables are read.
const maxOrigins = 64

// maxPaths bounds the work; beyond it every name of the text is read whole.
const maxPaths = 200_000

// reader walks a tree and collects paths. For each node it keeps its origins,
// the paths the value may be found at; they are read when something uses the
// whole value, and made longer when a path selects from it.
type reader struct {
	paths  []Path
	frame  *readFrame
	budget int // paths that may still be made
}

// readFrame mirrors the frames of an evaluation.
type readFrame struct {
	parent  *readFrame
	name    string
	origins []Path
	item    bool // the origins' entries are names too
	used    bool
}

func readsOf(root node, unaryTests bool) []Path {
	r := &reader{budget: maxPaths}
	if unaryTests {
		r.frame = &readFrame{name: "?"}
	}
	r.use(root)
	if r.budget < 0 {
		r.paths = nil
		r.readAll(root)
	}
	slices.Sort(r.paths)
	return slices.Compact(r.paths)
}

// use reads the whole value of each node.
func (r *reader) use(nodes ...node) {
	for _, n := range nodes {
		if n != nil {
			r.paths = append(r.paths, r.origins(n)...)
		}
	}
}

// readAll reads every name, bound or not, as a whole variable.
func (r *reader) readAll(n node) {
	if n == nil {
		return
	}
	if name, ok := n.(*nameNode); ok {
		r.paths = append(r.paths, Path(name.name))
	}
	for _, child := range children(n) {
		r.readAll(child)
	}
}

// with walks with one more name and reports whether it was used.
func (r *reader) with(f readFrame, walk func()) (used bool) {
	f.parent = r.frame
	r.frame = &f
	walk()
	r.frame = f.parent
	return f.used
}

// bounded keeps origins few: too many are read as whole variables.
func (r *reader) bounded(origins []Path) []Path {
	slices.Sort(origins)
	origins = slices.Compact(origins)
	if len(origins) <= maxOrigins {
		return origins
	}
	for _, p := range origins {
		r.paths = append(r.paths, Path(p.Root()))
	}
	return nil
}

// origins returns where the value of a node may come from, and reads what is
// needed to compute it.
func (r *reader) origins(n node) []Path {
	switch n := n.(type) {
	case *nameNode:
		return r.bounded(r.resolve(n.name))
	case *pathNode:
		return r.extend(r.origins(n.base), func(p Path) Path { return p.member(n.name) })
	case *filterNode:
		items := r.extend(r.origins(n.base), Path.items)
		r.with(readFrame{name: "item", origins: items, item: true}, func() { r.use(n.cond) })
		return items
	case *ifNode:
		r.use(n.cond)
		return r.bounded(append(r.origins(n.then), r.origins(n.otherwise)...))
	case *forNode:
		return r.forOrigins(n)
	case *quantNode:
		r.iterate(n.iterations, func() { r.use(n.cond) })
	case *functionNode:
		r.function(n.params, n.body)
	case *contextNode:
		r.entries(n.entries)
	case *inNode:
		x := r.origins(n.x)
		r.paths = append(r.paths, x...)
		r.with(readFrame{name: "?", origins: x}, func() { r.use(n.tests...) })
	default:
		r.use(children(n)...)
	}
	return nil
}

// children returns the nodes right below a node; some may be nil.
func children(n node) []node {
	switch n := n.(type) {
	case *pathNode:
		return []node{n.base}
	case *filterNode:
		return []node{n.base, n.cond}
	case *callNode:
		if n.builtin != nil {
			return n.args
		}
		return append([]node{n.fn}, n.args...)
	case *negNode:
		return []node{n.x}
	case *arithNode:
		return []node{n.a, n.b}
	case *compareNode:
		return []node{n.a, n.b}
	case *logicNode:
		return n.items
	case *betweenNode:
		return []node{n.x, n.low, n.high}
	case *inNode:
		return append([]node{n.x}, n.tests...)
	case *instanceNode:
		return []node{n.x}
	case *unaryNode:
		return []node{n.x}
	case *rangeNode:
		return []node{n.low, n.high}
	case *inputNode:
		return []node{n.x}
	case *testsNode:
		return n.tests
	case *listNode:
		return n.items
	case *ifNode:
		return []node{n.cond, n.then, n.otherwise}
	case *functionNode:
		return []node{n.body}
	}
	return bindingChildren(n)
}

func bindingChildren(n node) (list []node) {
	var iterations []iteration
	switch n := n.(type) {
	case *contextNode:
		for _, e := range n.entries {
			list = append(list, e.value)
		}
	case *forNode:
		iterations, list = n.iterations, []node{n.body}
	case *quantNode:
		iterations, list = n.iterations, []node{n.cond}
	}
	for _, it := range iterations {
		list = append(list, it.from, it.to)
	}
	return list
}

func (r *reader) extend(origins []Path, longer func(Path) Path) []Path {
	if r.budget -= len(origins); r.budget < 0 {
		return nil
	}
	extended := make([]Path, len(origins))
	for i, p := range origins {
		extended[i] = longer(p)
	}
	return extended
}

// resolve finds a name as an evaluation would. In a filter it may be an entry
// of the item or a variable further out; both count.
func (r *reader) resolve(name string) (origins []Path) {
	for f := r.frame; f != nil; f = f.parent {
		if f.item {
			origins = append(origins, r.extend(f.origins, func(p Path) Path { return p.member(name) })...)
		}
		if f.name == name {
			f.used = true
			return append(origins, f.origins...)
		}
	}
	return append(origins, Path(name))
}

// iterate binds the names of iterations; a list none of whose items is used is
// read for its length.
func (r *reader) iterate(list []iteration, body func()) {
	if len(list) == 0 {
		body()
		return
	}
	it := list[0]
	var items []Path
	if it.to != nil {
		r.use(it.from, it.to)
	} else {
		items = r.extend(r.origins(it.from), Path.items)
	}
	if !r.with(readFrame{name: it.name, origins: items}, func() { r.iterate(list[1:], body) }) {
		r.paths = append(r.paths, items...)
	}
}

// forOrigins gives the origins of the items; what reads "partial" may select
// anything from them.
func (r *reader) forOrigins(n *forNode) (origins []Path) {
	r.iterate(n.iterations, func() {
		if r.with(readFrame{name: "partial"}, func() { origins = r.origins(n.body) }) {
			r.paths = append(r.paths, origins...)
		}
	})
	return origins
}

// function reads the body; its arguments are read where it is called.
func (r *reader) function(params []param, body node) {
	outer := r.frame
	for _, p := range params {
		r.frame = &readFrame{parent: r.frame, name: p.name}
	}
	r.use(body)
	r.frame = outer
}

func (r *reader) entries(entries []entryNode) {
	outer := r.frame
	for _, e := range entries {
		r.use(e.value)
		r.frame = &readFrame{parent: r.frame, name: e.name}
	}
	r.frame = outer
}
