package keyring

import (
	"bytes"
	"context"
	"slices"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring/keyrow"
)

// A Purpose is what one of a tenant's own data keys is for. It is the Scope of
// the key's row.
type Purpose string

const (
	Index Purpose = keyrow.Index // index tokens of keys and of people's ids
	Audit Purpose = "audit"      // leaves that belong to no object
	Inbox Purpose = "inbox"      // messages that wait for an instance
	Log   Purpose = "log"        // the signing key of the tenant's log
)

// purposes are made together with the tenant's first tenant key, and others take
// their place while they stand. So one that is missing was deleted behind our back.
var purposes = []Purpose{Index, Audit, Inbox, Log}

// TenantKey returns the tenant's newest key for a purpose. The first use of any key
// of a tenant makes all of them.
func (r *Ring) TenantKey(ctx context.Context, tenant string, purpose Purpose) (envelope.Key, error) {
	if !slices.Contains(purposes, purpose) {
		return envelope.Key{}, fault.New(fault.Invalid, "tenant key: unknown purpose %q", purpose)
	}
	t := r.tenant(tenant)
	id, known := t.purpose(purpose)
	k, epoch, err := r.cachedKey(ctx, t, id)
	if err != nil || k.under != nil {
		return k.key, err
	}
	row, err := t.purposeRow(ctx, purpose)
	if err != nil {
		return envelope.Key{}, err
	}
	if k, err = r.openRow(ctx, t, row, epoch); err != nil {
		return envelope.Key{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.forgotten == known {
		t.purposes[purpose] = k.key.ID
	}
	return k.key, nil
}

// purpose returns the id of the key for a purpose, zero when it is not known, and
// how often these ids were forgotten: what is read now counts only until the next time.
func (t *tenant) purpose(purpose Purpose) (envelope.KeyID, uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.purposes[purpose], t.forgotten
}

// forgetPurposes has the next use of each read which key is the newest.
func (t *tenant) forgetPurposes() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.purposes)
	t.index = nil
	t.forgotten++
}

// IndexKeys returns all index keys of a tenant, newest first. Like TenantKey it answers
// from memory, so of a newer one that another process made it knows after the next
// confirmation; PurposeKeys does at once.
func (r *Ring) IndexKeys(ctx context.Context, tenant string) ([]envelope.Key, error) {
	t := r.tenant(tenant)
	ids, known := t.indexKeys()
	if ids == nil {
		keys, err := r.PurposeKeys(ctx, tenant, Index)
		if err == nil {
			t.rememberIndex(keys, known)
		}
		return keys, err
	}
	keys := make([]envelope.Key, len(ids))
	for i, id := range ids {
		var err error
		if keys[i], err = r.PurposeKey(ctx, tenant, Index, id); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// indexKeys returns the ids of all index keys, newest first, nil when they are not
// known, and the number that purpose returns.
func (t *tenant) indexKeys() ([]envelope.KeyID, uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.index, t.forgotten
}

// rememberIndex takes note of the index keys, unless they were forgotten since.
func (t *tenant) rememberIndex(keys []envelope.Key, known uint64) {
	ids := make([]envelope.KeyID, len(keys))
	for i, key := range keys {
		ids[i] = key.ID
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.forgotten == known {
		t.index = ids
	}
}

// purposeRow reads the row of the key for a purpose.
func (t *tenant) purposeRow(ctx context.Context, purpose Purpose) (DataKeyRow, error) {
	if _, err := t.current(ctx); err != nil {
		return DataKeyRow{}, err
	}
	row, err := t.ring.config.Storage.ScopeKey(ctx, t.name, string(purpose))
	if fault.Is(err, fault.NotFound) {
		return DataKeyRow{}, t.purposeGone(string(purpose))
	}
	return row, err
}

func (t *tenant) purposeGone(scope string) error {
	return fault.New(fault.Integrity, "tenant %q: its %s key was made and is gone", t.name, scope)
}

// found makes and stores the tenant's first tenant key and its keys for all
// purposes, at once. Conflict when it has them already.
func (t *tenant) found(ctx context.Context) error {
	r := t.ring
	key := newTenantKey(1)
	s, err := key.derive(1)
	if err != nil {
		return err
	}
	r.wraps.RLock()
	defer r.wraps.RUnlock()
	row, err := r.wrapTenantKey(ctx, r.config.Default, t.name, 1, key)
	if err != nil {
		return err
	}
	rows := make([]DataKeyRow, len(purposes))
	for i, purpose := range purposes {
		if rows[i], err = r.config.seal(s, 1, t.name, string(purpose), newKey(r.config.Now())); err != nil {
			return err
		}
	}
	slices.SortFunc(rows, func(a, b DataKeyRow) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return r.config.Storage.Found(ctx, row, rows)
}
