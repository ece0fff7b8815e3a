package engine_test

import (
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

// readings are the use cases by which nothing is done: all that leave no leaf but one that
// tells what was shown. Of a file each part is decided as it comes in, and a task that is
// completed leaves its step when what was signed is one.
func readings() (names []string) {
	does := map[string]bool{"PutFile": true, "CompleteSignedTask": true}
	for _, act := range auditedActs("", "") {
		name, _, _ := strings.Cut(act.name, ":")
		does[name] = does[name] || slices.ContainsFunc(act.leaves, func(kind string) bool {
			return !strings.HasPrefix(kind, "data.") && !strings.HasPrefix(kind, "audit.")
		})
	}
	all := reflect.TypeFor[*engine.Engine]()
	for i := range all.NumMethod() {
		if m := all.Method(i); takesCaller(m) && !does[m.Name] { // also one that is no known act
			names = append(names, m.Name)
		}
	}
	return names
}

// TestEveryReadIsAnsweredToWhoAsksNow calls every use case that shows something, with a
// caller who was revoked since they were admitted: nothing is said to them, not even what is
// wrong with what they ask.
func TestEveryReadIsAnsweredToWhoAsksNow(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	bob := env.Person("bob", "Admin", "Operator", "Designer", "Executor", "Viewer", "Auditor")
	by := map[string]engine.Caller{"a key": bob, "a session": signedInBySession(t, env, bob)}
	if _, err := env.Engine.RevokeUser(t.Context(), env.Ann, "bob", api.ReasonRequest{}, ""); err != nil {
		t.Fatal(err)
	}
	names := readings()
	if len(names) < 45 {
		t.Fatalf("%d use cases show something: %v", len(names), names)
	}
	for _, name := range names {
		method := reflect.ValueOf(env.Engine).MethodByName(name)
		for how, c := range by {
			args := []reflect.Value{reflect.ValueOf(t.Context()), reflect.ValueOf(c)}
			for i := 2; i < method.Type().NumIn(); i++ {
				args = append(args, reflect.Zero(method.Type().In(i)))
			}
			results := method.Call(args)
			if err, _ := results[len(results)-1].Interface().(error); !unauthenticated(err) || !results[0].IsZero() {
				t.Errorf("%s, asked by %s that was revoked meanwhile: %+v, %v", name, how, results[0], err)
			}
		}
	}
}

// shownSoFar counts the entries that tell what was shown.
func shownSoFar(t *testing.T, env *testenv.Env) (n int) {
	t.Helper()
	for _, kind := range []string{"data.shown", "data.revealed", "data.exported", "data.searched", "audit.read", "audit.exported"} {
		n += len(entriesOf(t, env, kind))
	}
	return n
}

// TestWhatIsTakenIsShownNoMore to who asked before it was taken and waits for an instance that
// others have; the log does not tell that it was. Who may still is answered.
func TestWhatIsTakenIsShownNoMore(t *testing.T) {
	t.Parallel()
	w := newCare(t)
	sequenced(t, w.Env)
	roles := "Admin Designer Executor Viewer Auditor"
	waiting := []string{"Instance", "Export", "Steps", "Instances", "Tasks", "Task", "Incidents", "File", "Evidence"}
	ask := func(c engine.Caller, meanwhile func()) map[string]error {
		answers, done := w.answers(), map[string]chan error{}
		err := engine.WhileUsing(t.Context(), w.Engine, w.Ann, w.instance, func() {
			for _, of := range waiting {
				done[of] = make(chan error, 1)
				go func() { done[of] <- second(answers[of](t.Context(), c)) }()
			}
			meanwhile()
		})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]error{}
		for of, answer := range done {
			got[of] = <-answer
		}
		return got
	}
	for _, way := range takings {
		eve := w.person(t, strings.ReplaceAll(way.name, " ", "-"), roles)
		before := shownSoFar(t, w.Env)
		got := ask(eve, func() {
			for _, role := range strings.Fields(roles) {
				if err := way.take(t, w.Env, eve, role); err != nil {
					t.Error(err)
				}
				if !strings.Contains(way.name, "role") {
					break
				}
			}
		})
		for of, err := range got {
			if !way.want(err) {
				t.Errorf("%s when %s meanwhile: %v", of, way.name, err)
			}
		}
		if told := shownSoFar(t, w.Env) - before; told != 0 {
			t.Errorf("when %s meanwhile, the log tells of %d answers that something was shown", way.name, told)
		}
	}
	eve := w.person(t, "eve", roles)
	for of, err := range ask(eve, func() {
		if _, err := w.Engine.ChangeUser(t.Context(), w.Ann, "eve", api.ProfileRequest{Display: "Eve"}, ""); err != nil {
			t.Error(err)
		}
	}) {
		if err != nil {
			t.Errorf("%s, asked by somebody of whom nothing was taken: %v", of, err)
		}
	}
}

// TestAnExportEndsWithTheRightToItAtItsEnd too: of what was given out last, some may not be on
// its way yet.
func TestAnExportEndsWithTheRightToItAtItsEnd(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	if _, err := env.Engine.CreateGroup(t.Context(), env.Ann, api.GroupRequest{Name: "clerks"}, ""); err != nil {
		t.Fatal(err)
	}
	eve := env.Person("eve", "Admin")
	sequenced(t, env)
	entries, err := env.Engine.ExportAudit(t.Context(), eve, api.AuditExportQuery{AuditFilter: api.AuditFilter{Kind: "group.created"}})
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	for _, failed := range entries {
		if err = failed; err != nil {
			break
		}
		got++
		if err := second(env.Engine.RevokeAPIKey(t.Context(), env.Ann, eve.Key, api.ReasonRequest{}, "")); err != nil {
			t.Fatal(err)
		}
	}
	if got != 1 || !unauthenticated(err) {
		t.Errorf("%d entries, then %v", got, err)
	}
}

// TestJobsAreShownToWhoTheWorkerIsNow where less of them may be shown since they asked.
func TestJobsAreShownToWhoTheWorkerIsNow(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("all.bpmn", everything)
	env.Start("everything", `{"a": 1, "b": 2}`)
	bob := env.Person("bob", "Executor")
	setPolicies(t, env, `
@id("no-b")
@reason("b is nothing for Bob")
forbid (principal == user::"bob", action == Action::"value:read", resource)
when { resource.field == "b" };`)
	jobs, err := env.Engine.ActivateJobs(t.Context(), bob, api.ActivateRequest{Type: "work", Worker: "w"})
	if err != nil || len(jobs.Items) != 1 || string(jobs.Items[0].Variables) != `{"a":1}` {
		t.Fatalf("%+v, %v", jobs.Items, err)
	}
	told := entriesOf(t, env, "data.shown")
	if shows := pathsShown(told[len(told)-1]); !slices.Equal(shows, []string{"a"}) {
		t.Errorf("the log tells that %v were shown", shows)
	}
	if _, err := env.Engine.CompleteJob(t.Context(), bob, jobs.Items[0].ID, api.CompleteJobRequest{Lease: jobs.Items[0].Lease}, ""); err != nil {
		t.Errorf("the job is not theirs: %v", err)
	}
}

// TestAWaitForJobsEndsWithTheRightToThem at once, whenever it ends; what takes nothing does
// not end it.
func TestAWaitForJobsEndsWithTheRightToThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := testenv.New(t, nil)
		env.Deploy("all.bpmn", everything)
		ways := append(slices.Clone(takings), taking{"they sign out", func(t *testing.T, env *testenv.Env, c engine.Caller, _ string) error {
			return second(env.Engine.SignOut(t.Context(), c))
		}, unauthenticated})
		wait := func(c engine.Caller) (answer chan error, jobs *api.Jobs) {
			answer, jobs = make(chan error, 1), &api.Jobs{}
			go func() {
				var err error
				*jobs, err = env.Engine.ActivateJobs(t.Context(), c, api.ActivateRequest{Type: "work", Worker: "w", WaitMS: 60_000, LeaseMS: 3_600_000})
				answer <- err
			}()
			synctest.Wait()
			return answer, jobs
		}
		for _, way := range ways {
			c := env.Person(strings.ReplaceAll(way.name, " ", "-"), "Executor")
			if way.name == "they sign out" {
				c = signedInBySession(t, env, c)
			}
			answer, _ := wait(c)
			if err := way.take(t, env, c, "Executor"); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if err := <-answer; !way.want(err) || time.Since(began) > time.Second {
				t.Errorf("when %s, the wait ends after %s: %v", way.name, time.Since(began), err)
			}
			began = time.Now()
			if answer, _ = wait(c); !way.want(<-answer) || time.Since(began) > time.Second {
				t.Errorf("a wait that begins when %s ends after %s", way.name, time.Since(began))
			}
		}
		bob := env.Person("bob", "Executor")
		answer, jobs := wait(bob)
		if _, err := env.Engine.ChangeUser(t.Context(), env.Ann, "bob", api.ProfileRequest{Display: "Bob"}, ""); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		env.Start("everything", `{"a": 1}`)
		if err := <-answer; err != nil || len(jobs.Items) != 1 {
			t.Errorf("who may wait still gets %d jobs, %v", len(jobs.Items), err)
		}
		began := time.Now()
		answer, _ = wait(bob)
		time.Sleep(40 * time.Second)
		if _, err := env.Engine.ChangeUser(t.Context(), env.Ann, "bob", api.ProfileRequest{Display: "B."}, ""); err != nil {
			t.Fatal(err)
		}
		if err := <-answer; err != nil || time.Since(began) > 61*time.Second {
			t.Errorf("who is somebody else meanwhile waits for %s in all: %v", time.Since(began), err)
		}
	})
}

// TestWhoApprovesABreakGlassSeesItThen when it begins, not only when they were asked whether
// they do.
func TestWhoApprovesABreakGlassSeesItThen(t *testing.T) {
	t.Parallel()
	var late atomic.Bool
	begun := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	w := newEmergency(t, func(c *node.Config) {
		c.BreakGlassSettled = -1
		c.Now = func() time.Time {
			if late.Load() {
				return begun.Add(2 * time.Hour)
			}
			return begun
		}
	})
	ctx, e := t.Context(), w.Engine
	setPolicies(t, w.Env, `
@id("abe-by-grant")
@reason("Abe sees instances for a while")
forbid (principal == user::"abe", action == Action::"instance:read", resource)
unless { context.rights.contains("view") };`)
	soon := begun.Add(time.Hour)
	give(t, w.Env, api.GrantRequest{User: "abe", Right: "view", Process: "classified", Expires: &soon})
	id := w.ask(t, w.dora)
	lock, done := engine.PeopleLock(e, w.abe.Scope), make(chan error, 1)
	abe, err := engine.Readmitted(ctx, e, w.abe)
	if err != nil {
		t.Fatal(err)
	}
	lock.RLock()
	go func() { done <- second(e.ApproveBreakGlass(ctx, abe, id, api.ReasonRequest{}, "")) }()
	for lock.TryRLock() { // until the approval waits
		lock.RUnlock()
		select {
		case err := <-done:
			t.Fatalf("the approval did not wait: %v", err)
		default:
			runtime.Gosched()
		}
	}
	late.Store(true)
	lock.RUnlock()
	if err := <-done; !fault.Is(err, fault.NotFound) {
		t.Errorf("approved by who does not see it any more: %v, want NotFound", err)
	}
}
