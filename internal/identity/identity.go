// Package identity knows who is calling: what is kept of people, programs, groups and
// tenants, what a credential looks like, and whether one admits its bearer.
//
// A credential is found by a keyed hash (its token) and stands in the sealed list of
// whom it is for, so that neither reading nor writing the database gives anybody a
// usable one.
package identity

import (
	"context"
	"sync"
	"time"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/blindindex"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/password"
	"github.com/underseal/underseal/internal/store"
)

// Config is what a Directory works with; all but Now are required.
type Config struct {
	Store      *store.DB
	Ring       *keyring.Ring
	Deployment string
	Now        func() time.Time // nil: time.Now
}

// Directory finds credentials. It is safe for concurrent use.
type Directory struct {
	cfg Config

	mu      sync.RWMutex    // guards what follows
	tenants map[string]bool // that have keys
	looked  time.Time       // when they were asked for; zero: never
}

// lookEvery bounds how often it is asked which tenants there are. Who asks again and again
// for one that is not there does not see by the time that it is asked for.
const lookEvery = 10 * time.Second

// New returns a Directory.
func New(cfg Config) *Directory {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Directory{cfg: cfg, tenants: map[string]bool{}}
}

// Find returns the tenant that a credential's text is for and the token under which it
// is found there. Not found: the text is malformed. A text for a tenant that is not there is
// looked for in the main tenant, where nobody has it: that takes as long as looking for one
// that nobody has in a tenant that is there.
func (d *Directory) Find(ctx context.Context, kind Credential, text string) (scope store.Scope, token [32]byte, found bool, err error) {
	tenant, ok := kind.Tenant(text)
	if !ok {
		return scope, token, false, nil
	}
	if found, err = d.exists(ctx, tenant); err == nil && !found {
		tenant = MainTenant
		found, err = d.exists(ctx, tenant)
	}
	if err != nil || !found {
		return scope, token, false, err
	}
	scope = store.NewScope(tenant)
	token, err = d.Token(ctx, scope, kind, text)
	return scope, token, err == nil, err
}

// exists reports whether there is a tenant: asking for the keys of one that is not would
// make them.
func (d *Directory) exists(ctx context.Context, tenant string) (bool, error) {
	now := d.cfg.Now()
	d.mu.RLock()
	known, age := d.tenants[tenant], now.Sub(d.looked)
	d.mu.RUnlock()
	if known || age >= 0 && age < lookEvery {
		return known, nil
	}
	names, err := d.cfg.Store.Keys().Tenants(ctx)
	if err != nil {
		return false, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range names {
		d.tenants[name] = true
	}
	d.looked = now
	return d.tenants[tenant], nil
}

// Created takes in a tenant that was made just now.
func (d *Directory) Created(tenant string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tenants[tenant] = true
}

// Token is the keyed hash under which a credential is found. It is under the tenant's
// first index key: a credential is random, there is nothing to guess.
func (d *Directory) Token(ctx context.Context, scope store.Scope, kind Credential, text string) ([32]byte, error) {
	keys, err := d.cfg.Ring.IndexKeys(ctx, scope.Tenant())
	if err != nil {
		return [32]byte{}, err
	}
	return blindindex.Token(keys[len(keys)-1], kind.purpose(), text), nil
}

// Exists reports whether there is a tenant of a name, which may be anything.
func (d *Directory) Exists(ctx context.Context, tenant string) (bool, error) {
	if CheckTenantName(tenant) != nil {
		return false, nil
	}
	return d.exists(ctx, tenant)
}

// PasswordMAC returns the keyed hash that is kept of a tenant's passwords.
func (d *Directory) PasswordMAC(ctx context.Context, scope store.Scope) (password.MAC, error) {
	keys, err := d.cfg.Ring.IndexKeys(ctx, scope.Tenant())
	if err != nil {
		return nil, err
	}
	return func(hash []byte) [32]byte { return blindindex.Token(keys[len(keys)-1], "password", string(hash)) }, nil
}

// unseal opens a row under the audit key that it was sealed under.
func (d *Directory) unseal(ctx context.Context, scope store.Scope, place envelope.Context, sealed []byte) ([]byte, error) {
	ids, err := envelope.KeyIDs(sealed)
	if err != nil {
		return nil, err
	}
	key, err := d.cfg.Ring.PurposeKey(ctx, scope.Tenant(), keyring.Audit, ids[0])
	if err != nil {
		return nil, err
	}
	return envelope.Open([]envelope.Key{key}, place, sealed)
}
