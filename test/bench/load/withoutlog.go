package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// edits take the log out of a build: no leaf of what was shown is made, no tree
// grows, and nothing is compared with it. Steps keep their leaves, without which no
// instance is opened. They go into an overlay of one build, so
// that the product has no switch for it.
var edits = []struct{ file, old, new string }{
	{"internal/engine/shown.go", "items = slices.DeleteFunc(items, func(s shown) bool { return len(s.paths) == 0 })", "items = slices.Clip(items[:0])"},
	{"internal/sequencer/sequencer.go", "timer.Reset(s.pass(ctx, false))", "timer.Reset(time.Hour)"},
	{"internal/node/integrity.go", "return integrity{rate: rate,", "return integrity{"},
}

// buildWithoutLog builds the server without its log into dir and returns the
// binary's path. It must run in the root of the checkout.
func buildWithoutLog(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "underseal-without-log")
	return binary, goWithoutLog(ctx, ".", dir, "build", "-ldflags", "-s -w", "-o", binary, "./cmd/underseal")
}

// goWithoutLog runs a command of go with the sources below root as they are without the
// log. What takes their place is written into dir.
func goWithoutLog(ctx context.Context, root, dir, command string, args ...string) error {
	replace := map[string]string{}
	for i, e := range edits {
		path, err := filepath.Abs(filepath.Join(root, e.file))
		if err != nil {
			return err
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if strings.Count(string(source), e.old) != 1 {
			return fmt.Errorf("%s is not as the measurement without the log knows it: it has no %q", e.file, e.old)
		}
		replace[path] = filepath.Join(dir, fmt.Sprintf("%d.go", i))
		if err := os.WriteFile(replace[path], []byte(strings.Replace(string(source), e.old, e.new, 1)), 0o600); err != nil {
			return err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", append([]string{command, "-overlay", list}, args...)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the server without its log: %w\n%s", err, out)
	}
	return nil
}

// LogCost is what the log costs: completed instances with it and without, of one
// run in which the two servers were measured in turn.
type LogCost struct{ With, Without float64 }

// Part is the part of the throughput that the log takes.
func (c LogCost) Part() float64 { return 1 - c.With/c.Without }

// MeasureLog compares a server with one without its log, both confidential, on
// SQLite below dir or on two empty databases, given as references.
func (c Comparison) MeasureLog(ctx context.Context, binary, dir string, databases [2]string, progress io.Writer) (cost LogCost, err error) {
	if err := OnDisk(dir); err != nil {
		return cost, err
	}
	if dir, err = os.MkdirTemp(dir, "underseal-bench-"); err != nil {
		return cost, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fmt.Fprintln(progress, "building the server without its log")
	without, err := buildWithoutLog(ctx, dir)
	if err != nil {
		return cost, err
	}
	var loads [2]*Load
	for i, b := range []string{binary, without} {
		h := Home{Binary: b, Dir: filepath.Join(dir, fmt.Sprint(i)), Database: databases[i]}
		if err := os.Mkdir(h.Dir, 0o700); err != nil {
			return cost, err
		}
		server, failed := h.Start(c.Shape)
		if failed != nil {
			return cost, failed
		}
		defer func() { err = errors.Join(err, server.Stop()) }()
		loads[i] = New(server.Client, "confidential", c.Shape)
		if err := loads[i].Deploy(ctx); err != nil {
			return cost, err
		}
	}
	var samples [2]Sample
	for round := range c.Rounds + 1 { // the first one warms up
		for i := range loads {
			i = (i + round) % 2
			slice, name := c.Measure/time.Duration(c.Rounds), []string{"with", "without"}[i]
			if round == 0 {
				slice = c.WarmUp / 2
			}
			fmt.Fprintf(progress, "round %d of %d: %s the log for %v\n", round, c.Rounds, name, slice)
			got, err := loads[i].Full(ctx, slice)
			if err != nil {
				return cost, err
			}
			if round > 0 {
				samples[i].Add(got)
			}
		}
	}
	return LogCost{With: samples[0].Figures().Rate, Without: samples[1].Figures().Rate}, nil
}
