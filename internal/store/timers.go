package store

import (
	"context"
	"time"
)

// TimerCursor is the last timer of the scan before; zero: begin.
type TimerCursor struct {
	Due      time.Time
	Tenant   string
	Instance ID
	ID       uint64
}

// ScannedTimer is a timer with its place.
type ScannedTimer struct {
	Tenant   string
	Instance ID
	TimerRow
}

// Cursor returns where the scan after this timer begins.
func (t *ScannedTimer) Cursor() TimerCursor { return TimerCursor{t.Due, t.Tenant, t.Instance, t.ID} }

// ScanTimers returns up to limit timers of all tenants that are due before a
// time, after the cursor, ascending by due time, tenant, instance and number.
// For the runner alone.
func (db *DB) ScanTimers(ctx context.Context, dueBefore time.Time, after TimerCursor, limit int) ([]ScannedTimer, error) {
	return collect(ctx, db.scans, "", `
		SELECT tenant, instance, id, element, due FROM timers
		WHERE due < $1 AND (due, tenant, instance, id) > ($2, $3, $4, $5)`+scannable+`
		ORDER BY due, tenant, instance, id
		LIMIT $6`,
		[]any{dueBefore.UnixMicro(), after.due(), after.Tenant, after.Instance, after.ID, limit}, func(r row, t *ScannedTimer) error {
			return r.scan(&t.Tenant, &t.Instance, &t.ID, &t.Element, &t.Due)
		})
}

// due of the zero cursor lies before every time.
func (c TimerCursor) due() int64 {
	if c.Due.IsZero() {
		return -1 << 62
	}
	return c.Due.UnixMicro()
}

const deleteTimer = `DELETE FROM timers WHERE tenant = $1 AND instance = $2 AND id = $3`

func putTimer(s Scope, instance ID, t *TimerRow) statement {
	return statement{
		text: `
			INSERT INTO timers (tenant, instance, id, element, due)
			VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (tenant, instance, id) DO UPDATE SET
				element = excluded.element, due = excluded.due`,
		args: []any{s.tenant, instance, t.ID, t.Element, t.Due.UnixMicro()},
	}
}
