package bpmn

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/underseal/underseal/internal/fault"
)

// diagnostic is one reason why a model cannot be deployed.
type diagnostic struct {
	line    int
	element string
	message string
}

// diagnostics collects reasons; one model's are reported all at once.
type diagnostics struct {
	model string
	found []diagnostic
	seen  map[diagnostic]bool
}

// add records a reason against n, which is named by its own id or by that of the
// nearest element around it that has one.
func (d *diagnostics) add(n *Node, format string, args ...any) {
	found := diagnostic{line: n.Line, element: n.owner().ID(), message: fmt.Sprintf(format, args...)}
	if !d.seen[found] {
		d.seen[found] = true
		d.found = append(d.found, found)
	}
}

// err returns all reasons in the order of the file, or nil.
func (d *diagnostics) err() error {
	if len(d.found) == 0 {
		return nil
	}
	slices.SortStableFunc(d.found, func(a, b diagnostic) int {
		return cmp.Or(cmp.Compare(a.line, b.line), strings.Compare(a.element, b.element))
	})
	e := fault.New(fault.Invalid, "compile %q: %d reasons against it", d.model, len(d.found)).WithCode("invalid_model")
	if len(d.found) == 1 {
		e.Message = fmt.Sprintf("compile %q: 1 reason against it", d.model)
	}
	for _, f := range d.found {
		e.Details = append(e.Details, detail(d.model, f.line, f.element, f.message))
	}
	return e
}

func detail(model string, line int, element, message string) fault.Detail {
	place := fmt.Sprintf("%s:%d", model, line)
	if element != "" {
		place += " " + element
	}
	return fault.Detail{Place: place, Message: message}
}

// at is the error of a file that cannot be read at all.
func at(model string, line int, element, message string) error {
	return fault.New(fault.Invalid, "parse %q: not readable as BPMN", model).WithCode("invalid_model").
		WithDetails(detail(model, max(line, 1), element, message))
}
