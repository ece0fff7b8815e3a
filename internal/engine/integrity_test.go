package engine_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

// TestTheServerFindsAChangeByItself takes a row away that no read misses, and waits.
func TestTheServerFindsAChangeByItself(t *testing.T) {
	if testing.Short() {
		t.Skip("hours in which the server checks itself")
	}
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		env := testenv.New(t, func(c *node.Config) {
			c.CheckRate = 20
			c.Log = slog.New(slog.NewTextHandler(&log, nil))
		})
		env.Deploy("all.bpmn", everything)
		for range 20 {
			start := api.StartRequest{Process: "everything", Variables: []byte(`{"note": "a"}`)}
			if _, err := env.Engine.Start(t.Context(), env.Ann, start, time.Now().String()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		time.Sleep(5 * time.Minute)
		if n := findings(t, env); n != 0 || alarms(t, env) != 0 {
			t.Errorf("%v findings and %d alarms, and nobody changed anything: %s", n, alarms(t, env), log.String())
		}
		env.Restart(func() {
			db := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
			defer db.Close()
			if _, err := db.Exec(`DELETE FROM unique_tokens WHERE token = (SELECT max(token) FROM unique_tokens)`); err != nil {
				t.Fatal(err)
			}
		})
		log.Reset()
		for _, wait := range []time.Duration{3 * time.Minute, 5 * time.Minute} { // told once, however often it is found
			time.Sleep(wait)
			if n := findings(t, env); n != 1 {
				t.Errorf("after %v: %v findings, want 1", wait, n)
			}
			if n := alarms(t, env); n != 1 {
				t.Errorf("after %v: the log has %d alarms, want 1", wait, n)
			}
			if n := strings.Count(log.String(), "is not what its log says"); n != 1 {
				t.Errorf("after %v: the server's log says it %d times, want once", wait, n)
			}
		}
	})
}

// TestTheNextRoundFindsWhatWasChangedBehindTheLast changes what the round under way has
// been past.
func TestTheNextRoundFindsWhatWasChangedBehindTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := testenv.New(t, func(c *node.Config) { c.CheckRate = 1 })
		env.Deploy("all.bpmn", everything)
		for i := range 10 {
			start := api.StartRequest{Process: "everything", Variables: []byte(`{"note": "a"}`)}
			if _, err := env.Engine.Start(t.Context(), env.Ann, start, fmt.Sprint("key-", i)); err != nil {
				t.Fatal(err)
			}
		}
		status := func() api.Integrity {
			t.Helper()
			now, err := env.Engine.IntegrityStatus(t.Context(), env.Ann)
			if err != nil {
				t.Fatal(err)
			}
			return now
		}
		for now := status(); now.Current == nil || now.Current.Phase != "requests"; now = status() {
			if time.Sleep(time.Second); now.Last != nil && now.Last.Rows > 0 && now.Current == nil {
				t.Fatalf("no round stood before the requests: %+v", now)
			}
		}
		began := status().Current.Began
		execRaw(t, env, `DELETE FROM unique_tokens WHERE token = (SELECT max(token) FROM unique_tokens)`)
		for _, want := range []float64{0, 1} {
			for now := status(); now.Last == nil || now.Last.Began.Before(began); now = status() {
				time.Sleep(time.Second)
			}
			if n := findings(t, env); n != want {
				t.Errorf("the round that began at %v: %v findings, want %v", began, n, want)
			}
			began = status().Last.Began.Add(time.Nanosecond) // the next one
		}
	})
}

// TestAnOrderedCheckFindsWhatOneWithoutTheServerDoes orders a check before and after a
// change, with nothing checked in the background.
func TestAnOrderedCheckFindsWhatOneWithoutTheServerDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := testenv.New(t, nil)
		env.Deploy("all.bpmn", everything)
		start := api.StartRequest{Process: "everything", Variables: []byte(`{"note": "a"}`)}
		if _, err := env.Engine.Start(t.Context(), env.Ann, start, "key-1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		ordered := func(want int) api.Integrity {
			t.Helper()
			before := time.Now()
			if _, err := env.Engine.StartCheck(t.Context(), env.Ann, api.CheckRequest{}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			now, err := env.Engine.IntegrityStatus(t.Context(), env.Ann)
			if err != nil || now.Ordered == nil || now.Ordered.State != "done" || now.Ordered.Ended == nil || now.Ordered.Began.Before(before) || now.Ordered.Rows == 0 || len(now.Ordered.Findings) != want {
				t.Fatalf("%+v (%+v), %v, want %d findings", now, now.Ordered, err, want)
			}
			if now.Last != nil || now.Current != nil || now.Rate != 0 {
				t.Errorf("the server checks nothing by itself, and says %+v", now)
			}
			if n := findings(t, env); int(n) != want {
				t.Errorf("the metric says %v, want %d", n, want)
			}
			return now
		}
		ordered(0)
		if err := env.Engine.Ready(t.Context())["integrity"]; err != nil {
			t.Errorf("not ready: %v", err)
		}
		execRaw(t, env, `DELETE FROM unique_tokens WHERE token = (SELECT max(token) FROM unique_tokens)`)
		now := ordered(1)
		if err := env.Engine.Ready(t.Context())["integrity"]; fault.CodeOf(err) != api.CodeDegraded {
			t.Errorf("readiness says %v, want degraded", err)
		}
		if n := alarms(t, env); n != 1 {
			t.Errorf("the log has %d alarms, want 1", n)
		}
		for kind, want := range map[string]int{"integrity.check_ordered": 2, "integrity.checked": 2} {
			if told := entriesOf(t, env, kind); len(told) != want {
				t.Errorf("%d leaves %s, want %d", len(told), kind, want)
			}
		}
		var offline []engine.Finding
		env.Restart(func() {
			err := node.Check(t.Context(), env.Config, node.CheckConfig{Part: func(_ string, _ engine.CheckState, found []engine.Finding) error {
				offline = append(offline, found...)
				return nil
			}})
			if err != nil {
				t.Fatal(err)
			}
		})
		if len(offline) != 1 || engine.Finding(now.Ordered.Findings[0]).Name() != offline[0].Name() {
			t.Errorf("the server found %v, a check without it %v", now.Ordered.Findings, offline)
		}
		again, err := env.Engine.IntegrityStatus(t.Context(), env.Ann)
		if err != nil || again.Ordered == nil || again.Ordered.State != "done" || !again.Ordered.Began.Equal(now.Ordered.Began) || len(again.Ordered.Findings) != 1 {
			t.Errorf("after a restart the check that was ordered is %+v, %v; want %+v", again.Ordered, err, now.Ordered)
		}
		if n := findings(t, env); n != 1 {
			t.Errorf("after a restart the metric says %v, want 1", n)
		}
		if err := env.Engine.Ready(t.Context())["integrity"]; fault.CodeOf(err) != api.CodeDegraded {
			t.Errorf("after a restart readiness says %v, want degraded", err)
		}
		ordered(1)
		if n := alarms(t, env); n != 1 {
			t.Errorf("after a restart the log has %d alarms, want 1: it was told of the finding before", n)
		}
	})
}

// TestTheServersOwnCheckGoesOnAfterARestart restarts again and again, more often than a
// check takes: it comes to its end all the same, and what it found stays known.
func TestTheServersOwnCheckGoesOnAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := testenv.New(t, func(c *node.Config) { c.CheckRate = 1 })
		env.Deploy("all.bpmn", everything)
		for i := range 8 {
			if _, err := env.Engine.Start(t.Context(), env.Ann, api.StartRequest{Process: "everything", Variables: []byte(`{"note": "a"}`)}, fmt.Sprint("key-", i)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Second)
		execRaw(t, env, `DELETE FROM unique_tokens WHERE token = (SELECT max(token) FROM unique_tokens)`)
		status := func() api.Integrity {
			t.Helper()
			now, err := env.Engine.IntegrityStatus(t.Context(), env.Ann)
			if err != nil {
				t.Fatal(err)
			}
			return now
		}
		began, restarts := time.Time{}, 0
		for now := status(); now.Last == nil; now = status() {
			if now.Current != nil && !began.IsZero() && !now.Current.Began.Equal(began) {
				t.Fatalf("after %d restarts the check began anew", restarts)
			}
			if now.Current != nil {
				began = now.Current.Began
			}
			if at := figure(t, env, "underseal_integrity_checked_timestamp_seconds"); at != 0 {
				t.Errorf("before anything was checked whole the metric says %v", at)
			}
			time.Sleep(11 * time.Second) // one turn of the check
			env.Restart(nil)
			if restarts++; restarts > 100 {
				t.Fatal("it does not come to its end")
			}
		}
		now := status()
		if restarts < 3 || !now.Last.Began.Equal(began) || now.Last.State != "done" || len(now.Last.Findings) != 1 {
			t.Errorf("after %d restarts: %+v, want the check that began at %v with one finding", restarts, now.Last, began)
		}
		synctest.Wait()
		if at := figure(t, env, "underseal_integrity_checked_timestamp_seconds"); at != float64(now.Last.Ended.Unix()) {
			t.Errorf("the metric says %v, want %v", at, now.Last.Ended.Unix())
		}
		if n, a := findings(t, env), alarms(t, env); n != 1 || a != 1 {
			t.Errorf("%v findings and %d alarms, want 1 and 1", n, a)
		}
	})
}

// TestACheckCannotBePretended puts rows of others, and none, where the server keeps what
// it checked.
func TestACheckCannotBePretended(t *testing.T) {
	for name, spoil := range map[string]string{
		"changed":      `UPDATE checks SET sealed = zeroblob(length(sealed))`,
		"another kind": `UPDATE checks SET sealed = (SELECT body FROM heads WHERE kind = 'instance')`,
		"empty":        `UPDATE checks SET sealed = x''`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				env := testenv.New(t, nil)
				env.Deploy("all.bpmn", everything)
				env.Start("everything", `{"note": "a"}`)
				time.Sleep(time.Minute)
				checkedWhole(t, env)
				if at := figure(t, env, "underseal_integrity_checked_timestamp_seconds"); at == 0 {
					t.Error("the metric says that nothing was checked")
				}
				env.Restart(func() {
					db := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
					defer db.Close()
					if _, err := db.Exec(spoil); err != nil {
						t.Fatal(err)
					}
				})
				synctest.Wait()
				now, err := env.Engine.IntegrityStatus(t.Context(), env.Ann)
				if err != nil || now.Ordered != nil || now.Last == nil || now.Last.State != "failed" || len(now.Last.Findings) != 1 || now.Last.Findings[0].Where != "checks" {
					t.Errorf("%+v, %v: want a finding in place of the check", now, err)
				}
				if at := figure(t, env, "underseal_integrity_checked_timestamp_seconds"); at != 0 {
					t.Errorf("the metric says that everything was checked at %v", at)
				}
				if n, a := findings(t, env), alarms(t, env); n != 1 || a != 1 {
					t.Errorf("%v findings and %d alarms, want 1 and 1", n, a)
				}
			})
		})
	}
}

// checkedWhole orders a check of everything and waits for its end. What it found is not
// asked.
func checkedWhole(t *testing.T, env *testenv.Env) api.IntegrityCheck {
	t.Helper()
	return orderedCheck(t, env, api.CheckRequest{})
}

func orderedCheck(t *testing.T, env *testenv.Env, in api.CheckRequest) api.IntegrityCheck {
	t.Helper()
	if _, err := env.Engine.StartCheck(t.Context(), env.Ann, in); err != nil {
		t.Fatal(err)
	}
	for {
		now, err := env.Engine.IntegrityStatus(t.Context(), env.Ann)
		if err != nil || now.Ordered == nil || now.Ordered.State == "failed" {
			t.Fatalf("%+v, %v", now.Ordered, err)
		}
		if now.Ordered.State == "done" {
			return *now.Ordered
		}
		time.Sleep(time.Millisecond)
	}
}

// TestOneCheckIsOrderedAtATime orders another while one is under way, and one that the
// log cannot be told of.
func TestOneCheckIsOrderedAtATime(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	noLeaves(t, env)
	if _, err := env.Engine.StartCheck(t.Context(), env.Ann, api.CheckRequest{}); err == nil {
		t.Error("a check began that the log was not told of")
	}
	leavesAgain(t, env)
	if now, err := env.Engine.IntegrityStatus(t.Context(), env.Ann); err != nil || now.Ordered != nil {
		t.Errorf("a check that was refused is %+v, %v", now.Ordered, err)
	}
	err := env.Node.BeginCheck(identity.MainTenant, false, func() error {
		_, err := env.Engine.StartCheck(t.Context(), env.Ann, api.CheckRequest{})
		return err
	})
	if !fault.Is(err, fault.Conflict) || fault.CodeOf(err) != "check_running" {
		t.Errorf("another check while one is under way: %v", err)
	}
}

// findings returns the metric of findings.
func findings(t *testing.T, env *testenv.Env) float64 {
	t.Helper()
	return figure(t, env, "underseal_integrity_findings")
}

func figure(t *testing.T, env *testenv.Env, name string) float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	for _, c := range env.Node.Collectors() {
		if err := registry.Register(c); err != nil {
			t.Fatal(err)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// alarms counts the leaves that tell of findings.
func alarms(t *testing.T, env *testenv.Env) (n int) {
	t.Helper()
	db := dataOf(t, env)
	defer db.Close()
	rows, err := db.Query(`SELECT body FROM leaves WHERE seq = 0`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var body []byte
		if err := rows.Scan(&body); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(body, []byte(`"integrity.alarm"`)) {
			n++
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestALeafThatNoServerMadeIsNamedBeforeItHasAPlace puts a leaf behind all that have a
// place. The log stops at it; readiness says so, and the check names it.
func TestALeafThatNoServerMadeIsNamedBeforeItHasAPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := testenv.New(t, nil)
		env.Deploy("all.bpmn", everything)
		time.Sleep(time.Minute)
		if err := env.Engine.Ready(t.Context())["log"]; err != nil {
			t.Errorf("not ready: %v", err)
		}
		execRaw(t, env, `
			INSERT INTO leaves SELECT (SELECT max(pos) + 1 FROM leaves), tenant, object, seq + 100, hash, body, mac, terms
			FROM leaves WHERE pos = (SELECT max(pos) FROM leaves WHERE seq > 0)`)
		if _, err := env.Engine.Start(t.Context(), env.Ann, api.StartRequest{Process: "everything"}, "key-1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if err := env.Engine.Ready(t.Context())["log"]; fault.CodeOf(err) != api.CodeDegraded {
			t.Errorf("readiness says %v, want degraded", err)
		}
		for _, withoutKeys := range []bool{false, true} {
			var all []engine.Finding
			for c := env.Engine.NewCheck(identity.MainTenant, engine.CheckState{}, engine.CheckOptions{WithoutKeys: withoutKeys}); !c.Done(); {
				found, err := c.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, found...)
			}
			named := slices.ContainsFunc(all, func(f engine.Finding) bool { return f.Kind == engine.FoundLeaf && f.Where == "leaves" && f.Step > 100 })
			if named == withoutKeys || withoutKeys && len(all) > 0 {
				t.Errorf("without keys %v: found %v", withoutKeys, all)
			}
		}
	})
}

// TestAChangeThatIsMadeAgainIsToldAgain changes a row, puts it right and changes it again,
// while one server runs.
func TestAChangeThatIsMadeAgainIsToldAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("hours in which the server checks itself")
	}
	synctest.Test(t, func(t *testing.T) {
		env := testenv.New(t, func(c *node.Config) { c.CheckRate = 20 })
		env.Deploy("all.bpmn", everything)
		if _, err := env.Engine.Start(t.Context(), env.Ann, api.StartRequest{Process: "everything"}, "key-1"); err != nil {
			t.Fatal(err)
		}
		for i, step := range []struct {
			assignee         string
			findings, alarms int
		}{{"mallory", 1, 1}, {"", 0, 1}, {"mallory", 1, 2}} {
			execRaw(t, env, `UPDATE tasks SET assignee = '`+step.assignee+`'`)
			time.Sleep(5 * time.Minute)
			if n, told := findings(t, env), alarms(t, env); int(n) != step.findings || told != step.alarms {
				t.Errorf("change %d: %v findings and %d alarms, want %d and %d", i, n, told, step.findings, step.alarms)
			}
		}
		// Rows of a tenant without keys: nobody's log is told, and no other check waits.
		execRaw(t, env, `INSERT INTO tasks SELECT 'nobody', instance, id, element, process, '', created, due FROM tasks`)
		time.Sleep(5 * time.Minute)
		if n, told := findings(t, env), alarms(t, env); n < 2 || told != 2 {
			t.Errorf("with rows of nobody's %v findings and %d alarms, want some more and 2", n, told)
		}
		keys := openRaw(t, filepath.Join(env.Config.Data, "keys.db"))
		defer keys.Close()
		var made int
		if err := keys.QueryRow(`SELECT count(*) FROM tenant_keys WHERE tenant = 'nobody'`).Scan(&made); err != nil || made > 0 {
			t.Errorf("nobody has %d keys now, %v", made, err)
		}
	})
}

// TestWhatTheLogCannotBeToldOfHoldsNoCheckUp keeps leaves from being written while the
// server finds something: the check goes on, and the log is told when it can be, once.
func TestWhatTheLogCannotBeToldOfHoldsNoCheckUp(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes in which the server checks itself")
	}
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprint("after a restart ", restart), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log strings.Builder
				env := testenv.New(t, func(c *node.Config) {
					c.CheckRate = 1000
					c.Log = slog.New(slog.NewTextHandler(&log, nil))
				})
				env.Deploy("all.bpmn", everything)
				env.Start("everything", `{"note": "a"}`)
				time.Sleep(2 * time.Minute)
				noLeaves(t, env)
				execRaw(t, env, `UPDATE tasks SET assignee = 'mallory'`)
				began := time.Now()
				time.Sleep(2 * time.Minute)
				db := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
				defer db.Close()
				now := env.Node.CheckStatus(identity.MainTenant)
				if n := findings(t, env); n != 1 || now.Last == nil || now.Last.Began.Before(began) || len(now.Last.Findings) != 1 {
					t.Errorf("the log cannot be told: %v findings, and the last check is %+v", n, now.Last)
				}
				if restart {
					env.Restart(func() { leavesAgain(t, env) })
				} else {
					leavesAgain(t, env)
				}
				time.Sleep(2 * time.Minute)
				if n, told := findings(t, env), strings.Count(log.String(), "is not what its log says"); n != 1 || alarms(t, env) != 1 || told != 1 {
					t.Errorf("%v findings, %d alarms, told %d times in the server's log, want 1 of each", n, alarms(t, env), told)
				}
			})
		})
	}
}

// TestATenantThatCannotBeCheckedHoldsNoOtherUp has the key service of one tenant away, so
// that not even what was kept of its checks can be read.
func TestATenantThatCannotBeCheckedHoldsNoOtherUp(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("two tenants, and minutes in which the server checks itself")
	}
	neighbors(t, true, func(t *testing.T, n *neighborhood) {
		checked := func() float64 { return figure(t, n.Env, "underseal_integrity_checked_timestamp_seconds") }
		n.Start("classified", somebody)
		n.Restart(func() { n.Config.CheckRate = 1000 })
		time.Sleep(2 * time.Minute)
		if checked() == 0 || findings(t, n.Env) != 0 {
			t.Fatalf("checked at %v, with %v findings", checked(), findings(t, n.Env))
		}
		for _, restart := range []bool{false, true} { // while the server runs, and before it starts
			n.elsewheres.Deny()
			if restart {
				n.Restart(nil)
			}
			time.Sleep(15 * time.Minute) // no key is remembered for so long
			execRaw(t, n.Env, `UPDATE instances SET process = 'another' WHERE tenant = 'main'`)
			time.Sleep(2 * time.Minute)
			if found := findings(t, n.Env); found == 0 {
				t.Errorf("restarted %v: what was done to another tenant is not found", restart)
			}
			execRaw(t, n.Env, `UPDATE instances SET process = 'classified' WHERE tenant = 'main'`)
			n.elsewheres.Restore()
			time.Sleep(5 * time.Minute)
			execRaw(t, n.Env, `UPDATE instances SET process = 'another' WHERE tenant = 'elsewhere'`)
			time.Sleep(2 * time.Minute)
			if found := findings(t, n.Env); found == 0 {
				t.Errorf("restarted %v: what was done to the tenant is not found when it can be checked again", restart)
			}
			execRaw(t, n.Env, `UPDATE instances SET process = CASE WHEN object = (SELECT instance FROM timers) THEN 'timed' ELSE 'classified' END WHERE tenant = 'elsewhere'`)
			time.Sleep(2 * time.Minute)
		}
	})
}

// TestAServerWorksBesideRowsThatNoneOfOursCanBe puts rows of jobs and timers where none of
// ours can be: the others' work goes on, and the check names them.
func TestAServerWorksBesideRowsThatNoneOfOursCanBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := testenv.New(t, nil)
		env.Deploy("t.bpmn", withTimer)
		instances := []string{env.Start("timed", `{}`), env.Start("timed", `{}`)}
		env.Restart(func() {
			execRaw(t, env, `PRAGMA ignore_check_constraints = ON;
				INSERT INTO jobs SELECT tenant, x'010203', id, element, process, type, retries, not_before, failed, created FROM jobs LIMIT 1;
				INSERT INTO jobs SELECT tenant, zeroblob(16), -1, element, process, type, retries, not_before, 7, created FROM jobs LIMIT 1;
				INSERT INTO jobs SELECT '', instance, id, element, process, type, retries, not_before, failed, created FROM jobs WHERE id > 0 AND length(instance) = 16 ORDER BY instance DESC LIMIT 1;
				INSERT INTO timers SELECT tenant, x'010203', id, element, due FROM timers LIMIT 1;
				INSERT INTO timers SELECT tenant, zeroblob(16), -1, element, due FROM timers LIMIT 1`)
		})
		env.Work("work", `{}`) // of one; the other's timer is due in two hours
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		for _, id := range instances {
			if i := env.Instance(id); i.Status != "completed" {
				t.Errorf("instance %s is %s", id, i.Status)
			}
		}
		found := checkedWhole(t, env).Findings
		for _, table := range []string{"jobs", "timers"} {
			if !slices.ContainsFunc(found, func(f api.IntegrityFinding) bool { return f.Where == table }) {
				t.Errorf("found %+v, want rows of %s", found, table)
			}
		}
	})
}

// TestAnAlarmIsRaisedOnceWhileTheLogGrows changes rows at the end of a log, which then goes
// on growing, by the entries that tell of the alarm too.
func TestAnAlarmIsRaisedOnceWhileTheLogGrows(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes in which the server checks itself")
	}
	for name, spoil := range map[string]string{
		"an entry far behind the end":  `INSERT INTO log_entries SELECT tenant, shard, 1000000, zeroblob(16), 1, hash FROM log_entries WHERE idx = 0`,
		"a checkpoint of a larger log": `INSERT INTO log_checkpoints SELECT tenant, shard, 1000000, 0, signed FROM log_checkpoints LIMIT 1`,
		"an opening of a larger log":   `INSERT INTO anchor_openings SELECT tenant, shard, 1000000, signed, zeroblob(32), 1, 0 FROM log_checkpoints LIMIT 1`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				env := testenv.New(t, func(c *node.Config) { c.CheckRate = 1000 })
				time.Sleep(2 * time.Minute)
				execRaw(t, env, spoil)
				time.Sleep(2 * time.Minute)
				told := alarms(t, env)
				for range 6 {
					env.Deploy("all.bpmn", everything)
					time.Sleep(time.Minute)
				}
				if n := alarms(t, env); told == 0 || n > told+1 { // a check that was under way may tell it once more
					t.Errorf("%d alarms, and %d when the log had grown", told, n)
				}
			})
		})
	}
}
