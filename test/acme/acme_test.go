// Package acme_test has a real ACME authority, Pebble, sign certificates for a server of
// ours. It is a module of its own, so that the authority never becomes a dependency of
// the program.
package acme_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"

	"github.com/underseal/underseal/internal/certificate"
)

// authority is a Pebble that finds every name on this machine.
type authority struct {
	directory string // URL
	caFile    string // who signed its own certificate
	roots     *x509.CertPool
	orders    atomic.Int64 // how many certificates were asked for
}

func newAuthority(t *testing.T, tlsPort int) *authority {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "0")
	quiet := log.New(io.Discard, "", 0)
	rows := db.NewMemoryStore()
	signer := ca.New(quiet, rows, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {Description: "of a test"}})
	front := wfe.New(quiet, rows, va.New(quiet, 0, tlsPort, false, nameServer(t), rows), signer, []string{"ca.example"}, false, false, 0, 0)
	a := &authority{roots: x509.NewCertPool()}
	handler := front.Handler()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/order-plz" {
			a.orders.Add(1)
		}
		// Pebble does not name the order in its answer, as RFC 8555 section 7.4 shows and
		// authorities in use do; autocert relies on it.
		if id, ok := strings.CutPrefix(r.URL.Path, "/finalize-order/"); ok {
			w.Header().Set("Location", "https://"+r.Host+"/my-order/"+id)
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	a.directory = server.URL + wfe.DirectoryPath
	a.caFile = filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(a.caFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	a.roots.AddCert(signer.GetRootCert(0).Cert)
	return a
}

// nameServer answers that every name is 127.0.0.1.
func nameServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, asked *dns.Msg) {
		answer := new(dns.Msg)
		answer.SetReply(asked)
		if q := asked.Question[0]; q.Qtype == dns.TypeA {
			answer.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1)}}
		}
		_ = w.WriteMsg(answer) // who asked sees that nothing came
	})}
	ended := make(chan error)
	go func() { ended <- s.ActivateAndServe() }()
	t.Cleanup(func() { _ = s.Shutdown(); <-ended })
	return l.Addr().String()
}

// serve answers handshakes on a socket as a server of ours does.
func serve(t *testing.T, socket net.Listener, c certificate.ACME) {
	t.Helper()
	source, err := c.Source()
	if err != nil {
		t.Fatal(err)
	}
	config, err := certificate.Config(source, "1.3", certificate.ACMEProtocol)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{TLSConfig: config, ErrorLog: log.New(io.Discard, "", 0), Handler: http.NotFoundHandler()}
	ended := make(chan error)
	go func() { ended <- s.ServeTLS(socket, "", "") }()
	t.Cleanup(func() { _ = s.Close(); <-ended })
}

// dial makes a handshake and returns the server's certificate.
func dial(address, host string, roots *x509.CertPool) (*x509.Certificate, error) {
	conn, err := tls.Dial("tcp", address, &tls.Config{ServerName: host, RootCAs: roots, NextProtos: []string{"http/1.1"}})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0], nil
}

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestARealAuthoritySignsForOurHostsAlone(t *testing.T) {
	socket := listen(t, "127.0.0.1:0")
	address := socket.Addr().String()
	a := newAuthority(t, socket.Addr().(*net.TCPAddr).Port)
	config := certificate.ACME{
		Hosts: []string{"seal.example.org"}, Directory: a.directory, CAFile: a.caFile, Email: "ann@example.org", Cache: filepath.Join(t.TempDir(), "acme"),
	}
	serve(t, socket, config)
	first, err := dial(address, "seal.example.org", a.roots)
	if err != nil {
		t.Fatal(err)
	}
	again, err := dial(address, "seal.example.org", a.roots)
	if err != nil || !first.Equal(again) || a.orders.Load() != 1 {
		t.Errorf("the second handshake: %v, after %d orders", err, a.orders.Load())
	}
	for _, host := range []string{"other.example.org", "evil.seal.example.org", "localhost"} {
		if _, err := dial(address, host, a.roots); err == nil {
			t.Errorf("%s got a certificate", host)
		}
	}
	if got := a.orders.Load(); got != 1 {
		t.Errorf("%d certificates were asked for", got)
	}
	info, err := os.Stat(config.Cache)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the cache: %v, %v", info, err)
	}

	// After a restart the certificate is still there, also while the authority is away.
	next := listen(t, "127.0.0.1:0")
	config.Directory = "https://127.0.0.1:1/away"
	serve(t, next, config)
	if kept, err := dial(next.Addr().String(), "seal.example.org", a.roots); err != nil || !kept.Equal(first) {
		t.Errorf("after a restart: %v", err)
	}
}

// An authority whose own certificate nobody vouches for gets no account and no order.
func TestAnAuthorityThatIsNotTrustedIsNotAsked(t *testing.T) {
	socket := listen(t, "127.0.0.1:0")
	a := newAuthority(t, socket.Addr().(*net.TCPAddr).Port)
	serve(t, socket, certificate.ACME{Hosts: []string{"seal.example.org"}, Directory: a.directory, Cache: t.TempDir()})
	if _, err := dial(socket.Addr().String(), "seal.example.org", a.roots); err == nil || a.orders.Load() > 0 {
		t.Errorf("%v, after %d orders", err, a.orders.Load())
	}
}
