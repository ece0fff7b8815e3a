// Package stream sends the audit record to other systems.
//
// Each sink gets every entry of every tenant's log, in the order of the log, in batches
// that the tenant's platform key signs. How far a sink has come is stored after it took
// a batch, so it gets each entry at least once, whenever the server is killed; by place
// and number of a batch it sees what it gets again and what is missing. A sink that is
// away holds up neither the server nor another sink: one batch of it is in memory, and
// the rest stays in the log.
package stream

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/export"
	"github.com/underseal/underseal/ledger"
)

// Source is where the record comes from.
type Source interface {
	AuditTenants(ctx context.Context) ([]string, error)
	NextAudit(ctx context.Context, tenant, sink string, limit int) (engine.AuditStretch, error)
	SignAudit(ctx context.Context, tenant string, b ledger.AuditBatch) ([]byte, error)
	AuditTaken(ctx context.Context, sink string, s engine.AuditStretch) error
}

var _ Source = (*engine.Engine)(nil)

// Batch is what a sink gets at once.
type Batch struct {
	Tenant  string
	Entries []api.AuditEntry
	Lines   [][]byte // of the entries, each without its end
	Payload []byte   // all lines, each with its end
	Note    []byte   // the signed ledger.AuditBatch
}

// Sink takes batches. Send returns nil when the receiver has taken all of the batch;
// after an error it is sent again.
type Sink interface {
	Send(ctx context.Context, b Batch) error
}

// Target is a sink with its name, by which its place is kept.
type Target struct {
	Name   string
	Format export.Format
	Sink   Sink
}

// Config is what a Stream works with; Log and Source are required.
type Config struct {
	Source  Source
	Targets []Target
	Version string // of the server
	Log     *slog.Logger
	Now     func() time.Time // nil: time.Now
}

const (
	batchSize = 256
	// pace is the pause between batches, so that a sink that catches up leaves the
	// machine to the server's own work: some 5,000 entries a second at most.
	pace = 50 * time.Millisecond
	// idle is the pause when there is nothing new.
	idle = time.Second
	// Pauses after a failure double from the first to the last of these.
	firstPause = time.Second
	lastPause  = 5 * time.Minute
	// sendTime bounds one batch.
	sendTime = time.Minute
)

// Stream sends the record until it is stopped.
type Stream struct {
	cfg     Config
	targets []*target
	cancel  context.CancelFunc
	done    sync.WaitGroup
}

// target is a sink and how it goes.
type target struct {
	Target
	mu      sync.Mutex // guards what follows
	figures figures
}

// New returns a stream, which sends nothing before Start.
func New(cfg Config) *Stream {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Stream{cfg: cfg}
	for _, t := range cfg.Targets {
		s.targets = append(s.targets, &target{Target: t})
	}
	return s
}

// Start begins to send in the background.
func (s *Stream) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	for _, t := range s.targets {
		s.done.Go(func() { s.run(ctx, t) })
	}
}

// Stop ends it; a batch that is under way is sent again at the next start. Stopping
// again, or before Start, does nothing.
func (s *Stream) Stop() {
	if s.cancel != nil {
		s.cancel()
	}
	s.done.Wait()
}

func (s *Stream) run(ctx context.Context, t *target) {
	for pause := firstPause; ; {
		sent, err := s.round(ctx, t)
		if ctx.Err() != nil {
			return
		}
		wait := idle
		switch {
		case err != nil:
			wait, pause = pause, min(2*pause, lastPause)
		case sent:
			wait, pause = pace, firstPause
		default:
			pause = firstPause
		}
		s.noted(t, err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// round sends the next batch of each tenant. One that fails holds up no other, unless
// it is the receiver that fails.
func (s *Stream) round(ctx context.Context, t *target) (sent bool, err error) {
	tenants, err := s.cfg.Source.AuditTenants(ctx)
	if err != nil {
		return false, err
	}
	var lag figures
	var errs []error
	for _, tenant := range tenants {
		stretch, err := s.cfg.Source.NextAudit(ctx, tenant, t.Name, batchSize)
		if err == nil && len(stretch.Entries) > 0 {
			lag.note(stretch)
			if err = s.send(ctx, t, stretch); err == nil {
				sent = true
				lag.behind -= uint64(len(stretch.Entries))
				lag.sent += uint64(len(stretch.Entries))
			}
		}
		errs = append(errs, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	lag.sent += t.figures.sent
	lag.failing = t.figures.failing
	t.figures = lag
	return sent, errors.Join(errs...)
}

// send has the sink take a stretch, and then notes that it has.
func (s *Stream) send(ctx context.Context, t *target, stretch engine.AuditStretch) error {
	b := Batch{Tenant: stretch.Tenant, Entries: stretch.Entries}
	origin := export.Origin{Tenant: stretch.Tenant, Version: s.cfg.Version}
	for _, entry := range stretch.Entries {
		line, err := t.Format.Append(nil, origin, entry)
		if err != nil {
			return err
		}
		b.Lines, b.Payload = append(b.Lines, line[:len(line)-1]), append(b.Payload, line...)
	}
	var err error
	b.Note, err = s.cfg.Source.SignAudit(ctx, stretch.Tenant, ledger.AuditBatch{
		Log: stretch.Log, First: stretch.First, Last: stretch.Last(), Number: stretch.Number, Payload: sha256.Sum256(b.Payload),
	})
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	if err := t.Sink.Send(limited, b); err != nil {
		return err
	}
	return s.cfg.Source.AuditTaken(context.WithoutCancel(ctx), t.Name, stretch)
}

// noted says once that a sink fails, and that it works again.
func (s *Stream) noted(t *target, err error) {
	t.mu.Lock()
	was := t.figures.failing
	t.figures.failing = err != nil
	t.mu.Unlock()
	switch {
	case err != nil && !was:
		s.cfg.Log.Error("a sink of the audit does not take entries, which stay in the log and are sent again", "sink", t.Name, "error", err)
	case err == nil && was:
		s.cfg.Log.Warn("a sink of the audit takes entries again", "sink", t.Name)
	}
}
