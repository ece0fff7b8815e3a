package engine

import (
	"context"
	"slices"
	"strconv"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/store"
)

// A response that holds values is told in the log before it is sent: one leaf names
// the objects and the paths. Values are what is sealed in some mode: variables and
// drafts, business keys, messages of incidents, files, who acted, and reasons. Ids,
// element ids, states, times, groups and users are routing and are not told of.

// shown is what a response shows of one object.
type shown struct {
	object  store.ID
	element string   // that it was shown for; may be empty
	paths   []string // a path stands for all that is below it
}

// shownSize bounds the bytes of one field of a leaf that says what was shown.
const shownSize = 32 << 10

// tellShown has the log tell what a response shows. Unless it returns nil, the
// response must not be sent. Nothing is told of a response that shows nothing.
func (e *Engine) tellShown(ctx context.Context, c Caller, kind, who string, items ...shown) error {
	items = slices.DeleteFunc(items, func(s shown) bool { return len(s.paths) == 0 })
	if len(items) == 0 {
		return nil
	}
	return e.record(ctx, c.Scope, act{kind: kind, act: who, elem: commonElement(items), actor: c, fields: shownFields(items)})
}

// commonElement returns the element that all of it was shown for, "" if there are
// several.
func commonElement(items []shown) string {
	for _, item := range items {
		if item.element != items[0].element {
			return ""
		}
	}
	return items[0].element
}

// shownFields returns $shown, a list of objects with their paths, and its
// continuations $shown/1 .. if it is too large for one field.
func shownFields(items []shown) []fieldWrite {
	var fields []fieldWrite
	var list canon.List
	size := 0
	flush := func() {
		path := "$shown"
		if len(fields) > 0 {
			path += "/" + strconv.Itoa(len(fields))
		}
		fields = append(fields, fieldWrite{path: path, value: list})
		list, size = nil, 0
	}
	for _, item := range items {
		var paths canon.List
		for _, path := range item.paths {
			if size += len(path) + 8; size > shownSize {
				list = append(list, item.value(paths))
				flush()
				paths, size = nil, len(path)+8
			}
			paths = append(paths, canon.String(path))
		}
		list = append(list, item.value(paths))
		size += 80
	}
	flush()
	return fields
}

func (s shown) value(paths canon.List) *canon.Context {
	return newContext(
		canon.Entry{Name: "object", Value: canon.String(textID(s.object))},
		canon.Entry{Name: "paths", Value: paths},
	)
}

// namesOf returns the names of variables, without those that were erased.
func namesOf(variables *canon.Context, erased []string) []string {
	names := make([]string, 0, variables.Len())
	for i := range variables.Len() {
		if name := variables.At(i).Name; !slices.Contains(erased, name) {
			names = append(names, name)
		}
	}
	return names
}
