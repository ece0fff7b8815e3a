package kms_test

import (
	"bytes"
	"crypto/fips140"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/kms/kmstest"
)

const passphrase = "correct horse battery"

// createLocked makes a key file with a passphrase.
func createLocked(t *testing.T) (*kms.KeyFile, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "root.key")
	file, err := kms.CreateLockedKeyFile(path, passphrase)
	if err != nil {
		t.Fatalf("CreateLockedKeyFile: %v", err)
	}
	return file, path
}

func TestLockedKeyFileIsAService(t *testing.T) {
	if testing.Short() {
		t.Skip("derives a key from a passphrase for each case")
	}
	kmstest.TestService(t, func(t *testing.T) kms.Service { file, _ := createLocked(t); return file })
}

func TestALockedKeyFileHoldsNoKeyInClear(t *testing.T) {
	file, path := createLocked(t)
	exported, err := file.Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(exported), "key 1 ")
	clear, _, _ := strings.Cut(after, "\n")
	raw, err := base64.StdEncoding.DecodeString(clear)
	if err != nil || len(raw) != 32 {
		t.Fatalf("the exported text has no key: %v", err)
	}
	if text := read(t, path); bytes.Contains(text, []byte(clear)) || !bytes.Contains(text, []byte("lock pbkdf2-sha256 600000 ")) {
		t.Errorf("the file's text is %q", text)
	}
	if text := fmt.Sprintf("%v %+v %#v", file, file, file); strings.Contains(text, clear) {
		t.Errorf("printed %q", text)
	}
}

func TestAPassphraseIsNeededAndMustBeTheRightOne(t *testing.T) {
	_, path := createLocked(t)
	_, plain := create(t)
	for name, test := range map[string]struct {
		open func() (*kms.KeyFile, error)
		code string
	}{
		"the right one": {func() (*kms.KeyFile, error) { return kms.OpenLockedKeyFile(path, passphrase) }, ""},
		"none":          {func() (*kms.KeyFile, error) { return kms.OpenKeyFile(path) }, "passphrase_needed"},
		"empty":         {func() (*kms.KeyFile, error) { return kms.OpenLockedKeyFile(path, "") }, "passphrase_wrong"},
		"another":       {func() (*kms.KeyFile, error) { return kms.OpenLockedKeyFile(path, passphrase+"s") }, "passphrase_wrong"},
		"for no lock":   {func() (*kms.KeyFile, error) { return kms.OpenLockedKeyFile(plain, passphrase) }, "passphrase_unused"},
	} {
		file, err := test.open()
		switch {
		case test.code == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case test.code != "" && (file != nil || !fault.Is(err, fault.Denied) || fault.CodeOf(err) != test.code):
			t.Errorf("%s: %v with code %q, want denied with %q", name, err, fault.CodeOf(err), test.code)
		case test.code != "" && (strings.Contains(err.Error(), passphrase) || err.(*fault.Error).Hint == ""):
			t.Errorf("%s: %v shows the passphrase or says not what to do", name, err)
		}
	}
}

func TestALockedKeyFileWorksInFIPSMode(t *testing.T) {
	if fips140.Enforced() {
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^(TestVersionsOfALockedKeyFile|TestAPassphraseIsNeededAndMustBeTheRightOne)$", "-test.v")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
	if out, err := cmd.CombinedOutput(); err != nil || bytes.Count(out, []byte("--- PASS")) != 2 {
		t.Fatalf("with GODEBUG=fips140=only: %v\n%s", err, out)
	}
}

func TestAShortOrEndlessPassphraseIsRefused(t *testing.T) {
	for size, ok := range map[int]bool{0: false, 11: false, 12: true, 1024: true, 1025: false} {
		path := filepath.Join(t.TempDir(), "root.key")
		_, err := kms.CreateLockedKeyFile(path, strings.Repeat("x", size))
		if (err == nil) != ok || err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("a passphrase of %d bytes: %v, want success: %t, else invalid", size, err, ok)
		}
	}
}

func TestALockedKeyFileThatWasChangedIsRefused(t *testing.T) {
	_, path := createLocked(t)
	whole := string(read(t, path))
	for name, text := range map[string]string{
		"cut":                   whole[:len(whole)/2],
		"without its lock":      regexp.MustCompile("lock .*\n").ReplaceAllString(whole, ""),
		"with two locks":        regexp.MustCompile("(lock .*\n)").ReplaceAllString(whole, "$1$1"),
		"with fewer iterations": strings.Replace(whole, " 600000 ", " 599999 ", 1),
		"with endless ones":     strings.Replace(whole, " 600000 ", " 999999999 ", 1),
		"with another scheme":   strings.Replace(whole, "sha256", "sha512", 1),
		"with another id":       strings.Replace(whole, "id ", "id 0", 1),
	} {
		write(t, path, []byte(text))
		if _, err := kms.OpenLockedKeyFile(path, passphrase); !fault.Is(err, fault.Integrity) {
			t.Errorf("%s: %v, want integrity", name, err)
		}
	}
}

func TestVersionsOfALockedKeyFile(t *testing.T) {
	file, path := createLocked(t)
	ctx := t.Context()
	first, err := file.Wrap(ctx, kmstest.Context(), make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Rotate(ctx); err != nil {
		t.Fatal(err)
	}
	second, err := file.Wrap(ctx, kmstest.Context(), make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Destroy(ctx, "1"); err != nil {
		t.Fatal(err)
	}
	reopened, err := kms.OpenLockedKeyFile(path, passphrase)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reopened.Unwrap(ctx, kmstest.Context(), first); !fault.Is(err, fault.NotFound) {
		t.Errorf("Unwrap under version 1: %v, want not_found", err)
	}
	if _, err := reopened.Unwrap(ctx, kmstest.Context(), second); err != nil {
		t.Errorf("Unwrap under version 2: %v", err)
	}
}

func TestThePassphraseCanBeChanged(t *testing.T) {
	ctx := t.Context()
	file, path := create(t)
	wrapped, err := file.Wrap(ctx, kmstest.Context(), make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	opens := func(file *kms.KeyFile, what string) {
		t.Helper()
		if _, err := file.Unwrap(ctx, kmstest.Context(), wrapped); err != nil {
			t.Errorf("%s: Unwrap: %v", what, err)
		}
	}
	locked, err := file.ChangePassphrase(ctx, passphrase)
	if err != nil {
		t.Fatal(err)
	}
	opens(locked, "locked")
	if _, err := file.Unwrap(ctx, kmstest.Context(), wrapped); fault.CodeOf(err) != "passphrase_needed" {
		t.Errorf("Unwrap by whoever had it open without: %v", err)
	}
	other, err := locked.ChangePassphrase(ctx, "another "+passphrase)
	if err != nil {
		t.Fatal(err)
	}
	opens(other, "with another passphrase")
	if _, err := locked.Unwrap(ctx, kmstest.Context(), wrapped); fault.CodeOf(err) != "passphrase_wrong" {
		t.Errorf("Unwrap by whoever had it open with the old one: %v", err)
	}
	if _, err := kms.OpenLockedKeyFile(path, passphrase); fault.CodeOf(err) != "passphrase_wrong" {
		t.Errorf("the old passphrase: %v, want it refused", err)
	}
	open, err := other.ChangePassphrase(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	opens(open, "without")
}

func TestAnExportedKeyFileIsRestored(t *testing.T) {
	for name, test := range map[string]struct {
		make   func(t *testing.T) (*kms.KeyFile, string)
		under  string
		reopen func(path string) (*kms.KeyFile, error)
	}{
		"as it was":                 {create, "", kms.OpenKeyFile},
		"locked, without its lock":  {createLocked, "", kms.OpenKeyFile},
		"locked, under another one": {createLocked, "another passphrase", func(p string) (*kms.KeyFile, error) { return kms.OpenLockedKeyFile(p, "another passphrase") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file, path := test.make(t)
			if _, err := file.Rotate(t.Context()); err != nil {
				t.Fatal(err)
			}
			wrapped, err := file.Wrap(t.Context(), kmstest.Context(), make([]byte, 32))
			if err != nil {
				t.Fatal(err)
			}
			text, err := file.Export(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := kms.RestoreKeyFile(path, text, test.under); !fault.Is(err, fault.Conflict) {
				t.Errorf("RestoreKeyFile over the file: %v, want conflict", err)
			}
			restored := path + ".restored"
			if _, err := kms.RestoreKeyFile(restored, text, test.under); err != nil {
				t.Fatalf("RestoreKeyFile: %v", err)
			}
			reopened, err := test.reopen(restored)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := reopened.Unwrap(t.Context(), kmstest.Context(), wrapped); err != nil {
				t.Errorf("Unwrap: %v", err)
			}
		})
	}
}

func TestOnlyAWholeExportedTextIsRestored(t *testing.T) {
	file, _ := create(t)
	text, err := file.Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, locked := createLocked(t)
	for name, text := range map[string][]byte{
		"nothing": nil, "half of it": text[:len(text)/2], "another text": []byte("key"), "a locked key file": read(t, locked),
	} {
		path := filepath.Join(t.TempDir(), "root.key")
		if _, err := kms.RestoreKeyFile(path, text, ""); !fault.Is(err, fault.Integrity) {
			t.Errorf("%s: %v, want integrity", name, err)
		}
	}
}
