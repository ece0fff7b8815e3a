//go:build unix

package plugin_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms/kmstest"
	"github.com/underseal/underseal/internal/kms/plugin"
)

// stranger is a user id that is neither root's nor ours.
const stranger = 54321

func TestAProcessOfAnotherUserIsNoPlugin(t *testing.T) {
	asked := make(chan struct{}, 1)
	service := defiant(t, plugin.Config{}, func(conn net.Conn) {
		if n, _ := conn.Read(make([]byte, 1)); n > 0 {
			asked <- struct{}{}
		}
	})
	plugin.PretendPeer(t, stranger)
	_, err := service.Wrap(t.Context(), kmstest.Context(), make([]byte, 32))
	if !fault.Is(err, fault.Unavailable) || fault.CodeOf(err) != "plugin_peer" {
		t.Errorf("Wrap: %v, want unavailable with code plugin_peer", err)
	}
	select {
	case <-asked:
		t.Error("it was sent something")
	default:
	}
}

func TestAUserWhoIsNamedMayBeThePlugin(t *testing.T) {
	service := defiant(t, plugin.Config{UIDs: []int{stranger}}, write(answer(`{"provider":"p","key_id":"k","version":""}`)))
	plugin.PretendPeer(t, stranger)
	if d, err := service.Describe(t.Context()); err != nil || d.KeyID != "k" {
		t.Errorf("Describe: %+v, %v", d, err)
	}
}

func TestAUserWhoIsNotNamedMayNotCall(t *testing.T) {
	path := socketPath(t)
	l, err := plugin.Listen(t.Context(), plugin.ServerConfig{Socket: path})
	if err != nil {
		t.Fatal(err)
	}
	plugin.PretendPeer(t, stranger)
	accepted := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			conn.Close()
		}
		accepted <- err
	}()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	// Closed before anything is read.
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("the connection stays open: %d, %v", n, err)
	}
	l.Close()
	if err := <-accepted; err == nil {
		t.Error("the connection was accepted")
	}
}

func TestASocketWhereOthersMayWriteIsRefused(t *testing.T) {
	for mode, ok := range map[os.FileMode]bool{
		0o700: true, 0o755: true, 0o770: false, 0o777: false, 0o777 | os.ModeSticky: false,
	} {
		path := socketPath(t)
		l, err := plugin.Listen(t.Context(), plugin.ServerConfig{Socket: path})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Dir(path), mode); err != nil {
			t.Fatal(err)
		}
		l.Close()
		_, err = open(t, plugin.Config{Socket: path}).Describe(t.Context())
		if refused := fault.CodeOf(err) == "plugin_directory"; refused == ok || !fault.Is(err, fault.Unavailable) {
			t.Errorf("mode %v: Describe: %v, want the directory refused: %t", mode, err, !ok)
		}
		_, err = plugin.Listen(t.Context(), plugin.ServerConfig{Socket: path})
		if refused := fault.CodeOf(err) == "plugin_directory"; refused == ok {
			t.Errorf("mode %v: Listen: %v, want the directory refused: %t", mode, err, !ok)
		}
	}
}

// The kernel says who listens, if it is told apart from whoever tells it.
func TestTheKernelSaysWhoListens(t *testing.T) {
	if os.Getenv("PLUGIN_TEST_LISTEN") != "" {
		listenAsStranger(t, os.Getenv("PLUGIN_TEST_LISTEN"))
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can run a process of another user")
	}
	path := socketPath(t)
	dir := filepath.Dir(path)
	if err := os.Chown(dir, stranger, stranger); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "test")
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, self, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-test.run", "^TestTheKernelSaysWhoListens$")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PLUGIN_TEST_LISTEN="+path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); cmd.Wait() }()
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatalf("the other process did not listen: %v", err)
	}
	for name, test := range map[string]struct {
		uids []int
		code string
	}{
		"not named": {nil, "plugin_directory"},
		"named":     {[]int{stranger}, ""},
	} {
		d, err := open(t, plugin.Config{Socket: path, UIDs: test.uids}).Describe(t.Context())
		if (err == nil) != (test.code == "") || err != nil && fault.CodeOf(err) != test.code {
			t.Errorf("%s: Describe: %+v, %v, want code %q", name, d, err, test.code)
		}
	}
	if err := os.Chown(dir, 0, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, plugin.Config{Socket: path}).Describe(t.Context()); fault.CodeOf(err) != "plugin_peer" {
		t.Errorf("Describe: %v, want the code plugin_peer", err)
	}
}

// listenAsStranger answers calls until its standard input ends.
func listenAsStranger(t *testing.T, path string) {
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout.WriteString("!")
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			write(answer(`{"provider":"p","key_id":"k","version":""}`))(conn)
			conn.Close()
		}
	}()
	os.Stdin.Read(make([]byte, 1))
	l.Close()
}
