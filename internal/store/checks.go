package store

import "context"

// KeptCheck returns what a server kept of its checks of a tenant, sealed; nil: nothing.
func (db *DB) KeptCheck(ctx context.Context, s Scope) ([]byte, error) {
	found, err := collect(ctx, db.data, s.tenant, `SELECT sealed FROM checks WHERE tenant = $1`, []any{s.tenant},
		func(r row, sealed *[]byte) error { return r.scan(sealed) })
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

// KeepCheck replaces what is kept of the checks of a tenant.
func (db *DB) KeepCheck(ctx context.Context, s Scope, sealed []byte) error {
	return db.data.apply(ctx, s.tenant, []statement{{
		text: `
			INSERT INTO checks (tenant, sealed) VALUES ($1, $2)
			ON CONFLICT (tenant) DO UPDATE SET sealed = excluded.sealed`,
		args: []any{s.tenant, sealed},
	}})
}
