package store

import (
	"context"
	"time"

	"github.com/underseal/underseal/internal/fault"
)

// Credential is where a credential leads. Whether it admits anybody is in the object.
type Credential struct {
	Token  [32]byte // its keyed hash
	Object ID
	Used   time.Time // about; zero: not yet
}

const credentialColumns = `token, object, used`

func scanCredential(r row, c *Credential) error { return r.scan(&c.Token, &c.Object, &c.Used) }

// Credential returns where a credential leads. NotFound when the tenant has none with
// this token.
func (db *DB) Credential(ctx context.Context, s Scope, token [32]byte) (Credential, error) {
	found, err := collect(ctx, db.data, s.tenant, `
		SELECT `+credentialColumns+` FROM credentials WHERE tenant = $1 AND token = $2`, []any{s.tenant, token}, scanCredential)
	if err != nil {
		return Credential{}, err
	}
	if len(found) == 0 {
		return Credential{}, fault.New(fault.NotFound, "no such credential")
	}
	return found[0], nil
}

// CredentialsOf lists the credentials that lead to an object, by token.
func (db *DB) CredentialsOf(ctx context.Context, s Scope, object ID) ([]Credential, error) {
	return collect(ctx, db.data, s.tenant, `
		SELECT `+credentialColumns+` FROM credentials WHERE tenant = $1 AND object = $2
		ORDER BY token`, []any{s.tenant, object}, scanCredential)
}

// CredentialsUsed notes when credentials were last used. One that is not there (any
// more) stays away.
func (db *DB) CredentialsUsed(ctx context.Context, s Scope, used map[[32]byte]time.Time) error {
	var unit []statement
	for token, at := range used {
		unit = append(unit, statement{
			text: `UPDATE credentials SET used = $3 WHERE tenant = $1 AND token = $2`, args: []any{s.tenant, token, at},
		})
	}
	if len(unit) == 0 {
		return nil
	}
	return db.data.apply(ctx, s.tenant, unit)
}

// credentials appends what the set says of credentials.
func (w *WriteSet) credentials(unit []statement, s Scope) []statement {
	for _, token := range w.Ended {
		unit = append(unit, statement{
			text: `DELETE FROM credentials WHERE tenant = $1 AND token = $2 AND object = $3`, args: []any{s.tenant, token, w.Object},
		})
	}
	for _, token := range w.Credentials {
		unit = append(unit, statement{
			text: `INSERT INTO credentials (tenant, token, object) VALUES ($1, $2, $3)`, args: []any{s.tenant, token, w.Object},
		})
	}
	return unit
}

// Principals lists a tenant's principals by id, after an id; limit 0: all.
func (db *DB) Principals(ctx context.Context, s Scope, after ID, limit int) ([]ID, error) {
	return db.objectsOf(ctx, s, `SELECT object FROM heads WHERE tenant = $1 AND kind = 'principal' AND object > $2`, after, limit)
}

// Groups lists a tenant's groups like Principals.
func (db *DB) Groups(ctx context.Context, s Scope, after ID, limit int) ([]ID, error) {
	return db.objectsOf(ctx, s, `SELECT object FROM heads WHERE tenant = $1 AND kind = 'group' AND object > $2`, after, limit)
}

func (db *DB) objectsOf(ctx context.Context, s Scope, text string, after ID, limit int) ([]ID, error) {
	args := []any{s.tenant, after}
	text += ` ORDER BY object`
	if limit > 0 {
		text, args = text+` LIMIT $3`, append(args, limit)
	}
	return collect(ctx, db.data, s.tenant, text, args, func(r row, id *ID) error { return r.scan(id) })
}
