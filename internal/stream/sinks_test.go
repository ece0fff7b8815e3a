package stream_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/stream"
)

// publicOf returns the public key of the tests' signer.
func publicOf(note.Signer) ed25519.PublicKey {
	seed := make([]byte, 32)
	for i := range seed {
		seed[i] = 7
	}
	return ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

func batch() stream.Batch {
	at := time.Date(2026, 11, 21, 12, 30, 0, 250_000_000, time.UTC)
	return stream.Batch{
		Tenant: "main", Note: []byte("the note\n"), Payload: []byte("one\ntwo é\n"), Lines: [][]byte{[]byte("one"), []byte("two é")},
		Entries: []api.AuditEntry{{Kind: "data.shown", Result: "done", At: at}, {Kind: "access.denied", Result: "denied", At: at}},
	}
}

// hook is an HTTPS receiver that answers with a status.
type hook struct {
	*httptest.Server
	status int
	header http.Header
	body   []byte
	calls  int
}

func newHook(t *testing.T) *hook {
	t.Helper()
	h := &hook{status: http.StatusNoContent}
	h.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.calls++
		h.header = r.Header
		h.body, _ = io.ReadAll(r.Body)
		if r.URL.Path == "/elsewhere" { // which answers as a receiver does
			return
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(h.status)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) config() stream.WebhookConfig {
	return stream.WebhookConfig{URL: h.URL, Secret: "s3cret", Networks: loopback, Roots: rootsOf(h.Certificate()), ContentType: "application/x-ndjson"}
}

func rootsOf(c *x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c)
	return pool
}

func webhook(t *testing.T, c stream.WebhookConfig) stream.Sink {
	t.Helper()
	s, err := stream.NewWebhook(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAWebhookGetsBodyNoteAndHMAC(t *testing.T) {
	h := newHook(t)
	c := h.config()
	c.Now = func() time.Time { return time.Unix(1_800_000_000, 0) }
	if err := webhook(t, c).Send(t.Context(), batch()); err != nil {
		t.Fatal(err)
	}
	encoded := base64.StdEncoding.EncodeToString([]byte("the note\n"))
	mac := hmac.New(sha256.New, []byte("s3cret"))
	mac.Write([]byte("1800000000." + encoded + "." + string(batch().Payload)))
	want := "t=1800000000,v1=" + hex.EncodeToString(mac.Sum(nil))
	if got := h.header.Get(stream.SignatureHeader); got != want {
		t.Errorf("the signature is %q, want %q", got, want)
	}
	if h.header.Get(stream.BatchHeader) != encoded || string(h.body) != string(batch().Payload) || h.header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("the receiver got %q with %v", h.body, h.header)
	}
}

func TestABatchIsTakenWithAStatusOf2xxAlone(t *testing.T) {
	for status, taken := range map[int]bool{200: true, 202: true, 204: true, 301: false, 302: false, 307: false, 308: false, 400: false, 401: false, 404: false, 429: false, 500: false, 503: false} {
		h := newHook(t)
		h.status = status
		if err := webhook(t, h.config()).Send(t.Context(), batch()); (err == nil) != taken || err != nil && !fault.Is(err, fault.Unavailable) {
			t.Errorf("status %d: %v, want taken %v", status, err, taken)
		}
		if h.calls != 1 {
			t.Errorf("status %d: %d calls, want 1", status, h.calls)
		}
	}
}

func TestAWebhookIsNoWayIntoPrivateNetworks(t *testing.T) {
	h := newHook(t)
	c := h.config()
	c.Networks = nil
	for _, host := range []string{"", "localhost"} {
		if host != "" {
			_, port, _ := strings.Cut(strings.TrimPrefix(h.URL, "https://"), ":")
			c.URL = "https://" + host + ":" + port
		}
		if err := webhook(t, c).Send(t.Context(), batch()); err == nil || h.calls > 0 {
			t.Errorf("%s: %v after %d calls, want an error before the first", c.URL, err, h.calls)
		}
	}
}

func TestAWebhookIsWhoItsCertificateSays(t *testing.T) {
	h := newHook(t)
	c := h.config()
	c.Roots = nil
	if err := webhook(t, c).Send(t.Context(), batch()); err == nil || h.calls > 0 {
		t.Errorf("a certificate of nobody: %v after %d calls", err, h.calls)
	}
	if err := webhook(t, c).Send(t.Context(), batch()); err != nil && strings.Contains(err.Error(), h.URL) {
		t.Errorf("the error quotes the address: %v", err)
	}
}

func TestWhatIsNoWebhookIsRefused(t *testing.T) {
	for _, address := range []string{"", "http://example.org/", "https://", "https://user:pass@example.org/", "example.org", "https://example.org/#x", "file:///etc/passwd"} {
		if _, err := stream.NewWebhook(stream.WebhookConfig{URL: address}); !fault.Is(err, fault.Invalid) {
			t.Errorf("NewWebhook(%q): %v, want Invalid", address, err)
		}
	}
	for _, address := range []string{"", "example.org", ":6514", "example.org:"} {
		if _, err := stream.NewSyslog(stream.SyslogConfig{Address: address}); !fault.Is(err, fault.Invalid) {
			t.Errorf("NewSyslog(%q): %v, want Invalid", address, err)
		}
	}
	if _, err := stream.NewFile("audit.ndjson"); !fault.Is(err, fault.Invalid) {
		t.Errorf("NewFile of a relative path: %v, want Invalid", err)
	}
}

func TestOnlyThePublicInternetIsDialed(t *testing.T) {
	allowed := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/8")}
	for text, may := range map[string]bool{
		"8.8.8.8": true, "2a00:1450::1": true, "10.1.2.3": true, "fd00::1": true, "::ffff:10.1.2.3": true,
		"10.2.0.1": false, "127.0.0.1": false, "::1": false, "0.0.0.0": false, "::": false, "169.254.169.254": false, "fe80::1": false, "fe80::1%eth0": false,
		"172.16.0.1": false, "192.168.1.1": false, "100.64.0.1": false, "224.0.0.1": false, "ff02::1": false, "255.255.255.255": false, "192.0.2.1": false,
		"::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false, "64:ff9b::a00:1": false, "2002:7f00:1::": false, "fc00::1": false, "198.18.0.1": false, "240.0.0.1": false,
	} {
		if err := stream.MayDial(netip.MustParseAddr(text), allowed); (err == nil) != may {
			t.Errorf("%s: %v, want dialed %v", text, err, may)
		}
	}
}

// collector is a syslog receiver over TLS, for one connection.
type collector struct {
	net.Listener
	roots    *x509.CertPool
	messages chan []string
}

// newCollector reads messages until the sender ends; with cut it ends before, by a reset.
func newCollector(t *testing.T, cut bool) *collector {
	t.Helper()
	web := httptest.NewUnstartedServer(nil) // for its certificate
	web.StartTLS()
	t.Cleanup(web.Close)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{Listener: inner, roots: rootsOf(web.Certificate()), messages: make(chan []string, 1)}
	go func() {
		conn, err := inner.Accept()
		if err != nil {
			return
		}
		secured := tls.Server(conn, &tls.Config{Certificates: web.TLS.Certificates})
		if cut {
			_ = secured.Handshake()
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
			c.messages <- nil
			return
		}
		got := readFrames(secured)
		_ = secured.Close()
		c.messages <- got
	}()
	t.Cleanup(func() { inner.Close() })
	return c
}

// readFrames reads messages with octet counting (RFC 5425, section 4.3).
func readFrames(from io.Reader) (all []string) {
	for in := bufio.NewReader(from); ; {
		length, err := in.ReadString(' ')
		if err != nil {
			return all
		}
		n, err := strconv.Atoi(strings.TrimSuffix(length, " "))
		if err != nil {
			return append(all, "no frame: "+length)
		}
		message := make([]byte, n)
		if _, err := io.ReadFull(in, message); err != nil {
			return append(all, "cut")
		}
		all = append(all, string(message))
	}
}

func (c *collector) sink(t *testing.T) stream.Sink {
	t.Helper()
	s, err := stream.NewSyslog(stream.SyslogConfig{Address: c.Addr().String(), Hostname: "server one", Networks: loopback, Roots: c.roots})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSyslogMessagesAreThoseOfRFC5424(t *testing.T) {
	c := newCollector(t, false)
	if err := c.sink(t).Send(t.Context(), batch()); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"<110>1 2026-11-21T12:30:00.250000Z server_one underseal - data.shown - one",
		"<108>1 2026-11-21T12:30:00.250000Z server_one underseal - access.denied - two é",
		"<110>1 2026-11-21T12:30:00.250000Z server_one underseal - audit.batch - " + base64.StdEncoding.EncodeToString([]byte("the note\n")),
	}
	got := <-c.messages
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the receiver got\n%q, want\n%q", got, want)
	}
	form := regexp.MustCompile(`^<\d{1,3}>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z [!-~]{1,255} [!-~]{1,48} - [!-~]{1,32} - `)
	for _, m := range got {
		if !form.MatchString(m) {
			t.Errorf("%q is no message of RFC 5424", m)
		}
	}
}

func TestASyslogReceiverThatBreaksOffHasNotTakenABatch(t *testing.T) {
	c := newCollector(t, true)
	large := batch()
	for range 10_000 { // more than any buffer between holds
		large.Lines, large.Entries = append(large.Lines, make([]byte, 1000)), append(large.Entries, large.Entries[0])
	}
	if err := c.sink(t).Send(t.Context(), large); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v, want Unavailable", err)
	}
}

// TestASyslogReceiverThatNeverEndsHasNotTakenABatch: it could have read nothing.
func TestASyslogReceiverThatNeverEndsHasNotTakenABatch(t *testing.T) {
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS()
	t.Cleanup(web.Close)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: web.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, conn) // up to the sender's end, which it leaves without an answer
		cancel()
		<-ctx.Done()
		_, _ = conn.Read(make([]byte, 1))
		t.Cleanup(func() { conn.Close() })
	}()
	s, err := stream.NewSyslog(stream.SyslogConfig{Address: l.Addr().String(), Networks: loopback, Roots: rootsOf(web.Certificate())})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(ctx, batch()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v, want Unavailable", err)
	}
	l.Close()
	<-ended
}

func TestAFileIsAppendedToAndCanBeRotated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.ndjson")
	s, err := stream.NewFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const whole = "one\ntwo é\n{\"batch\":\"the note\\n\"}\n"
	content := func(path string) string {
		t.Helper()
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	send := func() {
		t.Helper()
		if err := s.Send(t.Context(), batch()); err != nil {
			t.Fatal(err)
		}
	}
	send()
	send()
	if got := content(path); got != whole+whole {
		t.Errorf("the file holds %q", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v, %v", info.Mode(), err)
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	send()
	if content(path) != whole || content(path+".1") != whole+whole {
		t.Errorf("after a rotation the files hold %q and %q", content(path+".1"), content(path))
	}
	if err := os.WriteFile(path, []byte("one\ntw"), 0o600); err != nil { // a crash came in between
		t.Fatal(err)
	}
	send()
	if got := content(path); got != "one\ntw\n"+whole {
		t.Errorf("after a crash the file holds %q", got)
	}
	missing, err := stream.NewFile(filepath.Join(t.TempDir(), "none", "audit"))
	if err != nil {
		t.Fatal(err)
	}
	if err := missing.Send(t.Context(), batch()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a folder that is not there: %v, want Unavailable", err)
	}
}
