package engine

import (
	"context"
	"slices"
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

// A former is a key service that the tenant moved away from. Until its root key of
// then is destroyed, whoever may use it opens backups from before the move.
type former struct {
	Service string    `json:"service"`
	Left    time.Time `json:"left"`
}

// leave notes that the tenant moves away from a key service.
func (e *Engine) leave(ctx context.Context, c Caller, service string) error {
	defer e.custodies.lock(c.Scope)()
	ends, err := e.epochs(ctx, c.Scope)
	if err != nil {
		return err
	}
	ends.former = append(ends.left(service), former{service, e.moment()})
	return e.recordCustody(ctx, ends, wanted("key.moved", c, nil))
}

// left returns the key services that the tenant left, but one.
func (c *custody) left(but string) []former {
	return slices.DeleteFunc(slices.Clone(c.former), func(f former) bool { return f.Service == but })
}

// formerNote says which key services still open backups from before a move, "" if none.
func (e *Engine) formerNote(ctx context.Context, scope store.Scope, ends *custody) (string, error) {
	service, err := e.serviceOf(ctx, scope)
	if err != nil {
		return "", err
	}
	var notes []string
	for _, f := range ends.left(service) {
		notes = append(notes, "key service "+f.Service+", which the tenant left "+toSecond(f.Left)+", still holds the root key of then: who may use it opens backups from before")
	}
	return strings.Join(notes, "; "), nil
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
	note, kept, err := e.renewTenant(ctx, scope, ends)
	if err != nil {
		return err
	}
	end.Note = note
	defer e.custodies.lock(scope)()
	if ends, err = e.epochs(ctx, scope); err != nil {
		return err
	}
	end.Ended = e.moment()
	ends.former = slices.DeleteFunc(ends.former, func(f former) bool { return !f.Left.After(end.Began) && !kept[f.Service] })
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
			due = due || !done.IsZero() && !c.outcome.Until.After(now) && ends.endOf(done) == nil
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

// renewTenant replaces the tenant key, the version of the root key above it, and those of
// the key services that the tenant left. It returns what these do not let us do, and
// which of those that were left it is.
// What an earlier try left undone comes first: while that fails, no further keys are
// made.
func (e *Engine) renewTenant(ctx context.Context, scope store.Scope, ends *custody) (note string, kept map[string]bool, err error) {
	if err := e.rewrapAll(ctx, scope); err != nil {
		return "", nil, err
	}
	version, err := e.rotateTenantKey(ctx, scope, byEngine, "")
	if err != nil {
		return "", nil, err
	}
	if err := e.rewrapAll(ctx, scope); err != nil {
		return "", nil, err
	}
	if _, err := e.retireTenantKey(ctx, scope, byEngine, version-1); err != nil {
		return "", nil, err
	}
	service, err := e.serviceOf(ctx, scope)
	if err != nil {
		return "", nil, err
	}
	var notes []string
	kept = map[string]bool{}
	switch err := e.renewRoot(ctx, scope, service); {
	case fault.Is(err, fault.Invalid):
		notes = append(notes, keepsRoot(service, err))
	case err != nil:
		return "", nil, err
	}
	for _, f := range ends.left(service) {
		switch err := e.renewRoot(ctx, scope, f.Service); {
		case fault.Is(err, fault.Invalid) || fault.CodeOf(err) == "key_denied" || fault.CodeOf(err) == "key_service_unknown":
			notes, kept[f.Service] = append(notes, keepsRoot(f.Service, err)), true
		case err != nil:
			return "", nil, err
		}
	}
	return strings.Join(notes, "; "), kept, nil
}

// rewrapAll wraps everything alive by the tenant's newest key.
func (e *Engine) rewrapAll(ctx context.Context, scope store.Scope) error {
	if err := e.durable("rewrap the data keys"); err != nil {
		return err
	}
	return e.ring.Rewrap(ctx, scope.Tenant(), 0, nil)
}

func keepsRoot(service string, err error) string {
	return "key service " + service + " does not let us replace its root key, so who may use the old version of it there opens backups: " + oneLine(err)
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
// versions that an earlier try left are destroyed first. Invalid when the service makes
// no version for us, or destroys none.
func (e *Engine) renewRoot(ctx context.Context, scope store.Scope, service string) error {
	if err := e.durable("rewrap the tenant keys"); err != nil {
		return err
	}
	if _, err := e.ring.RewrapRoot(ctx, service); err != nil {
		return err
	}
	if err := e.retireRoots(ctx, scope, service); err != nil && !fault.Is(err, fault.Invalid) {
		return err
	}
	if _, err := e.rotateRootKey(ctx, scope, byEngine, service); err != nil {
		return forGood(err, "the root key of key service %s gets no new version", service)
	}
	return e.retireRoots(ctx, scope, service)
}

// forGood says of a refusal what is not done because of it, as Invalid: trying again
// every hour changes nothing. Other errors stay as they are.
func forGood(err error, format string, args ...any) error {
	if fault.CodeOf(err) != "key_denied" {
		return err
	}
	return fault.New(fault.Invalid, format+": %w", append(args, err)...)
}

// retireRoots destroys all versions of a root key but the newest. Invalid when the
// service does not destroy them for us.
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
			return forGood(err, "version %s of the root key of key service %s is not destroyed", v.Version, service)
		}
	}
	return nil
}
