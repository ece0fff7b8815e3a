package files

import (
	"errors"
	"io/fs"
	"os"
)

// change makes one change of the disk, unless a test has it fail.
func (s *Store) change(step, path string, do func() error) error {
	if s.testingOnlyBefore != nil {
		if err := s.testingOnlyBefore(step, path); err != nil {
			return err
		}
	}
	return do()
}

// create makes a file that did not exist, for its owner alone. The name is
// pattern with a random text for its star.
func (s *Store) create(dir, pattern string) (file *os.File, err error) {
	err = s.change(stepCreate, dir, func() error {
		file, err = os.CreateTemp(dir, pattern)
		return err
	})
	return file, err
}

func (s *Store) write(file *os.File, p []byte) (n int, err error) {
	err = s.change(stepWrite, file.Name(), func() error {
		n, err = file.Write(p)
		return err
	})
	return n, err
}

// mkdir makes a directory unless it is there.
func (s *Store) mkdir(path string) error {
	err := s.change(stepMkdir, path, func() error { return os.Mkdir(path, 0o700) })
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

func (s *Store) rename(from, to string) error {
	return s.change(stepRename, to, func() error { return os.Rename(from, to) })
}

func (s *Store) remove(path string) error {
	return s.change(stepRemove, path, func() error { return os.Remove(path) })
}

// sync makes the names in a directory durable.
func (s *Store) sync(dir string) error {
	return s.change(stepSync, dir, func() error {
		d, err := os.Open(dir)
		if err != nil {
			return err
		}
		return errors.Join(d.Sync(), d.Close())
	})
}
