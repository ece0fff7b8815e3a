package kmstest

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
)

// A Faulty is a key service that fails on command.
type Faulty struct {
	*kms.KeyFile

	mu    sync.Mutex // guards what follows
	hook  func(ctx context.Context) error
	calls int
}

// New returns a working service with a root key of its own.
func New(t testing.TB) *Faulty {
	file, err := kms.CreateKeyFile(filepath.Join(t.TempDir(), "root.key"))
	if err != nil {
		t.Fatalf("CreateKeyFile: %v", err)
	}
	return &Faulty{KeyFile: file}
}

// Hook has f called before every call, which fails with its error.
// It may block, which is a slow service. nil is a working service again.
func (s *Faulty) Hook(f func(ctx context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = f
}

// Unreachable makes every call fail as Unavailable.
func (s *Faulty) Unreachable() {
	s.Hook(func(context.Context) error { return fault.New(fault.Unavailable, "key service does not answer") })
}

// Deny makes every call fail as Denied.
func (s *Faulty) Deny() {
	s.Hook(func(context.Context) error { return fault.New(fault.Denied, "key service refuses") })
}

// Throttle makes every call fail as Throttled, with half a minute to wait.
func (s *Faulty) Throttle() {
	s.Hook(func(context.Context) error { return kms.Throttled(30*time.Second, "key service asks to wait") })
}

// Hang makes every call wait for its context to end.
func (s *Faulty) Hang() {
	s.Hook(func(ctx context.Context) error {
		<-ctx.Done()
		return fault.New(fault.Unavailable, "key service does not answer: %w", ctx.Err())
	})
}

// Slow makes every call wait until release is closed, and calls arrived before.
func (s *Faulty) Slow(arrived func(), release <-chan struct{}) {
	s.Hook(func(context.Context) error {
		arrived()
		<-release
		return nil
	})
}

// Restore makes the service work again.
func (s *Faulty) Restore() { s.Hook(nil) }

// Calls returns how many Wraps, Unwraps and Rotates were tried.
func (s *Faulty) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// Wrap implements kms.KeyFile.
func (s *Faulty) Wrap(ctx context.Context, c kms.Context, key []byte) ([]byte, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	return s.KeyFile.Wrap(ctx, c, key)
}

// Unwrap implements kms.KeyFile.
func (s *Faulty) Unwrap(ctx context.Context, c kms.Context, wrapped []byte) ([]byte, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	return s.KeyFile.Unwrap(ctx, c, wrapped)
}

// Rotate implements kms.Rotator.
func (s *Faulty) Rotate(ctx context.Context) (string, error) {
	if err := s.enter(ctx); err != nil {
		return "", err
	}
	return s.KeyFile.Rotate(ctx)
}

// Describe implements kms.Service. It does not count as a call, and who may not use
// the key may still describe it.
func (s *Faulty) Describe(ctx context.Context) (kms.Description, error) {
	if err := s.fail(ctx); err != nil && !fault.Is(err, fault.Denied) {
		return kms.Description{}, err
	}
	return s.KeyFile.Describe(ctx)
}

// Destroy implements kms.Service. It does not count as a call.
func (s *Faulty) Destroy(ctx context.Context, version string) error {
	if err := s.fail(ctx); err != nil {
		return err
	}
	return s.KeyFile.Destroy(ctx, version)
}

// enter counts a call and returns the hook's error.
func (s *Faulty) enter(ctx context.Context) error {
	s.mu.Lock()
	s.calls++
	s.mu.Unlock()
	return s.fail(ctx)
}

// fail returns the hook's error.
func (s *Faulty) fail(ctx context.Context) error {
	s.mu.Lock()
	hook := s.hook
	s.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(ctx)
}
