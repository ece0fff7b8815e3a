package process

import (
	"slices"

	"github.com/underseal/underseal/internal/canon"
)

// arriveParallel lets a token wait at a parallel gateway on the flow by which it
// came. The gateway fires when every incoming flow holds a token and takes
// exactly one of each, so a second round of a loop cannot complete the first.
func (r *run) arriveParallel(id uint64) {
	t := r.s.token(id)
	incoming := r.d.Elements[t.element].Incoming
	if len(incoming) < 2 {
		r.leave(id)
		return
	}
	r.wait(t)
	var all []uint64
	for i := range r.s.tokens {
		if o := &r.s.tokens[i]; o.phase == joined && o.scope == t.scope && o.element == t.element {
			all = append(all, o.id)
		}
	}
	if len(all) < len(incoming) {
		return
	}
	held := r.held(all, len(incoming))
	if !slices.Contains(held, 0) {
		r.fire(held)
	}
}

// arriveInclusive lets a token wait at an inclusive gateway; fireInclusive
// decides later.
func (r *run) arriveInclusive(id uint64) {
	t := r.s.token(id)
	if len(r.d.Elements[t.element].Incoming) < 2 {
		r.leave(id)
		return
	}
	r.wait(t)
}

// wait lets a token wait at a join.
func (r *run) wait(t *token) {
	r.went(t)
	t.phase = joined
	r.came(t)
}

// held returns per incoming flow of a join the first of its tokens that came by
// it, 0 for none.
func (r *run) held(tokens []uint64, incoming int) []uint64 {
	held := make([]uint64, incoming)
	for _, id := range tokens {
		if k := r.d.place[r.s.token(id).flow]; held[k] == 0 {
			held[k] = id
		}
	}
	return held
}

// fire consumes one token of each flow that holds one and moves on with the first.
func (r *run) fire(held []uint64) {
	var goesOn uint64
	for _, id := range held {
		switch {
		case id == 0:
		case goesOn == 0:
			goesOn = id
		default:
			r.went(r.s.token(id))
			r.s.scope(r.s.token(id).scope).live--
			r.s.tokens = remove(r.s.tokens, id)
		}
	}
	r.leave(goesOn)
}

// leave completes an element and moves its token along the flows that are taken:
// the token itself along the first, new ones along the others.
func (r *run) leave(id uint64) {
	t := r.s.token(id)
	e := &r.d.Elements[t.element]
	var room [4]int
	flows, p := r.choose(e, t.scope, room[:0])
	if p != nil {
		r.park(id, leaving, p)
		return
	}
	r.trail(e.ID, "completed")
	if len(flows) == 0 {
		r.die(id)
		return
	}
	r.move(t, flows[0])
	scope := t.scope
	for _, f := range flows[1:] {
		r.trail(r.d.Flows[f].ID, "taken")
		r.spawn(scope, r.d.Flows[f].To, f)
	}
}

// move sends a token along a flow.
func (r *run) move(t *token, flow int) {
	f := &r.d.Flows[flow]
	r.trail(f.ID, "taken")
	r.went(t)
	t.element, t.flow, t.phase = int32(f.To), int32(flow), arriving
	r.came(t)
	r.ready = append(r.ready, t.id)
}

// choose appends the flows by which a token leaves an element: all of a parallel
// gateway's, the first that holds of an exclusive one's, else every one that
// holds. The default is for when none does.
func (r *run) choose(e *Element, scope uint64, flows []int) ([]int, *problem) {
	if e.Kind == ParallelGateway || len(e.Outgoing) == 0 {
		return e.Outgoing, nil
	}
	for _, f := range e.Outgoing {
		if f == e.Default {
			continue
		}
		holds, p := r.holds(f, scope)
		if p != nil {
			return nil, p
		}
		if holds {
			flows = append(flows, f)
			if e.Kind == ExclusiveGateway {
				return flows, nil
			}
		}
	}
	switch {
	case len(flows) > 0:
		return flows, nil
	case e.Default >= 0:
		return append(flows, e.Default), nil
	}
	return nil, &problem{code: "no_flow", text: "no condition holds and there is no default flow"}
}

// holds evaluates a flow's condition; one without always holds.
func (r *run) holds(flow int, scope uint64) (bool, *problem) {
	x := r.d.conditions[flow]
	if x == nil {
		return true, nil
	}
	v := r.look(scope)
	value, warnings, trouble := r.evaluateAll(x, v)
	if holds, ok := value.(canon.Bool); ok {
		return bool(holds), nil
	}
	return false, v.mistyped("flow "+r.d.Flows[flow].ID, x, "boolean", value, warnings, trouble)
}
