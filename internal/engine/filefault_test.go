package engine_test

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

// failing are the writes of an upload, a claim and a collection. Each is made to
// fail: by a trigger in a database file, or by the store of blobs.
var failing = []struct {
	name    string
	file    string // "": the store of blobs
	trigger string // or the point at which that fails
	claimed bool   // the instance has the file nevertheless
}{
	{"the upload's row", "data.db", "INSERT ON uploads", false},
	{"the blob's beginning", "", "create", false},
	{"a segment", "", "write", false},
	{"the blob's commit", "", "commit", false},
	{"the end of the upload", "data.db", "UPDATE ON uploads WHEN NEW.state = 'ready'", false},
	{"the claim", "data.db", "UPDATE ON uploads WHEN NEW.state = 'claimed'", false},
	{"the file's row", "data.db", "INSERT ON files", false},
	{"the person's row", "data.db", "INSERT ON file_keys", false},
	{"the destruction of the key", "keys.db", "UPDATE ON data_keys WHEN NEW.state = 'destroyed'", true},
	{"the end of the claim", "data.db", "DELETE ON uploads WHEN OLD.state = 'claimed'", true},
	{"the first write of a collection", "data.db", "UPDATE ON uploads WHEN NEW.state = 'dropped'", true},
	{"a blob's deletion", "", "delete", true},
	{"the last write of a collection", "data.db", "DELETE ON uploads WHEN OLD.state = 'dropped'", true},
}

// TestWhateverWriteFailsIsMadeUpFor fails each write in turn, and then lets a
// collection run: what an instance has is whole, and of the rest nothing is left.
func TestWhateverWriteFailsIsMadeUpFor(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a failure of every write")
	}
	for _, f := range failing {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			clock := newClock(time.Now())
			env := testenv.New(t, func(c *node.Config) { c.Now = clock.now })
			env.Deploy("c.bpmn", classified)
			repair := breaks(t, env, f.file, f.trigger)
			data := content(100_000)
			id, err := useFiles(t, env, data, clock.pass)
			repair()
			if err == nil || (id != "") != f.claimed {
				t.Errorf("%v, and the instance was started: %v, want a failure and %v", err, id != "", f.claimed)
			}
			clock.pass(25 * time.Hour)
			collect(t, env)
			kept := 0
			if id != "" {
				kept = 1
				if got, err := get(t, env, id, env.Instance(id).Files[0].File); err != nil || !bytes.Equal(got, data) {
					t.Errorf("its file: %d bytes, %v", len(got), err)
				}
			}
			leavesFiles(t, env, kept)
		})
	}
}

// useFiles uploads a file, claims it, uploads another and has it collected, until
// something fails.
func useFiles(t *testing.T, env *testenv.Env, data []byte, pass func(time.Duration)) (instance string, err error) {
	t.Helper()
	upload := func() (string, error) {
		u, err := env.Engine.PutFile(t.Context(), env.Ann, engine.Incoming{Name: "n", Body: bytes.NewReader(data)})
		return u.File, err
	}
	file, err := upload()
	if err != nil {
		return "", err
	}
	if instance, err = startWith(t, env, env.Ann, `{"shoe": `+named(file)+`, "person": {"id": "p-1"}}`); err != nil {
		return "", err
	}
	if _, err := upload(); err != nil {
		return instance, err
	}
	pass(25 * time.Hour)
	_, err = env.Engine.CollectFiles(t.Context(), env.Ann.Scope.Tenant())
	return instance, err
}

// breaks makes a write fail until the function that it returns is called.
func breaks(t *testing.T, env *testenv.Env, file, trigger string) (repair func()) {
	t.Helper()
	if file == "" {
		env.Blobs.Fault = func(point string) error {
			if point != trigger {
				return nil
			}
			return fault.New(fault.Unavailable, "no space left")
		}
		return func() { env.Blobs.Fault = nil }
	}
	execute := func(text string) {
		env.Restart(func() {
			db := openRaw(t, filepath.Join(env.Config.Data, file))
			defer db.Close()
			if _, err := db.Exec(text); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
		})
	}
	execute(`CREATE TRIGGER no BEFORE ` + trigger + ` BEGIN SELECT RAISE(ABORT, 'no'); END`)
	return func() { execute(`DROP TRIGGER no`) }
}

// leavesFiles checks what uploads left behind: as many blobs and rows as there are
// files, and no upload, in the store of blobs either.
func leavesFiles(t *testing.T, env *testenv.Env, files int) {
	t.Helper()
	blobs, err := env.Blobs.List(t.Context(), env.Ann.Scope.Tenant(), [16]byte{}, 100)
	if err != nil || len(blobs) != files {
		t.Errorf("%d blobs are left, %v, want %d", len(blobs), err, files)
	}
	if n := env.Blobs.Unfinished(); n != 0 {
		t.Errorf("%d blobs were begun and never ended", n)
	}
	env.Restart(func() {
		if n := count(t, env, "data.db", `SELECT count(*) FROM files`); n != files {
			t.Errorf("%d rows of files, want %d", n, files)
		}
		if n := count(t, env, "data.db", `SELECT count(*) FROM uploads`); n != 0 {
			t.Errorf("%d uploads are left", n)
		}
	})
}

// TestACollectionDestroysNoKeyThatIsNotAnUploads lets an administrator of the
// database name other keys in rows of uploads, and files that an instance has.
func TestACollectionDestroysNoKeyThatIsNotAnUploads(t *testing.T) {
	t.Parallel()
	clock := newClock(time.Now())
	env := testenv.New(t, func(c *node.Config) { c.Now = clock.now })
	env.Deploy("c.bpmn", classified)
	data := content(1000)
	id, err := startWith(t, env, env.Ann, `{"shoe": `+named(put(t, env, env.Ann, data).File)+`, "person": {"id": "p-1"}}`)
	if err != nil {
		t.Fatal(err)
	}
	put(t, env, env.Ann, data) // is collected nevertheless
	tenant, file := env.Ann.Scope.Tenant(), blobID(t, env.Instance(id).Files[0].File)
	forged := 0
	env.Restart(func() {
		keys := openRaw(t, filepath.Join(env.Config.Data, "keys.db"))
		defer keys.Close()
		db := openRaw(t, filepath.Join(env.Config.Data, "data.db"))
		defer db.Close()
		var own []byte
		if err := db.QueryRow(`SELECT data_key FROM uploads`).Scan(&own); err != nil {
			t.Fatal(err)
		}
		rows, err := keys.Query(`SELECT id FROM data_keys WHERE tenant = ? AND state <> 'destroyed' AND id <> ?`, tenant, own)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for ; rows.Next(); forged++ {
			var key []byte
			if err := rows.Scan(&key); err != nil {
				t.Fatal(err)
			}
			state := []string{"open", "ready", "claimed", "dropped"}[forged%4]
			if _, err := db.Exec(`INSERT INTO uploads SELECT tenant, ?, ?, ?, 1, 1, sealed FROM uploads LIMIT 1`, content(16), key, state); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := db.Exec(`INSERT INTO uploads SELECT tenant, ?, zeroblob(16), 'open', 1, 1, sealed FROM uploads LIMIT 1`, file[:]); err != nil {
			t.Fatal(err)
		}
	})
	if forged < 4 {
		t.Fatalf("%d keys, want all of the tenant's", forged)
	}
	clock.pass(25 * time.Hour)
	if cleared, err := env.Engine.CollectFiles(t.Context(), tenant); !fault.Is(err, fault.Integrity) || cleared != 1 {
		t.Errorf("%d are cleared away, %v, want the one that was sent, and the others told of", cleared, err)
	}
	if got, err := get(t, env, id, env.Instance(id).Files[0].File); err != nil || !bytes.Equal(got, data) {
		t.Errorf("its file: %d bytes, %v", len(got), err)
	}
	env.Restart(func() {
		if n := count(t, env, "keys.db", `SELECT count(*) FROM data_keys WHERE state = 'destroyed'`); n != 2 {
			t.Errorf("%d keys are destroyed, want those of both uploads", n)
		}
	})
	env.Start("classified", somebody)
}
