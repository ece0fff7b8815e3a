package engine_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

// A lease from before an erasure gave its worker what is erased now: after a restart,
// which forgets leases, it must not count either.
func TestALeaseOfAnErasedPersonsJobEndsAlsoAcrossARestart(t *testing.T) {
	t.Parallel()
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

// TestALeaseEndsWithTheRightToWork takes the right to work from somebody who has a job, in
// all ways there are: others get the job at once, and what others hold stays theirs.
func TestALeaseEndsWithTheRightToWork(t *testing.T) {
	t.Parallel()
	for _, way := range []struct {
		name string
		give func(*testenv.Env) error
		take func(*testenv.Env, engine.Caller) error
	}{
		{"session ended", nil, func(env *testenv.Env, c engine.Caller) error {
			return second(env.Engine.RevokeSession(t.Context(), env.Ann, c.Key))
		}},
		{"disabled", nil, func(env *testenv.Env, c engine.Caller) error {
			return second(env.Engine.DisableUser(t.Context(), env.Ann, c.Principal, api.ReasonRequest{}, ""))
		}},
		{"key revoked", nil, func(env *testenv.Env, c engine.Caller) error {
			return second(env.Engine.RevokeAPIKey(t.Context(), env.Ann, c.Key, api.ReasonRequest{}, ""))
		}},
		{"role taken", nil, func(env *testenv.Env, c engine.Caller) error {
			return second(env.Engine.TakeUserRole(t.Context(), env.Ann, c.Principal, api.RoleRequest{Role: "Executor"}, ""))
		}},
		{"group left", func(env *testenv.Env) error {
			_, err := env.Engine.CreateGroup(t.Context(), env.Ann, api.GroupRequest{Name: "workers", Roles: []string{"Executor"}}, "")
			if err == nil {
				_, err = env.Engine.JoinGroup(t.Context(), env.Ann, "worker", api.MemberRequest{Group: "workers"}, "")
			}
			if err == nil {
				_, err = env.Engine.TakeUserRole(t.Context(), env.Ann, "worker", api.RoleRequest{Role: "Executor"}, "")
			}
			return err
		}, func(env *testenv.Env, c engine.Caller) error {
			return second(env.Engine.LeaveGroup(t.Context(), env.Ann, c.Principal, api.MemberRequest{Group: "workers"}, ""))
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			env := testenv.New(t, nil)
			env.Deploy("all.bpmn", everything)
			key := env.PersonsKey("worker", "Executor")
			if way.give != nil {
				if err := way.give(env); err != nil {
					t.Fatal(err)
				}
			}
			worker, other := env.SignIn(key), env.Person("other", "Executor")
			if way.name == "session ended" {
				worker = by(t, env, begun(t, env, worker))
			}
			env.Start("everything", `{}`)
			env.Start("everything", `{}`)
			take := func(c engine.Caller) []api.Job {
				t.Helper()
				jobs, err := env.Engine.ActivateJobs(t.Context(), c, api.ActivateRequest{Type: "work", Worker: "w", LeaseMS: 3_600_000})
				if err != nil {
					t.Fatal(err)
				}
				return jobs.Items
			}
			lost, kept := take(worker), take(other)
			if len(lost) != 1 || len(kept) != 1 || len(take(env.Ann)) != 0 {
				t.Fatalf("%d and %d jobs are taken, want one each and none that waits", len(lost), len(kept))
			}
			if err := way.take(env, worker); err != nil {
				t.Fatal(err)
			}
			again := take(env.Ann)
			if len(again) != 1 || again[0].ID != lost[0].ID {
				t.Fatalf("others get %+v, want the job %s", again, lost[0].ID)
			}
			complete := func(c engine.Caller, job api.Job) error {
				return second(env.Engine.CompleteJob(t.Context(), c, job.ID, api.CompleteJobRequest{Lease: job.Lease}, ""))
			}
			if err := complete(worker, lost[0]); fault.CodeOf(err) != "lease_lost" {
				t.Errorf("what was taken before: %v, want lease_lost", err)
			}
			if err := complete(other, kept[0]); err != nil {
				t.Errorf("what somebody else has: %v", err)
			}
			if err := complete(env.Ann, again[0]); err != nil {
				t.Errorf("the job, for the second time: %v", err)
			}
		})
	}
}

func begun(t *testing.T, env *testenv.Env, c engine.Caller) api.NewSession {
	t.Helper()
	s, err := engine.BeginSession(t.Context(), env.Engine, c, home)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestALeaseEndsWithTheCredential at the latest, also when it is extended.
func TestALeaseEndsWithTheCredential(t *testing.T) {
	t.Parallel()
	clock := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	soon := clock.Add(10 * time.Minute)
	env := testenv.New(t, func(c *node.Config) {
		c.Now = func() time.Time { return clock }
		c.SessionIdle = 20 * time.Minute
	})
	env.Deploy("all.bpmn", everything)
	worker := env.Person("worker", "Executor")
	key, err := env.Engine.CreateAPIKey(t.Context(), env.Ann, api.APIKeyRequest{User: "worker", Expires: &soon}, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		by   engine.Caller
		want time.Time
	}{
		{"a key without end", worker, clock.Add(time.Hour)},
		{"a key that ends", env.SignIn(key.Text), soon},
		{"a session", by(t, env, begun(t, env, worker)), clock.Add(20 * time.Minute)},
	} {
		env.Start("everything", `{}`)
		jobs, err := env.Engine.ActivateJobs(t.Context(), c.by, api.ActivateRequest{Type: "work", Worker: "w", LeaseMS: 3_600_000})
		if err != nil || len(jobs.Items) != 1 || !jobs.Items[0].Deadline.Equal(c.want) {
			t.Fatalf("by %s, the jobs are %+v, %v, want one until %s", c.name, jobs.Items, err, c.want)
		}
		more, err := env.Engine.ExtendJob(t.Context(), c.by, jobs.Items[0].ID, api.ExtendJobRequest{Lease: jobs.Items[0].Lease, LeaseMS: 3_600_000})
		if err != nil || !more.Deadline.Equal(c.want) {
			t.Errorf("extended by %s, it is until %s, %v, want %s", c.name, more.Deadline, err, c.want)
		}
	}
}

// TestWhatMayNotBeAWorkersIsNot while the rest of what they took is: a grant ended when
// the call had begun.
func TestWhatMayNotBeAWorkersIsNot(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	ctx, e := t.Context(), env.Engine
	env.Deploy("all.bpmn", everything)
	env.Deploy("other.bpmn", strings.NewReplacer(`process id="everything"`, `process id="other"`).Replace(everything))
	key := env.PersonsKey("worker")
	ended := give(t, env, api.GrantRequest{User: "worker", Right: "work", Process: "everything"})
	give(t, env, api.GrantRequest{User: "worker", Right: "work", Process: "other"})
	worker := env.SignIn(key)
	env.Start("everything", `{}`)
	env.Start("other", `{}`)
	if _, err := e.RevokeGrant(ctx, env.Ann, ended.ID, api.ReasonRequest{}, ""); err != nil {
		t.Fatal(err)
	}
	jobs, err := e.ActivateJobs(ctx, worker, api.ActivateRequest{Type: "work", Worker: "w", Max: 2})
	if err != nil || len(jobs.Items) != 1 || jobs.Items[0].Process != "other" {
		t.Fatalf("the worker gets %+v, %v, want the other process's job", jobs.Items, err)
	}
	if job := env.Job("work"); job.Process != "everything" {
		t.Errorf("others get %+v, want the job that was refused", job)
	}
	if _, err := e.CompleteJob(ctx, worker, jobs.Items[0].ID, api.CompleteJobRequest{Lease: jobs.Items[0].Lease}, ""); err != nil {
		t.Errorf("the worker's job: %v", err)
	}
}

// TestALeaseIsNotExtendedByWhoMayNoMore who has its text still.
func TestALeaseIsNotExtendedByWhoMayNoMore(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("all.bpmn", everything)
	worker := env.Person("worker", "Executor")
	env.Start("everything", `{}`)
	job := env.Job("work")
	if _, err := env.Engine.TakeUserRole(t.Context(), env.Ann, "worker", api.RoleRequest{Role: "Executor"}, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.ExtendJob(t.Context(), worker, job.ID, api.ExtendJobRequest{Lease: job.Lease, LeaseMS: 3_600_000}); !fault.Is(err, fault.Denied) {
		t.Errorf("extended by who may not work any more: %v, want Denied", err)
	}
	env.Job("work")
}

// TestWhoIsGoneWhenAJobIsTheirsGetsNone: their key was revoked when the call had begun.
func TestWhoIsGoneWhenAJobIsTheirsGetsNone(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("all.bpmn", everything)
	worker := env.Person("worker", "Executor")
	env.Start("everything", `{}`)
	if _, err := env.Engine.RevokeAPIKey(t.Context(), env.Ann, worker.Key, api.ReasonRequest{}, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.ActivateJobs(t.Context(), worker, api.ActivateRequest{Type: "work", Worker: "w"}); !unauthenticated(err) {
		t.Errorf("the call answers %v, want that nobody is known", err)
	}
	env.Job("work")
}
