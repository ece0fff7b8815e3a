package bpmn

import (
	"io/fs"
	"slices"
	"strings"
	"unicode"

	"github.com/underseal/underseal/internal/feel"
	"github.com/underseal/underseal/internal/process"
)

// graph is one process under construction.
type graph struct {
	*compiler
	def   *process.Definition
	nodes []*Node       // per element
	flows []*Node       // per flow
	index map[*Node]int // of both
}

// maxProcessID bounds the id of a process, which requests name in their path.
const maxProcessID = 255

// process compiles one process. The definition is only whole if nothing was
// reported: elements that are not executed have kind 0 in it.
func (c *compiler) process(p *Node) *process.Definition {
	d := &process.Definition{ID: p.ID(), Name: p.Attr("name"), Hash: c.model.Hash}
	g := &graph{compiler: c, def: d, index: map[*Node]int{}}
	if d.ID == "" {
		c.add(p, "process has no id")
	} else if !fs.ValidPath(d.ID) || d.ID == "." || len(d.ID) > maxProcessID || strings.ContainsFunc(d.ID, unicode.IsControl) {
		c.add(p, "process id %q can be no part of an address: it has at most %d bytes, no control characters, no / at an end or beside another one, and between them neither . nor ..", d.ID, maxProcessID)
	}
	d.Policy = c.policy(p)
	g.scope(p, -1)
	g.connect()
	for i, n := range g.nodes {
		g.compile(n, &d.Elements[i])
		g.checkListed(n, &d.Elements[i])
	}
	g.checkStarts(p)
	g.checkReached()
	return d
}

// scope numbers the flow nodes and sequence flows of a process or subprocess.
func (g *graph) scope(n *Node, parent int) {
	for _, child := range n.Children {
		switch {
		case child.Is("sequenceFlow"):
			g.index[child] = len(g.flows)
			g.flows = append(g.flows, child)
		case child.Space == NamespaceBPMN && flowNodes[child.Name]:
			g.node(child, parent)
		}
	}
}

func (g *graph) node(n *Node, parent int) {
	i := len(g.nodes)
	g.index[n] = i
	g.nodes = append(g.nodes, n)
	g.def.Elements = append(g.def.Elements, process.Element{
		ID: n.ID(), Name: n.Attr("name"), Parent: parent, Line: n.Line, Default: -1, AttachedTo: -1,
	})
	if n.ID() == "" {
		g.add(n, "%s has no id", n.Name)
	}
	if scopes[n.Name] {
		g.scope(n, i)
	}
}

// connect makes the flows and lists them with their ends. Conditions are read
// wherever they stand, so that what is wrong with one is said at once even if
// there is something against an end of its flow.
func (g *graph) connect() {
	for i, n := range g.flows {
		from, okFrom := g.end(n, "sourceRef")
		to, okTo := g.end(n, "targetRef")
		g.def.Flows = append(g.def.Flows, process.Flow{ID: n.ID(), From: from, To: to, Condition: g.condition(n)})
		if n.ID() == "" {
			g.add(n, "sequence flow from %q to %q has no id", n.Attr("sourceRef"), n.Attr("targetRef"))
		}
		if !okFrom || !okTo {
			continue
		}
		g.checkEnds(n, from, to)
		g.def.Elements[from].Outgoing = append(g.def.Elements[from].Outgoing, i)
		g.def.Elements[to].Incoming = append(g.def.Elements[to].Incoming, i)
	}
}

func (g *graph) condition(flow *Node) *feel.Expression {
	n := flow.First("conditionExpression")
	if n == nil {
		return nil
	}
	return g.bpmnExpression(n, "condition", n.Text, n.Attr("language"))
}

// end returns the element at one end of a flow. References to nothing have been
// reported with all others.
func (g *graph) end(flow *Node, name string) (int, bool) {
	to := flow.Ref(name)
	if to == nil {
		if flow.Attr(name) == "" {
			g.add(flow, "sequence flow has no %s", name)
		}
		return -1, false
	}
	i, ok := g.index[to]
	if !ok || to.Is("sequenceFlow") {
		g.add(flow, "%s %q is not a flow node of this process", name, flow.Attr(name))
		return -1, false
	}
	return i, true
}

func (g *graph) checkEnds(flow *Node, from, to int) {
	source, target := g.nodes[from], g.nodes[to]
	if source.Parent != target.Parent || flow.Parent != source.Parent {
		g.add(flow, "sequence flow from %q to %q crosses the border of a subprocess", source.ID(), target.ID())
	}
	if source.Is("endEvent") {
		g.add(flow, "sequence flow leaves end event %q", source.ID())
	}
	if target.Is("startEvent") || target.Is("boundaryEvent") {
		g.add(flow, "sequence flow leads to %q, %s, which nothing can lead to", target.ID(), article(target.Name))
	}
}

// checkListed compares a node's own list of flows with the flows.
func (g *graph) checkListed(n *Node, e *process.Element) {
	for _, c := range n.Children {
		if !c.Is("incoming") && !c.Is("outgoing") || len(c.Refs) == 0 || c.Refs[0].To == nil {
			continue
		}
		own := e.Incoming
		if c.Is("outgoing") {
			own = e.Outgoing
		}
		if i, ok := g.index[c.Refs[0].To]; !ok || !c.Refs[0].To.Is("sequenceFlow") || !slices.Contains(own, i) {
			g.add(c, "%s names %q, which is not a sequence flow with this end", c.Name, c.Refs[0].ID)
		}
	}
}

// checkStarts asks for exactly one start event in the process and each subprocess
// that is executed.
func (g *graph) checkStarts(p *Node) {
	for _, scope := range append([]*Node{p}, g.nodes...) {
		if scope != p && (!scope.Is("subProcess") || isTrue(scope.Attr("triggeredByEvent"))) {
			continue
		}
		starts := scope.All("startEvent")
		if len(starts) == 0 {
			g.add(scope, "%s has no start event", scope.Name)
		}
		for _, extra := range starts[min(1, len(starts)):] {
			g.add(extra, "%s has a second start event; one begins it", scope.Name)
		}
	}
}

// checkReached reports what no token can come to. What follows something refused
// counts as reached: one reason is enough.
func (g *graph) checkReached() {
	reached := make([]bool, len(g.nodes))
	var open []int
	visit := func(i int) {
		if !reached[i] {
			reached[i] = true
			open = append(open, i)
		}
	}
	for i, n := range g.nodes {
		e := &g.def.Elements[i]
		free := e.Kind == 0 || n.Parent.Is("adHocSubProcess")
		if n.Is("startEvent") || n.Is("boundaryEvent") || free && len(e.Incoming) == 0 {
			visit(i)
		}
	}
	for len(open) > 0 {
		i := open[0]
		open = open[1:]
		for _, f := range g.def.Elements[i].Outgoing {
			visit(g.def.Flows[f].To)
		}
	}
	for i, n := range g.nodes {
		if !reached[i] && !isTrue(n.Attr("isForCompensation")) {
			g.add(n, "no sequence flow from the start leads here")
		}
	}
}
