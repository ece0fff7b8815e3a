package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
)

// PlaceHold keeps an instance or a person from being erased until it is released: an
// instance from losing what it has of persons, a person from losing instances.
// A target may have any number of holds; each counts. A person need not be known
// yet.
func (e *Engine) PlaceHold(ctx context.Context, c Caller, r api.HoldRequest, idem string) (api.Hold, error) {
	return asNow(ctx, e, c, func(c Caller) (api.Hold, error) { return e.placeHoldAs(ctx, c, r, idem) })
}

func (e *Engine) placeHoldAs(ctx context.Context, c Caller, r api.HoldRequest, idem string) (api.Hold, error) {
	if err := cmp.Or(e.mayTarget(ctx, c, access.PlaceHold, r.Kind, r.ID), access.CheckReason(r.Reason)); err != nil {
		return api.Hold{}, err
	}
	again, err := e.request(ctx, c, "place-hold", idem, r)
	if err != nil {
		return api.Hold{}, err
	}
	defer e.custodies.lock(c.Scope)()
	cu, err := e.heldBy(ctx, c.Scope, r)
	if err != nil {
		return api.Hold{}, err
	}
	if earlier, found, err := e.repeated(ctx, c.Scope, again); found || err != nil {
		return cu.wireHoldOf(earlier.Seq), err
	}
	number := int(cu.head.seq) + 1 // that of the step: no two holds ever share it
	cu.holds = append(cu.holds, hold{Number: number, Reason: r.Reason, By: c.Principal, At: e.moment()})
	if err := e.recordCustody(ctx, cu, wanted("hold.placed", c, again)); err != nil {
		return api.Hold{}, err
	}
	return cu.wireHoldOf(cu.head.seq), nil
}

// heldBy returns the custody of what a hold is to be placed on: anything but what
// is erased, or is being erased.
func (e *Engine) heldBy(ctx context.Context, scope store.Scope, r api.HoldRequest) (*custody, error) {
	t, id, err := e.aim(ctx, scope, api.ErasureTarget{Kind: r.Kind, ID: r.ID})
	if err != nil {
		return nil, err
	}
	if t.Kind == targetInstance {
		if _, err := e.instanceObject(ctx, scope, t); err != nil {
			return nil, err
		}
	}
	cu, err := e.custody(ctx, scope, id, t)
	if err != nil {
		return nil, err
	}
	if begun, err := e.begun(ctx, cu); begun || err != nil {
		if err != nil {
			return nil, err
		}
		return nil, fault.New(fault.Conflict, "place a hold: the erasure has begun").WithCode("erasure_begun")
	}
	if t.Kind == targetSubject {
		known, err := e.makeKnown(ctx, scope, r.ID)
		if err != nil {
			return nil, err
		}
		cu.target.add(known)
	}
	return cu, nil
}

// ReleaseHold takes one hold away.
func (e *Engine) ReleaseHold(ctx context.Context, c Caller, id, idem string) (api.Hold, error) {
	return asNow(ctx, e, c, func(c Caller) (api.Hold, error) { return e.releaseHoldAs(ctx, c, id, idem) })
}

func (e *Engine) releaseHoldAs(ctx context.Context, c Caller, id, idem string) (api.Hold, error) {
	if err := e.may(ctx, c, access.ReleaseHold, "hold", id); err != nil {
		return api.Hold{}, err
	}
	again, err := e.request(ctx, c, "release-hold "+id, idem, nil)
	if err != nil {
		return api.Hold{}, err
	}
	defer e.custodies.lock(c.Scope)()
	object, number, _ := strings.Cut(id, ".")
	cu, err := e.namedCustody(ctx, c.Scope, object)
	if fault.Is(err, fault.NotFound) {
		return api.Hold{}, noSuch("hold", id)
	}
	if err != nil {
		return api.Hold{}, err
	}
	if _, found, err := e.repeated(ctx, c.Scope, again); found || err != nil {
		return api.Hold{ID: id, Kind: cu.target.Kind, Instance: cu.target.Instance}, err
	}
	i := slices.IndexFunc(cu.holds, func(h hold) bool { return strconv.Itoa(h.Number) == number })
	if i < 0 {
		return api.Hold{}, noSuch("hold", id)
	}
	released := cu.wireHold(cu.holds[i])
	cu.holds = slices.Delete(cu.holds, i, i+1)
	return released, e.recordCustody(ctx, cu, wanted("hold.released", c, again))
}

// Holds lists the holds that are in force.
func (e *Engine) Holds(ctx context.Context, c Caller, p Page) (api.Holds, error) {
	return readNow(ctx, e, c, func(c Caller) (api.Holds, error) { return e.holdsAs(ctx, c, p) })
}

func (e *Engine) holdsAs(ctx context.Context, c Caller, p Page) (api.Holds, error) {
	if err := e.may(ctx, c, access.ReadHold, "hold", ""); err != nil {
		return api.Holds{}, err
	}
	result := api.Holds{Items: []api.Hold{}}
	var told []shown
	next, err := e.eachCustody(ctx, c.Scope, p, func(cu *custody) {
		result.Items = append(result.Items, cu.wireHolds()...)
		if len(cu.holds) > 0 {
			told = append(told, shown{object: cu.id, paths: []string{"holds"}})
		}
	})
	if err == nil {
		err = e.tellShown(ctx, c, dataShown, "user", told...)
	}
	if err != nil {
		return api.Holds{}, err
	}
	result.Next = next
	return result, nil
}

// eachCustody calls f for a page of custodies. Each row was compared with its head.
func (e *Engine) eachCustody(ctx context.Context, scope store.Scope, p Page, f func(*custody)) (next string, err error) {
	limit, err := p.limit()
	if err != nil {
		return "", err
	}
	after, err := p.instance()
	if err != nil {
		return "", err
	}
	if err := e.checkCustodiesListed(ctx, scope); err != nil {
		return "", err
	}
	rows, err := e.store.Custodies(ctx, scope, after, limit+1)
	if err != nil {
		return "", err
	}
	rows, next = cut(rows, limit, func(r store.ListedCustody) string { return textID(r.ID) })
	for _, row := range rows {
		cu, err := e.listedCustody(ctx, scope, row)
		if err != nil {
			return "", err
		}
		f(cu)
	}
	return next, nil
}

// listedCustody opens a custody whose row was listed. An order or hold may have come
// in between; then both are read again.
func (e *Engine) listedCustody(ctx context.Context, scope store.Scope, row store.ListedCustody) (*custody, error) {
	cu, err := e.openCustody(ctx, scope, row.ID)
	if fault.Is(err, fault.NotFound) {
		o := object{scope: scope, id: row.ID, kind: store.Custody}
		return nil, o.tampered("has a row in the list of holds and erasures and no head")
	}
	if err == nil && cu.equalRow(row.CustodyRow) || err != nil && !fault.Is(err, fault.Integrity) {
		return cu, err
	}
	defer e.custodies.lock(scope)()
	now, err := e.store.Custody(ctx, scope, row.ID)
	if err != nil {
		return nil, err
	}
	if cu, err = e.openCustody(ctx, scope, row.ID); err == nil && !cu.equalRow(now.CustodyRow) {
		err = cu.tampered("has a changed row in the list of holds and erasures")
	}
	return cu, err
}

func (e *Engine) checkCustodiesListed(ctx context.Context, scope store.Scope) error {
	if err := e.requireAllPinned(ctx, scope, store.Custody); err != nil {
		return err
	}
	id, found, err := e.store.UnlistedCustody(ctx, scope)
	if err != nil || !found {
		return err
	}
	o := object{scope: scope, id: id, kind: store.Custody}
	return o.tampered("has lost its row in the list of holds and erasures")
}

func (c *custody) wireHold(h hold) api.Hold {
	return api.Hold{
		ID: fmt.Sprintf("%s.%d", textID(c.id), h.Number), Kind: c.target.Kind, Instance: c.target.Instance,
		Reason: h.Reason, By: h.By, At: h.At,
	}
}

func (c *custody) wireHolds() []api.Hold {
	list := make([]api.Hold, len(c.holds))
	for i, h := range c.holds {
		list[i] = c.wireHold(h)
	}
	return list
}

// wireHoldOf shows the hold that a step placed, also one that was released since.
func (c *custody) wireHoldOf(seq uint64) api.Hold {
	for _, h := range c.holds {
		if uint64(h.Number) == seq {
			return c.wireHold(h)
		}
	}
	return c.wireHold(hold{Number: int(seq)})
}
