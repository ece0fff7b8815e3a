package client

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/ledger"
)

// WorkerConfig says how a worker works. Every type of job has slots of its own,
// so that one that has much to do does not starve the others.
type WorkerConfig struct {
	// Name is shown to administrators. Required.
	Name string
	// Concurrency is how many handlers of one type run at once. Default 32.
	Concurrency int
	// MaxJobs is how many jobs of one type are leased at once: running, waiting
	// for a handler, or being reported. More than Concurrency fetches ahead,
	// which helps short jobs and takes long ones from other workers. Default
	// Concurrency; at most 1000.
	MaxJobs int
	// Lease is how long jobs are this worker's without a sign of life; the
	// worker lengthens it as long as the handler runs. Default 60 s.
	Lease time.Duration
	// Wait is how long one call waits for jobs. Default 30 s, at most 60 s.
	Wait time.Duration
	// Drain is how long handlers may go on after Run's context ended; then
	// theirs ends, and what is not reported by then falls to other workers when
	// its lease ends. Default 30 s.
	Drain time.Duration
	// Key signs what the worker reports, so that nobody else can have said it, the
	// server's administrators among them: Ed25519 or P-256, from LoadKey, or a
	// crypto.Signer of a key store. Its public key must be registered for the worker's
	// principal (`underseal signers register`). Default: nothing is signed.
	Key crypto.Signer
	// Log hears what became of each job, and of lost leases, without any values.
	// Of a handler's error it says the type, or what its LogValue says
	// (slog.LogValuer). Default: nothing is logged.
	Log *slog.Logger
	// Reported is called after a job's outcome was reported: outcome is what the
	// handler returned, or why the server did not take it. Nil: the job is done,
	// and durably so. It runs in the job's own goroutine. Default: none.
	Reported func(job Job, outcome error)
}

func (c *WorkerConfig) setDefaults() {
	c.Concurrency = cmp.Or(c.Concurrency, 32)
	c.MaxJobs = cmp.Or(c.MaxJobs, min(c.Concurrency, 1000))
	c.Lease = cmp.Or(c.Lease, time.Minute)
	c.Wait = cmp.Or(c.Wait, 30*time.Second)
	c.Drain = cmp.Or(c.Drain, 30*time.Second)
	c.Log = cmp.Or(c.Log, slog.New(slog.DiscardHandler))
}

func (c *WorkerConfig) validate() error {
	switch {
	case c.Name == "":
		return errors.New("worker config: Name is missing")
	case c.Concurrency < 0:
		return errors.New("worker config: Concurrency must not be negative")
	case c.MaxJobs < 0 || c.MaxJobs > 1000:
		return errors.New("worker config: MaxJobs must be from 1 to 1000")
	case c.Lease < time.Second || c.Lease > 24*time.Hour:
		return errors.New("worker config: Lease must be from 1 s to 24 h")
	case c.Wait < 0 || c.Wait > time.Minute:
		return errors.New("worker config: Wait must be at most 60 s")
	case c.Drain < 0:
		return errors.New("worker config: Drain must not be negative")
	}
	if c.Key != nil {
		if _, err := ledger.NewPublicKey(c.Key.Public()); err != nil {
			return fmt.Errorf("worker config: Key: %w", err)
		}
	}
	return nil
}

// Handler carries out one job. What it returns decides what becomes of it:
//
//   - nil: the job is done and the result merged into the instance's variables.
//   - BPMNError: the process goes on along the boundary event that catches it.
//   - Fail: the try failed; the error says when and how often to try again.
//   - Stop: this worker can do no job at all; see there.
//   - any other error, or a panic: the try failed; the server counts down the
//     job's retries and pauses longer each time. Its text is kept as a field of
//     the instance.
//
// The context ends when the lease is lost or the worker must stop: what the
// handler returns then is not reported. A job can be handed out again after a
// lost lease, so handlers should be safe to repeat.
type Handler func(ctx context.Context, job Job) (Result, error)

// Worker carries out jobs. Register its handlers, then Run it, once.
type Worker struct {
	client   *Client
	config   WorkerConfig
	handlers map[string]Handler
}

// NewWorker returns a worker without handlers. Errors of its configuration come
// from Run.
func (c *Client) NewWorker(config WorkerConfig) *Worker {
	config.setDefaults()
	return &Worker{client: c, config: config, handlers: map[string]Handler{}}
}

// Handle registers the handler of a type of job. It must not be called after
// Run. A second handler for one type is a defect of the program and panics.
func (w *Worker) Handle(jobType string, h Handler) {
	if w.handlers[jobType] != nil || h == nil {
		panic(fmt.Sprintf("client: no handler, or a second one, for jobs of type %q", jobType))
	}
	w.handlers[jobType] = h
}

// Run carries out jobs until ctx ends, then lets the running ones finish and
// returns nil. While the server is away it keeps asking, at growing intervals.
// It returns early, after the same farewell, when the server refuses it for
// good (a key that is not accepted, or not for these jobs, or does not count for
// signatures) and when a handler returns Stop.
func (w *Worker) Run(ctx context.Context) error {
	if err := w.config.validate(); err != nil {
		return err
	}
	if len(w.handlers) == 0 {
		return errors.New("worker: no handlers")
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	handling, cancel := outlive(ctx, w.config.Drain)
	defer cancel()
	var pollers sync.WaitGroup
	for jobType, handler := range w.handlers {
		p := w.newPoller(jobType, handler, handling)
		p.stop = func(err error) { stop(&refusedError{err}) }
		pollers.Go(func() {
			if err := p.run(ctx); err != nil {
				p.stop(err)
			}
		})
	}
	pollers.Wait()
	var refused *refusedError
	if errors.As(context.Cause(ctx), &refused) {
		return fmt.Errorf("worker %q: %w", w.config.Name, refused.err)
	}
	return nil
}

// refusedError is why a worker ends by itself, told apart from the ways in which
// the caller's context may end.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return e.err.Error() }

// outlive returns a context that ends some time after ctx, with ErrStopped.
func outlive(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(by)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel(ErrStopped)
		case <-longer.Done():
		}
	})
	return longer, func() { stop(); cancel(nil) }
}

// lastCall is how long a worker that stops still waits for the call for jobs
// that is under way: jobs in its answer are leased already.
const lastCall = 500 * time.Millisecond

// poller leases the jobs of one type and starts their handlers.
type poller struct {
	worker   *Worker
	jobType  string
	handler  Handler
	handling context.Context
	stop     func(error)   // ends the whole worker
	free     chan struct{} // one entry for each leased job
	running  chan struct{} // one entry for each running handler
	jobs     sync.WaitGroup
}

func (w *Worker) newPoller(jobType string, handler Handler, handling context.Context) *poller {
	return &poller{
		worker: w, jobType: jobType, handler: handler, handling: handling,
		free: make(chan struct{}, w.config.MaxJobs), running: make(chan struct{}, w.config.Concurrency),
	}
}

// run leases jobs as long as there is room, and waits for the last of them. It
// returns an error when there will never be any.
func (p *poller) run(ctx context.Context) error {
	defer p.jobs.Wait()
	asking, cancel := outlive(ctx, lastCall)
	defer cancel()
	for failures := 0; ; {
		room := p.reserve(ctx)
		if room == 0 {
			return nil
		}
		jobs, err := p.activate(asking, room)
		p.release(room - len(jobs))
		for _, job := range jobs {
			p.jobs.Go(func() { p.carryOut(job) })
		}
		switch {
		case err == nil:
			failures = 0
		case ctx.Err() != nil:
			return nil
		case permanent(err):
			return err
		default:
			failures++
			p.worker.config.Log.Warn("no jobs to be had", "type", p.jobType, "error", err.Error())
			pause(ctx, failures, 0)
		}
	}
}

// reserve waits for room for one job and takes all there is; 0: ctx ended.
func (p *poller) reserve(ctx context.Context) int {
	if ctx.Err() != nil {
		return 0
	}
	select {
	case p.free <- struct{}{}:
	case <-ctx.Done():
		return 0
	}
	for room := 1; ; room++ {
		select {
		case p.free <- struct{}{}:
		default:
			return room
		}
	}
}

func (p *poller) release(n int) {
	for range n {
		<-p.free
	}
}

// activate leases up to room jobs. It tries once, for the loop around it knows
// better how much room there is by then.
func (p *poller) activate(ctx context.Context, room int) ([]api.Job, error) {
	config := &p.worker.config
	r := send("POST", "/v1/jobs/activate", api.ActivateRequest{
		Type: p.jobType, Worker: config.Name, Max: room,
		LeaseMS: int(config.Lease.Milliseconds()), WaitMS: int(config.Wait.Milliseconds()),
	})
	r.wait, r.tries = config.Wait, 1
	jobs, err := call[api.Jobs](ctx, p.worker.client, r)
	if len(jobs.Items) > room { // more than asked for have no slot; their leases will end
		jobs.Items = jobs.Items[:room]
	}
	return jobs.Items, err
}
