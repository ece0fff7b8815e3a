package engine

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/sequencer"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// Kinds of the leaves that stand at the ends of a log.
const (
	logOpened = "log.opened"
	logClosed = sequencer.ClosedKind
)

// logPart grows the tree of one log by some entries, and holds what is stored of the
// tree and of its checkpoints against it.
func (c *Check) logPart(ctx context.Context) error {
	shards, err := c.e.store.Shards(ctx, c.scope)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(shards, func(s store.Shard) bool { return s.Number > c.State.Shard })
	if c.State.Tree != nil {
		i = slices.IndexFunc(shards, func(s store.Shard) bool { return s.Number == c.State.Shard })
	}
	if i < 0 || c.State.Tree == nil && c.outgrown(shards) {
		c.State.Phase, c.State.Shard, c.State.Tree = phaseObjects, 0, nil
		var err error
		c.State.Uncovered, err = c.e.countUncovered(ctx, c.scope)
		if err := c.unread("log_shards", err); err != nil {
			return err
		}
		return c.looseShards(ctx, shards)
	}
	shard := shards[i]
	if c.State.Tree == nil {
		c.State.Shard, c.State.Tree = shard.Number, &grownTree{}
	}
	more, err := c.growPart(ctx, shard)
	if err != nil || more {
		return err
	}
	return c.endShard(ctx, shard, i == len(shards)-1)
}

// outgrown reports whether the log that was checked last has grown since. Then the next one
// was opened since, too, or is about to be, and says so of an end that nobody looked at: it
// is left to the next check. A log that is closed, or had another behind it when it was
// looked at, does not grow: a size that says otherwise keeps no later log from being checked.
func (c *Check) outgrown(shards []store.Shard) bool {
	prev := c.State.Prev
	return prev != nil && prev.Last && !prev.Closed && slices.ContainsFunc(shards, func(s store.Shard) bool { return s.Origin == prev.Origin && s.Size > prev.Size })
}

// growPart takes the next entries of a log; more is false after the last.
func (c *Check) growPart(ctx context.Context, shard store.Shard) (more bool, err error) {
	tree := c.State.Tree
	from := tree.Size
	n := c.part
	entries, err := c.e.store.LogEntries(ctx, c.scope, shard.Number, from, n)
	for ; malformed(err) && n > 1; entries, err = c.e.store.LogEntries(ctx, c.scope, shard.Number, from, n) {
		n /= 2 // as far as they can be read
	}
	if malformed(err) {
		c.place(shard, from, nil, "cannot be read: %s", messageOf(err))
		return false, nil
	}
	if err != nil {
		return false, err
	}
	points, err := c.checkpoints(ctx, shard, from, from+uint64(len(entries)))
	if err != nil {
		return false, err
	}
	genuine, err := c.genuine(ctx)
	if err != nil {
		return false, err
	}
	leaves := make([]ledger.Leaf, len(entries))
	for i := range entries {
		if tree.Size >= shard.Size || entries[i].Index != tree.Size {
			c.misplaced(shard, &entries[i])
			return false, nil
		}
		leaves[i] = c.checkEntryLeaf(shard, &entries[i], genuine)
		if err := tree.add(entries[i].Hash, func(t fullTile) error { return c.checkTile(ctx, shard, t.level, t.index, t.hashes, true) }); err != nil {
			return false, err
		}
		for _, p := range points[tree.Size] {
			p.check(c, shard, tree.root())
		}
	}
	if err := c.checkTerms(ctx, shard, from, entries, leaves); err != nil {
		return false, err
	}
	c.State.Rows += uint64(len(entries))
	return len(entries) == n, nil
}

// misplaced names the place where a log's numbers have a gap or go on too far.
func (c *Check) misplaced(shard store.Shard, e *store.LogEntry) {
	at := c.State.Tree.Size
	if at >= shard.Size {
		c.place(shard, e.Index, e, "is an entry behind the log's end")
		return
	}
	c.place(shard, at, nil, "has no entry; the next one is %d", e.Index)
}

// place adds a finding about a place of a log.
func (c *Check) place(shard store.Shard, index uint64, e *store.LogEntry, format string, args ...any) {
	f := Finding{Kind: FoundTree, Shard: shard.Origin, Index: &index, Where: "log_entries", What: "place " + fmt.Sprintf("%d %s", index, fmt.Sprintf(format, args...))}
	if e != nil {
		f.Object, f.Step = textID(e.Object), e.Seq
	}
	c.add(f)
}

// genuine returns what tells the leaves that a server made from others. Without keys
// all are taken for such.
func (c *Check) genuine(ctx context.Context) (func(store.ID, uint64, store.Leaf) bool, error) {
	all := func(store.ID, uint64, store.Leaf) bool { return true }
	if c.withoutKeys {
		return all, nil
	}
	genuine, err := c.e.Genuine(ctx, c.scope.Tenant())
	if fault.Is(err, fault.Integrity) {
		c.add(Finding{Kind: FoundKeys, Where: "data_keys", What: "the keys of what is audited: " + err.Error(), Do: doKeys})
		return all, nil
	}
	return genuine, err
}

// checkEntryLeaf requires that an entry's leaf is there, has the entry's hash, was
// made by a server, and says that it is in this log. It returns the leaf, the zero one
// if it cannot be read.
func (c *Check) checkEntryLeaf(shard store.Shard, e *store.LogEntry, genuine func(store.ID, uint64, store.Leaf) bool) ledger.Leaf {
	leaf, err := ledger.ParseLeaf(e.Body)
	what := ""
	switch {
	case len(e.Body) == 0:
		what = "the leaf is gone: its place in the log is there"
	case ledger.LeafHash(e.Body) != ledger.Hash(e.Hash):
		what = "the leaf is not the one that has this place in the log"
	case !genuine(e.Object, e.Seq, e.Leaf()):
		what = "the leaf was made by no server: somebody put it there, or changed its mac or terms"
	case err != nil:
		what = "the leaf cannot be read"
	default:
		what = saysOtherwise(shard, e, &leaf)
	}
	if what != "" {
		c.add(Finding{Kind: FoundLeaf, Object: textID(e.Object), Step: e.Seq, Shard: shard.Origin, Index: &e.Index, Where: "leaves", What: what})
	}
	return leaf
}

// saysOtherwise returns what a leaf says of itself that its place does not.
func saysOtherwise(shard store.Shard, e *store.LogEntry, leaf *ledger.Leaf) string {
	switch {
	case leaf.Log != shard.Origin:
		return fmt.Sprintf("the leaf says that it is in the log %s", leaf.Log)
	case e.Seq == 0 && leaf.Object != "", e.Seq > 0 && (leaf.Object != textID(e.Object) || leaf.Seq != e.Seq):
		return fmt.Sprintf("the leaf is of step %d of %q", leaf.Seq, leaf.Object)
	}
	return ""
}

// checkTile compares a stored tile with what the entries say. One that is not full
// may have grown since.
func (c *Check) checkTile(ctx context.Context, shard store.Shard, level int, index uint64, want []byte, full bool) error {
	stored, err := c.e.store.Tile(ctx, c.scope, shard.Number, level, index)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if bytes.Equal(stored, want) {
		return nil
	}
	if !full && len(stored) > len(want) && bytes.HasPrefix(stored, want) {
		if grown, err := c.grown(ctx, shard); err != nil || grown {
			return err
		}
	}
	what := "is not what the entries say"
	if len(stored) == 0 {
		what = "is gone"
	}
	c.add(Finding{
		Kind: FoundTree, Shard: shard.Origin, Where: "log_tiles", What: fmt.Sprintf("tile %d of level %d %s", index, level, what),
		Do: "compare it with a copy of the log (a mirror); proofs from it do not verify",
	})
	return nil
}

// grown reports whether a log is longer by now than when the part began.
func (c *Check) grown(ctx context.Context, shard store.Shard) (bool, error) {
	shards, err := c.e.store.Shards(ctx, c.scope)
	i := slices.IndexFunc(shards, func(s store.Shard) bool { return s.Number == shard.Number })
	return i >= 0 && shards[i].Size > shard.Size, err
}

// checkpoint is a signed checkpoint of a log and where it is kept.
type checkpoint struct {
	where  string // log_checkpoints, log_heads, anchor_openings
	size   uint64
	root   *ledger.Hash // beside the note; nil: none
	signed []byte
	keys   *platformKeys // nil: no signature is checked
}

// checkpoints returns, by size, those of a log above one size and up to another.
func (c *Check) checkpoints(ctx context.Context, shard store.Shard, from, to uint64) (map[uint64][]checkpoint, error) {
	keys, err := c.platformKeys(ctx, from == 0)
	if err != nil {
		return nil, err
	}
	points := map[uint64][]checkpoint{}
	unread := func(table string, err error) error {
		if from > 0 && malformed(err) {
			return nil // it was named
		}
		return c.unread(table, err)
	}
	published, err := c.e.store.PublishedAfter(ctx, c.scope, shard.Number, from, c.part)
	if err := unread("log_checkpoints", err); err != nil {
		return nil, err
	}
	for _, p := range published {
		points[p.Size] = append(points[p.Size], checkpoint{where: "log_checkpoints", size: p.Size, signed: p.Signed, keys: keys})
	}
	anchored, err := c.e.store.AnchoredAfter(ctx, c.scope, shard.Number, from, c.part)
	if err := unread("anchor_openings", err); err != nil {
		return nil, err
	}
	for _, p := range anchored {
		points[p.Size] = append(points[p.Size], checkpoint{where: "anchor_openings", size: p.Size, signed: p.Signed, keys: keys})
	}
	heads, err := c.e.store.LogHeads(ctx, c.scope)
	if err := unread("log_heads", err); err != nil {
		return nil, err
	}
	for _, h := range heads {
		if h.Origin == shard.Origin {
			root := ledger.Hash(h.Root)
			points[h.Size] = append(points[h.Size], checkpoint{where: "log_heads", size: h.Size, root: &root, signed: h.Note, keys: keys})
		}
	}
	return points, nil
}

// platformKeys are the keys by which the platform signs a tenant's checkpoints.
type platformKeys struct {
	links []ledger.KeyLink   // which of them counts at which size
	all   []ledger.PublicKey // that the tenant ever had for that
}

// platformKeys returns the tenant's. Without keys there are none, and no signature is
// checked; nor where they cannot be read, which is a finding once per log, as tell says.
func (c *Check) platformKeys(ctx context.Context, tell bool) (*platformKeys, error) {
	if c.withoutKeys {
		return nil, nil
	}
	refused := func(f Finding) (*platformKeys, error) {
		if tell {
			c.add(f)
		}
		return nil, nil
	}
	keys, err := c.e.ring.PurposeKeys(ctx, c.scope.Tenant(), keyring.Log)
	if fault.Is(err, fault.Integrity) {
		return refused(Finding{Kind: FoundKeys, Where: "data_keys", What: "the keys that sign the log: " + err.Error(), Do: doKeys})
	}
	if err != nil {
		return nil, err
	}
	found := &platformKeys{}
	for _, key := range keys {
		_, public, err := platformKey(key)
		if err != nil {
			return nil, err
		}
		found.all = append(found.all, public)
	}
	r, err := c.e.registry(ctx, c.scope)
	if err == nil && r.platform != nil {
		found.links, err = r.located(ctx, c.e.store, c.scope)
	}
	if err != nil && !outage(err) {
		return refused(Finding{Kind: FoundObject, Where: "heads", What: "which key signs the log cannot be told: " + err.Error()})
	}
	return found, err
}

// open returns the checkpoint in a note that the platform signed with the key that
// counted for the log at that size.
func (k *platformKeys) open(signed []byte) (ledger.Checkpoint, error) {
	claimed, err := ledger.UnverifiedCheckpoint(signed)
	if err != nil {
		return claimed, err
	}
	counted, ok := ledger.PlatformKeyAt(k.links, claimed.Origin, claimed.Size)
	if !ok {
		return claimed, fault.New(fault.Integrity, "no key of the platform counts at size %d", claimed.Size)
	}
	says, err := openBy(signed, claimed.Origin, counted)
	if err == nil {
		return says, nil
	}
	if other, found := k.signedBy(signed, claimed.Origin); found {
		return claimed, fault.New(fault.Integrity, "its signature is of key %s of the platform, which did not count at size %d: it was revoked, replaced, or not yet registered", other.ID(), claimed.Size).
			WithCode("platform_key_revoked")
	}
	return says, err
}

// openAny opens a note that any of the platform's keys signed.
func (k *platformKeys) openAny(signed []byte) (ledger.Checkpoint, error) {
	claimed, err := ledger.UnverifiedCheckpoint(signed)
	if err != nil {
		return claimed, err
	}
	if _, found := k.signedBy(signed, claimed.Origin); !found {
		return claimed, fault.New(fault.Integrity, "none of the platform's keys signed it")
	}
	return claimed, nil
}

func (k *platformKeys) signedBy(signed []byte, origin string) (ledger.PublicKey, bool) {
	for _, key := range k.all {
		if _, err := openBy(signed, origin, key); err == nil {
			return key, true
		}
	}
	return ledger.PublicKey{}, false
}

// openBy opens a note that has the signature of one key and no other: nobody adds any.
func openBy(signed []byte, origin string, key ledger.PublicKey) (ledger.Checkpoint, error) {
	verifier, err := ledger.ParseVerifier(ledger.VerifierKey(origin, key.Bytes()))
	if err != nil {
		return ledger.Checkpoint{}, err
	}
	says, n, err := ledger.OpenCheckpoint(signed, verifier)
	if err == nil && len(n.UnverifiedSigs) > 0 {
		err = fault.New(fault.Integrity, "it has %d signatures that are not the platform's", len(n.UnverifiedSigs))
	}
	return says, err
}

// check compares a checkpoint with the root of the tree of its size.
func (p checkpoint) check(c *Check, shard store.Shard, root ledger.Hash) {
	says, err := p.open()
	what := ""
	switch {
	case err != nil:
		what = "is not signed by the platform as it must be: " + err.Error()
	case p.root != nil && *p.root != root, says.Origin != shard.Origin, !p.ahead(says) && (says.Size != p.size || says.Root != root):
		what = "is not that of the entries"
	default:
		return
	}
	c.add(Finding{Kind: FoundCheckpoint, Shard: shard.Origin, Where: p.where, What: fmt.Sprintf("the checkpoint of size %d %s", p.size, what)})
}

// ahead reports whether the note is of more leaves than the log has: after a restore
// the one beside the keys stays the last that was signed, of which some is lost.
func (p checkpoint) ahead(says ledger.Checkpoint) bool {
	return p.where == "log_heads" && says.Size > p.size
}

// open returns what a note says that the platform signed. Which key counted at a size
// that was lost by a restore, nothing says any more.
func (p checkpoint) open() (ledger.Checkpoint, error) {
	if p.keys == nil {
		return ledger.UnverifiedCheckpoint(p.signed)
	}
	if says, err := ledger.UnverifiedCheckpoint(p.signed); err == nil && p.ahead(says) {
		return p.keys.openAny(p.signed)
	}
	return p.keys.open(p.signed)
}

// endShard checks what can be said of a log once all its entries were seen.
func (c *Check) endShard(ctx context.Context, shard store.Shard, last bool) error {
	tree := c.State.Tree
	if tree.Size < shard.Size {
		c.place(shard, tree.Size, nil, "has no entry, and the log is to have one")
	}
	for level, hashes := range tree.Levels {
		if len(hashes) == 0 {
			continue
		}
		if err := c.checkTile(ctx, shard, level, tree.Size>>(8*(level+1)), hashes, false); err != nil {
			return err
		}
	}
	if err := c.countTiles(ctx, shard, tree.tiles()); err != nil {
		return err
	}
	if err := c.checkEnd(ctx, shard); err != nil {
		return err
	}
	if err := c.checkBounds(ctx, shard, last); err != nil {
		return err
	}
	c.State.Tree = nil
	return nil
}

// countTiles requires that a log has so many tiles, unless it grows meanwhile.
func (c *Check) countTiles(ctx context.Context, shard store.Shard, want int) error {
	n, err := c.e.store.CountTiles(ctx, c.scope, shard.Number)
	if err != nil || n == want {
		return err
	}
	grown, err := c.grown(ctx, shard)
	if err == nil && !grown {
		c.add(Finding{Kind: FoundTree, Shard: shard.Origin, Where: "log_tiles", What: "there are other tiles than the entries make"})
	}
	return err
}

// checkEnd looks for checkpoints of more than there is, and for one that was published and
// is not beside the keys. One that is there and was not published yet a crash left behind,
// or the sequencer is between the two: the next pass publishes it.
func (c *Check) checkEnd(ctx context.Context, shard store.Shard) error {
	size := c.State.Tree.Size
	published, _, err := c.e.store.Checkpoint(ctx, c.scope, shard.Number) // first: what is kept is ahead of it
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	beyond, err := c.checkpoints(ctx, shard, size, size)
	if err != nil {
		return err
	}
	kept := uint64(0)
	for at, points := range beyond {
		for _, p := range points {
			if p.where == "log_heads" {
				kept = at
			}
			if at <= size {
				continue
			}
			grown, err := c.grown(ctx, shard)
			if err != nil {
				return err
			}
			if !grown {
				c.add(Finding{
					Kind: FoundBehind, Shard: shard.Origin, Where: p.where, Do: doRestore,
					What: fmt.Sprintf("there is a checkpoint of size %d, and there are fewer entries", at),
				})
			}
		}
	}
	if kept < published {
		c.add(Finding{
			Kind: FoundCheckpoint, Shard: shard.Origin, Where: "log_heads", Do: doKeys,
			What: fmt.Sprintf("a checkpoint of size %d was published, and none so large is kept beside the keys", published),
		})
	}
	return nil
}

// looseShards names what belongs to no log.
func (c *Check) looseShards(ctx context.Context, shards []store.Shard) error {
	for _, table := range []string{"log_entries", "log_tiles", "log_checkpoints", "anchor_openings"} {
		numbers, err := c.e.store.ShardsOf(ctx, c.scope, table)
		if err := c.unread(table, err); err != nil {
			return err
		}
		for _, n := range numbers {
			if !slices.ContainsFunc(shards, func(s store.Shard) bool { return s.Number == n }) {
				c.add(Finding{Kind: FoundShard, Where: table, What: fmt.Sprintf("there are rows of a log %d, and no such log", n)})
			}
		}
	}
	heads, err := c.e.store.LogHeads(ctx, c.scope)
	if err := c.unread("log_heads", err); err != nil {
		return err
	}
	for _, h := range heads {
		if h.Size > 0 && !slices.ContainsFunc(shards, func(s store.Shard) bool { return s.Origin == h.Origin }) {
			c.add(Finding{Kind: FoundBehind, Shard: h.Origin, Where: "log_heads", What: fmt.Sprintf("there is a checkpoint of size %d of a log that is not there", h.Size), Do: doRestore})
		}
	}
	return nil
}

// checkEmpty requires of a log without entries that the leaf which opens it waits for its
// place: it is written together with the log.
func (c *Check) checkEmpty(ctx context.Context, shard store.Shard) error {
	waiting, err := c.e.store.CountUnsequenced(ctx, c.scope, 1)
	if err == nil && waiting == 0 && shard.Size == 0 {
		c.add(Finding{Kind: FoundShard, Shard: shard.Origin, Where: "log_shards", What: "the log has no entries, and none that opens it waits for its place"})
	}
	return err
}

// checkBounds requires that a log begins by naming the end of the one before, and
// that it is closed if another follows. One that was cut short by a restore ends
// without the leaf that closes it, and the next one says so.
func (c *Check) checkBounds(ctx context.Context, shard store.Shard, last bool) error {
	if c.State.Tree.Size == 0 {
		return c.checkEmpty(ctx, shard)
	}
	first, err := c.leafAt(ctx, shard, 0)
	if err != nil {
		return err
	}
	end, err := c.leafAt(ctx, shard, c.State.Tree.Size-1)
	if err != nil {
		return err
	}
	second, err := c.leafAt(ctx, shard, 1)
	if err != nil {
		return err
	}
	said := func(what string) {
		c.add(Finding{Kind: FoundShard, Shard: shard.Origin, Where: "log_shards", What: what})
	}
	open := last && end.Kind != logClosed
	if open && !shard.Open {
		closing, err := c.closing(ctx, shard)
		if err != nil {
			return err
		}
		open = !closing
	}
	switch prev := c.State.Prev; {
	case first.Kind != logOpened:
		said("the log does not begin with the leaf that opens it")
	case shard.Open != open:
		said("whether the log is open is not what its leaves say")
	case prev != nil && !prev.Closed && second.Kind != restorePerformedKind:
		said("the log before does not end with the leaf that closes it, and no restore was performed")
	}
	if !c.withoutKeys && first.Kind == logOpened {
		if err := c.checkFormer(ctx, shard); err != nil {
			return err
		}
	}
	root := c.State.Tree.root()
	c.State.Prev = &shardEnd{Origin: shard.Origin, Size: c.State.Tree.Size, Root: root.String(), Closed: end.Kind == logClosed, Last: last}
	return nil
}

// closing reports whether the leaf that closes a log waits for its place: it is written
// together with the mark that the log is closed, and nothing is written behind it before
// it has its place.
func (c *Check) closing(ctx context.Context, shard store.Shard) (bool, error) {
	waiting, err := c.e.store.LostLeaves(ctx, c.scope, 1)
	if err != nil || len(waiting) == 0 {
		return false, err
	}
	leaf, err := ledger.ParseLeaf(waiting[0].Leaf.Body)
	return err == nil && leaf.Kind == logClosed && leaf.Log == shard.Origin, nil
}

// checkFormer requires that a log's first leaf names where the log before ended.
func (c *Check) checkFormer(ctx context.Context, shard store.Shard) error {
	entries, err := c.e.store.LogEntries(ctx, c.scope, shard.Number, 0, 1)
	if err != nil || len(entries) == 0 {
		return err
	}
	past, err := c.e.openEntry(ctx, c.scope, entries[0].Object)
	if err != nil {
		return c.object("leaves", entries[0].Object, err)
	}
	var want canon.Value
	if prev := c.State.Prev; prev != nil {
		root, err := ledger.ParseHash(prev.Root)
		if err != nil {
			return err
		}
		want = checkpointValue(ledger.Checkpoint{Origin: prev.Origin, Size: prev.Size, Root: root})
	}
	got := past.value("$former")
	if (got == nil) != (want == nil) || want != nil && !canon.Equal(got, want) {
		c.add(Finding{Kind: FoundShard, Shard: shard.Origin, Where: "log_shards", What: "the log does not continue the one before where that ended"})
	}
	return nil
}

// leafAt returns the leaf at a place; an empty one if there is none that can be read.
func (c *Check) leafAt(ctx context.Context, shard store.Shard, index uint64) (ledger.Leaf, error) {
	entries, err := c.e.store.LogEntries(ctx, c.scope, shard.Number, index, 1)
	if err != nil || len(entries) == 0 || entries[0].Index != index {
		return ledger.Leaf{}, err
	}
	leaf, err := ledger.ParseLeaf(entries[0].Body)
	if err != nil {
		return ledger.Leaf{}, nil
	}
	return leaf, nil
}
