package sequencer

import (
	"bytes"
	"context"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// Check requires of every tenant that its trees are at least as large as the last
// signed checkpoints, which are kept beside the keys, and had their roots then. It
// is Integrity with the code "behind_checkpoint" when one is not: the data was set
// back, or changed. It comes before anything is written, at the start of a node and
// whenever it takes the lease of the database anew.
func (s *Sequencer) Check(ctx context.Context) error {
	tenants, err := s.cfg.Store.Keys().Tenants(ctx)
	if err != nil {
		return err
	}
	for _, name := range tenants {
		if err := s.checkTenant(ctx, s.cfg.Scope(name)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Sequencer) checkTenant(ctx context.Context, scope store.Scope) error {
	shards, err := s.cfg.Store.Shards(ctx, scope)
	if err != nil {
		return err
	}
	heads, err := s.cfg.Store.LogHeads(ctx, scope)
	if err != nil {
		return err
	}
	for _, head := range heads {
		there := slices.ContainsFunc(shards, func(sh store.Shard) bool { return sh.Origin == head.Origin })
		if !there && head.Size > 0 { // a restore leaves nothing of a log that began later
			return behind("log %s is gone; a checkpoint at size %d was signed of it", head.Origin, head.Size)
		}
	}
	for _, shard := range shards {
		if err := s.checkShard(ctx, scope, shard); err != nil {
			return err
		}
	}
	return nil
}

// checkShard checks one log against its checkpoint beside the keys, and the last
// entries against the tree.
func (s *Sequencer) checkShard(ctx context.Context, scope store.Scope, shard store.Shard) error {
	shown, err := s.shown(ctx, scope, shard) // before the head, which may grow meanwhile
	if err != nil {
		return err
	}
	head, err := s.head(ctx, scope, shard.Origin)
	if err != nil {
		return err
	}
	var kept uint64
	if head != nil {
		if err := s.checkHead(ctx, scope, shard, head); err != nil {
			return err
		}
		kept = head.Size
	}
	if shown > kept {
		return behind("a checkpoint of log %s at size %d was shown, and the one beside the keys is of size %d", shard.Origin, shown, kept)
	}
	return s.checkEntries(ctx, scope, shard)
}

// shown is the size of the largest checkpoint that was published or anchored of the open
// log: of no more than the one beside the keys. Of a log that a restore has ended, whose
// head it lowers, that does not hold; it is 0.
func (s *Sequencer) shown(ctx context.Context, scope store.Scope, shard store.Shard) (uint64, error) {
	if !shard.Open {
		return 0, nil
	}
	published, _, err := s.cfg.Store.Checkpoint(ctx, scope, shard.Number)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return 0, err
	}
	anchored, err := s.cfg.Store.NewestOpening(ctx, scope, shard.Number)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return 0, err
	}
	return max(published, anchored.Size), nil
}

func (s *Sequencer) checkHead(ctx context.Context, scope store.Scope, shard store.Shard, head *store.LogHead) error {
	c, err := ledger.UnverifiedCheckpoint(head.Note)
	// After a restore the note is that of the last head known, of which some is lost.
	if err != nil || c.Origin != head.Origin || c.Size < head.Size || c.Size == head.Size && c.Root != head.Root {
		return behind("the checkpoint beside the keys of log %s was changed", head.Origin)
	}
	if shard.Size < head.Size {
		return behind("log %s has %d leaves; a checkpoint at size %d was signed of it", shard.Origin, shard.Size, head.Size)
	}
	root, err := Root(ctx, s.cfg.Store, scope, shard.Number, head.Size)
	switch {
	case fault.Is(err, fault.Integrity):
		return behind("the tree of log %s is not whole at size %d", shard.Origin, head.Size).WithCause(err)
	case err != nil:
		return err
	case root != head.Root:
		return behind("the tree of log %s is another than that of its checkpoint at size %d", shard.Origin, head.Size)
	}
	return nil
}

// checkEntries compares the entries of the last tile, which is bounded work; fsck
// compares them all.
func (s *Sequencer) checkEntries(ctx context.Context, scope store.Scope, shard store.Shard) error {
	if shard.Size == 0 {
		return nil
	}
	from := (shard.Size - 1) / tileWidth * tileWidth
	width := int(shard.Size - from)
	tile, err := readTile(ctx, s.cfg.Store, scope, shard.Number, tileID{0, from / tileWidth}, width)
	if fault.Is(err, fault.Integrity) {
		return behind("the tree of log %s is not whole", shard.Origin).WithCause(err)
	}
	if err != nil {
		return err
	}
	entries, err := s.cfg.Store.LogEntries(ctx, scope, shard.Number, from, width+1)
	if err != nil {
		return err
	}
	if len(entries) != width {
		return behind("log %s has %d entries from index %d on at size %d", shard.Origin, len(entries), from, shard.Size)
	}
	for i, entry := range entries {
		hash := tile[i*tlog.HashSize : (i+1)*tlog.HashSize]
		if entry.Index != from+uint64(i) || !bytes.Equal(hash, entry.Hash[:]) {
			return behind("log %s has another leaf at index %d than its tree", shard.Origin, from+uint64(i))
		}
	}
	return nil
}

// behind returns the fault of data that is not what was signed.
func behind(format string, args ...any) *fault.Error {
	return fault.New(fault.Integrity, format, args...).WithCode("behind_checkpoint").
		WithHint("the data was set back or changed behind our back: bring back the newest copy of it, or take what is lost and go on in a new log with `underseal restore`")
}

// Settle gives every leaf of restored data its place, whatever was signed of its
// logs. Nobody uses the tenant meanwhile.
func (s *Sequencer) Settle(ctx context.Context, scope store.Scope) error {
	t := s.tenant(scope.Tenant())
	t.grow.Lock()
	defer t.grow.Unlock()
	t.settling = true
	defer func() { t.settling, t.edge = false, nil }()
	if err := s.recoverHeld(ctx, t); err != nil {
		return err
	}
	for more := true; more; {
		var err error
		if more, err = s.growBatch(ctx, t); err != nil {
			return err
		}
	}
	_, err := s.await(ctx, t)
	return err
}

// Recover gives places to all leaves of tenants whose order was lost when their rows
// were taken to another database. It comes after Check, before anything is written.
func (s *Sequencer) Recover(ctx context.Context) error {
	tenants, err := s.cfg.Store.Keys().Tenants(ctx)
	if err != nil {
		return err
	}
	for _, name := range tenants {
		if err := s.recoverTenant(ctx, s.tenant(name)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Sequencer) recoverTenant(ctx context.Context, t *tenant) error {
	t.grow.Lock()
	defer t.grow.Unlock()
	return s.recoverHeld(ctx, t)
}

func (s *Sequencer) recoverHeld(ctx context.Context, t *tenant) error {
	lost, cursor, err := s.cfg.Store.LostOrder(ctx, t.scope)
	if err != nil || !lost {
		return err
	}
	for {
		leaves, err := s.cfg.Store.LostLeaves(ctx, t.scope, s.cfg.Batch)
		if err != nil || len(leaves) == 0 {
			return err
		}
		if err := s.place(ctx, t, leaves, &cursor); err != nil {
			return err
		}
	}
}
