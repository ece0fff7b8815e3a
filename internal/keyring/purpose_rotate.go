package keyring

import (
	"context"
	"slices"
	"strings"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring/keyrow"
)

// RotatePurpose gives a tenant a new key for a purpose and returns its id. TenantKey
// returns it from then on, in other processes after their next confirmation; the keys
// before it are kept for what was sealed under them. After an error that was a lost
// reply there may be a new key all the same, which does no harm.
//
// Of index keys, whoever looks for a term asks for all (IndexKeys): no token moves by it.
func (r *Ring) RotatePurpose(ctx context.Context, tenant string, purpose Purpose) (envelope.KeyID, error) {
	if !slices.Contains(purposes, purpose) {
		return envelope.KeyID{}, fault.New(fault.Invalid, "rotate a tenant key: unknown purpose %q", purpose)
	}
	t := r.tenant(tenant)
	// Also after an error, which may be a lost reply.
	defer t.forgetPurposes()
	for try := 1; ; try++ {
		id, err := t.succeed(ctx, purpose)
		if try == swapTries || !fault.Is(err, fault.Conflict) {
			return id, err
		}
	}
}

// succeed makes a key for a purpose, and the one before a former one, in one
// transaction. The scope is bound into the wrapped bytes, so both are wrapped anew.
func (t *tenant) succeed(ctx context.Context, purpose Purpose) (envelope.KeyID, error) {
	r := t.ring
	rows, keys, err := t.openPurpose(ctx, purpose)
	if err != nil {
		return envelope.KeyID{}, err
	}
	key := newKey(r.config.Now())
	return key.ID, t.underNewest(ctx, func(k *tenantKey, s *secrets) error {
		former, err := r.config.sealAfter(s, k.version, t.name, keyrow.Former(string(purpose), len(rows)), keys[0].key, keys[0].former)
		if err != nil {
			return err
		}
		next, err := r.config.sealAfter(s, k.version, t.name, string(purpose), key, keys[0].key.ID)
		if err != nil {
			return err
		}
		return r.config.Storage.SucceedDataKey(ctx, rows[0], former, next)
	})
}

// PurposeKeys returns all keys that a tenant had for a purpose, newest first.
// Integrity when one between them is gone.
func (r *Ring) PurposeKeys(ctx context.Context, tenant string, purpose Purpose) ([]envelope.Key, error) {
	if !slices.Contains(purposes, purpose) {
		return nil, fault.New(fault.Invalid, "tenant keys: unknown purpose %q", purpose)
	}
	_, opened, err := r.tenant(tenant).openPurpose(ctx, purpose)
	keys := make([]envelope.Key, len(opened))
	for i, k := range opened {
		keys[i] = k.key
	}
	return keys, err
}

// openPurpose reads and opens all keys for a purpose, newest first. Each must name the
// one after it as the one that it followed.
func (t *tenant) openPurpose(ctx context.Context, purpose Purpose) ([]DataKeyRow, []dataKey, error) {
	rows, err := t.purposeRows(ctx, purpose)
	if err != nil {
		return nil, nil, err
	}
	keys := make([]dataKey, len(rows))
	var follows envelope.KeyID
	for i := len(rows) - 1; i >= 0; i-- {
		_, _, epoch := t.ring.data.get(dataID{t.name, rows[i].ID})
		if keys[i], err = t.ring.openRow(ctx, t, rows[i], epoch); err != nil {
			return nil, nil, err
		}
		if keys[i].former != follows {
			return nil, nil, fault.New(fault.Integrity, "tenant %q: the %s key before %s was made and is gone", t.name, purpose, keys[i].key.ID)
		}
		follows = keys[i].key.ID
	}
	return rows, keys, nil
}

// purposeRows returns the rows of all keys for a purpose, newest first.
func (t *tenant) purposeRows(ctx context.Context, purpose Purpose) ([]DataKeyRow, error) {
	if _, err := t.current(ctx); err != nil {
		return nil, err
	}
	rows, err := t.ring.config.Storage.ScopeKeys(ctx, t.name, string(purpose))
	if err != nil {
		return nil, err
	}
	ordered, scope := make([]DataKeyRow, max(len(rows), 1)), string(purpose)
	for i := range ordered {
		at := slices.IndexFunc(rows, func(row DataKeyRow) bool { return row.Scope == scope })
		if at < 0 {
			return nil, t.purposeGone(scope)
		}
		ordered[i], scope = rows[at], keyrow.Former(string(purpose), len(rows)-1-i)
	}
	return ordered, nil
}

// PurposeKey returns the tenant's key for a purpose that has this id, whether it is
// the newest one or not: envelopes name theirs. Integrity when there is none.
func (r *Ring) PurposeKey(ctx context.Context, tenant string, purpose Purpose, id envelope.KeyID) (envelope.Key, error) {
	k, err := r.key(ctx, r.tenant(tenant), id)
	scope, _, _ := strings.Cut(k.scope, "/")
	if fault.Is(err, fault.NotFound) || err == nil && scope != string(purpose) {
		return envelope.Key{}, fault.New(fault.Integrity, "tenant %q: data key %s is none of its %s keys", tenant, id, purpose)
	}
	return k.key, err
}
