package main_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/underseal/underseal/cmd/underseal-pkcs11/internal/softhsm"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/kms/kmstest"
	"github.com/underseal/underseal/internal/kms/plugin"
)

// program is the plugin, built once.
var program string

func TestMain(m *testing.M) {
	code, err := withProgram(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		code = 1
	}
	os.Exit(code)
}

func withProgram(run func() int) (int, error) {
	if err := softhsm.Check(); err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "us")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "underseal-pkcs11")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		return 0, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return run(), nil
}

// command is the plugin's program with a token.
func command(s *softhsm.Token, name string, args ...string) *exec.Cmd {
	return s.Command(program, append([]string{name, "--module", softhsm.Module(), "--token", softhsm.Label, "--pin", "file:" + s.Path("pin")}, args...)...)
}

// run runs it to its end.
func run(s *softhsm.Token, name string, args ...string) (stdout, stderr string, code int) {
	cmd := command(s, name, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // its code tells
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// A running plugin.
type running struct {
	cmd *exec.Cmd
	log bytes.Buffer  // to be read once it ended
	end chan struct{} // closed when its stderr ended
}

// start runs the plugin until the test ends, and returns when it answers calls.
func start(t *testing.T, s *softhsm.Token, args ...string) *running {
	t.Helper()
	r := &running{cmd: command(s, "serve", args...), end: make(chan struct{})}
	stderr, err := r.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.kill() })
	answers := make(chan bool, 1)
	go func() {
		defer close(r.end)
		defer close(answers)
		lines := bufio.NewScanner(io.TeeReader(stderr, &r.log))
		for lines.Scan() {
			if strings.Contains(lines.Text(), "answers calls") {
				answers <- true
			}
		}
	}()
	if !<-answers {
		t.Fatalf("the plugin did not start: %s", r.log.String())
	}
	return r
}

func (r *running) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := r.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// stop stops it without ending it, and returns when it has stopped.
func (r *running) stop(t *testing.T) {
	t.Helper()
	r.signal(t, syscall.SIGSTOP)
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(r.cmd.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatalf("it did not stop: %v", err)
	}
}

func (r *running) kill() {
	_ = r.cmd.Process.Kill() // may have ended
	<-r.end
	_ = r.cmd.Wait()
}

var keys atomic.Int64

// newKey makes a root key in the token and returns the flags that serve it.
func newKey(t *testing.T, s *softhsm.Token) (label, socket string, flags []string) {
	t.Helper()
	n := keys.Add(1)
	label, socket = fmt.Sprint("key ", n), s.Path(fmt.Sprint(n, ".sock"))
	if _, stderr, code := run(s, "init", "--key", label); code != 0 {
		t.Fatalf("init: %s", stderr)
	}
	return label, socket, []string{"--key", label, "--socket", socket}
}

func open(t *testing.T, socket string) kms.Service {
	t.Helper()
	service, err := plugin.Open(t.Context(), plugin.Config{Socket: socket})
	if err != nil {
		t.Fatal(err)
	}
	return service
}

func TestATokenIsAService(t *testing.T) {
	s := softhsm.New(t)
	kmstest.TestService(t, func(t *testing.T) kms.Service {
		_, socket, flags := newKey(t, s)
		start(t, s, flags...)
		return open(t, socket)
	})
}

func TestAPluginThatIsKilledOrStoppedIsAnOutage(t *testing.T) {
	s := softhsm.New(t)
	kmstest.TestFaults(t, func(t *testing.T) (kms.Service, kmstest.Faults) {
		_, socket, flags := newKey(t, s)
		r, killed := start(t, s, flags...), false
		return open(t, socket), kmstest.Faults{
			Cut:  func() { r.kill(); killed = true },
			Hang: func() { r.stop(t) },
			Restore: func() {
				if killed {
					r = start(t, s, flags...)
				} else {
					r.signal(t, syscall.SIGCONT)
				}
			},
		}
	})
}

func TestTheKeyCannotBeReadOut(t *testing.T) {
	s := softhsm.New(t)
	label, _, _ := newKey(t, s)
	list := s.Tool(t, "--list-objects", "--type", "secrkey")
	for _, want := range []string{label, "AES length 32", "Usage:      encrypt, decrypt\n", "sensitive, always sensitive, never extractable"} {
		if !strings.Contains(list, want) {
			t.Errorf("the token's key lacks %q:\n%s", want, list)
		}
	}
}

func TestADestroyedVersionLeavesTheTokenAndAMark(t *testing.T) {
	s := softhsm.New(t)
	label, socket, flags := newKey(t, s)
	start(t, s, flags...)
	if err := open(t, socket).Destroy(t.Context(), "1"); err != nil {
		t.Fatal(err)
	}
	if list := s.Tool(t, "--list-objects"); strings.Contains(list, "AES") || !strings.Contains(list, label) {
		t.Errorf("the token holds:\n%s", list)
	}
}

func TestARemovedKeyIsMissingAndNotDestroyed(t *testing.T) {
	s := softhsm.New(t)
	_, socket, flags := newKey(t, s)
	start(t, s, flags...)
	service := open(t, socket)
	d, err := service.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := service.Wrap(t.Context(), kmstest.Context(), make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := service.(kms.Rotator).Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"00000001", "00000002"} {
		s.Tool(t, "--delete-object", "--type", "secrkey", "--id", strings.ReplaceAll(d.KeyID, "-", "")+version)
		if _, err := service.Unwrap(t.Context(), kmstest.Context(), wrapped); !fault.Is(err, fault.Denied) {
			t.Errorf("Unwrap without version %s in the token: %v, want denied", version, err)
		}
	}
}

func TestAnotherKeyOfTheSameLabelIsRefused(t *testing.T) {
	s := softhsm.New(t)
	label, _, flags := newKey(t, s)
	s.Tool(t, "--keygen", "--key-type", "AES:32", "--label", label, "--id", "0102")
	if _, stderr, code := run(s, "serve", flags...); code != fault.Conflict.ExitCode() || !strings.Contains(stderr, "hint: ") {
		t.Errorf("serve: code %d, %s", code, stderr)
	}
}

func TestWhatTheProgramSays(t *testing.T) {
	s := softhsm.New(t)
	label, socket, flags := newKey(t, s)
	s.Write(t, "wrong", "999999\n")
	for name, test := range map[string]struct {
		command string
		args    []string
		code    int
		says    string
	}{
		"the key is checked":      {"check", []string{"--key", label}, 0, `"version":"1"`},
		"a label in use":          {"init", []string{"--key", label}, fault.Conflict.ExitCode(), "hint: choose another label"},
		"no such key":             {"serve", []string{"--key", "other", "--socket", socket}, fault.Denied.ExitCode(), "hint: make it with underseal-pkcs11 init"},
		"no such token":           {"check", []string{"--token", "other"}, fault.Unavailable.ExitCode(), `hint: the module has the tokens ["test"`},
		"no such module":          {"check", []string{"--module", "/dev/null"}, fault.Invalid.ExitCode(), "hint: --module names the library"},
		"a wrong PIN":             {"check", []string{"--key", label, "--pin", "file:" + s.Path("wrong")}, fault.Denied.ExitCode(), "hint: correct what --pin names"},
		"a PIN in the clear":      {"check", []string{"--key", label, "--pin", softhsm.PIN}, fault.Invalid.ExitCode(), "hint: write file:PATH or env:NAME"},
		"no PIN":                  {"check", []string{"--pin", "env:NO_SUCH_VARIABLE"}, fault.Invalid.ExitCode(), "NO_SUCH_VARIABLE is not set"},
		"a relative socket":       {"serve", []string{"--key", label, "--socket", "kms.sock"}, fault.Invalid.ExitCode(), "absolute"},
		"nonces it does not draw": {"serve", append(flags, "--nonce", "token"), fault.Invalid.ExitCode(), "hint: run the plugin with --nonce own"},
		"a flag it has not":       {"serve", []string{"--pin-text", "1"}, 2, "hint: underseal-pkcs11 --help"},
	} {
		stdout, stderr, code := run(s, test.command, test.args...)
		if code != test.code || !strings.Contains(stdout+stderr, test.says) {
			t.Errorf("%s: code %d, want %d and %q:\n%s%s", name, code, test.code, test.says, stdout, stderr)
		}
		if strings.Contains(stdout+stderr, softhsm.PIN) || strings.Contains(stdout+stderr, "999999") {
			t.Errorf("%s: shows a PIN:\n%s%s", name, stdout, stderr)
		}
	}
}

func TestHelpTeaches(t *testing.T) {
	out, err := exec.Command(program, "--help").Output()
	for _, want := range []string{"underseal-pkcs11 init", "provider: plugin", "--socket", "The PIN is never"} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("--help lacks %q: %v\n%s", want, err, out)
		}
	}
}

func TestSIGTERMEndsItInOrder(t *testing.T) {
	s := softhsm.New(t)
	_, socket, flags := newKey(t, s)
	r := start(t, s, flags...)
	r.signal(t, syscall.SIGTERM)
	<-r.end
	if err := r.cmd.Wait(); err != nil {
		t.Errorf("it ended with %v\n%s", err, r.log.String())
	}
	if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its socket: %v, want gone", err)
	}
}
