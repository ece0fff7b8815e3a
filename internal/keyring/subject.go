package keyring

import (
	"context"
	"crypto/hmac"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring/keyrow"
)

// subjectID names a person in the cache.
type subjectID struct {
	tenant string
	token  [32]byte
}

// personKeys are the ids of a person's data keys, newest first.
type personKeys []envelope.KeyID

// keysOf returns the keys that a person's row names.
func keysOf(row SubjectRow) personKeys {
	keys := personKeys{row.KeyID}
	for end := len(row.Former); end >= len(row.KeyID); end -= len(row.KeyID) {
		keys = append(keys, envelope.KeyID(row.Former[end-len(row.KeyID):end]))
	}
	return keys
}

// SubjectToken returns which of a person's tokens, one under each index key, newest
// first, is the one that the person has keys by. It is the first when none is: the token
// of somebody new.
func (r *Ring) SubjectToken(ctx context.Context, tenant string, tokens [][32]byte) ([32]byte, error) {
	if len(tokens) == 1 {
		return tokens[0], nil
	}
	t := r.tenant(tenant)
	for _, token := range tokens {
		keys, ok, _ := r.subjects.get(subjectID{tenant, token})
		if !ok {
			continue
		}
		if _, err := r.key(ctx, t, keys[0]); !fault.Is(err, fault.Sealed) {
			return token, err
		}
	}
	for _, token := range tokens {
		if _, err := r.config.Storage.Subject(ctx, tenant, token); !fault.Is(err, fault.NotFound) {
			return token, err
		}
	}
	return tokens[0], nil
}

// SubjectKey returns the newest data key of the person whose id has this index token,
// and makes one, durably linked, at the first call. Once that key is destroyed,
// the person has none, and the next call makes another. Of a new key that another
// process gave the person it learns within CacheAge.
//
// Others are the person's tokens under the other index keys. Conflict with
// keyrow.CodeOtherToken when a key is to be made and the person has one by another token,
// or the tenant has an index key that none of the tokens is under: then the tokens are
// made anew, by IndexKeys, and SubjectToken is asked again.
func (r *Ring) SubjectKey(ctx context.Context, tenant string, token [32]byte, others ...[32]byte) (envelope.Key, error) {
	t := r.tenant(tenant)
	keys, ok, epoch := r.subjects.get(subjectID{tenant, token})
	if ok {
		// The link of a destroyed key is gone, and there may be another.
		if k, err := r.key(ctx, t, keys[0]); !fault.Is(err, fault.Sealed) {
			return k.key, err
		}
	}
	row, err := r.config.Storage.Subject(ctx, tenant, token)
	if fault.Is(err, fault.NotFound) {
		return r.newSubject(ctx, t, token, others)
	}
	if err != nil {
		return envelope.Key{}, err
	}
	key, _, err := r.subjectKey(ctx, t, token, row, epoch)
	return key, err
}

// subjectKey authenticates a person's row and returns the newest key it names, and the
// ids of all of them.
func (r *Ring) subjectKey(ctx context.Context, t *tenant, token [32]byte, row SubjectRow, epoch uint64) (envelope.Key, personKeys, error) {
	if err := r.checkSubject(ctx, t, token, row); err != nil {
		return envelope.Key{}, nil, err
	}
	k, err := r.key(ctx, t, row.KeyID)
	switch {
	case fault.Is(err, fault.NotFound):
		return envelope.Key{}, nil, personKeyGone(t, row.KeyID)
	case err != nil:
		return envelope.Key{}, nil, err
	case k.scope != keyrow.Pool:
		return r.followed(ctx, t, token, row, epoch)
	}
	keys := keysOf(row)
	r.subjects.put(subjectID{t.name, token}, keys, epoch)
	return k.key, keys, nil
}

// followed is subjectKey for a row whose newest key is a former one: it was replaced
// since the row was read, or the row is an old one that was put back.
func (r *Ring) followed(ctx context.Context, t *tenant, token [32]byte, row SubjectRow, epoch uint64) (envelope.Key, personKeys, error) {
	again, err := r.config.Storage.Subject(ctx, t.name, token)
	if err != nil {
		return envelope.Key{}, nil, err
	}
	if again.KeyID == row.KeyID {
		return envelope.Key{}, nil, personKeyMoved(t, row.KeyID)
	}
	return r.subjectKey(ctx, t, token, again, epoch)
}

func personKeyGone(t *tenant, id envelope.KeyID) error {
	return fault.New(fault.Integrity, "tenant %q: data key %s of a person is gone", t.name, id).
		WithHint("restore the keys' database from its backup: without the key nobody can say that it is destroyed")
}

func personKeyMoved(t *tenant, id envelope.KeyID) error {
	return fault.New(fault.Integrity, "tenant %q: data key %s of a person stands where another one of theirs belongs", t.name, id)
}

// newSubject gives a person a key. Somebody may be faster: then theirs counts,
// and the new one is left to be swept.
func (r *Ring) newSubject(ctx context.Context, t *tenant, token [32]byte, others [][32]byte) (envelope.Key, error) {
	key, err := r.NewKey(ctx, t.name)
	if err != nil {
		return envelope.Key{}, err
	}
	row, err := r.link(ctx, t, key.ID, token, others)
	if err != nil {
		return envelope.Key{}, err
	}
	if row.KeyID == key.ID {
		return key, nil
	}
	_, _, epoch := r.subjects.get(subjectID{t.name, token})
	key, _, err = r.subjectKey(ctx, t, token, row, epoch)
	return key, err
}

// LinkSubject says whose key this is, which was made while the person's id was
// not known. Saying it again does nothing. Conflict when the person has another
// key already (SubjectKey returns it), or the key belongs to another person; of others,
// and of Conflict with keyrow.CodeOtherToken, see SubjectKey.
func (r *Ring) LinkSubject(ctx context.Context, tenant string, id envelope.KeyID, token [32]byte, others ...[32]byte) error {
	t := r.tenant(tenant)
	k, err := r.key(ctx, t, id)
	if err != nil {
		return err
	}
	if k.scope != keyrow.Pool && k.scope != keyrow.Replaced {
		return fault.New(fault.Invalid, "link subject: data key %s is the tenant's %s key", id, k.scope)
	}
	row, err := r.link(ctx, t, id, token, others)
	if err != nil {
		return err
	}
	if row.KeyID != id {
		return fault.New(fault.Conflict, "link subject: the person has another data key than %s already: %s", id, envelope.KeyID(row.KeyID)).
			WithCode("subject_has_key")
	}
	return nil
}

// link stores that the key is the person's and returns the authenticated row
// that stands then.
func (r *Ring) link(ctx context.Context, t *tenant, id envelope.KeyID, token [32]byte, others [][32]byte) (SubjectRow, error) {
	row := SubjectRow{Tenant: t.name, Token: token, KeyID: id}
	err := t.underNewest(ctx, func(k *tenantKey, s *secrets) error {
		mine := row
		mine.KeyVersion = k.version
		mine.MAC = r.config.subjectMAC(s, mine)
		stands, err := r.config.Storage.LinkSubject(ctx, mine, others...)
		if err == nil {
			row = stands
		}
		return err
	})
	if hasCode(err, keyrow.CodeOtherToken) {
		t.forgetPurposes() // the index keys may be others than we know
	}
	if err != nil {
		return SubjectRow{}, err
	}
	return row, r.checkSubject(ctx, t, token, row)
}

// checkSubject returns Integrity when a person's row is not as we wrote it. As in
// openRow, it may have been rewrapped since it was read.
func (r *Ring) checkSubject(ctx context.Context, t *tenant, token [32]byte, row SubjectRow) error {
	err := r.checkThis(ctx, t, token, row)
	if !fault.Is(err, fault.Integrity) {
		return err
	}
	again, errAgain := r.config.Storage.Subject(ctx, t.name, token)
	if errAgain != nil || again.KeyVersion == row.KeyVersion || again.KeyID != row.KeyID {
		return err
	}
	return r.checkThis(ctx, t, token, again)
}

// checkThis is checkSubject for a row that is known to stand.
func (r *Ring) checkThis(ctx context.Context, t *tenant, token [32]byte, row SubjectRow) error {
	s, err := t.version(row.KeyVersion).use(ctx)
	if err != nil {
		return err
	}
	if row.Token != token || !hmac.Equal(row.MAC, r.config.subjectMAC(s, row)) {
		return fault.New(fault.Integrity, "tenant %q: the row that gives a person data key %s was changed", t.name, envelope.KeyID(row.KeyID))
	}
	return nil
}
