package store_test

import (
	"fmt"
	"testing"

	"github.com/underseal/underseal/internal/store"
)

func TestTermsLeadToBlocksInBothDirections(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) {
		ctx := t.Context()
		db := d.open(t)
		ok(t, db.OpenShard(ctx, main, shard1))
		leaves := committed(t, db, main, 0, 3)
		const top = uint64(1) << 63
		for i, terms := range [][]store.LogTerm{
			{{Term: []byte("ka.b"), Block: 0, Bits: 1}, {Term: []byte("ka.c"), Block: 0, Bits: 1}, {Term: []byte("kb"), Block: 7, Bits: 1}},
			{{Term: []byte("ka.b"), Block: 0, Bits: top}, {Term: []byte("ka.b"), Block: 5, Bits: 6}},
			{{Term: []byte("ka.b"), Block: 3, Bits: top}},
		} {
			g := growth(uint64(i), leaves[i:i+1], uint64(i+1))
			g.Terms = terms
			ok(t, db.Grow(ctx, main, g))
		}
		list := func(term string, from uint64, backward bool, limit int) (text string) {
			for _, b := range must[[]store.LogTerm](t)(db.TermBlocks(ctx, main, []byte(term), store.LogBlock{Shard: 1, Block: from}, backward, limit)) {
				text += fmt.Sprintf(" %d:%x", b.Block, b.Bits)
			}
			return text
		}
		same(t, "all", list("ka.b", 0, false, 9), " 0:8000000000000001 3:8000000000000000 5:6")
		same(t, "the first two", list("ka.b", 0, false, 2), " 0:8000000000000001 3:8000000000000000")
		same(t, "from one on", list("ka.b", 3, false, 9), " 3:8000000000000000 5:6")
		same(t, "from behind one", list("ka.b", 4, false, 9), " 5:6")
		same(t, "backward", list("ka.b", 4, true, 9), " 3:8000000000000000 0:8000000000000001")
		same(t, "of no term", list("k", 0, false, 9), "")

		var names string
		for term := []byte("ka."); ; {
			if term = must[[]byte](t)(db.NextTerm(ctx, main, []byte("ka."), term)); term == nil {
				break
			}
			names += " " + string(term)
		}
		same(t, "terms that begin so", names, " ka.b ka.c")
		same(t, "of a block", must[[]store.LogTerm](t)(db.BlockTerms(ctx, main, store.LogBlock{Shard: 1}, 1)), []store.LogTerm{
			{Term: []byte("ka.b"), Shard: 1, Bits: top | 1}, {Term: []byte("ka.c"), Shard: 1, Bits: 1},
		})
		same(t, "of some blocks", must[[]store.LogTerm](t)(db.BlockTerms(ctx, main, store.LogBlock{Shard: 1, Block: 3}, 4)), []store.LogTerm{
			{Term: []byte("ka.b"), Shard: 1, Block: 3, Bits: top}, {Term: []byte("ka.b"), Shard: 1, Block: 5, Bits: 6},
		})
		same(t, "places of an object", must[[]store.LogPlace](t)(db.ObjectPlaces(ctx, main, leaves[2].Object)), []store.LogPlace{{Shard: 1, Index: 2}})
		other := store.NewScope("other")
		same(t, "another tenant's", len(must[[]store.LogTerm](t)(db.TermBlocks(ctx, other, []byte("ka.b"), store.LogBlock{Shard: 1}, false, 9))), 0)
	})
}
