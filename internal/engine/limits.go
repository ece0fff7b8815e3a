package engine

import (
	"context"
	"time"

	"github.com/underseal/underseal/internal/blindindex"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/limit"
	"github.com/underseal/underseal/internal/store"
)

// SharedLimits is where the servers of one Postgres database tell each other what they
// admitted. Names of persons and keys leave this process as keyed hashes.
func (e *Engine) SharedLimits() limit.Share { return sharedLimits{e} }

type sharedLimits struct{ engine *Engine }

func (s sharedLimits) Exchange(ctx context.Context, tenant string, now time.Time, taken []limit.Taken) ([]time.Time, error) {
	keys, err := s.engine.ring.IndexKeys(ctx, tenant)
	if err != nil {
		return nil, err
	}
	rows := make([]store.LimitTaken, len(taken))
	for i, t := range taken {
		name := string(canon.EncodeItems(canon.String(t.Bucket.Limit), canon.String(t.Bucket.Name)))
		rows[i] = store.LimitTaken{Bucket: blindindex.Token(keys[len(keys)-1], "limit", name), For: t.For, Most: t.Most}
	}
	return s.engine.store.ExchangeLimits(ctx, store.NewScope(tenant), now, rows)
}

// SweepLimits clears away buckets that nobody has called of for a while.
func (e *Engine) SweepLimits(ctx context.Context, tenant string) error {
	return e.store.SweepLimits(ctx, store.NewScope(tenant), e.now())
}
