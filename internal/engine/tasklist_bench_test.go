package engine_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/pgtest"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/internal/testenv"
)

// The lists are of 50 of a million open tasks, for somebody with 200 grants: to view 60
// companies' instances of a process, to view 70 processes, and to work one task of 70
// others. They are a candidate for some, too.
const (
	listedTasks     = 1_000_000
	listedCompanies = 60
	listedProcesses = 70
)

func BenchmarkTaskListSQLite(b *testing.B) {
	env := testenv.New(b, nil)
	db, err := sql.Open("sqlite", filepath.Join(env.Config.Data, "data.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		b.Fatal(err)
	}
	benchTaskList(b, env, db, map[string]string{"ID": `CAST(printf('~%015d', n) AS BLOB)`, "EMPTY": `x''`, "QUICKLY": `PRAGMA synchronous = OFF`, "ANALYZE": `SELECT 1`}) // nothing there analyzes
}

func BenchmarkTaskListPostgres(b *testing.B) {
	dsn := pgtest.Database(b)
	env := testenv.New(b, func(c *node.Config) { c.DSN = dsn })
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		b.Fatal(err)
	}
	benchTaskList(b, env, db, map[string]string{"ID": `convert_to('~' || lpad(n::text, 15, '0'), 'UTF8')`, "EMPTY": `''::bytea`, "QUICKLY": `SET session_replication_role = replica`}) // asks for no foreign keys
}

// benchTaskList fills the tables of a list with tasks of instances that there are not,
// all newer than those that a list shows.
func benchTaskList(b *testing.B, env *testenv.Env, db *sql.DB, dialect map[string]string) {
	bob := listReader(b, env)
	env.Restart(func() { fillTasks(b, db, dialect) })
	for b.Loop() {
		list, err := env.Engine.Tasks(b.Context(), bob, engine.TaskFilter{}, engine.Page{Limit: 50})
		if err != nil || len(list.Items) != 50 {
			b.Fatalf("%d tasks, %v, want 50", len(list.Items), err)
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()*1000/float64(b.N), "ms/list")
}

func fillTasks(b *testing.B, db *sql.DB, dialect map[string]string) {
	db.SetMaxOpenConns(1)
	for _, text := range []string{
		`QUICKLY`,
		fmt.Sprintf(`CREATE TEMP TABLE company AS SELECT row_number() OVER (ORDER BY object) - 1 AS number, token, print FROM tokens WHERE kind = %d`, store.SearchToken),
		`INSERT INTO tasks SELECT 'main', ID, 1, 'e' || (n / 1000 % 4), CASE WHEN n % 10 < 3 THEN 'car' ELSE 'p' || (n % 200) END, '', n, NULL FROM NUMBERS`,
		`INSERT INTO task_candidates SELECT 'main', ID, 1, 'group', CASE WHEN n % 500 = 0 THEN 'clerks' ELSE 'g' || (n % 100) END FROM NUMBERS`,
		fmt.Sprintf(`INSERT INTO tokens SELECT 'main', %d, c.token, ID, 1, c.print, EMPTY FROM NUMBERS JOIN company c ON c.number = n / 10 %% 1000 WHERE n %% 10 < 3`, store.SearchToken),
		`ANALYZE`,
	} {
		for name, instead := range dialect {
			text = strings.ReplaceAll(text, name, instead)
		}
		numbers := fmt.Sprintf(`(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < %d) SELECT n FROM s) numbers`, listedTasks)
		if _, err := db.Exec(strings.ReplaceAll(text, "NUMBERS", numbers)); err != nil {
			b.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
}

// listReader is who reads the list. The instances that are shown there are each of a
// company, which they may see.
func listReader(b *testing.B, env *testenv.Env) engine.Caller {
	env.Deploy("car.bpmn", strings.NewReplacer("PROCESS", "car", "GROUP", "clerks").Replace(claimModel))
	key := env.PersonsKey("bob", "Executor")
	grant := func(r api.GrantRequest) {
		r.User = "bob"
		if _, err := env.Engine.GiveGrant(b.Context(), env.Ann, r, ""); err != nil {
			b.Fatal(err)
		}
	}
	for i := range listedCompanies {
		company := fmt.Sprintf("company %d", i)
		env.Start("car", fmt.Sprintf(`{"company": %q}`, company))
		grant(api.GrantRequest{Right: "view", Process: "car", Where: &api.Where{Path: "company", Value: company}})
	}
	for i := range listedProcesses {
		grant(api.GrantRequest{Right: "view", Process: fmt.Sprintf("p%d", 3+i)})
		grant(api.GrantRequest{Right: "work", Process: fmt.Sprintf("p%d", 3+listedProcesses+i), Task: fmt.Sprintf("e%d", i%4)})
	}
	if _, err := env.Engine.CreateGroup(b.Context(), env.Ann, api.GroupRequest{Name: "clerks"}, ""); err != nil {
		b.Fatal(err)
	}
	if _, err := env.Engine.JoinGroup(b.Context(), env.Ann, "bob", api.MemberRequest{Group: "clerks"}, ""); err != nil {
		b.Fatal(err)
	}
	return env.SignIn(key)
}
