package keyring_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/keyring/keyringtest"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/kms/kmstest"
)

// A household is a ring with keys of all sorts, whose secrets are known.
type household struct {
	*env
	keys    map[envelope.KeyID]envelope.Key
	dead    envelope.KeyID
	persons map[byte]envelope.Key
	own     map[keyring.Purpose]envelope.Key
}

func newHousehold(t *testing.T, edit ...func(*keyring.Config)) *household {
	t.Helper()
	h := &household{env: setup(t, edit...), keys: map[envelope.KeyID]envelope.Key{}}
	h.persons, h.own = map[byte]envelope.Key{}, map[keyring.Purpose]envelope.Key{}
	for range 5 {
		key := h.newKey()
		h.keys[key.ID] = key
	}
	for who := byte(1); who <= 3; who++ {
		h.persons[who] = must(h.SubjectKey(t.Context(), "main", token(who)))(t)
	}
	for _, purpose := range []keyring.Purpose{keyring.Index, keyring.Audit, keyring.Inbox, keyring.Log} {
		h.own[purpose] = must(h.TenantKey(t.Context(), "main", purpose))(t)
	}
	h.dead = h.newKey().ID
	if err := h.Destroy(t.Context(), "main", h.dead); err != nil {
		t.Fatal(err)
	}
	return h
}

// lives checks that every key is what it was, and the destroyed one is not.
func (h *household) lives(ring *keyring.Ring, when string) {
	h.t.Helper()
	ctx := h.t.Context()
	for id, key := range h.keys {
		if got, err := ring.Key(ctx, "main", id); err != nil || got != key {
			h.t.Fatalf("%s: Key(%s): %v, the right one: %t", when, id, err, got == key)
		}
	}
	for who, key := range h.persons {
		if got, err := ring.SubjectKey(ctx, "main", token(who)); err != nil || got != key {
			h.t.Fatalf("%s: SubjectKey(%d): %v, the right one: %t", when, who, err, got == key)
		}
	}
	for purpose, key := range h.own {
		if got, err := ring.TenantKey(ctx, "main", purpose); err != nil || got != key {
			h.t.Fatalf("%s: TenantKey(%s): %v, the right one: %t", when, purpose, err, got == key)
		}
	}
	_, err := ring.Key(ctx, "main", h.dead)
	want(h.t, when+": a destroyed key", err, fault.Sealed)
	must(ring.NewKey(ctx, "main"))(h.t)
}

func (h *household) rewrap(ring *keyring.Ring) {
	h.t.Helper()
	if err := ring.Rewrap(h.t.Context(), "main", 0, nil); err != nil {
		h.t.Fatalf("Rewrap: %v", err)
	}
}

// retired gives up a version of main's key and checks that it is done.
func (h *household) retired(version uint32) {
	h.t.Helper()
	r, err := h.RetireTenant(h.t.Context(), "main", version, false)
	// Another process may have made keys ahead under the old version since.
	for tries := 0; tries < 5 && code(err) == "keys_hang"; tries++ {
		h.rewrap(h.Ring)
		r, err = h.RetireTenant(h.t.Context(), "main", version, false)
	}
	if err != nil || !r.Done || len(r.Hangs) > 0 || r.Read == 0 {
		h.t.Fatalf("RetireTenant %d: %+v, %v", version, r, err)
	}
}

func (h *household) tenantKeys() map[keyringtest.TenantKeyID]keyring.TenantKeyRow {
	var rows map[keyringtest.TenantKeyID]keyring.TenantKeyRow
	h.storage.Edit(func(t *keyringtest.Tables) { rows = maps.Clone(t.TenantKeys) })
	return rows
}

func TestRotationLosesNothing(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	ctx := t.Context()
	idle := h.another() // as another process that holds the old keys all the time
	h.lives(idle, "before")
	for version := uint32(2); version <= 4; version++ {
		if got := must(h.RotateTenant(ctx, "main", ""))(t); got != version {
			t.Fatalf("RotateTenant: version %d, want %d", got, version)
		}
		h.lives(h.Ring, "rotated")
		h.lives(h.another(), "rotated, another process")
		h.rewrap(h.Ring)
		h.lives(h.Ring, "rewrapped")
		h.retired(version - 1)
		h.lives(h.Ring, "retired")
		h.lives(idle, "retired, a process that had the old key")
		h.restart()
		h.lives(h.Ring, "restarted")
		if rows := h.tenantKeys(); len(rows) != 1 {
			t.Fatalf("%d tenant keys are left, want 1", len(rows))
		}
	}
	h.retired(2) // again, and one long gone
}

func TestRootRotationLosesNothing(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	ctx := t.Context()
	must(h.NewKey(ctx, "other"))(t)
	must(h.RotateTenant(ctx, "main", ""))(t)
	before := h.tenantKeys()
	if version := must(h.RotateRoot(ctx, "first"))(t); version != "2" {
		t.Fatalf("RotateRoot: version %q, want 2", version)
	}
	for id, row := range h.tenantKeys() {
		version := must(h.service.Version(row.Wrapped))(t)
		if version != "2" || row.Made != before[id].Made {
			t.Errorf("tenant key %v is under version %s, made %v, want 2 and %v", id, version, row.Made, before[id].Made)
		}
	}
	h.restart()
	h.lives(h.Ring, "rotated")
	_, err := h.RetireRoot(ctx, "first", "2", false)
	want(t, "RetireRoot of the newest", err, fault.Conflict)
	if r := must(h.RetireRoot(ctx, "first", "1", true))(t); len(r.Hangs) > 0 || r.Done || r.Read != 3 {
		t.Errorf("dry run: %+v, want safe after 3 rows", r)
	}
	if r := must(h.RetireRoot(ctx, "first", "1", false))(t); !r.Done {
		t.Errorf("RetireRoot: %+v", r)
	}
	h.restart()
	h.lives(h.Ring, "retired")

	// What a backup holds of the tenant keys is worth nothing now.
	h.storage.Edit(func(tables *keyringtest.Tables) { tables.TenantKeys = before })
	h.restart()
	_, err = h.TenantKey(ctx, "main", keyring.Index)
	want(t, "a tenant key of before", err, fault.Sealed)
}

func TestARootVersionThatIsNeededIsNotDestroyed(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	ctx := t.Context()
	must(h.NewKey(ctx, "other"))(t)
	must(h.service.Rotate(ctx))(t) // by somebody else: the tenant keys are still under version 1
	r := must(h.RetireRoot(ctx, "first", "1", true))(t)
	if len(r.Hangs) != 1 || r.Hangs[0].Count != 2 || r.Hangs[0].Where != "tenant_keys" {
		t.Errorf("dry run: %+v, want 2 tenant keys that hang", r)
	}
	_, err := h.RetireRoot(ctx, "first", "1", false)
	want(t, "RetireRoot", err, fault.Conflict)
	h.restart()
	h.lives(h.Ring, "refused")

	// One that says that it is under the newer version, and does not open, may need any.
	if err := h.RotateDue(ctx, keyring.Schedule{}, h.Ring); err != nil {
		t.Fatal(err)
	}
	h.storage.Edit(func(tables *keyringtest.Tables) {
		id := keyringtest.TenantKeyID{Tenant: "other", Version: 1}
		row := tables.TenantKeys[id]
		row.Wrapped = flip(row.Wrapped)
		tables.TenantKeys[id] = row
	})
	_, err = h.RetireRoot(ctx, "first", "1", false)
	want(t, "RetireRoot with a damaged tenant key", err, fault.Conflict)
}

func TestAVersionThatIsNeededIsNotRetired(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	ctx := t.Context()
	_, err := h.RetireTenant(ctx, "main", 1, false)
	want(t, "RetireTenant of the newest", err, fault.Conflict)
	for _, version := range []uint32{0, 2} {
		_, err = h.RetireTenant(ctx, "main", version, false)
		want(t, "RetireTenant of no version", err, fault.NotFound)
	}
	_, err = h.RetireTenant(ctx, "nobody", 1, false)
	want(t, "RetireTenant of no tenant", err, fault.NotFound)

	must(h.RotateTenant(ctx, "main", ""))(t)
	r := must(h.RetireTenant(ctx, "main", 1, true))(t)
	if len(r.Hangs) != 2 || r.Hangs[0].Where != "data_keys" || r.Hangs[1].Where != "subjects" || r.Hangs[1].Count != 3 {
		t.Errorf("dry run: %+v, want data keys and 3 subjects that hang", r)
	}
	_, err = h.RetireTenant(ctx, "main", 1, false)
	want(t, "RetireTenant while keys hang on it", err, fault.Conflict)
	h.restart()
	h.lives(h.Ring, "refused")
}

// A row that calls itself rewrapped and is not would be lost with the old key.
func TestARowThatLiesAboutItsVersionHindersRetiring(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	ctx := t.Context()
	must(h.RotateTenant(ctx, "main", ""))(t)
	var liar keyringtest.DataKeyID
	for id := range h.keys {
		liar = keyringtest.DataKeyID{Tenant: "main", ID: id}
	}
	relabel := func(version uint32) {
		h.storage.Edit(func(tables *keyringtest.Tables) {
			row := tables.DataKeys[liar]
			row.KeyVersion = version
			tables.DataKeys[liar] = row
		})
	}
	relabel(2)
	h.rewrap(h.Ring)
	r := must(h.RetireTenant(ctx, "main", 1, true))(t)
	if len(r.Hangs) != 1 || r.Hangs[0].Count != 1 {
		t.Errorf("dry run: %+v, want the row that does not open", r)
	}
	_, err := h.RetireTenant(ctx, "main", 1, false)
	want(t, "RetireTenant", err, fault.Conflict)
	relabel(1)
	h.rewrap(h.Ring)
	h.retired(1)
	h.restart()
	h.lives(h.Ring, "put right")
}

func TestARetiredVersionThatIsPutBackIsRefused(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	before := h.tenantKeys()
	var rows map[keyringtest.DataKeyID]keyring.DataKeyRow
	h.storage.Edit(func(tables *keyringtest.Tables) { rows = maps.Clone(tables.DataKeys) })
	must(h.RotateTenant(t.Context(), "main", ""))(t)
	h.rewrap(h.Ring)
	h.retired(1)
	h.Close()
	var id envelope.KeyID
	for id = range h.keys {
	}
	place := keyringtest.DataKeyID{Tenant: "main", ID: id}
	h.storage.Edit(func(tables *keyringtest.Tables) {
		maps.Copy(tables.TenantKeys, before)
		tables.DataKeys[place] = rows[place]
	})
	h.Ring = h.another()
	_, err := h.Key(t.Context(), "main", id)
	want(t, "a key under a version that was put back", err, fault.Integrity)
	want(t, "Rewrap of it", h.Rewrap(t.Context(), "main", 0, nil), fault.Integrity)
	for other := range h.keys {
		if other != id {
			must(h.Key(t.Context(), "main", other))(t)
		}
	}

	// Without the newest version, its minimum would be gone too.
	h.Close()
	h.storage.Edit(func(tables *keyringtest.Tables) {
		delete(tables.TenantKeys, keyringtest.TenantKeyID{Tenant: "main", Version: 2})
	})
	h.Ring = h.another()
	for what, use := range map[string]func() error{
		"Key":          func() error { _, err := h.Key(t.Context(), "main", id); return err },
		"NewKey":       func() error { _, err := h.NewKey(t.Context(), "main"); return err },
		"RotateTenant": func() error { _, err := h.RotateTenant(t.Context(), "main", ""); return err },
		"Rewrap":       func() error { return h.Rewrap(t.Context(), "main", 0, nil) },
	} {
		want(t, what+" without the newest version", use(), fault.Integrity)
	}
}

// Before the rewrap, only the keys under the newest version are lost with its row,
// and no other is made in its place.
func TestANewestVersionThatWasDeletedIsNotMadeAgain(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	must(h.RotateTenant(t.Context(), "main", ""))(t)
	for range 40 { // until one is under the new version
		h.newKey()
	}
	running := h.another()
	must(running.RotateTenant(t.Context(), "main", ""))(t)
	h.storage.Edit(func(tables *keyringtest.Tables) {
		delete(tables.TenantKeys, keyringtest.TenantKeyID{Tenant: "main", Version: 3})
	})
	_, err := running.RotateTenant(t.Context(), "main", "")
	want(t, "RotateTenant by who knows version 3", err, fault.Integrity)
	h.storage.Edit(func(tables *keyringtest.Tables) {
		delete(tables.TenantKeys, keyringtest.TenantKeyID{Tenant: "main", Version: 2})
	})
	h.restart()
	_, err = h.RotateTenant(t.Context(), "main", "")
	want(t, "RotateTenant when keys name a version that is gone", err, fault.Integrity)
}

// A destruction that comes between reading and writing a row must not be undone.
func TestRewrappingDoesNotUndoADestruction(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	must(h.RotateTenant(t.Context(), "main", ""))(t)
	var doomed envelope.KeyID
	for doomed = range h.keys {
	}
	other := h.another()
	var once sync.Once
	h.storage.Hooks(func(_ context.Context, method string) error {
		if method == "RewrapDataKeys" {
			once.Do(func() {
				if err := other.Destroy(context.Background(), "main", doomed); err != nil {
					t.Error(err)
				}
			})
		}
		return nil
	}, nil)
	h.rewrap(h.Ring)
	h.storage.Hooks(nil, nil)
	h.retired(1)
	h.restart()
	_, err := h.Key(t.Context(), "main", doomed)
	want(t, "a key destroyed while it was rewrapped", err, fault.Sealed)
	delete(h.keys, doomed)
	h.lives(h.Ring, "rewrapped")
}

func TestSwappedRowsAreNotRewrapped(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	ctx := t.Context()
	must(h.RotateTenant(ctx, "main", ""))(t)
	foreign := must(h.NewKey(ctx, "other"))(t).ID
	var mine envelope.KeyID
	for mine = range h.keys {
	}
	h.swapWrapped("main", mine, "other", foreign)
	err := h.Rewrap(ctx, "main", 0, nil)
	want(t, "Rewrap", err, fault.Integrity)
	if !strings.Contains(err.Error(), mine.String()) {
		t.Errorf("Rewrap: %v, want an error that names %s", err, mine)
	}
	_, err = h.RetireTenant(ctx, "main", 1, false)
	want(t, "RetireTenant", err, fault.Conflict)
	h.swapWrapped("main", mine, "other", foreign)
	h.rewrap(h.Ring)
	h.retired(1)
	h.lives(h.Ring, "put right")
}

// Another process wraps under the newest version it knows until it notices.
func TestAnotherProcessNoticesTheNewestVersion(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHousehold(t, func(c *keyring.Config) { c.PoolSize = 1 })
		other := h.another()
		versionOf := func(id envelope.KeyID) uint32 {
			var version uint32
			h.storage.Edit(func(tables *keyringtest.Tables) {
				version = tables.DataKeys[keyringtest.DataKeyID{Tenant: "main", ID: id}].KeyVersion
			})
			return version
		}
		must(other.NewKey(t.Context(), "main"))(t)
		must(h.RotateTenant(t.Context(), "main", ""))(t)
		time.Sleep(6 * time.Minute) // past the soft age
		must(other.NewKey(t.Context(), "main"))(t)
		if v := versionOf(must(other.NewKey(t.Context(), "main"))(t).ID); v != 2 {
			t.Errorf("a process wraps new keys under version %d six minutes after the rotation, want 2", v)
		}

		// At once, when its own version is retired under its feet.
		must(h.RotateTenant(t.Context(), "main", ""))(t)
		h.rewrap(h.Ring)
		h.retired(2)
		for range 3 {
			if v := versionOf(must(other.NewKey(t.Context(), "main"))(t).ID); v != 3 {
				t.Errorf("a process wraps new keys under version %d after that was retired, want 3", v)
			}
		}
		h.lives(other, "retired")
		if err := other.Destroy(t.Context(), "main", h.dead); err != nil {
			t.Errorf("Destroy by a process whose version was retired: %v", err)
		}
	})
}

func TestATenantMovesToAnotherKeyServiceAndBack(t *testing.T) {
	t.Parallel()
	second := kmstest.New(t)
	h := newHousehold(t, func(c *keyring.Config) { c.Services["second"] = second })
	ctx := t.Context()
	must(h.NewKey(ctx, "other"))(t)
	_, err := h.RotateTenant(ctx, "main", "third")
	want(t, "a service that is not configured", err, fault.NotFound)
	must(h.RotateTenant(ctx, "main", "second"))(t)
	h.lives(h.Ring, "between two services")
	h.rewrap(h.Ring)
	h.retired(1)

	// The tenant's work hangs on its own service now, and the others' does not.
	h.service.Deny()
	h.restart()
	h.lives(h.Ring, "moved, without the first service")
	_, err = h.NewKey(ctx, "other")
	want(t, "another tenant without its service", err, fault.Unavailable)
	h.service.Restore()
	second.Unreachable()
	h.restart()
	_, err = h.NewKey(ctx, "main")
	want(t, "the tenant without its service", err, fault.Unavailable)
	must(h.NewKey(ctx, "other"))(t)
	second.Restore()
	h.restart()

	must(h.RotateTenant(ctx, "main", "first"))(t)
	h.rewrap(h.Ring)
	h.retired(2)
	delete(h.config.Services, "second")
	h.restart()
	h.lives(h.Ring, "back, without the second service")
}

func TestReadinessFollowsTheDefaultServiceIfItIsInUse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		second := kmstest.New(t)
		e := setup(t, func(c *keyring.Config) { c.Services["second"] = second })
		e.newKey()
		must(e.NewKey(t.Context(), "other"))(t)
		must(e.RotateTenant(t.Context(), "other", "second"))(t)
		check := func(when string, wantErr bool, failing ...string) {
			t.Helper()
			time.Sleep(11 * time.Second)
			answers, err := e.CheckServices(t.Context())
			if (err != nil) != wantErr {
				t.Errorf("%s: Check: %v", when, err)
			}
			for _, name := range failing {
				if answers[name] == nil {
					t.Errorf("%s: the service %s is said to answer", when, name)
				}
			}
		}
		check("both answer", false)
		second.Unreachable()
		check("a tenant's own service is away", false, "second")
		e.service.Unreachable()
		check("both are away", true, "first", "second")
		e.service.Restore()
		must(e.RotateTenant(t.Context(), "main", "second"))
		second.Restore()
		must(e.RotateTenant(t.Context(), "main", "second"))(t)
		second.Deny()
		check("the only one in use is away", true, "second")
	})
}

func TestReadinessWaitsForAllServicesAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		second := kmstest.New(t)
		e := setup(t, func(c *keyring.Config) { c.Services["second"] = second })
		e.newKey()
		must(e.NewKey(t.Context(), "other"))(t)
		must(e.RotateTenant(t.Context(), "other", "second"))(t)
		e.service.Hang()
		second.Hang()
		began := time.Now()
		answers, err := e.CheckServices(t.Context())
		if took := time.Since(began); err == nil || len(answers) != 2 || took != 5*time.Second {
			t.Errorf("two services that hang: %v after %s, %v, want one timeout of 5s", answers, took, err)
		}
	})
}

func TestRewrapIsLimitedAndTellsHowFarItIs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHousehold(t, func(c *keyring.Config) { c.PoolSize = 400 })
		for range 900 {
			h.newKey()
		}
		must(h.RotateTenant(t.Context(), "main", ""))(t)
		began, last, total := time.Now(), 0, 0
		err := h.Rewrap(t.Context(), "main", 100, func(done, left int) {
			if done <= last || total != 0 && done+left != total {
				t.Errorf("%d done after %d, %d left of %d", done, last, left, total)
			}
			last, total = done, done+left
		})
		if err != nil || last != total || total < 900 {
			t.Errorf("Rewrap: %v, %d of %d done", err, last, total)
		}
		if took := time.Since(began); took < time.Duration(total/100-1)*time.Second {
			t.Errorf("%d rows took %s at 100 a second", total, took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		must(h.RotateTenant(t.Context(), "main", ""))(t)
		want(t, "Rewrap that is stopped", h.Rewrap(ctx, "main", 100, nil), fault.Unavailable)
		h.rewrap(h.Ring)
		h.retired(2)
		h.lives(h.Ring, "begun again")
	})
}

func TestTheServersOwnRewrapIsLimitedAndLeavesARunningOneAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHousehold(t, func(c *keyring.Config) { c.PoolSize = 400 })
		for range 900 {
			h.newKey()
		}
		must(h.RotateTenant(t.Context(), "main", ""))(t)
		h.StartRewrap("main", 100, func(context.Context) {})
		time.Sleep(time.Second)
		if err := h.RotateDue(t.Context(), keyring.Schedule{}, h.Ring); err != nil {
			t.Errorf("RotateDue beside a rewrap: %v", err)
		}
		if state := h.RewrapState("main"); !state.Running || state.Left == 0 {
			t.Errorf("a gentle rewrap after a second: %+v, want that it goes on", state)
		}
		for h.RewrapState("main").Running {
			time.Sleep(time.Second)
		}
		must(h.RotateTenant(t.Context(), "main", ""))(t)
		began := time.Now()
		if err := h.RotateDue(t.Context(), keyring.Schedule{Rate: 100}, h.Ring); err != nil {
			t.Errorf("RotateDue: %v", err)
		}
		state := h.RewrapState("main")
		if took := time.Since(began); state.Running || state.Done < 900 || state.Left != 0 || took < time.Duration(state.Done/100-1)*time.Second {
			t.Errorf("%+v after %s at 100 a second", state, took)
		}
	})
}

func TestRotationIsDueByTheClock(t *testing.T) {
	bubble(t, func(t *testing.T) {
		now := time.Now()
		h := newHousehold(t, func(c *keyring.Config) { c.Now = func() time.Time { return now } })
		schedule := keyring.Schedule{TenantKeys: 30 * 24 * time.Hour, RootKeys: 90 * 24 * time.Hour}
		newest := func() (tenant uint32, root string) {
			for id, row := range h.tenantKeys() {
				if id.Version > tenant {
					tenant, root = id.Version, must(h.service.Version(row.Wrapped))(t)
				}
			}
			return tenant, root
		}
		for i, step := range []struct {
			later  time.Duration
			tenant uint32
			root   string
		}{
			{0, 1, "1"},
			{29 * 24 * time.Hour, 1, "1"},
			{24 * time.Hour, 2, "1"},
			{time.Hour, 2, "1"},
			{60 * 24 * time.Hour, 3, "2"},
			{-time.Hour, 3, "2"},                // a clock that is set back a little
			{10 * 365 * 24 * time.Hour, 4, "3"}, // one that jumps ahead
			{-10 * 365 * 24 * time.Hour, 5, "4"},
			{time.Hour, 5, "4"},
		} {
			now = now.Add(step.later)
			if err := h.RotateDue(t.Context(), schedule, h.Ring); err != nil {
				t.Fatal(err)
			}
			if tenant, root := newest(); tenant != step.tenant || root != step.root {
				t.Errorf("step %d: tenant key %d under root version %s, want %d and %s", i, tenant, root, step.tenant, step.root)
			}
			h.lives(h.Ring, fmt.Sprintf("step %d", i))
		}
		if err := h.RotateDue(t.Context(), keyring.Schedule{}, h.Ring); err != nil {
			t.Fatal(err)
		}
		if tenant, _ := newest(); tenant != 5 {
			t.Error("rotated without a schedule")
		}
		counts := must(h.storage.Counts(t.Context(), "main"))(t)
		if len(counts) != 1 || counts[0].Version != 5 {
			t.Errorf("%v, want all under version 5", counts)
		}
	})
}

// A tripwire is a key service and hooks of a storage that fail at one call.
type tripwire struct {
	kms.Service
	mu    sync.Mutex
	left  int  // calls until the one that fails; 0 fails none
	after bool // it fails after it was done: the reply is lost
}

var errTripped = fault.New(fault.Unavailable, "power went")

// step counts a call and returns the error of the one that fails.
func (w *tripwire) step(after bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left == 0 || w.after != after {
		return nil
	}
	if w.left--; w.left == 0 {
		return errTripped
	}
	return nil
}

func (w *tripwire) Wrap(ctx context.Context, c kms.Context, key []byte) ([]byte, error) {
	if err := w.step(false); err != nil {
		return nil, err
	}
	out, err := w.Service.Wrap(ctx, c, key)
	return out, errors.Join(err, w.step(true))
}

func (w *tripwire) Unwrap(ctx context.Context, c kms.Context, wrapped []byte) ([]byte, error) {
	if err := w.step(false); err != nil {
		return nil, err
	}
	return w.Service.Unwrap(ctx, c, wrapped)
}

func (w *tripwire) Rotate(ctx context.Context) (string, error) {
	if err := w.step(false); err != nil {
		return "", err
	}
	out, err := w.Service.(kms.Rotator).Rotate(ctx)
	return out, errors.Join(err, w.step(true))
}

func (w *tripwire) Destroy(ctx context.Context, version string) error {
	if err := w.step(false); err != nil {
		return err
	}
	return errors.Join(w.Service.Destroy(ctx, version), w.step(true))
}

// rotateAll replaces a tenant's key and the root key and gives up the old ones.
func rotateAll(ctx context.Context, ring *keyring.Ring) error {
	version, err := ring.RotateTenant(ctx, "main", "")
	if err != nil {
		return err
	}
	if err := ring.Rewrap(ctx, "main", 0, nil); err != nil {
		return err
	}
	if _, err := ring.RetireTenant(ctx, "main", version-1, false); err != nil {
		return err
	}
	root, err := ring.RotateRoot(ctx, "first")
	if err != nil {
		return err
	}
	var n int
	if _, err := fmt.Sscan(root, &n); err != nil {
		return err
	}
	_, err = ring.RetireRoot(ctx, "first", fmt.Sprint(n-1), false)
	return err
}

// TestACrashAnywhereInARotation fails every write of the storage and every call of
// the key service in turn, before and after it is done, opens everything again with
// nothing in memory, and finishes the rotation.
func TestACrashAnywhereInARotation(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		crashed := 0
		for at := 1; ; at++ {
			wire := &tripwire{Service: kmstest.New(t).KeyFile, after: after}
			h := newHousehold(t, func(c *keyring.Config) { c.Services["first"] = wire })
			writes := func(when bool) func(context.Context, string) error {
				return func(_ context.Context, method string) error {
					switch method {
					case "AddTenantKey", "ReplaceTenantKey", "RetireTenantKeys", "RewrapDataKeys", "RewrapSubjects",
						"NoteRootVersion", "ForgetRootVersion", "AddDataKeys":
						return wire.step(when)
					}
					return nil
				}
			}
			h.storage.Hooks(writes(false), writes(true))
			wire.left = at
			err := rotateAll(t.Context(), h.Ring)
			wire.left = 0
			h.restart()
			h.lives(h.Ring, fmt.Sprintf("after a crash at step %d (done: %t)", at, after))
			if err == nil {
				break
			}
			crashed++
			if err := rotateAll(t.Context(), h.Ring); err != nil {
				t.Fatalf("finishing after a crash at step %d: %v", at, err)
			}
			h.restart()
			h.lives(h.Ring, "finished")
			h.onlyNewest()
			h.Close()
		}
		if crashed < 10 {
			t.Errorf("only %d crashes, done: %t", crashed, after)
		}
	}
}

// onlyNewest checks that one tenant key is left and all rows are under it.
func (h *household) onlyNewest() {
	h.t.Helper()
	rows := h.tenantKeys()
	counts := must(h.storage.Counts(h.t.Context(), "main"))(h.t)
	if len(rows) != 1 || len(counts) != 1 || rows[keyringtest.TenantKeyID{Tenant: "main", Version: counts[0].Version}].Tenant == "" {
		h.t.Fatalf("%d tenant keys, and rows under %v", len(rows), counts)
	}
}

func TestAKeyServiceThatWrapsAnotherKeyIsRefused(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	liar := &lying{Service: h.service}
	h.config.Services["first"] = liar
	h.restart()
	liar.lies = true
	for what, err := range map[string]error{
		"RotateTenant": errorOf(h.RotateTenant(t.Context(), "main", "")),
		"a new tenant": errorOf(h.NewKey(t.Context(), "new")),
	} {
		want(t, what, err, fault.Integrity)
	}
	liar.lies = false
	h.restart()
	h.lives(h.Ring, "refused")
}

func errorOf[T any](_ T, err error) error { return err }

// A lying key service wraps another key than it is given.
type lying struct {
	kms.Service
	lies bool
}

func (l *lying) Wrap(ctx context.Context, c kms.Context, key []byte) ([]byte, error) {
	if l.lies {
		key = flip(key)
	}
	return l.Service.Wrap(ctx, c, key)
}

func TestSteadyStateMakesOneKeyCallPerThousandStarts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHousehold(t, func(c *keyring.Config) { c.PoolSize = 1024 })
		must(h.RotateTenant(t.Context(), "main", ""))(t) // two versions are in use
		before := h.service.Calls()
		const starts = 60_000 // an hour at 1,000 a minute
		for i := range starts {
			key := h.newKey()
			for range 3 { // values sealed and opened
				must(h.Key(t.Context(), "main", key.ID))(t)
			}
			if i%1000 == 999 {
				time.Sleep(time.Minute)
			}
		}
		if calls := h.service.Calls() - before; calls > starts/1000 || calls == 0 {
			t.Errorf("%d key calls for %d starts, want 1 to %d", calls, starts, starts/1000)
		}
	})
}

func TestACallOfTheKeyServiceFailsWhileRotating(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	for what, break_ := range map[string]func(){"denied": h.service.Deny, "unreachable": h.service.Unreachable} {
		break_()
		for name, err := range map[string]error{
			"RotateTenant": errorOf(h.RotateTenant(t.Context(), "main", "")),
			"RotateRoot":   errorOf(h.RotateRoot(t.Context(), "first")),
		} {
			want(t, name+" "+what, err, fault.Unavailable)
		}
		h.service.Restore()
		h.lives(h.Ring, what)
	}
	_, err := h.RotateTenant(t.Context(), "nobody", "")
	want(t, "RotateTenant of nobody", err, fault.NotFound)
	h.config.Services["fixed"] = fixed{h.service}
	h.restart()
	_, err = h.RotateRoot(t.Context(), "fixed")
	want(t, "RotateRoot of a service that cannot", err, fault.Invalid)
}

// A fixed key service makes no new versions.
type fixed struct{ kms.Service }
