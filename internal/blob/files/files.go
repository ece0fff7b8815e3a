// Package files keeps blobs as files below one directory:
//
//	TENANT/xx/ID   a blob; xx are the first two digits of its ID
//	new/ID-*       one that is being written
//
// A blob is written under new and synced, then renamed and its directories
// synced: after a crash it is there whole or not at all. What stands under new
// when the directory is opened was left by a process that ended, and is removed.
package files

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/fault"
)

// Store is a directory of blobs.
type Store struct {
	dir string

	// testingOnlyBefore is called before each change of the disk and makes it
	// fail; step is one of those below.
	testingOnlyBefore func(step, path string) error
}

var _ blob.Store = (*Store)(nil)

// The ways in which the disk is changed.
const (
	stepCreate = "create"
	stepWrite  = "write"
	stepSync   = "sync"
	stepMkdir  = "mkdir"
	stepRename = "rename"
	stepRemove = "remove"
)

// newFolder holds what is being written. No tenant's folder has that name.
const newFolder = "new"

// Open opens the directory and makes it when it is missing, readable by its owner
// alone. No other process may use it.
func Open(dir string) (*Store, error) {
	s := &Store{dir: dir}
	if err := s.open(); err != nil {
		return nil, fault.New(fault.Unavailable, "open the directory of blobs: %w", err)
	}
	return s, nil
}

// AsTheyAre is the directory to read, if it is there; nothing is made or removed.
func AsTheyAre(dir string) *Store { return &Store{dir: dir} }

func (s *Store) open() error {
	if err := os.MkdirAll(filepath.Join(s.dir, newFolder), 0o700); err != nil {
		return err
	}
	left, err := os.ReadDir(filepath.Join(s.dir, newFolder))
	if err != nil {
		return err
	}
	for _, entry := range left {
		if err := s.remove(filepath.Join(s.dir, newFolder, entry.Name())); err != nil {
			return err
		}
	}
	// The directory's own entry may be new, and that of the one above.
	above := filepath.Dir(filepath.Clean(s.dir))
	return errors.Join(s.sync(s.dir), s.sync(above), s.sync(filepath.Dir(above)))
}

// path returns where a blob is: the directory and the file.
func (s *Store) path(tenant string, id blob.ID) (dir, path string) {
	name := id.String()
	dir = filepath.Join(s.dir, blob.Folder(tenant), name[:2])
	return dir, filepath.Join(dir, name)
}

// Open implements blob.Store.
func (s *Store) Open(ctx context.Context, tenant string, id blob.ID) (blob.Reader, error) {
	if err := ctx.Err(); err != nil {
		return nil, failed("open", id, err)
	}
	_, path := s.path(tenant, id)
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, blob.NotFound(id)
	}
	if err != nil {
		return nil, failed("open", id, err)
	}
	info, err := file.Stat()
	if err != nil {
		return nil, failed("open", id, errors.Join(err, file.Close()))
	}
	return &reader{file, info.Size()}, nil
}

// reader is an open blob. Its bytes stay readable after the blob was deleted.
type reader struct {
	*os.File
	size int64
}

func (r *reader) Size() int64 { return r.size }

// Delete implements blob.Store.
func (s *Store) Delete(ctx context.Context, tenant string, id blob.ID) error {
	if err := ctx.Err(); err != nil {
		return failed("delete", id, err)
	}
	dir, path := s.path(tenant, id)
	err := s.remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = s.sync(dir)
	}
	if err != nil {
		return failed("delete", id, err)
	}
	return nil
}

// List implements blob.Store.
func (s *Store) List(ctx context.Context, tenant string, after blob.ID, limit int) (ids []blob.ID, err error) {
	dir := filepath.Join(s.dir, blob.Folder(tenant))
	folders, err := readNames(dir)
	from := after.String()
	for _, folder := range folders {
		if folder < from[:2] || len(ids) >= limit {
			continue
		}
		if err = ctx.Err(); err != nil {
			break
		}
		var names []string
		if names, err = readNames(filepath.Join(dir, folder)); err != nil {
			break
		}
		ids = appendBehind(ids, names, folder, from)
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, "list the tenant's blobs: the directory cannot be read").WithCause(err)
	}
	return ids[:min(len(ids), limit)], nil
}

// appendBehind adds the ids among the names of a folder that are behind from.
func appendBehind(ids []blob.ID, names []string, folder, from string) []blob.ID {
	for _, name := range names {
		// A file that we would not have put there is not ours to delete as garbage.
		if id, err := blob.ParseID(name); err == nil && name[:2] == folder && name > from {
			ids = append(ids, id)
		}
	}
	return ids
}

// readNames returns the names in a directory, ascending; none if it is missing.
func readNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// failed gives an error of the disk its kind. Paths of the server are for its log.
func failed(verb string, id blob.ID, err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return blob.Full(id, err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.New(fault.Unavailable, "%s blob %s: nobody waits for it any more", verb, id).WithCause(err)
	}
	return fault.New(fault.Unavailable, "%s blob %s: the disk failed", verb, id).WithCause(err)
}
