package anchor_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/anchor"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

// openssl is a timestamp authority that "openssl ts" answers for, behind HTTP.
func openssl(t *testing.T, validity time.Duration) (url string, root *x509.Certificate) {
	t.Helper()
	program, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatalf("openssl is missing: test/setup installs it (%v)", err)
	}
	a, dir := newTSAUntil(time.Now().Add(validity)), t.TempDir()
	write := func(name, kind string, der []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("tsa.pem", "CERTIFICATE", a.cert.Raw)
	write("tsa.key", "PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(a.key)))
	settings := fmt.Sprintf(`[tsa]
default_tsa = one
[one]
serial = %[1]s/serial
signer_cert = %[1]s/tsa.pem
signer_key = %[1]s/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ess_cert_id_alg = sha256
`, dir)
	if err := os.WriteFile(filepath.Join(dir, "tsa.cnf"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
		query := filepath.Join(dir, "query")
		if err := os.WriteFile(query, must(io.ReadAll(in.Body)), 0o600); err != nil {
			t.Error(err)
		}
		cmd := exec.Command(program, "ts", "-reply", "-config", filepath.Join(dir, "tsa.cnf"), "-queryfile", query)
		reply, err := cmd.Output()
		if err != nil {
			t.Errorf("openssl ts: %v", err)
		}
		out.Header().Set("Content-Type", "application/timestamp-reply")
		out.Write(reply)
	}))
	t.Cleanup(s.Close)
	return s.URL, a.root
}

// TestOpenSSLGivesTimestamps has a real authority, one whose certificate has ended,
// and one of another root.
func TestOpenSSLGivesTimestamps(t *testing.T) {
	for _, test := range []struct {
		name     string
		validity time.Duration
		foreign  bool
		code     string // "": the token is stored
	}{
		{"of our authority", time.Hour, false, ""},
		{"of one that has expired", -time.Hour, false, ledger.CodeTimestampExpired},
		{"of a foreign one", time.Hour, true, ledger.CodeTimestampForeign},
	} {
		t.Run(test.name, func(t *testing.T) {
			url, root := openssl(t, test.validity)
			if test.foreign {
				_, root = openssl(t, test.validity)
			}
			w := emptyWorld(t)
			w.config.Authority = &anchor.Authority{URL: url, Root: root}
			w.make()
			defer w.db.Close()
			ann := w.publish("ann", 3)
			err := w.log.Round(t.Context())
			if test.code != "" {
				w.notAnchored("ann", 3)
				if !fault.Is(err, fault.Unavailable) || w.figure("underseal_timestamp_failing", "") != 1 {
					t.Errorf("the round ended with %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			w.root = x509.NewCertPool()
			w.root.AddCert(root)
			w.verify("ann", ann)
		})
	}
}
