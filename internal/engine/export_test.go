package engine

import (
	"context"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// FailErasures lets what an erasure makes durable fail with the error that fault
// returns for it; nil ends that.
func FailErasures(e *Engine, fault func(point string) error) { e.testingOnlyFault = fault }

// PastEntry is a leaf of no object, opened and checked.
type PastEntry struct {
	Leaf   ledger.Leaf
	Fields map[string]canon.Value
}

// OpenEntry opens an entry of the caller's log.
func OpenEntry(ctx context.Context, e *Engine, c Caller, id store.ID) (PastEntry, error) {
	past, err := e.openEntry(ctx, c.Scope, id)
	return PastEntry{past.leaf, past.fields}, err
}

// RecordEntry makes an entry with these fields durable.
func RecordEntry(ctx context.Context, e *Engine, c Caller, kind string, fields map[string]canon.Value) error {
	a := act{kind: kind, act: "user", actor: c}
	for path, value := range fields {
		a.fields = append(a.fields, fieldWrite{path: path, value: value})
	}
	return e.record(ctx, c.Scope, a)
}
