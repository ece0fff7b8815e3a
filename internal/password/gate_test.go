package password_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/password"
)

// hashes counts what runs in a gate; each hash takes a second.
type hashes struct {
	mu            sync.Mutex
	running, most map[string]int // by tenant; "": of all
	order         []string       // tenants, as their hashes end
}

func newHashes() *hashes { return &hashes{running: map[string]int{}, most: map[string]int{}} }

func (h *hashes) hash(tenant string) func() error {
	return func() error {
		h.count(tenant, 1)
		time.Sleep(time.Second)
		h.count(tenant, -1)
		return nil
	}
}

func (h *hashes) count(tenant string, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, name := range []string{tenant, ""} {
		h.running[name] += n
		h.most[name] = max(h.most[name], h.running[name])
	}
	if n < 0 {
		h.order = append(h.order, tenant)
	}
}

// Who tries passwords of one tenant takes no place of another's, which waits for one hash
// at most, and makes nothing grow.
func TestTryingPasswordsOfOneTenantHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, h := &password.Gate{}, newHashes()
		refused := 0
		var mu sync.Mutex
		attack := func(tenant string) {
			if err := g.Do(t.Context(), tenant, h.hash(tenant)); err != nil {
				if fault.CodeOf(err) != "too_many_requests" {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				refused++
			}
		}
		for range 100 {
			go attack("attacked")
		}
		synctest.Wait()
		if h.running["attacked"] != 2 || refused != 84 {
			t.Errorf("%d hashes run and %d tries are refused, want 2 and 84", h.running["attacked"], refused)
		}
		began := time.Now()
		if err := g.Do(t.Context(), "other", h.hash("other")); err != nil || time.Since(began) != time.Second {
			t.Errorf("the other waited %v: %v, want no wait", time.Since(began)-time.Second, err)
		}
		for range 16 {
			go attack("third")
		}
		synctest.Wait()
		began = time.Now()
		if err := g.Do(t.Context(), "other", h.hash("other")); err != nil || time.Since(began) > 2*time.Second {
			t.Errorf("with two others attacked, it waited %v: %v, want one hash at most", time.Since(began)-time.Second, err)
		}
		time.Sleep(time.Minute)
		if h.most[""] != 4 || h.most["attacked"] != 2 || h.most["third"] != 2 {
			t.Errorf("at once there were %v, want 4, and 2 of one tenant", h.most)
		}
	})
}

// Tenants get their turns one after the other.
func TestTenantsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, h := &password.Gate{Slots: 1}, newHashes()
		for _, tenant := range []string{"a", "a", "a", "b", "b", "c"} {
			go func() {
				if err := g.Do(t.Context(), tenant, h.hash(tenant)); err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		if want := []string{"a", "a", "b", "c", "a", "b"}; !slices.Equal(h.order, want) {
			t.Errorf("turns are %v, want %v", h.order, want)
		}
	})
}

// Who gives up leaves the line, also when their turn comes at that moment.
func TestWhoGivesUpKeepsNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, h := &password.Gate{Slots: 1, Line: 3}, newHashes()
		go g.Do(t.Context(), "a", h.hash("a"))
		synctest.Wait()
		for _, wait := range []time.Duration{500 * time.Millisecond, time.Second} {
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			defer cancel()
			go func() {
				if err := g.Do(ctx, "a", h.hash("a")); err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			}()
			synctest.Wait()
		}
		time.Sleep(10 * time.Second)
		began := time.Now()
		for range 2 {
			if err := g.Do(t.Context(), "a", h.hash("a")); err != nil {
				t.Error(err)
			}
		}
		if got := time.Since(began); got != 2*time.Second {
			t.Errorf("two hashes one after the other took %v", got)
		}
	})
}

// A name that is no tenant's is answered like one: it has a line, takes one place however
// many such names there are, and takes as long.
func TestNamesThatAreNoTenants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, h := &password.Gate{}, newHashes()
		if err := g.Do(t.Context(), "known", h.hash("known")); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			go g.Pretend(t.Context(), "flooded", h.hash("flooded"))
		}
		synctest.Wait()
		if err := g.Pretend(t.Context(), "flooded", h.hash("flooded")); fault.CodeOf(err) != "too_many_requests" {
			t.Errorf("one more of the same name: %v, want it refused like a tenant's", err)
		}
		began := time.Now()
		if err := g.Pretend(t.Context(), "another", h.hash("another")); err != nil || time.Since(began) != time.Second {
			t.Errorf("another name took %v: %v, want as long as a hash", time.Since(began), err)
		}
		began = time.Now()
		if err := g.Do(t.Context(), "known", h.hash("known")); err != nil || time.Since(began) != time.Second {
			t.Errorf("a tenant's took %v: %v, want no wait", time.Since(began), err)
		}
		if h.most["flooded"] != 1 || h.most[""] > 2 {
			t.Errorf("at once there were %v, want one of names that are no tenants'", h.most)
		}
	})
}
