package store_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/pgtest"
	"github.com/underseal/underseal/internal/store"
)

var shard1 = store.Shard{Number: 1, Origin: "underseal/d/main/2026"}

// committed writes n first steps and returns their leaves in order.
func committed(t *testing.T, db *store.DB, s store.Scope, from, n int) []store.Unsequenced {
	t.Helper()
	var all []store.Unsequenced
	for i := from; i < from+n; i++ {
		set := minimal(store.ID{0xf0 - byte(i)}, 0) // so that ids and commits have different orders
		set.Leaf = store.Leaf{Body: fmt.Appendf(nil, "leaf %d", i), Hash: [32]byte{byte(i)}, Terms: bytes.Repeat([]byte{byte(i)}, store.TermSize)}
		ok(t, db.Commit(t.Context(), s, set))
		all = append(all, store.Unsequenced{Object: set.Object, Seq: 1, Leaf: set.Leaf})
	}
	return all
}

// awaited reads n leaves or more. On Postgres they are held back as long as another
// test's transaction runs.
func awaited(t *testing.T, db *store.DB, n, limit int) (all []store.Unsequenced, cursor uint64) {
	t.Helper()
	for {
		if all, cursor = unsequenced(t, db, main, limit); len(all) >= n {
			return all, cursor
		}
	}
}

// unsequenced reads leaves without their positions, which differ by database.
func unsequenced(t *testing.T, db *store.DB, s store.Scope, limit int) (all []store.Unsequenced, cursor uint64) {
	t.Helper()
	for _, u := range must[[]store.Unsequenced](t)(db.Unsequenced(t.Context(), s, limit)) {
		if u.Pos < cursor {
			t.Errorf("position %d comes after %d", u.Pos, cursor)
		}
		cursor, u.Pos = u.Pos, 0
		all = append(all, u)
	}
	return all, cursor
}

// growth gives places to leaves.
func growth(from uint64, leaves []store.Unsequenced, cursor uint64) store.Growth {
	g := store.Growth{Shard: 1, From: from, Cursor: cursor, Tiles: []store.Tile{{Level: 0, Index: 0}}}
	for i, u := range leaves {
		g.Entries = append(g.Entries, store.LogEntry{Index: from + uint64(i), Object: u.Object, Seq: u.Seq, Hash: u.Leaf.Hash})
	}
	g.Tiles[0].Hashes = bytes.Repeat([]byte{7}, 32*(int(from)+len(leaves)))
	return g
}

func TestLeavesGetPlacesInTheOrderOfTheirCommits(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) {
		ctx := t.Context()
		db := d.open(t)
		other := store.NewScope("other")
		ok(t, db.OpenShard(ctx, main, shard1))
		leaves := committed(t, db, main, 0, 3)
		committed(t, db, other, 0, 2)
		leaves = append(leaves, committed(t, db, main, 3, 37)...)

		found, cursor := awaited(t, db, 36, 36)
		same(t, "the first leaves", found, leaves[:36])
		ok(t, db.Grow(ctx, main, growth(0, found, cursor)))
		is(t, "Grow from a former size", db.Grow(ctx, main, growth(0, found, cursor)), fault.Conflict, "stale")
		rest, cursor := awaited(t, db, 4, 100)
		same(t, "count", must[int](t)(db.CountUnsequenced(ctx, main, 100)), 4)
		same(t, "count of a few", must[int](t)(db.CountUnsequenced(ctx, main, 3)), 3)
		same(t, "the rest", rest, leaves[36:])
		ok(t, db.Grow(ctx, main, growth(36, rest, cursor)))
		none, _ := unsequenced(t, db, main, 100)
		same(t, "leaves after all have a place", len(none), 0)

		same(t, "Shards", must[[]store.Shard](t)(db.Shards(ctx, main)), []store.Shard{{Number: 1, Origin: shard1.Origin, Open: true, Size: 40}})
		entries := must[[]store.LogEntry](t)(db.LogEntries(ctx, main, 1, 38, 9))
		same(t, "LogEntries", entries, []store.LogEntry{
			{Index: 38, Object: leaves[38].Object, Seq: 1, Hash: leaves[38].Leaf.Hash, Body: leaves[38].Leaf.Body, Terms: leaves[38].Leaf.Terms},
			{Index: 39, Object: leaves[39].Object, Seq: 1, Hash: leaves[39].Leaf.Hash, Body: leaves[39].Leaf.Body, Terms: leaves[39].Leaf.Terms},
		})
		number, index, err := db.LogIndex(ctx, main, leaves[7].Object, 1)
		if number != 1 || index != 7 || err != nil {
			t.Errorf("leaf 7 is at %d of log %d, %v", index, number, err)
		}
		_, _, err = db.LogIndex(ctx, main, leaves[7].Object, 2)
		is(t, "LogIndex of what is not there", err, fault.NotFound, "not_sequenced")
		same(t, "Leaf", must[store.Leaf](t)(db.Leaf(ctx, main, leaves[7].Object, 1)), leaves[7].Leaf)
		_, err = db.Leaf(ctx, other, store.ID{0xe0}, 1)
		is(t, "Leaf of another tenant", err, fault.NotFound, "")
		same(t, "Tile", must[[]byte](t)(db.Tile(ctx, main, 1, 0, 0)), bytes.Repeat([]byte{7}, 32*40))
		_, err = db.Tile(ctx, main, 1, 0, 1)
		is(t, "Tile that is not there", err, fault.NotFound, "")
		same(t, "the other tenant's logs", len(must[[]store.Shard](t)(db.Shards(ctx, other))), 0)
		_, err = db.Tile(ctx, other, 1, 0, 0)
		is(t, "Tile of another tenant", err, fault.NotFound, "")
	})
}

func TestALeafHasOnePlace(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) {
		ctx := t.Context()
		db := d.open(t)
		ok(t, db.OpenShard(ctx, main, shard1))
		leaves := committed(t, db, main, 0, 2)
		ok(t, db.Grow(ctx, main, growth(0, leaves, 2)))
		is(t, "Grow by leaves that have a place", db.Grow(ctx, main, growth(2, leaves, 2)), fault.Internal, "")
		same(t, "Shards", must[[]store.Shard](t)(db.Shards(ctx, main))[0].Size, uint64(2))
		same(t, "entries", len(must[[]store.LogEntry](t)(db.LogEntries(ctx, main, 1, 0, 9))), 2)
	})
}

func TestOneShardIsOpen(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) {
		ctx := t.Context()
		db := d.open(t)
		ok(t, db.OpenShard(ctx, main, shard1))
		second := store.Shard{Number: 2, Origin: "underseal/d/main/2027"}
		is(t, "OpenShard beside an open one", db.OpenShard(ctx, main, second), fault.Conflict, "stale")
		ok(t, db.CloseShard(ctx, main, 1, entryOf(store.ID{1})))
		is(t, "CloseShard twice", db.CloseShard(ctx, main, 1, entryOf(store.ID{2})), fault.Conflict, "stale")
		_, err := db.Entry(ctx, main, store.ID{2})
		is(t, "Entry of a log that was not closed", err, fault.NotFound, "")
		is(t, "OpenShard of a former number", db.OpenShard(ctx, main, shard1), fault.Conflict, "stale")
		ok(t, db.OpenShard(ctx, main, second))
		ok(t, db.OpenShard(ctx, store.NewScope("other"), shard1))
		same(t, "Shards", must[[]store.Shard](t)(db.Shards(ctx, main)),
			[]store.Shard{{Number: 1, Origin: shard1.Origin}, {Number: 2, Origin: second.Origin, Open: true}})
	})
}

func TestHeadsAreReplacedByComparison(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) {
		ctx := t.Context()
		db := d.open(t)
		first := store.LogHead{Origin: "a", Size: 3, Root: [32]byte{1}, Note: []byte("note")}
		second := store.LogHead{Origin: "a", Size: 9, Root: [32]byte{2}, Note: []byte("note 2")}
		is(t, "PutLogHead after one that is not there", db.PutLogHead(ctx, main, &first, second), fault.Conflict, "stale")
		ok(t, db.PutLogHead(ctx, main, nil, first))
		is(t, "PutLogHead as the first one", db.PutLogHead(ctx, main, nil, second), fault.Conflict, "stale")
		ok(t, db.PutLogHead(ctx, main, &first, second))
		is(t, "PutLogHead after a former one", db.PutLogHead(ctx, main, &first, second), fault.Conflict, "stale")
		same(t, "LogHeads", must[[]store.LogHead](t)(db.LogHeads(ctx, main)), []store.LogHead{second})
		same(t, "LogHeads of another tenant", len(must[[]store.LogHead](t)(db.LogHeads(ctx, store.NewScope("other")))), 0)
	})
}

func TestTheNewestCheckpointIsShown(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) {
		ctx := t.Context()
		db := d.open(t)
		_, _, err := db.Checkpoint(ctx, main, 1)
		is(t, "Checkpoint before there is one", err, fault.NotFound, "not_sequenced")
		at := time.Unix(1_790_000_000, 0)
		for _, size := range []uint64{5, 2, 9} {
			ok(t, db.Publish(ctx, main, 1, size, fmt.Appendf(nil, "size %d", size), at, 0))
		}
		ok(t, db.Publish(ctx, main, 2, 11, []byte("of another log"), at, 0))
		ok(t, db.Publish(ctx, main, 1, 9, []byte("size 9 again"), at.Add(time.Hour), 9))
		same(t, "PublishedAt", must[time.Time](t)(db.PublishedAt(ctx, main, 1)), at.Add(time.Hour).UTC())
		same(t, "PublishedAt of none", must[time.Time](t)(db.PublishedAt(ctx, main, 7)), time.Time{})
		size, signed, err := db.Checkpoint(ctx, main, 1)
		if size != 9 || string(signed) != "size 9" || err != nil {
			t.Errorf("the newest checkpoint is %d, %q, %v", size, signed, err)
		}
		_, _, err = db.Checkpoint(ctx, store.NewScope("other"), 1)
		is(t, "Checkpoint of another tenant", err, fault.NotFound, "")
	})
}

// TestACheckpointTakesThePlaceOfTheFormer publishes one after the other, of which one was
// anchored.
func TestACheckpointTakesThePlaceOfTheFormer(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) {
		ctx := t.Context()
		db := d.open(t)
		other := store.NewScope("other")
		publish := func(s store.Scope, shard int, size, former uint64) {
			t.Helper()
			ok(t, db.Publish(ctx, s, shard, size, fmt.Appendf(nil, "size %d", size), time.Unix(1_790_000_000, 0), former))
		}
		for _, size := range []uint64{2, 5} { // of others, which stay
			publish(other, 1, size, 0)
			publish(main, 2, size, 0)
		}
		publish(main, 1, 2, 0)
		publish(main, 1, 5, 2)
		ok(t, db.AddAnchor(ctx, main, store.AnchorOpening{Shard: 1, Size: 5, Signed: []byte("size 5"), Log: 1}, 0, [][32]byte{{1}}))
		publish(main, 1, 7, 5)
		publish(main, 1, 9, 7)
		publish(main, 1, 9, 9)
		same(t, "what is left", sizesOf(t, db, main, 1), []uint64{5, 9})
		same(t, "of another log", sizesOf(t, db, main, 2), []uint64{2, 5})
		same(t, "of another tenant", sizesOf(t, db, other, 1), []uint64{2, 5})
	})
}

func sizesOf(t *testing.T, db *store.DB, s store.Scope, shard int) (sizes []uint64) {
	t.Helper()
	for _, p := range must[[]store.Published](t)(db.PublishedAfter(t.Context(), s, shard, 0, 100)) {
		sizes = append(sizes, p.Size)
	}
	return sizes
}

// TestALeafWaitsForEarlierTransactions has one transaction write a leaf and commit
// after another one that began later: the later leaf must not be given a place
// first.
func TestALeafWaitsForEarlierTransactions(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs Postgres: left out by -short")
	}
	ctx := t.Context()
	dsn := pgtest.Database(t)
	db := openDB(t, store.Config{DSN: dsn})
	ok(t, db.OpenShard(ctx, main, shard1))
	conn := must[*pgx.Conn](t)(pgx.Connect(ctx, dsn))
	t.Cleanup(func() { conn.Close(context.Background()) })
	early := must[pgx.Tx](t)(conn.Begin(ctx))
	_, err := early.Exec(ctx, `INSERT INTO underseal.leaves (tenant, object, seq, hash, body, mac, terms) VALUES ('main', $1, 1, $2, 'early', $2, '')`,
		make([]byte, 16), make([]byte, 32))
	ok(t, err)
	late := committed(t, db, main, 0, 2)
	found, _ := unsequenced(t, db, main, 9)
	same(t, "leaves while an earlier transaction runs", len(found), 0)
	ok(t, early.Commit(ctx))
	found, _ = awaited(t, db, 3, 9)
	want := append([]store.Unsequenced{{Seq: 1, Leaf: store.Leaf{Body: []byte("early"), Terms: []byte{}}}}, late...)
	same(t, "leaves after it", found, want)
}

func TestLeavesAreFoundAgainInAnotherDatabase(t *testing.T) {
	change := map[string]string{
		// as if pg_restore had brought the rows from a cluster with larger transactions
		"Postgres": `UPDATE underseal.leaves SET xid = (xid::text::bigint + 1000000)::text::xid8`,
		"SQLite":   `DELETE FROM leaves WHERE pos > 1`,
	}
	eachDialect(t, func(t *testing.T, d dialect) {
		ctx := t.Context()
		cfg := d.config(t)
		db := openDB(t, cfg)
		ok(t, db.OpenShard(ctx, main, shard1))
		committed(t, db, main, 0, 3)
		found, cursor := awaited(t, db, 3, 9)
		ok(t, db.Grow(ctx, main, growth(0, found[:2], cursor)))
		lost, _, err := db.LostOrder(ctx, main)
		if lost || err != nil {
			t.Errorf("the order is lost: %v, %v", lost, err)
		}
		raw(t, db, cfg, change[d.name])
		if d.name == "SQLite" {
			committed(t, db, main, 3, 1)
		}
		found, _ = unsequenced(t, db, main, 9)
		same(t, "leaves found before", len(found), 0)
		lost, cursor, err = db.LostOrder(ctx, main)
		if !lost || err != nil {
			t.Errorf("the order is lost: %v, %v, want it lost", lost, err)
		}
		all := must[[]store.Unsequenced](t)(db.LostLeaves(ctx, main, 9))
		same(t, "leaves found again", len(all), 1)
		ok(t, db.Grow(ctx, main, growth(2, all, cursor)))
		committed(t, db, main, 4, 1)
		found, _ = awaited(t, db, 1, 9)
		same(t, "leaves of later", len(found), 1)
	})
}

// raw runs SQL behind the store's back.
func raw(t *testing.T, db *store.DB, cfg store.Config, text string) {
	t.Helper()
	if cfg.DSN == "" {
		ok(t, db.OnWriter(t.Context(), text))
		return
	}
	conn := must[*pgx.Conn](t)(pgx.Connect(t.Context(), cfg.DSN))
	defer conn.Close(t.Context())
	_, err := conn.Exec(t.Context(), text)
	ok(t, err)
}
