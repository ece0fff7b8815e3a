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
	mu    sync.Mutex    // guards queue and known
	queue alarms
	known map[alarmed]*alarmAt // what is in the queue, each once
}

// alarmed is what an alarm is about: a timer, a job to be offered (again), an
// instance to be read again, or, when all are zero, the next scan.
type alarmed struct {
	scope    store.Scope
	instance store.ID
	timer    uint64
	job      uint64
}

func (a alarmed) ref() engine.JobRef { return engine.JobRef{Instance: a.instance, Job: a.job} }

func newAlarm(now func() time.Time) *alarm {
	return &alarm{now: now, wake: make(chan struct{}, 1), known: map[alarmed]*alarmAt{}}
}

// set wakes for what at a time. The same thing set to another time wakes then
// instead.
func (a *alarm) set(at time.Time, what alarmed) {
	if what.timer != 0 && at.Sub(a.now()) > horizon {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	entry, ok := a.known[what]
	if ok {
		entry.at = at
		heap.Fix(&a.queue, entry.place)
	} else {
		entry = &alarmAt{at: at, what: what}
		a.known[what] = entry
		heap.Push(&a.queue, entry)
	}
	if entry.place == 0 {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
}

// drop forgets what was set.
func (a *alarm) drop(what alarmed) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if entry, ok := a.known[what]; ok {
		heap.Remove(&a.queue, entry.place)
		delete(a.known, what)
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
		delete(a.known, first.what)
		now = append(now, first.what)
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
	at    time.Time
	what  alarmed
	place int // in the queue
}

// alarms is a heap, earliest first.
type alarms []*alarmAt

func (q alarms) Len() int           { return len(q) }
func (q alarms) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q alarms) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}
func (q *alarms) Push(x any) {
	entry := x.(*alarmAt)
	entry.place = len(*q)
	*q = append(*q, entry)
}
func (q *alarms) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return last
}
