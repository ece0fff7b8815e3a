package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// note keeps where the test of a patch failed, if it did.
func (g *group) note(p patch, o outcome, err error) {
	if err != nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failed[p] = o
}

// passUnpatched runs, without any patch, what failed with one: a test that fails anyway,
// or in the time that it is given, proves nothing.
func (s *shared) passUnpatched(ctx context.Context) {
	inParallel(s.groups, func(_ int, g *group) {
		start := time.Now()
		bitten := map[patch][]patch{} // by what else their Test lines say
		for p := range g.failed {
			as := patch{short: p.short, timeout: cmp.Or(p.timeout, longest.String())}
			bitten[as] = append(bitten[as], p)
		}
		passed := 0
		for as, patches := range bitten {
			err := s.pass(ctx, g, as, patches)
			if err == nil {
				passed += len(patches)
				continue
			}
			for _, p := range patches {
				s.report.verdict(p, start, "", err)
			}
		}
		s.report.note("passes without any patch: %-40s %5.1fs  %d of %d", path.Join(g.module, g.pkg), time.Since(start).Seconds(), passed, len(g.failed))
	})
}

// pass returns an error unless the tests that failed with the patches pass without any.
// Where a subtest is named by chance, all that its parent has must, and so where the
// parent counts its subtests.
func (s *shared) pass(ctx context.Context, g *group, as patch, patches []patch) error {
	var named, unnamed []string // tests; a test that crashed may not be named, what -run names is
	for _, p := range patches {
		if where := g.failed[p].where; where != "" {
			named = append(named, where)
		} else {
			unnamed = append(unnamed, p.run)
		}
	}
	for len(named)+len(unnamed) > 0 {
		as.run = patternOf(named, unnamed)
		out, err := s.start(ctx, g, as, "unpatched"+filepath.Base(g.binary))
		o := outcomeOf(out)
		lacking, all := o.lackedSubtests(named)
		if err != nil && !all {
			return fmt.Errorf("its test %s fails without any patch: %w", cmp.Or(o.place(), as.run), err)
		}
		unnamed = nil
		if named, err = o.parentsOfMissing(named); err != nil {
			return err
		}
		named = append(named, lacking...)
	}
	return nil
}

// patternOf is what -run takes to run all of the tests, and what the other patterns say.
func patternOf(tests, patterns []string) string {
	all := slices.Clone(patterns)
	for _, test := range tests {
		var exact []string
		for part := range strings.SplitSeq(test, "/") {
			exact = append(exact, "^"+regexp.QuoteMeta(part)+"$")
		}
		all = append(all, strings.Join(exact, "/"))
	}
	if slices.Contains(all, "") { // all tests
		return ""
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), "|")
}

// lackedSubtests returns the tests that failed although none of their subtests did and
// others of these were left out; all says that nothing else failed.
func (o outcome) lackedSubtests(named []string) (tests []string, all bool) {
	for _, failed := range o.failed {
		below := func(test string) bool { return strings.HasPrefix(test, failed+"/") }
		switch {
		case slices.ContainsFunc(o.failed, below):
		case slices.ContainsFunc(named, below) && !slices.Contains(named, failed):
			tests = append(tests, failed)
		default:
			return nil, false
		}
	}
	return tests, len(tests) > 0
}

// parentsOfMissing returns what to run in the place of tests of which none ran.
func (o outcome) parentsOfMissing(tests []string) (parents []string, err error) {
	for _, test := range tests {
		if slices.ContainsFunc(o.ran, func(ran string) bool { return ran == test || strings.HasPrefix(ran, test+"/") }) {
			continue
		}
		at := strings.LastIndex(test, "/")
		if at < 0 {
			return nil, errors.New("no test ran" + o.missing)
		}
		parents = append(parents, test[:at])
	}
	return parents, nil
}
