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

// DefinitionFilter selects definitions.
type DefinitionFilter struct {
	Process string // "": all
	After   DefinitionCursor
	Limit   int
}

// DefinitionCursor is the last definition of the page before; zero: begin.
type DefinitionCursor struct {
	Process string
	Version int
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

// Definitions lists definitions by process (by bytes), newest version first.
func (db *DB) Definitions(ctx context.Context, s Scope, f DefinitionFilter) ([]StoredDefinition, error) {
	return db.definitions(ctx, s, `
		SELECT object, process, version, name, resource, deployed FROM definitions
		WHERE tenant = $1 AND ($2 = '' OR process = $2)
			AND (process > $3 OR (process = $3 AND version < $4))
		ORDER BY process, version DESC
		LIMIT $5`, f.Process, f.After.Process, f.After.Version, f.Limit)
}

func (db *DB) definitions(ctx context.Context, s Scope, text string, args ...any) ([]StoredDefinition, error) {
	var found []StoredDefinition
	err := db.data.each(ctx, s.tenant, text, append([]any{s.tenant}, args...), func(r row) error {
		var d StoredDefinition
		err := r.scan(&d.ID, &d.Process, &d.Version, &d.Name, &d.Resource, &d.Deployed)
		found = append(found, d)
		return err
	})
	return found, err
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
