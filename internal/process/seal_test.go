package process_test

import (
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
)

func TestSealRefuses(t *testing.T) {
	const tail = "\nend e\ns -> a\na -> e"
	cases := []struct {
		name, text string
		change     func(*process.Definition)
		want       string
	}{
		{"no start event", "task a", nil, "process has no start event"},
		{"two start events", "start s\nstart s2\ntask a" + tail, nil, "second start event"},
		{"a subprocess without one", "start s\nsub a" + tail, nil, "subprocess has no start event"},
		{"an id twice", "start s\ntask a\ntask a" + tail, nil, "used twice"},
		{"a flow id twice", "start s\ntask a" + tail, func(d *process.Definition) { d.Flows[1].ID = "s>a" }, "used twice"},
		{"a flow to nowhere", "start s\ntask a" + tail, func(d *process.Definition) { d.Flows[1].To = 9 }, "no source or no target"},
		{"a flow that its source does not list", "start s\ntask a" + tail, func(d *process.Definition) { d.Elements[0].Outgoing = nil }, "not listed"},
		{"a listed flow of another", "start s\ntask a" + tail, func(d *process.Definition) { d.Elements[2].Incoming = []int{0, 1} }, "not its own"},
		{"a listed flow that does not exist", "start s\ntask a" + tail, func(d *process.Definition) { d.Elements[2].Incoming = []int{1, 7} }, "not its own"},
		{"a flow across a border", "start s\nsub box\nstart s1 | in box\ntask a" + tail + "\ns1 -> a", nil, "crosses the border"},
		{"a parent that is no subprocess", "start s\ntask a\ntask b | in a" + tail, nil, "parent is not a subprocess"},
		{"a parent behind", "start s\ntask a" + tail, func(d *process.Definition) { d.Elements[1].Parent = 2 }, "parent is not a subprocess"},
		{"a foreign default", "start s\ntask a" + tail, func(d *process.Definition) { d.Elements[1].Default = 0 }, "default flow does not leave"},
		{"a flow into a start event", "start s\ntask a" + tail + "\na -> s", nil, "cannot have incoming"},
		{"a flow out of an end event", "start s\ntask a" + tail + "\ne -> a", nil, "cannot have outgoing"},
		{"a service task without a job", "start s\nservice a" + tail, func(d *process.Definition) { d.Elements[1].Job = nil }, "needs a job type"},
		{"a user task without a specification", "start s\nuser a" + tail, func(d *process.Definition) { d.Elements[1].User = nil }, "needs a user task"},
		{"a script without an expression", "start s\nscript a" + tail, nil, "needs a script"},
		{"a timer without an expression", "start s\ntimer a" + tail, nil, "needs a timer"},
		{"an error end without a code", "start s\ntask a\nerror x" + tail, nil, "needs an error code"},
		{"an error boundary event that does not interrupt", "start s\nservice a\non-error x | on a" + tail, func(d *process.Definition) { d.Elements[2].Interrupting = false }, "interrupt"},
		{"a cycle that interrupts", "start s\nservice a\non-timer x | on a | interrupting | every \"R/PT1H\"" + tail, nil, "cycles are for"},
		{"a cycle in the flow", "start s\ntimer a | every \"R/PT1H\"" + tail, nil, "cycles are for"},
		{"a timer that never fires", "start s\ntask a\non-timer x | on a | after \"PT1H\"" + tail, nil, "never fires"},
		{"a boundary event on an event", "start s\ntimer a | after \"PT1H\"\non-timer x | on a | after \"PT1H\"" + tail, nil, "not attached"},
		{"a boundary event on nothing", "start s\nservice a\non-error x | on a" + tail, func(d *process.Definition) { d.Elements[2].AttachedTo = -1 }, "not attached"},
		{"a mapping into a list", "start s\ntask a | output x[0] = 1" + tail, nil, "every mapping"},
		{"a mapping into nothing", "start s\ntask a | output .x = 1" + tail, nil, "every mapping"},
		{"an unknown kind", "start s\ntask a" + tail, func(d *process.Definition) { d.Elements[1].Kind = 99 }, "unknown kind"},
		{"a declared path twice", "field x public\nfield x public\nstart s\ntask a" + tail, nil, "declared twice"},
		{"a declared path with an index", "field x[0] public\nstart s\ntask a" + tail, nil, "is not a path"},
		{"a malformed path", "field x..y public\nstart s\ntask a" + tail, nil, "is not a path"},
		{"a malformed subject", "field x public about [y\nstart s\ntask a" + tail, nil, "is not a path"},
		{"a subject inside a list that the field is not in", "field x public about y[].id\nstart s\ntask a" + tail, nil, "no index"},
		{"a class that does not exist", "field x public\nstart s\ntask a" + tail, func(d *process.Definition) { d.Policy.Fields[0].Class = 9 }, "does not exist"},
		{"a default class that does not exist", "start s\ntask a" + tail, func(d *process.Definition) { d.Policy.Default = 9 }, "does not exist"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := draft(t, c.text)
			if c.change != nil {
				c.change(d)
			}
			err := d.Seal()
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want invalid with %q", err, c.want)
			}
		})
	}
}

func TestSealReportsAllProblemsAtOnce(t *testing.T) {
	err := draft(t, "field x..y public\nscript a\ntimer b\nservice c\non-error d | on c\nerror z").Seal()
	if got := strings.Count(err.Error(), "\n"); got != 5 {
		t.Errorf("%d problems: %v", got, err)
	}
}

func TestSealMayBeRepeated(t *testing.T) {
	d := define(t, withTimer)
	if err := d.Seal(); err != nil {
		t.Fatal(err)
	}
	if i, ok := d.Element("a"); !ok || len(d.Elements[i].Boundaries) != 1 {
		t.Errorf("element a: %v %v, boundaries %v", i, ok, d.Elements[i].Boundaries)
	}
	if _, ok := d.Element("missing"); ok {
		t.Error("an element that does not exist was found")
	}
}
