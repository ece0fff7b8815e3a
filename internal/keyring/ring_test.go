package keyring_test

import (
	"bytes"
	"context"
	"crypto/fips140"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/keyring/keyringtest"
	"github.com/underseal/underseal/internal/keyring/keyrow"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/kms/kmstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// An env is a ring with a key service and a storage that tests can break.
type env struct {
	*keyring.Ring
	t       testing.TB
	service *kmstest.Faulty
	storage *keyringtest.Memory
	config  keyring.Config
}

// bubble runs a test in virtual time.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	if fips140.Enabled() {
		t.Skip("in FIPS mode, Go's random generator measures real time")
	}
	synctest.Test(t, f)
}

// setup opens a ring with a small pool. Tests that pass time run in a bubble,
// where time is virtual.
func setup(t testing.TB, edit ...func(*keyring.Config)) *env {
	t.Helper()
	return setupWith(t, kmstest.New(t), edit...)
}

// setupWith is setup with a key service that others may use too.
func setupWith(t testing.TB, service *kmstest.Faulty, edit ...func(*keyring.Config)) *env {
	t.Helper()
	e := &env{t: t, service: service, storage: keyringtest.NewMemory()}
	e.config = keyring.Config{Services: map[string]kms.Service{"first": e.service}, Default: "first", Storage: e.storage, Deployment: "d1", PoolSize: 16}
	for _, f := range edit {
		f(&e.config)
	}
	e.Ring = e.another()
	return e
}

// another opens one more ring on the same storage, as another process does.
func (e *env) another() *keyring.Ring {
	e.t.Helper()
	ring, err := keyring.Open(e.t.Context(), e.config)
	if err != nil {
		e.t.Fatalf("Open: %v", err)
	}
	e.t.Cleanup(ring.Close)
	return ring
}

// restart closes the ring and opens one that has nothing in memory.
func (e *env) restart() {
	e.t.Helper()
	e.Close()
	e.Ring = e.another()
}

func (e *env) newKey() envelope.Key {
	e.t.Helper()
	return must(e.NewKey(e.t.Context(), "main"))(e.t)
}

// must returns a value that came without an error.
func must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// want checks the kind of an error.
func want(t testing.TB, what string, err error, kind fault.Kind) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Fatalf("%s: %v, want %s", what, err, kind)
	}
}

func code(err error) string {
	if e, ok := err.(*fault.Error); ok {
		return e.StableCode()
	}
	return ""
}

func token(n byte) [32]byte { return [32]byte{n} }

func TestKeysAreTheSameAfterARestart(t *testing.T) {
	t.Parallel()
	e := setup(t)
	ctx := t.Context()
	keys := map[envelope.KeyID]envelope.Key{}
	for range 100 {
		key := e.newKey()
		keys[key.ID] = key
	}
	index := must(e.TenantKey(ctx, "main", keyring.Index))(t)
	person := must(e.SubjectKey(ctx, "main", token(1)))(t)
	if len(keys) != 100 {
		t.Errorf("100 new keys had %d ids", len(keys))
	}
	e.restart()
	for id, key := range keys {
		if got := must(e.Key(ctx, "main", id))(t); got != key {
			t.Errorf("Key(%s) is another key", id)
		}
	}
	if must(e.TenantKey(ctx, "main", keyring.Index))(t) != index || must(e.SubjectKey(ctx, "main", token(1)))(t) != person {
		t.Error("the index key or a person's key is another one")
	}
}

func TestEachPurposeAndTenantHasItsOwnKey(t *testing.T) {
	t.Parallel()
	e := setup(t)
	seen := map[[32]byte]string{}
	for _, tenant := range []string{"a", "b"} {
		for _, purpose := range []keyring.Purpose{keyring.Index, keyring.Audit, keyring.Inbox, keyring.Log} {
			key := must(e.TenantKey(t.Context(), tenant, purpose))(t)
			if other, ok := seen[key.Secret]; ok {
				t.Errorf("%s of %s has the key of %s", purpose, tenant, other)
			}
			seen[key.Secret] = fmt.Sprintf("%s of %s", purpose, tenant)
		}
	}
	_, err := e.TenantKey(t.Context(), "a", "pool")
	want(t, "a purpose that is none", err, fault.Invalid)
}

func TestAKeyOfNobodyOrOfAnotherTenantIsNotFound(t *testing.T) {
	t.Parallel()
	e := setup(t)
	key := e.newKey()
	must(e.NewKey(t.Context(), "other"))(t)
	_, err := e.Key(t.Context(), "other", key.ID)
	want(t, "another tenant's key", err, fault.NotFound)
	_, err = e.Key(t.Context(), "main", envelope.KeyID{1})
	want(t, "a key that never was", err, fault.NotFound)
	if n := e.storage.Calls("Found"); n != 2 {
		t.Errorf("%d tenants were founded, want 2: looking for a key makes no tenant", n)
	}
}

func TestTwoProcessesFoundOneTenant(t *testing.T) {
	t.Parallel()
	e := setup(t)
	rings := []*keyring.Ring{e.Ring, e.another(), e.another()}
	var all sync.WaitGroup
	keys := make([][]envelope.Key, 12)
	for i := range keys {
		all.Go(func() {
			ring := rings[i%len(rings)]
			for _, purpose := range []keyring.Purpose{keyring.Log, keyring.Index, keyring.Inbox, keyring.Audit} {
				key, err := ring.TenantKey(t.Context(), "main", purpose)
				if err != nil {
					t.Error(err)
				}
				keys[i] = append(keys[i], key)
			}
		})
	}
	all.Wait()
	for _, got := range keys {
		for j := range got {
			if got[j] != keys[0][j] {
				t.Fatal("two callers got different keys of one tenant and purpose")
			}
		}
	}
}

func TestStartsMakeNoKeyCallAndNoCommitOfTheirOwn(t *testing.T) {
	t.Parallel()
	e := setup(t, func(c *keyring.Config) { c.PoolSize = 256 })
	seen := map[envelope.KeyID]bool{}
	for range 10_000 {
		seen[e.newKey().ID] = true
	}
	if len(seen) != 10_000 {
		t.Errorf("10,000 new keys had %d ids", len(seen))
	}
	// One to wrap the tenant key, one to see that it was, and one to unwrap it.
	if n := e.service.Calls(); n != 3 {
		t.Errorf("%d calls of the key service, want 3", n)
	}
	if n := e.storage.Calls("AddDataKeys"); n > 10_000/256+8 {
		t.Errorf("%d batches were stored for 10,000 keys, want about %d", n, 10_000/256)
	}
}

func TestNoStartWaitsWhileABatchIsStored(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := setup(t, func(c *keyring.Config) { c.PoolSize = 8 * 64 })
		e.newKey()
		e.storage.Hooks(func(_ context.Context, method string) error {
			if method == "AddDataKeys" {
				time.Sleep(time.Minute)
			}
			return nil
		}, nil)
		began := time.Now()
		for range 63 {
			e.newKey()
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("63 starts of a batch of 64 waited %s for the next batch", waited)
		}
		e.newKey()
		if time.Since(began) != time.Minute {
			t.Error("the 65th start did not wait for the next batch")
		}
	})
}

func TestBatchesAreMadeBeforeTheyAreNeeded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := setup(t)
		e.newKey()
		e.storage.Hooks(func(_ context.Context, method string) error {
			if method == "AddDataKeys" {
				time.Sleep(10 * time.Second)
			}
			return nil
		}, nil)
		for range 1000 {
			began := time.Now()
			e.newKey()
			if waited := time.Since(began); waited != 0 {
				t.Fatalf("a start waited %s", waited)
			}
			time.Sleep(10 * time.Second)
		}
	})
}

func TestABatchThatCannotBeStored(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := setup(t, func(c *keyring.Config) { c.PoolSize = 64 })
		e.newKey()
		down := func(_ context.Context, method string) error {
			if method == "AddDataKeys" {
				return fault.New(fault.Unavailable, "disk full")
			}
			return nil
		}
		for name, hooks := range map[string][2]func(context.Context, string) error{
			"nothing was stored": {down, nil}, "it was, and the reply was lost": {nil, down},
		} {
			e.storage.Hooks(hooks[0], hooks[1])
			var err error
			for range 1000 {
				if _, err = e.NewKey(t.Context(), "main"); err != nil {
					break
				}
			}
			want(t, name, err, fault.Unavailable)
			e.storage.Hooks(nil, nil)
			key := e.newKey()
			e.restart()
			must(e.Key(t.Context(), "main", key.ID))(t)
		}
	})
}

func TestClosedRing(t *testing.T) {
	t.Parallel()
	e := setup(t)
	key := e.newKey()
	e.Close()
	e.Close()
	e.Assigned("main", key.ID)
	_, err := e.NewKey(t.Context(), "main")
	want(t, "NewKey", err, fault.Unavailable)
	_, err = e.Key(t.Context(), "main", key.ID)
	want(t, "Key", err, fault.Unavailable)
	want(t, "Check", e.Check(t.Context()), fault.Unavailable)
}

func TestCallersThatGiveUpDoNotSpoilItForOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := setup(t)
		e.service.Hook(func(ctx context.Context) error { time.Sleep(1500 * time.Millisecond); return ctx.Err() })
		impatient, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		go func() { e.NewKey(impatient, "main") }()
		e.newKey()
	})
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*keyring.Config){
		"no service":            func(c *keyring.Config) { c.Services = nil },
		"another default":       func(c *keyring.Config) { c.Default = "second" },
		"a nameless service":    func(c *keyring.Config) { c.Services[""] = c.Services["first"] },
		"a service that is nil": func(c *keyring.Config) { c.Services["second"] = nil },
		"no storage":            func(c *keyring.Config) { c.Storage = nil },
		"no deployment":         func(c *keyring.Config) { c.Deployment = "" },
		"a long deployment":     func(c *keyring.Config) { c.Deployment = strings.Repeat("d", 256) },
		"a negative pool":       func(c *keyring.Config) { c.PoolSize = -1 },
		"too large a pool":      func(c *keyring.Config) { c.PoolSize = 8193 },
		"hard before soft":      func(c *keyring.Config) { c.HardAge = time.Second },
		"a negative soft age":   func(c *keyring.Config) { c.SoftAge = -1 },
		"a negative cache age":  func(c *keyring.Config) { c.CacheAge = -1 },
	} {
		config := keyring.Config{Services: map[string]kms.Service{"first": kmstest.New(t)}, Default: "first", Storage: keyringtest.NewMemory(), Deployment: "d1"}
		edit(&config)
		ring, err := keyring.Open(t.Context(), config)
		if ring != nil || !fault.Is(err, fault.Invalid) {
			t.Errorf("Open with %s: %v, want invalid", name, err)
		}
	}
}

func TestAnotherRootKeyIsRefusedSayingWhichIsWanted(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.newKey()
	d := must(e.service.Describe(t.Context()))(t)
	e.restart()
	e.newKey()
	e.Close()

	other := kmstest.New(t)
	e.config.Services = map[string]kms.Service{"first": other}
	_, err := keyring.Open(t.Context(), e.config)
	if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), d.KeyID) {
		t.Errorf("Open with another root key: %v, want a conflict that names %s", err, d.KeyID)
	}
	// One that does not answer is found out when it does.
	e.config.Services["first"] = nameless{other}
	e.Ring = e.another()
	_, err = e.NewKey(t.Context(), "main")
	if !fault.Is(err, fault.Unavailable) || code(err) != "other_root_key" || !strings.Contains(err.Error(), d.KeyID) {
		t.Errorf("NewKey with another root key: %v (%s), want unavailable, naming %s", err, code(err), d.KeyID)
	}
}

// A nameless service does not answer when it is asked which root key it has.
type nameless struct{ kms.Service }

func (nameless) Describe(context.Context) (kms.Description, error) {
	return kms.Description{}, fault.New(fault.Unavailable, "key service does not answer")
}

func TestAssignedIsWrittenDownManyAtOnceInTheBackground(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := setup(t)
		states := func() (ready, assigned int) {
			e.storage.Edit(func(tables *keyringtest.Tables) {
				for _, row := range tables.DataKeys {
					switch {
					case row.Scope == keyrow.Pool && row.State == keyrow.Ready:
						ready++
					case row.State == keyrow.Assigned:
						assigned++
					}
				}
			})
			return ready, assigned
		}
		for range 1000 {
			e.Assigned("main", e.newKey().ID)
		}
		time.Sleep(2 * time.Second)
		if _, assigned := states(); assigned != 1000 || e.storage.Calls("MarkAssigned") != 1 {
			t.Errorf("%d of 1000 keys are marked, by %d writes, want all by one", assigned, e.storage.Calls("MarkAssigned"))
		}

		// A storage that fails for a while forgets nothing.
		e.storage.Hooks(func(context.Context, string) error { return fault.New(fault.Unavailable, "disk full") }, nil)
		e.Assigned("main", e.newKey().ID)
		time.Sleep(10 * time.Second)
		e.storage.Hooks(nil, nil)
		time.Sleep(2 * time.Second)
		if _, assigned := states(); assigned != 1001 {
			t.Errorf("%d keys are marked after an outage of the storage, want 1001", assigned)
		}

		e.Assigned("main", e.newKey().ID)
		e.Close()
		if _, assigned := states(); assigned != 1002 {
			t.Errorf("%d keys are marked after Close, want 1002", assigned)
		}
	})
}

func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	e := setup(t)
	key := e.newKey()
	secrets, err := keyring.DeriveForTest(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("all", "secrets", secrets, "ring", fmt.Sprint(e.Ring), "key", key)
	text := fmt.Sprintf("%v %+v %#v %x %d %s %v %+v", secrets, secrets, secrets, secrets, secrets, &log, e.Ring, e.Ring)
	if !strings.Contains(text, "[tenant key]") {
		t.Errorf("printed %q", text)
	}
	for _, b := range [][]byte{key.Secret[:8], secretBytes(t)} {
		for _, spelling := range []string{string(b), hex.EncodeToString(b), strings.Trim(fmt.Sprint(b), "[]")} {
			if strings.Contains(text, spelling) {
				t.Errorf("printed a secret: %q", text)
			}
		}
	}
}
