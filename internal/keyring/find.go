package keyring

import (
	"context"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
)

// FindSubject returns the id of the data key of the person whose id has this index
// token; found is false when there is none. It makes none.
func (r *Ring) FindSubject(ctx context.Context, tenant string, token [32]byte) (id envelope.KeyID, found bool, err error) {
	row, err := r.config.Storage.Subject(ctx, tenant, token)
	if fault.Is(err, fault.NotFound) {
		return id, false, nil
	}
	if err != nil {
		return id, false, err
	}
	return row.KeyID, true, r.checkSubject(ctx, r.tenant(tenant), token, row)
}
