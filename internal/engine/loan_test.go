package engine_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/testenv"
)

// deployLoan deploys the loan example.
func deployLoan(t *testing.T, env *testenv.Env) {
	t.Helper()
	env.Deploy("loan.bpmn", example(t, "loan.bpmn"), "decide.schema.json", example(t, "decide.schema.json"))
}

func example(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "examples", "loan", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestLoanRunsToItsEnd(t *testing.T) { onBoth(t, loanRunsToItsEnd) }

func loanRunsToItsEnd(t *testing.T, env *testenv.Env) {
	deployLoan(t, env)
	id := env.Start("loan", example(t, "application.json"))

	job := env.Work("credit-check", `{"score": 640}`)
	if want := `"ssn":`; !strings.Contains(string(job.Variables), want) || strings.Contains(string(job.Variables), "applicant") {
		t.Errorf("the job's variables are %s, want only what its mappings name", job.Variables)
	}
	task := env.Task(id)
	if task.Element != "decide" || len(task.Groups) != 1 || task.Groups[0] != "loan-officers" || len(task.Form) == 0 {
		t.Errorf("task = %+v, want decide for loan-officers with a form", task)
	}
	env.Complete(id, example(t, "decision.json"))

	done := env.Instance(id)
	if done.Status != "completed" || done.Mode != "confidential" || done.Ended == nil {
		t.Errorf("instance = %+v, want completed and confidential", done)
	}
	for _, field := range done.Fields {
		if !field.Sealed {
			t.Errorf("field %s of a confidential instance is not sealed", field.Path)
		}
	}
	steps, err := env.Engine.Steps(t.Context(), env.Ann, id, pageOf(0))
	if err != nil {
		t.Fatal(err)
	}
	var events []string
	for _, s := range steps.Items {
		events = append(events, s.Event+" by "+s.Actor)
	}
	if got, want := strings.Join(events, ", "), "started by ann, job_completed by ann, task_completed by ann"; got != want {
		t.Errorf("steps: %s, want %s", got, want)
	}
}

func TestRestartContinues(t *testing.T) { onBoth(t, restartContinues) }

func restartContinues(t *testing.T, env *testenv.Env) {
	deployLoan(t, env)
	id := env.Start("loan", example(t, "application.json"))
	env.Restart(nil)
	env.Work("credit-check", `{"score": 640}`)
	env.Restart(nil)
	env.Complete(id, example(t, "decision.json"))
	env.Restart(nil)
	if got := env.Instance(id).Status; got != "completed" {
		t.Errorf("status = %s, want completed", got)
	}
	export, err := env.Engine.Export(t.Context(), env.Ann, id)
	if err != nil {
		t.Fatal(err)
	}
	if len(export.Steps) != 3 || len(export.Scopes) == 0 {
		t.Errorf("export has %d steps and %d scopes, want 3 and 1", len(export.Steps), len(export.Scopes))
	}
}
