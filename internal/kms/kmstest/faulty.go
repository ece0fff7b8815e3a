package kmstest

import (
	"context"
	"path/filepath"
	"sync"
	"testing"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
)

// A Faulty is a key service that fails on command.
type Faulty struct {
	kms.Service

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
	return &Faulty{Service: file}
}

// Hook has f called before every Wrap and Unwrap, which fail with its error.
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

// Restore makes the service work again.
func (s *Faulty) Restore() { s.Hook(nil) }

// Calls returns how many Wraps and Unwraps were tried.
func (s *Faulty) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// Wrap implements kms.Service.
func (s *Faulty) Wrap(ctx context.Context, c kms.Context, key []byte) ([]byte, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	return s.Service.Wrap(ctx, c, key)
}

// Unwrap implements kms.Service.
func (s *Faulty) Unwrap(ctx context.Context, c kms.Context, wrapped []byte) ([]byte, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	return s.Service.Unwrap(ctx, c, wrapped)
}

// enter counts a call and returns the hook's error.
func (s *Faulty) enter(ctx context.Context) error {
	s.mu.Lock()
	s.calls++
	hook := s.hook
	s.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(ctx)
}
