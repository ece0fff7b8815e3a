package files

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/fault"
)

// Create implements blob.Store.
func (s *Store) Create(ctx context.Context, tenant string, id blob.ID) (blob.Writer, error) {
	dir, path := s.path(tenant, id)
	switch _, err := os.Lstat(path); {
	case err == nil:
		return nil, blob.Exists(id)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, failed("create", id, err)
	}
	file, err := s.create(filepath.Join(s.dir, newFolder), id.String()+"-*")
	if err != nil {
		return nil, failed("create", id, err)
	}
	return &writer{ctx: ctx, store: s, id: id, dir: dir, path: path, file: file}, nil
}

// writer is a blob that is being written.
type writer struct {
	ctx   context.Context // of the whole upload; a writer does not outlive it
	store *Store
	id    blob.ID
	dir   string // where the blob will be
	path  string
	file  *os.File // under newFolder; nil once it is renamed or removed
	err   error    // the first failure
}

var errEnded = fault.New(fault.Invalid, "the blob was committed or aborted already")

// Write implements blob.Writer.
func (w *writer) Write(p []byte) (n int, err error) {
	if err := w.usable("write"); err != nil {
		return 0, err
	}
	if n, err = w.store.write(w.file, p); err != nil {
		w.err = failed("write", w.id, err)
	}
	return n, w.err
}

func (w *writer) usable(verb string) error {
	switch {
	case w.err != nil:
		return w.err
	case w.file == nil:
		return errEnded
	case w.ctx.Err() != nil:
		w.err = failed(verb, w.id, w.ctx.Err())
	}
	return w.err
}

// Commit implements blob.Writer.
func (w *writer) Commit() error {
	if err := w.usable("commit"); err != nil {
		return err
	}
	if err := w.commit(); err != nil {
		w.err = failed("commit", w.id, err)
	}
	return w.err
}

// commit makes the bytes durable, then the name. All directories on the way are
// synced each time: one that is there may have been made a moment before a crash.
func (w *writer) commit() error {
	s, tenant := w.store, filepath.Dir(w.dir)
	if err := s.change(stepSync, w.file.Name(), w.file.Sync); err != nil {
		return err
	}
	if err := errors.Join(s.mkdir(tenant), s.mkdir(w.dir)); err != nil {
		return err
	}
	if err := s.rename(w.file.Name(), w.path); err != nil {
		return err
	}
	err := w.file.Close()
	w.file = nil
	if err := errors.Join(err, s.sync(w.dir), s.sync(tenant), s.sync(s.dir)); err != nil {
		// Nobody may count on a name that a loss of power could take back.
		return errors.Join(err, s.remove(w.path))
	}
	return nil
}

// Abort implements blob.Writer.
func (w *writer) Abort() error {
	if w.file == nil {
		return nil
	}
	name, closing := w.file.Name(), w.file.Close()
	w.file = nil
	if err := errors.Join(closing, w.store.remove(name)); err != nil {
		return failed("abort", w.id, err)
	}
	return nil
}
