package engine

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
)

// An erasure is carried out in this order, and each part can be repeated:
//
//  1. The plan, with the keys to be destroyed, is written beside the keys, sealed.
//  2. The keys are destroyed.
//  3. What is open in memory is thrown away, and waited for.
//  4. One transaction takes queue rows, index tokens and clear values away, and
//     writes the step key.destroyed of the custody.
//  5. Old bytes are cleared out of the database's files.
//  6. The step erasure.completed.
//
// The plan outlives all of it. Before anything is served, every plan is compared
// with the data: what a crash left unfinished is finished, and what a restored
// backup does not know of is done again.

// plan is what an erasure destroys.
type plan struct {
	Target target   `json:"target"`
	Order  order    `json:"order"`
	Keys   []string `json:"keys"` // also those that earlier orders destroyed
	Result outcome  `json:"result"`

	keys []envelope.KeyID
}

func (p *plan) destroys(id envelope.KeyID) bool { return slices.Contains(p.keys, id) }

// EraseDue carries out what is due, of all tenants. What is held waits until it is
// released. What fails holds up nothing else; the error tells of the first.
func (e *Engine) EraseDue(ctx context.Context) error {
	return e.eachTenant(ctx, func(scope store.Scope) error {
		const page = 1000
		var failed failures
		for after := (store.ID{}); ; {
			rows, err := e.store.DueCustodies(ctx, scope, e.moment(), after, page)
			if err != nil {
				return err
			}
			for _, row := range rows {
				after = row.ID
				if err := e.eraseDue(ctx, scope, row); err != nil {
					failed.add(err)
				}
			}
			if len(rows) < page {
				return failed.err()
			}
		}
	})
}

// eachTenant calls f for every tenant that is served, also after it failed for one.
func (e *Engine) eachTenant(ctx context.Context, f func(store.Scope) error) error {
	tenants, err := e.store.Keys().Tenants(ctx)
	if err != nil {
		return err
	}
	var failed failures
	for _, tenant := range tenants {
		scope := e.TenantScope(tenant)
		if e.admitted(scope) != nil {
			continue // EraseDue would be too early
		}
		if err := f(scope); err != nil {
			failed.add(err)
		}
	}
	return failed.err()
}

func (e *Engine) eraseDue(ctx context.Context, scope store.Scope, row store.ListedCustody) error {
	defer e.custodies.lock(scope)()
	c, err := e.openCustody(ctx, scope, row.ID)
	if err != nil {
		return err
	}
	if c.order.State == orderExecuting {
		return e.finish(ctx, c)
	}
	if c.order.State != orderPending || c.order.Due.After(e.moment()) {
		return nil // canceled meanwhile
	}
	err = e.execute(ctx, c)
	if fault.CodeOf(err) == "on_hold" {
		return nil
	}
	return err
}

// execute carries out a pending order. The caller holds the tenant's lock of e.custodies.
func (e *Engine) execute(ctx context.Context, c *custody) error {
	p, err := e.storedPlan(ctx, c.scope, c.id)
	if err != nil {
		return err
	}
	if p == nil || !p.Order.At.Equal(c.order.At) {
		if p, err = e.plan(ctx, c); err != nil {
			return err
		}
	}
	return e.carryOut(ctx, c, p, "key.destroyed")
}

// begun reports whether the custody's order is being carried out.
func (e *Engine) begun(ctx context.Context, c *custody) (bool, error) {
	if c.order.State == orderExecuting {
		return true, nil
	}
	p, err := e.storedPlan(ctx, c.scope, c.id)
	return c.order.State == orderPending && p != nil && p.Order.At.Equal(c.order.At), err
}

// plan decides what an order destroys and writes that down beside the keys. From
// then on it cannot be stopped.
func (e *Engine) plan(ctx context.Context, c *custody) (*plan, error) {
	if err := c.free(); err != nil {
		return nil, err
	}
	s, err := e.survey(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := e.freeAround(ctx, c, s); err != nil {
		return nil, err
	}
	tokens, err := e.store.CountTokens(ctx, c.scope, storeIDs(s.keys), s.instance)
	if err != nil {
		return nil, err
	}
	files, err := e.filesOf(ctx, c.scope, s)
	if err != nil {
		return nil, err
	}
	p := &plan{
		Target: c.target, Order: c.order, keys: slices.Concat(c.keys, s.keys),
		Result: outcome{Instances: len(s.objects), Tokens: tokens, Files: files, Began: e.moment(), Gone: s.gone},
	}
	return p, e.putPlan(ctx, c.scope, c.id, p)
}

// filesOf counts the files that would go; those of an instance without the ones that
// went with a person.
func (e *Engine) filesOf(ctx context.Context, scope store.Scope, s survey) (n int, err error) {
	if s.instance == (store.ID{}) {
		files, err := e.filesUnder(ctx, scope, s.keys)
		return len(files), err
	}
	o, err := e.load(ctx, scope, s.instance, store.Instance)
	if err != nil {
		return 0, err
	}
	for _, id := range o.head.files() {
		f, _ := o.head.field(filePath(id))
		switch _, err := e.keys(ctx, o, f.seq, f.keys); {
		case err == nil:
			n++
		case !fault.Is(err, fault.Sealed):
			return 0, err
		}
	}
	return n, nil
}

// carryOut does what a plan says, with a step of the given kind.
func (e *Engine) carryOut(ctx context.Context, c *custody, p *plan, kind string) error {
	if p.Target.Kind == targetInstance {
		instance, err := parseInstanceID(p.Target.Instance)
		if err != nil {
			return err
		}
		err = e.runner.Close(ctx, c.scope, instance, func() error {
			if err := e.destroy(ctx, c.scope, p.keys); err != nil {
				return err
			}
			files, err := e.store.Files(ctx, c.scope, instance)
			if err != nil {
				return err
			}
			for _, f := range files {
				if err := e.eraseFile(ctx, c.scope, f.Blob); err != nil {
					return err
				}
			}
			return e.strike(ctx, c, p, kind, &store.Erase{Instance: instance, At: p.Result.Gone.Ended})
		})
		if err != nil {
			return err
		}
		return e.finish(ctx, c)
	}
	if err := e.destroyPerson(ctx, c, p); err != nil {
		return err
	}
	files, err := e.filesUnder(ctx, c.scope, p.keys)
	if err != nil {
		return err
	}
	for _, id := range files {
		if err := e.eraseFile(ctx, c.scope, id); err != nil {
			return err
		}
	}
	if err := e.strike(ctx, c, p, kind, &store.Erase{Keys: storeIDs(p.keys)}); err != nil {
		return err
	}
	return e.finish(ctx, c)
}

// filesUnder returns the files that are sealed under one of the keys. Anybody who
// writes to the database can make rows that say so of any file, so the head of the
// instance must. Of one that does not open the files stay, without their keys.
func (e *Engine) filesUnder(ctx context.Context, scope store.Scope, keys []envelope.KeyID) (files []store.ID, err error) {
	listed, err := e.store.FilesUnder(ctx, scope, storeIDs(keys))
	if err != nil {
		return nil, err
	}
	for _, id := range listed {
		holder, _, err := e.store.FileHolder(ctx, scope, id)
		if err != nil {
			return nil, err
		}
		o, err := e.load(ctx, scope, holder, store.Instance)
		if fault.Is(err, fault.Unavailable) {
			return nil, err
		}
		if err != nil {
			continue
		}
		if f, ok := o.head.field(filePath(id)); ok && o.head.under(f, keys) {
			files = append(files, id)
		}
	}
	return files, nil
}

// eraseFile deletes a blob, of which no key is left but perhaps the one that it was
// uploaded under.
func (e *Engine) eraseFile(ctx context.Context, scope store.Scope, id store.ID) error {
	if err := e.durable("delete a file"); err != nil {
		return err
	}
	// A changed row of the upload is left to the collection, which tells of it.
	if err := e.finishClaim(ctx, scope, id); err != nil && !fault.Is(err, fault.Integrity) {
		return err
	}
	if err := e.blobs.Delete(ctx, scope.Tenant(), blob.ID(id)); err != nil {
		return err
	}
	defer e.limits.changed(scope)
	return e.store.EmptyFile(ctx, scope, id)
}

// destroyPerson destroys a person's keys and throws away what is open in memory
// under them. A step that was under way meanwhile may have found that a nameless key
// was theirs; after it nobody can, so one more look is enough.
func (e *Engine) destroyPerson(ctx context.Context, c *custody, p *plan) error {
	for {
		if err := e.destroy(ctx, c.scope, p.keys); err != nil {
			return err
		}
		err := e.runner.Reopen(ctx, c.scope, func(l *Live) bool {
			return slices.ContainsFunc(l.head.keys, p.destroys)
		})
		if err != nil {
			return err
		}
		more, err := e.latecomers(ctx, c.scope, p)
		if err != nil || len(more) == 0 {
			return err
		}
		p.keys = append(p.keys, more...)
		if err := e.putPlan(ctx, c.scope, c.id, p); err != nil {
			return err
		}
	}
}

// latecomers are keys that were found to be the person's after the plan was made, or
// that the person was given since, besides the one that a person who came back has now.
func (e *Engine) latecomers(ctx context.Context, scope store.Scope, p *plan) ([]envelope.KeyID, error) {
	s, err := e.surveyPerson(ctx, scope, p.Target)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	more := slices.DeleteFunc(s.keys, p.destroys)
	tokens, err := p.Target.tokens()
	if err != nil {
		return nil, err
	}
	for _, token := range tokens {
		own, err := e.ring.FindSubject(ctx, scope.Tenant(), token)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(own, p.destroys) {
			continue // rotated since, and still the person of the plan
		}
		more = slices.DeleteFunc(more, func(id envelope.KeyID) bool { return slices.Contains(own, id) })
	}
	return more, nil
}

// destroy destroys keys; one that is not there (any more) opens nothing either.
func (e *Engine) destroy(ctx context.Context, scope store.Scope, keys []envelope.KeyID) error {
	for _, id := range keys {
		if err := e.durable("destroy a key"); err != nil {
			return err
		}
		if err := e.ring.Destroy(ctx, scope.Tenant(), id); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	return nil
}

// strike takes away what is not sealed, and says in the custody that the keys are
// destroyed. What is held is not planned to be erased, so a hold that is there is one of
// restored data, and was released since.
func (e *Engine) strike(ctx context.Context, c *custody, p *plan, kind string, erase *store.Erase) error {
	c.order, c.keys, c.outcome = p.Order, p.keys, p.Result
	c.order.State, c.holds = orderExecuting, nil
	return e.recordCustody(ctx, c, custodyStep{kind: kind, act: "engine", actor: engineActor, erase: erase})
}

// finish clears old bytes away and says that the erasure is complete.
func (e *Engine) finish(ctx context.Context, c *custody) error {
	if err := e.durable("clear the files"); err != nil {
		return err
	}
	if err := e.store.Forget(ctx); err != nil {
		return err
	}
	c.order.State, c.outcome.Completed = orderDone, e.moment()
	c.outcome.Until = c.outcome.Completed.Add(e.erasureEpoch) // for good: another setting moves no date that was given out
	return e.recordCustody(ctx, c, custodyStep{kind: "erasure.completed", act: "engine", actor: engineActor})
}

// ReplayErasures finishes what a crash left unfinished and does again what restored
// data or keys do not know of. It must have returned nil before anything is served.
// When tenants have key services of their own, one of whom that is away is not served,
// and Waiting names it.
func (e *Engine) ReplayErasures(ctx context.Context) error {
	services, err := e.services(ctx)
	if err != nil {
		return err
	}
	err = e.eachTenant(ctx, func(scope store.Scope) error {
		err := e.replayTenant(ctx, scope)
		if len(services) > 1 && fault.Is(err, fault.Unavailable) {
			e.gates.set(scope.Tenant(), err)
			return nil
		}
		return err
	})
	if fault.Is(err, fault.Unavailable) {
		err = fault.New(fault.Unavailable, "erasures on record are carried out again before anything is served, and cannot be now: %w", err).
			WithCode(fault.CodeOf(err)).WithHint("start again when the key service answers")
	}
	return err
}

func (e *Engine) replayTenant(ctx context.Context, scope store.Scope) error {
	defer e.custodies.lock(scope)()
	var failed failures
	planned, err := e.replayPlans(ctx, scope)
	if err != nil {
		failed.add(err)
	}
	if err := e.replayCustodies(ctx, scope, planned); err != nil {
		failed.add(err)
	}
	return failed.err()
}

// replayPlans compares every plan with the data, and returns whose they are.
func (e *Engine) replayPlans(ctx context.Context, scope store.Scope) (map[store.ID]bool, error) {
	rows, err := e.store.Erasures(ctx, scope)
	if err != nil {
		return nil, err
	}
	planned := map[store.ID]bool{}
	var failed failures
	for _, row := range rows {
		planned[row.Object] = true
		if err := e.replayPlan(ctx, scope, row); err != nil {
			failed.add(err)
		}
	}
	return planned, failed.err()
}

func (e *Engine) replayPlan(ctx context.Context, scope store.Scope, row store.StoredErasure) error {
	p, err := e.openPlan(ctx, scope, row)
	if err != nil {
		return err
	}
	c, err := e.custody(ctx, scope, row.Object, p.Target)
	if err != nil {
		return err
	}
	return e.replay(ctx, c, p)
}

// replay brings data and keys to where a plan wants them.
func (e *Engine) replay(ctx context.Context, c *custody, p *plan) error {
	struck := !slices.ContainsFunc(p.keys, func(id envelope.KeyID) bool { return !slices.Contains(c.keys, id) })
	switch {
	case !struck && c.order.State == orderPending && c.order.At.Equal(p.Order.At):
		return e.carryOut(ctx, c, p, "key.destroyed")
	case !struck: // the data are older
		return e.carryOut(ctx, c, p, "erasure.replayed")
	case c.order.State == orderExecuting:
		return e.finish(ctx, c)
	}
	return e.destroyLiving(ctx, c.scope, p.Target, p.keys)
}

// ownedAgain reports whether a destroyed key is called a person's: somebody put back
// the row that says so.
func (e *Engine) ownedAgain(ctx context.Context, scope store.Scope, t target, keys []envelope.KeyID) (bool, error) {
	tokens, err := t.tokens()
	if err != nil {
		return false, err
	}
	for _, token := range tokens {
		own, err := e.ring.FindSubject(ctx, scope.Tenant(), token)
		if err != nil || slices.ContainsFunc(own, func(id envelope.KeyID) bool { return slices.Contains(keys, id) }) {
			return true, err
		}
	}
	return false, nil
}

// destroyLiving destroys those of the keys that are not: somebody put their rows
// back.
func (e *Engine) destroyLiving(ctx context.Context, scope store.Scope, t target, keys []envelope.KeyID) error {
	owned, err := e.ownedAgain(ctx, scope, t, keys)
	if err != nil {
		return err
	}
	if owned {
		return e.destroy(ctx, scope, keys)
	}
	for _, id := range keys {
		_, err := e.ring.Key(ctx, scope.Tenant(), id)
		switch {
		case fault.Is(err, fault.Sealed) || fault.Is(err, fault.NotFound):
		case err == nil || fault.Is(err, fault.Integrity):
			if err := e.destroy(ctx, scope, []envelope.KeyID{id}); err != nil {
				return err
			}
		default:
			return err
		}
	}
	return nil
}

// replayCustodies compares the list of custodies with their heads, and destroys
// again what restored keys do not know to be destroyed.
func (e *Engine) replayCustodies(ctx context.Context, scope store.Scope, planned map[store.ID]bool) error {
	var failed failures
	if err := e.checkCustodiesListed(ctx, scope); err != nil {
		failed.add(err)
	}
	const page = 1000
	var after store.ID
	for {
		rows, err := e.store.Custodies(ctx, scope, after, page)
		if err != nil {
			return err
		}
		for _, row := range rows {
			after = row.ID
			if err := e.replayCustody(ctx, scope, row, planned[row.ID]); err != nil {
				failed.add(err)
			}
		}
		if len(rows) < page {
			return failed.err()
		}
	}
}

func (e *Engine) replayCustody(ctx context.Context, scope store.Scope, row store.ListedCustody, planned bool) error {
	c, err := e.openCustody(ctx, scope, row.ID)
	if err != nil {
		return err
	}
	if !c.equalRow(row.CustodyRow) {
		return c.tampered("has a changed row in the list of holds and erasures")
	}
	if planned || len(c.keys) == 0 {
		return nil
	}
	p := &plan{Target: c.target, Order: c.order, keys: c.keys, Result: c.outcome}
	if err := e.putPlan(ctx, scope, c.id, p); err != nil {
		return err
	}
	if c.order.State == orderExecuting {
		return e.finish(ctx, c)
	}
	return e.destroyLiving(ctx, scope, c.target, c.keys)
}

// putPlan writes a plan beside the keys.
func (e *Engine) putPlan(ctx context.Context, scope store.Scope, id store.ID, p *plan) error {
	p.Keys = make([]string, len(p.keys))
	for i, key := range p.keys {
		p.Keys[i] = hex.EncodeToString(key[:])
	}
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	sealed, err := e.sealText(ctx, scope, e.planContext(scope, id), text)
	if err != nil {
		return err
	}
	if err := e.durable("write the plan"); err != nil {
		return err
	}
	return e.store.PutErasure(ctx, scope, id, sealed)
}

func (e *Engine) planContext(scope store.Scope, id store.ID) envelope.Context {
	return envelope.Context{Deployment: e.deployment, Tenant: scope.Tenant(), Class: "erasure", Object: textID(id)}
}

// storedPlan returns a custody's plan, nil if there is none.
func (e *Engine) storedPlan(ctx context.Context, scope store.Scope, id store.ID) (*plan, error) {
	sealed, err := e.store.Erasure(ctx, scope, id)
	if err != nil || sealed == nil {
		return nil, err
	}
	return e.openPlan(ctx, scope, store.StoredErasure{Object: id, Sealed: sealed})
}

func (e *Engine) openPlan(ctx context.Context, scope store.Scope, row store.StoredErasure) (*plan, error) {
	changed := fault.New(fault.Integrity, "the plan of erasure %s, which stands beside the keys, was changed", row.Object).WithCode("tampered").
		WithHint("the database of the keys was changed behind our back; compare it with a backup")
	text, err := e.openText(ctx, scope, e.planContext(scope, row.Object), row.Sealed)
	if fault.Is(err, fault.Integrity) {
		return nil, changed.WithCause(err)
	}
	if err != nil {
		return nil, err
	}
	p := &plan{}
	if err := json.Unmarshal(text, p); err != nil {
		return nil, changed.WithCause(err)
	}
	for _, key := range p.Keys {
		var id envelope.KeyID
		if n, err := hex.Decode(id[:], []byte(key)); err != nil || n != len(id) {
			return nil, changed.WithCause(err)
		}
		p.keys = append(p.keys, id)
	}
	return p, nil
}
