//go:build unix

package witness

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"github.com/underseal/underseal/internal/fault"
)

// lockState makes the directory and takes it for this process: two that sign from
// one state could sign a fork. The kernel gives it back when the process ends.
func lockState(dir string) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.New(fault.Unavailable, "make the state directory of the witness: %w", err)
	}
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "lock the state of the witness: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case err == nil:
		return func() error { return giveBack(f) }, nil
	case errors.Is(err, syscall.EWOULDBLOCK):
		err = fault.New(fault.Conflict, "another witness uses the state in %s", dir).WithCode("locked").
			WithHint("each witness has a key and a state directory of its own")
	default:
		err = fault.New(fault.Unavailable, "lock %s: %w", path, err)
	}
	return nil, errors.Join(err, f.Close())
}

// giveBack gives a state back at once: closing alone would leave it locked for as long as a
// program that is just being started has the file as well, between its fork and its exec.
func giveBack(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}
