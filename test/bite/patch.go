package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A patch is one file of the folder.
type patch struct {
	name    string // without ".patch"
	path    string // absolute
	module  string // folder of a nested module; empty: the project's own
	pkg     string // folder of the test, relative to the module
	run     string // the tests' names, as -run takes them; empty: all
	short   bool
	timeout string // of the test; empty: the limit
}

// load reads the headers of all patches, or of those that are named.
func load(names []string) ([]patch, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*.patch"))
	if err != nil {
		return nil, err
	}
	var patches []patch
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".patch")
		if len(names) > 0 && !slices.Contains(names, name) {
			continue
		}
		p, err := read(name, path)
		if err != nil {
			return nil, err
		}
		patches = append(patches, p)
	}
	if len(patches) == 0 || len(names) > 0 && len(patches) != len(names) {
		return nil, fmt.Errorf("found %d patches in %s, which checks nothing or not all that was asked for", len(patches), folder)
	}
	return patches, nil
}

func read(name, path string) (patch, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return patch{}, err
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return patch{}, err
	}
	header, _, found := strings.Cut("\n"+string(data), "\ndiff --git ")
	p := patch{name: name, path: path}
	for line := range strings.Lines(header) {
		line = strings.TrimSpace(line)
		if dir, ok := strings.CutPrefix(line, "Module: "); ok {
			p.module = dir
		}
		if args, ok := strings.CutPrefix(line, "Test: "); ok && found {
			if err := p.setTest(strings.Fields(args)); err != nil {
				return patch{}, fmt.Errorf("%s: %w", path, err)
			}
			return p, nil
		}
	}
	return patch{}, fmt.Errorf("%s: wants a line \"Test: ./pkg -run TestName\" before \"diff --git\"", path)
}

func (p *patch) setTest(args []string) error {
	if len(args) == 0 || !strings.HasPrefix(args[0], ".") {
		return errors.New("the Test line begins with a package, as ./internal/store")
	}
	p.pkg = args[0]
	for args = args[1:]; len(args) > 0; args = args[1:] {
		switch {
		case args[0] == "-short":
			p.short = true
			continue
		case len(args) == 1:
		case args[0] == "-run":
			p.run = args[1]
		case args[0] == "-timeout":
			p.timeout = args[1]
		}
		if len(args) == 1 || args[0] != "-run" && args[0] != "-timeout" {
			return fmt.Errorf("the Test line has %q: it takes -run NAME, -short and -timeout TIME", args[0])
		}
		args = args[1:]
	}
	return nil
}

// A change is what a patch makes of one file of the tree.
type change struct {
	path          string // within the tree, with slashes
	before, after []byte // nil: no such file
}

// changes has the patch in the tree for as long as it takes to read its changes.
func (p patch) changes(dir string) ([]change, error) {
	list, err := apply(dir, p.path, "--numstat")
	if err != nil {
		return nil, fmt.Errorf("does not apply: %s", lastLine(list))
	}
	var changes []change
	for line := range strings.Lines(string(list)) { // added, deleted, path
		if fields := strings.SplitN(strings.TrimRight(line, "\n"), "\t", 3); len(fields) == 3 {
			changes = append(changes, change{path: fields[2]})
		}
	}
	for i, c := range changes {
		if changes[i].before, err = readIfThere(filepath.Join(dir, c.path)); err != nil {
			return nil, err
		}
	}
	if out, err := apply(dir, p.path); err != nil {
		return nil, fmt.Errorf("does not apply: %s", lastLine(out))
	}
	for i, c := range changes {
		if changes[i].after, err = readIfThere(filepath.Join(dir, c.path)); err != nil {
			return nil, err
		}
	}
	return changes, takeBack(dir, p.path)
}

func readIfThere(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

func takeBack(dir, path string) error {
	if out, err := apply(dir, path, "--reverse"); err != nil {
		return fmt.Errorf("cannot be taken back: %s", lastLine(out))
	}
	return nil
}

// apply keeps git from looking at the project around the copy.
func apply(dir, path string, more ...string) ([]byte, error) {
	cmd := exec.Command("git", append([]string{"apply", "--whitespace=nowarn"}, append(more, path)...)...)
	cmd.Dir = dir
	parent, err := filepath.Abs(filepath.Dir(dir))
	if err != nil {
		return nil, err
	}
	cmd.Env = append(cmd.Environ(), "GIT_CEILING_DIRECTORIES="+parent)
	return cmd.CombinedOutput()
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}
