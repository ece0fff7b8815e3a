package main

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

	"github.com/underseal/underseal/client"
)

// A server is "underseal serve" as a child process in a directory of its own.
type server struct {
	dir    string
	cmd    *exec.Cmd
	client *client.Client
}

// startServer returns when the server answers.
func startServer(o options) (*server, error) {
	dir, err := os.MkdirTemp(o.dir, "underseal-bench-")
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir}
	if err := s.start(o); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

func (s *server) start(o options) error {
	config, keyFile := filepath.Join(s.dir, "config.yaml"), filepath.Join(s.dir, "keys", "admin.key")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		return err
	}
	args := []string{"serve", "--json", "--config", config, "--data", filepath.Join(s.dir, "data"), "--key-file", keyFile,
		"--root-key-file", filepath.Join(s.dir, "keys", "root.key"), "--listen", "127.0.0.1:0", "--metrics-listen", "off", "--log-level", "warn"}
	if o.database != "" {
		args = append(args, "--database", o.database)
	}
	s.cmd = exec.Command(o.binary, args...)
	s.cmd.Stderr = os.Stderr
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	var ready struct{ URL string }
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &ready)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("the server did not start: %w", err), s.cmd.Wait())
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return errors.Join(err, s.cmd.Process.Kill())
	}
	connections := o.starters + o.workers*(o.batch+1)
	s.client, err = client.New(client.Config{
		URL: ready.URL, Key: strings.TrimSpace(string(key)),
		HTTPClient: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}},
	})
	return err
}

func (s *server) stop() error {
	err := s.cmd.Process.Signal(syscall.SIGTERM)
	return errors.Join(err, s.cmd.Wait(), os.RemoveAll(s.dir))
}
