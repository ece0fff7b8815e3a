package keyring

import (
	"context"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
)

// CheckSubject returns Integrity when the person with this token does not have
// the key that something was sealed under for them: then the row that says whose
// key it is was deleted, and erasing the person would miss the key. A key that
// was destroyed belongs to nobody any more.
func (r *Ring) CheckSubject(ctx context.Context, tenant string, id envelope.KeyID, token [32]byte) error {
	if known, ok, _ := r.subjects.get(subjectID{tenant, token}); ok && known == id {
		return nil
	}
	t := r.tenant(tenant)
	if _, err := r.key(ctx, t, id); err != nil {
		if fault.Is(err, fault.Sealed) {
			return nil
		}
		return err
	}
	row, err := r.config.Storage.Subject(ctx, tenant, token)
	if err == nil {
		err = r.checkSubject(ctx, t, token, row)
	}
	if fault.Is(err, fault.NotFound) || err == nil && row.KeyID != id {
		return fault.New(fault.Integrity, "tenant %q: data key %s does not belong to its person any more", tenant, id)
	}
	return err
}
