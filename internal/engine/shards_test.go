package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/pgtest"
	"github.com/underseal/underseal/internal/sequencer"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/internal/testenv"
	"github.com/underseal/underseal/ledger"
)

// clock is a time that the test sets, and at which the node looks by itself, too.
type clock struct{ at atomic.Int64 }

func newClock(at time.Time) *clock {
	c := &clock{}
	c.set(at)
	return c
}

func (c *clock) set(at time.Time) { c.at.Store(at.UnixMicro()) }
func (c *clock) now() time.Time   { return time.UnixMicro(c.at.Load()) }

func (c *clock) pass(d time.Duration) { c.at.Add(d.Microseconds()) }

// logOf reads a database of a node that is closed: its logs, and the leaves of each.
func logOf(t *testing.T, env *testenv.Env, read func(db *store.DB, s store.Scope, shards []store.Shard, leaves [][]ledger.Leaf)) {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{Path: env.Config.Data, DSN: env.Config.DSN})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s := env.Ann.Scope
	shards, err := db.Shards(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	leaves := make([][]ledger.Leaf, len(shards))
	for i, sh := range shards {
		entries, err := db.LogEntries(t.Context(), s, sh.Number, 0, 10_000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			leaf, err := ledger.ParseLeaf(e.Body)
			if err != nil || leaf.Log != sh.Origin {
				t.Fatalf("log %s has the leaf %+v, %v", sh.Origin, leaf, err)
			}
			leaves[i] = append(leaves[i], leaf)
		}
		checkSigned(t, db, s, sh)
	}
	if left, err := db.CountUnsequenced(t.Context(), s, 9); left != 0 || err != nil {
		t.Errorf("%d leaves without a place, %v", left, err)
	}
	read(db, s, shards, leaves)
}

// checkSigned requires that all of a log is under a published checkpoint with its root.
func checkSigned(t *testing.T, db *store.DB, s store.Scope, sh store.Shard) {
	t.Helper()
	size, signed, err := db.Checkpoint(t.Context(), s, sh.Number)
	if err != nil {
		t.Errorf("log %s of %d leaves: %v", sh.Origin, sh.Size, err)
		return
	}
	c, err := ledger.UnverifiedCheckpoint(signed)
	if err != nil {
		t.Fatal(err)
	}
	root, err := sequencer.Root(t.Context(), db, s, sh.Number, size)
	if err != nil || size != sh.Size || c.Size != size || c.Root != root || c.Origin != sh.Origin {
		t.Errorf("log %s of %d leaves has the checkpoint %+v, root %s, %v", sh.Origin, sh.Size, c, root, err)
	}
}

// onBothAt runs a test with a node on each kind of database, whose clock the test sets.
func onBothAt(t *testing.T, at time.Time, f func(t *testing.T, env *testenv.Env, clock *clock)) {
	t.Run("SQLite", func(t *testing.T) {
		clock := newClock(at)
		f(t, testenv.New(t, func(c *node.Config) { c.Now = clock.now }), clock)
	})
	t.Run("Postgres", func(t *testing.T) {
		if testing.Short() {
			t.Skip("needs Postgres: left out by -short")
		}
		dsn, clock := pgtest.Database(t), newClock(at)
		f(t, testenv.New(t, func(c *node.Config) { c.DSN, c.Now = dsn, clock.now }), clock)
	})
}

// placed waits, on Postgres, until all leaves have places: transactions of other databases
// of the server, too, hold them back.
func placed(t *testing.T, env *testenv.Env) {
	t.Helper()
	if env.Config.DSN == "" {
		return
	}
	db := dataOf(t, env)
	defer db.Close()
	testenv.Until(t, "all leaves have places", func() (all bool) {
		if err := db.QueryRow(`SELECT (SELECT count(*) FROM leaves) = (SELECT sum(size) FROM log_shards)`).Scan(&all); err != nil {
			t.Fatal(err)
		}
		return all
	})
}

func TestALogClosesWithItsYear(t *testing.T) {
	onBothAt(t, time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC), closesWithItsYear)
}

func closesWithItsYear(t *testing.T, env *testenv.Env, clock *clock) {
	deployLoan(t, env)
	old := env.Start("loan", example(t, "application.json"))
	clock.set(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))
	env.Work("credit-check", `{"score": 640}`) // a step of an instance whose first step is in the old log
	env.Start("loan", example(t, "application.json"))
	clock.set(time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC)) // a clock that is set back changes nothing
	env.Start("loan", example(t, "application.json"))
	placed(t, env)
	env.Restart(func() {
		logOf(t, env, func(db *store.DB, s store.Scope, shards []store.Shard, leaves [][]ledger.Leaf) {
			if len(shards) != 2 || shards[0].Open || !shards[1].Open {
				t.Fatalf("logs are %+v, want an old one and an open one", shards)
			}
			first, second := leaves[0], leaves[1]
			if first[0].Kind != "log.opened" || first[len(first)-1].Kind != "log.closed" || second[0].Kind != "log.opened" {
				t.Errorf("logs begin with %s and %s, the first ends with %s", first[0].Kind, second[0].Kind, first[len(first)-1].Kind)
			}
			for i, leaf := range append(first[:len(first)-1:len(first)-1], second[1:]...) {
				if i > 0 && (leaf.Kind == "log.opened" || leaf.Kind == "log.closed") {
					t.Errorf("leaf %d is %s", i, leaf.Kind)
				}
			}
		})
	})
	if i := env.Instance(old); i.Seq != 2 {
		t.Errorf("the old instance is at step %d", i.Seq)
	}
	if _, err := env.Engine.Export(t.Context(), env.Ann, old); err != nil {
		t.Errorf("the history over two logs: %v", err)
	}
	opened := entriesOf(t, env, "log.opened")
	if len(opened) != 2 || opened[0].Fields["$former"] != nil {
		t.Fatalf("%d logs were opened, the first after %v", len(opened), opened[0].Fields["$former"])
	}
	former, _ := opened[1].Fields["$former"].(*canon.Context)
	logOfFormer(t, env, former)
}

// logOfFormer requires that $former names the first log as it ended.
func logOfFormer(t *testing.T, env *testenv.Env, former *canon.Context) {
	t.Helper()
	placed(t, env)
	env.Restart(func() {
		logOf(t, env, func(db *store.DB, s store.Scope, shards []store.Shard, _ [][]ledger.Leaf) {
			root, err := sequencer.Root(t.Context(), db, s, 1, shards[0].Size)
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range map[string]canon.Value{
				"log": canon.String(shards[0].Origin), "root": canon.String(root.String()), "size": canon.NewNumber(int64(shards[0].Size)),
			} {
				if got, _ := former.Get(name); !canon.Equal(got, want) {
					t.Errorf("$former has %s %v, want %v", name, got, want)
				}
			}
		})
	})
}

// TestManyWriteWhileTheYearTurns has the last leaf of each closed log be log.closed
// although many write at that moment.
func TestManyWriteWhileTheYearTurns(t *testing.T) {
	onBothAt(t, time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC), writeWhileTheYearTurns)
}

func writeWhileTheYearTurns(t *testing.T, env *testenv.Env, clock *clock) {
	const writers, starts, years = 8, 12, 4
	env.Deploy("all.bpmn", everything)
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			for n := range starts {
				if i == 0 && n%(starts/years) == 0 {
					clock.set(clock.now().AddDate(1, 0, 0))
				}
				if _, err := env.Engine.Start(t.Context(), env.Ann, api.StartRequest{Process: "everything"}, ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	placed(t, env)
	env.Restart(func() {
		logOf(t, env, func(_ *store.DB, _ store.Scope, shards []store.Shard, leaves [][]ledger.Leaf) {
			total := 0
			for i, log := range leaves {
				for j, leaf := range log {
					if (leaf.Kind == "log.opened") != (j == 0) || (leaf.Kind == "log.closed") != (j == len(log)-1 && !shards[i].Open) {
						t.Errorf("leaf %d of %d in log %s is %s", j, len(log), shards[i].Origin, leaf.Kind)
					}
					if leaf.Kind == "instance.started" {
						total++
					}
				}
			}
			if total != writers*starts || len(shards) != years+1 {
				t.Errorf("%d starts in %d logs, want %d in %d", total, len(shards), writers*starts, years+1)
			}
		})
	})
}

// TestALogIsOpenUntilWhoEnteredLeaves has a step of the next year wait for one that is
// under way.
func TestALogIsOpenUntilWhoEnteredLeaves(t *testing.T) {
	t.Parallel()
	clock := newClock(time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC))
	env := testenv.New(t, func(c *node.Config) { c.Now = clock.now })
	env.Deploy("all.bpmn", everything)
	origin, leave, err := engine.EnterShard(t.Context(), env.Engine, env.Ann, clock.now())
	if err != nil {
		t.Fatal(err)
	}
	clock.set(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))
	next := make(chan error, 1)
	go func() {
		_, err := env.Engine.Start(context.Background(), env.Ann, api.StartRequest{Process: "everything"}, "")
		next <- err
	}()
	for range 5000 { // far longer than a start takes
		if _, err := env.Engine.Instances(t.Context(), env.Ann, engine.InstanceFilter{}, engine.Page{}); err != nil {
			t.Fatal(err)
		}
		if len(next) > 0 {
			t.Fatalf("log %s was closed under a step that was under way", origin)
		}
	}
	leave()
	if err := <-next; err != nil {
		t.Error(err)
	}
}

// TestRestoredDataGoesOnInANewLog sets the data back, which is refused, and then
// called restored.
func TestRestoredDataGoesOnInANewLog(t *testing.T) {
	clock := newClock(time.Date(2026, 12, 30, 0, 0, 0, 0, time.UTC))
	env := testenv.New(t, func(c *node.Config) { c.Now = clock.now })
	deployLoan(t, env)
	kept := env.Start("loan", example(t, "application.json"))
	var old []byte
	path := filepath.Join(env.Config.Data, "data.db")
	env.Restart(func() { old = readFile(t, path) })
	env.Start("loan", example(t, "application.json"))
	clock.set(time.Date(2027, 1, 2, 0, 0, 0, 0, time.UTC)) // of the log of 2027 nothing comes back
	env.Start("loan", example(t, "application.json"))
	env.Restart(func() {
		writeFile(t, path, old)
		for _, left := range []string{"data.db-wal", "data.db-shm"} {
			os.Remove(filepath.Join(env.Config.Data, left))
		}
		n, err := node.Open(context.Background(), env.Config)
		if err == nil {
			n.Close()
		}
		if !fault.Is(err, fault.Integrity) || fault.CodeOf(err) != "behind_checkpoint" {
			t.Fatalf("data that was set back: %v, want it refused", err)
		}
		env.Config.Restored = true
	})
	env.Work("credit-check", `{"score": 640}`)
	env.Config.Restored = false
	env.Restart(nil) // it is not refused any more
	if i := env.Instance(kept); i.Seq != 2 {
		t.Errorf("the kept instance is at step %d", i.Seq)
	}
	performed := entriesOf(t, env, "restore.performed")
	if len(performed) != 1 {
		t.Fatalf("%d restores", len(performed))
	}
	if known, _ := performed[0].Fields["$known"].(canon.List); len(known) != 2 {
		t.Errorf("it names %v, want the heads of two logs", known)
	}
	env.Restart(func() {
		logOf(t, env, func(db *store.DB, s store.Scope, shards []store.Shard, leaves [][]ledger.Leaf) {
			want := fmt.Sprintf("%s2027.%d", strings.TrimSuffix(shards[0].Origin, "2026"), clock.now().Unix())
			if len(shards) != 2 || shards[1].Origin != want {
				t.Fatalf("logs are %+v", shards)
			}
			if leaves[1][0].Kind != "log.opened" || leaves[1][1].Kind != "restore.performed" {
				t.Errorf("the new log begins with %s, %s", leaves[1][0].Kind, leaves[1][1].Kind)
			}
		})
	})
}

// TestDataAndKeysThatAreBroughtBackTogetherGoOnInANewLog restores one backup twice.
// Its keys know of nothing that was signed since, so the old log would be forked.
func TestDataAndKeysThatAreBroughtBackTogetherGoOnInANewLog(t *testing.T) {
	clock := newClock(time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC))
	env := testenv.New(t, func(c *node.Config) { c.Now = clock.now })
	deployLoan(t, env)
	backup := map[string][]byte{"data.db": nil, "keys.db": nil}
	env.Restart(func() {
		for name := range backup {
			backup[name] = readFile(t, filepath.Join(env.Config.Data, name))
		}
	})
	origins := map[string]bool{}
	for range 2 {
		env.Start("loan", example(t, "application.json")) // is lost
		clock.set(clock.now().Add(time.Hour))
		env.Restart(func() {
			for name, content := range backup {
				path := filepath.Join(env.Config.Data, name)
				writeFile(t, path, content)
				os.Remove(path + "-wal")
				os.Remove(path + "-shm")
			}
			env.Config.Restored = true
		})
		env.Config.Restored = false
		env.Restart(func() {
			logOf(t, env, func(db *store.DB, s store.Scope, shards []store.Shard, leaves [][]ledger.Leaf) {
				if len(shards) != 2 || shards[0].Open || leaves[1][1].Kind != "restore.performed" {
					t.Fatalf("logs are %+v", shards)
				}
				origins[shards[1].Origin] = true
			})
		})
	}
	if len(origins) != 2 {
		t.Errorf("two restores go on in %v", origins)
	}
	performed := entriesOf(t, env, "restore.performed")
	if len(performed) != 1 {
		t.Fatalf("%d restores", len(performed))
	}
	if known, _ := performed[0].Fields["$known"].(canon.List); len(known) != 1 {
		t.Errorf("it names %v, want the head that the backup has", known)
	}
}

// TestARestoreCanBeCutShort lets the last part of it fail.
func TestARestoreCanBeCutShort(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	deployLoan(t, env)
	var old []byte
	path := filepath.Join(env.Config.Data, "data.db")
	env.Restart(func() { old = readFile(t, path) })
	env.Start("loan", example(t, "application.json"))
	env.Restart(func() {
		writeFile(t, path, old)
		env.Config.Restored = true
	})
	// as if the heads beside the keys had not been lowered
	env.Restart(func() { raiseHeads(t, env) })
	if opened := entriesOf(t, env, "restore.performed"); len(opened) != 1 {
		t.Errorf("%d restores, want one that was finished", len(opened))
	}
}

// raiseHeads undoes what the last part of a restore did, and what came after it.
func raiseHeads(t *testing.T, env *testenv.Env) {
	t.Helper()
	db := openRaw(t, filepath.Join(env.Config.Data, "keys.db"))
	defer db.Close()
	result, err := db.Exec(`UPDATE log_heads SET size = size + 1000 WHERE origin NOT LIKE '%.%'`)
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := result.RowsAffected(); n != 1 {
		t.Fatalf("%d heads", n)
	}
	if _, err := db.Exec(`DELETE FROM log_heads WHERE origin LIKE '%.%'`); err != nil {
		t.Fatal(err)
	}
	execRaw(t, env, `DELETE FROM log_checkpoints WHERE shard > 1`)
}

var _ engine.Sequencer = (*sequencer.Sequencer)(nil)
