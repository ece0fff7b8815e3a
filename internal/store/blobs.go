package store

import (
	"context"

	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/fault"
)

// Blobs keeps blobs as rows of a Postgres database, divided into chunks. A blob
// that is being written has no size; the commit gives it one.
type Blobs struct{ db *postgresDB }

var _ blob.Store = (*Blobs)(nil)

// chunkSize is the length of every chunk of a blob but the last, in bytes.
const chunkSize = 256 << 10

// Blobs returns the store of blobs in this database and removes what unfinished
// uploads left. Invalid for SQLite: its one writer would wait for every upload.
func (db *DB) Blobs(ctx context.Context) (*Blobs, error) {
	b, err := db.BlobsAsTheyAre()
	if err != nil {
		return nil, err
	}
	return b, b.removeUnfinished(ctx, db.scans)
}

// BlobsAsTheyAre returns the store of blobs in this database, to read, and removes
// nothing. Invalid for SQLite.
func (db *DB) BlobsAsTheyAre() (*Blobs, error) {
	data, ok := db.data.(*postgresDB)
	if !ok {
		return nil, fault.New(fault.Invalid, "blobs can be kept in the database only if it is Postgres").
			WithHint("keep them as files or in S3-compatible storage")
	}
	return &Blobs{data}, nil
}

// removeUnfinished may take all that has no size for left over: a server that
// has the lease is the only one.
func (b *Blobs) removeUnfinished(ctx context.Context, scans backend) error {
	type place struct {
		tenant string
		id     ID
	}
	left, err := collect(ctx, scans, "", `SELECT tenant, id FROM blobs WHERE size IS NULL`, nil,
		func(r row, p *place) error { return r.scan(&p.tenant, &p.id) })
	for i := 0; err == nil && i < len(left); i++ {
		err = b.Delete(ctx, left[i].tenant, blob.ID(left[i].id))
	}
	return err
}

// Create implements blob.Store.
func (b *Blobs) Create(ctx context.Context, tenant string, id blob.ID) (blob.Writer, error) {
	err := b.db.apply(ctx, tenant, []statement{{
		text:    `INSERT INTO blobs (tenant, id) VALUES ($1, $2)`,
		args:    []any{tenant, [16]byte(id)},
		refused: blob.Exists(id),
		full:    blob.Full(id, nil),
	}})
	if err != nil {
		return nil, err
	}
	return &blobWriter{ctx: ctx, db: b.db, tenant: tenant, id: id, chunk: make([]byte, 0, chunkSize)}, nil
}

// Open implements blob.Store.
func (b *Blobs) Open(ctx context.Context, tenant string, id blob.ID) (blob.Reader, error) {
	sizes, err := collect(ctx, b.db, tenant,
		`SELECT size FROM blobs WHERE tenant = $1 AND id = $2 AND size IS NOT NULL`, []any{tenant, [16]byte(id)},
		func(r row, size *int64) error { return r.scan(size) })
	if err != nil {
		return nil, err
	}
	if len(sizes) == 0 {
		return nil, blob.NotFound(id)
	}
	return &blobReader{ctx: ctx, db: b.db, tenant: tenant, id: id, size: sizes[0], held: -1}, nil
}

// Delete implements blob.Store. The chunks go with the row.
func (b *Blobs) Delete(ctx context.Context, tenant string, id blob.ID) error {
	return b.db.apply(ctx, tenant, []statement{{
		text: `DELETE FROM blobs WHERE tenant = $1 AND id = $2`,
		args: []any{tenant, [16]byte(id)},
	}})
}

// List implements blob.Store.
func (b *Blobs) List(ctx context.Context, tenant string, after blob.ID, limit int) ([]blob.ID, error) {
	return collect(ctx, b.db, tenant, `
		SELECT id FROM blobs
		WHERE tenant = $1 AND id > $2 AND size IS NOT NULL
		ORDER BY id LIMIT $3`, []any{tenant, [16]byte(after), limit},
		func(r row, id *blob.ID) error { return r.scan((*[16]byte)(id)) })
}
