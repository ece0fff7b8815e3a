package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
)

// maxNoted is how many versions of a process are looked at for what a grant names.
const maxNoted = 20

// notesOn says what of a grant nothing fits that is deployed. It was given all the same,
// since what is deployed later may have it. Who may not see the process is told nothing of
// it.
func (e *Engine) notesOn(ctx context.Context, c Caller, g access.Grant) []string {
	notes := []string{}
	if g.Process == "" || g.Process == access.All || !e.sees(c, access.ReadProcess, processResource(c.Scope, g.Process)) {
		return notes
	}
	missing, newest, err := e.missingOf(ctx, c, g)
	switch {
	case fault.Is(err, fault.NotFound):
		return append(notes, notDeployed(g.Process))
	case err != nil: // the grant stands
		return append(notes, fmt.Sprintf("what is deployed of %q cannot be read now, so nothing was compared with it", g.Process))
	}
	which := "no version"
	if newest > maxNoted {
		which = fmt.Sprintf("none of the newest %d versions", maxNoted)
	}
	for _, p := range missing {
		notes = append(notes, fmt.Sprintf("%s of %q has %s", which, g.Process, p.what))
	}
	return notes
}

// notDeployed is told to who may see the process.
func notDeployed(id string) string { return fmt.Sprintf("no process %q is deployed (yet)", id) }

// grantPart is what a grant names of a process.
type grantPart struct {
	what string
	in   func(*definition, []*form) bool
}

// missingOf returns what a grant names that none of the newest versions of its process has,
// and the number of the newest. NotFound: there is none.
func (e *Engine) missingOf(ctx context.Context, c Caller, g access.Grant) (parts []grantPart, newest int, err error) {
	d, err := e.version(ctx, c.Scope, g.Process, 0)
	if err != nil {
		return nil, 0, err
	}
	parts, newest = partsOf(g), d.head.version
	for version := newest; len(parts) > 0 && version > max(0, newest-maxNoted); version-- {
		if d, err = e.version(ctx, c.Scope, g.Process, version); err != nil {
			return nil, newest, err
		}
		var forms []*form
		for name := range d.files {
			f, err := e.form(ctx, d, name)
			if err != nil {
				return nil, newest, err
			}
			forms = append(forms, f)
		}
		parts = slices.DeleteFunc(parts, func(p grantPart) bool { return p.in(d, forms) })
	}
	return parts, newest, nil
}

// partsOf returns what a grant names of its process.
func partsOf(g access.Grant) (parts []grantPart) {
	if g.Task != "" {
		parts = append(parts, grantPart{fmt.Sprintf("a task %q", g.Task), func(d *definition, _ []*form) bool {
			i, ok := d.compiled.Element(g.Task)
			return ok && (d.compiled.Elements[i].User != nil || d.compiled.Elements[i].Job != nil)
		}})
	}
	if g.Where != nil {
		parts = append(parts, grantPart{fmt.Sprintf("a searchable field %q", g.Where.Path), func(d *definition, _ []*form) bool {
			return slices.ContainsFunc(d.compiled.Policy.Fields, func(f process.FieldPolicy) bool { return f.Path == g.Where.Path && f.Search == "exact" })
		}})
	}
	for _, path := range g.Fields {
		if path == access.All || strings.HasPrefix(path, "$") { // who acted, the business key
			continue
		}
		parts = append(parts, grantPart{fmt.Sprintf("a field %q in its policy, its forms or an expression", path), func(d *definition, forms []*form) bool {
			variable := process.VariableOf(path)
			return d.compiled.Mentions(variable) || slices.ContainsFunc(forms, func(f *form) bool { return f.mentions(variable) })
		}})
	}
	return parts
}

// mentions reports whether a form names a variable, or something in it.
func (f *form) mentions(variable string) bool {
	return slices.ContainsFunc(f.named, func(path string) bool { return process.VariableOf(path) == variable })
}
