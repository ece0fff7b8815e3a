package engine_test

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
)

func TestARepeatedRequestGivesTheSameReceipt(t *testing.T) {
	t.Parallel()
	onBoth(t, aRepeatedRequestGivesTheSameReceipt)
}

func aRepeatedRequestGivesTheSameReceipt(t *testing.T, env *testenv.Env) {
	deployLoan(t, env)
	ctx := t.Context()
	request := api.StartRequest{Process: "loan", Variables: json.RawMessage(example(t, "application.json"))}
	start := func(r api.StartRequest, key string) (api.Receipt, error) {
		return env.Engine.Start(ctx, env.Ann, r, key)
	}

	first, err := start(request, "k1")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := start(request, "k1"); err != nil || again != first {
		t.Errorf("the same start again: %+v, %v, want %+v", again, err, first)
	}
	other := request
	other.BusinessKey = "another"
	if _, err := start(other, "k1"); fault.CodeOf(err) != "idempotency_mismatch" {
		t.Errorf("another start with the same key: %v, want idempotency_mismatch", err)
	}
	if fresh, err := start(request, "k2"); err != nil || fresh.Instance == first.Instance {
		t.Errorf("another key: %+v, %v, want a new instance", fresh, err)
	}

	job := env.Job("credit-check")
	result := api.CompleteJobRequest{Lease: job.Lease, Variables: json.RawMessage(`{"score": 640}`)}
	done, err := env.Engine.CompleteJob(ctx, env.Ann, job.ID, result, "j1")
	if err != nil {
		t.Fatal(err)
	}
	env.Restart(nil)
	if again, err := env.Engine.CompleteJob(ctx, env.Ann, job.ID, result, "j1"); err != nil || again != done {
		t.Errorf("the same completion again: %+v, %v, want %+v", again, err, done)
	}
	_, err = env.Engine.CompleteJob(ctx, env.Ann, job.ID, result, "j2")
	if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "active at step 3, task "+first.Instance) {
		t.Errorf("completing a completed job: %v, want Conflict and how the instance stands", err)
	}
}

func TestARepeatedRequestThatWasRefusedIsRefusedAgain(t *testing.T) {
	t.Parallel()
	onBoth(t, aRepeatedRequestThatWasRefusedIsRefusedAgain)
}

// The answer to the first try may have been lost on the way.
func aRepeatedRequestThatWasRefusedIsRefusedAgain(t *testing.T, env *testenv.Env) {
	deployLoan(t, env)
	id := env.Start("loan", example(t, "application.json"))
	env.Work("credit-check", `{"score": 640}`)
	task, decision := env.Task(id).ID, []byte(example(t, "decision.json"))
	if _, err := env.Engine.Claim(t.Context(), env.Ann, task, "bob", ""); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if receipt, err := env.Engine.Claim(t.Context(), env.Ann, task, "carol", "c1"); !fault.Is(err, fault.Conflict) {
			t.Errorf("claiming bob's task: %+v, %v, want Conflict", receipt, err)
		}
	}
	env.Complete(id, string(decision))
	for range 2 {
		if receipt, err := env.Engine.CompleteTask(t.Context(), env.Ann, task, decision, "t1"); !fault.Is(err, fault.Conflict) {
			t.Errorf("completing a completed task: %+v, %v, want Conflict", receipt, err)
		}
	}
}

func TestManyRepeatedStartsAtOnceMakeOneInstance(t *testing.T) {
	t.Parallel()
	onBoth(t, manyRepeatedStartsAtOnceMakeOneInstance)
}

func manyRepeatedStartsAtOnceMakeOneInstance(t *testing.T, env *testenv.Env) {
	deployLoan(t, env)
	var all sync.WaitGroup
	receipts := make([]api.Receipt, 16)
	for i := range receipts {
		all.Go(func() {
			var err error
			receipts[i], err = env.Engine.Start(t.Context(), env.Ann, api.StartRequest{Process: "loan"}, "same")
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, r := range receipts {
		if r != receipts[0] {
			t.Errorf("receipts differ: %+v and %+v", r, receipts[0])
		}
	}
	list, err := env.Engine.Instances(t.Context(), env.Ann, engine.InstanceFilter{}, pageOf(0))
	if err != nil || len(list.Items) != 1 {
		t.Errorf("%d instances, %v, want 1", len(list.Items), err)
	}
}

func TestOneOfManyCompletionsWins(t *testing.T) { onBoth(t, oneOfManyCompletionsWins) }

func oneOfManyCompletionsWins(t *testing.T, env *testenv.Env) {
	deployLoan(t, env)
	id := env.Start("loan", example(t, "application.json"))
	env.Work("credit-check", `{"score": 640}`)
	task := env.Task(id)
	var all sync.WaitGroup
	outcomes := make([]error, 16)
	for i := range outcomes {
		all.Go(func() {
			_, outcomes[i] = env.Engine.CompleteTask(t.Context(), env.Ann, task.ID, []byte(example(t, "decision.json")), "")
		})
	}
	all.Wait()
	won := 0
	for _, err := range outcomes {
		switch {
		case err == nil:
			won++
		case !fault.Is(err, fault.Conflict):
			t.Errorf("a late completion: %v, want Conflict", err)
		}
	}
	if won != 1 {
		t.Errorf("%d completions succeeded, want 1", won)
	}
}

// A completion that came too late is a step, and evidence of that step must not show
// who was late as who did the work.
func TestALateCompletionIsNoCompletion(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	deployLoan(t, env)
	id := env.Start("loan", example(t, "application.json"))
	env.Work("credit-check", `{"score": 640}`)
	task := env.Task(id).ID
	env.Complete(id, example(t, "decision.json"))
	if _, err := env.Engine.CompleteTask(t.Context(), env.Ann, task, []byte(example(t, "decision.json")), ""); !fault.Is(err, fault.Conflict) {
		t.Fatalf("a late completion: %v, want Conflict", err)
	}
	last := env.Instance(id).Seq
	leaf, _, err := engine.PastStep(t.Context(), env.Engine, env.Ann, id, last)
	if err != nil || leaf.Kind != "instance.task_completed_rejected" {
		t.Errorf("the leaf of the late completion says %q, %v", leaf.Kind, err)
	}
	if leaf, _, err = engine.PastStep(t.Context(), env.Engine, env.Ann, id, last-1); err != nil || leaf.Kind != "instance.task_completed" {
		t.Errorf("the leaf of the completion says %q, %v", leaf.Kind, err)
	}
}

func TestClaiming(t *testing.T) { onBoth(t, claiming) }

func claiming(t *testing.T, env *testenv.Env) {
	deployLoan(t, env)
	id := env.Start("loan", example(t, "application.json"))
	env.Work("credit-check", `{"score": 640}`)
	task := env.Task(id).ID
	ctx := t.Context()
	if _, err := env.Engine.Claim(ctx, env.Ann, task, "bob", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.Claim(ctx, env.Ann, task, "carol", ""); !fault.Is(err, fault.Conflict) {
		t.Errorf("claiming bob's task: %v, want Conflict", err)
	}
	if _, err := env.Engine.SaveTask(ctx, env.Ann, task, []byte(`{"reason": "half a thought"}`), ""); err != nil {
		t.Fatal(err)
	}
	mine, err := env.Engine.Tasks(ctx, env.Ann, engine.TaskFilter{Assignee: "bob"}, pageOf(0))
	if err != nil || len(mine.Items) != 1 || mine.Items[0].ID != task {
		t.Errorf("bob's tasks: %+v, %v", mine.Items, err)
	}
	env.Restart(nil)
	if got := env.Task(id); got.Assignee != "bob" || !strings.Contains(string(got.Draft), "half a thought") {
		t.Errorf("after a restart: assignee %q, draft %s", got.Assignee, got.Draft)
	}
	if _, err := env.Engine.Unclaim(ctx, env.Ann, task, ""); err != nil {
		t.Fatal(err)
	}
	env.Complete(id, example(t, "decision.json"))
	if variables := string(env.Instance(id).Variables); strings.Contains(variables, "half a thought") {
		t.Error("the draft of a completed task is still there")
	}
}

func TestFormViolationsNameThePlace(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	deployLoan(t, env)
	id := env.Start("loan", example(t, "application.json"))
	env.Work("credit-check", `{"score": 640}`)
	_, err := env.Engine.CompleteTask(t.Context(), env.Ann, env.Task(id).ID, []byte(`{"approved": "secret-word"}`), "")
	if fault.CodeOf(err) != "form_violation" || !strings.Contains(err.Error(), "/variables/approved: must be of type boolean") {
		t.Errorf("error = %v, want a form violation at /variables/approved", err)
	}
	if strings.Contains(err.Error(), "secret-word") {
		t.Error("the error quotes what was entered")
	}
	if got := env.Instance(id); got.Status != "active" || len(got.Waiting) != 1 {
		t.Errorf("after a refused completion: %+v, want the task still open", got)
	}
}

func TestARepeatedDeploymentIsNotCarriedOutAgain(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	deploy := func(mode, key string) (api.Deployment, error) {
		return env.Engine.Deploy(t.Context(), env.Ann, []api.File{{Name: "one.bpmn", Content: []byte(strings.Replace(oneTask, "THE_MODE", mode, 1))}}, key)
	}
	first, err := deploy("standard", "d1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := deploy("confidential", "d2"); err != nil {
		t.Fatal(err)
	}
	env.Restart(nil)
	again, err := deploy("standard", "d1")
	if err != nil || again.Processes[0].Version != first.Processes[0].Version {
		t.Errorf("the first deployment again: %+v, %v, want version 1", again, err)
	}
	if _, err := deploy("confidential", "d1"); fault.CodeOf(err) != "idempotency_mismatch" {
		t.Errorf("other files under the same key: %v, want idempotency_mismatch", err)
	}
	if got, err := env.Engine.Process(t.Context(), env.Ann, "one_task", 0); err != nil || got.Version != 2 || got.Mode != "confidential" {
		t.Errorf("newest: %+v, %v, want version 2, confidential", got, err)
	}

	set := func(mode, key string) api.Process {
		t.Helper()
		p, err := env.Engine.SetMode(t.Context(), env.Ann, "one_task", mode, key)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	set("standard", "m1")
	set("confidential", "m2")
	if got := set("standard", "m1"); got.Mode != "standard" {
		t.Errorf("the first setting again answers %s, want what it answered then", got.Mode)
	}
	if got, err := env.Engine.Process(t.Context(), env.Ann, "one_task", 0); err != nil || got.Mode != "confidential" {
		t.Errorf("mode %s, %v, want the later setting to stay", got.Mode, err)
	}
}

func TestADeploymentWhoseCallerHangsUpDoesNotBlockTheNext(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	ctx, hangUp := context.WithCancel(t.Context())
	hangUp()
	model := func(mode string) []api.File {
		return []api.File{{Name: "one.bpmn", Content: []byte(strings.Replace(oneTask, "THE_MODE", mode, 1))}}
	}
	_, _ = env.Engine.Deploy(ctx, env.Ann, model("standard"), "")
	if _, err := env.Engine.Deploy(t.Context(), env.Ann, model("confidential"), ""); err != nil {
		t.Error(err)
	}
}

func TestNamesThatLookLikePathsAreRefused(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", classified)
	for _, name := range []string{"person.diagnosis", "people[0]", "$actor", ""} {
		variables := json.RawMessage(`{"` + name + `": "x"}`)
		if _, err := env.Engine.Start(t.Context(), env.Ann, api.StartRequest{Process: "classified", Variables: variables}, ""); fault.CodeOf(err) != "invalid_name" {
			t.Errorf("a variable named %q: %v, want invalid_name", name, err)
		}
	}
}

func TestOnlySearchableFieldsAreSearched(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	deployLoan(t, env)
	id := env.Start("loan", example(t, "application.json"))
	find := func(field, value string) (api.Instances, error) {
		return env.Engine.Instances(t.Context(), env.Ann, engine.InstanceFilter{Process: "loan", Field: field, Value: value}, pageOf(0))
	}
	if found, err := find("applicant.ssn", "536-22-8817"); err != nil || len(found.Items) != 1 || found.Items[0].ID != id {
		t.Errorf("by ssn: %+v, %v, want the instance", found.Items, err)
	}
	if found, err := find("applicant.ssn", "536-22-8818"); err != nil || len(found.Items) != 0 {
		t.Errorf("by another ssn: %+v, %v, want none", found.Items, err)
	}
	if _, err := find("applicant.name", "Ada Lovell"); fault.CodeOf(err) != "not_searchable" {
		t.Errorf("by a field that is not searchable: %v, want not_searchable", err)
	}
}

func TestDataThatNeverFitLeavesNoStep(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", classified)
	large := json.RawMessage(`{"note": "` + strings.Repeat("x", 70_000) + `"}`)
	if _, err := env.Engine.Start(t.Context(), env.Ann, api.StartRequest{Process: "classified", Variables: large}, ""); fault.CodeOf(err) != "field_too_large" {
		t.Errorf("starting with a large value: %v, want field_too_large", err)
	}
	if list, err := env.Engine.Instances(t.Context(), env.Ann, engine.InstanceFilter{}, pageOf(0)); err != nil || len(list.Items) != 0 {
		t.Errorf("%d instances, %v, want none", len(list.Items), err)
	}
	id := env.Start("classified", somebody)
	if _, err := env.Engine.SetVariables(t.Context(), env.Ann, id, large, ""); fault.CodeOf(err) != "field_too_large" {
		t.Errorf("setting a large value: %v, want field_too_large", err)
	}
	if got := env.Instance(id); got.Seq != 1 || got.Status != "active" {
		t.Errorf("after a refusal: step %d, %s, want step 1, active", got.Seq, got.Status)
	}
}

// TestRequestsOfOneMomentStandTogether sends keys of version 7: what they leave
// begins with their time, and still tells two keys of one millisecond apart.
func TestRequestsOfOneMomentStandTogether(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	deployLoan(t, env)
	request := api.StartRequest{Process: "loan", Variables: json.RawMessage(example(t, "application.json"))}
	instances := map[string]bool{}
	for _, key := range []string{"0192f0c1-9a3b-7c4d-8e5f-000000000001", "0192f0c1-9a3b-7c4d-8e5f-000000000002"} {
		for range 2 {
			receipt, err := env.Engine.Start(t.Context(), env.Ann, request, key)
			if err != nil {
				t.Fatal(err)
			}
			instances[receipt.Instance] = true
		}
	}
	if len(instances) != 2 {
		t.Errorf("two keys, each sent twice, made %d instances", len(instances))
	}
	env.Restart(func() {
		db := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
		defer db.Close()
		var found int
		err := db.QueryRow(`SELECT count(*) FROM unique_tokens WHERE substr(token, 1, 6) = x'0192f0c19a3b'`).Scan(&found)
		if err != nil || found != 2 {
			t.Errorf("%d tokens begin with the time of their key, %v, want 2", found, err)
		}
	})
}
