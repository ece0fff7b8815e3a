package runner

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/store"
)

// jobs is the jobs that wait for workers and the leases of those that do not.
type jobs struct {
	now   func() time.Time
	alarm *alarm

	mu     sync.Mutex // guards everything below
	closed bool
	queues map[queueKey]*queue
	open   map[engine.JobRef]*openJob
	given  map[engine.JobRef]engine.Caller // who has, or had last, the lease of a job
	epoch  int64                           // of the newest lease; grows, also across restarts
}

type queueKey struct {
	scope store.Scope
	kind  string // job type
}

// openJob is a job that some worker has or may have.
type openJob struct {
	key   queueKey
	place engine.JobPlace
	token string // the newest lease; "": none since the start, noLease: it ended
	until time.Time

	ticket uint64 // in the queue; 0: it is not there
}

// noLease is a token that no worker can have.
const noLease = "-"

func newJobs(now func() time.Time, a *alarm) *jobs {
	return &jobs{now: now, alarm: a, queues: map[queueKey]*queue{}, open: map[engine.JobRef]*openJob{}, given: map[engine.JobRef]engine.Caller{}}
}

func (j *jobs) queue(key queueKey) *queue {
	q, ok := j.queues[key]
	if !ok {
		q = &queue{ready: map[engine.JobPlace]*line{}}
		j.queues[key] = q
	}
	return q
}

// offer makes a job takeable, now or when its back-off is over. A former lease
// ends with it. of is the id of its process.
func (j *jobs) offer(scope store.Scope, ref engine.JobRef, of string, job process.OpenJob) {
	if job.Failed {
		j.drop(ref)
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	token := ""
	if former, ok := j.open[ref]; ok {
		j.unqueue(former)
		if former.token != "" {
			token = noLease
		}
	}
	j.open[ref] = &openJob{key: queueKey{scope, job.Type}, place: engine.JobPlace{Process: of, Element: job.Element}, token: token}
	delete(j.given, ref)
	if job.NotBefore.After(j.now()) {
		j.alarm.set(job.NotBefore, alarmed{scope: scope, instance: ref.Instance, job: ref.Job})
		return
	}
	j.push(ref)
}

// push puts a job into its queue and wakes a worker. The caller holds mu.
func (j *jobs) push(ref engine.JobRef) {
	job, ok := j.open[ref]
	if !ok || job.ticket != 0 {
		return
	}
	q := j.queue(job.key)
	job.ticket = q.put(job.place, ref)
	q.wake(job.place)
}

// unqueue takes a job out of its queue, if it is there. The caller holds mu.
func (j *jobs) unqueue(job *openJob) {
	if q, ok := j.queues[job.key]; ok && job.ticket != 0 {
		q.remove(job.place, job.ticket)
		j.tidy(job.key, q)
	}
	job.ticket = 0
}

// again offers a job whose back-off or lease is over.
func (j *jobs) again(ref engine.JobRef) {
	j.mu.Lock()
	defer j.mu.Unlock()
	job, ok := j.open[ref]
	if !ok {
		return
	}
	if job.until.After(j.now()) { // the lease was extended
		j.alarm.set(job.until, alarmed{scope: job.key.scope, instance: ref.Instance, job: ref.Job})
		return
	}
	j.push(ref)
}

// known reports whether the job is offered or leased.
func (j *jobs) known(ref engine.JobRef) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, ok := j.open[ref]
	return ok
}

// later offers a job that was popped, but not before a time.
func (j *jobs) later(ref engine.JobRef, at time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if job, ok := j.open[ref]; ok {
		j.alarm.set(at, alarmed{scope: job.key.scope, instance: ref.Instance, job: ref.Job})
	}
}

// drop forgets a job that does not wait any more.
func (j *jobs) drop(ref engine.JobRef) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if job, ok := j.open[ref]; ok {
		j.alarm.drop(alarmed{scope: job.key.scope, instance: ref.Instance, job: ref.Job})
		j.unqueue(job)
		delete(j.open, ref)
		delete(j.given, ref)
	}
}

// dropAll forgets all jobs of an instance.
func (j *jobs) dropAll(instance store.ID) {
	j.mu.Lock()
	var refs []engine.JobRef
	for ref := range j.open {
		if ref.Instance == instance {
			refs = append(refs, ref)
		}
	}
	j.mu.Unlock()
	for _, ref := range refs {
		j.drop(ref)
	}
}

// revoke ends the lease of a job, which is offered again: what its worker was given
// does not count any more.
func (j *jobs) revoke(ref engine.JobRef) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if job, ok := j.open[ref]; ok {
		j.end(ref, job)
	}
}

// end ends the lease of a job. The caller holds mu.
func (j *jobs) end(ref engine.JobRef, job *openJob) {
	leased := job.until.After(j.now())
	job.token, job.until = noLease, time.Time{}
	delete(j.given, ref)
	if leased {
		j.push(ref)
	}
}

// release is revoke for one lease, unless the job has another one by now.
func (j *jobs) release(ref engine.JobRef, token string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if job, ok := j.open[ref]; ok && job.token == token {
		j.end(ref, job)
	}
}

// given is a lease, who has it, and where its job is.
type given struct {
	by    engine.Caller
	at    engine.JobPlace
	token string
}

// leases returns the leases of a tenant's jobs.
func (j *jobs) leases(scope store.Scope) map[engine.JobRef]given {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := map[engine.JobRef]given{}
	for ref, by := range j.given {
		if job := j.open[ref]; job.key.scope == scope {
			all[ref] = given{by, job.place, job.token}
		}
	}
	return all
}

// pop takes up to limit jobs out of a queue, of those that may is true of; nil: all.
func (j *jobs) pop(key queueKey, may func(engine.JobPlace) bool, limit int) []engine.JobRef {
	j.mu.Lock()
	defer j.mu.Unlock()
	q, ok := j.queues[key]
	if !ok {
		return nil
	}
	defer j.tidy(key, q)
	var taken []engine.JobRef
	for len(taken) < limit {
		place, found := q.oldest(waiter{may: may})
		if !found {
			break
		}
		ref := q.take(place)
		j.open[ref].ticket = 0 // only what is open has a ticket
		taken = append(taken, ref)
	}
	return taken
}

// tidy forgets a queue that nobody uses, so that asking for types that do not
// exist costs nothing. The caller holds mu.
func (j *jobs) tidy(key queueKey, q *queue) {
	if len(q.ready) == 0 && len(q.waiting) == 0 {
		delete(j.queues, key)
	}
}

// putBack offers jobs that were popped and not leased.
func (j *jobs) putBack(refs []engine.JobRef) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, ref := range refs {
		j.push(ref)
	}
}

// await returns a channel that gets a token when a job is there that a worker may take, and
// is closed when the worker has changed, and a function to stop waiting. A token that nobody
// took any more goes to the next worker.
func (j *jobs) await(key queueKey, t engine.Take) (ready chan struct{}, stop func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	w := waiter{make(chan struct{}, 1), t.May, t.Changed}
	q := j.queue(key)
	if _, found := q.oldest(w); found || j.closed {
		w.ready <- struct{}{}
		return w.ready, func() {}
	}
	q.waiting = append(q.waiting, w)
	return w.ready, func() { j.unwait(key, w.ready) }
}

func (j *jobs) unwait(key queueKey, ready chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	q := j.queue(key)
	defer j.tidy(key, q)
	for i, w := range q.waiting {
		if w.ready == ready {
			q.waiting = append(q.waiting[:i], q.waiting[i+1:]...)
			return
		}
	}
	select {
	case _, came := <-ready: // a job came as we left
		for place := range q.ready {
			if came {
				q.wake(place)
			}
		}
	default:
	}
}

// letGo lets those workers of a tenant go who have changed.
func (j *jobs) letGo(scope store.Scope) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for key, q := range j.queues {
		if key.scope != scope {
			continue
		}
		q.waiting = slices.DeleteFunc(q.waiting, func(w waiter) bool {
			changed := w.changed != nil && w.changed()
			if changed {
				close(w.ready)
			}
			return changed
		})
		j.tidy(key, q)
	}
}

// close lets all waiting workers go.
func (j *jobs) close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	for _, q := range j.queues {
		for _, w := range q.waiting {
			w.ready <- struct{}{}
		}
		q.waiting = nil
	}
}

// nextEpoch returns a number greater than that of every earlier lease.
func (j *jobs) nextEpoch() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.epoch = max(j.epoch+1, j.now().UnixNano())
	return j.epoch
}

// lease gives a job to a worker until a time. A job whose lease had lapsed and
// that nobody else took yet leaves the queue again.
func (j *jobs) lease(ref engine.JobRef, by engine.Caller, token string, until time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	job, ok := j.open[ref]
	if !ok {
		return
	}
	j.unqueue(job)
	job.token, job.until, j.given[ref] = token, until, by
	j.alarm.set(until, alarmed{scope: job.key.scope, instance: ref.Instance, job: ref.Job})
}

// leased reports whether some worker has the job now.
func (j *jobs) leased(ref engine.JobRef) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	job, ok := j.open[ref]
	return ok && job.until.After(j.now())
}

// held returns the token of a job's newest lease, "" if it was never leased
// since the start.
func (j *jobs) held(ref engine.JobRef) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if job, ok := j.open[ref]; ok {
		return job.token
	}
	return ""
}

// wait waits for a token, the end of a time, or ctx. It is false if none comes any more, too.
func wait(ctx context.Context, ready <-chan struct{}, left time.Duration) bool {
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case _, came := <-ready:
		return came
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}
