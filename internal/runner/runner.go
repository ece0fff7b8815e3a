// Package runner is the embedded runner: it keeps instances open in memory,
// lets one caller at a time step each of them, offers jobs to workers, and
// fires timers.
//
// Everything it holds can be thrown away. The database has the truth; after a
// start the runner reads which jobs and timers wait and goes on. Job leases are
// in memory only: a restart offers leased jobs again, and the first result
// counts.
package runner

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/store"
)

// Config is what a runner works with. Engine, Store and Log are required.
type Config struct {
	Engine *engine.Engine
	Store  *store.DB
	Log    *slog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Hot bounds how many instances stay open in memory. Default 20,000.
	Hot int
}

// Runner carries instances. Start it before use, and Stop it.
type Runner struct {
	cfg   Config
	hot   *hot
	jobs  *jobs
	alarm *alarm

	mu     sync.Mutex // guards cancel
	cancel context.CancelFunc
	done   sync.WaitGroup
}

var _ engine.Runner = (*Runner)(nil)

// New returns a runner that is not started.
func New(cfg Config) *Runner {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Hot == 0 {
		cfg.Hot = 20_000
	}
	r := &Runner{cfg: cfg, hot: newHot(cfg.Hot), alarm: newAlarm(cfg.Now)}
	r.jobs = newJobs(cfg.Now, r.alarm)
	return r
}

// Start reads which jobs wait and begins to fire timers. It returns at once
// after the jobs are read; starting again does nothing.
func (r *Runner) Start(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cancel != nil {
		return nil
	}
	if err := r.scanJobs(ctx); err != nil {
		return err
	}
	if err := r.scanTimers(ctx); err != nil {
		return err
	}
	run, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.done.Go(func() { r.alarm.run(run, r.ring) })
	return nil
}

// Stop ends what runs in the background and waits for it. Stopping again does
// nothing.
func (r *Runner) Stop() {
	r.mu.Lock()
	if r.cancel != nil {
		r.cancel()
	}
	r.mu.Unlock()
	r.done.Wait()
	r.jobs.close()
}

// again bounds how often an instance is tried again that was changed meanwhile.
const again = 2

// Use calls f with the instance open and held by this call alone. When another
// writer was faster, or a key was destroyed that the instance in memory still
// counted on, f is called again with the instance as it is now.
func (r *Runner) Use(ctx context.Context, scope store.Scope, id store.ID, f func(*engine.Live) error) error {
	err := r.use(ctx, scope, id, f)
	for range again {
		if fault.CodeOf(err) != "stale" && !fault.Is(err, fault.Sealed) {
			return err
		}
		err = r.use(ctx, scope, id, f)
	}
	return err
}

func (r *Runner) use(ctx context.Context, scope store.Scope, id store.ID, f func(*engine.Live) error) error {
	seat, err := r.hot.take(ctx, hotKey{scope, id})
	if err != nil {
		return err
	}
	defer r.release(seat)
	if seat.live == nil {
		if seat.live, err = r.cfg.Engine.Open(ctx, scope, id); err != nil {
			seat.live = nil
			return err
		}
		r.adopt(seat.live)
	}
	return f(seat.live)
}

// release gives the seat to the next one. A step whose outcome is not known may
// be durable and its commands were not carried out: opening the instance anew
// does that.
func (r *Runner) release(s *seat) {
	if s.live != nil && s.live.Dirty() {
		r.alarm.set(r.cfg.Now().Add(retryAfter), alarmed{scope: s.key.scope, instance: s.key.id})
	}
	r.hot.release(s)
}

// adopt offers the jobs and sets the timers of an instance that was read, as
// far as they are not known.
func (r *Runner) adopt(live *engine.Live) {
	for _, job := range live.State().Jobs() {
		if ref := (engine.JobRef{Instance: live.ID(), Job: job.ID}); !r.jobs.known(ref) {
			r.jobs.offer(live.Scope(), ref, live.Process(), job)
		}
	}
	for _, timer := range live.State().Timers() {
		r.alarm.set(timer.Due, alarmed{scope: live.Scope(), instance: live.ID(), timer: timer.ID})
	}
}

// Begin calls f with a new instance.
func (r *Runner) Begin(ctx context.Context, live *engine.Live, f func(*engine.Live) error) error {
	seat, err := r.hot.take(ctx, hotKey{live.Scope(), live.ID()})
	if err != nil {
		return err
	}
	defer r.release(seat)
	seat.live = live
	return f(live)
}

// Carry carries out the commands of a durable step.
func (r *Runner) Carry(live *engine.Live, commands []process.Command) {
	for _, command := range commands {
		switch c := command.(type) {
		case process.OfferJob:
			if job, ok := live.State().Job(c.Job); ok {
				r.jobs.offer(live.Scope(), engine.JobRef{Instance: live.ID(), Job: c.Job}, live.Process(), job)
			}
		case process.CloseJob:
			r.jobs.drop(engine.JobRef{Instance: live.ID(), Job: c.Job})
		case process.SetTimer:
			if timer, ok := live.State().Timer(c.Timer); ok {
				r.alarm.set(timer.Due, alarmed{scope: live.Scope(), instance: live.ID(), timer: c.Timer})
			}
		}
	}
}

// Open returns how many instances are open in memory.
func (r *Runner) Open() int { return r.hot.len() }
