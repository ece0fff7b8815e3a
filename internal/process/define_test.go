package process_test

import (
	"slices"
	"strings"

	"github.com/underseal/underseal/internal/feel"
	"github.com/underseal/underseal/internal/process"
)

// tester is what helpers need of *testing.T, *testing.B and *rapid.T.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// define builds a process from a text of one line per element, flow or declared
// field, in document order. An element is a kind, an id and properties after
// bars; a flow is "a -> b", with "if condition" or "default" after it, and gets
// the id "a>b". What is in a subprocess has the property "in".
//
//	service check | type "credit" | input ssn = applicant.ssn
//	gate -> ship if amount > 10
//	field applicant.ssn regulated about applicant.id
func define(t tester, text string) *process.Definition {
	t.Helper()
	d := draft(t, text)
	if err := d.Seal(); err != nil {
		t.Fatalf("seal: %v", err)
	}
	return d
}

// draft is define before Seal.
func draft(t tester, text string) *process.Definition {
	t.Helper()
	b := builder{t: t, d: &process.Definition{ID: "p", Version: 1}, ids: map[string]int{}}
	b.d.Policy.Default = process.Internal
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
		case strings.Contains(line, " -> "):
			b.flow(line)
		case strings.HasPrefix(line, "field "):
			b.field(line)
		default:
			b.element(line)
		}
	}
	return b.d
}

type builder struct {
	t   tester
	d   *process.Definition
	ids map[string]int
}

var kinds = map[string]process.Kind{
	"start": process.StartEvent, "end": process.EndEvent, "terminate": process.TerminateEndEvent,
	"error": process.ErrorEndEvent, "timer": process.TimerCatchEvent,
	"on-timer": process.TimerBoundaryEvent, "on-error": process.ErrorBoundaryEvent,
	"task": process.Task, "user": process.UserTask, "service": process.ServiceTask, "script": process.ScriptTask,
	"xor": process.ExclusiveGateway, "and": process.ParallelGateway, "or": process.InclusiveGateway,
	"sub": process.SubProcess,
}

func (b *builder) element(line string) {
	parts := strings.Split(line, " | ")
	words := strings.Fields(parts[0])
	kind, ok := kinds[words[0]]
	if !ok || len(words) != 2 {
		b.t.Fatalf("no element in line %q", line)
	}
	e := process.Element{ID: words[1], Kind: kind, Parent: -1, Default: -1, AttachedTo: -1, Interrupting: kind == process.ErrorBoundaryEvent}
	switch kind {
	case process.ServiceTask:
		e.Job = &process.JobSpec{Type: b.feel(`"` + e.ID + `"`)}
	case process.UserTask:
		e.User = &process.UserSpec{}
	case process.ErrorBoundaryEvent, process.ErrorEndEvent:
		e.Error = &process.ErrorSpec{}
	}
	for _, p := range parts[1:] {
		b.property(&e, strings.TrimSpace(p))
	}
	b.ids[e.ID] = len(b.d.Elements)
	b.d.Elements = append(b.d.Elements, e)
}

func (b *builder) property(e *process.Element, text string) {
	name, value, _ := strings.Cut(text, " ")
	timer := func(kind process.TimerKind) { e.Timer = &process.TimerSpec{Kind: kind, Expression: b.feel(value)} }
	switch name {
	case "in":
		e.Parent = b.id(value)
	case "on":
		e.AttachedTo = b.id(value)
		e.Parent = b.d.Elements[e.AttachedTo].Parent
	case "interrupting":
		e.Interrupting = true
	case "input":
		e.Inputs = append(e.Inputs, b.mapping(value))
	case "output":
		e.Outputs = append(e.Outputs, b.mapping(value))
	case "type":
		e.Job.Type = b.feel(value)
	case "retries":
		e.Job.Retries = b.feel(value)
	case "assignee":
		e.User.Assignee = b.feel(value)
	case "groups":
		e.User.CandidateGroups = b.feel(value)
	case "users":
		e.User.CandidateUsers = b.feel(value)
	case "due":
		e.User.DueDate = b.feel(value)
	case "set":
		m := b.mapping(value)
		e.Script = &process.ScriptSpec{Expression: m.Source, Result: m.Target}
	case "code":
		e.Error = &process.ErrorSpec{Code: value}
	case "after":
		timer(process.TimerDuration)
	case "at":
		timer(process.TimerDate)
	case "every":
		timer(process.TimerCycle)
	default:
		b.t.Fatalf("no property %q", text)
	}
}

func (b *builder) mapping(text string) process.Mapping {
	target, source, _ := strings.Cut(text, " = ")
	return process.Mapping{Target: target, Source: b.feel(source)}
}

func (b *builder) flow(line string) {
	ends, condition, _ := strings.Cut(line, " if ")
	ends, isDefault := strings.CutSuffix(ends, " default")
	from, to, _ := strings.Cut(ends, " -> ")
	f := process.Flow{ID: from + ">" + to, From: b.id(from), To: b.id(to)}
	for slices.ContainsFunc(b.d.Flows, func(o process.Flow) bool { return o.ID == f.ID }) {
		f.ID += "'"
	}
	if condition != "" {
		f.Condition = b.feel(condition)
	}
	i := len(b.d.Flows)
	b.d.Flows = append(b.d.Flows, f)
	source, target := &b.d.Elements[f.From], &b.d.Elements[f.To]
	source.Outgoing = append(source.Outgoing, i)
	target.Incoming = append(target.Incoming, i)
	if isDefault {
		source.Default = i
	}
}

func (b *builder) field(line string) {
	words := strings.Fields(line)
	class, ok := process.ParseClass(words[2])
	if !ok {
		b.t.Fatalf("no class in %q", line)
	}
	f := process.FieldPolicy{Path: words[1], Class: class}
	if len(words) == 5 && words[3] == "about" {
		f.Subject = words[4]
	}
	b.d.Policy.Fields = append(b.d.Policy.Fields, f)
}

func (b *builder) id(name string) int {
	i, ok := b.ids[name]
	if !ok {
		b.t.Fatalf("no element %q yet", name)
	}
	return i
}

func (b *builder) feel(source string) *feel.Expression {
	e, err := feel.Parse(source, feel.Options{})
	if err != nil {
		b.t.Fatalf("parse %q: %v", source, err)
	}
	return e
}
