package store_test

import (
	"context"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/underseal/underseal/internal/pgtest"
	"github.com/underseal/underseal/internal/store"
)

// TestEveryTableOfTenantsIsIsolated asks Postgres for the tables with rows of
// tenants: each must have row-level security, and nobody's policy but that of a
// tenant and, on the two queues that it reads, the scheduler's; on blobs that of
// cleaning up.
func TestEveryTableOfTenantsIsIsolated(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	openDB(t, store.Config{DSN: dsn})
	conn := must[*pgx.Conn](t)(pgx.Connect(t.Context(), dsn))
	t.Cleanup(func() { conn.Close(context.Background()) })
	rows := must[pgx.Rows](t)(conn.Query(t.Context(), `
		SELECT c.relname, c.relrowsecurity, array(SELECT polname::text FROM pg_policy WHERE polrelid = c.oid ORDER BY 1)
		FROM pg_class c
		JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant' AND NOT a.attisdropped
		WHERE c.relnamespace = 'underseal'::regnamespace AND c.relkind IN ('r', 'p')`))
	tables := 0
	for ; rows.Next(); tables++ {
		var name string
		var isolated bool
		var policies []string
		ok(t, rows.Scan(&name, &isolated, &policies))
		want := []string{"tenant"}
		if name == "jobs" || name == "timers" || name == "blobs" {
			want = []string{"scan", "tenant"}
		}
		if !isolated || !slices.Equal(policies, want) {
			t.Errorf("table %s: row-level security %v with policies %v, want %v", name, isolated, policies, want)
		}
	}
	ok(t, rows.Err())
	if tables < 10 {
		t.Errorf("%d tables, want all that have a tenant", tables)
	}
}
