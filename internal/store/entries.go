package store

import (
	"bytes"
	"context"

	"github.com/underseal/underseal/internal/fault"
)

// Entry is a leaf of no object: something that was done, read or refused and is
// no step. Its rows have the entry's own id where those of a step have the
// object's, and the seq 0.
type Entry struct {
	ID     ID // of its own: a UUIDv7, or one that follows from what it is about
	Fields []Field
	Leaf   Leaf
}

// Append stores entries as one unit, all of them or none. It returns once they
// are durable; its errors are those of Commit, and Conflict for an entry that the log has.
func (db *DB) Append(ctx context.Context, s Scope, entries ...*Entry) error {
	unit, err := entryStatements(nil, s, entries)
	if err != nil || len(unit) == 0 {
		return err
	}
	if err := checkText(unit); err != nil {
		return err
	}
	for i := range unit {
		if unit[i].insert == leafRows {
			unit[i].refused = fault.New(fault.Conflict, "the log has this entry already").WithCode("entry_exists")
		}
	}
	return db.data.apply(ctx, s.tenant, unit)
}

// Entry returns a stored entry, its fields in path order (by bytes). NotFound
// when the tenant has none of that id.
func (db *DB) Entry(ctx context.Context, s Scope, id ID) (Entry, error) {
	leaves, err := collect(ctx, db.data, s.tenant, `
		SELECT hash, body FROM leaves
		WHERE tenant = $1 AND object = $2 AND seq = 0`,
		[]any{s.tenant, id}, func(r row, l *Leaf) error { return r.scan((*optionalHash)(&l.Hash), &l.Body) })
	if err != nil {
		return Entry{}, err
	}
	if len(leaves) == 0 {
		return Entry{}, fault.New(fault.NotFound, "the log has no entry %s", id)
	}
	fields, err := db.StepFields(ctx, s, id, 0)
	e := Entry{ID: id, Leaf: leaves[0]}
	for _, f := range fields {
		e.Fields = append(e.Fields, Field{Path: f.Path, Sealed: f.Sealed, Value: f.Value, Commitment: f.Commitment})
	}
	return e, err
}

// EntriesBetween lists the stored entries from one id to another, both included,
// ascending, each with its fields as Entry has them.
func (db *DB) EntriesBetween(ctx context.Context, s Scope, first, last ID) ([]Entry, error) {
	entries, err := collect(ctx, db.data, s.tenant, `
		SELECT object, hash, body FROM leaves
		WHERE tenant = $1 AND object >= $2 AND object <= $3 AND seq = 0
		ORDER BY object, seq`,
		[]any{s.tenant, first, last}, func(r row, e *Entry) error {
			return r.scan(&e.ID, (*optionalHash)(&e.Leaf.Hash), &e.Leaf.Body)
		})
	if err != nil {
		return nil, err
	}
	rest := entries
	err = db.data.each(ctx, s.tenant, `
		SELECT object, path, sealed, value, commitment FROM fields
		WHERE tenant = $1 AND object >= $2 AND object <= $3 AND seq = 0
		ORDER BY object, seq, path`,
		[]any{s.tenant, first, last}, func(r row) error {
			var id ID
			var f Field
			if err := r.scan(&id, &f.Path, &f.Sealed, &f.Value, nullableHash{&f.Commitment}); err != nil {
				return err
			}
			for len(rest) > 0 && bytes.Compare(rest[0].ID[:], id[:]) < 0 {
				rest = rest[1:]
			}
			if len(rest) > 0 && rest[0].ID == id { // else it came meanwhile, or belongs to nothing
				rest[0].Fields = append(rest[0].Fields, f)
			}
			return nil
		})
	return entries, err
}

func entryStatements(unit []statement, s Scope, entries []*Entry) ([]statement, error) {
	for _, e := range entries {
		if e.ID == (ID{}) || len(e.Leaf.Body) == 0 {
			return nil, fault.New(fault.Internal, "entry %s without id or leaf", e.ID)
		}
		unit = append(unit, insertLeaf(s, e.ID, 0, &e.Leaf))
		unit = insertFields(unit, s, e.ID, 0, e.Fields)
	}
	return unit, nil
}
