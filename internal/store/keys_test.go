package store_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/keyring/keyringtest"
	"github.com/underseal/underseal/internal/store"
)

var _ keyring.Storage = (*store.Keys)(nil)

func TestKeysFulfilTheContractOfTheKeyring(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) {
		keyringtest.TestStorage(t, func() (keyring.Storage, func(string)) {
			cfg := d.config(t)
			return openDB(t, cfg).Keys(), func(tenant string) { loseTenantKeys(t, cfg, tenant) }
		})
	})
}

// loseTenantKeys deletes a tenant's tenant keys as whoever has the database can:
// past the foreign keys.
func loseTenantKeys(t *testing.T, cfg store.Config, tenant string) {
	t.Helper()
	if cfg.DSN != "" {
		conn, err := pgx.Connect(t.Context(), cfg.DSN)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		if _, err := conn.Exec(t.Context(), `SET session_replication_role = replica`); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), `DELETE FROM underseal_keys.tenant_keys WHERE tenant = $1`, tenant); err != nil {
			t.Fatal(err)
		}
		return
	}
	db, err := sql.Open("sqlite", filepath.Join(cfg.Path, "keys.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), `DELETE FROM tenant_keys WHERE tenant = ?`, tenant); err != nil {
		t.Fatal(err)
	}
}
