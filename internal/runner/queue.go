package runner

import (
	"cmp"
	"slices"

	"github.com/underseal/underseal/internal/engine"
)

// queue is the jobs of one type that may be taken. They lie by where they come from, so
// that who may work for few processes is not kept from theirs by the jobs of others.
type queue struct {
	ready   map[engine.JobPlace]*line // none is empty
	offers  uint64                    // how many there were
	waiting []waiter                  // workers that wait, in order
}

// line is the jobs of one place that may be taken, oldest offer first.
type line struct {
	tickets []ticket // the first one is there
	gone    int      // how many of them are not there any more
}

// ticket is a job that may be taken.
type ticket struct {
	ref    engine.JobRef
	number uint64 // of the offer
	gone   bool
}

// waiter is a worker that waits for a job; it gets one token.
type waiter struct {
	ready   chan struct{}
	may     func(engine.JobPlace) bool // nil: all
	changed func() bool                // nil: never
}

func (w waiter) takes(p engine.JobPlace) bool { return w.may == nil || w.may(p) }

// wake gives a token to the first worker that may take a job from a place.
func (q *queue) wake(p engine.JobPlace) {
	i := slices.IndexFunc(q.waiting, func(w waiter) bool { return w.takes(p) })
	if i < 0 {
		return
	}
	q.waiting[i].ready <- struct{}{}
	q.waiting = slices.Delete(q.waiting, i, i+1)
}

// oldest returns the place of the oldest offer of those that a worker may take.
func (q *queue) oldest(w waiter) (oldest engine.JobPlace, found bool) {
	for place, l := range q.ready {
		if w.takes(place) && (!found || l.tickets[0].number < q.ready[oldest].tickets[0].number) {
			oldest, found = place, true
		}
	}
	return oldest, found
}

// put adds a job at a place and returns the number of its ticket.
func (q *queue) put(p engine.JobPlace, ref engine.JobRef) uint64 {
	l := q.ready[p]
	if l == nil {
		l = &line{}
		q.ready[p] = l
	}
	q.offers++
	l.tickets = append(l.tickets, ticket{ref: ref, number: q.offers})
	return q.offers
}

// take takes the first ticket of a place.
func (q *queue) take(p engine.JobPlace) engine.JobRef {
	first := q.ready[p].tickets[0]
	q.remove(p, first.number)
	return first.ref
}

// remove takes the ticket with a number away from a place.
func (q *queue) remove(p engine.JobPlace, number uint64) {
	l := q.ready[p]
	if l == nil {
		return
	}
	i, found := slices.BinarySearchFunc(l.tickets, number, func(t ticket, n uint64) int { return cmp.Compare(t.number, n) })
	if !found || l.tickets[i].gone {
		return
	}
	l.tickets[i].gone = true
	l.gone++
	for len(l.tickets) > 0 && l.tickets[0].gone {
		l.tickets, l.gone = l.tickets[1:], l.gone-1
	}
	if len(l.tickets) == 0 {
		delete(q.ready, p)
		return
	}
	if l.gone > len(l.tickets)/2 {
		l.shrink()
	}
}

// shrink frees what the tickets take up that are gone, which is most of it: so each costs
// a part of one copy at most.
func (l *line) shrink() {
	there := make([]ticket, 0, len(l.tickets)-l.gone)
	for _, t := range l.tickets {
		if !t.gone {
			there = append(there, t)
		}
	}
	l.tickets, l.gone = there, 0
}
