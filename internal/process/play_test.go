package process_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
)

// player runs an instance the way the engine does: it keeps fields only by the
// changes it is told, and before every step loads a second instance from the
// encoded structure and those fields. Both must do the same.
type player struct {
	t      tester
	d      *process.Definition
	s      *process.State
	now    time.Time
	fields map[string]process.Change
	out    process.Outcome
}

var begin = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func play(t tester, d *process.Definition, variables string) *player {
	t.Helper()
	p := &player{t: t, d: d, s: process.NewState(), now: begin, fields: map[string]process.Change{}}
	p.step(process.Start{Variables: vars(t, variables)})
	return p
}

// vars reads a context from JSON.
func vars(t tester, text string) *canon.Context {
	t.Helper()
	if text == "" {
		return nil
	}
	v, err := canon.DecodeJSON([]byte(text))
	if err != nil {
		t.Fatalf("variables %s: %v", text, err)
	}
	return v.(*canon.Context)
}

// step applies an event that must be accepted.
func (p *player) step(e process.Event) *player {
	p.t.Helper()
	if err := p.try(e); err != nil {
		p.t.Fatalf("%T rejected: %v", e, err)
	}
	return p
}

// reject applies an event that must be rejected and leave no trace.
func (p *player) reject(e process.Event, kind fault.Kind) {
	p.t.Helper()
	before := p.s.Encode()
	err := p.try(e)
	if err == nil {
		p.t.Fatalf("%#v was accepted", e)
	}
	if !fault.Is(err, kind) {
		p.t.Errorf("%#v: rejected as %v: %v, want %v", e, fault.KindOf(err), err, kind)
	}
	if after := p.s.Encode(); string(before) != string(after) {
		p.t.Errorf("%#v was rejected but changed the state\nfrom %s\nto   %s", e, before, after)
	}
	if len(p.out.Changes)+len(p.out.Commands)+len(p.out.Trail) > 0 {
		p.t.Errorf("%#v was rejected but did %+v", e, p.out)
	}
}

func (p *player) try(e process.Event) error {
	p.t.Helper()
	twin := p.reload()
	in := process.Input{Event: e, At: p.now, Zone: zone}
	out, err := process.Step(p.d, p.s, in)
	if err != nil {
		p.t.Fatalf("%T: %v", e, err)
	}
	p.out = out
	again, err := process.Step(p.d, twin, in)
	if err != nil {
		p.t.Fatalf("%T on the loaded twin: %v", e, err)
	}
	if a, b := show(out), show(again); a != b {
		p.t.Fatalf("%T: the loaded twin did\n%s\nnot\n%s", e, b, a)
	}
	if a, b := p.s.Encode(), twin.Encode(); string(a) != string(b) {
		p.t.Fatalf("%T: the loaded twin became\n%s\nnot\n%s", e, b, a)
	}
	p.apply(out)
	return out.Rejected
}

// reload decodes what was encoded, with the fields that changes have told.
func (p *player) reload() *process.State {
	p.t.Helper()
	data := p.s.Encode()
	twin, err := process.Decode(p.d, data, func(path string) (canon.Value, error) {
		if c, ok := p.fields[path]; ok {
			return c.Value, nil
		}
		return nil, fmt.Errorf("no change told of field %q", path)
	})
	if err != nil {
		p.t.Fatalf("decode %s: %v", data, err)
	}
	return twin
}

// apply keeps the fields and checks them against the state's.
func (p *player) apply(out process.Outcome) {
	p.t.Helper()
	for i, c := range out.Changes {
		if i > 0 && out.Changes[i-1].Path >= c.Path {
			p.t.Errorf("changes are not in order: %q before %q", out.Changes[i-1].Path, c.Path)
		}
		if c.Value == nil {
			delete(p.fields, c.Path)
			continue
		}
		p.fields[c.Path] = c
	}
	paths := p.s.FieldPaths()
	if len(paths) != len(p.fields) {
		p.t.Errorf("fields by changes: %d, in the state: %v", len(p.fields), paths)
	}
	if len(paths) > 100 {
		paths = paths[:10] // finding one takes as long as its variable is large
	}
	for _, path := range paths {
		v, _ := p.s.Field(path)
		c, ok := p.fields[path]
		if !ok || !canon.Equal(v, c.Value) || !reflect.DeepEqual(c.Label, p.s.Label(path)) {
			p.t.Errorf("field %q: told %v %v, is %v %v", path, c.Value, c.Label, v, p.s.Label(path))
		}
	}
}

// show writes an outcome down in full.
func show(out process.Outcome) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q rejected %v\n", out.Element, out.Rejected)
	for _, c := range out.Changes {
		value := "gone"
		if c.Value != nil {
			value = string(canon.Encode(c.Value))
		}
		fmt.Fprintf(&b, "%s = %s %v %q\n", c.Path, value, c.Label, c.Search)
	}
	for _, c := range out.Commands {
		fmt.Fprintf(&b, "%T %v\n", c, c)
	}
	fmt.Fprintf(&b, "%v", out.Trail)
	return b.String()
}

func zone(name string) (*time.Location, bool) {
	if name == "Europe/Paris" {
		return time.FixedZone(name, 3600), true
	}
	return nil, false
}

// job returns the number of the open job of an element.
func (p *player) job(element string) uint64 {
	p.t.Helper()
	for _, j := range p.s.Jobs() {
		if j.Element == element {
			return j.ID
		}
	}
	p.t.Fatalf("no job at %s: %s", element, p.s.Encode())
	return 0
}

func (p *player) timer(element string) process.OpenTimer {
	p.t.Helper()
	for _, timer := range p.s.Timers() {
		if timer.Element == element {
			return timer
		}
	}
	p.t.Fatalf("no timer at %s: %s", element, p.s.Encode())
	return process.OpenTimer{}
}

func (p *player) task(element string) uint64 {
	p.t.Helper()
	for _, task := range p.s.Tasks() {
		if task.Element == element {
			return task.ID
		}
	}
	p.t.Fatalf("no task at %s: %s", element, p.s.Encode())
	return 0
}

func (p *player) complete(element, result string) *player {
	p.t.Helper()
	return p.step(process.JobCompleted{Job: p.job(element), Variables: vars(p.t, result)})
}

// fire goes to a timer's time and fires it.
func (p *player) fire(element string) *player {
	p.t.Helper()
	timer := p.timer(element)
	if timer.Due.After(p.now) {
		p.now = timer.Due
	}
	return p.step(process.TimerFired{Timer: timer.ID})
}

// open lists the elements that wait for work, a person or a time, sorted.
func (p *player) open() string {
	var all []string
	for _, j := range p.s.Jobs() {
		all = append(all, j.Element)
	}
	for _, t := range p.s.Tasks() {
		all = append(all, t.Element)
	}
	for _, t := range p.s.Timers() {
		all = append(all, t.Element)
	}
	for _, i := range p.s.Incidents() {
		all = append(all, i.Code+"@"+i.Element)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func (p *player) wantOpen(want string) *player {
	p.t.Helper()
	if got := p.open(); got != want {
		p.t.Fatalf("open: %q, want %q", got, want)
	}
	return p
}

func (p *player) wantStatus(want process.Status) *player {
	p.t.Helper()
	if got := p.s.Status(); got != want {
		p.t.Fatalf("status %q, want %q; open: %s", got, want, p.open())
	}
	return p
}

func (p *player) wantDone() *player {
	p.t.Helper()
	return p.wantOpen("").wantStatus(process.Completed)
}

// wantVariables compares the root's variables with JSON.
func (p *player) wantVariables(want string) *player {
	p.t.Helper()
	if got := string(canon.EncodeJSON(p.s.Variables(nil))); got != want {
		p.t.Fatalf("variables %s, want %s", got, want)
	}
	return p
}

// trail writes the last step's transitions.
func (p *player) trail() string {
	var all []string
	for _, line := range p.out.Trail {
		all = append(all, line.What+" "+line.Element)
	}
	return strings.Join(all, ", ")
}

// commands writes the last step's commands without numbers.
func (p *player) commands() string {
	var all []string
	for _, c := range p.out.Commands {
		all = append(all, strings.TrimPrefix(fmt.Sprintf("%T", c), "process."))
	}
	return strings.Join(all, " ")
}
