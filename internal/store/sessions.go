package store

import (
	"context"
	"time"

	"github.com/underseal/underseal/internal/fault"
)

// SessionRow is where somebody is signed in. It stands beside the keys, which who
// administers the data does not have, so that what was ended is not brought back.
type SessionRow struct {
	Token   [32]byte // keyed hash of the session's text
	ID      ID
	Object  ID // the principal's
	Expires time.Time
	There   []byte // keyed hash of the session at an issuer; empty: none
	Sealed  []byte
}

const sessionColumns = `token, id, object, expires, there, sealed`

func scanSession(r row, s *SessionRow) error {
	return r.scan(&s.Token, &s.ID, &s.Object, &s.Expires, &s.There, &s.Sealed)
}

// Session returns the session of a token. NotFound when the tenant has none.
func (db *DB) Session(ctx context.Context, s Scope, token [32]byte) (SessionRow, error) {
	return db.oneSession(ctx, `SELECT `+sessionColumns+` FROM sessions WHERE tenant = $1 AND token = $2`, s.tenant, token)
}

// SessionByID returns a session by its id. NotFound when the tenant has none.
func (db *DB) SessionByID(ctx context.Context, s Scope, id ID) (SessionRow, error) {
	return db.oneSession(ctx, `SELECT `+sessionColumns+` FROM sessions WHERE tenant = $1 AND id = $2`, s.tenant, id)
}

func (db *DB) oneSession(ctx context.Context, text string, args ...any) (SessionRow, error) {
	found, err := collect(ctx, db.keys, "", text, args, scanSession)
	if err == nil && len(found) == 0 {
		err = fault.New(fault.NotFound, "no such session")
	}
	if err != nil {
		return SessionRow{}, err
	}
	return found[0], nil
}

// SessionsOf lists the sessions of a principal, by token.
func (db *DB) SessionsOf(ctx context.Context, s Scope, object ID) ([]SessionRow, error) {
	return collect(ctx, db.keys, "", `
		SELECT `+sessionColumns+` FROM sessions WHERE tenant = $1 AND object = $2
		ORDER BY token`, []any{s.tenant, object}, scanSession)
}

// SessionsFrom lists a tenant's sessions that came from one at an issuer, by token.
func (db *DB) SessionsFrom(ctx context.Context, s Scope, there []byte) ([]SessionRow, error) {
	return collect(ctx, db.keys, "", `
		SELECT `+sessionColumns+` FROM sessions WHERE tenant = $1 AND there = $2
		ORDER BY token`, []any{s.tenant, there}, scanSession)
}

// Sessions lists a tenant's sessions by token, after a token.
func (db *DB) Sessions(ctx context.Context, s Scope, after [32]byte, limit int) ([]SessionRow, error) {
	return collect(ctx, db.keys, "", `
		SELECT `+sessionColumns+` FROM sessions WHERE tenant = $1 AND token > $2
		ORDER BY token
		LIMIT $3`, []any{s.tenant, after, limit}, scanSession)
}

// PutSession stores a new session.
func (db *DB) PutSession(ctx context.Context, s Scope, r SessionRow) error {
	return db.keys.update(ctx, func(t tx) error {
		_, err := t.exec(`
			INSERT INTO sessions (tenant, token, id, object, expires, there, sealed) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			s.tenant, r.Token, r.ID, r.Object, r.Expires, append([]byte{}, r.There...), r.Sealed)
		return err
	})
}

// SealSessions replaces what is sealed of sessions. One that is not there (any more)
// stays away.
func (db *DB) SealSessions(ctx context.Context, s Scope, rows ...SessionRow) error {
	return db.keys.update(ctx, func(t tx) error {
		for _, r := range rows {
			if _, err := t.exec(`UPDATE sessions SET sealed = $3 WHERE tenant = $1 AND token = $2`, s.tenant, r.Token, r.Sealed); err != nil {
				return err
			}
		}
		return nil
	})
}

// DeleteSession takes a session away; there may be none.
func (db *DB) DeleteSession(ctx context.Context, s Scope, token [32]byte) error {
	return db.keys.update(ctx, func(t tx) error {
		_, err := t.exec(`DELETE FROM sessions WHERE tenant = $1 AND token = $2`, s.tenant, token)
		return err
	})
}

// DeleteSessions takes away the sessions of all tenants that end before a moment.
func (db *DB) DeleteSessions(ctx context.Context, before time.Time) error {
	return db.keys.update(ctx, func(t tx) error {
		_, err := t.exec(`DELETE FROM sessions WHERE expires < $1`, before)
		return err
	})
}

// DeleteAllSessions takes away the sessions of all tenants.
func (db *DB) DeleteAllSessions(ctx context.Context) error {
	return db.keys.update(ctx, func(t tx) error {
		_, err := t.exec(`DELETE FROM sessions`)
		return err
	})
}
