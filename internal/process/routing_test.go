package process_test

import (
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
)

// routed are elements with one clear attribute each, computed from X.
var routed = map[string]string{
	"assignee":         `user a | assignee X`,
	"candidate groups": `user a | groups [X]`,
	"candidate users":  `user a | users [X]`,
	"due date":         `user a | due X`,
	"job type":         `service a | type "t-" + X`,
	"job retries":      `service a | retries X`,
	"timer a":          `timer a | at X`,
	"timer late":       "service a\non-timer late | on a | after X",
}

func TestSealedValuesDoNotRoute(t *testing.T) {
	for what, element := range routed {
		t.Run(what, func(t *testing.T) {
			p := through(t, "script first | set copy = applicant.ssn\n"+strings.ReplaceAll(element, "X", "copy")+
				"\ns -> first\nfirst -> a", `{"applicant":{"id":"p1","ssn":"MARK"}}`)
			incidents := p.s.Incidents()
			if len(incidents) == 0 || incidents[len(incidents)-1].Code != "clear_routing" {
				t.Fatalf("open: %s, want clear_routing", p.open())
			}
			id := incidents[len(incidents)-1].ID
			text, _ := p.s.Field(process.IncidentPath(id))
			got := show(process.Outcome{Changes: []process.Change{{Value: text}}})
			if !strings.Contains(got, what+": ") || !strings.Contains(got, "reads copy,") || strings.Contains(got, "MARK") {
				t.Errorf("incident says %s", got)
			}
			p.wantLabel(process.IncidentPath(id), process.Regulated, "applicant.id")
			if data := string(p.s.Encode()); strings.Contains(data, "MARK") {
				t.Errorf("the structure holds the value: %s", data)
			}
		})
	}
}

func TestARoutingIncidentIsRetriedWhenTheFieldIsLowered(t *testing.T) {
	p := through(t, "script first | set copy = income\nuser a | assignee copy\ns -> first\nfirst -> a", `{"income":"x"}`)
	p.set(`{"copy":"ann"}`)
	for _, i := range p.s.Incidents() {
		p.step(process.IncidentRetried{Incident: i.ID})
	}
	if task, _ := p.s.Task(p.task("a")); task.Assignee != "ann" {
		t.Errorf("assignee is %q", task.Assignee)
	}
}

func TestClearFieldsRouteInEveryMode(t *testing.T) {
	d := draft(t, declared+"start s\nuser a | assignee applicant.name | groups [verdict, plain]\ns -> a")
	d.Policy.Mode = process.Confidential
	if err := d.Seal(); err != nil {
		t.Fatal(err)
	}
	p := play(t, d, `{"applicant":{"id":"p1","name":"Ann","ssn":"1"},"verdict":"v","plain":"g"}`).wantOpen("a")
	if task, _ := p.s.Task(p.task("a")); task.Assignee != "Ann" || len(task.Groups) != 2 {
		t.Errorf("task is %+v", task)
	}
}

func TestSealRefusesRoutingBySealedFields(t *testing.T) {
	fields := "field people[].phone public about people[].id\nfield tags[] regulated\nfield owner.x public\n" + declared
	refused := func(t *testing.T, element string, standard process.Class) bool {
		t.Helper()
		d := draft(t, fields+"start s\n"+element+"\ns -> a")
		d.Policy.Default = standard
		err := d.Seal()
		if err != nil && (!fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "stored in clear")) {
			t.Fatalf("seal: %v", err)
		}
		return err != nil
	}
	for what, element := range routed {
		t.Run(what, func(t *testing.T) {
			if !refused(t, strings.ReplaceAll(element, "X", "applicant.ssn"), process.Internal) {
				t.Error("a declared field that is sealed was accepted")
			}
			if refused(t, strings.ReplaceAll(element, "X", "applicant.name"), process.Internal) {
				t.Error("an undeclared field was refused")
			}
		})
	}
	for x, want := range map[string]bool{
		"income": true, "applicant": true, "applicant.id": true, "people[1].phone": true, "people[1].name": false,
		"tags[1]": true, "verdict": false, "plain": false, `"ann"`: false,
	} {
		if got := refused(t, "user a | assignee "+x, process.Internal); got != want {
			t.Errorf("assignee %s: refused %v, want %v", x, got, want)
		}
	}
	for x, want := range map[string]bool{"plain": true, "owner.y": true, "owner.x": false, "verdict": false} {
		if got := refused(t, "user a | assignee "+x, process.Regulated); got != want {
			t.Errorf("assignee %s with a sealed default: refused %v, want %v", x, got, want)
		}
	}
}
