package engine

import (
	"context"
	"fmt"
	"maps"

	"github.com/underseal/underseal/internal/sequencer"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// checkTerms requires that entries are found by the terms they have: those of each
// block that ends among the entries of a part, or with the log.
func (c *Check) checkTerms(ctx context.Context, shard store.Shard, from uint64, entries []store.LogEntry) error {
	upto := from + uint64(len(entries))
	if upto < shard.Size {
		upto -= upto % store.BlockSize
	}
	for block := from / store.BlockSize; block*store.BlockSize < upto; block++ {
		first := block * store.BlockSize
		last := min(first+store.BlockSize, upto)
		some := entries[min(max(first, from)-from, uint64(len(entries))):min(last-from, uint64(len(entries)))]
		if first < from {
			var err error
			if some, err = c.e.store.LogEntries(ctx, c.scope, shard.Number, first, int(last-first)); err != nil {
				return err
			}
		}
		if err := c.checkBlock(ctx, shard, block, some); err != nil {
			return err
		}
	}
	return nil
}

// checkBlock compares what is stored of a block's terms with what its entries say.
// Of entries that came since they may say more.
func (c *Check) checkBlock(ctx context.Context, shard store.Shard, block uint64, entries []store.LogEntry) error {
	rows, err := c.e.store.BlockTerms(ctx, c.scope, store.LogBlock{Shard: shard.Number, Block: block})
	if err != nil {
		return c.unread("log_terms", err)
	}
	var seen uint64
	want, got := map[string]uint64{}, map[string]uint64{}
	for i := range entries {
		bit := uint64(1) << (entries[i].Index % store.BlockSize)
		seen |= bit
		leaf, err := ledger.ParseLeaf(entries[i].Body)
		if err != nil {
			return nil // which is named
		}
		for _, term := range sequencer.Terms(leaf, entries[i].Terms) {
			want[string(term)] |= bit
		}
	}
	for _, row := range rows {
		if len(entries) < store.BlockSize && row.Bits&^seen != 0 && c.grown(ctx, shard) {
			row.Bits &= seen
		}
		if row.Bits != 0 {
			got[string(row.Term)] = row.Bits
		}
	}
	if !maps.Equal(want, got) {
		index := block * store.BlockSize
		c.add(Finding{
			Kind: FoundToken, Shard: shard.Origin, Index: &index, Where: "log_terms",
			What: fmt.Sprintf("the entries %d to %d are not found by what they say", index, index+uint64(len(entries))-1),
			Do:   "read these entries of the log without a filter: a search misses some of them",
		})
	}
	return nil
}
