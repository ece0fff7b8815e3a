package sequencer

import (
	"context"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// Tiles are those of C2SP tlog-tiles: 2^8 hashes.
const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	tileBytes  = tileWidth * tlog.HashSize
)

// edge is the right edge of a tree: on each level of tiles the one that is not
// full. All further growth, and the root, follow from it.
type edge struct {
	number int // of the shard
	origin string
	size   uint64
	tiles  [][]byte // by level: the hashes of the last tile, less than a full one
	grown  map[tileID][]byte
}

// tileID names a tile of a tree.
type tileID struct {
	level int
	index uint64
}

// readEdge reads the right edge of a log at a size as it is stored.
func readEdge(ctx context.Context, db *store.DB, scope store.Scope, shard store.Shard, size uint64) (*edge, error) {
	e := &edge{number: shard.Number, origin: shard.Origin, size: size, grown: map[tileID][]byte{}}
	for level, n := 0, size; n > 0; level, n = level+1, n>>tileHeight {
		width := int(n % tileWidth)
		if width == 0 {
			e.tiles = append(e.tiles, nil)
			continue
		}
		hashes, err := readTile(ctx, db, scope, shard.Number, tileID{level, n >> tileHeight}, width)
		if err != nil {
			return nil, err
		}
		if size == shard.Size && len(hashes) != width*tlog.HashSize {
			return nil, tampered("log %s has a tile with %d hashes at size %d", shard.Origin, len(hashes)/tlog.HashSize, size)
		}
		e.tiles = append(e.tiles, hashes[:width*tlog.HashSize])
	}
	return e, nil
}

// genuineEdge returns the right edge of a log as it must be: that of the checkpoint
// beside the keys, grown by the leaves that came since. The entries and tiles behind
// the checkpoint nobody has signed, so that they could be anybody's.
func (s *Sequencer) genuineEdge(ctx context.Context, scope store.Scope, shard store.Shard) (*edge, error) {
	head, err := s.head(ctx, scope, shard.Origin)
	if err != nil {
		return nil, err
	}
	signed := store.LogHead{Root: ledger.DataRoot(nil)}
	if head != nil {
		signed = *head
	}
	if shard.Size < signed.Size {
		return nil, behind("log %s has %d leaves; a checkpoint at size %d was signed of it", shard.Origin, shard.Size, signed.Size)
	}
	e, err := readEdge(ctx, s.cfg.Store, scope, shard, signed.Size)
	if err != nil {
		return nil, err
	}
	root, err := e.root()
	if err == nil && root != signed.Root {
		err = behind("the tree of log %s is another than that of its checkpoint at size %d", shard.Origin, signed.Size)
	}
	if err != nil {
		return nil, err
	}
	return e, s.regrow(ctx, scope, e, shard.Size)
}

// regrow grows an edge by the leaves that have their places already.
func (s *Sequencer) regrow(ctx context.Context, scope store.Scope, e *edge, size uint64) error {
	if e.size == size {
		return nil
	}
	genuine, err := s.cfg.Signing.Genuine(ctx, scope.Tenant())
	if err != nil {
		return err
	}
	for e.size < size {
		entries, err := s.cfg.Store.LogEntries(ctx, scope, e.number, e.size, int(min(size-e.size, uint64(s.cfg.Batch))))
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			return tampered("log %s lacks the leaf at index %d", e.origin, e.size)
		}
		for i := range entries {
			if err := e.appendEntry(&entries[i], genuine); err != nil {
				return err
			}
		}
	}
	clear(e.grown) // it is stored
	return nil
}

// appendEntry appends a leaf that has its place, which must be the next one.
func (e *edge) appendEntry(entry *store.LogEntry, genuine genuine) error {
	leaf, err := leafOf(&store.Unsequenced{Object: entry.Object, Seq: entry.Seq, Leaf: entry.Leaf()}, genuine)
	if err == nil && (leaf.Log != e.origin || entry.Index != e.size) {
		err = tampered("log %s has the leaf of %s, step %d, at index %d, where it is not its own", e.origin, entry.Object, entry.Seq, entry.Index)
	}
	if err == nil {
		e.append(entry.Hash)
	}
	return err
}

// readTile reads a tile that must have at least so many hashes.
func readTile(ctx context.Context, db *store.DB, scope store.Scope, shard int, id tileID, width int) ([]byte, error) {
	hashes, err := db.Tile(ctx, scope, shard, id.level, id.index)
	if fault.Is(err, fault.NotFound) || err == nil && len(hashes) < width*tlog.HashSize {
		return nil, tampered("log %d lacks hashes of tile %d of level %d", shard, id.index, id.level)
	}
	return hashes, err
}

// append adds a leaf's hash.
func (e *edge) append(hash [32]byte) {
	for level := 0; ; level++ {
		if level == len(e.tiles) {
			e.tiles = append(e.tiles, nil)
		}
		index := e.size >> (tileHeight * (level + 1))
		tile := append(e.tiles[level], hash[:]...)
		e.tiles[level], e.grown[tileID{level, index}] = tile, tile
		if len(tile) < tileBytes {
			break
		}
		e.tiles[level], hash = nil, tileRoot(tile, level, index)
	}
	e.size++
}

// tileRoot returns the root of a full tile, which is a hash of the next level.
func tileRoot(tile []byte, level int, index uint64) tlog.Hash {
	t := tlog.Tile{H: tileHeight, L: level, N: int64(index), W: tileWidth}
	half := func(i int64) tlog.Hash {
		h, err := tlog.HashFromTile(t, tile, tlog.StoredHashIndex(tileHeight*level+tileHeight-1, 2*int64(index)+i))
		if err != nil {
			panic("sequencer: internal error: " + err.Error())
		}
		return h
	}
	return tlog.NodeHash(half(0), half(1))
}

// take returns the tiles that have grown since the last call. Further growth writes
// behind their ends.
func (e *edge) take() []store.Tile {
	tiles := make([]store.Tile, 0, len(e.grown))
	for id, hashes := range e.grown {
		tiles = append(tiles, store.Tile{Level: id.level, Index: id.index, Hashes: hashes})
	}
	clear(e.grown)
	return tiles
}

// root returns the root of the tree.
func (e *edge) root() (tlog.Hash, error) {
	return tlog.TreeHash(int64(e.size), tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			t := tlog.TileForIndex(tileHeight, index)
			h, err := tlog.HashFromTile(t, e.tiles[t.L], index)
			if err != nil {
				return nil, err
			}
			hashes[i] = h
		}
		return hashes, nil
	}))
}

// tampered returns an Integrity fault about a tree.
func tampered(format string, args ...any) *fault.Error {
	return fault.New(fault.Integrity, format, args...).
		WithCode("tampered").WithHint("the database was changed behind our back; `underseal fsck` names what does not fit")
}
