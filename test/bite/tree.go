package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// home holds all that this command writes. The place is always the same, so that the
// build cache serves the next run; it is inside the project's bin, which git and
// (through the copies' own go.mod) the go tool leave alone.
var home = filepath.Join("bin", "bite")

// tree is where a slot's copy of the project lies.
func tree(slot int) string { return filepath.Join(home, fmt.Sprint(slot)) }

// copyTree copies what git would commit now, changes included.
func copyTree(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	list, err := exec.Command("git", "ls-files", "-z", "-co", "--exclude-standard").Output()
	if err != nil {
		return fmt.Errorf("git ls-files: %w", err)
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		if err := copyFile(name, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if errors.Is(err, os.ErrNotExist) { // deleted, not yet committed
		return nil
	}
	if err != nil {
		return err
	}
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	return writeFile(to, data, info.Mode().Perm())
}

// writeFile makes the folders that it needs.
func writeFile(path string, data []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, mode)
}
