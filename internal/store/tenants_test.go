package store_test

import (
	"testing"

	"github.com/underseal/underseal/internal/store"
)

func TestTenantsAreFoundInEveryTableThatNamesThem(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) {
		ctx := t.Context()
		db := d.open(t)
		same(t, "StoredTenants of nothing", must[[]string](t)(db.StoredTenants(ctx)), []string(nil))
		for _, name := range []string{"other", "main"} {
			ok(t, db.KeepCheck(ctx, store.NewScope(name), []byte("sealed")))
		}
		ok(t, db.PutPins(ctx, store.NewScope("pinned"), store.Pin{Kind: store.Custody, Seq: 1}))
		same(t, "StoredTenants", must[[]string](t)(db.StoredTenants(ctx)), []string{"main", "other", "pinned"})
	})
}
