package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// biteAlone has each of the patches built alone. Each slot has a copy of the tree.
func (s *shared) biteAlone(ctx context.Context, patches []patch) error {
	if len(patches) == 0 {
		return nil
	}
	for slot := 1; slot < parallel; slot++ { // the shared build made the first
		if err := copyTree(tree(slot)); err != nil {
			return err
		}
	}
	inParallel(patches, func(slot int, p patch) {
		start := time.Now()
		o, err := bite(ctx, tree(slot), p)
		s.report.verdict(p, start, o.place(), err)
		s.groupOf(p).note(p, o, err)
	})
	return nil
}

// bite applies the patch, runs its test, takes the patch back, and returns an
// error unless the test ran and failed.
func bite(ctx context.Context, dir string, p patch) (o outcome, err error) {
	if err := ctx.Err(); err != nil {
		return o, err
	}
	if out, err := apply(dir, p.path); err != nil {
		return o, errors.New("does not apply: " + lastLine(out))
	}
	o, err = runTest(ctx, filepath.Join(dir, p.module), p)
	return o, errors.Join(takeBack(dir, p.path), err)
}

func runTest(ctx context.Context, dir string, p patch) (o outcome, err error) {
	args := []string{"test", "-json", "-count=1", "-vet=off", "-timeout", limit.String()}
	if p.timeout != "" {
		args = append(args, "-timeout", p.timeout)
	}
	if p.short {
		args = append(args, "-short")
	}
	cmd := exec.Command("go", append(args, "-run", p.run, p.pkg)...)
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), cgo(dir)...)
	out, err := output(ctx, cmd, p.name, limit)
	o = outcomeOfJSON(out)
	return o, o.verdict(err)
}

// cgo is the environment of a module whose go.mod says that it needs a C compiler.
func cgo(module string) []string {
	data, err := os.ReadFile(filepath.Join(module, "go.mod"))
	if err == nil && bytes.HasPrefix(data, []byte("// cgo:")) {
		return []string{"CGO_ENABLED=1"}
	}
	return nil
}
