package engine_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

// anchorTables are the tables of the anchor log, by the file that they are in.
var anchorTables = map[string]string{
	"anchor_hashes": "data.db", "anchor_openings": "data.db", "anchor_checkpoints": "data.db", "anchor_heads": "keys.db",
}

// freeOfAnchors lists what an administrator of the database can change of the anchor log
// without that the check names it, with the reason why that is all right.
var freeOfAnchors = map[string]string{
	"anchor_checkpoints/delete": "the newest one is asked for again; for older ones a later one stands, which covers the same entries",
}

// newAnchoredWorld is a closed database whose log was seen by two witnesses and an
// authority, so often and some times more, and its older state.
func newAnchoredWorld(t *testing.T, often int) *world {
	t.Helper()
	dir, w := t.TempDir(), &world{}
	synctest.Test(t, func(inner *testing.T) {
		var seen *testenv.Seen
		env := testenv.New(inner, func(c *node.Config) {
			c.Data, c.KeyFile = filepath.Join(dir, "data"), filepath.Join(dir, "key")
			seen = testenv.NewSeen(inner, c)
		})
		seen.Know(inner.Context(), env)
		env.Deploy("all.bpmn", everything)
		time.Sleep(3 * time.Minute)
		for range often {
			env.Start("everything", `{"note": "a"}`)
			time.Sleep(3 * time.Minute)
		}
		env.Restart(func() { w.old = w.copy(t, env.Config.Data) })
		env.Start("everything", `{"note": "b"}`)
		time.Sleep(3 * time.Minute)
		if err := env.Node.Close(); err != nil {
			inner.Fatal(err)
		}
		env.Node, w.config = nil, env.Config
	})
	return w
}

// anchorMutations lists the changes to the tables of the anchor log, as they are and were.
func anchorMutations(t *testing.T, of func(file, name string) (now, old *table)) (all []mutation) {
	t.Helper()
	for name, file := range anchorTables {
		now, old := of(file, name)
		if now == nil || name != "anchor_heads" && len(now.rows) < 3 {
			t.Fatalf("table %s has not enough rows to test it", name)
		}
		now.free = freeOfAnchors
		all = append(all, slices.Concat(now.changes(), now.deletions(), now.setBacks(old))...)
	}
	if len(all) < 50 {
		t.Fatalf("%d mutations, want some for every column", len(all))
	}
	slices.SortFunc(all, func(a, b mutation) int { return strings.Compare(a.name, b.name) })
	return all
}

func TestWhatIsDoneToTheAnchorLogIsNamed(t *testing.T) {
	t.Parallel()
	w := newAnchoredWorld(t, 1)
	w.untouched(t, w.copy(t, w.config.Data))
	all := anchorMutations(t, func(file, name string) (now, old *table) {
		return w.tables(t, w.config.Data, file)[name], w.tables(t, w.old, file)[name]
	})
	w.each(t, all, 50, func(t *testing.T, m mutation, dir string) {
		if found, err := w.fsck(t, dir, false); err != nil || len(found) == 0 {
			t.Errorf("not named: %s: %v", m.sql, err)
		}
	})
}

// TestWhatWitnessesAndAuthorityGaveIsChecked changes what is stored beside checkpoints
// so that each row is well formed.
func TestWhatWitnessesAndAuthorityGaveIsChecked(t *testing.T) {
	t.Parallel()
	w := newAnchoredWorld(t, 1)
	const first, last = `(SELECT min(size) FROM anchor_checkpoints)`, `(SELECT max(size) FROM anchor_checkpoints)`
	const bare = `UPDATE anchor_checkpoints SET signed = substr(signed, 1, instr(signed, CAST('` + "\u2014" + ` w1.example' AS BLOB)) - 1)`
	for _, test := range []struct {
		name, sql, says string
		withoutKeys     bool
	}{
		{"an inner hash of the tree", `UPDATE anchor_hashes SET hash = (SELECT hash FROM anchor_hashes WHERE pos = 0) WHERE pos = 2`, "is gone or not that of the entries below it", true},
		{"the cosignatures are gone", bare, "it has 0 cosignatures, and the quorum was 2", true},
		{"and nobody asked for any", bare + `, quorum = 0`, "not as it was stored", false},
		{"those of another checkpoint", `
			UPDATE anchor_checkpoints SET signed = CAST(substr(signed, 1, instr(signed, CAST('` + "\u2014" + ` w1.example' AS BLOB)) - 1) || (
				SELECT substr(o.signed, instr(o.signed, CAST('` + "\u2014" + ` w1.example' AS BLOB))) FROM anchor_checkpoints o WHERE o.size = ` + last + `) AS BLOB)
			WHERE size = ` + first, "the signature of w1.example is wrong, or of another checkpoint", true},
		{"the timestamp is of another checkpoint", `
			UPDATE anchor_checkpoints SET token = (SELECT o.token FROM anchor_checkpoints o WHERE o.size = ` + last + `) WHERE size = ` + first, "timestamp", true},
		{"the timestamp is gone", `UPDATE anchor_checkpoints SET token = zeroblob(0)`, "lacks the one that was asked for", true},
		{"and nobody asked for any timestamp", `UPDATE anchor_checkpoints SET token = zeroblob(0), authority = zeroblob(0)`, "not as it was stored", false},
		{"what was anchored has another signature", `
			UPDATE anchor_openings SET signed = CAST(substr(signed, 1, length(signed) - 40) || 'AAAA' || substr(signed, length(signed) - 35) AS BLOB)`, "not signed by the platform", false},
		{"all entries but the first, with what stands for them", `
			DELETE FROM anchor_openings WHERE idx > 0;
			DELETE FROM anchor_hashes WHERE pos > 0;
			DELETE FROM anchor_checkpoints WHERE size > 1`, "there is a checkpoint of size", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := w.copy(t, w.config.Data)
			db := openRaw(t, filepath.Join(dir, "data.db"))
			_, err := db.Exec(test.sql)
			db.Close()
			if err != nil {
				t.Fatal(err)
			}
			found, err := w.fsck(t, dir, test.withoutKeys)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(found, func(f engine.Finding) bool { return strings.Contains(f.What, test.says) }) {
				t.Errorf("found %v, want one that says %q", found, test.says)
			}
		})
	}
}

// TestAWitnessThatWasTakenOutIsNoFinding checks with another configuration than the one
// under which the log was seen.
func TestAWitnessThatWasTakenOutIsNoFinding(t *testing.T) {
	t.Parallel()
	w := newAnchoredWorld(t, 1)
	w.config.Anchor.Witnesses, w.config.Anchor.Quorum, w.config.Anchor.Authority = w.config.Anchor.Witnesses[:1], 1, nil
	w.untouched(t, w.copy(t, w.config.Data))
}

// TestACheckOfTheAnchorLogGoesOnWhereItWas interrupts a check after each part, and goes on
// with its state as it was stored: first of what is whole, then of what was changed.
func TestACheckOfTheAnchorLogGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("hours in which the log is anchored, and a start for each part of the check")
	}
	w := newAnchoredWorld(t, 40)
	dir := w.copy(t, w.config.Data)
	for _, want := range []int{0, 1} {
		state, phases, found := map[string]engine.CheckState{}, map[string]int{}, 0
		for whole := false; !whole; {
			config := w.config
			config.Data = dir
			err := node.Check(t.Context(), config, node.CheckConfig{State: state, Rows: 25, Part: func(tenant string, s engine.CheckState, some []engine.Finding) error {
				text, err := json.Marshal(s)
				if err != nil {
					return err
				}
				s = engine.CheckState{}
				if err := json.Unmarshal(text, &s); err != nil {
					return err
				}
				state[tenant], found = s, found+len(some)
				phases[s.Phase]++
				return errInterrupted
			}})
			if whole = err == nil; err != nil && !errors.Is(err, errInterrupted) {
				t.Fatal(err)
			}
		}
		if found != want || phases["anchors"] < 3 || phases["openings"] < 3 {
			t.Errorf("%d findings in parts %v, want %d and some parts of each phase", found, phases, want)
		}
		db := openRaw(t, filepath.Join(dir, "data.db"))
		_, err := db.Exec(`UPDATE anchor_checkpoints SET quorum = 1 WHERE size = (SELECT max(size) FROM anchor_checkpoints)`)
		db.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
}

var errInterrupted = errors.New("interrupted")

// TestTheServerFindsAChangeOfTheAnchorLogByItself waits for a round of the server. The
// anchor log is the operator's: no tenant is told, but the server's log and its metric.
func TestTheServerFindsAChangeOfTheAnchorLogByItself(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes in which the server checks itself")
	}
	synctest.Test(t, func(t *testing.T) {
		var seen *testenv.Seen
		var log strings.Builder
		env := testenv.New(t, func(c *node.Config) {
			c.CheckRate = 1000
			c.Log = slog.New(slog.NewTextHandler(&log, nil))
			seen = testenv.NewSeen(t, c)
		})
		seen.Know(t.Context(), env)
		env.Deploy("all.bpmn", everything)
		time.Sleep(5 * time.Minute)
		if n := findings(t, env); n != 0 {
			t.Fatalf("%v findings, and nobody changed anything", n)
		}
		execRaw(t, env, `UPDATE anchor_openings SET blind = zeroblob(32) WHERE idx = 0`)
		time.Sleep(5 * time.Minute)
		now, err := env.Engine.IntegrityStatus(t.Context(), env.Ann)
		if err != nil || now.Last == nil || len(now.Last.Findings) != 0 {
			t.Errorf("a tenant is shown %+v, %v", now.Last, err)
		}
		if n := alarms(t, env); n != 0 {
			t.Errorf("a tenant's log has %d alarms", n)
		}
		for _, when := range []string{"", " after a restart"} {
			if n := findings(t, env); n != 2 { // the opening, and the entry without one
				t.Errorf("%v findings%s, want 2", n, when)
			}
			if err := env.Engine.Ready(t.Context())["integrity"]; fault.CodeOf(err) != api.CodeDegraded {
				t.Errorf("readiness says %v%s, want degraded", err, when)
			}
			if n := strings.Count(log.String(), "table=anchor_openings"); n != 2 {
				t.Errorf("the server's log tells of %d findings%s, want 2: %s", n, when, log.String())
			}
			env.Restart(nil)
			synctest.Wait()
		}
	})
}
