package process_test

import (
	"reflect"
	"testing"

	"github.com/underseal/underseal/internal/process"
)

// wantLabel checks a live field's label: class and subjects.
func (p *player) wantLabel(path string, class process.Class, subjects ...string) *player {
	p.t.Helper()
	if _, ok := p.s.Field(path); !ok {
		p.t.Fatalf("no field %q among %v", path, p.s.FieldPaths())
	}
	if got := p.s.Label(path); got.Class != class || len(got.Subjects)+len(subjects) > 0 && !reflect.DeepEqual(got.Subjects, subjects) {
		p.t.Errorf("label of %q is %v %v, want %v %v", path, got.Class, got.Subjects, class, subjects)
	}
	return p
}

const declared = `
	field applicant.ssn regulated about applicant.id
	field income confidential
	field verdict public
`

const person = `{"applicant":{"id":"p1","name":"Ann","ssn":"123"},"income":5,"plain":1}`

// through plays a process of one element a between start and end.
func through(t *testing.T, element, start string) *player {
	t.Helper()
	return play(t, define(t, declared+"start s\n"+element+"\nend e\ns -> a\na -> e"), start)
}

func TestStartValuesHaveTheLabelsOfThePolicy(t *testing.T) {
	p := through(t, "user a", person)
	p.wantLabel("applicant", process.Internal).wantLabel("applicant.id", process.Internal, "applicant.id")
	p.wantLabel("applicant.ssn", process.Regulated, "applicant.id").wantLabel("income", process.Confident).wantLabel("plain", process.Internal)
}

func TestDerivedValuesTakeTheLabelsOfWhatWasRead(t *testing.T) {
	t.Run("script", func(t *testing.T) {
		through(t, "script a | set copy = applicant.ssn", person).wantLabel("copy", process.Regulated, "applicant.id")
		through(t, "script a | set copy = plain", person).wantLabel("copy", process.Internal)
		through(t, "script a | set copy = applicant.name", person).wantLabel("copy", process.Internal)
		through(t, "script a | set copy = string(applicant)", person).wantLabel("copy", process.Regulated, "applicant.id")
		through(t, "script a | set copy = if income > 1 then 1 else 2", person).wantLabel("copy", process.Confident)
	})
	t.Run("a declared target keeps at least its class", func(t *testing.T) {
		through(t, "script a | set income = plain", person).wantLabel("income", process.Confident)
		through(t, "script a | set verdict = plain", person).wantLabel("verdict", process.Internal)
		through(t, "script a | set verdict = income > 3", person).wantLabel("verdict", process.Confident)
	})
	t.Run("output mapping", func(t *testing.T) {
		p := through(t, "task a | output out.a = income | output out.b = applicant.ssn", person)
		p.wantLabel("out", process.Regulated, "applicant.id")
	})
	t.Run("output into a part leaves the other parts as they were", func(t *testing.T) {
		p := through(t, "task a | output applicant.ssn = income", person)
		p.wantLabel("applicant.ssn", process.Regulated, "applicant.id").wantLabel("applicant", process.Internal)
		p = through(t, "task a | output applicant.name = income", person)
		p.wantLabel("applicant", process.Confident).wantLabel("applicant.id", process.Internal, "applicant.id")
	})
	t.Run("output into a context that holds stricter data keeps its label", func(t *testing.T) {
		p := play(t, define(t, declared+`
			start s
			task a | output box.copy = applicant.ssn
			task b | output box.other = plain
			s -> a
			a -> b
		`), person)
		p.wantLabel("box", process.Regulated, "applicant.id")
	})
	t.Run("input mapping, result and output mapping", func(t *testing.T) {
		p := through(t, "service a | input number = applicant.ssn | output found = hit", person)
		p.wantLabel("@2/number", process.Regulated, "applicant.id")
		p.complete("a", `{"hit":true}`).wantLabel("found", process.Regulated, "applicant.id")
	})
}

func TestUndeclaredResultsTakeTheLabelsOfTheInputsGiven(t *testing.T) {
	t.Run("all that is visible without input mappings", func(t *testing.T) {
		p := through(t, "service a", person).complete("a", `{"hit":true,"verdict":"ok"}`)
		p.wantLabel("hit", process.Regulated, "applicant.id").wantLabel("verdict", process.Public)
	})
	t.Run("only the inputs with input mappings", func(t *testing.T) {
		p := through(t, "service a | input n = income", person).complete("a", `{"hit":true,"income":6}`)
		p.wantLabel("hit", process.Confident).wantLabel("income", process.Confident)
	})
	t.Run("a form is shown all around its inputs", func(t *testing.T) {
		p := through(t, "user a | input n = income", person)
		p.step(process.TaskCompleted{Task: p.task("a"), Variables: vars(t, `{"hit":1}`)}).wantLabel("hit", process.Regulated, "applicant.id")
	})
	t.Run("at least the default", func(t *testing.T) {
		through(t, "service a", `{"verdict":1}`).complete("a", `{"hit":true}`).wantLabel("hit", process.Internal)
	})
	t.Run("an error's variables too", func(t *testing.T) {
		p := through(t, "service a\non-error b | on a", person)
		p.step(process.JobErrored{Job: p.job("a"), Code: "x", Variables: vars(t, `{"hit":1}`)}).wantLabel("hit", process.Regulated, "applicant.id")
	})
}

func TestTextsAndDraftsAreLabeled(t *testing.T) {
	p := through(t, "service a | input n = income", person)
	p.step(process.JobFailed{Job: p.job("a"), Retries: 0, Message: "income was 5"})
	p.wantLabel(process.IncidentPath(p.s.Incidents()[0].ID), process.Confident)

	p = through(t, "script a | set x = income", `{"income":null}`)
	p.wantLabel("x", process.Confident)

	p = through(t, "script x | set copy = income\nservice a | type copy\ns -> x\nx -> a", person)
	p.wantLabel(process.IncidentPath(p.s.Incidents()[0].ID), process.Confident)

	p = through(t, "user a", `{"plain":1}`)
	p.step(process.TaskSaved{Task: p.task("a"), Draft: vars(t, `{"applicant":{"ssn":"9"}}`)})
	p.wantLabel("@2/$draft", process.Regulated, "applicant.id")
	p.step(process.TaskSaved{Task: p.task("a")}).wantLabel("@2/$draft", process.Internal)
}

func TestOnlyRealChangesAreReported(t *testing.T) {
	p := through(t, "user a", person)
	p.set(`{"plain":1.0,"income":5}`)
	if len(p.out.Changes) != 0 {
		t.Errorf("same values reported: %+v", p.out.Changes)
	}
	p.set(`{"applicant":{"id":"p1","name":"Ann","ssn":"124"}}`)
	if len(p.out.Changes) != 1 || p.out.Changes[0].Path != "applicant.ssn" {
		t.Errorf("reported: %+v", p.out.Changes)
	}
	p.set(`{"applicant":{"name":"Ann"}}`)
	if len(p.out.Changes) != 2 || p.out.Changes[0].Value != nil || p.out.Changes[1].Value != nil {
		t.Errorf("reported: %+v", p.out.Changes)
	}

	d := define(t, declared+"start s\nservice a\nscript b | set hit = 1\nend e\ns -> a\na -> b\nb -> e")
	p = play(t, d, `{"income":5}`)
	p.complete("a", `{"hit":1}`).wantLabel("hit", process.Internal)
	if len(p.out.Changes) != 1 {
		t.Errorf("reported: %+v", p.out.Changes)
	}
}

func TestSubjectsOfAScopeThatEnds(t *testing.T) {
	const element = `
		sub a | input applicant = applicant | output found = applicant.ssn
		start s1 | in a
		service b | in a
		s1 -> b`
	t.Run("are the root's if they are the same person", func(t *testing.T) {
		p := through(t, element, person)
		p.wantLabel("@2/applicant.ssn", process.Regulated, "@2/applicant.id", "applicant.id")
		p.complete("b", "").wantLabel("found", process.Regulated, "applicant.id")
	})
	t.Run("stay what they were if not", func(t *testing.T) {
		p := through(t, element, person)
		p.complete("b", `{"applicant":{"id":"p2","ssn":"7"}}`)
		p.wantLabel("found", process.Regulated, "@2/applicant.id")
	})
}
