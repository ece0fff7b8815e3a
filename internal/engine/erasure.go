package engine

import (
	"cmp"
	"context"
	"crypto/hmac"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// maxErasureDelay bounds how long an erasure may wait.
const maxErasureDelay = 365 * 24 * time.Hour

// OrderErasure orders that the keys of an instance or of a person be destroyed,
// after a delay in which that can be canceled. Without a delay it is done before
// this returns. What is held is refused (Denied, code "on_hold").
func (e *Engine) OrderErasure(ctx context.Context, c Caller, r api.ErasureRequest, idem string) (api.Erasure, error) {
	return asNow(ctx, e, c, func(c Caller) (api.Erasure, error) { return e.orderErasureAs(ctx, c, r, idem) })
}

func (e *Engine) orderErasureAs(ctx context.Context, c Caller, r api.ErasureRequest, idem string) (api.Erasure, error) {
	if err := cmp.Or(e.mayTarget(ctx, c, access.OrderErasure, r.Kind, r.ID), access.CheckReason(r.Reason)); err != nil {
		return api.Erasure{}, err
	}
	again, err := e.request(ctx, c, "order-erasure", idem, r)
	if err != nil {
		return api.Erasure{}, err
	}
	defer e.custodies.lock(c.Scope)()
	if earlier, found, err := e.repeated(ctx, c.Scope, again); found || err != nil {
		return e.repeatedErasure(ctx, c, earlier, err)
	}
	cu, err := e.orderable(ctx, c.Scope, r)
	if fault.CodeOf(err) == "on_hold" {
		e.denied(ctx, c, access.OrderErasure, r.Kind, r.ID)
	}
	if err != nil {
		return api.Erasure{}, e.tellUnknown(ctx, c, err)
	}
	now := e.moment()
	delay := e.erasureDelay
	if r.DelayMS != nil {
		delay = min(time.Duration(*r.DelayMS)*time.Millisecond, maxErasureDelay)
	}
	cu.order = order{State: orderPending, Reason: r.Reason, By: c.Principal, At: now, Due: now.Add(delay)}
	cu.outcome = outcome{}
	if err := e.recordCustody(ctx, cu, wanted("erasure.ordered", c, again)); err != nil {
		return api.Erasure{}, err
	}
	if delay == 0 {
		err = e.execute(ctx, cu)
	}
	return cu.wire(), err
}

func (e *Engine) repeatedErasure(ctx context.Context, c Caller, earlier api.Receipt, err error) (api.Erasure, error) {
	if err != nil {
		return api.Erasure{}, err
	}
	cu, err := e.namedCustody(ctx, c.Scope, earlier.Instance)
	if err != nil {
		return api.Erasure{}, err
	}
	return cu.wire(), nil
}

// orderable returns the custody of something that exists, is not held, and is not
// erased or about to be.
func (e *Engine) orderable(ctx context.Context, scope store.Scope, r api.ErasureRequest) (*custody, error) {
	t, id, err := e.aim(ctx, scope, api.ErasureTarget{Kind: r.Kind, ID: r.ID})
	if err != nil {
		return nil, err
	}
	cu, err := e.custody(ctx, scope, id, t)
	if err != nil {
		return nil, err
	}
	if err := cu.free(); err != nil {
		return nil, err
	}
	switch cu.order.State {
	case orderPending, orderExecuting:
		return nil, fault.New(fault.Conflict, "an erasure of this %s is ordered already: %s, due %s", t.Kind, textID(id), toSecond(cu.order.Due)).
			WithCode("erasure_pending").WithHint("cancel it first to order it anew")
	case orderDone:
		if t.Kind == targetInstance {
			return nil, fault.New(fault.Conflict, "instance %s is erased already", t.Instance).WithCode("erased").
				WithHint("`underseal erase receipt %s` shows when and by whom", textID(id))
		}
	case orderNone, orderCanceled:
	}
	s, err := e.survey(ctx, cu)
	if err == nil {
		err = e.freeAround(ctx, cu, s)
	}
	if err == nil && t.Kind == targetSubject {
		var known target
		known, err = e.makeKnown(ctx, scope, r.ID)
		cu.target.add(known)
	}
	return cu, err
}

// toSecond writes a time for people.
func toSecond(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// free refuses a target that is held.
func (c *custody) free() error { return c.refuseHeld(c.wireHolds()) }

// freeAround refuses a target of which something is held as part of another: a person
// of whom a held instance has data, or an instance that has data of a held person.
func (e *Engine) freeAround(ctx context.Context, c *custody, s survey) error {
	holds, err := e.holdsAround(ctx, c, s)
	if err != nil {
		return err
	}
	return c.refuseHeld(holds)
}

func (c *custody) refuseHeld(holds []api.Hold) error {
	if len(holds) == 0 {
		return nil
	}
	refusal := fault.New(fault.Denied, "this %s is on hold and must not be erased", c.target.Kind).WithCode("on_hold").
		WithHint("whoever placed a hold releases it: `underseal holds release ID`")
	for _, h := range holds {
		refusal = refusal.WithDetails(fault.Detail{Place: "hold " + h.ID, Message: "by " + h.By + " since " + toSecond(h.At)})
	}
	return refusal
}

// holdsAround returns the holds on other targets that an erasure would reach into. What
// the list says of holds anybody who writes to the database can change, so every custody
// is opened that may have one.
func (e *Engine) holdsAround(ctx context.Context, c *custody, s survey) (holds []api.Hold, err error) {
	pins, err := e.custodyPins(ctx, c.scope)
	if err != nil {
		return nil, err
	}
	if err := e.checkCustodiesListed(ctx, c.scope); err != nil { // all that is pinned is there
		return nil, err
	}
	const page = 1000
	var after store.ID
	for {
		leaves, err := e.store.CustodyLeaves(ctx, c.scope, after, page)
		if err != nil {
			return nil, err
		}
		for _, l := range leaves {
			if after = l.ID; l.ID == c.id || holdsNothing(l, pins[l.ID]) {
				continue
			}
			other, err := e.openCustody(ctx, c.scope, l.ID)
			if err != nil {
				return nil, err
			}
			if s.reaches(other.target) {
				holds = append(holds, other.wireHolds()...)
			}
		}
		if len(leaves) < page {
			return holds, nil
		}
	}
}

// custodyPins returns what is pinned of custodies.
func (e *Engine) custodyPins(ctx context.Context, scope store.Scope) (map[store.ID]store.Pin, error) {
	all, err := e.store.Pins(ctx, scope)
	pins := map[store.ID]store.Pin{}
	for _, pin := range all {
		if pin.Kind == store.Custody {
			pins[pin.Object] = pin
		}
	}
	return pins, err
}

// unheldAfter are the steps after which a custody has no hold: what is held is not
// ordered to be erased, and nothing is held that was erased.
var unheldAfter = []string{"erasure.ordered", "key.destroyed", "erasure.replayed", "erasure.completed"}

// holdsNothing reports whether a custody has no hold by its newest leaf, which must be
// the one that is pinned beside the keys.
func holdsNothing(l store.CustodyLeaf, pin store.Pin) bool {
	if l.Seq == 0 || l.Seq != pin.Seq || ledger.LeafHash(l.Body) != pin.Hash {
		return false
	}
	leaf, err := ledger.ParseLeaf(l.Body)
	return err == nil && slices.Contains(unheldAfter, leaf.Kind)
}

// CancelErasure takes an order back before it is due.
func (e *Engine) CancelErasure(ctx context.Context, c Caller, id, idem string) (api.Erasure, error) {
	return asNow(ctx, e, c, func(c Caller) (api.Erasure, error) { return e.cancelErasureAs(ctx, c, id, idem) })
}

func (e *Engine) cancelErasureAs(ctx context.Context, c Caller, id, idem string) (api.Erasure, error) {
	if err := e.may(ctx, c, access.CancelErasure, "erasure", id); err != nil {
		return api.Erasure{}, err
	}
	again, err := e.request(ctx, c, "cancel-erasure "+id, idem, nil)
	if err != nil {
		return api.Erasure{}, err
	}
	defer e.custodies.lock(c.Scope)()
	cu, err := e.namedCustody(ctx, c.Scope, id)
	if err != nil {
		return api.Erasure{}, err
	}
	if _, found, err := e.repeated(ctx, c.Scope, again); found || err != nil {
		return cu.wire(), err
	}
	begun, err := e.begun(ctx, cu)
	if err != nil {
		return api.Erasure{}, err
	}
	if begun || cu.order.State != orderPending {
		return api.Erasure{}, fault.New(fault.Conflict, "erasure %s cannot be canceled: it is %s", id, cu.wire().State).WithCode("erasure_begun")
	}
	cu.order.State = orderCanceled
	err = e.recordCustody(ctx, cu, wanted("erasure.canceled", c, again))
	return cu.wire(), err
}

// Erasures lists what was ordered to be erased, in the order of their ids.
func (e *Engine) Erasures(ctx context.Context, c Caller, p Page) (api.Erasures, error) {
	return readNow(ctx, e, c, func(c Caller) (api.Erasures, error) { return e.erasuresAs(ctx, c, p) })
}

func (e *Engine) erasuresAs(ctx context.Context, c Caller, p Page) (api.Erasures, error) {
	if err := e.may(ctx, c, access.ReadErasure, "erasure", ""); err != nil {
		return api.Erasures{}, err
	}
	result := api.Erasures{Items: []api.Erasure{}}
	var told []shown
	next, err := e.eachCustody(ctx, c.Scope, p, func(cu *custody) {
		if cu.order.State != orderNone && cu.target.Kind != targetEpoch {
			result.Items = append(result.Items, cu.wire())
			told = append(told, shown{object: cu.id, paths: []string{"order"}})
		}
	})
	if err == nil {
		err = e.tellShown(ctx, c, dataShown, "user", told...)
	}
	if err != nil {
		return api.Erasures{}, err
	}
	err = e.undisturbed(c.Scope, func() error {
		ends, err := e.epochs(ctx, c.Scope)
		if err == nil && len(ends.epochs) > 0 {
			result.Note = ends.epochs[len(ends.epochs)-1].Note
		}
		return err
	})
	result.Next = next
	return result, err
}

func (c *custody) wire() api.Erasure {
	return api.Erasure{
		ID: textID(c.id), Kind: c.target.Kind, Instance: c.target.Instance, State: c.order.State, Reason: c.order.Reason,
		By: c.order.By, Ordered: c.order.At, Due: c.order.Due, Completed: timeOrNil(c.outcome.Completed), Holds: len(c.holds),
	}
}

// PreviewErasure says what an erasure would take away and what holds it. It changes
// nothing. In which instances a person is, it says for a purpose alone (Denied, code
// "purpose_required"), and names those that the caller may see.
func (e *Engine) PreviewErasure(ctx context.Context, c Caller, t api.ErasureTarget) (api.ErasurePreview, error) {
	return readNow(ctx, e, c, func(c Caller) (api.ErasurePreview, error) { return e.previewErasureAs(ctx, c, t) })
}

func (e *Engine) previewErasureAs(ctx context.Context, c Caller, t api.ErasureTarget) (api.ErasurePreview, error) {
	if err := e.mayTarget(ctx, c, access.ReadErasure, t.Kind, t.ID); err != nil {
		return api.ErasurePreview{}, err
	}
	aimed, id, err := e.aim(ctx, c.Scope, t)
	if err == nil && aimed.Kind == targetSubject && c.Purpose == "" {
		e.denied(ctx, c, access.ReadErasure, t.Kind, t.ID)
		err = fault.New(fault.Denied, "where a person is found is shown for a purpose alone").WithCode("purpose_required").
			WithHint("say in a few words what for: the header Underseal-Purpose, or --purpose")
	}
	if err != nil {
		return api.ErasurePreview{}, err
	}
	var cu *custody
	err = e.undisturbed(c.Scope, func() (err error) {
		cu, err = e.custody(ctx, c.Scope, id, aimed)
		return err
	})
	if err != nil {
		return api.ErasurePreview{}, err
	}
	s, err := e.survey(ctx, cu)
	if err != nil {
		return api.ErasurePreview{}, e.tellUnknown(ctx, c, err)
	}
	var around []api.Hold
	err = e.undisturbed(c.Scope, func() (err error) {
		around, err = e.holdsAround(ctx, cu, s)
		return err
	})
	if err != nil {
		return api.ErasurePreview{}, err
	}
	preview := api.ErasurePreview{
		ID: textID(id), Kind: aimed.Kind, State: cu.order.State, Holds: append(cu.wireHolds(), around...), Keys: len(s.keys), Instances: len(s.objects),
	}
	if preview.Tokens, err = e.store.CountTokens(ctx, c.Scope, storeIDs(s.keys), s.instance); err != nil {
		return api.ErasurePreview{}, err
	}
	for _, object := range s.objects {
		if err := e.previewInstance(ctx, c, object, s.keys, &preview); err != nil {
			return api.ErasurePreview{}, err
		}
	}
	items := s.shownBy(id, preview)
	if err := e.tellShown(ctx, c, dataShown, "user", items...); err != nil {
		return api.ErasurePreview{}, err
	}
	if aimed.Kind == targetSubject && len(items) == 0 {
		if err := e.tellSearched(ctx, c, "", "$person", shown{}); err != nil {
			return api.ErasurePreview{}, err
		}
	}
	return preview, nil
}

// tellUnknown returns an error, and has the log tell first if it says that nothing is
// stored about a person.
func (e *Engine) tellUnknown(ctx context.Context, c Caller, err error) error {
	if fault.CodeOf(err) != "no_such_subject" {
		return err
	}
	return cmp.Or(e.tellSearched(ctx, c, "", "$person", shown{}), err)
}

// shownBy says what a preview shows: reasons of holds, and which instances a person
// is in, of those that it names.
func (s survey) shownBy(custody store.ID, p api.ErasurePreview) (items []shown) {
	if len(p.Holds) > 0 {
		items = append(items, shown{object: custody, paths: []string{"holds"}})
	}
	for _, object := range s.objects {
		if p.Kind == targetSubject && slices.Contains(p.Sample, textID(object)) {
			items = append(items, shown{object: object, paths: []string{"$person"}})
		}
	}
	return items
}

// maxPreviewed is how many instances a preview names.
const maxPreviewed = 100

// previewInstance adds what would go of one instance.
func (e *Engine) previewInstance(ctx context.Context, c Caller, id store.ID, keys []envelope.KeyID, p *api.ErasurePreview) error {
	err := e.runner.Use(ctx, c.Scope, id, func(l *Live) error {
		for i := range l.head.fields {
			if f := &l.head.fields[i]; !f.erased && l.head.under(f, keys) {
				p.Fields++
				if strings.HasPrefix(f.path, heldPrefix) {
					p.Files++
				}
			}
		}
		if l.state.Status() == process.Active {
			p.Running++
		}
		p.Tasks += len(l.state.Tasks())
		p.Jobs += len(l.state.Jobs())
		p.Timers += len(l.state.Timers())
		p.Incidents += len(l.state.Incidents())
		if len(p.Sample) < maxPreviewed && e.sees(c, access.ReadInstance, l.resource()) {
			p.Sample = append(p.Sample, textID(id))
		}
		return nil
	})
	if fault.Is(err, fault.Sealed) { // erased as a whole
		p.Instances--
		return nil
	}
	return err
}

// under reports whether a field is sealed under one of the keys, or committed to
// under it.
func (h *head) under(f *stored, keys []envelope.KeyID) bool {
	return slices.Contains(keys, h.owner(f.seq)) || slices.ContainsFunc(f.keys, func(i int) bool { return slices.Contains(keys, h.keys[i]) })
}

func storeIDs(keys []envelope.KeyID) []store.ID {
	ids := make([]store.ID, len(keys))
	for i, key := range keys {
		ids[i] = store.ID(key)
	}
	return ids
}

// survey is what an erasure reaches.
type survey struct {
	instance store.ID         // zero for a person
	objects  []store.ID       // instances of which something goes
	persons  []string         // tokens, hex, of the person, or of those whom the instance is about
	keys     []envelope.KeyID // to be destroyed
	gone     *lastState       // of the instance
}

// reaches reports whether something of another target would go.
func (s *survey) reaches(t target) bool {
	if t.Kind == targetInstance {
		return slices.ContainsFunc(s.objects, func(id store.ID) bool { return textID(id) == t.Instance })
	}
	return slices.ContainsFunc(t.Tokens, func(token string) bool { return slices.Contains(s.persons, token) })
}

// survey finds what an erasure of the target would reach now. NotFound when there
// is nothing.
func (e *Engine) survey(ctx context.Context, c *custody) (survey, error) {
	if c.target.Kind == targetInstance {
		return e.surveyInstance(ctx, c.scope, c.target)
	}
	return e.surveyPerson(ctx, c.scope, c.target)
}

func (e *Engine) surveyInstance(ctx context.Context, scope store.Scope, t target) (survey, error) {
	o, err := e.instanceObject(ctx, scope, t)
	if err != nil {
		return survey{}, err
	}
	h := o.head
	last := &lastState{
		Process: h.process, Version: h.version, Definition: textID(h.def), Mode: string(h.mode), Started: h.started, Ended: h.ended,
		Key: o.owner.ID.String(), Seq: h.seq, Leaf: hex.EncodeToString(h.leaf[:]),
	}
	if last.Ended.IsZero() {
		last.Ended = e.moment()
	}
	s := survey{instance: o.id, objects: []store.ID{o.id}, gone: last}
	for _, p := range h.persons {
		s.persons = append(s.persons, hex.EncodeToString(p.token[:]))
	}
	for _, owner := range h.owners {
		s.keys = append(s.keys, owner.key)
	}
	return s, nil
}

// instanceObject loads the instance of a target.
func (e *Engine) instanceObject(ctx context.Context, scope store.Scope, t target) (*object, error) {
	id, err := parseInstanceID(t.Instance)
	if err != nil {
		return nil, err
	}
	o, err := e.load(ctx, scope, id, store.Instance)
	if fault.Is(err, fault.NotFound) {
		err = noSuch("instance", t.Instance)
	}
	return o, err
}

// surveyPerson finds the person's own keys, and the keys without a name under which
// something was sealed before it was known to be theirs. The latter are named by
// rows that anybody who writes to the database could have made, so the object must
// say so too.
func (e *Engine) surveyPerson(ctx context.Context, scope store.Scope, t target) (survey, error) {
	s := survey{persons: t.Tokens}
	tokens, err := t.tokens()
	if err != nil {
		return s, err
	}
	for _, token := range tokens {
		own, err := e.ring.FindSubject(ctx, scope.Tenant(), token)
		if err != nil {
			return s, err
		}
		s.keys = append(s.keys, own...)
		rows, err := e.store.FindToken(ctx, scope, store.SubjectToken, token)
		if err != nil {
			return s, err
		}
		for _, row := range rows {
			if err := e.surveyRow(ctx, scope, token, row, &s); err != nil {
				return s, err
			}
		}
	}
	if len(s.keys) == 0 {
		return s, fault.New(fault.NotFound, "nothing is stored about this person").WithCode("no_such_subject").
			WithHint("the id is what the naming field of the process holds, such as applicant.id; who was erased is not known any more")
	}
	return s, nil
}

func (e *Engine) surveyRow(ctx context.Context, scope store.Scope, token [32]byte, row store.TokenRow, s *survey) error {
	if !slices.Contains(s.objects, row.Object) {
		s.objects = append(s.objects, row.Object)
	}
	key := envelope.KeyID(row.Key)
	if slices.Contains(s.keys, key) {
		return nil
	}
	print, err := e.meetingPrint(ctx, scope, row.Object, token, key)
	if err != nil {
		return err
	}
	if !hmac.Equal(row.Print, print[:]) {
		o := object{scope: scope, id: row.Object, kind: store.Instance}
		return o.tampered("has a changed or added row that calls a key a person's")
	}
	s.keys = append(s.keys, key)
	return nil
}

// erasedStatus is what the routing row of an erased instance says.
const erasedStatus = "erased"

// listedErased shows an erased instance by what its custody knows of it.
func (e *Engine) listedErased(ctx context.Context, scope store.Scope, row store.ListedInstance) (api.Instance, error) {
	o := &object{scope: scope, id: row.ID, kind: store.Instance}
	last, err := e.lastState(ctx, o)
	if err != nil {
		return api.Instance{}, err
	}
	if !last.equalRow(row.InstanceRow) {
		return api.Instance{}, o.changedIn("instances", "has a changed row in the list of instances")
	}
	return api.Instance{
		ID: textID(row.ID), Process: last.Process, Version: last.Version, Mode: last.Mode, Status: erasedStatus,
		Started: last.Started, Ended: &last.Ended,
	}, nil
}

func (l *lastState) equalRow(r store.InstanceRow) bool {
	return l.Process == r.Process && l.Version == r.Version && l.Definition == textID(r.Definition) && l.Mode == r.Mode &&
		r.Status == erasedStatus && r.Incidents == 0 && l.Started.Equal(r.Started) && l.Ended.Equal(r.Ended) &&
		l.Key == envelope.KeyID(r.Key).String()
}

// checkStruck requires that nothing waits in an erased instance any more and that
// its row says what became of it. While it is being erased, nothing is required.
func (e *Engine) checkStruck(ctx context.Context, scope store.Scope, id store.ID) error {
	o := &object{scope: scope, id: id, kind: store.Instance}
	custody, err := e.instanceCustody(ctx, scope, id)
	if err != nil {
		return err
	}
	c, err := e.openCustody(ctx, scope, custody)
	if fault.Is(err, fault.NotFound) {
		return o.tampered("has no key, and nobody ordered that")
	}
	if err != nil || c.outcome.Gone == nil {
		return err
	}
	rows, err := e.store.Rows(ctx, scope, id)
	if err != nil {
		return err
	}
	if rows.Instance == nil || !c.outcome.Gone.equalRow(*rows.Instance) {
		return o.changedIn("instances", "has a changed row in the list of instances")
	}
	if len(rows.Tasks)+len(rows.Jobs)+len(rows.Timers)+len(rows.Incidents) > 0 {
		return o.tampered("was erased, and rows say that something waits in it")
	}
	return nil
}
