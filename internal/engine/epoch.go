package engine

import (
	"context"
	"strings"
	"time"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
)

// A destroyed data key is still in old backups of the keys' database, wrapped. The
// end of an erasure epoch makes those useless: the tenant gets a new tenant key,
// everything alive is wrapped by it, and the old one is given up with the version of
// the root key that wrapped it. Every part can be done again, so an end that broke
// off begins anew.

// epoch is one end of an erasure epoch: what was erased before it began opens
// nowhere any more.
type epoch struct {
	Began time.Time `json:"began"`
	Ended time.Time `json:"ended"`
	Note  string    `json:"note,omitempty"` // what could not be done from here
}

// EndEpochs ends the erasure epoch of every tenant of whom something was erased that
// long ago.
func (e *Engine) EndEpochs(ctx context.Context) error {
	return e.eachTenant(ctx, func(scope store.Scope) error { return e.endEpoch(ctx, scope) })
}

func (e *Engine) endEpoch(ctx context.Context, scope store.Scope) error {
	ends, err := e.epochs(ctx, scope)
	if err != nil {
		return err
	}
	due, err := e.epochDue(ctx, scope, ends)
	if err != nil || !due {
		return err
	}
	end := epoch{Began: e.moment()}
	if end.Note, err = e.renewTenant(ctx, scope); err != nil {
		return err
	}
	e.custodies.Lock()
	defer e.custodies.Unlock()
	if ends, err = e.epochs(ctx, scope); err != nil {
		return err
	}
	end.Ended = e.moment()
	ends.epochs = append(ends.epochs, end)
	return e.recordCustody(ctx, ends, custodyStep{kind: "epoch.ended", act: "engine", actor: engineActor})
}

// epochs returns the object that keeps a tenant's ends of epochs.
func (e *Engine) epochs(ctx context.Context, scope store.Scope) (*custody, error) {
	token, err := e.indexToken(ctx, scope.Tenant(), "custody", "epochs")
	if err != nil {
		return nil, err
	}
	return e.custody(ctx, scope, custodyID(token), target{Kind: targetEpoch})
}

// epochDue reports whether something was erased an epoch ago, and after the last
// end began.
func (e *Engine) epochDue(ctx context.Context, scope store.Scope, ends *custody) (due bool, err error) {
	now := e.moment()
	for p := (Page{Limit: 1000}); !due; {
		p.After, err = e.eachCustody(ctx, scope, p, func(c *custody) {
			done := c.outcome.Completed
			due = due || !done.IsZero() && !e.unreadableBy(done).After(now) && ends.endOf(done) == nil
		})
		if err != nil || p.After == "" {
			return due, err
		}
	}
	return due, nil
}

// endOf returns the first end of an epoch that began after a moment, nil if there is
// none.
func (c *custody) endOf(moment time.Time) *epoch {
	for i := range c.epochs {
		if c.epochs[i].Began.After(moment) {
			return &c.epochs[i]
		}
	}
	return nil
}

// renewTenant replaces the tenant key and the version of the root key above it, and
// returns what the key service does not let us do.
// What an earlier try left undone comes first: while that fails, no further keys are
// made.
func (e *Engine) renewTenant(ctx context.Context, scope store.Scope) (note string, err error) {
	if err := e.ring.Rewrap(ctx, scope.Tenant(), 0, nil); err != nil {
		return "", err
	}
	version, err := e.rotateTenantKey(ctx, scope, byEngine, "")
	if err != nil {
		return "", err
	}
	if err := e.ring.Rewrap(ctx, scope.Tenant(), 0, func(int, int) {}); err != nil {
		return "", err
	}
	if _, err := e.retireTenantKey(ctx, scope, byEngine, version-1); err != nil {
		return "", err
	}
	service, err := e.serviceOf(ctx, scope)
	if err != nil {
		return "", err
	}
	err = e.renewRoot(ctx, scope, service)
	if fault.Is(err, fault.Invalid) {
		return "key service " + service + " does not let us replace its root key, so who may use the old version of it there opens backups: " + oneLine(err), nil
	}
	return "", err
}

func oneLine(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}

// serviceOf returns the name of the key service that wraps the tenant's key.
func (e *Engine) serviceOf(ctx context.Context, scope store.Scope) (string, error) {
	rows, err := e.store.Keys().TenantKeys(ctx, scope.Tenant())
	if err != nil {
		return "", err
	}
	if len(rows) == 0 {
		return "", fault.New(fault.Integrity, "tenant %q has no tenant key", scope.Tenant())
	}
	return rows[len(rows)-1].Service, nil
}

// renewRoot has a key service make a new version of its root key, wraps all tenant
// keys by it, and destroys the versions before it. The present one is noted first, and
// versions that an earlier try left are destroyed first.
func (e *Engine) renewRoot(ctx context.Context, scope store.Scope, service string) error {
	if _, err := e.ring.RewrapRoot(ctx, service); err != nil {
		return err
	}
	if err := e.retireRoots(ctx, scope, service); err != nil && !fault.Is(err, fault.Invalid) {
		return err
	}
	if _, err := e.rotateRootKey(ctx, scope, byEngine, service); err != nil {
		return err
	}
	return e.retireRoots(ctx, scope, service)
}

// retireRoots destroys all versions of a root key but the newest.
func (e *Engine) retireRoots(ctx context.Context, scope store.Scope, service string) error {
	newest, err := e.ring.NewestRoot(ctx, service)
	if err != nil {
		return err
	}
	versions, err := e.store.Keys().RootVersions(ctx)
	if err != nil {
		return err
	}
	for _, v := range versions {
		if v.Service != service || v.Version == newest {
			continue
		}
		if _, err := e.retireRootKey(ctx, scope, byEngine, service, v.Version); err != nil {
			return err
		}
	}
	return nil
}
