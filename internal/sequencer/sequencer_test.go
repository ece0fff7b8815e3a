package sequencer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/merkle/testonly"
	"golang.org/x/mod/sumdb/note"
	_ "modernc.org/sqlite"
	"pgregory.net/rapid"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring/keyrow"
	"github.com/underseal/underseal/internal/pgtest"
	"github.com/underseal/underseal/internal/sequencer"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/internal/testenv"
	"github.com/underseal/underseal/ledger"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// signing signs with one key for all.
type signing struct{}

// mac is what a leaf has that was made here.
func mac(object store.ID, seq uint64, hash [32]byte) [32]byte {
	return sha256.Sum256(fmt.Append(nil, object, seq, hash))
}

func (signing) Genuine(context.Context, string) (func(store.ID, uint64, store.Leaf) bool, error) {
	return func(object store.ID, seq uint64, leaf store.Leaf) bool {
		return leaf.MAC == mac(object, seq, leaf.Hash)
	}, nil
}

func (signing) PlatformSigners(_ context.Context, _, origin string, _ uint64) ([]note.Signer, error) {
	s, err := ledger.NoteSigner(origin, make([]byte, 32))
	return []note.Signer{s}, err
}

// world is a database with tenants that write leaves.
type world struct {
	t     testing.TB
	place store.Config // of the database
	db    *store.DB
	cfg   sequencer.Config
	next  uint64 // number of the next leaf

	postgres map[string]*sql.DB // its administrator, by what are files of SQLite; nil: SQLite
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, place: store.Config{Path: filepath.Join(t.TempDir(), "data")}}
	t.Cleanup(w.close)
	w.open()
	return w
}

// newPostgresWorld has an administrator whom no constraint but types binds.
func newPostgresWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, place: store.Config{DSN: pgtest.Database(t)}, postgres: map[string]*sql.DB{}}
	t.Cleanup(w.close)
	w.open()
	for file, schema := range map[string]string{"data.db": store.DataSchema, "keys.db": store.KeysSchema} {
		admin, err := sql.Open("pgx", w.place.DSN+" search_path="+schema+",public options='-c session_replication_role=replica'")
		ok(t, err)
		t.Cleanup(func() { admin.Close() })
		w.postgres[file] = admin
	}
	_, err := w.postgres["data.db"].Exec(`
		CREATE FUNCTION public.zeroblob(n int) RETURNS bytea LANGUAGE sql AS $$ SELECT decode(repeat('00', n), 'hex') $$;
		CREATE FUNCTION public.replaced(old bytea, this text, that text) RETURNS bytea LANGUAGE sql AS $$ SELECT convert_to(replace(convert_from(old, 'UTF8'), this, that), 'UTF8') $$`)
	ok(t, err)
	return w
}

func (w *world) close() {
	if w.db != nil {
		ok(w.t, w.db.Close())
	}
}

// onBoth runs a test with an empty database of each kind.
func onBoth(t *testing.T, f func(t *testing.T, w *world)) {
	t.Run("SQLite", func(t *testing.T) { f(t, newWorld(t)) })
	t.Run("Postgres", func(t *testing.T) {
		if testing.Short() {
			t.Skip("needs Postgres: left out by -short")
		}
		f(t, newPostgresWorld(t))
	})
}

func (w *world) open() {
	w.t.Helper()
	db, err := store.Open(context.Background(), w.place)
	ok(w.t, err)
	w.db, w.cfg = db, sequencer.Config{Store: db, Signing: signing{}, Scope: store.NewScope, Batch: 100}
}

// reopen closes the database and opens it again. Between runs while it is closed.
func (w *world) reopen(between func()) {
	w.t.Helper()
	ok(w.t, w.db.Close())
	w.db = nil
	between()
	w.open()
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tenant makes a tenant with keys and an open log.
func (w *world) tenant(name string) store.Scope {
	w.t.Helper()
	ctx := context.Background()
	key := keyrow.TenantKey{Tenant: name, Version: 1, Service: "s", RootKey: "r", Made: time.Unix(1, 0), Wrapped: []byte{1}}
	ok(w.t, w.db.Keys().Found(ctx, key, nil))
	ok(w.t, w.db.OpenShard(ctx, store.NewScope(name), store.Shard{Number: 1, Origin: origin(name, 1)}))
	return store.NewScope(name)
}

func origin(tenant string, shard int) string {
	return fmt.Sprintf("underseal/d/%s/%d", tenant, 2025+shard)
}

// leaf returns an entry of a log.
func (w *world) leaf(s store.Scope, shard int, kind string) *store.Entry {
	w.next++
	e := &store.Entry{}
	binary.BigEndian.PutUint64(e.ID[8:], w.next*0x9e3779b97f4a7c15) // ids and commits have different orders
	e.Leaf.Body = ledger.Leaf{Kind: kind, Log: origin(s.Tenant(), shard), At: "2026-11-21T12:30:00.000000Z", Act: "engine",
		Elem: fmt.Sprint(w.next), Data: ledger.DataRoot(nil)}.Encode()
	e.Leaf.Hash = ledger.LeafHash(e.Leaf.Body)
	e.Leaf.MAC = mac(e.ID, 0, e.Leaf.Hash)
	return e
}

// write commits n leaves, one after the other in one transaction, and returns them in the
// order in which they get their places.
func (w *world) write(s store.Scope, n int) [][]byte {
	w.t.Helper()
	entries, bodies := make([]*store.Entry, n), make([][]byte, n)
	for i := range entries {
		entries[i] = w.leaf(s, 1, "data.shown")
	}
	if w.postgres != nil { // there it is that of their ids
		slices.SortFunc(entries, func(a, b *store.Entry) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	}
	for i, e := range entries {
		bodies[i] = e.Leaf.Body
	}
	ok(w.t, w.db.Append(context.Background(), s, entries...))
	if w.postgres != nil { // behind what else runs, as the server's own upkeep
		testenv.Until(w.t, "no older transaction runs", func() (settled bool) {
			ok(w.t, w.postgres["data.db"].QueryRow(`SELECT NOT EXISTS (SELECT FROM leaves WHERE xid >= pg_snapshot_xmin(pg_current_snapshot()))`).Scan(&settled))
			return settled
		})
	}
	return bodies
}

// reference is the tree over leaves by the other implementation.
func reference(leaves [][]byte) *testonly.Tree {
	tree := testonly.New(rfc6962.DefaultHasher)
	tree.AppendData(leaves...)
	return tree
}

// checkLog requires that a log has exactly these leaves, and a published checkpoint
// over them all that is also beside the keys.
func (w *world) checkLog(s store.Scope, leaves [][]byte) {
	w.t.Helper()
	ctx := context.Background()
	entries, err := w.db.LogEntries(ctx, s, 1, 0, len(leaves)+1)
	ok(w.t, err)
	if len(entries) != len(leaves) {
		w.t.Fatalf("%d entries, want %d", len(entries), len(leaves))
	}
	for i, e := range entries {
		if e.Index != uint64(i) || !bytes.Equal(e.Body, leaves[i]) {
			w.t.Fatalf("entry %d is %s at index %d, want %s", i, e.Body, e.Index, leaves[i])
		}
	}
	size, signed, err := w.db.Checkpoint(ctx, s, 1)
	ok(w.t, err)
	c, err := ledger.UnverifiedCheckpoint(signed)
	ok(w.t, err)
	heads, err := w.db.LogHeads(ctx, s)
	ok(w.t, err)
	want := reference(leaves).Hash()
	if size != uint64(len(leaves)) || c.Size != size || !bytes.Equal(c.Root[:], want) || len(heads) != 1 || heads[0].Size != size || heads[0].Root != c.Root {
		w.t.Fatalf("the checkpoint is %+v at size %d, beside the keys %+v; want root %x of %d leaves", c, size, heads, want, len(leaves))
	}
}

func TestTheTreeIsThatOfRFC6962(t *testing.T) {
	w := newWorld(t)
	number := 0
	rapid.Check(t, func(rt *rapid.T) {
		ctx := context.Background()
		number++
		name := fmt.Sprintf("t%d", number)
		s := w.tenant(name)
		cfg := w.cfg
		cfg.Batch = rapid.IntRange(1, 300).Draw(rt, "batch")
		seq := sequencer.New(cfg)
		var leaves [][]byte
		var sizes []uint64
		for _, n := range rapid.SliceOfN(rapid.SampledFrom([]int{1, 2, 7, 100, 255, 256, 300}), 1, 4).Draw(rt, "leaves") {
			leaves = append(leaves, w.write(s, n)...)
			ok(t, seq.Work(ctx, name))
			sizes = append(sizes, uint64(len(leaves)))
			if rapid.Bool().Draw(rt, "begin anew") {
				seq = sequencer.New(cfg)
			}
		}
		w.checkLog(s, leaves)
		want := reference(leaves)
		size := uint64(len(leaves))
		index := rapid.Uint64Range(0, size-1).Draw(rt, "index")
		got, err := sequencer.Inclusion(ctx, w.db, s, 1, index, size)
		ok(t, err)
		proof, err := want.InclusionProof(index, size)
		ok(t, err)
		sameProof(t, "inclusion", got, proof)
		for _, old := range sizes {
			if got, err = sequencer.Consistency(ctx, w.db, s, 1, old, size); err != nil {
				t.Fatal(err)
			}
			proof, err := want.ConsistencyProof(old, size)
			ok(t, err)
			sameProof(t, "consistency", got, proof)
			root, err := sequencer.Root(ctx, w.db, s, 1, old)
			ok(t, err)
			if !bytes.Equal(root[:], want.HashAt(old)) {
				t.Fatalf("root at %d of %d is %s, want %x", old, size, root, want.HashAt(old))
			}
		}
	})
}

func sameProof(t testing.TB, what string, got []ledger.Hash, want [][]byte) {
	t.Helper()
	same := len(got) == len(want)
	for i := 0; same && i < len(got); i++ {
		same = bytes.Equal(got[i][:], want[i])
	}
	if !same {
		t.Fatalf("proof of %s is %v, want %x", what, got, want)
	}
}

func TestProofsOfWhatIsNotThereAreRefused(t *testing.T) {
	w := newWorld(t)
	s := w.tenant("main")
	w.write(s, 3)
	ok(t, sequencer.New(w.cfg).Work(t.Context(), "main"))
	if _, err := sequencer.Inclusion(t.Context(), w.db, s, 1, 3, 3); !fault.Is(err, fault.Invalid) {
		t.Errorf("index 3 of 3: %v, want Invalid", err)
	}
	if _, err := sequencer.Consistency(t.Context(), w.db, s, 1, 4, 3); !fault.Is(err, fault.Invalid) {
		t.Errorf("3 continues 4: %v, want Invalid", err)
	}
	if _, err := sequencer.Inclusion(t.Context(), w.db, s, 1, 0, 300); !fault.Is(err, fault.Integrity) {
		t.Errorf("a size that the tree has not: %v, want Integrity", err)
	}
}

// TestItGoesOnAfterACrashAtAnyWrite lets every write fail in turn, and everything in
// memory be lost with it.
func TestItGoesOnAfterACrashAtAnyWrite(t *testing.T) { onBoth(t, itGoesOnAfterACrash) }

func itGoesOnAfterACrash(t *testing.T, w *world) {
	ctx := t.Context()
	broken := errors.New("power lost")
	seen := map[string]int{}
	for n := 1; ; n++ {
		name := fmt.Sprintf("t%d", n)
		s := w.tenant(name)
		leaves := w.write(s, 30)
		calls := 0
		cfg := w.cfg.FailAt(func(point string) error {
			calls++
			if calls == n {
				seen[point]++
				return broken
			}
			return nil
		})
		cfg.Batch = 100
		first := sequencer.New(cfg)
		err := first.Work(ctx, name)
		if err == nil { // a second round, with two batches
			leaves = append(leaves, w.write(s, 150)...)
			err = first.Work(ctx, name)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, broken) {
			t.Fatal(err)
		}
		if again := sequencer.New(w.cfg); again.Check(ctx) != nil {
			t.Fatalf("after a crash at write %d: %v", n, again.Check(ctx))
		}
		leaves = append(leaves, w.write(s, 10)...)
		ok(t, sequencer.New(w.cfg).Work(ctx, name))
		w.checkLog(s, leaves)
	}
	if seen["grow"] < 3 || seen["head"] < 2 || seen["publish"] < 2 {
		t.Errorf("writes that failed: %v", seen)
	}
}

func TestWorkInTheBackground(t *testing.T) { onBoth(t, writeInBackground) }

// writeInBackground has many write while the sequencer works, and requires that
// each leaf has one place in the end, an object's leaves in their order.
func writeInBackground(t *testing.T, w *world) {
	const writers, steps = 8, 40
	ctx := t.Context()
	s := w.tenant("main")
	told := make(chan uint64, 1000)
	w.cfg.Interval = time.Millisecond
	w.cfg.Published = func(_ context.Context, tenant string, shard store.Shard, size uint64, signed []byte) { told <- size }
	seq := sequencer.New(w.cfg)
	ok(t, seq.Start(ctx))
	ok(t, seq.Start(ctx))
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			for step := range uint64(steps) {
				if err := w.db.Commit(ctx, s, stepSet(s, store.ID{1, byte(i)}, step)); err != nil {
					t.Error(err)
				}
				seq.Wrote("main")
			}
		})
	}
	all.Wait()
	testenv.Until(t, "all leaves have places", func() bool { // other tests' transactions may hold them back
		left, err := w.db.CountUnsequenced(ctx, s, 1)
		ok(t, err)
		return left == 0
	})
	seq.Stop(ctx)
	seq.Stop(ctx)
	entries, err := w.db.LogEntries(ctx, s, 1, 0, writers*steps+1)
	ok(t, err)
	if len(entries) != writers*steps {
		t.Fatalf("%d entries, want %d", len(entries), writers*steps)
	}
	var leaves [][]byte
	newest := map[store.ID]uint64{}
	for _, e := range entries {
		if newest[e.Object]++; newest[e.Object] != e.Seq {
			t.Fatalf("step %d of %s has the place of step %d", e.Seq, e.Object, newest[e.Object])
		}
		leaves = append(leaves, e.Body)
	}
	w.checkLog(s, leaves)
	close(told)
	size := uint64(0)
	for now := range told {
		if now <= size {
			t.Errorf("a checkpoint at size %d was published after one at %d", now, size)
		}
		size = now
	}
	if size != writers*steps {
		t.Errorf("the last checkpoint that was told of is at size %d", size)
	}
}

// stepSet is the least that a step of an object writes.
func stepSet(s store.Scope, object store.ID, expect uint64) *store.WriteSet {
	set := &store.WriteSet{Object: object, Kind: store.Instance, Expect: expect, Head: []byte("h"), Step: []byte("s")}
	l := ledger.Leaf{Kind: "k", Log: origin(s.Tenant(), 1), Object: object.String(), Seq: expect + 1,
		At: "2026-11-21T12:30:00.000000Z", Act: "engine", Data: ledger.DataRoot(nil)}
	if expect > 0 {
		l.Prev = ledger.Hash{1}
	}
	set.Leaf.Body = l.Encode()
	set.Leaf.Hash = ledger.LeafHash(set.Leaf.Body)
	set.Leaf.MAC = mac(object, expect+1, set.Leaf.Hash)
	return set
}

// administrator changes rows by SQL while the server is down.
var administrator = []struct{ name, file, sql string }{
	{"deletes the last entry", "data.db", `DELETE FROM log_entries WHERE idx = 299`},
	{"deletes an entry", "data.db", `DELETE FROM log_entries WHERE idx = 280`},
	{"changes an entry", "data.db", `UPDATE log_entries SET hash = zeroblob(32) WHERE idx = 299`},
	{"puts an entry elsewhere", "data.db", `UPDATE log_entries SET idx = 300 WHERE idx = 299`},
	{"swaps what two entries are", "data.db", `
		UPDATE log_entries SET hash = (SELECT e.hash FROM log_entries e WHERE e.idx = 579 - log_entries.idx) WHERE idx IN (289, 290)`},
	{"adds an entry", "data.db", `INSERT INTO log_entries VALUES ('main', 1, 300, zeroblob(16), 7, zeroblob(32))`},
	{"changes a tile", "data.db", `UPDATE log_tiles SET hashes = zeroblob(44 * 32) WHERE level = 0 AND idx = 1`},
	{"changes a tile of a higher level", "data.db", `UPDATE log_tiles SET hashes = zeroblob(32) WHERE level = 1`},
	{"cuts a tile off", "data.db", `UPDATE log_tiles SET hashes = substr(hashes, 1, 43 * 32) WHERE level = 0 AND idx = 1`},
	{"deletes a tile", "data.db", `DELETE FROM log_tiles WHERE level = 0 AND idx = 1`},
	{"says that the log is smaller", "data.db", `UPDATE log_shards SET size = 200`},
	{"renames the log", "data.db", `UPDATE log_shards SET origin = 'underseal/d/main/x'`},
	{"deletes the log", "data.db", `DELETE FROM log_shards`},
	{"changes the root beside the keys", "keys.db", `UPDATE log_heads SET root = zeroblob(32)`},
	{"changes the size beside the keys", "keys.db", `UPDATE log_heads SET size = 299`},
	{"deletes what is beside the keys", "keys.db", `DELETE FROM log_heads`},
	{"takes the note of another log", "keys.db", `UPDATE log_heads SET note = replaced(note, 'main', 'other')`},
}

func TestAChangedLogIsRefusedAtStart(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		s := w.tenant("main")
		leaves := w.write(s, 300)
		ok(t, sequencer.New(w.cfg).Work(t.Context(), "main"))
		w.checkLog(s, leaves)
		w.reopen(func() {})
		ok(t, sequencer.New(w.cfg).Check(t.Context()))
		for _, a := range administrator {
			var back func()
			w.reopen(func() { back = w.saved(a.file); w.change(a.file, a.sql) })
			err := sequencer.New(w.cfg).Check(t.Context())
			if !fault.Is(err, fault.Integrity) || fault.CodeOf(err) != "behind_checkpoint" {
				t.Errorf("of who %s the start says: %v (%s), want Integrity, behind_checkpoint", a.name, err, fault.CodeOf(err))
			}
			w.reopen(back)
		}
		ok(t, sequencer.New(w.cfg).Check(t.Context()))
	})
}

// change makes one of the administrator's changes. Sqlite has no function replaced.
func (w *world) change(file, text string) {
	w.t.Helper()
	db := w.postgres[file]
	if db == nil {
		text = asReplace.ReplaceAllString(text, `CAST(replace(CAST($1 AS TEXT), $2) AS BLOB)`)
		var err error
		db, err = sql.Open("sqlite", filepath.Join(w.place.Path, file)+"?_pragma=busy_timeout(5000)")
		ok(w.t, err)
		defer db.Close()
	}
	result, err := db.Exec(text)
	ok(w.t, err)
	if n, _ := result.RowsAffected(); n == 0 {
		w.t.Fatalf("%s: no row was changed", text)
	}
}

var asReplace = regexp.MustCompile(`replaced\((\w+), ('\w+', '\w+')\)`)

// saved keeps a database that nobody uses as it is, and returns what brings that back.
func (w *world) saved(file string) (back func()) {
	w.t.Helper()
	db := w.postgres[file]
	if db == nil {
		path := filepath.Join(w.place.Path, file)
		old, err := os.ReadFile(path)
		ok(w.t, err)
		return func() { ok(w.t, os.WriteFile(path, old, 0o600)) }
	}
	var undo strings.Builder
	for _, table := range map[string][]string{"data.db": {"log_entries", "log_tiles", "log_shards"}, "keys.db": {"log_heads"}}[file] {
		_, err := db.Exec(`DROP TABLE IF EXISTS public.saved_` + table + `; CREATE TABLE public.saved_` + table + ` AS TABLE ` + table)
		ok(w.t, err)
		fmt.Fprintf(&undo, `DELETE FROM %[1]s; INSERT INTO %[1]s SELECT * FROM public.saved_%[1]s;`, table)
	}
	return func() {
		_, err := db.Exec(undo.String())
		ok(w.t, err)
	}
}

func TestDataThatWasSetBackIsRefusedAtStart(t *testing.T) {
	w := newWorld(t)
	s := w.tenant("main")
	w.write(s, 300)
	ok(t, sequencer.New(w.cfg).Work(t.Context(), "main"))
	var old []byte
	w.reopen(func() {
		var err error
		old, err = os.ReadFile(filepath.Join(w.place.Path, "data.db"))
		ok(t, err)
	})
	w.write(s, 1)
	ok(t, sequencer.New(w.cfg).Work(t.Context(), "main"))
	w.reopen(func() { ok(t, os.WriteFile(filepath.Join(w.place.Path, "data.db"), old, 0o600)) })
	if err := sequencer.New(w.cfg).Check(t.Context()); fault.CodeOf(err) != "behind_checkpoint" {
		t.Errorf("the start says: %v", err)
	}
	// Neither does it go on if nobody looks at the start.
	w.write(s, 5)
	if err := sequencer.New(w.cfg).Work(t.Context(), "main"); !fault.Is(err, fault.Integrity) {
		t.Errorf("the work says: %v, want Integrity", err)
	}
}

// TestAnAnchoredLogThatWasSetBackWithItsHeadIsRefusedAtStart sets data and keys back
// together, all but what was anchored of the log: the anchor log has no older state that
// witnesses would take.
func TestAnAnchoredLogThatWasSetBackWithItsHeadIsRefusedAtStart(t *testing.T) {
	w := newWorld(t)
	s := w.tenant("main")
	w.write(s, 3)
	ok(t, sequencer.New(w.cfg).Work(t.Context(), "main"))
	var back []func()
	w.reopen(func() { back = append(back, w.saved("data.db"), w.saved("keys.db")) })
	w.write(s, 1)
	ok(t, sequencer.New(w.cfg).Work(t.Context(), "main"))
	size, signed, err := w.db.Checkpoint(t.Context(), s, 1)
	ok(t, err)
	w.reopen(func() {
		for _, f := range back {
			f()
		}
	})
	ok(t, sequencer.New(w.cfg).Check(t.Context())) // nothing here tells of it
	ok(t, w.db.AddAnchor(t.Context(), s, store.AnchorOpening{Shard: 1, Size: size, Signed: signed, Log: 1}, 0, make([][32]byte, 1)))
	if err := sequencer.New(w.cfg).Check(t.Context()); fault.CodeOf(err) != "behind_checkpoint" {
		t.Errorf("the start says: %v", err)
	}
}

// TestATenantWhoseTreeWasChangedIsStopped changes the tree behind the back of a
// sequencer that runs.
func TestATenantWhoseTreeWasChangedIsStopped(t *testing.T) {
	const (
		afterRestart = "a tile that grows, after a restart"
		// of the leaves that have no place
		unplaced = ` WHERE tenant = 'main' AND NOT EXISTS (SELECT 1 FROM log_entries e WHERE e.tenant = leaves.tenant AND e.object = leaves.object)`
	)
	for name, text := range map[string]string{
		afterRestart:            `UPDATE log_tiles SET hashes = zeroblob(length(hashes)) WHERE tenant = 'main' AND level = 0 AND idx = 1`,
		"the tile of its root":  `UPDATE log_tiles SET hashes = zeroblob(length(hashes)) WHERE tenant = 'main' AND level = 1`,
		"a leaf without place":  `UPDATE leaves SET hash = zeroblob(32)` + unplaced,
		"a leaf's body":         `UPDATE leaves SET body = replaced(body, 'shown', 'shawn')` + unplaced,
		"the size of the log":   `UPDATE log_shards SET size = 200 WHERE tenant = 'main'`,
		"the root it goes from": ``,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *testing.T, w *world) { stopsATenant(t, w, text, name == afterRestart) })
		})
	}
}

func stopsATenant(t *testing.T, w *world, text string, afterRestart bool) {
	ctx := t.Context()
	main, other := w.tenant("main"), w.tenant("other")
	leaves := w.write(other, 3)
	w.write(main, 300)
	seq := sequencer.New(w.cfg)
	ok(t, seq.Work(ctx, "main"))
	ok(t, seq.Work(ctx, "other"))
	before, err := w.db.LogHeads(ctx, main)
	ok(t, err)
	w.write(main, 5)
	if text == "" {
		w.change("keys.db", `UPDATE log_heads SET root = zeroblob(32) WHERE tenant = 'main'`)
	} else {
		w.change("data.db", text)
	}
	if afterRestart {
		seq = sequencer.New(w.cfg)
	}
	err = seq.Work(ctx, "main")
	if fault.Is(err, fault.Conflict) { // the log is not as it was left; the next work looks why
		err = seq.Work(ctx, "main")
	}
	if stopped := gauge(t, seq, "underseal_log_stopped_tenants"); !fault.Is(err, fault.Integrity) || stopped != 1 || seq.StoppedTenants() != 1 {
		t.Errorf("the work says %v with %v and %d tenants stopped, want Integrity and one", err, stopped, seq.StoppedTenants())
	}
	after, err := w.db.LogHeads(ctx, main)
	ok(t, err)
	if after[0].Size != before[0].Size {
		t.Errorf("a checkpoint at size %d was signed", after[0].Size)
	}
	leaves = append(leaves, w.write(other, 3)...)
	ok(t, seq.Work(ctx, "other"))
	w.checkLog(other, leaves)
}

// anybody takes every leaf for one that a server made.
type anybody struct{ signing }

func (anybody) Genuine(context.Context, string) (func(store.ID, uint64, store.Leaf) bool, error) {
	return func(store.ID, uint64, store.Leaf) bool { return true }, nil
}

// TestALeafThatNoServerMadeIsNotSigned puts leaves into the database as somebody can
// who has SQL and no keys: as a row, and with its place in the tree already.
func TestALeafThatNoServerMadeIsNotSigned(t *testing.T) {
	power := errors.New("the server ends")
	for name, place := range map[string]func(t *testing.T, cfg sequencer.Config){
		"a row": func(*testing.T, sequencer.Config) {},
		"a row with its place": func(t *testing.T, cfg sequencer.Config) {
			cfg.Signing = anybody{}
			cfg = cfg.FailAt(func(point string) error {
				if point == "head" {
					return power
				}
				return nil
			})
			if err := sequencer.New(cfg).Work(t.Context(), "main"); !errors.Is(err, power) {
				t.Fatal(err)
			}
		},
	} {
		for _, signed := range []int{0, 300} {
			t.Run(fmt.Sprintf("%s behind a head of %d", name, signed), func(t *testing.T) {
				ctx := t.Context()
				w := newWorld(t)
				s := w.tenant("main")
				if signed > 0 {
					w.write(s, signed)
					ok(t, sequencer.New(w.cfg).Work(ctx, "main"))
				}
				w.write(s, 2)
				forged := w.leaf(s, 1, "instance.task_completed")
				forged.Leaf.MAC = [32]byte{}
				ok(t, w.db.Append(ctx, s, forged))
				place(t, w.cfg)
				seq := sequencer.New(w.cfg)
				if err := seq.Work(ctx, "main"); !fault.Is(err, fault.Integrity) || gauge(t, seq, "underseal_log_stopped_tenants") != 1 {
					t.Errorf("the work says %v, want Integrity", err)
				}
				heads, err := w.db.LogHeads(ctx, s)
				ok(t, err)
				for _, h := range heads {
					if h.Size != uint64(signed) {
						t.Errorf("a checkpoint at size %d was signed", h.Size)
					}
				}
			})
		}
	}
}

// gauge returns the value of a metric.
func gauge(t *testing.T, seq *sequencer.Sequencer, name string) float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(seq.Collectors()...)
	families, err := registry.Gather()
	ok(t, err)
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestALeafOfAFormerLogIsRefused(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t)
	s := w.tenant("main")
	w.write(s, 3)
	ok(t, w.db.CloseShard(ctx, s, 1, w.leaf(s, 1, "log.closed")))
	ok(t, w.db.OpenShard(ctx, s, store.Shard{Number: 2, Origin: origin("main", 2)}, w.leaf(s, 2, "log.opened")))
	seq := sequencer.New(w.cfg)
	ok(t, seq.Work(ctx, "main"))
	shards, err := w.db.Shards(ctx, s)
	ok(t, err)
	if len(shards) != 2 || shards[0].Size != 4 || shards[1].Size != 1 {
		t.Fatalf("logs are %+v", shards)
	}
	for number := 1; number <= 2; number++ {
		if size, _, err := w.db.Checkpoint(ctx, s, number); err != nil || size != shards[number-1].Size {
			t.Errorf("log %d has a checkpoint at size %d, %v", number, size, err)
		}
	}
	w.write(s, 1)
	if err := seq.Work(ctx, "main"); !fault.Is(err, fault.Integrity) {
		t.Errorf("a leaf of a closed log: %v, want Integrity", err)
	}
}

// TestALogThatARestoreEndedIsSignedWhereItsOrderIsKnown closes a log without its last
// leaf, as a restore does, whose newest leaves no head covers.
func TestALogThatARestoreEndedIsSignedWhereItsOrderIsKnown(t *testing.T) {
	for _, c := range []struct {
		database, last string
		signed         uint64
	}{{"SQLite", "", 7}, {"Postgres", "", 3}, {"Postgres", sequencer.ClosedKind, 8}} {
		t.Run(c.database+" "+c.last, func(t *testing.T) {
			ctx, open := t.Context(), newWorld
			if c.database == "Postgres" {
				if testing.Short() {
					t.Skip("needs Postgres: left out by -short")
				}
				open = newPostgresWorld
			}
			w := open(t)
			s, seq := w.tenant("main"), sequencer.New(w.cfg)
			w.write(s, 3)
			w.sequence(seq, s, 1, 3)
			ok(t, seq.Work(ctx, "main"))
			w.write(s, 4)
			w.sequence(seq, s, 1, 7)
			var last []*store.Entry
			if c.last != "" {
				last = append(last, w.leaf(s, 1, c.last))
			}
			ok(t, w.db.CloseShard(ctx, s, 1, last...))
			w.sequence(seq, s, 1, 7+uint64(len(last)))
			ok(t, w.db.OpenShard(ctx, s, store.Shard{Number: 2, Origin: origin("main", 2)}, w.leaf(s, 2, "log.opened")))
			w.sequence(seq, s, 2, 1)
			ok(t, seq.Work(ctx, "main"))
			for number, want := range []uint64{c.signed, 1} {
				if size, _, err := w.db.Checkpoint(ctx, s, number+1); err != nil || size != want {
					t.Errorf("log %d has a checkpoint at size %d, %v, want %d", number+1, size, err, want)
				}
			}
			heads, err := w.db.LogHeads(ctx, s)
			ok(t, err)
			if len(heads) != 2 || heads[0].Size != c.signed {
				t.Errorf("heads beside the keys are %+v, want one of %d leaves", heads, c.signed)
			}
		})
	}
}

// sequence waits until all leaves have places, and requires that a log has so many.
func (w *world) sequence(seq *sequencer.Sequencer, s store.Scope, shard int, want uint64) {
	w.t.Helper()
	size, _, err := seq.Finish(context.Background(), s, shard)
	ok(w.t, err)
	if size != want {
		w.t.Fatalf("log %d has %d leaves, want %d", shard, size, want)
	}
}

// TestACheckpointGivesWayToTheNext publishes five, of which the second was anchored.
func TestACheckpointGivesWayToTheNext(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	s := w.tenant("t")
	seq := sequencer.New(w.cfg)
	var leaves [][]byte
	for round := range 5 {
		leaves = append(leaves, w.write(s, 10)...)
		ok(t, seq.Work(ctx, "t"))
		w.checkLog(s, leaves)
		if round == 1 {
			_, signed, err := w.db.Checkpoint(ctx, s, 1)
			ok(t, err)
			ok(t, w.db.AddAnchor(ctx, s, store.AnchorOpening{Shard: 1, Size: 20, Signed: signed, Log: 1}, 0, [][32]byte{{1}}))
		}
	}
	published, err := w.db.PublishedAfter(ctx, s, 1, 0, 100)
	ok(t, err)
	if len(published) != 2 || published[0].Size != 20 || published[1].Size != 50 {
		t.Errorf("published are %+v, want those of 20 and 50 leaves", published)
	}
	ok(t, seq.Check(ctx))
}

func TestACheckpointComesBeforeAllLeavesHavePlaces(t *testing.T) {
	w := newWorld(t)
	w.cfg.Batch = 1
	ctx := t.Context()
	s := w.tenant("t")
	leaves := w.write(s, 3*sequencer.PassBatches)
	seq := sequencer.New(w.cfg)
	ok(t, seq.WorkOnce(ctx, "t"))
	w.checkLog(s, leaves[:sequencer.PassBatches])
	ok(t, seq.Start(ctx))
	seq.Stop(ctx)
	w.checkLog(s, leaves)
}

func TestACheckpointIsPublishedAgainEachDay(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t)
	s := w.tenant("main")
	now, told := time.Unix(1_790_000_000, 0), 0
	w.cfg.Now = func() time.Time { return now }
	w.cfg.Published = func(context.Context, string, store.Shard, uint64, []byte) { told++ }
	seq := sequencer.New(w.cfg)
	w.write(s, 3)
	for i, want := range []int{1, 1, 2, 2} {
		ok(t, seq.Work(ctx, "main"))
		if told != want {
			t.Errorf("after %d works, %d checkpoints, want %d", i+1, told, want)
		}
		if i == 1 {
			now = now.Add(25 * time.Hour)
			if age := gauge(t, seq, "underseal_log_checkpoint_age_seconds"); age != 25*3600 {
				t.Errorf("the age is %v s", age)
			}
		}
	}
}
