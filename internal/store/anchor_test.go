package store_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/pgtest"
	"github.com/underseal/underseal/internal/store"
)

func TestAnchorHeads(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) {
		ctx := t.Context()
		db := d.open(t)
		_, err := db.AnchorHead(ctx)
		is(t, "AnchorHead of nothing", err, fault.NotFound, "")
		first := store.AnchorHead{Log: 1, Root: [32]byte{1}, Signed: []byte{}}
		ok(t, db.OpenAnchorLog(ctx, first))
		is(t, "the same log again", db.OpenAnchorLog(ctx, first), fault.Conflict, "stale")
		next := store.AnchorHead{Log: 1, Size: 3, Root: [32]byte{3}, Signed: []byte("three")}
		ok(t, db.PutAnchorHead(ctx, first, next))
		is(t, "PutAnchorHead after a former one", db.PutAnchorHead(ctx, first, next), fault.Conflict, "stale")
		same(t, "AnchorHead", must[store.AnchorHead](t)(db.AnchorHead(ctx)), next)
		halted := next
		halted.Halted = "set back"
		ok(t, db.PutAnchorHead(ctx, next, halted))
		is(t, "PutAnchorHead of a halted log", db.PutAnchorHead(ctx, next, next), fault.Conflict, "stale")
		same(t, "the halted head", must[store.AnchorHead](t)(db.AnchorHead(ctx)), halted)
		ok(t, db.OpenAnchorLog(ctx, store.AnchorHead{Log: 7, Root: [32]byte{1}, Signed: []byte{}}))
		is(t, "an older log", db.OpenAnchorLog(ctx, store.AnchorHead{Log: 6, Root: [32]byte{1}}), fault.Conflict, "stale")
		same(t, "AnchorLogs", must[[]int64](t)(db.AnchorLogs(ctx)), []int64{1, 7})
		same(t, "AnchorHeads", must[[]store.AnchorHead](t)(db.AnchorHeads(ctx))[0], halted)
		same(t, "the newest log", must[store.AnchorHead](t)(db.AnchorHead(ctx)).Log, int64(7))
	})
}

func TestAnchorsAreAddedOnce(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) {
		ctx := t.Context()
		db := d.open(t)
		other := store.NewScope("other")
		_, err := db.NewestOpening(ctx, main, 1)
		is(t, "NewestOpening of nothing", err, fault.NotFound, "not_anchored")
		opening := func(size, index uint64) store.AnchorOpening {
			return store.AnchorOpening{Shard: 1, Size: size, Signed: []byte("note"), Blind: [32]byte{byte(size)}, Log: 1, Index: index}
		}
		ok(t, db.AddAnchor(ctx, main, opening(5, 0), 0, [][32]byte{{10}}))
		ok(t, db.AddAnchor(ctx, other, opening(5, 1), 1, [][32]byte{{11}, {12}}))
		is(t, "AddAnchor at a place that is taken", db.AddAnchor(ctx, main, opening(9, 1), 2, [][32]byte{{9}}), fault.Conflict, "stale")
		is(t, "AddAnchor of the same checkpoint", db.AddAnchor(ctx, main, opening(5, 2), 3, [][32]byte{{13}}), fault.Conflict, "stale")
		same(t, "AnchorLength", must[int64](t)(db.AnchorLength(ctx, 1)), int64(3))
		same(t, "AnchorLength of another log", must[int64](t)(db.AnchorLength(ctx, 2)), int64(0))
		same(t, "AnchorHashes", must[[][32]byte](t)(db.AnchorHashes(ctx, 1, []int64{2, 0})), [][32]byte{{12}, {10}})
		_, err = db.AnchorHashes(ctx, 1, []int64{0, 3})
		is(t, "AnchorHashes that are not there", err, fault.Integrity, "")
		ok(t, db.AddAnchor(ctx, main, opening(9, 2), 3, [][32]byte{{13}}))
		same(t, "NewestOpening", must[store.AnchorOpening](t)(db.NewestOpening(ctx, main, 1)), opening(9, 2))
		same(t, "the other tenant's", must[store.AnchorOpening](t)(db.NewestOpening(ctx, other, 1)), opening(5, 1))

		_, err = db.OpeningFrom(ctx, main, 1, 1)
		is(t, "OpeningFrom without a complete checkpoint", err, fault.NotFound, "not_anchored")
		two := store.AnchorCheckpoint{Log: 1, Size: 2, Signed: []byte("two"), Token: []byte{}, Authority: []byte{}, Mark: [32]byte{2}}
		ok(t, db.PutAnchorCheckpoint(ctx, two))
		ok(t, db.PutAnchorCheckpoint(ctx, store.AnchorCheckpoint{Log: 1, Size: 2, Signed: []byte("another")}))
		same(t, "OpeningFrom", must[store.AnchorOpening](t)(db.OpeningFrom(ctx, main, 1, 1)), opening(5, 0))
		_, err = db.OpeningFrom(ctx, main, 1, 6)
		is(t, "OpeningFrom a size that is not complete", err, fault.NotFound, "not_anchored")
		same(t, "AnchorCheckpointFrom", must[store.AnchorCheckpoint](t)(db.AnchorCheckpointFrom(ctx, 1, 1)), two)
		_, err = db.AnchorCheckpointFrom(ctx, 1, 3)
		is(t, "AnchorCheckpointFrom more", err, fault.NotFound, "not_anchored")
		three := store.AnchorCheckpoint{Log: 1, Size: 3, Signed: []byte("three"), Token: []byte("token"), Quorum: 2, Authority: make([]byte, 32), Mark: [32]byte{3}}
		ok(t, db.PutAnchorCheckpoint(ctx, three))
		same(t, "NewestAnchorCheckpoint", must[store.AnchorCheckpoint](t)(db.NewestAnchorCheckpoint(ctx, 1)), three)
		same(t, "OpeningFrom the newest", must[store.AnchorOpening](t)(db.OpeningFrom(ctx, main, 1, 6)), opening(9, 2))

		same(t, "AnchorCheckpointsAfter", must[[]store.AnchorCheckpoint](t)(db.AnchorCheckpointsAfter(ctx, 1, 2, 9)), []store.AnchorCheckpoint{three})
		same(t, "StoredAnchorLogs", must[[]int64](t)(db.StoredAnchorLogs(ctx)), []int64{1})
		four := three
		four.Log = 4
		ok(t, db.PutAnchorCheckpoint(ctx, four))
		same(t, "StoredAnchorLogs with one that has checkpoints alone", must[[]int64](t)(db.StoredAnchorLogs(ctx)), []int64{1, four.Log})
		same(t, "AnchorHashesFrom", must[[]store.AnchorHash](t)(db.AnchorHashesFrom(ctx, 1, 1, 2)), []store.AnchorHash{{Pos: 1, Hash: [32]byte{11}}, {Pos: 2, Hash: [32]byte{12}}})
		same(t, "OpeningsAfter", must[[]store.AnchorOpening](t)(db.OpeningsAfter(ctx, main, 0, 0, 9)), []store.AnchorOpening{opening(5, 0), opening(9, 2)})
		same(t, "OpeningsAfter one", must[[]store.AnchorOpening](t)(db.OpeningsAfter(ctx, main, 1, 5, 9)), []store.AnchorOpening{opening(9, 2)})
		same(t, "AnchoredAfter", must[[]store.Published](t)(db.AnchoredAfter(ctx, main, 1, 4, 1)), []store.Published{{Size: 5, Signed: []byte("note")}})
		same(t, "ShardsOf what is anchored", must[[]int](t)(db.ShardsOf(ctx, main, "anchor_openings")), []int{1})
	})
}

// TestTheAnchorLogIsOnlyAddedTo asks Postgres what the server's role may do.
func TestTheAnchorLogIsOnlyAddedTo(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	openDB(t, store.Config{DSN: dsn})
	conn := must[*pgx.Conn](t)(pgx.Connect(t.Context(), dsn))
	defer conn.Close(t.Context())
	for _, table := range []string{"anchor_hashes", "anchor_openings", "anchor_checkpoints"} {
		for right, want := range map[string]bool{"SELECT": true, "INSERT": true, "UPDATE": false, "DELETE": false, "TRUNCATE": false} {
			var has bool
			ok(t, conn.QueryRow(t.Context(), `SELECT has_table_privilege('underseal_app', 'underseal.' || $1, $2)`, table, right).Scan(&has))
			if has != want {
				t.Errorf("%s on %s: %v, want %v", right, table, has, want)
			}
		}
	}
}
