package plugin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/kms/kmstest"
	"github.com/underseal/underseal/internal/kms/plugin"
)

// socketPath returns a path short enough for a socket, in a directory of its own.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "us")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "kms.sock")
}

func open(t *testing.T, c plugin.Config) kms.Service {
	t.Helper()
	service, err := plugin.Open(t.Context(), c)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return service
}

// serve makes a plugin of a service, until the test ends, and opens it.
func serve(t *testing.T, service kms.Service) kms.Service {
	t.Helper()
	path := socketPath(t)
	ctx, stop := context.WithCancel(t.Context())
	l, err := plugin.Listen(ctx, plugin.ServerConfig{Socket: path})
	if err != nil {
		t.Fatalf("Listen: %v", err)
	}
	done := make(chan error, 1)
	log := slog.New(slog.DiscardHandler)
	go func() { done <- plugin.Serve(ctx, l, plugin.Handler(service, nil), log) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return open(t, plugin.Config{Socket: path})
}

func keyFile(t *testing.T) *kms.KeyFile {
	t.Helper()
	file, err := kms.CreateKeyFile(filepath.Join(t.TempDir(), "root.key"))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestAPluginIsAService(t *testing.T) {
	kmstest.TestService(t, func(t *testing.T) kms.Service { return serve(t, keyFile(t)) })
}

func TestAPluginTellsDeniedFromUnreachable(t *testing.T) {
	kmstest.TestFaults(t, func(t *testing.T) (kms.Service, kmstest.Faults) {
		s := kmstest.New(t)
		return serve(t, s), kmstest.Faults{Deny: s.Deny, Cut: s.Unreachable, Hang: s.Hang, Throttle: s.Throttle, Slow: s.Slow, Restore: s.Restore}
	})
}

func TestAPluginSaysHowLongToWait(t *testing.T) {
	s := kmstest.New(t)
	s.Throttle()
	_, err := serve(t, s).Wrap(t.Context(), kmstest.Context(), make([]byte, 32))
	if got := kms.Wait(err); got != 30*time.Second {
		t.Errorf("Wait of %v: %s, want 30 s", err, got)
	}
}

// fixed is a service that fails with one error, whatever it is asked.
type fixed struct {
	kms.Service
	err error
}

func (s fixed) Describe(context.Context) (kms.Description, error) {
	return kms.Description{Provider: "fixed", KeyID: "k", Version: "1"}, nil
}
func (s fixed) Wrap(context.Context, kms.Context, []byte) ([]byte, error)   { return nil, s.err }
func (s fixed) Unwrap(context.Context, kms.Context, []byte) ([]byte, error) { return nil, s.err }
func (s fixed) Destroy(context.Context, string) error                       { return s.err }
func (s fixed) Version([]byte) (string, error)                              { return "1", nil }

func TestKindsOfErrorsComeThroughThePlugin(t *testing.T) {
	stored := storedBy(t, "k", "1")
	for name, test := range map[string]struct {
		err  error
		kind fault.Kind
		code string
	}{
		"denied":           {fault.New(fault.Denied, "no"), fault.Denied, "denied"},
		"away":             {fault.New(fault.Unavailable, "no"), fault.Unavailable, "unavailable"},
		"throttled":        {fault.New(fault.Unavailable, "no").WithCode(kms.CodeThrottled), fault.Unavailable, kms.CodeThrottled},
		"another root key": {fault.New(fault.Conflict, "no"), fault.Conflict, "other_root_key"},
		"destroyed":        {fault.New(fault.NotFound, "no"), fault.NotFound, "root_key_destroyed"},
		"changed":          {fault.New(fault.Integrity, "no"), fault.Integrity, "integrity"},
		"a defect":         {errors.New("secret text"), fault.Unavailable, "unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			service := serve(t, fixed{err: test.err})
			key, err := service.Unwrap(t.Context(), kmstest.Context(), stored)
			if key != nil || !fault.Is(err, test.kind) || fault.CodeOf(err) != test.code {
				t.Errorf("Unwrap: %v with code %q, want %s with %q", err, fault.CodeOf(err), test.kind, test.code)
			}
			if strings.Contains(fmt.Sprint(err), "secret text") {
				t.Errorf("Unwrap shows the text of a defect: %v", err)
			}
		})
	}
}

// storedBy returns what a client stores of a wrapped key with these names.
func storedBy(t *testing.T, id, version string) []byte {
	t.Helper()
	out := append([]byte{0x50, 1, byte(len(id))}, id...)
	return append(append(append(out, byte(len(version))), version...), make([]byte, 60)...)
}

func TestWhyAVersionCannotBeDestroyedComesThroughThePlugin(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		kind fault.Kind
		code string
	}{
		"no such version": {fault.New(fault.NotFound, "no"), fault.NotFound, "unknown_version"},
		"older ones":      {fault.New(fault.Conflict, "no"), fault.Conflict, "older_versions"},
		"exchanged":       {fault.New(fault.Conflict, "no").WithCode("other_root_key"), fault.Conflict, "other_root_key"},
		"whole keys":      {fault.New(fault.Invalid, "no").WithCode(kms.CodeWholeKey), fault.Invalid, kms.CodeWholeKey},
	} {
		err := serve(t, fixed{err: test.err}).Destroy(t.Context(), "1")
		if !fault.Is(err, test.kind) || fault.CodeOf(err) != test.code {
			t.Errorf("%s: Destroy: %v with code %q, want %s with %q", name, err, fault.CodeOf(err), test.kind, test.code)
		}
	}
}

func TestAKeyServiceThatCannotRotateSaysSo(t *testing.T) {
	_, err := serve(t, fixed{}).(kms.Rotator).Rotate(t.Context())
	if !fault.Is(err, fault.Invalid) || fault.CodeOf(err) != "rotation_unsupported" {
		t.Errorf("Rotate: %v", err)
	}
}

// A defiant plugin answers whatever it likes to whoever connects.
func defiant(t *testing.T, c plugin.Config, answer func(conn net.Conn)) kms.Service {
	t.Helper()
	c.Socket = socketPath(t)
	l, err := net.Listen("unix", c.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer conn.Close(); answer(conn) }()
		}
	}()
	return open(t, c)
}

// write reads the request's head and writes text.
func write(text string) func(net.Conn) {
	return func(conn net.Conn) {
		if _, err := conn.Read(make([]byte, 16<<10)); err == nil {
			fmt.Fprint(conn, text)
		}
	}
}

const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

// answer is a whole answer with that body.
func answer(body string) string {
	return fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(body), body)
}

func failing(status int, body string) string {
	return strings.Replace(answer(body), "200 OK", fmt.Sprint(status, " No"), 1)
}

const goodKey = `"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="`

func TestAnAnswerThatFitsIsTaken(t *testing.T) {
	service := defiant(t, plugin.Config{}, write(answer(`{"key":`+goodKey+`}`)))
	if key, err := service.Unwrap(t.Context(), kmstest.Context(), storedBy(t, "k", "1")); err != nil || !bytes.Equal(key, make([]byte, 32)) {
		t.Fatalf("Unwrap: %x, %v", key, err)
	}
}

func TestWhatBreaksTheProtocolIsAnOutage(t *testing.T) {
	for name, text := range map[string]string{
		"a status of another call":       failing(410, `{"error":"unknown_version","message":""}`),
		"a word of another call":         failing(404, `{"error":"unknown_version","message":""}`),
		"a word with another status":     failing(403, `{"error":"destroyed","message":""}`),
		"an unknown word":                failing(418, `{"error":"teapot","message":""}`),
		"a refusal without its body":     failing(403, ``),
		"a 404 of another program":       failing(404, `{"message":"not found"}`),
		"a refusal with a long message":  failing(403, `{"error":"denied","message":"`+strings.Repeat("x", 600)+`"}`),
		"success that is no 200":         failing(201, `{"key":`+goodKey+`}`),
		"a redirect":                     strings.Replace(answer(`{}`), "200 OK", "307 No\r\nLocation: /v1/describe", 1),
		"no JSON":                        answer(`key`),
		"a list":                         answer(`[]`),
		"nothing":                        answer(`{}`),
		"null":                           answer(`{"key":null}`),
		"a number":                       answer(`{"key":1}`),
		"another member":                 answer(`{"key":` + goodKey + `,"more":1}`),
		"a member twice":                 answer(`{"key":` + goodKey + `,"key":` + goodKey + `}`),
		"a name in capitals":             answer(`{"KEY":` + goodKey + `}`),
		"more after its end":             answer(`{"key":` + goodKey + `} {}`),
		"a key that is too short":        answer(`{"key":"AAAA"}`),
		"a key that is too long":         answer(`{"key":"` + strings.Repeat("AAAA", 86) + `"}`),
		"a key with a line break":        answer(`{"key":"AAAAAAAAAAAAAAAAAAAAA\nAAAAAAAAAAAAAAAAAAAAAAA="}`),
		"a key in another base64":        answer(`{"key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB="}`),
		"another type":                   strings.Replace(answer(`{"key":`+goodKey+`}`), "application/json", "text/plain", 1),
		"a type with a parameter":        strings.Replace(answer(`{"key":`+goodKey+`}`), "/json", "/json; charset=utf-8", 1),
		"two types":                      strings.Replace(answer(`{"key":`+goodKey+`}`), "HTTP/1.1 200 OK", "HTTP/1.1 200 OK\r\nContent-Type: text/plain", 1),
		"a compressed body":              strings.Replace(answer(`{"key":`+goodKey+`}`), "HTTP/1.1 200 OK", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip", 1),
		"a body that is too large":       answer(`{"key":` + goodKey + strings.Repeat(" ", 17<<10) + `}`),
		"a large body, unannounced":      head + "\r\n" + `{"key":` + goodKey + strings.Repeat(" ", 17<<10) + `}`,
		"no HTTP":                        "key, please",
		"half a status line":             "HTTP/1.",
		"half a head":                    head,
		"half a body":                    answer(`{"key":` + goodKey + `}`)[:len(head)+50],
		"less than announced":            head + "Content-Length: 4000\r\n\r\n" + `{"key":` + goodKey + `}`,
		"fewer announced than come":      head + "Content-Length: 3\r\n\r\n" + `{"key":` + goodKey + `}`,
		"a negative length":              head + "Content-Length: -1\r\n\r\n" + `{"key":` + goodKey + `}`,
		"two lengths":                    head + "Content-Length: 3\r\nContent-Length: 4\r\n\r\n" + `{}`,
		"a chunk that lies":              head + "Transfer-Encoding: chunked\r\n\r\nffffffff\r\n{}",
		"a head that is too large":       head + "X: " + strings.Repeat("x", 64<<10) + "\r\n\r\n{}",
		"nothing at all":                 "",
		"an answer to another call":      answer(`{"version":"1"}`),
		"an empty message with two ends": answer(`{}{}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service := defiant(t, plugin.Config{}, write(text))
			key, err := service.Unwrap(t.Context(), kmstest.Context(), storedBy(t, "k", "1"))
			if key != nil || !fault.Is(err, fault.Unavailable) {
				t.Fatalf("Unwrap: key %x, %v, want unavailable", key, err)
			}
			if strings.Contains(fmt.Sprintf("%v %+v", err, errors.Unwrap(err)), "AAAAAAAA") {
				t.Errorf("the error quotes the answer: %v", err)
			}
		})
	}
}

func TestAnEndlessAnswerIsCutOff(t *testing.T) {
	for name, begin := range map[string]string{
		"in its head": "HTTP/1.1 200 OK\r\nX: ",
		"in its body": head + "\r\n",
		"in its hint": strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 20) + head,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service := defiant(t, plugin.Config{}, func(conn net.Conn) {
				write(begin)(conn)
				for {
					if _, err := conn.Write(bytes.Repeat([]byte{' '}, 4096)); err != nil {
						return
					}
				}
			})
			if _, err := service.Describe(t.Context()); !fault.Is(err, fault.Unavailable) {
				t.Errorf("Describe: %v, want unavailable", err)
			}
		})
	}
}

func TestAPluginThatHangsIsAnOutage(t *testing.T) {
	for name, begin := range map[string]string{
		"before its answer":   "",
		"within its head":     head,
		"within its body":     answer(`{"key":` + goodKey + `}`)[:len(head)+30],
		"after its first 1xx": "HTTP/1.1 100 Continue\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service := defiant(t, plugin.Config{Timeout: 20 * time.Millisecond}, func(conn net.Conn) {
				write(begin)(conn)
				<-t.Context().Done()
			})
			_, err := service.Unwrap(t.Context(), kmstest.Context(), storedBy(t, "k", "1"))
			if !fault.Is(err, fault.Unavailable) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Unwrap: %v, want unavailable for lack of time", err)
			}
		})
	}
}

func TestAPluginThatIsNotThereIsAnOutage(t *testing.T) {
	for name, prepare := range map[string]func(path string){
		"no socket": func(string) {},
		"no plugin": func(path string) {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			l.SetUnlinkOnClose(false)
			l.Close()
		},
		"no directory": func(path string) { os.RemoveAll(filepath.Dir(path)) },
	} {
		path := socketPath(t)
		prepare(path)
		_, err := open(t, plugin.Config{Socket: path}).Describe(t.Context())
		var f *fault.Error
		if !errors.As(err, &f) || f.Kind != fault.Unavailable || !strings.Contains(f.Message, filepath.Dir(path)) {
			t.Errorf("%s: Describe: %v, want unavailable and the path", name, err)
		}
	}
}

func TestOpenRefusesWhatCannotWork(t *testing.T) {
	for name, c := range map[string]plugin.Config{
		"no socket":          {},
		"a relative socket":  {Socket: "kms.sock"},
		"a long path":        {Socket: "/" + strings.Repeat("x", 103)},
		"a negative timeout": {Socket: "/run/kms.sock", Timeout: -1},
		"a long timeout":     {Socket: "/run/kms.sock", Timeout: time.Hour},
		"a negative user":    {Socket: "/run/kms.sock", UIDs: []int{-1}},
	} {
		if _, err := plugin.Open(t.Context(), c); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: Open: %v, want invalid", name, err)
		}
	}
}

func TestTheVersionOfAStoredKeyIsKnownWithoutThePlugin(t *testing.T) {
	service := open(t, plugin.Config{Socket: "/nowhere/kms.sock"})
	name := rapid.StringMatching(`[!-~]{1,128}`)
	rapid.Check(t, func(t *rapid.T) {
		id, version := name.Draw(t, "id"), name.Draw(t, "version")
		stored := append([]byte{0x50, 1, byte(len(id))}, id...)
		stored = append(append(stored, byte(len(version))), version...)
		token := rapid.SliceOfN(rapid.Byte(), 1, 2048).Draw(t, "token")
		if got, err := service.Version(append(stored, token...)); err != nil || got != version {
			t.Fatalf("Version: %q, %v, want %q", got, err, version)
		}
		if got, err := service.Version(stored); err == nil {
			t.Fatalf("Version of nothing wrapped: %q", got)
		}
	})
}

func FuzzStoredKey(f *testing.F) {
	f.Add([]byte("\x50\x01\x01k\x011x"))
	f.Add([]byte("\x50\x01\x00\x011x"))
	f.Add([]byte("\x50\x01\xff"))
	f.Add([]byte{})
	service, err := plugin.Open(f.Context(), plugin.Config{Socket: "/nowhere/kms.sock"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, stored []byte) {
		version, err := service.Version(stored)
		if err != nil && !fault.Is(err, fault.Integrity) {
			t.Errorf("Version: %v, want integrity", err)
		}
		if err == nil && !bytes.Contains(stored, []byte(version)) {
			t.Errorf("Version: %q, which is not in %q", version, stored)
		}
	})
}
