// Package node is one running server without its listeners: database, keys,
// engine and runner, opened in the order in which each can check the others.
package node

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/underseal/underseal/internal/anchor"
	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/blob/files"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/limit"
	"github.com/underseal/underseal/internal/passkey"
	"github.com/underseal/underseal/internal/password"
	"github.com/underseal/underseal/internal/runner"
	"github.com/underseal/underseal/internal/sequencer"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/internal/stream"
)

// Config says where a node's data and keys are.
type Config struct {
	Data    string // data directory (SQLite)
	DSN     string // Postgres instead, when not empty
	KeysDSN string // Postgres of the key tables; default: another schema of DSN
	KeyFile string // path of the key file, outside the data directory; a key service named KeyFileService
	// KeyFilePassphrase is the key file's, which gets it when it is made; empty: none.
	KeyFilePassphrase string
	// KeyServices are further key services by name. One named KeyFileService takes
	// the place of the key file.
	KeyServices map[string]kms.Service
	// KeyService names the key service of new tenants. Default: KeyFileService.
	KeyService string
	// Rotation says after how long keys are rotated; the zero value is never.
	Rotation keyring.Schedule
	// Create makes data and key file, when both are absent; no key file when another
	// key service is the default. A key file is never made for data that is there
	// already: that data wants its own.
	Create bool
	Log    *slog.Logger
	Now    func() time.Time // nil: time.Now
	// Restored says that data was brought back from a backup and may be older than
	// what was signed of it: it goes on in new logs, which name what is lost, instead
	// of being refused.
	Restored bool
	// HotInstances bounds the instances that stay open in memory; 0: 20,000.
	HotInstances int
	// Blobs is where files are kept: BlobsInFiles or BlobsInRows; empty: in rows when
	// the database is Postgres, else in files.
	Blobs string
	// OpenBlobs opens another store of files, of a deployment. It comes before Blobs.
	OpenBlobs func(deployment string) (blob.Store, error)
	Files     engine.FileLimits // bounds of each tenant's files
	// Anchor says who sees the log: Witnesses, Quorum, Authority and Interval are
	// used. Without witnesses and authority there is no anchor log.
	Anchor anchor.Config
	// ErasureDelay is how long an erasure waits unless it is ordered otherwise.
	ErasureDelay time.Duration
	// ErasureEpoch is how long after an erasure old key versions are destroyed; 0: 30 days.
	ErasureEpoch time.Duration
	// SessionAge and SessionIdle are those of the engine's configuration, like Breached and
	// Passwords.
	SessionAge, SessionIdle time.Duration
	Breached                password.Breached
	Passwords               *password.Gate
	// Passkeys is for what address people have passkeys; the zero one: for none.
	Passkeys passkey.RelyingParty
	// BreakGlassLongest and BreakGlassSettled are those of the engine's configuration.
	BreakGlassLongest, BreakGlassSettled time.Duration
	// Issuers checks what those say whose word tenants take; nil: nobody's counts.
	Issuers engine.Issuers
	// Limits say how often each may call. On Postgres all servers count together.
	Limits limit.Rates
	// Observe and Fault are those of the store's configuration: for tests.
	Observe func(ctx context.Context, tenant, query string, rows int)
	Fault   func(ctx context.Context, query string) error
	// CheckRate is how many rows a second are compared with the log in the background;
	// 0: none.
	CheckRate int
	// CheckFilesRate is how many bytes of files a second an ordered check reads; 0: as many
	// as can be.
	CheckFilesRate int64
}

// Where a node itself can keep files.
const (
	BlobsInFiles = "files"    // the folder blobs of the data directory, one folder per deployment
	BlobsInRows  = "postgres" // the database, which must be Postgres
)

// Node is a running node. Close it.
type Node struct {
	Engine  *engine.Engine
	Created bool // the data was made by this Open
	// Reopened is what Config.Restored led to: the logs that go on, and what is lost.
	Reopened []engine.Reopened
	Limits   *limit.Limiter

	db        *store.DB
	ring      *keyring.Ring
	guards    []*kms.Guarded // of the key services
	identity  *identity.Directory
	blobs     blob.Store
	ownBlobs  bool // it asks no service for them
	runner    *runner.Runner
	sequencer *sequencer.Sequencer
	log       *slog.Logger
	keys      keyWatch
	epoch     time.Duration    // Config.ErasureEpoch
	waiting   map[string]error // tenants that were told of as not served; owned by the job
	anchor    *anchor.Log      // nil: nobody is to see the log
	stream    *stream.Stream   // nil: the audit is sent to nobody

	integrity integrity
	settings  untoldSettings
	shared    bool // other servers may use the database

	now  func() time.Time
	stop context.CancelFunc
	done sync.WaitGroup
}

// Open opens or makes a node's data and starts its runner.
func Open(ctx context.Context, cfg Config) (*Node, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	db, err := store.Open(ctx, store.Config{Path: cfg.Data, DSN: cfg.DSN, KeysDSN: cfg.KeysDSN, Observe: cfg.Observe, Fault: cfg.Fault})
	if err != nil {
		return nil, err
	}
	n := &Node{db: db, log: cfg.Log, now: cfg.Now, keys: keyWatch{schedule: cfg.Rotation}, integrity: newIntegrity(cfg.CheckRate, cfg.CheckFilesRate), epoch: cfg.ErasureEpoch}
	if err := n.open(ctx, cfg); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (cfg *Config) check() error {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.DSN == "" && within(cfg.Data, cfg.KeyFile) {
		return fault.New(fault.Invalid, "key file %s is inside the data directory %s", cfg.KeyFile, cfg.Data).
			WithHint("keep the key apart, so that no copy of the data has its key with it")
	}
	if cfg.DSN != "" || cfg.Create {
		return nil
	}
	if _, err := os.Stat(filepath.Join(cfg.Data, "data.db")); errors.Is(err, os.ErrNotExist) {
		return fault.New(fault.NotFound, "there is no data in %s", cfg.Data).WithHint("--data names another directory; `underseal init` makes new data")
	}
	return nil
}

func within(dir, path string) bool {
	dir, err1 := filepath.Abs(dir)
	path, err2 := filepath.Abs(path)
	if err1 != nil || err2 != nil {
		return false
	}
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

func (n *Node) open(ctx context.Context, cfg Config) error {
	meta, found, err := n.db.Deployment(ctx)
	if err != nil {
		return err
	}
	if !found && !cfg.Create {
		return fault.New(fault.NotFound, "the database holds no Underseal data").WithHint("make it with `underseal init`")
	}
	if found {
		if err := n.checkRestored(ctx, cfg); err != nil {
			return err
		}
	}
	services, byDefault, err := n.keyServices(ctx, cfg, !found)
	if err != nil {
		return err
	}
	if !found {
		if meta, err = n.create(ctx); err != nil {
			return err
		}
	}
	n.ring, err = keyring.Open(ctx, keyring.Config{
		Services: n.guard(services, cfg), Default: byDefault, Storage: n.db.Keys(), Deployment: meta.Deployment, Now: cfg.Now,
	})
	if err != nil {
		return err
	}
	n.identity = identity.New(identity.Config{Store: n.db, Ring: n.ring, Deployment: meta.Deployment, Now: cfg.Now})
	if n.blobs, err = n.openBlobs(ctx, cfg, meta.Deployment); err != nil {
		return err
	}
	n.Engine, err = engine.New(engine.Config{
		Store: n.db, Ring: n.ring, Identity: n.identity, Issuers: cfg.Issuers, Deployment: meta.Deployment, Now: cfg.Now,
		Blobs: n.blobs, Files: cfg.Files, ErasureDelay: cfg.ErasureDelay, ErasureEpoch: cfg.ErasureEpoch,
		SessionAge: cfg.SessionAge, SessionIdle: cfg.SessionIdle, Breached: cfg.Breached, Passwords: cfg.Passwords, Passkeys: cfg.Passkeys,
		BreakGlassLongest: cfg.BreakGlassLongest, BreakGlassSettled: cfg.BreakGlassSettled,
	})
	if err != nil {
		return err
	}
	n.runner = runner.New(runner.Config{Engine: n.Engine, Store: n.db, Log: cfg.Log, Now: cfg.Now, Hot: cfg.HotInstances})
	n.Engine.Use(n.runner)
	n.Engine.UseIntegrity(n)
	limits := limit.Config{Rates: cfg.Limits, Now: cfg.Now}
	if n.shared = cfg.DSN != ""; n.shared {
		limits.Share = n.Engine.SharedLimits()
	}
	n.Limits = limit.New(limits)
	if err := n.openLog(ctx, cfg); err != nil {
		return err
	}
	if err := n.openAnchor(ctx, cfg, meta.Deployment); err != nil {
		return err
	}
	if cfg.Restored {
		// Some may have been ended since.
		if err := n.db.DeleteAllSessions(ctx); err != nil {
			return err
		}
		if err := n.db.SetRestoring(ctx, false); err != nil {
			return err
		}
	}
	if n.integrity.anchors, err = n.anchorsToCheck(ctx, cfg); err != nil {
		return err
	}
	if err := n.Engine.ReplayErasures(ctx); err != nil {
		return err
	}
	n.tellWaiting()
	// Without the key service the log cannot be told now; it is within the hour.
	if err := n.Engine.SettleKeyOrders(ctx); err != nil && !fault.Is(err, fault.Unavailable) {
		return err
	}
	if err := n.sequencer.Start(ctx); err != nil {
		return err
	}
	run, stop := context.WithCancel(context.Background())
	n.stop = stop
	n.maintain(run)
	n.done.Go(func() { n.readKept(run) })
	n.done.Go(func() { n.runOrders(run) })
	n.done.Go(func() { n.tellRefusals(run) })
	n.done.Go(func() {
		n.Limits.Run(run, func(err error) {
			n.log.Warn("limits are not shared with other servers for now", "error", err)
		})
	})
	return n.runner.Start(ctx)
}

// checkRestored refuses data of which a restore was begun and not finished: their logs
// would be forked. One that goes on with them marks that before anything can fail.
func (n *Node) checkRestored(ctx context.Context, cfg Config) error {
	if cfg.Restored {
		return n.db.SetRestoring(ctx, true)
	}
	unfinished, err := n.db.Restoring(ctx)
	if err == nil && unfinished {
		err = fault.New(fault.Conflict, "the data were put into place by a restore that is not finished").WithCode("restore_unfinished").
			WithHint("underseal restore --in-place goes on with it: in a new log, so that the old one is not forked")
	}
	return err
}

// openLog makes the sequencer and requires that the data has everything that was
// signed of it, before anything is written.
func (n *Node) openLog(ctx context.Context, cfg Config) error {
	n.sequencer = sequencer.New(sequencer.Config{Store: n.db, Signing: haltable{n}, Scope: n.Engine.TenantScope, Log: cfg.Log, Now: cfg.Now, Published: n.published})
	n.Engine.UseSequencer(n.sequencer)
	if cfg.Restored {
		var err error
		if n.Reopened, err = n.Engine.OpenShardsAfterRestore(ctx); err != nil {
			return err
		}
		if err := n.tellEnded(ctx); err != nil {
			return err
		}
	}
	if err := n.sequencer.Check(ctx); err != nil {
		return err
	}
	n.db.OnLease(n.sequencer.Check)
	return n.sequencer.Recover(ctx)
}

// tellEnded names the logs with leaves of which there will be no proof.
func (n *Node) tellEnded(ctx context.Context) error {
	ended, err := n.Engine.EndedLogs(ctx)
	for _, l := range ended {
		n.log.Warn("the restored log has leaves behind its last signed head: of these there will be no proof",
			"tenant", l.Tenant, "log", l.Origin, "leaves", l.Size-l.Signed, "signed", l.Signed)
	}
	return err
}

// create writes the rows that name new data. The key file was made before: a
// crash between the two leaves a key file without data, which the next try uses.
func (n *Node) create(ctx context.Context) (store.Meta, error) {
	n.Created = true
	meta := store.Meta{Deployment: uuid.NewString()}
	return meta, n.db.InitDeployment(ctx, meta)
}

// SweepKeys deletes keys that were made ahead over a day ago and never used, and
// returns how many. The node does so by itself every hour.
func (n *Node) SweepKeys(ctx context.Context) (int, error) {
	return n.ring.SweepUnassigned(ctx, n.Engine.KeysInUse)
}

func (n *Node) openBlobs(ctx context.Context, cfg Config, deployment string) (blob.Store, error) {
	n.ownBlobs = cfg.OpenBlobs == nil
	switch {
	case !n.ownBlobs:
		return cfg.OpenBlobs(deployment)
	case cfg.blobs() == BlobsInRows:
		return n.db.Blobs(ctx)
	case cfg.blobs() == BlobsInFiles && cfg.Data != "":
		return files.Open(cfg.blobFolder(deployment))
	}
	return nil, cfg.noBlobs()
}

// lookAtBlobs opens the store of files to read, and removes nothing that was left over.
func (n *Node) lookAtBlobs(cfg Config, deployment string) (blob.Store, error) {
	n.ownBlobs = cfg.OpenBlobs == nil
	switch {
	case !n.ownBlobs:
		return cfg.OpenBlobs(deployment)
	case cfg.blobs() == BlobsInRows:
		return n.db.BlobsAsTheyAre()
	case cfg.blobs() == BlobsInFiles && cfg.Data != "":
		return files.AsTheyAre(cfg.blobFolder(deployment)), nil
	}
	return nil, cfg.noBlobs()
}

// fileCheck is how far a check looks at what files hold. Whether they are there is asked
// only where that takes no request of a service for each.
func (n *Node) fileCheck(whole bool) engine.FileCheck {
	switch {
	case whole:
		return engine.FilesWhole
	case n.ownBlobs:
		return engine.FilesThere
	}
	return engine.FilesUnread
}

// blobs returns where the node itself keeps files.
func (cfg *Config) blobs() string {
	switch {
	case cfg.Blobs != "":
		return cfg.Blobs
	case cfg.DSN != "":
		return BlobsInRows
	}
	return BlobsInFiles
}

func (cfg *Config) blobFolder(deployment string) string {
	return filepath.Join(cfg.Data, "blobs", deployment)
}

func (cfg *Config) noBlobs() error {
	return fault.New(fault.Invalid, "files cannot be kept in %q: it is unknown, or there is no data directory", cfg.Blobs)
}

// StreamAudit sends the audit to other systems until the node is closed. It is called
// once, before Collectors.
func (n *Node) StreamAudit(targets []stream.Target, version string) {
	n.stream = stream.New(stream.Config{Source: n.Engine, Targets: targets, Version: version, Log: n.log, Now: n.now})
	n.stream.Start()
}

// Failed is closed when the database cannot be trusted any more; the process
// must then exit, and Err says why.
func (n *Node) Failed() <-chan struct{} { return n.db.Failed() }

// Err returns why the database cannot be trusted any more, else nil.
func (n *Node) Err() error { return n.db.Err() }

// Collectors returns the node's metrics.
func (n *Node) Collectors() []prometheus.Collector {
	all := []prometheus.Collector{prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "underseal_instances_open", Help: "Instances that are open in memory.",
	}, func() float64 { return float64(n.runner.Open()) })}
	all = append(all, n.breakGlassCollectors()...)
	all = append(all, n.integrity.collectors()...)
	all = append(all, n.keys.collectors()...)
	all = append(all, n.sequencer.Collectors()...)
	if n.anchor != nil {
		all = append(all, n.anchor.Collectors()...)
	}
	if n.stream != nil {
		all = append(all, n.stream.Collectors()...)
	}
	for _, g := range n.guards {
		all = append(all, g.Collectors()...)
	}
	return all
}

// breakGlassCollectors count what is given in emergencies, of all tenants.
func (n *Node) breakGlassCollectors() []prometheus.Collector {
	counter := func(name, help string, count func() uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(count()) })
	}
	return []prometheus.Collector{
		counter("underseal_break_glass_requests_total", "Break-glasses that were asked for.", func() uint64 { asked, _ := n.Engine.BreakGlassCount(); return asked }),
		counter("underseal_break_glass_approvals_total", "Break-glasses that were approved.", func() uint64 { _, approved := n.Engine.BreakGlassCount(); return approved }),
	}
}

// lastCheckpoint bounds how long a node that ends waits for the checkpoint over what
// it wrote last. What is missing then, the next start does.
const lastCheckpoint = 10 * time.Second

// Close ends what runs in the background, writes down what is pending and
// closes the database. Requests must have ended before.
func (n *Node) Close() error {
	if n.stop != nil {
		n.stop()
	}
	if n.stream != nil {
		n.stream.Stop()
	}
	if n.runner != nil {
		n.runner.Stop()
	}
	n.done.Wait()
	var err error
	if n.Engine != nil {
		err = n.Engine.TellRefusals(context.Background(), true)
		if err := n.Engine.WriteUses(context.Background()); err != nil { // as good as a crash
			n.log.Warn("when API keys were used could not be written down", "error", err)
		}
		if err := n.Engine.WriteSessionUses(context.Background()); err != nil { // likewise
			n.log.Warn("when sessions were used could not be written down", "error", err)
		}
	}
	if n.sequencer != nil {
		ctx, cancel := context.WithTimeout(context.Background(), lastCheckpoint)
		n.sequencer.Stop(ctx)
		cancel()
	}
	if n.anchor != nil {
		n.anchor.Stop()
	}
	if n.ring != nil {
		n.ring.Close()
	}
	return errors.Join(err, n.db.Close())
}
