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
func biteAlone(ctx context.Context, patches []patch, r *report) error {
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
		where, err := bite(ctx, tree(slot), p)
		r.verdict(p, start, where, err)
	})
	return nil
}

// bite applies the patch, runs its test, takes the patch back, and returns an
// error unless the test ran and failed.
func bite(ctx context.Context, dir string, p patch) (where string, err error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if out, err := apply(dir, p.path); err != nil {
		return "", errors.New("does not apply: " + lastLine(out))
	}
	where, err = runTest(ctx, filepath.Join(dir, p.module), p)
	return where, errors.Join(takeBack(dir, p.path), err)
}

func runTest(ctx context.Context, dir string, p patch) (where string, err error) {
	args := []string{"test", "-json", "-count=1", "-timeout", limit.String()}
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
	o := outcomeOfJSON(out)
	return o.place(), o.verdict(err)
}

// cgo is the environment of a module whose go.mod says that it needs a C compiler.
func cgo(module string) []string {
	data, err := os.ReadFile(filepath.Join(module, "go.mod"))
	if err == nil && bytes.HasPrefix(data, []byte("// cgo:")) {
		return []string{"CGO_ENABLED=1"}
	}
	return nil
}
