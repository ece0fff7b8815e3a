package runner

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
)

// Take leases up to t.Max waiting jobs of a type and waits up to t.Wait for the
// first.
func (r *Runner) Take(ctx context.Context, scope store.Scope, t engine.Take, offer func(*engine.Live, engine.Lease) error) error {
	key := queueKey{scope, t.Type}
	deadline := r.cfg.Now().Add(t.Wait)
	for {
		leased, err := r.takeReady(ctx, key, t, offer)
		if leased > 0 || err != nil {
			return err
		}
		left := deadline.Sub(r.cfg.Now())
		if left <= 0 {
			return nil
		}
		ready, stop := r.jobs.await(key, t)
		changed := t.Changed != nil && t.Changed() // before it waited, so that nobody says so any more
		came := !changed && wait(ctx, ready, left)
		stop()
		if !came || r.stopped() {
			return nil
		}
	}
}

func (r *Runner) stopped() bool {
	r.jobs.mu.Lock()
	defer r.jobs.mu.Unlock()
	return r.jobs.closed
}

// takeReady leases what is ready now. An instance that was changed behind our
// back is passed over and logged, so that it does not stop the others.
func (r *Runner) takeReady(ctx context.Context, key queueKey, t engine.Take, offer func(*engine.Live, engine.Lease) error) (leased int, err error) {
	for leased < t.Max {
		refs := r.jobs.pop(key, t.May, t.Max-leased)
		if len(refs) == 0 {
			return leased, nil
		}
		for i, ref := range refs {
			ok, err := r.takeOne(ctx, key.scope, ref, t, offer)
			switch {
			case err == nil && ok:
				leased++
			case err == nil || fault.Is(err, fault.NotFound):
			case fault.Is(err, fault.Sealed): // erased, with all that waits in it
				r.jobs.drop(ref)
			case fault.Is(err, fault.Integrity):
				r.cfg.Log.Error("job passed over", "instance", ref.Instance.String(), "job", ref.Job, "error", err)
				r.jobs.later(ref, r.cfg.Now().Add(passedOver))
			default:
				r.jobs.putBack(refs[i:])
				if leased > 0 {
					return leased, nil
				}
				return 0, err
			}
		}
	}
	return leased, nil
}

// passedOver is the pause before a job whose instance could not be read is tried
// again: a backup may have been put back.
const passedOver = time.Minute

// takeOne leases one job if it still waits.
func (r *Runner) takeOne(ctx context.Context, scope store.Scope, ref engine.JobRef, t engine.Take, offer func(*engine.Live, engine.Lease) error) (leased bool, err error) {
	err = r.Use(ctx, scope, ref.Instance, func(l *engine.Live) error {
		job, waits := l.State().Job(ref.Job)
		switch {
		case !waits || job.Failed || r.jobs.leased(ref):
			return nil
		case job.NotBefore.After(r.cfg.Now()): // the clock was set back
			r.jobs.later(ref, job.NotBefore)
			return nil
		}
		token, err := r.cfg.Engine.LeaseToken(ctx, l, ref, r.jobs.nextEpoch())
		if err != nil {
			return err
		}
		until := t.Until(r.cfg.Now())
		r.jobs.lease(ref, t.By, token, until)
		leased = true
		return offer(l, engine.Lease{JobRef: ref, Token: token, Deadline: until.UTC().Truncate(time.Millisecond)})
	})
	return leased, err
}

// Holds refuses a lease that is not the job's newest one. One given before the
// last start counts until the job is leased or fails anew.
func (r *Runner) Holds(ctx context.Context, l *engine.Live, ref engine.JobRef, lease string) error {
	held := r.jobs.held(ref)
	if held == "" {
		epoch, _, _ := strings.Cut(lease, ".")
		number, err := strconv.ParseInt(epoch, 36, 64)
		if err != nil {
			return lostLease(ref)
		}
		if held, err = r.cfg.Engine.LeaseToken(ctx, l, ref, number); err != nil {
			return err
		}
	}
	if held != lease {
		return lostLease(ref)
	}
	return nil
}

func lostLease(ref engine.JobRef) error {
	return fault.New(fault.Conflict, "job %s.%d is not leased to this worker any more", ref.Instance, ref.Job).
		WithCode("lease_lost").WithHint("extend leases before they end; another worker may have the job now")
}

// Extend lengthens a lease that is the job's newest one, also one that lapsed
// and that nobody else took yet.
func (r *Runner) Extend(ctx context.Context, l *engine.Live, by engine.Caller, ref engine.JobRef, lease string, until time.Time) error {
	if err := r.Holds(ctx, l, ref, lease); err != nil {
		return err
	}
	r.jobs.lease(ref, by, lease, until)
	return nil
}

// Release ends the leases of a tenant whose holders are gone, and the waiting of workers who
// have changed.
func (r *Runner) Release(scope store.Scope, gone func(engine.Caller, engine.JobPlace) bool) {
	for ref, held := range r.jobs.leases(scope) {
		if gone(held.by, held.at) {
			r.jobs.release(ref, held.token)
		}
	}
	r.jobs.letGo(scope)
}
