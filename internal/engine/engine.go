// Package engine holds the use cases and deliver, the one function through
// which every change of an instance goes. It is the only place where access,
// keyring, process, ledger and store meet.
//
// A use case decides whether the caller may, finds the object, and hands an
// event to deliver. deliver lets the interpreter step, seals what changed,
// commits to it in a leaf and gives the store one write set; after the commit
// the runner carries out the commands. Nothing counts before the commit.
package engine

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/passkey"
	"github.com/underseal/underseal/internal/password"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/store"
)

// Caller is somebody who proved who they are.
type Caller = identity.Caller

// Config is what an engine works with. All fields but Issuers, Now and Files are required.
type Config struct {
	Store      *store.DB
	Ring       *keyring.Ring
	Identity   *identity.Directory
	Issuers    Issuers          // nil: no issuer's word counts
	Deployment string           // id of the deployment, bound into everything sealed
	Now        func() time.Time // nil: time.Now
	Blobs      blob.Store
	Files      FileLimits

	// ErasureDelay is how long an erasure waits, and can be canceled, unless it is
	// ordered otherwise.
	ErasureDelay time.Duration
	// ErasureEpoch is the time after which old versions of the keys above are
	// destroyed if something was erased, so that backups are of no use. Default 30
	// days.
	ErasureEpoch time.Duration

	// SessionAge is how long a session lasts (default 12 h), and SessionIdle how long
	// without being used (default 1 h).
	SessionAge, SessionIdle time.Duration
	// Passkeys is for what address people have passkeys. The zero one: for none.
	Passkeys passkey.RelyingParty
	// BreakGlassLongest is how long a break-glass counts at most (default 4 h), and
	// BreakGlassSettled for how long both people must have been who they are (default 24 h,
	// negative: not at all).
	BreakGlassLongest, BreakGlassSettled time.Duration
	// Breached knows passwords that nobody may set; nil: none.
	Breached password.Breached
	// Passwords bounds how many passwords are hashed at once; nil: as a Gate does by itself.
	Passwords *password.Gate

	// ChecksOnly is set for a check of a database that no server uses: nothing is
	// written.
	ChecksOnly bool
}

// Engine is the use cases of one node. It is safe for concurrent use. Before
// the first call, Use, UseSequencer and UseIntegrity must have given it what they name.
type Engine struct {
	store      *store.DB
	ring       *keyring.Ring
	identity   *identity.Directory
	issuers    Issuers
	departures departures
	deployment string
	now        func() time.Time
	blobs      blob.Store
	limits     *fileLimits
	policies   *access.Policies
	runner     Runner
	sequencer  Sequencer
	shards     shards
	zones      zones

	erasureDelay, erasureEpoch time.Duration
	sessionAge, sessionIdle    time.Duration
	longestGlass, settling     time.Duration // of break-glasses
	glasses                    struct{ asked, approved atomic.Uint64 }

	relying    passkey.RelyingParty
	challenges *passkey.Challenges

	passwords *password.Gate
	breached  password.Breached // nil: none

	checksOnly bool
	restoring  bool // while restored data, which nobody else uses, are behind what is pinned

	deploying locks // one deployment or mode change of a tenant at a time
	custodies locks // one hold, order or erasure of a tenant at a time
	trying    locks // one trial of a tenant's policies at a time
	gates     gates
	defs      definitions
	forms     forms
	readers   readerRates
	anchors   Anchors // nil: none
	integrity Integrity
	signers   signers
	people    people

	keyOrders   locks    // one step of a tenant's record of orders about keys at a time
	carryingOut sync.Map // orderID: what this process carries out

	denials   *refusals // of what callers may not do
	strangers *refusals // of callers who did not prove who they are
	misses    *refusals // of what was not found
	refused   chan struct{}

	testingOnlyFault   func(point string) error // fails what an erasure makes durable
	testingOnlyReading func()                   // called within the reading of a custody
}

// Runner keeps instances open and carries out their commands.
type Runner interface {
	// Use calls f with the instance open and held by this call alone. An
	// instance whose step did not become durable is opened anew next time.
	Use(ctx context.Context, scope store.Scope, id store.ID, f func(*Live) error) error
	// Begin calls f with a new instance, held by this call alone; it is kept
	// open when f succeeds.
	Begin(ctx context.Context, live *Live, f func(*Live) error) error
	// Close calls f while nobody has the instance; what was open of it is thrown
	// away first. If f succeeds, its jobs are offered to nobody any more.
	Close(ctx context.Context, scope store.Scope, id store.ID, f func() error) error
	// Reopen throws away every open instance of the tenant that is stale, and ends
	// the leases of its jobs, which are offered anew. When it returns, nobody holds
	// an instance that was opened before the call and is stale.
	Reopen(ctx context.Context, scope store.Scope, stale func(*Live) bool) error
	// Carry carries out the commands of a step that is durable. The caller
	// holds the instance.
	Carry(live *Live, commands []process.Command)
	// Take leases up to max waiting jobs of a type to a worker, of those places that
	// the worker may; it waits up to wait for the first, and no longer once the worker
	// has changed. offer is called with the instance held.
	Take(ctx context.Context, scope store.Scope, t Take, offer func(*Live, Lease) error) error
	// Holds refuses a lease that is not the job's newest one (Conflict). The
	// caller holds the instance.
	Holds(ctx context.Context, l *Live, job JobRef, lease string) error
	// Extend lengthens the job's newest lease, which is by's from then on. The caller
	// holds the instance.
	Extend(ctx context.Context, l *Live, by Caller, job JobRef, lease string, until time.Time) error
	// Release ends the leases of a tenant whose holders may not have them any more, and
	// offers their jobs anew. Workers who have changed wait no longer.
	Release(scope store.Scope, gone func(by Caller, at JobPlace) bool)
}

// JobRef names a job of an instance.
type JobRef struct {
	Instance store.ID
	Job      uint64
}

// JobPlace is where jobs come from: an element of a process.
type JobPlace struct{ Process, Element string }

// Take asks for jobs.
type Take struct {
	By           Caller
	Type, Worker string
	May          func(JobPlace) bool // nil: all; it is called by one goroutine at a time
	Changed      func() bool         // whether By is not what is known of them any more; nil: never
	Max          int
	Lease, Wait  time.Duration
}

// Until returns when a lease ends that begins now: at the latest when the worker's
// credential does.
func (t Take) Until(now time.Time) time.Time {
	until := now.Add(t.Lease)
	if ends := t.By.Ends(); !ends.IsZero() && ends.Before(until) {
		return ends
	}
	return until
}

// Lease is a job that is a worker's until a deadline.
type Lease struct {
	JobRef
	Token    string
	Deadline time.Time
}

// New returns an engine.
func New(cfg Config) (*Engine, error) {
	policies, err := access.Builtin()
	if err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.ErasureEpoch == 0 {
		cfg.ErasureEpoch = 30 * 24 * time.Hour
	}
	e := &Engine{
		store: cfg.Store, ring: cfg.Ring, identity: cfg.Identity, issuers: cfg.Issuers, deployment: cfg.Deployment,
		now: cfg.Now, policies: policies, blobs: cfg.Blobs, limits: newFileLimits(cfg.Files),
		erasureDelay: cfg.ErasureDelay, erasureEpoch: cfg.ErasureEpoch, checksOnly: cfg.ChecksOnly,
		sessionAge: cmp.Or(cfg.SessionAge, defaultSessionAge), sessionIdle: cmp.Or(cfg.SessionIdle, defaultSessionIdle),
		longestGlass: cmp.Or(cfg.BreakGlassLongest, defaultLongestGlass), settling: max(0, cmp.Or(cfg.BreakGlassSettled, defaultSettled)),
		passwords: cmp.Or(cfg.Passwords, &password.Gate{}), breached: cfg.Breached, relying: cfg.Passkeys, challenges: passkey.NewChallenges(),
	}
	e.refused = make(chan struct{}, 1)
	e.denials, e.strangers, e.misses = newRefusals(e, accessDenied, e.refused), newRefusals(e, signInFailed, e.refused), newRefusals(e, accessMissed, e.refused)
	return e, nil
}

// Use sets the runner. It is called once, before the first use case.
func (e *Engine) Use(r Runner) { e.runner = r }

// may asks access, for every use case that is not about one record of a process. What the caller may not do is Denied, and
// the log is told. A tenant that is not served yet is Unavailable.
func (e *Engine) may(ctx context.Context, c Caller, action access.Action, kind, id string) error {
	owner := ""
	if kind == string(access.Someone) { // everybody is their own
		owner = id
	}
	return e.mayOwn(ctx, c, action, kind, id, owner)
}

// mayOwn is may for what belongs to a principal, or is one: that one may see it, and end
// it, without a role.
func (e *Engine) mayOwn(ctx context.Context, c Caller, action access.Action, kind, id, owner string) error {
	if err := e.admitted(c.Scope); err != nil {
		return err
	}
	on := access.Resource{Kind: access.Kind(kind), ID: id, Tenant: c.Scope.Tenant(), Owner: owner}
	if kind == targetSubject { // as policies call them
		on.Kind = access.Person
	}
	if e.sees(c, action, on) {
		return nil
	}
	return e.refuse(ctx, c, action, kind, id)
}

// mayTarget is may for what is done to an instance or a person as a whole. The tenant's own
// policies can be of the process of the instance, so it is read where there are some. Of one
// that is not there, whoever looks for it says so.
func (e *Engine) mayTarget(ctx context.Context, c Caller, action access.Action, kind, id string) error {
	if kind != targetInstance || !c.Rules.Policies.Own(action) {
		return e.may(ctx, c, action, kind, id)
	}
	if err := e.could(ctx, c, action, access.Instance, id); err != nil {
		return err
	}
	process, err := e.processOf(ctx, c.Scope, id)
	if err != nil || process == "" {
		return err
	}
	if e.sees(c, action, access.Resource{Kind: access.Instance, ID: id, Tenant: c.Scope.Tenant(), Process: process, Instance: id}) {
		return nil
	}
	return e.refuse(ctx, c, action, kind, id)
}

// processOf returns the process of an instance, also of one that was erased; "": there is
// none.
func (e *Engine) processOf(ctx context.Context, scope store.Scope, instance string) (string, error) {
	id, err := parseInstanceID(instance)
	if err != nil {
		return "", nil
	}
	o, err := e.load(ctx, scope, id, store.Instance)
	switch {
	case err == nil:
		return o.head.process, nil
	case fault.Is(err, fault.NotFound):
		return "", nil
	case !fault.Is(err, fault.Sealed):
		return "", err
	}
	last, err := e.lastState(ctx, &object{scope: scope, id: id, kind: store.Instance})
	if err != nil {
		return "", err
	}
	return last.Process, nil
}

// Ready reports what the engine needs and whether it works: nil is fine.
func (e *Engine) Ready(ctx context.Context) map[string]error {
	checks := map[string]error{"keys": e.ring.Check(ctx), "database": e.store.Check(ctx)}
	if n := len(e.Waiting()); n > 0 {
		checks["erasures"] = fault.New(fault.Unavailable, "%d tenants are not served before their erasures are carried out again", n).WithCode(api.CodeDegraded)
	}
	if e.anchors != nil {
		checks["log"] = nil
		if err := e.anchors.MaySign(); err != nil {
			checks["log"] = fault.New(fault.KindOf(err), "%w", err).WithCode(api.CodeDegraded)
		}
	}
	if e.sequencer != nil && checks["log"] == nil {
		checks["log"] = nil
		if n := e.sequencer.StoppedTenants(); n > 0 {
			checks["log"] = fault.New(fault.Integrity, "nothing more is signed of the logs of %d tenants: they are not what was signed", n).WithCode(api.CodeDegraded)
		}
	}
	if e.integrity != nil {
		checks["integrity"] = e.integrity.Sound()
	}
	return checks
}

// moment returns the present time as it is stored: UTC, microseconds.
func (e *Engine) moment() time.Time { return e.now().UTC().Truncate(time.Microsecond) }

// TenantScope admits the runner to the tenant of a row it scanned.
func (e *Engine) TenantScope(tenant string) store.Scope { return store.NewScope(tenant) }
