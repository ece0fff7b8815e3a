// Package load offers load to a server, as its users do: over HTTP, with the
// public client. Its process is the smallest useful one: start, one job, end.
// An instance has 8 variables of 128 bytes, of which the job changes 2.
package load

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
)

//go:embed one_task.bpmn
var model string

const valueSize = 128 // bytes of each of the 8 variables

// Shape is how many do what at a time.
type Shape struct {
	Starters int // goroutines that start instances
	Workers  int
	Batch    int // jobs that a worker takes and works on at a time
	Open     int // instances that may be open at a time
}

// Usual is the load that the floors are about.
var Usual = Shape{Starters: 32, Workers: 4, Batch: 32, Open: 256}

func (s Shape) connections() int { return s.Starters + s.Workers*(s.Batch+1) }

// Load starts instances of one process and completes them.
type Load struct {
	shape  Shape
	client *client.Client
	mode   string
	begin  time.Time // the origin of the times that instances carry
	filler string
}

// New returns load on a server. Mode is "standard" or "confidential".
func New(c *client.Client, mode string, s Shape) *Load {
	return &Load{shape: s, client: c, mode: mode, begin: time.Now(), filler: strings.Repeat("x", valueSize)}
}

// Answer is what the job changes: 2 variables.
var Answer = json.RawMessage(`{"v7":"` + strings.Repeat("y", valueSize) + `","v8":"` + strings.Repeat("z", valueSize) + `"}`)

// Process returns the id of the process.
func (l *Load) Process() string { return "one_task_" + l.mode }

// JobType returns the type of the process's job.
func (l *Load) JobType() string { return "work-" + l.mode }

// Deploy deploys the process.
func (l *Load) Deploy(ctx context.Context) error {
	content := []byte(strings.ReplaceAll(model, "{mode}", l.mode))
	made, err := l.client.Deploy(ctx, api.File{Name: l.Process() + ".bpmn", Content: content})
	if err == nil && made.Processes[0].Mode != l.mode {
		err = fmt.Errorf("the process is %s, not %s", made.Processes[0].Mode, l.mode)
	}
	return err
}

// Full starts as much as the server completes, with at most Shape.Open instances
// open.
func (l *Load) Full(ctx context.Context, length time.Duration) (Sample, error) {
	return l.run(ctx, length, func(context.Context) (time.Time, bool) { return time.Now(), true })
}

// Paced starts at fixed times, rate per second, whatever the server does. An
// instance that starts late because the server is slow counts from when it was due.
func (l *Load) Paced(ctx context.Context, rate float64, length time.Duration) (Sample, error) {
	begin := time.Now()
	var count atomic.Int64
	return l.run(ctx, length, func(ctx context.Context) (time.Time, bool) {
		due := begin.Add(time.Duration(float64(count.Add(1)) / rate * float64(time.Second)))
		select {
		case <-ctx.Done():
			return due, false
		case <-time.After(time.Until(due)):
			return due, true
		}
	})
}

// StartOnly starts n instances, which then wait at their job.
func (l *Load) StartOnly(ctx context.Context, n int) error {
	var count atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range l.shape.Starters {
		group.Go(func() error {
			for count.Add(1) <= int64(n) {
				if err := l.startOne(ctx, time.Now()); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// drain bounds the time in which what was started must be completed after the load
// has ended; a job that got lost would be given again after its lease.
const drain = 30 * time.Second

// run offers load for the given time, waits until all that was started is
// completed, and returns what was completed within the time.
func (l *Load) run(ctx context.Context, length time.Duration, next func(context.Context) (time.Time, bool)) (Sample, error) {
	limited, end := context.WithTimeoutCause(ctx, length+drain, fmt.Errorf("load of %s for %v: what was started was not completed %v after it had ended", l.Process(), length, drain))
	defer end()
	group, ctx := errgroup.WithContext(limited)
	starting, endStarting := context.WithTimeout(ctx, length)
	defer endStarting()
	m := &meter{open: make(chan struct{}, l.shape.Open), until: time.Now().Add(length), drained: make(chan struct{})}
	begin := time.Now()
	for range l.shape.Workers {
		group.Go(func() error { return l.work(ctx, m) })
	}
	var starters errgroup.Group
	for range l.shape.Starters {
		starters.Go(func() error { return l.start(ctx, starting, m, next) })
	}
	group.Go(func() error {
		defer close(m.drained)
		return errors.Join(starters.Wait(), m.drain(ctx))
	})
	err := group.Wait()
	switch {
	case err != nil && limited.Err() != nil:
		err = context.Cause(limited)
	case err == nil && len(m.times) == 0: // there is no ratio to nothing
		err = fmt.Errorf("load of %s for %v: nothing was completed in that time", l.Process(), length)
	}
	return Sample{took: min(time.Since(begin), length), times: m.times}, err
}

// start starts instances until its time is over. ctx outlives that time: a start
// under way is finished, so that every instance is accounted for.
func (l *Load) start(ctx, starting context.Context, m *meter, next func(context.Context) (time.Time, bool)) error {
	for {
		due, ok := next(starting)
		if !ok || !m.enter(starting) {
			return ctx.Err()
		}
		if err := l.startOne(ctx, due); err != nil {
			return err
		}
	}
}

func (l *Load) startOne(ctx context.Context, due time.Time) error {
	_, err := l.client.Start(ctx, api.StartRequest{Process: l.Process(), Variables: l.Variables(due)})
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	return nil
}

// Variables returns 8 of 128 bytes; the first one begins with the time.
func (l *Load) Variables(due time.Time) json.RawMessage {
	var b strings.Builder
	fmt.Fprintf(&b, `{"v1":"%-*d"`, valueSize, due.Sub(l.begin).Nanoseconds())
	for i := 2; i <= 8; i++ {
		fmt.Fprintf(&b, `,"v%d":"%s"`, i, l.filler)
	}
	b.WriteByte('}')
	return json.RawMessage(b.String())
}

// work is one worker: it takes jobs in batches and completes them side by side. It
// never hangs up on a call that waits for jobs: until the server noticed, it could
// lease those of the next load to nobody.
func (l *Load) work(ctx context.Context, m *meter) error {
	var running errgroup.Group
	running.SetLimit(l.shape.Batch)
	for !m.isDrained() {
		jobs, err := l.client.ActivateJobs(ctx, api.ActivateRequest{
			Type: l.JobType(), Worker: "bench", Max: l.shape.Batch, LeaseMS: 60_000, WaitMS: 200,
		})
		if err != nil {
			return errors.Join(fmt.Errorf("activate: %w", err), running.Wait())
		}
		for _, job := range jobs.Items {
			running.Go(func() error { return l.complete(ctx, m, job) })
		}
	}
	return running.Wait()
}

func (l *Load) complete(ctx context.Context, m *meter, job api.Job) error {
	_, err := l.client.CompleteJob(ctx, job.ID, api.CompleteJobRequest{Lease: job.Lease, Variables: Answer})
	if err != nil {
		return fmt.Errorf("complete: %w", err)
	}
	now := time.Now()
	var carried struct{ V1 string }
	if err := json.Unmarshal(job.Variables, &carried); err != nil {
		return err
	}
	var due int64
	if _, err := fmt.Sscan(carried.V1, &due); err != nil {
		return fmt.Errorf("the job does not carry its time: %w", err)
	}
	m.leave(now, now.Sub(l.begin.Add(time.Duration(due))))
	return nil
}

// A meter counts open instances and collects the times of those completed.
type meter struct {
	open    chan struct{} // one for each open instance
	until   time.Time
	drained chan struct{} // closed when none is open any more, or none is waited for

	mu    sync.Mutex // guards times
	times []time.Duration
}

func (m *meter) enter(ctx context.Context) bool {
	select {
	case m.open <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (m *meter) leave(now time.Time, took time.Duration) {
	if now.Before(m.until) {
		m.mu.Lock()
		m.times = append(m.times, took)
		m.mu.Unlock()
	}
	<-m.open
}

func (m *meter) isDrained() bool {
	select {
	case <-m.drained:
		return true
	default:
		return false
	}
}

// drain waits until no instance is open.
func (m *meter) drain(ctx context.Context) error {
	for range cap(m.open) {
		if !m.enter(ctx) {
			return ctx.Err()
		}
	}
	return nil
}
