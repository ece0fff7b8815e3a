package runner_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const counting = `<?xml version="1.0"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" targetNamespace="x">
<process id="counting" isExecutable="true">
<startEvent id="start"/><sequenceFlow id="a" sourceRef="start" targetRef="split"/><parallelGateway id="split"/>
<sequenceFlow id="b" sourceRef="split" targetRef="one"/><sequenceFlow id="c" sourceRef="split" targetRef="two"/>
<serviceTask id="one"><extensionElements><zeebe:taskDefinition type="one"/></extensionElements></serviceTask>
<serviceTask id="two"><extensionElements><zeebe:taskDefinition type="two"/></extensionElements></serviceTask>
<sequenceFlow id="d" sourceRef="one" targetRef="join"/><sequenceFlow id="e" sourceRef="two" targetRef="join"/>
<parallelGateway id="join"/><sequenceFlow id="f" sourceRef="join" targetRef="end"/><endEvent id="end"/>
</process></definitions>`

// work completes jobs of a type until n are done.
func work(t *testing.T, env *testenv.Env, kind string, n int) {
	done := 0
	for done < n {
		jobs, err := env.Engine.ActivateJobs(t.Context(), env.Ann, api.ActivateRequest{Type: kind, Worker: kind, Max: 7, WaitMS: 5000})
		if err != nil {
			t.Error(err)
			return
		}
		for _, job := range jobs.Items {
			result := json.RawMessage(fmt.Sprintf(`{"%s": true}`, kind))
			if _, err := env.Engine.CompleteJob(t.Context(), env.Ann, job.ID, api.CompleteJobRequest{Lease: job.Lease, Variables: result}, ""); err != nil {
				t.Error(err)
				return
			}
			done++
		}
	}
}

func TestInstancesOutlastTheMemory(t *testing.T) {
	const instances = 60
	env := testenv.New(t, func(c *node.Config) { c.HotInstances = 3 })
	env.Deploy("counting.bpmn", counting)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range instances / 4 {
				if _, err := env.Engine.Start(t.Context(), env.Ann, api.StartRequest{Process: "counting"}, ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, kind := range []string{"one", "two"} {
		all.Go(func() { work(t, env, kind, instances) })
	}
	all.Wait()
	list, err := env.Engine.Instances(t.Context(), env.Ann, engine.InstanceFilter{Status: "completed"}, engine.Page{Limit: 1000})
	if err != nil || len(list.Items) != instances {
		t.Fatalf("%d instances completed, %v, want %d", len(list.Items), err, instances)
	}
	for _, item := range list.Items {
		got := env.Instance(item.ID)
		if v := string(got.Variables); !strings.Contains(v, `"one":true`) || !strings.Contains(v, `"two":true`) || got.Seq != 3 {
			t.Errorf("instance %s: %d steps, variables %s, want 3 steps and both results", item.ID, got.Seq, v)
		}
	}
}

// The second request is stepped, refused when it is stored, and must not be seen
// in memory either.
func TestAStepThatCannotBeStoredNeverWas(t *testing.T) {
	env := testenv.New(t, nil)
	env.Deploy("counting.bpmn", counting)
	id := env.Start("counting", `{}`)
	set := func(variables string) error {
		_, err := env.Engine.SetVariables(t.Context(), env.Ann, id, []byte(variables), "one key")
		return err
	}
	if err := set(`{"n": 1}`); err != nil {
		t.Fatal(err)
	}
	if err := set(`{"n": 2}`); fault.CodeOf(err) != "idempotency_mismatch" {
		t.Fatalf("another request with the same key: %v, want idempotency_mismatch", err)
	}
	if got := env.Instance(id); string(got.Variables) != `{"n":1}` || got.Seq != 2 {
		t.Errorf("variables are %s at step %d, want those of step 2", got.Variables, got.Seq)
	}
}

func TestAWorkerThatWaitsEndsWithTheServer(t *testing.T) {
	env := testenv.New(t, nil)
	ended := make(chan error)
	engine, ann := env.Engine, env.Ann // Restart replaces both
	go func() {
		_, err := engine.ActivateJobs(t.Context(), ann, api.ActivateRequest{Type: "none", Worker: "w", WaitMS: 60_000})
		ended <- err
	}()
	env.Restart(nil)
	if err := <-ended; err != nil {
		t.Errorf("a waiting worker got %v, want no jobs and no error", err)
	}
}
