package main

import (
	"errors"
	"io/fs"
	"os"

	"github.com/underseal/underseal/internal/fault"
)

// newFile makes a file that must not exist yet.
func newFile(path string, mode fs.FileMode) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil, fault.New(fault.Conflict, "%s is there already, and is never overwritten", path).WithCode("file_exists").
			WithHint("name another file, or move that one away")
	case err != nil:
		return nil, fault.New(fault.Invalid, "make a file: %w", err)
	}
	return file, nil
}

// writeNewFile makes a file that must not exist yet. It is durable when writeNewFile
// returns nil, else not there.
func writeNewFile(path string, mode fs.FileMode, data []byte) error {
	file, err := newFile(path, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fault.New(fault.Unavailable, "write %s: %w", path, errors.Join(err, os.Remove(path)))
	}
	return nil
}

// writeSecret writes a text that is yet to be made to a new file, for its owner alone.
// The file comes first, so that nothing is made that nobody could know.
func writeSecret(path string, make func() (string, error)) (err error) {
	file, err := newFile(path, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, file.Close()); err != nil {
			os.Remove(path)
		}
	}()
	text, err := make()
	if err != nil {
		return err
	}
	if _, err := file.WriteString(text + "\n"); err != nil {
		return err
	}
	return file.Sync()
}
