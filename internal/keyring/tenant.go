package keyring

import (
	"context"
	"sync"
	"time"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
)

// A tenant is what the ring knows of one.
type tenant struct {
	ring *Ring
	name string

	mu       sync.Mutex // guards what follows
	newest   uint32     // version of the tenant key that wraps; 0 is not known yet
	versions map[uint32]*tenantKey
	purposes map[Purpose]envelope.KeyID
	pool     pool
}

// tenant returns the one with that name, which need not exist in storage.
func (r *Ring) tenant(name string) *tenant {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, ok := r.tenants[name]
	if !ok {
		t = &tenant{ring: r, name: name, versions: map[uint32]*tenantKey{}, purposes: map[Purpose]envelope.KeyID{}}
		r.tenants[name] = t
	}
	return t
}

// version returns the tenant key of that version, which need not exist.
func (t *tenant) version(version uint32) *tenantKey {
	t.mu.Lock()
	defer t.mu.Unlock()
	k, ok := t.versions[version]
	if !ok {
		k = &tenantKey{ring: t.ring, tenant: t.name, version: version}
		t.versions[version] = k
	}
	return k
}

// current returns the tenant key that wraps new data keys, and makes the
// tenant's first keys if it has none.
func (t *tenant) current(ctx context.Context) (*tenantKey, error) {
	t.mu.Lock()
	newest := t.newest
	t.mu.Unlock()
	if newest == 0 {
		var err error
		if newest, err = t.findNewest(ctx); err != nil {
			return nil, err
		}
		t.mu.Lock()
		t.newest = newest
		t.mu.Unlock()
	}
	return t.version(newest), nil
}

// findNewest reads which version of the tenant key is the newest.
func (t *tenant) findNewest(ctx context.Context) (uint32, error) {
	rows, err := t.ring.config.Storage.TenantKeys(ctx, t.name)
	if err != nil {
		return 0, err
	}
	if len(rows) == 0 {
		// Somebody may be faster, in this process or in another. Theirs is as good.
		if err := t.found(ctx); err != nil && !fault.Is(err, fault.Conflict) {
			return 0, err
		}
		if rows, err = t.ring.config.Storage.TenantKeys(ctx, t.name); err != nil {
			return 0, err
		}
	}
	newest := newestOf(rows)
	if newest == 0 {
		return 0, fault.New(fault.Integrity, "tenant %q: the tenant key that was stored is gone", t.name)
	}
	return newest, nil
}

// newestOf returns the highest version, 0 when there is none.
func newestOf(rows []TenantKeyRow) uint32 {
	var newest uint32
	for _, row := range rows {
		newest = max(newest, row.Version)
	}
	return newest
}

// A tenantKey is one version of a tenant's key K1, as far as it is in memory.
type tenantKey struct {
	ring    *Ring
	tenant  string
	version uint32

	mu        sync.Mutex    // guards what follows
	secrets   *secrets      // nil when not there, or no longer
	confirmed time.Time     // when the last call that gave us the key began
	failed    error         // of the last call; nil when it succeeded
	retry     time.Time     // no call before this
	running   chan struct{} // closed when the running call is over; nil when none is
}

// retryAfter is the least time between a failed call of the key service and
// the next one. In between, callers get the same answer without a call.
const retryAfter = time.Second

// isDue reports whether it is time for another try. One that is further ahead
// than retryAfter was set by a clock that has been set back since.
func isDue(now, retry time.Time) bool {
	wait := retry.Sub(now)
	return wait <= 0 || wait > retryAfter
}

// use returns the secrets if the key service stands behind them. Callers wait
// for it only when nothing is known yet, or after a pause of SoftAge.
func (k *tenantKey) use(ctx context.Context) (*secrets, error) {
	for {
		if err := k.ring.open(); err != nil {
			return nil, err
		}
		s, wait, err := k.poll()
		if wait == nil {
			return s, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, fault.New(fault.Unavailable, "waiting for the key service: %w", ctx.Err())
		}
	}
}

// poll returns the secrets, an error, or what to wait for. All ages count from
// the last confirmation; using a key does not keep it.
func (k *tenantKey) poll() (*secrets, <-chan struct{}, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.ring.config.Now()
	age := now.Sub(k.confirmed)
	if age < 0 || age >= k.ring.config.HardAge {
		k.secrets = nil
	}
	due := isDue(now, k.retry)
	switch soft := k.ring.config.SoftAge; {
	case k.secrets != nil && age < soft/5*4:
		return k.secrets, nil, nil
	case k.secrets != nil && (age < soft || k.failed != nil):
		// Asking again a little early, or while the service is away, is nobody's
		// business to wait for.
		if due {
			k.confirm()
		}
		return k.secrets, nil, nil
	case k.failed != nil && !due:
		return nil, nil, k.failed
	}
	return nil, k.confirm(), nil
}

// confirm asks the key service in the background, unless that is under way.
// The caller holds mu.
func (k *tenantKey) confirm() <-chan struct{} {
	if k.running == nil {
		done := make(chan struct{})
		if !k.ring.start(func(ctx context.Context) { k.call(ctx, done) }) {
			close(done)
			return done
		}
		k.running = done
	}
	return k.running
}

// call gets the key from the key service and takes note of the answer.
func (k *tenantKey) call(ctx context.Context, done chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, k.ring.config.CallTimeout)
	defer cancel()
	began := k.ring.config.Now()
	s, err := k.unwrap(ctx)

	k.mu.Lock()
	defer k.mu.Unlock()
	k.failed, k.running = outward(err), nil
	switch {
	case err == nil:
		k.confirmed = began
		if k.secrets == nil || *k.secrets != *s {
			k.secrets = s
		}
	case !fault.Is(err, fault.Unavailable):
		// Only an outage lets us go on with what we have.
		k.secrets = nil
	}
	if err != nil {
		k.retry = k.ring.config.Now().Add(retryAfter)
	}
	close(done)
}

// outward turns a refusal by the key service into Unavailable: it is meant for
// us and not for whoever called us, whose work waits until it is put right. The
// code tells it from an outage.
func outward(err error) error {
	switch {
	case fault.Is(err, fault.Denied):
		return fault.New(fault.Unavailable, "the key service refuses us: %w", err).WithCode("key_denied").
			WithHint("give the server the right to use the root key again; nothing is lost meanwhile")
	case fault.Is(err, fault.Conflict):
		return fault.New(fault.Unavailable, "the key service holds another root key: %w", err).WithCode("other_root_key")
	}
	return err
}

// unwrap reads the row again and has the key service open it.
func (k *tenantKey) unwrap(ctx context.Context) (*secrets, error) {
	rows, err := k.ring.config.Storage.TenantKeys(ctx, k.tenant)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		if row.Tenant == k.tenant && row.Version == k.version {
			raw, err := k.ring.unwrapRow(ctx, k.tenant, row)
			if err != nil {
				return nil, err
			}
			return raw.derive(row.Version)
		}
	}
	return nil, fault.New(fault.Integrity, "tenant %q: version %d of its tenant key is missing, and data keys need it", k.tenant, k.version)
}

// unwrapRow has the key service open a version of the tenant's key.
func (r *Ring) unwrapRow(ctx context.Context, tenant string, row TenantKeyRow) (rawTenantKey, error) {
	service, err := r.config.service(row.Service)
	if err != nil {
		return rawTenantKey{}, err
	}
	key, err := service.Unwrap(ctx, r.config.context(tenant, row.Version), row.Wrapped)
	switch {
	case fault.Is(err, fault.NotFound):
		return rawTenantKey{}, fault.New(fault.Sealed, "tenant key %d of tenant %q is gone for good: %w", row.Version, tenant, err)
	case err != nil:
		return rawTenantKey{}, err
	}
	return parseTenantKey(tenant, row.Version, key)
}
