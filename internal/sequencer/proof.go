package sequencer

import (
	"context"
	"errors"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// HashReader reads the hashes of a log's tree from its stored tiles, as they are:
// whoever gets them checks what follows from them against a checkpoint. It reads
// each tile once, and serves one goroutine. A tile that lacks hashes is an Integrity
// fault.
func HashReader(ctx context.Context, db *store.DB, scope store.Scope, shard int) tlog.HashReader {
	tiles := map[tileID][]byte{}
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			t := tlog.TileForIndex(tileHeight, index)
			id := tileID{t.L, uint64(t.N)}
			if len(tiles[id]) < t.W*tlog.HashSize {
				var err error
				if tiles[id], err = readTile(ctx, db, scope, shard, id, t.W); err != nil {
					return nil, err
				}
			}
			h, err := tlog.HashFromTile(t, tiles[id], index)
			if err != nil {
				return nil, err
			}
			hashes[i] = h
		}
		return hashes, nil
	})
}

// Root returns the root of a log's tree at a size, computed from the stored tiles.
func Root(ctx context.Context, db *store.DB, scope store.Scope, shard int, size uint64) (ledger.Hash, error) {
	root, err := tlog.TreeHash(int64(size), HashReader(ctx, db, scope, shard))
	return ledger.Hash(root), readingFault(err)
}

// Inclusion returns the proof that the leaf at an index is in the log's tree of a
// size (RFC 6962 section 2.1.1), computed from the stored tiles. Invalid when the
// index is not below the size.
func Inclusion(ctx context.Context, db *store.DB, scope store.Scope, shard int, index, size uint64) ([]ledger.Hash, error) {
	if index >= size {
		return nil, fault.New(fault.Invalid, "a log of %d leaves has none at index %d", size, index)
	}
	proof, err := tlog.ProveRecord(int64(size), int64(index), HashReader(ctx, db, scope, shard))
	return hashesOf(proof), readingFault(err)
}

// Consistency returns the proof that the log's tree of a size continues that of an
// old size (RFC 6962 section 2.1.2), computed from the stored tiles. Empty for old
// size 0. Invalid when the old size is larger.
func Consistency(ctx context.Context, db *store.DB, scope store.Scope, shard int, old, size uint64) ([]ledger.Hash, error) {
	switch {
	case old > size:
		return nil, fault.New(fault.Invalid, "a log of %d leaves does not continue one of %d", size, old)
	case old == 0 || old == size:
		return nil, nil
	}
	proof, err := tlog.ProveTree(int64(size), int64(old), HashReader(ctx, db, scope, shard))
	return hashesOf(proof), readingFault(err)
}

func hashesOf(proof []tlog.Hash) []ledger.Hash {
	hashes := make([]ledger.Hash, len(proof))
	for i, h := range proof {
		hashes[i] = ledger.Hash(h)
	}
	return hashes
}

// readingFault gives an error of reading hashes its kind.
func readingFault(err error) error {
	var known *fault.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	return fault.New(fault.Internal, "read the tree of a log: %w", err)
}
