package engine_test

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/pgtest"
	"github.com/underseal/underseal/internal/testenv"
)

// rowPiece is the length of every row of a blob but the last, in bytes.
const rowPiece = 256 << 10

// keptFile is a file of an instance.
type keptFile struct {
	instance, file string
	data           []byte
}

// blobWorld is a node that runs on Postgres with its files in rows.
type blobWorld struct {
	*postgresWorld
	env    *testenv.Env
	files  []keptFile
	erased keptFile
}

// blobTables are the tables of files in rows, an object's before its parts.
var blobTables = []string{"blobs", "blob_chunks"}

// newBlobWorld has two files of three rows with the same content, so that nothing but
// their keys tells them apart, one of a single row, and one that was erased.
func newBlobWorld(t *testing.T) *blobWorld {
	t.Helper()
	dsn := pgtest.Database(t)
	w := &blobWorld{postgresWorld: administered(t, dsn)}
	w.env = testenv.New(t, func(c *node.Config) { c.DSN, c.OpenBlobs, c.Blobs = dsn, nil, node.BlobsInRows })
	w.env.Deploy("c.bpmn", classified)
	long := content(2*rowPiece + 1000)
	for _, data := range [][]byte{long, long, content(10)} {
		w.files = append(w.files, w.start(t, data))
	}
	w.erased = w.start(t, content(10))
	old := map[string]*table{}
	for _, name := range blobTables {
		old[name] = w.table(t, "data.db", name)
	}
	w.old["data.db"] = old
	erase(t, w.env, "instance", w.erased.instance)
	w.save(t)
	return w
}

// start starts an instance with a file.
func (w *blobWorld) start(t *testing.T, data []byte) keptFile {
	t.Helper()
	file := put(t, w.env, w.env.Ann, data).File
	return keptFile{w.env.Start("classified", `{"a": `+named(file)+`}`), file, data}
}

// readFiles downloads every file and returns the first refusal. Nothing wrong may be
// read, and before a refusal nothing but a beginning.
func (w *blobWorld) readFiles(t *testing.T) (refused error) {
	t.Helper()
	for _, f := range w.files {
		got, err := w.download(t, f)
		if err == nil && !bytes.Equal(got, f.data) || !bytes.HasPrefix(f.data, got) {
			t.Errorf("%d wrong bytes of file %s were read", len(got), f.file)
		}
		if refused == nil {
			refused = err
		}
	}
	return refused
}

// download reads a whole file. A file that the database names is never unknown; of one
// that is open, a piece may have been deleted since.
func (w *blobWorld) download(t *testing.T, f keptFile) ([]byte, error) {
	t.Helper()
	d, err := w.env.Engine.File(t.Context(), w.env.Ann, f.instance, f.file)
	if err != nil {
		if !fault.Is(err, fault.Integrity) || fault.CodeOf(err) != "tampered" {
			t.Errorf("opening file %s: %v, want Integrity, tampered", f.file, err)
		}
		return nil, err
	}
	defer d.Close()
	got, err := io.ReadAll(d)
	if err != nil && !fault.Is(err, fault.Integrity) && !fault.Is(err, fault.NotFound) {
		t.Errorf("reading file %s: %v, want Integrity", f.file, err)
	}
	return got, err
}

// changesOfRows are those that are made of every table, and what takes more than a row.
func (w *blobWorld) changesOfRows(t *testing.T) []mutation {
	t.Helper()
	var list []mutation
	for _, name := range blobTables {
		now := w.table(t, "data.db", name)
		list = append(list, now.changes()...)
		list = append(list, now.deletions()...)
	}
	for name, text := range map[string]string{
		"files exchanged": `UPDATE blob_chunks x SET data = y.data FROM blob_chunks y, blobs b, blobs c
			WHERE x.id = b.id AND y.id = c.id AND x.n = y.n AND b.size = c.size AND b.id <> c.id`,
		"rows exchanged": `UPDATE blob_chunks x SET data = y.data FROM blob_chunks y
			WHERE x.id = y.id AND x.n IN (0, 1) AND y.n = 1 - x.n AND length(x.data) = length(y.data)`,
		"a row cut off": fmt.Sprintf(`WITH cut AS (DELETE FROM blob_chunks WHERE n = 2 RETURNING id)
			UPDATE blobs SET size = %d WHERE id IN (SELECT id FROM cut)`, 2*rowPiece),
		"a byte cut off": `WITH cut AS (UPDATE blob_chunks SET data = substr(data, 1, length(data) - 1) WHERE n = 2 RETURNING id)
			UPDATE blobs SET size = size - 1 WHERE id IN (SELECT id FROM cut)`,
		"a byte added": `WITH longer AS (UPDATE blob_chunks SET data = data || 'x' WHERE n = 2 RETURNING id)
			UPDATE blobs SET size = size + 1 WHERE id IN (SELECT id FROM longer)`,
		"set back to being written": `UPDATE blobs SET size = NULL`,
		"emptied":                   `WITH gone AS (DELETE FROM blob_chunks RETURNING id) UPDATE blobs SET size = 0 WHERE id IN (SELECT id FROM gone)`,
	} {
		list = append(list, mutation{name: name, file: "data.db", sql: text})
	}
	slices.SortFunc(list, func(a, b mutation) int { return strings.Compare(a.name, b.name) })
	return list
}

// TestFilesInChangedRowsAreRefused changes every column of the tables that only Postgres
// has, exchanges, cuts and deletes rows.
func TestFilesInChangedRowsAreRefused(t *testing.T) {
	t.Parallel()
	w := newBlobWorld(t)
	if err := w.readFiles(t); err != nil {
		t.Fatalf("untouched files: %v", err)
	}
	all, applied := w.changesOfRows(t), 0
	for _, m := range all {
		if !w.apply(t, m) {
			continue
		}
		if applied++; w.readFiles(t) == nil {
			t.Errorf("nobody noticed %s: %s", m.name, m.sql)
		}
		if w.checkFiles(t) == 0 {
			t.Errorf("the check noticed nothing of %s: %s", m.name, m.sql)
		}
		w.putBack(t, m.file, blobTables...)
	}
	if t.Logf("%d changes, of which the schema took %d", len(all), applied); applied < 50 {
		t.Errorf("the schema took %d of %d changes: too few were tried", applied, len(all))
	}
	if err := w.readFiles(t); err != nil {
		t.Errorf("files as they were: %v", err)
	}
	if n := w.checkFiles(t); n > 0 {
		t.Errorf("the check finds %d things in files as they were", n)
	}
	w.erasedStaysErased(t)
}

// checkFiles returns how much a check of the files finds, beginning with them.
func (w *blobWorld) checkFiles(t *testing.T) (findings int) {
	t.Helper()
	c := w.env.Engine.NewCheck(identity.MainTenant, engine.CheckState{Phase: "files"}, engine.CheckOptions{Files: engine.FilesWhole})
	for !c.Done() {
		found, err := c.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		findings += len(found)
	}
	return findings
}

// erasedStaysErased puts the rows of an erased file back.
func (w *blobWorld) erasedStaysErased(t *testing.T) {
	t.Helper()
	for _, name := range blobTables {
		back := w.table(t, "data.db", name).setBacks(w.old["data.db"][name])
		if len(back) != 1 {
			t.Fatalf("%d rows of %s were erased, want 1", len(back), name)
		}
		w.apply(t, back[0])
	}
	if got, err := get(t, w.env, w.erased.instance, w.erased.file); err == nil {
		t.Errorf("%d bytes of an erased file were read", len(got))
	}
}

// TestEveryTableOfPostgresIsChanged asks the catalog for all tables: each is one of
// SQLite's as well, or it is named here.
func TestEveryTableOfPostgresIsChanged(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	testenv.New(t, func(c *node.Config) { c.DSN = dsn })
	w, both := theWorld(t), map[string]bool{}
	for file, schema := range schemas {
		for name := range w.tables(t, w.config.Data, file) {
			both[schema+"."+name] = true
		}
	}
	var only []string
	for _, name := range column(t, administered(t, dsn).admin["data.db"], `
		SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`) {
		if !both[name] {
			only = append(only, name)
		}
	}
	slices.Sort(only)
	var want []string
	for name := range unnamedOnPostgres {
		want = append(want, schemas["data.db"]+"."+name)
	}
	slices.Sort(want)
	if !slices.Equal(only, want) {
		t.Errorf("tables that only Postgres has are %v, want %v", only, want)
	}
}
