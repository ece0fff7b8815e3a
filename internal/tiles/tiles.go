// Package tiles names the files that a transparency log consists of, as C2SP
// tlog-tiles has them: tiles of 256 hashes and bundles of 256 entries.
package tiles

import (
	"encoding/binary"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/underseal/underseal/internal/fault"
)

const (
	// Width is how many hashes or entries a full file holds.
	Width = 256
	// HashSize is the length of one hash in a tile.
	HashSize = 32
	// MaxLevel is the highest level of a tile.
	MaxLevel = 63
	// Entries is the level of a bundle of entries.
	Entries = -1
)

// File is one tile or bundle.
type File struct {
	Level int    // of a tile, from 0 for hashes of leaves; Entries for a bundle
	Index uint64 // within the level
	Width int    // 1 to 256; less than 256 in a partial file
}

// Path returns the name below the log's prefix: "tile/0/x001/x234/067.p/5".
func (f File) Path() string {
	var b strings.Builder
	b.WriteString("tile/")
	if f.Level == Entries {
		b.WriteString("entries/")
	} else {
		fmt.Fprintf(&b, "%d/", f.Level)
	}
	b.WriteString(indexPath(f.Index))
	if f.Width < Width {
		fmt.Fprintf(&b, ".p/%d", f.Width)
	}
	return b.String()
}

func indexPath(n uint64) string {
	path := fmt.Sprintf("%03d", n%1000)
	for n /= 1000; n > 0; n /= 1000 {
		path = fmt.Sprintf("x%03d/", n%1000) + path
	}
	return path
}

// ParsePath reads what Path writes; any other spelling is NotFound, as a file is
// that does not exist.
func ParsePath(path string) (File, error) {
	f, ok := parse(path)
	if !ok || f.Path() != path {
		return File{}, fault.New(fault.NotFound, "there is no such file in a log")
	}
	return f, nil
}

func parse(path string) (f File, ok bool) {
	rest, ok := strings.CutPrefix(path, "tile/")
	if !ok || len(path) > 100 {
		return f, false
	}
	level, rest, _ := strings.Cut(rest, "/")
	if f.Level, ok = parseLevel(level); !ok {
		return f, false
	}
	f.Width = Width
	index, width, partial := strings.Cut(rest, ".p/")
	if partial {
		w, err := strconv.Atoi(width)
		if err != nil || w < 1 || w >= Width {
			return f, false
		}
		f.Width = w
	}
	digits := strings.NewReplacer("x", "", "/", "").Replace(index)
	n, err := strconv.ParseUint(digits, 10, 64)
	f.Index = n
	return f, err == nil
}

func parseLevel(text string) (int, bool) {
	if text == "entries" {
		return Entries, true
	}
	level, err := strconv.Atoi(text)
	return level, err == nil && level >= 0 && level <= MaxLevel
}

// In reports whether a log of this size has the file. A partial file of fewer
// hashes than there are is one that an earlier checkpoint needed.
func (f File) In(size uint64) bool {
	for range max(f.Level, 0) {
		size /= Width
	}
	have := size / Width // full files
	if f.Index < have {
		return true
	}
	return f.Index == have && f.Width < Width && uint64(f.Width) <= size%Width
}

// All goes through the files of a level that a log of this size has, from an index on:
// full ones, and the partial one at its end. The size may be anybody's claim.
func All(level int, size, from uint64) iter.Seq[File] {
	for range max(level, 0) {
		size /= Width
	}
	return func(yield func(File) bool) {
		for i := from; i < size/Width; i++ {
			if !yield(File{level, i, Width}) {
				return
			}
		}
		if rest := int(size % Width); rest > 0 && size/Width >= from {
			yield(File{level, size / Width, rest})
		}
	}
}

// AppendEntry appends an entry to a bundle: its length as u16-BE and its bytes.
// An entry of more than 65,535 bytes cannot be in a log.
func AppendEntry(bundle, entry []byte) ([]byte, error) {
	if len(entry) > 1<<16-1 {
		return nil, fault.New(fault.Internal, "an entry of %d bytes does not fit into a bundle", len(entry))
	}
	return append(binary.BigEndian.AppendUint16(bundle, uint16(len(entry))), entry...), nil
}

// SplitEntries reads a bundle, which must hold exactly n entries.
func SplitEntries(bundle []byte, n int) ([][]byte, error) {
	entries := make([][]byte, 0, n)
	for len(bundle) >= 2 {
		size := int(binary.BigEndian.Uint16(bundle))
		if len(bundle) < 2+size {
			break
		}
		entries, bundle = append(entries, bundle[2:2+size]), bundle[2+size:]
	}
	if len(bundle) != 0 || len(entries) != n {
		return nil, fault.New(fault.Integrity, "a bundle of entries is malformed, or holds %d instead of %d", len(entries), n)
	}
	return entries, nil
}
