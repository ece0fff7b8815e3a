package process

import "slices"

// joinGateway is a gateway with several incoming flows and, per flow, the
// elements from which a token could still come to it by that flow without
// passing the gateway itself (BPMN 2.0.2, section 13.4.3).
type joinGateway struct {
	element   int32
	inclusive bool
	reach     []bitset
}

// bitset is a set of dense numbers.
type bitset []uint64

func (b bitset) has(i int32) bool { return b[i/64]&(1<<(i%64)) != 0 }
func (b bitset) add(i int)        { b[i/64] |= 1 << (i % 64) }

// prepareJoins computes the joins, but none if no inclusive one is among them:
// parallel joins alone need no look ahead.
func (d *Definition) prepareJoins() {
	d.joins = nil
	anyInclusive := false
	for i := range d.Elements {
		e := &d.Elements[i]
		if len(e.Incoming) < 2 || e.Kind != ParallelGateway && e.Kind != InclusiveGateway {
			continue
		}
		j := joinGateway{element: int32(i), inclusive: e.Kind == InclusiveGateway}
		for _, f := range e.Incoming {
			j.reach = append(j.reach, d.reaching(f, i))
		}
		d.joins = append(d.joins, j)
		anyInclusive = anyInclusive || j.inclusive
	}
	if !anyInclusive {
		d.joins = nil
	}
}

// reaching returns the elements from which a flow can be reached without passing
// the given gateway. A boundary event is reached from its activity.
func (d *Definition) reaching(flow, gateway int) bitset {
	set := make(bitset, (len(d.Elements)+63)/64)
	open := []int{d.Flows[flow].From}
	for len(open) > 0 {
		at := open[len(open)-1]
		open = open[:len(open)-1]
		if at == gateway || set.has(int32(at)) {
			continue
		}
		set.add(at)
		for _, f := range d.Elements[at].Incoming {
			open = append(open, d.Flows[f].From)
		}
		if d.Elements[at].Kind.isBoundary() {
			open = append(open, d.Elements[at].AttachedTo)
		}
	}
	return set
}

// waiting is a join of a scope that holds tokens.
type waiting struct {
	*joinGateway
	scope   uint64
	held    []uint64 // per incoming flow
	awaited bool     // something that moves by itself may still come
}

// fireInclusive fires one inclusive join, if any may; nothing else can move now.
// The first in document order for which no live token of its scope can still
// come by an empty flow fires. If every join is blocked, those blocked only by
// each other go ahead, again the first in document order.
func (r *run) fireInclusive() bool {
	if len(r.d.joins) == 0 {
		return false
	}
	list := r.waitingJoins()
	if i := slices.IndexFunc(list, func(w waiting) bool { return w.inclusive && !r.awaits(&w, nil) }); i >= 0 {
		r.fire(list[i].held)
		return true
	}
	for changed := true; changed; {
		changed = false
		for i := range list {
			if w := &list[i]; !w.awaited && r.awaits(w, list) {
				w.awaited, changed = true, true
			}
		}
	}
	i := slices.IndexFunc(list, func(w waiting) bool { return w.inclusive && !w.awaited })
	if i >= 0 {
		r.fire(list[i].held)
	}
	return i >= 0
}

// waitingJoins lists the joins that hold tokens in document order, then by scope.
func (r *run) waitingJoins() []waiting {
	var list []waiting
	for i := range r.d.joins {
		j := &r.d.joins[i]
		for k := range r.s.scopes {
			scope := r.s.scopes[k].id
			held := r.held(scope, j.element, r.d.Elements[j.element].Incoming)
			if slices.ContainsFunc(held, func(id uint64) bool { return id != 0 }) {
				list = append(list, waiting{joinGateway: j, scope: scope, held: held})
			}
		}
	}
	return list
}

// awaits reports whether a token may still come by an empty flow of the join.
// With a list of joins, tokens that wait at one of them count only if something
// that moves by itself may still come there.
func (r *run) awaits(w *waiting, joins []waiting) bool {
	for i := range r.s.tokens {
		t := &r.s.tokens[i]
		if t.scope != w.scope || t.element == w.element && t.phase == joined || !w.reachedFrom(t.element) {
			continue
		}
		if t.phase != joined || joins == nil {
			return true
		}
		at := slices.IndexFunc(joins, func(o waiting) bool { return o.element == t.element && o.scope == t.scope })
		if joins[at].awaited {
			return true
		}
	}
	return false
}

// reachedFrom reports whether an empty flow of the join can be reached from an element.
func (w *waiting) reachedFrom(element int32) bool {
	for i, id := range w.held {
		if id == 0 && w.reach[i].has(element) {
			return true
		}
	}
	return false
}
