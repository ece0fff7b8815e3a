package engine_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

// A server that is stopped in the middle of something, or waits there, has changed nothing
// behind anybody's back: the check, which looks twice, must not take the same half for a
// finding both times.

// nothingFound checks all of the main tenant beside the server, and requires that nothing
// is found.
func nothingFound(t *testing.T, env *testenv.Env) {
	t.Helper()
	goesOnFindingNothing(t, env.Engine.NewCheck(identity.MainTenant, engine.CheckState{}, engine.CheckOptions{Files: engine.FilesWhole}))
	goesOnFindingNothing(t, env.Engine.NewCheck(identity.MainTenant, engine.CheckState{}, engine.CheckOptions{Files: engine.FilesThere}))
	goesOnFindingNothing(t, env.Engine.NewCheck(identity.MainTenant, engine.CheckState{}, engine.CheckOptions{WithoutKeys: true}))
}

func goesOnFindingNothing(t *testing.T, check *engine.Check) {
	t.Helper()
	for !check.Done() {
		if found, err := check.Next(t.Context()); err != nil || len(found) > 0 {
			t.Fatalf("the check of an honest server finds %+v, %v", found, err)
		}
	}
}

func TestAnErasureUnderWayIsNoFinding(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"instance", "subject"} {
		for n, last := 1, false; !last && !t.Failed(); n++ {
			t.Run(fmt.Sprintf("%s, write %d", kind, n), func(t *testing.T) { last = stoppedErasing(t, kind, n) })
		}
	}
}

// stoppedErasing stops an erasure before its n-th write, and reports whether it has fewer.
func stoppedErasing(t *testing.T, kind string, n int) (last bool) {
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", classified)
	start := func() string {
		return env.Start("classified", `{"shoe": `+named(put(t, env, env.Ann, content(10)).File)+`, "person": {"id": "p-1", "diagnosis": "flu"}}`)
	}
	start()
	id := map[string]string{"instance": start(), "subject": "p-1"}[kind]
	points, stopped := 0, errors.New("the server stopped")
	engine.FailErasures(env.Engine, func(string) error {
		if points++; points >= n {
			return stopped
		}
		return nil
	})
	_, err := order(t, env, kind, id, 0)
	if last = points < n; last != (err == nil) {
		t.Fatalf("%v after %d writes", err, points)
	}
	nothingFound(t, env)
	return last
}

// TestALogThatIsBeingClosedIsNoFinding stops a server at the turn of the year, between the
// leaf that closes the log and its place.
func TestALogThatIsBeingClosedIsNoFinding(t *testing.T) {
	t.Parallel()
	clock := newClock(time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC))
	env := testenv.New(t, func(c *node.Config) { c.Now = clock.now })
	deployLoan(t, env)
	env.Restart(func() {
		execRaw(t, env, `CREATE TRIGGER no_place BEFORE INSERT ON log_entries
			WHEN NOT EXISTS (SELECT 1 FROM log_shards s WHERE s.tenant = NEW.tenant AND s.number = NEW.shard AND s.open)
			BEGIN SELECT RAISE(ABORT, 'no place'); END`)
	})
	clock.set(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))
	if _, err := env.Engine.Start(t.Context(), env.Ann, api.StartRequest{Process: "loan", Variables: []byte(example(t, "application.json"))}, ""); err == nil {
		t.Fatal("there is a log for the new year")
	}
	nothingFound(t, env)
}

// TestALogThatIsOpenedBehindACheckIsNoFinding lets the year turn between two parts of a
// check, of which one has seen the end of the old log as it was then.
func TestALogThatIsOpenedBehindACheckIsNoFinding(t *testing.T) {
	t.Parallel()
	clock := newClock(time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC))
	env := testenv.New(t, func(c *node.Config) { c.Now = clock.now })
	deployLoan(t, env)
	check := env.Engine.NewCheck(identity.MainTenant, engine.CheckState{}, engine.CheckOptions{})
	for check.State.Prev == nil {
		if found, err := check.Next(t.Context()); err != nil || len(found) > 0 {
			t.Fatalf("%+v, %v", found, err)
		}
	}
	clock.set(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))
	env.Start("loan", example(t, "application.json"))
	sequenced(t, env)
	goesOnFindingNothing(t, check)
	nothingFound(t, env)
}

// TestAStepInBetweenIsNoFinding makes a step of a custody in each of the first looks at it,
// between its head and its row.
func TestAStepInBetweenIsNoFinding(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	hold := func() {
		if _, err := env.Engine.PlaceHold(t.Context(), env.Ann, api.HoldRequest{Kind: "subject", ID: "p-1"}, ""); err != nil {
			t.Error(err)
		}
	}
	hold()
	steps, holding := 0, false
	engine.WhileReading(env.Engine, func() {
		if !holding && steps < 5 {
			holding = true
			hold()
			steps, holding = steps+1, false
		}
	})
	check := env.Engine.NewCheck(identity.MainTenant, engine.CheckState{}, engine.CheckOptions{})
	goesOnFindingNothing(t, check)
	if steps < 5 {
		t.Errorf("%d steps came in between, want 5", steps)
	}
}

// TestAFormerKeyOfAPersonIsNoFinding gives a person a new key, which the next step takes: a
// field that can be searched and is not written anew stays under the former one.
func TestAFormerKeyOfAPersonIsNoFinding(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	deployLoan(t, env)
	env.Start("loan", example(t, "application.json"))
	rotated(t, env, api.RotateKeyRequest{Key: "subject", Subject: "C-10423"})
	env.Work("credit-check", `{"score": 640}`)
	nothingFound(t, env)
}
