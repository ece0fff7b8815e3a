package engine_test

import (
	"encoding/json"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
)

// A lease from before an erasure gave its worker what is erased now: after a restart,
// which forgets leases, it must not count either.
func TestALeaseOfAnErasedPersonsJobEndsAlsoAcrossARestart(t *testing.T) {
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", classified)
	env.Start("classified", somebody)
	complete := func(job api.Job) error {
		_, err := env.Engine.CompleteJob(t.Context(), env.Ann, job.ID, api.CompleteJobRequest{Lease: job.Lease, Variables: json.RawMessage(`{"undeclared": 1}`)}, "")
		return err
	}
	before := env.Job("work")
	env.Restart(nil)
	erase(t, env, "subject", "p-1")
	env.Restart(nil)
	if err := complete(before); fault.CodeOf(err) != "lease_lost" {
		t.Errorf("with the lease from before the erasure: %v, want that it is lost", err)
	}
	after := env.Job("work")
	env.Restart(nil)
	if err := complete(after); err != nil {
		t.Errorf("with the lease from after the erasure: %v", err)
	}
}
