package store_test

import (
	"testing"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
)

func TestReadersAreFoundByTokenAndReplaced(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) {
		ctx := t.Context()
		db := d.open(t)
		first := store.ReaderRow{ID: store.ID{1}, Token: [32]byte{1}, Sealed: []byte("first")}
		second := store.ReaderRow{ID: store.ID{2}, Token: [32]byte{2}, Sealed: []byte("second")}
		ok(t, db.PutReader(ctx, main, first, anEntry(store.ID{11})))
		ok(t, db.PutReader(ctx, main, second, anEntry(store.ID{12})))
		first.Sealed = []byte("revoked")
		ok(t, db.PutReader(ctx, main, first, anEntry(store.ID{13})))
		same(t, "Reader", must[store.ReaderRow](t)(db.Reader(ctx, main, first.Token)), first)
		same(t, "ReaderByID", must[store.ReaderRow](t)(db.ReaderByID(ctx, main, second.ID)), second)
		same(t, "Readers", must[[]store.ReaderRow](t)(db.Readers(ctx, main, store.ID{}, 9)), []store.ReaderRow{first, second})
		same(t, "Readers after the first", must[[]store.ReaderRow](t)(db.Readers(ctx, main, first.ID, 9)), []store.ReaderRow{second})
		same(t, "the entry", must[store.Entry](t)(db.Entry(ctx, main, store.ID{13})).Leaf, anEntry(store.ID{13}).Leaf)

		other := store.NewScope("other")
		_, err := db.Reader(ctx, other, first.Token)
		is(t, "Reader of another tenant", err, fault.NotFound, "")
		_, err = db.ReaderByID(ctx, other, first.ID)
		is(t, "ReaderByID of another tenant", err, fault.NotFound, "")
		same(t, "Readers of another tenant", len(must[[]store.ReaderRow](t)(db.Readers(ctx, other, store.ID{}, 9))), 0)
		ok(t, db.PutReader(ctx, other, first, anEntry(store.ID{13})))
	})
}

// No entry, no reader.
func TestAReaderIsStoredWithItsEntryOrNotAtAll(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) {
		ctx := t.Context()
		db := d.open(t)
		ok(t, db.Append(ctx, main, anEntry(store.ID{11})))
		r := store.ReaderRow{ID: store.ID{1}, Token: [32]byte{1}, Sealed: []byte("x")}
		if err := db.PutReader(ctx, main, r, anEntry(store.ID{11})); err == nil {
			t.Fatal("a reader was stored with an entry that was there already")
		}
		_, err := db.Reader(ctx, main, r.Token)
		is(t, "Reader", err, fault.NotFound, "")
	})
}

func anEntry(id store.ID) *store.Entry {
	return &store.Entry{ID: id, Leaf: store.Leaf{Body: []byte("leaf"), Hash: [32]byte{id[0]}}}
}
