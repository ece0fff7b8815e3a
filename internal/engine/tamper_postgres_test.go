package engine_test

import (
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/pgtest"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/internal/testenv"
)

// unnamedOnPostgres adds to unnamed what only Postgres has.
var unnamedOnPostgres = map[string]string{
	"lease":       "which server writes: with another epoch none does, and every start raises it; store has TestAServerThatWasReplacedCannotWrite",
	"limits":      "how often who called; who sets it back lets somebody call more often",
	"blobs":       "sealed streams, kept elsewhere here; TestFilesInChangedRowsAreRefused",
	"blob_chunks": "likewise",
}

// schemas are where Postgres has what are files of SQLite.
var schemas = map[string]string{"data.db": store.DataSchema, "keys.db": store.KeysSchema}

// postgresWorld is a world on Postgres, with its administrator, whom neither foreign keys
// nor triggers bind.
type postgresWorld struct {
	*world
	admin map[string]*sql.DB           // by file
	saved map[string][]string          // by file: tables of which there is a copy
	old   map[string]map[string]*table // by file and name: the older state
}

func newPostgresWorld(t *testing.T) *postgresWorld {
	t.Helper()
	dsn := pgtest.Database(t)
	w := administered(t, dsn)
	env := testenv.New(t, func(c *node.Config) { c.DSN = dsn })
	w.world = fill(t, env, func(*world) {
		for file := range schemas {
			w.old[file] = w.tables(t, file)
		}
	})
	leaves := w.tables(t, "data.db")["leaves"]
	object, seq := slices.Index(leaves.columns, "object"), slices.Index(leaves.columns, "seq")
	for _, row := range leaves.rows {
		if row[seq] == int64(0) {
			w.entries = append(w.entries, store.ID(row[object].([]byte)))
		}
	}
	if len(w.entries) == 0 {
		t.Fatal("the log has no leaf of no object")
	}
	w.save(t)
	return w
}

// administered is a database with its administrator alone.
func administered(t *testing.T, dsn string) *postgresWorld {
	t.Helper()
	w := &postgresWorld{admin: map[string]*sql.DB{}, saved: map[string][]string{}, old: map[string]map[string]*table{}}
	for file, schema := range schemas {
		db, err := sql.Open("pgx", dsn+" search_path="+schema+" options='-c session_replication_role=replica'")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		w.admin[file] = db
	}
	return w
}

// tables reads the tables of a schema.
func (w *postgresWorld) tables(t *testing.T, file string) map[string]*table {
	t.Helper()
	found := map[string]*table{}
	for _, name := range column(t, w.admin[file], `SELECT tablename FROM pg_tables WHERE schemaname = $1`, schemas[file]) {
		if _, free := unnamedOnPostgres[name]; !free {
			found[name] = w.table(t, file, name)
		}
	}
	if len(found) == 0 {
		t.Fatalf("schema %s has no tables", schemas[file])
	}
	return found
}

// table reads one table.
func (w *postgresWorld) table(t *testing.T, file, name string) *table {
	t.Helper()
	tab := &table{name: name, file: file, insert: "INSERT"}
	// Of xid, by which leaves come in an order, only the database makes values.
	tab.columns = column(t, w.admin[file], `
		SELECT column_name FROM information_schema.columns
		WHERE table_schema = $1 AND table_name = $2 AND column_name <> 'xid' ORDER BY ordinal_position`, schemas[file], name)
	key := column(t, w.admin[file], `
		SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
		WHERE i.indrelid = $1::regclass AND i.indisprimary`, schemas[file]+"."+name)
	var set []string
	for i, c := range tab.columns {
		if slices.Contains(key, c) {
			tab.key = append(tab.key, i)
		}
		set = append(set, c+" = excluded."+c)
	}
	tab.conflict = fmt.Sprintf("ON CONFLICT (%s) DO UPDATE SET %s", strings.Join(key, ", "), strings.Join(set, ", "))
	tab.readRows(t, w.admin[file], fmt.Sprintf(`SELECT %s FROM %s ORDER BY %s`, strings.Join(tab.columns, ", "), name, strings.Join(key, ", ")))
	return tab
}

// column returns the one column of what a query finds.
func column(t *testing.T, db *sql.DB, query string, args ...any) (list []string) {
	t.Helper()
	rows, err := db.Query(query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var value string
		if err := rows.Scan(&value); err != nil {
			t.Fatal(err)
		}
		list = append(list, value)
	}
	return list
}

// mutations lists what is done to all tables that are not free by themselves: of each kind
// of change one, which is the first in the order of the primary key. SQLite's tests make
// more of each; what looks at them is the same, what it looks through is not.
func (w *postgresWorld) mutations(t *testing.T, free map[string]string, of func(now, old *table) []mutation) []mutation {
	t.Helper()
	var all []mutation
	for file := range schemas {
		for name, now := range w.tables(t, file) {
			if _, ok := free[name]; !ok {
				now.free = free
				all = append(all, of(now, w.old[file][name])...)
			}
		}
	}
	return oneOfEach(all)
}

// oneOfEach keeps the first of each kind of change.
func oneOfEach(all []mutation) []mutation {
	kinds := map[string]mutation{}
	for _, m := range all {
		if kind, ok := m.kind(); ok {
			if _, had := kinds[kind]; !had {
				kinds[kind] = m
			}
		}
	}
	return slices.SortedFunc(maps.Values(kinds), func(a, b mutation) int { return strings.Compare(a.name, b.name) })
}

// kind is what is done to which column, or to a whole row; false for one that is left to
// SQLite.
func (m mutation) kind() (string, bool) {
	parts := strings.SplitN(m.name, "/", 3)
	switch {
	case parts[1] == "swap":
		return "", false
	case strings.HasPrefix(parts[1], "change"), strings.HasPrefix(parts[1], "insert"):
		return parts[0], true
	}
	return parts[0] + "/" + parts[1], true
}

// table is the name of the table that is changed.
func (m mutation) table() string { return m.name[:strings.IndexAny(m.name, "./")] }

// apply returns false when the schema refuses the change.
func (w *postgresWorld) apply(t *testing.T, m mutation) bool {
	t.Helper()
	text := m.sql
	for i := range m.args {
		text = strings.Replace(text, "?", fmt.Sprintf("$%d", i+1), 1)
	}
	result, err := w.admin[m.file].Exec(text, m.args...)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && strings.HasPrefix(refused.Code, "23") || err != nil && strings.Contains(err.Error(), "unable to encode") {
		return false // by a constraint, or by the column's type
	}
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if n, err := result.RowsAffected(); n == 0 || err != nil {
		t.Fatalf("%s changed no row: %v", text, err)
	}
	return true
}

// save keeps a copy of every table.
func (w *postgresWorld) save(t *testing.T) {
	t.Helper()
	for file, schema := range schemas {
		if _, err := w.admin[file].Exec(`CREATE SCHEMA saved_` + schema); err != nil {
			t.Fatal(err)
		}
		w.saved[file] = column(t, w.admin[file], `SELECT tablename FROM pg_tables WHERE schemaname = $1 AND tablename NOT IN ('lease', 'goose_db_version')`, schema)
		w.each(t, file, `CREATE TABLE saved_%[1]s.%[2]s AS TABLE %[2]s`, w.saved[file]...)
	}
}

// putBack undoes all changes to tables of a schema.
func (w *postgresWorld) putBack(t *testing.T, file string, names ...string) {
	t.Helper()
	w.each(t, file, `DELETE FROM %[2]s; INSERT INTO %[2]s SELECT * FROM saved_%[1]s.%[2]s`, names...)
}

// each runs statements for each of some tables, given its schema and name.
func (w *postgresWorld) each(t *testing.T, file, text string, names ...string) {
	t.Helper()
	var all []string
	for _, name := range names {
		all = append(all, fmt.Sprintf(text, schemas[file], name))
	}
	if _, err := w.admin[file].Exec(strings.Join(all, "; ")); err != nil {
		t.Fatal(err)
	}
}

// try makes one change after the other and takes it back, and requires that the check
// names each that the schema lets through. Refused, if not nil, says whether reads refuse
// one that it does not name.
func (w *postgresWorld) try(t *testing.T, all []mutation, refused func() bool) {
	t.Helper()
	w.untouched(t, "")
	impossible := 0
	for _, m := range all {
		if !w.apply(t, m) {
			impossible++
			continue
		}
		named, err := w.names(t, "") // that no change keeps a check from its end: on SQLite
		if err != nil {
			m.mayEndACheck(t, err)
		}
		if err != nil || named {
			w.putBack(t, m.file, m.table())
			continue
		}
		if refused == nil || !refused() {
			t.Errorf("not named: %s: %s", m.name, m.sql)
		}
		for file, names := range w.saved { // what reads has also written
			w.putBack(t, file, names...)
		}
	}
	w.untouched(t, "")
	if t.Logf("%d changes, of which the schema refused %d", len(all), impossible); impossible > len(all)/2 {
		t.Errorf("the schema refused %d of %d changes: too few were tried", impossible, len(all))
	}
}

// TestWhatIsDoneIsNamedOnPostgres is TestWhatReadsDoNotRefuseIsNamed and
// TestWhatIsAddedIsNamed there.
func TestWhatIsDoneIsNamedOnPostgres(t *testing.T) {
	t.Parallel()
	w := newPostgresWorld(t)
	changed := w.mutations(t, unnamed, func(now, old *table) []mutation {
		if len(now.rows) == 0 {
			t.Errorf("table %s is empty: nothing tests it", now.name)
		}
		return slices.Concat(now.changes(), now.deletions(), now.setBacks(old))
	})
	added := w.mutations(t, unnamedInserts, func(now, _ *table) []mutation { return now.insertions() })
	if len(changed) < 150 || len(added) < 50 {
		t.Fatalf("%d changes and %d additions, want some for every column", len(changed), len(added))
	}
	w.try(t, changed, func() bool { return w.readAll(t, "") != nil })
	w.try(t, added, nil)
}

// newAnchoredPostgresWorld is newAnchoredWorld there. It waits for what it has done to be
// seen, and for nothing more.
func newAnchoredPostgresWorld(t *testing.T) *postgresWorld {
	t.Helper()
	dsn := pgtest.Database(t)
	w := administered(t, dsn)
	var seen *testenv.Seen
	env := testenv.New(t, func(c *node.Config) {
		c.DSN = dsn
		seen = testenv.NewSeen(t, c)
		c.Anchor.Interval = time.Millisecond
	})
	seen.Know(t.Context(), env)
	start := func() {
		t.Helper()
		env.Start("everything", `{"note": "a"}`)
		testenv.Until(t, "everything was seen", func() bool { return w.seen(t) })
	}
	env.Deploy("all.bpmn", everything)
	start()
	start()
	env.Restart(func() {
		for file := range schemas {
			w.old[file] = w.tables(t, file)
		}
	})
	start()
	if err := env.Node.Close(); err != nil {
		t.Fatal(err)
	}
	if !w.seen(t) {
		t.Fatal("something was written that nobody has seen, after all was seen and nobody did anything")
	}
	env.Node, w.world = nil, &world{config: env.Config}
	w.save(t)
	return w
}

// seen reports whether there is nothing left to do for sequencer and anchor log: every leaf
// has its place, the newest checkpoint of each log its entry in the anchor log, and the newest head of
// that, which covers all entries, was seen by witnesses and authority. A head that nobody
// has seen can be set back to the one before without a trace: docs/design/fsck.md.
func (w *postgresWorld) seen(t *testing.T) (all bool) {
	t.Helper()
	err := w.admin["data.db"].QueryRow(`
		SELECT coalesce((SELECT count(*) FROM leaves) = (SELECT sum(size) FROM log_shards)
			AND NOT EXISTS (SELECT FROM log_shards s WHERE size > coalesce((
				SELECT max(size) FROM anchor_openings o WHERE o.tenant = s.tenant AND o.shard = s.number), 0))
			AND (SELECT count(*) FROM anchor_openings) = (SELECT max(size) FROM ` + store.KeysSchema + `.anchor_heads)
			AND (SELECT count(*) FROM anchor_openings) = (SELECT max(size) FROM anchor_checkpoints), false)`).Scan(&all)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestWhatIsDoneToTheAnchorLogIsNamedOnPostgres is TestWhatIsDoneToTheAnchorLogIsNamed
// there.
func TestWhatIsDoneToTheAnchorLogIsNamedOnPostgres(t *testing.T) {
	if testing.Short() {
		t.Skip("a check for each change")
	}
	t.Parallel()
	w := newAnchoredPostgresWorld(t)
	w.try(t, oneOfEach(anchorMutations(t, func(file, name string) (now, old *table) { return w.table(t, file, name), w.old[file][name] })), nil)
}

// TestALeafWhoseTurnNeverComesIsNamedOnPostgres gives a leaf, before it has a place, the
// number of a transaction that is far from its turn. The next start gives it its place.
func TestALeafWhoseTurnNeverComesIsNamedOnPostgres(t *testing.T) {
	if testing.Short() {
		t.Skip("needs Postgres: left out by -short")
	}
	t.Parallel()
	dsn := pgtest.Database(t)
	env := testenv.New(t, func(c *node.Config) { c.DSN = dsn })
	env.Deploy("all.bpmn", everything)
	admin := administered(t, dsn).admin["data.db"]
	earlier, err := admin.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer earlier.Rollback()
	if _, err := earlier.Exec(`SELECT pg_current_xact_id()`); err != nil { // holds back what comes later
		t.Fatal(err)
	}
	id := idBytes(t, env.Start("everything", `{}`))
	named := func() bool {
		t.Helper()
		for check := env.Engine.NewCheck(identity.MainTenant, engine.CheckState{}, engine.CheckOptions{}); !check.Done(); {
			found, err := check.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(found) > 0 {
				return len(found) == 1 && found[0].Kind == engine.FoundLeaf && found[0].Where == "log_entries"
			}
		}
		return false
	}
	if named() {
		t.Error("a leaf that waits for its place is named")
	}
	if _, err := admin.Exec(`UPDATE leaves SET xid = '9000000000000000000' WHERE object = $1`, id); err != nil {
		t.Fatal(err)
	}
	if err := earlier.Rollback(); err != nil {
		t.Fatal(err)
	}
	if !named() {
		t.Error("a leaf that never gets a place is not named")
	}
	env.Restart(nil)
	if named() {
		t.Error("after the start, which gave it its place, it is named")
	}
}
