package engine_test

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/pgtest"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/internal/testenv"
)

// lines counts what is logged.
type lines struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

// TestARefusedReadRaisesTheAlarm puts back, by SQL, a role that was taken and the rules of
// before a forbid. Neither counts, and who is refused first raises the alarm, while no check
// runs; once, however often it is tried.
func TestARefusedReadRaisesTheAlarm(t *testing.T) {
	for name, dsn := range map[string]func(t *testing.T) string{"SQLite": func(*testing.T) string { return "" }, "Postgres": func(t *testing.T) string { return pgtest.Database(t) }} {
		t.Run(name, func(t *testing.T) {
			var log lines
			env := testenv.New(t, func(c *node.Config) {
				c.DSN, c.CheckRate, c.Log = dsn(t), 0, slog.New(slog.NewTextHandler(&log, nil))
			})
			ctx, e := t.Context(), env.Engine
			key := env.PersonsKey("bob", "Viewer")
			bob, err := e.User(ctx, env.Ann, "bob")
			if err != nil {
				t.Fatal(err)
			}
			company, err := e.Settings(ctx, env.Ann)
			if err != nil {
				t.Fatal(err)
			}
			for i, back := range []struct {
				object string
				change func() error
			}{
				{bob.Object, func() error {
					return second(e.TakeUserRole(ctx, env.Ann, "bob", api.RoleRequest{Role: "Viewer"}, ""))
				}},
				{company.Object, func() error {
					text := `@id("no-bob") @reason("not Bob") forbid (principal, action, resource) when { principal.name == "bob" };`
					return second(e.SetPolicies(ctx, env.Ann, api.PoliciesRequest{Text: text}, ""))
				}},
			} {
				restore := keptObject(t, env, back.object)
				if err := back.change(); err != nil {
					t.Fatal(err)
				}
				restore()
				for range 3 {
					if _, err := e.Authenticate(ctx, key, "192.0.2.7"); !fault.Is(err, fault.Integrity) {
						t.Fatalf("Bob with %s put back: %v, want Integrity", back.object, err)
					}
				}
				want := i + 1
				if n := findings(t, env); n != float64(want) || e.Ready(ctx)["integrity"] == nil {
					t.Fatalf("%v findings, readiness %v, want %d and a complaint", n, e.Ready(ctx)["integrity"], want)
				}
				if n := log.count("is not what its log says"); n != want {
					t.Errorf("the server's log says it %d times, want %d", n, want)
				}
				testenv.Until(t, "the company's log has the alarm", func() bool { return alarms(t, env) == want })
			}
		})
	}
}

// keptObject remembers all rows of an object; restore puts them back, and takes all others
// of it away.
func keptObject(t *testing.T, env *testenv.Env, object string) (restore func()) {
	t.Helper()
	id, err := store.ParseID(object)
	if err != nil {
		t.Fatal(err)
	}
	db := dataOf(t, env)
	t.Cleanup(func() { db.Close() })
	do := func(text string, args ...any) {
		t.Helper()
		if _, err := db.Exec(text, args...); err != nil {
			t.Fatal(err)
		}
	}
	tables := []string{"heads", "steps", "fields", "leaves"}
	for _, table := range tables {
		do(fmt.Sprintf(`CREATE TABLE kept_%[1]s AS SELECT * FROM %[1]s`, table))
	}
	return func() {
		for _, table := range tables {
			do(fmt.Sprintf(`DELETE FROM %s WHERE object = $1`, table), id[:])
			do(fmt.Sprintf(`INSERT INTO %[1]s SELECT * FROM kept_%[1]s WHERE object = $1`, table), id[:])
			do(`DROP TABLE kept_` + table)
		}
	}
}
