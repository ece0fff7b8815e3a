package store

import "context"

// AuditOffset is how far a sink of the audit has come: the place of the next entry, and
// how many batches it took.
type AuditOffset struct {
	Shard  int // 0: it has nothing yet
	Index  uint64
	Number uint64
}

// AuditOffset returns how far a sink has come.
func (db *DB) AuditOffset(ctx context.Context, s Scope, sink string) (o AuditOffset, err error) {
	err = db.data.each(ctx, s.tenant, `SELECT shard, idx, number FROM audit_offsets WHERE tenant = $1 AND sink = $2`,
		[]any{s.tenant, sink}, func(r row) error { return r.scan(&o.Shard, &o.Index, &o.Number) })
	return o, err
}

// PutAuditOffset notes how far a sink has come; it is durable when it returns nil.
func (db *DB) PutAuditOffset(ctx context.Context, s Scope, sink string, o AuditOffset) error {
	return db.data.apply(ctx, s.tenant, []statement{{
		text: `
			INSERT INTO audit_offsets (tenant, sink, shard, idx, number) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (tenant, sink) DO UPDATE SET shard = excluded.shard, idx = excluded.idx, number = excluded.number`,
		args: []any{s.tenant, sink, o.Shard, o.Index, o.Number},
	}})
}
