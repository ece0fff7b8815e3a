package engine

import (
	"github.com/underseal/underseal/internal/fault"
)

// failures are errors of work on many things, of which one that fails must not keep
// the others from being done.
type failures struct {
	count int
	first error
}

func (f *failures) add(err error) {
	if f.count++; f.first == nil {
		f.first = err
	}
}

// err returns nil when nothing failed, and else an error of the first one's kind.
func (f *failures) err() error {
	if f.count <= 1 {
		return f.first
	}
	return fault.New(fault.KindOf(f.first), "%d things failed, of which the first: %w", f.count, f.first).WithCode(fault.CodeOf(f.first))
}
