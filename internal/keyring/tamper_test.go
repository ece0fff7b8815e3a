package keyring_test

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/keyring/keyringtest"
	"github.com/underseal/underseal/internal/keyring/keyrow"
)

// damageTenantKey flips one bit of every tenant key.
func damageTenantKey(tables *keyringtest.Tables) {
	for id, row := range tables.TenantKeys {
		row.Wrapped = slices.Clone(row.Wrapped)
		row.Wrapped[60] ^= 1
		tables.TenantKeys[id] = row
	}
}

// secretBytes returns the first bytes of what DeriveForTest derives for wrapping.
func secretBytes(t *testing.T) []byte {
	t.Helper()
	// HKDF-SHA-256 of 32 zero bytes without a salt, info "kek/data".
	return must(deriveKEK(make([]byte, 32)))(t)[:8]
}

// A victim is a ring with two tenants that both have keys of all sorts.
type victim struct {
	*env
	key, other, nameless envelope.KeyID // of tenant main
	foreign              envelope.KeyID // of tenant other
}

func newVictim(t *testing.T) *victim {
	t.Helper()
	e := setup(t)
	ctx := t.Context()
	v := &victim{env: e, key: e.newKey().ID, other: e.newKey().ID, nameless: e.newKey().ID}
	v.foreign = must(e.NewKey(ctx, "other"))(t).ID
	for _, tenant := range []string{"main", "other"} {
		must(e.SubjectKey(ctx, tenant, token(1)))(t)
		must(e.SubjectKey(ctx, tenant, token(2)))(t)
	}
	e.Close()
	return v
}

// use opens a fresh ring and uses one thing of tenant main.
func (v *victim) use(what string) error {
	v.Ring = v.another()
	defer v.Close()
	var err error
	switch ctx := v.t.Context(); what {
	case "key":
		_, err = v.Key(ctx, "main", v.key)
	case "subject":
		_, err = v.SubjectKey(ctx, "main", token(1))
	case "link":
		err = v.LinkSubject(ctx, "main", v.nameless, token(1))
	case "index":
		_, err = v.TenantKey(ctx, "main", keyring.Index)
	case "new":
		_, err = v.NewKey(ctx, "main")
	}
	return err
}

func (v *victim) editKey(f func(row, other, foreign *keyring.DataKeyRow)) {
	v.storage.Edit(func(tables *keyringtest.Tables) {
		row := tables.DataKeys[keyringtest.DataKeyID{Tenant: "main", ID: v.key}]
		other := tables.DataKeys[keyringtest.DataKeyID{Tenant: "main", ID: v.other}]
		foreign := tables.DataKeys[keyringtest.DataKeyID{Tenant: "other", ID: v.foreign}]
		f(&row, &other, &foreign)
		tables.DataKeys[keyringtest.DataKeyID{Tenant: "main", ID: v.key}] = row
	})
}

func (v *victim) editSubject(f func(row, other, foreign *keyring.SubjectRow)) {
	v.storage.Edit(func(tables *keyringtest.Tables) {
		row := tables.Subjects[keyringtest.SubjectID{Tenant: "main", Token: token(1)}]
		other := tables.Subjects[keyringtest.SubjectID{Tenant: "main", Token: token(2)}]
		foreign := tables.Subjects[keyringtest.SubjectID{Tenant: "other", Token: token(1)}]
		f(&row, &other, &foreign)
		tables.Subjects[keyringtest.SubjectID{Tenant: "main", Token: token(1)}] = row
	})
}

func (v *victim) editTenantKey(f func(row, foreign *keyring.TenantKeyRow)) {
	v.storage.Edit(func(tables *keyringtest.Tables) {
		row := tables.TenantKeys[keyringtest.TenantKeyID{Tenant: "main", Version: 1}]
		foreign := tables.TenantKeys[keyringtest.TenantKeyID{Tenant: "other", Version: 1}]
		f(&row, &foreign)
		tables.TenantKeys[keyringtest.TenantKeyID{Tenant: "main", Version: 1}] = row
	})
}

func flip(b []byte) []byte {
	b = slices.Clone(b)
	b[len(b)/2] ^= 1
	return b
}

// dataKeyChanges has, for each column, what a database administrator may try.
// A key that is looked for by its tenant and id is found by them, so changing
// these columns is moving another row to their place.
var dataKeyChanges = map[string]map[string]func(row, other, foreign *keyring.DataKeyRow){
	"Tenant": {
		"another tenant's row": func(row, _, foreign *keyring.DataKeyRow) { *row = *foreign },
		"another tenant's row under this id": func(row, _, foreign *keyring.DataKeyRow) {
			id := row.ID
			*row = *foreign
			row.ID, row.Tenant = id, "main"
		},
		"another tenant's name": func(row, _, _ *keyring.DataKeyRow) { row.Tenant = "other" },
	},
	"ID": {
		"another row":               func(row, other, _ *keyring.DataKeyRow) { *row = *other },
		"another row under this id": func(row, other, _ *keyring.DataKeyRow) { id := row.ID; *row = *other; row.ID = id },
	},
	"Scope": {
		"the scope of a tenant's own key": func(row, _, _ *keyring.DataKeyRow) { row.Scope = "log" },
		"no scope":                        func(row, _, _ *keyring.DataKeyRow) { row.Scope = "" },
	},
	"State": {
		"called destroyed":                  func(row, _, _ *keyring.DataKeyRow) { row.State = keyrow.Destroyed },
		"called destroyed, and bytes taken": func(row, _, _ *keyring.DataKeyRow) { row.State, row.Wrapped = keyrow.Destroyed, nil },
		"an unknown state":                  func(row, _, _ *keyring.DataKeyRow) { row.State = "READY" },
	},
	"KeyVersion": {
		"a version that does not exist": func(row, _, _ *keyring.DataKeyRow) { row.KeyVersion = 2 },
		"version zero":                  func(row, _, _ *keyring.DataKeyRow) { row.KeyVersion = 0 },
	},
	"Wrapped": {
		"a flipped bit":            func(row, _, _ *keyring.DataKeyRow) { row.Wrapped = flip(row.Wrapped) },
		"nothing":                  func(row, _, _ *keyring.DataKeyRow) { row.Wrapped = nil },
		"another key's bytes":      func(row, other, _ *keyring.DataKeyRow) { row.Wrapped = other.Wrapped },
		"another tenant's bytes":   func(row, _, foreign *keyring.DataKeyRow) { row.Wrapped = foreign.Wrapped },
		"bytes that are no secret": func(row, _, _ *keyring.DataKeyRow) { row.Wrapped = []byte("0123456789abcdef0123456789abcdef") },
	},
	"Tombstone": {
		"on a live key":         func(row, _, _ *keyring.DataKeyRow) { row.Tombstone = make([]byte, 32) },
		"one that was invented": func(row, _, _ *keyring.DataKeyRow) { *row = invented(*row) },
	},
}

func invented(row keyring.DataKeyRow) keyring.DataKeyRow {
	row.State, row.Wrapped, row.Tombstone = keyrow.Destroyed, nil, make([]byte, 32)
	return row
}

var subjectChanges = map[string]map[string]func(row, other, foreign *keyring.SubjectRow){
	"Tenant": {
		"another tenant's row":                func(row, _, foreign *keyring.SubjectRow) { *row = *foreign },
		"another tenant's name":               func(row, _, _ *keyring.SubjectRow) { row.Tenant = "other" },
		"another tenant's row with this name": func(row, _, foreign *keyring.SubjectRow) { *row = *foreign; row.Tenant = "main" },
	},
	"Token": {
		"another person's row":                 func(row, other, _ *keyring.SubjectRow) { *row = *other },
		"another person's row with this token": func(row, other, _ *keyring.SubjectRow) { *row = *other; row.Token = token(1) },
	},
	"KeyID": {
		"another person's key": func(row, other, _ *keyring.SubjectRow) { row.KeyID = other.KeyID },
		"no key":               func(row, _, _ *keyring.SubjectRow) { row.KeyID = [16]byte{} },
	},
	"Former": {
		"another person's key as a former one": func(row, other, _ *keyring.SubjectRow) { row.Former = other.KeyID[:] },
		"half an id":                           func(row, _, _ *keyring.SubjectRow) { row.Former = row.KeyID[:8] },
	},
	"KeyVersion": {
		"a version that does not exist": func(row, _, _ *keyring.SubjectRow) { row.KeyVersion = 2 },
	},
	"MAC": {
		"a flipped bit":        func(row, _, _ *keyring.SubjectRow) { row.MAC = flip(row.MAC) },
		"nothing":              func(row, _, _ *keyring.SubjectRow) { row.MAC = nil },
		"half of it":           func(row, _, _ *keyring.SubjectRow) { row.MAC = row.MAC[:16] },
		"another person's MAC": func(row, other, _ *keyring.SubjectRow) { row.MAC = other.MAC },
		"another tenant's MAC": func(row, _, foreign *keyring.SubjectRow) { row.MAC = foreign.MAC },
	},
}

var tenantKeyChanges = map[string]map[string]func(row, foreign *keyring.TenantKeyRow){
	"Tenant": {
		"another tenant's row":  func(row, foreign *keyring.TenantKeyRow) { *row = *foreign },
		"another tenant's name": func(row, _ *keyring.TenantKeyRow) { row.Tenant = "other" },
	},
	"Version": {
		"another version": func(row, _ *keyring.TenantKeyRow) { row.Version = 2 },
		"version zero":    func(row, _ *keyring.TenantKeyRow) { row.Version = 0 },
	},
	"Wrapped": {
		"a flipped bit":          func(row, _ *keyring.TenantKeyRow) { row.Wrapped = flip(row.Wrapped) },
		"nothing":                func(row, _ *keyring.TenantKeyRow) { row.Wrapped = nil },
		"another tenant's bytes": func(row, foreign *keyring.TenantKeyRow) { row.Wrapped = foreign.Wrapped },
	},
}

// covers checks that a table of changes names every column of a row.
func covers[F any](t *testing.T, row any, changes map[string]map[string]F, others ...string) {
	t.Helper()
	columns := reflect.TypeOf(row)
	for i := range columns.NumField() {
		if slices.Contains(others, columns.Field(i).Name) {
			continue
		}
		if len(changes[columns.Field(i).Name]) == 0 {
			t.Errorf("no change of column %s of %s is tried", columns.Field(i).Name, columns)
		}
	}
	if len(changes)+len(others) != columns.NumField() {
		t.Errorf("changes of %v, the columns of %s are others", slices.Sorted(maps.Keys(changes)), columns)
	}
}

// try makes each change to a fresh victim and uses what it hits.
func try[F any](t *testing.T, changes map[string]map[string]F, apply func(*victim, F), uses ...string) {
	for column, tries := range changes {
		for how, change := range tries {
			t.Run(column+": "+how, func(t *testing.T) {
				t.Parallel()
				v := newVictim(t)
				for _, use := range uses {
					if err := v.use(use); err != nil && !(use == "link" && fault.Is(err, fault.Conflict)) {
						t.Fatalf("%s before the change: %v", use, err)
					}
				}
				apply(v, change)
				for _, use := range uses {
					want(t, use, v.use(use), fault.Integrity)
				}
			})
		}
	}
}

func TestAChangedDataKeyIsRefused(t *testing.T) {
	covers(t, keyring.DataKeyRow{}, dataKeyChanges)
	try(t, dataKeyChanges, (*victim).editKey, "key")
}

func TestAChangedSubjectIsRefused(t *testing.T) {
	covers(t, keyring.SubjectRow{}, subjectChanges)
	try(t, subjectChanges, (*victim).editSubject, "subject", "link")
}

func TestAChangedTenantKeyIsRefused(t *testing.T) {
	covers(t, keyring.TenantKeyRow{}, tenantKeyChanges, "Service", "RootKey", "Made")
	try(t, tenantKeyChanges, (*victim).editTenantKey, "key", "subject", "index", "new")
}

// Where a tenant key opens is found out at the start.
func TestAKeyServiceThatCannotOpenTheDataIsRefused(t *testing.T) {
	t.Parallel()
	for code, change := range map[string]func(*keyring.TenantKeyRow){
		"key_service_unknown": func(row *keyring.TenantKeyRow) { row.Service = "second" },
		"other_root_key":      func(row *keyring.TenantKeyRow) { row.RootKey = "another" },
	} {
		v := newVictim(t)
		v.editTenantKey(func(row, _ *keyring.TenantKeyRow) { change(row) })
		ring, err := keyring.Open(t.Context(), v.config)
		var f *fault.Error
		if ring != nil || !fault.Is(err, fault.Conflict) || !errors.As(err, &f) || f.Code != code {
			t.Errorf("Open: %v, want a conflict with the code %s", err, code)
		}
	}
}

// When a tenant key was made serves the next rotation only.
func TestTheTimeOfATenantKeyIsFree(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	v.editTenantKey(func(row, _ *keyring.TenantKeyRow) { row.Made = time.Time{} })
	if err := v.use("key"); err != nil {
		t.Error(err)
	}
}

func TestADeletedRowIsNotMadeAgain(t *testing.T) {
	for name, test := range map[string]struct {
		remove func(*keyringtest.Tables)
		uses   []string
	}{
		"the tenant key": {func(tables *keyringtest.Tables) {
			delete(tables.TenantKeys, keyringtest.TenantKeyID{Tenant: "main", Version: 1})
		}, []string{"key", "subject", "index", "new"}},
		"the tenant's own keys": {func(tables *keyringtest.Tables) {
			maps.DeleteFunc(tables.DataKeys, func(_ keyringtest.DataKeyID, row keyring.DataKeyRow) bool { return row.Scope != keyrow.Pool })
		}, []string{"index"}},
		"the keys of persons": {func(tables *keyringtest.Tables) {
			for _, row := range tables.Subjects {
				delete(tables.DataKeys, keyringtest.DataKeyID{Tenant: row.Tenant, ID: row.KeyID})
			}
		}, []string{"subject"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVictim(t)
			v.storage.Edit(test.remove)
			for _, use := range test.uses {
				want(t, use, v.use(use), fault.Integrity)
			}
		})
	}
}

func TestTwoTenantsWhoseTenantKeysAreSwapped(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	v.storage.Edit(func(tables *keyringtest.Tables) {
		a, b := keyringtest.TenantKeyID{Tenant: "main", Version: 1}, keyringtest.TenantKeyID{Tenant: "other", Version: 1}
		rowA, rowB := tables.TenantKeys[a], tables.TenantKeys[b]
		rowA.Wrapped, rowB.Wrapped = rowB.Wrapped, rowA.Wrapped
		tables.TenantKeys[a], tables.TenantKeys[b] = rowA, rowB
	})
	want(t, "key", v.use("key"), fault.Integrity)
}

func TestAnotherDeploymentsRowsAreRefused(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	v.config.Deployment = "d2"
	for _, use := range []string{"key", "subject", "index", "new"} {
		want(t, use, v.use(use), fault.Integrity)
	}
}

// The flag between ready and assigned is free: these are the two ways to change
// it, and nothing is lost by either.
func TestTheAssignedFlagIsFree(t *testing.T) {
	t.Parallel()
	for _, state := range []keyrow.State{keyrow.Ready, keyrow.Assigned} {
		v := newVictim(t)
		v.editKey(func(row, _, _ *keyring.DataKeyRow) { row.State = state })
		if err := v.use("key"); err != nil {
			t.Errorf("a key called %s: %v", state, err)
		}
	}
}

// swapWrapped exchanges the wrapped bytes of two data keys.
func (e *env) swapWrapped(tenantA string, a envelope.KeyID, tenantB string, b envelope.KeyID) {
	e.storage.Edit(func(tables *keyringtest.Tables) {
		idA, idB := keyringtest.DataKeyID{Tenant: tenantA, ID: a}, keyringtest.DataKeyID{Tenant: tenantB, ID: b}
		rowA, rowB := tables.DataKeys[idA], tables.DataKeys[idB]
		rowA.Wrapped, rowB.Wrapped = rowB.Wrapped, rowA.Wrapped
		tables.DataKeys[idA], tables.DataKeys[idB] = rowA, rowB
	})
}
