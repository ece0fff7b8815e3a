package engine

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// act is something that the tenant's log has to tell and that is no step of an
// object: what was shown, done to keys, or refused.
type act struct {
	id     store.ID // of its rows; zero: a new one
	kind   string   // leaf's kind, "data.shown"
	act    string   // leaf's act: user, worker, engine or admin
	elem   string   // BPMN id, may be empty
	actor  Caller   // of an act of the engine: nobody
	fields []fieldWrite
}

// entryKind is what faults call a leaf of no object.
const entryKind = store.EntryKind

// entry returns a leaf of no object, ready to be stored together with something
// else that is no step. Leave is called once that has been answered.
func (e *Engine) entry(ctx context.Context, scope store.Scope, a act) (entry *store.Entry, leave func(), err error) {
	at := e.moment()
	shard, leave, err := e.enterShard(ctx, scope, at)
	if err != nil {
		return nil, nil, err
	}
	if entry, err = e.entryAt(ctx, scope, a, shard, at); err != nil {
		leave()
	}
	return entry, leave, err
}

// record makes a leaf of no object durable: nil means that it is.
func (e *Engine) record(ctx context.Context, scope store.Scope, a act) error {
	entry, leave, err := e.entry(ctx, scope, a)
	if err != nil {
		return err
	}
	defer leave()
	return e.store.Append(context.WithoutCancel(ctx), scope, entry)
}

// recordOrder is record for what somebody orders, if they are still who it was decided for.
func (e *Engine) recordOrder(ctx context.Context, scope store.Scope, by orderer, a act) error {
	a.act, a.actor = by.act, by.caller
	return e.recordOf(ctx, scope, by.by, a)
}

// recordOf is record for what comes of somebody, nil: of nobody who was admitted, if they are
// still who it was decided for.
func (e *Engine) recordOf(ctx context.Context, scope store.Scope, by *Caller, a act) error {
	entry, leave, err := e.entry(ctx, scope, a)
	if err != nil {
		return err
	}
	defer leave()
	release, err := e.people.hold(by)
	if err != nil {
		return err
	}
	defer release()
	if err := e.durable("commit " + a.kind); err != nil {
		return err
	}
	return e.store.Append(context.WithoutCancel(ctx), scope, entry)
}

// entryAt returns a leaf of no object for a log that was entered. All its fields,
// $actor among them, are sealed under the tenant's audit key, and bound to the
// entry's id and the seq 0.
func (e *Engine) entryAt(ctx context.Context, scope store.Scope, a act, shard string, at time.Time) (*store.Entry, error) {
	key, err := e.ring.TenantKey(ctx, scope.Tenant(), keyring.Audit)
	if err != nil {
		return nil, err
	}
	if a.act == "engine" {
		a.actor = Caller{Principal: "engine"}
	}
	if a.id == (store.ID{}) {
		a.id = newID()
	}
	o := &object{scope: scope, id: a.id, kind: entryKind, owner: key}
	entry := &store.Entry{ID: o.id}
	var commitments []ledger.Hash
	var sealed [][]byte
	fields := a.written()
	for _, f := range fields {
		row, commitment, err := e.entryField(o, f, shard)
		if err != nil {
			return nil, err
		}
		entry.Fields, commitments, sealed = append(entry.Fields, row), append(commitments, commitment), append(sealed, row.Value)
	}
	leaf := ledger.Leaf{
		Kind: a.kind, Log: shard, Elem: a.elem, At: formatTime(at), Act: a.act,
		Data: ledger.DataRoot(commitments), N: len(commitments), Rows: ledger.RowsHash(nil, sealed),
	}
	entry.Leaf, err = e.storedLeaf(ctx, scope, entry.ID, leaf, fields)
	return entry, err
}

// written returns all fields of an act in path order.
func (a act) written() []fieldWrite {
	fields := append(slices.Clone(a.fields), fieldWrite{path: "$actor", value: actorOf(a.actor)})
	slices.SortFunc(fields, func(a, b fieldWrite) int { return strings.Compare(a.path, b.path) })
	return fields
}

func (e *Engine) entryField(o *object, f fieldWrite, shard string) (store.Field, ledger.Hash, error) {
	keys := []envelope.Key{o.owner}
	row := store.Field{Path: f.path, Sealed: true}
	plain := encodeTyped(f.value, false)
	var err error
	if row.Value, err = e.sealField(o, keys, shard, f.path, 0, plain); err != nil {
		return row, ledger.Hash{}, err
	}
	commitment, err := e.commitment(o, keys, f.path, shard, 0, f.value)
	return row, commitment, err
}

// openEntry reads an entry of the log and checks it. NotFound when the tenant has
// none of that id.
func (e *Engine) openEntry(ctx context.Context, scope store.Scope, id store.ID) (*pastFields, error) {
	row, err := e.store.Entry(ctx, scope, id)
	if err != nil {
		return nil, err
	}
	return e.checkEntry(ctx, scope, row)
}

// checkEntry opens an entry's rows and requires that they are what its leaf
// commits to.
func (e *Engine) checkEntry(ctx context.Context, scope store.Scope, row store.Entry) (*pastFields, error) {
	o := &object{scope: scope, id: row.ID, kind: entryKind}
	leaf, err := ledger.ParseLeaf(row.Leaf.Body)
	if err != nil || ledger.LeafHash(row.Leaf.Body) != row.Leaf.Hash {
		return nil, o.tampered("has a changed leaf")
	}
	if leaf.Object != "" {
		return nil, o.tampered("has the leaf of a step of %s", leaf.Object)
	}
	past := &pastFields{object: o, row: store.StepRow{Leaf: row.Leaf}, leaf: leaf}
	var commitments []ledger.Hash
	var sealed [][]byte
	for _, f := range row.Fields {
		d, err := e.openEntryField(ctx, o, leaf.Log, f)
		if fault.Is(err, fault.Integrity) || fault.Is(err, fault.NotFound) {
			return nil, o.tampered("has a changed row for field %q", f.Path).WithCause(err)
		}
		if err != nil {
			return nil, err
		}
		past.fields = append(past.fields, d)
		commitments, sealed = append(commitments, d.commitment), appendHashed(sealed, f.Sealed, f.Value, f.Commitment)
	}
	if leaf.N != len(commitments) || ledger.DataRoot(commitments) != leaf.Data || ledger.RowsHash(nil, sealed) != leaf.Rows {
		return nil, o.tampered("has rows that its leaf does not commit to")
	}
	return past, nil
}

// openEntryField opens a field by the audit key that its envelope names: the
// tenant's key for entries may have been another one then.
func (e *Engine) openEntryField(ctx context.Context, o *object, shard string, f store.Field) (disclosable, error) {
	d := disclosable{path: f.Path}
	if !f.Sealed {
		return d, fault.New(fault.Integrity, "it is not sealed")
	}
	ids, err := envelope.KeyIDs(f.Value)
	if err != nil {
		return d, err
	}
	key, err := e.ring.PurposeKey(ctx, o.scope.Tenant(), keyring.Audit, ids[0])
	if err != nil {
		return d, err
	}
	keys := []envelope.Key{key}
	plain, err := e.openSealed(o, keys, shard, f.Path, 0, f.Value)
	if err != nil {
		return d, err
	}
	if d.value, _, err = decodeTyped(plain, true); err != nil {
		return d, err
	}
	return d.committed(o, keys, shard, 0)
}
