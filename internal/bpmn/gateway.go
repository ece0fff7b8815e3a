package bpmn

import (
	"slices"

	"github.com/underseal/underseal/internal/process"
)

var gateways = map[string]process.Kind{
	"exclusiveGateway": process.ExclusiveGateway,
	"inclusiveGateway": process.InclusiveGateway,
	"parallelGateway":  process.ParallelGateway,
}

func (g *graph) gateway(n *Node, e *process.Element) {
	e.Kind = gateways[n.Name]
	g.leave(n, e)
	if e.Kind != process.ExclusiveGateway || len(e.Outgoing) < 2 {
		return
	}
	for _, f := range e.Outgoing {
		if f != e.Default && g.flows[f].First("conditionExpression") == nil {
			g.add(g.flows[f], "flow from exclusive gateway %q has no condition and is not its default", n.ID())
		}
	}
}

// leave compiles how a token leaves an element: its default flow, and which of
// the conditions are asked.
func (g *graph) leave(n *Node, e *process.Element) {
	g.defaultFlow(n, e)
	for _, f := range e.Outgoing {
		flow := g.flows[f]
		if flow.First("conditionExpression") == nil {
			if e.Default >= 0 && f != e.Default && !n.Is("exclusiveGateway") {
				g.add(flow, "flow is always taken, so the default flow of %q never would be: give it a condition", n.ID())
			}
			continue
		}
		switch {
		case !decides(n):
			g.add(flow, "condition would never be asked: every flow of %s is taken", article(n.Name))
		case f == e.Default:
			g.add(flow, "condition would never be asked: the flow is the default of %q", n.ID())
		}
	}
}

func (g *graph) defaultFlow(n *Node, e *process.Element) {
	flow := n.Ref("default")
	if flow == nil {
		return
	}
	i, ok := g.index[flow]
	if !ok || !flow.Is("sequenceFlow") || !slices.Contains(e.Outgoing, i) {
		g.add(n, "default flow %q does not leave it", n.Attr("default"))
		return
	}
	e.Default = i
}

// decides reports whether conditions on the flows out of n are asked.
func decides(n *Node) bool {
	return n.Is("exclusiveGateway") || n.Is("inclusiveGateway") || slices.Contains(activities, n.Name)
}
