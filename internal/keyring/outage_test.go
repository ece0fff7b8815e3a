package keyring_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
)

// uses are all ways to get a key out of a ring that has been used before.
func (e *env) uses(id envelope.KeyID) map[string]func() error {
	ctx := e.t.Context()
	return map[string]func() error{
		"Key":        func() error { _, err := e.Key(ctx, "main", id); return err },
		"NewKey":     func() error { _, err := e.NewKey(ctx, "main"); return err },
		"SubjectKey": func() error { _, err := e.SubjectKey(ctx, "main", token(1)); return err },
		"TenantKey":  func() error { _, err := e.TenantKey(ctx, "main", keyring.Index); return err },
	}
}

// warm uses everything once and returns the id of a key.
func (e *env) warm() envelope.KeyID {
	e.t.Helper()
	id := e.newKey().ID
	for what, use := range e.uses(id) {
		if err := use(); err != nil {
			e.t.Fatalf("%s: %v", what, err)
		}
	}
	synctest.Wait()
	return id
}

func TestAnOutageIsSurvivedUntilTheHardAgeAndNotLonger(t *testing.T) {
	if testing.Short() {
		t.Skip("hours of an outage, second by second")
	}
	for name, every := range map[string]time.Duration{
		"a server in constant use":       time.Second,
		"a server that is used at times": 7 * time.Minute,
		"a server that was idle":         59 * time.Minute,
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				e := setup(t)
				id := e.warm()
				confirmed := time.Now()
				e.service.Unreachable()
				for time.Since(confirmed) < 3*time.Hour {
					time.Sleep(every)
					for what, use := range e.uses(id) {
						err := use()
						if age := time.Since(confirmed); age < time.Hour && err != nil {
							t.Fatalf("%s after %s: %v, want a key", what, age, err)
						} else if age >= time.Hour && !fault.Is(err, fault.Unavailable) {
							t.Fatalf("%s after %s: %v, want unavailable", what, age, err)
						}
					}
				}
				e.service.Restore()
				time.Sleep(2 * time.Second)
				e.warm()
				if err := e.uses(id)["Key"](); err != nil {
					t.Errorf("after the outage: %v", err)
				}
			})
		})
	}
}

func TestARevocationBitesWithinTheSoftAgeHoweverBusyTheServer(t *testing.T) {
	for name, every := range map[string]time.Duration{
		"a server in constant use":       100 * time.Millisecond,
		"a server that is used at times": 4*time.Minute + 30*time.Second,
		"a server that was idle":         6 * time.Minute,
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				e := setup(t)
				id := e.warm()
				confirmed := time.Now()
				e.service.Deny()
				for time.Since(confirmed) < 20*time.Minute {
					time.Sleep(every)
					for what, use := range e.uses(id) {
						err := use()
						if time.Since(confirmed) < 5*time.Minute {
							continue
						}
						if !fault.Is(err, fault.Unavailable) || code(err) != "key_denied" {
							t.Fatalf("%s %s after the last confirmation: %v, want key_denied", what, time.Since(confirmed), err)
						}
					}
				}
				e.service.Restore()
				time.Sleep(time.Second)
				e.warm()
				if err := e.uses(id)["Key"](); err != nil {
					t.Errorf("after the right was given back: %v", err)
				}
			})
		})
	}
}

func TestARevocationDuringAnOutageBitesAtTheNextAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := setup(t)
		id := e.warm()
		e.service.Unreachable()
		time.Sleep(20 * time.Minute)
		e.warm()
		e.service.Deny()
		time.Sleep(2 * time.Second)
		e.uses(id)["Key"]() // has the service asked in the background
		synctest.Wait()
		for what, use := range e.uses(id) {
			if err := use(); code(err) != "key_denied" {
				t.Errorf("%s: %v, want key_denied", what, err)
			}
		}
	})
}

func TestNobodyWaitsForTheKeyServiceInTheSteadyState(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := setup(t)
		id := e.warm()
		// Each call takes 3 seconds, then answers; then it hangs until it is given up.
		slow := func(context.Context) error { time.Sleep(3 * time.Second); return nil }
		hangs := func(ctx context.Context) error {
			<-ctx.Done()
			return fault.New(fault.Unavailable, "no answer: %w", ctx.Err())
		}
		for _, hook := range []func(context.Context) error{slow, hangs} {
			e.service.Hook(hook)
			for range 30 * 60 {
				time.Sleep(time.Second)
				for what, use := range e.uses(id) {
					began := time.Now()
					if err := use(); err != nil || time.Since(began) != 0 {
						t.Fatalf("%s waited %s: %v", what, time.Since(began), err)
					}
				}
			}
		}
	})
}

func TestAfterAPauseTheKeyServiceIsWaitedForAndOnlyOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := setup(t, func(c *keyring.Config) { c.CallTimeout = 2 * time.Second })
		id := e.warm()
		e.service.Hook(func(ctx context.Context) error {
			<-ctx.Done()
			return fault.New(fault.Unavailable, "no answer: %w", ctx.Err())
		})
		time.Sleep(30 * time.Minute)
		began := time.Now()
		for range 100 {
			if err := e.uses(id)["NewKey"](); err != nil {
				t.Fatal(err)
			}
		}
		if waited := time.Since(began); waited != 2*time.Second {
			t.Errorf("100 starts after a pause waited %s, want one timeout of 2s", waited)
		}
	})
}

func TestAnOutageDoesNotFloodTheKeyService(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := setup(t)
		id := e.warm()
		e.service.Unreachable()
		before := e.service.Calls()
		for range 2 * 60 * 60 * 10 {
			time.Sleep(100 * time.Millisecond)
			e.uses(id)["Key"]()
		}
		if calls := e.service.Calls() - before; calls > 2*60*60+10 || calls < 60*60 {
			t.Errorf("%d calls in two hours of outage, want at most one a second, and to go on trying", calls)
		}
	})
}

func TestTheHardAgeCountsFromTheBeginningOfTheCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := setup(t)
		id := e.warm()
		time.Sleep(6 * time.Minute)
		e.service.Hook(func(context.Context) error { time.Sleep(4 * time.Second); return nil })
		began := time.Now()
		must(e.Key(t.Context(), "main", id))(t)
		e.service.Unreachable()
		time.Sleep(time.Until(began.Add(time.Hour)))
		_, err := e.Key(t.Context(), "main", id)
		want(t, "Key", err, fault.Unavailable)
	})
}

func TestWhatWasOpenedBeforeARevocationIsOpenedAgainAfterIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := setup(t, func(c *keyring.Config) { c.CacheAge = time.Hour })
		id := e.warm()
		e.service.Deny()
		time.Sleep(6 * time.Minute)
		_, err := e.Key(t.Context(), "main", id)
		want(t, "Key", err, fault.Unavailable)
		e.service.Restore()
		time.Sleep(time.Second)
		reads := e.storage.Calls("DataKey")
		must(e.Key(t.Context(), "main", id))(t)
		if n := e.storage.Calls("DataKey") - reads; n != 1 {
			t.Errorf("the row was read %d times, want 1", n)
		}
	})
}

func TestTheCacheForgetsByAgeCountAndUses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := setup(t, func(c *keyring.Config) { c.CacheSize, c.CacheAge, c.CacheUses = 2, time.Minute, 5 })
		a, b, c := e.newKey().ID, e.newKey().ID, e.newKey().ID
		use := func(id envelope.KeyID, times int) (reads int) {
			before := e.storage.Calls("DataKey")
			for range times {
				must(e.Key(t.Context(), "main", id))(t)
			}
			return e.storage.Calls("DataKey") - before
		}
		if n := use(a, 6); n != 1 {
			t.Errorf("the first 6 uses read the row %d times, want 1", n)
		}
		if n := use(a, 1); n != 1 {
			t.Errorf("a use beyond 5 read the row %d times, want 1", n)
		}
		use(b, 1)
		use(c, 1)
		if n := use(a, 1); n != 1 {
			t.Errorf("after two others, the row was read %d times, want 1", n)
		}

		// Constant use must not keep a key: 24 uses in two minutes, and at least
		// two of them read.
		e = setup(t, func(c *keyring.Config) { c.CacheAge = time.Minute })
		a = e.newKey().ID
		before := e.storage.Calls("DataKey")
		for range 24 {
			time.Sleep(5 * time.Second)
			must(e.Key(t.Context(), "main", a))(t)
		}
		if n := e.storage.Calls("DataKey") - before; n != 2 {
			t.Errorf("in two minutes of constant use the row was read %d times, want 2", n)
		}
	})
}

func TestAClockThatIsSetBackMakesNothingYounger(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	e := setup(t, func(c *keyring.Config) { c.Now = func() time.Time { return now } })
	id := e.newKey().ID
	must(e.Key(t.Context(), "main", id))(t)
	now = now.Add(-time.Hour)
	e.service.Unreachable()
	_, err := e.Key(t.Context(), "main", id)
	want(t, "Key", err, fault.Unavailable)
}

func TestAClockThatIsSetBackDoesNotPutOffTheNextCall(t *testing.T) {
	t.Parallel()
	var minutes atomic.Int64
	e := setup(t, func(c *keyring.Config) { c.Now = func() time.Time { return time.Unix(1_000_000+60*minutes.Load(), 0) } })
	id := e.newKey().ID
	e.service.Unreachable()
	minutes.Store(70)
	_, err := e.Key(t.Context(), "main", id)
	want(t, "Key in the outage", err, fault.Unavailable)
	minutes.Store(-70)
	e.service.Restore()
	must(e.Key(t.Context(), "main", id))(t)
}

func TestAKeyReadBeforeTheClockWasSetBackIsReadAgain(t *testing.T) {
	t.Parallel()
	var minutes atomic.Int64
	e := setup(t, func(c *keyring.Config) { c.Now = func() time.Time { return time.Unix(60*minutes.Load(), 0) } })
	id := e.newKey().ID
	for i, at := range []int64{3, 1} {
		minutes.Store(at)
		must(e.Key(t.Context(), "main", id))(t)
		if n := e.storage.Calls("DataKey"); n != i+1 {
			t.Errorf("at minute %d the row had been read %d times, want %d", at, n, i+1)
		}
	}
}

func TestReadinessIsARealUnwrapOfTheLastSeconds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := setup(t)
		check := func() error { return e.Check(t.Context()) }
		if err := check(); err != nil {
			t.Fatalf("Check of an empty installation: %v", err)
		}
		e.warm()
		for name, test := range map[string]struct {
			breaks func()
			kind   fault.Kind
		}{
			"the key service is away":   {e.service.Unreachable, fault.Unavailable},
			"the key service refuses":   {e.service.Deny, fault.Unavailable},
			"the storage is away":       {func() { e.storage.Hooks(storageDown, nil) }, fault.Unavailable},
			"the tenant key is damaged": {func() { e.storage.Edit(damageTenantKey) }, fault.Integrity},
		} {
			time.Sleep(10 * time.Second)
			if err := check(); err != nil {
				t.Fatalf("before %s: %v", name, err)
			}
			test.breaks()
			time.Sleep(5*time.Second - 1)
			calls := e.service.Calls()
			if err := check(); err != nil || e.service.Calls() != calls {
				t.Errorf("%s: %v, want the old answer without a call", name, err)
			}
			time.Sleep(time.Nanosecond)
			want(t, name, check(), test.kind)
			e.service.Restore()
			e.storage.Hooks(nil, nil)
			want(t, name+", again", check(), test.kind)
			if test.kind == fault.Integrity {
				e.storage.Edit(damageTenantKey) // flips the bit back
			}
		}
		time.Sleep(10 * time.Second)
		if err := check(); err != nil {
			t.Errorf("in the end: %v", err)
		}
	})
}

// Who asks while somebody else's try hangs waits for that one, not for one more.
func TestReadinessAskedAtOnceIsOneTry(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := setup(t, func(c *keyring.Config) { c.CallTimeout = 5 * time.Second })
		e.warm()
		time.Sleep(10 * time.Second)
		e.service.Hang()
		began := time.Now()
		var (
			asked   sync.WaitGroup
			answers [3]error
		)
		for i := range answers {
			asked.Go(func() { answers[i] = e.Check(t.Context()) })
		}
		asked.Wait()
		for _, err := range answers {
			want(t, "Check", err, fault.Unavailable)
		}
		if waited := time.Since(began); waited != 5*time.Second {
			t.Errorf("three who asked at once waited %s, want one timeout of 5s", waited)
		}
	})
}

func storageDown(context.Context, string) error { return fault.New(fault.Unavailable, "disk full") }
