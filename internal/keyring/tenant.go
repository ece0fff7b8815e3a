package keyring

import (
	"context"
	"errors"
	"slices"
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
	index    []envelope.KeyID // of all index keys, newest first; nil: not known
	pool     pool
	rewrap   RewrapState

	forgotten uint64 // counts forgetPurposes
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
	}
	rows, err = t.notice(ctx)
	return newestOf(rows), err
}

// notice reads all versions of the tenant key and takes note of the newest one,
// which another process may have made. That it is older than one known, or the one
// of the tenant's own keys, is an Integrity fault: its row was deleted, and to go on
// with the one before would also go back to that one's minimum. (The minimum is
// raised when no key is left below it, the tenant's own ones included.) What is
// known is looked up first, so that a rotation in between is no such fault.
func (t *tenant) notice(ctx context.Context) ([]TenantKeyRow, error) {
	highest, err := t.ring.config.Storage.HighestOwn(ctx, t.name)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	highest = max(highest, t.newest)
	t.mu.Unlock()
	rows, err := t.ring.config.Storage.TenantKeys(ctx, t.name)
	if err != nil {
		return nil, err
	}
	newest := newestOf(rows)
	if newest < max(highest, 1) {
		return nil, fault.New(fault.Integrity, "tenant %q: version %d of its tenant key was stored and is gone", t.name, max(highest, 1))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.newest = max(newest, t.newest)
	return rows, nil
}

// underNewest calls f with the newest tenant key, and once more if that was
// retired meanwhile, by another process.
func (t *tenant) underNewest(ctx context.Context, f func(k *tenantKey, s *secrets) error) error {
	for again := false; ; again = true {
		k, err := t.current(ctx)
		if err != nil {
			return err
		}
		s, err := k.use(ctx)
		if err != nil {
			return err
		}
		if err = f(k, s); again || !hasCode(err, CodeNoTenantKey) {
			return err
		}
		if _, err := t.notice(ctx); err != nil {
			return err
		}
	}
}

func hasCode(err error, code string) bool {
	var f *fault.Error
	return errors.As(err, &f) && f.Code == code
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
	t := k.ring.tenant(k.tenant)
	rows, err := t.notice(ctx)
	if err != nil {
		return nil, err
	}
	newest := newestOf(rows)
	row, ok := find(rows, k.tenant, k.version)
	if !ok {
		return nil, fault.New(fault.Integrity, "tenant %q: version %d of its tenant key is missing, and data keys need it", k.tenant, k.version)
	}
	if k.version != newest {
		if err := t.allowed(ctx, newest, k.version); err != nil {
			return nil, err
		}
	}
	raw, err := k.ring.unwrapRow(ctx, k.tenant, row)
	if err != nil {
		return nil, err
	}
	t.forgetPurposes() // another process may have rotated them
	return raw.derive(row.Version)
}

// find returns the tenant's row of a version.
func find(rows []TenantKeyRow, tenant string, version uint32) (TenantKeyRow, bool) {
	i := slices.IndexFunc(rows, func(row TenantKeyRow) bool { return row.Tenant == tenant && row.Version == version })
	if i < 0 {
		return TenantKeyRow{}, false
	}
	return rows[i], true
}

// allowed refuses a version below the minimum, which stands with the newest: its
// row was retired, and somebody put it back.
func (t *tenant) allowed(ctx context.Context, newest, version uint32) error {
	s, err := t.version(newest).use(ctx)
	if err == nil && version < s.minimum {
		err = fault.New(fault.Integrity, "tenant %q: version %d of its tenant key is retired, and its row was put back", t.name, version)
	}
	return err
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
