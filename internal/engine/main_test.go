package engine_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/pgtest"
	"github.com/underseal/underseal/internal/testenv"
)

func TestMain(m *testing.M) {
	code := pgtest.Main(m)
	if err := os.RemoveAll(worlds.dir); err != nil {
		fmt.Fprintln(os.Stderr, "remove what tests share:", err)
		code = 1
	}
	os.Exit(code)
}

// onBoth runs a test on SQLite and on Postgres, beside others: they wait more than they work.
func onBoth(t *testing.T, f func(t *testing.T, env *testenv.Env)) {
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		f(t, testenv.New(t, nil))
	})
	t.Run("Postgres", func(t *testing.T) {
		t.Parallel()
		dsn := pgtest.Database(t)
		f(t, testenv.New(t, func(c *node.Config) { c.DSN = dsn }))
	})
}
