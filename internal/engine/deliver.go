package engine

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/store"
)

// happening is an event on its way to an instance, with who caused it.
type happening struct {
	event process.Event
	name  string  // of the event, in leaves and records: "job_completed"
	act   string  // user, worker, engine or admin
	by    *Caller // who caused it, as they were admitted; nil: nobody did
	actor *canon.Context
	again *request                   // makes the delivery repeatable; nil: not
	check func(*canon.Context) error // refuses what came with the event, its files in place; nil: none
	files []*arrival                 // that came with the event, see arrive
	extra []fieldWrite
	terms []store.Token

	through *lens // by which who caused it sees the instance; nil: everything

	signed *signature // of the worker or person; nil: not signed
}

// deliver is the one way in which an instance changes: step, seal, commit to a
// leaf, one transaction, then the commands. The caller holds the instance.
//
// A stale event (its job, task or timer does not wait any more) is recorded as
// a rejected step, changes nothing, and is a Conflict. On any other error the
// instance is dirty and nothing of the step counts.
func (e *Engine) deliver(ctx context.Context, l *Live, h happening) (api.Receipt, error) {
	ctx, span := tracer.Start(ctx, "deliver "+h.name)
	receipt, err := e.deliverNow(ctx, l, h)
	if err != nil {
		span.SetStatus(codes.Error, fault.KindOf(err).String())
	}
	span.End()
	return receipt, err
}

// tracer makes a span of each delivery; it does nothing until the process names
// a collector. Spans carry names of events and kinds of errors, never values.
var tracer = otel.Tracer("github.com/underseal/underseal/internal/engine")

func (e *Engine) deliverNow(ctx context.Context, l *Live, h happening) (api.Receipt, error) {
	if err := e.prepare(ctx, l, &h); err != nil {
		if receipt, found, again := e.repeated(ctx, l.scope, h.again); found || again != nil {
			return receipt, again
		}
		return api.Receipt{}, err
	}
	at := e.moment()
	l.dirty = true
	out, err := process.Step(l.def.compiled, l.state, process.Input{Event: h.event, At: at, Zone: e.zones.lookup, Sees: h.eye(l)})
	if err != nil {
		return api.Receipt{}, err
	}
	if out.Rejected != nil {
		l.dirty = false
		if receipt, found, err := e.repeated(ctx, l.scope, h.again); found || err != nil {
			return receipt, err
		}
		if !fault.Is(out.Rejected, fault.Conflict) { // never was, or never could be: nothing happened
			return api.Receipt{}, out.Rejected
		}
		l.dirty = true
	}
	leaf, err := e.commitStep(ctx, l, h, out, at)
	if err != nil {
		return e.lost(ctx, l, h, err)
	}
	l.dirty = false
	if l.head.seq == 1 {
		e.ring.Assigned(l.scope.Tenant(), l.owner.ID)
	}
	e.finishClaims(context.WithoutCancel(ctx), l.scope, h.files)
	if out.Rejected != nil {
		return api.Receipt{}, e.withState(h.by, l, out.Rejected)
	}
	e.runner.Carry(l, out.Commands)
	return receipt(l.id, l.head.seq, leaf), nil
}

// commitStep makes what the interpreter did durable, and returns the hash of its leaf.
func (e *Engine) commitStep(ctx context.Context, l *Live, h happening, out process.Outcome, at time.Time) (leaf [32]byte, err error) {
	shard, leave, err := e.enterShard(ctx, l.scope, at)
	if err != nil {
		return leaf, err
	}
	defer leave()
	set, err := e.stepSet(ctx, l, h, out, at, shard)
	if err != nil {
		return leaf, err
	}
	release, err := e.people.hold(h.by)
	if err != nil {
		return leaf, err
	}
	defer release()
	if err := e.durable("commit instance." + h.name); err != nil {
		return leaf, err
	}
	// A caller who hangs up must not leave the outcome of a step unknown to us.
	return set.Leaf.Hash, e.store.Commit(context.WithoutCancel(ctx), l.scope, set)
}

// prepare puts the files that come with an event in their places, checks what came with
// it as a whole, and notes what its author did not see.
func (e *Engine) prepare(ctx context.Context, l *Live, h *happening) error {
	if err := e.arrive(ctx, l, h); err != nil {
		return err
	}
	if h.check != nil {
		if err := h.check(variablesOf(h.event)); err != nil {
			return err
		}
	}
	if h.through != nil {
		h.noteUnseen(l)
	}
	return nil
}

// noteUnseen notes in an event what its author does not see of the variables that it
// writes to.
func (h *happening) noteUnseen(l *Live) {
	switch event := h.event.(type) {
	case process.TaskCompleted:
		event.Unseen = l.state.Unseen(event, h.through.see)
		h.event = event
	case process.VariablesSet:
		event.Unseen = l.state.Unseen(event, h.through.see)
		h.event = event
	}
}

// eye is what the author of an event sees of the instance.
func (h *happening) eye(l *Live) process.Eye {
	switch {
	case h.through == nil:
		return nil
	case h.through.job != 0:
		return l.state.JobEye(h.through.job)
	}
	return h.through.see
}

// withState adds to a refusal how the instance stands now, for who may see that: who does
// one task or job of it may not be told of the others, nor who may be somebody else by now.
func (e *Engine) withState(c *Caller, l *Live, rejected error) error {
	var f *fault.Error
	if !errors.As(rejected, &f) || c != nil && !(e.people.admitted(*c) && e.sees(*c, access.ReadInstance, l.resource())) {
		return rejected
	}
	state := fmt.Sprintf("%s at step %d", l.state.Status(), l.head.seq)
	for i, w := range l.waiting() {
		if i == maxShown {
			state += ", .."
			break
		}
		state += fmt.Sprintf(", %s %s waits at %s", w.For, w.ID, w.Element)
	}
	refusal := *f
	refusal.Details = append(slices.Clone(f.Details), fault.Detail{Place: "instance " + textID(l.id), Message: state})
	return &refusal
}

// maxShown is how many places an instance waits at are told in a refusal.
const maxShown = 5

// lost handles a write set that was refused. A request whose token is there
// already was carried out before: its receipt is given again.
func (e *Engine) lost(ctx context.Context, l *Live, h happening, err error) (api.Receipt, error) {
	var f *fault.Error
	if errors.As(err, &f) && f.Code == "token_taken" {
		if receipt, found, again := e.repeated(ctx, l.scope, h.again); found || again != nil {
			return receipt, again
		}
	}
	return api.Receipt{}, err
}

// receipt says which step a request became.
func receipt(id store.ID, seq uint64, leaf [32]byte) api.Receipt {
	return api.Receipt{Instance: textID(id), Seq: seq, Leaf: hex.EncodeToString(leaf[:])}
}
