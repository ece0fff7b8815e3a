package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

const withTimer = `<?xml version="1.0"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" targetNamespace="x">
<process id="timed" isExecutable="true">
<startEvent id="start"/><sequenceFlow id="a" sourceRef="start" targetRef="work"/>
<serviceTask id="work"><extensionElements><zeebe:taskDefinition type="work" retries="2"/></extensionElements></serviceTask>
<boundaryEvent id="late" attachedToRef="work"><timerEventDefinition><timeDuration>PT2H</timeDuration></timerEventDefinition></boundaryEvent>
<boundaryEvent id="refused" attachedToRef="work"><errorEventDefinition errorRef="no"/></boundaryEvent>
<sequenceFlow id="b" sourceRef="work" targetRef="done"/><endEvent id="done"/>
<sequenceFlow id="c" sourceRef="late" targetRef="too_late"/><endEvent id="too_late"/>
<sequenceFlow id="d" sourceRef="refused" targetRef="said_no"/><endEvent id="said_no"/>
</process><error id="no" errorCode="NO"/></definitions>`

// timed runs a test in virtual time on a node with the timed process.
func timed(t *testing.T, f func(t *testing.T, env *testenv.Env)) {
	synctest.Test(t, func(t *testing.T) {
		env := testenv.New(t, nil)
		env.Deploy("timed.bpmn", withTimer)
		f(t, env)
	})
}

func jobs(t *testing.T, env *testenv.Env, wait time.Duration) []api.Job {
	t.Helper()
	list, err := env.Engine.ActivateJobs(t.Context(), env.Ann, api.ActivateRequest{
		Type: "work", Worker: "w", Max: 10, LeaseMS: int(time.Minute / time.Millisecond), WaitMS: int(wait / time.Millisecond),
	})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// trail returns the elements that an instance completed, in order.
func trail(t *testing.T, env *testenv.Env, id string) string {
	t.Helper()
	steps, err := env.Engine.Steps(t.Context(), env.Ann, id, pageOf(0))
	if err != nil {
		t.Fatal(err)
	}
	var path []string
	for _, s := range steps.Items {
		for _, line := range s.Trail {
			if line.What == "completed" {
				path = append(path, line.Element)
			}
		}
	}
	return strings.Join(path, " ")
}

func TestTimerFires(t *testing.T) {
	t.Parallel()
	timed(t, func(t *testing.T, env *testenv.Env) {
		id := env.Start("timed", `{}`)
		time.Sleep(2*time.Hour - time.Second)
		synctest.Wait()
		if got := env.Instance(id).Status; got != "active" {
			t.Fatalf("a second before the time: %s", got)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := env.Instance(id).Status; got != "completed" || !strings.HasSuffix(trail(t, env, id), "too_late") {
			t.Errorf("status %s after %q, want completed through too_late", got, trail(t, env, id))
		}
	})
}

func TestTimerFiresAfterARestart(t *testing.T) {
	t.Parallel()
	timed(t, func(t *testing.T, env *testenv.Env) {
		id := env.Start("timed", `{}`)
		env.Restart(func() { time.Sleep(3 * time.Hour) })
		synctest.Wait()
		if got := env.Instance(id).Status; got != "completed" {
			t.Errorf("status %s, want completed", got)
		}
	})
}

func TestLeaseEndsAndTheJobIsOfferedAgain(t *testing.T) {
	t.Parallel()
	timed(t, func(t *testing.T, env *testenv.Env) {
		env.Start("timed", `{}`)
		first := jobs(t, env, 0)
		if len(first) != 1 {
			t.Fatalf("%d jobs, want 1", len(first))
		}
		if again := jobs(t, env, 30*time.Second); len(again) != 0 {
			t.Fatal("a leased job was offered to somebody else")
		}
		second := jobs(t, env, time.Minute)
		if len(second) != 1 || second[0].ID != first[0].ID {
			t.Fatalf("after the lease: %d jobs, want the same one again", len(second))
		}
		_, err := env.Engine.CompleteJob(t.Context(), env.Ann, first[0].ID, api.CompleteJobRequest{Lease: first[0].Lease}, "")
		if !fault.Is(err, fault.Conflict) || fault.CodeOf(err) != "lease_lost" {
			t.Errorf("completing with the lost lease: %v, want Conflict lease_lost", err)
		}
		if want := ": active at step 1, job " + first[0].ID + " waits at"; !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("completing with the lost lease: %v, want the present state %q", err, want)
		}
		if _, err := env.Engine.CompleteJob(t.Context(), env.Ann, second[0].ID, api.CompleteJobRequest{Lease: second[0].Lease}, ""); err != nil {
			t.Error(err)
		}
	})
}

func TestExtendedLeaseHolds(t *testing.T) {
	t.Parallel()
	timed(t, func(t *testing.T, env *testenv.Env) {
		env.Start("timed", `{}`)
		job := jobs(t, env, 0)[0]
		if _, err := env.Engine.ExtendJob(t.Context(), env.Ann, job.ID, api.ExtendJobRequest{Lease: job.Lease, LeaseMS: 3_600_000}); err != nil {
			t.Fatal(err)
		}
		if again := jobs(t, env, time.Minute); len(again) != 0 {
			t.Error("an extended lease did not hold")
		}
		_, err := env.Engine.ExtendJob(t.Context(), env.Ann, job.ID, api.ExtendJobRequest{Lease: "1.00", LeaseMS: 1})
		if fault.CodeOf(err) != "lease_lost" {
			t.Errorf("extending with a made-up lease: %v, want lease_lost", err)
		}
	})
}

func TestLeaseFromBeforeARestartCounts(t *testing.T) {
	t.Parallel()
	timed(t, func(t *testing.T, env *testenv.Env) {
		id := env.Start("timed", `{}`)
		job := jobs(t, env, 0)[0]
		env.Restart(nil)
		if _, err := env.Engine.CompleteJob(t.Context(), env.Ann, job.ID, api.CompleteJobRequest{Lease: job.Lease + "0"}, ""); fault.CodeOf(err) != "lease_lost" {
			t.Errorf("a forged lease: %v, want lease_lost", err)
		}
		if _, err := env.Engine.CompleteJob(t.Context(), env.Ann, job.ID, api.CompleteJobRequest{Lease: job.Lease}, ""); err != nil {
			t.Fatal(err)
		}
		if got := env.Instance(id).Status; got != "completed" {
			t.Errorf("status %s, want completed", got)
		}
	})
}

func TestFailedJobWaitsAndBecomesAnIncident(t *testing.T) {
	t.Parallel()
	timed(t, func(t *testing.T, env *testenv.Env) {
		id := env.Start("timed", `{}`)
		fail := func() {
			t.Helper()
			job := jobs(t, env, time.Minute)
			if len(job) != 1 {
				t.Fatalf("%d jobs, want 1", len(job))
			}
			backoff := 10_000
			if _, err := env.Engine.FailJob(t.Context(), env.Ann, job[0].ID, api.FailJobRequest{Lease: job[0].Lease, Message: "bureau is closed", BackoffMS: &backoff}, ""); err != nil {
				t.Fatal(err)
			}
		}
		fail()
		if early := jobs(t, env, 9*time.Second); len(early) != 0 {
			t.Fatal("the job was offered before its back-off was over")
		}
		fail()
		if none := jobs(t, env, time.Minute); len(none) != 0 {
			t.Fatal("a job without retries was offered")
		}
		list, err := env.Engine.Incidents(t.Context(), env.Ann, "timed", pageOf(0))
		if err != nil {
			t.Fatal(err)
		}
		if len(list.Items) != 1 || list.Items[0].Message != "bureau is closed" || list.Items[0].Code != "job_failed" {
			t.Fatalf("incidents = %+v, want one with the worker's message", list.Items)
		}
		env.Restart(nil)
		if _, err := env.Engine.RetryIncident(t.Context(), env.Ann, list.Items[0].ID, 1, ""); err != nil {
			t.Fatal(err)
		}
		env.Work("work", `{}`)
		if got := env.Instance(id).Status; got != "completed" {
			t.Errorf("status %s, want completed", got)
		}
	})
}

func TestBPMNErrorIsCaught(t *testing.T) {
	t.Parallel()
	timed(t, func(t *testing.T, env *testenv.Env) {
		id := env.Start("timed", `{}`)
		job := env.Job("work")
		if _, err := env.Engine.ErrorJob(t.Context(), env.Ann, job.ID, api.ErrorJobRequest{Lease: job.Lease, Code: "NO"}, ""); err != nil {
			t.Fatal(err)
		}
		if got := trail(t, env, id); !strings.HasSuffix(got, "said_no") {
			t.Errorf("completed %q, want said_no at the end", got)
		}
	})
}

func TestLongPollWakesForANewJob(t *testing.T) {
	t.Parallel()
	timed(t, func(t *testing.T, env *testenv.Env) {
		got := make(chan int)
		began := time.Now()
		go func() { got <- len(jobs(t, env, time.Minute)) }()
		synctest.Wait()
		env.Start("timed", `{}`)
		if n := <-got; n != 1 || time.Since(began) != 0 {
			t.Errorf("%d jobs after %v, want 1 at once", n, time.Since(began))
		}
	})
}

// fail fails a job with a back-off.
func fail(t *testing.T, env *testenv.Env, job api.Job, key string) (api.Receipt, error) {
	t.Helper()
	backoff := 10_000
	return env.Engine.FailJob(t.Context(), env.Ann, job.ID, api.FailJobRequest{Lease: job.Lease, BackoffMS: &backoff}, key)
}

func TestASupersededLeaseNeverCountsAgain(t *testing.T) {
	t.Parallel()
	timed(t, func(t *testing.T, env *testenv.Env) {
		env.Start("timed", `{}`)
		first := jobs(t, env, 0)[0]
		second := jobs(t, env, 2*time.Minute)[0]
		if _, err := fail(t, env, second, ""); err != nil {
			t.Fatal(err)
		}
		for _, restart := range []bool{false, true} {
			if restart {
				env.Restart(nil)
			}
			_, err := env.Engine.CompleteJob(t.Context(), env.Ann, first.ID, api.CompleteJobRequest{Lease: first.Lease}, "")
			if fault.CodeOf(err) != "lease_lost" {
				t.Errorf("completing with the superseded lease (restarted: %v): %v, want lease_lost", restart, err)
			}
		}
	})
}

func TestARepeatedFailureGivesItsReceipt(t *testing.T) {
	t.Parallel()
	timed(t, func(t *testing.T, env *testenv.Env) {
		env.Start("timed", `{}`)
		job := jobs(t, env, 0)[0]
		first, err := fail(t, env, job, "f1")
		if err != nil {
			t.Fatal(err)
		}
		if next := jobs(t, env, time.Minute); len(next) != 1 {
			t.Fatal("the job was not offered again")
		}
		if again, err := fail(t, env, job, "f1"); err != nil || again != first {
			t.Errorf("the same failure again: %+v, %v, want %+v", again, err, first)
		}
	})
}

func TestALapsedLeaseMayBeExtendedUntilSomebodyElseHasTheJob(t *testing.T) {
	t.Parallel()
	timed(t, func(t *testing.T, env *testenv.Env) {
		env.Start("timed", `{}`)
		job := jobs(t, env, 0)[0]
		extend := func() error {
			_, err := env.Engine.ExtendJob(t.Context(), env.Ann, job.ID, api.ExtendJobRequest{Lease: job.Lease, LeaseMS: 60_000})
			return err
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if err := extend(); err != nil {
			t.Fatalf("extending a lapsed lease that nobody took: %v", err)
		}
		if taken := jobs(t, env, 30*time.Second); len(taken) != 0 {
			t.Error("the job was given to somebody else")
		}
		next := jobs(t, env, time.Minute)
		if len(next) != 1 {
			t.Fatal("the job was not offered again")
		}
		if err := extend(); fault.CodeOf(err) != "lease_lost" {
			t.Errorf("extending after somebody else took the job: %v, want lease_lost", err)
		}
		env.Engine.CompleteJob(t.Context(), env.Ann, job.ID, api.CompleteJobRequest{Lease: next[0].Lease}, "")
		if err := extend(); fault.CodeOf(err) != "job_closed" {
			t.Errorf("extending a finished job: %v, want job_closed", err)
		}
	})
}

func TestWorkersWhoHangUpLoseNoJob(t *testing.T) {
	t.Parallel()
	const instances = 40
	env := testenv.New(t, func(c *node.Config) { c.HotInstances = 1 })
	env.Deploy("timed.bpmn", withTimer)
	for range instances {
		env.Start("timed", `{}`)
	}
	for i := range 300 {
		ctx, hangUp := context.WithTimeout(t.Context(), time.Duration(i%20)*50*time.Microsecond)
		_, _ = env.Engine.ActivateJobs(ctx, env.Ann, api.ActivateRequest{Type: "work", Worker: "w", Max: 3, LeaseMS: 1})
		hangUp()
	}
	for done := 0; done < instances; done++ {
		list, err := env.Engine.ActivateJobs(t.Context(), env.Ann, api.ActivateRequest{Type: "work", Worker: "w", LeaseMS: 60_000, WaitMS: 10_000})
		if err != nil || len(list.Items) != 1 {
			t.Fatalf("%d of %d jobs could be had: %v", done, instances, err)
		}
	}
}
