package keyring

import (
	"context"
	"slices"
	"time"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring/keyrow"
)

// RotateSubjects gives those of the persons with these tokens, at most 8192, whose
// newest data key was made before a time a new one; the others, also those who have no
// key at all, it passes over. SubjectKey returns it from then on, in other processes
// within CacheAge. The keys before it are kept for what was sealed under them, and the
// person's row names them, so that an erasure destroys them too.
//
// Persons whose rows do not open, or who had too many keys, keep theirs, and failed says
// why. Of the others all get theirs in one transaction, so it may be stopped anywhere
// and begun again. Conflict when they were changed each time they were read.
func (r *Ring) RotateSubjects(ctx context.Context, tenant string, tokens [][32]byte, before time.Time) (failed map[[32]byte]error, err error) {
	before = time.UnixMilli(before.UnixMilli()) // as keys' ids have it
	for try := 1; ; try++ {
		failed, err = r.rotateSubjects(ctx, r.tenant(tenant), tokens, before)
		if try == swapTries || !fault.Is(err, fault.Conflict) {
			return failed, err
		}
	}
}

func (r *Ring) rotateSubjects(ctx context.Context, t *tenant, tokens [][32]byte, before time.Time) (map[[32]byte]error, error) {
	failed := map[[32]byte]error{}
	var persons []successor
	for _, token := range tokens {
		p, due, err := r.successor(ctx, t, token, before)
		switch {
		case fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Conflict):
			return nil, err
		case err != nil:
			failed[token] = err
		case due:
			persons = append(persons, p)
		}
	}
	if len(persons) == 0 {
		return failed, nil
	}
	// Also after an error, which may be a lost reply.
	defer func() {
		for _, p := range persons {
			r.subjects.drop(subjectID{t.name, p.row.Token})
			r.data.drop(dataID{t.name, p.key.ID})
		}
	}()
	return failed, t.underNewest(ctx, func(k *tenantKey, s *secrets) error {
		changes := make([]Succession, len(persons))
		for i, p := range persons {
			var err error
			if changes[i], err = r.config.succeed(s, k.version, p); err != nil {
				return err
			}
		}
		return r.config.Storage.SucceedSubjects(ctx, changes)
	})
}

// A successor is a new key for a person, with what it follows.
type successor struct {
	row    SubjectRow
	keyRow DataKeyRow
	key    envelope.Key // of keyRow
	next   envelope.Key
}

// successor makes a new key for a person. due is false when theirs is not older than
// before, or they have none.
func (r *Ring) successor(ctx context.Context, t *tenant, token [32]byte, before time.Time) (p successor, due bool, err error) {
	row, err := r.config.Storage.Subject(ctx, t.name, token)
	if fault.Is(err, fault.NotFound) {
		return p, false, nil
	}
	if err == nil {
		err = r.checkSubject(ctx, t, token, row)
	}
	if err != nil || !keyrow.TimeOf(row.KeyID).Before(before) {
		return p, false, err
	}
	if len(row.Former) >= keyrow.MaxFormer*len(row.KeyID) {
		return p, false, fault.New(fault.Invalid, "the person of data key %s had %d keys before it, and can have no more", envelope.KeyID(row.KeyID), keyrow.MaxFormer).
			WithCode("too_many_keys").WithHint("erase the person, who is met anew under a first key; or rotate less often")
	}
	keyRow, err := r.config.Storage.DataKey(ctx, t.name, row.KeyID)
	if fault.Is(err, fault.NotFound) {
		err = personKeyGone(t, row.KeyID)
	}
	if err != nil {
		return p, false, err
	}
	_, _, epoch := r.data.get(dataID{t.name, row.KeyID})
	k, err := r.openRow(ctx, t, keyRow, epoch)
	if fault.Is(err, fault.Sealed) {
		return p, false, nil // being erased
	}
	if err == nil && k.scope != keyrow.Pool {
		err = r.moved(ctx, t, row)
	}
	now := r.config.Now()
	if now.Before(before) { // or the new key, too, would be older
		now = before
	}
	return successor{row: row, keyRow: keyRow, key: k.key, next: newKey(now)}, true, err
}

// moved is what is said of a person's newest key that stands as a former one: Conflict
// when it was replaced since the person's row was read.
func (r *Ring) moved(ctx context.Context, t *tenant, row SubjectRow) error {
	again, err := r.config.Storage.Subject(ctx, t.name, row.Token)
	if err == nil && again.KeyID == row.KeyID {
		return personKeyMoved(t, row.KeyID)
	}
	return fault.New(fault.Conflict, "tenant %q: data key %s of a person was replaced meanwhile", t.name, envelope.KeyID(row.KeyID))
}

// succeed returns the change that gives a person a new key. The scope of the former one
// is bound into its wrapped bytes, so that no older row of the person can name it as
// the newest.
func (c *Config) succeed(s *secrets, version uint32, p successor) (Succession, error) {
	former, err := c.seal(s, version, p.row.Tenant, keyrow.Replaced, p.key)
	if err != nil {
		return Succession{}, err
	}
	next, err := c.seal(s, version, p.row.Tenant, keyrow.Pool, p.next)
	if err != nil {
		return Succession{}, err
	}
	next.State = keyrow.Assigned
	row := p.row
	row.KeyID, row.Former = p.next.ID, slices.Concat(p.row.Former, p.row.KeyID[:])
	row.KeyVersion = version
	row.MAC = c.subjectMAC(s, row)
	return Succession{Old: p.row, New: row, Key: p.keyRow, Former: former, Next: next}, nil
}

// SubjectsBefore returns up to limit persons of a tenant whose newest data key was made
// before a time, with the tokens of their ids, in the order of their keys' ids, which
// are above after.
func (r *Ring) SubjectsBefore(ctx context.Context, tenant string, after envelope.KeyID, before time.Time, limit int) ([]Subject, error) {
	rows, err := r.config.Storage.SubjectsWithin(ctx, tenant, after, keyrow.IDAt(before), limit)
	subjects := make([]Subject, len(rows))
	for i, row := range rows {
		subjects[i] = Subject{Token: row.Token, Key: row.KeyID}
	}
	return subjects, err
}

// SubjectKeyReplaced reports whether another one has followed a person's data key.
// Sealed when the key was destroyed. It does not ask what is in memory.
func (r *Ring) SubjectKeyReplaced(ctx context.Context, tenant string, id envelope.KeyID) (bool, error) {
	row, err := r.config.Storage.DataKey(ctx, tenant, id)
	if err != nil {
		return false, err
	}
	_, _, epoch := r.data.get(dataID{tenant, id})
	k, err := r.openRow(ctx, r.tenant(tenant), row, epoch)
	return k.scope == keyrow.Replaced, err
}

// A Subject is a person and the id of their newest data key. It is not authenticated.
type Subject struct {
	Token [32]byte
	Key   envelope.KeyID
}

// A SubjectsInfo says what is known of the keys of a tenant's persons.
type SubjectsInfo struct {
	Persons int
	Former  int       // keys that these had before their newest ones
	Oldest  time.Time // when the oldest of the newest ones was made; zero when there are none
}

// Subjects counts the persons of a tenant and their keys.
func (r *Ring) Subjects(ctx context.Context, tenant string) (SubjectsInfo, error) {
	count, err := r.config.Storage.CountSubjects(ctx, tenant)
	info := SubjectsInfo{Persons: count.Subjects, Former: count.Former}
	if count.Subjects > 0 {
		info.Oldest = keyrow.TimeOf(count.Oldest)
	}
	return info, err
}
