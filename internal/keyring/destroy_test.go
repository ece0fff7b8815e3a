package keyring_test

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/keyring/keyringtest"
	"github.com/underseal/underseal/internal/keyring/keyrow"
)

func deriveKEK(key []byte) ([]byte, error) { return hkdf.Key(sha256.New, key, nil, "kek/data", 32) }

func TestADestroyedKeyIsSealedAtOnceAndForGood(t *testing.T) {
	t.Parallel()
	e := setup(t)
	ctx := t.Context()
	key, kept := e.newKey(), e.newKey()
	must(e.Key(ctx, "main", key.ID))(t)
	for range 2 {
		if err := e.Destroy(ctx, "main", key.ID); err != nil {
			t.Fatal(err)
		}
		_, err := e.Key(ctx, "main", key.ID)
		want(t, "Key", err, fault.Sealed)
		e.restart()
	}
	e.storage.Edit(func(tables *keyringtest.Tables) {
		row := tables.DataKeys[keyringtest.DataKeyID{Tenant: "main", ID: key.ID}]
		if row.State != keyrow.Destroyed || len(row.Wrapped) > 0 {
			t.Errorf("the row is %s and has %d wrapped bytes", row.State, len(row.Wrapped))
		}
	})
	must(e.Key(ctx, "main", kept.ID))(t)
	want(t, "a key that never was", e.Destroy(ctx, "main", envelope.KeyID{1}), fault.NotFound)
	want(t, "another tenant's key", e.Destroy(ctx, "other", kept.ID), fault.NotFound)
}

func TestAfterAPersonIsErasedThePersonGetsANewKey(t *testing.T) {
	t.Parallel()
	e := setup(t)
	ctx := t.Context()
	first := must(e.SubjectKey(ctx, "main", token(1)))(t)
	bystander := must(e.SubjectKey(ctx, "main", token(2)))(t)
	if err := e.Destroy(ctx, "main", first.ID); err != nil {
		t.Fatal(err)
	}
	second := must(e.SubjectKey(ctx, "main", token(1)))(t)
	if second.ID == first.ID || second.Secret == first.Secret {
		t.Error("the erased person has the old key")
	}
	_, err := e.Key(ctx, "main", first.ID)
	want(t, "Key", err, fault.Sealed)
	want(t, "linking the destroyed key", e.LinkSubject(ctx, "main", first.ID, token(3)), fault.Sealed)
	if must(e.SubjectKey(ctx, "main", token(2)))(t) != bystander {
		t.Error("another person's key changed")
	}
}

func TestADestroyedTenantKeyIsNotMadeAgain(t *testing.T) {
	t.Parallel()
	e := setup(t)
	key := must(e.TenantKey(t.Context(), "main", keyring.Index))(t)
	if err := e.Destroy(t.Context(), "main", key.ID); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := e.TenantKey(t.Context(), "main", keyring.Index)
		want(t, "TenantKey", err, fault.Sealed)
		e.restart()
	}
}

func TestADamagedOrFalselyDestroyedKeyCanBeDestroyed(t *testing.T) {
	t.Parallel()
	for how, change := range map[string]func(row, other, foreign *keyring.DataKeyRow){
		"damaged":              dataKeyChanges["Wrapped"]["a flipped bit"],
		"called destroyed":     dataKeyChanges["State"]["called destroyed"],
		"an invented destruct": dataKeyChanges["Tombstone"]["one that was invented"],
		"of a strange version": dataKeyChanges["KeyVersion"]["a version that does not exist"],
	} {
		v := newVictim(t)
		v.editKey(change)
		v.restart()
		if err := v.Destroy(t.Context(), "main", v.key); err != nil {
			t.Errorf("%s: Destroy: %v", how, err)
		}
		want(t, how, v.use("key"), fault.Sealed)
	}
}

func TestATombstoneIsBoundToItsRow(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	v.restart()
	if err := v.Destroy(t.Context(), "main", v.other); err != nil {
		t.Fatal(err)
	}
	live := must(v.storage.DataKey(t.Context(), "main", v.key))(t)
	v.editKey(func(row, other, _ *keyring.DataKeyRow) { *row = *other; row.ID = v.key })
	want(t, "another key's tombstone", v.use("key"), fault.Integrity)
	v.editKey(func(row, other, _ *keyring.DataKeyRow) {
		*row = live
		row.State = keyrow.Destroyed
		row.Tombstone = other.Tombstone
	})
	want(t, "another key's tombstone beside live bytes", v.use("key"), fault.Integrity)
	v.editKey(func(row, _, _ *keyring.DataKeyRow) { *row = live })
	v.restart()
	if err := v.Destroy(t.Context(), "main", v.key); err != nil {
		t.Fatal(err)
	}
	v.editKey(func(row, _, _ *keyring.DataKeyRow) { row.Wrapped = live.Wrapped })
	want(t, "its own tombstone beside the old bytes", v.use("key"), fault.Integrity)
	v.editKey(func(row, _, _ *keyring.DataKeyRow) { row.Wrapped, row.State = nil, keyrow.Assigned })
	want(t, "its own tombstone on a key called assigned", v.use("key"), fault.Integrity)
}

func TestDestroyNeedsTheTenantKeyAndCanBeRepeated(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := setup(t)
		ctx := t.Context()
		key := e.newKey()
		e.service.Unreachable()
		time.Sleep(2 * time.Hour)
		want(t, "Destroy in a long outage", e.Destroy(ctx, "main", key.ID), fault.Unavailable)
		e.service.Restore()
		time.Sleep(2 * time.Second)
		must(e.Key(ctx, "main", key.ID))(t)

		lost := func(_ context.Context, method string) error {
			if method == "DestroyDataKey" {
				return fault.New(fault.Unavailable, "connection lost")
			}
			return nil
		}
		e.storage.Hooks(lost, nil)
		want(t, "Destroy that fails", e.Destroy(ctx, "main", key.ID), fault.Unavailable)
		must(e.Key(ctx, "main", key.ID))(t)
		e.storage.Hooks(nil, lost)
		want(t, "Destroy whose reply is lost", e.Destroy(ctx, "main", key.ID), fault.Unavailable)
		_, err := e.Key(ctx, "main", key.ID)
		want(t, "Key", err, fault.Sealed)
		e.storage.Hooks(nil, nil)
		calls := e.storage.Calls("DestroyDataKey")
		if err := e.Destroy(ctx, "main", key.ID); err != nil || e.storage.Calls("DestroyDataKey") != calls+1 {
			t.Errorf("Destroy again: %v, want it to be done again, since the storage may not have finished", err)
		}
	})
}

func TestNobodyGetsAKeyAfterItWasDestroyed(t *testing.T) {
	t.Parallel()
	e := setup(t)
	ctx := t.Context()
	for range 200 {
		key := e.newKey()
		destroyed := make(chan struct{})
		var readers sync.WaitGroup
		for range 4 {
			readers.Go(func() {
				for over := false; !over; {
					select {
					case <-destroyed:
						over = true
					default:
					}
					_, err := e.Key(ctx, "main", key.ID)
					if over && !fault.Is(err, fault.Sealed) {
						t.Errorf("Key after Destroy: %v, want sealed", err)
					}
				}
			})
		}
		if err := e.Destroy(ctx, "main", key.ID); err != nil {
			t.Error(err)
		}
		close(destroyed)
		readers.Wait()
	}
}

// A read that began before Destroy and ends after it must not put the key back
// into the cache.
func TestASlowReadDoesNotBringADestroyedKeyBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := setup(t)
		ctx := t.Context()
		key := e.newKey()
		e.storage.Hooks(nil, func(_ context.Context, method string) error {
			if method == "DataKey" {
				time.Sleep(time.Minute)
			}
			return nil
		})
		read := make(chan error)
		go func() { _, err := e.Key(ctx, "main", key.ID); read <- err }()
		time.Sleep(time.Second)
		e.storage.Hooks(nil, nil)
		if err := e.Destroy(ctx, "main", key.ID); err != nil {
			t.Fatal(err)
		}
		if err := <-read; err != nil {
			t.Errorf("the read that began before: %v", err)
		}
		_, err := e.Key(ctx, "main", key.ID)
		want(t, "Key", err, fault.Sealed)
	})
}

func TestWhatARootKeyVersionWrappedIsSealedOnceItIsDestroyed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := setup(t)
		id := e.warm()
		if err := e.service.Destroy(t.Context(), "1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Minute)
		for what, use := range e.uses(id) {
			want(t, what, use(), fault.Sealed)
		}
	})
}

func TestSubjectKeysAreLinkedLater(t *testing.T) {
	t.Parallel()
	e := setup(t)
	ctx := t.Context()
	nameless, other := e.newKey(), e.newKey()
	for range 2 {
		if err := e.LinkSubject(ctx, "main", nameless.ID, token(1)); err != nil {
			t.Fatal(err)
		}
	}
	if must(e.SubjectKey(ctx, "main", token(1)))(t) != nameless {
		t.Error("the linked person has another key")
	}
	err := e.LinkSubject(ctx, "main", other.ID, token(1))
	if !fault.Is(err, fault.Conflict) || code(err) != "subject_has_key" {
		t.Errorf("a second key for a person: %v, want conflict", err)
	}
	want(t, "a second person for a key", e.LinkSubject(ctx, "main", nameless.ID, token(2)), fault.Conflict)
	want(t, "a key that never was", e.LinkSubject(ctx, "main", envelope.KeyID{1}, token(3)), fault.NotFound)
	index := must(e.TenantKey(ctx, "main", keyring.Index))(t)
	want(t, "the index key", e.LinkSubject(ctx, "main", index.ID, token(3)), fault.Invalid)
	person := must(e.SubjectKey(ctx, "main", token(2)))(t)
	if person == nameless || person == other {
		t.Error("another person has a key that was somebody else's")
	}
}

func TestManyProcessesAskForOnePerson(t *testing.T) {
	t.Parallel()
	e := setup(t)
	rings := []*keyring.Ring{e.Ring, e.another(), e.another()}
	for n := range byte(20) {
		keys := make([]envelope.Key, 9)
		errs := make([]error, len(keys))
		var all sync.WaitGroup
		for i := range keys {
			all.Go(func() { keys[i], errs[i] = rings[i%len(rings)].SubjectKey(t.Context(), "main", token(n)) })
		}
		all.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			if key != keys[0] {
				t.Fatalf("person %d has several keys", n)
			}
		}
	}
}

func TestAPersonWhoseLinkWasLostOnTheWay(t *testing.T) {
	t.Parallel()
	e := setup(t)
	ctx := t.Context()
	lost := func(_ context.Context, method string) error {
		if method == "LinkSubject" {
			return fault.New(fault.Unavailable, "connection lost")
		}
		return nil
	}
	e.storage.Hooks(nil, lost)
	_, err := e.SubjectKey(ctx, "main", token(1))
	want(t, "SubjectKey whose reply is lost", err, fault.Unavailable)
	e.storage.Hooks(lost, nil)
	key := must(e.SubjectKey(ctx, "main", token(1)))(t)
	_, err = e.SubjectKey(ctx, "main", token(2))
	want(t, "SubjectKey that fails", err, fault.Unavailable)
	e.storage.Hooks(nil, nil)
	if must(e.SubjectKey(ctx, "main", token(2)))(t) == key {
		t.Error("two persons have one key")
	}
	if must(e.SubjectKey(ctx, "main", token(1)))(t) != key {
		t.Error("the person has another key than the first answer said")
	}
}
