package keyring_test

import (
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

// succeeds gives main a new key for a purpose, which own of a household then is.
func (h *household) succeeds(purpose keyring.Purpose) (former envelope.Key) {
	h.t.Helper()
	former = h.own[purpose]
	id := must(h.RotatePurpose(h.t.Context(), "main", purpose))(h.t)
	h.own[purpose] = must(h.TenantKey(h.t.Context(), "main", purpose))(h.t)
	if h.own[purpose].ID != id || id == former.ID {
		h.t.Fatalf("the %s key is %s, rotated from %s to %s", purpose, h.own[purpose].ID, former.ID, id)
	}
	return former
}

// had checks all keys for a purpose, newest first.
func had(t *testing.T, ring *keyring.Ring, when string, purpose keyring.Purpose, want ...envelope.Key) {
	t.Helper()
	if got := must(ring.PurposeKeys(t.Context(), "main", purpose))(t); !slices.Equal(got, want) {
		t.Errorf("%s: %d %s keys, the right ones: false, want %d", when, len(got), purpose, len(want))
	}
	for _, key := range want {
		if got, err := ring.PurposeKey(t.Context(), "main", purpose, key.ID); err != nil || got != key {
			t.Errorf("%s: %s key %s: %v, the right one: %t", when, purpose, key.ID, err, got == key)
		}
	}
}

func TestAPurposeGetsNewKeysAndKeepsTheOldOnes(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	for _, purpose := range []keyring.Purpose{keyring.Audit, keyring.Inbox, keyring.Log} {
		keys := []envelope.Key{h.own[purpose]}
		had(t, h.Ring, "before", purpose, keys...)
		for range 12 { // past one digit
			h.succeeds(purpose)
			keys = slices.Insert(keys, 0, h.own[purpose])
		}
		had(t, h.Ring, "rotated", purpose, keys...)
		must(h.RotateTenant(t.Context(), "main", ""))(t)
		h.succeeds(purpose)
		keys = slices.Insert(keys, 0, h.own[purpose])
		h.rewrap(h.Ring)
		h.restart()
		had(t, h.Ring, "under a new tenant key", purpose, keys...)
		h.lives(h.Ring, "rotated")
	}
	h.retired(3)
	h.restart()
	h.lives(h.Ring, "retired")
	for _, purpose := range []keyring.Purpose{keyring.Index, "pool", "", "audit/1"} {
		_, err := h.RotatePurpose(t.Context(), "main", purpose)
		want(t, "RotatePurpose of "+string(purpose), err, fault.Invalid)
	}
	_, err := h.PurposeKey(t.Context(), "main", keyring.Audit, h.own[keyring.Log].ID)
	want(t, "the log key as audit key", err, fault.Integrity)
	_, err = h.PurposeKey(t.Context(), "main", keyring.Audit, envelope.KeyID{1})
	want(t, "no key as audit key", err, fault.Integrity)
	for id := range h.keys {
		_, err = h.PurposeKey(t.Context(), "main", keyring.Audit, id)
		want(t, "a key of the pool as audit key", err, fault.Integrity)
	}
	if keys := must(h.PurposeKeys(t.Context(), "new", keyring.Log))(t); len(keys) != 1 {
		t.Errorf("a new tenant has %d log keys", len(keys))
	}
}

// Another process uses the key of before until the key service is asked again.
func TestAnotherProcessNoticesANewKeyForAPurpose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHousehold(t)
		other := h.another()
		h.lives(other, "before")
		h.succeeds(keyring.Audit)
		time.Sleep(6 * time.Minute) // past the soft age
		h.lives(other, "six minutes later")
	})
}

func TestOfManyThatRotateAPurposeNoneIsLost(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	rings := []*keyring.Ring{h.Ring, h.another(), h.another()}
	var all sync.WaitGroup
	made := make([]int, len(rings))
	for i, ring := range rings {
		all.Go(func() {
			for range 5 {
				_, err := ring.RotatePurpose(context.Background(), "main", keyring.Audit)
				switch {
				case err == nil:
					made[i]++
				case !fault.Is(err, fault.Conflict):
					t.Errorf("RotatePurpose: %v", err)
				}
			}
		})
	}
	all.Go(func() {
		for range 5 {
			if _, err := h.RotateTenant(context.Background(), "main", ""); err != nil {
				t.Errorf("RotateTenant: %v", err)
			}
			if err := h.Rewrap(context.Background(), "main", 0, nil); err != nil && !fault.Is(err, fault.Conflict) {
				t.Errorf("Rewrap: %v", err)
			}
		}
	})
	all.Wait()
	keys := must(h.another().PurposeKeys(t.Context(), "main", keyring.Audit))(t)
	if want := 1 + made[0] + made[1] + made[2]; len(keys) != want || made[0]+made[1]+made[2] == 0 {
		t.Errorf("%d audit keys, want %d", len(keys), want)
	}
	if !slices.Contains(keys, h.own[keyring.Audit]) {
		t.Error("the first audit key is gone")
	}
}

// TestACrashWhileAPurposeRotates fails every write in turn, before and after it is
// done, and looks at what a process with nothing in memory finds.
func TestACrashWhileAPurposeRotates(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		h := newHousehold(t)
		fail := func(when bool) func(context.Context, string) error {
			return func(_ context.Context, method string) error {
				if method == "SucceedDataKey" && when == after {
					return errTripped
				}
				return nil
			}
		}
		h.storage.Hooks(fail(false), fail(true))
		_, err := h.RotatePurpose(t.Context(), "main", keyring.Audit)
		want(t, "RotatePurpose", err, fault.Unavailable)
		h.storage.Hooks(nil, nil)
		keys := must(h.PurposeKeys(t.Context(), "main", keyring.Audit))(t)
		if done := len(keys) == 2; done != after || keys[len(keys)-1] != h.own[keyring.Audit] {
			t.Errorf("lost reply: %t: %d audit keys", after, len(keys))
		}
		h.own[keyring.Audit] = keys[0]
		h.lives(h.Ring, "the same process")
		h.restart()
		h.lives(h.Ring, "restarted")
		h.succeeds(keyring.Audit)
		had(t, h.Ring, "finished", keyring.Audit, slices.Insert(keys, 0, h.own[keyring.Audit])...)
	}
}

func TestARenamedKeyForAPurposeIsRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(scopes map[string]*keyring.DataKeyRow){
		"the newest and a former one swapped": func(s map[string]*keyring.DataKeyRow) {
			s["audit"].Scope, s["audit/2"].Scope = "audit/2", "audit"
		},
		"two former ones swapped": func(s map[string]*keyring.DataKeyRow) {
			s["audit/1"].Scope, s["audit/2"].Scope = "audit/2", "audit/1"
		},
		"a former one in the place of the newest": func(s map[string]*keyring.DataKeyRow) {
			s["audit"].Scope, s["audit/2"].Scope = "pool", "audit"
		},
		"the newest in the place of another purpose's": func(s map[string]*keyring.DataKeyRow) {
			s["audit"].Scope, s["inbox"].Scope = "inbox", "audit"
		},
		"a former one of another purpose": func(s map[string]*keyring.DataKeyRow) {
			s["audit/1"].Scope, s["log"].Scope = "log", "audit/1"
		},
		"one in between gone":          func(s map[string]*keyring.DataKeyRow) { s["audit/1"].Scope = "pool" },
		"the newest gone":              func(s map[string]*keyring.DataKeyRow) { s["audit"].Scope = "pool" },
		"one with a number of its own": func(s map[string]*keyring.DataKeyRow) { s["audit/2"].Scope = "audit/02" },
	} {
		h := newHousehold(t)
		h.succeeds(keyring.Audit)
		h.succeeds(keyring.Audit)
		h.Close()
		h.storage.Edit(func(tables *keyringtest.Tables) {
			scopes := map[string]*keyring.DataKeyRow{}
			for _, row := range tables.DataKeys {
				if row.Scope != keyrow.Pool {
					scopes[row.Scope] = &row
				}
			}
			if len(scopes) != 6 {
				t.Fatalf("%d keys with a purpose, want 6", len(scopes))
			}
			change(scopes)
			for _, row := range scopes {
				tables.DataKeys[keyringtest.DataKeyID{Tenant: "main", ID: row.ID}] = *row
			}
		})
		h.Ring = h.another()
		_, err := h.PurposeKeys(t.Context(), "main", keyring.Audit)
		want(t, name, err, fault.Integrity)
		_, err = h.RotatePurpose(t.Context(), "main", keyring.Audit)
		want(t, name+", rotated", err, fault.Integrity)
	}
}
