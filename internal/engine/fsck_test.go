package engine_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
	"github.com/underseal/underseal/ledger"
)

// fsck checks a data directory that no node uses, and returns what is found.
func (w *world) fsck(t *testing.T, dir string, withoutKeys bool) (all []engine.Finding, err error) {
	t.Helper()
	err = w.check(t, dir, withoutKeys, func(found []engine.Finding) error {
		all = append(all, found...)
		return nil
	})
	return all, err
}

// names reports whether a check names something. It goes no further then.
func (w *world) names(t *testing.T, dir string) (bool, error) {
	t.Helper()
	enough := errors.New("something was named")
	err := w.check(t, dir, false, func(found []engine.Finding) error {
		if len(found) > 0 {
			return enough
		}
		return nil
	})
	if errors.Is(err, enough) {
		return true, nil
	}
	return false, err
}

func (w *world) check(t *testing.T, dir string, withoutKeys bool, part func(found []engine.Finding) error) error {
	t.Helper()
	config := w.config
	config.Data = dir
	return node.Check(t.Context(), config, node.CheckConfig{
		WithoutKeys: withoutKeys,
		Part:        func(_ string, _ engine.CheckState, found []engine.Finding) error { return part(found) },
	})
}

// unnamed lists what an administrator of the database can change without that
// reads refuse it or the check names it, with the reason why that is all right.
var unnamed = map[string]string{
	"anchor_hashes":             "filled and changed in TestWhatIsDoneToTheAnchorLogIsNamed",
	"anchor_checkpoints":        "likewise",
	"anchor_openings":           "likewise",
	"anchor_heads":              "likewise",
	"audit_offsets":             "a receiver gets entries again, or sees by their numbers that some are missing",
	"checks.tenant":             "as good as deleted",
	"checks/delete":             "nothing was checked yet, and fsck --status says so",
	"checks/set back":           "an older check is said to be the newest; what was found since is found again",
	"credentials.used":          "only shown",
	"credentials/set back":      "only what is shown; TestACredentialThatIsMovedAdmitsNobody has rows that lead elsewhere",
	"goose_db_version":          "bookkeeping of migrations; a wrong one fails at start or changes nothing",
	"sqlite_sequence":           "bookkeeping of the database",
	"tenant_keys.made":          "the next rotation comes earlier or later",
	"root_versions":             "the next rotation comes earlier or later",
	"deployment.manifest_key":   "of backups: those that were made before are refused",
	"pinned_leaves/delete":      "of a first step; it is pinned again when it is read",
	"pinned_leaves/set back":    "by one step, as a crash does; it is pinned again when it is read",
	"pinned_leaves.tenant":      "as good as deleted",
	"sessions.tenant":           "as good as deleted",
	"sessions/delete":           "that person signs in again",
	"sessions/set back":         "of one that has ended the log says so, and by what was used since none ends later: TestNobodyIsSignedInBySQL",
	"tokens.seq":                "of a person's token only object and key count; that of a search is named",
	"log_shards.cursor":         "leaves that have a place get no other, and those that get none are named",
	"log_checkpoints/delete":    "the newest one is published again from beside the keys; of older ones the tree is still there",
	"log_checkpoints/set back":  "a former one of the same tree beside the newest; one of another tree or key is named",
	"log_checkpoints.tenant":    "as good as deleted",
	"log_checkpoints.published": "the next heartbeat comes earlier or later",
	"leaves.pos":                "the order in which leaves get their places; those that have one keep it",
}

// TestWhatReadsDoNotRefuseIsNamed makes every change that the test of reads makes,
// and those that it lists as free, and requires that either the check names something
// or reading fails.
func TestWhatReadsDoNotRefuseIsNamed(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a check for every change")
	}
	w := theWorld(t)
	w.untouched(t, w.copy(t, w.config.Data))
	var all []mutation
	for _, file := range []string{"data.db", "keys.db"} {
		all = append(all, w.mutations(t, file, unnamed)...)
	}
	w.each(t, all, 300, func(t *testing.T, m mutation, dir string) {
		found, err := w.fsck(t, dir, false)
		if err != nil {
			m.mayEndACheck(t, err)
		} else if len(found) > 0 {
			return
		}
		if err := w.readAll(t, dir); err == nil {
			t.Errorf("neither refused nor named: %s", m.sql)
		}
	})
}

// untouched requires that nothing is found in data.
func (w *world) untouched(t *testing.T, dir string) {
	t.Helper()
	for _, withoutKeys := range []bool{false, true} {
		if found, err := w.fsck(t, dir, withoutKeys); err != nil || len(found) > 0 {
			t.Fatalf("untouched data (without keys: %v): %v, %v", withoutKeys, found, err)
		}
	}
}

// ending are the columns without which a check cannot begin, or ask for keys: it ends, and
// says why.
var ending = map[string]string{
	"deployment":            "whose database it is",
	"deployment.deployment": "likewise",
	"tenant_keys.service":   "which key service to ask",
	"tenant_keys.root_key":  "which of its keys",
}

// unnamedInserts lists what an administrator can add without that the check names it, with
// the reason why that is all right.
var unnamedInserts = map[string]string{
	"goose_db_version":            "bookkeeping of migrations; a wrong one fails at start or changes nothing",
	"sqlite_sequence":             "bookkeeping of the database",
	"root_versions":               "the next rotation comes earlier or later",
	"tokens.token/insert":         "finding only: what is found is compared with the sealed data",
	"tokens.seq/insert":           "likewise",
	"tokens.data_key/insert":      "likewise",
	"log_terms.shard/insert":      "finding only: it leads to a log that is not there",
	"log_terms.block/insert":      "finding only: it leads to entries that are not there",
	"audit_offsets.sink/insert":   "of a sink that nobody configured: nothing is sent there",
	"data_keys.id/insert":         "what is wrapped is bound to its id: it opens nothing, and is swept",
	"tenant_keys.tenant/insert":   "what is wrapped is bound to its tenant: it opens nothing",
	"person_keys.data_key/insert": "only keeps keys from being swept",
}

// TestWhatIsAddedIsNamed adds rows to every table, each a copy of one that is there but for
// one column of its key, and requires that the check names something.
func TestWhatIsAddedIsNamed(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a check of all data for every row")
	}
	w := theWorld(t)
	var all []mutation
	for _, file := range []string{"data.db", "keys.db"} {
		for name, tab := range w.tables(t, w.config.Data, file) {
			if _, ok := unnamedInserts[name]; ok {
				continue
			}
			tab.free = unnamedInserts
			all = append(all, tab.insertions()...)
		}
	}
	w.each(t, all, 100, func(t *testing.T, m mutation, dir string) {
		if found, err := w.fsck(t, dir, false); err != nil {
			m.mayEndACheck(t, err)
		} else if len(found) == 0 {
			t.Errorf("not named: %s", m.sql)
		}
	})
}

// mayEndACheck requires that a change is one of those by which a check cannot go on.
func (m mutation) mayEndACheck(t *testing.T, err error) {
	t.Helper()
	what, _, _ := strings.Cut(m.name, "/")
	if _, ok := ending[what]; !ok {
		t.Errorf("the check ends: %v: %s", err, m.sql)
	}
}

// TestOneRowHidesNoOther puts rows where none of ours can be, and requires that the check
// names them and all else that was changed.
func TestOneRowHidesNoOther(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a check of all data for every row")
	}
	w := theWorld(t)
	running, second := idBytes(t, w.instances[2]), idBytes(t, w.instances[3])
	longer := append(bytes.Clone(running), 0)
	short := []byte{1, 2, 3}
	for _, test := range []struct {
		name, file, table, sql string
		args                   []any
	}{
		{"a candidate of a task of a negative number", "data.db", "task_candidates", `INSERT INTO task_candidates VALUES ('main', ?, -4, 'group', 'x')`, []any{running}},
		{"a candidate of an empty id", "data.db", "task_candidates", `INSERT INTO task_candidates VALUES ('main', x'', 4, 'group', 'x')`, nil},
		{"a step of a negative number", "data.db", "steps", `INSERT INTO steps VALUES ('main', ?, -1, x'00')`, []any{running}},
		{"a field of a negative number", "data.db", "fields", `INSERT INTO fields VALUES ('main', ?, -1, 'x', 0, x'00', NULL)`, []any{running}},
		{"a leaf of a negative number", "data.db", "leaves", `INSERT INTO leaves SELECT 999999, tenant, object, -1, hash, body, mac, terms FROM leaves WHERE object = ? AND seq = 1`, []any{running}},
		{"a leaf of a short id", "data.db", "leaves", `INSERT INTO leaves SELECT 999999, tenant, ?, seq, hash, body, mac, terms FROM leaves WHERE object = ? AND seq = 1`, []any{short, running}},
		{"a leaf of a long id", "data.db", "leaves", `INSERT INTO leaves SELECT 999999, tenant, ?, seq, hash, body, mac, terms FROM leaves WHERE object = ? AND seq = 1`, []any{longer, running}},
		{"a place of a short id", "data.db", "log_entries", `INSERT INTO log_entries SELECT tenant, shard, 999999, ?, seq, hash FROM log_entries WHERE idx = 1`, []any{short}},
		{"a place of a short hash", "data.db", "log_entries", `UPDATE log_entries SET hash = x'00' WHERE idx = 5`, nil},
		{"a head of a short id", "data.db", "heads", `INSERT INTO heads SELECT tenant, ?, kind, seq, body FROM heads WHERE object = ?`, []any{short, running}},
		{"a short token of a request", "data.db", "unique_tokens", `INSERT INTO unique_tokens SELECT tenant, kind, x'00', object, seq, print FROM unique_tokens LIMIT 1`, nil},
		{"a token of a request of an unknown kind", "data.db", "unique_tokens", `INSERT INTO unique_tokens SELECT tenant, 300, token, object, seq, print FROM unique_tokens LIMIT 1`, nil},
		{"a person's key of a short id", "data.db", "person_keys", `INSERT INTO person_keys VALUES ('main', ?, ?)`, []any{short, short}},
		{"a file of a short hash", "data.db", "resources", `INSERT INTO resources VALUES ('main', x'00', x'00')`, nil},
		{"an upload of a short id", "data.db", "uploads", `UPDATE uploads SET data_key = x'00'`, nil},
		{"a log of a negative number", "data.db", "log_entries", `UPDATE log_shards SET number = -number`, nil},
		{"a head of a log of a short root", "keys.db", "log_heads", `UPDATE log_heads SET root = x'00'`, nil},
		{"a pin of a short hash", "keys.db", "pinned_leaves", `INSERT INTO pinned_leaves VALUES ('main', ?, 'custody', 1, x'00')`, []any{short}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := w.copy(t, w.config.Data)
			change := func(file, sql string, args ...any) {
				t.Helper()
				db := openRaw(t, filepath.Join(dir, file))
				defer db.Close()
				done, err := db.Exec(`PRAGMA ignore_check_constraints = ON; `+sql, args...)
				if err != nil {
					t.Fatalf("%s: %v", sql, err)
				}
				if n, err := done.RowsAffected(); err != nil || n == 0 {
					t.Fatalf("%s changes %d rows, %v", sql, n, err)
				}
			}
			change(test.file, test.sql, test.args...)
			change("data.db", `UPDATE tasks SET assignee = 'mallory' WHERE instance = ?`, running)
			change("data.db", `DELETE FROM unique_tokens WHERE length(token) = 32 AND object = ?`, second)
			found, err := w.fsck(t, dir, false)
			if err != nil {
				t.Fatal(err)
			}
			for _, table := range []string{"tasks", "unique_tokens", test.table} {
				if !slices.ContainsFunc(found, func(f engine.Finding) bool { return f.Where == table }) {
					t.Errorf("found %v, want what was done to %s", found, table)
				}
			}
		})
	}
}

// TestATenantWithoutKeysIsNamed takes the keys of all tenants away, calls the tenant of
// single rows by a name that nobody has, and takes everything away.
func TestATenantWithoutKeysIsNamed(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	all := func(t *testing.T, path string) string {
		var text strings.Builder
		for name, tab := range tables(t, path, "") {
			if slices.Contains(tab.columns, "tenant") {
				fmt.Fprintf(&text, "DELETE FROM %s;", name)
			}
		}
		return text.String()
	}
	const stray = `INSERT INTO tasks SELECT 'nobody', instance, id, element, process, assignee, created, due FROM tasks LIMIT 1`
	for _, test := range []struct{ name, file, sql, tenant string }{
		{"the keys of all are gone", "keys.db", `DELETE FROM tenant_keys`, identity.MainTenant},
		{"a task of nobody's", "data.db", stray, "nobody"},
		{"a table of a name that must be quoted", "data.db", `CREATE TABLE "odd "" name" (tenant TEXT NOT NULL); INSERT INTO "odd "" name" VALUES ('nobody')`, "nobody"},
		{"a task of a tenant without a name", "data.db", strings.Replace(stray, "nobody", "", 1), ""},
		{"a pin of nobody's", "keys.db", `INSERT INTO pinned_leaves SELECT 'nobody', object, kind, seq, hash FROM pinned_leaves LIMIT 1`, "nobody"},
		{"all is gone", "", "", ""},
	} {
		for _, withoutKeys := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, without keys %v", test.name, withoutKeys), func(t *testing.T) {
				t.Parallel()
				dir := w.copy(t, w.config.Data)
				for _, file := range []string{"data.db", "keys.db"} {
					path, text := filepath.Join(dir, file), test.sql
					if test.file == "" {
						text = all(t, path) + `DELETE FROM anchor_` + map[string]string{"data.db": "hashes", "keys.db": "heads"}[file]
					} else if file != test.file {
						continue
					}
					db := openRaw(t, path)
					_, err := db.Exec(text)
					db.Close()
					if err != nil {
						t.Fatal(err)
					}
				}
				found, err := w.fsck(t, dir, withoutKeys)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.ContainsFunc(found, func(f engine.Finding) bool {
					return f.Kind == engine.FoundKeys && f.Where == "tenant_keys" && f.Tenant == test.tenant
				}) {
					t.Errorf("found %v, want that %q has no keys", found, test.tenant)
				}
			})
		}
	}
}

// ofObjects are the tables whose rows are an object's, with the column that names it.
var ofObjects = map[string]string{
	"heads": "object", "steps": "object", "fields": "object", "leaves": "object", "instances": "object", "tokens": "object", "unique_tokens": "object",
	"files": "object", "person_keys": "object", "tasks": "instance", "task_candidates": "instance", "jobs": "instance", "timers": "instance", "incidents": "instance",
}

// TestAnObjectSetBackIsNamed does to whole objects what no read notices.
func TestAnObjectSetBackIsNamed(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	object := w.instances[2] // has steps that its older state has not
	id := idBytes(t, object)
	change := func(t *testing.T, dir string, of func(table, column string) string) {
		db := openRaw(t, filepath.Join(dir, "data.db"))
		defer db.Close()
		if _, err := db.Exec(`ATTACH ? AS old`, filepath.Join(w.old, "data.db")); err != nil {
			t.Fatal(err)
		}
		for table, column := range ofObjects {
			for _, text := range []string{`DELETE FROM main.` + table + ` WHERE ` + column + ` = ?`, of(table, column)} {
				if text == "" {
					continue
				}
				if _, err := db.Exec(text, id); err != nil {
					t.Fatalf("%s: %v", text, err)
				}
			}
		}
	}
	tests := []struct {
		name string
		of   func(table, column string) string // SQL after the object's rows were deleted
		kind string
	}{
		{"set back", func(table, column string) string {
			return `INSERT INTO main.` + table + ` SELECT * FROM old.` + table + ` WHERE ` + column + ` = ?`
		}, engine.FoundLeaf},
		{"deleted", func(string, string) string { return "" }, engine.FoundLeaf},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, withoutKeys := range []bool{false, true} {
				dir := w.copy(t, w.config.Data)
				change(t, dir, test.of)
				found, err := w.fsck(t, dir, withoutKeys)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.ContainsFunc(found, func(f engine.Finding) bool {
					return f.Kind == test.kind && f.Object == object && f.Step > 1 && f.Index != nil && f.Where == "leaves"
				}) {
					t.Errorf("without keys: %v: found %v, want the object, its step and its place", withoutKeys, found)
				}
			}
		})
	}
}

// TestWhatIsDoneToTheTreeIsNamed changes leaves and places together, so that each
// row by itself is as it should be.
func TestWhatIsDoneToTheTreeIsNamed(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	tests := []struct{ name, kind, sql string }{
		{"a leaf with its place, and the places behind it moved up", engine.FoundTree, `
			DELETE FROM leaves WHERE (tenant, object, seq) IN (SELECT tenant, object, seq FROM log_entries WHERE idx = 3);
			DELETE FROM log_entries WHERE idx = 3;
			UPDATE log_entries SET idx = -idx WHERE idx > 3;
			UPDATE log_entries SET idx = -idx - 1 WHERE idx < 0;
			UPDATE log_shards SET size = size - 1`},
		{"two places swapped", engine.FoundTree, `
			UPDATE log_entries SET idx = 1000000 WHERE idx = 3;
			UPDATE log_entries SET idx = 3 WHERE idx = 4;
			UPDATE log_entries SET idx = 4 WHERE idx = 1000000`},
		{"the newest leaves with their places", engine.FoundBehind, `
			DELETE FROM leaves WHERE (tenant, object, seq) IN (SELECT tenant, object, seq FROM log_entries WHERE idx >= (SELECT size - 2 FROM log_shards));
			DELETE FROM log_entries WHERE idx >= (SELECT size - 2 FROM log_shards);
			DELETE FROM log_checkpoints WHERE size > (SELECT size - 2 FROM log_shards);
			UPDATE log_shards SET size = size - 2`},
		{"an empty log behind the one that is open", engine.FoundShard, `
			UPDATE log_shards SET open = 0;
			INSERT INTO log_shards SELECT tenant, number + 1, origin || '9', 1, 0, cursor FROM log_shards`},
		{"a leaf that is there twice", engine.FoundLeaf, `
			DROP INDEX log_entries_by_leaf;
			INSERT INTO log_entries (tenant, shard, idx, object, seq, hash) SELECT tenant, shard, (SELECT size FROM log_shards), object, seq, hash FROM log_entries WHERE idx = 5;
			UPDATE log_shards SET size = size + 1`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := w.copy(t, w.config.Data)
			db := openRaw(t, filepath.Join(dir, "data.db"))
			_, err := db.Exec(`PRAGMA ignore_check_constraints = ON; ` + test.sql)
			db.Close()
			if err != nil {
				t.Fatal(err)
			}
			found, err := w.fsck(t, dir, true)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(found, func(f engine.Finding) bool { return f.Kind == test.kind }) {
				t.Errorf("found %v, want one of kind %s", found, test.kind)
			}
		})
	}
}

// TestALogThatSeemsToGrowHidesNoLaterOne makes the size of a log that is closed look as if
// the log had grown amid the check, and changes an entry of the log behind it.
func TestALogThatSeemsToGrowHidesNoLaterOne(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, sql string }{
		{"its size raised", `UPDATE log_shards SET size = size + 1 WHERE open = 0`},
		{"its closing entry gone", `DELETE FROM log_entries WHERE (shard, idx) IN (SELECT number, size - 1 FROM log_shards WHERE open = 0)`},
		{"a gap in it", `DELETE FROM log_entries WHERE idx = 2 AND shard IN (SELECT number FROM log_shards WHERE open = 0)`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			clock := newClock(time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC))
			env := testenv.New(t, func(c *node.Config) { c.Now, c.CheckRate = clock.now, 0 })
			deployLoan(t, env)
			clock.set(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))
			env.Start("loan", example(t, "application.json"))
			sequenced(t, env)
			execRaw(t, env, test.sql)
			execRaw(t, env, `UPDATE log_entries SET hash = zeroblob(32) WHERE idx = 1 AND shard IN (SELECT number FROM log_shards WHERE open = 1)`)
			logs := map[string]bool{}
			for check := env.Engine.NewCheck(identity.MainTenant, engine.CheckState{}, engine.CheckOptions{}); check.State.Phase != "objects"; {
				found, err := check.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range found {
					if f.Kind == engine.FoundTree || f.Kind == engine.FoundLeaf {
						logs[f.Shard] = true
					}
				}
			}
			if len(logs) != 2 {
				t.Errorf("places are named of the logs %v, want of both", logs)
			}
		})
	}
}

// TestTheKeyThatSignedACheckpointMustHaveCountedThen signs checkpoints anew with keys of
// the platform that had been revoked by then, or were not registered yet.
func TestTheKeyThatSignedACheckpointMustHaveCountedThen(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("all.bpmn", everything)
	env.Restart(nil)
	db := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
	defer db.Close()
	execDB := func(text string, args ...any) {
		t.Helper()
		if _, err := db.Exec(text, args...); err != nil {
			t.Fatal(err)
		}
	}
	before := filepath.Join(t.TempDir(), "before.db")
	execDB(`VACUUM INTO ?`, before)
	if _, err := env.Engine.RevokeSigner(t.Context(), env.Ann, "platform", api.RevokeSignerRequest{Reason: "lost"}, ""); err != nil {
		t.Fatal(err)
	}
	env.Restart(nil)
	sequenced(t, env) // that Ann signed in
	// The next checkpoint took the place of the one before, unless that was anchored.
	db.SetMaxOpenConns(1)
	execDB(`ATTACH ? AS before`, before)
	execDB(`INSERT OR IGNORE INTO main.log_checkpoints SELECT * FROM before.log_checkpoints`)
	execDB(`DETACH before`)
	for _, test := range []struct {
		name, which string
		age         int // of the key: 0 is the newest
	}{
		{"with a key that had been revoked", "max", 1},
		{"with a key that was not registered yet", "min", 0},
	} {
		var size int
		var signed, forged []byte
		if err := db.QueryRow(`SELECT size, signed FROM log_checkpoints WHERE size = (SELECT `+test.which+`(size) FROM log_checkpoints)`).Scan(&size, &signed); err != nil {
			t.Fatal(err)
		}
		says, err := ledger.UnverifiedCheckpoint(signed)
		if err != nil {
			t.Fatal(err)
		}
		if forged, err = engine.SignAged(t.Context(), env.Engine, env.Ann, says, test.age); err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			signed []byte
			want   int
		}{{forged, 1}, {signed, 0}} {
			if _, err := db.Exec(`UPDATE log_checkpoints SET signed = ? WHERE size = ?`, step.signed, size); err != nil {
				t.Fatal(err)
			}
			var all []engine.Finding
			for c := env.Engine.NewCheck(identity.MainTenant, engine.CheckState{}, engine.CheckOptions{}); !c.Done(); {
				found, err := c.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, found...)
			}
			if len(all) != step.want || step.want > 0 && (all[0].Kind != engine.FoundCheckpoint || !strings.Contains(all[0].What, "did not count at size")) {
				t.Errorf("%s: found %v, want %d", test.name, all, step.want)
			}
		}
	}
}

// TestACheckGoesOnWhereItWas stops a check after each part and goes on with its
// state as it was stored.
func TestACheckGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("all.bpmn", everything)
	for range 40 {
		env.Start("everything", `{"note": "a"}`)
	}
	env.Restart(nil)
	var state engine.CheckState
	parts := 0
	for ; state.Phase != "done"; parts++ {
		c := env.Engine.NewCheck(identity.MainTenant, state, engine.CheckOptions{Part: 7})
		found, err := c.Next(t.Context())
		if err != nil || len(found) > 0 {
			t.Fatalf("part %d: %v, %v", parts, found, err)
		}
		text, err := json.Marshal(c.State)
		if err != nil {
			t.Fatal(err)
		}
		state = engine.CheckState{}
		if err := json.Unmarshal(text, &state); err != nil {
			t.Fatal(err)
		}
	}
	if parts < 10 || state.Rows < 80 {
		t.Errorf("%d parts, %d rows", parts, state.Rows)
	}
}

// TestWhatIsChangedBehindACheckIsNamedByTheNext stops a check, changes what it has been
// past, and goes on: it cannot name that any more, and the next whole check must.
func TestWhatIsChangedBehindACheckIsNamedByTheNext(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("checks of all data")
	}
	w := theWorld(t)
	past := func(s engine.CheckState, object string) bool {
		return s.After != "" && bytes.Compare(idBytes(t, s.After), idBytes(t, object)) >= 0
	}
	for _, test := range []struct {
		name string
		stop func(engine.CheckState) bool
		sql  string
		args []any
	}{
		{"a tile, after the logs", func(s engine.CheckState) bool { return s.Phase == "objects" },
			`UPDATE log_tiles SET hashes = zeroblob(length(hashes))`, nil},
		{"an instance, amid the objects", func(s engine.CheckState) bool { return s.Phase == "objects" && past(s, w.instances[0]) },
			`UPDATE heads SET body = zeroblob(length(body)) WHERE object = ?`, []any{idBytes(t, w.instances[0])}},
		{"a task, after the objects", func(s engine.CheckState) bool { return s.Phase == "requests" },
			`UPDATE tasks SET element = 'another'`, nil},
		{"a request's token, after the requests", func(s engine.CheckState) bool { return s.Phase == "rest" },
			`DELETE FROM unique_tokens WHERE token = (SELECT max(token) FROM unique_tokens)`, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			config := w.config
			config.Data = w.copy(t, w.config.Data)
			state := map[string]engine.CheckState{}
			check := func(from map[string]engine.CheckState, stop func(engine.CheckState) bool) (found []engine.Finding, err error) {
				err = node.Check(t.Context(), config, node.CheckConfig{State: from, Rows: 7, Part: func(tenant string, s engine.CheckState, some []engine.Finding) error {
					if state[tenant], found = s, append(found, some...); stop(s) {
						return errInterrupted
					}
					return nil
				}})
				return found, err
			}
			never := func(engine.CheckState) bool { return false }
			if found, err := check(nil, test.stop); !errors.Is(err, errInterrupted) || len(found) > 0 {
				t.Fatalf("untouched data: %v, %v, want that it is interrupted", found, err)
			}
			m := mutation{file: "data.db", sql: test.sql, args: test.args}
			if !m.apply(t, filepath.Join(config.Data, m.file)) {
				t.Fatal("the schema refuses it")
			}
			if found, err := check(state, never); err != nil || len(found) > 0 {
				t.Errorf("gone on with: %v, %v; want none of what was changed behind it", found, err)
			}
			if found, err := check(nil, never); err != nil || len(found) == 0 {
				t.Errorf("the next check: %v, %v, want what was changed", found, err)
			}
		})
	}
}

// TestAFindingNamesTheTableThatWasChanged changes rows of one instance, and of one table
// at a time.
func TestAFindingNamesTheTableThatWasChanged(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a check of all data for every change")
	}
	w := theWorld(t)
	object := w.instances[2] // runs, and has a task, jobs and a timer
	for _, test := range []struct{ where, sql string }{
		{"heads", `UPDATE heads SET body = zeroblob(length(body)) WHERE object = ?`},
		{"fields", `UPDATE fields SET value = zeroblob(length(value)) WHERE object = ?`},
		{"fields", `UPDATE fields SET value = zeroblob(length(value)) WHERE object = ? AND seq = 1`},
		{"fields", `DELETE FROM fields WHERE object = ?`},
		{"steps", `UPDATE steps SET body = CAST(replace(CAST(body AS TEXT), '"at":"2', '"at":"3') AS BLOB) WHERE object = ? AND seq = 2`},
		{"steps", `DELETE FROM steps WHERE object = ? AND seq = 2`},
		{"leaves", `UPDATE leaves SET body = CAST(replace(CAST(body AS TEXT), '"at":"2', '"at":"3') AS BLOB) WHERE object = ? AND seq = 2`},
		{"instances", `UPDATE instances SET started = started + 1 WHERE object = ?`},
		{"tasks", `UPDATE tasks SET element = 'other' WHERE instance = ?`},
		{"jobs", `UPDATE jobs SET element = 'other' WHERE instance = ?`},
		{"timers", `UPDATE timers SET element = 'other' WHERE instance = ?`},
		{"incidents", `UPDATE incidents SET element = 'other' WHERE instance = ?`},
	} {
		t.Run(test.where, func(t *testing.T) {
			dir := w.copy(t, w.config.Data)
			db := openRaw(t, filepath.Join(dir, "data.db"))
			done, err := db.Exec(test.sql, idBytes(t, object))
			if err != nil {
				t.Fatal(err)
			}
			if n, err := done.RowsAffected(); err != nil || n == 0 {
				t.Fatalf("%s changes %d rows, %v", test.sql, n, err)
			}
			db.Close()
			found, err := w.fsck(t, dir, false)
			if err != nil {
				t.Fatal(err)
			}
			var tables []string
			for _, f := range found {
				if f.Kind == engine.FoundObject && f.Object == object {
					tables = append(tables, f.Where)
				}
			}
			if !slices.Equal(tables, []string{test.where}) {
				t.Errorf("%s: found in %v: %v", test.sql, tables, found)
			}
		})
	}
}

// TestACheckpointThatIsNotPublishedYetIsNoFinding looks at a log between the moment at
// which its checkpoint is kept beside the keys and the one at which it is published.
func TestACheckpointThatIsNotPublishedYetIsNoFinding(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Restart(func() {
		execRaw(t, env, `DELETE FROM log_checkpoints`)
		execRaw(t, env, `CREATE TRIGGER no_heads BEFORE INSERT ON log_checkpoints BEGIN SELECT RAISE(ABORT, 'no heads'); END`)
	})
	check := env.Engine.NewCheck(identity.MainTenant, engine.CheckState{}, engine.CheckOptions{})
	for !check.Done() {
		if found, err := check.Next(t.Context()); err != nil || len(found) > 0 {
			t.Fatalf("the check finds %+v, %v", found, err)
		}
	}
}
