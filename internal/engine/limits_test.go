package engine_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/underseal/underseal/internal/limit"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/pgtest"
	"github.com/underseal/underseal/internal/testenv"
)

// Two servers on one database admit together what one may, and a third one that starts
// then knows of it. The database learns no name.
func TestServersOnPostgresShareLimits(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	env := testenv.New(t, func(c *node.Config) { c.DSN = dsn })
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	config := limit.Config{
		Rates: limit.Rates{User: limit.Rate{Calls: 50, Per: time.Hour}},
		Now:   func() time.Time { return now }, Share: env.Engine.SharedLimits(),
	}
	ann := limit.Call{Tenant: "main", Principal: "ann-who-calls", Person: true}
	first, second, third := limit.New(config), limit.New(config), limit.New(config)
	for range 9 {
		if got := first.Admit(ann); got.Wait > 0 {
			t.Fatalf("refused: %+v", got)
		}
	}
	second.Admit(ann)
	third.Admit(ann)
	for _, l := range []*limit.Limiter{first, second, third} {
		if err := l.Tell(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := third.Admit(ann); got.Limit != "user" {
		t.Errorf("the third server admits more than all may: %+v", got)
	}
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var bucket []byte
	var rows int
	if err := conn.QueryRow(t.Context(), `SELECT min(bucket::text)::bytea, count(*) FROM underseal.limits`).Scan(&bucket, &rows); err != nil {
		t.Fatal(err)
	}
	if rows != 1 || bytes.Contains(bucket, []byte("ann")) {
		t.Errorf("%d rows, of %q", rows, bucket)
	}
}
