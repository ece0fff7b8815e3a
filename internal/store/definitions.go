package store

import (
	"context"

	"github.com/underseal/underseal/internal/fault"
)

// StoredDefinition is a definition's row.
type StoredDefinition struct {
	ID ID
	DefinitionRow
}

// Definition returns a process's definition; version 0 is the newest. NotFound
// when the tenant has no such definition.
func (db *DB) Definition(ctx context.Context, s Scope, process string, version int) (StoredDefinition, error) {
	found, err := db.definitions(ctx, s, `
		SELECT object, process, version, name, resource, deployed FROM definitions
		WHERE tenant = $1 AND process = $2 AND (version = $3 OR $3 = 0)
		ORDER BY version DESC
		LIMIT 1`, process, version)
	if err != nil {
		return StoredDefinition{}, err
	}
	if len(found) == 0 {
		return StoredDefinition{}, fault.New(fault.NotFound, "process %q, version %d (0: newest), does not exist", process, version)
	}
	return found[0], nil
}

// Newest lists the newest definition of each process, by process (by bytes),
// after a process ("": from the beginning).
func (db *DB) Newest(ctx context.Context, s Scope, after string, limit int) ([]StoredDefinition, error) {
	return db.definitions(ctx, s, `
		SELECT object, process, version, name, resource, deployed FROM definitions d
		WHERE tenant = $1 AND process > $2 AND version = (
			SELECT max(version) FROM definitions WHERE tenant = $1 AND process = d.process)
		ORDER BY process
		LIMIT $3`, after, limit)
}

// Unlisted returns a definition that has a head and no row, if there is one: its
// row was deleted behind our back, and an older version could pass for the newest.
func (db *DB) Unlisted(ctx context.Context, s Scope) (found ID, ok bool, err error) {
	err = db.data.each(ctx, s.tenant, `
		SELECT h.object FROM heads h
		WHERE h.tenant = $1 AND h.kind = 'definition' AND NOT EXISTS (
			SELECT 1 FROM definitions d WHERE d.tenant = h.tenant AND d.object = h.object)
		LIMIT 1`, []any{s.tenant}, func(r row) error {
		ok = true
		return r.scan(&found)
	})
	return found, ok, err
}

func (db *DB) definitions(ctx context.Context, s Scope, text string, args ...any) ([]StoredDefinition, error) {
	return collect(ctx, db.data, s.tenant, text, append([]any{s.tenant}, args...), func(r row, d *StoredDefinition) error {
		return r.scan(&d.ID, &d.Process, &d.Version, &d.Name, &d.Resource, &d.Deployed)
	})
}

func putDefinition(s Scope, object ID, d *DefinitionRow) statement {
	return statement{
		text: `
			INSERT INTO definitions (tenant, object, process, version, name, resource, deployed)
			VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (tenant, object) DO UPDATE SET
				process = excluded.process, version = excluded.version, name = excluded.name,
				resource = excluded.resource, deployed = excluded.deployed`,
		args: []any{s.tenant, object, d.Process, d.Version, d.Name, d.Resource, d.Deployed},
		refused: fault.New(fault.Conflict, "process %q has a version %d already", d.Process, d.Version).
			WithCode("version_taken"),
	}
}

// Models lists the hashes of the models of a process's versions, oldest first.
func (db *DB) Models(ctx context.Context, s Scope, process string) ([][32]byte, error) {
	return collect(ctx, db.data, s.tenant, `
		SELECT resource FROM definitions WHERE tenant = $1 AND process = $2 ORDER BY version`,
		[]any{s.tenant, process}, func(r row, hash *[32]byte) error { return r.scan(hash) })
}
