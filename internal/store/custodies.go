package store

import (
	"context"
	"time"

	"github.com/underseal/underseal/internal/fault"
)

// ListedCustody is a row of the list of what is held or to be erased.
type ListedCustody struct {
	ID ID
	CustodyRow
}

const custodyColumns = `object, target, state, holds, due`

// Custodies lists what is held or to be erased, by id, after an id.
func (db *DB) Custodies(ctx context.Context, s Scope, after ID, limit int) ([]ListedCustody, error) {
	return db.custodies(ctx, s, `
		SELECT `+custodyColumns+` FROM custodies WHERE tenant = $1 AND object > $2
		ORDER BY object
		LIMIT $3`, after, limit)
}

// Custody returns the row of a custody; NotFound when there is none.
func (db *DB) Custody(ctx context.Context, s Scope, id ID) (ListedCustody, error) {
	found, err := db.custodies(ctx, s, `SELECT `+custodyColumns+` FROM custodies WHERE tenant = $1 AND object = $2`, id)
	if err != nil {
		return ListedCustody{}, err
	}
	if len(found) == 0 {
		return ListedCustody{}, fault.New(fault.NotFound, "custody %s does not exist", id)
	}
	return found[0], nil
}

// DueCustodies lists what was due to be erased at a time, by id, after an id.
func (db *DB) DueCustodies(ctx context.Context, s Scope, at time.Time, after ID, limit int) ([]ListedCustody, error) {
	return db.custodies(ctx, s, `
		SELECT `+custodyColumns+` FROM custodies WHERE tenant = $1 AND due IS NOT NULL AND due <= $2 AND object > $3
		ORDER BY object
		LIMIT $4`, at, after, limit)
}

func (db *DB) custodies(ctx context.Context, s Scope, text string, args ...any) ([]ListedCustody, error) {
	return collect(ctx, db.data, s.tenant, text, append([]any{s.tenant}, args...), func(r row, c *ListedCustody) error {
		return r.scan(&c.ID, &c.Target, &c.State, &c.Holds, &c.Due)
	})
}

// CustodyLeaf is what the newest step of a custody left in the log.
type CustodyLeaf struct {
	ID   ID
	Seq  uint64 // 0: it has no head
	Body []byte // of the leaf; empty when its row is missing
}

// CustodyLeaves lists the newest leaves of custodies, by custody, after one.
func (db *DB) CustodyLeaves(ctx context.Context, s Scope, after ID, limit int) ([]CustodyLeaf, error) {
	return collect(ctx, db.data, s.tenant, `
		SELECT c.object, coalesce(h.seq, 0), l.body
		FROM custodies c
		LEFT JOIN heads h ON h.tenant = c.tenant AND h.object = c.object
		LEFT JOIN leaves l ON l.tenant = h.tenant AND l.object = h.object AND l.seq = h.seq
		WHERE c.tenant = $1 AND c.object > $2
		ORDER BY c.object
		LIMIT $3`,
		[]any{s.tenant, after, limit}, func(r row, c *CustodyLeaf) error { return r.scan(&c.ID, &c.Seq, &c.Body) })
}

// UnlistedCustody returns a custody that has a head and no row, if there is one:
// its row was deleted behind our back, and an order could be forgotten.
func (db *DB) UnlistedCustody(ctx context.Context, s Scope) (found ID, ok bool, err error) {
	err = db.data.each(ctx, s.tenant, `
		SELECT h.object FROM heads h
		WHERE h.tenant = $1 AND h.kind = 'custody' AND NOT EXISTS (
			SELECT 1 FROM custodies c WHERE c.tenant = h.tenant AND c.object = h.object)
		LIMIT 1`, []any{s.tenant}, func(r row) error {
		ok = true
		return r.scan(&found)
	})
	return found, ok, err
}

func putCustody(s Scope, object ID, c *CustodyRow) statement {
	return statement{
		text: `
			INSERT INTO custodies (tenant, object, target, state, holds, due)
			VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (tenant, object) DO UPDATE SET
				target = excluded.target, state = excluded.state, holds = excluded.holds, due = excluded.due`,
		args: []any{s.tenant, object, c.Target, c.State, c.Holds, c.Due},
	}
}
