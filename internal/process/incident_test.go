package process_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/process"
)

// retry retries the only incident.
func (p *player) retry() *player {
	p.t.Helper()
	return p.step(process.IncidentRetried{Incident: p.s.Incidents()[0].ID})
}

func (p *player) set(variables string) *player {
	p.t.Helper()
	return p.step(process.VariablesSet{Variables: vars(p.t, variables)})
}

func (p *player) incidentText() string {
	p.t.Helper()
	text, _ := p.s.Field(process.IncidentPath(p.s.Incidents()[0].ID))
	return string(text.(canon.String))
}

func TestExpressionsThatFailWaitAtTheSamePoint(t *testing.T) {
	cases := []struct{ name, element, start, fix, want string }{
		{"job type", "service a | type kind", `{"kind":7}`, `{"kind":"check"}`, "a"},
		{"empty job type", `service a | type ""`, ``, ``, "expression@a"},
		{"job retries", "service a | retries n", `{"n":"many"}`, `{"n":2}`, "a"},
		{"no retries", "service a | retries n", `{"n":0}`, `{"n":"4"}`, "a"},
		{"assignee", "user a | assignee who", `{"who":7}`, `{"who":"ann"}`, "a"},
		{"two assignees", "user a | assignee who", `{"who":["ann","bob"]}`, `{"who":["ann"]}`, "a"},
		{"candidate groups", "user a | groups g", `{"g":["x",1]}`, `{"g":["x"]}`, "a"},
		{"candidate users", "user a | users g", `{"g":{}}`, `{"g":null}`, "a"},
		{"due date", "user a | due d", `{"d":"soon"}`, `{"d":"2027-01-01T00:00:00Z"}`, "a"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := play(t, define(t, "start s\n"+c.element+"\nend e\ns -> a\na -> e"), c.start).wantOpen("expression@a")
			p.retry().wantOpen("expression@a")
			p.set(c.fix).wantOpen("expression@a").retry().wantOpen(c.want)
		})
	}
}

func TestConditionThatIsNotBoolean(t *testing.T) {
	d := define(t, "start s\nxor g\nservice a\nend e\ns -> g\ng -> a if x > 1\ng -> e default")
	p := play(t, d, `{"x":"topsecret"}`).wantOpen("expression@g")
	text := p.incidentText()
	if strings.Contains(text, "topsecret") || !strings.Contains(text, "x > 1") || !strings.Contains(text, "boolean") {
		t.Errorf("incident text %q: want the expression and types, no values", text)
	}
	p.set(`{"x":2}`).retry().wantOpen("a")
}

func TestFailedEnteringLeavesNothingBehind(t *testing.T) {
	p := play(t, define(t, `
		start s
		service a | type kind | input mine = 1
		on-timer late | on a | interrupting | after wait
		end e
		s -> a
		a -> e
		late -> e
	`), `{"kind":"k","wait":null}`)
	p.wantOpen("expression@a").set(`{"wait":"PT1H","kind":null}`).retry().wantOpen("expression@a")
	if len(p.s.AllVariables(nil)) != 1 || len(p.s.Timers()) != 0 {
		t.Errorf("left behind: %s", p.s.Encode())
	}
	p.set(`{"kind":"k"}`).retry().wantOpen("a late")
}

func TestExpressionThatExceedsItsLimitsIsAnIncident(t *testing.T) {
	const heavy = `string length(string join(for i in 1..2000 return text))`
	for name, element := range map[string]string{
		"script": "script a | set y = " + heavy,
		"input":  "service a | input y = " + heavy,
		"output": "task a | output y = " + heavy,
	} {
		t.Run(name, func(t *testing.T) {
			play(t, define(t, "start s\n"+element+"\nend e\ns -> a\na -> e"), longText(1)).wantOpen("expression@a")
		})
	}
}

// longText is a variable of 16 KiB, and n.
func longText(n int) string {
	return fmt.Sprintf(`{"n":%d,"text":%q}`, n, strings.Repeat("x", 16<<10))
}

func TestResultsAreKeptUntilOutputsCanBeMapped(t *testing.T) {
	p := play(t, define(t, `
		start s
		service a | output y = string length(string join(for i in 1..n return text)) + z
		on-timer late | on a | interrupting | after "PT1H"
		end e
		s -> a
		a -> e
		late -> e
	`), longText(2000))
	p.complete("a", `{"z":1}`).wantOpen("expression@a late")
	p.retry().wantOpen("expression@a late")
	p.set(`{"n":2}`).retry().wantDone()
	if y, _ := p.s.Field("y"); !canon.Equal(y, canon.NewNumber(2*16<<10+1)) {
		t.Errorf("y is %v", y)
	}
}

const endless = `
	start s
	and fork
	service a
	xor top
	task body
	end e
	s -> fork
	fork -> a
	fork -> top
	top -> e if stop
	top -> body default
	body -> top
	a -> e
`

func TestLoopLimit(t *testing.T) {
	t.Run("stops a loop without a wait until it is retried", func(t *testing.T) {
		p := play(t, define(t, endless), `{"stop":false}`)
		if got := p.open(); !strings.HasPrefix(got, "a loop_limit@") {
			t.Fatalf("open: %q", got)
		}
		p.complete("a", "").wantStatus(process.Active) // its token waits like all others
		p.set(`{"stop":true}`).retry().wantDone()
	})
	t.Run("a retry without a fix stops again", func(t *testing.T) {
		p := play(t, define(t, endless), `{"stop":false}`).retry()
		if got := p.open(); !strings.HasPrefix(got, "a loop_limit@") {
			t.Fatalf("open: %q", got)
		}
		p.step(process.Canceled{}).wantOpen("").wantStatus(process.Terminated)
	})
	t.Run("an interrupt of the scope that loops lets the others go on", func(t *testing.T) {
		p := play(t, define(t, `
			start s
			and fork
			sub box
			on-timer late | on box | interrupting | after "PT1H"
			start s1 | in box
			task a | in box
			task b | in box
			service c
			end e
			s -> fork
			fork -> box
			fork -> c
			late -> e
			c -> e
			s1 -> a
			a -> b
			b -> a
		`), "")
		p.complete("c", "").wantStatus(process.Active).fire("late").wantDone()
	})
}
