package engine

import (
	"sync"

	"github.com/underseal/underseal/internal/store"
)

// locks are a lock for each tenant, so that none waits for another. The zero value is
// ready.
type locks struct {
	mu sync.Mutex // guards by
	by map[store.Scope]*sync.RWMutex
}

// of returns the lock of a tenant.
func (l *locks) of(scope store.Scope) *sync.RWMutex {
	l.mu.Lock()
	defer l.mu.Unlock()
	lock := l.by[scope]
	if lock == nil {
		if l.by == nil {
			l.by = map[store.Scope]*sync.RWMutex{}
		}
		lock = &sync.RWMutex{}
		l.by[scope] = lock
	}
	return lock
}

// lock has nobody else have a tenant's lock until unlock is called.
func (l *locks) lock(scope store.Scope) (unlock func()) {
	lock := l.of(scope)
	lock.Lock()
	return lock.Unlock
}
