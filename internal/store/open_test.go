package store_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring/keyrow"
	"github.com/underseal/underseal/internal/store"
)

func TestASecondServerIsRefused(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) {
		cfg := d.config(t)
		db := must[*store.DB](t)(store.Open(t.Context(), cfg))
		_, err := store.Open(t.Context(), cfg)
		is(t, "Open", err, fault.Conflict, "locked")
		if err == nil || !strings.Contains(err.Error(), "process ") {
			t.Errorf("the error does not say who has it: %v", err)
		}
		ok(t, db.Commit(t.Context(), main, minimal(store.ID{1}, 0)))
		ok(t, db.Close())
		openDB(t, cfg)
	})
}

func TestAClosedDatabaseIsUnavailable(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) {
		db := must[*store.DB](t)(store.Open(t.Context(), d.config(t)))
		ok(t, db.Check(t.Context()))
		ok(t, db.Close())
		is(t, "Commit", db.Commit(t.Context(), main, minimal(store.ID{1}, 0)), fault.Unavailable, "not_applied")
		_, err := db.Load(t.Context(), main, store.ID{1})
		is(t, "Load", err, fault.Unavailable, "")
		is(t, "Check", db.Check(t.Context()), fault.Unavailable, "")
		ok(t, db.Err())
	})
}

func TestADatabaseBelongsToOneDeployment(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) {
		ctx := t.Context()
		cfg := d.config(t)
		db := must[*store.DB](t)(store.Open(ctx, cfg))
		if m, found, err := db.Deployment(ctx); err != nil || found {
			t.Errorf("Deployment of a new database: %v, %v, %v", m, found, err)
		}
		want := store.Meta{Deployment: "d1"}
		ok(t, db.InitDeployment(ctx, want))
		is(t, "InitDeployment again", db.InitDeployment(ctx, store.Meta{Deployment: "d2"}), fault.Conflict, "")
		ok(t, db.Close())
		if m, found, err := openDB(t, cfg).Deployment(ctx); err != nil || !found || m != want {
			t.Errorf("Deployment: %v, %v, %v, want %v", m, found, err, want)
		}
	})
}

// swapped returns a database with the data of one deployment and keys of
// another, which is what restoring only one of two backups gives.
func swapped(t *testing.T, data, keys func(*store.DB)) *store.DB {
	t.Helper()
	var dirs [2]string
	for i, fill := range []func(*store.DB){data, keys} {
		dirs[i] = t.TempDir()
		db := must[*store.DB](t)(store.Open(t.Context(), store.Config{Path: dirs[i]}))
		fill(db)
		ok(t, db.Close())
	}
	ok(t, os.Rename(filepath.Join(dirs[1], "keys.db"), filepath.Join(dirs[0], "keys.db")))
	return openDB(t, store.Config{Path: dirs[0]})
}

func TestDataAndKeysOfTwoDeploymentsAreRefused(t *testing.T) {
	t.Parallel()
	initialized := func(name string) func(*store.DB) {
		return func(db *store.DB) {
			ok(t, db.InitDeployment(t.Context(), store.Meta{Deployment: name}))
			ok(t, db.Keys().Found(t.Context(), keyrow.TenantKey{Tenant: "main", Version: 1, Service: "s", RootKey: "r", Made: time.Now(), Wrapped: []byte{1}}, nil))
		}
	}
	empty := func(*store.DB) {}
	for name, db := range map[string]*store.DB{
		"two deployments": swapped(t, initialized("a"), initialized("b")),
		"no keys":         swapped(t, initialized("a"), empty),
		"no data":         swapped(t, empty, initialized("b")),
	} {
		_, _, err := db.Deployment(t.Context())
		is(t, name, err, fault.Integrity, "")
	}
	begun := func(db *store.DB) { ok(t, db.InitDeployment(t.Context(), store.Meta{Deployment: "c"})) }
	db := swapped(t, empty, begun)
	if _, found, err := db.Deployment(t.Context()); err != nil || found {
		t.Errorf("an initialization that was cut short: %v, %v", found, err)
	}
	ok(t, db.InitDeployment(t.Context(), store.Meta{Deployment: "d"}))
}

func TestADatabaseOfANewerVersionIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ok(t, must[*store.DB](t)(store.Open(t.Context(), store.Config{Path: dir})).Close())
	raw := must[*sql.DB](t)(sql.Open("sqlite", filepath.Join(dir, "data.db")))
	_, err := raw.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)`)
	ok(t, err)
	ok(t, raw.Close())
	_, err = store.Open(t.Context(), store.Config{Path: dir})
	is(t, "Open", err, fault.Conflict, "newer_schema")
}

func TestOpenSaysWhatItWants(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	ok(t, os.WriteFile(file, nil, 0o600))
	secret := "swordfish"
	for name, c := range map[string]struct {
		cfg  store.Config
		kind fault.Kind
	}{
		"nothing":         {store.Config{}, fault.Invalid},
		"a malformed DSN": {store.Config{DSN: "postgres://me:" + secret + "@host:port:port"}, fault.Invalid},
		"no server":       {store.Config{DSN: "postgres://me:" + secret + "@127.0.0.1:1/db"}, fault.Unavailable},
		"a file":          {store.Config{Path: file}, fault.Unavailable},
		"below a file":    {store.Config{Path: filepath.Join(file, "dir")}, fault.Invalid},
	} {
		_, err := store.Open(t.Context(), c.cfg)
		is(t, name, err, c.kind, "")
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error quotes the password: %v", name, err)
		}
	}
}

func TestFilesAreReadableByTheirOwnerAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "data with % and ?")
	db := openDB(t, store.Config{Path: dir})
	ok(t, db.Commit(t.Context(), main, minimal(store.ID{1}, 0)))
	info := must[os.FileInfo](t)(os.Stat(dir))
	same(t, "mode of the directory", info.Mode().Perm(), os.FileMode(0o700))
	files := must[[]os.DirEntry](t)(os.ReadDir(dir))
	if len(files) < 5 { // two databases, each with its WAL and index, and the lock
		t.Fatalf("only %d files: %v", len(files), files)
	}
	for _, f := range files {
		same(t, "mode of "+f.Name(), must[os.FileInfo](t)(f.Info()).Mode().Perm(), os.FileMode(0o600))
	}
}
