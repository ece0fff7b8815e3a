package engine_test

import (
	"encoding/json"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
)

// A variable must not take the place of "$actor" and other facts of a step.
func TestVariablesAreNotNamedLikeFacts(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("all.bpmn", everything)
	id := env.Start("everything", `{}`)
	job := env.Job("work")
	variables := json.RawMessage(`{"$actor": {"principal": "eve"}}`)
	for name, write := range map[string]func() error{
		"a start": func() error {
			_, err := env.Engine.Start(t.Context(), env.Ann, api.StartRequest{Process: "everything", Variables: variables}, "")
			return err
		},
		"a change": func() error {
			_, err := env.Engine.SetVariables(t.Context(), env.Ann, id, variables, "")
			return err
		},
		"a task": func() error {
			_, err := env.Engine.CompleteTask(t.Context(), env.Ann, env.Task(id).ID, variables, "")
			return err
		},
		"a job": func() error {
			_, err := env.Engine.CompleteJob(t.Context(), env.Ann, job.ID, api.CompleteJobRequest{Lease: job.Lease, Variables: variables}, "")
			return err
		},
	} {
		if err := write(); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s with a variable $actor: %v, want Invalid", name, err)
		}
	}
	if got := env.Instance(id).Seq; got != 1 {
		t.Errorf("the instance is at step %d, want 1", got)
	}
}
