// Package micro runs benchmarks of packages and reads their figures.
package micro

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Figures are what benchmarks said, by name without "Benchmark", and by unit:
// "ns/op", "steps/s".
type Figures map[string]map[string]float64

// Run runs the named benchmarks of a package some times for about this long each
// and keeps the best of each figure: on a machine that does other things too, the
// run that was disturbed least. They run on one core. All of them must be there.
func Run(ctx context.Context, runs int, each time.Duration, pkg string, names ...string) (Figures, error) {
	return run(ctx, 1, runs, each, pkg, names)
}

// RunOnAllCores is Run for what the server itself spreads over its cores.
func RunOnAllCores(ctx context.Context, runs int, each time.Duration, pkg string, names ...string) (Figures, error) {
	return run(ctx, runtime.NumCPU(), runs, each, pkg, names)
}

func run(ctx context.Context, cores, runs int, each time.Duration, pkg string, names []string) (Figures, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^Benchmark("+strings.Join(names, "|")+")$",
		"-timeout", "40m", "-benchtime", each.String(), "-cpu", strconv.Itoa(cores), "-count", strconv.Itoa(runs), pkg)
	// As much between two collections as the server allows itself (16 MiB of its 20);
	// a test binary's heap is too small for the collector's default to say anything.
	cmd.Env = append(os.Environ(), "GOGC=400")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("benchmarks of %s: %w\n%s%s", pkg, err, out, stderr.String())
	}
	f, err := Read(string(out))
	if err != nil {
		return nil, fmt.Errorf("benchmarks of %s: %w", pkg, err)
	}
	for _, name := range names {
		if f[name] == nil {
			return nil, fmt.Errorf("%s has no Benchmark%s", pkg, name)
		}
	}
	return f, nil
}

// Read reads what "go test -bench" wrote.
func Read(out string) (Figures, error) {
	f := Figures{}
	for line := range strings.Lines(out) {
		if err := f.read(line); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
	}
	return f, nil
}

// read takes in one line: name, count, and then figures with their units.
func (f Figures) read(line string) error {
	words := strings.Fields(line)
	if len(words) < 4 || !strings.HasPrefix(words[0], "Benchmark") {
		return nil
	}
	name := strings.TrimPrefix(words[0], "Benchmark")
	if i := strings.LastIndexByte(name, '-'); i >= 0 {
		name = name[:i] // the number of processors
	}
	if f[name] == nil {
		f[name] = map[string]float64{}
	}
	figures := words[2:]
	if len(figures)%2 != 0 {
		return errors.New("a figure without a unit")
	}
	for ; len(figures) > 0; figures = figures[2:] {
		v, err := strconv.ParseFloat(figures[0], 64)
		if err != nil {
			return err
		}
		f.keep(name, figures[1], v)
	}
	return nil
}

// keep keeps the better of two figures: more per second, or less per operation.
func (f Figures) keep(name, unit string, v float64) {
	old, ok := f[name][unit]
	if !ok || strings.HasSuffix(unit, "/s") == (v > old) {
		f[name][unit] = v
	}
}

// Micros returns what one operation takes, in microseconds.
func (f Figures) Micros(name string) float64 { return f[name]["ns/op"] / 1000 }
