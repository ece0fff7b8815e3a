package arch_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// purePackages must give the same result for the same arguments, in every
// process, at every time: replay and audit depend on it.
var purePackages = []string{"internal/process/...", "internal/feel/...", "internal/access/..."}

// impure are functions that read the clock, wait, or read files of the machine.
var impure = map[string][]string{
	"time": {"Now", "Since", "Until", "Sleep", "LoadLocation", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"},
	"maps": {"Keys", "Values", "All"}, // in the map's random order; slices.Sorted around them is listed below
}

// allowed names the functions that may do what is forbidden otherwise, and why
// no result depends on it. An entry that excuses nothing is a failure.
var allowed = map[string]string{}

// A purity walks the files of one package.
type purity struct {
	t    *testing.T
	pkg  pkg
	fset *token.FileSet
	info *types.Info
	used map[string]bool
}

func TestPurePackagesReadNoClockAndStartNothing(t *testing.T) {
	exports := exportData(t)
	used := map[string]bool{}
	applies := 0
	for _, p := range list(t) {
		if !matchesAny(purePackages, p.ImportPath) {
			continue
		}
		applies++
		w := &purity{t: t, pkg: p, fset: token.NewFileSet(), used: used}
		w.walk(exports)
	}
	if applies < 3 {
		t.Errorf("applies to %d packages, want at least process, feel and access", applies)
	}
	for name := range allowed {
		if !used[name] {
			t.Errorf("the exception for %s excuses nothing", name)
		}
	}
}

func (w *purity) walk(exports map[string]string) {
	var files []*ast.File
	for _, name := range w.pkg.GoFiles {
		file, err := parser.ParseFile(w.fset, filepath.Join(w.pkg.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			w.t.Fatalf("parse: %v", err)
		}
		files = append(files, file)
	}
	w.info = &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: importer.ForCompiler(w.fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})}
	if _, err := config.Check(w.pkg.ImportPath, w.fset, files, w.info); err != nil {
		w.t.Fatalf("type-check %s: %v", w.pkg.ImportPath, err)
	}
	for _, file := range files {
		for _, decl := range file.Decls {
			w.inspect(decl)
		}
	}
}

// inspect looks at one declaration; exceptions are granted per function.
func (w *purity) inspect(decl ast.Decl) {
	name := w.pkg.local() + "."
	if f, ok := decl.(*ast.FuncDecl); ok {
		name += f.Name.Name
	}
	ast.Inspect(decl, func(n ast.Node) bool {
		what := w.impurity(n)
		switch {
		case what == "":
		case allowed[name] != "":
			w.used[name] = true
		default:
			w.t.Errorf("%s: %s %s, but replay and audit are exact", w.fset.Position(n.Pos()), name, what)
		}
		return true
	})
}

// impurity says what is wrong with a node, or nothing.
func (w *purity) impurity(n ast.Node) string {
	switch n := n.(type) {
	case *ast.GoStmt:
		return "starts a goroutine"
	case *ast.SelectStmt:
		return "selects"
	case *ast.RangeStmt:
		if t := w.info.TypeOf(n.X); t != nil {
			if _, ok := t.Underlying().(*types.Map); ok {
				return "ranges over a map"
			}
		}
	case *ast.Ident:
		f, ok := w.info.Uses[n].(*types.Func)
		if ok && f.Pkg() != nil && f.Signature().Recv() == nil && slices.Contains(impure[f.Pkg().Path()], f.Name()) {
			return "uses " + f.Pkg().Path() + "." + f.Name()
		}
	}
	return ""
}

// exportData maps import paths to the compiler's export data, for type-checking.
func exportData(t *testing.T) map[string]string {
	t.Helper()
	args := []string{"list", "-export", "-deps", "-json=ImportPath,Export"}
	for _, p := range purePackages {
		args = append(args, module+"/"+p)
	}
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		t.Fatalf("go list -export: %v", err)
	}
	exports := map[string]string{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ ImportPath, Export string }
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return exports
		} else if err != nil {
			t.Fatalf("go list wrote something else: %v", err)
		}
		exports[p.ImportPath] = p.Export
	}
}

// A caller rule says who may use a function.
var callerRules = []struct {
	function string // of package
	in       string
	callers  []string
	because  string
}{{
	function: "NewScope", in: "internal/store",
	callers: []string{"internal/store/...", "internal/identity", "internal/engine", "internal/testenv/..."},
	because: "a tenant's rows are reached only by who authenticated as it",
}}

func TestOnlyTheNamedPackagesCall(t *testing.T) {
	all := list(t)
	for _, r := range callerRules {
		t.Run(r.in+"."+r.function, func(t *testing.T) {
			uses := 0
			for _, p := range all {
				for _, at := range usesOf(t, p, module+"/"+r.in, r.function) {
					uses++
					if !matchesAny(r.callers, p.ImportPath) {
						t.Errorf("%s: %s uses %s.%s, but %s", at, p.local(), r.in, r.function, r.because)
					}
				}
			}
			if uses == 0 {
				t.Errorf("nobody uses %s.%s: the rule checks nothing", r.in, r.function)
			}
		})
	}
}

// usesOf lists where the non-test files of p name a function of another package.
func usesOf(t *testing.T, p pkg, importPath, function string) []string {
	t.Helper()
	var places []string
	for _, name := range p.GoFiles {
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatalf("parse: %v", err)
		}
		alias := aliasOf(file, importPath)
		ast.Inspect(file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != function {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == alias {
				places = append(places, fset.Position(n.Pos()).String())
			}
			return true
		})
	}
	return places
}

// aliasOf is the name under which the file imports the package, or empty.
func aliasOf(file *ast.File, importPath string) string {
	for _, spec := range file.Imports {
		if strings.Trim(spec.Path.Value, `"`) != importPath {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return importPath[strings.LastIndex(importPath, "/")+1:]
	}
	return ""
}
