package engine

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// object is something that has a past: a chain of steps, each with its leaf,
// and a sealed head. Instances and definitions are objects.
type object struct {
	scope store.Scope
	id    store.ID
	kind  store.Kind
	owner envelope.Key // seals the head and every new field; the last of head.owners
	head  *head

	// Of the step under way: keys given to persons without a name, and who was met.
	nameless []store.ID
	met      []store.Token
}

// step is what happens to an object once: what is recorded and what is written.
type step struct {
	shard  string // origin of the log it goes to, from enterShard
	kind   string // leaf's kind, "instance.started"
	act    string // leaf's act: user, worker, engine or admin
	elem   string // BPMN id, may be empty
	at     time.Time
	record *canon.Context // the step's clear record: no values
	fields []fieldWrite   // what is written, one per path
	gone   []string       // paths that end
	tokens []store.Token
	signed *signature // of whoever caused the step; nil: not signed
}

// fieldWrite is a new version of a field. Facts about the step itself ("$actor")
// are written like fields and committed with them, but have no next version, so
// the head does not list them.
type fieldWrite struct {
	path  string
	value canon.Value
	label process.Label
	fact  bool

	search bool // can be found by its exact value
}

func textID(id store.ID) string { return uuid.UUID(id).String() }

func (e *Engine) context(o *object, shard, class, path string, seq uint64) envelope.Context {
	return envelope.Context{
		Deployment: e.deployment, Tenant: o.scope.Tenant(), Class: class,
		Object: textID(o.id), Path: path, Shard: shard, Seq: seq,
	}
}

// write seals what a step writes, commits to it in a leaf and renews the head.
// It changes o.head in place; the caller throws the object away if the returned
// write set does not become durable. Routing rows are the caller's to add.
func (e *Engine) write(ctx context.Context, o *object, s step) (*store.WriteSet, error) {
	if err := e.followAudit(ctx, o); err != nil {
		return nil, err
	}
	if s.shard == "" {
		return nil, fault.New(fault.Internal, "a step %s of no log: enterShard was not called", s.kind)
	}
	seq, prev := o.head.seq+1, o.head.leaf
	o.head.seq = seq
	shardIndex := o.head.enter(s.shard)
	set := &store.WriteSet{Object: o.id, Kind: o.kind, Expect: seq - 1, Step: canon.Encode(marked(s.record, s.tokens)), Tokens: append(s.tokens, o.met...), Keys: o.nameless}
	o.nameless, o.met = nil, nil

	slices.SortFunc(s.fields, func(a, b fieldWrite) int { return strings.Compare(a.path, b.path) })
	if len(o.head.fields) == 0 { // most have all their fields from the first step on
		o.head.fields = make([]stored, 0, len(s.fields))
	}
	commitments := make([]ledger.Hash, 0, len(s.fields))
	sealed := make([][]byte, 0, len(s.fields))
	for _, f := range s.fields {
		row, entry, commitment, err := e.writeField(ctx, o, f, shardIndex)
		if err != nil {
			return nil, err
		}
		set.Fields = append(set.Fields, row)
		commitments = append(commitments, commitment)
		sealed = appendHashed(sealed, row.Sealed, row.Value, row.Commitment)
		if !f.fact {
			o.head.put(entry)
		}
	}
	for _, path := range s.gone {
		o.head.remove(path)
	}
	leaf := ledger.Leaf{
		Kind: s.kind, Log: o.head.shard(), Object: textID(o.id), Seq: seq, Prev: prev, Def: o.head.model,
		Elem: s.elem, At: formatTime(s.at), Act: s.act,
		Data: ledger.DataRoot(commitments), N: len(commitments), Rows: ledger.RowsHash(set.Step, sealed),
	}
	if s.signed != nil {
		leaf.Stmt, leaf.Key = s.signed.hash.String(), s.signed.key.String()
	}
	var err error
	if set.Leaf, err = e.storedLeaf(ctx, o.scope, o.id, leaf, s.fields); err != nil {
		return nil, err
	}
	o.head.leaf = set.Leaf.Hash
	set.Head, err = e.sealHead(o)
	return set, err
}

// followAudit lets the newest audit key take over an object that is no instance, as
// renewKey does for those.
func (e *Engine) followAudit(ctx context.Context, o *object) error {
	if o.kind == store.Instance {
		return nil
	}
	key, err := e.ring.TenantKey(ctx, o.scope.Tenant(), keyring.Audit)
	if err != nil || key.ID == o.owner.ID {
		return err
	}
	o.owner = key
	o.head.owners = append(o.head.owners, owner{key.ID, o.head.seq + 1})
	return nil
}

// writeField turns one new version of a field into its row, its entry in the
// head and its commitment.
func (e *Engine) writeField(ctx context.Context, o *object, f fieldWrite, shard int) (store.Field, stored, ledger.Hash, error) {
	entry := stored{path: f.path, seq: o.head.seq, shard: int32(shard), sealed: process.Sealed(o.head.mode, f.label)}
	keys := []envelope.Key{o.owner}
	if entry.sealed {
		var err error
		if keys, entry.keys, err = e.fieldKeys(ctx, o, f.label); err != nil {
			return store.Field{}, stored{}, ledger.Hash{}, err
		}
	}
	plain := encodeTyped(f.value, entry.sealed && !f.label.Sensitive())
	row := store.Field{Path: f.path, Sealed: entry.sealed, Value: plain}
	if most := maxField - layerSize*len(entry.keys)/personsPerLayer; len(plain) > most {
		return row, entry, ledger.Hash{}, fault.New(fault.Invalid, "field %q takes %d bytes; at most %d fit", f.path, len(plain), most).
			WithCode("field_too_large").WithHint("split the value, or upload the large part as a file")
	}
	if entry.sealed {
		sealed, err := e.sealField(o, keys, o.head.shards[shard], f.path, entry.seq, plain)
		if err != nil {
			return row, entry, ledger.Hash{}, err
		}
		row.Value = sealed
	}
	entry.digest = sha256.Sum256(row.Value)
	commitment, err := e.commitment(o, keys, f.path, o.head.shards[shard], entry.seq, f.value)
	if len(entry.keys) > 0 { // can be erased without its neighbors, whose proofs need it then
		row.Commitment = (*[32]byte)(&commitment)
	}
	return row, entry, commitment, err
}

// appendHashed adds what a leaf's hash of rows takes of a field: the sealed value, and
// the commitment where it is stored.
func appendHashed(rows [][]byte, sealed bool, value []byte, commitment *[32]byte) [][]byte {
	if sealed {
		rows = append(rows, value)
	}
	if commitment != nil {
		rows = append(rows, commitment[:])
	}
	return rows
}

func (e *Engine) commitment(o *object, keys []envelope.Key, path, shard string, seq uint64, v canon.Value) (ledger.Hash, error) {
	prk, err := envelope.DeriveSecret(keys)
	if err != nil {
		return ledger.Hash{}, err
	}
	return ledger.CommitValue(prk, shard, textID(o.id), seq, path, v)
}

// sealHead returns the sealed head, in parts that name their step.
func (e *Engine) sealHead(o *object) ([]byte, error) {
	return sealParts(o.owner, e.context(o, o.head.shard(), "head", "", o.head.seq), o.head.encode())
}

// openHead opens a stored head. The shard comes from the object's newest leaf
// and the key from the envelope itself; both are clear, and a wrong one of
// either does not open.
func (e *Engine) openHead(ctx context.Context, o *object, body []byte, shard string, seq uint64) error {
	parts, id, err := splitParts(body)
	if err != nil {
		return err
	}
	if o.owner, err = e.ring.Key(ctx, o.scope.Tenant(), id); err != nil {
		return err
	}
	plain, err := openParts(o.owner, e.context(o, shard, "head", "", seq), parts)
	if err != nil {
		return err
	}
	if o.head, err = decodeHead(plain); err != nil {
		return err
	}
	if o.head.seq != seq || o.head.shard() != shard || o.head.owner(seq) != o.owner.ID {
		return fault.New(fault.Integrity, "the head does not belong to this step")
	}
	return nil
}

// load reads an object's head and requires that it agrees with the newest leaf.
func (e *Engine) load(ctx context.Context, scope store.Scope, id store.ID, kind store.Kind) (*object, error) {
	o := &object{scope: scope, id: id, kind: kind}
	pin, err := e.pinned(ctx, scope, id, kind)
	if err != nil {
		return nil, err
	}
	row, err := e.store.Load(ctx, scope, id)
	if fault.Is(err, fault.NotFound) {
		return nil, e.gone(ctx, o, pin, err)
	}
	if err != nil {
		return nil, err
	}
	if row.Kind != kind {
		return nil, e.otherKind(ctx, o, row.Kind)
	}
	leaf, err := ledger.ParseLeaf(row.Leaf.Body)
	if err != nil {
		return nil, o.changedIn("leaves", "has a newest leaf that cannot be read")
	}
	if len(row.Head) == 0 && kind == store.Instance {
		return nil, e.struck(ctx, o)
	}
	if err := e.openHead(ctx, o, row.Head, leaf.Log, row.Seq); err != nil {
		if fault.Is(err, fault.Sealed) {
			return nil, o.erased().WithCause(err)
		}
		if fault.Is(err, fault.Integrity) || fault.Is(err, fault.NotFound) {
			return nil, o.tampered("has a head that does not open").WithCause(err)
		}
		return nil, err
	}
	hash := ledger.LeafHash(row.Leaf.Body)
	if row.LeafSeq != o.head.seq || hash != o.head.leaf || row.Leaf.Hash != o.head.leaf {
		return nil, o.tampered("has a newest leaf that its head does not name")
	}
	return o, e.requirePinned(ctx, o, pin, leaf.Prev)
}

// gone tells an object that never was from one whose head was deleted: steps are
// only ever appended.
func (e *Engine) gone(ctx context.Context, o *object, pin *store.Pin, notFound error) error {
	if pin != nil && !e.restoring {
		return o.tampered("is gone, and was there: all of its rows were deleted")
	}
	steps, err := e.store.Steps(ctx, o.scope, o.id, 0, 1)
	if err != nil {
		return err
	}
	if len(steps) > 0 {
		return o.tampered("has steps and no head")
	}
	return notFound
}

// struck tells an instance whose head was taken away because it was erased from one
// whose head somebody else took away: the former's custody says so.
func (e *Engine) struck(ctx context.Context, o *object) error {
	_, err := e.lastState(ctx, o)
	if err != nil {
		return err
	}
	return o.erased()
}

func (o *object) erased() *fault.Error {
	return fault.New(fault.Sealed, "%s %s was erased: its key is destroyed", o.kind, textID(o.id)).WithCode("erased").
		WithHint("`underseal erase list` shows when and by whom; nothing brings it back")
}

// values opens the newest version of every field that the head names. One that was
// erased is nil, and marked so in the head.
func (e *Engine) values(ctx context.Context, o *object) (map[string]canon.Value, error) {
	refs := make([]store.FieldRef, len(o.head.fields))
	for i, f := range o.head.fields {
		refs[i] = store.FieldRef{Path: f.path, Seq: f.seq}
	}
	rows, err := e.store.Fields(ctx, o.scope, o.id, refs)
	if err != nil {
		return nil, err
	}
	if len(rows) != len(refs) {
		return nil, o.changedIn("fields", "has %d of %d field rows", len(rows), len(refs))
	}
	values := make(map[string]canon.Value, len(rows))
	for i, row := range rows {
		f := &o.head.fields[i]
		values[row.Path], err = e.openField(ctx, o, f, row)
		if f.erased = fault.Is(err, fault.Sealed); err != nil && !f.erased {
			return nil, err
		}
	}
	return values, nil
}

// checkedValues is values of an object every row of which is checked, from the first
// step on.
func (e *Engine) checkedValues(ctx context.Context, o *object) (map[string]canon.Value, error) {
	values, err := e.values(ctx, o)
	if err != nil {
		return nil, err
	}
	_, err = e.history(ctx, o)
	return values, err
}

// openField opens a field by its row, which must be what the head names. It is
// Sealed when one of the field's keys was destroyed.
func (e *Engine) openField(ctx context.Context, o *object, f *stored, row store.StoredField) (canon.Value, error) {
	if row.Path != f.path || row.Seq != f.seq || row.Sealed != f.sealed || sha256.Sum256(row.Value) != f.digest {
		return nil, o.changedIn("fields", "has a changed row for field %q of step %d", f.path, f.seq)
	}
	plain := row.Value
	if f.sealed {
		keys, err := e.keys(ctx, o, f.seq, f.keys)
		if err != nil {
			return nil, err
		}
		if plain, err = e.openSealed(o, keys, o.head.shards[f.shard], f.path, f.seq, row.Value); err != nil {
			return nil, err
		}
	}
	value, _, err := decodeTyped(plain, f.sealed)
	return value, err
}

// otherKind returns why an id does not name an object of this kind. Whoever takes
// the id of one thing for that of another made a mistake, if that other thing is
// whole; if it is not, the row's kind was changed.
func (e *Engine) otherKind(ctx context.Context, o *object, found store.Kind) error {
	_, err := e.load(ctx, o.scope, o.id, found)
	switch {
	case err == nil || fault.Is(err, fault.Sealed):
		return noSuch(string(o.kind), textID(o.id))
	case fault.Is(err, fault.Integrity):
		return o.tampered("is stored as a %q", found).WithCause(err)
	}
	return err
}

// encodeTyped returns [type, value] of a field, and of one that is sealed though it is not
// sensitive [type, value, true]: what it was when it was written is told by nothing else,
// once it is former, and whatever does not say so is sensitive.
func encodeTyped(v canon.Value, open bool) []byte {
	if open {
		return canon.EncodeItems(canon.String(canon.TypeName(v)), v, canon.Bool(true))
	}
	return canon.EncodeItems(canon.String(canon.TypeName(v)), v)
}

// decodeTyped reads what encodeTyped wrote, and requires that type and value agree. Open
// is what is not sensitive; what is not sealed is so without saying it.
func decodeTyped(plain []byte, sealed bool) (v canon.Value, open bool, err error) {
	items, err := canon.DecodeItems(plain)
	if open = !sealed; sealed && len(items) == 3 && items[2] == canon.Value(canon.Bool(true)) {
		items, open = items[:2], true
	}
	if err != nil || len(items) != 2 || !canon.Equal(items[0], canon.String(canon.TypeName(items[1]))) {
		return nil, false, fault.New(fault.Integrity, "a stored value is malformed")
	}
	return items[1], open, nil
}

// tampered returns an Integrity fault that names the object.
func (o *object) tampered(format string, args ...any) *fault.Error {
	return fault.New(fault.Integrity, "%s %s %s", o.kind, textID(o.id), fmt.Sprintf(format, args...)).
		WithCode("tampered").WithHint("the database was changed behind our back; compare it with a backup")
}

// changedIn is tampered with rows of a table that is not that of the heads.
func (o *object) changedIn(table, format string, args ...any) *fault.Error {
	return o.tampered(format, args...).WithCause(rowsOf{table: table})
}

// rowsOf is a cause that says which table's rows are not what they should be.
type rowsOf struct {
	table string
	cause error // may be nil
}

func (r rowsOf) Error() string {
	if r.cause == nil {
		return "rows of " + r.table
	}
	return "rows of " + r.table + ": " + r.cause.Error()
}

func (r rowsOf) Unwrap() error { return r.cause }

func formatTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }
