//go:build !windows

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// A demoServer is this same binary, serving as a child process from a directory
// that nobody else uses.
type demoServer struct {
	ready
	dir string
	cmd *exec.Cmd
}

func (s *demoServer) data() string   { return filepath.Join(s.dir, "data") }
func (s *demoServer) apiKey() string { return filepath.Join(s.dir, "keys", "api.key") }

func (s *demoServer) rootKey() string { return filepath.Join(s.dir, "keys", "root.key") }

// startDemoServer returns when the server answers. Its log goes to a file.
func startDemoServer(ctx context.Context, dir string) (*demoServer, error) {
	binary, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &demoServer{dir: dir}
	config := filepath.Join(dir, "config.yaml") // empty: no setting of this machine's own server counts
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(dir, "server.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.cmd = exec.Command(binary, "serve", "--json", "--config", config, "--data", s.data(),
		"--root-key-file", s.rootKey(), "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0")
	s.cmd.Env = childEnviron(os.Environ(), &settings{})
	s.cmd.Stderr = log
	ownGroup(s.cmd)
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &s.ready)
	}
	if err != nil {
		s.cmd.Wait()
		said, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("the server did not start: %s", lastLine(string(said)))
	}
	return s, ctx.Err()
}

// stop asks the server to end in order and waits for it.
func (s *demoServer) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	kill := time.AfterFunc(drainTime+10*time.Second, func() { s.cmd.Process.Kill() })
	defer kill.Stop()
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("the server did not end in order: %w", err)
	}
	return nil
}
