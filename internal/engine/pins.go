package engine

import (
	"context"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// Rows that are set back together still fit each other, and only the whole log knows
// better. Of objects that say what may be done (who signs, what is held, how a process
// is sealed) that would be too late. So their newest leaf is pinned: its number and
// hash stand beside the keys, which the administrator of the data does not have, and
// every reading requires that much. It is written after the step, as a step that is
// not durable must not be required, and before anybody is told that it was done.

// commitPinned makes steps of objects that are no instances durable, and pins them.
func (e *Engine) commitPinned(ctx context.Context, scope store.Scope, sets ...*store.WriteSet) error {
	ctx = context.WithoutCancel(ctx)
	if err := e.store.Commit(ctx, scope, sets...); err != nil {
		return err
	}
	pins := make([]store.Pin, len(sets))
	for i, set := range sets {
		pins[i] = store.Pin{Object: set.Object, Kind: set.Kind, Seq: set.Expect + 1, Hash: set.Leaf.Hash}
	}
	return e.store.PutPins(ctx, scope, pins...)
}

// pinned returns what is pinned of an object. It is asked before the head is read:
// what is pinned then, that head has.
func (e *Engine) pinned(ctx context.Context, scope store.Scope, id store.ID, kind store.Kind) (*store.Pin, error) {
	if kind == store.Instance {
		return nil, nil
	}
	return e.store.Pin(ctx, scope, id)
}

// requirePinned requires that an object has the step that was pinned when its head was
// about to be read. prev is the hash of the leaf before its newest.
func (e *Engine) requirePinned(ctx context.Context, o *object, pin *store.Pin, prev ledger.Hash) error {
	switch {
	case o.kind == store.Instance || e.restoring:
		return nil
	case pin != nil && pin.Seq > o.head.seq:
		return o.tampered("is at step %d, and its step %d was done: all of its rows were set back", o.head.seq, pin.Seq)
	case pin != nil && pin.Seq == o.head.seq:
		if ledger.Hash(pin.Hash) != o.head.leaf || pin.Kind != o.kind {
			return o.tampered("has another step %d than the one that is pinned beside the keys", pin.Seq)
		}
		return nil
	}
	return e.catchUp(ctx, o, prev)
}

// catchUp pins a step that came after what is pinned: it was done meanwhile, or a crash
// came before its pin. More than one there cannot be.
func (e *Engine) catchUp(ctx context.Context, o *object, prev ledger.Hash) error {
	pin, err := e.store.Pin(ctx, o.scope, o.id)
	if err != nil || pin != nil && pin.Seq >= o.head.seq {
		return err
	}
	before := pin == nil && o.head.seq == 1 || pin != nil && pin.Seq+1 == o.head.seq && pin.Hash == prev
	if !before {
		return o.tampered("is at step %d, and what is pinned of it beside the keys was changed or deleted", o.head.seq)
	}
	if e.checksOnly {
		return nil
	}
	return e.store.PutPins(ctx, o.scope, store.Pin{Object: o.id, Kind: o.kind, Seq: o.head.seq, Hash: o.head.leaf})
}

// requireAllPinned requires of all objects of a kind that none is gone or behind its
// pin. It comes before a question that one which is gone would answer.
func (e *Engine) requireAllPinned(ctx context.Context, scope store.Scope, kind store.Kind) error {
	if e.restoring {
		return nil
	}
	behind, err := e.behindPins(ctx, scope)
	for _, b := range behind {
		if b.pin.Kind == kind {
			return b.fault(scope)
		}
	}
	return err
}

// behindPin is something pinned that is not there.
type behindPin struct {
	pin store.Pin
	at  uint64 // the step that is there; 0: nothing
}

func (b *behindPin) fault(scope store.Scope) *fault.Error {
	o := object{scope: scope, id: b.pin.Object, kind: b.pin.Kind}
	if b.at > 0 {
		return o.tampered("is at step %d, and its step %d was done: all of its rows were set back", b.at, b.pin.Seq)
	}
	return o.tampered("is gone, and was there: all of its rows were deleted")
}

// behindPins lists what is pinned and not there.
func (e *Engine) behindPins(ctx context.Context, scope store.Scope) (behind []behindPin, err error) {
	pins, err := e.store.Pins(ctx, scope) // first: what is pinned then, is there
	if err != nil {
		return nil, err
	}
	list, err := e.store.Standings(ctx, scope)
	if err != nil {
		return nil, err
	}
	there := make(map[store.ID]store.Standing, len(list))
	for _, st := range list {
		there[st.Object] = st
	}
	for _, pin := range pins {
		at := there[pin.Object]
		missing := at.Kind != pin.Kind || at.Seq < pin.Seq
		if pin.Kind == store.EntryKind {
			if missing, err = e.lacksEntry(ctx, scope, pin); err != nil {
				return nil, err
			}
		}
		if missing {
			behind = append(behind, behindPin{pin, at.Seq})
		}
	}
	return behind, nil
}

// lacksEntry reports whether a pinned leaf of no object, which is number 0, is gone or
// is another.
func (e *Engine) lacksEntry(ctx context.Context, scope store.Scope, pin store.Pin) (bool, error) {
	leaf, err := e.store.Leaf(ctx, scope, pin.Object, 0)
	if fault.Is(err, fault.NotFound) {
		return true, nil
	}
	return leaf.Hash != pin.Hash || pin.Seq != 0, err
}
