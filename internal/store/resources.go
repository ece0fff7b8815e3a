package store

import (
	"context"

	"github.com/underseal/underseal/internal/fault"
)

// Resource returns the file whose bytes have this SHA-256. The caller checks
// that they do. NotFound when the tenant has no such file.
func (db *DB) Resource(ctx context.Context, s Scope, hash [32]byte) ([]byte, error) {
	return db.oneBlob(ctx, s, `SELECT data FROM resources WHERE tenant = $1 AND hash = $2`, "file %x", hash)
}

// oneBlob returns the bytes that the tenant has under a hash.
func (db *DB) oneBlob(ctx context.Context, s Scope, text, what string, hash [32]byte) ([]byte, error) {
	var data []byte
	found := false
	err := db.data.each(ctx, s.tenant, text, []any{s.tenant, hash}, func(r row) error {
		found = true
		return r.scan(&data)
	})
	if err == nil && !found {
		err = fault.New(fault.NotFound, what+" does not exist", hash[:8])
	}
	return data, err
}

func insertResource(s Scope, r *Resource) statement {
	return statement{
		text: `INSERT INTO resources (tenant, hash, data) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
		args: []any{s.tenant, r.Hash, r.Data},
	}
}
