package witness

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// A disk is the directory of a witness's state, as far as it is used.
type disk interface {
	Names() ([]string, error)
	Read(name string) ([]byte, error)
	Create(name string) (file, error) // empties one that is there
	Rename(from, to string) error
	Sync() error // makes the names durable
}

// A file is one that is being written.
type file interface {
	io.Writer
	Sync() error
	Close() error
}

// replace puts content in the place of a file, durable when it returns nil: after
// a crash at any moment there is the old content or the new one, whole.
func replace(d disk, name string, content []byte) error {
	next := name + ".new"
	f, err := d.Create(next)
	if err != nil {
		return err
	}
	if _, err := f.Write(content); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := d.Rename(next, name); err != nil {
		return err
	}
	return d.Sync()
}

// directory is a disk at a path.
type directory string

func (d directory) path(name string) string { return filepath.Join(string(d), name) }

func (d directory) Names() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func (d directory) Read(name string) ([]byte, error) { return os.ReadFile(d.path(name)) }

func (d directory) Create(name string) (file, error) {
	return os.OpenFile(d.path(name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
}

func (d directory) Rename(from, to string) error { return os.Rename(d.path(from), d.path(to)) }

func (d directory) Sync() error {
	dir, err := os.Open(string(d))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
