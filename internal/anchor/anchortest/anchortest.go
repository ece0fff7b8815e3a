// Package anchortest is a time stamping authority for tests, for which "openssl ts"
// answers.
package anchortest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Authority is one with a root of its own.
type Authority struct {
	Root *x509.Certificate
	Cert *x509.Certificate // it signs timestamps, and nothing else
	Key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority whose certificate ends then.
func NewAuthority(t testing.TB, end time.Time) *Authority {
	t.Helper()
	purpose := must(t)(asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}}))
	from, to := time.Now().AddDate(-1, 0, 0), time.Now().AddDate(1, 0, 0)
	rootKey, key := newKey(t), newKey(t)
	root := issue(t, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, rootKey, rootKey)
	cert := issue(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "authority"}, NotBefore: from, NotAfter: end,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: purpose}},
	}, root, key, rootKey)
	return &Authority{Root: root, Cert: cert, Key: key}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func issue(t testing.TB, c, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	if parent == nil {
		parent = c
	}
	made, err := x509.ParseCertificate(must(t)(x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)))
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func must(t testing.TB) func([]byte, error) []byte {
	return func(data []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
}

// Serve has openssl answer for the authority at the address that it returns.
func (a *Authority) Serve(t testing.TB) (url string) {
	t.Helper()
	program, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatalf("openssl is missing: test/setup installs it (%v)", err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("tsa.pem", "CERTIFICATE", a.Cert.Raw)
	write("tsa.key", "PRIVATE KEY", must(t)(x509.MarshalPKCS8PrivateKey(a.Key)))
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
	var one sync.Mutex // the program keeps its serial number in a file
	s := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
		one.Lock()
		defer one.Unlock()
		query := filepath.Join(dir, "query")
		body, err := io.ReadAll(in.Body)
		if err == nil {
			err = os.WriteFile(query, body, 0o600)
		}
		if err != nil {
			t.Error(err)
		}
		reply, err := exec.Command(program, "ts", "-reply", "-config", filepath.Join(dir, "tsa.cnf"), "-queryfile", query).Output()
		if err != nil {
			t.Errorf("openssl ts: %v", err)
		}
		out.Header().Set("Content-Type", "application/timestamp-reply")
		out.Write(reply)
	}))
	t.Cleanup(s.Close)
	return s.URL
}
