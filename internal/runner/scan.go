package runner

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/store"
)

// scanBatch is how many rows a scan reads at once.
const scanBatch = 1000

// scanJobs reads all jobs that wait. A row only leads to the instance, whose
// head decides when the job is taken.
func (r *Runner) scanJobs(ctx context.Context) error {
	var after store.JobCursor
	for {
		rows, err := r.cfg.Store.ScanJobs(ctx, after, scanBatch)
		if err != nil {
			return err
		}
		for _, row := range rows {
			r.jobs.offer(r.cfg.Engine.TenantScope(row.Tenant), engine.JobRef{Instance: row.Instance, Job: row.ID},
				row.Process, process.OpenJob{Element: row.Element, Type: row.Type, NotBefore: row.NotBefore, Failed: row.Failed})
			after = store.JobCursor{Tenant: row.Tenant, Instance: row.Instance, ID: row.ID}
		}
		if len(rows) < scanBatch {
			return nil
		}
	}
}

// scanTimers reads the timers that come near and sets the next scan.
func (r *Runner) scanTimers(ctx context.Context) error {
	now := r.cfg.Now()
	r.alarm.set(now.Add(horizon/2), alarmed{})
	var after store.TimerCursor
	for {
		rows, err := r.cfg.Store.ScanTimers(ctx, now.Add(horizon), after, scanBatch)
		if err != nil {
			return err
		}
		for _, row := range rows {
			r.alarm.set(row.Due, alarmed{scope: r.cfg.Engine.TenantScope(row.Tenant), instance: row.Instance, timer: row.ID})
			after = store.TimerCursor{Due: row.Due, Tenant: row.Tenant, Instance: row.Instance, ID: row.ID}
		}
		if len(rows) < scanBatch {
			return nil
		}
	}
}

// firing bounds how many timers fire at once.
const firing = 16

// ring does what is due.
func (r *Runner) ring(ctx context.Context, due []alarmed) {
	var group errgroup.Group
	group.SetLimit(firing)
	for _, what := range due {
		switch {
		case what.job != 0:
			r.jobs.again(what.ref())
		case what.timer != 0:
			group.Go(func() error { r.fire(ctx, what); return nil })
		case what.instance != store.ID{}:
			group.Go(func() error { r.reopen(ctx, what); return nil })
		default:
			r.rescan(ctx)
		}
	}
	_ = group.Wait() // fire handles its errors
}

// retryAfter is the pause before what could not be done is tried again.
const retryAfter = time.Second

// fire fires one timer. While the database or the key service is away it is
// tried again; an instance that cannot be opened for good is left alone.
func (r *Runner) fire(ctx context.Context, what alarmed) {
	err := r.cfg.Engine.Fire(ctx, what.scope, what.instance, what.timer)
	switch {
	case err == nil || ctx.Err() != nil || fault.Is(err, fault.NotFound) || fault.Is(err, fault.Sealed):
	case fault.Is(err, fault.Unavailable):
		r.alarm.set(r.cfg.Now().Add(retryAfter), what)
	default:
		r.cfg.Log.Error("timer not fired", "instance", what.instance.String(), "timer", what.timer, "error", err)
	}
}

// reopen reads an instance whose last step had an unknown outcome, which offers
// its jobs and sets its timers. An instance that never began is not there.
func (r *Runner) reopen(ctx context.Context, what alarmed) {
	err := r.Use(ctx, what.scope, what.instance, func(*engine.Live) error { return nil })
	switch {
	case err == nil || ctx.Err() != nil || fault.Is(err, fault.NotFound) || fault.Is(err, fault.Sealed):
	case fault.Is(err, fault.Unavailable):
		r.alarm.set(r.cfg.Now().Add(retryAfter), what)
	default:
		r.cfg.Log.Error("instance not read again", "instance", what.instance.String(), "error", err)
	}
}

func (r *Runner) rescan(ctx context.Context) {
	if err := r.scanTimers(ctx); err != nil && ctx.Err() == nil {
		r.cfg.Log.Error("timers not read", "error", err)
		r.alarm.set(r.cfg.Now().Add(retryAfter), alarmed{})
	}
}
