package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/underseal/underseal/api"
)

// terminal makes a pseudo-terminal: the end of who types and sees, and that of the program.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

// typist answers each question that a program asks at its terminal.
type typist struct {
	mu      sync.Mutex // guards the rest
	person  *os.File
	answers map[string]string // by the end of the question
	shown   bytes.Buffer
}

func (p *typist) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shown.Write(text)
	for question, answer := range p.answers {
		if strings.HasSuffix(p.shown.String(), question) {
			if _, err := p.person.WriteString(answer + "\n"); err != nil {
				return 0, err
			}
		}
	}
	return len(text), nil
}

// Who signs in at a terminal is asked for name and password, and the password is not shown.
func TestAPasswordIsAskedForAndNotShown(t *testing.T) {
	const password = " four walls and a blue door "
	var asked api.SignInRequest
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewDecoder(r.Body).Decode(&asked)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(api.NewSession{Session: api.Session{User: "zoe"}, Text: "uss_acme_x"})
	}))
	defer s.Close()
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	person, program := terminal(t)
	stderr := &typist{person: person, answers: map[string]string{"your name: ": "zoe", "your password: ": password}}
	var stdout bytes.Buffer
	if code := run(context.Background(), []string{"login", "--server", s.URL, "--tenant", "acme"}, program, &stdout, stderr); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr.shown.String())
	}
	if want := (api.SignInRequest{Tenant: "acme", Name: "zoe", Password: password}); asked != want {
		t.Errorf("the server was asked for %+v, want %+v", asked, want)
	}
	echoed := make([]byte, 4096)
	n, err := person.Read(echoed)
	if shown := string(echoed[:n]); err != nil || !strings.Contains(shown, "zoe") || strings.Contains(shown, "walls") {
		t.Errorf("the terminal shows %q, %v; want the name and not the password", shown, err)
	}
	if after, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS); err != nil || after.Lflag&unix.ECHO == 0 {
		t.Errorf("the terminal does not show any more what is typed: %v", err)
	}
	kept, err := os.Stat(filepath.Join(dir, "underseal", "login.json"))
	if err != nil || kept.Mode().Perm() != 0o600 {
		t.Errorf("the login is kept as %v, %v; want for its owner alone", kept, err)
	}
}
