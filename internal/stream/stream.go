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
	"github.com/underseal/underseal/internal/fault"
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
	// Pauses of a tenant after a failure double from the first to the last of these.
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
	mu    sync.Mutex       // guards what follows
	lines map[string]*line // by tenant
	sent  uint64           // entries
	blind error            // why it is not known whose audit there is
}

// line is how a sink stands with the audit of one tenant.
type line struct {
	behind uint64        // entries that it does not have
	oldest time.Time     // when the first of them was made
	pause  time.Duration // the last one, after failures; 0: the last batch went well
	until  time.Time     // the tenant is left alone until then
}

// line returns how a sink stands with a tenant. The caller holds mu.
func (t *target) line(tenant string) *line {
	l := t.lines[tenant]
	if l == nil {
		l = &line{}
		t.lines[tenant] = l
	}
	return l
}

// New returns a stream, which sends nothing before Start.
func New(cfg Config) *Stream {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Stream{cfg: cfg}
	for _, t := range cfg.Targets {
		s.targets = append(s.targets, &target{Target: t, lines: map[string]*line{}})
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
	for {
		wait := idle
		if sent, _ := s.round(ctx, t); sent { // what failed is in the log
			wait = pace
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// round sends the next batch of each tenant whose turn it is. One whose batch fails pauses
// alone.
func (s *Stream) round(ctx context.Context, t *target) (sent bool, err error) {
	tenants, err := s.cfg.Source.AuditTenants(ctx)
	if s.unlisted(ctx, t, err); err != nil {
		return false, err
	}
	var errs []error
	for _, tenant := range tenants {
		if !t.isDue(tenant, s.cfg.Now()) {
			continue
		}
		n, err := s.next(ctx, t, tenant)
		if ctx.Err() != nil {
			return sent, ctx.Err()
		}
		s.noted(t, tenant, n, err)
		sent, errs = sent || n > 0, append(errs, err)
	}
	return sent, errors.Join(errs...)
}

func (t *target) isDue(tenant string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !now.Before(t.line(tenant).until)
}

// next sends the next batch of a tenant and returns how many entries the sink took.
func (s *Stream) next(ctx context.Context, t *target, tenant string) (n int, err error) {
	stretch, err := s.cfg.Source.NextAudit(ctx, tenant, t.Name, batchSize)
	if err != nil {
		return 0, err
	}
	if stretch.Behind > 0 && len(stretch.Entries) == 0 {
		return 0, fault.New(fault.Internal, "%d entries of the audit wait, and none of them comes", stretch.Behind)
	}
	t.waits(stretch)
	if stretch.Behind == 0 {
		return 0, nil
	}
	b, err := s.batch(ctx, t, stretch)
	if err != nil {
		return 0, err
	}
	limited, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	if err := t.Sink.Send(limited, b); err != nil {
		return 0, err
	}
	if err := s.cfg.Source.AuditTaken(context.WithoutCancel(ctx), t.Name, stretch); err != nil {
		return 0, err
	}
	return len(b.Entries), nil
}

// waits takes down what a sink does not have yet.
func (t *target) waits(stretch engine.AuditStretch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.line(stretch.Tenant)
	if l.behind = stretch.Behind; l.behind > 0 {
		l.oldest = stretch.Entries[0].At
	}
}

// batch makes a stretch ready to be sent.
func (s *Stream) batch(ctx context.Context, t *target, stretch engine.AuditStretch) (Batch, error) {
	b := Batch{Tenant: stretch.Tenant, Entries: stretch.Entries}
	origin := export.Origin{Tenant: stretch.Tenant, Version: s.cfg.Version}
	for _, entry := range stretch.Entries {
		line, err := t.Format.Append(nil, origin, entry)
		if err != nil {
			return b, err
		}
		b.Lines, b.Payload = append(b.Lines, line[:len(line)-1]), append(b.Payload, line...)
	}
	var err error
	b.Note, err = s.cfg.Source.SignAudit(ctx, stretch.Tenant, ledger.AuditBatch{
		Log: stretch.Log, First: stretch.First, Last: stretch.Last(), Number: stretch.Number, Payload: sha256.Sum256(b.Payload),
	})
	return b, err
}

// noted takes down how it went with a tenant, and says once that its audit is not sent,
// and that it is again.
func (s *Stream) noted(t *target, tenant string, n int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.line(tenant)
	failed := l.pause > 0
	if err != nil {
		l.pause = min(max(firstPause, 2*l.pause), lastPause)
		l.until = s.cfg.Now().Add(l.pause)
	} else {
		*l = line{behind: l.behind - uint64(n), oldest: l.oldest}
		t.sent += uint64(n)
	}
	switch {
	case err != nil && !failed:
		s.cfg.Log.Error("a sink does not get the audit of a tenant, whose entries stay in the log and are sent again", "sink", t.Name, "tenant", tenant, "error", err)
	case err == nil && failed:
		s.cfg.Log.Warn("a sink gets the audit of a tenant again", "sink", t.Name, "tenant", tenant)
	}
}

// unlisted notes whether it is known whose audit there is.
func (s *Stream) unlisted(ctx context.Context, t *target, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil && t.blind == nil && ctx.Err() == nil {
		s.cfg.Log.Error("the audit cannot be sent: its tenants cannot be read", "sink", t.Name, "error", err)
	}
	t.blind = err
}
