// Package sequencer gives the leaves of all tenants their places in their logs,
// grows the trees over them and signs checkpoints.
//
// It promises:
//
//   - Every leaf gets exactly one place, in the order in which leaves were committed,
//     and a row that no server made gets none.
//   - Entries, tiles, size and cursor of a batch are one transaction, so that a
//     crash leaves the tree of some size, and the next start goes on from there.
//   - Nothing is signed that does not continue the last signed checkpoint: the
//     proof is made from the stored tiles and checked against the checkpoint beside
//     the keys. A tenant whose tree is another is stopped, and says so; the others
//     go on.
//   - A checkpoint is stored beside the keys before it is published, so that data
//     which was set back to before it is noticed.
//
// docs/design/sequencer.md has the reasons.
package sequencer

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
)

// Signing knows the keys of a tenant's logs.
type Signing interface {
	// Genuine returns what tells the leaves that a server made from rows that somebody
	// put into the database.
	Genuine(ctx context.Context, tenant string) (func(object store.ID, seq uint64, leaf store.Leaf) bool, error)

	// PlatformSigners returns who signs the checkpoint of a size of a log, at least one.
	// It may write leaves of the tenant.
	PlatformSigners(ctx context.Context, tenant, origin string, size uint64) ([]note.Signer, error)
}

// Config is what a sequencer works with. Store, Signing and Scope are required.
type Config struct {
	Store   *store.DB
	Signing Signing
	Scope   func(tenant string) store.Scope // admits the sequencer to a tenant
	Log     *slog.Logger
	Now     func() time.Time // nil: time.Now

	// Published is told of every checkpoint that was published, one after the other,
	// and once more at each heartbeat. The next one waits for it to return.
	Published func(ctx context.Context, tenant string, shard store.Shard, size uint64, signed []byte)

	// Batch is how many leaves get their places in one transaction. Default 512.
	Batch int
	// Interval is the least time between two checkpoints of a tenant. Default 1 s.
	Interval time.Duration
	// Heartbeat is how old the newest checkpoint of a tenant's open log gets before
	// it is published again. Default 24 h.
	Heartbeat time.Duration

	testingOnlyFault func(point string) error // fails before what is made durable
}

func (cfg *Config) setDefaults() {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Batch == 0 {
		cfg.Batch = 512
	}
	if cfg.Interval == 0 {
		cfg.Interval = time.Second
	}
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = 24 * time.Hour
	}
	if cfg.Published == nil {
		cfg.Published = func(context.Context, string, store.Shard, uint64, []byte) {}
	}
}

// retryStopped is how long a stopped tenant waits to be looked at again: its rows
// may have been put right.
const retryStopped = time.Minute

// Sequencer is the sequencer of one node. There must be one for a database.
type Sequencer struct {
	cfg Config

	mu      sync.Mutex // guards tenants and cancel
	tenants map[string]*tenant
	cancel  context.CancelFunc

	news chan struct{} // one value when a tenant has something new
	done sync.WaitGroup
}

// tenant is what the sequencer holds of a tenant in memory. All of it can be thrown
// away.
type tenant struct {
	scope store.Scope

	grow sync.Mutex // held by whoever gives places to leaves
	edge *edge      // of the newest log that has grown; nil: to be read. Guarded by grow
	// settling is set while leaves of restored data get their places, of whose logs
	// more was signed. Guarded by grow.
	settling bool

	closed map[int]bool // logs that need no checkpoint any more; owned by the work on it

	mu      sync.Mutex // guards what follows
	dirty   bool       // leaves may have been committed
	more    bool       // leaves waited when a pass ended
	due     time.Time  // not before then is anything done
	pulse   time.Time  // when the newest checkpoint is published again; zero: there is none
	waits   bool       // for something that is away, which the log was told
	figures figures
}

// New returns a sequencer that is not started.
func New(cfg Config) *Sequencer {
	cfg.setDefaults()
	return &Sequencer{cfg: cfg, tenants: map[string]*tenant{}, news: make(chan struct{}, 1)}
}

// tenant returns a tenant's part, which is new if nobody has asked for it.
func (s *Sequencer) tenant(name string) *tenant {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tenants[name]
	if !ok {
		t = &tenant{scope: s.cfg.Scope(name), closed: map[int]bool{}}
		s.tenants[name] = t
	}
	return t
}

// Wrote says that leaves of a tenant may have been committed. It does not wait.
func (s *Sequencer) Wrote(name string) {
	t := s.tenant(name)
	t.mu.Lock()
	was := t.dirty
	t.dirty = true
	t.mu.Unlock()
	if was {
		return
	}
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// Start begins to work in the background, on all tenants that there are. Check
// must have found nothing before. Starting again does nothing.
func (s *Sequencer) Start(ctx context.Context) error {
	s.mu.Lock()
	started := s.cancel != nil
	s.mu.Unlock()
	if started {
		return nil
	}
	tenants, err := s.cfg.Store.Keys().Tenants(ctx)
	if err != nil {
		return err
	}
	for _, name := range tenants {
		s.Wrote(name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	run, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.done.Go(func() { s.run(run) })
	return nil
}

// Stop ends the work in the background, after what was committed before the call
// has got its places and a checkpoint, if that takes no longer than ctx. Stopping
// again does nothing.
func (s *Sequencer) Stop(ctx context.Context) {
	s.mu.Lock()
	cancel := s.cancel
	s.cancel = nil
	s.mu.Unlock()
	if cancel == nil {
		return
	}
	cancel()
	s.done.Wait()
	for more := true; more && ctx.Err() == nil; more = s.more() {
		s.pass(ctx, true)
	}
}

// more reports whether the last pass left leaves that could have got their places.
func (s *Sequencer) more() bool {
	for _, t := range s.copied() {
		t.mu.Lock()
		more := t.more
		t.mu.Unlock()
		if more {
			return true
		}
	}
	return false
}

func (t *tenant) setMore(more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.more = more
}

// run works whenever there is something to do.
func (s *Sequencer) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.news:
		case <-timer.C:
		}
		timer.Reset(s.pass(ctx, false))
	}
}

// pass works on every tenant that is due and returns how long it is until the next
// one is. All: tenants with something new are due at once.
func (s *Sequencer) pass(ctx context.Context, all bool) time.Duration {
	next := time.Hour
	for name, t := range s.copied() {
		if ctx.Err() != nil {
			return next
		}
		if t.begin(all, s.cfg.Interval) {
			err := s.work(ctx, name, t)
			s.noted(ctx, name, t, errors.Join(err, s.measure(ctx, t)))
		}
		next = min(next, t.wait(false))
	}
	return max(next, time.Millisecond)
}

// begin reports whether it is the tenant's turn. The next one comes an interval
// later, whatever becomes of this one.
func (t *tenant) begin(all bool, interval time.Duration) bool {
	if t.wait(all) > 0 {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dirty, t.due = false, time.Now().Add(interval)
	return true
}

func (s *Sequencer) copied() map[string]*tenant {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]*tenant, len(s.tenants))
	for name, t := range s.tenants {
		all[name] = t
	}
	return all
}

// wait returns how long the tenant has to wait for its turn.
func (t *tenant) wait(all bool) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.dirty && all:
		return 0
	case t.dirty:
		return time.Until(t.due)
	case t.pulse.IsZero():
		return time.Hour
	}
	return max(time.Until(t.pulse), time.Until(t.due))
}

// Stopped returns why nothing more is signed for a tenant; nil: nothing is wrong.
func (s *Sequencer) Stopped(name string) error {
	t := s.tenant(name)
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.figures.stopped
}

// StoppedTenants returns of how many tenants nothing more is signed.
func (s *Sequencer) StoppedTenants() (n int) {
	for name := range s.copied() {
		if s.Stopped(name) != nil {
			n++
		}
	}
	return n
}

// work gives leaves of a tenant their places and publishes what is new.
func (s *Sequencer) work(ctx context.Context, name string, t *tenant) error {
	more, err := s.growSome(ctx, t)
	t.setMore(more)
	if err != nil {
		return err
	}
	shards, err := s.cfg.Store.Shards(ctx, t.scope)
	if err != nil {
		return err
	}
	for _, shard := range shards {
		if shard.Size == 0 || t.closed[shard.Number] {
			continue
		}
		if err := s.sign(ctx, name, t, shard); err != nil {
			return err
		}
		t.closed[shard.Number] = !shard.Open && shard.Number < shards[len(shards)-1].Number
	}
	return nil
}

// noted takes down how work on a tenant ended. An outage is tried again soon; a
// tree that is not what was signed stops the tenant.
func (s *Sequencer) noted(ctx context.Context, name string, t *tenant, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	former := t.figures.stopped != nil || t.waits
	t.figures.stopped = err
	if fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Conflict) {
		t.figures.stopped = nil
	}
	stopped, waited := t.figures.stopped != nil, t.waits
	t.waits = err != nil && !stopped
	if err == nil {
		if former {
			s.cfg.Log.Warn("a tenant's log goes on", "tenant", name)
		}
		return
	}
	t.dirty = true
	if stopped {
		t.due = time.Now().Add(retryStopped)
	}
	if stopped && (!former || waited) && ctx.Err() == nil {
		s.cfg.Log.Error("a tenant's log is stopped: nothing more is signed for it", "tenant", name, "error", err)
	}
	if !stopped && !waited && ctx.Err() == nil {
		s.cfg.Log.Warn("a tenant's log waits", "tenant", name, "error", err)
	}
}

// durable is called before everything that is made durable.
func (s *Sequencer) durable(point string) error {
	if s.cfg.testingOnlyFault != nil {
		return s.cfg.testingOnlyFault(point)
	}
	return nil
}
