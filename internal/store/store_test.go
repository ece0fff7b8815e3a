package store_test

import (
	"context"
	"testing"

	"github.com/underseal/underseal/internal/pgtest"
	"github.com/underseal/underseal/internal/store"
)

// dialect makes new databases of one kind.
type dialect struct {
	name   string
	config func(testing.TB) store.Config
}

func dialects() []dialect {
	return []dialect{
		{"SQLite", func(t testing.TB) store.Config { return store.Config{Path: t.TempDir()} }},
		{"Postgres", func(t testing.TB) store.Config { return store.Config{DSN: pgtest.Database(t)} }},
	}
}

// eachDialect runs a test against all databases that the store speaks to.
func eachDialect(t *testing.T, run func(*testing.T, dialect)) {
	t.Parallel()
	for _, d := range dialects() {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			if d.name == "Postgres" && testing.Short() {
				t.Skip("needs Postgres: left out by -short")
			}
			run(t, d)
		})
	}
}

// open opens a new, empty database for the time of the test.
func (d dialect) open(t testing.TB) *store.DB {
	t.Helper()
	return openDB(t, d.config(t))
}

func openDB(t testing.TB, cfg store.Config) *store.DB {
	t.Helper()
	db, err := store.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// failed checks that the database has said that it is not to be used any more.
func failed(t testing.TB, db *store.DB) {
	t.Helper()
	select {
	case <-db.Failed():
	default:
		t.Fatal("the database is not marked as failed")
	}
}
