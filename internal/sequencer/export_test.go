package sequencer

import (
	"context"
	"crypto/sha256"
	"encoding/binary"

	"github.com/underseal/underseal/internal/store"
)

// Work gives all leaves of a tenant their places and publishes what is new, now.
func (s *Sequencer) Work(ctx context.Context, tenant string) error {
	t := s.tenant(tenant)
	for more := true; more; more = s.more() {
		err := s.work(ctx, tenant, t)
		s.noted(ctx, tenant, t, err)
		if err != nil {
			return err
		}
	}
	return nil
}

// WorkOnce does as much as comes before a checkpoint, and publishes that.
func (s *Sequencer) WorkOnce(ctx context.Context, tenant string) error {
	return s.work(ctx, tenant, s.tenant(tenant))
}

// FailAt lets what is made durable fail with the error that fault returns for it.
func (cfg Config) FailAt(fault func(point string) error) Config {
	cfg.testingOnlyFault = fault
	return cfg
}

// FillTiles stores the tiles of a log of so many leaves, without entries.
func FillTiles(ctx context.Context, db *store.DB, scope store.Scope, size uint64) error {
	e := &edge{grown: map[tileID][]byte{}}
	for e.size < size {
		e.append(sha256.Sum256(binary.BigEndian.AppendUint64(nil, e.size)))
		if e.size%100_000 == 0 || e.size == size {
			if err := db.Grow(ctx, scope, store.Growth{Shard: 1, Tiles: e.take()}); err != nil {
				return err
			}
		}
	}
	return nil
}

// PassBatches is after how many batches a checkpoint is signed.
const PassBatches = passBatches
