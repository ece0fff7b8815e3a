package store_test

import (
	"testing"

	"github.com/underseal/underseal/internal/store"
)

func TestWhatIsKeptOfChecksIsReplaced(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) {
		ctx := t.Context()
		db := d.open(t)
		same(t, "KeptCheck of nothing", must[[]byte](t)(db.KeptCheck(ctx, main)), []byte(nil))
		for _, sealed := range []string{"first", "second"} {
			ok(t, db.KeepCheck(ctx, main, []byte(sealed)))
			same(t, "KeptCheck", string(must[[]byte](t)(db.KeptCheck(ctx, main))), sealed)
		}
		other := store.NewScope("other")
		same(t, "KeptCheck of another tenant", must[[]byte](t)(db.KeptCheck(ctx, other)), []byte(nil))
		ok(t, db.KeepCheck(ctx, other, []byte("third")))
		same(t, "KeptCheck", string(must[[]byte](t)(db.KeptCheck(ctx, main))), "second")
	})
}
