package keyringtest

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/keyring/keyrow"
)

// AddTenantKey implements keyring.Storage.
func (m *Memory) AddTenantKey(ctx context.Context, prev, row keyring.TenantKeyRow) error {
	return m.do(ctx, "AddTenantKey", func(t *Tables) error {
		if err := t.swappable(prev, true); err != nil {
			return err
		}
		row.Wrapped = bytes.Clone(row.Wrapped)
		t.TenantKeys[TenantKeyID{row.Tenant, row.Version}] = row
		return nil
	})
}

// ReplaceTenantKey implements keyring.Storage.
func (m *Memory) ReplaceTenantKey(ctx context.Context, old, row keyring.TenantKeyRow) error {
	return m.do(ctx, "ReplaceTenantKey", func(t *Tables) error {
		if err := t.swappable(old, false); err != nil {
			return err
		}
		row.Wrapped = bytes.Clone(row.Wrapped)
		t.TenantKeys[TenantKeyID{old.Tenant, old.Version}] = row
		return nil
	})
}

// RetireTenantKeys implements keyring.Storage.
func (m *Memory) RetireTenantKeys(ctx context.Context, old, row keyring.TenantKeyRow, upTo uint32) error {
	return m.do(ctx, "RetireTenantKeys", func(t *Tables) error {
		if err := t.swappable(old, true); err != nil {
			return err
		}
		for version := range t.counts(old.Tenant) {
			if version <= upTo {
				return fault.New(fault.Conflict, "keys hang on tenant key %d", version).WithCode("keys_hang")
			}
		}
		row.Wrapped = bytes.Clone(row.Wrapped)
		t.TenantKeys[TenantKeyID{old.Tenant, old.Version}] = row
		maps.DeleteFunc(t.TenantKeys, func(id TenantKeyID, _ keyring.TenantKeyRow) bool {
			return id.Tenant == old.Tenant && id.Version <= upTo
		})
		return nil
	})
}

// swappable requires that old stands, and is the newest.
func (t *Tables) swappable(old keyring.TenantKeyRow, newest bool) error {
	stands, ok := t.TenantKeys[TenantKeyID{old.Tenant, old.Version}]
	if !ok || !bytes.Equal(stands.Wrapped, old.Wrapped) {
		return fault.New(fault.Conflict, "tenant key %d was changed", old.Version)
	}
	for id := range t.TenantKeys {
		if newest && id.Tenant == old.Tenant && id.Version > old.Version {
			return fault.New(fault.Conflict, "tenant key %d is not the newest", old.Version)
		}
	}
	return nil
}

// counts returns what names each version.
func (t *Tables) counts(tenant string) map[uint32]keyring.Count {
	counts := map[uint32]keyring.Count{}
	for _, row := range t.DataKeys {
		if row.Tenant == tenant {
			c := counts[row.KeyVersion]
			c.Version, c.DataKeys = row.KeyVersion, c.DataKeys+1
			counts[row.KeyVersion] = c
		}
	}
	for _, row := range t.Subjects {
		if row.Tenant == tenant {
			c := counts[row.KeyVersion]
			c.Version, c.Subjects = row.KeyVersion, c.Subjects+1
			counts[row.KeyVersion] = c
		}
	}
	return counts
}

// HighestOwn implements keyring.Storage.
func (m *Memory) HighestOwn(ctx context.Context, tenant string) (highest uint32, err error) {
	err = m.do(ctx, "HighestOwn", func(t *Tables) error {
		for _, row := range t.DataKeys {
			if row.Tenant == tenant && single(row.Scope) {
				highest = max(highest, row.KeyVersion)
			}
		}
		return nil
	})
	return highest, err
}

// Counts implements keyring.Storage.
func (m *Memory) Counts(ctx context.Context, tenant string) (counts []keyring.Count, err error) {
	err = m.do(ctx, "Counts", func(t *Tables) error {
		counts = slices.SortedFunc(maps.Values(t.counts(tenant)), func(a, b keyring.Count) int { return cmp.Compare(a.Version, b.Version) })
		return nil
	})
	return counts, err
}

// CountBelow implements keyring.Storage.
func (m *Memory) CountBelow(ctx context.Context, tenant string, below uint32) (rows int, err error) {
	err = m.do(ctx, "CountBelow", func(t *Tables) error {
		for _, c := range t.counts(tenant) {
			if c.Version < below {
				rows += c.DataKeys + c.Subjects
			}
		}
		return nil
	})
	return rows, err
}

// DataKeysBelow implements keyring.Storage.
func (m *Memory) DataKeysBelow(ctx context.Context, tenant string, after [16]byte, below uint32, limit int) (rows []keyring.DataKeyRow, err error) {
	err = m.do(ctx, "DataKeysBelow", func(t *Tables) error {
		for _, row := range t.DataKeys {
			if row.Tenant == tenant && bytes.Compare(row.ID[:], after[:]) > 0 && row.KeyVersion < below {
				rows = append(rows, clone(row))
			}
		}
		slices.SortFunc(rows, func(a, b keyring.DataKeyRow) int { return bytes.Compare(a.ID[:], b.ID[:]) })
		rows = rows[:min(limit, len(rows))]
		return nil
	})
	return rows, err
}

// SubjectsBelow implements keyring.Storage.
func (m *Memory) SubjectsBelow(ctx context.Context, tenant string, after [32]byte, below uint32, limit int) (rows []keyring.SubjectRow, err error) {
	err = m.do(ctx, "SubjectsBelow", func(t *Tables) error {
		for _, row := range t.Subjects {
			if row.Tenant == tenant && bytes.Compare(row.Token[:], after[:]) > 0 && row.KeyVersion < below {
				rows = append(rows, cloneSubject(row))
			}
		}
		slices.SortFunc(rows, func(a, b keyring.SubjectRow) int { return bytes.Compare(a.Token[:], b.Token[:]) })
		rows = rows[:min(limit, len(rows))]
		return nil
	})
	return rows, err
}

// SubjectsWithin implements keyring.Storage.
func (m *Memory) SubjectsWithin(ctx context.Context, tenant string, after, before [16]byte, limit int) (rows []keyring.SubjectRow, err error) {
	err = m.do(ctx, "SubjectsWithin", func(t *Tables) error {
		for _, row := range t.Subjects {
			if row.Tenant == tenant && bytes.Compare(row.KeyID[:], after[:]) > 0 && bytes.Compare(row.KeyID[:], before[:]) < 0 {
				rows = append(rows, cloneSubject(row))
			}
		}
		slices.SortFunc(rows, func(a, b keyring.SubjectRow) int { return bytes.Compare(a.KeyID[:], b.KeyID[:]) })
		rows = rows[:min(limit, len(rows))]
		return nil
	})
	return rows, err
}

// CountSubjects implements keyring.Storage.
func (m *Memory) CountSubjects(ctx context.Context, tenant string) (count keyring.SubjectCount, err error) {
	err = m.do(ctx, "CountSubjects", func(t *Tables) error {
		for _, row := range t.Subjects {
			if row.Tenant != tenant {
				continue
			}
			if count.Subjects == 0 || bytes.Compare(row.KeyID[:], count.Oldest[:]) < 0 {
				count.Oldest = row.KeyID
			}
			count.Subjects, count.Former = count.Subjects+1, count.Former+len(row.Former)/16
		}
		return nil
	})
	return count, err
}

// SucceedSubjects implements keyring.Storage.
func (m *Memory) SucceedSubjects(ctx context.Context, changes []keyring.Succession) error {
	return m.do(ctx, "SucceedSubjects", func(t *Tables) error {
		for _, c := range changes {
			if err := t.succeedable(c); err != nil {
				return err
			}
		}
		for _, c := range changes {
			former := t.DataKeys[DataKeyID{c.Key.Tenant, c.Key.ID}]
			former.Scope, former.State, former.KeyVersion, former.Wrapped = c.Former.Scope, keyrow.Assigned, c.Former.KeyVersion, c.Former.Wrapped
			t.DataKeys[DataKeyID{c.Key.Tenant, c.Key.ID}] = clone(former)
			t.DataKeys[DataKeyID{c.Next.Tenant, c.Next.ID}] = clone(c.Next)
			t.Subjects[SubjectID{c.Old.Tenant, c.Old.Token}] = cloneSubject(c.New)
		}
		return nil
	})
}

// succeedable requires that everything stands as a succession expects it.
func (t *Tables) succeedable(c keyring.Succession) error {
	for _, version := range []uint32{c.Former.KeyVersion, c.Next.KeyVersion, c.New.KeyVersion} {
		if err := t.under(c.Old.Tenant, version); err != nil {
			return err
		}
	}
	key, hasKey := t.DataKeys[DataKeyID{c.Key.Tenant, c.Key.ID}]
	row, hasRow := t.Subjects[SubjectID{c.Old.Tenant, c.Old.Token}]
	_, taken := t.DataKeys[DataKeyID{c.Next.Tenant, c.Next.ID}]
	if taken || !hasKey || key.Scope != c.Key.Scope || key.KeyVersion != c.Key.KeyVersion || !bytes.Equal(key.Wrapped, c.Key.Wrapped) ||
		!hasRow || row.KeyID != c.Old.KeyID || row.KeyVersion != c.Old.KeyVersion || !bytes.Equal(row.MAC, c.Old.MAC) {
		return fault.New(fault.Conflict, "a subject or its key was changed")
	}
	return nil
}

// RewrapDataKeys implements keyring.Storage.
func (m *Memory) RewrapDataKeys(ctx context.Context, changes []keyring.DataKeyChange) (changed int, err error) {
	err = m.do(ctx, "RewrapDataKeys", func(t *Tables) error {
		for _, c := range changes {
			if err := t.under(c.New.Tenant, c.New.KeyVersion); err != nil {
				return err
			}
		}
		for _, c := range changes {
			id := DataKeyID{c.Old.Tenant, c.Old.ID}
			row, ok := t.DataKeys[id]
			if !ok || row.KeyVersion != c.Old.KeyVersion || !bytes.Equal(row.Wrapped, c.Old.Wrapped) || !bytes.Equal(row.Tombstone, c.Old.Tombstone) {
				continue
			}
			row.KeyVersion, row.Wrapped, row.Tombstone = c.New.KeyVersion, c.New.Wrapped, c.New.Tombstone
			t.DataKeys[id] = clone(row)
			changed++
		}
		return nil
	})
	return changed, err
}

// RewrapSubjects implements keyring.Storage.
func (m *Memory) RewrapSubjects(ctx context.Context, changes []keyring.SubjectChange) (changed int, err error) {
	err = m.do(ctx, "RewrapSubjects", func(t *Tables) error {
		for _, c := range changes {
			if err := t.under(c.New.Tenant, c.New.KeyVersion); err != nil {
				return err
			}
		}
		for _, c := range changes {
			id := SubjectID{c.Old.Tenant, c.Old.Token}
			row, ok := t.Subjects[id]
			if !ok || row.KeyVersion != c.Old.KeyVersion || row.KeyID != c.Old.KeyID || !bytes.Equal(row.MAC, c.Old.MAC) {
				continue
			}
			row.KeyVersion, row.MAC = c.New.KeyVersion, bytes.Clone(c.New.MAC)
			t.Subjects[id] = row
			changed++
		}
		return nil
	})
	return changed, err
}

// NoteRootVersion implements keyring.Storage.
func (m *Memory) NoteRootVersion(ctx context.Context, row keyring.RootVersionRow) error {
	return m.do(ctx, "NoteRootVersion", func(t *Tables) error {
		if _, ok := t.Roots[RootVersionID{row.Service, row.RootKey, row.Version}]; !ok {
			t.Roots[RootVersionID{row.Service, row.RootKey, row.Version}] = row.Seen
		}
		return nil
	})
}

// RootVersions implements keyring.Storage.
func (m *Memory) RootVersions(ctx context.Context) (rows []keyring.RootVersionRow, err error) {
	err = m.do(ctx, "RootVersions", func(t *Tables) error {
		for id, seen := range t.Roots {
			rows = append(rows, keyring.RootVersionRow{Service: id.Service, RootKey: id.RootKey, Version: id.Version, Seen: seen})
		}
		slices.SortFunc(rows, func(a, b keyring.RootVersionRow) int {
			return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.RootKey, b.RootKey), a.Seen.Compare(b.Seen), cmp.Compare(a.Version, b.Version))
		})
		return nil
	})
	return rows, err
}

// ForgetRootVersion implements keyring.Storage.
func (m *Memory) ForgetRootVersion(ctx context.Context, row keyring.RootVersionRow) error {
	return m.do(ctx, "ForgetRootVersion", func(t *Tables) error {
		delete(t.Roots, RootVersionID{row.Service, row.RootKey, row.Version})
		return nil
	})
}
