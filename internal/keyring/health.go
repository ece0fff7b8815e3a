package keyring

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/underseal/underseal/internal/fault"
)

// checkAge is how old an answer of Check may be.
const checkAge = 10 * time.Second

// health is the last answer of Check.
type health struct {
	turn chan struct{} // holds a token while somebody checks
	at   time.Time
	err  error
}

// Check has the key service unwrap a key and returns its error. The answer is
// at most 10 seconds old. It takes a stored tenant key if there is one, and
// says nothing about the others.
func (r *Ring) Check(ctx context.Context) error {
	select {
	case r.health.turn <- struct{}{}:
		defer func() { <-r.health.turn }()
	case <-ctx.Done():
		return fault.New(fault.Unavailable, "waiting for the key service: %w", ctx.Err())
	}
	if err := r.open(); err != nil {
		return err
	}
	began := r.config.Now()
	if age := began.Sub(r.health.at); age >= 0 && age < checkAge {
		return r.health.err
	}
	// Under the ring's life: the answer is for others too, and must not be that
	// this caller went away.
	ctx, cancel := context.WithTimeout(r.life, r.config.CallTimeout)
	defer cancel()
	r.health.err, r.health.at = outward(r.tryUnwrap(ctx)), began
	return r.health.err
}

// tryUnwrap unwraps the newest key of some tenant, or one made for the purpose
// when there is no tenant yet.
func (r *Ring) tryUnwrap(ctx context.Context) error {
	names, err := r.config.Storage.Tenants(ctx)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return r.tryBoth(ctx)
	}
	rows, err := r.config.Storage.TenantKeys(ctx, names[0])
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return fault.New(fault.Integrity, "tenant %q: its tenant key is gone", names[0])
	}
	_, err = r.unwrap(ctx, names[0], rows[len(rows)-1])
	return err
}

// tryBoth wraps and unwraps a key that is then forgotten.
func (r *Ring) tryBoth(ctx context.Context) error {
	key := make([]byte, 32)
	rand.Read(key)
	place := r.config.context("no tenant", 1)
	place.Purpose = "readiness"
	wrapped, err := r.config.Service.Wrap(ctx, place, key)
	if err != nil {
		return err
	}
	_, err = r.config.Service.Unwrap(ctx, place, wrapped)
	return err
}
