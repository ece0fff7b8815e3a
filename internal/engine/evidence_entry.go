package engine

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// entryEvidence is of whatever stands at a place of a log: a leaf of no object, or a
// step of any.
func (e *Engine) entryEvidence(ctx context.Context, c Caller, in api.EvidenceRequest) (exhibit, error) {
	if in.Step != 0 || in.Task != "" || in.Job != "" {
		return exhibit{}, fault.New(fault.Invalid, "an entry of a log is one step: --step, --task and --job are for an instance")
	}
	entry, err := e.entryNamed(ctx, c.Scope, in.Entry)
	if err != nil {
		return exhibit{}, err
	}
	if entry.Seq == 0 {
		past, err := e.openEntry(ctx, c.Scope, entry.Object)
		if err != nil {
			return exhibit{}, err
		}
		return e.exhibitOf(ctx, past, in)
	}
	row, err := e.store.Load(ctx, c.Scope, entry.Object)
	if err != nil {
		return exhibit{}, err
	}
	in.Step = int(entry.Seq)
	if row.Kind == store.Instance {
		in.Instance = textID(entry.Object)
		return e.instanceEvidence(ctx, c, in)
	}
	x, err := e.objectEvidence(ctx, c.Scope, entry.Object, row.Kind, in)
	if fault.Is(err, fault.Integrity) { // a step that was made meanwhile looks the same once
		x, err = e.objectEvidence(ctx, c.Scope, entry.Object, row.Kind, in)
	}
	return x, err
}

// objectEvidence is of a step of an object that is no instance.
func (e *Engine) objectEvidence(ctx context.Context, scope store.Scope, id store.ID, kind store.Kind, in api.EvidenceRequest) (exhibit, error) {
	o, err := e.load(ctx, scope, id, kind)
	if err != nil {
		return exhibit{}, err
	}
	return e.stepEvidence(ctx, o, in)
}

// entryNamed finds the entry that "LOG/NUMBER" names.
func (e *Engine) entryNamed(ctx context.Context, scope store.Scope, name string) (store.LogEntry, error) {
	none := noSuch("entry", name)
	shard, number, _ := strings.Cut(name, "/")
	index, err := strconv.ParseUint(number, 10, 63)
	if err != nil || entryName(shard, index) != name {
		return store.LogEntry{}, fault.New(fault.NotFound, "no entry %q: entries are named LOG/NUMBER", name).WithHint("underseal log entries lists them")
	}
	of, err := e.shardNamed(ctx, scope, shard)
	if fault.Is(err, fault.NotFound) {
		err = none
	}
	if err != nil {
		return store.LogEntry{}, err
	}
	found, err := e.store.LogEntries(ctx, scope, of, index, 1)
	if err == nil && (len(found) == 0 || found[0].Index != index) {
		err = none
	}
	if err != nil {
		return store.LogEntry{}, err
	}
	return found[0], checkPlaced(shard, found[0])
}

// entryName is how an entry of a log is named.
func entryName(shard string, index uint64) string { return shard + "/" + strconv.FormatUint(index, 10) }

// checkPlaced requires that the leaf at a place has the place's hash.
func checkPlaced(shard string, e store.LogEntry) error {
	if ledger.LeafHash(e.Body) != e.Hash {
		return fault.New(fault.Integrity, "the entry %s of the log is not the one that got this place", entryName(shard, e.Index)).
			WithCode("tampered").WithHint("the database was changed behind our back; underseal fsck names what is missing")
	}
	return nil
}

// scanned bounds how many entries one page of a list that leaves some out looks at.
const scanned = 2000

// LogEntries lists what stands in a log, oldest first: of each entry what its leaf
// says in clear, which are no values. A kind leaves out all others; one that ends with
// a point stands for all that begin so.
func (e *Engine) LogEntries(ctx context.Context, c Caller, q api.EntryQuery) (api.LogEntries, error) {
	if err := e.may(ctx, c, access.ReadLog, "log", q.Shard); err != nil {
		return api.LogEntries{}, err
	}
	limit, err := Page{Limit: q.Limit}.limit()
	if err != nil {
		return api.LogEntries{}, err
	}
	shard, err := e.shardOrNewest(ctx, c.Scope, q.Shard)
	if err != nil {
		return api.LogEntries{}, err
	}
	from := uint64(0)
	if q.After != "" {
		after, err := strconv.ParseUint(q.After, 10, 62)
		if err != nil {
			return api.LogEntries{}, badCursor(q.After)
		}
		from = after + 1
	}
	look := scanned
	if q.Kind == "" {
		look = limit
	}
	rows, err := e.store.LogEntries(ctx, c.Scope, shard.Number, from, look+1)
	if err != nil {
		return api.LogEntries{}, err
	}
	out := api.LogEntries{Items: []api.LogEntry{}}
	for i, row := range rows {
		if i == look || len(out.Items) == limit {
			out.Next = strconv.FormatUint(row.Index-1, 10)
			break
		}
		item, err := wireEntry(shardName(shard.Origin), row)
		if err != nil {
			return api.LogEntries{}, err
		}
		if ofKind(item.Kind, q.Kind) {
			out.Items = append(out.Items, item)
		}
	}
	return out, nil
}

func ofKind(kind, wanted string) bool {
	return wanted == "" || kind == wanted || strings.HasSuffix(wanted, ".") && strings.HasPrefix(kind, wanted)
}

// shardOrNewest finds a log by its name; "" is the newest.
func (e *Engine) shardOrNewest(ctx context.Context, scope store.Scope, name string) (store.Shard, error) {
	shards, err := e.store.Shards(ctx, scope)
	if err != nil {
		return store.Shard{}, err
	}
	for _, s := range slices.Backward(shards) {
		if name == "" || shardName(s.Origin) == name {
			return s, nil
		}
	}
	return store.Shard{}, noSuch("log", name)
}

func wireEntry(shard string, row store.LogEntry) (api.LogEntry, error) {
	if err := checkPlaced(shard, row); err != nil {
		return api.LogEntry{}, err
	}
	leaf, err := ledger.ParseLeaf(row.Body)
	if err != nil {
		return api.LogEntry{}, err
	}
	at, err := time.Parse(ledger.TimeLayout, leaf.At)
	return api.LogEntry{
		Entry: entryName(shard, row.Index), Kind: leaf.Kind, At: at, Act: leaf.Act, Object: leaf.Object, Step: leaf.Seq, Element: leaf.Elem,
		Leaf: ledger.Hash(row.Hash).String(),
	}, err
}
