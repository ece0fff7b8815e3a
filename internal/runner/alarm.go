package runner

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/store"
)

// horizon is how far ahead timers are held in memory; later ones stay in the
// database until a scan, every half horizon, comes near them.
const horizon = 10 * time.Minute

// alarm wakes at the times it was set to.
type alarm struct {
	now   func() time.Time
	wake  chan struct{} // holds one token when the earliest time changed
	mu    sync.Mutex    // guards queue and set
	queue alarms
	known map[alarmed]time.Time // timers in the queue, each once
}

// alarmed is what an alarm is about: a timer, a job to be offered (again), or,
// when both are zero, the next scan.
type alarmed struct {
	scope    store.Scope
	instance store.ID
	timer    uint64
	job      uint64
}

func (a alarmed) ref() engine.JobRef { return engine.JobRef{Instance: a.instance, Job: a.job} }

func newAlarm(now func() time.Time) *alarm {
	return &alarm{now: now, wake: make(chan struct{}, 1), known: map[alarmed]time.Time{}}
}

// set wakes for what at a time. The same thing set to another time wakes then
// instead.
func (a *alarm) set(at time.Time, what alarmed) {
	if what.timer != 0 && at.Sub(a.now()) > horizon {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if known, ok := a.known[what]; ok && known.Equal(at) {
		return
	}
	a.known[what] = at
	heap.Push(&a.queue, alarmAt{at, what})
	if a.queue[0].what == what {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
}

// due returns what is to be woken for now, and how long until the next.
func (a *alarm) due() (now []alarmed, next time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	moment := a.now()
	for len(a.queue) > 0 {
		first := a.queue[0]
		if wait := first.at.Sub(moment); wait > 0 {
			return now, wait
		}
		heap.Pop(&a.queue)
		if a.known[first.what].Equal(first.at) { // not set anew since
			delete(a.known, first.what)
			now = append(now, first.what)
		}
	}
	return now, horizon
}

// run calls ring with what is due until ctx ends.
func (a *alarm) run(ctx context.Context, ring func(context.Context, []alarmed)) {
	for {
		now, wait := a.due()
		if len(now) > 0 {
			ring(ctx, now)
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-a.wake:
			timer.Stop()
		}
	}
}

type alarmAt struct {
	at   time.Time
	what alarmed
}

// alarms is a heap, earliest first.
type alarms []alarmAt

func (q alarms) Len() int           { return len(q) }
func (q alarms) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q alarms) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *alarms) Push(x any)        { *q = append(*q, x.(alarmAt)) }
func (q *alarms) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}
