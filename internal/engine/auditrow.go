package engine

import (
	"context"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// auditReader tells what entries of a tenant's logs say. It is for one reading.
type auditReader struct {
	e       *Engine
	scope   store.Scope
	shards  []store.Shard
	genuine func(object store.ID, seq uint64, leaf store.Leaf) bool
	objects map[store.ID]*object // that were opened, some of them
	names   map[store.ID]string  // of people and groups among these
}

// auditObjects bounds how many objects one reading keeps open.
const auditObjects = 256

func (e *Engine) newAuditReader(ctx context.Context, scope store.Scope) (*auditReader, error) {
	r := &auditReader{e: e, scope: scope, objects: map[store.ID]*object{}, names: map[store.ID]string{}}
	var err error
	if r.shards, err = e.store.Shards(ctx, scope); err != nil {
		return nil, err
	}
	r.genuine, err = e.Genuine(ctx, scope.Tenant())
	return r, err
}

func (r *auditReader) shard(number int) store.Shard {
	i := slices.IndexFunc(r.shards, func(s store.Shard) bool { return s.Number == number })
	return r.shards[i]
}

// read returns the entries of a block that a mask means, at their numbers in it.
func (r *auditReader) read(ctx context.Context, b store.LogBlock, mask uint64) (entries [store.BlockSize]*store.LogEntry, err error) {
	first, last := bits.TrailingZeros64(mask), 63-bits.LeadingZeros64(mask)
	found, err := r.e.entriesOf(ctx, r.scope, r.shard(b.Shard), b.Block*store.BlockSize+uint64(first), last-first+1)
	if err != nil {
		return entries, err
	}
	for i := range found {
		entries[first+i] = &found[i]
	}
	return entries, nil
}

// leaf reads the leaf of an entry, which a server must have made: a stored term that
// nobody made finds nothing either.
func (r *auditReader) leaf(shard int, entry *store.LogEntry) (ledger.Leaf, error) {
	leaf, err := ledger.ParseLeaf(entry.Body)
	if err == nil && (!r.genuine(entry.Object, entry.Seq, entry.Leaf()) || leaf.Log != r.shard(shard).Origin) {
		err = fault.New(fault.Integrity, "the entry %s of the log was changed or made by no server", entryName(shardName(r.shard(shard).Origin), entry.Index)).
			WithCode("tampered").WithHint("the database was changed behind our back; `underseal fsck` names what does not fit")
	}
	return leaf, err
}

// tell returns what an entry tells of the act.
func (r *auditReader) tell(ctx context.Context, shard int, entry *store.LogEntry, leaf *ledger.Leaf) (api.AuditEntry, error) {
	at, err := time.Parse(ledger.TimeLayout, leaf.At)
	if err != nil {
		return api.AuditEntry{}, err
	}
	item := api.AuditEntry{
		Entry: entryName(shardName(r.shard(shard).Origin), entry.Index), Kind: leaf.Kind, At: at, Act: leaf.Act, Result: resultOf(leaf.Kind),
		Object: leaf.Object, Step: leaf.Seq, Element: leaf.Elem, Leaf: ledger.Hash(entry.Hash).String(),
	}
	if entry.Seq == 0 {
		past, err := r.e.openEntry(ctx, r.scope, entry.Object)
		if err == nil {
			tellFields(&item, past.fields)
		}
		return item, err
	}
	err = r.tellStep(ctx, &item, entry, leaf)
	if fault.Is(err, fault.Integrity) { // a step that was made meanwhile looks the same once
		delete(r.objects, entry.Object)
		err = r.tellStep(ctx, &item, entry, leaf)
	}
	return item, err
}

// tellStep adds what a step tells of itself. Its stored rows must be those that its leaf
// has the hash of.
func (r *auditReader) tellStep(ctx context.Context, item *api.AuditEntry, entry *store.LogEntry, leaf *ledger.Leaf) error {
	o, err := r.object(ctx, entry)
	if fault.Is(err, fault.Sealed) {
		item.Erased = true
		item.Process, err = r.e.store.ProcessOf(ctx, r.scope, entry.Object)
		return err
	}
	if err != nil {
		return err
	}
	item.Process = o.head.process
	if item.Name, err = r.nameOf(ctx, o); err != nil {
		return err
	}
	fields, err := r.e.stepFields(ctx, o, entry, leaf)
	if err != nil {
		return err
	}
	var told []disclosable
	for _, f := range fields {
		if !tells(o.kind, f.Path) {
			continue
		}
		_, plain, err := r.e.openPast(ctx, o, *leaf, f)
		if err != nil {
			return o.tampered("has a field %q of step %d that does not open", f.Path, f.Seq).WithCause(err)
		}
		value, _, err := decodeTyped(plain, f.Sealed)
		if err != nil {
			return err
		}
		told = append(told, disclosable{path: f.Path, value: value})
	}
	tellFields(item, told)
	return nil
}

// stepFields returns the stored fields of a step, whose hash must be the leaf's.
func (e *Engine) stepFields(ctx context.Context, o *object, entry *store.LogEntry, leaf *ledger.Leaf) ([]store.StoredField, error) {
	rows, err := e.store.Steps(ctx, o.scope, o.id, entry.Seq-1, 1)
	if err != nil {
		return nil, err
	}
	if len(rows) != 1 || rows[0].Seq != entry.Seq || rows[0].Leaf.Hash != entry.Hash {
		return nil, o.tampered("has another step %d than its log", entry.Seq)
	}
	fields, err := e.store.StepFields(ctx, o.scope, o.id, entry.Seq)
	if err != nil {
		return nil, err
	}
	var sealed [][]byte
	for _, f := range fields {
		sealed = appendHashed(sealed, f.Sealed, f.Value, f.Commitment)
	}
	if ledger.RowsHash(rows[0].Body, sealed) != leaf.Rows {
		return nil, o.tampered("has changed rows of step %d", entry.Seq)
	}
	return fields, nil
}

// object opens the object whose step an entry is. Sealed: it was erased.
func (r *auditReader) object(ctx context.Context, entry *store.LogEntry) (*object, error) {
	if o := r.objects[entry.Object]; o != nil && o.head.seq >= entry.Seq {
		return o, nil
	}
	row, err := r.e.store.Load(ctx, r.scope, entry.Object)
	if err != nil {
		return nil, err
	}
	o, err := r.e.load(ctx, r.scope, entry.Object, row.Kind)
	if err != nil {
		return nil, err
	}
	if len(r.objects) == auditObjects {
		clear(r.objects)
		clear(r.names)
	}
	r.objects[entry.Object] = o
	return o, nil
}

// nameOf returns the name of a user, program or group, which never changes; "" of all else.
// Whoever reads the audit is told names of who acted, and of these as well. Where the name
// does not stand as it should, the entry is told without: it says what it says.
func (r *auditReader) nameOf(ctx context.Context, o *object) (string, error) {
	if o.kind != store.Principal && o.kind != store.Group {
		return "", nil
	}
	if name, known := r.names[o.id]; known {
		return name, nil
	}
	profile, err := r.e.readField(ctx, o, "profile")
	name := stringIn(profile, "name")
	if fault.Is(err, fault.Integrity) {
		return "", nil
	}
	if err == nil {
		r.names[o.id] = name
	}
	return name, err
}

// tells reports whether a field of a step is about the act and no value of the object.
func tells(kind store.Kind, path string) bool {
	switch path {
	case "$actor", "$purpose":
		return true
	case "$reason":
		return kind != store.Instance
	}
	return kind != store.Instance && kind != store.Custody && kind != store.Definition && strings.HasPrefix(path, "$")
}

// tellFields sorts what an entry says into its fields.
func tellFields(item *api.AuditEntry, fields []disclosable) {
	var rest []canon.Entry
	for _, f := range fields {
		switch {
		case f.path == "$actor":
			item.Principal, item.Key, item.Address = principalOf(f.value), stringIn(f.value, "key"), stringIn(f.value, "address")
			item.Tenant = stringIn(f.value, "tenant")
		case f.path == "$reason":
			item.Reason = stringOf(f.value)
		case f.path == "$purpose":
			item.Purpose = stringOf(f.value)
		case f.path == "$count":
			if n, ok := f.value.(canon.Number); ok {
				item.Count, _ = strconv.Atoi(n.String())
			}
		case f.path == "$shown" || strings.HasPrefix(f.path, "$shown/"):
			item.Shown = append(item.Shown, wireShown(f.value)...)
		default:
			rest = append(rest, canon.Entry{Name: strings.TrimPrefix(f.path, "$"), Value: f.value})
		}
	}
	if len(rest) > 0 {
		item.Details = canon.EncodeJSON(newContext(rest...))
	}
}

func wireShown(v canon.Value) (all []api.AuditShown) {
	list, _ := v.(canon.List)
	for _, item := range list {
		s := api.AuditShown{Object: stringIn(item, "object"), Paths: []string{}}
		if c, ok := item.(*canon.Context); ok {
			paths, _ := c.Get("paths")
			names, _ := paths.(canon.List)
			for _, name := range names {
				s.Paths = append(s.Paths, stringOf(name))
			}
		}
		all = append(all, s)
	}
	return all
}
