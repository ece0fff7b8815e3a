package canary_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

const aboutPersons = `<?xml version="1.0"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:seal="urn:underseal:bpmn:1" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" targetNamespace="x">
<process id="about" isExecutable="true"><extensionElements><seal:policy default="internal">
<seal:field path="person.id" class="internal" search="exact"/>
<seal:field path="person.note" class="regulated" subject="person.id"/>
<seal:field path="person.scan" class="internal" subject="person.id"/>
</seal:policy></extensionElements>
<startEvent id="start"/><sequenceFlow id="a" sourceRef="start" targetRef="derive"/>
<scriptTask id="derive"><extensionElements><zeebe:script expression="=&quot;derived &quot; + person.note" resultVariable="derived"/></extensionElements></scriptTask>
<sequenceFlow id="b" sourceRef="derive" targetRef="ask"/><userTask id="ask"/>
</process></definitions>`

func TestNothingOfAnErasedPersonComesBack(t *testing.T) { erasedForGood(t, "") }

func TestNothingOfAnErasedPersonComesBackOnPostgres(t *testing.T) {
	erasedForGood(t, pgtest.Database(t))
}

// erasedForGood makes a backup, erases a person, ends the epoch, loses the data and
// puts the backup back, with the newest keys and with its own.
func erasedForGood(t *testing.T, dsn string) {
	s := start(t, drillSettings(t, dsn)...)
	_, err := s.client.Deploy(t.Context(), api.File{Name: "about.bpmn", Content: []byte(aboutPersons)})
	ok(t, err)
	d := &drill{server: s, dsn: dsn}
	d.gone, d.whole, d.stays = d.about(t, "gone"), d.about(t, "gone"), d.about(t, "stays")
	d.policy = s.cli(t, 0, "log", "policy")
	d.proven(t, "before.zip")
	s.cli(t, 0, "backup", s.path("backup"))
	d.erase(t)
	s.stop(t)
	d.lose(t)

	s.cli(t, 0, "restore", "--data-backup", s.path("backup", "data"))
	says(t, s.cli(t, 0, "fsck"), ", 0 findings")
	s.again(t)
	d.isErased(t)
	d.isThere(t)
	d.proven(t, "after.zip")
	s.cli(t, 0, "verify", s.path("before.zip"), "--policy", s.path("policy"), "--require-policy")
	s.stop(t)
	says(t, s.cli(t, 0, "fsck"), ", 0 findings")
	searched := 0
	for _, place := range []string{"gone-id", "gone-note", "gone-file"} {
		searched += s.search(t, mark(place), filesOf(t, dsn))
	}
	if searched < 3*10 {
		t.Errorf("%d files searched, want those of data, keys, backup, log and exports each time", searched)
	}

	d.lose(t)
	d.loseKeys(t)
	out := s.cli(t, 15, "restore", "--data-backup", s.path("backup", "data"), "--keys-backup", s.path("backup", "keys"))
	says(t, out, "destroyed")
}

// drillSettings has an epoch that is over at once, and the database.
func drillSettings(t *testing.T, dsn string) []string {
	return append(on(t, dsn), "UNDERSEAL_ERASURE_EPOCH=1s")
}

// drill is a server with three instances about two persons, each with a file.
type drill struct {
	*server
	dsn                string // of Postgres; empty: SQLite
	gone, whole, stays about
	person, instance   api.Erasure
	policy             string // what verifiers are given, of before the erasure
}

// about is an instance about a person.
type about struct{ instance, file, leaf string }

// about starts an instance whose values have marks of the person's.
func (d *drill) about(t *testing.T, person string) about {
	t.Helper()
	file, err := d.client.PutFile(t.Context(), mark(person+"-file")+".txt", "text/plain", strings.NewReader(strings.Repeat(mark(person+"-file")+"\n", 10_000)))
	ok(t, err)
	started, err := d.client.Start(t.Context(), api.StartRequest{Process: "about", Variables: client.Variables(map[string]any{
		"person": map[string]any{"id": mark(person + "-id"), "note": mark(person + "-note"), "scan": client.FileValue(file)},
	})})
	ok(t, err)
	a := about{started.Instance, file.File, started.Leaf}
	export := d.export(t, a)
	for _, what := range []string{"-id", "-note", "-file"} {
		says(t, export, mark(person+what))
	}
	return a
}

func (d *drill) export(t *testing.T, a about) string {
	t.Helper()
	export, err := d.client.Export(t.Context(), a.instance)
	ok(t, err)
	text, err := json.Marshal(export)
	ok(t, err)
	return string(text)
}

// proven exports evidence of the first step about the person, without a value, and
// has it verified by the policy of before.
func (d *drill) proven(t *testing.T, name string) {
	t.Helper()
	ok(t, os.WriteFile(d.path("policy"), []byte(d.policy), 0o600))
	d.cli(t, 0, "evidence", d.gone.instance, "--step", "1", "--out", d.path(name))
	says(t, d.cli(t, 0, "verify", d.path(name), "--policy", d.path("policy"), "--require-policy"), "result: proven")
}

// erase erases the person, and one of the instances as a whole, and waits until the
// epoch has ended.
func (d *drill) erase(t *testing.T) {
	t.Helper()
	now := 0
	var err error
	d.person, err = d.client.OrderErasure(t.Context(), api.ErasureRequest{Kind: "subject", ID: mark("gone-id"), DelayMS: &now})
	ok(t, err)
	d.instance, err = d.client.OrderErasure(t.Context(), api.ErasureRequest{Kind: "instance", ID: d.whole.instance, DelayMS: &now})
	ok(t, err)
	for _, e := range []api.Erasure{d.person, d.instance} {
		if e.State != "done" {
			t.Fatalf("the erasure of the %s is %s", e.Kind, e.State)
		}
		d.awaitEpoch(t, e.ID)
	}
}

func (d *drill) awaitEpoch(t *testing.T, erasure string) {
	t.Helper()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for {
		receipt, err := d.client.ErasureReceipt(t.Context(), erasure)
		ok(t, err)
		if receipt.EpochEnded != nil {
			if receipt.Note != "" {
				t.Errorf("the receipt notes %q", receipt.Note)
			}
			return
		}
		select {
		case <-look.C:
		case <-t.Context().Done():
			t.Fatal(context.Cause(t.Context()))
		}
	}
}

// lose takes the data away, and leaves the keys.
func (d *drill) lose(t *testing.T) {
	t.Helper()
	if d.dsn != "" {
		d.drop(t, "underseal")
		return
	}
	d.remove(t, "data.db*", "blobs")
}

// loseKeys takes the keys away.
func (d *drill) loseKeys(t *testing.T) {
	t.Helper()
	if d.dsn != "" {
		d.drop(t, "underseal_keys")
		return
	}
	d.remove(t, "keys.db*")
}

func (d *drill) drop(t *testing.T, schema string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), d.dsn)
	ok(t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(t.Context(), `DROP SCHEMA `+schema+` CASCADE`)
	ok(t, err)
}

func (d *drill) remove(t *testing.T, patterns ...string) {
	t.Helper()
	for _, pattern := range patterns {
		found, err := filepath.Glob(d.path("data", pattern))
		ok(t, err)
		if len(found) == 0 {
			t.Fatalf("there is no %s", pattern)
		}
		for _, path := range found {
			ok(t, os.RemoveAll(path))
		}
	}
}

// isErased reads what was erased in every way.
func (d *drill) isErased(t *testing.T) {
	t.Helper()
	instance, err := d.client.Instance(t.Context(), d.gone.instance)
	ok(t, err)
	if len(instance.Erased) == 0 {
		t.Errorf("nothing of the instance is erased: %s", instance.Variables)
	}
	steps, err := d.client.Steps(t.Context(), d.gone.instance, api.Page{})
	ok(t, err)
	if steps.Items[0].Leaf != d.gone.leaf {
		t.Errorf("the first step has the leaf %s, and had %s", steps.Items[0].Leaf, d.gone.leaf)
	}
	ok(t, os.WriteFile(d.path("export.json"), []byte(d.export(t, d.gone)), 0o600))
	_, err = d.client.Instance(t.Context(), d.whole.instance)
	isSealed(t, "the erased instance", err)
	_, err = d.client.Export(t.Context(), d.whole.instance)
	isSealed(t, "its export", err)
	for _, a := range []about{d.gone, d.whole} {
		_, err := d.client.GetFile(t.Context(), a.instance, a.file)
		isSealed(t, "a file of the person", err)
	}
	for _, e := range []api.Erasure{d.person, d.instance} {
		says(t, d.cli(t, 0, "erase", "verify", e.ID), " erased, 0 can be read")
	}
}

func isSealed(t *testing.T, what string, err error) {
	t.Helper()
	if !client.IsSealed(err) {
		t.Errorf("%s reads as %v, want 410, sealed", what, err)
	}
}

// isThere reads what nobody erased.
func (d *drill) isThere(t *testing.T) {
	t.Helper()
	export := d.export(t, d.stays)
	for _, what := range []string{"stays-id", "stays-note", "stays-file"} {
		says(t, export, mark(what))
	}
	f, err := d.client.GetFile(t.Context(), d.stays.instance, d.stays.file)
	ok(t, err)
	var content bytes.Buffer
	_, err = content.ReadFrom(f)
	ok(t, errors.Join(err, f.Close()))
	says(t, content.String(), mark("stays-file"))
}

// filesOf are the files of a Postgres server, as far as they can be read: rows, those
// that are no longer seen, and the write-ahead log. An empty dsn has none.
func filesOf(t *testing.T, dsn string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	if dsn == "" {
		return files
	}
	conn, err := pgx.Connect(t.Context(), dsn)
	ok(t, err)
	defer conn.Close(context.Background())
	var dir string
	ok(t, conn.QueryRow(t.Context(), `SHOW data_directory`).Scan(&dir))
	_, err = conn.Exec(t.Context(), `CHECKPOINT`)
	ok(t, err)
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && !entry.Type().IsRegular() {
			return nil
		}
		if err == nil {
			files[path], err = os.ReadFile(path)
		}
		if errors.Is(err, fs.ErrNotExist) { // gone meanwhile
			return nil
		}
		return err
	})
	if err != nil {
		t.Logf("the server's files cannot be read: %v", err)
	}
	if log, err := os.ReadFile(filepath.Join(filepath.Dir(dir), "log")); err == nil { // of a server of pgtest
		files["log"] = log
	}
	maps.DeleteFunc(files, func(_ string, data []byte) bool { return data == nil })
	return files
}

func (s *server) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// cli runs a command of the binary, which must end with an exit code, and returns
// what it says, on both streams.
func (s *server) cli(t *testing.T, code int, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), s.binary, args...)
	command.Env = append(s.environ(), "UNDERSEAL_DATA="+s.path("data"), "UNDERSEAL_ROOT_KEY_FILE="+s.path("root.key"),
		"UNDERSEAL_API_KEY_FILE="+s.keyPath, "UNDERSEAL_SERVER="+s.url)
	out, err := command.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if got := command.ProcessState.ExitCode(); got != code {
		t.Fatalf("underseal %s: exit code %d, want %d\n%s", strings.Join(args, " "), got, code, out)
	}
	log, err := os.OpenFile(s.path("commands.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ok(t, err)
	_, err = fmt.Fprintf(log, "%s\n%s", args, out)
	ok(t, errors.Join(err, log.Close()))
	return string(out)
}

func says(t *testing.T, text, want string) {
	t.Helper()
	if !strings.Contains(text, want) {
		t.Errorf("%q does not say %q", text[:min(len(text), 400)], want)
	}
}
