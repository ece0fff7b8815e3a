// Package kmstest holds key services to the contract of kms.Service, and gives
// tests a key service that fails on command.
package kmstest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"testing"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
)

// Context returns a context with all items set.
func Context() kms.Context {
	return kms.Context{App: "underseal", Deployment: "d1", Tenant: "main", Purpose: "data", Version: 1}
}

// TestService runs the conformance suite. open returns a service with a root
// key of its own each time it is called; it cleans up through t.
func TestService(t *testing.T, open func(t *testing.T) kms.Service) {
	for name, test := range map[string]func(*testing.T, kms.Service){
		"a wrapped key comes back":                                   roundTrip,
		"the same key never wraps to the same bytes":                 fresh,
		"wrapped bytes do not show the key":                          hidden,
		"a context with an empty item is refused":                    emptyContext,
		"a key that is too short or too long is refused":             keySize,
		"any other context is refused":                               otherContext,
		"the wrapped keys of two tenants cannot be swapped":          swappedTenants,
		"every flipped bit is refused":                               flippedBits,
		"every truncation and extension is refused":                  resized,
		"a destroyed version opens nothing, and its loss is not new": destroyed,
		"a version that never was cannot be destroyed":               unknownVersion,
		"wrapped bytes name the version that Describe named":         version,
		"nothing but wrapped bytes has a version":                    noVersion,
		"a rotation leaves what is old readable":                     rotated,
		"a destroyed version takes no newer one along":               destroyedOld,
		"a context that is done is an outage":                        contextDone,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
	t.Run("another root key is refused and both are told apart", func(t *testing.T) { otherRoot(t, open(t), open(t)) })
}

func newKey() []byte {
	key := make([]byte, 32)
	rand.Read(key)
	return key
}

func mustWrap(t *testing.T, s kms.Service, c kms.Context, key []byte) []byte {
	t.Helper()
	wrapped, err := s.Wrap(t.Context(), c, key)
	if err != nil {
		t.Fatalf("Wrap: %v", err)
	}
	return wrapped
}

// refused checks that an unwrap fails as changed bytes do: with no key, and
// neither as an outage nor as a revocation, which have other consequences.
func refused(t *testing.T, s kms.Service, c kms.Context, wrapped []byte, what string) {
	t.Helper()
	key, err := s.Unwrap(t.Context(), c, wrapped)
	if err == nil || key != nil {
		t.Fatalf("%s: Unwrap gave a key of %d bytes and error %v, want no key and an error", what, len(key), err)
	}
	if kind := fault.KindOf(err); !slices.Contains([]fault.Kind{fault.Integrity, fault.Conflict, fault.NotFound}, kind) {
		t.Fatalf("%s: Unwrap failed as %s (%v), want integrity, conflict or not_found", what, kind, err)
	}
}

// integrity checks that an unwrap fails as Integrity.
func integrity(t *testing.T, s kms.Service, c kms.Context, wrapped []byte, what string) {
	t.Helper()
	refused(t, s, c, wrapped, what)
	if _, err := s.Unwrap(t.Context(), c, wrapped); !fault.Is(err, fault.Integrity) {
		t.Fatalf("%s: Unwrap: %v, want integrity", what, err)
	}
}

func roundTrip(t *testing.T, s kms.Service) {
	key := newKey()
	wrapped := mustWrap(t, s, Context(), key)
	got, err := s.Unwrap(t.Context(), Context(), wrapped)
	if err != nil || !bytes.Equal(got, key) {
		t.Fatalf("Unwrap: %v, equal %t", err, bytes.Equal(got, key))
	}
}

func fresh(t *testing.T, s kms.Service) {
	key := newKey()
	if bytes.Equal(mustWrap(t, s, Context(), key), mustWrap(t, s, Context(), key)) {
		t.Error("two wraps of one key are equal")
	}
}

func hidden(t *testing.T, s kms.Service) {
	key := newKey()
	wrapped := mustWrap(t, s, Context(), key)
	if bytes.Contains(wrapped, key[:8]) || len(wrapped) > 4<<10 {
		t.Errorf("%d wrapped bytes, showing the key: %t", len(wrapped), bytes.Contains(wrapped, key[:8]))
	}
}

func emptyContext(t *testing.T, s kms.Service) {
	wrapped := mustWrap(t, s, Context(), newKey())
	for name, clear := range map[string]func(*kms.Context){
		"app":        func(c *kms.Context) { c.App = "" },
		"deployment": func(c *kms.Context) { c.Deployment = "" },
		"tenant":     func(c *kms.Context) { c.Tenant = "" },
		"purpose":    func(c *kms.Context) { c.Purpose = "" },
		"version":    func(c *kms.Context) { c.Version = 0 },
	} {
		c := Context()
		clear(&c)
		if _, err := s.Wrap(t.Context(), c, newKey()); !fault.Is(err, fault.Invalid) {
			t.Errorf("Wrap without %s: %v, want invalid", name, err)
		}
		if _, err := s.Unwrap(t.Context(), c, wrapped); !fault.Is(err, fault.Invalid) {
			t.Errorf("Unwrap without %s: %v, want invalid", name, err)
		}
	}
}

func keySize(t *testing.T, s kms.Service) {
	for size, want := range map[int]bool{0: false, 15: false, 16: true, 256: true, 257: false} {
		_, err := s.Wrap(t.Context(), Context(), make([]byte, size))
		if ok := err == nil; ok != want || !ok && !fault.Is(err, fault.Invalid) {
			t.Errorf("Wrap of %d bytes: %v, want success: %t, else invalid", size, err, want)
		}
	}
}

func otherContext(t *testing.T, s kms.Service) {
	wrapped := mustWrap(t, s, Context(), newKey())
	for name, change := range map[string]func(*kms.Context){
		"app":                    func(c *kms.Context) { c.App = "other" },
		"deployment":             func(c *kms.Context) { c.Deployment = "d2" },
		"tenant":                 func(c *kms.Context) { c.Tenant = "Main" },
		"purpose":                func(c *kms.Context) { c.Purpose = "secret" },
		"version":                func(c *kms.Context) { c.Version = 2 },
		"items split elsewhere":  func(c *kms.Context) { c.Deployment, c.Tenant = "d", "1main" },
		"items split once more":  func(c *kms.Context) { c.Tenant, c.Purpose = "maind", "ata" },
		"items in another order": func(c *kms.Context) { c.Deployment, c.Tenant = c.Tenant, c.Deployment },
	} {
		c := Context()
		change(&c)
		integrity(t, s, c, wrapped, name)
	}
}

func swappedTenants(t *testing.T, s kms.Service) {
	a, b := Context(), Context()
	a.Tenant, b.Tenant = "a", "b"
	ofA, ofB := mustWrap(t, s, a, newKey()), mustWrap(t, s, b, newKey())
	integrity(t, s, a, ofB, "b's key as a's")
	integrity(t, s, b, ofA, "a's key as b's")
}

func flippedBits(t *testing.T, s kms.Service) {
	wrapped := mustWrap(t, s, Context(), newKey())
	for i := range len(wrapped) * 8 {
		changed := bytes.Clone(wrapped)
		changed[i/8] ^= 1 << (i % 8)
		refused(t, s, Context(), changed, "flipped bit")
	}
}

func resized(t *testing.T, s kms.Service) {
	wrapped := mustWrap(t, s, Context(), newKey())
	for n := range wrapped {
		refused(t, s, Context(), wrapped[:n], "truncation")
	}
	refused(t, s, Context(), append(bytes.Clone(wrapped), 0), "extension")
	refused(t, s, Context(), append(bytes.Clone(wrapped), wrapped...), "doubling")
}

// mustDestroy destroys the version, under which wrapped was wrapped. The test
// ends where only a whole key can be destroyed, if that left everything readable.
func mustDestroy(t *testing.T, s kms.Service, version string, wrapped []byte) {
	t.Helper()
	err := s.Destroy(t.Context(), version)
	if fault.CodeOf(err) == kms.CodeWholeKey {
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("Destroy: %v, want invalid", err)
		}
		if _, err := s.Unwrap(t.Context(), Context(), wrapped); err != nil {
			t.Errorf("Unwrap after Destroy refused: %v", err)
		}
		t.Skip("this provider destroys no single version")
	}
	if err != nil {
		t.Fatalf("Destroy: %v", err)
	}
}

func destroyed(t *testing.T, s kms.Service) {
	wrapped := mustWrap(t, s, Context(), newKey())
	d, err := s.Describe(t.Context())
	if err != nil || d.Version == "" {
		t.Fatalf("Describe: %+v, %v", d, err)
	}
	for range 2 {
		mustDestroy(t, s, d.Version, wrapped)
	}
	if _, err := s.Unwrap(t.Context(), Context(), wrapped); !fault.Is(err, fault.NotFound) {
		t.Errorf("Unwrap under a destroyed version: %v, want not_found", err)
	}
}

func unknownVersion(t *testing.T, s kms.Service) {
	wrapped := mustWrap(t, s, Context(), newKey())
	for _, version := range []string{"", "0", "-1", "01", "+1", "4711", "no version"} {
		if err := s.Destroy(t.Context(), version); !fault.Is(err, fault.NotFound) {
			t.Errorf("Destroy(%q): %v, want not_found", version, err)
		}
	}
	if _, err := s.Unwrap(t.Context(), Context(), wrapped); err != nil {
		t.Errorf("Unwrap after that: %v", err)
	}
}

// mustVersion returns the version that wrapped names.
func mustVersion(t *testing.T, s kms.Service, wrapped []byte) string {
	t.Helper()
	version, err := s.Version(wrapped)
	if err != nil || version == "" {
		t.Fatalf("Version: %q, %v", version, err)
	}
	return version
}

// rotate makes a new version of the root key, if the service can.
func rotate(t *testing.T, s kms.Service) (version string) {
	t.Helper()
	rotator, ok := s.(kms.Rotator)
	if !ok {
		t.Skip("this provider cannot rotate by itself")
	}
	version, err := rotator.Rotate(t.Context())
	if err != nil {
		t.Fatalf("Rotate: %v", err)
	}
	return version
}

func version(t *testing.T, s kms.Service) {
	d, err := s.Describe(t.Context())
	if err != nil {
		t.Fatalf("Describe: %v", err)
	}
	if got := mustVersion(t, s, mustWrap(t, s, Context(), newKey())); got != d.Version {
		t.Errorf("wrapped under version %q, Describe said %q", got, d.Version)
	}
}

func noVersion(t *testing.T, s kms.Service) {
	for name, wrapped := range map[string][]byte{
		"nothing": nil, "a short text": []byte("x"), "zeros": make([]byte, 100), "too much": make([]byte, 5<<10),
	} {
		if got, err := s.Version(wrapped); !fault.Is(err, fault.Integrity) || got != "" {
			t.Errorf("Version of %s: %q, %v, want integrity", name, got, err)
		}
	}
}

func rotated(t *testing.T, s kms.Service) {
	key := newKey()
	old := mustWrap(t, s, Context(), key)
	newest := rotate(t, s)
	d, err := s.Describe(t.Context())
	if err != nil || d.Version != newest || newest == mustVersion(t, s, old) {
		t.Errorf("Describe after the rotation from %q to %q: %+v, %v", mustVersion(t, s, old), newest, d, err)
	}
	fresh := mustWrap(t, s, Context(), key)
	if got := mustVersion(t, s, fresh); got != newest {
		t.Errorf("wrapped under version %q after a rotation to %q", got, newest)
	}
	for name, wrapped := range map[string][]byte{"old": old, "new": fresh} {
		if got, err := s.Unwrap(t.Context(), Context(), wrapped); err != nil || !bytes.Equal(got, key) {
			t.Errorf("Unwrap of %s bytes: %v, equal %t", name, err, bytes.Equal(got, key))
		}
	}
}

func destroyedOld(t *testing.T, s kms.Service) {
	key := newKey()
	old := mustWrap(t, s, Context(), key)
	rotate(t, s)
	fresh := mustWrap(t, s, Context(), key)
	mustDestroy(t, s, mustVersion(t, s, old), old)
	if _, err := s.Unwrap(t.Context(), Context(), old); !fault.Is(err, fault.NotFound) {
		t.Errorf("Unwrap under the destroyed version: %v, want not_found", err)
	}
	if got, err := s.Unwrap(t.Context(), Context(), fresh); err != nil || !bytes.Equal(got, key) {
		t.Errorf("Unwrap under the newer version: %v, equal %t", err, bytes.Equal(got, key))
	}
}

func contextDone(t *testing.T, s kms.Service) {
	wrapped := mustWrap(t, s, Context(), newKey())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, wrapErr := s.Wrap(ctx, Context(), newKey())
	_, unwrapErr := s.Unwrap(ctx, Context(), wrapped)
	_, describeErr := s.Describe(ctx)
	for _, err := range []error{wrapErr, unwrapErr, describeErr} {
		if !fault.Is(err, fault.Unavailable) || !errors.Is(err, ctx.Err()) {
			t.Errorf("call with a context that is done: %v, want unavailable and its cause", err)
		}
	}
}

func otherRoot(t *testing.T, a, b kms.Service) {
	da, errA := a.Describe(t.Context())
	db, errB := b.Describe(t.Context())
	if errA != nil || errB != nil || da.KeyID == db.KeyID || da.KeyID == "" {
		t.Fatalf("Describe: %+v %v and %+v %v, want two ids", da, errA, db, errB)
	}
	wrapped := mustWrap(t, a, Context(), newKey())
	if key, err := b.Unwrap(t.Context(), Context(), wrapped); !fault.Is(err, fault.Conflict) || key != nil {
		t.Errorf("Unwrap of another root key's bytes: %v, want conflict", err)
	}
}
