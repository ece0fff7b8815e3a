//go:build !windows

package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/anchor/anchortest"
)

// A company is a server with its files, and whoever uses it there.
type company struct {
	t      *testing.T
	dir    string
	env    []string
	cmd    *exec.Cmd // the server
	folder string    // of the examples
}

func newCompany(t *testing.T) *company {
	t.Helper()
	c := &company{t: t, dir: t.TempDir(), folder: must(filepath.Abs("../../examples/loan"))}
	c.env = append(os.Environ(), "XDG_CONFIG_HOME="+filepath.Join(c.dir, "config"), "XDG_STATE_HOME="+filepath.Join(c.dir, "state"),
		"UNDERSEAL_LISTEN=127.0.0.1:0", "UNDERSEAL_METRICS_LISTEN=off")
	return c
}

// serve starts the server, and returns what it wrote to its log before it answered.
func (c *company) serve(config string) (log string) {
	c.t.Helper()
	c.write("config.yaml", config)
	c.cmd = exec.Command("underseal", "serve", "--json", "--log-format", "json", "--config", filepath.Join(c.dir, "config.yaml"))
	c.cmd.Env = c.env
	file := must(os.Create(filepath.Join(c.dir, "server.log")))
	defer file.Close()
	c.cmd.Stderr = file
	out := must(c.cmd.StdoutPipe())
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(c.stop)
	var r ready
	if err := json.Unmarshal(must(bufio.NewReader(out).ReadBytes('\n')), &r); err != nil {
		c.t.Fatal(err)
	}
	c.env = append(c.env, "UNDERSEAL_SERVER="+r.URL)
	if r.Made != nil {
		c.write("setup.link", r.Made.Link)
		c.run(0, "setup", "--link-file", "setup.link", "--name", "admin", "--all-rights")
	}
	return c.read("server.log")
}

// stop ends the server in order.
func (c *company) stop() {
	if c.cmd.ProcessState != nil {
		return
	}
	c.cmd.Process.Signal(syscall.SIGTERM)
	if err := c.cmd.Wait(); err != nil {
		c.t.Errorf("the server ended with %v\n%s", err, c.read("server.log"))
	}
}

func (c *company) write(name, text string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func (c *company) read(name string) string {
	c.t.Helper()
	return string(must(os.ReadFile(filepath.Join(c.dir, name))))
}

// run runs a command of the program, which must end with this exit code.
func (c *company) run(exit int, args ...string) string {
	c.t.Helper()
	return runIn(c.t, c.dir, c.env, exit, "underseal", args...)
}

func runIn(t *testing.T, dir string, env []string, exit int, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env = dir, env
	out, err := cmd.CombinedOutput()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) || cmd.ProcessState.ExitCode() != exit {
		t.Fatalf("%s %q: %v, want exit code %d\n%s", program, args, err, exit, out)
	}
	return string(out)
}

// completeLoan runs a loan to its end, and returns the instance and the task of the
// decision.
func (c *company) completeLoan() (instance, task string) {
	c.t.Helper()
	c.run(0, "deploy", filepath.Join(c.folder, "loan.bpmn"), filepath.Join(c.folder, "decide.schema.json"))
	instance = strings.TrimSpace(c.run(0, "start", "loan", "--data", filepath.Join(c.folder, "small.json")))
	c.write("score.json", `{"score": 640}`)
	c.run(0, "worker", "credit-check", "--jobs", "1", "--", "cat", "score.json")
	var tasks api.Tasks
	if err := json.Unmarshal([]byte(c.run(0, "tasks", "list", "--json")), &tasks); err != nil || len(tasks.Items) != 1 {
		c.t.Fatalf("%d tasks, %v", len(tasks.Items), err)
	}
	c.run(0, "complete", tasks.Items[0].ID, "--data", filepath.Join(c.folder, "decision.json"))
	return instance, tasks.Items[0].ID
}

// elsewhere verifies a bundle on a machine that knows nothing but the two files, by
// both programs, which must end with the same exit code.
func elsewhere(t *testing.T, bundle, policy string, exit int) (report string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"evidence.zip": bundle, "policy": policy} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bare := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	second := must(filepath.Abs("../../docs/verify/verify.py"))
	args := []string{"evidence.zip", "--policy", "policy", "--require-policy"}
	report = runIn(t, dir, bare, exit, "underseal", append([]string{"verify"}, args...)...)
	other := runIn(t, dir, bare, exit, "python3", append([]string{"-B", second}, args...)...)
	if proven := exit == 0; strings.Contains(report, "\nresult: proven\n") != proven || strings.Contains(other, "\nresult: proven\n") != proven {
		t.Errorf("exit code %d with the reports\n%s\n%s", exit, report, other)
	}
	return report
}

// replaced replaces exactly one thing in a text.
func replaced(t *testing.T, text, old, with string) string {
	t.Helper()
	if strings.Count(text, old) != 1 {
		t.Fatalf("%q is %d times in\n%s", old, strings.Count(text, old), text)
	}
	return strings.Replace(text, old, with, 1)
}

// TestAnAuditorProvesATask has real processes throughout: a server, two witnesses, an
// authority. The evidence of a task is proven elsewhere by a policy that asks for both
// witnesses and the timestamp, and refused by policies that name others.
func TestAnAuditorProvesATask(t *testing.T) {
	if testing.Short() {
		t.Skip("a server, two witnesses and an authority, each a process of its own")
	}
	c := newCompany(t)
	authority := anchortest.NewAuthority(t, time.Now().Add(24*time.Hour))
	c.write("root.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Root.Raw})))
	config := func(first, second string) string {
		return fmt.Sprintf(`log:
  witnesses:
    - {vkey: %q, url: %s}
    - {vkey: %q, url: %s}
  quorum: 2
  timestamp_authority: {url: %q, root: %q}
  interval: 1s
`, c.vkey("first"), first, c.vkey("second"), second, authority.Serve(t), filepath.Join(c.dir, "root.pem"))
	}
	const nobody = "http://127.0.0.1:1"
	told := regexp.MustCompile(`"vkey":"([^"]+)"`).FindStringSubmatch(c.serve(config(nobody, nobody)))
	if told == nil {
		t.Fatalf("the key for witnesses is not told: %s", c.read("server.log"))
	}
	instance, task := c.completeLoan()

	// As long as no witness has seen it, the file says what it lacks, or is not written.
	export := []string{"evidence", instance, "--task", task, "--all-fields", "--field", "$actor"}
	if said := c.run(0, append(export, "--out", "early.zip")...); !strings.Contains(said, "not anchored yet") || !strings.Contains(said, "the log is anchored next at ") {
		t.Errorf("of a file without witnesses it says\n%s", said)
	}
	c.run(17, append(export, "--out", "none.zip", "--wait", "--timeout", "1s")...)
	if _, err := os.Stat(filepath.Join(c.dir, "none.zip")); err == nil {
		t.Error("a file that lacks what was waited for is written")
	}
	elsewhere(t, c.read("early.zip"), c.run(0, "log", "policy"), 27)
	c.stop()

	first, second := c.witness("first", told[1]), c.witness("second", told[1])
	c.serve(config(first.URL, second.URL))
	said := c.run(0, append(export, "--out", "whole.zip", "--wait", "--timeout", "5m")...)
	policy, bundle := c.run(0, "log", "policy"), c.read("whole.zip")
	report := elsewhere(t, bundle, policy, 0)
	for _, want := range []string{"has seen it: first.example, second.example", "in the log on ", `"approved" = `, `"$actor" = `} {
		if !strings.Contains(report, want) {
			t.Errorf("the report does not say %q:\n%s", want, report)
		}
	}
	if !strings.Contains(said, "has seen it: first.example, second.example") || !strings.Contains(said, "in the log on ") {
		t.Errorf("of a file with witnesses and timestamp it says\n%s", said)
	}

	der := func(a *anchortest.Authority) string { return base64.StdEncoding.EncodeToString(a.Root.Raw) }
	stranger := anchortest.NewAuthority(t, time.Now().Add(24*time.Hour))
	for _, test := range []struct {
		name, policy string
		exit         int
	}{
		{"a witness that did not cosign", replaced(t, policy, second.Key, c.vkey("stranger")), 27},
		{"a foreign authority", replaced(t, policy, der(authority), der(stranger)), 28},
		{"no anchor log", replaced(t, policy, "\nplatform "+told[1]+" 0 -", ""), 27},
	} {
		t.Run(test.name, func(t *testing.T) { elsewhere(t, bundle, test.policy, test.exit) })
	}
}

// vkey makes the key of a witness, or finds it.
func (c *company) vkey(name string) string {
	c.t.Helper()
	path := filepath.Join(c.dir, name+".key")
	if _, err := os.Stat(path); err != nil {
		c.write(name+".vkey", strings.TrimSpace(c.run(0, "witness", "keygen", "--name", name+".example", "--key", path)))
	}
	return c.read(name + ".vkey")
}

// witness starts a witness of an anchor log, in a process of its own.
func (c *company) witness(name, log string) witnessing {
	c.t.Helper()
	c.write(name+".yaml", fmt.Sprintf("witness:\n  logs:\n    - {vkey: %q}\n", log))
	w := &witnessProcess{t: c.t}
	w.run("--config", filepath.Join(c.dir, name+".yaml"), "--key", filepath.Join(c.dir, name+".key"), "--state", filepath.Join(c.dir, name+".state"))
	return w.ready
}
