package engine

import (
	"context"

	"github.com/underseal/underseal/internal/canon"
)

// Alarm tells a tenant's log of a finding: what the check says, sealed like all that an
// entry says. When it returns nil, the log has it.
func (e *Engine) Alarm(ctx context.Context, tenant string, f Finding) error {
	text := func(name, value string) canon.Entry { return canon.Entry{Name: name, Value: canon.String(value)} }
	return e.record(ctx, e.TenantScope(tenant), act{
		kind: "integrity.alarm", act: "engine",
		fields: []fieldWrite{{path: "finding", value: newContext(
			text("kind", f.Kind), text("log", f.Shard), text("object", f.Object), canon.Entry{Name: "step", Value: canon.NewNumber(int64(f.Step))},
			text("what", f.What), text("where", f.Where),
		)}},
	})
}
