package process_test

import (
	"slices"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
)

const sequence = `
	start s
	service check
	xor gate
	service ship
	end yes
	end no
	s -> check
	check -> gate
	gate -> ship if amount > 10
	gate -> no default
	ship -> yes
`

func TestJobThenGatewayThenJob(t *testing.T) {
	d := define(t, sequence)
	p := play(t, d, `{"amount":5}`).wantOpen("check")
	if got, want := p.trail(), "entered s, completed s, taken s>check, entered check"; got != want {
		t.Errorf("trail %q, want %q", got, want)
	}
	p.complete("check", `{"amount":11}`).wantOpen("ship").wantVariables(`{"amount":11}`)
	if got, want := p.trail(), "completed check, taken check>gate, entered gate, completed gate, taken gate>ship, entered ship"; got != want {
		t.Errorf("trail %q, want %q", got, want)
	}
	if got, want := p.commands(), "CloseJob OfferJob"; got != want {
		t.Errorf("commands %q, want %q", got, want)
	}
	if p.out.Element != "check" {
		t.Errorf("the event concerned %q, want check", p.out.Element)
	}
	p.complete("ship", "").wantDone()
	if got, want := p.commands(), "CloseJob End"; got != want {
		t.Errorf("commands %q, want %q", got, want)
	}
	play(t, d, `{"amount":5}`).complete("check", "").wantDone().wantVariables(`{"amount":5}`)
}

func TestTasksThatPassThrough(t *testing.T) {
	p := play(t, define(t, `
		start s
		task a
		script b | set total = price * 2
		script c | set text = "sum " + string(total) | output report.line = text
		end e
		s -> a
		a -> b
		b -> c
		c -> e
	`), `{"price":21}`)
	p.wantDone().wantVariables(`{"price":21,"report":{"line":"sum 42"},"total":42}`)
}

func TestSeveralFlowsWithoutGateway(t *testing.T) {
	const split = `
		start s
		task a
		service b
		service c
		service d
		service last
		end e
		s -> a
		a -> b
		a -> c if big
		a -> d default
		b -> last
		c -> last
		d -> last
		last -> e
	`
	t.Run("every flow that holds is taken", func(t *testing.T) {
		play(t, define(t, split), `{"big":true}`).wantOpen("b c")
	})
	t.Run("the default is for when none holds", func(t *testing.T) {
		play(t, define(t, split), `{"big":false}`).wantOpen("b")
	})
	t.Run("each token passes an activity with several incoming flows", func(t *testing.T) {
		p := play(t, define(t, split), `{"big":true}`)
		p.complete("b", "").wantOpen("c last").complete("c", "").wantOpen("last last")
		p.complete("last", "").wantStatus(process.Active).complete("last", "").wantDone()
	})
}

func TestMappings(t *testing.T) {
	cases := []struct{ name, process, start, given, result, want string }{
		{
			"a result goes to the root if no scope holds the name",
			"service a", `{"x":1}`, `{"x":1}`, `{"y":2}`, `{"x":1,"y":2}`,
		},
		{
			"an activity with inputs is given only those",
			"service a | input mine = x + 1", `{"x":1}`, `{"mine":2}`, `{"y":2}`, `{"x":1,"y":2}`,
		},
		{
			"a result with the name of an input stays inside",
			"service a | input x = x + 1", `{"x":1}`, `{"x":2}`, `{"x":7,"y":3}`, `{"x":1,"y":3}`,
		},
		{
			"with outputs only those write",
			"service a | output z = y * 2", `{"x":1}`, `{"x":1}`, `{"y":2}`, `{"x":1,"z":4}`,
		},
		{
			"outputs see inputs and results and the scopes around",
			"service a | input mine = 10 | output z = mine + y + x", `{"x":1}`, `{"mine":10}`, `{"y":2}`, `{"x":1,"z":13}`,
		},
		{
			"inputs into one context make a new one",
			"service a | input p.a = x | input p.b = 2", `{"x":1,"p":{"c":3}}`, `{"p":{"a":1,"b":2}}`, ``, `{"p":{"c":3},"x":1}`,
		},
		{
			"outputs into a context keep its other entries",
			"service a | output p.b = y | output p.q.r = x", `{"x":1,"p":{"c":3}}`, `{"p":{"c":3},"x":1}`, `{"y":2}`, `{"p":{"b":2,"c":3,"q":{"r":1}},"x":1}`,
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := define(t, "start s\n"+c.process+"\nend e\ns -> a\na -> e")
			p := play(t, d, c.start)
			given, err := p.s.JobVariables(p.job("a"), nil)
			if err != nil || string(canon.EncodeJSON(given)) != c.given {
				t.Errorf("worker is given %s, %v, want %s", canon.EncodeJSON(given), err, c.given)
			}
			p.complete("a", c.result).wantDone().wantVariables(c.want)
		})
	}
}

func TestResultsOfNestedScopes(t *testing.T) {
	p := play(t, define(t, `
		start s
		sub outer | input mine = 1
		start s1 | in outer
		service a | in outer
		end e1 | in outer
		end e
		s -> outer
		s1 -> a
		a -> e1
		outer -> e
	`), `{"theirs":1}`)
	if all := p.s.AllVariables(nil); len(all) != 2 || all[1].Element != "outer" || string(canon.EncodeJSON(all[1].Variables)) != `{"mine":1}` {
		t.Errorf("all variables: %+v", all)
	}
	given, _ := p.s.JobVariables(p.job("a"), nil)
	if got := string(canon.EncodeJSON(given)); got != `{"mine":1,"theirs":1}` {
		t.Errorf("worker is given %s", got)
	}
	p.complete("a", `{"mine":2,"theirs":3,"new":4}`).wantDone().wantVariables(`{"new":4,"theirs":3}`)
}

func TestUserTask(t *testing.T) {
	d := define(t, `
		start s
		user approve | assignee boss | groups ["b","a","b"] | users "eve" | due date and time("2026-12-01T10:00:00@Europe/Paris") | input sum = amount
		end e
		s -> approve
		approve -> e
	`)
	p := play(t, d, `{"boss":null,"amount":3}`).wantOpen("approve")
	id := p.task("approve")
	task, ok := p.s.Task(id)
	if !ok || task.Assignee != "" || !slices.Equal(task.Groups, []string{"a", "b"}) || !slices.Equal(task.Users, []string{"eve"}) ||
		!task.Created.Equal(begin) || !task.Due.Equal(time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC)) {
		t.Errorf("task %+v", task)
	}
	shown, err := p.s.TaskVariables(id, nil)
	if err != nil || string(canon.EncodeJSON(shown)) != `{"amount":3,"boss":null,"sum":3}` {
		t.Errorf("form is shown %s, %v", canon.EncodeJSON(shown), err)
	}

	p.step(process.TaskClaimed{Task: id, Assignee: "ann"})
	if task, _ := p.s.Task(id); task.Assignee != "ann" || p.commands() != "ChangeTask" {
		t.Errorf("claimed: %+v, %s", task, p.commands())
	}
	p.step(process.TaskClaimed{Task: id, Assignee: "ann"})
	p.reject(process.TaskClaimed{Task: id, Assignee: "bob"}, fault.Conflict)
	p.step(process.TaskUnclaimed{Task: id}).step(process.TaskClaimed{Task: id, Assignee: "bob"})

	p.step(process.TaskSaved{Task: id, Draft: vars(t, `{"ok":true}`)})
	if draft, ok := p.s.TaskDraft(id); !ok || string(canon.EncodeJSON(draft)) != `{"ok":true}` {
		t.Errorf("draft %v %v", draft, ok)
	}
	p.step(process.TaskCompleted{Task: id, Variables: vars(t, `{"ok":true}`)}).wantDone()
	p.wantVariables(`{"amount":3,"boss":null,"ok":true}`)
	if _, ok := p.s.TaskDraft(id); ok || len(p.fields) != 3 {
		t.Errorf("the draft is still there: %v", p.s.FieldPaths())
	}
	p.reject(process.TaskCompleted{Task: id}, fault.Conflict)
}

func TestJobRetries(t *testing.T) {
	d := define(t, `
		start s
		service a | retries "2"
		end e
		s -> a
		a -> e
	`)
	p := play(t, d, "")
	id := p.job("a")
	p.step(process.JobFailed{Job: id, Retries: -1, Backoff: -1, Message: "no line"})
	if j, _ := p.s.Job(id); j.Retries != 1 || j.Tries != 1 || !j.NotBefore.Equal(begin.Add(time.Second)) || p.commands() != "OfferJob" {
		t.Errorf("after the first failure: %+v, %s", j, p.commands())
	}
	p.step(process.JobFailed{Job: id, Retries: -1, Backoff: -1, Message: "secret reason"})
	p.wantOpen("a job_failed@a")
	incident := p.s.Incidents()[0]
	if text, _ := p.s.Field(process.IncidentPath(incident.ID)); !canon.Equal(text, canon.String("secret reason")) || incident.Job != id {
		t.Errorf("incident %+v with text %v", incident, text)
	}
	if j, _ := p.s.Job(id); !j.Failed || p.commands() != "OfferJob RaiseIncident" {
		t.Errorf("after the last failure: %+v, %s", j, p.commands())
	}
	p.reject(process.JobCompleted{Job: id}, fault.Conflict)
	p.reject(process.JobErrored{Job: id}, fault.Conflict)
	p.step(process.IncidentRetried{Incident: incident.ID, Retries: 5})
	if j, _ := p.s.Job(id); j.Failed || j.Retries != 5 || p.commands() != "CloseIncident OfferJob" {
		t.Errorf("after the retry: %+v, %s", j, p.commands())
	}
	p.reject(process.IncidentRetried{Incident: incident.ID}, fault.Conflict)
	p.complete("a", "").wantDone()
}

func TestBackoffDoublesUpToItsLimit(t *testing.T) {
	p := play(t, define(t, "start s\nservice a | retries 100\ns -> a"), "")
	id := p.job("a")
	want := process.DefaultBackoff
	for range 20 {
		p.step(process.JobFailed{Job: id, Retries: -1, Backoff: -1})
		if j, _ := p.s.Job(id); j.NotBefore.Sub(p.now) != want {
			t.Fatalf("try %d waits %v, want %v", j.Tries, j.NotBefore.Sub(p.now), want)
		}
		want = min(want*2, process.MaxBackoff)
	}
	p.step(process.JobFailed{Job: id, Retries: 1, Backoff: 0})
	if j, _ := p.s.Job(id); j.Retries != 1 || !j.NotBefore.Equal(p.now) {
		t.Errorf("the worker's own pause and retries: %+v", j)
	}
}

func TestInstanceLifeCycle(t *testing.T) {
	d := define(t, sequence)
	p := &player{t: t, d: d, s: process.NewState(), now: begin, fields: map[string]process.Change{}}
	p.reject(process.VariablesSet{Variables: vars(t, `{"x":1}`)}, fault.Conflict)
	p.step(process.Start{Variables: vars(t, `{"amount":1}`)})
	p.reject(process.Start{}, fault.Conflict)
	p.reject(process.JobCompleted{Job: 99}, fault.NotFound)
	p.reject(process.TaskCompleted{Task: 0}, fault.NotFound)
	id := p.job("check")
	p.reject(process.TimerFired{Timer: id}, fault.Conflict)
	p.step(process.VariablesSet{Variables: vars(t, `{"amount":2,"more":[]}`)}).wantVariables(`{"amount":2,"more":[]}`)
	p.step(process.Canceled{}).wantOpen("").wantStatus(process.Terminated).wantVariables(`{"amount":2,"more":[]}`)
	if got, want := p.commands(), "CloseJob End"; got != want {
		t.Errorf("commands %q, want %q", got, want)
	}
	p.reject(process.JobCompleted{Job: id}, fault.Conflict)
	p.reject(process.Canceled{}, fault.Conflict)
	p.reject(process.VariablesSet{}, fault.Conflict)
}
