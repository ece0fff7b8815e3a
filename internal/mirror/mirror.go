// Package mirror keeps a copy of a log in a directory, in the layout of C2SP
// tlog-tiles, and notices when the log is no longer the one it copied.
//
// Nothing is believed: every tile must lead to the checkpoint, every entry to its
// tile, and each new checkpoint must continue the last one. Files are written as they
// come and the checkpoint last, so a copy that was interrupted goes on where it was.
package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/tiles"
	"github.com/underseal/underseal/ledger"
)

// Config says which log to copy and where to.
type Config struct {
	// Prefix is the log's URL without a slash at its end. It may hold a secret, so no
	// error quotes it.
	Prefix string
	// Dir is the directory of this one log; made when missing.
	Dir string
	// HTTP makes the requests. Default: http.DefaultClient.
	HTTP *http.Client
	// Open checks a checkpoint's signatures. Nil: they are not checked, and only what
	// this copy has seen before speaks for the log.
	Open func(signed []byte) (ledger.Checkpoint, error)
	// Progress, if not nil, is called now and then with the entries that are copied.
	Progress func(done, size uint64)
}

// Result is what a copy has become.
type Result struct {
	Origin  string
	Old     uint64 // entries that were there before
	Size    uint64 // entries now
	Root    ledger.Hash
	Fetched int // files that came over the network
}

// Copy brings the directory up to the log's newest checkpoint.
//
// Integrity: code "log_rolled_back" when the log is shorter than it was,
// "log_forked" when it does not contain what was copied, "log_exchanged" when it has
// another name (the checkpoint that says so is then kept in DIR/refused),
// "log_inconsistent" when its files do not lead to its checkpoint, and "mirror_changed"
// when files of the copy do not. Unavailable when the server does not answer.
func Copy(ctx context.Context, cfg Config) (Result, error) {
	if cfg.HTTP == nil {
		cfg.HTTP = http.DefaultClient
	}
	m := &copier{ctx: ctx, cfg: cfg}
	old, had, err := m.last()
	if err != nil {
		return Result{}, err
	}
	signed, err := m.get("checkpoint", maxCheckpoint)
	if err != nil {
		return Result{}, err
	}
	next, err := m.open(signed)
	if err != nil {
		return Result{}, err
	}
	if had {
		if err := m.continues(old, next); err != nil {
			return Result{}, errors.Join(err, m.keepRefused(next, signed))
		}
	}
	if err := m.files(old.Size, next); err != nil {
		return Result{}, err
	}
	if err := m.keep(next, signed); err != nil {
		return Result{}, err
	}
	return Result{Origin: next.Origin, Old: old.Size, Size: next.Size, Root: next.Root, Fetched: m.fetched}, nil
}

type copier struct {
	ctx     context.Context // of the one Copy that this serves
	cfg     Config
	fetched int
	saving  error // of SaveTiles, which cannot return one
}

const (
	// maxCheckpoint bounds a checkpoint with its signatures.
	maxCheckpoint = 1 << 20
	// maxSize bounds the entries of a log, so that no number of them or of their hashes
	// leaves its range.
	maxSize = 1 << 48
)

// last returns the checkpoint up to which everything was copied.
func (m *copier) last() (ledger.Checkpoint, bool, error) {
	signed, err := os.ReadFile(filepath.Join(m.cfg.Dir, "checkpoint"))
	if errors.Is(err, fs.ErrNotExist) {
		return ledger.Checkpoint{}, false, nil
	}
	if err != nil {
		return ledger.Checkpoint{}, false, fault.New(fault.Invalid, "read the copy's checkpoint: %w", err)
	}
	if _, err := ledger.UnverifiedCheckpoint(signed); err != nil {
		return ledger.Checkpoint{}, true, fault.New(fault.Integrity, "%s is no checkpoint: %w", m.place("checkpoint"), err).WithCode("mirror_changed").
			WithHint("put the newest file of %s in its place; it is a copy of it", m.place("checkpoints"))
	}
	c, err := m.open(signed)
	return c, true, err
}

func (m *copier) open(signed []byte) (c ledger.Checkpoint, err error) {
	open := ledger.UnverifiedCheckpoint
	if m.cfg.Open != nil {
		open = m.cfg.Open
	}
	if c, err = open(signed); err == nil && c.Size > maxSize {
		err = fault.New(fault.Integrity, "the log %s claims to have %d entries, more than a log can have", c.Origin, c.Size).
			WithCode("log_inconsistent").WithHint("ask whoever runs the log")
	}
	return c, err
}

// continues requires that a checkpoint is of the log that was copied, and contains it.
func (m *copier) continues(old, next ledger.Checkpoint) error {
	switch {
	case next.Origin != old.Origin:
		return refused("log_exchanged", "the copy is of the log %s, and here is %s", old.Origin, next.Origin)
	case next.Size < old.Size:
		return refused("log_rolled_back", "the log %s has %d entries and had %d: it was rolled back", old.Origin, next.Size, old.Size)
	case next.Size == old.Size && next.Root != old.Root:
		return forked(old, next)
	case next.Size == old.Size || old.Size == 0:
		return nil
	}
	// Without files of the copy: they are the old log's.
	reader := tlog.TileHashReader(tree(next), network{m})
	proof, err := tlog.ProveTree(int64(next.Size), int64(old.Size), reader)
	if err != nil {
		return m.inconsistent(next, err)
	}
	if tlog.CheckTree(proof, int64(next.Size), tlog.Hash(next.Root), int64(old.Size), tlog.Hash(old.Root)) != nil {
		return forked(old, next)
	}
	return nil
}

func tree(c ledger.Checkpoint) tlog.Tree {
	return tlog.Tree{N: int64(c.Size), Hash: tlog.Hash(c.Root)}
}

func forked(old, next ledger.Checkpoint) error {
	return refused("log_forked", "the log %s at %d entries does not contain its first %d as they were copied: it was forked", old.Origin, next.Size, old.Size)
}

func refused(code, format string, args ...any) error {
	return fault.New(fault.Integrity, format, args...).WithCode(code).
		WithHint("nothing of the copy was changed; its checkpoint and the one in refused/ show that the log was")
}

// inconsistent names whose files do not lead to a checkpoint.
func (m *copier) inconsistent(c ledger.Checkpoint, err error) error {
	var f *fault.Error
	if errors.As(err, &f) || m.ctx.Err() != nil {
		return err
	}
	return fault.New(fault.Integrity, "files of the log %s do not lead to its checkpoint of %d entries: %w", c.Origin, c.Size, err).
		WithCode("log_inconsistent").WithHint("ask whoever runs the log")
}

// files copies everything between a size and a checkpoint that continues it.
func (m *copier) files(old uint64, next ledger.Checkpoint) error {
	reader := tlog.TileHashReader(tree(next), m)
	for f := range tiles.All(tiles.Entries, next.Size, old/tiles.Width) {
		if err := m.ctx.Err(); err != nil {
			return err
		}
		if err := m.bundle(reader, next, f); err != nil {
			return err
		}
		if m.cfg.Progress != nil {
			m.cfg.Progress(f.Index*tiles.Width+uint64(f.Width), next.Size)
		}
	}
	below := old / tiles.Width // full tiles of the level below
	for level := 1; next.Size>>(8*level) > 0; level++ {
		from := below / tiles.Width
		below = from
		for f := range tiles.All(level, next.Size, from) {
			place := tlog.StoredHashIndex(8*level, int64(f.Index)*tiles.Width)
			if _, err := reader.ReadHashes([]int64{place}); err != nil {
				return m.damaged(next, err)
			}
		}
	}
	return m.saving
}

// bundle copies 256 entries and the tile of their hashes.
func (m *copier) bundle(reader tlog.HashReader, next ledger.Checkpoint, f tiles.File) error {
	places := make([]int64, f.Width)
	for i := range places {
		places[i] = tlog.StoredHashIndex(0, int64(f.Index)*tiles.Width+int64(i))
	}
	hashes, err := reader.ReadHashes(places)
	if err == nil {
		err = m.saving
	}
	if err != nil {
		return m.damaged(next, err)
	}
	data, err := m.disk(f)
	if err != nil {
		if data, err = m.get(f.Path(), tiles.Width*(2+1<<16)); err != nil {
			return err
		}
	}
	entries, err := tiles.SplitEntries(data, f.Width)
	if err != nil {
		return m.inconsistent(next, fmt.Errorf("%s: %w", f.Path(), err))
	}
	for i, entry := range entries {
		leaf, err := ledger.ParseLeaf(entry)
		if err != nil || ledger.LeafHash(entry) != ledger.Hash(hashes[i]) || leaf.Log != next.Origin {
			return fault.New(fault.Integrity, "entry %d of the log %s is not the one that its tree has", f.Index*tiles.Width+uint64(i), next.Origin).
				WithCode("log_inconsistent").WithHint("if %s below the copy was changed, delete it and copy again", f.Path())
		}
	}
	return m.save(f, data)
}

// damaged says why files do not lead to a checkpoint that was found to continue the
// copy. The log's own files were just seen to do so.
func (m *copier) damaged(next ledger.Checkpoint, err error) error {
	var f *fault.Error
	if errors.As(err, &f) || m.ctx.Err() != nil {
		return err
	}
	return fault.New(fault.Integrity, "tiles of the log %s, or of this copy, do not lead to the checkpoint of %d entries: %w", next.Origin, next.Size, err).
		WithCode("mirror_changed").WithHint("copy into an empty directory to see which: there everything comes from the log")
}

// Height, ReadTiles and SaveTiles make a copier a tlog.TileReader that prefers the
// files of the copy. All it gives is checked against the checkpoint.
func (m *copier) Height() int { return 8 }

// ReadTiles reads tiles from the directory, else from the log.
func (m *copier) ReadTiles(list []tlog.Tile) ([][]byte, error) {
	return readTiles(list, func(f tiles.File) ([]byte, error) {
		data, err := m.disk(f)
		if err != nil {
			data, err = m.tile(f)
		}
		return data, err
	})
}

// SaveTiles keeps tiles that lead to the checkpoint.
func (m *copier) SaveTiles(list []tlog.Tile, data [][]byte) {
	for i, t := range list {
		m.saving = errors.Join(m.saving, m.save(fileOf(t), data[i]))
	}
}

// network reads tiles from the log alone.
type network struct{ m *copier }

func (network) Height() int { return 8 }

func (n network) ReadTiles(list []tlog.Tile) ([][]byte, error) { return readTiles(list, n.m.tile) }

func (network) SaveTiles([]tlog.Tile, [][]byte) {}

var (
	_ tlog.TileReader = (*copier)(nil)
	_ tlog.TileReader = network{}
)

func readTiles(list []tlog.Tile, read func(tiles.File) ([]byte, error)) ([][]byte, error) {
	all := make([][]byte, len(list))
	for i, t := range list {
		var err error
		if all[i], err = read(fileOf(t)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func fileOf(t tlog.Tile) tiles.File {
	return tiles.File{Level: t.L, Index: uint64(t.N), Width: t.W}
}

// tile asks the log for a tile. A log may have given up a partial tile for the full
// one.
func (m *copier) tile(f tiles.File) ([]byte, error) {
	data, err := m.get(f.Path(), tiles.Width*tiles.HashSize)
	if fault.Is(err, fault.NotFound) && f.Width < tiles.Width {
		full := f
		full.Width = tiles.Width
		data, err = m.get(full.Path(), tiles.Width*tiles.HashSize)
	}
	if err == nil && len(data) < f.Width*tiles.HashSize {
		err = fmt.Errorf("%s is too short", f.Path())
	}
	if err != nil {
		return nil, err
	}
	return data[:f.Width*tiles.HashSize], nil
}

// disk reads a file of the copy.
func (m *copier) disk(f tiles.File) ([]byte, error) { return os.ReadFile(m.place(f.Path())) }

func (m *copier) place(path string) string { return filepath.Join(m.cfg.Dir, filepath.FromSlash(path)) }

// save keeps a file and gives up the partial ones that came before it.
func (m *copier) save(f tiles.File, data []byte) error {
	path := m.place(f.Path())
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, data) {
		return nil
	}
	if err := write(path, data); err != nil {
		return err
	}
	partial := strings.TrimSuffix(m.place(tiles.File{Level: f.Level, Index: f.Index, Width: 1}.Path()), string(filepath.Separator)+"1")
	if f.Width == tiles.Width {
		return os.RemoveAll(partial)
	}
	others, err := os.ReadDir(partial)
	for _, o := range others {
		if o.Name() != filepath.Base(path) {
			err = errors.Join(err, os.Remove(filepath.Join(partial, o.Name())))
		}
	}
	return err
}

// keep makes a checkpoint the one up to which everything is there. Each one that was
// reached stays, too: it is what the log has signed.
func (m *copier) keep(c ledger.Checkpoint, signed []byte) error {
	if err := write(filepath.Join(m.cfg.Dir, "checkpoints", fmt.Sprint(c.Size)), signed); err != nil {
		return err
	}
	return write(filepath.Join(m.cfg.Dir, "checkpoint"), signed)
}

// keepRefused keeps a checkpoint that does not continue the copy, as proof.
func (m *copier) keepRefused(c ledger.Checkpoint, signed []byte) error {
	return write(filepath.Join(m.cfg.Dir, "refused", fmt.Sprintf("%d-%s", c.Size, c.Root.String()[:16])), signed)
}

// write makes a file that is whole or not there, also after a loss of power.
func write(path string, data []byte) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fault.New(fault.Invalid, "write the copy: %w", err)
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fault.New(fault.Invalid, "write the copy: %w", err)
	}
	_, err = temp.Write(data)
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return fault.New(fault.Invalid, "write the copy: %w", errors.Join(err, os.Remove(temp.Name())))
	}
	return nil
}
