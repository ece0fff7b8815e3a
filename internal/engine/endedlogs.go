package engine

import (
	"context"
	"slices"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/sequencer"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// EndedLog is a log that a restore has ended, with leaves behind its newest signed head.
// These have places, and no head will ever cover them: nobody can tell what was signed of
// the log since the backup, so to sign on could be a fork.
type EndedLog struct {
	Tenant, Origin string
	Number         int
	Size           uint64 // leaves
	Signed         uint64 // those that a signed head covers
}

// EndedLogs lists such logs of all tenants.
func (e *Engine) EndedLogs(ctx context.Context) (all []EndedLog, err error) {
	err = e.eachTenant(ctx, func(scope store.Scope) error {
		ended, err := e.endedLogs(ctx, scope)
		all = append(all, ended...)
		return err
	})
	return all, err
}

func (e *Engine) endedLogs(ctx context.Context, scope store.Scope) (ended []EndedLog, err error) {
	shards, err := e.store.Shards(ctx, scope)
	if err != nil {
		return nil, err
	}
	heads, err := e.store.LogHeads(ctx, scope)
	if err != nil {
		return nil, err
	}
	for _, sh := range shards[:max(0, len(shards)-1)] { // of the newest nothing is settled
		l, over, err := e.endedLog(ctx, scope, sh, heads)
		if err != nil {
			return nil, err
		}
		if over {
			ended = append(ended, l)
		}
	}
	return ended, nil
}

// endedLog reports whether nothing more is signed of a log that another follows, and
// what of it is not covered then.
func (e *Engine) endedLog(ctx context.Context, scope store.Scope, sh store.Shard, heads []store.LogHead) (l EndedLog, over bool, err error) {
	l = EndedLog{Tenant: scope.Tenant(), Origin: sh.Origin, Number: sh.Number, Size: sh.Size}
	if l.Signed, _, err = e.store.Checkpoint(ctx, scope, sh.Number); err != nil && !fault.Is(err, fault.NotFound) {
		return l, false, err
	}
	if i := slices.IndexFunc(heads, func(h store.LogHead) bool { return h.Origin == sh.Origin }); i >= 0 {
		if cutShort(heads[i]) {
			return l, l.Signed < l.Size, nil
		}
		l.Signed = max(l.Signed, heads[i].Size) // it is published soon
	}
	cut, err := sequencer.Cut(ctx, e.store, scope, sh)
	return l, cut && l.Signed < l.Size, err
}

// countUncovered counts the leaves of a tenant's ended logs that no head will cover.
func (e *Engine) countUncovered(ctx context.Context, scope store.Scope) (n uint64, err error) {
	ended, err := e.endedLogs(ctx, scope)
	for _, l := range ended {
		n += l.Size - l.Signed
	}
	return n, err
}

// cutShort reports whether a restore has lost part of what a head was signed of: its
// note is still the last one that was signed.
func cutShort(h store.LogHead) bool {
	c, err := ledger.UnverifiedCheckpoint(h.Note)
	return err == nil && c.Size > h.Size
}

// uncovered says why no signed head covers a leaf at its place: it is young, or the
// log has ended.
func (e *Engine) uncovered(ctx context.Context, scope store.Scope, shard int, index uint64, young error) error {
	ended, err := e.endedLogs(ctx, scope)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(ended, func(l EndedLog) bool { return l.Number == shard && index >= l.Signed })
	if i < 0 {
		return young
	}
	return fault.New(fault.NotFound, "there is no proof of this step, and none will be: it has place %d in log %s, which a restore ended with %d leaves, of which signed heads cover the first %d",
		index, ended[i].Origin, ended[i].Size, ended[i].Signed).WithCode("log_ended").
		WithHint("the leaf log.opened of the next log names size and root of this one; --receipt gives the platform's signed word")
}
