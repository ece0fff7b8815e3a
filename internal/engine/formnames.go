package engine

import (
	"maps"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/underseal/underseal/internal/process"
)

// A form names the properties that it describes, with all below them unless it
// describes these one by one. Who does a task sees what its form names.

// Bounds of how many properties of a form count, and of the work to find them: schemas
// that refer to each other can describe more than any memory holds. No form for people
// comes near them.
const (
	maxFormNames = 1000
	maxFormSteps = 100_000
)

// names reports whether a form names a field, whose path is spelled as a policy does. The
// draft is made of the form. Without a form nothing is named but that.
func (f *form) names(p *process.Policy, path string) bool {
	if process.IsDraft(path) {
		return true
	}
	return f != nil && slices.ContainsFunc(f.named, func(place string) bool { return p.Holds(path, place) })
}

// formWalk collects what a schema names.
type formWalk struct {
	named []string
	steps int
	above []*jsonschema.Schema // that were entered: schemas may refer to themselves
}

// inside collects what a schema names below a path, and reports whether it names anything.
func (w *formWalk) inside(s *jsonschema.Schema, path string) (some bool) {
	if w.steps++; s == nil || slices.Contains(w.above, s) || len(w.named) >= maxFormNames || w.steps > maxFormSteps {
		return false
	}
	w.above = append(w.above, s)
	defer func() { w.above = w.above[:len(w.above)-1] }()
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		some = w.part(s.Properties[name], process.EntryPath(path, name)) || some
	}
	if path != "" {
		for _, item := range items(s) {
			some = w.part(item, process.ItemsPath(path)) || some
		}
	}
	for _, other := range besides(s) {
		some = w.inside(other, path) || some
	}
	return some
}

// part collects what a schema names of one property or item: that one itself, unless it
// describes what is in it. One that may not be there is not named.
func (w *formWalk) part(s *jsonschema.Schema, path string) bool {
	if s.Bool != nil && !*s.Bool {
		return false
	}
	if !w.inside(s, path) && len(w.named) < maxFormNames && !slices.Contains(w.named, path) {
		w.named = append(w.named, path)
	}
	return true
}

// items returns the schemas of a list's items.
func items(s *jsonschema.Schema) []*jsonschema.Schema {
	all := slices.Clone(s.PrefixItems)
	switch items := s.Items.(type) {
	case *jsonschema.Schema:
		all = append(all, items)
	case []*jsonschema.Schema:
		all = append(all, items...)
	}
	if s.Items2020 != nil {
		all = append(all, s.Items2020)
	}
	return all
}

// besides returns the schemas that describe the same value as s.
func besides(s *jsonschema.Schema) []*jsonschema.Schema {
	all := slices.Concat(s.AllOf, s.AnyOf, s.OneOf, []*jsonschema.Schema{s.Ref, s.Then, s.Else})
	for _, name := range slices.Sorted(maps.Keys(s.DependentSchemas)) {
		all = append(all, s.DependentSchemas[name])
	}
	return all
}
