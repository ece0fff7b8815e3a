package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// A shared build has one test binary for all patches whose test is in one package.
type shared struct {
	dir     string // the tree, absolute
	home    string // what is built, absolute
	goflags string // those of the environment
	weave   weave
	groups  []*group
	report  *report
}

// A group is the patches that name tests of one package.
type group struct {
	module, pkg string
	patches     []patch
	binary      string
	err         error // why its test cannot be run

	mu     sync.Mutex
	failed map[patch]outcome // the patches that bite; guarded by mu
}

func newShared(dir string, r *report) (*shared, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	flags, err := exec.Command("go", "env", "GOFLAGS").Output()
	if err != nil {
		return nil, fmt.Errorf("go env GOFLAGS: %w", err)
	}
	return &shared{
		dir: dir, home: filepath.Dir(dir), goflags: strings.TrimSpace(string(flags)),
		weave: weave{sources: map[string]*source{}}, report: r,
	}, nil
}

// add takes up a patch; one that does not fit is built alone later.
func (s *shared) add(p patch) {
	changes, err := p.changes(s.dir)
	if err != nil {
		s.report.verdict(p, time.Now(), "", err)
		return
	}
	if err := s.weave.add(p.name, changes); err != nil {
		s.report.setApart(p.name, err)
	}
	g := s.groupOf(p)
	g.patches = append(g.patches, p)
}

// groupOf returns the group of a patch, a new one for the first.
func (s *shared) groupOf(p patch) *group {
	at := slices.IndexFunc(s.groups, func(g *group) bool { return g.module == p.module && g.pkg == p.pkg })
	if at < 0 {
		at = len(s.groups)
		binary := filepath.Join(s.home, "tests", strings.NewReplacer("/", "_", ".", "").Replace(p.module+"/"+p.pkg)+".test")
		s.groups = append(s.groups, &group{module: p.module, pkg: p.pkg, binary: binary, failed: map[patch]outcome{}})
	}
	return s.groups[at]
}

// build makes the test binaries.
func (s *shared) build(ctx context.Context) error {
	if err := s.compile(ctx); err != nil {
		return err
	}
	inParallel(s.groups, func(_ int, g *group) {
		start := time.Now()
		g.err = s.link(ctx, g)
		s.report.note("built %-40s %5.1fs", path.Join(g.module, g.pkg), time.Since(start).Seconds())
	})
	return ctx.Err()
}

// compile writes the woven sources, and takes out the patches that do not compile.
func (s *shared) compile(ctx context.Context) error {
	for {
		out, err := s.compileWoven(ctx)
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		dropped := false
		for _, name := range blamed(out) {
			if s.weave.drop(name) {
				dropped = true
				s.report.setApart(name, errors.New("it does not compile beside the other patches: "+lineOf(out, name)))
			}
		}
		if !dropped {
			return fmt.Errorf("the shared build fails for no patch that could be named: %w\n%s", err, out)
		}
	}
}

// compileWoven compiles the packages with woven sources. Unlike "go build", "go list"
// links no program.
func (s *shared) compileWoven(ctx context.Context) (out []byte, err error) {
	packages, err := s.write()
	if err != nil {
		return nil, err
	}
	for module, dirs := range packages {
		args := append([]string{"list", "-export", "-f", "{{.Name}}", "-overlay", s.overlay()}, dirs...)
		text, failed := s.goTool(ctx, module, args...).CombinedOutput()
		if failed != nil {
			out, err = append(out, text...), failed
		}
	}
	return out, err
}

func lineOf(out []byte, patch string) string {
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, patch+".patch:") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

func (s *shared) overlay() string { return filepath.Join(s.home, "overlay.json") }

// write writes the woven sources and their overlay, and returns the folders of their
// packages by module, each relative to its module.
func (s *shared) write() (packages map[string][]string, err error) {
	packages = map[string][]string{}
	replace := map[string]string{}
	put := func(file string, text []byte) error {
		at := filepath.Join(s.home, "_woven", file) // _: not for ./... of the project
		replace[filepath.Join(s.dir, file)] = at
		return writeFile(at, text, 0o644)
	}
	for file, src := range s.weave.sources {
		text, err := src.text()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		folder := path.Dir(file)
		choice := fmt.Sprintf("package %s\n\nimport \"os\"\n\nvar %s = os.Getenv(%q)\n", src.before.ast.Name, chosen, environment)
		if err := errors.Join(put(file, text), put(path.Join(folder, "bite_choice.go"), []byte(choice))); err != nil {
			return nil, err
		}
		module := s.moduleOf(folder)
		pkg := "./" + strings.TrimPrefix(strings.TrimPrefix(folder, module), "/")
		if !slices.Contains(packages[module], pkg) {
			packages[module] = append(packages[module], pkg)
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	return packages, errors.Join(err, writeFile(s.overlay(), text, 0o644))
}

// moduleOf is the nested module that a folder is in, or empty.
func (s *shared) moduleOf(folder string) string {
	for ; folder != "."; folder = path.Dir(folder) {
		if _, err := os.Stat(filepath.Join(s.dir, folder, "go.mod")); err == nil {
			return folder
		}
	}
	return ""
}

func (s *shared) goTool(ctx context.Context, module string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = filepath.Join(s.dir, module)
	cmd.Env = append(cmd.Environ(), cgo(cmd.Dir)...)
	return cmd
}

// link builds a group's test binary, without debug information as "go test" does.
func (s *shared) link(ctx context.Context, g *group) error {
	out, err := s.goTool(ctx, g.module, "test", "-c", "-ldflags=-s -w", "-overlay", s.overlay(), "-o", g.binary, g.pkg).CombinedOutput()
	if err != nil {
		return fmt.Errorf("its test does not build: %w\n%s", err, out)
	}
	return nil
}

// start runs the group's binary as the patch wants it; without a name no variant is chosen.
func (s *shared) start(ctx context.Context, g *group, p patch, log string) ([]byte, error) {
	args := []string{"-test.v", "-test.paniconexit0", "-test.count=1", "-test.run=" + p.run, "-test.timeout=" + limit.String()}
	if p.timeout != "" {
		args = append(args, "-test.timeout="+p.timeout)
	}
	if p.short {
		args = append(args, "-test.short")
	}
	if p.name != "" {
		args = append(args, "-test.failfast")
	}
	cmd := exec.Command(g.binary, args...)
	cmd.Dir = filepath.Join(s.dir, g.module, g.pkg)
	// Programs that the test builds get the variants as well.
	flags := strings.TrimSpace(s.goflags + " '-overlay=" + s.overlay() + "'")
	cmd.Env = append(append(cmd.Environ(), cgo(filepath.Join(s.dir, g.module))...), environment+"="+p.name, "GOFLAGS="+flags)
	return output(ctx, cmd, log, longest)
}

// bite runs the test of each patch with its variant. One that does not bite so is
// built alone: its test may look at the sources, or run a program that gets no variant.
func (s *shared) bite(ctx context.Context) {
	type job struct {
		g *group
		p patch
	}
	var jobs []job
	for _, g := range s.groups {
		for _, p := range g.patches {
			if g.err != nil {
				s.report.verdict(p, time.Now(), "", g.err)
			} else if !s.report.isApart(p.name) {
				jobs = append(jobs, job{g, p})
			}
		}
	}
	inParallel(jobs, func(_ int, j job) {
		start := time.Now()
		out, err := s.start(ctx, j.g, j.p, j.p.name)
		o := outcomeOf(out)
		if err = o.verdict(err); err != nil {
			s.report.setApart(j.p.name, fmt.Errorf("in the shared build: %w", err))
			return
		}
		s.report.verdict(j.p, start, o.place(), nil)
		j.g.note(j.p, o, nil)
	})
}

// left returns the patches that are to be built alone.
func (s *shared) left() (patches []patch) {
	for _, g := range s.groups {
		for _, p := range g.patches {
			if g.err == nil && s.report.isApart(p.name) {
				patches = append(patches, p)
			}
		}
	}
	return patches
}
