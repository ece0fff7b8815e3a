package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"filippo.io/age"
	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/underseal/underseal/internal/pgtest"
)

// The test binary is the program itself, under the name underseal on PATH.
func TestMain(m *testing.M) {
	testscript.Main(withPostgres{m}, map[string]func(){"underseal": main})
}

// withPostgres runs tests that may start a Postgres server, which ends with them.
type withPostgres struct{ m *testing.M }

func (w withPostgres) Run() int { return pgtest.Main(w.m) }

var commands = map[string]func(*testscript.TestScript, bool, []string){
	"exits": exits, "server": startServer, "mode": checkMode, "identity": makeIdentity, "sql": runSQL,
}

func TestScripts(t *testing.T) {
	scriptsIn(t, "testdata")
	testscript.Run(t, testscript.Params{Dir: "testdata", Setup: setup, Cmds: commands})
}

// TestScriptsOnPostgres gives each script two empty databases: the files dsn and
// elsewhere hold their connection strings.
func TestScriptsOnPostgres(t *testing.T) {
	databases := map[string][2]string{}
	for _, script := range scriptsIn(t, "testdata/postgres") {
		name := "script-" + strings.TrimSuffix(filepath.Base(script), ".txt")
		databases[name] = [2]string{pgtest.Database(t), pgtest.Database(t)}
	}
	testscript.Run(t, testscript.Params{Dir: "testdata/postgres", Cmds: commands, Setup: func(e *testscript.Env) error {
		both := databases[filepath.Base(e.WorkDir)]
		e.Setenv("UNDERSEAL_DATABASE", "file:"+filepath.Join(e.WorkDir, "dsn"))
		return errors.Join(setup(e), os.WriteFile(filepath.Join(e.WorkDir, "dsn"), []byte(both[0]), 0o600),
			os.WriteFile(filepath.Join(e.WorkDir, "elsewhere"), []byte(both[1]), 0o600))
	}})
}

func scriptsIn(t *testing.T, dir string) []string {
	t.Helper()
	scripts, err := filepath.Glob(dir + "/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts in %s: %v", dir, err)
	}
	return scripts
}

// setup gives each script directories of its own, and the examples.
func setup(e *testscript.Env) error {
	examples, err := filepath.Abs("../../examples")
	e.Setenv("EXAMPLES", examples)
	verifier, err2 := filepath.Abs("../../docs/verify/verify.py")
	e.Setenv("VERIFIER", verifier)
	e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, "config"))
	e.Setenv("XDG_STATE_HOME", filepath.Join(e.WorkDir, "state"))
	e.Setenv("UNDERSEAL_LISTEN", "127.0.0.1:0")
	e.Setenv("UNDERSEAL_METRICS_LISTEN", "off")
	return errors.Join(err, err2)
}

// exits runs a command and checks its exit code: exits 10 underseal start ..
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARGS..")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// startServer runs "underseal serve" with these arguments until the script ends, sets
// UNDERSEAL_SERVER and SERVER_PID when it answers, and uses the setup link if it printed
// one. "server stop" ends it
// in order and demands exit code 0; "server failed" waits for it to end by itself
// with another one.
func startServer(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 1 && (args[0] == "stop" || args[0] == "failed") {
		endServer(ts, args[0] == "stop")
		return
	}
	path, err := exec.LookPath("underseal")
	ts.Check(err)
	cmd := exec.Command(path, append([]string{"serve", "--json"}, args...)...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), environ(ts)...)
	log, err := os.OpenFile(ts.MkAbs("server.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	ts.Check(err)
	cmd.Stderr = log
	stdout, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Check(log.Close())
	running.Store(ts, cmd)
	ts.Defer(func() {
		if running.CompareAndDelete(ts, cmd) {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		ts.Fatalf("the server did not start: %s", ts.ReadFile("server.log"))
	}
	var r ready
	ts.Check(json.Unmarshal(line, &r))
	ts.Setenv("UNDERSEAL_SERVER", r.URL)
	ts.Setenv("SERVER_PID", strconv.Itoa(cmd.Process.Pid))
	if r.Made != nil && r.Made.Link != "" {
		setUp(ts, r)
	}
}

// setUp uses the link of new data: each script is their administrator, with all rights.
func setUp(ts *testscript.TestScript, r ready) {
	args := []string{"setup", "--name", "admin", "--all-rights"}
	if r.CAFile != "" {
		args = append(args, "--ca-file", r.CAFile)
	}
	cmd := exec.Command("underseal", args...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(append(os.Environ(), environ(ts)...), "UNDERSEAL_SERVER="+r.URL)
	cmd.Stdin = strings.NewReader(r.Made.Link)
	if out, err := cmd.CombinedOutput(); err != nil {
		ts.Fatalf("setup: %v\n%s", err, out)
	}
}

// running holds each script's server, an *exec.Cmd by *testscript.TestScript.
var running sync.Map

func endServer(ts *testscript.TestScript, asked bool) {
	found, ok := running.LoadAndDelete(ts)
	if !ok {
		ts.Fatalf("no server runs")
	}
	cmd := found.(*exec.Cmd)
	if asked {
		ts.Check(cmd.Process.Signal(syscall.SIGTERM))
	}
	if err := cmd.Wait(); asked != (err == nil) {
		ts.Fatalf("the server ended with %v\n%s", err, ts.ReadFile("server.log"))
	}
}

// environ passes on what setup and the script set.
func environ(ts *testscript.TestScript) []string {
	var lines []string
	for _, name := range []string{"HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "UNDERSEAL_LISTEN", "UNDERSEAL_METRICS_LISTEN", "UNDERSEAL_DATA", "UNDERSEAL_DATABASE", "UNDERSEAL_LIMIT_SIGN_IN", "UNDERSEAL_LIMIT_USER", "UNDERSEAL_BREAK_GLASS_SETTLED", "GODEBUG"} {
		if value := ts.Getenv(name); value != "" {
			lines = append(lines, name+"="+value)
		}
	}
	return lines
}

// makeIdentity writes an identity of age to a file, as age-keygen does, and sets
// RECIPIENT to its public key: identity FILE
func makeIdentity(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: identity FILE")
	}
	identity, err := age.GenerateX25519Identity()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte("# created by a test\n"+identity.String()+"\n"), 0o600))
	ts.Setenv("RECIPIENT", identity.Recipient().String())
}

// runSQL changes a Postgres database as its administrator could: sql DSNFILE STATEMENT.
// It must change something.
func runSQL(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sql DSNFILE STATEMENT")
	}
	conn, err := pgx.Connect(context.Background(), ts.ReadFile(args[0]))
	ts.Check(err)
	defer conn.Close(context.Background())
	done, err := conn.Exec(context.Background(), args[1])
	ts.Check(err)
	if done.RowsAffected() == 0 && !strings.HasPrefix(args[1], "DROP") {
		ts.Fatalf("%q changes nothing", args[1])
	}
}

// checkMode compares a file's permissions: mode 600 PATH
func checkMode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode OCTAL PATH")
	}
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := strings.TrimPrefix(strconv.FormatUint(uint64(info.Mode().Perm()), 8), "0"); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}
