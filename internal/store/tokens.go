package store

import (
	"context"
	"slices"

	"github.com/underseal/underseal/internal/fault"
)

// TokenRow is an object that has an index token.
type TokenRow struct {
	Object ID
	Seq    uint64 // the step that wrote the token
	Print  []byte
	Key    ID // of the person it is about; zero: nobody
}

// FindToken returns who has the token, ascending by object, seq and key.
func (db *DB) FindToken(ctx context.Context, s Scope, kind TokenKind, token [32]byte) ([]TokenRow, error) {
	return collect(ctx, db.data, s.tenant, `
		SELECT object, seq, print, NULL AS data_key FROM unique_tokens WHERE tenant = $1 AND kind = $2 AND token = $3
		UNION ALL
		SELECT object, seq, print, data_key FROM tokens WHERE tenant = $1 AND kind = $2 AND token = $3
		ORDER BY object, seq, data_key`,
		[]any{s.tenant, kind, token}, func(r row, t *TokenRow) error {
			return r.scan(&t.Object, &t.Seq, &t.Print, (*optionalID)(&t.Key))
		})
}

// optionalID receives an id that may be NULL or empty, which leave it zero.
type optionalID ID

func (id *optionalID) Scan(src any) error {
	if data, ok := src.([]byte); src == nil || ok && len(data) == 0 {
		return nil
	}
	return fixed(id[:]).Scan(src)
}

// CountTokens returns how many tokens are about the person with a data key, and
// how many an object has, those of requests besides.
func (db *DB) CountTokens(ctx context.Context, s Scope, keys []ID, object ID) (n int, err error) {
	args := make([][]any, 0, len(keys)+1)
	for _, key := range keys {
		args = append(args, []any{s.tenant, key, ID{}})
	}
	if object != (ID{}) {
		args = append(args, []any{s.tenant, ID{}, object})
	}
	err = db.data.eachOf(ctx, s.tenant, `
		SELECT count(*) FROM tokens WHERE tenant = $1 AND data_key = $2
		UNION ALL SELECT count(*) FROM tokens WHERE tenant = $1 AND object = $3`,
		args, func(_ int, r row) error {
			var some int
			err := r.scan(&some)
			n += some
			return err
		})
	return n, err
}

// key returns the column of a token's key.
func (t *Token) key() []byte {
	if t.Key == (ID{}) {
		return nil
	}
	return t.Key[:]
}

var (
	tokenRows = &insert{
		into:    `INSERT INTO tokens (tenant, kind, token, object, seq, print, data_key)`,
		columns: 7,
		after:   `ON CONFLICT DO NOTHING`,
	}
	uniqueTokenRows = &insert{
		into:    `INSERT INTO unique_tokens (tenant, kind, token, object, seq, print)`,
		columns: 6,
	}
)

// TokenChange gives a token that any number of objects may have other bytes.
type TokenChange struct {
	Old PlacedToken
	New [32]byte // zero: the token is deleted
}

// RenewTokens changes tokens together with the entry of the log that says so. A row that
// is not there (any more) stays away.
func (db *DB) RenewTokens(ctx context.Context, s Scope, changes []TokenChange, e *Entry) error {
	unit, err := entryStatements(nil, s, []*Entry{e})
	if err != nil {
		return err
	}
	for i := range changes {
		unit = changes[i].statements(unit, s)
	}
	if err := checkText(unit); err != nil {
		return err
	}
	return db.data.apply(ctx, s.tenant, unit)
}

// statements appends what changes the row. It is moved, and not made anew, so that one
// which an erasure takes away meanwhile does not come back.
func (c *TokenChange) statements(unit []statement, s Scope) []statement {
	old := Token{Key: c.Old.Key}
	row := []any{s.tenant, c.Old.Kind, c.Old.Token, c.Old.Object, c.Old.Seq, old.key()}
	if c.New != ([32]byte{}) {
		unit = append(unit, statement{
			text: `
				UPDATE tokens SET token = $7
				WHERE tenant = $1 AND kind = $2 AND token = $3 AND object = $4 AND seq = $5 AND data_key = $6 AND NOT EXISTS (
					SELECT 1 FROM tokens t
					WHERE t.tenant = $1 AND t.kind = $2 AND t.token = $7 AND t.object = $4 AND t.seq = $5 AND t.data_key = $6)`,
			args: append(slices.Clone(row), c.New), erases: true,
		})
	}
	return append(unit, statement{
		text: `DELETE FROM tokens WHERE tenant = $1 AND kind = $2 AND token = $3 AND object = $4 AND seq = $5 AND data_key = $6`,
		args: row, erases: true,
	})
}

func insertToken(s Scope, object ID, seq uint64, t *Token) statement {
	if !t.Unique {
		return tokenRows.one(s.tenant, t.Kind, t.Token, object, seq, t.Print, t.key())
	}
	unique := uniqueTokenRows.one(s.tenant, t.Kind, t.Token, object, seq, t.Print)
	unique.refused = fault.New(fault.Conflict, "the tenant has this token already, of kind %d", t.Kind).
		WithCode("token_taken")
	return unique
}
