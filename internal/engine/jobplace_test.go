package engine_test

import (
	"slices"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
)

// taken activates jobs of the type that the claims have, and returns of which processes
// they are, sorted.
func taken(t *testing.T, env *testenv.Env, c engine.Caller) (jobs []api.Job, processes []string) {
	t.Helper()
	got, err := env.Engine.ActivateJobs(t.Context(), c, api.ActivateRequest{Type: "fail", Worker: "w", Max: 100, LeaseMS: 600_000})
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range got.Items {
		processes = append(processes, j.Process)
	}
	slices.Sort(processes)
	return got.Items, processes
}

// TestAWorkerGetsTheJobsOfWhatTheyMayWork by process, by element, by role and by the
// tenant's own policies.
func TestAWorkerGetsTheJobsOfWhatTheyMayWork(t *testing.T) {
	t.Parallel()
	onBoth(t, aWorkerGetsTheJobs)
}

func aWorkerGetsTheJobs(t *testing.T, env *testenv.Env) {
	ctx := t.Context()
	deployClaims(t, env)
	keys := map[string]string{"ofcar": env.PersonsKey("ofcar"), "offails": env.PersonsKey("offails"), "ofask": env.PersonsKey("ofask"), "all": env.PersonsKey("all", "Executor"), "bob": env.PersonsKey("bob", "Executor")}
	give(t, env, api.GrantRequest{User: "ofcar", Right: "work", Process: "car"})
	give(t, env, api.GrantRequest{User: "offails", Right: "work", Process: "home", Task: "fails"})
	give(t, env, api.GrantRequest{User: "ofask", Right: "work", Process: "home", Task: "ask"})
	setPolicies(t, env, noHome)
	homes := func() {
		t.Helper()
		for range 2 {
			env.Start("home", `{"company": "A"}`)
		}
	}
	homes()
	env.Start("car", `{"company": "A"}`)
	var done []api.Job
	for _, c := range []struct {
		who  string
		want []string
	}{
		{"ofask", nil}, {"ofcar", []string{"car"}}, {"bob", nil}, {"offails", []string{"home", "home"}}, {"all", nil},
	} {
		jobs, got := taken(t, env, env.SignIn(keys[c.who]))
		if !slices.Equal(got, c.want) {
			t.Errorf("%s gets jobs of %v, want %v", c.who, got, c.want)
		}
		done = append(done, jobs...)
	}
	homes()
	env.Start("car", `{"company": "A"}`)
	if _, got := taken(t, env, env.SignIn(keys["bob"])); !slices.Equal(got, []string{"car"}) {
		t.Errorf("Bob, who has nothing to do with homes, gets jobs of %v", got)
	}
	if _, got := taken(t, env, env.SignIn(keys["all"])); !slices.Equal(got, []string{"home", "home"}) {
		t.Errorf("an Executor gets jobs of %v", got)
	}
	if len(done) != 3 {
		t.Fatalf("%d jobs were given", len(done))
	}
	carJob, homeJob := done[0], done[1]
	ofCar, ofFails := env.SignIn(keys["ofcar"]), env.SignIn(keys["offails"])
	for what, err := range map[string]error{
		"completes": errorOf(env.Engine.CompleteJob(ctx, ofCar, homeJob.ID, api.CompleteJobRequest{Lease: homeJob.Lease}, "")),
		"fails":     errorOf(env.Engine.FailJob(ctx, ofCar, homeJob.ID, api.FailJobRequest{Lease: homeJob.Lease}, "")),
		"extends":   errorOf(env.Engine.ExtendJob(ctx, ofCar, homeJob.ID, api.ExtendJobRequest{Lease: homeJob.Lease, LeaseMS: 1000})),
	} {
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("who works cars %s a job of a home: %v, want NotFound", what, err)
		}
	}
	if _, err := env.Engine.CompleteJob(ctx, ofCar, carJob.ID, api.CompleteJobRequest{Lease: carJob.Lease}, ""); err != nil {
		t.Errorf("who works cars completes their job: %v", err)
	}
	for _, key := range []string{"k", "k"} { // the second time it is closed, and nothing is known of it but its process
		if _, err := env.Engine.CompleteJob(ctx, ofFails, homeJob.ID, api.CompleteJobRequest{Lease: homeJob.Lease}, key); err != nil {
			t.Errorf("who works one element completes its job, or repeats that: %v", err)
		}
	}
	if _, err := env.Engine.CompleteJob(ctx, ofFails, homeJob.ID, api.CompleteJobRequest{Lease: homeJob.Lease}, "another"); !fault.Is(err, fault.NotFound) {
		t.Errorf("another request for a closed job: %v, want NotFound", err)
	}
}

// TestAWorkerWaitsForTheirJob while others come, which are older.
func TestAWorkerWaitsForTheirJob(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	deployClaims(t, env)
	key := env.PersonsKey("ofcar")
	give(t, env, api.GrantRequest{User: "ofcar", Right: "work", Process: "car"})
	worker := env.SignIn(key)
	type answer struct {
		jobs api.Jobs
		err  error
	}
	answers := make(chan answer)
	go func() {
		jobs, err := env.Engine.ActivateJobs(t.Context(), worker, api.ActivateRequest{Type: "fail", Worker: "w", Max: 100, WaitMS: 600_000})
		answers <- answer{jobs, err}
	}()
	for range 3 {
		env.Start("home", `{"company": "A"}`)
	}
	env.Start("car", `{"company": "A"}`)
	got := <-answers
	if got.err != nil || len(got.jobs.Items) != 1 || got.jobs.Items[0].Process != "car" {
		t.Errorf("who waits gets %+v, %v, want the one of a car", got.jobs.Items, got.err)
	}
	if _, left := taken(t, env, env.Ann); !slices.Equal(left, []string{"home", "home", "home"}) {
		t.Errorf("for others there are jobs of %v", left)
	}
}
