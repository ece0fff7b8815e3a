package load

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// OnDisk refuses a directory that is in memory, where an fsync costs nothing and
// a figure would mean nothing. It knows by the mounts that Linux lists; elsewhere
// it believes.
func OnDisk(dir string) error {
	if dir == "" {
		dir = os.TempDir()
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if kind := fileSystem(string(mounts), dir); kind == "tmpfs" || kind == "ramfs" {
		return fmt.Errorf("%s is in memory (%s); name a directory on a disk with -dir", dir, kind)
	}
	return nil
}

// fileSystem returns the type of the file system that holds dir: that of the
// longest mount point above it, and of several there, of the last (proc(5)).
func fileSystem(mounts, dir string) (kind string) {
	longest := 0
	for line := range strings.Lines(mounts) {
		mount, source, ok := strings.Cut(line, " - ")
		words, about := strings.Fields(mount), strings.Fields(source)
		if !ok || len(words) < 5 || len(about) < 1 {
			continue
		}
		point := words[4]
		rel, err := filepath.Rel(point, dir)
		if err == nil && filepath.IsLocal(rel) && len(point) >= longest {
			longest, kind = len(point), about[0]
		}
	}
	return kind
}
