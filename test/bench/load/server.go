package load

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/underseal/underseal/client"
)

// A Home is a directory with all that belongs to one server: configuration, keys
// and, unless they are on Postgres, its data. It is made by the first start.
type Home struct {
	Binary   string // of the server
	Dir      string
	Database string // reference to a Postgres; "": SQLite in Dir
	Settings string // more of the configuration file
}

// settings has one administrator offer the whole load.
const settings = "limit_user: \"0\"\n"

// Data is the data directory.
func (h Home) Data() string { return filepath.Join(h.Dir, "data") }

// RootKeyFile is the file of the key that wraps all others.
func (h Home) RootKeyFile() string { return filepath.Join(h.Dir, "keys", "root.key") }

// KeyFile is the file of an administrator's API key.
func (h Home) KeyFile() string { return filepath.Join(h.Dir, "keys", "api.key") }

func (h Home) args() []string {
	args := []string{"serve", "--json", "--config", filepath.Join(h.Dir, "config.yaml"), "--data", h.Data(),
		"--root-key-file", h.RootKeyFile(), "--listen", "127.0.0.1:0",
		"--metrics-listen", "off", "--log-level", "warn"}
	if h.Database != "" {
		args = append(args, "--database", h.Database)
	}
	return args
}

// A Server is "underseal serve" as a child process.
type Server struct {
	Client *client.Client
	// Serving is how long it took from before the process was started until
	// /readyz said 200.
	Serving time.Duration

	cmd *exec.Cmd
}

const (
	startLimit = 30 * time.Second // from the start of the process until it is ready
	stopLimit  = time.Minute      // from the signal until its end
)

// Start returns when the server is ready. Stop it.
func (h Home) Start(s Shape) (*Server, error) {
	if err := os.WriteFile(filepath.Join(h.Dir, "config.yaml"), []byte(settings+h.Settings), 0o600); err != nil {
		return nil, err
	}
	server := &Server{cmd: exec.Command(h.Binary, h.args()...)}
	server.cmd.Stderr = os.Stderr
	stdout, err := server.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := server.cmd.Start(); err != nil {
		return nil, err
	}
	tooLate := time.AfterFunc(startLimit, func() { server.cmd.Process.Kill() })
	said, err := announced(bufio.NewReader(stdout))
	if err == nil {
		err = awaitReady(said.URL)
	}
	server.Serving = time.Since(begin)
	if err == nil && said.Made.Link != "" {
		err = h.setUp(said)
	}
	if err == nil {
		server.Client, err = h.connect(said.URL, s)
	}
	if !tooLate.Stop() {
		err = errors.Join(fmt.Errorf("it was not ready %v after its start", startLimit), err)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the server did not start: %w", err), server.Stop())
	}
	return server, nil
}

// An announcement is the line with which the server says where it answers, and with
// which link somebody is let in, once.
type announcement struct {
	URL  string
	Made struct{ Link string }
}

func announced(stdout *bufio.Reader) (said announcement, err error) {
	line, err := stdout.ReadBytes('\n')
	if err != nil {
		return said, err
	}
	return said, json.Unmarshal(line, &said)
}

// setUp uses the link of new data, for an administrator with all rights.
func (h Home) setUp(said announcement) error {
	cmd := exec.Command(h.Binary, "setup", "--server", said.URL, "--config", filepath.Join(h.Dir, "config.yaml"),
		"--key-file", h.KeyFile(), "--name", "admin", "--all-rights")
	cmd.Stdin = strings.NewReader(said.Made.Link)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("setup: %w\n%s", err, out)
	}
	return nil
}

func awaitReady(url string) error {
	for ; ; time.Sleep(time.Millisecond) {
		answer, err := http.Get(url + "/readyz")
		if err != nil {
			return err
		}
		answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			return nil
		}
	}
}

func (h Home) connect(url string, s Shape) (*client.Client, error) {
	key, err := os.ReadFile(h.KeyFile())
	if err != nil {
		return nil, err
	}
	return client.New(client.Config{
		URL: url, Key: strings.TrimSpace(string(key)),
		HTTPClient: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: s.connections()}},
	})
}

// PID returns the number of the server's process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Stop asks the server to end and waits until it has. One that does not end is killed.
func (s *Server) Stop() error {
	err := s.cmd.Process.Signal(syscall.SIGTERM)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	tooLate := time.AfterFunc(stopLimit, func() { s.cmd.Process.Kill() })
	ended := s.cmd.Wait()
	if !tooLate.Stop() {
		ended = errors.Join(fmt.Errorf("the server did not end %v after it was asked to", stopLimit), ended)
	}
	return errors.Join(err, ended)
}
