package runner

import (
	"time"

	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/store"
)

// LeaveEmptySeat has two hold a seat one after the other, the second of whom drops the
// instance and is gone before the first one left. It throws away what is stale then,
// and returns how many seats there are before and after.
func LeaveEmptySeat(scope store.Scope, stale func(*engine.Live) bool) (before, after int) {
	h := newHot(10)
	s := h.join(hotKey{scope: scope})
	h.join(s.key)
	<-s.turn // the first one's, who keeps the instance
	s.turn <- struct{}{}
	<-s.turn // the second one's
	h.release(s)
	h.leave(s, true)
	before = h.len()
	h.throwAway(scope, stale)
	return before, h.len()
}

// Waiting are jobs of one type that wait for workers.
type Waiting struct {
	jobs *jobs
	key  queueKey
}

func NewWaiting() Waiting {
	return Waiting{newJobs(time.Now, newAlarm(time.Now)), queueKey{store.NewScope("main"), "work"}}
}

// Offer offers a job of an element.
func (w Waiting) Offer(n uint64, element string) {
	w.jobs.offer(w.key.scope, engine.JobRef{Job: n}, "p", process.OpenJob{ID: n, Type: w.key.kind, Element: element})
}

// Drop has a job not wait any more.
func (w Waiting) Drop(n uint64) { w.jobs.drop(engine.JobRef{Job: n}) }

// Pop takes the oldest job; 0: there is none.
func (w Waiting) Pop() uint64 {
	if taken := w.jobs.pop(w.key, nil, 1); len(taken) > 0 {
		return taken[0].Job
	}
	return 0
}

// Tickets returns how many tickets are kept.
func (w Waiting) Tickets() (n int) {
	if q, ok := w.jobs.queues[w.key]; ok {
		for _, l := range q.ready {
			n += len(l.tickets)
		}
	}
	return n
}
