package tiles_test

import (
	"bytes"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/tiles"
)

func TestPathsAreThoseOfTheSpecification(t *testing.T) {
	for _, c := range []struct {
		path string
		file tiles.File
	}{
		{"tile/0/000", tiles.File{Level: 0, Index: 0, Width: 256}},
		{"tile/0/x001/x234/067", tiles.File{Level: 0, Index: 1234067, Width: 256}},
		{"tile/0/273.p/112", tiles.File{Level: 0, Index: 273, Width: 112}},
		{"tile/63/000.p/1", tiles.File{Level: 63, Index: 0, Width: 1}},
		{"tile/entries/x001/000.p/255", tiles.File{Level: tiles.Entries, Index: 1000, Width: 255}},
	} {
		if got := c.file.Path(); got != c.path {
			t.Errorf("Path(%+v) = %q, want %q", c.file, got, c.path)
		}
		if got, err := tiles.ParsePath(c.path); err != nil || got != c.file {
			t.Errorf("ParsePath(%q) = %+v, %v, want %+v", c.path, got, err, c.file)
		}
	}
}

func TestOtherSpellingsAreNoFiles(t *testing.T) {
	for _, path := range []string{
		"", "tile", "tile/", "tile/0", "tile/0/", "tile/0/0", "tile/0/00", "tile/0/0000", "tile/0/x000/000", "tile/0/001/000", "tile/0/x1/000",
		"tile/64/000", "tile/-1/000", "tile/00/000", "tile/+1/000", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/000.p/", "tile/0/000.p",
		"tile/0/-01", "tile/entries", "tile/entries/x", "tile/data/000", "tile/0/000/", "/tile/0/000", "tile//0/000", "tile/0/../0/000", "tile/0/000.p/1/2",
		"tile/0/x999/x999/x999/x999/x999/x999/x999/999", "checkpoint",
	} {
		if f, err := tiles.ParsePath(path); !fault.Is(err, fault.NotFound) {
			t.Errorf("ParsePath(%q) = %+v, %v, want NotFound", path, f, err)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	f.Add("tile/0/x001/x234/067.p/5")
	f.Add("tile/entries/000")
	f.Fuzz(func(t *testing.T, path string) {
		if file, err := tiles.ParsePath(path); err == nil && file.Path() != path {
			t.Errorf("%q is read as %q", path, file.Path())
		}
	})
}

func FuzzSplitEntries(f *testing.F) {
	f.Add([]byte{0, 1, 'a', 0, 0, 0, 2, 'b', 'c'}, uint8(3))
	f.Add([]byte{0, 2, 'a'}, uint8(1))
	f.Add([]byte{}, uint8(0))
	f.Fuzz(func(t *testing.T, bundle []byte, n uint8) {
		entries, err := tiles.SplitEntries(bundle, int(n))
		if err != nil {
			if !fault.Is(err, fault.Integrity) {
				t.Errorf("refused by %v", err)
			}
			return
		}
		var again []byte
		for _, entry := range entries {
			if again, err = tiles.AppendEntry(again, entry); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(again, bundle) {
			t.Errorf("%x is read as %q", bundle, entries)
		}
	})
}

// The tiles that x/mod's implementation asks for when it reads a tree are the
// ones that a log of that size has.
func TestALogHasTheTilesThatAClientAsksFor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(1, 1<<40).Draw(t, "size")
		for _, tile := range tlog.NewTiles(8, max(0, size-3), size) {
			f := tiles.File{Level: tile.L, Index: uint64(tile.N), Width: tile.W}
			if !f.In(uint64(size)) {
				t.Errorf("a log of %d lacks %s", size, f.Path())
			}
		}
	})
}

func TestALogHasNoFileBeyondItsSize(t *testing.T) {
	for _, c := range []struct {
		path string
		size uint64
		want bool
	}{
		{"tile/0/000", 255, false},
		{"tile/0/000", 256, true},
		{"tile/0/000.p/255", 255, true},
		{"tile/0/000.p/255", 254, false},
		{"tile/0/000.p/1", 70_000, true},
		{"tile/0/273.p/112", 70_000, true},
		{"tile/0/273.p/113", 70_000, false},
		{"tile/0/274.p/1", 70_000, false},
		{"tile/1/001.p/17", 70_000, true},
		{"tile/1/001.p/18", 70_000, false},
		{"tile/2/000.p/1", 70_000, true},
		{"tile/3/000.p/1", 70_000, false},
		{"tile/entries/273.p/112", 70_000, true},
		{"tile/0/000.p/1", 0, false},
		{"tile/63/000.p/1", 1<<64 - 1, false},
	} {
		f, err := tiles.ParsePath(c.path)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.In(c.size); got != c.want {
			t.Errorf("a log of %d has %s: %v, want %v", c.size, c.path, got, c.want)
		}
	}
}

func TestAllFilesOfALevel(t *testing.T) {
	for _, c := range []struct {
		level      int
		size, from uint64
		want       []string
	}{
		{0, 0, 0, nil},
		{0, 1, 0, []string{"tile/0/000.p/1"}},
		{0, 600, 1, []string{"tile/0/001", "tile/0/002.p/88"}},
		{0, 512, 1, []string{"tile/0/001"}},
		{0, 600, 3, nil},
		{1, 600, 0, []string{"tile/1/000.p/2"}},
		{2, 600, 0, nil},
		{tiles.Entries, 257, 0, []string{"tile/entries/000", "tile/entries/001.p/1"}},
	} {
		var got []string
		for f := range tiles.All(c.level, c.size, c.from) {
			got = append(got, f.Path())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("All(%d, %d, %d) = %q, want %q", c.level, c.size, c.from, got, c.want)
		}
	}
}

func TestBundlesOfEntries(t *testing.T) {
	var bundle []byte
	for _, entry := range []string{"a", "", "ccc"} {
		var err error
		if bundle, err = tiles.AppendEntry(bundle, []byte(entry)); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := tiles.SplitEntries(bundle, 3)
	if err != nil || len(entries) != 3 || string(entries[2]) != "ccc" {
		t.Fatalf("SplitEntries = %q, %v", entries, err)
	}
	for name, broken := range map[string][]byte{
		"one byte short": bundle[:len(bundle)-1], "one byte more": append(slices.Clone(bundle), 0), "fewer entries": bundle[:3], "nothing": nil,
	} {
		if _, err := tiles.SplitEntries(broken, 3); !fault.Is(err, fault.Integrity) {
			t.Errorf("%s: %v, want an integrity fault", name, err)
		}
	}
	if _, err := tiles.AppendEntry(nil, make([]byte, 1<<16)); err == nil {
		t.Error("an entry of 64 KiB was put into a bundle")
	}
}
