package store

import (
	"context"

	"github.com/underseal/underseal/internal/fault"
)

// TokenRow is an object that has an index token.
type TokenRow struct {
	Object ID
	Seq    uint64 // the step that wrote the token
	Print  []byte
}

// FindToken returns who has the token, ascending by object and seq.
func (db *DB) FindToken(ctx context.Context, s Scope, kind TokenKind, token [32]byte) ([]TokenRow, error) {
	return collect(ctx, db.data, s.tenant, `
		SELECT object, seq, print FROM unique_tokens WHERE tenant = $1 AND kind = $2 AND token = $3
		UNION ALL
		SELECT object, seq, print FROM tokens WHERE tenant = $1 AND kind = $2 AND token = $3
		ORDER BY object, seq`,
		[]any{s.tenant, kind, token}, func(r row, t *TokenRow) error {
			return r.scan(&t.Object, &t.Seq, &t.Print)
		})
}

func insertToken(s Scope, object ID, seq uint64, t *Token) statement {
	args := []any{s.tenant, t.Kind, t.Token, object, seq, t.Print}
	if !t.Unique {
		return statement{
			text: `
				INSERT INTO tokens (tenant, kind, token, object, seq, print)
				VALUES ($1, $2, $3, $4, $5, $6)
				ON CONFLICT DO NOTHING`,
			args: args,
		}
	}
	return statement{
		text: `
			INSERT INTO unique_tokens (tenant, kind, token, object, seq, print)
			VALUES ($1, $2, $3, $4, $5, $6)`,
		args: args,
		refused: fault.New(fault.Conflict, "the tenant has this token already, of kind %d", t.Kind).
			WithCode("token_taken"),
	}
}
