package engine

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/store"
)

// A response that holds values is told in the log before it is sent: one leaf names
// the objects and the paths. Values are what is sealed in some mode: variables and
// drafts, business keys, messages of incidents, files, who acted, and reasons. Ids,
// element ids, states, times, groups and users are routing and are not told of.

// shown is what a response shows of one object.
type shown struct {
	object   store.ID
	element  string   // that it was shown for; may be empty
	paths    []string // a path stands for all that is below it
	withheld []string // below these, and not shown
	revealed []string // that a grant was needed for
	purposes []string // of these
	glasses  []string // break-glasses that were needed for some of them
}

// shownSize bounds the bytes of one field of a leaf that says what was shown.
const shownSize = 32 << 10

// tellShown has the log tell what a response shows. Unless it returns nil, the
// response must not be sent. Nothing is told of a response that shows nothing, nor of one
// to somebody who is not who it was decided for any more: then it is a Conflict
// ("caller_changed"), and is decided anew.
func (e *Engine) tellShown(ctx context.Context, c Caller, kind, who string, items ...shown) error {
	items = slices.DeleteFunc(items, func(s shown) bool { return len(s.paths) == 0 })
	if len(items) == 0 {
		return nil
	}
	fields := pathFields("$shown", items, func(s shown) []string { return s.paths })
	fields = append(fields, pathFields("$withheld", items, func(s shown) []string { return s.withheld })...)
	revealed := pathFields("$revealed", items, func(s shown) []string { return s.revealed })
	if len(revealed) > 0 && kind == dataShown {
		kind = dataRevealed
	}
	fields = append(append(fields, revealed...), purposeField(c, items)...)
	fields = append(fields, glassField(items)...)
	return e.recordOf(ctx, c.Scope, &c, act{kind: kind, act: who, elem: commonElement(items), actor: c, fields: fields})
}

// Kinds of the entries that tell what was shown.
const (
	dataShown    = "data.shown"
	dataRevealed = "data.revealed" // the same, if something of it was shown by a grant to reveal or by break-glass
	dataExported = "data.exported"
	dataSearched = "data.searched" // by something sensitive, and nothing was named
)

// tellSearched has the log tell of a search by a sensitive value, or for a person, that
// names nothing: that there is none is an answer, too. The value is not told.
func (e *Engine) tellSearched(ctx context.Context, c Caller, process, path string, by shown) error {
	said := newContext(canon.Entry{Name: "path", Value: canon.String(path)}, canon.Entry{Name: "process", Value: canon.String(process)})
	fields := append([]fieldWrite{{path: "$searched", value: said}}, purposeField(c, []shown{by})...)
	fields = append(fields, glassField([]shown{by})...)
	return e.recordOf(ctx, c.Scope, &c, act{kind: dataSearched, act: "user", actor: c, fields: fields})
}

// purposeField says what it was shown for: as the request says, else as the grants say
// that something was revealed by, each on a line.
func purposeField(c Caller, items []shown) []fieldWrite {
	var all []string
	for _, item := range items {
		all = append(all, item.purposes...)
	}
	text := cmp.Or(c.Purpose, strings.Join(sorted(all), "\n"))
	if text == "" {
		return nil
	}
	return []fieldWrite{{path: "$purpose", value: canon.String(text)}}
}

// glassField names the break-glasses that something was shown by.
func glassField(items []shown) []fieldWrite {
	var all []string
	for _, item := range items {
		all = append(all, item.glasses...)
	}
	if len(all) == 0 {
		return nil
	}
	var ids canon.List
	for _, id := range sorted(all) {
		ids = append(ids, canon.String(id))
	}
	return []fieldWrite{{path: "$break_glass", value: ids}}
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

// pathFields returns a list of objects with paths of theirs, and its continuations name/1
// .. if it is too large for one field. Objects without any are left out.
func pathFields(name string, items []shown, pathsOf func(shown) []string) []fieldWrite {
	var fields []fieldWrite
	var list canon.List
	size := 0
	flush := func() {
		path := name
		if len(fields) > 0 {
			path += "/" + strconv.Itoa(len(fields))
		}
		fields = append(fields, fieldWrite{path: path, value: list})
		list, size = nil, 0
	}
	for _, item := range items {
		var paths canon.List
		if len(pathsOf(item)) == 0 {
			continue
		}
		for _, path := range pathsOf(item) {
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
	if len(list) > 0 {
		flush()
	}
	return fields
}

func (s shown) value(paths canon.List) *canon.Context {
	return newContext(
		canon.Entry{Name: "object", Value: canon.String(textID(s.object))},
		canon.Entry{Name: "paths", Value: paths},
	)
}
