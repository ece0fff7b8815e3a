package keyring_test

import (
	"testing"

	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/kms/kmstest"
	"github.com/underseal/underseal/internal/store"
)

func BenchmarkNewKey(b *testing.B) {
	e := setup(b, func(c *keyring.Config) { c.PoolSize = 1024 })
	for range 4096 {
		e.newKey() // until batches have their full size
	}
	for b.Loop() {
		key := e.newKey()
		e.Assigned("main", key.ID)
	}
}

func BenchmarkKeyFromTheCache(b *testing.B) {
	e := setup(b)
	id := e.newKey().ID
	for b.Loop() {
		must(e.Key(b.Context(), "main", id))(b)
	}
}

func BenchmarkKeyFromItsRow(b *testing.B) {
	e := setup(b, func(c *keyring.Config) { c.CacheUses = 1 })
	id := e.newKey().ID
	for b.Loop() {
		must(e.Key(b.Context(), "main", id))(b)
	}
}

// BenchmarkRewrap moves 100,000 data keys on SQLite from one tenant key to the
// next. Its figure is keys/s.
func BenchmarkRewrap(b *testing.B) {
	const keys = 100_000
	db, err := store.Open(b.Context(), store.Config{Path: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	ring, err := keyring.Open(b.Context(), keyring.Config{
		Services: map[string]kms.Service{"first": kmstest.New(b)}, Default: "first",
		Storage: db.Keys(), Deployment: "d1", PoolSize: 8192,
	})
	if err != nil {
		b.Fatal(err)
	}
	defer ring.Close()
	for range keys {
		must(ring.NewKey(b.Context(), "main"))(b)
	}
	rows := 0
	for b.Loop() {
		b.StopTimer()
		must(ring.RotateTenant(b.Context(), "main", ""))(b)
		b.StartTimer()
		err := ring.Rewrap(b.Context(), "main", 0, func(done, _ int) { rows = max(rows, done) })
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "keys/s")
}
