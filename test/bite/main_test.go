package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A small module stands for the project: a safety, and a test that needs it.
var project = map[string]string{
	"go.mod":    "module example.org/p\n\ngo 1.26\n",
	"p.go":      "package p\n\nfunc Safe(n int) bool {\n\treturn n > 0\n}\n",
	"p_test.go": "package p\n\nimport \"testing\"\n\nfunc TestZeroIsRefused(t *testing.T) {\n\tif Safe(0) {\n\t\tt.Error(\"0 accepted\")\n\t}\n}\n\nfunc TestOther(t *testing.T) {}\n",
}

func change(to string) string {
	return "diff --git a/p.go b/p.go\n--- a/p.go\n+++ b/p.go\n@@ -3,3 +3,3 @@\n func Safe(n int) bool {\n-\treturn n > 0\n+\t" + to + "\n }\n"
}

func TestOnlyATestThatRanAndFailedBites(t *testing.T) {
	stale := strings.ReplaceAll(change("return true"), "n > 0", "n > 7")
	for _, c := range []struct{ name, header, diff, want string }{
		{"the safety is gone and the test fails", "Test: . -run TestZeroIsRefused", change("return true"), ""},
		{"the test crashes", "Test: . -run TestZeroIsRefused", change(`panic("no")`), ""},
		{"the test passes all the same", "Test: . -run TestOther", change("return true"), "passes without the safety"},
		{"the test does not exist", "Test: . -run TestNone", change("return true"), "no test ran"},
		{"the patched code does not compile", "Test: . -run TestZeroIsRefused", change("return nonsense"), "does not compile"},
		{"the patch is older than the code", "Test: . -run TestZeroIsRefused", stale, "does not apply"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range project {
				write(t, filepath.Join(dir, name), text)
			}
			path := filepath.Join(dir, "x.patch")
			write(t, path, "Takes out: everything\n"+c.header+"\n"+c.diff)
			p, err := read("x", path)
			if err != nil {
				t.Fatal(err)
			}
			err = bite(t.Context(), dir, p)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("bite = %v, want %q", err, c.want)
			}
			if got, err := os.ReadFile(filepath.Join(dir, "p.go")); err != nil || string(got) != project["p.go"] {
				t.Errorf("the patch was not taken back: %q, %v", got, err)
			}
		})
	}
}

func TestATestOfANestedModuleRunsThere(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "nested"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range project {
		write(t, filepath.Join(dir, "nested", name), text)
	}
	path := filepath.Join(dir, "x.patch")
	write(t, path, "Module: nested\nTest: . -run TestZeroIsRefused\n"+strings.ReplaceAll(change("return true"), "/p.go", "/nested/p.go"))
	p, err := read("x", path)
	if err != nil {
		t.Fatal(err)
	}
	if err := bite(t.Context(), dir, p); err != nil {
		t.Errorf("bite: %v", err)
	}
}

func TestAPatchWithoutItsTestIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.patch")
	write(t, path, "Takes out: everything\n"+change("return true"))
	if _, err := read("x", path); err == nil {
		t.Error("read accepts a patch without a Test line")
	}
}

func TestNoPatchesAreAFailure(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, err := load(nil); err == nil {
		t.Error("load accepts a folder without patches")
	}
}

func TestTheProjectsPatchesHaveAHeader(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(strings.TrimSpace(string(out)))
	if _, err := load(nil); err != nil {
		t.Error(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
