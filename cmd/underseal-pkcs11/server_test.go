package main_test

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/underseal/underseal/cmd/underseal-pkcs11/internal/softhsm"
	"github.com/underseal/underseal/internal/fault"
)

// A server is the real one, with two key services: the token, and a key file to move to.
type server struct {
	token   *softhsm.Token
	program string
}

// newServer builds the server's program and configures it.
func newServer(t *testing.T, s *softhsm.Token, socket string) *server {
	t.Helper()
	v := &server{s, filepath.Join(filepath.Dir(program), "underseal")}
	build := exec.Command("go", "build", "-o", v.program, "./cmd/underseal")
	build.Dir = filepath.Join("..", "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	s.Write(t, "config.yaml", strings.NewReplacer("DIR", s.Dir, "SOCKET", socket).Replace(`
data: DIR/data
root_key_file: DIR/root.key
api_key_file: DIR/api.key
link_file: DIR/setup.link
listen: 127.0.0.1:0
metrics_listen: "off"
key_services:
  hsm: {provider: plugin, socket: SOCKET}
  second: {provider: keyfile, file: DIR/second.key}
key_service: hsm
`))
	if out, code := v.run("keys", "create-file", s.Path("second.key")); code != 0 {
		t.Fatalf("keys create-file: code %d\n%s", code, out)
	}
	return v
}

// run runs one of the server's commands and returns its output and exit code.
func (v *server) run(args ...string) (string, int) {
	cmd := v.token.Command(v.program, append(args, "--config", v.token.Path("config.yaml"))...)
	out, _ := cmd.CombinedOutput() // its code tells
	return string(out), cmd.ProcessState.ExitCode()
}

// serve starts the server until the test ends and returns its address.
func (v *server) serve(t *testing.T) (url string, stop func()) {
	t.Helper()
	cmd := v.token.Command(v.program, "serve", "--json", "--config", v.token.Path("config.yaml"))
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // may have ended
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	var ready struct{ URL string }
	if err == nil {
		err = json.Unmarshal(line, &ready)
	}
	if err != nil {
		t.Fatalf("the server did not start: %v", err)
	}
	return ready.URL, func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the server ended with %v", err)
		}
	}
}

func TestAServerKeepsItsRootKeyInTheToken(t *testing.T) {
	s := softhsm.New(t)
	_, socket, flags := newKey(t, s)
	v := newServer(t, s, socket)
	r := start(t, s, flags...)
	if out, code := v.run("init"); code != 0 || strings.Contains(out, "root.key") {
		t.Fatalf("init: code %d\n%s", code, out)
	}
	if _, err := os.Stat(s.Path("root.key")); !os.IsNotExist(err) {
		t.Errorf("there is a key file: %v", err)
	}
	url, stop := v.serve(t)
	if out, code := v.run("setup", "--server", url, "--name", "ann", "--all-rights"); code != 0 {
		t.Fatalf("setup: code %d\n%s", code, out)
	}
	loan := filepath.Join("..", "..", "examples", "loan")
	must := func(args ...string) string {
		t.Helper()
		out, code := v.run(append(args, "--server", url)...)
		if code != 0 {
			t.Fatalf("%v: code %d\n%s", args, code, out)
		}
		return out
	}
	must("deploy", filepath.Join(loan, "loan.bpmn"), filepath.Join(loan, "decide.schema.json"))
	id := strings.TrimSpace(must("start", "loan", "--data", filepath.Join(loan, "application.json")))
	before := must("instances", "export", id)
	stop()

	// A new process knows no key: without the plugin it reads nothing, and says so.
	r.kill()
	url, stop = v.serve(t)
	if out, code := v.run("instances", "export", id, "--server", url); code != fault.Unavailable.ExitCode() {
		t.Errorf("export without the plugin: code %d\n%s", code, out)
	}
	stop()
	r = start(t, s, flags...)
	url, stop = v.serve(t)
	if after := must("instances", "export", id); after != before || !strings.Contains(after, `"ssn"`) {
		t.Errorf("export with the plugin back:\n%s\nwant\n%s", after, before)
	}

	// Both wrap a key of the tenant; then the token is not needed any more.
	must("keys", "rotate", "tenant", "--service", "second")
	if out := must("keys", "list"); !strings.Contains(out, "key service hsm answers") || !strings.Contains(out, "key service second answers") {
		t.Errorf("two key services at once:\n%s", out)
	}
	if both := must("instances", "export", id); both != before {
		t.Errorf("export with both:\n%s\nwant\n%s", both, before)
	}
	must("keys", "rewrap", "--wait")
	must("keys", "retire", "tenant:1", "--yes")
	stop()
	r.kill()
	url, stop = v.serve(t)
	if after := must("instances", "export", id); after != before {
		t.Errorf("export after the move, without the plugin:\n%s\nwant\n%s", after, before)
	}
	stop()
}
