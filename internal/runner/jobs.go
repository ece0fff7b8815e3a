package runner

import (
	"context"
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
	epoch  int64 // of the newest lease; grows, also across restarts
}

type queueKey struct {
	scope store.Scope
	kind  string // job type
}

// queue is the jobs of one type that may be taken, oldest offer first.
type queue struct {
	ready   []engine.JobRef
	waiting []chan struct{} // workers that wait, in order; each gets one token
}

// openJob is a job that some worker has or may have.
type openJob struct {
	key   queueKey
	token string // the newest lease; "": none since the start, noLease: it ended
	until time.Time
	ready bool // in the queue
}

// noLease is a token that no worker can have.
const noLease = "-"

func newJobs(now func() time.Time, a *alarm) *jobs {
	return &jobs{now: now, alarm: a, queues: map[queueKey]*queue{}, open: map[engine.JobRef]*openJob{}}
}

func (j *jobs) queue(key queueKey) *queue {
	q, ok := j.queues[key]
	if !ok {
		q = &queue{}
		j.queues[key] = q
	}
	return q
}

// offer makes a job takeable, now or when its back-off is over. A former lease
// ends with it.
func (j *jobs) offer(scope store.Scope, ref engine.JobRef, job process.OpenJob) {
	if job.Failed {
		j.drop(ref)
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	token := ""
	if former, ok := j.open[ref]; ok && former.token != "" {
		token = noLease
	}
	j.open[ref] = &openJob{key: queueKey{scope, job.Type}, token: token}
	if job.NotBefore.After(j.now()) {
		j.alarm.set(job.NotBefore, alarmed{scope: scope, instance: ref.Instance, job: ref.Job})
		return
	}
	j.push(ref)
}

// push puts a job into its queue and wakes a worker. The caller holds mu.
func (j *jobs) push(ref engine.JobRef) {
	job, ok := j.open[ref]
	if !ok || job.ready {
		return
	}
	job.ready = true
	q := j.queue(job.key)
	q.ready = append(q.ready, ref)
	if len(q.waiting) > 0 {
		q.waiting[0] <- struct{}{}
		q.waiting = q.waiting[1:]
	}
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
		delete(j.open, ref)
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
	job, ok := j.open[ref]
	if !ok {
		return
	}
	leased := job.until.After(j.now())
	job.token, job.until = noLease, time.Time{}
	if leased {
		j.push(ref)
	}
}

// pop takes up to limit jobs out of a queue.
func (j *jobs) pop(key queueKey, limit int) []engine.JobRef {
	j.mu.Lock()
	defer j.mu.Unlock()
	q, ok := j.queues[key]
	if !ok {
		return nil
	}
	defer j.tidy(key, q)
	var taken []engine.JobRef
	for len(q.ready) > 0 && len(taken) < limit {
		ref := q.ready[0]
		q.ready = q.ready[1:]
		if job, ok := j.open[ref]; ok && job.ready && job.key == key {
			job.ready = false
			taken = append(taken, ref)
		}
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

// await returns a channel that gets a token when a job is there, and a function
// to stop waiting. A token that nobody took any more goes to the next worker.
func (j *jobs) await(key queueKey) (ready chan struct{}, stop func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	ready = make(chan struct{}, 1)
	q := j.queue(key)
	if len(q.ready) > 0 || j.closed {
		ready <- struct{}{}
		return ready, func() {}
	}
	q.waiting = append(q.waiting, ready)
	return ready, func() { j.unwait(key, ready) }
}

func (j *jobs) unwait(key queueKey, ready chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	q := j.queue(key)
	defer j.tidy(key, q)
	for i, w := range q.waiting {
		if w == ready {
			q.waiting = append(q.waiting[:i], q.waiting[i+1:]...)
			return
		}
	}
	select {
	case <-ready: // a job came as we left
		if len(q.ready) > 0 && len(q.waiting) > 0 {
			q.waiting[0] <- struct{}{}
			q.waiting = q.waiting[1:]
		}
	default:
	}
}

// close lets all waiting workers go.
func (j *jobs) close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	for _, q := range j.queues {
		for _, w := range q.waiting {
			w <- struct{}{}
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
func (j *jobs) lease(ref engine.JobRef, token string, until time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	job, ok := j.open[ref]
	if !ok {
		return
	}
	job.token, job.until, job.ready = token, until, false
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

// wait waits for a token, the end of a time, or ctx.
func wait(ctx context.Context, ready <-chan struct{}, left time.Duration) bool {
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-ready:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}
