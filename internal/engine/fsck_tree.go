package engine

import (
	"crypto/sha256"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/underseal/underseal/ledger"
)

// tileWidth is how many hashes a full tile has.
const tileWidth = 256

// grownTree grows a tree anew from its entries and holds of it what is not in a full
// tile yet: of ten million leaves a few thousand hashes.
type grownTree struct {
	Size uint64 `json:"size"`
	// Levels holds, at l, the hashes of the tile of level l that is not full: 32 bytes
	// each, at most 255.
	Levels [][]byte `json:"levels"`
}

// fullTile is a tile that has just become full.
type fullTile struct {
	level  int
	index  uint64
	hashes []byte
}

// add appends the hash of a leaf and calls full for each tile that it completes.
func (t *grownTree) add(hash ledger.Hash, full func(fullTile) error) error {
	t.Size++
	return t.addAt(0, tlog.Hash(hash), full)
}

func (t *grownTree) addAt(level int, hash tlog.Hash, full func(fullTile) error) error {
	if level == len(t.Levels) {
		t.Levels = append(t.Levels, make([]byte, 0, tileWidth*sha256.Size))
	}
	t.Levels[level] = append(t.Levels[level], hash[:]...)
	if len(t.Levels[level]) < tileWidth*sha256.Size {
		return nil
	}
	index := (t.Size - 1) >> (8 * (level + 1))
	if err := full(fullTile{level, index, t.Levels[level]}); err != nil {
		return err
	}
	root := perfectRoot(t.Levels[level])
	t.Levels[level] = t.Levels[level][:0]
	return t.addAt(level+1, root, full)
}

// whole reports whether there are as many hashes as a tree of that size has: what was
// stored meanwhile may have been changed.
func (t *grownTree) whole() bool {
	for l, hashes := range t.Levels {
		if len(hashes) != int(t.Size>>(8*l)%tileWidth)*sha256.Size {
			return false
		}
	}
	return t.Size>>(8*len(t.Levels)) == 0
}

// root returns the tree's root by RFC 6962, section 2.1.
func (t *grownTree) root() ledger.Hash {
	if t.Size == 0 {
		return sha256.Sum256(nil)
	}
	var root *tlog.Hash
	for _, level := range t.Levels {
		for _, peak := range peaks(level) {
			if root != nil {
				peak = tlog.NodeHash(peak, *root)
			}
			root = &peak
		}
	}
	return ledger.Hash(*root)
}

// peaks returns the roots of the perfect trees that hashes of one level are, the
// smallest first, which is the rightmost.
func peaks(hashes []byte) []tlog.Hash {
	var list []tlog.Hash
	for n := len(hashes) / sha256.Size; n > 0; {
		width := 1 << bits.TrailingZeros(uint(n))
		list = append(list, perfectRoot(hashes[(n-width)*sha256.Size:n*sha256.Size]))
		n -= width
	}
	return list
}

// perfectRoot folds hashes, whose number is a power of two.
func perfectRoot(hashes []byte) tlog.Hash {
	row := make([]tlog.Hash, len(hashes)/sha256.Size)
	for i := range row {
		row[i] = tlog.Hash(hashes[i*sha256.Size:])
	}
	for len(row) > 1 {
		for i := range len(row) / 2 {
			row[i] = tlog.NodeHash(row[2*i], row[2*i+1])
		}
		row = row[:len(row)/2]
	}
	return row[0]
}

// tiles returns how many tiles a tree of this size has, those that are not full
// included.
func (t *grownTree) tiles() int {
	n := 0
	for width := t.Size; width > 0; width >>= 8 {
		n += int((width + tileWidth - 1) / tileWidth)
	}
	return n
}
