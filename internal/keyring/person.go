package keyring

import (
	"context"
	"slices"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
)

// CheckSubject returns Integrity when the person with this token does not have, and
// never had, the key that something was sealed under for them: then the row that says
// whose key it is was deleted, and erasing the person would miss the key. A key that
// was destroyed belongs to nobody any more.
func (r *Ring) CheckSubject(ctx context.Context, tenant string, id envelope.KeyID, token [32]byte) error {
	if known, ok, _ := r.subjects.get(subjectID{tenant, token}); ok && slices.Contains(known, id) {
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
	if fault.Is(err, fault.NotFound) || err == nil && !slices.Contains(keysOf(row), id) {
		return fault.New(fault.Integrity, "tenant %q: data key %s does not belong to its person any more", tenant, id)
	}
	return err
}

// SubjectSuccessor returns the id of the newest data key of the person with this token,
// who has the key id or had it. When the person has neither, because it was destroyed,
// that is id itself. It makes none: what is sealed for somebody who is being erased must
// not outlive that under a new key.
func (r *Ring) SubjectSuccessor(ctx context.Context, tenant string, id envelope.KeyID, token [32]byte) (envelope.KeyID, error) {
	known, ok, epoch := r.subjects.get(subjectID{tenant, token})
	if ok && slices.Contains(known, id) {
		return known[0], nil
	}
	row, err := r.config.Storage.Subject(ctx, tenant, token)
	if fault.Is(err, fault.NotFound) {
		return id, nil
	}
	if err != nil {
		return envelope.KeyID{}, err
	}
	newest, keys, err := r.subjectKey(ctx, r.tenant(tenant), token, row, epoch)
	switch {
	case fault.Is(err, fault.Sealed) || fault.Is(err, fault.NotFound): // destroyed since it was read
		return id, nil
	case err == nil && !slices.Contains(keys, id): // of somebody who came back
		return id, nil
	}
	return newest.ID, err
}
