package engine

import (
	"context"
	"strconv"
	"strings"

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
		if err := e.may(ctx, c, access.ReadLog, "log", in.Entry); err != nil {
			return exhibit{}, err
		}
		past, err := e.openEntry(ctx, c.Scope, entry.Object)
		if err != nil {
			return exhibit{}, err
		}
		return e.exhibitOf(ctx, past, in, nil)
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
	if err := e.may(ctx, c, access.ReadLog, "log", in.Entry); err != nil { // people, erasures, keys
		return exhibit{}, err
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
	return e.stepEvidence(ctx, o, in, nil)
}

// entryNamed finds the entry that "LOG/NUMBER" names.
func (e *Engine) entryNamed(ctx context.Context, scope store.Scope, name string) (store.LogEntry, error) {
	none := noSuch("entry", name)
	shard, number, _ := strings.Cut(name, "/")
	index, err := strconv.ParseUint(number, 10, 63)
	if err != nil || entryName(shard, index) != name {
		return store.LogEntry{}, fault.New(fault.NotFound, "no entry %q: entries are named LOG/NUMBER", name).WithHint("underseal audit lists them")
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
