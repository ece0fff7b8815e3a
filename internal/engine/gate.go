package engine

import (
	"context"
	"maps"
	"sync"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
)

// codeErasuresWait is the code of the refusal of a tenant of whom erasures wait for
// their replay.
const codeErasuresWait = "erasures_wait"

// gates say which tenants are not served, and why: erasures of theirs could not be
// replayed, since a key service of their own is away. The others are not to wait for it.
// A gate is shut before anything is served, and only ever opened afterwards.
type gates struct {
	mu   sync.RWMutex // guards shut
	shut map[string]error
}

func (g *gates) set(tenant string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut == nil {
		g.shut = map[string]error{}
	}
	if g.shut[tenant] = err; err == nil {
		delete(g.shut, tenant)
	}
}

// Waiting returns the tenants that are not served because their erasures could not be
// replayed, with the error that the last try ended with.
func (e *Engine) Waiting() map[string]error {
	e.gates.mu.RLock()
	defer e.gates.mu.RUnlock()
	return maps.Clone(e.gates.shut)
}

// admitted refuses a tenant whose erasures wait: what they are about might open.
func (e *Engine) admitted(scope store.Scope) error {
	e.gates.mu.RLock()
	defer e.gates.mu.RUnlock()
	if e.gates.shut[scope.Tenant()] == nil {
		return nil
	}
	return fault.New(fault.Unavailable, "nothing is served before erasures are carried out again, and their key service is away").
		WithCode(codeErasuresWait).WithHint("the server tries again by itself; its log says what the key service answers")
}

// ReplayWaiting tries again what could not be replayed, and serves the tenants of whom
// that is done.
func (e *Engine) ReplayWaiting(ctx context.Context) {
	for tenant := range e.Waiting() {
		e.gates.set(tenant, e.replayTenant(ctx, e.TenantScope(tenant)))
	}
}

// services returns the names of the key services of the tenants' newest keys.
func (e *Engine) services(ctx context.Context) (map[string]bool, error) {
	rows, err := e.store.Keys().AllTenantKeys(ctx)
	services := map[string]bool{}
	for i, row := range rows {
		if i+1 == len(rows) || rows[i+1].Tenant != row.Tenant {
			services[row.Service] = true
		}
	}
	return services, err
}
