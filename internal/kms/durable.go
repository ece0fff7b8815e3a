package kms

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// writeNew writes a file that must not exist, mode 0600, and syncs it. A file
// that could not be written whole is removed; after a crash it may stay, and
// reading it says that it is incomplete.
func writeNew(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// replace puts content in the place of the file at path: after a crash there is
// the old file or the new one. Then it overwrites the old file's bytes.
func replace(path string, content []byte) error {
	next := path + ".new"
	// One that a crash left behind never became the key file.
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	old, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer old.Close()
	if err := writeNew(next, content); err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return errors.Join(err, os.Remove(next))
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return err
	}
	return wipe(old)
}

// wipe overwrites an open file with zeros.
func wipe(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	_, err = file.WriteAt(make([]byte, info.Size()), 0)
	return errors.Join(err, file.Sync())
}

// syncDir makes the names in a directory durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
