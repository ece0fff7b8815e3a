package store

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/underseal/underseal/internal/fault"
)

// Meta says which deployment a database belongs to. It stands beside the data
// and beside the keys.
type Meta struct {
	Deployment string // uuid
}

// Deployment returns the database's deployment, and false while it has none.
// Integrity when data and keys belong to different ones.
func (db *DB) Deployment(ctx context.Context) (Meta, bool, error) {
	data, inData, err := readMeta(ctx, db.data)
	if err != nil {
		return Meta{}, false, err
	}
	keys, inKeys, err := readMeta(ctx, db.keys)
	if err != nil {
		return Meta{}, false, err
	}
	if inData {
		if !inKeys || data != keys {
			return Meta{}, false, fault.New(fault.Integrity,
				"the data belongs to deployment %q, the keys beside it to %q: they are not of one backup", data.Deployment, keys.Deployment)
		}
		return data, true, nil
	}
	// An initialization that was cut short leaves a row beside the keys alone.
	// Once there are keys, it was finished.
	tenants, err := db.Keys().Tenants(ctx)
	if err == nil && len(tenants) > 0 {
		err = fault.New(fault.Integrity, "the keys of deployment %q are here, its data is not", keys.Deployment)
	}
	return Meta{}, false, err
}

func readMeta(ctx context.Context, b backend) (m Meta, found bool, err error) {
	err = b.each(ctx, "", `SELECT deployment FROM deployment`, nil, func(r row) error {
		found = true
		return r.scan(&m.Deployment)
	})
	return m, found, err
}

// InitDeployment says once which deployment the empty database belongs to.
// Conflict when it has one already.
func (db *DB) InitDeployment(ctx context.Context, m Meta) error {
	if _, found, err := db.Deployment(ctx); err != nil {
		return err
	} else if found {
		return fault.New(fault.Conflict, "initialize the database: it belongs to a deployment already")
	}
	var manifestKey [32]byte
	rand.Read(manifestKey[:])
	err := writeMeta(ctx, db.keys, `
		INSERT INTO deployment (one, deployment, manifest_key) VALUES (1, $1, $2)
		ON CONFLICT (one) DO UPDATE SET deployment = excluded.deployment`, m.Deployment, manifestKey)
	if err != nil {
		return err
	}
	return writeMeta(ctx, db.data, `INSERT INTO deployment (one, deployment) VALUES (1, $1)`, m.Deployment)
}

func writeMeta(ctx context.Context, b backend, text string, args ...any) error {
	return b.update(ctx, func(t tx) error {
		_, err := t.exec(text, args...)
		if errors.Is(err, errTaken) {
			return fault.New(fault.Conflict, "initialize the database: it belongs to a deployment already")
		}
		return err
	})
}
