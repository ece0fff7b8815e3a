package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/sequencer"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// restored is a tenant whose data was brought back from a backup.
type restored struct {
	scope  store.Scope
	shards []store.Shard
	behind []store.LogHead // heads beside the keys that the data does not reach
	newest *store.LogHead  // head of the newest log; nil: nothing of it was signed
	lost   []behindPin     // objects that lack steps which were done
}

// Reopened says in which log a tenant goes on after a restore, and what is lost.
type Reopened struct {
	Log  string `json:"log"` // origin
	Lost []Lost `json:"lost"`
	// Uncovered counts the leaves of the tenant's ended logs of which there will be no
	// proof; see EndedLog.
	Uncovered uint64 `json:"uncovered,omitempty"`
}

// Lost is a log of which more was signed, as the keys know, than the restored data has.
type Lost struct {
	Log      string `json:"log"`      // origin
	Signed   uint64 `json:"signed"`   // leaves
	Restored uint64 `json:"restored"` // leaves that are there
}

// OpenShardAfterRestore opens the next log of a tenant whose data was brought back,
// with the leaf "restore.performed". It names the heads beside the keys that the data
// does not reach, or, when it reaches all of them, the newest, and others that are
// known from elsewhere, such as a witness. A new log it is also when nothing seems to
// be behind: keys that were brought back with the data do not know what was signed
// since, and the old log would be forked.
//
// Leaves of the restored data that have no place get one first, in the log that is
// then closed without a last leaf. In the end the heads beside the keys say how far
// the restored logs go, and their notes what was lost; a start refuses no longer. It
// can be called again after a crash at any point.
//
// Nobody may use the tenant meanwhile. For a tenant that has no log yet it does nothing,
// and returns one without a name. Integrity when the data is not older but another than
// what was signed.
func (e *Engine) OpenShardAfterRestore(ctx context.Context, scope store.Scope, known ...ledger.Checkpoint) (now Reopened, err error) {
	e.restoring = true
	defer func() { e.restoring = false }()
	r := restored{scope: scope}
	now.Lost = []Lost{}
	if r.lost, err = e.behindPins(ctx, scope); err != nil {
		return now, err
	}
	if now.Log, err = e.openNext(ctx, &r, known); err != nil || now.Log == "" {
		return now, err
	}
	if err := e.takeBackAgain(ctx, scope, r.lost); err != nil {
		return now, err
	}
	if err := e.resetPins(ctx, scope); err != nil {
		return now, err
	}
	for _, head := range r.behind {
		restored, err := e.lowerHead(ctx, &r, head)
		if err != nil {
			return now, err
		}
		now.Lost = append(now.Lost, Lost{Log: head.Origin, Signed: head.Size, Restored: restored})
	}
	now.Uncovered, err = e.countUncovered(ctx, scope)
	return now, err
}

// openNext closes the log that restored data has and opens the next one.
func (e *Engine) openNext(ctx context.Context, r *restored, known []ledger.Checkpoint) (origin string, err error) {
	scope, g := r.scope, e.shards.gate(r.scope.Tenant())
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := e.compareHeads(ctx, r, known); err != nil || len(r.shards) == 0 && len(r.behind)+len(r.lost)+len(known) == 0 {
		return "", err
	}
	if err := e.sequencer.Settle(ctx, scope); err != nil {
		return "", err
	}
	if r.shards, err = e.store.Shards(ctx, scope); err != nil {
		return "", err
	}
	return e.openRestored(ctx, g, r, known)
}

// OpenShardsAfterRestore does so for all tenants, and returns those that have a log.
func (e *Engine) OpenShardsAfterRestore(ctx context.Context) (all []Reopened, err error) {
	err = e.eachTenant(ctx, func(scope store.Scope) error {
		now, err := e.OpenShardAfterRestore(ctx, scope)
		if now.Log != "" {
			all = append(all, now)
		}
		return err
	})
	return all, err
}

// compareHeads finds the heads that the data does not reach. Heads from elsewhere
// that it does reach have to be of the same tree.
func (e *Engine) compareHeads(ctx context.Context, r *restored, known []ledger.Checkpoint) (err error) {
	if r.shards, err = e.store.Shards(ctx, r.scope); err != nil {
		return err
	}
	heads, err := e.store.LogHeads(ctx, r.scope)
	if err != nil {
		return err
	}
	for _, h := range heads {
		reached, err := e.reaches(ctx, r, ledger.Checkpoint{Origin: h.Origin, Size: h.Size, Root: h.Root})
		if err != nil {
			return err
		}
		if !reached {
			r.behind = append(r.behind, h)
		}
		if n := len(r.shards); n > 0 && r.shards[n-1].Origin == h.Origin {
			r.newest = &h
		}
	}
	for _, c := range known {
		if _, err := e.reaches(ctx, r, c); err != nil {
			return err
		}
	}
	return nil
}

// reaches reports whether the data has all that a checkpoint was signed of.
func (e *Engine) reaches(ctx context.Context, r *restored, c ledger.Checkpoint) (bool, error) {
	sh := r.shard(c.Origin)
	if c.Size == 0 {
		return true, nil
	}
	if sh == nil || sh.Size < c.Size {
		return false, nil
	}
	root, err := sequencer.Root(ctx, e.store, r.scope, sh.Number, c.Size)
	if err == nil && root != c.Root {
		err = fault.New(fault.Integrity, "the restored data has another tree of log %s than was signed at size %d", c.Origin, c.Size).
			WithCode("behind_checkpoint").WithHint("it was changed, before or after it was copied; restore another backup")
	}
	return true, err
}

func (r *restored) shard(origin string) *store.Shard {
	i := slices.IndexFunc(r.shards, func(sh store.Shard) bool { return sh.Origin == origin })
	if i < 0 {
		return nil
	}
	return &r.shards[i]
}

// openRestored closes the newest log and opens the next, unless an earlier call did.
func (e *Engine) openRestored(ctx context.Context, g *shardGate, r *restored, known []ledger.Checkpoint) (origin string, err error) {
	var former *ledger.Checkpoint
	next := store.Shard{Number: 1}
	if n := len(r.shards); n > 0 {
		last := r.shards[n-1]
		if begun, err := e.begunAfterRestore(ctx, r, last); begun || err != nil {
			return last.Origin, err
		}
		if last.Open {
			if err := e.store.CloseShard(context.WithoutCancel(ctx), r.scope, last.Number); err != nil {
				return "", err
			}
		}
		root, err := sequencer.Root(ctx, e.store, r.scope, last.Number, last.Size)
		if err != nil {
			return "", err
		}
		former = &ledger.Checkpoint{Origin: last.Origin, Size: last.Size, Root: root}
		next.Number = last.Number + 1
	}
	next.Origin = e.freeOrigin(r, known)
	performed, err := restorePerformed(r, known)
	if err != nil {
		return "", err
	}
	return next.Origin, e.openShard(ctx, r.scope, g, next, former, performed)
}

// begunAfterRestore reports whether a log was opened after the restore and nothing
// was signed of it.
func (e *Engine) begunAfterRestore(ctx context.Context, r *restored, sh store.Shard) (bool, error) {
	heads, err := e.store.LogHeads(ctx, r.scope)
	if err != nil || slices.ContainsFunc(heads, func(h store.LogHead) bool { return h.Origin == sh.Origin }) {
		return false, err
	}
	entries, err := e.store.LogEntries(ctx, r.scope, sh.Number, 1, 1)
	if err != nil || len(entries) == 0 {
		return false, err
	}
	leaf, err := ledger.ParseLeaf(entries[0].Body)
	return leaf.Kind == restorePerformedKind, err
}

// freeOrigin returns an origin for a log of this year that no log has that is known,
// also of those that were lost. Its number is the time, so that two restores of one
// backup do not meet.
func (e *Engine) freeOrigin(r *restored, known []ledger.Checkpoint) string {
	taken := map[string]bool{}
	for _, sh := range r.shards {
		taken[sh.Origin] = true
	}
	for _, h := range r.behind {
		taken[h.Origin] = true
	}
	year := e.moment().Year()
	for _, c := range known {
		taken[c.Origin] = true
	}
	for origin := range taken {
		year = max(year, yearOf(origin))
	}
	for n := e.moment().Unix(); ; n++ {
		if origin := e.origin(r.scope, fmt.Sprintf("%d.%d", year, n)); !taken[origin] {
			return origin
		}
	}
}

const restorePerformedKind = "restore.performed"

// restorePerformed is the act that names what was known of the logs when the data
// was restored.
func restorePerformed(r *restored, known []ledger.Checkpoint) (act, error) {
	var list canon.List
	heads := r.behind
	if len(heads) == 0 && r.newest != nil {
		heads = append(heads, *r.newest)
	}
	for _, h := range heads {
		c, err := ledger.UnverifiedCheckpoint(h.Note)
		if err != nil {
			return act{}, err
		}
		list = append(list, checkpointValue(c))
	}
	for _, c := range known {
		list = append(list, checkpointValue(c))
	}
	lost := make(canon.List, len(r.lost))
	for i, b := range r.lost {
		lost[i] = lostValue(b)
	}
	return act{kind: restorePerformedKind, act: "engine", fields: []fieldWrite{{path: "$known", value: list}, {path: "$lost", value: lost}}}, nil
}

// lowerHead sets a head beside the keys to what the restored data has of its log, and
// returns how many leaves that are. The note stays: it says what was signed.
func (e *Engine) lowerHead(ctx context.Context, r *restored, head store.LogHead) (leaves uint64, err error) {
	lowered := store.LogHead{Origin: head.Origin, Root: ledger.DataRoot(nil), Note: head.Note}
	if sh := r.shard(head.Origin); sh != nil {
		root, err := sequencer.Root(ctx, e.store, r.scope, sh.Number, sh.Size)
		if err != nil {
			return 0, err
		}
		lowered.Size, lowered.Root = sh.Size, root
	}
	return lowered.Size, e.store.PutLogHead(context.WithoutCancel(ctx), r.scope, &head, lowered)
}
