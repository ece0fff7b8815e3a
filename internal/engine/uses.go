package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/underseal/underseal/internal/store"
)

// uses remembers when credentials were last used, until that is written down.
type uses struct {
	mu   sync.Mutex // guards last
	last map[usedBy]time.Time
}

type usedBy struct {
	scope store.Scope
	token [32]byte
}

func (u *uses) note(scope store.Scope, token [32]byte, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.last == nil {
		u.last = map[usedBy]time.Time{}
	}
	u.last[usedBy{scope, token}] = at
}

// of returns when a credential was last used, if that is not written down yet.
func (u *uses) of(scope store.Scope, token [32]byte) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.last[usedBy{scope, token}]
}

// take returns what is not written down, by tenant.
func (u *uses) take() map[store.Scope]map[[32]byte]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	taken := map[store.Scope]map[[32]byte]time.Time{}
	for by, at := range u.last {
		if taken[by.scope] == nil {
			taken[by.scope] = map[[32]byte]time.Time{}
		}
		taken[by.scope][by.token] = at
	}
	u.last = nil
	return taken
}

// WriteUses writes down when credentials were last used. The node does so every hour and
// when it ends; what a crash loses is no more than that.
func (e *Engine) WriteUses(ctx context.Context) error {
	var errs []error
	for scope, used := range e.people.used.take() {
		errs = append(errs, e.store.CredentialsUsed(ctx, scope, used))
	}
	return errors.Join(errs...)
}
