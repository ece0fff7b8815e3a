package store

import (
	"context"

	"github.com/underseal/underseal/internal/fault"
)

// Loaded is an object's head with its newest leaf, as the database has them.
type Loaded struct {
	Kind    Kind
	Seq     uint64
	Head    []byte
	Leaf    Leaf
	LeafSeq uint64 // 0: the object has no leaf
}

// Load returns an object's head and the leaf of its highest seq, both of one
// moment. NotFound when the tenant has no such object.
func (db *DB) Load(ctx context.Context, s Scope, object ID) (Loaded, error) {
	var found []Loaded
	err := db.data.each(ctx, s.tenant, `
		SELECT h.kind, h.seq, h.body, coalesce(l.seq, 0), l.hash, l.body
		FROM heads h
		LEFT JOIN leaves l ON l.tenant = h.tenant AND l.object = h.object AND l.seq = (
			SELECT max(seq) FROM leaves WHERE tenant = $1 AND object = $2)
		WHERE h.tenant = $1 AND h.object = $2`,
		[]any{s.tenant, object}, func(r row) error {
			var l Loaded
			var kind string
			err := r.scan(&kind, &l.Seq, &l.Head, &l.LeafSeq, (*optionalHash)(&l.Leaf.Hash), &l.Leaf.Body)
			l.Kind = Kind(kind)
			found = append(found, l)
			return err
		})
	if err != nil {
		return Loaded{}, err
	}
	if len(found) == 0 {
		return Loaded{}, fault.New(fault.NotFound, "object %s does not exist", object)
	}
	return found[0], nil
}

// optionalHash receives a hash of an outer join; NULL leaves it zero.
type optionalHash [32]byte

func (h *optionalHash) Scan(src any) error {
	if src == nil {
		return nil
	}
	return fixed(h[:]).Scan(src)
}

var headRows = &insert{into: `INSERT INTO heads (tenant, object, kind, seq, body)`, columns: 5}

// headStatement puts the head if the object still is where the set began.
func (w *WriteSet) headStatement(s Scope) statement {
	stale := fault.New(fault.Conflict, "%s %s was changed meanwhile: it is no longer at step %d", w.Kind, w.Object, w.Expect).
		WithCode("stale")
	if w.Expect == 0 {
		first := headRows.one(s.tenant, w.Object, w.Kind, 1, w.Head)
		first.refused = stale
		return first
	}
	return statement{
		text: `
			UPDATE heads SET seq = $4, body = $5
			WHERE tenant = $1 AND object = $2 AND seq = $3`,
		args:    []any{s.tenant, w.Object, w.Expect, w.Expect + 1, w.Head},
		one:     true,
		early:   true,
		refused: stale,
	}
}
