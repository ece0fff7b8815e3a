// Package keyringtest holds storages of keys to the contract of keyring.Storage,
// and gives tests one in memory.
package keyringtest

import (
	"bytes"
	"crypto/rand"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/keyring/keyrow"
)

// TestStorage runs the conformance suite. open returns an empty storage each
// time it is called, and what deletes a tenant's tenant keys behind its back.
func TestStorage(t *testing.T, open func() (s keyring.Storage, lose func(tenant string))) {
	for name, test := range map[string]func(*testing.T, keyring.Storage){
		"an empty storage has nothing":                           empty,
		"found stores a tenant's first keys":                     found,
		"found refuses a tenant that has keys":                   foundTwice,
		"of many that found one tenant, one wins":                foundRace,
		"rows come back as they were, also with strange tenants": roundTrip,
		"a batch is as large as promised":                        largeBatch,
		"a batch is stored whole or not at all":                  wholeBatch,
		"a scope has one key, the pool many":                     oneKeyPerScope,
		"a key follows another one in its scope":                 succeeding,
		"tenants do not see each other's keys":                   tenantsApart,
		"marking touches ready keys only":                        marking,
		"destroying overwrites the row and the link":             destroying,
		"a person has one key, a key one person":                 linking,
		"linking needs a live key":                               linkingDead,
		"a person has a row under one index key":                 linkingOneToken,
		"of many that link one person, one wins":                 linkRace,
		"persons get new keys all at once or not at all":         succeedingSubjects,
		"of many that give a person a new key, one wins":         successionRace,
		"persons are listed and counted by their keys":           listingSubjects,
		"what is unassigned is listed in order, within bounds":   listing,
		"deleting takes unassigned keys only":                    deleting,
		"slices belong to the caller":                            ownership,
		"a tenant key is added above the newest one only":        addingTenantKeys,
		"a tenant key is replaced as it was read":                replacing,
		"of many that add a tenant key, one wins":                addRace,
		"versions go when nothing hangs on them":                 retiring,
		"nothing comes to hang on a version that is not there":   hangingOnNothing,
		"rows are counted by version":                            counting,
		"pages of rows below a version":                          paging,
		"rewrapping changes rows as they were read only":         rewrapping,
		"rewrapping takes many rows in one unit":                 rewrappingMany,
		"rewrapping of many at once changes each row once":       rewrapRace,
		"versions of root keys are noted once":                   rootVersions,
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := open()
			test(t, s)
		})
	}
	t.Run("found refuses a tenant whose tenant key was lost", func(t *testing.T) {
		s, lose := open()
		foundAfterLoss(t, s, lose)
	})
}

// id returns an id that sorts by n.
func id(n int) [16]byte { return [16]byte{13: byte(n >> 16), 14: byte(n >> 8), 15: byte(n)} }

func token(n byte) [32]byte { return [32]byte{31: n} }

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func dataKey(tenant string, n int, scope string) keyring.DataKeyRow {
	return keyring.DataKeyRow{Tenant: tenant, ID: id(n), Scope: scope, State: keyrow.Ready, KeyVersion: 1, Wrapped: random(161)}
}

func tenantKey(tenant string) keyring.TenantKeyRow {
	return keyring.TenantKeyRow{Tenant: tenant, Version: 1, Service: "s", RootKey: "r", Made: time.UnixMicro(1_700_000_000_000_001).UTC(), Wrapped: random(97)}
}

// founded gives a tenant a tenant key, unless it has one.
func founded(t *testing.T, s keyring.Storage, tenant string) {
	t.Helper()
	if err := s.Found(t.Context(), tenantKey(tenant), nil); err != nil && !fault.Is(err, fault.Conflict) {
		t.Fatal(err)
	}
}

func subject(tenant string, tok byte, key int) keyring.SubjectRow {
	return keyring.SubjectRow{Tenant: tenant, Token: token(tok), KeyID: id(key), KeyVersion: 1, MAC: random(32)}
}

func tombstone(tenant string, n int) keyring.DataKeyRow {
	return keyring.DataKeyRow{Tenant: tenant, ID: id(n), Scope: keyrow.Pool, State: keyrow.Destroyed, KeyVersion: 1, Tombstone: random(32)}
}

// ok stops the test when something that must work did not.
func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// is checks the kind of an error.
func is(t *testing.T, what string, err error, kind fault.Kind) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Errorf("%s: %v, want %s", what, err, kind)
	}
}

// add stores ready pool keys of tenant a.
func add(t *testing.T, s keyring.Storage, ns ...int) []keyring.DataKeyRow {
	t.Helper()
	founded(t, s, "a")
	var rows []keyring.DataKeyRow
	for _, n := range ns {
		rows = append(rows, dataKey("a", n, keyrow.Pool))
	}
	ok(t, s.AddDataKeys(t.Context(), rows))
	return rows
}

// same compares rows column by column; no bytes and nil are the same.
func same[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	g, w := reflect.ValueOf(got), reflect.ValueOf(want)
	for i := range g.NumField() {
		gb, isBytes := g.Field(i).Interface().([]byte)
		if isBytes && bytes.Equal(gb, w.Field(i).Bytes()) {
			continue
		}
		if isBytes || !reflect.DeepEqual(g.Field(i).Interface(), w.Field(i).Interface()) {
			t.Errorf("%s: %s is %v, want %v", what, g.Type().Field(i).Name, g.Field(i), w.Field(i))
		}
	}
}

// stands checks what is stored of a data key.
func stands(t *testing.T, s keyring.Storage, want keyring.DataKeyRow) {
	t.Helper()
	got, err := s.DataKey(t.Context(), want.Tenant, want.ID)
	ok(t, err)
	same(t, "data key", got, want)
}

// gone checks that a data key is not stored.
func gone(t *testing.T, s keyring.Storage, tenant string, n int) {
	t.Helper()
	_, err := s.DataKey(t.Context(), tenant, id(n))
	is(t, "DataKey", err, fault.NotFound)
}

func empty(t *testing.T, s keyring.Storage) {
	ctx := t.Context()
	tenants, err := s.Tenants(ctx)
	ok(t, err)
	keys, err := s.TenantKeys(ctx, "a")
	ok(t, err)
	ids, err := s.Unassigned(ctx, "a", id(0), [16]byte{255}, 10)
	ok(t, err)
	if len(tenants)+len(keys)+len(ids) > 0 {
		t.Errorf("found %v, %v, %v", tenants, keys, ids)
	}
	gone(t, s, "a", 1)
	_, err = s.ScopeKey(ctx, "a", "index")
	is(t, "ScopeKey", err, fault.NotFound)
	_, err = s.Subject(ctx, "a", token(1))
	is(t, "Subject", err, fault.NotFound)
	is(t, "DestroyDataKey", s.DestroyDataKey(ctx, tombstone("a", 1)), fault.NotFound)
}

func found(t *testing.T, s keyring.Storage) {
	ctx := t.Context()
	key, rows := tenantKey("b"), []keyring.DataKeyRow{dataKey("b", 1, "index"), dataKey("b", 2, "audit")}
	key.Wrapped = random(4 << 10)
	ok(t, s.Found(ctx, key, rows))
	ok(t, s.Found(ctx, tenantKey("a"), nil))
	got, err := s.TenantKeys(ctx, "b")
	ok(t, err)
	if len(got) != 1 {
		t.Fatalf("TenantKeys: %d rows, want 1", len(got))
	}
	same(t, "tenant key", got[0], key)
	stands(t, s, rows[0])
	stands(t, s, rows[1])
	if tenants, err := s.Tenants(ctx); err != nil || !slices.Equal(tenants, []string{"a", "b"}) {
		t.Errorf("Tenants: %q, %v, want a and b", tenants, err)
	}
}

func foundTwice(t *testing.T, s keyring.Storage) {
	key := tenantKey("a")
	ok(t, s.Found(t.Context(), key, []keyring.DataKeyRow{dataKey("a", 1, "index")}))
	is(t, "second Found", s.Found(t.Context(), tenantKey("a"), []keyring.DataKeyRow{dataKey("a", 2, "audit")}), fault.Conflict)
	gone(t, s, "a", 2)
	got, err := s.TenantKeys(t.Context(), "a")
	ok(t, err)
	same(t, "tenant key", got[0], key)
}

func foundAfterLoss(t *testing.T, s keyring.Storage, lose func(tenant string)) {
	add(t, s, 1)
	lose("a")
	is(t, "Found", s.Found(t.Context(), tenantKey("a"), []keyring.DataKeyRow{dataKey("a", 2, "index")}), fault.Integrity)
	gone(t, s, "a", 2)
	ok(t, s.Found(t.Context(), tenantKey("b"), nil))
}

func foundRace(t *testing.T, s keyring.Storage) {
	errs := together(8, func(i int) error {
		return s.Found(t.Context(), tenantKey("a"), []keyring.DataKeyRow{dataKey("a", i, "index")})
	})
	var won []int
	for i, err := range errs {
		if err == nil {
			won = append(won, i)
		} else {
			is(t, "Found", err, fault.Conflict)
		}
	}
	row, err := s.ScopeKey(t.Context(), "a", "index")
	ok(t, err)
	if len(won) != 1 || row.ID != id(won[0]) {
		t.Errorf("%v won, and the index key is %x", won, row.ID)
	}
}

// together runs f n times at once.
func together(n int, f func(i int) error) []error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = f(i) })
	}
	all.Wait()
	return errs
}

func roundTrip(t *testing.T, s keyring.Storage) {
	for _, tenant := range []string{"main", "A", "a'; --", "日本", strings.Repeat("t", 255), "a\\b%_"} {
		row := keyring.DataKeyRow{
			Tenant: tenant, ID: [16]byte(random(16)), Scope: keyrow.Pool, State: keyrow.Assigned,
			KeyVersion: 1<<32 - 1, Wrapped: random(255),
		}
		key := tenantKey(tenant)
		key.Version = 1<<32 - 1
		ok(t, s.Found(t.Context(), key, nil))
		ok(t, s.AddDataKeys(t.Context(), []keyring.DataKeyRow{row}))
		stands(t, s, row)
		link := keyring.SubjectRow{Tenant: tenant, Token: [32]byte(random(32)), KeyID: row.ID, KeyVersion: 1<<32 - 1, MAC: random(32)}
		linked, err := s.LinkSubject(t.Context(), link)
		ok(t, err)
		same(t, "link", linked, link)
		got, err := s.Subject(t.Context(), tenant, link.Token)
		ok(t, err)
		same(t, "subject", got, link)
	}
}

func largeBatch(t *testing.T, s keyring.Storage) {
	founded(t, s, "a")
	rows, ids := make([]keyring.DataKeyRow, 8192), make([][16]byte, 8192)
	for i := range rows {
		rows[i], ids[i] = dataKey("a", i+1, keyrow.Pool), id(i+1)
	}
	ctx := t.Context()
	ok(t, s.AddDataKeys(ctx, rows))
	listed, err := s.Unassigned(ctx, "a", id(0), [16]byte{255}, 10000)
	ok(t, err)
	if !slices.Equal(listed, ids) {
		t.Errorf("Unassigned: %d ids, want all %d in order", len(listed), len(ids))
	}
	ok(t, s.MarkAssigned(ctx, "a", ids))
	if n, err := s.DeleteUnassigned(ctx, "a", ids); err != nil || n != 0 {
		t.Errorf("DeleteUnassigned after marking all: %d, %v", n, err)
	}
}

func wholeBatch(t *testing.T, s keyring.Storage) {
	old := add(t, s, 2)
	err := s.AddDataKeys(t.Context(), []keyring.DataKeyRow{dataKey("a", 1, keyrow.Pool), dataKey("a", 2, keyrow.Pool), dataKey("a", 3, keyrow.Pool)})
	is(t, "AddDataKeys", err, fault.Conflict)
	gone(t, s, "a", 1)
	gone(t, s, "a", 3)
	stands(t, s, old[0])
}

func oneKeyPerScope(t *testing.T, s keyring.Storage) {
	ctx := t.Context()
	add(t, s, 1, 2)
	index := dataKey("a", 3, "index")
	ok(t, s.AddDataKeys(ctx, []keyring.DataKeyRow{index}))
	is(t, "a second index key", s.AddDataKeys(ctx, []keyring.DataKeyRow{dataKey("a", 4, "index")}), fault.Conflict)
	ok(t, s.AddDataKeys(ctx, []keyring.DataKeyRow{dataKey("a", 5, "audit")}))
	founded(t, s, "b")
	ok(t, s.AddDataKeys(ctx, []keyring.DataKeyRow{dataKey("b", 6, "index")}))
	row, err := s.ScopeKey(ctx, "a", "index")
	ok(t, err)
	same(t, "index key", row, index)

	tomb := tombstone("a", 3)
	tomb.Scope = "index"
	ok(t, s.DestroyDataKey(ctx, tomb))
	row, err = s.ScopeKey(ctx, "a", "index")
	ok(t, err)
	same(t, "destroyed index key", row, tomb)
	is(t, "an index key after it", s.AddDataKeys(ctx, []keyring.DataKeyRow{dataKey("a", 7, "index")}), fault.Conflict)
}

func succeeding(t *testing.T, s keyring.Storage) {
	ctx := t.Context()
	founded(t, s, "a")
	first, other := dataKey("a", 1, "audit"), dataKey("a", 2, "auditor")
	ok(t, s.AddDataKeys(ctx, []keyring.DataKeyRow{first, other}))
	former, second := dataKey("a", 1, keyrow.Former("audit", 1)), dataKey("a", 3, "audit")
	for name, rows := range map[string][3]keyring.DataKeyRow{
		"of a key that was wrapped anew": {dataKey("a", 1, "audit"), former, second},
		"of a key in another scope":      {func() keyring.DataKeyRow { r := first; r.Scope = "log"; return r }(), former, second},
		"of another tenant's key":        {func() keyring.DataKeyRow { r := first; r.Tenant = "b"; return r }(), former, second},
		"to a scope that is taken":       {first, dataKey("a", 1, "auditor"), second},
		"by a key with an id that is":    {first, former, dataKey("a", 2, "audit")},
		"by a key in a scope that is":    {first, former, dataKey("a", 3, "auditor")},
		"under a tenant key that is not": {first, func() keyring.DataKeyRow { r := former; r.KeyVersion = 2; return r }(), second},
		"by a key under one that is not": {first, former, func() keyring.DataKeyRow { r := second; r.KeyVersion = 2; return r }()},
	} {
		is(t, "SucceedDataKey "+name, s.SucceedDataKey(ctx, rows[0], rows[1], rows[2]), fault.Conflict)
		stands(t, s, first)
		gone(t, s, "a", 3)
	}
	ok(t, s.MarkAssigned(ctx, "a", [][16]byte{id(1)}))
	ok(t, s.SucceedDataKey(ctx, first, former, second))
	former.State = keyrow.Assigned
	stands(t, s, former)
	stands(t, s, second)
	rows, err := s.ScopeKeys(ctx, "a", "audit")
	ok(t, err)
	if len(rows) != 2 || rows[0].Scope == rows[1].Scope {
		t.Errorf("ScopeKeys: %+v, want two", rows)
	}
	for scope, n := range map[string]int{"auditor": 1, "au": 0, "audit/1": 1, keyrow.Pool: 0, "%": 0, "": 0} {
		if rows, err := s.ScopeKeys(ctx, "a", scope); err != nil || len(rows) != n {
			t.Errorf("ScopeKeys of %q: %d rows, %v, want %d", scope, len(rows), err, n)
		}
	}
}

func tenantsApart(t *testing.T, s keyring.Storage) {
	ctx := t.Context()
	add(t, s, 1)
	founded(t, s, "b")
	b := dataKey("b", 1, keyrow.Pool)
	ok(t, s.AddDataKeys(ctx, []keyring.DataKeyRow{b}))
	_, err := s.LinkSubject(ctx, subject("a", 1, 1))
	ok(t, err)
	_, err = s.Subject(ctx, "b", token(1))
	is(t, "Subject of the other tenant", err, fault.NotFound)
	stands(t, s, b)
	ok(t, s.DestroyDataKey(ctx, tombstone("a", 1)))
	stands(t, s, b)
	if n, err := s.DeleteUnassigned(ctx, "c", [][16]byte{id(1)}); err != nil || n != 0 {
		t.Errorf("DeleteUnassigned of a third tenant: %d, %v", n, err)
	}
	_, err = s.LinkSubject(ctx, subject("b", 1, 1))
	ok(t, err)
}

func marking(t *testing.T, s keyring.Storage) {
	ctx := t.Context()
	rows := add(t, s, 1, 2, 3)
	tomb := tombstone("a", 2)
	ok(t, s.DestroyDataKey(ctx, tomb))
	for range 2 {
		ok(t, s.MarkAssigned(ctx, "a", [][16]byte{id(1), id(2), id(99)}))
	}
	ok(t, s.MarkAssigned(ctx, "b", [][16]byte{id(3)}))
	rows[0].State = keyrow.Assigned
	stands(t, s, rows[0])
	stands(t, s, tomb)
	stands(t, s, rows[2])
	gone(t, s, "a", 99)
}

func destroying(t *testing.T, s keyring.Storage) {
	ctx := t.Context()
	rows := add(t, s, 1, 2)
	_, err := s.LinkSubject(ctx, subject("a", 1, 1))
	ok(t, err)
	other := subject("a", 2, 2)
	_, err = s.LinkSubject(ctx, other)
	ok(t, err)
	for range 2 {
		tomb := tombstone("a", 1)
		ok(t, s.DestroyDataKey(ctx, tomb))
		stands(t, s, tomb)
	}
	_, err = s.Subject(ctx, "a", token(1))
	is(t, "Subject of a destroyed key", err, fault.NotFound)
	got, err := s.Subject(ctx, "a", token(2))
	ok(t, err)
	same(t, "other subject", got, other)
	rows[1].State = keyrow.Assigned
	stands(t, s, rows[1])
}

func linking(t *testing.T, s keyring.Storage) {
	ctx := t.Context()
	rows := add(t, s, 1, 2)
	first := subject("a", 1, 1)
	for _, row := range []keyring.SubjectRow{first, first, subject("a", 1, 2), subject("a", 1, 99)} {
		got, err := s.LinkSubject(ctx, row)
		ok(t, err)
		same(t, "link", got, first)
	}
	_, err := s.LinkSubject(ctx, subject("a", 2, 1))
	is(t, "another person's key", err, fault.Conflict)
	_, err = s.Subject(ctx, "a", token(2))
	is(t, "Subject", err, fault.NotFound)
	rows[0].State = keyrow.Assigned
	stands(t, s, rows[0])
	stands(t, s, rows[1])
}

func linkingDead(t *testing.T, s keyring.Storage) {
	ctx := t.Context()
	add(t, s, 1, 2)
	_, err := s.LinkSubject(ctx, subject("a", 1, 99))
	is(t, "a key that does not exist", err, fault.NotFound)
	_, err = s.LinkSubject(ctx, subject("b", 1, 1))
	is(t, "another tenant's key", err, fault.NotFound)
	_, err = s.LinkSubject(ctx, subject("a", 1, 1))
	ok(t, err)
	ok(t, s.DestroyDataKey(ctx, tombstone("a", 1)))
	_, err = s.LinkSubject(ctx, subject("a", 1, 1))
	is(t, "a destroyed key", err, fault.NotFound)
	again := subject("a", 1, 2)
	got, err := s.LinkSubject(ctx, again)
	ok(t, err)
	same(t, "link after destroying", got, again)
}

func linkingOneToken(t *testing.T, s keyring.Storage) {
	ctx := t.Context()
	add(t, s, 1, 2, 3)
	ok(t, s.AddDataKeys(ctx, []keyring.DataKeyRow{dataKey("a", 10, keyrow.Index), dataKey("a", 11, keyrow.Former(keyrow.Index, 1)), dataKey("a", 12, "indexes")}))
	founded(t, s, "b")
	ok(t, s.AddDataKeys(ctx, []keyring.DataKeyRow{dataKey("b", 20, keyrow.Index), dataKey("b", 21, keyrow.Former(keyrow.Index, 1)), dataKey("b", 22, keyrow.Former(keyrow.Index, 2))}))
	refused := func(what string, row keyring.SubjectRow, others ...[32]byte) {
		t.Helper()
		_, err := s.LinkSubject(ctx, row, others...)
		is(t, what, err, fault.Conflict)
		if fault.CodeOf(err) != keyrow.CodeOtherToken {
			t.Errorf("%s: code %s", what, fault.CodeOf(err))
		}
		_, err = s.Subject(ctx, "a", row.Token)
		is(t, what+", then", err, fault.NotFound)
	}
	refused("a token under one of two keys", subject("a", 1, 1))
	first := subject("a", 1, 1)
	row, err := s.LinkSubject(ctx, first, token(2))
	ok(t, err)
	same(t, "link", row, first)
	refused("somebody who has a row by another token", subject("a", 2, 2), token(1))
	row, err = s.LinkSubject(ctx, subject("a", 1, 2)) // the row stands, whatever else there is
	ok(t, err)
	same(t, "link again", row, first)
	_, err = s.LinkSubject(ctx, subject("a", 3, 3), token(4), token(5))
	ok(t, err)
}

func linkRace(t *testing.T, s keyring.Storage) {
	rows := add(t, s, 1, 2, 3, 4, 5, 6, 7, 8)
	keys := make([][16]byte, len(rows))
	errs := together(len(rows), func(i int) error {
		row, err := s.LinkSubject(t.Context(), subject("a", 1, i+1))
		keys[i] = row.KeyID
		return err
	})
	ok(t, errors.Join(errs...))
	if len(slices.Compact(keys)) != 1 {
		t.Errorf("linked to several keys: %x", keys)
	}
	left, err := s.Unassigned(t.Context(), "a", [16]byte{}, [16]byte{255}, 100)
	ok(t, err)
	if len(left) != len(rows)-1 || slices.Contains(left, keys[0]) {
		t.Errorf("%x were linked, %x are unassigned", keys[0], left)
	}
}

func listing(t *testing.T, s keyring.Storage) {
	ctx := t.Context()
	add(t, s, 1, 2, 3, 4, 5, 6, 255, 256, 257)
	ok(t, s.AddDataKeys(ctx, []keyring.DataKeyRow{dataKey("a", 7, "index"), dataKey("a", 8, "audit")}))
	founded(t, s, "b")
	ok(t, s.AddDataKeys(ctx, []keyring.DataKeyRow{dataKey("b", 9, keyrow.Pool)}))
	ok(t, s.MarkAssigned(ctx, "a", [][16]byte{id(2)}))
	ok(t, s.DestroyDataKey(ctx, tombstone("a", 3)))
	_, err := s.LinkSubject(ctx, subject("a", 1, 4))
	ok(t, err)
	for _, test := range []struct {
		after, before, limit int
		want                 []int
	}{
		{0, 1 << 20, 100, []int{1, 5, 6, 255, 256, 257}},
		{1, 257, 100, []int{5, 6, 255, 256}},
		{0, 1 << 20, 3, []int{1, 5, 6}},
		{6, 255, 100, nil},
		{1 << 20, 0, 100, nil},
	} {
		var want [][16]byte
		for _, n := range test.want {
			want = append(want, id(n))
		}
		got, err := s.Unassigned(ctx, "a", id(test.after), id(test.before), test.limit)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Unassigned after %d before %d limit %d: %x, %v, want %v", test.after, test.before, test.limit, got, err, test.want)
		}
	}
}

func deleting(t *testing.T, s keyring.Storage) {
	ctx := t.Context()
	rows := add(t, s, 1, 2, 3, 4)
	index := dataKey("a", 5, "index")
	ok(t, s.AddDataKeys(ctx, []keyring.DataKeyRow{index}))
	ok(t, s.MarkAssigned(ctx, "a", [][16]byte{id(2)}))
	tomb := tombstone("a", 3)
	ok(t, s.DestroyDataKey(ctx, tomb))
	_, err := s.LinkSubject(ctx, subject("a", 1, 4))
	ok(t, err)
	n, err := s.DeleteUnassigned(ctx, "a", [][16]byte{id(1), id(2), id(3), id(4), id(5), id(99)})
	if err != nil || n != 1 {
		t.Errorf("DeleteUnassigned: %d, %v, want 1", n, err)
	}
	gone(t, s, "a", 1)
	rows[1].State, rows[3].State = keyrow.Assigned, keyrow.Assigned
	for _, want := range []keyring.DataKeyRow{rows[1], tomb, rows[3], index} {
		stands(t, s, want)
	}
}

func ownership(t *testing.T, s keyring.Storage) {
	founded(t, s, "a")
	row := dataKey("a", 1, keyrow.Pool)
	given := row
	given.Wrapped = bytes.Clone(row.Wrapped)
	ok(t, s.AddDataKeys(t.Context(), []keyring.DataKeyRow{given}))
	given.Wrapped[0]++
	got, err := s.DataKey(t.Context(), "a", id(1))
	ok(t, err)
	got.Wrapped[1]++
	stands(t, s, row)
}
