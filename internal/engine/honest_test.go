package engine_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/kms/kmstest"
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
	const most = 50 // writes are tried, or this never ends where -run leaves out the last one
	for _, kind := range []string{"instance", "subject"} {
		for n, last := 1, false; !last && !t.Failed() && n <= most; n++ {
			t.Run(fmt.Sprintf("%s, write %d", kind, n), func(t *testing.T) {
				if last = stoppedErasing(t, kind, n); !last && n == most {
					t.Error("there are more writes")
				}
			})
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
	sequenced(t, env)
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

// TestAnActThatIsCutShortIsNoFinding stops a server before the n-th unit that some act makes
// durable, for each n: what is there then is no finding, and the act can be carried out
// again.
func TestAnActThatIsCutShortIsNoFinding(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("checks of all data after every unit of some acts")
	}
	var o outages
	o.begin("", 0, nil)
	second := kmstest.New(t)
	env := testenv.New(t, func(c *node.Config) {
		c.Fault = o.fault
		c.KeyServices = map[string]kms.Service{"second": second}
	})
	ctx := t.Context()
	env.Deploy("c.bpmn", classified)
	started := env.Start("classified", `{"shoe": `+named(put(t, env, env.Ann, content(10)).File)+`, "person": {"id": "p-1", "diagnosis": "flu"}}`)
	env.Person("bob", "Viewer")
	file := put(t, env, env.Ann, content(10)).File
	for _, test := range []struct {
		name string
		act  func() error
	}{
		{"a tenant is made", func() error {
			_, err := env.Engine.CreateTenant(ctx, env.Ann, api.TenantRequest{Name: "other"}, "")
			return err
		}},
		{"it is disabled", func() error {
			_, err := env.Engine.DisableTenant(ctx, env.Ann, "other", api.ReasonRequest{Reason: "over"}, "")
			return err
		}},
		{"an upload", func() error {
			_, err := env.Engine.PutFile(ctx, env.Ann, engine.Incoming{Name: "a", Type: "text/plain", Size: 3, Body: strings.NewReader("abc")})
			return err
		}},
		{"a file is claimed", func() error {
			_, err := startWith(t, env, env.Ann, `{"shoe": `+named(file)+`, "person": {"id": "p-2"}}`)
			return err
		}},
		{"somebody is let go", func() error {
			_, err := env.Engine.RevokeUser(ctx, env.Ann, "bob", api.ReasonRequest{Reason: "left"}, "")
			return err
		}},
		{"a tenant's key moves", func() error {
			_, err := env.Engine.RotateKey(ctx, env.Ann, api.RotateKeyRequest{Key: "tenant", Service: "second"})
			return err
		}},
		{"an index key", func() error {
			_, err := env.Engine.RotateKey(ctx, env.Ann, api.RotateKeyRequest{Key: "index"})
			return err
		}},
		{"a log key", func() error {
			_, err := env.Engine.RotateKey(ctx, env.Ann, api.RotateKeyRequest{Key: "log"})
			return err
		}},
		{"a person's key", func() error {
			_, err := env.Engine.RotateKey(ctx, env.Ann, api.RotateKeyRequest{Key: "subject", Subject: "p-1"})
			return err
		}},
		{"a field about a person", func() error {
			_, err := env.Engine.SetVariables(ctx, env.Ann, started, []byte(`{"person": {"id": "p-3", "diagnosis": "cold"}}`), "")
			return err
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for n := 1; ; n++ {
				sequenced(t, env)
				o.stop(n)
				err := test.act()
				o.begin("", 0, nil)
				nothingFoundOfAll(t, env)
				if err == nil || n > 1 && fault.Is(err, fault.Conflict) { // it is done, by the last try or one before
					return
				}
				if !fault.Is(err, fault.Unavailable) {
					t.Fatalf("cut short before unit %d: %v", n, err)
				}
			}
		})
	}
}

// nothingFoundOfAll is nothingFound of every tenant of which there is anything.
func nothingFoundOfAll(t *testing.T, env *testenv.Env) {
	t.Helper()
	nothingFound(t, env)
	stored := map[string]bool{}
	for file, tables := range map[string][]string{"data.db": {"heads", "leaves", "log_shards", "log_entries", "credentials"}, "keys.db": {"tenant_keys", "data_keys", "pinned_leaves", "log_heads"}} {
		db := openRaw(t, filepath.Join(env.Config.Data, file))
		defer db.Close()
		for _, table := range tables {
			var tenant string
			if err := db.QueryRow(`SELECT tenant FROM ` + table + ` WHERE tenant NOT IN ('main', '$operator') LIMIT 1`).Scan(&tenant); err == nil {
				stored[tenant] = true
			}
		}
	}
	for tenant := range stored {
		goesOnFindingNothing(t, env.Engine.NewCheck(tenant, engine.CheckState{}, engine.CheckOptions{}))
	}
}
