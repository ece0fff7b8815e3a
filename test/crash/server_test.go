//go:build unix

package crash_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/underseal/underseal/client"
)

// A server is "underseal serve" as a child process, started and killed again and
// again on the same data.
type server struct {
	t    *testing.T
	ctx  context.Context // ends before the tests' time is over, and ends the process
	dir  string
	args []string
	wrap []string // put before the command, such as strace; nil for none

	cmd     *exec.Cmd
	stdout  io.Reader
	unwatch func() bool

	mu      sync.Mutex // guards address and up
	address string     // of the running server; "": down
	up      chan struct{}
}

// newServer prepares a server on SQLite, or on Postgres if dsn is not empty.
func newServer(t *testing.T, dsn string) *server {
	t.Helper()
	s := &server{t: t, ctx: limited(t), dir: t.TempDir(), up: make(chan struct{})}
	config := s.path("config.yaml")         // no setting of the machine's own server counts
	write(t, config, "limit_user: \"0\"\n") // one administrator does all
	s.args = []string{program(t, "../../cmd/underseal"), "serve", "--json", "--config", config, "--data", s.path("data"),
		"--root-key-file", s.path("keys", "root.key"),
		"--listen", "127.0.0.1:0", "--metrics-listen", "off", "--log-level", "warn"}
	if dsn != "" {
		write(t, s.path("dsn"), dsn)
		s.args = append(s.args, "--database", "file:"+s.path("dsn"))
	}
	t.Cleanup(s.cleanup)
	return s
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *server) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// cleanup kills what still runs, and shows the servers' log if the test failed.
func (s *server) cleanup() {
	s.kill()
	if log, err := os.ReadFile(s.path("server.log")); err == nil && s.t.Failed() {
		s.t.Logf("the end of the servers' log:\n%s", log[max(0, len(log)-4000):])
	}
}

// launch starts the process and does not wait for it.
func (s *server) launch(more ...string) {
	s.t.Helper()
	log, err := os.OpenFile(s.path("server.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	args := append(append(append([]string{}, s.wrap...), s.args...), more...)
	s.cmd = exec.Command(args[0], args[1:]...)
	s.cmd.Stderr = log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // to kill a wrapper with its child
	if s.stdout, err = s.cmd.StdoutPipe(); err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	group := s.cmd.Process.Pid
	s.unwatch = context.AfterFunc(s.ctx, func() { _ = syscall.Kill(-group, syscall.SIGKILL) })
}

// await returns when the launched process answers, and somebody is let in.
func (s *server) await() error {
	var ready struct {
		URL  string
		Made struct{ Link string }
	}
	line, err := bufio.NewReader(s.stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &ready)
	}
	if err == nil && ready.Made.Link != "" {
		err = s.setUp(ready.URL, ready.Made.Link)
	}
	if err != nil {
		return fmt.Errorf("the server did not start: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.address = strings.TrimPrefix(ready.URL, "http://")
	close(s.up)
	return nil
}

// setUp uses the link of new data.
func (s *server) setUp(url, link string) error {
	cmd := exec.CommandContext(s.ctx, s.args[0], "setup", "--server", url, "--config", s.path("config.yaml"), "--key-file", s.path("keys", "api.key"),
		"--name", "ann", "--all-rights")
	cmd.Stdin = strings.NewReader(link)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("setup: %w\n%s", err, out)
	}
	return nil
}

// start launches and awaits.
func (s *server) start(more ...string) {
	s.t.Helper()
	s.launch(more...)
	if err := s.await(); err != nil {
		s.t.Fatal(err)
	}
}

// down tells callers to wait for the next server.
func (s *server) down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.address != "" {
		s.address, s.up = "", make(chan struct{})
	}
}

// kill kills the process without notice.
func (s *server) kill() {
	if s.cmd == nil {
		return
	}
	s.down()
	// Its process group is its own; an error is that it has ended already.
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	_ = s.cmd.Wait()
	s.ended()
}

func (s *server) ended() {
	s.unwatch()
	s.cmd = nil
}

// wait waits for the process to end by itself and returns its exit code.
func (s *server) wait() int {
	s.t.Helper()
	err := s.cmd.Wait()
	s.down()
	s.ended()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	if exit == nil {
		return 0
	}
	return exit.ExitCode()
}

// stop asks the process to end, which it must do in order.
func (s *server) stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	if code := s.wait(); code != 0 {
		s.t.Fatalf("the server ended with exit code %d after SIGTERM, want 0", code)
	}
}

// ready waits until there is a server to call.
func (s *server) ready(ctx context.Context) error {
	s.mu.Lock()
	up := s.up
	s.mu.Unlock()
	select {
	case <-up:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// dial connects to the server that runs now, whatever the address.
func (s *server) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	s.mu.Lock()
	address := s.address
	s.mu.Unlock()
	if address == "" {
		return nil, errors.New("the server is down")
	}
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

// client returns a client for all servers on this data. It tries each call once:
// the load repeats calls itself, the moment that there is a server again.
func (s *server) client() *client.Client {
	s.t.Helper()
	return s.newClient(1)
}

func (s *server) newClient(tries int) *client.Client {
	s.t.Helper()
	key, err := os.ReadFile(s.path("keys", "api.key"))
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := client.New(client.Config{
		URL: "http://127.0.0.1:1", Key: strings.TrimSpace(string(key)), Tries: tries,
		HTTPClient: &http.Client{Transport: &http.Transport{DialContext: s.dial, MaxIdleConnsPerHost: 64}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

// limited returns a context that ends a little before the tests' time is over,
// so that what a test started does not outlive it.
func limited(t *testing.T) context.Context {
	deadline, ok := t.Deadline()
	if !ok {
		return t.Context()
	}
	ctx, cancel := context.WithDeadlineCause(t.Context(), deadline.Add(-20*time.Second), errors.New("the tests' time is nearly over"))
	t.Cleanup(cancel)
	return ctx
}
