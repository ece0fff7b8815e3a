package store_test

import (
	"context"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/underseal/underseal/internal/pgtest"
	"github.com/underseal/underseal/internal/store"
)

// ofTheKeyring are the tables beside the keys that have a tenant, and have no row-level
// security, since the keyring works for all tenants at once (docs/design/store.md).
var ofTheKeyring = []string{"data_keys", "erasures", "log_heads", "pinned_leaves", "sessions", "subjects", "tenant_keys"}

// TestEveryTableOfTenantsIsIsolated asks Postgres for the tables with rows of tenants, of all
// schemas. Each beside the data must have row-level security, and nobody's policy but that of
// a tenant and, on the two queues that it reads, the scheduler's; on blobs that of cleaning
// up. Those beside the keys are the keyring's alone, which has nothing else.
func TestEveryTableOfTenantsIsIsolated(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	openDB(t, store.Config{DSN: dsn})
	conn := must[*pgx.Conn](t)(pgx.Connect(t.Context(), dsn))
	t.Cleanup(func() { conn.Close(context.Background()) })
	rows := must[pgx.Rows](t)(conn.Query(t.Context(), `
		SELECT n.nspname, c.relname, c.relrowsecurity, array(SELECT polname::text FROM pg_policy WHERE polrelid = c.oid ORDER BY 1),
			array(SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'public' ELSE a.grantee::regrole::text END FROM aclexplode(c.relacl) a WHERE a.grantee <> c.relowner ORDER BY 1)
		FROM pg_class c
		JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
			AND (n.nspname = 'underseal_keys' OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant' AND NOT a.attisdropped))`))
	tables, keys := 0, []string{}
	for rows.Next() {
		var schema, name string
		var isolated bool
		var policies, roles []string
		ok(t, rows.Scan(&schema, &name, &isolated, &policies, &roles))
		if schema == store.KeysSchema {
			if name != "goose_db_version" && !slices.Equal(roles, []string{"underseal_keyring"}) || slices.Contains(roles, "public") {
				t.Errorf("table %s beside the keys: used by %v, want the keyring alone", name, roles)
			}
			keys = append(keys, name)
			continue
		}
		tables++
		want := []string{"tenant"}
		if name == "jobs" || name == "timers" || name == "blobs" {
			want = []string{"scan", "tenant"}
		}
		if schema != store.DataSchema || !isolated || !slices.Equal(policies, want) {
			t.Errorf("table %s of %s: row-level security %v with policies %v, want %v", name, schema, isolated, policies, want)
		}
		if slices.Contains(roles, "underseal_keyring") || slices.Contains(roles, "public") {
			t.Errorf("table %s: used by %v, want neither everybody nor the keyring", name, roles)
		}
	}
	ok(t, rows.Err())
	if tables < 10 {
		t.Errorf("%d tables, want all that have a tenant", tables)
	}
	keys = slices.DeleteFunc(keys, func(name string) bool {
		return slices.Contains([]string{"anchor_heads", "deployment", "goose_db_version", "root_versions"}, name) // of no tenant
	})
	if slices.Sort(keys); !slices.Equal(keys, ofTheKeyring) {
		t.Errorf("beside the keys are %v, and known to need no row-level security %v", keys, ofTheKeyring)
	}
}
