package keyring

import (
	"context"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring/keyrow"
)

// dataID names a data key in the cache.
type dataID struct {
	tenant string
	id     envelope.KeyID
}

// A dataKey is an opened data key with what it was opened under.
type dataKey struct {
	key     envelope.Key
	former  envelope.KeyID // the key for the same purpose before it; zero: none
	scope   string
	version uint32
	under   *secrets
}

// Key returns a data key. NotFound when there is none with this id: ids come
// from sealed heads, so to whoever has one that is a deleted row. Sealed when it
// was destroyed. Integrity when its row was changed.
func (r *Ring) Key(ctx context.Context, tenant string, id envelope.KeyID) (envelope.Key, error) {
	k, err := r.key(ctx, r.tenant(tenant), id)
	return k.key, err
}

// key returns a data key from the cache or from storage.
func (r *Ring) key(ctx context.Context, t *tenant, id envelope.KeyID) (dataKey, error) {
	k, epoch, err := r.cachedKey(ctx, t, id)
	if err != nil || k.under != nil {
		return k, err
	}
	row, err := r.config.Storage.DataKey(ctx, t.name, id)
	if fault.Is(err, fault.NotFound) {
		return dataKey{}, fault.New(fault.NotFound, "tenant %q has no data key %s", t.name, id)
	}
	if err != nil {
		return dataKey{}, err
	}
	if row.ID != id {
		return dataKey{}, changed(row, "it came for key "+id.String())
	}
	return r.openRow(ctx, t, row, epoch)
}

// cachedKey returns a data key if it is in the cache and the key service stands
// behind the tenant key it was opened under; else one with no secrets.
func (r *Ring) cachedKey(ctx context.Context, t *tenant, id envelope.KeyID) (dataKey, uint64, error) {
	k, ok, epoch := r.data.get(dataID{t.name, id})
	if !ok {
		return dataKey{}, epoch, nil
	}
	s, err := t.version(k.version).use(ctx)
	switch {
	case fault.Is(err, fault.Unavailable):
		return dataKey{}, epoch, err
	case err != nil || s != k.under:
		// The key may have been rewrapped since, and the version retired: its row says.
		return dataKey{}, epoch, nil
	}
	return k, epoch, nil
}

// openRow authenticates a stored row of the tenant and caches its key. The row may
// have been rewrapped since it was read, and what wrapped it retired.
func (r *Ring) openRow(ctx context.Context, t *tenant, row DataKeyRow, epoch uint64) (dataKey, error) {
	k, err := r.openThis(ctx, t, row, epoch)
	if !fault.Is(err, fault.Integrity) {
		return k, err
	}
	again, errAgain := r.config.Storage.DataKey(ctx, t.name, row.ID)
	if errAgain != nil || again.KeyVersion == row.KeyVersion {
		return k, err
	}
	return r.openThis(ctx, t, again, epoch)
}

// openThis is openRow for a row that is known to stand.
func (r *Ring) openThis(ctx context.Context, t *tenant, row DataKeyRow, epoch uint64) (dataKey, error) {
	s, err := t.version(row.KeyVersion).use(ctx)
	if err != nil {
		return dataKey{}, err
	}
	key, former, err := r.config.unseal(s, row)
	if err != nil {
		return dataKey{}, err
	}
	k := dataKey{key: key.Kept(), former: former, scope: row.Scope, version: row.KeyVersion, under: s}
	r.data.put(dataID{t.name, key.ID}, k, epoch)
	return k, nil
}

// Destroy makes all that was sealed under a data key unreadable: its row is
// overwritten by a tombstone, a person's link to it is deleted, and the key is
// dropped from memory, all before it returns. Destroying again does it again.
// The caller has written down the order to destroy, and repeats it after an
// error.
func (r *Ring) Destroy(ctx context.Context, tenant string, id envelope.KeyID) error {
	t := r.tenant(tenant)
	row, err := r.config.Storage.DataKey(ctx, tenant, id)
	if err != nil {
		return err
	}
	// Also after an error, which may be a lost reply.
	defer r.data.drop(dataID{tenant, id})
	return t.underNewest(ctx, func(k *tenantKey, s *secrets) error {
		return r.config.Storage.DestroyDataKey(ctx, r.config.tomb(s, k.version, row))
	})
}

// tomb returns what takes the place of a row, which may be destroyed already:
// then the last try may have left old bytes in a journal, and only storage knows.
// The row's own bytes need not open: a damaged key must be erasable too.
func (c *Config) tomb(s *secrets, version uint32, row DataKeyRow) DataKeyRow {
	tomb := DataKeyRow{Tenant: row.Tenant, ID: row.ID, Scope: row.Scope, State: keyrow.Destroyed, KeyVersion: version}
	tomb.Tombstone = c.tombstoneMAC(s, tomb)
	return tomb
}
