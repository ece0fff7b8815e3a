package store_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring/keyrow"
	"github.com/underseal/underseal/internal/store"
)

var errDisk = errors.New("the disk is gone")

// failAt returns a fault that happens at the nth time of a point.
func failAt(point string, n int64) func(string) error {
	var seen atomic.Int64
	return func(p string) error {
		if p == point && seen.Add(1) == n {
			return errDisk
		}
		return nil
	}
}

// TestWhatIsOverwrittenLeavesNoBytes overwrites a value by a statement that erases
// nothing by itself.
func TestWhatIsOverwrittenLeavesNoBytes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := openDB(t, store.Config{Path: dir})
	const mark = "CANARY-overwritten-77ab"
	run := func(text string) {
		t.Helper()
		ok(t, db.OnWriter(t.Context(), text))
		ok(t, db.Forget(t.Context()))
	}
	inFile := func() bool {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(dir, "data.db"))
		ok(t, err)
		return bytes.Contains(data, []byte(mark))
	}
	run("CREATE TABLE notes (id INTEGER PRIMARY KEY, note TEXT)")
	run("INSERT INTO notes VALUES (1, '" + strings.Repeat(mark, 5) + "'), (2, 'another')")
	if !inFile() {
		t.Fatal("the search does not find what must be there")
	}
	run("UPDATE notes SET note = 'gone' WHERE id = 1")
	if inFile() {
		t.Error("the bytes of a value that was overwritten stay in the file")
	}
}

// TestEveryWriteFails lets each statement of a unit fail once. The unit must
// leave nothing, its neighbor everything, and the same unit must then succeed.
func TestEveryWriteFails(t *testing.T) {
	t.Parallel()
	db := openDB(t, store.Config{Path: t.TempDir()})
	failures := 0
	for n := int64(1); ; n++ {
		id := store.ID{1, byte(n)}
		db.SetFault(failAt(store.FaultStatement, n))
		err := db.Commit(t.Context(), main, full(id))
		db.SetFault(func(string) error { return nil })
		if err == nil {
			break // more than the unit has
		}
		failures++
		is(t, "Commit", err, fault.Internal, "")
		checkNothing(t, db, main, id)
		again := full(id)
		again.Tokens = again.Tokens[1:]
		ok(t, db.Commit(t.Context(), main, again))
	}
	if failures < 15 {
		t.Errorf("only %d statements failed", failures)
	}
	ok(t, db.Err())
}

// TestACommitThatFailsEndsTheDatabase lets the commit of a group fail, before
// it happens and after: both times nobody may be told that it was done, nothing
// is tried again, and the next start finds each unit whole or not at all.
func TestACommitThatFailsEndsTheDatabase(t *testing.T) {
	t.Parallel()
	for point, written := range map[string]bool{store.FaultCommit: false, store.FaultCommitted: true} {
		t.Run(point, func(t *testing.T) {
			cfg := store.Config{Path: t.TempDir()}
			db := must[*store.DB](t)(store.Open(t.Context(), cfg))
			ok(t, db.Commit(t.Context(), main, minimal(store.ID{1}, 0)))
			db.SetFault(failAt(point, 1))
			is(t, "Commit", db.Commit(t.Context(), main, full(store.ID{2})), fault.Unavailable, "database_failed")
			failed(t, db)
			if !errors.Is(db.Err(), errDisk) {
				t.Errorf("Err is %v", db.Err())
			}
			is(t, "Commit afterwards", db.Commit(t.Context(), main, minimal(store.ID{3}, 0)), fault.Unavailable, "database_failed")
			_, err := db.Load(t.Context(), main, store.ID{1})
			is(t, "Load afterwards", err, fault.Unavailable, "database_failed")
			is(t, "Check afterwards", db.Check(t.Context()), fault.Unavailable, "database_failed")
			ok(t, db.Close())

			db = openDB(t, cfg)
			same(t, "head acknowledged before", must[store.Loaded](t)(db.Load(t.Context(), main, store.ID{1})).Seq, uint64(1))
			checkNothing(t, db, main, store.ID{3})
			if !written {
				checkNothing(t, db, main, store.ID{2})
				return
			}
			checkFull(t, db, full(store.ID{2}))
			is(t, "the same again", db.Commit(t.Context(), main, full(store.ID{2})), fault.Conflict, "stale")
		})
	}
}

// TestAFullDiskEndsTheDatabase fills the file for real.
func TestAFullDiskEndsTheDatabase(t *testing.T) {
	t.Parallel()
	cfg := store.Config{Path: t.TempDir()}
	db := must[*store.DB](t)(store.Open(t.Context(), cfg))
	ok(t, db.Commit(t.Context(), main, minimal(store.ID{1}, 0)))
	ok(t, db.OnWriter(t.Context(), "PRAGMA max_page_count = 80"))
	large := minimal(store.ID{2}, 0)
	large.Fields = []store.Field{{Path: "a", Value: bytes.Repeat([]byte("x"), 1<<20)}}
	is(t, "Commit", db.Commit(t.Context(), main, large), fault.Unavailable, "database_failed")
	failed(t, db)
	if db.Err() == nil || !strings.Contains(db.Err().Error(), "full") {
		t.Errorf("Err does not say that the disk is full: %v", db.Err())
	}
	ok(t, db.Close())
	db = openDB(t, cfg)
	checkNothing(t, db, main, store.ID{2})
	ok(t, db.Commit(t.Context(), main, large))
}

// TestConcurrentUnitsShareACommit counts commits while the writer is held.
func TestConcurrentUnitsShareACommit(t *testing.T) {
	t.Parallel()
	const units = 50
	db := openDB(t, store.Config{Path: t.TempDir()})
	var commits atomic.Int64
	held, holding := make(chan struct{}), make(chan struct{})
	db.SetFault(func(point string) error {
		if point == store.FaultCommit && commits.Add(1) == 1 {
			close(holding)
			<-held
		}
		return nil
	})
	var wg sync.WaitGroup
	commit := func(i int) {
		wg.Go(func() {
			if err := db.Commit(t.Context(), main, minimal(store.ID{1, byte(i)}, 0)); err != nil {
				t.Error(err)
			}
		})
	}
	commit(0)
	<-holding
	for i := range units {
		commit(i + 1)
	}
	db.AwaitQueued(units)
	close(held)
	wg.Wait()
	same(t, "commits", commits.Load(), int64(2))
}

// TestAUnitThatStillWaitsIsWithdrawn holds the writer at a commit while callers
// give up: one whose unit is in that commit, one whose unit waits behind it.
func TestAUnitThatStillWaitsIsWithdrawn(t *testing.T) {
	t.Parallel()
	db := openDB(t, store.Config{Path: t.TempDir()})
	held, holding := make(chan struct{}), make(chan struct{})
	var once sync.Once
	db.SetFault(func(point string) error {
		if point == store.FaultCommit {
			once.Do(func() { close(holding); <-held })
		}
		return nil
	})
	ctx, giveUp := context.WithCancel(t.Context())
	results := make([]chan error, 2)
	commit := func(i int) {
		results[i] = make(chan error, 1)
		go func() { results[i] <- db.Commit(ctx, main, minimal(store.ID{byte(i + 1)}, 0)) }()
	}
	commit(0)
	<-holding
	commit(1)
	db.AwaitQueued(1)
	giveUp()
	is(t, "the one under way", <-results[0], fault.Unavailable, "outcome_unknown")
	is(t, "the one that waits", <-results[1], fault.Unavailable, "not_applied")
	close(held)
	ok(t, db.Commit(t.Context(), main, minimal(store.ID{3}, 0)))
	same(t, "the one under way", must[store.Loaded](t)(db.Load(t.Context(), main, store.ID{1})).Seq, uint64(1))
	checkNothing(t, db, main, store.ID{2})
}

// TestTheWALStartsAnew writes several times what triggers a checkpoint.
func TestTheWALStartsAnew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := openDB(t, store.Config{Path: dir})
	const page = 4096
	written := 0
	for i := 0; written < 4*store.CheckpointPages*page; i++ {
		set := minimal(store.ID{1, byte(i >> 8), byte(i)}, 0)
		set.Fields = []store.Field{{Path: "a", Value: random(1 << 20)}}
		written += 1 << 20
		ok(t, db.Commit(t.Context(), main, set))
	}
	size := must[os.FileInfo](t)(os.Stat(filepath.Join(dir, "data.db-wal"))).Size()
	if size > 3*store.CheckpointPages*page {
		t.Errorf("the WAL has %d MiB after %d MiB were written", size>>20, written>>20)
	}
}

// TestADestroyedKeyLeavesNoBytes looks for pieces of the wrapped key in the
// files; its row stands among others, so that its place is not simply reused.
func TestADestroyedKeyLeavesNoBytes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keys := openDB(t, store.Config{Path: dir}).Keys()
	var rows []keyrow.DataKey
	for i := range byte(40) {
		rows = append(rows, keyrow.DataKey{Tenant: "main", ID: [16]byte{i}, Scope: keyrow.Pool, State: keyrow.Ready, KeyVersion: 1, Wrapped: random(160)})
	}
	ok(t, keys.Found(t.Context(), keyrow.TenantKey{Tenant: "main", Version: 1, Service: "s", RootKey: "r", Made: time.Now(), Wrapped: []byte{1}}, nil))
	ok(t, keys.AddDataKeys(t.Context(), rows))
	row := rows[20]
	if n := piecesInFiles(t, dir, row.Wrapped); n != 10 {
		t.Fatalf("%d pieces of the wrapped key are found while it is there", n)
	}
	tomb := row
	tomb.State, tomb.Wrapped, tomb.Tombstone = keyrow.Destroyed, nil, random(32)
	ok(t, keys.DestroyDataKey(t.Context(), tomb))
	if n := piecesInFiles(t, dir, row.Wrapped); n != 0 {
		t.Errorf("%d pieces of the wrapped key are still in a file", n)
	}
}

// piecesInFiles counts the pieces of 16 bytes that are in one of the key files.
func piecesInFiles(t *testing.T, dir string, what []byte) (found int) {
	t.Helper()
	var all []byte
	for _, f := range must[[]string](t)(filepath.Glob(filepath.Join(dir, "keys.db*"))) {
		all = append(all, must[[]byte](t)(os.ReadFile(f))...)
	}
	for ; len(what) > 0; what = what[16:] {
		if bytes.Contains(all, what[:16]) {
			found++
		}
	}
	return found
}

// wholeTenant matches a plan that takes all of a tenant's rows of a table that has one
// for each instance.
var wholeTenant = regexp.MustCompile(`^SEARCH (heads|data_keys|instances)\b.* USING (PRIMARY KEY|.*INDEX sqlite_autoindex_\w+) \(tenant=\?\)\n`)

// TestNoListScansATable keeps lists fast when there are a million instances.
func TestNoListScansATable(t *testing.T) {
	t.Parallel()
	db := openDB(t, store.Config{Path: t.TempDir()})
	ctx := t.Context()
	object := store.ID{1}
	_, _ = db.Load(ctx, main, object)
	_, _ = db.Rows(ctx, main, object)
	_, _ = db.Steps(ctx, main, object, 0, 1)
	_, _ = db.StepFields(ctx, main, object, 1)
	_, _ = db.Fields(ctx, main, object, []store.FieldRef{{Path: "a", Seq: 1}})
	_, _ = db.FindToken(ctx, main, store.SearchToken, [32]byte{})
	_, _ = db.KeysInUse(ctx, main, []store.ID{object})
	_, _ = db.ScanTimers(ctx, time.Now(), store.TimerCursor{}, 1)
	for _, f := range []store.InstanceFilter{{}, {Process: "p"}, {Status: "active"}, {Tokens: []store.Token{{}}}} {
		_, _ = db.Instances(ctx, main, f)
		f.After = object
		_, _ = db.Instances(ctx, main, f)
	}
	for _, f := range []store.TaskFilter{{}, {Process: "p"}, {Assignee: "a"}, {Group: "g"}, {User: "u"}, {Unassigned: true}} {
		_, _ = db.Tasks(ctx, main, f)
	}
	for _, backward := range []bool{false, true} {
		_, _ = db.TermBlocks(ctx, main, []byte("k1"), store.LogBlock{Shard: 1}, backward, 1)
	}
	_, _ = db.NextTerm(ctx, main, []byte("k1"), []byte("k1"))
	_, _ = db.BlockTerms(ctx, main, store.LogBlock{Shard: 1}, 2)
	_, _ = db.EntriesBetween(ctx, main, object, object)
	_, _ = db.ObjectPlaces(ctx, main, object)
	_, _ = db.Models(ctx, main, "p")
	_, _ = db.LogEntries(ctx, main, 1, 0, 1)
	reach := &store.Reach{
		User: "u", Groups: []string{"g"}, Processes: []string{"p"}, Tasks: []store.TasksOf{{Process: "p", Element: "e"}},
		Where: []store.InstancesOf{{Process: "p", Tokens: [][32]byte{{1}, {2}}}},
	}
	_, _ = db.Tasks(ctx, main, store.TaskFilter{Reach: reach})
	_, _ = db.Instances(ctx, main, store.InstanceFilter{Reach: reach, After: object})
	_, _ = db.Incidents(ctx, main, store.IncidentFilter{Reach: reach})
	_, _ = db.Standings(ctx, main)
	_, _ = db.Signers(ctx, main)
	_, _, _ = db.Unlisted(ctx, main)
	_, _, _ = db.UnlistedCustody(ctx, main)
	_, _ = db.Keys().ScopeKey(ctx, "main", "audit")
	_, _ = db.Keys().ScopeKeys(ctx, "main", "audit")
	_, _ = db.Keys().HighestOwn(ctx, "main")
	plans := must[map[string]string](t)(db.Plans(ctx))
	if len(plans) < 30 {
		t.Fatalf("only %d queries", len(plans))
	}
	for text, plan := range plans {
		for line := range strings.Lines(plan) {
			scan := strings.HasPrefix(line, "SCAN") && !strings.Contains(line, "SCAN t\n")
			walk := wholeTenant.MatchString(line) && !strings.Contains(text, "LIMIT")
			if scan || walk || strings.Contains(line, "TEMP B-TREE FOR ORDER BY") && !strings.Contains(text, "task_candidates") {
				t.Errorf("%s\n%s", text, plan)
			}
		}
	}
}

func TestNothingRunsOnAfterClose(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	db := must[*store.DB](t)(store.Open(t.Context(), store.Config{Path: t.TempDir()}))
	ok(t, db.Commit(t.Context(), main, full(store.ID{1})))
	ok(t, db.Close())
}
