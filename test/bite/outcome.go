package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// output runs a test and returns what it printed, which it leaves in a file as well:
// a process that the test left behind would hold a pipe open. The test knows its own
// limit and gets a minute more. The error is an *exec.ExitError when the test failed.
func output(ctx context.Context, cmd *exec.Cmd, name string, limit time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, limit+time.Minute)
	defer cancel()
	path := filepath.Join(home, "log", name+".txt")
	if err := writeFile(path, nil, 0o644); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() })
	defer stop()
	failed := cmd.Wait()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("no verdict: %w", ctx.Err())
	}
	out, err := os.ReadFile(path)
	return out, errors.Join(err, failed)
}

// An outcome is what the output of a test run says.
type outcome struct {
	unbuilt bool
	ran     []string // tests and subtests
	failed  []string // tests and subtests
	where   string   // the innermost test that failed
	crash   string   // the first line of a panic or fatal error
	missing string   // what the package's tests lack on this machine
}

// outcomeOfJSON reads the output of "go test -json".
func outcomeOfJSON(out []byte) (o outcome) {
	for line := range bytes.Lines(out) {
		var e struct{ Action, Output string }
		if json.Unmarshal(line, &e) != nil {
			continue
		}
		switch e.Action {
		case "build-fail":
			o.unbuilt = true
		case "output":
			o.line(e.Output)
		}
	}
	return o
}

// outcomeOf reads the output of a test binary with -test.v.
func outcomeOf(out []byte) (o outcome) {
	scanner := bufio.NewScanner(bytes.NewReader(out))
	scanner.Buffer(nil, len(out)+1)
	for scanner.Scan() {
		o.line(scanner.Text())
	}
	return o
}

func (o *outcome) line(text string) {
	if name, ok := strings.CutPrefix(text, "=== RUN "); ok {
		o.ran = append(o.ran, strings.TrimSpace(name))
	}
	if name, ok := strings.CutPrefix(strings.TrimLeft(text, " "), "--- FAIL: "); ok {
		name, _, _ = strings.Cut(name, " ")
		o.failed = append(o.failed, strings.TrimSpace(name))
		if strings.Count(name, "/") > strings.Count(o.where, "/") || o.where == "" {
			o.where = strings.TrimSpace(name)
		}
	}
	if o.crash == "" && (strings.HasPrefix(text, "panic: ") || strings.HasPrefix(text, "fatal error: ")) {
		o.crash = strings.TrimSpace(text)
	}
	if missing, ok := strings.CutPrefix(text, "error:"); ok {
		o.missing = ":" + strings.TrimRight(missing, "\n")
	}
}

// place is where the test failed, and how if it crashed.
func (o outcome) place() string { return strings.TrimSpace(o.where + " " + o.crash) }

// verdict is nil only when a test of that run failed: not when it did not
// compile, was not found, or passed. A crash and a time limit count as failing.
func (o outcome) verdict(err error) error {
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		return err
	case o.unbuilt:
		return errors.New("the patched code does not compile, which proves nothing")
	case len(o.ran) == 0:
		return errors.New("no test ran" + o.missing)
	case err == nil:
		return errors.New("the test passes without the safety")
	}
	return nil
}
