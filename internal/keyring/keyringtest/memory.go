package keyringtest

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/keyring/keyrow"
)

// Tables are what a Memory holds, by primary key.
type Tables struct {
	TenantKeys map[TenantKeyID]keyring.TenantKeyRow
	DataKeys   map[DataKeyID]keyring.DataKeyRow
	Subjects   map[SubjectID]keyring.SubjectRow
	Roots      map[RootVersionID]time.Time
}

// Primary keys.
type (
	TenantKeyID struct {
		Tenant  string
		Version uint32
	}
	DataKeyID struct {
		Tenant string
		ID     [16]byte
	}
	RootVersionID struct{ Service, RootKey, Version string }
	SubjectID     struct {
		Tenant string
		Token  [32]byte
	}
)

// A Memory is a Storage that forgets. Tests reach behind it with Edit, and break
// it with Hooks.
type Memory struct {
	mu            sync.Mutex // guards what follows
	tables        Tables
	before, after func(ctx context.Context, method string) error
	calls         map[string]int
}

var _ keyring.Storage = (*Memory)(nil)

// NewMemory returns an empty one.
func NewMemory() *Memory {
	return &Memory{calls: map[string]int{}, tables: Tables{
		TenantKeys: map[TenantKeyID]keyring.TenantKeyRow{},
		DataKeys:   map[DataKeyID]keyring.DataKeyRow{},
		Subjects:   map[SubjectID]keyring.SubjectRow{},
		Roots:      map[RootVersionID]time.Time{},
	}}
}

// Edit changes rows behind the back of everybody.
func (m *Memory) Edit(f func(*Tables)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(&m.tables)
}

// Hooks has before called ahead of each method, which fails with its error and
// does nothing, and after when it succeeded, whose error it returns all the
// same: a lost reply. They may block; nil does nothing.
func (m *Memory) Hooks(before, after func(ctx context.Context, method string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before, m.after = before, after
}

// Calls returns how often a method was called.
func (m *Memory) Calls(method string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls[method]
}

// do runs one method as a transaction between its hooks.
func (m *Memory) do(ctx context.Context, method string, f func(*Tables) error) error {
	m.mu.Lock()
	before, after := m.before, m.after
	m.calls[method]++
	m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return fault.New(fault.Unavailable, "%s: %w", method, err)
	}
	if before != nil {
		if err := before(ctx, method); err != nil {
			return err
		}
	}
	m.mu.Lock()
	err := f(&m.tables)
	m.mu.Unlock()
	if err == nil && after != nil {
		err = after(ctx, method)
	}
	return err
}

func missing(what string) error { return fault.New(fault.NotFound, "%s does not exist", what) }

// Tenants implements keyring.Storage.
func (m *Memory) Tenants(ctx context.Context) (names []string, err error) {
	err = m.do(ctx, "Tenants", func(t *Tables) error {
		for id := range t.TenantKeys {
			names = append(names, id.Tenant)
		}
		slices.Sort(names)
		names = slices.Compact(names)
		return nil
	})
	return names, err
}

// Found implements keyring.Storage.
func (m *Memory) Found(ctx context.Context, key keyring.TenantKeyRow, rows []keyring.DataKeyRow) error {
	return m.do(ctx, "Found", func(t *Tables) error {
		for id := range t.TenantKeys {
			if id.Tenant == key.Tenant {
				return fault.New(fault.Conflict, "tenant %q has a tenant key", key.Tenant)
			}
		}
		if t.holdsKeysOf(key.Tenant) {
			return fault.New(fault.Integrity, "tenant %q has data keys and no tenant key", key.Tenant)
		}
		key.Wrapped = bytes.Clone(key.Wrapped)
		t.TenantKeys[TenantKeyID{key.Tenant, key.Version}] = key
		return t.add(rows)
	})
}

// holdsKeysOf reports whether there are data keys or subjects of the tenant.
func (t *Tables) holdsKeysOf(tenant string) bool {
	for id := range t.DataKeys {
		if id.Tenant == tenant {
			return true
		}
	}
	for id := range t.Subjects {
		if id.Tenant == tenant {
			return true
		}
	}
	return false
}

// add stores data keys, all or none.
func (t *Tables) add(rows []keyring.DataKeyRow) error {
	for i, row := range rows {
		if err := t.addable(row); err != nil {
			for _, added := range rows[:i] {
				delete(t.DataKeys, DataKeyID{added.Tenant, added.ID})
			}
			return err
		}
		t.DataKeys[DataKeyID{row.Tenant, row.ID}] = clone(row)
	}
	return nil
}

// under refuses a row under a version of the tenant key that is not there.
func (t *Tables) under(tenant string, version uint32) error {
	if _, ok := t.TenantKeys[TenantKeyID{tenant, version}]; !ok {
		return fault.New(fault.Conflict, "tenant %q has no tenant key %d", tenant, version).WithCode(keyring.CodeNoTenantKey)
	}
	return nil
}

// addable refuses a row that breaks a constraint.
func (t *Tables) addable(row keyring.DataKeyRow) error {
	if err := t.under(row.Tenant, row.KeyVersion); err != nil {
		return err
	}
	if _, ok := t.DataKeys[DataKeyID{row.Tenant, row.ID}]; ok {
		return fault.New(fault.Conflict, "data key %x exists", row.ID)
	}
	if single(row.Scope) && scoped(t.DataKeys, row.Tenant, row.Scope) != nil {
		return fault.New(fault.Conflict, "a key of scope %q exists", row.Scope)
	}
	return nil
}

// single reports whether a tenant has at most one key of a scope.
func single(scope string) bool { return scope != keyrow.Pool && scope != keyrow.Replaced }

// scoped returns the tenant's key of a scope, nil when there is none.
func scoped(rows map[DataKeyID]keyring.DataKeyRow, tenant, scope string) *keyring.DataKeyRow {
	for _, row := range rows {
		if row.Tenant == tenant && row.Scope == scope && single(scope) {
			return &row
		}
	}
	return nil
}

func clone(row keyring.DataKeyRow) keyring.DataKeyRow {
	row.Wrapped, row.Tombstone = bytes.Clone(row.Wrapped), bytes.Clone(row.Tombstone)
	return row
}

func cloneSubject(row keyring.SubjectRow) keyring.SubjectRow {
	row.Former, row.MAC = bytes.Clone(row.Former), bytes.Clone(row.MAC)
	return row
}

// TenantKeys implements keyring.Storage.
func (m *Memory) TenantKeys(ctx context.Context, tenant string) (rows []keyring.TenantKeyRow, err error) {
	err = m.do(ctx, "TenantKeys", func(t *Tables) error {
		for id, row := range t.TenantKeys {
			if id.Tenant == tenant {
				row.Wrapped = bytes.Clone(row.Wrapped)
				rows = append(rows, row)
			}
		}
		slices.SortFunc(rows, func(a, b keyring.TenantKeyRow) int { return int(a.Version) - int(b.Version) })
		return nil
	})
	return rows, err
}

// AllTenantKeys implements keyring.Storage.
func (m *Memory) AllTenantKeys(ctx context.Context) (rows []keyring.TenantKeyRow, err error) {
	err = m.do(ctx, "AllTenantKeys", func(t *Tables) error {
		for _, row := range t.TenantKeys {
			row.Wrapped = bytes.Clone(row.Wrapped)
			rows = append(rows, row)
		}
		slices.SortFunc(rows, func(a, b keyring.TenantKeyRow) int {
			return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Version, b.Version))
		})
		return nil
	})
	return rows, err
}

// AddDataKeys implements keyring.Storage.
func (m *Memory) AddDataKeys(ctx context.Context, rows []keyring.DataKeyRow) error {
	return m.do(ctx, "AddDataKeys", func(t *Tables) error { return t.add(rows) })
}

// DataKey implements keyring.Storage.
func (m *Memory) DataKey(ctx context.Context, tenant string, id [16]byte) (row keyring.DataKeyRow, err error) {
	err = m.do(ctx, "DataKey", func(t *Tables) error {
		stored, ok := t.DataKeys[DataKeyID{tenant, id}]
		if !ok {
			return missing("data key")
		}
		row = clone(stored)
		return nil
	})
	return row, err
}

// ScopeKey implements keyring.Storage.
func (m *Memory) ScopeKey(ctx context.Context, tenant, scope string) (row keyring.DataKeyRow, err error) {
	err = m.do(ctx, "ScopeKey", func(t *Tables) error {
		stored := scoped(t.DataKeys, tenant, scope)
		if stored == nil {
			return missing(scope + " key")
		}
		row = clone(*stored)
		return nil
	})
	return row, err
}

// ScopeKeys implements keyring.Storage.
func (m *Memory) ScopeKeys(ctx context.Context, tenant, scope string) (rows []keyring.DataKeyRow, err error) {
	err = m.do(ctx, "ScopeKeys", func(t *Tables) error {
		for _, row := range t.DataKeys {
			if row.Tenant == tenant && single(row.Scope) && (row.Scope == scope || strings.HasPrefix(row.Scope, scope+"/")) {
				rows = append(rows, clone(row))
			}
		}
		return nil
	})
	return rows, err
}

// SucceedDataKey implements keyring.Storage.
func (m *Memory) SucceedDataKey(ctx context.Context, old, former, next keyring.DataKeyRow) error {
	return m.do(ctx, "SucceedDataKey", func(t *Tables) error {
		id := DataKeyID{old.Tenant, old.ID}
		stands, ok := t.DataKeys[id]
		if !ok || stands.Scope != old.Scope || !bytes.Equal(stands.Wrapped, old.Wrapped) || scoped(t.DataKeys, old.Tenant, former.Scope) != nil {
			return fault.New(fault.Conflict, "the %s key was changed", old.Scope)
		}
		if err := t.under(old.Tenant, former.KeyVersion); err != nil {
			return err
		}
		renamed := stands
		renamed.Scope, renamed.KeyVersion, renamed.Wrapped = former.Scope, former.KeyVersion, former.Wrapped
		t.DataKeys[id] = clone(renamed)
		err := t.add([]keyring.DataKeyRow{next})
		if err != nil {
			t.DataKeys[id] = stands
		}
		return err
	})
}

// MarkAssigned implements keyring.Storage.
func (m *Memory) MarkAssigned(ctx context.Context, tenant string, ids [][16]byte) error {
	return m.do(ctx, "MarkAssigned", func(t *Tables) error {
		for _, id := range ids {
			t.mark(DataKeyID{tenant, id})
		}
		return nil
	})
}

func (t *Tables) mark(id DataKeyID) {
	if row, ok := t.DataKeys[id]; ok && row.State == keyrow.Ready {
		row.State = keyrow.Assigned
		t.DataKeys[id] = row
	}
}

// DestroyDataKey implements keyring.Storage.
func (m *Memory) DestroyDataKey(ctx context.Context, tomb keyring.DataKeyRow) error {
	return m.do(ctx, "DestroyDataKey", func(t *Tables) error {
		id := DataKeyID{tomb.Tenant, tomb.ID}
		if _, ok := t.DataKeys[id]; !ok {
			return missing("data key")
		}
		if err := t.under(tomb.Tenant, tomb.KeyVersion); err != nil {
			return err
		}
		t.DataKeys[id] = clone(tomb)
		maps.DeleteFunc(t.Subjects, func(_ SubjectID, row keyring.SubjectRow) bool {
			return row.Tenant == tomb.Tenant && row.KeyID == tomb.ID
		})
		return nil
	})
}

// Subject implements keyring.Storage.
func (m *Memory) Subject(ctx context.Context, tenant string, token [32]byte) (row keyring.SubjectRow, err error) {
	err = m.do(ctx, "Subject", func(t *Tables) error {
		stored, ok := t.Subjects[SubjectID{tenant, token}]
		if !ok {
			return missing("subject")
		}
		row = cloneSubject(stored)
		return nil
	})
	return row, err
}

// LinkSubject implements keyring.Storage.
func (m *Memory) LinkSubject(ctx context.Context, row keyring.SubjectRow, others ...[32]byte) (stands keyring.SubjectRow, err error) {
	err = m.do(ctx, "LinkSubject", func(t *Tables) error {
		stands, err = t.link(row, others)
		stands = cloneSubject(stands)
		return err
	})
	return stands, err
}

func (t *Tables) link(row keyring.SubjectRow, others [][32]byte) (keyring.SubjectRow, error) {
	if stored, ok := t.Subjects[SubjectID{row.Tenant, row.Token}]; ok {
		return stored, nil
	}
	indexKeys := 0
	for _, key := range t.DataKeys {
		if scope, _, _ := strings.Cut(key.Scope, "/"); key.Tenant == row.Tenant && scope == keyrow.Index {
			indexKeys++
		}
	}
	other := func(token [32]byte) bool { _, ok := t.Subjects[SubjectID{row.Tenant, token}]; return ok }
	if indexKeys > 1+len(others) || slices.ContainsFunc(others, other) {
		return keyring.SubjectRow{}, fault.New(fault.Conflict, "another index key").WithCode(keyrow.CodeOtherToken)
	}
	for _, other := range t.Subjects {
		if other.Tenant == row.Tenant && other.KeyID == row.KeyID {
			return keyring.SubjectRow{}, fault.New(fault.Conflict, "data key %x belongs to another subject", row.KeyID)
		}
	}
	id := DataKeyID{row.Tenant, row.KeyID}
	switch key, ok := t.DataKeys[id]; {
	case !ok || key.State == keyrow.Destroyed:
		return keyring.SubjectRow{}, missing("live data key")
	case key.Scope != keyrow.Pool:
		return keyring.SubjectRow{}, fault.New(fault.Conflict, "data key %x is in use", row.KeyID)
	}
	if err := t.under(row.Tenant, row.KeyVersion); err != nil {
		return keyring.SubjectRow{}, err
	}
	t.mark(id)
	t.Subjects[SubjectID{row.Tenant, row.Token}] = cloneSubject(row)
	return row, nil
}

// unused reports whether a key is ready, of the pool, and nobody's.
func (t *Tables) unused(id DataKeyID) bool {
	row, ok := t.DataKeys[id]
	if !ok || row.Scope != keyrow.Pool || row.State != keyrow.Ready {
		return false
	}
	for _, subject := range t.Subjects {
		if subject.Tenant == id.Tenant && subject.KeyID == id.ID {
			return false
		}
	}
	return true
}

// Unassigned implements keyring.Storage.
func (m *Memory) Unassigned(ctx context.Context, tenant string, after, before [16]byte, limit int) (ids [][16]byte, err error) {
	err = m.do(ctx, "Unassigned", func(t *Tables) error {
		for id := range t.DataKeys {
			in := bytes.Compare(id.ID[:], after[:]) > 0 && bytes.Compare(id.ID[:], before[:]) < 0
			if id.Tenant == tenant && in && t.unused(id) {
				ids = append(ids, id.ID)
			}
		}
		slices.SortFunc(ids, func(a, b [16]byte) int { return bytes.Compare(a[:], b[:]) })
		ids = ids[:min(limit, len(ids))]
		return nil
	})
	return ids, err
}

// DeleteUnassigned implements keyring.Storage.
func (m *Memory) DeleteUnassigned(ctx context.Context, tenant string, ids [][16]byte) (deleted int, err error) {
	err = m.do(ctx, "DeleteUnassigned", func(t *Tables) error {
		for _, id := range ids {
			if t.unused(DataKeyID{tenant, id}) {
				delete(t.DataKeys, DataKeyID{tenant, id})
				deleted++
			}
		}
		return nil
	})
	return deleted, err
}
