package engine_test

import (
	"crypto/sha256"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/ledger"
)

// TestTheTreeIsThatOfTheEntries grows a tree and compares its roots and tiles with
// another implementation's.
func TestTheTreeIsThatOfTheEntries(t *testing.T) {
	t.Parallel()
	const size = 70_000 // two full levels of tiles and more
	var hashes []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		list := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			list[i] = hashes[x]
		}
		return list, nil
	})
	grow, root := engine.GrowTree()
	roots := 0
	for n := range int64(size) {
		leaf := sha256.Sum256([]byte{byte(n), byte(n >> 8), byte(n >> 16)})
		more, err := tlog.StoredHashesForRecordHash(n, leaf, reader)
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, more...)
		for _, tile := range grow(ledger.Hash(leaf)) {
			want, err := tlog.ReadTileData(tlog.Tile{H: 8, L: tile.Level, N: int64(tile.Index), W: 256}, reader)
			if err != nil || string(want) != string(tile.Hashes) {
				t.Fatalf("tile %d of level %d is another: %v", tile.Index, tile.Level, err)
			}
		}
		if n > 600 && n%977 != 0 && n < size-300 {
			continue
		}
		roots++
		want, err := tlog.TreeHash(n+1, reader)
		if err != nil || root() != ledger.Hash(want) {
			t.Fatalf("the root at %d is another: %v", n+1, err)
		}
	}
	if roots < 900 {
		t.Errorf("%d roots were compared", roots)
	}
}
