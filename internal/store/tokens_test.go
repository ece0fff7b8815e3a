package store_test

import (
	"cmp"
	"slices"
	"testing"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
)

// TestTokensAreRenewedWhereTheyStand moves, deletes and meets rows that are not there any
// more.
func TestTokensAreRenewedWhereTheyStand(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) {
		ctx := t.Context()
		db := d.open(t)
		set := minimal(store.ID{1}, 0)
		person := store.ID{7}
		for n, key := range []store.ID{{}, person, {}, person} {
			set.Tokens = append(set.Tokens, store.Token{Kind: store.SearchToken, Token: [32]byte{byte(n + 1)}, Key: key})
		}
		ok(t, db.Commit(ctx, main, set))
		rows := func() []store.PlacedToken {
			t.Helper()
			list := must[[]store.PlacedToken](t)(db.ObjectTokens(ctx, main, store.ID{1}))
			slices.SortFunc(list, func(a, b store.PlacedToken) int { return cmp.Compare(a.Token[0], b.Token[0]) })
			return list
		}
		all := rows()
		same(t, "rows", len(all), 4)
		same(t, "of another tenant", db.RenewTokens(ctx, store.NewScope("other"), []store.TokenChange{{Old: all[0]}}, anEntry(store.ID{20})), error(nil))
		same(t, "rows", rows(), all)

		err := db.RenewTokens(ctx, main, []store.TokenChange{{Old: all[0], New: [32]byte{11}}}, &store.Entry{})
		if err == nil {
			t.Error("tokens were renewed without an entry")
		}
		same(t, "rows", rows(), all)

		gone := all[3]
		gone.Token = [32]byte{9}
		ok(t, db.RenewTokens(ctx, main, []store.TokenChange{
			{Old: all[0], New: [32]byte{11}},
			{Old: all[1], New: [32]byte{12}},
			{Old: all[2]},
			{Old: gone, New: [32]byte{13}},
		}, anEntry(store.ID{21})))
		want := []store.PlacedToken{all[3], all[0], all[1]}
		want[1].Token, want[2].Token = [32]byte{11}, [32]byte{12}
		same(t, "renewed", rows(), want)
		same(t, "the entry", must[store.Entry](t)(db.Entry(ctx, main, store.ID{21})).Leaf, anEntry(store.ID{21}).Leaf)

		ok(t, db.RenewTokens(ctx, main, []store.TokenChange{{Old: want[0], New: want[2].Token}}, anEntry(store.ID{22})))
		same(t, "moved to where one stands", rows(), want[1:])

		erase := minimal(store.ID{1}, 1)
		erase.Erase = &store.Erase{Keys: []store.ID{person}}
		ok(t, db.Commit(ctx, main, erase))
		same(t, "erased", rows(), want[1:2])
		err = db.RenewTokens(ctx, main, []store.TokenChange{{Old: want[2], New: [32]byte{14}}}, anEntry(store.ID{21}))
		is(t, "an entry that is there already", err, fault.Internal, "")
	})
}
