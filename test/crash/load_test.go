//go:build unix

package crash_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
)

// How much goes on at once.
const (
	starters   = 4
	counters   = 4 // workers that count
	completers = 2 // persons, who race for the same tasks
	maxOpen    = 40
)

// An ack is something that a server has acknowledged.
type ack struct {
	operation string // "start", "count", "claim" or "complete"
	about     string // what it was done to: the start's key, the job, the task
	receipt   api.Receipt
	repeat    func(context.Context) (api.Receipt, error) // the same request again
}

// A load is the clients of a server, which go on whatever happens to it, and
// what they were told.
type load struct {
	server *server
	client *client.Client
	stop   context.CancelCauseFunc
	ctx    context.Context // ends with stop
	group  sync.WaitGroup

	starting atomic.Bool // starters go on
	requests atomic.Int64
	doubts   atomic.Int64  // tries of a change that were not answered
	open     chan struct{} // one token per instance whose task is not done
	news     chan struct{} // a token after each acknowledgment

	mu      sync.Mutex // guards what is below
	acks    []ack
	refused map[string]int // by operation and code: lost races
}

// startLoad deploys the process and starts the clients.
func startLoad(t *testing.T, s *server) *load {
	t.Helper()
	l := &load{server: s, client: s.client(), open: make(chan struct{}, maxOpen),
		news: make(chan struct{}, 1), refused: map[string]int{}}
	l.ctx, l.stop = context.WithCancelCause(s.ctx)
	if _, err := l.client.Deploy(l.ctx, api.File{Name: "crash.bpmn", Content: model(t)}); err != nil {
		t.Fatal(err)
	}
	l.starting.Store(true)
	for range starters {
		l.group.Go(l.start)
	}
	for range counters {
		l.group.Go(l.count)
	}
	for i := range completers {
		l.group.Go(func() { l.complete(i) })
	}
	worker := stamper(s)
	l.group.Go(func() { l.stamp(worker) })
	t.Cleanup(l.end)
	return l
}

var errDone = errors.New("the load was ended")

// end ends all clients.
func (l *load) end() {
	l.stop(errDone)
	l.group.Wait()
}

// fail ends the load because of something that must not happen.
func (l *load) fail(format string, args ...any) { l.stop(fmt.Errorf(format, args...)) }

// err returns why the load ended by itself, nil if it did not.
func (l *load) err() error {
	if err := context.Cause(l.ctx); err != nil && !errors.Is(err, errDone) {
		return err
	}
	return nil
}

// do makes a request until it is answered, always with the same key, and notes
// the receipt. It reports whether the request was acknowledged; what lost a race
// was not. What is in doubt after a crash is asked for again, never given up.
func (l *load) do(operation, about string, request func(context.Context, *client.Client) (api.Receipt, error)) bool {
	c := l.client.Idempotent(fmt.Sprintf("%s-%d-%s", operation, l.requests.Add(1), uuid.NewString()))
	for {
		receipt, err := request(l.ctx, c)
		switch {
		case err == nil:
			l.note(ack{operation, about, receipt, func(ctx context.Context) (api.Receipt, error) { return request(ctx, c) }})
			return true
		case l.ctx.Err() != nil:
			return false
		case client.IsUnavailable(err):
			l.doubts.Add(1)
			if l.pause() != nil {
				return false
			}
		case client.IsConflict(err) || client.IsNotFound(err):
			l.mu.Lock()
			l.refused[operation+" "+client.Code(err)]++
			l.mu.Unlock()
			return false
		default:
			l.fail("%s: %w", operation, err)
			return false
		}
	}
}

// pause waits a moment and then for a server.
func (l *load) pause() error {
	select {
	case <-time.After(time.Duration(1+rand.IntN(5)) * time.Millisecond):
	case <-l.ctx.Done():
	}
	return l.server.ready(l.ctx)
}

func (l *load) note(a ack) {
	l.mu.Lock()
	l.acks = append(l.acks, a)
	l.mu.Unlock()
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// acknowledged returns all there is so far.
func (l *load) acknowledged() []ack {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acks[:len(l.acks):len(l.acks)]
}

// awaitAcks waits for n more acknowledgments, in one goroutine at a time.
func (l *load) awaitAcks(ctx context.Context, n int) error {
	for want := len(l.acknowledged()) + n; len(l.acknowledged()) < want; {
		select {
		case <-l.news:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-l.ctx.Done():
			return context.Cause(l.ctx)
		}
	}
	return nil
}

// start starts instances, of a few persons more than once.
func (l *load) start() {
	for l.starting.Load() {
		select {
		case l.open <- struct{}{}:
		case <-time.After(20 * time.Millisecond): // look whether to go on
			continue
		case <-l.ctx.Done():
			return
		}
		about, person := uuid.NewString(), rand.IntN(300)
		variables := client.Variables(map[string]any{
			"n": 0, "person": map[string]any{"id": fmt.Sprint("p", person), "name": fmt.Sprint("Person ", person)},
		})
		l.do("start", about, func(ctx context.Context, c *client.Client) (api.Receipt, error) {
			return c.Start(ctx, api.StartRequest{Process: "crash", BusinessKey: about, Variables: variables})
		})
	}
}

// count works on the jobs that count: each adds one to n.
func (l *load) count() {
	for l.ctx.Err() == nil {
		jobs, err := l.client.ActivateJobs(l.ctx, api.ActivateRequest{Type: "count", Worker: "counter", Max: 1 + rand.IntN(4), WaitMS: 500})
		if err != nil && !l.absent("activate", err) {
			return
		}
		for _, job := range jobs.Items {
			l.countOne(job)
		}
	}
}

func (l *load) countOne(job api.Job) {
	var in struct{ N int }
	if err := (client.Job{Job: job}).Bind(&in); err != nil {
		l.fail("count: %w", err)
		return
	}
	result := client.Variables(map[string]any{"n": in.N + 1})
	l.do("count", job.ID, func(ctx context.Context, c *client.Client) (api.Receipt, error) {
		return c.CompleteJob(ctx, job.ID, api.CompleteJobRequest{Lease: job.Lease, Variables: result})
	})
}

// absent waits for a server if err is that there was none; else it ends the load
// and returns false.
func (l *load) absent(what string, err error) bool {
	if client.IsUnavailable(err) {
		return l.pause() == nil
	}
	if l.ctx.Err() == nil {
		l.fail("%s: %w", what, err)
	}
	return false
}

// complete claims and completes tasks that another person may be doing as well.
func (l *load) complete(person int) {
	for l.ctx.Err() == nil {
		tasks, err := l.client.Tasks(l.ctx, api.TaskFilter{Process: "crash"}, api.Page{Limit: 10})
		if err != nil && !l.absent("list tasks", err) {
			return
		}
		for _, task := range tasks.Items {
			l.completeOne(task.ID, person)
		}
		if len(tasks.Items) == 0 {
			select {
			case <-time.After(10 * time.Millisecond):
			case <-l.ctx.Done():
			}
		}
	}
}

func (l *load) completeOne(task string, person int) {
	if rand.IntN(3) == 0 {
		l.do("claim", task, func(ctx context.Context, c *client.Client) (api.Receipt, error) {
			return c.Claim(ctx, task, fmt.Sprint("clerk", person))
		})
	}
	signed := client.Variables(map[string]any{"signed": fmt.Sprint("clerk", person)})
	done := l.do("complete", task, func(ctx context.Context, c *client.Client) (api.Receipt, error) {
		return c.CompleteTask(ctx, task, signed)
	})
	if done {
		<-l.open
	}
}

// stamper is the client library's own worker, which has to get along by itself.
func stamper(s *server) *client.Worker {
	worker := s.newClient(3).NewWorker(client.WorkerConfig{Name: "stamper", Concurrency: 8, Wait: time.Second, Drain: time.Second})
	worker.Handle("stamp", func(context.Context, client.Job) (client.Result, error) {
		return client.Result{"stamped": true}, nil
	})
	return worker
}

func (l *load) stamp(worker *client.Worker) {
	if err := worker.Run(l.ctx); err != nil && l.ctx.Err() == nil {
		l.fail("stamp: %w", err)
	}
}
