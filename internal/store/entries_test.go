package store_test

import (
	"fmt"
	"testing"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
)

// entryOf returns a leaf of no object with more fields than one statement inserts.
func entryOf(id store.ID) *store.Entry {
	e := &store.Entry{ID: id, Leaf: store.Leaf{Body: []byte("leaf"), Hash: [32]byte{id[0]}}}
	for i := range 20 {
		e.Fields = append(e.Fields, store.Field{Path: fmt.Sprintf("$f%02d", i), Sealed: i%2 == 0, Value: []byte{0xf5, byte(i)}})
	}
	return e
}

func TestEntriesAreStoredAndReadBack(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) {
		ctx := t.Context()
		cfg := d.config(t)
		db := must[*store.DB](t)(store.Open(ctx, cfg))
		alone, withStep := entryOf(store.ID{1}), entryOf(store.ID{2})
		ok(t, db.Append(ctx, main, alone))
		set := minimal(store.ID{3}, 0)
		set.Entries = []*store.Entry{withStep}
		ok(t, db.Commit(ctx, main, set))
		ok(t, db.Close())

		db = openDB(t, cfg)
		for _, want := range []*store.Entry{alone, withStep} {
			same(t, "Entry", must[store.Entry](t)(db.Entry(ctx, main, want.ID)), *want)
			_, err := db.Load(ctx, main, want.ID)
			is(t, "Load of an entry", err, fault.NotFound, "")
		}
		between := must[[]store.Entry](t)(db.EntriesBetween(ctx, main, store.ID{1}, store.ID{3}))
		same(t, "EntriesBetween", between, []store.Entry{*alone, *withStep})
		same(t, "EntriesBetween of one", must[[]store.Entry](t)(db.EntriesBetween(ctx, main, store.ID{2}, store.ID{2})), between[1:])
		same(t, "EntriesBetween of another tenant", len(must[[]store.Entry](t)(db.EntriesBetween(ctx, store.NewScope("other"), store.ID{1}, store.ID{3}))), 0)
		_, err := db.Entry(ctx, main, store.ID{3})
		is(t, "Entry of a step", err, fault.NotFound, "")
		_, err = db.Entry(ctx, store.NewScope("other"), store.ID{1})
		is(t, "Entry of another tenant", err, fault.NotFound, "")
	})
}

func TestEntriesAreStoredWithAllOfTheUnitOrNotAtAll(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) {
		ctx := t.Context()
		db := d.open(t)
		ok(t, db.Append(ctx, main))
		ok(t, db.Append(ctx, main, entryOf(store.ID{1})))

		is(t, "an entry that exists", db.Append(ctx, main, entryOf(store.ID{2}), entryOf(store.ID{1})), fault.Conflict, "entry_exists")
		is(t, "an entry without a leaf", db.Append(ctx, main, entryOf(store.ID{2}), &store.Entry{ID: store.ID{4}}), fault.Internal, "")
		is(t, "an entry without an id", db.Append(ctx, main, entryOf(store.ID{2}), &store.Entry{Leaf: entryOf(store.ID{9}).Leaf}), fault.Internal, "")
		odd := entryOf(store.ID{4})
		odd.Fields[0].Path = "a\x00b"
		is(t, "text with a NUL", db.Append(ctx, main, entryOf(store.ID{2}), odd), fault.Invalid, "")
		stale := minimal(store.ID{3}, 7)
		stale.Entries = []*store.Entry{entryOf(store.ID{2})}
		is(t, "a step that lost the race", db.Commit(ctx, main, stale), fault.Conflict, "stale")
		taken := minimal(store.ID{3}, 0)
		taken.Entries = []*store.Entry{entryOf(store.ID{1})}
		is(t, "a step with an entry that exists", db.Commit(ctx, main, taken), fault.Internal, "")

		_, err := db.Entry(ctx, main, store.ID{2})
		is(t, "Entry of a unit that failed", err, fault.NotFound, "")
		checkNothing(t, db, main, store.ID{3})
		same(t, "the entry that was there", must[store.Entry](t)(db.Entry(ctx, main, store.ID{1})), *entryOf(store.ID{1}))
	})
}
