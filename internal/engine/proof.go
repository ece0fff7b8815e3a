package engine

import (
	"context"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/sequencer"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// Anchors shows which heads of logs stand in the operator's anchor log.
type Anchors interface {
	// Opening returns the smallest anchored checkpoint of a shard that has at least so
	// many leaves, as a signed note, and what shows that it was anchored. NotFound
	// (code "not_anchored") when there is none yet.
	Opening(ctx context.Context, s store.Scope, shard int, atLeast uint64) (signed []byte, a ledger.Anchor, err error)
	// Policy adds to a policy what the anchor log's operator believes: its keys, the
	// witnesses and their quorum, the time stamping authority.
	Policy(ctx context.Context, p *ledger.Policy) error
	// Schedule says when checkpoints are anchored next, and why the newest anchoring is
	// not complete; nil: it is.
	Schedule() (next time.Time, delayed error)
	// Halted returns why no checkpoint is signed any more; nil: nothing is wrong.
	Halted() error
	// MaySign returns why no checkpoint is signed now: Halted, or Unavailable as long as
	// witnesses have not confirmed what was signed before the start.
	MaySign() error
}

// UseAnchors sets the anchor log. Without one nothing is anchored.
func (e *Engine) UseAnchors(a Anchors) { e.anchors = a }

// notAnchored says why a head over a leaf was not anchored, and when one will be.
func (e *Engine) notAnchored() error {
	if e.anchors == nil {
		return fault.New(fault.Invalid, "nothing is anchored on this server: it has no witnesses and no time stamping authority").
			WithCode("no_anchor_log").WithHint("ask for the evidence without waiting; log.witnesses and log.timestamp_authority in the server's configuration begin an anchor log")
	}
	if err := e.anchors.Halted(); err != nil {
		return err
	}
	next, delayed := e.anchors.Schedule()
	f := fault.New(fault.Unavailable, "no head of the log over this is anchored yet; the next one is at %s", toSecond(next)).
		WithCode("not_anchored").WithHint("try again then, or take the evidence without witnesses and timestamp")
	if delayed != nil {
		f = f.WithCause(delayed)
	}
	return f
}

// LogAnchoring says who is to see the heads of the tenant's logs, and when they are
// shown to them next.
func (e *Engine) LogAnchoring(ctx context.Context, c Caller) (api.LogAnchoring, error) {
	return readNow(ctx, e, c, func(c Caller) (api.LogAnchoring, error) { return e.logAnchoringAs(ctx, c) })
}

func (e *Engine) logAnchoringAs(ctx context.Context, c Caller) (api.LogAnchoring, error) {
	if err := e.mayCheckEvidence(ctx, c); err != nil {
		return api.LogAnchoring{}, err
	}
	out := api.LogAnchoring{Witnesses: []string{}}
	if e.anchors == nil {
		return out, nil
	}
	var policy ledger.Policy
	if err := e.anchors.Policy(ctx, &policy); err != nil {
		return api.LogAnchoring{}, err
	}
	for _, w := range policy.Witnesses {
		out.Witnesses = append(out.Witnesses, w.Name)
	}
	for _, g := range policy.Groups {
		out.Quorum = g.Threshold
	}
	out.Configured, out.Timestamp = true, len(policy.Authorities) > 0
	next, delayed := e.anchors.Schedule()
	if halted := e.anchors.Halted(); halted != nil {
		delayed = halted
	} else {
		out.Next = &next
	}
	if delayed != nil {
		out.Delayed = delayed.Error()
	}
	return out, nil
}

// awaitProof proves that a leaf is in its log, under the log's newest signed head. A
// leaf that is too young is waited for.
func (e *Engine) awaitProof(ctx context.Context, scope store.Scope, object store.ID, seq uint64) (ledger.LogProof, error) {
	place, err := e.awaitPlace(ctx, scope, object, seq)
	if err != nil {
		return ledger.LogProof{}, err
	}
	return e.proofUnder(ctx, scope, place, place.size, place.signed)
}

// anchoredProof does the same under the first head that was anchored, if one covers
// the leaf already.
func (e *Engine) anchoredProof(ctx context.Context, scope store.Scope, object store.ID, seq uint64) (ledger.LogProof, *ledger.Anchor, error) {
	place, err := e.awaitPlace(ctx, scope, object, seq)
	if err != nil {
		return ledger.LogProof{}, nil, err
	}
	if e.anchors != nil {
		signed, anchor, err := e.anchors.Opening(ctx, scope, place.shard, place.index+1)
		if err == nil {
			var c ledger.Checkpoint
			if c, err = ledger.UnverifiedCheckpoint(signed); err != nil {
				return ledger.LogProof{}, nil, err
			}
			proof, err := e.proofUnder(ctx, scope, place, c.Size, signed)
			return proof, &anchor, err
		}
		if !fault.Is(err, fault.NotFound) {
			return ledger.LogProof{}, nil, err
		}
	}
	proof, err := e.proofUnder(ctx, scope, place, place.size, place.signed)
	return proof, nil, err
}

// place is where a leaf stands, and the newest head that covers it.
type place struct {
	shard       int
	index, size uint64
	signed      []byte
}

// awaitPlace waits until a signed head covers a leaf.
func (e *Engine) awaitPlace(ctx context.Context, scope store.Scope, object store.ID, seq uint64) (p place, err error) {
	err = e.awaitSequenced(ctx, func() (err error) {
		p, err = e.placeOf(ctx, scope, object, seq)
		return err
	})
	return p, err
}

// awaitSequenced looks again, for a while, for what is not sequenced yet.
func (e *Engine) awaitSequenced(ctx context.Context, look func() error) error {
	limited, cancel := context.WithTimeout(ctx, sequencedWithin)
	defer cancel()
	for {
		err := look()
		if err == nil || fault.CodeOf(err) != "not_sequenced" {
			return err
		}
		select {
		case <-time.After(sequencedCheck):
		case <-limited.Done():
			return err
		}
	}
}

func (e *Engine) placeOf(ctx context.Context, scope store.Scope, object store.ID, seq uint64) (place, error) {
	shard, index, err := e.store.LogIndex(ctx, scope, object, seq)
	if fault.CodeOf(err) == "not_sequenced" {
		return place{}, e.notSequenced(scope, object, seq)
	}
	if err != nil {
		return place{}, err
	}
	size, signed, err := e.store.Checkpoint(ctx, scope, shard)
	if fault.Is(err, fault.NotFound) || err == nil && index >= size {
		return place{}, e.uncovered(ctx, scope, shard, index, e.notSequenced(scope, object, seq))
	}
	return place{shard, index, size, signed}, err
}

// notSequenced says that a leaf is under no signed head: it is too young, or the log is
// halted, and then waiting does not help (Integrity, code "log_halted").
func (e *Engine) notSequenced(scope store.Scope, object store.ID, seq uint64) error {
	why := e.sequencer.Stopped(scope.Tenant())
	if why == nil && e.anchors != nil {
		why = e.anchors.Halted()
	}
	if why != nil {
		return fault.New(fault.Integrity, "step %d of %s is under no signed head of the log, and the log is halted: %s", seq, textID(object), messageOf(why)).
			WithCode("log_halted").WithCause(why).
			WithHint("nothing is signed before the server's operator has put that right: underseal fsck names what was changed. --receipt gives the platform's signed word meanwhile")
	}
	if e.anchors != nil {
		if wait := e.anchors.MaySign(); wait != nil {
			return fault.New(fault.Unavailable, "step %d of %s is not under a signed head of the log yet: %s", seq, textID(object), messageOf(wait)).
				WithCode("not_sequenced").WithCause(wait).WithHint("try again when the witnesses answer. --receipt gives the platform's signed word at once")
		}
	}
	return fault.New(fault.Unavailable, "step %d of %s is not under a signed head of the log yet", seq, textID(object)).
		WithCode("not_sequenced").WithHint("that takes a second or two; try again. --receipt gives the platform's signed word at once")
}

func (e *Engine) proofUnder(ctx context.Context, scope store.Scope, p place, size uint64, signed []byte) (ledger.LogProof, error) {
	path, err := sequencer.Inclusion(ctx, e.store, scope, p.shard, p.index, size)
	return ledger.LogProof{Index: p.index, Path: path, Checkpoint: signed}, err
}
