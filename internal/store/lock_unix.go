//go:build unix

package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/underseal/underseal/internal/fault"
)

// lockDirectory takes the directory for this process. The kernel gives it back
// when the process ends, however it ends. The file's text is for people.
func lockDirectory(dir string) (unlock func() error, err error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "lock the data directory: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		err = writeHolder(f)
	}
	if err == nil {
		return func() error { return giveBack(f) }, nil
	}
	defer f.Close()
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fault.New(fault.Unavailable, "lock %s: %w", path, err)
	}
	holder, _ := os.ReadFile(path)
	return nil, lockedError(dir, strings.TrimSpace(string(holder)))
}

// giveBack gives a directory back at once: closing alone would leave it locked for as long as
// a program that is just being started has the file as well, between its fork and its exec.
func giveBack(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}

func writeHolder(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := fmt.Fprintln(f, holder())
	return err
}
