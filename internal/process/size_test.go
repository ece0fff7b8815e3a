package process_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
)

var (
	large = fmt.Sprintf(`{"applicant":{"ssn":%q}}`, strings.Repeat("x", process.MaxFieldBytes))
	fits  = fmt.Sprintf(`{"applicant":{"ssn":%q,"name":%[1]q}}`, strings.Repeat("x", process.MaxFieldBytes-40))
)

const tooMany = process.MaxFields/2 + 1

// people is a list of which each item is two fields.
func people(n int) string {
	return `{"people":[` + strings.TrimSuffix(strings.Repeat(`{"id":1,"phone":2},`, n), ",") + `]}`
}

// refused checks that data from outside is rejected with a code and changes nothing.
func (p *player) refused(e process.Event, code, names string) {
	p.t.Helper()
	p.reject(e, fault.Invalid)
	if err := p.out.Rejected; fault.CodeOf(err) != code || !strings.Contains(err.Error(), names) {
		p.t.Errorf("rejected as %q: %v, want %q with %s", fault.CodeOf(err), err, code, names)
	}
}

func TestDataFromOutsideThatCannotBeKeptIsRejected(t *testing.T) {
	const list = "field people[].phone internal about people[].id\n" + declared
	cases := []struct{ data, code, names string }{
		{large, "field_too_large", `"applicant.ssn"`},
		{people(tooMany), "too_many_fields", "5000"},
	}
	for _, c := range cases {
		t.Run(c.code, func(t *testing.T) {
			d := define(t, list+"start s\nservice a\nuser b\non-error x | on a\ns -> a\ns -> b")
			unstarted := &player{t: t, d: d, s: process.NewState(), now: begin, fields: map[string]process.Change{}}
			unstarted.refused(process.Start{Variables: vars(t, c.data)}, c.code, c.names)
			p := play(t, d, person)
			p.refused(process.VariablesSet{Variables: vars(t, c.data)}, c.code, c.names)
			p.refused(process.JobCompleted{Job: p.job("a"), Variables: vars(t, c.data)}, c.code, c.names)
			p.refused(process.JobErrored{Job: p.job("a"), Code: "x", Variables: vars(t, c.data)}, c.code, c.names)
			p.refused(process.TaskCompleted{Task: p.task("b"), Variables: vars(t, c.data)}, c.code, c.names)
			p.set(fits).complete("a", "").wantOpen("b")
		})
	}
	p := play(t, define(t, list+"start s\nuser b\ns -> b"), people(process.MaxFields/2-1))
	p.refused(process.VariablesSet{Variables: vars(t, `{"a":1,"b":2}`)}, "too_many_fields", "5000")
	p.refused(process.TaskSaved{Task: p.task("b"), Draft: vars(t, large)}, "field_too_large", "$draft")
	p.set(`{"a":1}`).set(`{"people":[]}`).set(`{"a":1,"b":2}`)
}

func TestExpressionsThatGiveTooMuchRaiseAnIncident(t *testing.T) {
	const list = "field people[].phone internal about people[].id\n" + declared
	half := fmt.Sprintf(`{"text":%q,"box":{"a":1}}`, strings.Repeat("x", process.MaxFieldBytes/2))
	for _, c := range []struct{ name, element, start, code string }{
		{"a script", "script a | set y = text + text", half, "value_too_large"},
		{"an input", "service a | input y = text + text", half, "value_too_large"},
		{"an output", "task a | output y = [text, text]", half, "value_too_large"},
		{"outputs into one variable", "task a | output box.b = text | output box.c = text", half, "value_too_large"},
		{"a script's parts", `script a | set people = for i in 1..2600 return {id: i, phone: i}`, `{}`, "too_many_fields"},
		{"an input's parts", `service a | input people = for i in 1..2600 return {id: i, phone: i}`, `{}`, "too_many_fields"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := play(t, define(t, list+"start s\ntimer w | after \"PT1H\"\n"+c.element+"\ns -> w\nw -> a"), c.start).fire("w")
			p.wantOpen(c.code + "@a")
			if got := len(p.out.Changes); got != 1 {
				t.Errorf("%d changes, want the incident's text only", got)
			}
			p.set(`{"text":"x"}`)
			if c.code == "value_too_large" {
				p.step(process.IncidentRetried{Incident: p.s.Incidents()[0].ID})
				if len(p.s.Incidents()) > 0 {
					t.Errorf("open after the retry: %s", p.open())
				}
			}
		})
	}
}

func TestOutputsIntoOneVariableAreAllKept(t *testing.T) {
	p := through(t, "task a | output box.b = plain | output box.c = plain", `{"plain":1,"box":{"a":1}}`)
	p.wantVariables(`{"box":{"a":1,"b":1,"c":1},"plain":1}`)
}

func TestLongTextsOfIncidentsAreCut(t *testing.T) {
	p := through(t, "service a", `{}`)
	p.step(process.JobFailed{Job: p.job("a"), Retries: 0, Message: strings.Repeat("\u20ac", process.MaxFieldBytes)})
	text, _ := p.s.Field(process.IncidentPath(p.s.Incidents()[0].ID))
	if got := fmt.Sprint(text); len(got) > 9_000 || !strings.HasSuffix(got, "\u20ac ...") {
		t.Errorf("text of %d bytes ends in %q", len(got), got[len(got)-10:])
	}
}

// Joined person by person, or compared field by field, these would take minutes.
func TestListsOfManyPersonsAreLabeledAtOnce(t *testing.T) {
	const list = "field people[].phone internal about people[].id\n"
	d := define(t, list+"start s\nservice a\ns -> a")
	p := play(t, d, people(process.MaxFields/2-1))
	if got := len(p.s.FieldPaths()); got != process.MaxFields-1 {
		t.Errorf("%d fields", got)
	}
	texts := `{"people":[` + strings.TrimSuffix(strings.Repeat(`"",`, 15_000), ",") + `]}`
	p = play(t, d, texts)
	if got := len(p.s.Label("people").Subjects); got != 15_000 {
		t.Errorf("label of %d persons", got)
	}
}
