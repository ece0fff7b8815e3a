package keyringtest

import (
	"errors"
	"slices"
	"testing"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/keyring/keyrow"
)

// next returns a version of a tenant's key.
func next(tenant string, version uint32) keyring.TenantKeyRow {
	row := tenantKey(tenant)
	row.Version = version
	return row
}

// versions checks which versions a tenant's key has.
func versions(t *testing.T, s keyring.Storage, tenant string, want ...keyring.TenantKeyRow) {
	t.Helper()
	rows, err := s.TenantKeys(t.Context(), tenant)
	ok(t, err)
	if len(rows) != len(want) {
		t.Fatalf("TenantKeys: %d rows, want %d", len(rows), len(want))
	}
	for i := range rows {
		same(t, "tenant key", rows[i], want[i])
	}
}

func addingTenantKeys(t *testing.T, s keyring.Storage) {
	ctx := t.Context()
	one, two, three := next("a", 1), next("a", 2), next("a", 3)
	two.Service, two.RootKey = "other", "another"
	ok(t, s.Found(ctx, one, nil))
	founded(t, s, "b")
	ok(t, s.AddTenantKey(ctx, one, two))
	is(t, "above one that is not the newest", s.AddTenantKey(ctx, one, three), fault.Conflict)
	stale := two
	stale.Wrapped = random(97)
	is(t, "above one that was wrapped anew", s.AddTenantKey(ctx, stale, three), fault.Conflict)
	is(t, "above one that is not there", s.AddTenantKey(ctx, three, next("a", 4)), fault.Conflict)
	versions(t, s, "a", one, two)
	all, err := s.AllTenantKeys(ctx)
	ok(t, err)
	if len(all) != 3 || all[0].Tenant != "a" || all[1].Version != 2 || all[2].Tenant != "b" {
		t.Errorf("AllTenantKeys: %+v", all)
	}
}

func replacing(t *testing.T, s keyring.Storage) {
	ctx := t.Context()
	one, anew := next("a", 1), next("a", 1)
	ok(t, s.Found(ctx, one, nil))
	anew.Service, anew.RootKey, anew.Wrapped = "other", "another", random(200)
	ok(t, s.ReplaceTenantKey(ctx, one, anew))
	is(t, "ReplaceTenantKey of what stood before", s.ReplaceTenantKey(ctx, one, next("a", 1)), fault.Conflict)
	is(t, "ReplaceTenantKey of none", s.ReplaceTenantKey(ctx, next("b", 1), next("b", 1)), fault.Conflict)
	versions(t, s, "a", anew)
}

func addRace(t *testing.T, s keyring.Storage) {
	one := next("a", 1)
	ok(t, s.Found(t.Context(), one, nil))
	rows := make([]keyring.TenantKeyRow, 8)
	errs := together(len(rows), func(i int) error {
		rows[i] = next("a", 2)
		return s.AddTenantKey(t.Context(), one, rows[i])
	})
	won := -1
	for i, err := range errs {
		switch {
		case err != nil:
			is(t, "AddTenantKey", err, fault.Conflict)
		case won >= 0:
			t.Errorf("%d and %d both won", won, i)
		default:
			won = i
		}
	}
	if won < 0 {
		t.Fatal("none won")
	}
	versions(t, s, "a", one, rows[won])
}

func retiring(t *testing.T, s keyring.Storage) {
	ctx := t.Context()
	rows := add(t, s, 1, 2)
	_, err := s.LinkSubject(ctx, subject("a", 1, 1))
	ok(t, err)
	stored, err := s.TenantKeys(ctx, "a")
	ok(t, err)
	one, two, three := stored[0], next("a", 2), next("a", 3)
	ok(t, s.AddTenantKey(ctx, one, two))
	ok(t, s.AddTenantKey(ctx, two, three))
	anew := next("a", 3)
	is(t, "while keys hang", s.RetireTenantKeys(ctx, three, anew, 1), fault.Conflict)
	for _, row := range rows {
		moved := row
		moved.KeyVersion, moved.Wrapped = 3, random(161)
		if n, err := s.RewrapDataKeys(ctx, []keyring.DataKeyChange{{Old: row, New: moved}}); n != 1 || err != nil {
			t.Fatalf("RewrapDataKeys: %d, %v", n, err)
		}
	}
	is(t, "while a subject hangs", s.RetireTenantKeys(ctx, three, anew, 2), fault.Conflict)
	old, moved := subject("a", 1, 1), subject("a", 1, 1)
	got, err := s.Subject(ctx, "a", token(1))
	ok(t, err)
	old.MAC, moved.KeyVersion = got.MAC, 3
	if n, err := s.RewrapSubjects(ctx, []keyring.SubjectChange{{Old: old, New: moved}}); n != 1 || err != nil {
		t.Fatalf("RewrapSubjects: %d, %v", n, err)
	}
	is(t, "with one that is not the newest", s.RetireTenantKeys(ctx, two, two, 1), fault.Conflict)
	stale := three
	stale.Wrapped = random(97)
	is(t, "with one that was wrapped anew", s.RetireTenantKeys(ctx, stale, anew, 2), fault.Conflict)
	versions(t, s, "a", one, two, three)

	ok(t, s.RetireTenantKeys(ctx, three, anew, 2))
	versions(t, s, "a", anew)
	ok(t, s.RetireTenantKeys(ctx, anew, three, 2))
	versions(t, s, "a", three)
}

func hangingOnNothing(t *testing.T, s keyring.Storage) {
	ctx := t.Context()
	rows := add(t, s, 1, 2)
	row := dataKey("a", 3, keyrow.Pool)
	row.KeyVersion = 2
	link := subject("a", 1, 1)
	link.KeyVersion = 2
	tomb := tombstone("a", 1)
	tomb.KeyVersion = 2
	moved := rows[1]
	moved.KeyVersion = 2
	_, linkErr := s.LinkSubject(ctx, link)
	_, rewrapErr := s.RewrapDataKeys(ctx, []keyring.DataKeyChange{{Old: rows[1], New: moved}})
	for what, err := range map[string]error{
		"AddDataKeys": s.AddDataKeys(ctx, []keyring.DataKeyRow{row}), "LinkSubject": linkErr,
		"DestroyDataKey": s.DestroyDataKey(ctx, tomb), "RewrapDataKeys": rewrapErr,
	} {
		var f *fault.Error
		if !fault.Is(err, fault.Conflict) || !errors.As(err, &f) || f.Code != keyring.CodeNoTenantKey {
			t.Errorf("%s under a version that is not there: %v, want a conflict with the code %s", what, err, keyring.CodeNoTenantKey)
		}
	}
	gone(t, s, "a", 3)
	stands(t, s, rows[0])
	stands(t, s, rows[1])
}

func counting(t *testing.T, s keyring.Storage) {
	ctx := t.Context()
	counts, err := s.Counts(ctx, "a")
	if highest, err2 := s.HighestOwn(ctx, "a"); err != nil || err2 != nil || len(counts) > 0 || highest != 0 {
		t.Errorf("of a tenant that is not there: %v, %d, %v, %v", counts, highest, err, err2)
	}
	one := next("a", 1)
	ok(t, s.Found(ctx, one, []keyring.DataKeyRow{dataKey("a", 10, "index")}))
	ok(t, s.AddTenantKey(ctx, one, next("a", 2)))
	add(t, s, 1, 2, 3)
	row := dataKey("a", 4, keyrow.Pool)
	row.KeyVersion = 2
	founded(t, s, "b")
	ok(t, s.AddDataKeys(ctx, []keyring.DataKeyRow{row}))
	ok(t, s.AddDataKeys(ctx, []keyring.DataKeyRow{dataKey("b", 5, keyrow.Pool)}))
	ok(t, s.DestroyDataKey(ctx, tombstone("a", 2)))
	_, err = s.LinkSubject(ctx, subject("a", 1, 1))
	ok(t, err)
	counts, err = s.Counts(ctx, "a")
	if want := []keyring.Count{{Version: 1, DataKeys: 4, Subjects: 1}, {Version: 2, DataKeys: 1}}; err != nil || !slices.Equal(counts, want) {
		t.Errorf("Counts: %v, %v, want %v", counts, err, want)
	}
	if highest, err := s.HighestOwn(ctx, "a"); err != nil || highest != 1 {
		t.Errorf("HighestOwn: %d, %v, want 1", highest, err)
	}
	for below, want := range []int{1: 0, 2: 5, 3: 6} {
		if n, err := s.CountBelow(ctx, "a", uint32(below)); err != nil || n != want {
			t.Errorf("CountBelow %d: %d, %v, want %d", below, n, err, want)
		}
	}
}

func paging(t *testing.T, s keyring.Storage) {
	ctx := t.Context()
	add(t, s, 1, 2, 3, 4)
	stored, err := s.TenantKeys(ctx, "a")
	ok(t, err)
	ok(t, s.AddTenantKey(ctx, stored[0], next("a", 2)))
	newer := dataKey("a", 5, keyrow.Pool)
	newer.KeyVersion = 2
	ok(t, s.AddDataKeys(ctx, []keyring.DataKeyRow{newer, dataKey("a", 6, "index")}))
	ok(t, s.DestroyDataKey(ctx, tombstone("a", 3)))
	for n := 1; n <= 2; n++ {
		_, err := s.LinkSubject(ctx, subject("a", byte(n), n))
		ok(t, err)
	}
	for _, test := range []struct {
		after, limit int
		below        uint32
		want         []int
	}{{0, 100, 2, []int{1, 2, 3, 4, 6}}, {2, 2, 2, []int{3, 4}}, {0, 100, 3, []int{1, 2, 3, 4, 5, 6}}, {0, 100, 1, nil}, {6, 100, 2, nil}} {
		rows, err := s.DataKeysBelow(ctx, "a", id(test.after), test.below, test.limit)
		ok(t, err)
		var got []int
		for _, row := range rows {
			got = append(got, int(row.ID[15]))
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("DataKeysBelow %d after %d limit %d: %v, want %v", test.below, test.after, test.limit, got, test.want)
		}
	}
	links, err := s.SubjectsBelow(ctx, "a", token(1), 2, 100)
	if err != nil || len(links) != 1 || links[0].Token != token(2) {
		t.Errorf("SubjectsBelow: %v, %v, want the second", links, err)
	}
	if links, err := s.SubjectsBelow(ctx, "a", token(0), 1, 100); err != nil || len(links) > 0 {
		t.Errorf("SubjectsBelow 1: %v, %v, want none", links, err)
	}
}

// rewrappingMany changes as many rows as take several statements.
func rewrappingMany(t *testing.T, s keyring.Storage) {
	ctx := t.Context()
	ns := make([]int, 200)
	for i := range ns {
		ns[i] = i + 1
	}
	rows := add(t, s, ns...)
	stored, err := s.TenantKeys(ctx, "a")
	ok(t, err)
	ok(t, s.AddTenantKey(ctx, stored[0], next("a", 2)))
	founded(t, s, "b")
	other := dataKey("b", 1, keyrow.Pool)
	ok(t, s.AddDataKeys(ctx, []keyring.DataKeyRow{other}))
	changes := make([]keyring.DataKeyChange, len(rows))
	for i, row := range rows {
		changes[i] = keyring.DataKeyChange{Old: row, New: row}
		changes[i].New.KeyVersion, changes[i].New.Wrapped = 2, random(161)
	}

	last := &changes[len(changes)-1].New
	last.KeyVersion = 9
	if _, err := s.RewrapDataKeys(ctx, changes); !fault.Is(err, fault.Conflict) || fault.CodeOf(err) != keyring.CodeNoTenantKey {
		t.Errorf("RewrapDataKeys with one version that is not there: %v, want a conflict", err)
	}
	stands(t, s, rows[0])

	last.KeyVersion = 2
	for i := 0; i < len(rows); i += 7 { // somebody was faster
		rows[i].Wrapped = random(161)
		if n, err := s.RewrapDataKeys(ctx, []keyring.DataKeyChange{{Old: changes[i].Old, New: rows[i]}}); n != 1 || err != nil {
			t.Fatalf("RewrapDataKeys of one: %d, %v", n, err)
		}
	}
	want := len(rows) - (len(rows)+6)/7
	if n, err := s.RewrapDataKeys(ctx, changes); n != want || err != nil {
		t.Errorf("RewrapDataKeys: %d, %v, want %d", n, err, want)
	}
	for i, row := range rows {
		if i%7 != 0 {
			row = changes[i].New
		}
		stands(t, s, row)
	}
	stands(t, s, other)
}

func rewrapping(t *testing.T, s keyring.Storage) {
	ctx := t.Context()
	rows := add(t, s, 1, 2, 3, 4)
	stored, err := s.TenantKeys(ctx, "a")
	ok(t, err)
	ok(t, s.AddTenantKey(ctx, stored[0], next("a", 2)))
	var changes []keyring.DataKeyChange
	for _, row := range rows {
		moved := row
		moved.KeyVersion, moved.Wrapped = 2, random(161)
		changes = append(changes, keyring.DataKeyChange{Old: row, New: moved})
	}
	tomb := tombstone("a", 2)
	ok(t, s.DestroyDataKey(ctx, tomb))                 // one is destroyed meanwhile,
	ok(t, s.MarkAssigned(ctx, "a", [][16]byte{id(3)})) // one assigned, and one deleted
	if n, err := s.DeleteUnassigned(ctx, "a", [][16]byte{id(4)}); n != 1 || err != nil {
		t.Fatalf("DeleteUnassigned: %d, %v", n, err)
	}
	if n, err := s.RewrapDataKeys(ctx, changes); n != 2 || err != nil {
		t.Errorf("RewrapDataKeys: %d, %v, want 2", n, err)
	}
	stands(t, s, changes[0].New)
	stands(t, s, tomb)
	assigned := changes[2].New
	assigned.State = keyrow.Assigned
	stands(t, s, assigned)
	gone(t, s, "a", 4)
	if n, err := s.RewrapDataKeys(ctx, changes); n != 0 || err != nil {
		t.Errorf("RewrapDataKeys again: %d, %v, want 0", n, err)
	}
	anew := tomb
	anew.KeyVersion, anew.Tombstone = 2, random(32)
	if n, err := s.RewrapDataKeys(ctx, []keyring.DataKeyChange{{Old: tomb, New: anew}}); n != 1 || err != nil {
		t.Errorf("RewrapDataKeys of a tombstone: %d, %v, want 1", n, err)
	}
	stands(t, s, anew)

	link := subject("a", 1, 1)
	_, err = s.LinkSubject(ctx, link)
	ok(t, err)
	moved := link
	moved.KeyVersion, moved.MAC = 2, random(32)
	for _, want := range []int{1, 0} {
		if n, err := s.RewrapSubjects(ctx, []keyring.SubjectChange{{Old: link, New: moved}}); n != want || err != nil {
			t.Errorf("RewrapSubjects: %d, %v, want %d", n, err, want)
		}
	}
	got, err := s.Subject(ctx, "a", token(1))
	ok(t, err)
	same(t, "subject", got, moved)
}

func rewrapRace(t *testing.T, s keyring.Storage) {
	rows := add(t, s, 1, 2, 3, 4, 5, 6, 7, 8)
	stored, err := s.TenantKeys(t.Context(), "a")
	ok(t, err)
	ok(t, s.AddTenantKey(t.Context(), stored[0], next("a", 2)))
	changed := make([]int, 8)
	errs := together(len(changed), func(i int) (err error) {
		var changes []keyring.DataKeyChange
		for _, row := range rows {
			moved := row
			moved.KeyVersion, moved.Wrapped = 2, random(161)
			changes = append(changes, keyring.DataKeyChange{Old: row, New: moved})
		}
		changed[i], err = s.RewrapDataKeys(t.Context(), changes)
		return err
	})
	ok(t, errors.Join(errs...))
	sum := 0
	for _, n := range changed {
		sum += n
	}
	if sum != len(rows) {
		t.Errorf("%d rows were changed by %v, want each once", len(rows), changed)
	}
}

func rootVersions(t *testing.T, s keyring.Storage) {
	ctx := t.Context()
	seen := tenantKey("a").Made
	first := keyring.RootVersionRow{Service: "s", RootKey: "r", Version: "10", Seen: seen}
	second := keyring.RootVersionRow{Service: "s", RootKey: "r", Version: "9", Seen: seen.Add(1000)}
	other := keyring.RootVersionRow{Service: "a", RootKey: "r", Version: "10", Seen: seen.Add(2000)}
	again := first
	again.Seen = seen.Add(5000)
	for _, row := range []keyring.RootVersionRow{second, first, other, again} {
		ok(t, s.NoteRootVersion(ctx, row))
	}
	if rows, err := s.RootVersions(ctx); err != nil || !slices.Equal(rows, []keyring.RootVersionRow{other, first, second}) {
		t.Errorf("RootVersions: %v, %v", rows, err)
	}
	for range 2 {
		ok(t, s.ForgetRootVersion(ctx, again))
	}
	if rows, err := s.RootVersions(ctx); err != nil || !slices.Equal(rows, []keyring.RootVersionRow{other, second}) {
		t.Errorf("RootVersions after forgetting one: %v, %v", rows, err)
	}
}
