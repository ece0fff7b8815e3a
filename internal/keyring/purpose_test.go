package keyring_test

import (
	"context"
	"crypto/sha256"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

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
	for _, purpose := range []keyring.Purpose{keyring.Index, keyring.Audit, keyring.Inbox, keyring.Log} {
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
	for _, purpose := range []keyring.Purpose{"pool", "", "audit/1"} {
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

// tokensUnder returns a person's tokens under index keys, in their order.
func tokensUnder(keys []envelope.Key, who byte) [][32]byte {
	tokens := make([][32]byte, len(keys))
	for i, key := range keys {
		tokens[i] = sha256.Sum256(append(key.Secret[:], who))
	}
	return tokens
}

// meetOnce looks a person up under the index keys that a process knows, and gives them a
// key if they have none.
func meetOnce(ctx context.Context, ring *keyring.Ring, who byte) (token [32]byte, key envelope.Key, err error) {
	keys, err := ring.IndexKeys(ctx, "main")
	if err != nil {
		return token, key, err
	}
	tokens := tokensUnder(keys, who)
	if token, err = ring.SubjectToken(ctx, "main", tokens); err != nil {
		return token, key, err
	}
	others := slices.DeleteFunc(tokens, func(t [32]byte) bool { return t == token })
	key, err = ring.SubjectKey(ctx, "main", token, others...)
	return token, key, err
}

// meet is meetOnce, again for as long as there are other index keys than it knew.
func meet(ctx context.Context, ring *keyring.Ring, who byte) (token [32]byte, key envelope.Key, err error) {
	for range 20 {
		token, key, err = meetOnce(ctx, ring, who)
		if code(err) != keyrow.CodeOtherToken {
			break
		}
	}
	return token, key, err
}

func (h *household) subjects() (n int) {
	h.storage.Edit(func(t *keyringtest.Tables) { n = len(t.Subjects) })
	return n
}

// TestAProcessThatKnowsFewerIndexKeysMakesNoSecondRow has another process rotate the index
// key, and give somebody a key.
func TestAProcessThatKnowsFewerIndexKeysMakesNoSecondRow(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	ctx := t.Context()
	idle := h.another()
	_, first, err := meet(ctx, h.Ring, 7)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // what is read in the first call, which asks the key service, does not count
		if keys := must(idle.IndexKeys(ctx, "main"))(t); len(keys) != 1 {
			t.Fatalf("%d index keys", len(keys))
		}
	}
	h.succeeds(keyring.Index)
	_, second, err := meet(ctx, h.Ring, 8)
	if err != nil {
		t.Fatal(err)
	}
	nobodys := h.newKey()
	before := h.subjects()
	_, _, err = meetOnce(ctx, idle, 8)
	want(t, "somebody met under a newer index key", err, fault.Conflict)
	if code(err) != keyrow.CodeOtherToken {
		t.Errorf("code %s", code(err))
	}
	keys := must(idle.IndexKeys(ctx, "main"))(t)
	if len(keys) != 2 {
		t.Fatalf("after that the process knows %d index keys, want 2", len(keys))
	}
	for who, key := range map[byte]envelope.Key{7: first, 8: second} {
		for _, ring := range []*keyring.Ring{idle, h.Ring, h.another()} {
			if _, got, err := meetOnce(ctx, ring, who); err != nil || got != key {
				t.Errorf("person %d: %v, the right key: %t", who, err, got == key)
			}
		}
	}
	// Whoever made the tokens right and chose the wrong one is refused as well.
	tokens := tokensUnder(keys, 7)
	_, err = h.SubjectKey(ctx, "main", tokens[0], tokens[1])
	want(t, "a second token", err, fault.Conflict)
	want(t, "a second token for a key without a name", h.LinkSubject(ctx, "main", nobodys.ID, tokens[0], tokens[1]), fault.Conflict)
	want(t, "one token of two", h.LinkSubject(ctx, "main", nobodys.ID, token(9)), fault.Conflict)
	if after := h.subjects(); after != before {
		t.Errorf("%d rows of persons, before %d", after, before)
	}
	if err := h.Destroy(ctx, "main", first.ID); err != nil {
		t.Fatal(err)
	}
	back, key, err := meet(ctx, h.Ring, 7)
	if err != nil || key == first || back != tokens[0] {
		t.Errorf("who came back: %v, another key: %t, under the newest index key: %t", err, key != first, back == tokens[0])
	}
}

// TestAPersonMetDuringRotationsHasOneRow has three processes meet five persons while two
// of them rotate the index key.
func TestAPersonMetDuringRotationsHasOneRow(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	before := h.subjects()
	rings := []*keyring.Ring{h.Ring, h.another(), h.another()}
	var all sync.WaitGroup
	met := make([][5]envelope.Key, len(rings))
	for i, ring := range rings {
		all.Go(func() {
			for who := range met[i] {
				var err error
				if _, met[i][who], err = meet(context.Background(), ring, byte(10+who)); err != nil {
					t.Errorf("meeting person %d: %v", who, err)
				}
			}
		})
	}
	for _, ring := range rings[1:] {
		all.Go(func() {
			for range 4 {
				if _, err := ring.RotatePurpose(context.Background(), "main", keyring.Index); err != nil && !fault.Is(err, fault.Conflict) {
					t.Errorf("RotatePurpose: %v", err)
				}
			}
		})
	}
	all.Wait()
	if met[0] != met[1] || met[0] != met[2] {
		t.Error("processes met the same persons under different keys")
	}
	if rows := h.subjects() - before; rows != len(met[0]) {
		t.Errorf("%d persons have %d rows", len(met[0]), rows)
	}
}

// TestPersonsAgreeWithAModelOfIndexKeys meets, links, erases and rotates in any order, in
// processes that know more or fewer of the index keys.
func TestPersonsAgreeWithAModelOfIndexKeys(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		h := &household{env: setup(t)}
		defer h.Close()
		ctx := t.Context()
		rings := []*keyring.Ring{h.Ring, h.another(), h.another()}
		persons := map[byte]envelope.Key{}
		any := func(rt *rapid.T) *keyring.Ring { return rapid.SampledFrom(rings).Draw(rt, "process") }
		rt.Repeat(map[string]func(*rapid.T){
			"rotate": func(rt *rapid.T) { must(any(rt).RotatePurpose(ctx, "main", keyring.Index))(t) },
			"meet": func(rt *rapid.T) {
				who := rapid.ByteRange(1, 3).Draw(rt, "person")
				_, key, err := meet(ctx, any(rt), who)
				if known, ok := persons[who]; err != nil || ok && known != key {
					rt.Fatalf("person %d: %v, the key of before: %t", who, err, known == key)
				}
				persons[who] = key
			},
			"erase": func(rt *rapid.T) {
				who := rapid.ByteRange(1, 3).Draw(rt, "person")
				known, ok := persons[who]
				if !ok {
					return
				}
				ring, erased := any(rt), 0
				for _, token := range tokensUnder(must(ring.PurposeKeys(ctx, "main", keyring.Index))(t), who) {
					for _, id := range must(ring.FindSubject(ctx, "main", token))(t) {
						if err := ring.Destroy(ctx, "main", id); err != nil || id != known.ID {
							rt.Fatalf("erasing person %d: %v, their key: %t", who, err, id == known.ID)
						}
						erased++
					}
				}
				if erased != 1 {
					rt.Fatalf("person %d had %d keys", who, erased)
				}
				delete(persons, who)
				for i, other := range rings { // as after the time that keys are remembered
					if other != ring {
						other.Close()
						rings[i] = h.another()
					}
				}
			},
			"": func(rt *rapid.T) {
				if n := h.subjects(); n != len(persons) {
					rt.Fatalf("%d persons have %d rows", len(persons), n)
				}
			},
		})
	})
}

// TestACrashWhileAPurposeRotates fails every write in turn, before and after it is
// done, and looks at what a process with nothing in memory finds.
func TestACrashWhileAPurposeRotates(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		crashInRotation(t, keyring.Audit, after)
		crashInRotation(t, keyring.Index, after)
	}
}

func crashInRotation(t *testing.T, purpose keyring.Purpose, after bool) {
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
	_, err := h.RotatePurpose(t.Context(), "main", purpose)
	want(t, "RotatePurpose", err, fault.Unavailable)
	h.storage.Hooks(nil, nil)
	keys := must(h.PurposeKeys(t.Context(), "main", purpose))(t)
	if done := len(keys) == 2; done != after || keys[len(keys)-1] != h.own[purpose] {
		t.Errorf("lost reply: %t: %d %s keys", after, len(keys), purpose)
	}
	h.own[purpose] = keys[0]
	h.lives(h.Ring, "the same process")
	h.restart()
	h.lives(h.Ring, "restarted")
	h.succeeds(purpose)
	had(t, h.Ring, "finished", purpose, slices.Insert(keys, 0, h.own[purpose])...)
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
		"the one before the newest gone": func(s map[string]*keyring.DataKeyRow) { s["audit/2"].Scope = "pool" },
		"all before the newest gone": func(s map[string]*keyring.DataKeyRow) {
			s["audit/1"].Scope, s["audit/2"].Scope = "pool", "pool"
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
