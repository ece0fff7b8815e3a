package keyring_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/keyring/keyringtest"
	"github.com/underseal/underseal/internal/keyring/keyrow"
)

// usedOf answers that the keys in the map are used.
func usedOf(used map[envelope.KeyID]bool) keyring.InUse {
	return func(_ context.Context, _ string, ids []envelope.KeyID) (map[envelope.KeyID]bool, error) {
		return used, nil
	}
}

// count returns how many pool keys are in a state.
func (e *env) count(state keyrow.State) (n int) {
	e.storage.Edit(func(tables *keyringtest.Tables) {
		for _, row := range tables.DataKeys {
			if row.Scope == keyrow.Pool && row.State == state {
				n++
			}
		}
	})
	return n
}

func TestUnusedKeysAreSweptAfterADayAndUsedOnesNever(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := setup(t, func(c *keyring.Config) { c.PoolSize = 4096 })
		ctx := t.Context()
		// Used, and no mark was written; a restart leaves the rest of the pool behind.
		unmarked := e.newKey().ID
		marked := e.newKey().ID
		e.Assigned("main", marked)
		person := must(e.SubjectKey(ctx, "main", token(1)))(t).ID
		index := must(e.TenantKey(ctx, "main", keyring.Index))(t).ID
		for range 3000 {
			e.newKey()
		}
		e.restart()
		used := map[envelope.KeyID]bool{unmarked: true, marked: true}
		left := e.count(keyrow.Ready)

		time.Sleep(23 * time.Hour)
		if n := must(e.SweepUnassigned(ctx, usedOf(used)))(t); n != 0 {
			t.Errorf("%d keys were swept before a day was over", n)
		}
		time.Sleep(2 * time.Hour)
		young := e.newKey().ID
		if n := must(e.SweepUnassigned(ctx, usedOf(used)))(t); n != left-1 {
			t.Errorf("%d keys were swept, want %d", n, left-1)
		}
		e.restart()
		for _, id := range []envelope.KeyID{unmarked, marked, person, index, young} {
			must(e.Key(ctx, "main", id))(t)
		}
		if n := e.count(keyrow.Assigned); n != 3 {
			t.Errorf("%d keys are marked, want the one with a mark, the one that was found in use, the person's", n)
		}
	})
}

func TestASweepThatCannotLookUpUseDeletesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := setup(t)
		e.newKey()
		synctest.Wait()
		before := e.count(keyrow.Ready)
		time.Sleep(25 * time.Hour)
		broken := errors.New("no answer")
		n, err := e.SweepUnassigned(t.Context(), func(context.Context, string, []envelope.KeyID) (map[envelope.KeyID]bool, error) { return nil, broken })
		if n != 0 || !errors.Is(err, broken) || e.count(keyrow.Ready) != before {
			t.Errorf("SweepUnassigned: %d, %v; %d keys of %d are left", n, err, e.count(keyrow.Ready), before)
		}
		e.storage.Hooks(storageDown, nil)
		_, err = e.SweepUnassigned(t.Context(), usedOf(nil))
		want(t, "SweepUnassigned without a storage", err, fault.Unavailable)
	})
}

// Whoever gets a key has half a day to commit before the key may be swept.
func TestAKeyThatMayBeSweptSoonIsNotHandedOut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := setup(t)
		for range 50 {
			key := e.newKey()
			made := time.UnixMilli(int64(key.ID[0])<<40 | int64(key.ID[1])<<32 | int64(key.ID[2])<<24 | int64(key.ID[3])<<16 | int64(key.ID[4])<<8 | int64(key.ID[5]))
			if age := time.Since(made); age < 0 || age >= 12*time.Hour+time.Second {
				t.Errorf("a key was handed out %s after it was made", age)
			}
			time.Sleep(5 * time.Hour)
		}
	})
}
