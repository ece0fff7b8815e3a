package engine

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"math/bits"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// AnchorLog says what the anchor logs' stored checkpoints say by themselves. Package
// anchor implements it.
type AnchorLog interface {
	// OpenHead and OpenComplete return what a checkpoint says that is signed, cosigned
	// and timestamped as it must be; else an Integrity fault. Without keys they look at
	// no signature of the log.
	OpenHead(ctx context.Context, h store.AnchorHead, withoutKeys bool) (ledger.Checkpoint, error)
	OpenComplete(ctx context.Context, c store.AnchorCheckpoint, withoutKeys bool) (ledger.Checkpoint, error)
}

// anchorState says how far the check of the anchor logs has come.
type anchorState struct {
	Log    int64            `json:"log"`            // under way, or the last that was done
	Tree   *anchorTree      `json:"tree,omitempty"` // of Log, grown so far; nil: the next log begins
	Sizes  map[int64]uint64 `json:"sizes"`          // of the logs that were done
	Opened map[int64]uint64 `json:"opened"`         // openings that fit, by log
	Tenant string           `json:"tenant,omitempty"`
	Shard  int              `json:"shard,omitempty"` // of the last opening
	Size   uint64           `json:"size,omitempty"`
}

func (a *anchorState) clone() *anchorState {
	if a == nil {
		return nil
	}
	b := *a
	if a.Tree != nil {
		b.Tree = &anchorTree{a.Tree.Size, slices.Clone(a.Tree.Peaks)}
	}
	b.Sizes, b.Opened = maps.Clone(a.Sizes), maps.Clone(a.Opened)
	return &b
}

// anchorTree grows a tree from the hashes of its leaves and holds the roots of the
// perfect trees that it consists of.
type anchorTree struct {
	Size  uint64   `json:"size"`
	Peaks [][]byte `json:"peaks"` // the largest first
}

// made returns the hashes that a leaf brings into the tree, in the order in which they are
// stored: its own and those of the trees that it completes.
func (t *anchorTree) made(leaf tlog.Hash) []tlog.Hash {
	all := []tlog.Hash{leaf}
	for i := range bits.TrailingZeros64(^t.Size) {
		leaf = tlog.NodeHash(tlog.Hash(t.Peaks[len(t.Peaks)-1-i]), leaf)
		all = append(all, leaf)
	}
	return all
}

// add appends a leaf by what made returned for it.
func (t *anchorTree) add(made []tlog.Hash) {
	last := made[len(made)-1]
	t.Peaks = append(t.Peaks[:len(t.Peaks)-(len(made)-1)], last[:])
	t.Size++
}

func (t *anchorTree) root() ledger.Hash {
	if t.Size == 0 {
		return sha256.Sum256(nil)
	}
	root := tlog.Hash(t.Peaks[len(t.Peaks)-1])
	for _, peak := range slices.Backward(t.Peaks[:len(t.Peaks)-1]) {
		root = tlog.NodeHash(tlog.Hash(peak), root)
	}
	return ledger.Hash(root)
}

// anchorFinding adds a finding about an anchor log.
func (c *Check) anchorFinding(kind string, log int64, where, format string, args ...any) {
	c.add(Finding{Kind: kind, Shard: fmt.Sprintf("anchor log %d", log), Where: where, What: fmt.Sprintf(format, args...)})
}

// anchorPart grows the tree of one anchor log by some entries, and holds what is
// stored of it against that.
func (c *Check) anchorPart(ctx context.Context) error {
	if c.State.Anchor == nil {
		c.State.Anchor = &anchorState{Sizes: map[int64]uint64{}, Opened: map[int64]uint64{}}
	}
	a := c.State.Anchor
	heads, err := c.e.store.AnchorHeads(ctx)
	if err != nil {
		return err
	}
	if a.Log == 0 && len(heads) == 0 && c.keyed {
		c.anchorFinding(FoundKeys, 1, "anchor_heads", "the anchor log has keys, and no head of it is kept beside them")
	}
	if a.Tree == nil {
		next, found, err := c.nextAnchorLog(ctx, heads)
		if err != nil {
			return err
		}
		if !found {
			c.State.Phase = phaseOpenings
			return nil
		}
		a.Log, a.Tree = next, &anchorTree{}
	}
	more, whole, err := c.growAnchor(ctx, heads)
	if err != nil || more {
		return err
	}
	if whole {
		err = c.endAnchor(ctx, heads)
	}
	a.Sizes[a.Log], a.Tree = a.Tree.Size, nil
	return err
}

// nextAnchorLog returns the number of the next log that anything is known of.
func (c *Check) nextAnchorLog(ctx context.Context, heads []store.AnchorHead) (next int64, found bool, err error) {
	numbers, err := c.e.store.StoredAnchorLogs(ctx)
	if err != nil {
		return 0, false, err
	}
	for _, h := range heads {
		numbers = append(numbers, h.Log)
	}
	slices.Sort(numbers)
	i := slices.IndexFunc(numbers, func(n int64) bool { return n > c.State.Anchor.Log })
	if i < 0 {
		return 0, false, nil
	}
	return numbers[i], true, nil
}

// growAnchor takes the next hashes. More is false after the last; whole is false if
// they are not those of a tree, so that nothing can be said of the rest.
func (c *Check) growAnchor(ctx context.Context, heads []store.AnchorHead) (more, whole bool, err error) {
	a, n := c.State.Anchor, max(c.part, 64) // a leaf brings at most 64
	pos := tlog.StoredHashCount(int64(a.Tree.Size))
	hashes, err := c.e.store.AnchorHashesFrom(ctx, a.Log, pos, n)
	if err != nil {
		return false, false, err
	}
	more = len(hashes) == n
	points, err := c.anchorPoints(ctx, heads, a.Tree.Size)
	if err != nil {
		return false, false, err
	}
	c.State.Rows += uint64(len(hashes))
	if a.Tree.Size == 0 {
		if err := c.checkAnchorPoints(ctx, points[0]); err != nil {
			return false, false, err
		}
	}
	for len(hashes) > 0 {
		made := a.Tree.made(tlog.Hash(hashes[0].Hash))
		if len(made) > len(hashes) && more {
			break // the next part begins with this entry
		}
		for i, h := range made {
			if i >= len(hashes) || hashes[i].Pos != pos+int64(i) || hashes[i].Hash != h {
				c.anchorFinding(FoundTree, a.Log, "anchor_hashes", "the hash at position %d, of entry %d, is gone or not that of the entries below it", pos+int64(i), a.Tree.Size)
				return false, false, nil
			}
		}
		a.Tree.add(made)
		hashes, pos = hashes[len(made):], pos+int64(len(made))
		if err := c.checkAnchorPoints(ctx, points[a.Tree.Size]); err != nil {
			return false, false, err
		}
	}
	return more, true, nil
}

// anchorPoint is a checkpoint of an anchor log and where it is kept.
type anchorPoint struct {
	where string // anchor_checkpoints, anchor_heads
	size  uint64
	root  *ledger.Hash // beside the note; nil: none
	open  func(ctx context.Context) (ledger.Checkpoint, error)
}

// anchorPoints returns, by size, the checkpoints above a size that one part can reach,
// at least, and the head.
func (c *Check) anchorPoints(ctx context.Context, heads []store.AnchorHead, from uint64) (map[uint64][]anchorPoint, error) {
	a, points := c.State.Anchor, map[uint64][]anchorPoint{}
	complete, err := c.e.store.AnchorCheckpointsAfter(ctx, a.Log, from, max(c.part, 64))
	if err != nil {
		return nil, err
	}
	for _, row := range complete {
		points[row.Size] = append(points[row.Size], anchorPoint{where: "anchor_checkpoints", size: row.Size, open: func(ctx context.Context) (ledger.Checkpoint, error) {
			return c.anchors.OpenComplete(ctx, row, c.withoutKeys)
		}})
	}
	for _, h := range heads {
		if h.Log != a.Log || h.Size < from {
			continue
		}
		root := ledger.Hash(h.Root)
		p := anchorPoint{where: "anchor_heads", size: h.Size, root: &root}
		if h.Size > 0 {
			p.open = func(ctx context.Context) (ledger.Checkpoint, error) { return c.anchors.OpenHead(ctx, h, c.withoutKeys) }
		}
		points[h.Size] = append(points[h.Size], p)
	}
	return points, nil
}

// checkAnchorPoints compares checkpoints with the tree as it is now, at their size.
func (c *Check) checkAnchorPoints(ctx context.Context, points []anchorPoint) error {
	a := c.State.Anchor
	root := a.Tree.root()
	for _, p := range points {
		if p.root != nil && *p.root != root {
			c.anchorFinding(FoundCheckpoint, a.Log, p.where, "the checkpoint of size %d is kept with a root that is not that of the entries", p.size)
			continue
		}
		if p.open == nil {
			continue
		}
		says, err := p.open(ctx)
		switch {
		case fault.Is(err, fault.Integrity):
			c.anchorFinding(FoundCheckpoint, a.Log, p.where, "the checkpoint of size %d: %s", p.size, messageOf(err))
		case err != nil:
			return err
		case says.Size != p.size || says.Root != root:
			c.anchorFinding(FoundCheckpoint, a.Log, p.where, "the checkpoint of size %d is not that of the entries", p.size)
		}
	}
	return nil
}

// endAnchor checks what can be said of an anchor log once all its entries were seen.
func (c *Check) endAnchor(ctx context.Context, heads []store.AnchorHead) error {
	a := c.State.Anchor
	size, newest := a.Tree.Size, true
	var head *store.AnchorHead
	for i := range heads {
		if heads[i].Log == a.Log {
			head = &heads[i]
		}
		newest = newest && heads[i].Log <= a.Log
	}
	beyond, err := c.e.store.AnchorCheckpointsAfter(ctx, a.Log, size, 1)
	if err != nil {
		return err
	}
	complete, err := c.e.store.NewestAnchorCheckpoint(ctx, a.Log)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if grown, err := c.anchorGrown(ctx, a.Log, size); err != nil || grown {
		return err
	}
	switch {
	case head == nil:
		c.anchorFinding(FoundKeys, a.Log, "anchor_heads", "the data have an anchor log, and no head of it is kept beside the keys")
		return nil
	case head.Halted != "":
		c.anchorFinding(FoundCheckpoint, a.Log, "anchor_heads", "nothing is signed any more: %s", head.Halted)
	}
	if newest && head.Size > size {
		c.anchorFinding(FoundBehind, a.Log, "anchor_heads", "there is a checkpoint of size %d, and there are fewer entries", head.Size)
	}
	if len(beyond) > 0 {
		c.anchorFinding(FoundBehind, a.Log, "anchor_checkpoints", "there is a checkpoint of size %d, and there are fewer entries", beyond[0].Size)
	}
	if complete.Size > head.Size {
		c.anchorFinding(FoundKeys, a.Log, "anchor_heads", "a checkpoint of size %d is complete, and none so large is kept beside the keys", complete.Size)
	}
	return nil
}

// anchorGrown reports whether an anchor log has more entries by now.
func (c *Check) anchorGrown(ctx context.Context, log int64, size uint64) (bool, error) {
	length, err := c.e.store.AnchorLength(ctx, log)
	return length > tlog.StoredHashCount(int64(size)), err
}

// openingPart holds some of what was anchored of one tenant against the entries that
// stand for it. That the tenant's checkpoints are those of its log, the phase of the
// tenant's logs has checked.
func (c *Check) openingPart(ctx context.Context) error {
	a := c.State.Anchor
	if a.Tenant == "" {
		next, found, err := c.nextTenant(ctx)
		if err != nil {
			return err
		}
		if !found {
			return c.endOpenings(ctx)
		}
		a.Tenant, a.Shard, a.Size = next, 0, 0
	}
	scope := store.NewScope(a.Tenant)
	shards, err := c.e.store.Shards(ctx, scope)
	if err != nil {
		return err
	}
	openings, err := c.e.store.OpeningsAfter(ctx, scope, a.Shard, a.Size, c.part)
	if err != nil {
		return err
	}
	for _, o := range openings {
		a.Shard, a.Size = o.Shard, o.Size
		if err := c.checkOpening(ctx, shards, o); err != nil {
			return err
		}
	}
	c.State.Rows += uint64(len(openings))
	if len(openings) < c.part {
		c.State.After, a.Tenant = a.Tenant, ""
	}
	return nil
}

// nextTenant returns the tenant whose openings come next.
func (c *Check) nextTenant(ctx context.Context) (string, bool, error) {
	tenants, err := c.e.store.Keys().Tenants(ctx)
	if err != nil {
		return "", false, err
	}
	i := slices.IndexFunc(tenants, func(t string) bool { return t > c.State.After })
	if i < 0 {
		return "", false, nil
	}
	return tenants[i], true, nil
}

// checkOpening requires that an opening's entry is in its place. No two of them fit one
// place: an entry commits to a log and a size, of which there is one opening.
func (c *Check) checkOpening(ctx context.Context, shards []store.Shard, o store.AnchorOpening) error {
	a := c.State.Anchor
	size := a.Sizes[o.Log] // 0 of a log that a restore has begun since
	if o.Index >= size {
		if grown, err := c.anchorGrown(ctx, o.Log, o.Index); err != nil || grown {
			return err // it came after its log was checked
		}
	}
	what := "its entry is not in the anchor log"
	if o.Index < size {
		stored, err := c.e.store.AnchorHashes(ctx, o.Log, []int64{tlog.StoredHashIndex(0, int64(o.Index))})
		if err != nil {
			return err
		}
		what = openingSays(shards, o, stored[0])
	}
	if what == "" {
		a.Opened[o.Log]++
		return nil
	}
	c.anchorFinding(FoundCheckpoint, o.Log, "anchor_openings", "entry %d, for the checkpoint of %s at size %d in log %d: %s", o.Index, a.Tenant, o.Size, o.Shard, what)
	return nil
}

// openingSays returns what is wrong with an opening; "": nothing.
func openingSays(shards []store.Shard, o store.AnchorOpening, stored [32]byte) string {
	says, err := ledger.UnverifiedCheckpoint(o.Signed)
	if err != nil {
		return "what was anchored is no checkpoint"
	}
	entry := ledger.AnchorEntry(o.Blind, says)
	i := slices.IndexFunc(shards, func(s store.Shard) bool { return s.Number == o.Shard })
	switch {
	case i < 0 || shards[i].Origin != says.Origin || says.Size != o.Size:
		return "what was anchored is the checkpoint of another log or size"
	case ledger.LeafHash(entry[:]) != ledger.Hash(stored):
		return "the entry stands for another checkpoint, or its random bytes were changed"
	}
	return ""
}

// endOpenings requires that each entry of each anchor log has its opening.
func (c *Check) endOpenings(context.Context) error {
	a := c.State.Anchor
	for _, log := range slices.Sorted(maps.Keys(a.Sizes)) {
		// Without the size, which grows by the leaf of each alarm: the finding must stay the same.
		if opened, size := a.Opened[log], a.Sizes[log]; opened != size {
			c.anchorFinding(FoundStray, log, "anchor_openings", "%d entries have nothing that shows whose they are, and prove nothing any more", size-opened)
		}
	}
	c.State.Phase, c.State.After = phaseDone, ""
	return nil
}
