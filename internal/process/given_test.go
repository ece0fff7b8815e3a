package process_test

import (
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/process"
)

const lowered = `{"applicant":null,"income":null,"copy":null}`

func TestResultsAreLabeledByWhatWasGivenNotByWhatIsLeft(t *testing.T) {
	t.Run("a job's, when an operator overwrites what its worker has", func(t *testing.T) {
		p := through(t, "service a", person).set(lowered)
		p.complete("a", `{"result":"123"}`).wantLabel("result", process.Regulated, "applicant.id")
	})
	t.Run("a form's", func(t *testing.T) {
		p := through(t, "user a", person).set(lowered)
		p.step(process.TaskCompleted{Task: p.task("a"), Variables: vars(t, `{"result":"123"}`)})
		p.wantLabel("result", process.Regulated, "applicant.id")
	})
	t.Run("a draft", func(t *testing.T) {
		p := through(t, "user a", person).set(lowered)
		p.step(process.TaskSaved{Task: p.task("a"), Draft: vars(t, `{"x":"123"}`)})
		p.wantLabel("@2/$draft", process.Regulated, "applicant.id")
	})
	t.Run("an error's variables", func(t *testing.T) {
		p := through(t, "service a\non-error b | on a", person).set(lowered)
		p.step(process.JobErrored{Job: p.job("a"), Code: "x", Variables: vars(t, `{"result":1}`)})
		p.wantLabel("result", process.Regulated, "applicant.id")
	})
	t.Run("a worker's message", func(t *testing.T) {
		p := through(t, "service a", person).set(lowered)
		p.step(process.JobFailed{Job: p.job("a"), Retries: 0, Message: "123"})
		p.wantLabel(process.IncidentPath(p.s.Incidents()[0].ID), process.Regulated, "applicant.id")
	})
	t.Run("when it was seen only in between", func(t *testing.T) {
		p := through(t, "service a", `{"plain":1}`).set(`{"income":5}`).set(lowered)
		p.complete("a", `{"result":5}`).wantLabel("result", process.Confident)
	})
	t.Run("when another branch overwrites an undeclared copy", func(t *testing.T) {
		p := play(t, define(t, declared+`
			start s
			script first | set copy = income
			and fork
			service a
			service forget
			s -> first
			first -> fork
			fork -> a
			fork -> forget
		`), `{"income":5}`).set(`{"income":null}`)
		p.complete("forget", `{"copy":0,"income":null}`)
		p.complete("a", `{"result":5}`).wantLabel("result", process.Confident)
	})
	t.Run("but a worker with inputs is given only those", func(t *testing.T) {
		p := through(t, "service a | input n = plain", `{"plain":1}`).set(`{"income":5}`)
		p.complete("a", `{"result":1}`).wantLabel("result", process.Internal)
	})
	t.Run("and a form all around its inputs", func(t *testing.T) {
		p := through(t, "user a | input n = plain", `{"plain":1}`).set(`{"income":5}`).set(lowered)
		p.step(process.TaskCompleted{Task: p.task("a"), Variables: vars(t, `{"result":1}`)}).wantLabel("result", process.Confident)
	})
	t.Run("in the root's words once the scope that named the person has ended", func(t *testing.T) {
		p := play(t, define(t, declared+`
			start s
			and fork
			sub box | input applicant = applicant | output found = applicant.ssn
			start s1 | in box
			service inner | in box
			service a
			service last
			s -> fork
			fork -> box
			s1 -> inner
			fork -> a
			fork -> last
		`), person)
		p.complete("inner", "").wantLabel("found", process.Regulated, "applicant.id")
		p.set(`{"found":null}`).complete("a", `{"result":1}`).wantLabel("result", process.Regulated, "applicant.id")
	})
}

func TestWhatWasGivenIsWrittenOnlyIfItIsNotTheDefault(t *testing.T) {
	if data := string(through(t, "service a", `{"plain":1}`).s.Encode()); strings.Contains(data, "given") {
		t.Errorf("the default is written: %s", data)
	}
	data := string(through(t, "service a", person).s.Encode())
	if !strings.Contains(data, `"given":["regulated","applicant.id"]}`) {
		t.Errorf("no label in %s", data)
	}
}
