package kms_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/kms/kmstest"
)

// create makes a key file in a directory that does not exist yet.
func create(t *testing.T) (*kms.KeyFile, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config", "root.key")
	file, err := kms.CreateKeyFile(path)
	if err != nil {
		t.Fatalf("CreateKeyFile: %v", err)
	}
	return file, path
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestKeyFileIsAService(t *testing.T) {
	kmstest.TestService(t, func(t *testing.T) kms.Service { file, _ := create(t); return file })
}

func TestKeyFileTellsDeniedFromUnreachable(t *testing.T) {
	kmstest.TestFaults(t, func(t *testing.T) (kms.Service, kmstest.Faults) {
		file, path := create(t)
		ok := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		return file, kmstest.Faults{
			Deny:    func() { ok(os.Chmod(path, 0o644)) },
			Cut:     func() { ok(os.Rename(path, path+".away")) },
			Restore: func() { _ = os.Rename(path+".away", path); ok(os.Chmod(path, 0o600)) },
		}
	})
}

func TestFaultyServiceFailsAsItSays(t *testing.T) {
	kmstest.TestFaults(t, func(t *testing.T) (kms.Service, kmstest.Faults) {
		s := kmstest.New(t)
		return s, kmstest.Faults{Deny: s.Deny, Cut: s.Unreachable, Hang: s.Hang, Throttle: s.Throttle, Slow: s.Slow, Restore: s.Restore}
	})
}

func TestFaultyServiceIsAServiceWhileNothingIsWrong(t *testing.T) {
	kmstest.TestService(t, func(t *testing.T) kms.Service { return kmstest.New(t) })
}

func TestCreateKeyFileIsPrivateAndNeverOverwrites(t *testing.T) {
	_, path := create(t)
	before := read(t, path)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v, want 0600", info.Mode(), err)
	}
	if _, err := kms.CreateKeyFile(path); !fault.Is(err, fault.Conflict) {
		t.Errorf("second CreateKeyFile: %v, want conflict", err)
	}
	if !bytes.Equal(before, read(t, path)) {
		t.Error("the second CreateKeyFile changed the file")
	}
}

func TestOpenKeyFileReadsWhatCreateWrote(t *testing.T) {
	created, path := create(t)
	wrapped, err := created.Wrap(t.Context(), kmstest.Context(), make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	opened, err := kms.OpenKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if key, err := opened.Unwrap(t.Context(), kmstest.Context(), wrapped); err != nil || !bytes.Equal(key, make([]byte, 32)) {
		t.Errorf("Unwrap: %v", err)
	}
}

func TestOpenKeyFileSaysWhatIsWrongAndWhatToDo(t *testing.T) {
	edit := func(f func(string) string) func(*testing.T, string) {
		return func(t *testing.T, path string) { write(t, path, []byte(f(string(read(t, path))))) }
	}
	chmod := func(mode os.FileMode) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, test := range map[string]struct {
		damage func(*testing.T, string)
		kind   fault.Kind
		says   string
	}{
		"missing": {func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}, fault.NotFound, "restore"},
		"readable for the group":   {chmod(0o640), fault.Denied, "chmod 600"},
		"readable for all":         {chmod(0o604), fault.Denied, "chmod 600"},
		"executable":               {chmod(0o700), fault.Denied, "chmod 600"},
		"empty":                    {edit(func(string) string { return "" }), fault.Integrity, "incomplete"},
		"cut in the first line":    {edit(func(s string) string { return s[:9] }), fault.Integrity, "incomplete"},
		"cut in the middle":        {edit(func(s string) string { return s[:len(s)/2] }), fault.Integrity, "incomplete"},
		"without the last byte":    {edit(func(s string) string { return s[:len(s)-1] }), fault.Integrity, "incomplete"},
		"another file":             {edit(func(string) string { return "-----BEGIN PRIVATE KEY-----\n" }), fault.Integrity, "not an underseal key file"},
		"a later format":           {edit(func(s string) string { return strings.Replace(s, "file 1", "file 2", 1) }), fault.Integrity, "not an underseal key file"},
		"a flipped letter":         {edit(func(s string) string { return strings.Replace(s, "id ", "id 0", 1) }), fault.Integrity, "line 4"},
		"a key line that is moved": {edit(func(s string) string { return strings.Replace(s, "key 1 ", "key 2 ", 1) }), fault.Integrity, "line 5"},
		"lines of Windows":         {edit(func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }), fault.Integrity, "damaged or edited"},
		"more after its end":       {edit(func(s string) string { return s + "\n" }), fault.Integrity, "checksum"},
		"a directory": {func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, fault.Invalid, "regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, path := create(t)
			test.damage(t, path)
			_, err := kms.OpenKeyFile(path)
			if !fault.Is(err, test.kind) {
				t.Fatalf("OpenKeyFile: %v, want %s", err, test.kind)
			}
			var e *fault.Error
			errors.As(err, &e)
			if text := e.Error() + "; " + e.Hint; !strings.Contains(text, path) || !strings.Contains(text, test.says) {
				t.Errorf("OpenKeyFile says %q, want the path and %q", text, test.says)
			}
		})
	}
}

func TestAnyChangedByteOfAKeyFileIsRefused(t *testing.T) {
	_, path := create(t)
	whole := read(t, path)
	for i := range whole {
		changed := bytes.Clone(whole)
		changed[i] ^= 0x20
		write(t, path, changed)
		if _, err := kms.OpenKeyFile(path); !fault.Is(err, fault.Integrity) {
			t.Fatalf("byte %d of %d changed: %v, want integrity", i, len(whole), err)
		}
	}
}

func TestErrorsDoNotQuoteAKey(t *testing.T) {
	_, path := create(t)
	whole := string(read(t, path))
	_, after, _ := strings.Cut(whole, "key 1 ")
	secret, _, _ := strings.Cut(after, "\n")
	write(t, path, []byte(strings.Replace(whole, secret, secret[:20], 1)))
	_, err := kms.OpenKeyFile(path)
	if err == nil || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), secret[:20]) {
		t.Errorf("OpenKeyFile: %v", err)
	}
}

func TestKeyFilePrintsNoSecret(t *testing.T) {
	file, path := create(t)
	_, after, _ := strings.Cut(string(read(t, path)), "key 1 ")
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("opened", "file", file)
	text := fmt.Sprintf("%v %+v %#v %s", file, file, file, log.String())
	if strings.Contains(text, after[:20]) || !strings.Contains(text, path) {
		t.Errorf("printed %q", text)
	}
}

func TestARunningServerNoticesWhatHappensToTheKeyFile(t *testing.T) {
	for name, test := range map[string]struct {
		happens func(path string) error
		kind    fault.Kind
	}{
		"taken away":        {os.Remove, fault.Unavailable},
		"damaged":           {func(path string) error { return os.WriteFile(path, []byte("underseal"), 0o600) }, fault.Unavailable},
		"opened to others":  {func(path string) error { return os.Chmod(path, 0o644) }, fault.Denied},
		"exchanged":         {exchange, fault.Conflict},
		"exchanged, opened": {func(path string) error { return os.Chmod(path, 0o666) }, fault.Denied},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file, path := create(t)
			if err := test.happens(path); err != nil {
				t.Fatal(err)
			}
			if _, err := file.Wrap(t.Context(), kmstest.Context(), make([]byte, 32)); !fault.Is(err, test.kind) {
				t.Errorf("Wrap: %v, want %s", err, test.kind)
			}
			if _, err := file.Describe(t.Context()); !fault.Is(err, test.kind) {
				t.Errorf("Describe: %v, want %s", err, test.kind)
			}
		})
	}
}

// exchange puts another key file in the place of the one at path.
func exchange(path string) error {
	if _, err := kms.CreateKeyFile(path + ".other"); err != nil {
		return err
	}
	return os.Rename(path+".other", path)
}

func TestVersionsOfAKeyFile(t *testing.T) {
	file, path := create(t)
	ctx, c := t.Context(), kmstest.Context()
	first, err := file.Wrap(ctx, c, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	// What a crash leaves behind must not be in the way.
	write(t, path+".new", []byte("half-wri"))
	if version, err := file.Rotate(ctx); err != nil || version != "2" {
		t.Fatalf("Rotate: version %q, %v, want 2", version, err)
	}
	second, err := file.Wrap(ctx, c, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Unwrap(ctx, c, first); err != nil {
		t.Errorf("a new version made the old one unreadable: %v", err)
	}
	if err := file.Destroy(ctx, "1"); err != nil {
		t.Fatal(err)
	}
	reopened, err := kms.OpenKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reopened.Unwrap(ctx, c, first); !fault.Is(err, fault.NotFound) {
		t.Errorf("Unwrap under version 1: %v, want not_found", err)
	}
	if _, err := reopened.Unwrap(ctx, c, second); err != nil {
		t.Errorf("Unwrap under version 2: %v", err)
	}
	if d, err := reopened.Describe(ctx); err != nil || d.Version != "2" {
		t.Errorf("Describe: %+v, %v, want version 2", d, err)
	}
}

func TestDestroyOverwritesTheOldFile(t *testing.T) {
	file, path := create(t)
	// A second name keeps the old file's blocks in reach.
	if err := os.Link(path, path+".link"); err != nil {
		t.Skipf("no hard links here: %v", err)
	}
	if err := file.Destroy(t.Context(), "1"); err != nil {
		t.Fatal(err)
	}
	if old := read(t, path+".link"); bytes.Trim(old, "\x00") != nil {
		t.Errorf("the old file still says %q", old)
	}
	if _, err := file.Wrap(t.Context(), kmstest.Context(), make([]byte, 32)); !fault.Is(err, fault.NotFound) {
		t.Errorf("Wrap without a version: %v, want not_found", err)
	}
}

func FuzzOpenKeyFile(f *testing.F) {
	seed := filepath.Join(f.TempDir(), "root.key")
	if _, err := kms.CreateKeyFile(seed); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(seed)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-70])
	f.Add([]byte("underseal key file 1\n"))
	f.Add([]byte{})
	path := filepath.Join(f.TempDir(), "fuzzed.key")
	f.Fuzz(func(t *testing.T, content []byte) {
		write(t, path, content)
		file, err := kms.OpenKeyFile(path)
		if err != nil {
			return
		}
		// Whatever opens is its only spelling: it comes back when it is written again.
		if _, err := file.Rotate(t.Context()); err != nil {
			t.Fatalf("Rotate: %v", err)
		}
		if got := read(t, path); !bytes.HasPrefix(got, content[:bytes.LastIndex(content, []byte("end "))]) {
			t.Errorf("opened %q, wrote %q", content, got)
		}
	})
}
