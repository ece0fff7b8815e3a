package engine

import (
	"context"
	"slices"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// FullTile is a tile that has become full.
type FullTile struct {
	Level  int
	Index  uint64
	Hashes []byte
}

// GrowTree returns functions that add a leaf to a tree, which gives the tiles that
// are full by it, and that give its root.
func GrowTree() (grow func(ledger.Hash) []FullTile, root func() ledger.Hash) {
	tree := &grownTree{}
	return func(leaf ledger.Hash) (full []FullTile) {
		err := tree.add(leaf, func(t fullTile) error {
			full = append(full, FullTile{t.level, t.index, slices.Clone(t.hashes)})
			return nil
		})
		if err != nil {
			panic(err)
		}
		return full
	}, tree.root
}

// FileKey returns the key that an instance's file is sealed under, and the place that its
// bytes belong to.
func (e *Engine) FileKey(ctx context.Context, tenant, instance, name string) (envelope.Key, envelope.Context, error) {
	id, err := store.ParseID(instance)
	if err != nil {
		return envelope.Key{}, envelope.Context{}, err
	}
	scope := e.TenantScope(tenant)
	live, err := e.Open(ctx, scope, id)
	if err != nil {
		return envelope.Key{}, envelope.Context{}, err
	}
	blob, _ := parseFileName(name)
	f, err := e.openFile(ctx, live, blob)
	if err != nil {
		return envelope.Key{}, envelope.Context{}, err
	}
	return f.key, e.fileContext(scope, "blob", blob), nil
}
