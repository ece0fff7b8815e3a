package engine

import (
	"slices"

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
