// Command bite proves that the tests bite. Each file test/bite/NAME.patch takes
// one safety out of the code; the test that its header names must then fail.
//
//	Takes out: the check that ..
//	Test: ./internal/store -run TestReplayedRowIsRefused
//	diff --git a/...
//
// The Test line holds arguments of "go test". A line "Module: DIR" before it has the
// test run in a nested module, with cgo if its go.mod says so. A patch that no longer applies, one
// that does not compile, a test that does not exist or that still passes: all are
// failures, and so is a folder without patches. Arguments select patches by name.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	folder   = "test/bite"
	parallel = 2               // each test run uses several cores by itself
	limit    = 5 * time.Minute // for one patch
)

// A patch is one file of the folder.
type patch struct {
	name   string // without ".patch"
	path   string // absolute
	module string // folder of a nested module; empty: the project's own
	test   []string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, names []string, out io.Writer) error {
	patches, err := load(names)
	if err != nil {
		return err
	}
	queue := make(chan patch)
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex // guards failed and out
		failed []string
	)
	for slot := range parallel {
		wg.Go(func() {
			copied := false // each slot copies the tree once and takes every patch back
			for p := range queue {
				start := time.Now()
				err := errors.Join(prepare(slot, &copied), ctx.Err())
				if err == nil {
					err = bite(ctx, tree(slot), p)
				}
				mu.Lock()
				if err != nil {
					failed = append(failed, p.name)
					fmt.Fprintf(out, "FAIL  %-40s %v\n", p.name, err)
				} else {
					fmt.Fprintf(out, "bites %-40s %.1fs\n", p.name, time.Since(start).Seconds())
				}
				mu.Unlock()
			}
		})
	}
	for _, p := range patches {
		queue <- p
	}
	close(queue)
	wg.Wait()
	fmt.Fprintf(out, "%d patches, %d failures\n", len(patches), len(failed))
	if len(failed) > 0 {
		return fmt.Errorf("these do not bite: %s", strings.Join(failed, ", "))
	}
	return nil
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
			p.test = strings.Fields(args)
			return p, nil
		}
	}
	return patch{}, fmt.Errorf("%s: wants a line \"Test: ./pkg -run TestName\" before \"diff --git\"", path)
}

// tree is where a slot's copy of the project lies. The place is always the same,
// so that the build cache serves the next run; it is inside the project's bin,
// which git and (through its own go.mod) the go tool leave alone.
func tree(slot int) string { return filepath.Join("bin", "bite", fmt.Sprint(slot)) }

// prepare copies what git would commit now, changes included.
func prepare(slot int, copied *bool) error {
	if *copied {
		return nil
	}
	dir := tree(slot)
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
	*copied = true
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
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, data, info.Mode().Perm())
}

// bite applies the patch, runs its test, takes the patch back, and returns an
// error unless the test ran and failed.
func bite(ctx context.Context, dir string, p patch) error {
	if out, err := apply(dir, p.path); err != nil {
		return fmt.Errorf("does not apply: %s", lastLine(out))
	}
	verdict := runTest(ctx, filepath.Join(dir, p.module), p.test)
	if out, err := apply(dir, p.path, "--reverse"); err != nil {
		return fmt.Errorf("cannot be taken back: %s", lastLine(out))
	}
	return verdict
}

// apply keeps git from looking at the project around the copy.
func apply(dir, path string, more ...string) ([]byte, error) {
	cmd := exec.Command("git", append([]string{"apply", "--whitespace=nowarn"}, append(more, path)...)...)
	cmd.Dir = dir
	parent, err := filepath.Abs(filepath.Dir(dir))
	if err != nil {
		return nil, err
	}
	cmd.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+parent)
	return cmd.CombinedOutput()
}

// An event is a line of "go test -json".
type event struct{ Action, Output string }

func runTest(ctx context.Context, dir string, test []string) error {
	ctx, cancel := context.WithTimeout(ctx, limit+time.Minute)
	defer cancel()
	args := append([]string{"test", "-json", "-count=1", "-timeout", limit.String()}, test...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	if wantsCgo(dir) {
		cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	}
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return fmt.Errorf("no verdict: %w", ctx.Err())
	}
	return verdict(out, err)
}

// wantsCgo reports whether a module's go.mod says that it needs a C compiler.
func wantsCgo(dir string) bool {
	data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	return err == nil && bytes.HasPrefix(data, []byte("// cgo:"))
}

// verdict is nil only when a test of that run failed: not when it did not
// compile, was not found, or passed. A crash and a time limit count as failing.
func verdict(out []byte, err error) error {
	ran, built, missing := 0, true, ""
	scanner := bufio.NewScanner(bytes.NewReader(out))
	scanner.Buffer(nil, 16<<20)
	for scanner.Scan() {
		var e event
		if json.Unmarshal(scanner.Bytes(), &e) != nil {
			continue
		}
		switch e.Action {
		case "build-fail":
			built = false
		case "run":
			ran++
		case "output": // of a package whose tests lack something on this machine
			if text, ok := strings.CutPrefix(e.Output, "error:"); ok {
				missing = ":" + strings.TrimRight(text, "\n")
			}
		}
	}
	switch {
	case !built:
		return errors.New("the patched code does not compile, which proves nothing")
	case ran == 0:
		return errors.New("no test ran" + missing)
	case err == nil:
		return errors.New("the test passes without the safety")
	}
	return scanner.Err()
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}
