package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// A goFile is a parsed source file. Offsets are those in its text, whatever its line
// directives say.
type goFile struct {
	text  []byte
	set   *token.FileSet
	ast   *ast.File
	funcs map[string]*ast.FuncDecl // by receiver type and name; init by its number as well
}

func parseGo(text []byte) (*goFile, error) {
	f := &goFile{text: text, set: token.NewFileSet(), funcs: map[string]*ast.FuncDecl{}}
	var err error
	if f.ast, err = parser.ParseFile(f.set, "", text, parser.ParseComments|parser.SkipObjectResolution); err != nil {
		return nil, fmt.Errorf("it does not parse: %w", err)
	}
	for _, d := range f.ast.Decls {
		d, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		key := d.Name.Name
		if d.Recv != nil {
			key = f.slice(d.Recv.List[0].Type) + "." + key
		}
		for n := 2; f.funcs[key] != nil; n++ { // init and _ may occur again
			key = fmt.Sprint(d.Name.Name, " ", n)
		}
		f.funcs[key] = d
	}
	return f, nil
}

func (f *goFile) start(n ast.Node) int { return f.set.File(n.Pos()).Offset(n.Pos()) }
func (f *goFile) end(n ast.Node) int   { return f.set.File(n.Pos()).Offset(n.End()) }
func (f *goFile) line(n ast.Node) int  { return f.set.File(n.Pos()).Line(n.Pos()) }

// slice is a node's text; a declaration's without the comment above it.
func (f *goFile) slice(n ast.Node) string { return string(f.text[f.start(n):f.end(n)]) }

func (f *goFile) signature(d *ast.FuncDecl) string {
	return string(f.text[f.start(d):f.end(d.Type)])
}

// rest is what two files must share to be woven: the package's name, directives, and
// all declarations but functions, imports, and variables that only have a name used.
func (f *goFile) rest() string {
	parts := []string{f.ast.Name.Name}
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			if directive.MatchString(c.Text) {
				parts = append(parts, c.Text)
			}
		}
	}
	for _, d := range f.ast.Decls {
		if d, ok := d.(*ast.GenDecl); ok && d.Tok != token.IMPORT && !usesOnly(d) {
			parts = append(parts, f.slice(d))
		}
	}
	return strings.Join(parts, "\n")
}

var directive = regexp.MustCompile(`^//(go:|export |line )|^/\*line `)

// usesOnly reports whether a declaration is of the form var _ = name.
func usesOnly(d *ast.GenDecl) bool {
	for _, spec := range d.Specs {
		v, ok := spec.(*ast.ValueSpec)
		if !ok || d.Tok != token.VAR || len(v.Names) != 1 || v.Names[0].Name != "_" || len(v.Values) != 1 || v.Type != nil {
			return false
		}
		value := v.Values[0]
		if s, ok := value.(*ast.SelectorExpr); ok {
			value = s.X
		}
		if _, ok := value.(*ast.Ident); !ok {
			return false
		}
	}
	return true
}

var version = regexp.MustCompile(`^v\d+$`)

// imports returns the imports by the name that they have in the file.
func (f *goFile) imports() map[string]*ast.ImportSpec {
	specs := map[string]*ast.ImportSpec{}
	for _, spec := range f.ast.Imports {
		from, _ := strconv.Unquote(spec.Path.Value)
		name := path.Base(from)
		if version.MatchString(name) {
			name = path.Base(path.Dir(from))
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		if name == "_" || name == "." {
			name += from
		}
		specs[name] = spec
	}
	return specs
}

// A call is how a function hands its arguments on to one of its variants.
type call struct {
	receiver  string // "" or "l."
	name      string
	types     string // "" or "[K, V]"
	arguments string
	results   bool
}

func (c call) variant(patch string) string {
	return "bite_" + strings.Map(identifier, patch) + "_" + c.name
}

func identifier(r rune) rune {
	if r == '-' || r == '.' {
		return '_'
	}
	return r
}

func (c call) choice(patch string) string {
	to := fmt.Sprintf("%s%s%s(%s)", c.receiver, c.variant(patch), c.types, c.arguments)
	if c.results {
		return fmt.Sprintf(" if %s == %q { return %s };", chosen, patch, to)
	}
	return fmt.Sprintf(" if %s == %q { %s; return };", chosen, patch, to)
}

// callOf returns the call and the edits that give names to parameters without one.
func (f *goFile) callOf(d *ast.FuncDecl) (c call, edits []edit) {
	c = call{name: d.Name.Name, results: d.Type.Results != nil && len(d.Type.Results.List) > 0}
	if d.Recv != nil {
		names, more := f.names(d.Recv, "biteReceiver")
		c.receiver, edits = names[0]+".", more
	}
	if d.Type.TypeParams != nil {
		names, more := f.names(d.Type.TypeParams, "BiteType")
		c.types, edits = "["+strings.Join(names, ", ")+"]", append(edits, more...)
	}
	names, more := f.names(d.Type.Params, "biteParameter")
	c.arguments = strings.Join(names, ", ")
	if list := d.Type.Params.List; len(list) > 0 {
		if _, variadic := list[len(list)-1].Type.(*ast.Ellipsis); variadic {
			c.arguments += "..."
		}
	}
	return c, append(edits, more...)
}

// names returns the names of all fields and the edits that name those without one.
func (f *goFile) names(fields *ast.FieldList, prefix string) (names []string, edits []edit) {
	for _, field := range fields.List {
		if len(field.Names) == 0 {
			name := fmt.Sprint(prefix, len(names))
			edits = append(edits, edit{at: f.start(field.Type), text: name + " "})
			names = append(names, name)
		}
		for _, given := range field.Names {
			name := given.Name
			if name == "_" {
				name = fmt.Sprint(prefix, len(names))
				edits = append(edits, edit{at: f.start(given), remove: len("_"), text: name})
			}
			names = append(names, name)
		}
	}
	return names, edits
}
