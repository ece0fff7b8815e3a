package store

import "context"

// Signers lists a tenant's signers by id.
func (db *DB) Signers(ctx context.Context, s Scope) ([]ID, error) {
	return collect(ctx, db.data, s.tenant, `
		SELECT object FROM heads WHERE tenant = $1 AND kind = 'signer'
		ORDER BY object`, []any{s.tenant}, func(r row, id *ID) error { return r.scan(id) })
}
