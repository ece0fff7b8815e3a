package backup_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/backup"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

const model = `<?xml version="1.0"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:seal="urn:underseal:bpmn:1" targetNamespace="x">
<process id="p" isExecutable="true" seal:mode="confidential">
<startEvent id="start"/><sequenceFlow id="a" sourceRef="start" targetRef="ask"/><userTask id="ask"/>
</process></definitions>`

// copied runs a node, copies it while it works, and returns where the copy is.
func copied(t *testing.T) (env *testenv.Env, dir string, instances []string) {
	t.Helper()
	env = testenv.New(t, func(c *node.Config) { c.OpenBlobs = nil })
	env.Deploy("p.bpmn", model)
	for range 20 {
		instances = append(instances, env.Start("p", `{"a": "b"}`))
	}
	blobs, err := filepath.Glob(filepath.Join(env.Config.Data, "blobs", "*"))
	if err != nil || len(blobs) != 1 {
		t.Fatalf("%d folders of blobs: %v", len(blobs), err)
	}
	write(t, filepath.Join(blobs[0], "tenant", "ab", "abcdef"), "sealed")
	write(t, filepath.Join(blobs[0], "new", "unfinished"), "sea")

	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- keepStarting(ctx, env) }()
	dir = filepath.Join(t.TempDir(), "b")
	_, _, err = backup.Make(t.Context(), source(env), dir)
	stop()
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	return env, dir, instances
}

func keepStarting(ctx context.Context, env *testenv.Env) error {
	for ctx.Err() == nil {
		start := api.StartRequest{Process: "p", Variables: []byte(`{"a": "later"}`)}
		if _, err := env.Engine.Start(context.WithoutCancel(ctx), env.Ann, start, ""); err != nil {
			return err
		}
	}
	return nil
}

func source(env *testenv.Env) backup.Source {
	return backup.Source{Data: env.Config.Data, Files: backup.FilesBelow, Now: time.Now}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestABackupOfARunningServerIsRestored(t *testing.T) {
	env, dir, _ := copied(t)
	data, err := backup.Read(t.Context(), filepath.Join(dir, "data"), backup.Data)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range data.Content {
		names = append(names, filepath.Base(f.Path))
	}
	if got := strings.Join(names, " "); got != "abcdef data.db" {
		t.Errorf("copied: %s", got)
	}
	to := backup.Target{Data: filepath.Join(t.TempDir(), "data")}
	if _, err := backup.Restore(t.Context(), to, filepath.Join(dir, "data"), filepath.Join(dir, "keys")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"data.db", "keys.db", filepath.Join("blobs", data.Deployment, "tenant", "ab", "abcdef")} {
		info, err := os.Stat(filepath.Join(to.Data, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, mode %v", name, err, info)
		}
	}
	if _, err := backup.Restore(t.Context(), to, filepath.Join(dir, "data"), filepath.Join(dir, "keys")); fault.CodeOf(err) != "not_empty" {
		t.Errorf("restoring twice: %v", err)
	}
	if _, _, err := backup.Make(t.Context(), source(env), dir); !fault.Is(err, fault.Conflict) {
		t.Errorf("a backup in the place of another: %v", err)
	}
}

// TestAnUnfinishedRestoreIsNotServed has what comes after the copy fail, as without the key
// service: what is in place then would go on in the old log.
func TestAnUnfinishedRestoreIsNotServed(t *testing.T) {
	env, dir, _ := copied(t)
	config := env.Config
	config.Data, config.Create, config.Restored = filepath.Join(t.TempDir(), "data"), false, false
	if _, err := backup.Restore(t.Context(), backup.Target{Data: config.Data}, filepath.Join(dir, "data"), filepath.Join(dir, "keys")); err != nil {
		t.Fatal(err)
	}
	refused := func() {
		t.Helper()
		n, err := node.Open(t.Context(), config)
		if err == nil {
			n.Close()
		}
		if fault.CodeOf(err) != "restore_unfinished" || !fault.Is(err, fault.Conflict) {
			t.Errorf("data of a restore that is not finished: %v", err)
		}
	}
	refused()
	failing := config
	failing.Restored, failing.KeyFile = true, filepath.Join(t.TempDir(), "none")
	if n, err := node.Open(t.Context(), failing); err == nil {
		n.Close()
		t.Fatal("without its key file the restore goes on")
	}
	refused()
	for _, restored := range []bool{true, false} {
		config.Restored = restored
		n, err := node.Open(t.Context(), config)
		if err != nil {
			t.Fatalf("restored %v: %v", restored, err)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}

	// What somebody put into place by other means is marked as soon as it is gone on with.
	inPlace := env.Config
	env.Restart(func() {
		inPlace.Restored, inPlace.KeyFile = true, failing.KeyFile
		if n, err := node.Open(t.Context(), inPlace); err == nil {
			n.Close()
			t.Fatal("without its key file the restore goes on")
		}
		config = env.Config
		refused()
		env.Config.Restored = true
	})
}

func TestADamagedBackupIsNotRestored(t *testing.T) {
	_, dir, _ := copied(t)
	tests := []struct {
		name  string
		spoil func(t *testing.T, dir string)
		code  string
	}{
		{"a changed byte", func(t *testing.T, dir string) { change(t, filepath.Join(dir, "data", "data.db")) }, "backup_damaged"},
		{"a changed byte of the keys", func(t *testing.T, dir string) { change(t, filepath.Join(dir, "keys", "keys.db")) }, "backup_damaged"},
		{"a missing file", func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "data", "data.db")) }, "backup_damaged"},
		{"a file more", func(t *testing.T, dir string) { write(t, filepath.Join(dir, "data", "blobs", "x"), "x") }, "backup_damaged"},
		{"no manifest", func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "keys", "manifest.json")) }, "not_found"},
		{"a manifest of something else", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "data", "manifest.json"), `{"format": "x"}`)
		}, "invalid"},
		{"keys for data", func(t *testing.T, dir string) {
			if err := os.Rename(filepath.Join(dir, "keys"), filepath.Join(dir, "other")); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(dir, "data"), filepath.Join(dir, "keys")); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(dir, "other"), filepath.Join(dir, "data")); err != nil {
				t.Fatal(err)
			}
		}, "invalid"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			spoiled := filepath.Join(t.TempDir(), "b")
			if err := os.CopyFS(spoiled, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			test.spoil(t, spoiled)
			to := backup.Target{Data: filepath.Join(t.TempDir(), "data")}
			_, err := backup.Restore(t.Context(), to, filepath.Join(spoiled, "data"), filepath.Join(spoiled, "keys"))
			if fault.CodeOf(err) != test.code {
				t.Errorf("restoring: %v, want the code %s", err, test.code)
			}
			if _, err := os.Stat(filepath.Join(to.Data, "data.db")); err == nil {
				t.Error("data were restored")
			}
		})
	}
}

// twoBackups makes a backup, runs the node between, and makes another one. Between the
// two copies of a part nothing runs, so both parts have the same logs.
func twoBackups(t *testing.T, firstAt func() time.Time, between func(env *testenv.Env)) (env *testenv.Env, older, newer string) {
	t.Helper()
	env = testenv.New(t, func(c *node.Config) { c.OpenBlobs = nil })
	env.Deploy("p.bpmn", model)
	env.Start("p", `{"a": "b"}`)
	older, newer = filepath.Join(t.TempDir(), "older"), filepath.Join(t.TempDir(), "newer")
	make := func(dir string, now func() time.Time) func() {
		return func() {
			src := source(env)
			src.Now = now
			data, keys, err := backup.Make(t.Context(), src, dir)
			if err != nil {
				t.Fatal(err)
			}
			if len(data.Logs) != 1 || !slices.Equal(data.Logs, keys.Logs) {
				t.Fatalf("logs of the data %+v, of the keys %+v, want the same one", data.Logs, keys.Logs)
			}
		}
	}
	env.Restart(make(older, firstAt))
	between(env)
	env.Restart(make(newer, time.Now))
	return env, older, newer
}

func restore(t *testing.T, data, keys string) error {
	t.Helper()
	to := backup.Target{Data: filepath.Join(t.TempDir(), "data")}
	_, err := backup.Restore(t.Context(), to, filepath.Join(data, "data"), filepath.Join(keys, "keys"))
	if _, missing := os.Stat(filepath.Join(to.Data, "data.db")); err != nil && missing == nil {
		t.Error("refused, and there are data")
	}
	return err
}

// By the time at which the keys were copied, when the log has not grown meanwhile.
func TestKeysThatAreOlderThanTheDataAreRefused(t *testing.T) {
	_, older, newer := twoBackups(t, time.Now, func(*testenv.Env) {})
	if err := restore(t, newer, older); fault.CodeOf(err) != "keys_too_old" || !strings.Contains(err.Error(), "copied before the data") {
		t.Errorf("data with older keys: %v", err)
	}
	if err := restore(t, older, newer); err != nil {
		t.Errorf("data with newer keys: %v", err)
	}
}

// By the log, whatever the clock said.
func TestKeysThatKnowLessOfTheLogThanTheDataAreRefused(t *testing.T) {
	tomorrow := func() time.Time { return time.Now().Add(24 * time.Hour) }
	env, older, newer := twoBackups(t, tomorrow, func(env *testenv.Env) { env.Start("p", `{"a": "c"}`) })
	if err := restore(t, newer, older); fault.CodeOf(err) != "keys_too_old" || !strings.Contains(err.Error(), "signed leaves") {
		t.Errorf("data with older keys: %v", err)
	}
	// The same when the keys are in place.
	to := backup.Target{Data: t.TempDir()}
	copyTo(t, filepath.Join(older, "keys", "keys.db"), filepath.Join(to.Data, "keys.db"))
	if _, err := backup.Restore(t.Context(), to, filepath.Join(newer, "data"), ""); fault.CodeOf(err) != "keys_too_old" {
		t.Errorf("data with older keys in place: %v", err)
	}
	to.Data = t.TempDir()
	copyTo(t, filepath.Join(newer, "keys", "keys.db"), filepath.Join(to.Data, "keys.db"))
	if _, err := backup.Restore(t.Context(), to, filepath.Join(older, "data"), ""); err != nil {
		t.Errorf("data with newer keys in place: %v", err)
	}
	if n := env.Instance(env.Start("p", `{"a": "d"}`)).Seq; n != 1 {
		t.Errorf("the source is at step %d", n)
	}
}

// The manifests' logs are compared with each other and with what is restored.
func TestTheLogsOfAManifestAreThoseOfItsPart(t *testing.T) {
	_, _, dir := twoBackups(t, time.Now, func(*testenv.Env) {})
	tests := []struct {
		name, part string
		edit       func(log *backup.Log)
		code       string
	}{
		{"less in the data", "data", func(log *backup.Log) { log.Size-- }, "backup_damaged"},
		{"another tenant in the keys", "keys", func(log *backup.Log) { log.Tenant = "other" }, "keys_too_old"},
		{"less in the keys", "keys", func(log *backup.Log) { log.Size-- }, "keys_too_old"},
		{"more in the keys", "keys", func(log *backup.Log) { log.Size++ }, "backup_damaged"},
		{"another root", "keys", func(log *backup.Log) { log.Root = strings.Repeat("0", 64) }, "backup_mixed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			spoiled := filepath.Join(t.TempDir(), "b")
			if err := os.CopyFS(spoiled, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			m, err := backup.Read(t.Context(), filepath.Join(spoiled, test.part), test.part)
			if err != nil {
				t.Fatal(err)
			}
			test.edit(&m.Logs[0])
			if m, err = backup.Authenticated(m, manifestKey(t, spoiled)); err != nil {
				t.Fatal(err)
			}
			writeManifest(t, filepath.Join(spoiled, test.part), m)
			if err := restore(t, spoiled, spoiled); fault.CodeOf(err) != test.code {
				t.Errorf("restoring: %v, want the code %s", err, test.code)
			}
		})
	}
}

func writeManifest(t *testing.T, dir string, m backup.Manifest) {
	t.Helper()
	text, err := backup.Encoded(m)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "manifest.json"), string(text))
}

// manifestKey returns the key under which a backup's manifests are authenticated.
func manifestKey(t *testing.T, dir string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "keys", "manifest.key"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestABackupThatSomebodyChangedIsNotRestored changes data together with the manifest
// that names them, as whoever has a copy of the data can.
func TestABackupThatSomebodyChangedIsNotRestored(t *testing.T) {
	_, dir, _ := copied(t)
	forge := func(t *testing.T, dir string, key []byte) {
		change(t, filepath.Join(dir, "data", "data.db"))
		m, err := backup.Read(t.Context(), filepath.Join(dir, "data"), backup.Data)
		if fault.CodeOf(err) != "backup_damaged" {
			t.Fatal(err)
		}
		for i := range m.Content {
			text, err := os.ReadFile(filepath.Join(dir, "data", m.Content[i].Path))
			if err != nil {
				t.Fatal(err)
			}
			m.Content[i].SHA256 = fmt.Sprintf("%x", sha256.Sum256(text))
		}
		if key != nil {
			if m, err = backup.Authenticated(m, key); err != nil {
				t.Fatal(err)
			}
		}
		writeManifest(t, filepath.Join(dir, "data"), m)
	}
	for name, key := range map[string][]byte{"and its MAC stays": nil, "and a MAC under another key": make([]byte, 32)} {
		t.Run(name, func(t *testing.T) {
			forged := filepath.Join(t.TempDir(), "b")
			if err := os.CopyFS(forged, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			forge(t, forged, key)
			if err := restore(t, forged, forged); fault.CodeOf(err) != "backup_forged" || !fault.Is(err, fault.Integrity) {
				t.Errorf("restoring: %v, want the code backup_forged", err)
			}
			in := backup.Target{Data: t.TempDir()} // with keys in place
			copyTo(t, filepath.Join(forged, "keys", "keys.db"), filepath.Join(in.Data, "keys.db"))
			if _, err := backup.Restore(t.Context(), in, filepath.Join(forged, "data"), ""); fault.CodeOf(err) != "backup_forged" {
				t.Errorf("restoring beside keys: %v, want the code backup_forged", err)
			}
		})
	}
	// The whole of it restores, with keys in place too.
	in := backup.Target{Data: t.TempDir()}
	copyTo(t, filepath.Join(dir, "keys", "keys.db"), filepath.Join(in.Data, "keys.db"))
	if _, err := backup.Restore(t.Context(), in, filepath.Join(dir, "data"), ""); err != nil {
		t.Errorf("restoring beside keys: %v", err)
	}
	// The keys of another deployment are no keys for it.
	other := testenv.NewDeployment(t, func(c *node.Config) { c.OpenBlobs = nil })
	another := filepath.Join(t.TempDir(), "b")
	if _, _, err := backup.Make(t.Context(), source(other), another); err != nil {
		t.Fatal(err)
	}
	replace := filepath.Join(dir, "keys", "manifest.key")
	write(t, replace, fmt.Sprintf("%x\n", manifestKey(t, another)))
	if err := restore(t, dir, dir); fault.CodeOf(err) != "backup_damaged" {
		t.Errorf("restoring with another deployment's key in its place: %v", err)
	}
}

// TestABackupLeadsNowhereElse puts links into a backup, and into the place where it is
// restored.
func TestABackupLeadsNowhereElse(t *testing.T) {
	_, dir, _ := copied(t)
	outside := t.TempDir()
	write(t, filepath.Join(outside, "secret"), "sealed")
	blob := func(t *testing.T, dir string) string {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(dir, "blobs", "*", "tenant", "ab", "abcdef"))
		if err != nil || len(found) != 1 {
			t.Fatalf("%d files, %v", len(found), err)
		}
		return found[0]
	}
	link := func(t *testing.T, to, at string) {
		t.Helper()
		if err := os.RemoveAll(at); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, at); err != nil {
			t.Fatal(err)
		}
	}
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"a file that is a link out of it": func(t *testing.T, dir string) {
			link(t, filepath.Join(outside, "secret"), blob(t, filepath.Join(dir, "data")))
		},
		"a file that is a link within": func(t *testing.T, dir string) {
			file := blob(t, filepath.Join(dir, "data"))
			copyTo(t, file, file+"2")
			link(t, "abcdef2", file)
		},
		"a directory that is a link": func(t *testing.T, dir string) { link(t, outside, filepath.Join(dir, "data", "blobs")) },
		"a database that is a link": func(t *testing.T, dir string) {
			link(t, filepath.Join(outside, "secret"), filepath.Join(dir, "data", "data.db"))
		},
		"a key of manifests that is one": func(t *testing.T, dir string) {
			link(t, filepath.Join(outside, "secret"), filepath.Join(dir, "keys", "manifest.key"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			spoiled := filepath.Join(t.TempDir(), "b")
			if err := os.CopyFS(spoiled, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			spoil(t, spoiled)
			if err := restore(t, spoiled, spoiled); fault.CodeOf(err) != "backup_damaged" {
				t.Errorf("restoring: %v, want the code backup_damaged", err)
			}
		})
	}
	t.Run("a directory of the target that is a link", func(t *testing.T) {
		to := backup.Target{Data: filepath.Join(t.TempDir(), "data")}
		deployment := filepath.Base(filepath.Dir(filepath.Dir(filepath.Dir(blob(t, filepath.Join(dir, "data"))))))
		if err := os.MkdirAll(filepath.Join(to.Data, "blobs"), 0o700); err != nil {
			t.Fatal(err)
		}
		link(t, outside, filepath.Join(to.Data, "blobs", deployment))
		if _, err := backup.Restore(t.Context(), to, filepath.Join(dir, "data"), filepath.Join(dir, "keys")); err == nil {
			t.Error("it was restored through a link")
		}
		if left, err := os.ReadDir(outside); err != nil || len(left) != 1 {
			t.Errorf("%d entries outside, want the one from before (%v)", len(left), err)
		}
	})
}

func copyTo(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, string(data))
}

func change(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}
