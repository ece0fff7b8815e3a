package engine

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/store"
)

// keyRecord is the object that tells what was done to the keys above a tenant's data
// keys. The keys are in another database than the log, so no transaction has both:
// an order is written first, then it is carried out, then the outcome is written. An
// order without an outcome, because of a crash or because the outcome could not be
// written, is settled at the next start or with the next order, by what the keys are
// then.
type keyRecord struct {
	object
	orders []keyOrder // that have no outcome yet
	index  int        // how many index keys there were at the newest step
}

// keyOrder says what is to be done to which key. As a field of a keyRecord it is JSON.
type keyOrder struct {
	Number  uint64 `json:"number"` // of the step that is the order
	Do      string `json:"do"`     // doRotate, doRewrap or doRetire
	Key     string `json:"key"`    // tenant, root, data, subject, or a purpose: index, audit, inbox, log
	Service string `json:"service,omitempty"`
	// Version is what is to be retired, or was the newest when a rotation was ordered.
	// Of keys of persons it is how many were rotated.
	Version string `json:"version,omitempty"`
	// Subjects are the keys of persons that are to be followed by others. Tokens would
	// stay here when a person is erased.
	Subjects []string `json:"subjects,omitempty"`
}

const (
	doRotate = "rotate"
	doRewrap = "rewrap"
	doRetire = "retire"

	tenantKey  = "tenant"
	rootKey    = "root"
	dataKeys   = "data"
	subjectKey = "subject"
)

// keyWords are the kinds of the leaves of an order: when it is given, when it was
// carried out, and when it was not, or not wholly. What is left of a rewrap is done
// within the hour, so its order stays open until all is done.
var keyWords = map[string][3]string{
	doRotate: {"rotation_ordered", "rotated", "rotation_unfinished"},
	doRewrap: {"rewrap_ordered", "rewrapped"},
	doRetire: {"retirement_ordered", "retired", "retirement_unfinished"},
}

func (o keyOrder) kind(word int) string {
	name := o.Key + "_key."
	if o.Key == dataKeys {
		name = "data_keys."
	}
	return name + keyWords[o.Do][word]
}

// orderer is who orders something.
type orderer struct {
	act    string
	caller Caller
	by     *Caller // who orders it; nil: what was ordered before, or by nobody who was admitted
}

var byEngine = orderer{"engine", Caller{Principal: "engine"}, nil}

func byAdmin(c Caller) orderer { return orderer{"admin", c, &c} }

func byUser(c Caller) orderer { return orderer{"user", c, &c} }

// then is who it is by when an order has been carried out, whoever that is by then.
func (o orderer) then() orderer {
	o.by = nil
	return o
}

// ordered has the log of a tenant hold an order, carries it out, and has the log
// hold what came of it. Without the order nothing is done.
func (e *Engine) ordered(ctx context.Context, scope store.Scope, by orderer, o keyOrder, do func() error) error {
	o, err := e.orderKey(ctx, scope, by, o)
	if err != nil {
		return err
	}
	doing := e.durable(o.Do + " a key")
	if doing == nil {
		doing = do()
	}
	if err := e.finishOrder(context.WithoutCancel(ctx), scope, by.then(), o.Number); err != nil && doing == nil {
		return err
	}
	return doing
}

// orderKey writes an order down. What earlier orders came to is written first.
func (e *Engine) orderKey(ctx context.Context, scope store.Scope, by orderer, o keyOrder) (keyOrder, error) {
	defer e.keyOrders.lock(scope)()
	r, err := e.settledRecord(ctx, scope)
	if err != nil {
		return o, err
	}
	o.Number = r.head.seq + 1
	if o.Do == doRewrap { // it takes the place of an earlier one
		r.orders = slices.DeleteFunc(r.orders, func(open keyOrder) bool { return open.Do == doRewrap })
	}
	r.orders = append(r.orders, o)
	if err := e.writeKeyRecord(ctx, r, by, o.kind(0), fieldWrite{path: "$order", value: jsonValue(o)}); err != nil {
		return o, err
	}
	e.carryingOut.Store(orderID{scope, o.Number}, nil)
	return o, nil
}

// orderID names an order that this process carries out.
type orderID struct {
	scope  store.Scope
	number uint64
}

// finishOrder writes down what became of an order.
func (e *Engine) finishOrder(ctx context.Context, scope store.Scope, by orderer, number uint64) error {
	defer e.keyOrders.lock(scope)()
	e.carryingOut.Delete(orderID{scope, number})
	r, err := e.keyRecord(ctx, scope)
	if err != nil {
		return err
	}
	for _, o := range r.orders {
		if o.Number == number {
			return e.settle(ctx, r, by, o)
		}
	}
	return nil
}

// SettleKeyOrders writes down what became of orders to change keys whose outcome is
// not in the log, of all tenants.
func (e *Engine) SettleKeyOrders(ctx context.Context) error {
	return e.eachTenant(ctx, func(scope store.Scope) error {
		defer e.keyOrders.lock(scope)()
		_, err := e.settledRecord(ctx, scope)
		return err
	})
}

// settledRecord returns a tenant's record, with an outcome for every order that
// nobody carries out any more. The first time it says which tenant key was made.
// Integrity when there are fewer index keys than there were: their rows were set back to
// before a rotation, and nobody would find what was written since.
func (e *Engine) settledRecord(ctx context.Context, scope store.Scope) (*keyRecord, error) {
	r, err := e.keyRecord(ctx, scope)
	if err != nil {
		return nil, err
	}
	keys, err := e.ring.PurposeKeys(ctx, scope.Tenant(), keyring.Index)
	if err != nil {
		return nil, err
	}
	if len(keys) < r.index {
		return nil, r.tampered("says that the tenant has %d index keys, and there are %d", r.index, len(keys))
	}
	if r.head.seq == 0 {
		if err := e.writeKeyRecord(ctx, r, byEngine, "tenant_key.made"); err != nil {
			return nil, err
		}
	}
	for _, o := range slices.Clone(r.orders) {
		if _, busy := e.carryingOut.Load(orderID{scope, o.Number}); busy {
			continue
		}
		if err := e.settle(ctx, r, byEngine, o); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// settle looks whether an order was carried out and writes that down.
func (e *Engine) settle(ctx context.Context, r *keyRecord, by orderer, o keyOrder) error {
	done, version, err := e.carriedOut(ctx, r.scope, o)
	if err != nil || o.Do == doRewrap && !done {
		return err
	}
	r.orders = slices.DeleteFunc(r.orders, func(open keyOrder) bool { return open.Number == o.Number })
	kind, result := o.kind(1), o
	if !done {
		kind = o.kind(2)
	}
	result.Version = version
	return e.writeKeyRecord(ctx, r, by, kind, fieldWrite{path: "$result", value: jsonValue(result)})
}

// carriedOut compares an order with the keys as they are. version is the newest one
// after a rotation, else that of the order.
func (e *Engine) carriedOut(ctx context.Context, scope store.Scope, o keyOrder) (done bool, version string, err error) {
	keys, err := e.ring.TenantKeys(ctx, scope.Tenant())
	if err != nil || len(keys) == 0 {
		return false, o.Version, err
	}
	switch {
	case o.Do == doRewrap:
		older := slices.ContainsFunc(keys, func(k keyring.TenantKeyInfo) bool { return !k.Newest && k.DataKeys+k.Subjects > 0 })
		return !older, o.Version, nil
	case o.Do == doRotate && o.Key == tenantKey:
		version = versionText(keys[len(keys)-1].Version)
	case o.Do == doRotate && o.Key == rootKey:
		version, err = e.ring.NewestRoot(ctx, o.Service)
	case o.Do == doRotate && o.Key == subjectKey:
		return e.subjectsRotated(ctx, scope, o)
	case o.Do == doRotate:
		version, err = e.purposeNumber(ctx, scope, keyring.Purpose(o.Key))
	case o.Key == tenantKey:
		stands := slices.ContainsFunc(keys, func(k keyring.TenantKeyInfo) bool { return versionText(k.Version) == o.Version })
		return !stands, o.Version, nil
	default:
		roots, err := e.ring.RootKeys(ctx)
		stands := slices.ContainsFunc(roots, func(k keyring.RootInfo) bool { return k.Service == o.Service && k.Version == o.Version })
		return !stands, o.Version, err
	}
	return version != o.Version, version, err
}

// keyRecord opens a tenant's record and checks every row of it; a new one has no
// step yet.
func (e *Engine) keyRecord(ctx context.Context, scope store.Scope) (*keyRecord, error) {
	token, err := e.indexToken(ctx, scope.Tenant(), "custody", "keys")
	if err != nil {
		return nil, err
	}
	o, err := e.load(ctx, scope, custodyID(token), store.KeyRecord)
	if fault.Is(err, fault.NotFound) {
		return e.newKeyRecord(ctx, scope, custodyID(token))
	}
	if err != nil {
		return nil, err
	}
	values, err := e.checkedValues(ctx, o)
	if err != nil {
		return nil, err
	}
	r := &keyRecord{object: *o}
	if err := json.Unmarshal(canon.EncodeJSON(values["orders"]), &r.orders); err != nil {
		return nil, o.tampered("has a field %q that cannot be read", "orders")
	}
	count, _ := values[indexKeysPath].(canon.String)
	if r.index, err = strconv.Atoi(string(count)); err != nil {
		return nil, o.tampered("has a field %q that cannot be read", indexKeysPath)
	}
	return r, nil
}

// indexKeysPath is the field that says how many index keys there are.
const indexKeysPath = "index_keys"

func (e *Engine) newKeyRecord(ctx context.Context, scope store.Scope, id store.ID) (*keyRecord, error) {
	key, err := e.ring.TenantKey(ctx, scope.Tenant(), keyring.Audit)
	if err != nil {
		return nil, err
	}
	return &keyRecord{object: object{
		scope: scope, id: id, kind: store.KeyRecord, owner: key,
		head: &head{mode: process.Standard, started: e.moment(), owners: []owner{{key.ID, 1}}},
	}}, nil
}

// writeKeyRecord makes a step of a record durable, with the orders that are open and
// the tenant keys as they are now.
func (e *Engine) writeKeyRecord(ctx context.Context, r *keyRecord, by orderer, kind string, facts ...fieldWrite) error {
	keys, err := e.ring.TenantKeys(ctx, r.scope.Tenant())
	if err != nil {
		return err
	}
	index, err := e.ring.PurposeKeys(ctx, r.scope.Tenant(), keyring.Index)
	if err != nil {
		return err
	}
	at := e.moment()
	shard, leave, err := e.enterShard(ctx, r.scope, at)
	if err != nil {
		return err
	}
	defer leave()
	s := step{shard: shard, kind: kind, act: by.act, at: at, record: record(kind, process.Outcome{}, at)}
	s.fields = append(facts,
		fieldWrite{path: "$actor", value: actorOf(by.caller)},
		fieldWrite{path: "$tenant_keys", value: tenantKeysValue(keys)})
	for i := range s.fields {
		s.fields[i].label, s.fields[i].fact = confidential, true
	}
	s.fields = append(s.fields,
		fieldWrite{path: "orders", value: jsonValue(slices.Concat([]keyOrder{}, r.orders)), label: confidential},
		fieldWrite{path: indexKeysPath, value: canon.String(strconv.Itoa(len(index))), label: confidential})
	set, err := e.write(ctx, &r.object, s)
	if err != nil {
		return err
	}
	release, err := e.people.hold(by.by)
	if err != nil {
		return err
	}
	defer release()
	if err := e.durable("commit " + kind); err != nil {
		return err
	}
	return e.commitPinned(ctx, r.scope, set)
}

// tenantKeysValue says which tenant keys there are and what wraps each.
func tenantKeysValue(keys []keyring.TenantKeyInfo) canon.List {
	list := make(canon.List, len(keys))
	for i, k := range keys {
		list[i] = newContext(
			canon.Entry{Name: "root_key", Value: canon.String(k.RootKey)},
			canon.Entry{Name: "root_version", Value: canon.String(k.RootVersion)},
			canon.Entry{Name: "service", Value: canon.String(k.Service)},
			canon.Entry{Name: "version", Value: canon.String(versionText(k.Version))},
		)
	}
	return list
}

// jsonValue returns something that is JSON without fail as a value.
func jsonValue(v any) canon.Value {
	text, err := json.Marshal(v)
	if err == nil {
		var value canon.Value
		if value, err = canon.DecodeJSON(text); err == nil {
			return value
		}
	}
	panic("engine: internal error: " + strconv.Quote(err.Error()))
}

// RotateDue rotates the keys that are older than the schedule says, and finishes what
// rotations began.
func (e *Engine) RotateDue(ctx context.Context, schedule keyring.Schedule) error {
	return errors.Join(e.ring.RotateDue(ctx, schedule, scheduled{e}), e.SettleKeyOrders(ctx))
}

// scheduled rotates keys on behalf of the engine.
type scheduled struct{ e *Engine }

var _ keyring.Rotator = scheduled{}

// RotateTenant implements keyring.Rotator.
func (s scheduled) RotateTenant(ctx context.Context, tenant, service string) (uint32, error) {
	return s.e.rotateTenantKey(ctx, store.NewScope(tenant), byEngine, service)
}

// RotateRoot implements keyring.Rotator.
func (s scheduled) RotateRoot(ctx context.Context, service string) (string, error) {
	scopes, err := s.e.tenantsUnder(ctx, service)
	if err != nil || len(scopes) == 0 {
		return "", err
	}
	return s.e.rotateRootKey(ctx, scopes[0], byEngine, service)
}

func (e *Engine) rotateTenantKey(ctx context.Context, scope store.Scope, by orderer, service string) (version uint32, err error) {
	rows, err := e.store.Keys().TenantKeys(ctx, scope.Tenant())
	if err != nil {
		return 0, err
	}
	o := keyOrder{Do: doRotate, Key: tenantKey, Service: service}
	if len(rows) > 0 {
		o.Version = versionText(rows[len(rows)-1].Version)
	}
	err = e.ordered(ctx, scope, by, o, func() (err error) {
		version, err = e.ring.RotateTenant(ctx, scope.Tenant(), service)
		return err
	})
	return version, err
}

func (e *Engine) retireTenantKey(ctx context.Context, scope store.Scope, by orderer, version uint32) (r keyring.Retirement, err error) {
	err = e.ordered(ctx, scope, by, keyOrder{Do: doRetire, Key: tenantKey, Version: versionText(version)}, func() (err error) {
		r, err = e.ring.RetireTenant(ctx, scope.Tenant(), version, false)
		return err
	})
	return r, err
}

func (e *Engine) rotateRootKey(ctx context.Context, scope store.Scope, by orderer, service string) (version string, err error) {
	present, err := e.ring.NewestRoot(ctx, service)
	if err != nil {
		return "", err
	}
	err = e.orderedOfAll(ctx, scope, by, keyOrder{Do: doRotate, Key: rootKey, Service: service, Version: present}, func() (err error) {
		version, err = e.ring.RotateRoot(ctx, service)
		return err
	})
	return version, err
}

func (e *Engine) retireRootKey(ctx context.Context, scope store.Scope, by orderer, service, version string) (r keyring.Retirement, err error) {
	err = e.orderedOfAll(ctx, scope, by, keyOrder{Do: doRetire, Key: rootKey, Service: service, Version: version}, func() (err error) {
		r, err = e.ring.RetireRoot(ctx, service, version, false)
		return err
	})
	return r, err
}

// orderedOfAll writes an order about a root key down for every tenant whose keys are
// under it. The others are not told who gave it.
func (e *Engine) orderedOfAll(ctx context.Context, scope store.Scope, by orderer, o keyOrder, do func() error) error {
	scopes, err := e.tenantsUnder(ctx, o.Service)
	if err != nil {
		return err
	}
	for _, other := range scopes {
		if other != scope {
			inner := do
			do = func() error { return e.ordered(ctx, other, byEngine, o, inner) }
		}
	}
	return e.ordered(ctx, scope, by, o, do)
}

// tenantsUnder returns the tenants that have a key under a key service's root key.
func (e *Engine) tenantsUnder(ctx context.Context, service string) (scopes []store.Scope, err error) {
	rows, err := e.store.Keys().AllTenantKeys(ctx)
	for _, row := range rows {
		if scope := store.NewScope(row.Tenant); row.Service == service && !slices.Contains(scopes, scope) {
			scopes = append(scopes, scope)
		}
	}
	return scopes, err
}
