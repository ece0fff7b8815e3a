// Command bite proves that the tests bite. Each file test/bite/NAME.patch takes
// one safety out of the code; the test that its header names must then fail.
//
//	Takes out: the check that ..
//	Test: ./internal/store -run TestReplayedRowIsRefused
//	diff --git a/...
//
// The Test line holds a package and the arguments -run, -short and -timeout of "go
// test". A line "Module: DIR" before it has the test run in a nested module, with cgo
// if its go.mod says so. What failed with a patch must pass without any. A patch that no
// longer applies, one that does not compile, a test that does not exist or that still
// passes: all are failures, and so is a folder without patches. Arguments select
// patches by name.
//
// Most patches change nothing but the bodies of functions. All of these share one
// build of each test: the sources hold every patched function in all its variants
// (weave.go), and a variable of the environment chooses one for a run (shared.go). A
// patch of another kind, and one that does not bite in the shared build, has its test
// built and run alone (alone.go); the end of the output names these.
//
// What each run printed lies in bin/bite/log/NAME.txt.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	folder   = "test/bite"
	parallel = 2                // each test run uses several cores by itself
	limit    = 5 * time.Minute  // for the test of one patch
	longest  = 15 * time.Minute // for all tests of a package that failed
)

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
	if err := copyTree(tree(0)); err != nil {
		return err
	}
	r := &report{out: out, apart: map[string]error{}}
	s, err := newShared(tree(0), r)
	if err != nil {
		return err
	}
	for _, p := range patches {
		s.add(p)
	}
	if err := s.build(ctx); err != nil {
		return err
	}
	s.bite(ctx)
	if err := s.biteAlone(ctx, s.left()); err != nil {
		return err
	}
	s.passUnpatched(ctx)
	return r.end(len(patches))
}

// inParallel hands the items to as many slots as there may be and returns when all are done.
func inParallel[T any](items []T, do func(slot int, item T)) {
	queue := make(chan T)
	var wg sync.WaitGroup
	for slot := range parallel {
		wg.Go(func() {
			for item := range queue {
				do(slot, item)
			}
		})
	}
	for _, item := range items {
		queue <- item
	}
	close(queue)
	wg.Wait()
}

// A report prints the verdicts and remembers what the end of the output needs.
type report struct {
	mu     sync.Mutex // guards all of it
	out    io.Writer
	failed []string
	apart  map[string]error // why a patch needs a build of its own
}

// verdict prints what became of a patch: where its test failed, or why it proves nothing.
func (r *report) verdict(p patch, start time.Time, where string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.failed = append(r.failed, p.name)
		fmt.Fprintf(r.out, "FAIL  %-40s %v\n", p.name, err)
		return
	}
	fmt.Fprintf(r.out, "bites %-40s %5.1fs  %s\n", p.name, time.Since(start).Seconds(), where)
}

// note prints a step that is no verdict on a patch.
func (r *report) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.out, format+"\n", args...)
}

func (r *report) setApart(name string, why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.apart[name] = why
}

func (r *report) isApart(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.apart[name] != nil
}

func (r *report) end(patches int) error {
	names := make([]string, 0, len(r.apart))
	for name := range r.apart {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		r.note("alone %-40s %v", name, r.apart[name])
	}
	r.note("%d patches, %d of them built alone, %d failures", patches, len(names), len(r.failed))
	if len(r.failed) > 0 {
		slices.Sort(r.failed)
		return fmt.Errorf("these do not bite: %s", strings.Join(r.failed, ", "))
	}
	return nil
}
