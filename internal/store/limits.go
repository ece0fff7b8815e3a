package store

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/underseal/underseal/internal/fault"
)

// LimitTaken is what one server admitted of a bucket since it last told the others.
type LimitTaken struct {
	Bucket [32]byte      // keyed hash of whose it is
	For    time.Duration // how long the calls speak for it
	Most   time.Duration // no bucket speaks further ahead of now than this
}

// ExchangeLimits adds what one server admitted to what all of them did, and returns in
// the same order up to when the calls of all speak for each bucket. It is for Postgres
// alone: nobody else has a database of SQLite open. Nothing waits for the disk, and a
// crash of the database forgets all of it.
func (db *DB) ExchangeLimits(ctx context.Context, s Scope, now time.Time, taken []LimitTaken) ([]time.Time, error) {
	// In one order for all servers, or two that tell of the same buckets wait for each other.
	order := make([]int, len(taken))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return bytes.Compare(taken[a].Bucket[:], taken[b].Bucket[:]) })
	args := make([][]any, len(taken))
	for at, i := range order {
		t := taken[i]
		args[at] = []any{s.tenant, t.Bucket[:], now.UnixMicro(), max(1, t.For.Microseconds()), now.Add(t.Most).UnixMicro()}
	}
	spoken := make([]time.Time, len(taken))
	answers := 0
	err := db.data.eachOf(ctx, s.tenant, `
		INSERT INTO limits (tenant, bucket, spoken) VALUES ($1, $2, LEAST($3::bigint + $4::bigint, $5::bigint))
		ON CONFLICT (tenant, bucket) DO UPDATE SET spoken = LEAST(GREATEST(limits.spoken, $3) + $4, $5)
		RETURNING spoken`, args, func(at int, r row) error {
		var until int64
		err := r.scan(&until)
		spoken[order[at]] = time.UnixMicro(until)
		answers++
		return err
	})
	if err == nil && answers != len(taken) {
		err = fault.New(fault.Internal, "%d of %d buckets were answered", answers, len(taken))
	}
	return spoken, err
}

// SweepLimits deletes the buckets that are full, which are as good as none.
func (db *DB) SweepLimits(ctx context.Context, s Scope, now time.Time) error {
	return db.data.apply(ctx, s.tenant, []statement{{
		text: `DELETE FROM limits WHERE tenant = $1 AND spoken < $2`, args: []any{s.tenant, now.UnixMicro()},
	}})
}
