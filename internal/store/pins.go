package store

import (
	"bytes"
	"context"
	"slices"

	"github.com/underseal/underseal/internal/fault"
)

// Pin is a leaf that is known beside the keys to be there: the newest one of an
// object, or one of no object, with the seq 0.
type Pin struct {
	Object ID
	Kind   Kind // of the object; of no object: EntryKind
	Seq    uint64
	Hash   [32]byte
}

// EntryKind is what a leaf of no object is called where objects have a kind.
const EntryKind Kind = "log entry"

func scanPin(r row, p *Pin) error {
	var kind string
	err := r.scan(&p.Object, &kind, &p.Seq, &p.Hash)
	p.Kind = Kind(kind)
	return err
}

// Pin returns what is pinned of an object; nil: nothing.
func (db *DB) Pin(ctx context.Context, s Scope, object ID) (pin *Pin, err error) {
	err = db.keys.each(ctx, "", `SELECT object, kind, seq, hash FROM pinned_leaves WHERE tenant = $1 AND object = $2`,
		[]any{s.tenant, object}, func(r row) error {
			pin = &Pin{}
			return scanPin(r, pin)
		})
	return pin, err
}

// Pins lists what is pinned of a tenant, by object.
func (db *DB) Pins(ctx context.Context, s Scope) ([]Pin, error) {
	return collect(ctx, db.keys, "", `SELECT object, kind, seq, hash FROM pinned_leaves WHERE tenant = $1 ORDER BY object`,
		[]any{s.tenant}, scanPin)
}

// PinsOf lists what is pinned of a tenant's objects of a kind, by object, after one.
func (db *DB) PinsOf(ctx context.Context, s Scope, kind Kind, after ID, limit int) ([]Pin, error) {
	return collect(ctx, db.keys, "", `
		SELECT object, kind, seq, hash FROM pinned_leaves WHERE tenant = $1 AND kind = $2 AND object > $3
		ORDER BY object
		LIMIT $4`,
		[]any{s.tenant, kind, after, limit}, scanPin)
}

// PutPins pins leaves, each in place of an older one of its object.
func (db *DB) PutPins(ctx context.Context, s Scope, pins ...Pin) error {
	return db.keys.update(ctx, func(t tx) error {
		for _, p := range pins {
			_, err := t.exec(`
				INSERT INTO pinned_leaves (tenant, object, kind, seq, hash) VALUES ($1, $2, $3, $4, $5)
				ON CONFLICT (tenant, object) DO UPDATE SET seq = excluded.seq, hash = excluded.hash
				WHERE excluded.seq > pinned_leaves.seq`, s.tenant, p.Object, p.Kind, p.Seq, p.Hash)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// LowerPin sets a pin back to a leaf of an object that was restored; nil: to none.
// Conflict (code "stale") when it is no longer the former.
func (db *DB) LowerPin(ctx context.Context, s Scope, former Pin, to *Pin) error {
	text, args := `DELETE FROM pinned_leaves WHERE tenant = $1 AND object = $2 AND seq = $3`, []any{s.tenant, former.Object, former.Seq}
	if to != nil {
		text = `UPDATE pinned_leaves SET seq = $4, hash = $5 WHERE tenant = $1 AND object = $2 AND seq = $3`
		args = append(args, to.Seq, to.Hash)
	}
	return db.keys.update(ctx, func(t tx) error {
		n, err := t.exec(text, args...)
		if err == nil && n == 0 {
			err = fault.New(fault.Conflict, "what is pinned of %s was changed meanwhile", former.Object).WithCode("stale")
		}
		return err
	})
}

// Standing is an object that is no instance, and the number of its newest step.
type Standing struct {
	Object ID
	Kind   Kind
	Seq    uint64
}

// Standings lists a tenant's objects that are no instances, by object. It sorts them
// itself: asked to, SQLite takes the index that has the order, with all instances.
func (db *DB) Standings(ctx context.Context, s Scope) ([]Standing, error) {
	all, err := collect(ctx, db.data, s.tenant, `SELECT object, kind, seq FROM heads WHERE tenant = $1 AND kind <> 'instance'`,
		[]any{s.tenant}, func(r row, st *Standing) error {
			var kind string
			err := r.scan(&st.Object, &kind, &st.Seq)
			st.Kind = Kind(kind)
			return err
		})
	slices.SortFunc(all, func(a, b Standing) int { return bytes.Compare(a.Object[:], b.Object[:]) })
	return all, err
}
