package engine_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/internal/testenv"
)

// free lists what an administrator of the database can change without being
// refused when it is read, with the reason why that is all right.
var free = map[string]string{
	"goose_db_version":         "bookkeeping of migrations; a wrong one fails at start or changes nothing",
	"sqlite_sequence":          "bookkeeping of the database",
	"log_shards":               "the tree: not read here",
	"log_entries":              "the tree: not read here",
	"log_tiles":                "the tree: not read here",
	"log_checkpoints":          "the tree: not read here",
	"log_heads":                "the tree: not read here",
	"leaves.pos":               "the order in which leaves get their places in a log",
	"leaves.mac":               "asked for when the leaf gets its place, and by the check",
	"leaves.terms":             "likewise, under the same MAC",
	"log_terms":                "finding only: what is found is compared with the leaf; the check names what is missing",
	"anchor_hashes":            "not read here; filled and changed in TestWhatIsDoneToTheAnchorLogIsNamed",
	"anchor_checkpoints":       "likewise",
	"anchor_openings":          "likewise",
	"anchor_heads":             "likewise",
	"tokens":                   "finding only: what is found is compared with the sealed data",
	"person_keys":              "only keeps keys from being swept; whoever deletes a row could delete the key",
	"credentials":              "finding only: what is found is compared with the sealed data",
	"unique_tokens":            "a repeated request becomes a request of its own, or is refused",
	"task_candidates/set back": "a candidate of a task that is closed leads nowhere",
	"data_keys.state":          "what is swept is decided by use, not by the flag",
	"tenant_keys.made":         "the next rotation comes earlier or later",
	"root_versions":            "the next rotation comes earlier or later",
	"uploads.made":             "it is collected earlier or later; a claim goes by what is sealed",
	"uploads.size":             "counts towards the tenant's limit only",
	"uploads/set back":         "its key is destroyed, so it cannot be claimed again",
	"files.size":               "counts towards the tenant's limit only",
	"files/set back":           "of an erased instance or person nothing is left that it could lead to",
	"erasures.tenant":          "as good as deleted",
	"erasures/delete":          "written again at start, from the erasure's custody",
	"data_keys/set back":       "destroyed again at start: TestAKeyPutBackIsDestroyedAgain",
	"subjects/set back":        "deleted again at start, with the key",
	"audit_offsets":            "a receiver gets entries again, or sees by their numbers that some are missing",
	"checks":                   "only says what was checked; the check names what no server wrote",
	"readers.tenant":           "as good as deleted",
	"deployment.manifest_key":  "of backups: those that were made before are refused",
	"pinned_leaves/delete":     "of a first step; it is pinned again when it is read",
	"pinned_leaves/set back":   "by one step, as a crash does; it is pinned again when it is read",
	"pinned_leaves.tenant":     "as good as deleted",
	"pinned_leaves.object":     "likewise; the check names what is pinned and not there",
	"readers/delete":           "that reader is refused",
	"sessions.tenant":          "as good as deleted",
	"sessions/delete":          "that person signs in again",
	"sessions/set back":        "of one that has ended the log says so, and by what was used since none ends later: TestNobodyIsSignedInBySQL",
}

// world is a database with something in every table, and an older state of it.
type world struct {
	config    node.Config
	key       string
	instances []string
	uploads   []string // that nobody has claimed
	erasures  []string // that are done
	readers   []string // of the log
	entries   []store.ID
	bob       string // whose API key this is
	session   string // text of Zoe's
	old       string // data directory before the last steps
}

// TestEveryChangeByTheAdministratorIsRefused changes every column of every table,
// swaps values between rows, sets rows back and deletes them, and requires that
// reading then fails.
func TestEveryChangeByTheAdministratorIsRefused(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	if err := w.readAll(t, w.copy(t, w.config.Data)); err != nil {
		t.Fatalf("untouched data: %v", err)
	}
	var all []mutation
	for _, file := range []string{"data.db", "keys.db"} {
		all = append(all, w.mutations(t, file, free)...)
	}
	w.each(t, all, 100, func(t *testing.T, m mutation, dir string) {
		if err := w.readAll(t, dir); err == nil {
			t.Errorf("nobody noticed: %s", m.sql)
		}
	})
}

// each makes every change that the schema lets through in a copy of its own. A short run
// makes 25 of them, which must be at least so many.
func (w *world) each(t *testing.T, all []mutation, least int, check func(t *testing.T, m mutation, dir string)) {
	t.Helper()
	if len(all) < least {
		t.Fatalf("%d changes, want some for every column", len(all))
	}
	if testing.Short() {
		all = sample(all, 25)
	}
	for _, m := range all {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			if dir := w.copy(t, w.config.Data); m.apply(t, filepath.Join(dir, m.file)) {
				check(t, m, dir)
			}
		})
	}
}

// sample takes n and some more of all, at equal distances.
func sample[T any](all []T, n int) (some []T) {
	for i := 0; i < len(all); i += max(1, len(all)/n) {
		some = append(some, all[i])
	}
	return some
}

// worlds is what tests share: they change copies alone. TestMain removes the directory.
var worlds struct {
	sync.Mutex
	dir   string
	world *world
}

// theWorld returns a full database on SQLite.
func theWorld(t *testing.T) *world {
	t.Helper()
	worlds.Lock()
	defer worlds.Unlock()
	if worlds.world == nil {
		var err error
		if worlds.dir, err = os.MkdirTemp("", "underseal-world-"); err != nil {
			t.Fatal(err)
		}
		worlds.world = newWorld(t, worlds.dir)
	}
	return worlds.world
}

func newWorld(t *testing.T, dir string) *world {
	t.Helper()
	env := testenv.New(t, func(c *node.Config) {
		c.Data, c.KeyFile = filepath.Join(dir, "data"), filepath.Join(dir, "root.key")
	})
	w := fill(t, env, func(w *world) { w.old = copied(t, env.Config.Data, filepath.Join(dir, "old")) })
	if w.entries = entryIDs(t, env); len(w.entries) == 0 {
		t.Fatal("the log has no leaf of no object")
	}
	return w
}

// fill fills a node's database and closes it: a finished and a running instance, with a
// task, a job that failed, a timer, an incident, sealed and clear fields. Older is called
// before the last steps, while the database is closed.
func fill(t *testing.T, env *testenv.Env, older func(*world)) *world {
	t.Helper()
	deployLoan(t, env)
	env.Deploy("all.bpmn", strings.Replace(everything, "P30D", "P20D", 1))
	env.Deploy("all.bpmn", everything)
	done := env.Start("loan", example(t, "application.json"))
	env.Work("credit-check", `{"score": 640}`)
	env.Complete(done, example(t, "decision.json"))
	loan := env.Start("loan", example(t, "application.json"))
	env.Work("credit-check", `{"score": 640}`)
	running := env.Start("everything", `{"note": "a", "other": 1}`)
	second := env.Start("everything", `{"note": "b", "other": 2}`)
	env.Deploy("c.bpmn", classified)
	sender := func(person string) string {
		return env.Start("classified", `{"shoe": `+named(put(t, env, env.Ann, content(10)).File)+`, "person": {"id": "`+person+`"}}`)
	}
	first, another, last := sender("p-1"), sender("p-1"), sender("p-2")
	nobody := env.Start("classified", `{"shoe": 44, "person": {"diagnosis": "flu"}}`)
	w := &world{config: env.Config, key: env.Key(), instances: []string{done, loan, running, second, first, another, last, nobody}}
	for range 2 {
		w.uploads = append(w.uploads, put(t, env, env.Ann, content(10)).File)
	}
	gone := env.Start("everything", `{"note": "c", "other": 3}`)
	w.instances = append(w.instances, sender("p-9"))
	w.hold(t, env)
	for _, name := range []string{"an auditor", "a mirror"} {
		r, err := env.Engine.CreateLogReader(t.Context(), env.Ann, api.LogReaderRequest{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		w.readers = append(w.readers, r.ID)
	}
	ctx := t.Context()
	register(t, env, "scorer", newKey(t))
	register(t, env, "reader", newKey(t))
	signerAt(t, env, "underseal/x/main/2026", 1) // makes the platform's, if the sequencer has not
	grant := w.employ(t, env)
	checkedWhole(t, env)
	env.Restart(func() { older(w) })
	w.takeAway(t, env, grant)
	newIndexKey(t, env)

	for _, name := range []string{"scorer", "platform"} {
		if _, err := env.Engine.RevokeSigner(ctx, env.Ann, name, api.RevokeSignerRequest{Reason: "lost"}, ""); err != nil {
			t.Fatal(err)
		}
	}
	w.erasures = []string{erase(t, env, "instance", gone).ID, erase(t, env, "subject", "p-9").ID}
	w.hold(t, env)
	if _, err := order(t, env, "subject", "p-2", time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{running, second} {
		if _, err := env.Engine.SetVariables(ctx, env.Ann, id, []byte(`{"note": "later"}`), "set-"+id); err != nil {
			t.Fatal(err)
		}
		if _, err := env.Engine.Claim(ctx, env.Ann, env.Task(id).ID, "", ""); err != nil {
			t.Fatal(err)
		}
		job, none := env.Job("fail"), 0
		if _, err := env.Engine.FailJob(ctx, env.Ann, job.ID, api.FailJobRequest{Lease: job.Lease, Message: "no", Retries: &none}, ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := env.Engine.SetVariables(ctx, env.Ann, first, []byte(`{"person": {"id": "p-2"}}`), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.RevokeLogReader(ctx, env.Ann, w.readers[0]); err != nil {
		t.Fatal(err)
	}
	env.Complete(loan, example(t, "decision.json"))
	if _, err := env.Engine.SetMode(ctx, env.Ann, "everything", "confidential", ""); err != nil {
		t.Fatal(err)
	}
	streamed(t, env, "siem", 10)
	checkedWhole(t, env)
	env.Restart(nil)
	if err := env.Node.Close(); err != nil { // so that the files are whole
		t.Fatal(err)
	}
	env.Node = nil
	return w
}

// employ makes a group, and Bob with roles, a grant and two keys.
func (w *world) employ(t *testing.T, env *testenv.Env) (grant string) {
	t.Helper()
	ctx := t.Context()
	if _, err := env.Engine.CreateGroup(ctx, env.Ann, api.GroupRequest{Name: "clerks", Roles: []string{"Viewer", "Executor"}}, ""); err != nil {
		t.Fatal(err)
	}
	w.bob = env.PersonsKey("bob", "Viewer", "Designer")
	if _, err := env.Engine.JoinGroup(ctx, env.Ann, "bob", api.MemberRequest{Group: "clerks"}, ""); err != nil {
		t.Fatal(err)
	}
	give(t, env, api.GrantRequest{Group: "clerks", Right: "view", Process: "loan"})
	give(t, env, api.GrantRequest{User: "bob", Right: "view", Process: "*"})
	if _, err := env.Engine.CreateAPIKey(ctx, env.Ann, api.APIKeyRequest{User: "bob", Scopes: []string{"task:*"}}, ""); err != nil {
		t.Fatal(err)
	}
	personWithPassword(t, env, "zoe")
	personWithPassword(t, env, "cab")
	session(t, env, "zoe", home)
	session(t, env, "cab", home)
	w.session = session(t, env, "zoe", home).Text
	return give(t, env, api.GrantRequest{User: "bob", Right: "manage", Process: "*"}).ID
}

// takeAway takes some of what Bob and his group have.
func (w *world) takeAway(t *testing.T, env *testenv.Env, grant string) {
	t.Helper()
	ctx := t.Context()
	if _, err := env.Engine.RevokeGrant(ctx, env.Ann, grant, api.ReasonRequest{Reason: "not needed"}, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.TakeUserRole(ctx, env.Ann, "bob", api.RoleRequest{Role: "Designer"}, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.TakeGroupRole(ctx, env.Ann, "clerks", api.RoleRequest{Role: "Executor"}, ""); err != nil {
		t.Fatal(err)
	}
	keys, err := env.Engine.APIKeys(ctx, env.Ann, "bob", engine.Page{})
	if err != nil || len(keys.Items) != 2 {
		t.Fatalf("Bob's keys: %+v, %v", keys, err)
	}
	if _, err := env.Engine.RevokeAPIKey(ctx, env.Ann, keys.Items[1].ID, api.ReasonRequest{}, ""); err != nil {
		t.Fatal(err)
	}
}

// readPeople reads who may sign in and what they have, and signs Bob in.
func (w *world) readPeople(ctx context.Context, e *engine.Engine, ann engine.Caller) error {
	if _, err := e.Users(ctx, ann, engine.Page{}); err != nil {
		return err
	}
	if _, err := e.Groups(ctx, ann, engine.Page{}); err != nil {
		return err
	}
	if _, err := e.Grants(ctx, ann, engine.GrantsOf{}, engine.Page{}); err != nil {
		return err
	}
	if _, err := e.APIKeys(ctx, ann, "", engine.Page{}); err != nil {
		return err
	}
	if _, err := e.Authenticate(ctx, w.bob, "192.0.2.1"); err != nil {
		return err
	}
	if _, err := e.Sessions(ctx, ann, "", engine.Page{}); err != nil {
		return err
	}
	_, err := e.Authenticate(ctx, w.session, home.Address)
	return err
}

// hold places one more hold on a person.
func (w *world) hold(t *testing.T, env *testenv.Env) {
	t.Helper()
	if _, err := env.Engine.PlaceHold(t.Context(), env.Ann, api.HoldRequest{Kind: "subject", ID: "p-1"}, ""); err != nil {
		t.Fatal(err)
	}
}

const everything = `<?xml version="1.0"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" targetNamespace="x">
<process id="everything" isExecutable="true">
<startEvent id="start"/><sequenceFlow id="f0" sourceRef="start" targetRef="split"/>
<parallelGateway id="split"/>
<sequenceFlow id="f1" sourceRef="split" targetRef="ask"/><sequenceFlow id="f2" sourceRef="split" targetRef="work"/><sequenceFlow id="f3" sourceRef="split" targetRef="wait"/><sequenceFlow id="f4" sourceRef="split" targetRef="fails"/>
<userTask id="ask"><extensionElements><zeebe:assignmentDefinition candidateGroups="clerks" candidateUsers="zoe"/><zeebe:taskSchedule dueDate="=@&quot;2031-01-01T00:00:00Z&quot;"/></extensionElements></userTask>
<serviceTask id="work"><extensionElements><zeebe:taskDefinition type="work"/></extensionElements></serviceTask>
<serviceTask id="fails"><extensionElements><zeebe:taskDefinition type="fail"/></extensionElements></serviceTask>
<intermediateCatchEvent id="wait"><timerEventDefinition><timeDuration>P30D</timeDuration></timerEventDefinition></intermediateCatchEvent>
</process></definitions>`

// copy copies a data directory of a node that is closed.
func (w *world) copy(t *testing.T, from string) string {
	t.Helper()
	return copied(t, from, filepath.Join(t.TempDir(), "data"))
}

func copied(t *testing.T, from, to string) string {
	t.Helper()
	if err := os.Mkdir(to, 0o700); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(from, "*.db*"))
	if err != nil || len(files) < 2 {
		t.Fatalf("%d database files in %s: %v", len(files), from, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(file)), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// readAll reads everything there is through every use case that reads.
func (w *world) readAll(t *testing.T, dir string) error {
	config := w.config
	config.Data, config.Create = dir, false
	n, err := node.Open(context.Background(), config)
	if err != nil {
		return err
	}
	defer n.Close()
	ann, err := n.Engine.Authenticate(t.Context(), w.key, "")
	if err != nil {
		return err
	}
	return firstError(
		func() error { return w.readProcesses(t.Context(), n.Engine, ann) },
		func() error { return w.readLists(t.Context(), n.Engine, ann) },
		func() error { return w.readInstances(t.Context(), n.Engine, ann) },
		func() error { return w.readErasures(t.Context(), n.Engine, ann) },
		func() error { return w.readEntries(t.Context(), n.Engine, ann) },
		func() error { return w.readSigners(t.Context(), n.Engine, ann) },
		func() error { return w.readPeople(t.Context(), n.Engine, ann) },
		func() error { return w.claimUploads(t.Context(), n.Engine, ann) },
	)
}

func firstError(checks ...func() error) error {
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) readProcesses(ctx context.Context, e *engine.Engine, ann engine.Caller) error {
	if _, err := e.Processes(ctx, ann, engine.Page{}); err != nil {
		return err
	}
	for _, id := range []string{"loan", "everything"} {
		for _, version := range []int{0, 1} {
			if _, err := e.Process(ctx, ann, id, version); err != nil {
				return err
			}
			if _, err := e.Model(ctx, ann, id, version); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *world) readLists(ctx context.Context, e *engine.Engine, ann engine.Caller) error {
	if _, err := e.Instances(ctx, ann, engine.InstanceFilter{}, engine.Page{}); err != nil {
		return err
	}
	tasks, err := e.Tasks(ctx, ann, engine.TaskFilter{}, engine.Page{})
	if err != nil {
		return err
	}
	for _, task := range tasks.Items {
		if _, err := e.Task(ctx, ann, task.ID); err != nil {
			return err
		}
	}
	if _, err = e.LogReaders(ctx, ann, engine.Page{}); err != nil {
		return err
	}
	_, err = e.Incidents(ctx, ann, "", engine.Page{})
	return err
}

func (w *world) readInstances(ctx context.Context, e *engine.Engine, ann engine.Caller) error {
	for _, id := range w.instances {
		if _, err := e.Instance(ctx, ann, id); err != nil {
			return err
		}
		if _, err := e.Export(ctx, ann, id); err != nil {
			return err
		}
	}
	return nil
}

// readErasures lists what is held and erased, and tries to read the latter.
func (w *world) readErasures(ctx context.Context, e *engine.Engine, ann engine.Caller) error {
	if _, err := e.Holds(ctx, ann, engine.Page{}); err != nil {
		return err
	}
	if _, err := e.Erasures(ctx, ann, engine.Page{}); err != nil {
		return err
	}
	for _, id := range w.erasures {
		check, err := e.VerifyErasure(ctx, ann, id, api.ErasureCheckRequest{})
		if err != nil {
			return err
		}
		if len(check.Findings) > 0 || check.Next != "" {
			return fmt.Errorf("verifying %s: %v", id, check.Findings)
		}
	}
	return nil
}

// readEntries opens what was in the log besides steps.
func (w *world) readEntries(ctx context.Context, e *engine.Engine, ann engine.Caller) error {
	for _, id := range w.entries {
		if _, err := engine.OpenEntry(ctx, e, ann, id); err != nil {
			return err
		}
	}
	return nil
}

// readSigners lists the signers and opens each by its name.
func (w *world) readSigners(ctx context.Context, e *engine.Engine, ann engine.Caller) error {
	if _, err := e.Signers(ctx, ann); err != nil {
		return err
	}
	for _, name := range []string{"scorer", "reader", "platform"} {
		if err := engine.OpenSigner(ctx, e, ann, name); err != nil {
			return err
		}
	}
	_, err := engine.PlatformLinks(ctx, e, ann)
	return err
}

// claimUploads gives the uploads to new instances.
func (w *world) claimUploads(ctx context.Context, e *engine.Engine, ann engine.Caller) error {
	for _, id := range w.uploads {
		start := api.StartRequest{Process: "classified", Variables: json.RawMessage(`{"a": ` + named(id) + `}`)}
		if _, err := e.Start(ctx, ann, start, ""); err != nil {
			return err
		}
	}
	return nil
}

// mutation is one change by SQL.
type mutation struct {
	name, file, sql string
	args            []any
}

// apply returns false when the schema refuses the change.
func (m mutation) apply(t *testing.T, path string) bool {
	t.Helper()
	db := openRaw(t, path)
	defer db.Close()
	result, err := db.Exec(m.sql, m.args...)
	if err != nil {
		if !strings.Contains(err.Error(), "constraint") {
			t.Fatalf("%s: %v", m.sql, err)
		}
		return false
	}
	if n, _ := result.RowsAffected(); n == 0 {
		t.Fatalf("%s changed no row", m.sql)
	}
	return true
}

// TestAPlanOfAnotherErasureIsRefused puts every erasure's plan in the place of every
// other's.
func TestAPlanOfAnotherErasureIsRefused(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	plans := w.tables(t, w.config.Data, "keys.db")["erasures"]
	sealed, tried := slices.Index(plans.columns, "sealed"), 0
	for _, row := range plans.rows {
		for _, other := range plans.rows {
			if equal(row[sealed], other[sealed]) {
				continue
			}
			m, dir := plans.set("swap", row, "sealed", other[sealed]), w.copy(t, w.config.Data)
			if m.apply(t, filepath.Join(dir, m.file)); w.readAll(t, dir) == nil {
				t.Errorf("not refused: %s", m.name)
			}
			tried++
		}
	}
	if tried == 0 {
		t.Fatal("there are no two erasures")
	}
}

// TestAHeadOfAnotherKindIsRefused calls instances definitions, and the other way round.
func TestAHeadOfAnotherKindIsRefused(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	heads := w.tables(t, w.config.Data, "data.db")["heads"]
	kind, tried := slices.Index(heads.columns, "kind"), map[any]bool{}
	for _, row := range heads.rows {
		other, ok := map[any]string{"instance": "definition", "definition": "instance"}[row[kind]]
		if !ok {
			continue
		}
		m, dir := heads.set("change", row, "kind", other), w.copy(t, w.config.Data)
		if m.apply(t, filepath.Join(dir, m.file)); w.readAll(t, dir) == nil {
			t.Errorf("not refused: %s to %s", m.name, other)
		}
		tried[row[kind]] = true
	}
	if len(tried) != 2 {
		t.Fatalf("only of %v there are heads", tried)
	}
}

func openRaw(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	return db
}

// table is a table's rows in full, ordered by its primary key.
type table struct {
	name, file string
	columns    []string
	key        []int // places of the primary key's columns
	rows       [][]any
	free       map[string]string // changes that nobody need notice
	insert     string            // begins the statement that puts a row in the place of another
	conflict   string            // ends it
}

// mutations lists all changes to a database file but those that are free.
func (w *world) mutations(t *testing.T, file string, free map[string]string) []mutation {
	var list []mutation
	old := w.tables(t, w.old, file)
	for name, now := range w.tables(t, w.config.Data, file) {
		if _, ok := free[name]; ok {
			continue
		}
		if len(now.rows) == 0 {
			t.Errorf("table %s is empty: nothing tests it", name)
		}
		now.free = free
		list = append(list, now.changes()...)
		list = append(list, now.deletions()...)
		list = append(list, now.setBacks(old[name])...)
	}
	slices.SortFunc(list, func(a, b mutation) int { return strings.Compare(a.name, b.name) })
	return list
}

// tables are those of a file of dir, which is not opened itself: files come and go beside
// one that is, while another test copies them all.
func (w *world) tables(t *testing.T, dir, file string) map[string]*table {
	t.Helper()
	return tables(t, filepath.Join(w.copy(t, dir), file), file)
}

func tables(t *testing.T, path, file string) map[string]*table {
	t.Helper()
	db := openRaw(t, path)
	defer db.Close()
	found := map[string]*table{}
	names, err := db.Query(`SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name`)
	if err != nil {
		t.Fatal(err)
	}
	for names.Next() {
		tab := &table{file: file, insert: "INSERT OR REPLACE"}
		if err := names.Scan(&tab.name); err != nil {
			t.Fatal(err)
		}
		found[tab.name] = tab
	}
	if err := names.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tab := range found {
		tab.read(t, db)
	}
	return found
}

func (tab *table) read(t *testing.T, db *sql.DB) {
	t.Helper()
	info, err := db.Query(`SELECT name, pk FROM pragma_table_info(?) ORDER BY cid`, tab.name)
	if err != nil {
		t.Fatal(err)
	}
	for info.Next() {
		var name string
		var pk int
		if err := info.Scan(&name, &pk); err != nil {
			t.Fatal(err)
		}
		if pk > 0 {
			tab.key = append(tab.key, len(tab.columns))
		}
		tab.columns = append(tab.columns, name)
	}
	info.Close()
	tab.readRows(t, db, `SELECT * FROM `+tab.name)
}

func (tab *table) readRows(t *testing.T, db *sql.DB, query string) {
	t.Helper()
	rows, err := db.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		row, refs := make([]any, len(tab.columns)), make([]any, len(tab.columns))
		for i := range row {
			refs[i] = &row[i]
		}
		if err := rows.Scan(refs...); err != nil {
			t.Fatal(err)
		}
		for i, v := range row {
			if data, ok := v.([]byte); ok && len(data) == 0 {
				row[i] = []byte{} // nil would be put back as NULL
			}
		}
		if !tab.unused(row) {
			tab.rows = append(tab.rows, row)
		}
	}
}

// unused are data keys that were made ahead, which nothing has been sealed under,
// and those of uploads, which nothing is sealed under any more.
func (tab *table) unused(row []any) bool {
	if tab.name != "data_keys" {
		return false
	}
	state := row[slices.Index(tab.columns, "state")]
	return state == "ready" || state == "destroyed"
}

// where selects a row by its primary key.
func (tab *table) where(row []any) (string, []any) {
	var terms []string
	var args []any
	for _, k := range tab.key {
		terms = append(terms, tab.columns[k]+" = ?")
		args = append(args, row[k])
	}
	return strings.Join(terms, " AND "), args
}

// shuffled are the tables whose rows stand in an order by chance, that of keyed
// hashes or of random ids. All others are ordered by what was made first.
var shuffled = []string{"tokens", "unique_tokens", "subjects", "uploads", "files", "file_keys", "blobs", "blob_chunks", "pinned_leaves"}

// changes changes each column: to another value, and to the value of another row. It
// does so in the first and the last row, and in every one where it is chance which
// these are.
func (tab *table) changes() []mutation {
	if len(tab.rows) == 0 {
		return nil
	}
	rows := [][]any{tab.rows[0], tab.rows[len(tab.rows)-1]}
	if slices.Contains(shuffled, tab.name) {
		rows = tab.rows
	}
	var list []mutation
	for c, column := range tab.columns {
		if _, ok := tab.free[tab.name+"."+column]; ok {
			continue
		}
		for n, row := range rows {
			for i, value := range others(row[c]) {
				list = append(list, tab.set(fmt.Sprintf("change %d", i), row, column, value))
			}
			if n > 0 && !equal(row[c], rows[n-1][c]) {
				list = append(list, tab.set("swap", rows[n-1], column, row[c]))
			}
		}
	}
	return list
}

func (tab *table) set(what string, row []any, column string, value any) mutation {
	where, args := tab.where(row)
	return mutation{
		name: fmt.Sprintf("%s.%s/%s/%s", tab.name, column, what, short(args)), file: tab.file,
		sql:  fmt.Sprintf(`UPDATE %s SET %s = ? WHERE %s`, tab.name, column, where),
		args: append([]any{value}, args...),
	}
}

// others returns values to put in a value's place.
func others(v any) []any {
	switch v := v.(type) {
	case nil:
		return []any{int64(1)}
	case int64:
		return []any{v + 1, 1 - v}
	case bool:
		return []any{!v}
	case []byte:
		changed := bytes.Clone(v)
		if len(changed) == 0 {
			return []any{[]byte{1}}
		}
		changed[len(changed)/2] ^= 1
		return []any{changed}
	case string:
		for _, pair := range [][2]string{{"group", "user"}, {"instance", "definition"}, {"active", "failed"}, {"standard", "confidential"}, {"ready", "claimed"}} {
			if v == pair[0] {
				return []any{pair[1]}
			}
			if v == pair[1] {
				return []any{pair[0]}
			}
		}
		return []any{v + "x"}
	}
	panic(fmt.Sprintf("value of type %T", v))
}

// short names a row.
func short(values []any) string {
	var parts []string
	for _, v := range values {
		if data, ok := v.([]byte); ok {
			v = fmt.Sprintf("%x", data[max(0, len(data)-4):])
		}
		parts = append(parts, fmt.Sprint(v))
	}
	return strings.Join(parts[:min(len(parts), 4)], ",")
}

func equal(a, b any) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// deletions deletes rows, of a table with many of the same kind some.
func (tab *table) deletions() []mutation {
	if _, ok := tab.free[tab.name+"/delete"]; ok {
		return nil
	}
	rows := tab.rows
	if !slices.Contains(shuffled, tab.name) {
		rows = sample(rows, 20)
	}
	var list []mutation
	for _, row := range rows {
		where, args := tab.where(row)
		list = append(list, mutation{
			name: fmt.Sprintf("%s/delete/%s", tab.name, short(args)), file: tab.file,
			sql: fmt.Sprintf(`DELETE FROM %s WHERE %s`, tab.name, where), args: args,
		})
	}
	return list
}

// insertions are copies of rows, each with another value in one column of the primary key.
func (tab *table) insertions() []mutation {
	if len(tab.rows) == 0 {
		return nil
	}
	rows := [][]any{tab.rows[0], tab.rows[len(tab.rows)-1]}
	if slices.Contains(shuffled, tab.name) {
		rows = tab.rows
	}
	var list []mutation
	for _, k := range tab.key {
		if _, ok := tab.free[tab.name+"."+tab.columns[k]+"/insert"]; ok {
			continue
		}
		for _, row := range rows {
			for i, value := range others(row[k]) {
				added := slices.Clone(row)
				added[k] = value
				_, args := tab.where(added)
				list = append(list, mutation{
					name: fmt.Sprintf("%s.%s/insert %d/%s", tab.name, tab.columns[k], i, short(args)), file: tab.file,
					sql:  fmt.Sprintf(`INSERT INTO %s (%s) VALUES (%s)`, tab.name, strings.Join(tab.columns, ", "), strings.TrimSuffix(strings.Repeat("?, ", len(row)), ", ")),
					args: added,
				})
			}
		}
	}
	return list
}

// setBacks puts older states of rows back, also rows that are gone by now.
func (tab *table) setBacks(old *table) []mutation {
	if _, ok := tab.free[tab.name+"/set back"]; ok {
		return nil
	}
	return tab.puttingBack(old)
}

func (tab *table) puttingBack(old *table) []mutation {
	var list []mutation
	for _, row := range old.rows {
		if slices.ContainsFunc(tab.rows, func(now []any) bool { return equal(now, row) }) {
			continue
		}
		places := strings.TrimSuffix(strings.Repeat("?, ", len(row)), ", ")
		list = append(list, mutation{
			name: fmt.Sprintf("%s/set back/%s", tab.name, short(row)), file: tab.file,
			sql:  fmt.Sprintf(`%s INTO %s (%s) VALUES (%s) %s`, tab.insert, tab.name, strings.Join(tab.columns, ", "), places, tab.conflict),
			args: row,
		})
	}
	return list
}
