package engine

import (
	"context"
	"fmt"

	"github.com/underseal/underseal/internal/sequencer"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// checkTerms requires that entries are found by the terms they have: those of each
// block that ends among the entries of a part, or with the log. leaves are those of the
// entries.
func (c *Check) checkTerms(ctx context.Context, shard store.Shard, from uint64, entries []store.LogEntry, leaves []ledger.Leaf) error {
	upto := from + uint64(len(entries))
	if upto < shard.Size {
		upto -= upto % store.BlockSize
	}
	block := from / store.BlockSize
	begin := block * store.BlockSize
	if upto <= begin {
		return nil
	}
	blocks := int((upto - begin + store.BlockSize - 1) / store.BlockSize)
	rows, err := c.e.store.BlockTerms(ctx, c.scope, store.LogBlock{Shard: shard.Number, Block: block}, blocks)
	if err != nil {
		return c.unread("log_terms", err)
	}
	if begin < from {
		before, err := c.e.store.LogEntries(ctx, c.scope, shard.Number, begin, int(from-begin))
		if err != nil {
			return err
		}
		entries, leaves = append(before, entries...), append(leavesOf(before), leaves...)
	}
	found := foundBits{at: map[string]int{}}
	for ; block*store.BlockSize < upto; block++ {
		n, m := 0, 0
		for n < len(entries) && entries[n].Index < min((block+1)*store.BlockSize, upto) {
			n++
		}
		for m < len(rows) && rows[m].Block == block {
			m++
		}
		if found.gather(store.LogBlock{Shard: shard.Number, Block: block}, entries[:n], leaves[:n]) {
			if err := c.checkBlock(ctx, shard, block, &found, rows[:m]); err != nil {
				return err
			}
		}
		entries, leaves, rows = entries[n:], leaves[n:], rows[m:]
	}
	return nil
}

// leavesOf parses the leaves of entries; what cannot be read is the zero leaf.
func leavesOf(entries []store.LogEntry) []ledger.Leaf {
	leaves := make([]ledger.Leaf, len(entries))
	for i := range entries {
		leaves[i], _ = ledger.ParseLeaf(entries[i].Body)
	}
	return leaves
}

// foundBits are what the entries of one block say that they are found by. It is used
// again for the next one.
type foundBits struct {
	at   map[string]int // of a term among bits
	bits []uint64
	seen uint64 // which entries of the block there are
}

// gather takes the terms of a block's entries; false: one of them cannot be read, which
// is named.
func (f *foundBits) gather(block store.LogBlock, entries []store.LogEntry, leaves []ledger.Leaf) bool {
	clear(f.at)
	f.bits, f.seen = f.bits[:0], 0
	for i := range entries {
		if leaves[i].Kind == "" {
			return false
		}
		bit := uint64(1) << (entries[i].Index % store.BlockSize)
		f.seen |= bit
		for term := range sequencer.Terms(&leaves[i], entries[i].Terms) {
			term = sequencer.Stored(term, block)
			at, ok := f.at[string(term)]
			if !ok {
				at = len(f.bits)
				f.at[string(term)], f.bits = at, append(f.bits, 0)
			}
			f.bits[at] |= bit
		}
	}
	return true
}

// has reports whether the entries say that a term is in these of them.
func (f *foundBits) has(term []byte, bits uint64) bool {
	at, ok := f.at[string(term)]
	return ok && f.bits[at] == bits
}

// checkBlock compares what is stored of a block's terms with what its entries say. Of
// entries that came since they may say more.
func (c *Check) checkBlock(ctx context.Context, shard store.Shard, block uint64, found *foundBits, rows []store.LogTerm) error {
	same := 0
	for _, row := range rows {
		if row.Bits&^found.seen != 0 {
			grown, err := c.grown(ctx, shard)
			if err != nil {
				return err
			}
			if grown {
				row.Bits &= found.seen
			}
		}
		if found.has(row.Term, row.Bits) {
			same++
		} else if row.Bits != 0 {
			same = -1
			break
		}
	}
	if same == len(found.bits) {
		return nil
	}
	first := block * store.BlockSize
	c.add(Finding{
		Kind: FoundToken, Shard: shard.Origin, Index: &first, Where: "log_terms",
		What: fmt.Sprintf("of the entries %d to %d some are not found by what they say", first, first+store.BlockSize-1),
		Do:   "read these entries of the log without a filter: a search misses some of them",
	})
	return nil
}
