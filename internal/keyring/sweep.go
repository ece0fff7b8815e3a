package keyring

import (
	"context"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/keyring/keyrow"
)

// InUse returns which of a tenant's keys something durable was sealed under.
type InUse func(ctx context.Context, tenant string, ids []envelope.KeyID) (map[envelope.KeyID]bool, error)

// SweepUnassigned deletes keys made ahead over a day ago that nothing uses, and
// returns how many. Such keys are left over by every restart. The flag in the row
// is behind after a crash and could be changed, so inUse is asked about every key
// that the flag would give up, and must know all uses that are not reserved; keys
// in use are marked so.
func (r *Ring) SweepUnassigned(ctx context.Context, inUse InUse) (deleted int, err error) {
	tenants, err := r.config.Storage.Tenants(ctx)
	if err != nil {
		return 0, err
	}
	for _, tenant := range tenants {
		n, err := r.sweepTenant(ctx, tenant, inUse)
		deleted += n
		if err != nil {
			return deleted, err
		}
	}
	return deleted, nil
}

// sweepTenant sweeps the keys of one tenant, page by page.
func (r *Ring) sweepTenant(ctx context.Context, tenant string, inUse InUse) (deleted int, err error) {
	var after [16]byte
	before := keyrow.IDAt(r.config.Now().Add(-sweepAge))
	for {
		page, err := r.config.Storage.Unassigned(ctx, tenant, after, before, 1024)
		if err != nil || len(page) == 0 {
			return deleted, err
		}
		n, err := r.sweepPage(ctx, tenant, page, inUse)
		deleted += n
		if err != nil {
			return deleted, err
		}
		after = page[len(page)-1]
	}
}

// sweepPage marks those of the keys that are in use and deletes the others.
func (r *Ring) sweepPage(ctx context.Context, tenant string, page [][16]byte, inUse InUse) (deleted int, err error) {
	ids := make([]envelope.KeyID, len(page))
	for i, id := range page {
		ids[i] = id
	}
	used, err := inUse(ctx, tenant, ids)
	if err != nil {
		return 0, err
	}
	var keep, remove [][16]byte
	for _, id := range ids {
		if used[id] {
			keep = append(keep, id)
		} else {
			remove = append(remove, id)
		}
	}
	if len(keep) > 0 {
		if err := r.config.Storage.MarkAssigned(ctx, tenant, keep); err != nil {
			return 0, err
		}
	}
	if len(remove) == 0 {
		return 0, nil
	}
	return r.config.Storage.DeleteUnassigned(ctx, tenant, remove)
}
