package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
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
	t.Parallel()
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

// duringReads is the context of reads that a test does something amid.
type duringReads struct{}

// TestAStepDuringAReadRaisesNoAlarm gives and takes a role of somebody who is being read,
// each time between their head and the rest of their rows.
func TestAStepDuringAReadRaisesNoAlarm(t *testing.T) {
	t.Parallel()
	between := func() {}
	env := testenv.New(t, func(c *node.Config) {
		c.CheckRate = 0
		c.Observe = func(ctx context.Context, _, query string, _ int) {
			if ctx.Value(duringReads{}) != nil && strings.Contains(query, "FROM heads h") {
				between()
			}
		}
	})
	e := env.Engine
	env.Person("bob", "Viewer")
	steps, designs := 0, false
	between = func() {
		if steps++; steps > 5 {
			return
		}
		amend := e.GiveUserRole
		if designs {
			amend = e.TakeUserRole
		}
		if _, err := amend(t.Context(), env.Ann, "bob", api.RoleRequest{Role: "Designer"}, ""); err != nil {
			t.Error(err)
		}
		designs = !designs
	}
	bob, err := e.User(context.WithValue(t.Context(), duringReads{}, true), env.Ann, "bob")
	if err != nil || slices.Contains(bob.Roles, "Designer") != designs || steps < 6 {
		t.Errorf("after %d steps: %+v, %v, want the roles of the last", steps, bob, err)
	}
	if n, told, ready := findings(t, env), alarms(t, env), e.Ready(t.Context())["integrity"]; n != 0 || told != 0 || ready != nil {
		t.Errorf("%v findings, %d alarms, readiness %v", n, told, ready)
	}
}

// TestTheCheckTellsByItself changes what a check reads: it returns that, and no read of it
// raises the alarm meanwhile, as what is found once only does not count.
func TestTheCheckTellsByItself(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, func(c *node.Config) { c.CheckRate = 0 })
	env.Person("bob", "Viewer")
	bob, err := env.Engine.User(t.Context(), env.Ann, "bob")
	if err != nil {
		t.Fatal(err)
	}
	execRaw(t, env, `UPDATE steps SET body = x'00' WHERE seq = 1 AND object = (SELECT object FROM heads WHERE kind = 'principal' AND hex(object) = '`+fmt.Sprintf("%X", idBytes(t, bob.Object))+`')`)
	var found []engine.Finding
	for check := env.Engine.NewCheck(identity.MainTenant, engine.CheckState{}, engine.CheckOptions{}); !check.Done(); {
		some, err := check.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, some...)
	}
	if !slices.ContainsFunc(found, func(f engine.Finding) bool { return f.Object == bob.Object }) {
		t.Errorf("found %+v, want Bob", found)
	}
	if n := findings(t, env); n != 0 {
		t.Errorf("the reads of the check told of %v findings", n)
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
