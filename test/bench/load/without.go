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

// Part is what a build can be without, for a measurement. Edits go into an overlay of
// that build, so that the product has no switch for it.
type Part struct {
	Name  string
	edits []edit
}

type edit struct{ file, old, new string }

// noneTold has no leaf be made of what a response shows.
var noneTold = edit{"internal/engine/shown.go", "items = slices.DeleteFunc(items, func(s shown) bool { return len(s.paths) == 0 })", "items = slices.Clip(items[:0])"}

// TheLog is leaves of what was shown, trees, and what is compared with them. Steps keep
// their leaves, without which no instance is opened.
var TheLog = Part{"the log", []edit{
	noneTold,
	{"internal/sequencer/sequencer.go", "timer.Reset(s.pass(ctx, false))", "timer.Reset(time.Hour)"},
	{"internal/node/integrity.go", "return integrity{rate: rate,", "return integrity{"},
}}

// Access is decisions, first ones and those of calls that wait, and leaves of what was
// shown. Who calls is found out by their key without it, too.
var Access = Part{"access", []edit{
	noneTold,
	{"internal/engine/decide.go", "if c.Rules.Policies.Could(c.Who, action, kind, e.circumstances(c)) {", "if action != \"\" {"},
	{"internal/engine/decide.go", "return c.Rules.Policies.Decide(c.Who, action, on, e.circumstances(c))", "return access.Decision{Allowed: true}"},
	{"internal/engine/jobs.go", "if !c.Rules.Policies.Own(access.WorkJobs) && e.policies.Reach(c.Who, access.WorkJobs, access.Job, e.circumstances(c)).All {", "if c.Who != nil {"},
	{"internal/engine/people.go", "return k.Again(c, e.moment())", "return c, nil"},
}}

// build builds the server without the part into dir and returns the binary's path. It
// must run in the root of the checkout.
func (p Part) build(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "underseal-less")
	return binary, p.run(ctx, ".", dir, "build", "-ldflags", "-s -w", "-o", binary, "./cmd/underseal")
}

// run runs a command of go with the sources below root as they are without the part. What
// takes their place is written into dir.
func (p Part) run(ctx context.Context, root, dir, command string, args ...string) error {
	sources, replace := map[string]string{}, map[string]string{}
	for _, e := range p.edits {
		path, err := filepath.Abs(filepath.Join(root, e.file))
		if err != nil {
			return err
		}
		source, known := sources[path]
		if !known {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			source, replace[path] = string(data), filepath.Join(dir, fmt.Sprintf("%d.go", len(sources)))
		}
		if strings.Count(source, e.old) != 1 {
			return fmt.Errorf("%s is not as the measurement without %s knows it: it has no %q", e.file, p.Name, e.old)
		}
		sources[path] = strings.Replace(source, e.old, e.new, 1)
		if err := os.WriteFile(replace[path], []byte(sources[path]), 0o600); err != nil {
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
		return fmt.Errorf("build the server without %s: %w\n%s", p.Name, err, out)
	}
	return nil
}

// Cost is what parts cost: completed instances with all of them, and without each, of one
// run in which the servers were measured in turn.
type Cost struct {
	With    float64
	Without []float64 // in the order of the parts
}

// Part is what part of the throughput the i-th part takes.
func (c Cost) Part(i int) float64 { return 1 - c.With/c.Without[i] }

// MeasureWithout compares a server with one without each of the parts, all confidential,
// on SQLite below dir or on empty databases, given as references: one more than parts.
func (c Comparison) MeasureWithout(ctx context.Context, binary, dir string, databases []string, progress io.Writer, parts ...Part) (cost Cost, err error) {
	if err := OnDisk(dir); err != nil {
		return cost, err
	}
	if dir, err = os.MkdirTemp(dir, "underseal-bench-"); err != nil {
		return cost, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	names := []string{"with everything"}
	loads := make([]*Load, 1+len(parts))
	for i := range loads {
		h := Home{Binary: binary, Dir: filepath.Join(dir, fmt.Sprint(i)), Database: databases[i]}
		if err := os.Mkdir(h.Dir, 0o700); err != nil {
			return cost, err
		}
		if i > 0 {
			names = append(names, "without "+parts[i-1].Name)
			fmt.Fprintln(progress, "building the server", names[i])
			if h.Binary, err = parts[i-1].build(ctx, h.Dir); err != nil {
				return cost, err
			}
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
	samples := make([]Sample, len(loads))
	for round := range c.Rounds + 1 { // the first one warms up
		for i := range loads {
			i = (i + round) % len(loads)
			slice := c.Measure / time.Duration(c.Rounds)
			if round == 0 {
				slice = c.WarmUp / 2
			}
			fmt.Fprintf(progress, "round %d of %d: %s for %v\n", round, c.Rounds, names[i], slice)
			got, err := loads[i].Full(ctx, slice)
			if err != nil {
				return cost, err
			}
			if round > 0 {
				samples[i].Add(got)
			}
		}
	}
	cost.With = samples[0].Figures().Rate
	for i := range parts {
		cost.Without = append(cost.Without, samples[i+1].Figures().Rate)
	}
	return cost, nil
}
