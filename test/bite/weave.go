package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"go/ast"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// The woven sources choose a variant by a variable, which each process reads once.
const (
	chosen      = "biteVariant"
	environment = "BITE_VARIANT"
)

// A weave is the sources of one build in which every patched function exists in all
// its variants. A patched function keeps its body behind a line of choices,
//
//	func (l *Log) Add(n int) error { if biteVariant == "log-add" { return l.bite_log_add_Add(n) }; ..
//
// and the body that the patch gives it goes into a function of its own behind the
// file's end, since what a body means does not change at the top of a function. Lines
// keep their numbers, and those of a variant bear the name of its patch.
type weave struct {
	sources map[string]*source // by path within the tree
}

// A source is a file and what the patches make of it.
type source struct {
	before   *goFile
	variants []variant
}

// A variant is what one patch makes of one file.
type variant struct {
	patch   string
	after   *goFile
	changed []string // functions with another body
	added   []string // new functions
	imports []*ast.ImportSpec
}

// add takes up a patch. The error says why the patch does not fit.
func (w *weave) add(patch string, changes []change) error {
	found := map[string]variant{}
	for _, c := range changes {
		v, err := newVariant(patch, c)
		if err == nil {
			err = w.checkNames(c.path, v)
		}
		if err != nil {
			return err
		}
		found[c.path] = v
	}
	for _, c := range changes {
		if w.sources[c.path] == nil {
			before, err := parseGo(c.before)
			if err != nil {
				return err
			}
			w.sources[c.path] = &source{before: before}
		}
		s := w.sources[c.path]
		s.variants = append(s.variants, found[c.path])
	}
	return nil
}

// drop takes a patch out again, and reports whether it was there.
func (w *weave) drop(patch string) (found bool) {
	maps.DeleteFunc(w.sources, func(_ string, s *source) bool {
		had := len(s.variants)
		s.variants = slices.DeleteFunc(s.variants, func(v variant) bool { return v.patch == patch })
		found = found || len(s.variants) < had
		return len(s.variants) == 0
	})
	return found
}

// newVariant compares a file without and with the patch. All that lies outside the
// bodies of functions must be the same, or the variants could not live in one build.
func newVariant(patch string, c change) (v variant, err error) {
	switch {
	case path.Ext(c.path) != ".go" || strings.HasSuffix(c.path, "_test.go"):
		return v, fmt.Errorf("%s is no Go file of a package", c.path)
	case c.before == nil || c.after == nil:
		return v, fmt.Errorf("it makes or removes %s", c.path)
	}
	before, err := parseGo(c.before)
	if err != nil {
		return v, err
	}
	v = variant{patch: patch}
	if v.after, err = parseGo(c.after); err != nil {
		return v, err
	}
	if before.rest() != v.after.rest() {
		return v, fmt.Errorf("it changes a declaration or directive of %s", c.path)
	}
	if err := v.compareFunctions(before); err != nil {
		return v, err
	}
	if v.imports, err = newImports(before, v.after); err != nil {
		return v, err
	}
	if len(v.changed) == 0 {
		return v, fmt.Errorf("it changes no function of %s", c.path)
	}
	return v, nil
}

func (v *variant) compareFunctions(before *goFile) error {
	for key, is := range v.after.funcs {
		was := before.funcs[key]
		switch {
		case was == nil && (is.Recv != nil || is.Name.Name == "init"):
			return fmt.Errorf("it adds %s, which other variants would get as well", key)
		case was == nil:
			v.added = append(v.added, key)
		case is.Body == nil || was.Body == nil || before.signature(was) != v.after.signature(is):
			if v.after.slice(is) != before.slice(was) {
				return fmt.Errorf("it changes the signature of %s", key)
			}
		case v.after.slice(is.Body) != before.slice(was.Body):
			v.changed = append(v.changed, key)
		}
	}
	for key, was := range before.funcs {
		if v.after.funcs[key] == nil && (was.Recv != nil || was.Name.Name == "init") {
			return fmt.Errorf("it removes %s", key)
		}
	}
	slices.Sort(v.changed)
	slices.Sort(v.added)
	return nil
}

// newImports returns what the patched file imports besides; imports that it no longer
// needs stay, since the unpatched functions do.
func newImports(before, after *goFile) (added []*ast.ImportSpec, err error) {
	had := before.imports()
	for name, spec := range after.imports() {
		was := had[name]
		switch {
		case was == nil && spec.Name != nil && (spec.Name.Name == "_" || spec.Name.Name == "."):
			return nil, fmt.Errorf("it imports %s for all of the package", spec.Path.Value)
		case was == nil:
			added = append(added, spec)
		case was.Path.Value != spec.Path.Value:
			return nil, fmt.Errorf("it imports another package as %s", name)
		}
	}
	return added, nil
}

// checkNames refuses a variant whose new functions or imports another patch adds with
// another meaning.
func (w *weave) checkNames(file string, v variant) error {
	for where, s := range w.sources {
		for _, other := range s.variants {
			if path.Dir(where) == path.Dir(file) && slices.ContainsFunc(v.added, func(key string) bool { return slices.Contains(other.added, key) }) {
				return fmt.Errorf("%s adds a function of the same name", other.patch)
			}
			if where != file {
				continue
			}
			if _, err := newImports(other.after, v.after); err != nil {
				return fmt.Errorf("beside %s, %w", other.patch, err)
			}
		}
	}
	return nil
}

// text is the woven file.
func (s *source) text() ([]byte, error) {
	var edits []edit
	var behind bytes.Buffer
	named := map[string]call{} // functions that have got their choices
	imported := map[string]bool{}
	for _, v := range s.variants {
		for _, spec := range v.imports {
			if text := v.after.slice(spec); !imported[text] {
				imported[text] = true
				edits = append(edits, edit{at: s.before.end(s.before.ast.Name), text: "; import " + text})
			}
		}
		for _, key := range v.changed {
			c, ok := named[key]
			if !ok {
				var names []edit
				c, names = s.before.callOf(s.before.funcs[key])
				edits, named[key] = append(edits, names...), c
			}
			edits = append(edits, edit{at: s.before.start(s.before.funcs[key].Body) + 1, text: c.choice(v.patch)})
			v.write(&behind, v.after.funcs[key], c.variant(v.patch))
		}
		for _, key := range v.added {
			v.write(&behind, v.after.funcs[key], key)
		}
	}
	text, err := applyEdits(s.before.text, edits)
	return append(append(text, '\n'), behind.Bytes()...), err
}

// write appends a function of the patched file under another name. The directive
// gives compile errors and stack traces the patch's name.
func (v variant) write(to *bytes.Buffer, f *ast.FuncDecl, name string) {
	text, at := v.after.slice(f), v.after.start(f.Name)-v.after.start(f)
	fmt.Fprintf(to, "\n//line %s.patch:%d\n%s%s%s\n", v.patch, v.after.line(f), text[:at], name, text[at+len(f.Name.Name):])
}

var patchNames = regexp.MustCompile(`([^\s/\\:]+)\.patch:\d+`)

// blamed returns the patches that the output of the compiler names.
func blamed(out []byte) (patches []string) {
	for _, match := range patchNames.FindAllSubmatch(out, -1) {
		patches = append(patches, string(match[1]))
	}
	slices.Sort(patches)
	return slices.Compact(patches)
}

// An edit puts text in the place of some bytes.
type edit struct {
	at, remove int
	text       string
}

func applyEdits(text []byte, edits []edit) ([]byte, error) {
	slices.SortStableFunc(edits, func(a, b edit) int { return cmp.Compare(a.at, b.at) })
	var woven []byte
	done := 0
	for _, e := range edits {
		if e.at < done {
			return nil, errors.New("edits overlap")
		}
		woven = append(append(woven, text[done:e.at]...), e.text...)
		done = e.at + e.remove
	}
	return append(woven, text[done:]...), nil
}
