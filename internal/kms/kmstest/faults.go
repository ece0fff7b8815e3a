package kmstest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
)

// Faults make the service behind a provider fail, each until Restore. What a
// test cannot bring about is nil and not checked.
type Faults struct {
	Deny     func() // answers that we may not use the key
	Cut      func() // cannot be reached
	Hang     func() // takes every call and never answers
	Throttle func() // answers "later"
	Restore  func() // works again; never nil

	// Slow takes every call and answers none before release is closed; it calls
	// arrived for each.
	Slow func(arrived func(), release <-chan struct{})
}

// TestFaults checks that a provider tells the ways to fail apart, gives up when
// the caller's context ends, and works again afterwards. open returns a service
// with a root key of its own and what makes it fail.
func TestFaults(t *testing.T, open func(t *testing.T) (kms.Service, Faults)) {
	checked := 0
	// Only a service that hangs takes the time that a call is given.
	check := func(name string, choose func(Faults) func(), limit time.Duration, fails func(t *testing.T, err error)) {
		t.Run(name, func(t *testing.T) {
			s, faults := open(t)
			happen := choose(faults)
			if happen == nil {
				t.Skip("cannot be brought about here")
			}
			checked++
			failAndRecover(t, s, happen, faults.Restore, limit, fails)
		})
	}
	check("a refusal is Denied", func(f Faults) func() { return f.Deny }, time.Minute, kind(fault.Denied, false))
	check("a service out of reach is Unavailable", func(f Faults) func() { return f.Cut }, time.Minute, kind(fault.Unavailable, false))
	check("a service that asks to wait is Unavailable and says so", func(f Faults) func() { return f.Throttle }, time.Minute, kind(fault.Unavailable, true))
	check("a service that hangs is given up with the caller's context", func(f Faults) func() { return f.Hang }, 300*time.Millisecond, givenUp)
	t.Run("calls of a slow service do not wait for each other", func(t *testing.T) {
		s, faults := open(t)
		if faults.Slow == nil {
			t.Skip("cannot be brought about here")
		}
		checked++
		slow(t, s, faults)
	})
	if checked == 0 {
		t.Error("no fault was brought about: nothing was checked")
	}
}

// kind returns a check for errors of a kind that are Throttled or are not.
func kind(want fault.Kind, throttled bool) func(*testing.T, error) {
	return func(t *testing.T, err error) {
		t.Helper()
		if !fault.Is(err, want) || (fault.CodeOf(err) == kms.CodeThrottled) != throttled {
			t.Errorf("%v, want %s, throttled %t", err, want, throttled)
		}
	}
}

func givenUp(t *testing.T, err error) {
	t.Helper()
	if !fault.Is(err, fault.Unavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want unavailable because the time was over", err)
	}
}

// failAndRecover checks Wrap and Unwrap while the service fails and after it.
func failAndRecover(t *testing.T, s kms.Service, happen, restore func(), limit time.Duration, fails func(*testing.T, error)) {
	key := newKey()
	wrapped := mustWrap(t, s, Context(), key)
	happen()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	got, err := s.Unwrap(ctx, Context(), wrapped)
	fails(t, err)
	if got != nil {
		t.Error("Unwrap failed and gave a key")
	}
	ctx, cancel = context.WithTimeout(t.Context(), limit)
	defer cancel()
	_, err = s.Wrap(ctx, Context(), key)
	fails(t, err)
	for _, secret := range []string{hex.EncodeToString(key), base64.StdEncoding.EncodeToString(key)} {
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Error("the error shows the key")
		}
	}
	restore()
	if _, err := s.Unwrap(t.Context(), Context(), wrapped); err != nil {
		t.Errorf("Unwrap afterwards: %v", err)
	}
}

// together is how many calls a provider must make at a time. A provider that makes one
// after the other would make its latency that of the whole server.
const together = 8

// slow makes calls at the same time, and has none answered before all have come.
func slow(t *testing.T, s kms.Service, faults Faults) {
	key := newKey()
	wrapped := mustWrap(t, s, Context(), key)
	came, release := make(chan struct{}, together), make(chan struct{})
	faults.Slow(func() {
		select {
		case came <- struct{}{}:
		default: // a further request of a call that has come
		}
	}, release)
	defer faults.Restore()
	answer := sync.OnceFunc(func() { close(release) })
	defer answer()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // which only calls in a row take
	defer cancel()
	ended := make(chan error, together)
	for range together {
		go func() {
			got, err := s.Unwrap(ctx, Context(), wrapped)
			if err == nil && !bytes.Equal(got, key) {
				err = errors.New("another key")
			}
			ended <- err
		}()
	}
	for n := range together {
		select {
		case <-came:
		case err := <-ended:
			t.Fatalf("a call ended before it was answered: %v", err)
		case <-ctx.Done():
			t.Fatalf("%d of %d calls came while none was answered", n, together)
		}
	}
	answer()
	for range together {
		if err := <-ended; err != nil {
			t.Errorf("Unwrap that took long: %v", err)
		}
	}
}
