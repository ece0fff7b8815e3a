package engine

import (
	"context"
	"encoding/json"
	"math"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// AuditStretch is what comes next of a tenant's audit for one sink: entries of one log,
// without a gap from the last stretch that the sink took.
type AuditStretch struct {
	Tenant  string
	Log     string // origin
	First   uint64 // place of the first entry
	Number  uint64 // of the stretch for this sink, 1 for the first
	Entries []api.AuditEntry
	Behind  uint64 // how many entries wait, those of the stretch among them

	shard int
}

// Last is the place of the last entry.
func (s *AuditStretch) Last() uint64 { return s.First + uint64(len(s.Entries)) - 1 }

// unreadable is the kind of what stands for an entry that is not what the log says, in
// a stream, which must not end there.
const unreadable = "audit.unreadable"

// AuditTenants lists whose audit there is.
func (e *Engine) AuditTenants(ctx context.Context) ([]string, error) {
	return e.store.Keys().Tenants(ctx)
}

// NextAudit returns the next entries for a sink, at most so many; none: there is nothing
// new. It leaves no entry: what is sent to whom is the operator's configuration. In the
// place of an entry that was changed behind the server's back stands one of the kind
// audit.unreadable.
func (e *Engine) NextAudit(ctx context.Context, tenant, sink string, limit int) (AuditStretch, error) {
	scope := e.TenantScope(tenant)
	s := AuditStretch{Tenant: tenant}
	taken, err := e.store.AuditOffset(ctx, scope, sink)
	if err != nil {
		return s, err
	}
	r, err := e.newAuditReader(ctx, scope)
	if err != nil {
		return s, err
	}
	for _, sh := range r.shards {
		from := uint64(0)
		if sh.Number == taken.Shard {
			from = taken.Index
		}
		if sh.Number < taken.Shard || from >= sh.Size {
			continue
		}
		if s.Behind += sh.Size - from; s.shard == 0 {
			s.shard, s.Log, s.First, s.Number = sh.Number, sh.Origin, from, taken.Number+1
		}
	}
	if s.Behind == 0 {
		return s, nil
	}
	sh := r.shard(s.shard)
	n := min(uint64(limit), sh.Size-s.First)
	entries, err := e.store.LogEntries(ctx, scope, s.shard, s.First, int(n))
	if err != nil {
		return s, err
	}
	for index := s.First; index < s.First+n; index++ {
		var entry *store.LogEntry // each at its own place, whatever is missing before it
		if len(entries) > 0 && entries[0].Index == index {
			entry, entries = &entries[0], entries[1:]
		}
		item, err := r.streamed(ctx, sh, index, entry)
		if err != nil {
			return s, err
		}
		s.Entries = append(s.Entries, item)
	}
	return s, nil
}

// streamed tells what an entry says, or that it cannot be told; nil: it is gone.
func (r *auditReader) streamed(ctx context.Context, sh store.Shard, index uint64, entry *store.LogEntry) (api.AuditEntry, error) {
	name := entryName(shardName(sh.Origin), index)
	if entry == nil {
		return r.untold(name, "", fault.New(fault.Integrity, "the log lacks the entry %s", name))
	}
	var item api.AuditEntry
	err := checkPlaced(shardName(sh.Origin), *entry)
	if err == nil {
		var leaf ledger.Leaf
		if leaf, err = r.leaf(sh.Number, entry); err == nil {
			item, err = r.tell(ctx, sh.Number, entry, &leaf)
		}
	}
	if !fault.Is(err, fault.Integrity) {
		return item, err
	}
	return r.untold(name, ledger.Hash(entry.Hash).String(), err)
}

// untold is what stands for an entry that cannot be told.
func (r *auditReader) untold(name, leaf string, why error) (api.AuditEntry, error) {
	details, err := json.Marshal(map[string]string{"error": messageOf(why)})
	return api.AuditEntry{
		Entry: name, Kind: unreadable, At: r.e.moment(), Act: "engine", Result: api.ResultFailed, Principal: "engine", Leaf: leaf, Details: details,
	}, err
}

// SignAudit signs what a batch of a tenant's audit is, with the platform's key that
// counts now.
func (e *Engine) SignAudit(ctx context.Context, tenant string, b ledger.AuditBatch) ([]byte, error) {
	signers, err := e.PlatformSigners(ctx, tenant, b.Log, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	return b.Sign(signers[0])
}

// AuditTaken notes that a sink has a stretch. What it was given and is not noted for, it
// is given again.
func (e *Engine) AuditTaken(ctx context.Context, sink string, s AuditStretch) error {
	if len(s.Entries) == 0 {
		return nil
	}
	offset := store.AuditOffset{Shard: s.shard, Index: s.Last() + 1, Number: s.Number}
	return e.store.PutAuditOffset(ctx, e.TenantScope(s.Tenant), sink, offset)
}
