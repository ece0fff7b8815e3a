package runner

import (
	"context"

	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/store"
)

// Close calls f while nobody has the instance.
func (r *Runner) Close(ctx context.Context, scope store.Scope, id store.ID, f func() error) error {
	seat, err := r.hot.take(ctx, hotKey{scope, id})
	if err != nil {
		return err
	}
	defer r.release(seat)
	seat.live = nil
	if err := f(); err != nil {
		return err
	}
	r.jobs.dropAll(id)
	return nil
}

// Reopen throws stale instances away. Those in use are waited for; whoever comes
// after the call has begun opens the instance anew.
func (r *Runner) Reopen(ctx context.Context, scope store.Scope, stale func(*engine.Live) bool) error {
	revoke := func(live *engine.Live) bool {
		if !stale(live) {
			return false
		}
		for _, job := range live.State().Jobs() {
			r.jobs.revoke(engine.JobRef{Instance: live.ID(), Job: job.ID})
		}
		return true
	}
	for _, key := range r.hot.throwAway(scope, revoke) {
		seat, err := r.hot.take(ctx, key)
		if err != nil {
			return err
		}
		if seat.live != nil && revoke(seat.live) {
			seat.live = nil
		}
		r.release(seat)
	}
	return nil
}
