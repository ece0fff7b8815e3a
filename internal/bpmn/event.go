package bpmn

import (
	"slices"
	"strings"

	"github.com/underseal/underseal/internal/process"
)

func isEventDefinition(n *Node) bool {
	return n.Space == NamespaceBPMN && strings.HasSuffix(n.Name, "EventDefinition")
}

// eventDefinitions returns what an event waits for or does: its own definitions
// and those that it refers to.
func (g *graph) eventDefinitions(n *Node) []*Node {
	var found []*Node
	for _, c := range n.Children {
		if isEventDefinition(c) {
			found = append(found, c)
		}
		if c.Is("eventDefinitionRef") && len(c.Refs) > 0 && c.Refs[0].To != nil {
			to := c.Refs[0].To
			if !isEventDefinition(to) {
				g.add(c, "eventDefinitionRef names %q, which is %s", c.Refs[0].ID, article(to.Name))
				continue
			}
			g.checkTree(to)
			g.checkReferences(to)
			found = append(found, to)
		}
	}
	return found
}

// eventDefinition returns the one definition of an event, or nil when it has none
// or cannot be executed, which is then reported.
func (g *graph) eventDefinition(n *Node) (definition *Node, ok bool) {
	found := g.eventDefinitions(n)
	if len(found) > 1 {
		g.add(n, "%s has %d event definitions; one is executed", n.Name, len(found))
		return nil, false
	}
	if len(found) == 0 {
		return nil, true
	}
	return found[0], bpmnElements[found[0].Name].ruling == honored
}

func (g *graph) startEvent(n *Node, e *process.Element) {
	definition, ok := g.eventDefinition(n)
	switch {
	case !ok:
	case definition != nil:
		g.add(n, "start event with %s %s: only a start by a caller is", article(definition.Name), laterVersion)
	default:
		e.Kind = process.StartEvent
		g.leave(n, e)
	}
}

func (g *graph) endEvent(n *Node, e *process.Element) {
	definition, ok := g.eventDefinition(n)
	switch {
	case !ok:
	case definition == nil:
		e.Kind = process.EndEvent
	case definition.Is("terminateEventDefinition"):
		e.Kind = process.TerminateEndEvent
	case definition.Is("errorEventDefinition"):
		e.Kind, e.Error = process.ErrorEndEvent, g.errorSpec(n, definition)
		if e.Error.Code == "" && definition.Attr("errorRef") == "" {
			g.add(n, "error end event names no error: give its errorEventDefinition an errorRef")
		}
	default:
		g.add(n, "end event with %s is not one of BPMN", article(definition.Name))
	}
}

func (g *graph) catchEvent(n *Node, e *process.Element) {
	definition, ok := g.eventDefinition(n)
	switch {
	case !ok:
	case definition == nil:
		g.add(n, "intermediate catch event waits for nothing: give it a timerEventDefinition")
	case definition.Is("timerEventDefinition"):
		e.Kind, e.Timer = process.TimerCatchEvent, g.timer(definition)
		g.leave(n, e)
		if e.Timer.Kind == process.TimerCycle {
			g.add(n, "cycle is not executed here: only boundary events that do not interrupt happen repeatedly")
		}
	default:
		g.add(n, "intermediate catch event with %s is not one of BPMN", article(definition.Name))
	}
}

func (g *graph) boundaryEvent(n *Node, e *process.Element) {
	e.Interrupting = !slices.Contains([]string{"false", "0"}, n.Attr("cancelActivity"))
	definition, ok := g.eventDefinition(n)
	switch {
	case !ok:
		return
	case definition == nil:
		g.add(n, "boundary event waits for nothing: give it a timerEventDefinition or errorEventDefinition")
		return
	case definition.Is("timerEventDefinition"):
		e.Kind, e.Timer = process.TimerBoundaryEvent, g.timer(definition)
		if e.Timer.Kind == process.TimerCycle && e.Interrupting {
			g.add(n, `cycle is not executed here: an interrupting event happens once; use timeDuration or set cancelActivity="false"`)
		}
	case definition.Is("errorEventDefinition"):
		e.Kind, e.Error = process.ErrorBoundaryEvent, g.errorSpec(n, definition)
		if !e.Interrupting {
			g.add(n, "error event cannot leave its activity running: remove cancelActivity")
		}
	default:
		g.add(n, "boundary event with %s is not one of BPMN", article(definition.Name))
		return
	}
	g.attach(n, e)
	g.leave(n, e)
}

// attach ties a boundary event to its activity, if the event can happen there.
func (g *graph) attach(n *Node, e *process.Element) {
	to := n.Ref("attachedToRef")
	if to == nil {
		if n.Attr("attachedToRef") == "" {
			g.add(n, "boundary event is attached to nothing: it needs attachedToRef")
		}
		return
	}
	i, inside := g.index[to]
	row := bpmnElements[to.Name]
	switch {
	case !inside || !slices.Contains(activities, to.Name) && row.ruling == honored:
		g.add(n, "boundary event is attached to %q, which is %s and no activity", to.ID(), article(to.Name))
	case to.Parent != n.Parent:
		g.add(n, "boundary event is attached to %q, which is in another scope", to.ID())
	case row.ruling == honored:
		e.AttachedTo = i
		g.checkHappens(n, e, to)
	}
}

// checkHappens refuses events that never come: on what is done in one go, and
// errors on what throws none.
func (g *graph) checkHappens(n *Node, e *process.Element, to *Node) {
	job := zeebeVocabulary.child(to, "taskDefinition") != nil
	switch {
	case to.Is("task"), to.Is("manualTask"), to.Is("scriptTask") && !job:
		g.add(n, "event can never happen: %q, %s, is done as soon as it is reached", to.ID(), article(to.Name))
	case to.Is("userTask") && e.Kind == process.ErrorBoundaryEvent:
		g.add(n, "event can never happen: %q is a user task, and people report no error codes", to.ID())
	}
}

// errorSpec returns the code that an error event throws or catches; "" catches any.
func (g *graph) errorSpec(n, definition *Node) *process.ErrorSpec {
	to := definition.Ref("errorRef")
	if to == nil {
		return &process.ErrorSpec{}
	}
	code := to.Attr("errorCode")
	switch {
	case !to.Is("error"):
		g.add(n, "errorRef names %q, which is %s", to.ID(), article(to.Name))
	case code == "":
		g.add(n, "error %q has no errorCode", to.ID())
	case strings.HasPrefix(code, "=") || isJUEL(code):
		g.add(n, "errorCode %q is an expression; only a constant is executed", code)
	}
	return &process.ErrorSpec{Code: code}
}

var timers = map[string]process.TimerKind{
	"timeDate": process.TimerDate, "timeDuration": process.TimerDuration, "timeCycle": process.TimerCycle,
}

func (g *graph) timer(definition *Node) *process.TimerSpec {
	spec := &process.TimerSpec{}
	for _, c := range definition.Children {
		kind := timers[c.Name]
		if kind == 0 || c.Space != NamespaceBPMN {
			continue
		}
		if spec.Kind != 0 {
			g.add(c, "timer has more than one of timeDate, timeDuration and timeCycle")
			return spec
		}
		spec.Kind, spec.Expression = kind, g.time(c, kind)
	}
	if spec.Kind == 0 {
		g.add(definition, "timer says no time: give it a timeDate, timeDuration or timeCycle")
	}
	return spec
}
