package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// requirements are the ids of OWASP ASVS 5.0.0 with their levels: all of level 1 and 2,
// and those of level 3 of chapters 6 to 8.
const requirements = `
1.1.1/2 1.1.2/2 1.2.1/1 1.2.2/1 1.2.3/1 1.2.4/1 1.2.5/1 1.2.6/2 1.2.7/2 1.2.8/2 1.2.9/2 1.3.1/1 1.3.2/1 1.3.3/2 1.3.4/2 1.3.5/2 1.3.6/2 1.3.7/2 1.3.8/2 1.3.9/2 1.3.10/2 1.3.11/2 1.4.1/2 1.4.2/2 1.4.3/2 1.5.1/1 1.5.2/2
2.1.1/1 2.1.2/2 2.1.3/2 2.2.1/1 2.2.2/1 2.2.3/2 2.3.1/1 2.3.2/2 2.3.3/2 2.3.4/2 2.4.1/2
3.2.1/1 3.2.2/1 3.3.1/1 3.3.2/2 3.3.3/2 3.3.4/2 3.4.1/1 3.4.2/1 3.4.3/2 3.4.4/2 3.4.5/2 3.4.6/2 3.5.1/1 3.5.2/1 3.5.3/1 3.5.4/2 3.5.5/2 3.7.1/2 3.7.2/2
4.1.1/1 4.1.2/2 4.1.3/2 4.2.1/2 4.3.1/2 4.3.2/2 4.4.1/1 4.4.2/2 4.4.3/2 4.4.4/2
5.1.1/2 5.2.1/1 5.2.2/1 5.2.3/2 5.3.1/1 5.3.2/1 5.4.1/2 5.4.2/2 5.4.3/2
6.1.1/1 6.1.2/2 6.1.3/2 6.2.1/1 6.2.2/1 6.2.3/1 6.2.4/1 6.2.5/1 6.2.6/1 6.2.7/1 6.2.8/1 6.2.9/2 6.2.10/2 6.2.11/2 6.2.12/2 6.3.1/1 6.3.2/1 6.3.3/2 6.3.4/2 6.3.5/3 6.3.6/3 6.3.7/3 6.3.8/3 6.4.1/1 6.4.2/1 6.4.3/2 6.4.4/2 6.4.5/3 6.4.6/3 6.5.1/2 6.5.2/2 6.5.3/2 6.5.4/2 6.5.5/2 6.5.6/3 6.5.7/3 6.5.8/3 6.6.1/2 6.6.2/2 6.6.3/2 6.6.4/3 6.7.1/3 6.7.2/3 6.8.1/2 6.8.2/2 6.8.3/2 6.8.4/2
7.1.1/2 7.1.2/2 7.1.3/2 7.2.1/1 7.2.2/1 7.2.3/1 7.2.4/1 7.3.1/2 7.3.2/2 7.4.1/1 7.4.2/1 7.4.3/2 7.4.4/2 7.4.5/2 7.5.1/2 7.5.2/2 7.5.3/3 7.6.1/2 7.6.2/2
8.1.1/1 8.1.2/2 8.1.3/3 8.1.4/3 8.2.1/1 8.2.2/1 8.2.3/2 8.2.4/3 8.3.1/1 8.3.2/3 8.3.3/3 8.4.1/2 8.4.2/3
9.1.1/1 9.1.2/1 9.1.3/1 9.2.1/1 9.2.2/2 9.2.3/2 9.2.4/2
10.1.1/2 10.1.2/2 10.2.1/2 10.2.2/2 10.3.1/2 10.3.2/2 10.3.3/2 10.3.4/2 10.4.1/1 10.4.2/1 10.4.3/1 10.4.4/1 10.4.5/1 10.4.6/2 10.4.7/2 10.4.8/2 10.4.9/2 10.4.10/2 10.4.11/2 10.5.1/2 10.5.2/2 10.5.3/2 10.5.4/2 10.5.5/2 10.6.1/2 10.6.2/2 10.7.1/2 10.7.2/2 10.7.3/2
11.1.1/2 11.1.2/2 11.2.1/2 11.2.2/2 11.2.3/2 11.3.1/1 11.3.2/1 11.3.3/2 11.4.1/1 11.4.2/2 11.4.3/2 11.4.4/2 11.5.1/2 11.6.1/2
12.1.1/1 12.1.2/2 12.1.3/2 12.2.1/1 12.2.2/1 12.3.1/2 12.3.2/2 12.3.3/2 12.3.4/2
13.1.1/2 13.2.1/2 13.2.2/2 13.2.3/2 13.2.4/2 13.2.5/2 13.3.1/2 13.3.2/2 13.4.1/1 13.4.2/2 13.4.3/2 13.4.4/2 13.4.5/2
14.1.1/2 14.1.2/2 14.2.1/1 14.2.2/2 14.2.3/2 14.2.4/2 14.3.1/1 14.3.2/2 14.3.3/2
15.1.1/1 15.1.2/2 15.1.3/2 15.2.1/1 15.2.2/2 15.2.3/2 15.3.1/1 15.3.2/2 15.3.3/2 15.3.4/2 15.3.5/2 15.3.6/2 15.3.7/2
16.1.1/2 16.2.1/2 16.2.2/2 16.2.3/2 16.2.4/2 16.2.5/2 16.3.1/2 16.3.2/2 16.3.3/2 16.3.4/2 16.4.1/2 16.4.2/2 16.4.3/2 16.5.1/2 16.5.2/2 16.5.3/2
17.1.1/2 17.2.1/2 17.2.2/2 17.2.3/2 17.2.4/2 17.3.1/2 17.3.2/2`

var (
	asvsRow   = regexp.MustCompile(`(?m)^\| (\d+\.\d+\.\d+) \| (\d) \| (.+) \|$`)
	asvsCount = regexp.MustCompile(`(?m)^\| ([a-z ]+) \| (\d+) \|$`)
	namedTest = regexp.MustCompile("`(Test\\w+)`")
	testFunc  = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
)

func TestTheASVSPageHasEveryRequirementAndNamesTestsThatExist(t *testing.T) {
	page, err := os.ReadFile("../../docs/asvs.md")
	if err != nil {
		t.Fatal(err)
	}
	exists := testNames(t)
	rows, counts := map[string]string{}, map[string]int{}
	for _, row := range asvsRow.FindAllStringSubmatch(string(page), -1) {
		id, text := row[1]+"/"+row[2], row[3]
		if _, twice := rows[id]; twice {
			t.Errorf("docs/asvs.md has %s twice", id)
		}
		rows[id] = text
		named := namedTest.FindAllStringSubmatch(text, -1)
		kind := "with tests"
		if reason, why, ok := strings.Cut(strings.TrimPrefix(text, "**"), "**: "); ok {
			kind = reason
			if why == "" || len(named) > 0 {
				t.Errorf("%s: %q is no reason, or names a test besides", id, text)
			}
		} else if len(named) == 0 {
			t.Errorf("%s names neither a test nor a reason why not: %s", id, text)
		}
		counts[kind]++
		for _, name := range named {
			if !exists[name[1]] {
				t.Errorf("%s: there is no test %s", id, name[1])
			}
		}
	}
	for _, id := range strings.Fields(requirements) {
		if _, ok := rows[id]; !ok {
			t.Errorf("docs/asvs.md has no row for %s", id)
		}
		delete(rows, id)
	}
	for id := range rows {
		t.Errorf("docs/asvs.md has %s, which is no requirement", id)
	}
	checkASVSCounts(t, string(page), counts)
}

// checkASVSCounts compares the table at the top with the rows.
func checkASVSCounts(t *testing.T, page string, counts map[string]int) {
	t.Helper()
	said := 0
	for _, row := range asvsCount.FindAllStringSubmatch(page, -1) {
		said++
		if got := fmt.Sprint(counts[row[1]]); got != row[2] {
			t.Errorf("docs/asvs.md says that %s rows are %q, and %s are", row[2], row[1], got)
		}
	}
	if said != 4 || len(counts) != 4 {
		t.Errorf("docs/asvs.md counts %d kinds of rows, and has %v", said, counts)
	}
}

// testNames are the names of all tests of this repository.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "bin" || entry.Name() == ".git"):
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		source, err := os.ReadFile(path)
		for _, f := range testFunc.FindAllStringSubmatch(string(source), -1) {
			names[f[1]] = true
		}
		return err
	})
	if err != nil || len(names) < 500 {
		t.Fatalf("%d tests were found: %v", len(names), err)
	}
	return names
}
