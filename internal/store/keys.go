package store

import (
	"bytes"
	"context"
	"errors"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring/keyrow"
)

// Keys keeps wrapped keys, apart from the data. It implements keyring.Storage,
// whose comments say what each method does.
type Keys struct{ keys backend }

// Keys returns the storage of keys.
func (db *DB) Keys() *Keys { return &Keys{db.keys} }

// Tenants implements keyring.Storage.
func (k *Keys) Tenants(ctx context.Context) ([]string, error) {
	return collect(ctx, k.keys, "", `SELECT DISTINCT tenant FROM tenant_keys ORDER BY tenant`, nil,
		func(r row, tenant *string) error { return r.scan(tenant) })
}

// Found implements keyring.Storage.
func (k *Keys) Found(ctx context.Context, key keyrow.TenantKey, rows []keyrow.DataKey) error {
	if err := checkDataKeys(key.Tenant, rows); err != nil {
		return err
	}
	return k.keys.update(ctx, func(t tx) error {
		if err := checkUnfounded(t, key.Tenant); err != nil {
			return err
		}
		if err := insertTenantKey(t, key); err != nil {
			return err
		}
		return insertDataKeys(t, rows)
	})
}

func insertTenantKey(t tx, key keyrow.TenantKey) error {
	_, err := t.exec(`
		INSERT INTO tenant_keys (tenant, version, service, root_key, made, wrapped)
		VALUES ($1, $2, $3, $4, $5, $6)`,
		key.Tenant, key.Version, key.Service, key.RootKey, key.Made, key.Wrapped)
	return err
}

// checkUnfounded requires that the tenant has no key of any sort.
func checkUnfounded(t tx, tenant string) error {
	var hasKey, hasRest bool
	err := t.each(`
		SELECT EXISTS (SELECT 1 FROM tenant_keys WHERE tenant = $1),
			EXISTS (SELECT 1 FROM data_keys WHERE tenant = $1) OR EXISTS (SELECT 1 FROM subjects WHERE tenant = $1)`,
		[]any{tenant}, func(r row) error { return r.scan(&hasKey, &hasRest) })
	switch {
	case err != nil:
		return err
	case hasKey:
		return fault.New(fault.Conflict, "tenant %q has a tenant key already", tenant)
	case hasRest:
		return fault.New(fault.Integrity, "tenant %q has data keys but no tenant key: its row was deleted", tenant)
	}
	return nil
}

// checkDataKeys catches a mistake of the caller before it becomes a row.
func checkDataKeys(tenant string, rows []keyrow.DataKey) error {
	for i := range rows {
		if rows[i].Tenant != tenant {
			return fault.New(fault.Internal, "store data keys: a key of tenant %q among those of %q", rows[i].Tenant, tenant)
		}
	}
	return nil
}

const tenantKeyColumns = `tenant, version, service, root_key, made, wrapped`

func scanTenantKey(r row, key *keyrow.TenantKey) error {
	return r.scan(&key.Tenant, &key.Version, &key.Service, &key.RootKey, &key.Made, &key.Wrapped)
}

// TenantKeys implements keyring.Storage.
func (k *Keys) TenantKeys(ctx context.Context, tenant string) ([]keyrow.TenantKey, error) {
	return collect(ctx, k.keys, "",
		`SELECT `+tenantKeyColumns+` FROM tenant_keys WHERE tenant = $1 ORDER BY version`, []any{tenant}, scanTenantKey)
}

// AllTenantKeys implements keyring.Storage.
func (k *Keys) AllTenantKeys(ctx context.Context) ([]keyrow.TenantKey, error) {
	return collect(ctx, k.keys, "",
		`SELECT `+tenantKeyColumns+` FROM tenant_keys ORDER BY tenant, version`, nil, scanTenantKey)
}

// AddDataKeys implements keyring.Storage.
func (k *Keys) AddDataKeys(ctx context.Context, rows []keyrow.DataKey) error {
	if len(rows) == 0 {
		return nil
	}
	if err := checkDataKeys(rows[0].Tenant, rows); err != nil {
		return err
	}
	return k.keys.update(ctx, func(t tx) error { return insertDataKeys(t, rows) })
}

func insertDataKeys(t tx, rows []keyrow.DataKey) error {
	args := make([][]any, len(rows))
	for i, r := range rows {
		args[i] = []any{r.Tenant, r.ID, r.Scope, string(r.State), r.KeyVersion, r.Wrapped, r.Tombstone}
	}
	_, err := t.execOf(`
		INSERT INTO data_keys (tenant, id, scope, state, key_version, wrapped, tombstone)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`, args)
	if errors.Is(err, errTaken) {
		return fault.New(fault.Conflict, "store data keys: one of the ids or scopes exists already")
	}
	return retired(err)
}

// retired names the error of a row whose version of the tenant key is not there.
func retired(err error) error {
	if errors.Is(err, errHangs) {
		return fault.New(fault.Conflict, "store a key: its version of the tenant key does not exist (any more)").WithCode(keyrow.CodeNoTenantKey)
	}
	return err
}

const dataKeyColumns = `tenant, id, scope, state, key_version, wrapped, tombstone`

func scanDataKey(r row) (key keyrow.DataKey, err error) {
	var state string
	err = r.scan(&key.Tenant, &key.ID, &key.Scope, &state, &key.KeyVersion, &key.Wrapped, &key.Tombstone)
	key.State = keyrow.State(state)
	return key, err
}

// DataKey implements keyring.Storage.
func (k *Keys) DataKey(ctx context.Context, tenant string, id [16]byte) (keyrow.DataKey, error) {
	return k.dataKey(ctx, `SELECT `+dataKeyColumns+` FROM data_keys WHERE tenant = $1 AND id = $2`, tenant, id)
}

// ScopeKey implements keyring.Storage.
func (k *Keys) ScopeKey(ctx context.Context, tenant, scope string) (keyrow.DataKey, error) {
	return k.dataKey(ctx, `
		SELECT `+dataKeyColumns+` FROM data_keys
		WHERE tenant = $1 AND scope = $2 AND scope <> 'pool' AND scope <> 'replaced'`, tenant, scope)
}

// ScopeKeys implements keyring.Storage.
func (k *Keys) ScopeKeys(ctx context.Context, tenant, scope string) ([]keyrow.DataKey, error) {
	return collect(ctx, k.keys, "", `
		SELECT `+dataKeyColumns+` FROM data_keys
		WHERE tenant = $1 AND scope <> 'pool' AND scope <> 'replaced' AND scope >= $2 AND scope < $2 || '0'
			AND (scope = $2 OR substr(scope, 1, length($2) + 1) = $2 || '/')`,
		[]any{tenant, scope}, func(r row, key *keyrow.DataKey) (err error) {
			*key, err = scanDataKey(r)
			return err
		})
}

// SucceedDataKey implements keyring.Storage.
func (k *Keys) SucceedDataKey(ctx context.Context, old, former, next keyrow.DataKey) error {
	return k.keys.update(ctx, func(t tx) error {
		n, err := t.exec(`
			UPDATE data_keys SET scope = $3, key_version = $4, wrapped = $5
			WHERE tenant = $1 AND id = $2 AND scope = $6 AND wrapped = $7`,
			old.Tenant, old.ID, former.Scope, former.KeyVersion, former.Wrapped, old.Scope, old.Wrapped)
		if errors.Is(err, errTaken) || err == nil && n == 0 {
			return fault.New(fault.Conflict, "tenant %q: its %s key was changed meanwhile", old.Tenant, old.Scope)
		}
		if err != nil {
			return retired(err)
		}
		return insertDataKeys(t, []keyrow.DataKey{next})
	})
}

func (k *Keys) dataKey(ctx context.Context, text string, args ...any) (key keyrow.DataKey, err error) {
	found := false
	err = k.keys.each(ctx, "", text, args, func(r row) (err error) {
		key, err = scanDataKey(r)
		found = true
		return err
	})
	if err == nil && !found {
		err = errNoDataKey()
	}
	return key, err
}

func errNoDataKey() error { return fault.New(fault.NotFound, "the data key does not exist") }

// MarkAssigned implements keyring.Storage.
func (k *Keys) MarkAssigned(ctx context.Context, tenant string, ids [][16]byte) error {
	if len(ids) == 0 {
		return nil
	}
	return k.keys.update(ctx, func(t tx) error {
		_, err := t.execOf(`
			UPDATE data_keys SET state = 'assigned'
			WHERE tenant = $1 AND id = $2 AND state = 'ready'`, perID(tenant, ids))
		return err
	})
}

func perID(tenant string, ids [][16]byte) [][]any {
	args := make([][]any, len(ids))
	for i, id := range ids {
		args[i] = []any{tenant, id}
	}
	return args
}

// DestroyDataKey implements keyring.Storage. On SQLite the file is overwritten
// by secure_delete and the WAL emptied; Unavailable may then also mean that the
// key is destroyed but its old bytes are still in the WAL: call again.
func (k *Keys) DestroyDataKey(ctx context.Context, tomb keyrow.DataKey) error {
	err := k.keys.update(ctx, func(t tx) error {
		if _, err := t.exec(`DELETE FROM subjects WHERE tenant = $1 AND key_id = $2`, tomb.Tenant, tomb.ID); err != nil {
			return err
		}
		n, err := t.exec(`
			UPDATE data_keys SET scope = $3, state = $4, key_version = $5, wrapped = $6, tombstone = $7
			WHERE tenant = $1 AND id = $2`,
			tomb.Tenant, tomb.ID, tomb.Scope, string(tomb.State), tomb.KeyVersion, tomb.Wrapped, tomb.Tombstone)
		if err == nil && n == 0 {
			err = errNoDataKey()
		}
		return retired(err)
	})
	if err != nil {
		return err
	}
	return k.keys.forget(ctx)
}

// checkLinkable requires a key that can become a person's.
func checkLinkable(t tx, tenant string, id [16]byte) error {
	var state, scope string
	err := t.each(`SELECT state, scope FROM data_keys WHERE tenant = $1 AND id = $2`, []any{tenant, id},
		func(r row) error { return r.scan(&state, &scope) })
	switch {
	case err != nil:
		return err
	case state == "":
		return errNoDataKey()
	case keyrow.State(state) == keyrow.Destroyed:
		return fault.New(fault.NotFound, "link a subject: the data key is destroyed")
	case scope != keyrow.Pool:
		return fault.New(fault.Conflict, "link a subject: the data key is in use, as %s", scope)
	}
	return nil
}

const subjectColumns = `tenant, token, key_id, former, key_version, mac`

const selectSubject = `SELECT ` + subjectColumns + ` FROM subjects WHERE tenant = $1 AND token = $2`

func scanSubject(r row) (s keyrow.Subject, err error) {
	err = r.scan(&s.Tenant, &s.Token, &s.KeyID, &s.Former, &s.KeyVersion, &s.MAC)
	return s, err
}

func scanSubjectInto(r row, s *keyrow.Subject) (err error) {
	*s, err = scanSubject(r)
	return err
}

// Subject implements keyring.Storage.
func (k *Keys) Subject(ctx context.Context, tenant string, token [32]byte) (subject keyrow.Subject, err error) {
	err = k.keys.each(ctx, "", selectSubject, []any{tenant, token}, func(r row) (err error) {
		subject, err = scanSubject(r)
		return err
	})
	if err == nil && subject.Tenant == "" {
		err = fault.New(fault.NotFound, "the subject does not exist")
	}
	return subject, err
}

// LinkSubject implements keyring.Storage.
func (k *Keys) LinkSubject(ctx context.Context, subject keyrow.Subject, others ...[32]byte) (keyrow.Subject, error) {
	var standing keyrow.Subject
	err := k.keys.update(ctx, func(t tx) (err error) {
		standing, err = linkSubject(t, subject, others)
		return err
	})
	if err != nil {
		return keyrow.Subject{}, err
	}
	standing.Former, standing.MAC = bytes.Clone(standing.Former), bytes.Clone(standing.MAC)
	return standing, nil
}

func linkSubject(t tx, subject keyrow.Subject, others [][32]byte) (standing keyrow.Subject, err error) {
	err = t.each(selectSubject, []any{subject.Tenant, subject.Token}, func(r row) (err error) {
		standing, err = scanSubject(r)
		return err
	})
	if err != nil || standing.Tenant != "" {
		return standing, err
	}
	if err := checkOneToken(t, subject.Tenant, others); err != nil {
		return standing, err
	}
	if err := checkLinkable(t, subject.Tenant, subject.KeyID); err != nil {
		return standing, err
	}
	_, err = t.exec(`
		INSERT INTO subjects (tenant, token, key_id, former, key_version, mac) VALUES ($1, $2, $3, $4, $5, $6)`,
		subject.Tenant, subject.Token, subject.KeyID, subject.Former, subject.KeyVersion, subject.MAC)
	if errors.Is(err, errTaken) {
		return standing, fault.New(fault.Conflict, "link a subject: the data key belongs to another one")
	}
	if err != nil {
		return standing, retired(err)
	}
	_, err = t.exec(`
		UPDATE data_keys SET state = 'assigned'
		WHERE tenant = $1 AND id = $2 AND state = 'ready'`, subject.Tenant, subject.KeyID)
	return subject, err
}

// checkOneToken requires that a person who gets a row has none under another index key,
// of which there are as many as tokens.
func checkOneToken(t tx, tenant string, others [][32]byte) error {
	indexKeys, standing := 0, false
	err := t.each(`
		SELECT COUNT(*) FROM data_keys
		WHERE tenant = $1 AND scope <> 'pool' AND scope <> 'replaced' AND scope >= 'index' AND scope < 'index0'
			AND (scope = 'index' OR substr(scope, 1, 6) = 'index/')`,
		[]any{tenant}, func(r row) error { return r.scan(&indexKeys) })
	for i := 0; i < len(others) && err == nil && !standing; i++ {
		err = t.each(selectSubject, []any{tenant, others[i]}, func(row) error {
			standing = true
			return nil
		})
	}
	if err == nil && (standing || indexKeys > 1+len(others)) {
		err = fault.New(fault.Conflict, "link a subject: the person has, or may have, a row under another of the tenant's %d index keys", indexKeys).
			WithCode(keyrow.CodeOtherToken)
	}
	return err
}

// Unassigned implements keyring.Storage.
func (k *Keys) Unassigned(ctx context.Context, tenant string, after, before [16]byte, limit int) ([][16]byte, error) {
	return collect(ctx, k.keys, "", `
		SELECT id FROM data_keys k
		WHERE tenant = $1 AND scope = 'pool' AND state = 'ready' AND id > $2 AND id < $3
			AND NOT EXISTS (SELECT 1 FROM subjects s WHERE s.tenant = k.tenant AND s.key_id = k.id)
		ORDER BY id
		LIMIT $4`,
		[]any{tenant, after, before, limit}, func(r row, id *[16]byte) error { return r.scan(id) })
}

// DeleteUnassigned implements keyring.Storage.
func (k *Keys) DeleteUnassigned(ctx context.Context, tenant string, ids [][16]byte) (deleted int, err error) {
	if len(ids) == 0 {
		return 0, nil
	}
	err = k.keys.update(ctx, func(t tx) error {
		n, err := t.execOf(`
			DELETE FROM data_keys
			WHERE tenant = $1 AND id = $2 AND scope = 'pool' AND state = 'ready'
				AND NOT EXISTS (SELECT 1 FROM subjects s WHERE s.tenant = data_keys.tenant AND s.key_id = data_keys.id)`,
			perID(tenant, ids))
		deleted = int(n)
		return err
	})
	if err != nil {
		return 0, err
	}
	return deleted, nil
}
