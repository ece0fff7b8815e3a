package store

import (
	"context"

	"github.com/underseal/underseal/internal/fault"
)

// ReaderRow is somebody who may read a tenant's log by a path of their own. Token
// is a keyed hash of the path's secret; all else is sealed.
type ReaderRow struct {
	ID     ID
	Token  [32]byte
	Sealed []byte
}

func (r *ReaderRow) targets() []any { return []any{&r.ID, &r.Token, &r.Sealed} }

const readerColumns = `id, token, sealed`

// Reader returns the reader whose path has this token. NotFound when the tenant
// has none.
func (db *DB) Reader(ctx context.Context, s Scope, token [32]byte) (ReaderRow, error) {
	return db.oneReader(ctx, s, `SELECT `+readerColumns+` FROM readers WHERE tenant = $1 AND token = $2`, token)
}

// ReaderByID returns a reader. NotFound when the tenant has none of this id.
func (db *DB) ReaderByID(ctx context.Context, s Scope, id ID) (ReaderRow, error) {
	return db.oneReader(ctx, s, `SELECT `+readerColumns+` FROM readers WHERE tenant = $1 AND id = $2`, id)
}

func (db *DB) oneReader(ctx context.Context, s Scope, text string, arg any) (ReaderRow, error) {
	found, err := collect(ctx, db.data, s.tenant, text, []any{s.tenant, arg},
		func(r row, v *ReaderRow) error { return r.scan(v.targets()...) })
	if err != nil {
		return ReaderRow{}, err
	}
	if len(found) == 0 {
		return ReaderRow{}, fault.New(fault.NotFound, "no such reader of the log")
	}
	return found[0], nil
}

// Readers lists a tenant's readers, revoked ones too, by id, after an id.
func (db *DB) Readers(ctx context.Context, s Scope, after ID, limit int) ([]ReaderRow, error) {
	return collect(ctx, db.data, s.tenant, `
		SELECT `+readerColumns+` FROM readers WHERE tenant = $1 AND id > $2
		ORDER BY id
		LIMIT $3`, []any{s.tenant, after, limit},
		func(r row, v *ReaderRow) error { return r.scan(v.targets()...) })
}

// PutReader stores a reader, or replaces what is sealed of one, together with the
// entry of the log that says so.
func (db *DB) PutReader(ctx context.Context, s Scope, r ReaderRow, e *Entry) error {
	unit, err := entryStatements(nil, s, []*Entry{e})
	if err != nil {
		return err
	}
	unit = append(unit, statement{
		text: `
			INSERT INTO readers (tenant, id, token, sealed) VALUES ($1, $2, $3, $4)
			ON CONFLICT (tenant, id) DO UPDATE SET sealed = excluded.sealed`,
		args: []any{s.tenant, r.ID, r.Token, r.Sealed},
	})
	if err := checkText(unit); err != nil {
		return err
	}
	return db.data.apply(ctx, s.tenant, unit)
}
