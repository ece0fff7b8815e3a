package anchor

import (
	"context"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// Opening returns the smallest anchored checkpoint of a tenant's shard that has at
// least so many leaves, as a signed note, and what shows that it was anchored.
// NotFound (code "not_anchored") when there is none yet.
func (l *Log) Opening(ctx context.Context, s store.Scope, shard int, atLeast uint64) (signed []byte, a ledger.Anchor, err error) {
	o, err := l.config.Store.OpeningFrom(ctx, s, shard, atLeast)
	if err != nil {
		return nil, a, err
	}
	c, err := l.config.Store.AnchorCheckpointFrom(ctx, o.Log, o.Index+1)
	if err != nil {
		return nil, a, err
	}
	path, err := tlog.ProveRecord(int64(c.Size), int64(o.Index), l.readerOf(ctx, o.Log))
	if err != nil {
		return nil, a, readError(err)
	}
	a = ledger.Anchor{Blind: o.Blind, Proof: ledger.LogProof{Index: o.Index, Path: hashesOf(path), Checkpoint: c.Signed}}
	if len(c.Token) > 0 {
		a.Token = c.Token
	}
	return o.Signed, a, checkOpening(o, a)
}

// checkOpening compares what was stored, since all of it can be changed by SQL.
func checkOpening(o store.AnchorOpening, a ledger.Anchor) error {
	c, err := ledger.UnverifiedCheckpoint(o.Signed)
	if err != nil {
		return err
	}
	anchor, err := ledger.UnverifiedCheckpoint(a.Proof.Checkpoint)
	if err != nil {
		return err
	}
	entry := ledger.AnchorEntry(a.Blind, c)
	if c.Size != o.Size {
		return fault.New(fault.Integrity, "the anchored checkpoint of size %d is stored as one of %d", c.Size, o.Size)
	}
	return ledger.VerifyInclusion(ledger.LeafHash(entry[:]), a.Proof.Index, anchor.Size, a.Proof.Path, anchor.Root)
}
