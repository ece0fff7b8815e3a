package store_test

import (
	"testing"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
)

func TestPins(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) {
		ctx, db, tenant := t.Context(), d.open(t), store.NewScope("main")
		one, two := store.ID{1}, store.ID{2}
		first := store.Pin{Object: one, Kind: store.Signer, Seq: 1, Hash: [32]byte{1}}
		entry := store.Pin{Object: two, Kind: store.EntryKind, Hash: [32]byte{9}}
		if pin := must[*store.Pin](t)(db.Pin(ctx, tenant, one)); pin != nil {
			t.Errorf("%+v is pinned of nothing", pin)
		}
		ok(t, db.PutPins(ctx, tenant, first, entry))
		third := store.Pin{Object: one, Kind: store.Signer, Seq: 3, Hash: [32]byte{3}}
		ok(t, db.PutPins(ctx, tenant, third))
		ok(t, db.PutPins(ctx, tenant, first)) // older: nothing changes
		same(t, "Pin", *must[*store.Pin](t)(db.Pin(ctx, tenant, one)), third)
		same(t, "Pins", must[[]store.Pin](t)(db.Pins(ctx, tenant)), []store.Pin{third, entry})
		same(t, "Pins of another tenant", len(must[[]store.Pin](t)(db.Pins(ctx, store.NewScope("other")))), 0)
		people := []store.Pin{
			{Object: store.ID{3}, Kind: store.Principal, Seq: 1}, {Object: store.ID{4}, Kind: store.Group, Seq: 1},
			{Object: store.ID{5}, Kind: store.Principal, Seq: 2}, {Object: store.ID{6}, Kind: store.Principal, Seq: 1},
		}
		other := store.NewScope("people")
		ok(t, db.PutPins(ctx, other, people...))
		same(t, "PinsOf", must[[]store.Pin](t)(db.PinsOf(ctx, other, store.Principal, store.ID{}, 2)), []store.Pin{people[0], people[2]})
		same(t, "PinsOf after one", must[[]store.Pin](t)(db.PinsOf(ctx, other, store.Principal, store.ID{3}, 5)), []store.Pin{people[2], people[3]})
		same(t, "PinsOf of another tenant", len(must[[]store.Pin](t)(db.PinsOf(ctx, tenant, store.Principal, store.ID{}, 5))), 0)
		is(t, "LowerPin of a former one", db.LowerPin(ctx, tenant, first, nil), fault.Conflict, "stale")
		ok(t, db.LowerPin(ctx, tenant, third, &first))
		ok(t, db.LowerPin(ctx, tenant, entry, nil))
		same(t, "Pins after lowering", must[[]store.Pin](t)(db.Pins(ctx, tenant)), []store.Pin{first})
	})
}
