package keyring_test

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/keyring/keyringtest"
	"github.com/underseal/underseal/internal/keyring/keyrow"
)

// followed gives a person of a household a new key, and returns the one before.
func (h *household) followed(who byte) (former envelope.Key) {
	h.t.Helper()
	former = h.persons[who]
	h.rotatePersons(h.Ring, who)
	h.persons[who] = must(h.SubjectKey(h.t.Context(), "main", token(who)))(h.t)
	if next := h.persons[who]; next.ID == former.ID || next.Secret == former.Secret {
		h.t.Fatalf("the key of person %d is the one of before", who)
	}
	h.keys[former.ID] = former
	return former
}

// rotatePersons gives persons new keys, whenever theirs were made.
func (h *household) rotatePersons(ring *keyring.Ring, who ...byte) {
	h.t.Helper()
	var tokens [][32]byte
	for _, n := range who {
		tokens = append(tokens, token(n))
	}
	failed, err := ring.RotateSubjects(h.t.Context(), "main", tokens, h.later())
	if err != nil || len(failed) > 0 {
		h.t.Fatalf("RotateSubjects: %v, failed %v", err, failed)
	}
}

// later is after every key was made.
func (h *household) later() time.Time {
	var latest time.Time
	h.storage.Edit(func(tables *keyringtest.Tables) {
		for id := range tables.DataKeys {
			if made := keyrow.TimeOf(id.ID); made.After(latest) {
				latest = made
			}
		}
	})
	return latest.Add(time.Millisecond)
}

// has checks all keys of a person, newest first.
func (h *household) has(ring *keyring.Ring, when string, who byte, want ...envelope.Key) {
	h.t.Helper()
	ids := make([]envelope.KeyID, len(want))
	for i, key := range want {
		ids[i] = key.ID
		if err := ring.CheckSubject(h.t.Context(), "main", key.ID, token(who)); err != nil {
			h.t.Errorf("%s: CheckSubject of key %d: %v", when, i, err)
		}
		if next, err := ring.SubjectSuccessor(h.t.Context(), "main", key.ID, token(who)); err != nil || next != ids[0] {
			h.t.Errorf("%s: SubjectSuccessor of key %d: %s, %v, want %s", when, i, next, err, ids[0])
		}
	}
	if got, err := ring.FindSubject(h.t.Context(), "main", token(who)); err != nil || !slices.Equal(got, ids) {
		h.t.Errorf("%s: FindSubject(%d): %v, %v, want %v", when, who, got, err, ids)
	}
}

func TestAPersonGetsNewKeysAndKeepsTheOldOnes(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	keys := []envelope.Key{h.persons[1]}
	h.has(h.Ring, "before", 1, keys...)
	for range 3 {
		h.followed(1)
		keys = slices.Insert(keys, 0, h.persons[1])
	}
	h.has(h.Ring, "rotated", 1, keys...)
	h.restart()
	h.has(h.Ring, "restarted", 1, keys...)
	must(h.RotateTenant(t.Context(), "main", ""))(t)
	h.followed(1)
	keys = slices.Insert(keys, 0, h.persons[1])
	h.rewrap(h.Ring)
	h.retired(1)
	h.restart()
	h.has(h.Ring, "under a new tenant key", 1, keys...)
	h.has(h.Ring, "another person", 2, h.persons[2])
	h.lives(h.Ring, "in the end")
	info := must(h.Subjects(t.Context(), "main"))(t)
	oldest := h.persons[2].ID
	if other := h.persons[3].ID; bytes.Compare(other[:], oldest[:]) < 0 {
		oldest = other
	}
	if info.Persons != 3 || info.Former != 4 || !info.Oldest.Equal(keyrow.TimeOf(oldest)) {
		t.Errorf("Subjects: %+v", info)
	}
	if next := must(h.SubjectSuccessor(t.Context(), "main", h.persons[2].ID, token(1)))(t); next != h.persons[2].ID {
		t.Errorf("another person's key is followed by %s", next)
	}
}

// A person's former key stays theirs, whatever else is asked of it.
func TestAFormerKeyOfAPersonIsNobodyElses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHousehold(t)
		other := h.another() // which does not know that the key was replaced
		must(other.Key(t.Context(), "main", h.persons[1].ID))(t)
		former := h.followed(1)
		for who, ring := range map[string]*keyring.Ring{"the same process": h.Ring, "another one": other} {
			for n := byte(1); n <= 4; n++ {
				err := ring.LinkSubject(t.Context(), "main", former.ID, token(n))
				want(t, "LinkSubject, "+who, err, fault.Conflict)
			}
		}
		h.storage.Edit(func(tables *keyringtest.Tables) {
			id := keyringtest.DataKeyID{Tenant: "main", ID: former.ID}
			row := tables.DataKeys[id]
			row.State = keyrow.Ready
			tables.DataKeys[id] = row
		})
		time.Sleep(25 * time.Hour)
		used := map[envelope.KeyID]bool{}
		for id := range h.keys {
			used[id] = id != former.ID
		}
		must(h.SweepUnassigned(t.Context(), usedOf(used)))(t)
		h.restart()
		h.has(h.Ring, "swept", 1, h.persons[1], former)
	})
}

// Another process goes on with the key of before as long as it remembers it.
func TestAnotherProcessNoticesAPersonsNewKey(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHousehold(t)
		other := h.another()
		former := must(other.SubjectKey(t.Context(), "main", token(1)))(t)
		h.followed(1)
		if err := other.CheckSubject(t.Context(), "main", h.persons[1].ID, token(1)); err != nil {
			t.Errorf("the new key, at once: %v", err)
		}
		time.Sleep(11 * time.Minute) // past CacheAge
		h.has(other, "eleven minutes later", 1, h.persons[1], former)
		h.lives(other, "eleven minutes later")
	})
}

func TestPersonsAreRotatedByTheAgeOfTheirKeys(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHousehold(t)
		time.Sleep(time.Hour)
		before := time.Now()
		time.Sleep(time.Hour)
		h.rotatePersons(h.Ring, 2)
		due := must(h.SubjectsBefore(t.Context(), "main", envelope.KeyID{}, before, 10))(t)
		if len(due) != 2 {
			t.Fatalf("SubjectsBefore: %v, want two", due)
		}
		tokens := [][32]byte{token(1), token(2), token(3), token(9)}
		for try := range 2 {
			if failed, err := h.RotateSubjects(t.Context(), "main", tokens, before); err != nil || len(failed) > 0 {
				t.Fatalf("RotateSubjects: %v, %v", failed, err)
			}
			if info := must(h.Subjects(t.Context(), "main"))(t); info.Former != 3 {
				t.Errorf("try %d: %d former keys, want one of each of three persons", try, info.Former)
			}
		}
		// A clock that was set back makes no keys that are due at once again.
		h.rotatePersons(h.Ring, 1)
		ahead := time.Now().Add(time.Hour)
		for range 2 {
			if failed, err := h.RotateSubjects(t.Context(), "main", tokens[:1], ahead); err != nil || len(failed) > 0 {
				t.Fatalf("RotateSubjects: %v, %v", failed, err)
			}
		}
		if keys := must(h.FindSubject(t.Context(), "main", token(1)))(t); len(keys) != 4 {
			t.Errorf("%d keys, want 4", len(keys))
		}
	})
}

func TestAPersonHasABoundedNumberOfKeys(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	for range keyrow.MaxFormer {
		h.rotatePersons(h.Ring, 1)
	}
	failed, err := h.RotateSubjects(t.Context(), "main", [][32]byte{token(1), token(2)}, h.later())
	if err != nil || len(failed) != 1 || code(failed[token(1)]) != "too_many_keys" {
		t.Errorf("RotateSubjects: %v, %v, want one with the code too_many_keys", failed, err)
	}
	if keys := must(h.FindSubject(t.Context(), "main", token(2)))(t); len(keys) != 2 {
		t.Errorf("the other person has %d keys, want 2", len(keys))
	}
}

// TestACrashWhileAPersonsKeyRotates fails the write, before and after it is done, and
// looks at what this process and one with nothing in memory find.
func TestACrashWhileAPersonsKeyRotates(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		h := newHousehold(t)
		fail := func(when bool) func(context.Context, string) error {
			return func(_ context.Context, method string) error {
				if method == "SucceedSubjects" && when == after {
					return errTripped
				}
				return nil
			}
		}
		first := h.persons[1]
		h.storage.Hooks(fail(false), fail(true))
		_, err := h.RotateSubjects(t.Context(), "main", [][32]byte{token(1), token(2)}, h.later())
		want(t, "RotateSubjects", err, fault.Unavailable)
		h.storage.Hooks(nil, nil)
		for _, who := range []byte{1, 2} {
			key := must(h.SubjectKey(t.Context(), "main", token(who)))(t)
			if done := key != h.persons[who]; done != after {
				t.Errorf("lost reply: %t: person %d has a new key: %t", after, who, done)
			}
			h.keys[h.persons[who].ID], h.persons[who] = h.persons[who], key
		}
		h.lives(h.Ring, "the same process")
		h.restart()
		h.lives(h.Ring, "restarted")
		keys := []envelope.Key{h.persons[1]}
		if after {
			keys = append(keys, first)
		}
		h.has(h.Ring, "restarted", 1, keys...)
		h.followed(1)
		h.has(h.Ring, "finished", 1, slices.Insert(keys, 0, h.persons[1])...)
	}
}

// An erasure that runs while the key is replaced finds all keys or leaves none.
func TestADestroyedKeyOfAPersonIsNotReplaced(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	first := h.persons[1]
	h.storage.Hooks(func(ctx context.Context, method string) error {
		if method == "SucceedSubjects" {
			h.storage.Hooks(nil, nil)
			return h.Destroy(context.Background(), "main", first.ID)
		}
		return nil
	}, nil)
	if failed, err := h.RotateSubjects(t.Context(), "main", [][32]byte{token(1)}, h.later()); err != nil || len(failed) > 0 {
		t.Errorf("RotateSubjects: %v, %v", failed, err)
	}
	if keys := must(h.FindSubject(t.Context(), "main", token(1)))(t); len(keys) != 0 {
		t.Errorf("the person has keys %v", keys)
	}
	if next := must(h.SubjectSuccessor(t.Context(), "main", first.ID, token(1)))(t); next != first.ID {
		t.Errorf("the destroyed key is followed by %s", next)
	}
	back := must(h.SubjectKey(t.Context(), "main", token(1)))(t)
	if next := must(h.SubjectSuccessor(t.Context(), "main", first.ID, token(1)))(t); next != first.ID {
		t.Errorf("the destroyed key is followed by that of who came back, %s: %t", next, next == back.ID)
	}
}

// The former key can be destroyed before the newest, and the other way about.
func TestAPersonsKeysAreDestroyedInAnyOrder(t *testing.T) {
	t.Parallel()
	for _, newestFirst := range []bool{true, false} {
		h := newHousehold(t)
		keys := []envelope.Key{h.followed(1), h.persons[1]}
		if newestFirst {
			slices.Reverse(keys)
		}
		if err := h.Destroy(t.Context(), "main", keys[0].ID); err != nil {
			t.Fatal(err)
		}
		h.restart()
		if found, err := h.FindSubject(t.Context(), "main", token(1)); err != nil || (len(found) == 0) != newestFirst {
			t.Errorf("the newest first: %t: FindSubject between the two: %v, %v", newestFirst, found, err)
		}
		if err := h.Destroy(t.Context(), "main", keys[1].ID); err != nil {
			t.Fatal(err)
		}
		if found, err := h.FindSubject(t.Context(), "main", token(1)); err != nil || len(found) > 0 {
			t.Errorf("the newest first: %t: FindSubject: %v, %v", newestFirst, found, err)
		}
		for _, key := range keys {
			_, err := h.Key(t.Context(), "main", key.ID)
			want(t, "Key", err, fault.Sealed)
		}
	}
}

func TestOfManyThatRotateAPersonNoKeyIsLost(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	rings := []*keyring.Ring{h.Ring, h.another(), h.another()}
	first, later := h.persons[1], h.later()
	var all sync.WaitGroup
	for i, ring := range rings {
		all.Go(func() {
			for n := range 5 {
				at := later.Add(time.Duration(3*n+i) * time.Hour)
				if _, err := ring.RotateSubjects(context.Background(), "main", [][32]byte{token(1), token(2)}, at); err != nil && !fault.Is(err, fault.Conflict) {
					t.Errorf("RotateSubjects: %v", err)
				}
				key, err := ring.SubjectKey(context.Background(), "main", token(1))
				if err == nil {
					err = ring.CheckSubject(context.Background(), "main", key.ID, token(1))
				}
				if err != nil {
					t.Errorf("the key of a moment: %v", err)
				}
			}
		})
	}
	all.Wait()
	keys := must(h.another().FindSubject(t.Context(), "main", token(1)))(t)
	if len(keys) < 2 || keys[len(keys)-1] != first.ID {
		t.Errorf("the person has %d keys, the first one among them: %t", len(keys), slices.Contains(keys, first.ID))
	}
	for _, id := range keys {
		must(h.Key(t.Context(), "main", id))(t)
	}
}

// personRows are the rows of a person who had two keys before the newest.
type personRows struct {
	*keyringtest.Tables
	subject      keyring.SubjectRow // as it stands
	old          keyring.SubjectRow // before the last rotation
	first, newer envelope.KeyID     // the former keys
}

// scope says of a data key that it is something else.
func (r *personRows) scope(id envelope.KeyID, scope string) {
	row := r.DataKeys[keyringtest.DataKeyID{Tenant: "main", ID: id}]
	row.Scope = scope
	r.DataKeys[keyringtest.DataKeyID{Tenant: "main", ID: id}] = row
}

// TestAHiddenKeyOfAPersonIsRefused does what an administrator of the database would, so
// that an erasure of the person misses a key.
func TestAHiddenKeyOfAPersonIsRefused(t *testing.T) {
	t.Parallel()
	for name, hide := range map[string]func(*personRows){
		"the former ones are not named": func(r *personRows) { r.subject.Former = nil },
		"one is not named":              func(r *personRows) { r.subject.Former = r.subject.Former[16:] },
		"one is named twice":            func(r *personRows) { copy(r.subject.Former[16:], r.subject.Former[:16]) },
		"their order":                   func(r *personRows) { r.subject.Former = slices.Concat(r.subject.Former[16:], r.subject.Former[:16]) },
		"the newest is a former one": func(r *personRows) {
			r.subject.KeyID, r.subject.Former = r.newer, bytes.Clone(r.subject.Former[:16])
		},
		"the row of before":          func(r *personRows) { r.subject = r.old },
		"the row of a former key":    func(r *personRows) { delete(r.DataKeys, keyringtest.DataKeyID{Tenant: "main", ID: r.first}) },
		"the row of the newest key":  func(r *personRows) { delete(r.DataKeys, keyringtest.DataKeyID{Tenant: "main", ID: r.subject.KeyID}) },
		"a former key in the pool":   func(r *personRows) { r.scope(r.first, keyrow.Pool) },
		"a former key for a purpose": func(r *personRows) { r.scope(r.first, "other") },
		"the newest key as a former": func(r *personRows) { r.scope(r.subject.KeyID, keyrow.Replaced) },
	} {
		h := newHousehold(t)
		r := &personRows{first: h.followed(1).ID}
		r.old = must(h.storage.Subject(t.Context(), "main", token(1)))(t)
		r.newer = h.followed(1).ID
		h.Close()
		h.storage.Edit(func(tables *keyringtest.Tables) {
			at := keyringtest.SubjectID{Tenant: "main", Token: token(1)}
			r.Tables, r.subject = tables, tables.Subjects[at]
			r.subject.Former = bytes.Clone(r.subject.Former)
			hide(r)
			tables.Subjects[at] = r.subject
		})
		h.Ring = h.another()
		_, err := h.FindSubject(t.Context(), "main", token(1))
		want(t, name, err, fault.Integrity)
		h.has(h.Ring, name+", another person", 2, h.persons[2])
	}
}
