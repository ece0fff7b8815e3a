package store

import "context"

// PutAPIKey stores or replaces the sealed record of an API key under the index
// token of the key, together with the entries of the log that say so.
func (db *DB) PutAPIKey(ctx context.Context, s Scope, token [32]byte, sealed []byte, entries ...*Entry) error {
	unit, err := entryStatements([]statement{{
		text: `
			INSERT INTO api_keys (tenant, token, sealed) VALUES ($1, $2, $3)
			ON CONFLICT (tenant, token) DO UPDATE SET sealed = excluded.sealed`,
		args: []any{s.tenant, token, sealed},
	}}, s, entries)
	if err != nil {
		return err
	}
	return db.data.apply(ctx, s.tenant, unit)
}

// APIKey returns the sealed record of an API key. NotFound when the tenant has
// none under this token.
func (db *DB) APIKey(ctx context.Context, s Scope, token [32]byte) ([]byte, error) {
	return db.oneBlob(ctx, s, `SELECT sealed FROM api_keys WHERE tenant = $1 AND token = $2`, "API key with token %x", token)
}
