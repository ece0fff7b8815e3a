package keyring

import (
	"context"

	"github.com/underseal/underseal/envelope"
)

// Reserve marks a key as in use before anything uses it, durably, so that it is
// never swept. It is for keys whose use cannot be looked up later; a key that is
// reserved and then not used is only a row too many.
func (r *Ring) Reserve(ctx context.Context, tenant string, id envelope.KeyID) error {
	return r.config.Storage.MarkAssigned(ctx, tenant, [][16]byte{id})
}
