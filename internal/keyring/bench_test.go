package keyring_test

import (
	"testing"

	"github.com/underseal/underseal/internal/keyring"
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
