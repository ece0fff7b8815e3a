package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A small module stands for the project: safeties, and tests that need them.
var files = map[string]string{
	".gitignore": "/bin/\n",
	"go.mod":     "module example.org/p\n\ngo 1.26\n",
	"p.go": `package p

import "strings"

const most = 3

func Safe(n int) bool {
	return n > 0
}

// Cut has named results that its body declares anew.
func Cut(text string) (rest string, err error) {
	rest, found := strings.CutPrefix(text, "a:")
	defer func() {
		if !found {
			rest = ""
		}
	}()
	return rest, err
}

func Steps(n int) (steps int) {
outer:
	for range n {
		for range n {
			if steps++; steps >= most {
				break outer
			}
		}
	}
	return steps
}

type List[T any] struct{ items []T }

func (*List[T]) Name() string { return "list" }

func (l *List[T]) Add(_ string, items ...T) {
	if len(items) > most {
		return
	}
	l.items = append(l.items, items...)
}

func First[T any](_ int, items []T) (T, bool) {
	var none T
	if len(items) == 0 {
		return none, false
	}
	return items[0], true
}
`,
	"p_test.go": `package p

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestZeroIsRefused(t *testing.T) {
	if Safe(0) {
		t.Error("0 accepted")
	}
}

func TestOther(t *testing.T) {}

func TestPrefix(t *testing.T) {
	if rest, _ := Cut("b"); rest != "" {
		t.Error(rest)
	}
}

func TestSteps(t *testing.T) {
	t.Run("at most", func(t *testing.T) {
		if n := Steps(9); n != 3 {
			t.Error(n)
		}
	})
}

func TestList(t *testing.T) {
	var l List[int]
	if l.Add("", 1, 2, 3, 4); len(l.items) != 0 || l.Name() != "list" {
		t.Error(l.items, l.Name())
	}
}

func TestFirst(t *testing.T) {
	if _, ok := First(0, []string{}); ok {
		t.Error("found one of none")
	}
}

func TestPrograms(t *testing.T) {
	out, err := exec.Command("go", "run", "./cmd").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "false" {
		t.Error(string(out), err)
	}
}

func TestSource(t *testing.T) {
	if text, err := os.ReadFile("p.go"); err != nil || !strings.Contains(string(text), "n > 0") {
		t.Error("not there", err)
	}
}

// The name of the subtest is another one in each run.
func TestChance(t *testing.T) {
	t.Run(fmt.Sprint("process/", os.Getpid()), func(t *testing.T) {
		if Safe(0) {
			t.Error("0 accepted")
		}
	})
}

func TestCount(t *testing.T) {
	ran := 0
	for _, name := range []string{"nothing", "zero"} {
		t.Run(name, func(t *testing.T) {
			if ran++; name == "zero" && Safe(0) {
				t.Error("0 accepted")
			}
		})
	}
	if ran != 2 {
		t.Error("it needs both")
	}
}

func TestBroken(t *testing.T) { t.Skip("replaced in a test") }
`,
	"cmd/main.go":      "package main\n\nimport \"example.org/p\"\n\nfunc main() {\n\tprintln(p.Safe(0))\n}\n",
	"nested/go.mod":    "module example.org/p/nested\n\ngo 1.26\n",
	"nested/n.go":      "package n\n\nfunc Safe(n int) bool {\n\treturn n > 0\n}\n",
	"nested/n_test.go": "package n\n\nimport \"testing\"\n\nfunc TestZeroIsRefused(t *testing.T) {\n\tif Safe(0) {\n\t\tt.Error(\"0 accepted\")\n\t}\n}\n",
}

const safe, test = "func Safe(n int) bool {\n\treturn n > 0\n}\n", "Test: . -run TestZeroIsRefused"

// A case is a patch of the project and what is said of it.
type patchCase struct {
	name, header, file, old, new string
	want                         string // part of the line with its verdict
	alone                        string // part of the line that says why it was built alone; empty: it was not
}

var patchCases = []patchCase{
	{"true", test, "p.go", "return n > 0", "return true", "bites", ""},
	{"crash", test, "p.go", "return n > 0", `panic("no")`, "TestZeroIsRefused panic: no", ""},
	{"innermost", "Test: . -run TestSteps -short", "p.go", "steps >= most", "steps >= 2*most", "TestSteps/at_most", ""},
	{"shadow", "Test: . -run TestPrefix -timeout 1m", "p.go", "if !found", "if err == nil && found", "bites", ""},
	{"label", "Test: . -run TestSteps", "p.go", "break outer", "continue outer", "bites", ""},
	{"method", "Test: . -run TestList", "p.go", "if len(items) > most", "if len(items) > 2*most", "bites", ""},
	{"receiver", "Test: . -run TestList", "p.go", `return "list"`, `return "tsil"`, "bites", ""},
	{"generic", "Test: . -run TestFirst", "p.go", "return none, false", "return none, true", "bites", ""},
	{"import", test, "p.go", safe, "func Safe(n int) bool {\n\treturn errors.Join() == nil || accept()\n}\n\nfunc accept() bool { return true }\n", "bites", ""},
	{"chance", "Test: . -run TestChance", "p.go", "return n > 0", "return true", "TestChance/process/", ""},
	{"counted", "Test: . -run TestCount", "p.go", "return n > 0", "return true", "TestCount/zero", ""},
	{"program", "Test: . -run TestPrograms", "p.go", "return n > 0", "return n >= 0", "bites", ""},

	{"constant", "Test: . -run TestSteps", "p.go", "most = 3", "most = 4", "bites", "it changes a declaration or directive of p.go"},
	{"signature", test, "p.go", "func Safe(n int) bool {\n\treturn n > 0", "func Safe(_ int) bool {\n\treturn true", "bites", "it changes the signature of Safe"},
	{"added-method", "Test: . -run TestList", "p.go", safe, safe + "\nfunc (List[T]) String() string { return \"\" }\n", "FAIL", "which other variants would get as well"},
	{"no-source", test, "p_test.go", "if Safe(0)", "if !Safe(0)", "bites", "p_test.go is no Go file of a package"},
	{"source", "Test: . -run TestSource", "p.go", "return n > 0", "return n >= 1", "bites", "passes without the safety"},

	{"passes", "Test: . -run TestOther", "p.go", "return n > 0", "return true", "passes without the safety", "passes without the safety"},
	{"none", "Test: . -run TestNone", "p.go", "return n > 0", "return true", "no test ran", "no test ran"},
	{"nonsense", test, "p.go", "return n > 0", "return nonsense", "does not compile", "undefined: nonsense"},
	{"nested", "Module: nested\n" + test, "nested/n.go", "return n > 0", "return true", "bites", ""},
}

func TestOnlyATestThatRanAndFailedBites(t *testing.T) {
	makeProject(t)
	for _, c := range patchCases {
		makePatch(t, c)
	}
	stale, err := os.ReadFile("test/bite/true.patch")
	if err != nil {
		t.Fatal(err)
	}
	put(t, "test/bite/stale.patch", strings.ReplaceAll(string(stale), "n > 0", "n > 7"))
	out := runBite(t, "these do not bite")
	for _, c := range append(patchCases, patchCase{name: "stale", want: "does not apply"}) {
		if verdict := lineAbout(out, "bites", c.name) + lineAbout(out, "FAIL", c.name); !strings.Contains(verdict, c.want) {
			t.Errorf("%s: %q, want %q", c.name, verdict, c.want)
		}
		if alone := lineAbout(out, "alone", c.name); !strings.Contains(alone, c.alone) || c.alone == "" && alone != "" {
			t.Errorf("%s: alone: %q, want %q", c.name, alone, c.alone)
		}
	}
	for slot := range parallel {
		for name, text := range files {
			if got, err := os.ReadFile(filepath.Join(tree(slot), name)); err != nil || string(got) != text {
				t.Errorf("a patch was not taken back: %s is %q, %v", name, got, err)
			}
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

func TestATestThatFailsWithoutAnyPatchProvesNothing(t *testing.T) {
	makeProject(t)
	put(t, "p_test.go", strings.NewReplacer(`t.Skip("replaced in a test")`, `t.Error("always")`,
		`os.Getpid()), func(t *testing.T) {`, `os.Getpid()), func(t *testing.T) { t.Error("always")`).Replace(files["p_test.go"]))
	git(t, "commit", "-qam", "broken")
	makePatch(t, patchCase{name: "woven", header: "Test: . -run TestBroken", file: "p.go", old: "n > 0", new: "true"})
	makePatch(t, patchCase{name: "alone", header: "Test: . -run TestBroken", file: "p.go", old: "most = 3", new: "most = 4"})
	makePatch(t, patchCase{name: "chance", header: "Test: . -run TestChance", file: "p.go", old: "n > 0", new: "true"})
	for test, names := range map[string][]string{"TestBroken": {"alone", "woven"}, "TestChance/process/": {"chance"}} {
		out := runBite(t, "these do not bite: "+strings.Join(names, ", "), names...)
		for _, name := range names {
			if line := lineAbout(out, "FAIL", name); !strings.Contains(line, test) || !strings.Contains(line, "fails without any patch") {
				t.Errorf("%s: %q", name, line)
			}
		}
	}
}

func TestArgumentsSelectPatches(t *testing.T) {
	makeProject(t)
	makePatch(t, patchCases[0])
	makePatch(t, patchCase{name: "passes", header: "Test: . -run TestOther", file: "p.go", old: "n > 0", new: "true"})
	out := runBite(t, "", "true")
	if list, err := exec.Command("go", "list", "./...").CombinedOutput(); err != nil || strings.Contains(string(list), "bite") {
		t.Errorf("the project has packages of the build: %s, %v", list, err)
	}
	if !strings.HasSuffix(out, "1 patches, 0 of them built alone, 0 failures\n") {
		t.Error(out)
	}
	if err := run(t.Context(), []string{"true", "unknown"}, t.Output()); err == nil {
		t.Error("run accepts the name of no patch")
	}
}

func TestAPatchWithoutAFittingTestIsRefused(t *testing.T) {
	for _, header := range []string{"Takes out: all", "Test: -run TestOne", "Test: . -run", "Test: . -tags x", "Test: . TestOne"} {
		path := filepath.Join(t.TempDir(), "x.patch")
		put(t, path, header+"\ndiff --git a/p.go b/p.go\n")
		if _, err := read("x", path); err == nil {
			t.Errorf("read accepts %q", header)
		}
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

// makeProject makes the module in a repository and goes there.
func makeProject(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds a test for each patch: left out by -short")
	}
	t.Chdir(t.TempDir())
	for name, text := range files {
		put(t, name, text)
	}
	git(t, "init", "-q")
	git(t, "add", ".")
	git(t, "commit", "-qm", "all")
}

func makePatch(t *testing.T, c patchCase) {
	t.Helper()
	text, err := os.ReadFile(c.file)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), c.old, c.new, 1)
	if strings.Contains(c.new, "errors.") {
		changed = strings.Replace(changed, "import \"strings\"", "import (\n\t\"errors\"\n\t\"strings\"\n)", 1)
	}
	put(t, c.file, changed)
	put(t, "test/bite/"+c.name+".patch", "Takes out: all\n"+c.header+"\n"+git(t, "diff", c.file))
	put(t, c.file, string(text))
}

// runBite returns the output, of a run that fails as wanted or not at all.
func runBite(t *testing.T, want string, names ...string) string {
	t.Helper()
	var out bytes.Buffer
	err := run(t.Context(), names, &out)
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("run = %v, want %q\n%s", err, want, &out)
	}
	return out.String()
}

// lineAbout returns the line that begins with these two words, or nothing.
func lineAbout(out, first, name string) string {
	for line := range strings.Lines(out) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == first && words[1] == name {
			return line
		}
	}
	return ""
}

func git(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=a", "-c", "user.email=a@example.org"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := writeFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
