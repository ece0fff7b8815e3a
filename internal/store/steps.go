package store

import "context"

// StepRow is a step with the leaf of the same seq.
type StepRow struct {
	Seq  uint64
	Body []byte
	Leaf Leaf // zero when the row is missing
}

// Steps returns up to limit steps of an object with a seq above after,
// ascending.
func (db *DB) Steps(ctx context.Context, s Scope, object ID, after uint64, limit int) ([]StepRow, error) {
	return collect(ctx, db.data, s.tenant, `
		SELECT t.seq, t.body, l.hash, l.body
		FROM steps t
		LEFT JOIN leaves l ON l.tenant = t.tenant AND l.object = t.object AND l.seq = t.seq
		WHERE t.tenant = $1 AND t.object = $2 AND t.seq > $3
		ORDER BY t.seq
		LIMIT $4`,
		[]any{s.tenant, object, after, limit}, func(r row, t *StepRow) error {
			return r.scan(&t.Seq, &t.Body, (*optionalHash)(&t.Leaf.Hash), &t.Leaf.Body)
		})
}

var (
	stepRows = &insert{into: `INSERT INTO steps (tenant, object, seq, body)`, columns: 4}
	leafRows = &insert{into: `INSERT INTO leaves (tenant, object, seq, hash, body, mac, terms)`, columns: 7}
)

func insertStep(s Scope, object ID, seq uint64, body []byte) statement {
	return stepRows.one(s.tenant, object, seq, body)
}

func insertLeaf(s Scope, object ID, seq uint64, leaf *Leaf) statement {
	return leafRows.one(s.tenant, object, seq, leaf.Hash, leaf.Body, leaf.MAC, leaf.Terms)
}
