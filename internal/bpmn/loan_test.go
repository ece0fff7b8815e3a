package bpmn_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/bpmn"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/process"
)

// TestLoanRuns plays the example with its own data, down both ways of deciding.
func TestLoanRuns(t *testing.T) {
	tests := []struct {
		name, application string
		score             int64
		decision          string // "" when nobody decides
		end               string
	}{
		{"a large loan is decided by a loan officer", "application.json", 800, "decision.json", "loan_approved"},
		{"a small loan with a bad score too", "small.json", 640, "decision.json", "loan_approved"},
		{"a small loan with a good score is approved at once", "small.json", 700, "", "loan_approved"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := startLoan(t, loanData(t, test.application))
			job := p.s.Jobs()[0]
			given, err := p.s.JobVariables(job.ID, nil)
			if err != nil || job.Type != "credit-check" || given.Len() != 3 {
				t.Fatalf("job %+v is given %d variables, want ssn, income and amount: %v", job, given.Len(), err)
			}
			p.step(process.JobCompleted{Job: job.ID, Variables: context(t, "score", canon.NewNumber(test.score))})
			if test.decision != "" {
				task := p.s.Tasks()[0]
				if task.Element != "decide" || !slices.Equal(task.Groups, []string{"loan-officers"}) {
					t.Errorf("task is %+v", task)
				}
				p.step(process.TaskCompleted{Task: task.ID, Variables: loanData(t, test.decision)})
			}
			if p.s.Status() != process.Completed || !p.passed(test.end) {
				t.Errorf("instance is %s, want it completed by %s; it has %+v", p.s.Status(), test.end, p.s.Incidents())
			}
		})
	}
}

// loan is an instance of the example.
type loan struct {
	t     *testing.T
	d     *process.Definition
	s     *process.State
	trail []process.Transition
}

func startLoan(t *testing.T, variables *canon.Context) *loan {
	t.Helper()
	definitions, err := bpmn.Compile(parseFile(t, "../../examples/loan/loan.bpmn"))
	if err != nil {
		t.Fatal(err)
	}
	p := &loan{t: t, d: definitions[0], s: process.NewState()}
	p.step(process.Start{Variables: variables})
	return p
}

func (p *loan) step(event process.Event) {
	p.t.Helper()
	out, err := process.Step(p.d, p.s, process.Input{Event: event, At: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)})
	if err != nil || out.Rejected != nil || len(p.s.Incidents()) > 0 {
		p.t.Fatalf("step %T: %v, %v, incidents %+v", event, err, out.Rejected, p.s.Incidents())
	}
	p.trail = append(p.trail, out.Trail...)
}

func (p *loan) passed(element string) bool {
	return slices.ContainsFunc(p.trail, func(x process.Transition) bool { return x.Element == element })
}

func loanData(t *testing.T, file string) *canon.Context {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../examples/loan", file))
	if err != nil {
		t.Fatal(err)
	}
	value, err := canon.DecodeJSON(data)
	if err != nil {
		t.Fatal(err)
	}
	c, ok := value.(*canon.Context)
	if !ok {
		t.Fatalf("%s holds a %s, want an object", file, canon.TypeName(value))
	}
	return c
}

func context(t *testing.T, name string, v canon.Value) *canon.Context {
	t.Helper()
	c, err := canon.NewContext(canon.Entry{Name: name, Value: v})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
