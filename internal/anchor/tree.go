package anchor

import (
	"context"
	"errors"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

// treeSize returns how many entries a tree has, of which so many hashes are stored
// (tlog.StoredHashIndex says in which order).
func treeSize(length int64) uint64 {
	n := length / 2
	for tlog.StoredHashCount(n) < length {
		n++
	}
	return uint64(n)
}

// reader reads the hashes of the anchor log.
func (l *Log) reader(ctx context.Context) tlog.HashReader { return l.readerOf(ctx, l.head.Log) }

func (l *Log) readerOf(ctx context.Context, log int64) tlog.HashReader {
	return tlog.HashReaderFunc(func(positions []int64) ([]tlog.Hash, error) {
		stored, err := l.config.Store.AnchorHashes(ctx, log, positions)
		hashes := make([]tlog.Hash, len(stored))
		for i, h := range stored {
			hashes[i] = h
		}
		return hashes, err
	})
}

// root returns the root of the tree's first entries.
func (l *Log) root(ctx context.Context, size uint64) (ledger.Hash, error) {
	if size == 0 {
		return emptyRoot, nil
	}
	h, err := tlog.TreeHash(int64(size), l.reader(ctx))
	return ledger.Hash(h), readError(err)
}

// consistency proves that the head continues the tree of an older size.
func (l *Log) consistency(ctx context.Context, old uint64) ([]ledger.Hash, error) {
	if old == 0 || old == l.head.Size {
		return nil, nil
	}
	proof, err := tlog.ProveTree(int64(l.head.Size), int64(old), l.reader(ctx))
	return hashesOf(proof), readError(err)
}

func hashesOf(proof []tlog.Hash) []ledger.Hash {
	hashes := make([]ledger.Hash, len(proof))
	for i, h := range proof {
		hashes[i] = ledger.Hash(h)
	}
	return hashes
}

// readError gives an error of package tlog, which hands on those of its reader, a
// kind.
func readError(err error) error {
	var known *fault.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	return fault.New(fault.Internal, "read the anchor log: %w", err)
}
