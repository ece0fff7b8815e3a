//go:build !windows

package main

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/testenv"
	"github.com/underseal/underseal/ledger"
)

// receiver is what a sink of the audit has got.
type receiver struct {
	mu      sync.Mutex // guards batches
	batches []received
}

type received struct{ note, payload string }

func (r *receiver) take(b received) (number int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.batches = append(r.batches, b)
	return len(r.batches)
}

func (r *receiver) all() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.batches)
}

// has reports whether an entry with a text has come.
func (r *receiver) has(text string) bool {
	return slices.ContainsFunc(r.all(), func(b received) bool { return strings.Contains(b.payload, text) })
}

const hookSecret = "hook-secret"

// newWebhook loses its first answer: it has got the batch, and says that it has not.
func newWebhook(t *testing.T) (*receiver, *httptest.Server) {
	r := &receiver{}
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body := must(io.ReadAll(q.Body))
		batch := q.Header.Get("Underseal-Batch")
		seconds, mac, _ := strings.Cut(strings.TrimPrefix(q.Header.Get("Underseal-Signature"), "t="), ",v1=")
		want := hmac.New(sha256.New, []byte(hookSecret))
		fmt.Fprintf(want, "%s.%s.%s", seconds, batch, body)
		if mac != hex.EncodeToString(want.Sum(nil)) {
			t.Errorf("the signature %q is not that of the secret", q.Header.Get("Underseal-Signature"))
		}
		if r.take(received{string(must(base64.StdEncoding.DecodeString(batch))), string(body)}) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(web.Close)
	return r, web
}

var syslogMessage = regexp.MustCompile(`(?s)^<\d{1,3}>1 \S+ \S+ underseal - (\S+) - (.*)$`)

// newSyslogReceiver takes a batch from each connection, by the certificate of another server.
func newSyslogReceiver(t *testing.T, certificates []tls.Certificate) (*receiver, net.Listener) {
	r := &receiver{}
	listener := must(tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: certificates}))
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			b := received{}
			for _, m := range syslogFrames(conn) {
				parts := syslogMessage.FindStringSubmatch(m)
				switch {
				case parts == nil:
					t.Errorf("%q is no message of RFC 5424", m)
				case parts[1] == "audit.batch":
					b.note = string(must(base64.StdEncoding.DecodeString(parts[2])))
				default:
					b.payload += parts[2] + "\n"
				}
			}
			conn.Close()
			if b.note != "" { // else the sender died
				r.take(b)
			}
		}
	}()
	return r, listener
}

// syslogFrames reads messages with octet counting (RFC 5425, section 4.3) to the end.
func syslogFrames(from io.Reader) (all []string) {
	for in := bufio.NewReader(from); ; {
		length, err := in.ReadString(' ')
		n, bad := strconv.Atoi(strings.TrimSuffix(length, " "))
		if err != nil || bad != nil {
			return all
		}
		message := make([]byte, n)
		if _, err := io.ReadFull(in, message); err != nil {
			return all
		}
		all = append(all, string(message))
	}
}

// fromFile reads what a file has got.
func fromFile(text string) *receiver {
	r, b := &receiver{}, received{}
	for line := range strings.Lines(text) {
		var last struct{ Batch string }
		if json.Unmarshal([]byte(line), &last) == nil && last.Batch != "" {
			b.note = last.Batch
			r.take(b)
			b = received{}
			continue
		}
		b.payload += line
	}
	return r
}

// TestServeStreamsTheAudit has "underseal serve" send the audit to a webhook, to a syslog
// receiver over TLS and to a file, as its configuration says, through a lost answer, a
// restart and a crash: each gets every entry, in batches that the platform has signed.
func TestServeStreamsTheAudit(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds: left out by -short")
	}
	hook, web := newWebhook(t)
	collector, listener := newSyslogReceiver(t, web.TLS.Certificates)
	c := newCompany(t)
	c.write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})))
	c.write("hook", hookSecret)
	file := filepath.Join(c.dir, "audit.ndjson")
	config := fmt.Sprintf(`
audit_sinks:
  siem: {webhook: %q, secret: "file:%s", ca_file: %q, allow_networks: [127.0.0.0/8]}
  collector: {syslog: %q, ca_file: %q, allow_networks: [127.0.0.0/8]}
  archive: {file: %q}
`, web.URL, filepath.Join(c.dir, "hook"), filepath.Join(c.dir, "ca.pem"), listener.Addr(), filepath.Join(c.dir, "ca.pem"), file)
	arrived := func(user string) {
		t.Helper()
		var invited api.Invited
		if err := json.Unmarshal([]byte(c.run(0, "users", "invite", user, "--json")), &invited); err != nil {
			t.Fatal(err)
		}
		object := invited.User.Object // entries name no person
		testenv.Until(t, user+" is told of everywhere", func() bool {
			return hook.has(object) && collector.has(object) && fromFile(c.read("audit.ndjson")).has(object)
		})
	}
	c.write("audit.ndjson", "")
	c.serve(config)
	arrived("dan")
	c.stop()
	c.serve(config)
	arrived("kim")
	c.cmd.Process.Kill()
	_ = c.cmd.Wait() // it was killed
	c.serve(config)
	arrived("pat")

	policy := must(ledger.ParsePolicy([]byte(c.run(0, "log", "policy"))))
	var keys []note.Verifier
	for _, l := range policy.Logs {
		keys = append(keys, l.Key)
	}
	c.stop()
	for name, r := range map[string]*receiver{"webhook": hook, "syslog": collector, "file": fromFile(c.read("audit.ndjson"))} {
		next, again := map[string]uint64{}, 0
		for i, b := range r.all() {
			says, err := ledger.VerifyAuditBatch([]byte(b.note), keys...)
			if err != nil || says.Payload != sha256.Sum256([]byte(b.payload)) {
				t.Fatalf("%s: batch %d is %+v, %v", name, i, says, err)
			}
			if says.First > next[says.Log] {
				t.Errorf("%s: batch %d begins at %d, and %d has not come", name, i, says.First, next[says.Log])
			}
			if says.First < next[says.Log] {
				again++
			}
			next[says.Log] = max(next[says.Log], says.Last+1)
		}
		if len(next) == 0 || len(r.all()) < 3 {
			t.Errorf("%s: %d batches of %d logs", name, len(r.all()), len(next))
		}
		if name == "webhook" && again == 0 {
			t.Error("a batch whose answer was lost did not come again")
		}
		if again > 3 { // the lost answer, and what was under way at the crash
			t.Errorf("%s: %d batches came again: the offset is not kept", name, again)
		}
	}
}
