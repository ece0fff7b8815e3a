package store

import "context"

// statements appends what takes the rows away.
func (e *Erase) statements(unit []statement, s Scope) []statement {
	for _, key := range e.Keys {
		unit = append(unit, statement{
			text: `DELETE FROM tokens WHERE tenant = $1 AND data_key = $2`,
			args: []any{s.tenant, key}, erases: true,
		})
	}
	if e.Instance == (ID{}) {
		return unit
	}
	unit = append(unit,
		statement{
			text: `UPDATE heads SET body = $3 WHERE tenant = $1 AND object = $2 AND kind = 'instance'`,
			args: []any{s.tenant, e.Instance, []byte(nil)}, erases: true,
		},
		statement{
			text: `
				UPDATE instances SET status = 'erased', incidents = 0, ended = coalesce(ended, $3)
				WHERE tenant = $1 AND object = $2`,
			args: []any{s.tenant, e.Instance, e.At},
		})
	for _, text := range []string{
		`DELETE FROM tasks WHERE tenant = $1 AND instance = $2`,
		`DELETE FROM jobs WHERE tenant = $1 AND instance = $2`,
		`DELETE FROM timers WHERE tenant = $1 AND instance = $2`,
		`DELETE FROM incidents WHERE tenant = $1 AND instance = $2`,
		`DELETE FROM tokens WHERE tenant = $1 AND object = $2`,
		`DELETE FROM unique_tokens WHERE tenant = $1 AND object = $2`,
		`DELETE FROM files WHERE tenant = $1 AND object = $2`,
	} {
		unit = append(unit, statement{text: text, args: []any{s.tenant, e.Instance}, erases: true})
	}
	return append(unit, statement{
		text:         `DELETE FROM fields WHERE tenant = $1 AND object = $2 AND NOT sealed`,
		postgresText: `SELECT erase_clear($2) FROM (SELECT $1::text) tenant`,
		args:         []any{s.tenant, e.Instance}, erases: true,
	})
}

// Forget makes what was deleted or overwritten unreadable in the database's own
// files, as far as it can: on SQLite the write-ahead log is emptied, on Postgres
// the tables that erasing touches are vacuumed. Unavailable: call again.
func (db *DB) Forget(ctx context.Context) error { return db.data.forget(ctx) }

// FieldCursor names a field version; the next page begins after it.
type FieldCursor struct {
	Object ID
	Seq    uint64
	Path   string
}

// PlacedField is a field version with its object.
type PlacedField struct {
	Object ID
	StoredField
}

// SealedFields lists the sealed field versions of all of the tenant's objects,
// ascending by object, seq and path, after a cursor.
func (db *DB) SealedFields(ctx context.Context, s Scope, after FieldCursor, limit int) ([]PlacedField, error) {
	return collect(ctx, db.data, s.tenant, `
		SELECT object, path, seq, sealed, value FROM fields
		WHERE tenant = $1 AND (object, seq, path) > ($2, $3, $4) AND sealed
		ORDER BY object, seq, path
		LIMIT $5`,
		[]any{s.tenant, after.Object, after.Seq, after.Path, limit}, func(r row, f *PlacedField) error {
			return r.scan(&f.Object, &f.Path, &f.Seq, &f.Sealed, &f.Value)
		})
}

// StoredErasure is an erasure that began, sealed.
type StoredErasure struct {
	Object ID // the custody
	Sealed []byte
}

// PutErasure stores or replaces what is to be destroyed for a custody, beside the
// keys.
func (db *DB) PutErasure(ctx context.Context, s Scope, object ID, sealed []byte) error {
	return db.keys.update(ctx, func(t tx) error {
		_, err := t.exec(`
			INSERT INTO erasures (tenant, object, sealed) VALUES ($1, $2, $3)
			ON CONFLICT (tenant, object) DO UPDATE SET sealed = excluded.sealed`, s.tenant, object, sealed)
		return err
	})
}

// Erasures lists a tenant's erasures that began, by custody.
func (db *DB) Erasures(ctx context.Context, s Scope) ([]StoredErasure, error) {
	return collect(ctx, db.keys, "", `SELECT object, sealed FROM erasures WHERE tenant = $1 ORDER BY object`,
		[]any{s.tenant}, func(r row, e *StoredErasure) error { return r.scan(&e.Object, &e.Sealed) })
}

// Erasure returns what is to be destroyed for a custody, nil when that has not
// begun.
func (db *DB) Erasure(ctx context.Context, s Scope, object ID) (sealed []byte, err error) {
	err = db.keys.each(ctx, "", `SELECT sealed FROM erasures WHERE tenant = $1 AND object = $2`,
		[]any{s.tenant, object}, func(r row) error { return r.scan(&sealed) })
	return sealed, err
}
