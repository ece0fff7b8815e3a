// Package keyring makes, stores, caches and destroys the keys of tenants.
//
// A tenant key K1 is wrapped by the key service and wraps data keys K2; values
// are sealed under data keys. Everything stored about a key is authenticated
// under the tenant key when it is used: a row that was changed, or moved to
// another tenant, id, scope or person, is an Integrity fault.
//
// Two promises hold together. A start of an instance costs no key call and no
// key commit: data keys are made ahead, in durable batches. And a revocation
// bites: whatever the ring hands out, it first makes sure that the key service
// has confirmed the tenant key within SoftAge, or within HardAge when the
// service does not answer. These ages count from the confirmation and not from
// the last use, so that a busy server forgets as surely as an idle one.
//
// The page docs/design/keys.md has the whole picture.
package keyring

import (
	"context"
	"sync"
	"time"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
)

// Config says what a Ring works with. Only the first four are mandatory.
type Config struct {
	// Services are the key services by their configured names. Every one that
	// wrapped a stored tenant key must be here. Names are stored with keys.
	Services map[string]kms.Service
	// Default names the one that wraps the keys of new tenants.
	Default    string
	Storage    Storage
	Deployment string // id of the installation, bound into all keys; 1 to 255 bytes

	// Now is the clock that ages are measured with. Default time.Now.
	Now func() time.Time

	// SoftAge is how long a tenant key is used without asking the key service
	// again. Default 5 minutes.
	SoftAge time.Duration
	// HardAge is how long it is used while the key service does not answer.
	// Default 60 minutes, at least SoftAge.
	HardAge time.Duration
	// CallTimeout is how long a call of the key service may take. Default 5 seconds.
	CallTimeout time.Duration

	// PoolSize is the size of a batch of data keys made ahead, 1 to 8192. A
	// tenant's first batches are smaller. Default 1024, which at 1,000 starts per
	// second is a batch a second.
	PoolSize int

	// CacheSize, CacheAge and CacheUses bound the data keys held in memory and
	// how long and how often each of them is handed out before it is read again.
	// Defaults 32768, 10 minutes, 1 million.
	CacheSize int
	CacheAge  time.Duration
	CacheUses int
}

// A Ring is the keys of all tenants. It is safe for concurrent use.
type Ring struct {
	config   Config
	data     *cache[dataID, dataKey]
	subjects *cache[subjectID, personKeys]
	marks    marks
	health   health

	// life ends with Close. Work that many callers wait for runs under it, since
	// it must not end with the one that happened to cause it.
	life context.Context
	end  context.CancelFunc
	work sync.WaitGroup

	// wraps is held for reading from wrapping a tenant key to storing it, and for
	// writing while a version of a root key is found unused and destroyed.
	wraps sync.RWMutex

	mu      sync.Mutex // guards tenants, and starting work against Close
	tenants map[string]*tenant
}

// Open returns a working Ring, which must be closed. A key service that does
// not answer is no error here; one that is not configured, or has another root
// key than the one that wrapped stored tenant keys, is a Conflict.
func Open(ctx context.Context, config Config) (*Ring, error) {
	if err := config.complete(); err != nil {
		return nil, err
	}
	if err := config.checkServices(ctx); err != nil {
		return nil, err
	}
	r := &Ring{config: config, tenants: map[string]*tenant{}}
	r.data = newCache[dataID, dataKey](config)
	r.subjects = newCache[subjectID, personKeys](config)
	r.life, r.end = context.WithCancel(context.Background())
	r.marks.wake = make(chan struct{}, 1)
	r.health.turn = make(chan struct{}, 1)
	r.start(r.mark)
	return r, nil
}

// Close waits for running work and writes down what Assigned was told. Calls
// after it are Unavailable. Closing again does nothing.
func (r *Ring) Close() {
	r.mu.Lock()
	closed := r.life.Err() != nil
	r.end()
	r.mu.Unlock()
	r.work.Wait()
	if !closed {
		r.lastMarks()
	}
}

// start runs f in the background under the ring's life, unless it is over.
func (r *Ring) start(f func(ctx context.Context)) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.life.Err() != nil {
		return false
	}
	r.work.Go(func() { f(r.life) })
	return true
}

// open returns an error when the ring is closed.
func (r *Ring) open() error {
	if r.life.Err() != nil {
		return fault.New(fault.Unavailable, "the key ring is closed")
	}
	return nil
}

// complete sets defaults and refuses what makes no sense.
func (c *Config) complete() error {
	if c.Services[c.Default] == nil || c.Storage == nil {
		return fault.New(fault.Invalid, "key ring: needs a storage, and a key service named %q, the default", c.Default)
	}
	for name, service := range c.Services {
		if name == "" || len(name) > 64 || service == nil {
			return fault.New(fault.Invalid, "key ring: a key service named %q, want a name of 1 to 64 bytes and a service", name)
		}
	}
	if err := c.context("tenant", 1).Validate(); err != nil {
		return err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	setDefault(&c.SoftAge, 5*time.Minute)
	setDefault(&c.HardAge, 60*time.Minute)
	setDefault(&c.CallTimeout, 5*time.Second)
	setDefault(&c.PoolSize, 1024)
	setDefault(&c.CacheSize, 32<<10)
	setDefault(&c.CacheAge, 10*time.Minute)
	setDefault(&c.CacheUses, 1_000_000)
	switch {
	case c.PoolSize < 0 || c.PoolSize > maxBatch:
		return fault.New(fault.Invalid, "key ring: PoolSize %d, want 1 to %d", c.PoolSize, maxBatch)
	case c.SoftAge < 0 || c.HardAge < c.SoftAge:
		return fault.New(fault.Invalid, "key ring: SoftAge %s and HardAge %s, want 0 < SoftAge <= HardAge", c.SoftAge, c.HardAge)
	case c.CallTimeout < 0 || c.CacheSize < 0 || c.CacheAge < 0 || c.CacheUses < 0:
		return fault.New(fault.Invalid, "key ring: a negative CallTimeout, CacheSize, CacheAge or CacheUses")
	}
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
