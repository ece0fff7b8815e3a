package password_test

import (
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/password"
)

// listOf writes a list of passwords as it is given out.
func listOf(t *testing.T, path string, wide bool, end string, passwords ...string) password.File {
	t.Helper()
	var lines []string
	for i, text := range passwords {
		sum := fmt.Sprintf("%X", sha1.Sum([]byte(text)))
		if wide {
			sum = fmt.Sprintf("%X", sha256.Sum256([]byte(text)))
		}
		lines = append(lines, sum+strings.Repeat(fmt.Sprintf(":%d", i*i), i%2))
	}
	slices.Sort(lines)
	if err := os.WriteFile(path, []byte(strings.Join(lines, end)+strings.Repeat(end, len(lines)%2)), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := password.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// What is in the list is found, wherever it stands there, and nothing else.
func TestBreachedPasswordsAreFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(1, 60).Draw(r, "passwords")
		var in []string
		for i := range n {
			in = append(in, fmt.Sprint("password ", i))
		}
		list := listOf(t, path, rapid.Bool().Draw(r, "SHA-256"), rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(r, "end"), in...)
		for i := range 2 * n {
			if found, err := list.Contains(fmt.Sprint("password ", i)); err != nil || found != (i < n) {
				r.Fatalf("password %d of %d: found %v, %v", i, n, found, err)
			}
		}
	})
}

func TestWhatIsNoList(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"empty": "", "words": "password\n", "lower": strings.Repeat("0a", 20) + "\n", "short": strings.Repeat("A", 39) + "\n", "long": strings.Repeat("A", 41),
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := password.OpenFile(path); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want Invalid", name, err)
		}
	}
	if _, err := password.OpenFile(filepath.Join(dir, "none")); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a file that is not there: %v, want Unavailable", err)
	}
	path := filepath.Join(dir, "list")
	list := listOf(t, path, false, "\n", "a", "b")
	if err := os.WriteFile(path, []byte(strings.Repeat("A", 40)+":"+strings.Repeat("1", 1000)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if found, err := list.Contains("a"); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a list that became another: %v, %v, want Unavailable", found, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if found, err := list.Contains("a"); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a list that is gone: %v, %v, want Unavailable", found, err)
	}
}
