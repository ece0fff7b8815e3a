//go:build !windows

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// TestTheReadmesSessionWorks runs what the README says to paste, line by line as
// it stands there: the first block in one terminal, the second in another.
func TestTheReadmesSessionWorks(t *testing.T) {
	blocks := sessionOf(t, "../../README.md")
	dir := t.TempDir()
	environ := append(os.Environ(),
		"XDG_CONFIG_HOME="+filepath.Join(dir, "config"), "XDG_STATE_HOME="+filepath.Join(dir, "state"),
		"UNDERSEAL_LISTEN=127.0.0.1:0", "UNDERSEAL_METRICS_LISTEN=off")
	checkout := likeCheckout(t)
	url := serveFrom(t, checkout, blocks[0], environ)
	client := session(t.Context(), checkout, blocks[1], append(environ, "UNDERSEAL_SERVER="+url))
	out, err := client.CombinedOutput()
	if err != nil {
		t.Fatalf("the session failed: %v\n%s", err, out)
	}
	for _, want := range []string{
		`(?m)^deployed loan version 1, confidential$`,
		`(?m)^status +completed$`,
		`(?m)^applicant\.ssn +regulated +sealed +1 `,
		`"score": 640`,
		`(?m)^result: proven`,
	} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("the session does not show %s:\n%s", want, out)
		}
	}
}

// TestTheReadmesProgramCompiles builds it as a package of this module.
func TestTheReadmesProgramCompiles(t *testing.T) {
	if testing.Short() {
		t.Skip("links a program")
	}
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	programs := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(page, -1)
	if len(programs) != 1 {
		t.Fatalf("the README has %d programs, want 1", len(programs))
	}
	source := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(source, programs[0][1], 0o600); err != nil {
		t.Fatal(err)
	}
	place, err := filepath.Abs("../../examples/readme/main.go") // exists for the compiler alone
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(t.TempDir(), "overlay.json")
	content, err := json.Marshal(map[string]any{"Replace": map[string]string{place: source}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, content, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "build", "-overlay", overlay, "-o", os.DevNull, "../../examples/readme").CombinedOutput()
	if err != nil {
		t.Errorf("the README's program does not compile: %v\n%s", err, out)
	}
}

// sessionOf returns the two blocks below "A session" without the lines that build
// and find the binary: the test is the binary, and what is built may be older.
func sessionOf(t *testing.T, path string) []string {
	t.Helper()
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "\n## A session\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(section, -1) {
		blocks = append(blocks, strings.NewReplacer("make build\n", "", "export PATH=$PWD/bin:$PATH\n", "").Replace(m[1]))
	}
	if !found || len(blocks) != 2 {
		t.Fatalf("the README's session has %d blocks, want 2", len(blocks))
	}
	return blocks
}

// likeCheckout returns a directory with the examples in it, where the session may
// leave its files.
func likeCheckout(t *testing.T) string {
	t.Helper()
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(examples, filepath.Join(dir, "examples")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func session(ctx context.Context, dir, script string, environ []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = dir
	cmd.Env = environ
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// serveFrom runs the block that ends with the server and returns its address.
func serveFrom(t *testing.T, dir, script string, environ []string) string {
	t.Helper()
	cmd := session(context.WithoutCancel(t.Context()), dir, script, environ)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the whole group: the server is a child of the shell
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // the shell tells of the signal, not of the server
	})
	var said string
	var m []string
	for lines := bufio.NewReader(stdout); err == nil && m == nil; {
		var line string
		line, err = lines.ReadString('\n')
		said += line
		m = regexp.MustCompile(`(?m)^data directory +\S+\nroot key file +.*\ntenant +main\nsetup link file +setup\.link\ncounts once, until .*\nuse it with .*\nunderseal answers at (http://\S+)\n`).FindStringSubmatch(said)
	}
	if err != nil {
		t.Fatalf("serve wrote %q, %v\n%s", said, err, stderr.String())
	}
	return m[1]
}
