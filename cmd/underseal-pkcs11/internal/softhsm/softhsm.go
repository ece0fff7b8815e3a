// Package softhsm gives tests tokens of SoftHSM 2, each in a directory of its own.
package softhsm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// The label and the PIN of every token.
const (
	Label      = "test"
	PIN        = "123456"
	officerPIN = "654321"
)

// modules are where systems keep the library.
var modules = []string{
	"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so",
	"/usr/lib/" + runtime.GOARCH + "-linux-gnu/softhsm/libsofthsm2.so",
	"/opt/homebrew/lib/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so",
}

// Module returns the path of SoftHSM's library, "" when there is none.
func Module() string {
	i := slices.IndexFunc(modules, func(path string) bool { _, err := os.Stat(path); return err == nil })
	if i < 0 {
		return ""
	}
	return modules[i]
}

// Check says what is missing on this machine. It is for TestMain: no test that
// needs a token may run without one, or seem to have found something.
func Check() error {
	for _, tool := range []string{"softhsm2-util", "pkcs11-tool"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w; the tests need SoftHSM 2 and OpenSC: sudo apt-get install -y softhsm2 opensc", err)
		}
	}
	if Module() == "" {
		return fmt.Errorf("the library of SoftHSM 2 is in none of %q", modules)
	}
	return nil
}

// A Token is a token of SoftHSM. Its PIN is in the file pin of Dir.
type Token struct{ Dir string }

// New makes a token that goes with the test. Its path is short enough for sockets.
func New(t testing.TB) *Token {
	t.Helper()
	dir, err := os.MkdirTemp("", "us")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &Token{dir}
	if err := os.Mkdir(s.Path("tokens"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.Write(t, "softhsm2.conf", "directories.tokendir = "+s.Path("tokens")+"\nobjectstore.backend = file\nlog.level = ERROR\n")
	s.Write(t, "pin", PIN+"\n")
	s.run(t, "softhsm2-util", "--init-token", "--free", "--label", Label, "--pin", PIN, "--so-pin", officerPIN)
	return s
}

// Path returns the path of a file of that name beside the token.
func (s *Token) Path(name string) string { return filepath.Join(s.Dir, name) }

// Config is the path that SOFTHSM2_CONF must hold for a process to see the token.
func (s *Token) Config() string { return s.Path("softhsm2.conf") }

// Write writes a file beside the token.
func (s *Token) Write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(s.Path(name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Command is a command that sees this token.
func (s *Token) Command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "SOFTHSM2_CONF="+s.Config())
	return cmd
}

// Tool runs OpenSC's pkcs11-tool, logged in to the token, and returns what it wrote.
func (s *Token) Tool(t testing.TB, args ...string) string {
	t.Helper()
	return s.run(t, "pkcs11-tool", append([]string{"--module", Module(), "--token-label", Label, "--login", "--pin", PIN}, args...)...)
}

func (s *Token) run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := s.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
