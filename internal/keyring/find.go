package keyring

import (
	"context"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring/keyrow"
)

// FindSubject returns the ids of all data keys of the person whose id has this index
// token, newest first; none when the person has none. It makes none. Integrity when the
// row that names them was changed, or the row of one of them is gone or stands in
// another one's place: then nobody can say what an erasure would miss. That a key is
// damaged, or destroyed, is none: it can be destroyed (again).
func (r *Ring) FindSubject(ctx context.Context, tenant string, token [32]byte) ([]envelope.KeyID, error) {
	t := r.tenant(tenant)
	var before [16]byte
	for {
		row, err := r.config.Storage.Subject(ctx, tenant, token)
		if fault.Is(err, fault.NotFound) {
			return nil, nil
		}
		if err == nil {
			err = r.checkSubject(ctx, t, token, row)
		}
		if err == nil {
			err = r.checkStored(ctx, t, keysOf(row))
		}
		if !fault.Is(err, fault.Integrity) || row.KeyID == before {
			return keysOf(row), err
		}
		before = row.KeyID // a new key may have followed since the row was read
	}
}

// checkStored requires a row of each of a person's keys, in its place.
func (r *Ring) checkStored(ctx context.Context, t *tenant, keys personKeys) error {
	scope := keyrow.Pool
	for _, id := range keys {
		row, err := r.config.Storage.DataKey(ctx, t.name, id)
		switch {
		case fault.Is(err, fault.NotFound):
			return personKeyGone(t, id)
		case err != nil:
			return err
		case row.Scope != scope && row.State != keyrow.Destroyed:
			return personKeyMoved(t, id)
		}
		scope = keyrow.Replaced
	}
	return nil
}
