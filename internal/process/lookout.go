package process

import (
	"cmp"
	"slices"
)

// lookout is what a step knows of the joins that hold tokens and of the tokens
// that may still come to them. It is made when the first inclusive join is to be
// decided on and kept up to date from then on, so that a join is looked at again
// only when something changed where it can be reached from.
type lookout struct {
	at      map[place]*standing
	areas   map[uint64]*area // by scope
	list    []*waiting       // in document order, then by scope
	touched []place          // since the last look
}

// place is an element in a scope.
type place struct {
	scope   uint64
	element int32
}

// standing are the tokens at one place.
type standing struct {
	moving int      // that do not wait at a join
	joined []uint64 // that do, by number
}

// area are the elements of one scope where tokens stand.
type area struct{ moving, joined bitset }

// waiting is a join of a scope that holds tokens.
type waiting struct {
	*joinGateway
	scope   uint64
	stale   bool     // something changed since the last look; the rest is out of date
	held    []uint64 // per incoming flow
	blocked bool     // a token may still come by an empty flow
	beyond  bool     // and it does not wait at a join itself
	awaited bool     // scratch: something that moves by itself may still come
}

// compareWaiting sorts by document order, then scope.
func compareWaiting(w *waiting, p place) int {
	return cmp.Or(cmp.Compare(w.element, p.element), cmp.Compare(w.scope, p.scope))
}

// anyInclusive reports whether a token waits at an inclusive join.
func (r *run) anyInclusive() bool {
	return len(r.d.joins) > 0 && slices.ContainsFunc(r.s.tokens, func(t token) bool {
		return t.phase == joined && r.d.Elements[t.element].Kind == InclusiveGateway
	})
}

// watch makes the lookout.
func (r *run) watch() {
	r.lookout = &lookout{at: map[place]*standing{}, areas: map[uint64]*area{}}
	for i := range r.s.tokens {
		r.came(&r.s.tokens[i])
	}
	for _, p := range r.lookout.touched {
		r.file(p)
	}
	r.lookout.touched = r.lookout.touched[:0]
}

// came notes that a token stands where and as it is now.
func (r *run) came(t *token) {
	if r.lookout == nil {
		return
	}
	p := place{t.scope, t.element}
	s := r.lookout.at[p]
	if s == nil {
		s = &standing{}
		r.lookout.at[p] = s
	}
	if t.phase == joined {
		i, _ := slices.BinarySearch(s.joined, t.id)
		s.joined = slices.Insert(s.joined, i, t.id)
	} else {
		s.moving++
	}
	r.touch(p, s)
}

// went notes that a token is about to leave, to end, or to wait for something else.
func (r *run) went(t *token) {
	if r.lookout == nil {
		return
	}
	p := place{t.scope, t.element}
	s := r.lookout.at[p]
	if t.phase == joined {
		i, _ := slices.BinarySearch(s.joined, t.id)
		s.joined = slices.Delete(s.joined, i, i+1)
	} else {
		s.moving--
	}
	r.touch(p, s)
}

// touch brings the area of a place up to date.
func (r *run) touch(p place, s *standing) {
	l := r.lookout
	a := l.areas[p.scope]
	if a == nil {
		a = &area{r.d.noElements(), r.d.noElements()}
		l.areas[p.scope] = a
	}
	a.moving.set(p.element, s.moving > 0)
	a.joined.set(p.element, len(s.joined) > 0)
	l.touched = append(l.touched, p)
}

// catchUp finds the joins that what changed since the last look concerns.
func (r *run) catchUp() {
	l := r.lookout
	for _, p := range l.touched {
		r.file(p)
		for _, w := range l.list {
			if w.scope == p.scope && w.all.has(p.element) {
				w.stale = true
			}
		}
	}
	l.touched = l.touched[:0]
}

// file lists a join while it holds tokens.
func (r *run) file(p place) {
	j, l := r.d.nodes[p.element].join, r.lookout
	if j == nil {
		return
	}
	i, found := slices.BinarySearchFunc(l.list, p, compareWaiting)
	switch holds := len(l.at[p].joined) > 0; {
	case holds && found:
		l.list[i].stale = true
	case holds:
		l.list = slices.Insert(l.list, i, &waiting{joinGateway: j, scope: p.scope, stale: true})
	case found:
		l.list = slices.Delete(l.list, i, i+1)
	}
}

// wordsPerTransition is how many machine words of sets a look may compare for the price of
// one transition.
const wordsPerTransition = 1024

// inspect brings what is known of a join up to date. It counts as work of the step,
// so that the bound on transitions bounds this too.
func (r *run) inspect(w *waiting) {
	if !w.stale {
		return
	}
	area := r.lookout.areas[w.scope]
	w.stale, w.blocked, w.beyond = false, false, false
	w.held = r.held(r.lookout.at[place{w.scope, w.element}].joined, len(w.reach))
	for i, id := range w.held {
		if id == 0 {
			w.beyond = w.beyond || w.reach[i].meets(area.moving)
			w.blocked = w.blocked || w.beyond || w.reach[i].meets(area.joined)
		}
	}
	r.spent += 1 + len(w.held)*len(area.moving)/wordsPerTransition
}

// fireInclusive fires one inclusive join, if any may; nothing else can move now.
// The first in document order for which no live token of its scope can still
// come by an empty flow fires. If every join is blocked, those blocked only by
// each other go ahead, again the first in document order.
func (r *run) fireInclusive() bool {
	if r.lookout == nil {
		if !r.anyInclusive() {
			return false
		}
		r.watch()
	}
	r.catchUp()
	w := r.unblocked()
	switch {
	case w == nil:
		return false
	case r.spent >= MaxTransitions:
		r.raise(w.held[slices.IndexFunc(w.held, func(id uint64) bool { return id != 0 })], "loop_limit", loopLimit, nil, 0)
	default:
		r.fire(w.held)
	}
	return true
}

// unblocked returns the join to fire, nil if there is none.
func (r *run) unblocked() *waiting {
	list := r.lookout.list
	for _, w := range list {
		if !w.inclusive {
			continue
		}
		if r.inspect(w); !w.blocked {
			return w
		}
	}
	r.await(list)
	i := slices.IndexFunc(list, func(w *waiting) bool { return w.inclusive && !w.awaited })
	if i < 0 {
		return nil
	}
	return list[i]
}

// await finds the joins to which something that moves by itself may still come,
// be it by way of others for which that holds.
func (r *run) await(list []*waiting) {
	var open []*waiting
	for _, w := range list {
		r.inspect(w)
		if w.awaited = w.beyond; w.awaited {
			open = append(open, w)
		}
	}
	r.spent += len(list) + len(open)*len(list)/wordsPerTransition
	for len(open) > 0 {
		o := open[len(open)-1]
		open = open[:len(open)-1]
		for _, w := range list {
			if !w.awaited && w.scope == o.scope && w.reachedFrom(o.element) {
				w.awaited = true
				open = append(open, w)
			}
		}
	}
}

// reachedFrom reports whether an empty flow of the join can be reached from an element.
func (w *waiting) reachedFrom(element int32) bool {
	if !w.all.has(element) {
		return false
	}
	for i, id := range w.held {
		if id == 0 && w.reach[i].has(element) {
			return true
		}
	}
	return false
}
