//go:build unix

package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// What this machine opens addresses with gets the one that is printed.
func TestTheBrowserIsOpened(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { begins(w, r) }))
	defer s.Close()
	dir, opener := t.TempDir(), "xdg-open"
	if runtime.GOOS == "darwin" {
		opener = "open"
	}
	opened := filepath.Join(dir, "opened")
	if err := syscall.Mkfifo(opened, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, opener), []byte("#!/bin/sh\nprintf %s \"$*\" >'"+opened+"'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	t.Setenv("XDG_CONFIG_HOME", dir)
	ctx, cancel := context.WithCancel(context.Background())
	stderr := &newBrowser{opens: func(address, _ string) {
		defer cancel()
		if got, err := os.ReadFile(opened); err != nil || string(got) != address { // waits for the opener
			t.Errorf("%s was told to open %q, %v; want %q", opener, got, err, address)
		}
	}}
	if code := run(ctx, []string{"login", "--server", s.URL, "--tenant", "acme", "--issuer", "corp"}, strings.NewReader(""), io.Discard, stderr); code == 0 || ctx.Err() == nil {
		t.Errorf("exit code %d: %s", code, &stderr.shown)
	}
}
