//go:build !windows

package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/pgtest"
)

// checked is a database that was made and that nobody uses.
type checked struct {
	t     *testing.T
	dir   string
	flags []string
	open  func() (*sql.DB, error) // as the administrator of the database
}

// newChecked makes a database, on Postgres if there is a DSN.
func newChecked(t *testing.T, dsn string) *checked {
	t.Helper()
	dir := t.TempDir()
	c := &checked{t: t, dir: dir, flags: []string{"--data", filepath.Join(dir, "data"), "--root-key-file", filepath.Join(dir, "root.key")}}
	config := filepath.Join(dir, "config.yaml") // empty: no setting of this machine's own
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.flags = append(c.flags, "--config", config)
	c.open = func() (*sql.DB, error) { return sql.Open("sqlite", filepath.Join(dir, "data", "data.db")) }
	if dsn != "" {
		path := filepath.Join(dir, "dsn")
		if err := os.WriteFile(path, []byte(dsn), 0o600); err != nil {
			t.Fatal(err)
		}
		c.flags = append(c.flags, "--database", "file:"+path)
		c.open = func() (*sql.DB, error) { return sql.Open("pgx", dsn+" search_path=underseal") }
	}
	c.must(0, t.Context(), io.Discard, "init")
	return c
}

// must runs a command, which must end with an exit code, and returns what it prints.
func (c *checked) must(code int, ctx context.Context, stderr io.Writer, args ...string) []byte {
	c.t.Helper()
	var stdout, said bytes.Buffer
	got := run(ctx, append(append([]string{"--json"}, args...), c.flags...), strings.NewReader(""), &stdout, io.MultiWriter(&said, stderr))
	if got != code {
		c.t.Fatalf("underseal %v: exit code %d, want %d\n%s", args, got, code, said.Bytes())
	}
	return stdout.Bytes()
}

func (c *checked) fsck(code int, args ...string) fscked {
	c.t.Helper()
	var found fscked
	out := c.must(code, c.t.Context(), io.Discard, append([]string{"fsck"}, args...)...)
	if err := json.Unmarshal(out, &found); err != nil {
		c.t.Fatalf("%v: %s", err, out)
	}
	return found
}

// change does to the database what its administrator could.
func (c *checked) change(text string) {
	c.t.Helper()
	db, err := c.open()
	if err != nil {
		c.t.Fatal(err)
	}
	defer db.Close()
	result, err := db.ExecContext(c.t.Context(), text)
	if err != nil {
		c.t.Fatalf("%s: %v", text, err)
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		c.t.Fatalf("%s changes %d rows, %v", text, n, err)
	}
}

// interrupting ends a check when it tells for the first time how far it is: after its
// first part.
type interrupting struct{ cancel context.CancelFunc }

func (i interrupting) Write(text []byte) (int, error) {
	if bytes.Contains(text, []byte(" looked at")) {
		i.cancel()
	}
	return len(text), nil
}

func (c *checked) interrupt(args ...string) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	defer cancel()
	c.must(exitInterrupted, ctx, interrupting{cancel}, append([]string{"fsck"}, args...)...)
}

func TestAnInterruptedFsckFindsTheSame(t *testing.T) { interrupted(t, "") }

func TestAnInterruptedFsckFindsTheSameOnPostgres(t *testing.T) { interrupted(t, pgtest.Database(t)) }

// interrupted changes rows that the first part looks at, and others, and compares a
// check that was interrupted after its first part with one that was not.
func interrupted(t *testing.T, dsn string) {
	c := newChecked(t, dsn)
	if found := c.fsck(0); len(found.Findings) > 0 {
		t.Fatalf("untouched data: %+v", found.Findings)
	}
	c.change(`DELETE FROM log_tiles`)
	c.change(`DELETE FROM heads`)
	whole := c.fsck(40)
	for _, table := range []string{"log_tiles", "heads"} {
		if !slices.ContainsFunc(whole.Findings, func(f engine.Finding) bool { return strings.Contains(f.Where, table) }) {
			t.Fatalf("found %+v, want some of %s", whole.Findings, table)
		}
	}
	c.interrupt()
	resumed := c.fsck(40, "--resume")
	if resumed.Rows != whole.Rows || !slices.EqualFunc(resumed.Findings, whole.Findings, func(a, b engine.Finding) bool { return a.Name() == b.Name() }) {
		t.Errorf("resumed: %d rows, %+v\nwant %d rows, %+v", resumed.Rows, resumed.Findings, whole.Rows, whole.Findings)
	}
	c.must(fault.NotFound.ExitCode(), t.Context(), io.Discard, "fsck", "--resume") // it is done
}

// TestAnotherChecksStateIsRefused goes on with what is no state of this check.
func TestAnotherChecksStateIsRefused(t *testing.T) {
	c, other := newChecked(t, ""), newChecked(t, "")
	path := filepath.Join(t.TempDir(), "state")
	c.interrupt("--state", path)
	state, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	withPhase := func(text string) string {
		return regexp.MustCompile(`"phase":"[a-z]+"`).ReplaceAllString(string(state), `"phase":`+text)
	}
	tests := []struct {
		name  string
		of    *checked
		state string
		args  []string
		kind  fault.Kind
	}{
		{"of another database", other, string(state), nil, fault.Conflict},
		{"of a check without keys", c, string(state), []string{"--without-keys"}, fault.Conflict},
		{"no JSON", c, "{", nil, fault.Invalid},
		{"a phase that is none", c, withPhase(`"x"`), nil, fault.Invalid},
		{"a tree without its hashes", c, withPhase(`"logs","tree":{"size":3,"levels":[]}`), nil, fault.Invalid},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if strings.HasPrefix(test.name, "a ") && test.state == string(state) {
				t.Fatalf("the state is another than the test expects: %s", state)
			}
			path := filepath.Join(t.TempDir(), "state")
			if err := os.WriteFile(path, []byte(test.state), 0o600); err != nil {
				t.Fatal(err)
			}
			test.of.must(test.kind.ExitCode(), t.Context(), io.Discard, append([]string{"fsck", "--resume", "--state", path}, test.args...)...)
		})
	}
}
