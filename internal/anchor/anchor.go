// Package anchor keeps the operator's anchor log: a log of its own whose entries
// stand for checkpoints of the tenants' logs, and whose checkpoints are shown to
// witnesses and a timestamp authority.
//
// An entry is SHA-256 of 32 random bytes and the tenant's checkpoint
// (ledger.AnchorEntry), so whoever reads the anchor log learns neither which
// tenants there are nor what they do. Whoever is shown the random bytes can check
// that one checkpoint, by ledger.Anchor.
//
// What it promises:
//
//   - Nothing is signed that does not continue what was signed before. Each
//     checkpoint stands beside the keys before anybody sees it, and after a start
//     none is signed before a quorum of witnesses has said that the newest one is
//     also theirs.
//   - Data that were set back, or a log that a witness knows otherwise, halt it: it
//     signs nothing more, and says so in Halted, its metrics and the log, also
//     after a restart. Only a restore goes on, in another log.
//   - A witness or an authority that cannot be reached only delays.
//
// docs/design/anchor.md has the reasons.
package anchor

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// CodeHalted is the code of the error that says why nothing more is signed.
const CodeHalted = "anchor_halted"

// Config says what is anchored and who sees it.
type Config struct {
	Store      *store.DB
	Deployment string
	// Scope admits the anchor log to a tenant, and Tenants lists them all.
	Scope   func(tenant string) store.Scope
	Tenants func(ctx context.Context) ([]string, error)
	// Seed returns the seed of the anchor log's Ed25519 key, 32 bytes. Whoever has it
	// can sign any history as the anchor log's.
	Seed func(ctx context.Context) ([]byte, error)

	Witnesses []Witness
	Quorum    int        // how many of them must have cosigned a checkpoint; at most all
	Authority *Authority // of timestamps; nil: none
	// Transport makes the calls. Default: one that calls the addresses of this
	// configuration and no others, by no proxy of the environment.
	Transport http.RoundTripper
	// Interval is the least time between two checkpoints. Default a minute.
	Interval time.Duration
	Log      *slog.Logger
}

// Check refuses settings that cannot work.
func (c *Config) Check() error {
	names := map[string]bool{}
	for _, w := range c.Witnesses {
		if err := w.check(); err != nil {
			return err
		}
		if names[w.Key.Name()] {
			return refusedConfig("two witnesses are named %q", w.Key.Name())
		}
		names[w.Key.Name()] = true
	}
	switch {
	case c.Quorum < 0 || c.Quorum > len(c.Witnesses):
		return refusedConfig("a quorum of %d cannot be met by %d witnesses", c.Quorum, len(c.Witnesses))
	case c.Quorum == 0 && len(c.Witnesses) > 0:
		return refusedConfig("there are witnesses, and no quorum of them is asked for")
	case c.Interval < 0:
		return refusedConfig("the interval is negative")
	case c.Authority != nil:
		return c.Authority.check()
	}
	return nil
}

func refusedConfig(format string, args ...any) error {
	return fault.New(fault.Invalid, "the log cannot be anchored: %s", fmt.Sprintf(format, args...)).WithCode("config_invalid")
}

// Log is the anchor log. Start it and Stop it.
type Log struct {
	config    Config
	client    *http.Client
	witnesses []*asked
	authority *asking
	figures   figures

	stop context.CancelFunc
	done sync.WaitGroup

	mu      sync.Mutex      // guards what follows
	dirty   map[string]bool // tenants with checkpoints that may not be anchored
	halted  error           // why nothing more is signed; nil: nothing is wrong
	taken   time.Time       // when checkpoints of tenants were taken last
	delayed error           // how the last round ended; nil: nothing was left to do
	signs   bool            // since the start, whoever is asked has confirmed what was there, if anything was

	// Owned by the goroutine that runs rounds.
	loaded    bool             // what follows was read
	head      store.AnchorHead // the newest signed checkpoint
	size      uint64           // of the tree
	complete  uint64           // size of the newest complete checkpoint
	confirmed bool             // since the start, a quorum has cosigned a head
	shown     shown            // what was answered to the head
}

// shown is what witnesses and authority have answered to one head.
type shown struct {
	lines map[*asked][]byte // their signature lines
	token []byte
}

// New returns an anchor log that does nothing before Start.
func New(cfg Config) (*Log, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if cfg.Interval == 0 {
		cfg.Interval = time.Minute
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	l := &Log{config: cfg, client: newClient(cfg.Transport), dirty: map[string]bool{}, shown: shown{lines: map[*asked][]byte{}}}
	for _, w := range cfg.Witnesses {
		l.witnesses = append(l.witnesses, &asked{Witness: w})
	}
	if cfg.Authority != nil {
		l.authority = newAsking(*cfg.Authority)
	}
	return l, nil
}

// Origin names an anchor log. Number 1 is a deployment's first; another one was
// begun by a restore.
func Origin(deployment string, number int64) string {
	if number == 1 {
		return "underseal/" + deployment + "/anchor"
	}
	return fmt.Sprintf("underseal/%s/anchor.%d", deployment, number)
}

// emptyRoot is the root of a tree without leaves (RFC 6962 section 2.1).
var emptyRoot = sha256.Sum256(nil)

// Checkpointed says that a tenant has a new checkpoint.
func (l *Log) Checkpointed(tenant string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dirty[tenant] = true
}

// Halted returns why nothing more may be signed, by any log of the deployment; nil
// when nothing is wrong. It is an Integrity fault with the code CodeHalted.
func (l *Log) Halted() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.halted
}

// CodeNotConfirmed is the code of the error that says why nothing is signed yet.
const CodeNotConfirmed = "not_confirmed"

// MaySign returns nil when logs of the deployment may be signed; else why not: Halted, or
// Unavailable with the code CodeNotConfirmed as long as no quorum of witnesses has said,
// since the start, that the newest checkpoint of this log is theirs too. Until then data
// and keys may have been set back together, and what is signed may be a fork.
func (l *Log) MaySign() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.halted != nil || l.signs {
		return l.halted
	}
	return fault.New(fault.Unavailable, "no log is signed before a quorum of witnesses has confirmed what was signed before the start").
		WithCode(CodeNotConfirmed).WithCause(l.delayed).
		WithHint("nothing is lost: steps go on, and get their places and heads when enough witnesses answer")
}

func (l *Log) opened() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.signs = true
}

// Schedule says when checkpoints of tenants are taken next, and what the newest
// checkpoint of this log lacks; nil: nothing.
func (l *Log) Schedule() (next time.Time, delayed error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if next = l.taken.Add(l.config.Interval); l.taken.IsZero() || next.Before(time.Now()) {
		next = time.Now()
	}
	return next, l.delayed
}

// halt stops all signing for good, and writes that down.
func (l *Log) halt(ctx context.Context, reason string) error {
	l.stopSigning(reason)
	h := l.head
	h.Halted = reason
	if err := l.config.Store.PutAnchorHead(ctx, l.head, h); err != nil {
		l.config.Log.Error("could not write down that the anchor log is halted", "error", err)
	}
	return l.Halted()
}

func (l *Log) stopSigning(reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.halted = fault.New(fault.Integrity, "no checkpoint is signed any more: %s", reason).WithCode(CodeHalted).
		WithHint("find out what was set back or exchanged, then put a backup back with: underseal restore")
	l.config.Log.Error("no checkpoint is signed any more", "reason", reason)
}

// Start begins to anchor, in the background.
func (l *Log) Start(ctx context.Context) error {
	tenants, err := l.config.Tenants(ctx)
	if err != nil {
		return err
	}
	for _, t := range tenants {
		l.Checkpointed(t)
	}
	if err := l.load(ctx); err != nil && fault.CodeOf(err) != CodeHalted {
		return err
	}
	if len(l.witnesses) > 0 {
		l.tellKey(ctx)
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	l.done.Go(func() { l.run(run) })
	return nil
}

// Stop ends what Start began. It may be called again.
func (l *Log) Stop() {
	if l.stop != nil {
		l.stop()
	}
	l.done.Wait()
}

// run makes a round each interval, and after one that failed earlier: after a
// second, two, four ...
func (l *Log) run(ctx context.Context) {
	for failed := time.Second; ; {
		wait := l.config.Interval
		err := l.round(ctx)
		l.mu.Lock()
		l.delayed = err
		l.mu.Unlock()
		switch {
		case l.Halted() != nil || ctx.Err() != nil:
			return
		case err == nil:
			failed = time.Second
		default:
			l.config.Log.Warn("the anchor log waits", "error", err, "again_in", failed)
			wait, failed = failed, min(2*failed, l.config.Interval)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// round takes the tenants' new checkpoints, signs a checkpoint over them and shows
// it around. An error means that something is still to be done.
func (l *Log) round(ctx context.Context) error {
	if err := l.load(ctx); err != nil {
		return err
	}
	if err := l.confirm(ctx); err != nil {
		return err
	}
	if next, _ := l.Schedule(); !next.After(time.Now()) {
		now := time.Now()
		if err := l.take(ctx); err != nil {
			return err
		}
		l.mu.Lock()
		l.taken = now
		l.mu.Unlock()
	}
	if err := l.sign(ctx); err != nil {
		return err
	}
	if l.head.Size == l.complete {
		return nil
	}
	return l.show(ctx)
}

// confirm has a quorum of witnesses cosign the head once after each start: data and
// keys that were set back together would otherwise be signed on.
func (l *Log) confirm(ctx context.Context) error {
	if l.confirmed || l.head.Size == 0 {
		return nil
	}
	err := l.show(ctx)
	l.confirmed = l.Halted() == nil && len(l.shown.lines) >= l.config.Quorum
	if l.confirmed {
		l.opened()
		return nil // what else is missing is asked for again
	}
	return err
}

// load reads head and tree and compares them.
func (l *Log) load(ctx context.Context) error {
	if err := l.Halted(); err != nil || l.loaded {
		return err
	}
	head, err := l.readHead(ctx)
	if err != nil {
		return err
	}
	l.head, l.shown = head, shown{lines: map[*asked][]byte{}}
	if head.Halted != "" {
		l.stopSigning(head.Halted)
		return l.Halted()
	}
	length, err := l.config.Store.AnchorLength(ctx, head.Log)
	if err != nil {
		return err
	}
	l.size = treeSize(length)
	if err := l.compare(ctx); err != nil {
		return err
	}
	newest, err := l.config.Store.NewestAnchorCheckpoint(ctx, head.Log)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	l.complete, l.loaded = newest.Size, true
	if head.Size == 0 || l.config.Quorum == 0 { // there is nothing to confirm, or nobody who could
		l.opened()
	}
	for _, w := range l.witnesses {
		w.remember(newest)
	}
	l.figures.set(l.head.Size, l.complete)
	return nil
}

// readHead returns the newest anchor log's head, and begins the first log.
func (l *Log) readHead(ctx context.Context) (store.AnchorHead, error) {
	head, err := l.config.Store.AnchorHead(ctx)
	if !fault.Is(err, fault.NotFound) {
		return head, err
	}
	head = store.AnchorHead{Log: 1, Root: emptyRoot}
	return head, l.config.Store.OpenAnchorLog(ctx, head)
}

// compare halts the log when its tree does not continue the head beside the keys:
// the data were set back, or changed.
func (l *Log) compare(ctx context.Context) error {
	if l.size < l.head.Size {
		return l.halt(ctx, fmt.Sprintf("the anchor log has %d entries in the database, and signed a checkpoint of %d before: the database was set back", l.size, l.head.Size))
	}
	root, err := l.root(ctx, l.head.Size)
	if fault.Is(err, fault.Integrity) || err == nil && root != ledger.Hash(l.head.Root) {
		return l.halt(ctx, fmt.Sprintf("the anchor log's entries in the database are not those of the checkpoint of %d that it signed: the database was changed", l.head.Size))
	}
	return err
}

// take adds an entry for each new checkpoint of a tenant.
func (l *Log) take(ctx context.Context) error {
	l.mu.Lock()
	tenants := slices.Sorted(maps.Keys(l.dirty))
	l.mu.Unlock()
	for _, tenant := range tenants {
		l.mu.Lock()
		delete(l.dirty, tenant) // one that comes from now on counts for the next round
		l.mu.Unlock()
		if err := l.takeTenant(ctx, l.config.Scope(tenant)); err != nil {
			l.Checkpointed(tenant)
			l.loaded = false // whatever is there now
			return err
		}
	}
	return nil
}

func (l *Log) takeTenant(ctx context.Context, s store.Scope) error {
	shards, err := l.config.Store.Shards(ctx, s)
	if err != nil {
		return err
	}
	for _, shard := range shards {
		size, signed, err := l.config.Store.Checkpoint(ctx, s, shard.Number)
		if fault.Is(err, fault.NotFound) {
			continue
		} else if err != nil {
			return err
		}
		newest, err := l.config.Store.NewestOpening(ctx, s, shard.Number)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		if newest.Size >= size {
			continue
		}
		if err := l.add(ctx, s, store.AnchorOpening{Shard: shard.Number, Size: size, Signed: signed}); err != nil {
			return err
		}
	}
	return nil
}

// add appends the entry of one checkpoint.
func (l *Log) add(ctx context.Context, s store.Scope, o store.AnchorOpening) error {
	c, err := ledger.UnverifiedCheckpoint(o.Signed) // ours: what it claims is all that is anchored
	if err != nil {
		return err
	}
	rand.Read(o.Blind[:])
	o.Log, o.Index = l.head.Log, l.size
	entry := ledger.AnchorEntry(o.Blind, c)
	stored, err := tlog.StoredHashes(int64(l.size), entry[:], l.reader(ctx))
	if err != nil {
		return readError(err)
	}
	hashes := make([][32]byte, len(stored))
	for i, h := range stored {
		hashes[i] = h
	}
	if err := l.config.Store.AddAnchor(ctx, s, o, tlog.StoredHashCount(int64(l.size)), hashes); err != nil {
		return err
	}
	l.size++
	return nil
}

// sign signs a checkpoint of the whole tree, if that is more than was signed, and
// puts it beside the keys.
func (l *Log) sign(ctx context.Context) error {
	if l.size == l.head.Size {
		return nil
	}
	if err := l.compare(ctx); err != nil {
		return err
	}
	root, err := l.root(ctx, l.size)
	if err != nil {
		return err
	}
	origin := Origin(l.config.Deployment, l.head.Log)
	seed, err := l.config.Seed(ctx)
	if err != nil {
		return err
	}
	signer, err := ledger.NoteSigner(origin, seed)
	if err != nil {
		return err
	}
	signed, err := ledger.SignCheckpoint(ledger.Checkpoint{Origin: origin, Size: l.size, Root: root}, signer)
	if err != nil {
		return err
	}
	h := store.AnchorHead{Log: l.head.Log, Size: l.size, Root: root, Signed: signed}
	if err := l.config.Store.PutAnchorHead(ctx, l.head, h); err != nil {
		l.loaded = false
		return err
	}
	l.head, l.shown = h, shown{lines: map[*asked][]byte{}}
	l.figures.set(l.head.Size, l.complete)
	return nil
}

// Renew begins another anchor log in restored data: the one before may have gone on
// since the backup was made, and must not be forked. Witnesses take the new one by
// the prefix of its origin. Without an anchor log it does nothing, unless one was begun,
// of which nothing is left.
func Renew(ctx context.Context, db *store.DB, begun bool) error {
	head, err := db.AnchorHead(ctx)
	switch {
	case fault.Is(err, fault.NotFound) && !begun:
		return nil
	case err != nil && !fault.Is(err, fault.NotFound):
		return err
	}
	// A number that no restore of the same backup has taken before.
	number := max(head.Log+1, time.Now().Unix())
	return db.OpenAnchorLog(ctx, store.AnchorHead{Log: number, Root: emptyRoot})
}
