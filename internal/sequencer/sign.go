package sequencer

import (
	"context"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// sign signs and publishes a checkpoint of a log that has grown since the last one.
// Each part finds by what is stored whether it was done, so it can begin anew after
// a crash between any two.
func (s *Sequencer) sign(ctx context.Context, name string, t *tenant, shard store.Shard) error {
	head, err := s.head(ctx, t.scope, shard.Origin)
	if err != nil {
		return err
	}
	if head == nil || head.Size < shard.Size {
		cut, err := Cut(ctx, s.cfg.Store, t.scope, shard)
		if err != nil {
			return err
		}
		if !cut {
			head, err = s.renewHead(ctx, name, t, shard, head)
		}
		if err != nil || head == nil {
			return err
		}
	}
	return s.publish(ctx, name, t, shard, head)
}

// ClosedKind is the kind of the last leaf of a log that was closed, and not cut short.
const ClosedKind = "log.closed"

// Cut reports whether a restore has ended a log, whose last leaves may have other places
// where the data come from. No further head of it is signed: there may be one, of that
// size and over other leaves, that nobody here knows.
func Cut(ctx context.Context, db *store.DB, scope store.Scope, shard store.Shard) (bool, error) {
	if shard.Open || shard.Size == 0 || db.CopiesKeepOrder() {
		return false, nil
	}
	last, err := db.LogEntries(ctx, scope, shard.Number, shard.Size-1, 1)
	if err != nil || len(last) == 0 {
		return true, err
	}
	leaf, err := ledger.ParseLeaf(last[0].Body)
	return err != nil || leaf.Kind != ClosedKind, nil
}

// head returns the last signed checkpoint of a log, nil if there is none.
func (s *Sequencer) head(ctx context.Context, scope store.Scope, origin string) (*store.LogHead, error) {
	heads, err := s.cfg.Store.LogHeads(ctx, scope)
	if err != nil {
		return nil, err
	}
	for i := range heads {
		if heads[i].Origin == origin {
			return &heads[i], nil
		}
	}
	return nil, nil
}

// renewHead signs the log's present size, if its tree continues the former
// checkpoint, and stores that beside the keys.
func (s *Sequencer) renewHead(ctx context.Context, name string, t *tenant, shard store.Shard, former *store.LogHead) (*store.LogHead, error) {
	root, err := s.continued(ctx, t, shard, former)
	if err != nil {
		return nil, err
	}
	signers, err := s.cfg.Signing.PlatformSigners(ctx, name, shard.Origin, shard.Size)
	if err != nil {
		return nil, err
	}
	signed, err := ledger.SignCheckpoint(ledger.Checkpoint{Origin: shard.Origin, Size: shard.Size, Root: root}, signers...)
	if err != nil {
		return nil, err
	}
	head := &store.LogHead{Origin: shard.Origin, Size: shard.Size, Root: root, Note: signed}
	if err := s.durable("head"); err != nil {
		return nil, err
	}
	return head, s.cfg.Store.PutLogHead(context.WithoutCancel(ctx), t.scope, former, *head)
}

// continued returns the root of a log's tree, which must contain the tree of the
// former checkpoint: both are computed from the stored tiles, and the proof between
// them is checked. It must also be the tree that was grown here or, if it was not,
// that is grown here anew from the checkpoint.
func (s *Sequencer) continued(ctx context.Context, t *tenant, shard store.Shard, former *store.LogHead) (ledger.Hash, error) {
	r := HashReader(ctx, s.cfg.Store, t.scope, shard.Number)
	root, err := tlog.TreeHash(int64(shard.Size), r)
	if err != nil {
		return ledger.Hash{}, readingFault(err)
	}
	if former != nil {
		proof, err := tlog.ProveTree(int64(shard.Size), int64(former.Size), r)
		if err != nil {
			return ledger.Hash{}, readingFault(err)
		}
		if tlog.CheckTree(proof, int64(shard.Size), root, int64(former.Size), former.Root) != nil {
			return ledger.Hash{}, behind("the tree of log %s does not continue its checkpoint at size %d", shard.Origin, former.Size)
		}
	}
	t.grow.Lock()
	defer t.grow.Unlock()
	e := t.edge
	if e == nil || e.number != shard.Number || e.size != shard.Size {
		if e, err = s.genuineEdge(ctx, t.scope, shard); err != nil {
			return ledger.Hash{}, err
		}
	}
	grown, err := e.root()
	if err == nil && grown != root {
		err = tampered("log %s has other tiles than were written", shard.Origin)
	}
	return ledger.Hash(root), err
}

// publish publishes a head that was stored, unless it was published not long ago.
func (s *Sequencer) publish(ctx context.Context, name string, t *tenant, shard store.Shard, head *store.LogHead) error {
	size, signed, err := s.cfg.Store.Checkpoint(ctx, t.scope, shard.Number)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	now, former := s.cfg.Now(), uint64(0)
	if err == nil && size < head.Size { // the tree of that size is still there
		former = size
	}
	if err == nil && size == head.Size { // one of a larger log is none of ours
		at, err := s.cfg.Store.PublishedAt(ctx, t.scope, shard.Number)
		if err != nil || !shard.Open || now.Before(at.Add(s.cfg.Heartbeat)) {
			s.published(t, shard, at)
			return err
		}
	} else {
		signed = head.Note
		// After a restore the note is of what was lost; of what is left nothing was signed.
		if c, err := ledger.UnverifiedCheckpoint(signed); err != nil || c.Size != head.Size {
			return err
		}
	}
	if err := s.durable("publish"); err != nil {
		return err
	}
	if err := s.cfg.Store.Publish(context.WithoutCancel(ctx), t.scope, shard.Number, head.Size, signed, now, former); err != nil {
		return err
	}
	s.published(t, shard, now)
	s.cfg.Published(ctx, name, shard, head.Size, signed)
	return nil
}
