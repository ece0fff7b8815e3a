package sequencer

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// passBatches is after how many batches, at most, a checkpoint is signed: while more
// leaves come than get their places, there is a checkpoint nonetheless, and what a
// start has to grow anew stays small.
const passBatches = 64

// growSome gives the leaves of a tenant their places, as many as come before a
// checkpoint. More says that it ended there.
func (s *Sequencer) growSome(ctx context.Context, t *tenant) (more bool, err error) {
	t.grow.Lock()
	defer t.grow.Unlock()
	for range passBatches {
		if more, err = s.growBatch(ctx, t); err != nil || !more {
			break
		}
	}
	if err != nil {
		return false, err
	}
	left, err := s.await(ctx, t)
	return more && left, err
}

// growBatch reports whether more leaves may wait. Whoever calls it holds t.grow.
func (s *Sequencer) growBatch(ctx context.Context, t *tenant) (more bool, err error) {
	leaves, err := s.cfg.Store.Unsequenced(ctx, t.scope, s.cfg.Batch)
	if err != nil {
		return false, err
	}
	return len(leaves) == s.cfg.Batch, s.place(ctx, t, leaves, nil)
}

// await reports whether leaves wait still, or are held back, and remembers it.
func (s *Sequencer) await(ctx context.Context, t *tenant) (left bool, err error) {
	n, err := s.cfg.Store.CountUnsequenced(ctx, t.scope, 1)
	if err != nil || n == 0 {
		return false, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dirty = true
	return true, nil
}

// place gives leaves their places, in their order. The cursor ends at the last one
// unless it is given. Whoever calls it holds t.grow.
func (s *Sequencer) place(ctx context.Context, t *tenant, leaves []store.Unsequenced, cursor *uint64) error {
	if len(leaves) == 0 {
		return nil
	}
	genuine, err := s.cfg.Signing.Genuine(ctx, t.scope.Tenant())
	if err != nil {
		return err
	}
	for len(leaves) > 0 {
		read, err := run(leaves, genuine)
		if err == nil {
			err = s.enter(ctx, t, read[0].Log)
		}
		if err == nil {
			err = s.placeRun(ctx, t, leaves[:len(read)], read, cursor)
		}
		if err != nil {
			t.edge = nil // what is stored counts
			return err
		}
		leaves = leaves[len(read):]
	}
	return nil
}

// run reads the leaves, of which there is one at least, as far as they are of the
// same log as the first.
func run(leaves []store.Unsequenced, genuine genuine) (read []ledger.Leaf, err error) {
	for i := range leaves {
		leaf, err := leafOf(&leaves[i], genuine)
		if err != nil {
			return nil, err
		}
		if i > 0 && leaf.Log != read[0].Log {
			break
		}
		read = append(read, leaf)
	}
	return read, nil
}

// genuine reports whether a server made a leaf; see Signing.
type genuine func(object store.ID, seq uint64, leaf store.Leaf) bool

// leafOf reads a leaf. Its row must be what the leaf says, and a server must have
// made it: whatever is in a tree under a signed head counts as the platform's word.
func leafOf(u *store.Unsequenced, genuine genuine) (ledger.Leaf, error) {
	leaf, err := ledger.ParseLeaf(u.Leaf.Body)
	object := ""
	if u.Seq > 0 {
		object = uuid.UUID(u.Object).String()
	}
	if err != nil || ledger.LeafHash(u.Leaf.Body) != u.Leaf.Hash || leaf.Object != object || leaf.Seq != u.Seq {
		return leaf, tampered("the leaf of %s, step %d, was changed before it got its place", u.Object, u.Seq)
	}
	if !genuine(u.Object, u.Seq, u.Leaf) {
		return leaf, tampered("the leaf of %s, step %d, was made by no server: somebody put it into the database", u.Object, u.Seq)
	}
	return leaf, nil
}

// enter makes a log the one that grows. The tree must be what was signed of it.
func (s *Sequencer) enter(ctx context.Context, t *tenant, origin string) error {
	if t.edge != nil && t.edge.origin == origin {
		return nil
	}
	shards, err := s.cfg.Store.Shards(ctx, t.scope)
	if err != nil {
		return err
	}
	found, grown := -1, -1
	for i := range shards {
		if shards[i].Origin == origin {
			found = i
		}
		if shards[i].Size > 0 {
			grown = i
		}
	}
	if found < 0 || found < grown {
		return tampered("a leaf is of log %q, which is not the tenant's newest", origin)
	}
	if t.settling {
		t.edge, err = readEdge(ctx, s.cfg.Store, t.scope, shards[found], shards[found].Size)
		return err
	}
	if err := s.checkShard(ctx, t.scope, shards[found]); err != nil {
		return err
	}
	t.edge, err = s.genuineEdge(ctx, t.scope, shards[found])
	return err
}

// placeRun appends leaves, which were read, to the log that grows.
func (s *Sequencer) placeRun(ctx context.Context, t *tenant, leaves []store.Unsequenced, read []ledger.Leaf, cursor *uint64) error {
	e := t.edge
	g := store.Growth{Shard: e.number, From: e.size, Entries: make([]store.LogEntry, len(leaves)), Cursor: leaves[len(leaves)-1].Pos}
	if cursor != nil {
		g.Cursor = *cursor
	}
	found := postings{}
	for i := range leaves {
		u := &leaves[i]
		found.add(store.LogPlace{Shard: e.number, Index: e.size}, Terms(&read[i], u.Leaf.Terms))
		g.Entries[i] = store.LogEntry{Index: e.size, Object: u.Object, Seq: u.Seq, Hash: u.Leaf.Hash}
		e.append(u.Leaf.Hash)
	}
	g.Terms, g.Tiles = found.rows(), e.take()
	if err := s.durable("grow"); err != nil {
		return err
	}
	// A caller who goes away must not leave the outcome unknown to us.
	return s.cfg.Store.Grow(context.WithoutCancel(ctx), t.scope, g)
}

// patience is how long Finish waits for leaves that are held back.
const patience = 10 * time.Second

// Finish gives every leaf of a tenant its place and returns size and root of one of
// its logs, which then continues what was signed of it. Nobody may write leaves of
// the tenant meanwhile. Unavailable (code "leaves_held_back") when another
// transaction in the same Postgres holds leaves back for too long.
func (s *Sequencer) Finish(ctx context.Context, scope store.Scope, shard int) (size uint64, root ledger.Hash, err error) {
	t := s.tenant(scope.Tenant())
	if err := s.drain(ctx, t); err != nil {
		return 0, ledger.Hash{}, err
	}
	shards, err := s.cfg.Store.Shards(ctx, scope)
	if err != nil {
		return 0, ledger.Hash{}, err
	}
	for _, sh := range shards {
		if sh.Number != shard {
			continue
		}
		if err := s.checkShard(ctx, scope, sh); err != nil {
			return 0, ledger.Hash{}, err
		}
		root, err = Root(ctx, s.cfg.Store, scope, shard, sh.Size)
		return sh.Size, root, err
	}
	return 0, ledger.Hash{}, fault.New(fault.NotFound, "tenant has no log %d", shard)
}

// drain grows the tenant's log until no leaf waits.
func (s *Sequencer) drain(ctx context.Context, t *tenant) error {
	for deadline := time.Now().Add(patience); ; {
		more, err := s.growSome(ctx, t)
		if err != nil {
			return err
		}
		if more {
			continue
		}
		left, err := s.cfg.Store.CountUnsequenced(ctx, t.scope, 1)
		if err != nil || left == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fault.New(fault.Unavailable, "leaves wait for their place behind a transaction of somebody else").
				WithCode("leaves_held_back").WithHint("look for long transactions in pg_stat_activity, of all databases of the server")
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Unavailable, "gave up waiting for leaves to get their places: %w", ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}
