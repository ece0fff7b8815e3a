package store

import (
	"context"
	"errors"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring/keyrow"
)

// AddTenantKey implements keyring.Storage. Touching the newest row holds it until
// the commit, so that of two that add or retire, one sees what the other did.
func (k *Keys) AddTenantKey(ctx context.Context, prev, key keyrow.TenantKey) error {
	return k.keys.update(ctx, func(t tx) error {
		if err := swapTenantKey(t, prev, prev); err != nil {
			return err
		}
		if err := checkNewest(t, prev); err != nil {
			return err
		}
		err := insertTenantKey(t, key)
		if errors.Is(err, errTaken) {
			return fault.New(fault.Conflict, "tenant %q has version %d of its tenant key already", key.Tenant, key.Version)
		}
		return err
	})
}

// ReplaceTenantKey implements keyring.Storage.
func (k *Keys) ReplaceTenantKey(ctx context.Context, old, key keyrow.TenantKey) error {
	return k.keys.update(ctx, func(t tx) error { return swapTenantKey(t, old, key) })
}

// RetireTenantKeys implements keyring.Storage. Unavailable may also mean that the
// rows are gone but their bytes are still in the WAL: call again.
func (k *Keys) RetireTenantKeys(ctx context.Context, old, key keyrow.TenantKey, upTo uint32) error {
	err := k.keys.update(ctx, func(t tx) error {
		if err := swapTenantKey(t, old, key); err != nil {
			return err
		}
		if err := checkNewest(t, old); err != nil {
			return err
		}
		_, err := t.exec(`DELETE FROM tenant_keys WHERE tenant = $1 AND version <= $2`, old.Tenant, upTo)
		if errors.Is(err, errHangs) {
			return fault.New(fault.Conflict, "tenant %q: keys still hang on version %d of its tenant key or an older one", old.Tenant, upTo).
				WithCode("keys_hang")
		}
		return err
	})
	if err != nil {
		return err
	}
	return k.keys.forget(ctx)
}

// swapTenantKey requires that old stands as it was read, and replaces it.
func swapTenantKey(t tx, old, key keyrow.TenantKey) error {
	n, err := t.exec(`
		UPDATE tenant_keys SET service = $3, root_key = $4, made = $5, wrapped = $6
		WHERE tenant = $1 AND version = $2 AND wrapped = $7`,
		old.Tenant, old.Version, key.Service, key.RootKey, key.Made, key.Wrapped, old.Wrapped)
	if err == nil && n == 0 {
		err = fault.New(fault.Conflict, "tenant %q: version %d of its tenant key was changed meanwhile", old.Tenant, old.Version)
	}
	return err
}

// checkNewest requires that no version is higher.
func checkNewest(t tx, key keyrow.TenantKey) error {
	var higher bool
	err := t.each(`SELECT EXISTS (SELECT 1 FROM tenant_keys WHERE tenant = $1 AND version > $2)`,
		[]any{key.Tenant, key.Version}, func(r row) error { return r.scan(&higher) })
	if err == nil && higher {
		err = fault.New(fault.Conflict, "tenant %q: version %d of its tenant key is not the newest any more", key.Tenant, key.Version)
	}
	return err
}

// HighestOwn implements keyring.Storage. The plus keeps the planner on the few rows.
func (k *Keys) HighestOwn(ctx context.Context, tenant string) (highest uint32, err error) {
	err = k.keys.each(ctx, "", `
		SELECT COALESCE(MAX(+key_version), 0) FROM data_keys
		WHERE tenant = $1 AND scope <> 'pool' AND scope <> 'replaced' AND scope > ''`,
		[]any{tenant}, func(r row) error { return r.scan(&highest) })
	return highest, err
}

// Counts implements keyring.Storage.
func (k *Keys) Counts(ctx context.Context, tenant string) ([]keyrow.Count, error) {
	return collect(ctx, k.keys, "", `
		SELECT key_version, CAST(SUM(data_keys) AS bigint), CAST(SUM(subjects) AS bigint) FROM (
			SELECT key_version, COUNT(*) AS data_keys, 0 AS subjects FROM data_keys WHERE tenant = $1 GROUP BY key_version
			UNION ALL
			SELECT key_version, 0, COUNT(*) FROM subjects WHERE tenant = $1 GROUP BY key_version) AS used
		GROUP BY key_version
		ORDER BY key_version`,
		[]any{tenant}, func(r row, c *keyrow.Count) error { return r.scan(&c.Version, &c.DataKeys, &c.Subjects) })
}

// CountBelow implements keyring.Storage.
func (k *Keys) CountBelow(ctx context.Context, tenant string, below uint32) (rows int, err error) {
	err = k.keys.each(ctx, "", `
		SELECT (SELECT COUNT(*) FROM data_keys WHERE tenant = $1 AND key_version < $2)
			+ (SELECT COUNT(*) FROM subjects WHERE tenant = $1 AND key_version < $2)`,
		[]any{tenant, below}, func(r row) error { return r.scan(&rows) })
	return rows, err
}

// DataKeysBelow implements keyring.Storage. The plus keeps the planner on the
// primary key, whose order the pages need.
func (k *Keys) DataKeysBelow(ctx context.Context, tenant string, after [16]byte, below uint32, limit int) ([]keyrow.DataKey, error) {
	return collect(ctx, k.keys, "", `
		SELECT `+dataKeyColumns+` FROM data_keys
		WHERE tenant = $1 AND id > $2 AND +key_version < $3
		ORDER BY id
		LIMIT $4`,
		[]any{tenant, after, below, limit}, func(r row, key *keyrow.DataKey) (err error) {
			*key, err = scanDataKey(r)
			return err
		})
}

// SubjectsBelow implements keyring.Storage.
func (k *Keys) SubjectsBelow(ctx context.Context, tenant string, after [32]byte, below uint32, limit int) ([]keyrow.Subject, error) {
	return collect(ctx, k.keys, "", `
		SELECT `+subjectColumns+` FROM subjects
		WHERE tenant = $1 AND token > $2 AND +key_version < $3
		ORDER BY token
		LIMIT $4`,
		[]any{tenant, after, below, limit}, scanSubjectInto)
}

// SubjectsWithin implements keyring.Storage.
func (k *Keys) SubjectsWithin(ctx context.Context, tenant string, after, before [16]byte, limit int) ([]keyrow.Subject, error) {
	return collect(ctx, k.keys, "", `
		SELECT `+subjectColumns+` FROM subjects
		WHERE tenant = $1 AND key_id > $2 AND key_id < $3
		ORDER BY key_id
		LIMIT $4`,
		[]any{tenant, after, before, limit}, scanSubjectInto)
}

// CountSubjects implements keyring.Storage.
func (k *Keys) CountSubjects(ctx context.Context, tenant string) (c keyrow.SubjectCount, err error) {
	err = k.keys.each(ctx, "", `
		SELECT COUNT(*), CAST(COALESCE(SUM(length(former)), 0) / 16 AS bigint) FROM subjects WHERE tenant = $1`,
		[]any{tenant}, func(r row) error { return r.scan(&c.Subjects, &c.Former) })
	if err != nil || c.Subjects == 0 {
		return c, err
	}
	err = k.keys.each(ctx, "", `SELECT key_id FROM subjects WHERE tenant = $1 ORDER BY key_id LIMIT 1`,
		[]any{tenant}, func(r row) error { return r.scan(&c.Oldest) })
	return c, err
}

// SucceedSubjects implements keyring.Storage.
func (k *Keys) SucceedSubjects(ctx context.Context, changes []keyrow.Succession) error {
	former, next, subjects := make([][]any, len(changes)), make([]keyrow.DataKey, len(changes)), make([][]any, len(changes))
	for i, c := range changes {
		former[i] = []any{c.Key.Tenant, c.Key.ID, c.Former.Scope, c.Former.KeyVersion, c.Former.Wrapped, c.Key.Scope, c.Key.KeyVersion, c.Key.Wrapped}
		next[i] = c.Next
		subjects[i] = []any{c.Old.Tenant, c.Old.Token, c.New.KeyID, c.New.Former, c.New.KeyVersion, c.New.MAC, c.Old.KeyID, c.Old.KeyVersion, c.Old.MAC}
	}
	return k.keys.update(ctx, func(t tx) error {
		err := eachChanged(t, `
			UPDATE data_keys SET scope = $3, state = 'assigned', key_version = $4, wrapped = $5
			WHERE tenant = $1 AND id = $2 AND scope = $6 AND key_version = $7 AND wrapped = $8`, former)
		if err != nil {
			return err
		}
		if err := insertDataKeys(t, next); err != nil {
			return err
		}
		return eachChanged(t, `
			UPDATE subjects SET key_id = $3, former = $4, key_version = $5, mac = $6
			WHERE tenant = $1 AND token = $2 AND key_id = $7 AND key_version = $8 AND mac = $9`, subjects)
	})
}

// eachChanged runs one statement per entry of args, each of which must change a row.
func eachChanged(t tx, text string, args [][]any) error {
	n, err := t.execOf(text, args)
	if err == nil && int(n) != len(args) {
		err = fault.New(fault.Conflict, "store new keys of persons: of %d rows %d were changed meanwhile", len(args), len(args)-int(n))
	}
	return retired(err)
}

// RewrapDataKeys implements keyring.Storage.
func (k *Keys) RewrapDataKeys(ctx context.Context, changes []keyrow.DataKeyChange) (int, error) {
	args := make([][]any, len(changes))
	for i, c := range changes {
		args[i] = []any{c.Old.Tenant, c.Old.ID, c.New.KeyVersion, c.New.Wrapped, c.New.Tombstone, c.Old.KeyVersion, c.Old.Wrapped, c.Old.Tombstone}
	}
	return k.change(ctx, &rewrapDataKeys, args)
}

var rewrapDataKeys = update{
	columns: 8,
	set:     `UPDATE data_keys SET key_version = $3, wrapped = $4, tombstone = $5`,
	where:   `tenant = $1 AND id = $2 AND key_version = $6 AND wrapped = $7 AND tombstone = $8`,
}

// RewrapSubjects implements keyring.Storage.
func (k *Keys) RewrapSubjects(ctx context.Context, changes []keyrow.SubjectChange) (int, error) {
	args := make([][]any, len(changes))
	for i, c := range changes {
		args[i] = []any{c.Old.Tenant, c.Old.Token, c.New.KeyVersion, c.New.MAC, c.Old.KeyVersion, c.Old.KeyID, c.Old.MAC}
	}
	return k.change(ctx, &rewrapSubjects, args)
}

var rewrapSubjects = update{
	columns: 7,
	set:     `UPDATE subjects SET key_version = $3, mac = $4`,
	where:   `tenant = $1 AND token = $2 AND key_version = $5 AND key_id = $6 AND mac = $7`,
}

// change changes a row per entry of args, all as one unit, and returns how many stood
// as they had to.
func (k *Keys) change(ctx context.Context, u *update, args [][]any) (changed int, err error) {
	err = k.keys.update(ctx, func(t tx) error {
		n, err := t.updateOf(u, args)
		changed = int(n)
		return retired(err)
	})
	if err != nil {
		return 0, err
	}
	return changed, nil
}

// NoteRootVersion implements keyring.Storage.
func (k *Keys) NoteRootVersion(ctx context.Context, v keyrow.RootVersion) error {
	return k.keys.update(ctx, func(t tx) error {
		_, err := t.exec(`
			INSERT INTO root_versions (service, root_key, version, seen) VALUES ($1, $2, $3, $4)
			ON CONFLICT (service, root_key, version) DO NOTHING`, v.Service, v.RootKey, v.Version, v.Seen)
		return err
	})
}

// RootVersions implements keyring.Storage.
func (k *Keys) RootVersions(ctx context.Context) ([]keyrow.RootVersion, error) {
	return collect(ctx, k.keys, "", `
		SELECT service, root_key, version, seen FROM root_versions
		ORDER BY service, root_key, seen, version`, nil,
		func(r row, v *keyrow.RootVersion) error { return r.scan(&v.Service, &v.RootKey, &v.Version, &v.Seen) })
}

// ForgetRootVersion implements keyring.Storage.
func (k *Keys) ForgetRootVersion(ctx context.Context, v keyrow.RootVersion) error {
	return k.keys.update(ctx, func(t tx) error {
		_, err := t.exec(`DELETE FROM root_versions WHERE service = $1 AND root_key = $2 AND version = $3`,
			v.Service, v.RootKey, v.Version)
		return err
	})
}
