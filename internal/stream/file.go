package stream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/underseal/underseal/internal/fault"
)

// file appends batches to a file.
type file struct{ path string }

// NewFile returns a sink that appends each batch to a file, synced to the disk: its
// lines, and one more, {"batch": the signed batch}. A file that was moved away is made
// anew, so it can be rotated at any time; an incomplete line that a crash left is ended,
// and its batch comes again.
func NewFile(path string) (Sink, error) {
	if !filepath.IsAbs(path) {
		return nil, fault.New(fault.Invalid, "the path %q of the audit's file is not absolute", path).WithCode("config_invalid")
	}
	return &file{path}, nil
}

// Send implements Sink.
func (f *file) Send(_ context.Context, b Batch) error {
	note, err := json.Marshal(map[string]string{"batch": string(b.Note)})
	if err != nil {
		return err
	}
	if err := f.write(append(append(bytes.Clone(b.Payload), note...), '\n')); err != nil {
		return fault.New(fault.Unavailable, "append a batch of the audit to %s: %w", f.path, err)
	}
	return nil
}

func (f *file) write(data []byte) (err error) {
	_, missing := os.Stat(f.path)
	to, err := os.OpenFile(f.path, os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	size, err := to.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if size > 0 {
		last := make([]byte, 1)
		if _, err := to.ReadAt(last, size-1); err != nil {
			return err
		}
		if last[0] != '\n' {
			data = append([]byte{'\n'}, data...)
		}
	}
	if _, err := to.Write(data); err != nil {
		return err
	}
	if err := to.Sync(); err != nil || missing == nil {
		return err
	}
	return syncDirectory(filepath.Dir(f.path))
}

// syncDirectory makes the name of a new file durable.
func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
