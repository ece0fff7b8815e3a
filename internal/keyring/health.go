package keyring

import (
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/underseal/underseal/internal/fault"
)

// checkAge is how old an answer of Check may be. With the 5 seconds after which a
// call is given up, readiness tells of an outage within 10.
const checkAge = 5 * time.Second

// health is the last answer of Check.
type health struct {
	turn    chan struct{} // holds a token while somebody checks
	at      time.Time
	answers map[string]error // by service
	err     error
}

// Check has the key services unwrap a key and returns the error that keeps the
// server from being ready. The answer is of a try that began at most 5 seconds before
// this call: who waits for somebody else's try takes its answer, however long that took.
// It takes one stored tenant key per service if there is one, and says nothing about the
// others.
func (r *Ring) Check(ctx context.Context) error {
	_, err := r.CheckServices(ctx)
	return err
}

// CheckServices is Check, and says of each service in use by its name what it
// answered.
func (r *Ring) CheckServices(ctx context.Context) (map[string]error, error) {
	asked := r.config.Now()
	select {
	case r.health.turn <- struct{}{}:
		defer func() { <-r.health.turn }()
	case <-ctx.Done():
		return nil, fault.New(fault.Unavailable, "waiting for the key service: %w", ctx.Err())
	}
	if err := r.open(); err != nil {
		return nil, err
	}
	began := r.config.Now()
	if !r.health.at.After(began) && asked.Sub(r.health.at) < checkAge { // not After: the clock was set back
		return maps.Clone(r.health.answers), r.health.err
	}
	// Under the ring's life: the answer is for others too, and must not be that
	// this caller went away.
	r.health.answers, r.health.err = r.tryServices(r.life)
	r.health.at = began
	return maps.Clone(r.health.answers), r.health.err
}

// tryServices has every key service that wrapped a newest tenant key unwrap one.
// The default service decides if tenants use it; else one that answers is
// enough, since a tenant that brought a service of its own must not take the
// others along.
func (r *Ring) tryServices(ctx context.Context) (map[string]error, error) {
	rows, err := r.config.Storage.AllTenantKeys(ctx)
	if err != nil {
		return nil, err
	}
	answers := r.tryAll(ctx, rows)
	if len(answers) == 0 {
		answers[r.config.Default] = r.tryBoth(ctx)
	}
	if err, asked := answers[r.config.Default]; asked {
		return answers, err
	}
	for _, name := range slices.Sorted(maps.Keys(answers)) {
		if err = answers[name]; err == nil {
			break
		}
	}
	return answers, err
}

// TryService has a key service unwrap the tenant's newest key there.
func (r *Ring) TryService(ctx context.Context, tenant, service string) error {
	rows, err := r.config.Storage.TenantKeys(ctx, tenant)
	if err != nil {
		return err
	}
	for _, row := range slices.Backward(rows) {
		if row.Service == service {
			return r.tryUnwrap(ctx, row)
		}
	}
	return fault.New(fault.NotFound, "tenant %q: none of its keys is wrapped by key service %q", tenant, service)
}

// tryAll has each service unwrap one of the newest tenant keys, all at once: one
// that hangs must not put off what is said of the others.
func (r *Ring) tryAll(ctx context.Context, rows []TenantKeyRow) map[string]error {
	of := map[string]TenantKeyRow{}
	for i, row := range rows {
		newest := i+1 == len(rows) || rows[i+1].Tenant != row.Tenant
		if _, there := of[row.Service]; newest && !there {
			of[row.Service] = row
		}
	}
	var (
		work    sync.WaitGroup
		mu      sync.Mutex // guards answers
		answers = map[string]error{}
	)
	for name, row := range of {
		work.Go(func() {
			err := r.tryUnwrap(ctx, row)
			mu.Lock()
			defer mu.Unlock()
			answers[name] = err
		})
	}
	work.Wait()
	return answers
}

// tryUnwrap unwraps a stored tenant key and forgets it.
func (r *Ring) tryUnwrap(ctx context.Context, row TenantKeyRow) error {
	ctx, cancel := context.WithTimeout(ctx, r.config.CallTimeout)
	defer cancel()
	_, err := r.unwrapRow(ctx, row.Tenant, row)
	return outward(err)
}

// tryBoth has the default service wrap and unwrap a key that is then forgotten.
func (r *Ring) tryBoth(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.config.CallTimeout)
	defer cancel()
	key := make([]byte, 32)
	rand.Read(key)
	place := r.config.context("no tenant", 1)
	place.Purpose = "readiness"
	service := r.config.Services[r.config.Default]
	wrapped, err := service.Wrap(ctx, place, key)
	if err == nil {
		_, err = service.Unwrap(ctx, place, wrapped)
	}
	return outward(err)
}
