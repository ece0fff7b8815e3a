package keyringtest

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/keyring/keyrow"
)

// succession is the change that gives a person of tenant a key n in the place of key.
func succession(old keyring.SubjectRow, key keyring.DataKeyRow, n int) keyring.Succession {
	c := keyring.Succession{Old: old, New: old, Key: key, Former: key, Next: dataKey("a", n, keyrow.Pool)}
	c.Next.State = keyrow.Assigned
	c.Former.Scope, c.Former.State, c.Former.Wrapped = keyrow.Replaced, keyrow.Assigned, random(161)
	c.New.KeyID, c.New.Former, c.New.MAC = c.Next.ID, slices.Concat(old.Former, old.KeyID[:]), random(32)
	return c
}

// linked gives person n of tenant a the key n.
func linked(t *testing.T, s keyring.Storage, n int) keyring.SubjectRow {
	t.Helper()
	row, err := s.LinkSubject(t.Context(), subject("a", byte(n), n))
	ok(t, err)
	return row
}

func succeedingSubjects(t *testing.T, s keyring.Storage) {
	ctx := t.Context()
	rows := add(t, s, 1, 2, 3)
	first, second := linked(t, s, 1), linked(t, s, 2)
	for i := range rows {
		rows[i].State = keyrow.Assigned
	}
	good, other := succession(first, rows[0], 11), succession(second, rows[1], 12)
	for what, break_ := range map[string]func(c *keyring.Succession){
		"a person who has another key": func(c *keyring.Succession) { c.Old.KeyID = id(3) },
		"a row that was rewrapped":     func(c *keyring.Succession) { c.Old.MAC = random(32) },
		"a person who is not there":    func(c *keyring.Succession) { c.Old.Token = token(9) },
		"a key that was rewrapped":     func(c *keyring.Succession) { c.Key.Wrapped = random(161) },
		"a key that is a former one":   func(c *keyring.Succession) { c.Key.Scope = keyrow.Replaced },
		"a key that is not there":      func(c *keyring.Succession) { c.Key.ID = id(9) },
		"a new key that is there":      func(c *keyring.Succession) { c.Next.ID, c.New.KeyID = id(3), id(3) },
		"a version that is not there":  func(c *keyring.Succession) { c.Next.KeyVersion = 2 },
	} {
		bad := other
		break_(&bad)
		is(t, what, s.SucceedSubjects(ctx, []keyring.Succession{good, bad}), fault.Conflict)
		stands(t, s, rows[0])
		gone(t, s, "a", 11)
	}
	ok(t, s.SucceedSubjects(ctx, []keyring.Succession{good, other}))
	is(t, "SucceedSubjects again", s.SucceedSubjects(ctx, []keyring.Succession{good}), fault.Conflict)
	for _, c := range []keyring.Succession{good, other} {
		got, err := s.Subject(ctx, "a", c.Old.Token)
		ok(t, err)
		same(t, "subject", got, c.New)
		stands(t, s, c.Former)
		stands(t, s, c.Next)
	}
	third := succession(good.New, good.Next, 13)
	ok(t, s.SucceedSubjects(ctx, []keyring.Succession{third}))
	stands(t, s, third.Former)

	_, err := s.LinkSubject(ctx, subject("a", 3, 1))
	is(t, "a former key for another person", err, fault.Conflict)
	ids, err := s.Unassigned(ctx, "a", id(0), id(99), 100)
	ok(t, err)
	if !slices.Equal(ids, [][16]byte{id(3)}) {
		t.Errorf("Unassigned: %v, want the third key", ids)
	}
	if n, err := s.DeleteUnassigned(ctx, "a", [][16]byte{id(1), id(11), id(13)}); n != 0 || err != nil {
		t.Errorf("DeleteUnassigned of keys of persons: %d, %v", n, err)
	}
	_, err = s.ScopeKey(ctx, "a", keyrow.Replaced)
	is(t, "ScopeKey", err, fault.NotFound)
	if keys, err := s.ScopeKeys(ctx, "a", keyrow.Replaced); err != nil || len(keys) > 0 {
		t.Errorf("ScopeKeys: %v, %v", keys, err)
	}

	tomb := tombstone("a", 1)
	tomb.Scope = keyrow.Replaced
	ok(t, s.DestroyDataKey(ctx, tomb))
	got, err := s.Subject(ctx, "a", token(1))
	ok(t, err)
	same(t, "subject whose first key is destroyed", got, third.New)
	ok(t, s.DestroyDataKey(ctx, tombstone("a", 13)))
	_, err = s.Subject(ctx, "a", token(1))
	is(t, "Subject whose newest key is destroyed", err, fault.NotFound)
}

func successionRace(t *testing.T, s keyring.Storage) {
	rows := add(t, s, 1)
	person := linked(t, s, 1)
	changes := make([]keyring.Succession, 8)
	errs := together(len(changes), func(i int) error {
		changes[i] = succession(person, rows[0], 11+i)
		return s.SucceedSubjects(t.Context(), changes[i:i+1])
	})
	won := -1
	for i, err := range errs {
		switch {
		case err != nil:
			is(t, "SucceedSubjects", err, fault.Conflict)
			gone(t, s, "a", 11+i)
		case won >= 0:
			t.Errorf("%d and %d both won", won, i)
		default:
			won = i
		}
	}
	if won < 0 {
		t.Fatal(errors.Join(errs...))
	}
	got, err := s.Subject(t.Context(), "a", token(1))
	ok(t, err)
	same(t, "subject", got, changes[won].New)
}

func listingSubjects(t *testing.T, s keyring.Storage) {
	ctx := t.Context()
	if c, err := s.CountSubjects(ctx, "a"); err != nil || c != (keyring.SubjectCount{}) {
		t.Errorf("CountSubjects of nobody: %+v, %v", c, err)
	}
	rows := add(t, s, 1, 2, 3, 4)
	founded(t, s, "b")
	ok(t, s.AddDataKeys(ctx, []keyring.DataKeyRow{dataKey("b", 1, keyrow.Pool)}))
	_, err := s.LinkSubject(ctx, subject("b", 1, 1))
	ok(t, err)
	var persons []keyring.SubjectRow
	for n := 1; n <= 4; n++ {
		persons = append(persons, linked(t, s, n))
	}
	ok(t, s.SucceedSubjects(ctx, []keyring.Succession{succession(persons[0], rows[0], 9)}))
	for _, test := range []struct{ after, before, limit, first, n int }{
		{0, 99, 100, 2, 4}, {2, 99, 100, 3, 3}, {0, 4, 100, 2, 2}, {0, 99, 1, 2, 1}, {9, 99, 100, 0, 0}, {0, 2, 100, 0, 0},
	} {
		got, err := s.SubjectsWithin(ctx, "a", id(test.after), id(test.before), test.limit)
		ok(t, err)
		if len(got) != test.n || test.n > 0 && got[0].KeyID != id(test.first) {
			t.Errorf("SubjectsWithin %d to %d, limit %d: %d rows, want %d from %d", test.after, test.before, test.limit, len(got), test.n, test.first)
		}
		if !slices.IsSortedFunc(got, func(a, b keyring.SubjectRow) int { return bytes.Compare(a.KeyID[:], b.KeyID[:]) }) {
			t.Errorf("SubjectsWithin: not in order")
		}
	}
	if c, err := s.CountSubjects(ctx, "a"); err != nil || c != (keyring.SubjectCount{Subjects: 4, Former: 1, Oldest: id(2)}) {
		t.Errorf("CountSubjects: %+v, %v", c, err)
	}
}
