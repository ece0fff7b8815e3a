package certificate_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/certificate"
	"github.com/underseal/underseal/internal/fault"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// development is an authority to test with.
func development(t *testing.T, hosts ...string) *certificate.Development {
	t.Helper()
	d, err := certificate.OpenDevelopment(t.TempDir(), hosts, func() time.Time { return noon })
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// trusting is a client that trusts the authority.
func trusting(t *testing.T, d *certificate.Development, host string) *tls.Config {
	t.Helper()
	text, err := os.ReadFile(d.Authority())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		t.Fatal("no certificate of the authority")
	}
	return &tls.Config{RootCAs: roots, ServerName: host, Time: func() time.Time { return noon }}
}

// connection returns both ends of a connection, which keeps what is not read yet.
func connection(t *testing.T) (net.Conn, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// shake has a client and a server meet, with something in between if it is
// not nil, and returns what became of it on both sides.
func shake(t *testing.T, server, client *tls.Config, between func(client, server net.Conn)) (state tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	a, b := connection(t)
	serverEnd := b
	if between != nil {
		c, d := connection(t)
		go between(b, c)
		serverEnd = d
	}
	done := make(chan error)
	go func() {
		conn := tls.Server(serverEnd, server)
		err := conn.Handshake()
		if err == nil {
			_, err = conn.Write([]byte("x"))
		}
		serverEnd.Close()
		done <- err
	}()
	conn := tls.Client(a, client)
	if clientErr = conn.Handshake(); clientErr == nil {
		_, clientErr = io.ReadFull(conn, make([]byte, 1))
	}
	state = conn.ConnectionState()
	a.Close()
	return state, <-done, clientErr
}

func serverConfig(t *testing.T, source certificate.Source, oldest string) *tls.Config {
	t.Helper()
	c, err := certificate.Config(source, oldest)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOnlyTheConfiguredVersionsAreSpoken(t *testing.T) {
	d := development(t)
	seen := 0
	for oldest, accepted := range map[string]map[uint16]bool{
		"1.3": {tls.VersionTLS13: true},
		"1.2": {tls.VersionTLS13: true, tls.VersionTLS12: true},
	} {
		server := serverConfig(t, d.Get, oldest)
		for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
			seen++
			client := trusting(t, d, "localhost")
			client.MinVersion, client.MaxVersion = version, version
			state, _, err := shake(t, server, client, nil)
			if (err == nil) != accepted[version] || err == nil && state.Version != version {
				t.Errorf("oldest %s: a client with %s alone: %v", oldest, tls.VersionName(version), err)
			}
		}
	}
	if seen != 8 {
		t.Errorf("%d versions were tried", seen)
	}
	for _, oldest := range []string{"", "1.1", "TLS1.3", "2"} {
		if _, err := certificate.Config(d.Get, oldest); !fault.Is(err, fault.Invalid) {
			t.Errorf("Config(%q) = %v", oldest, err)
		}
	}
}

// Each suite that Go knows is offered alone.
func TestOnlySuitesWithForwardSecrecyAndAuthenticatedEncryption(t *testing.T) {
	d := development(t)
	server := serverConfig(t, d.Get, "1.2")
	tried, accepted := 0, 0
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if suite.SupportedVersions[0] == tls.VersionTLS13 {
			continue
		}
		tried++
		client := trusting(t, d, "localhost")
		client.MaxVersion, client.CipherSuites = tls.VersionTLS12, []uint16{suite.ID}
		_, _, err := shake(t, server, client, nil)
		good := strings.HasPrefix(suite.Name, "TLS_ECDHE_ECDSA_") && (strings.Contains(suite.Name, "_GCM_") || strings.Contains(suite.Name, "_POLY1305_"))
		if (err == nil) != good {
			t.Errorf("%s: %v", suite.Name, err)
		}
		if err == nil {
			accepted++
		}
	}
	if tried < 15 || accepted != 3 {
		t.Errorf("%d suites were tried and %d accepted", tried, accepted)
	}
}

// Somebody between client and server takes TLS 1.3 out of what the client offers.
func TestADowngradeIsRefused(t *testing.T) {
	d := development(t)
	for oldest, want := range map[string]string{"1.3": "protocol version not supported", "1.2": "downgrade attempt detected"} {
		_, serverErr, err := shake(t, serverConfig(t, d.Get, oldest), trusting(t, d, "localhost"), func(client, server net.Conn) {
			hello := make([]byte, 1<<14)
			n, err := readRecord(client, hello)
			if err != nil {
				t.Error(err)
			}
			if _, err := server.Write(withoutExtension(t, hello[:n], 43)); err != nil {
				t.Error(err)
			}
			go func() { io.Copy(server, client); server.Close() }()
			io.Copy(client, server)
			client.Close()
		})
		if err == nil || serverErr == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("oldest %s: client %v, server %v; want %q", oldest, err, serverErr, want)
		}
	}
}

// readRecord reads one TLS record (RFC 8446 section 5.1).
func readRecord(r io.Reader, buf []byte) (int, error) {
	if _, err := io.ReadFull(r, buf[:5]); err != nil {
		return 0, err
	}
	n := 5 + int(binary.BigEndian.Uint16(buf[3:]))
	_, err := io.ReadFull(r, buf[5:n])
	return n, err
}

// withoutExtension takes one extension out of a ClientHello (RFC 8446 section 4.1.2).
func withoutExtension(t *testing.T, record []byte, kind uint16) []byte {
	t.Helper()
	at := 5 + 4 + 2 + 32                                // record, handshake, version, random
	at += 1 + int(record[at])                           // session id
	at += 2 + int(binary.BigEndian.Uint16(record[at:])) // suites
	at += 1 + int(record[at])                           // compression
	out := append(bytes.Clone(record[:at]), 0, 0)       // length of the extensions, later
	for rest := record[at+2:]; len(rest) > 0; {
		n := 4 + int(binary.BigEndian.Uint16(rest[2:]))
		if binary.BigEndian.Uint16(rest) != kind {
			out = append(out, rest[:n]...)
		}
		rest = rest[n:]
	}
	if len(out) == len(record) {
		t.Errorf("there is no extension %d", kind)
	}
	binary.BigEndian.PutUint16(out[at:], uint16(len(out)-at-2))
	binary.BigEndian.PutUint16(out[3:], uint16(len(out)-5))
	binary.BigEndian.PutUint16(out[7:], uint16(len(out)-9)) // of 24 bits; the first is 0
	return out
}

// pair writes a certificate and key made by an authority.
func pair(t *testing.T, dir, host string) {
	t.Helper()
	chain, key := pemPair(t, host)
	write(t, filepath.Join(dir, "tls.crt"), chain)
	write(t, filepath.Join(dir, "tls.key"), key)
}

// pemPair returns the files of an authority, which are a pair like any other.
func pemPair(t *testing.T, host string) (chain, key []byte) {
	t.Helper()
	d := development(t, host)
	chain, err := os.ReadFile(d.Authority())
	if err != nil {
		t.Fatal(err)
	}
	if key, err = os.ReadFile(strings.TrimSuffix(d.Authority(), ".pem") + ".key"); err != nil {
		t.Fatal(err)
	}
	return chain, key
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFilesAreTakenWhenTheyChange(t *testing.T) {
	dir, now := t.TempDir(), noon
	pair(t, dir, "one.example")
	var log bytes.Buffer
	f, err := certificate.OpenFiles(certificate.FilesConfig{
		Chain: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"),
		Log: slog.New(slog.NewTextHandler(&log, nil)), Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	shown := func() string {
		t.Helper()
		c, err := f.Get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Leaf.PermittedDNSDomains[1]
	}
	secondChain, secondKey := pemPair(t, "two.example")
	for _, step := range []struct {
		name   string
		do     func()
		want   string
		warned int // how often, so far
	}{
		{"nothing changed", func() {}, "one.example", 0},
		{"the new chain without its key", func() { write(t, f1(dir), secondChain) }, "one.example", 1},
		{"the same a second later", func() {}, "one.example", 1},
		{"now the key as well", func() { write(t, f2(dir), secondKey) }, "two.example", 1},
		{"something that is no certificate", func() { write(t, f1(dir), []byte("oops")) }, "two.example", 2},
		{"no file at all", func() { os.Remove(f1(dir)) }, "two.example", 3},
		{"the good one again", func() { write(t, f1(dir), secondChain) }, "two.example", 3},
		{"one that is no more valid", func() { now = now.AddDate(2, 0, 0); pair(t, dir, "three.example") }, "two.example", 4},
	} {
		step.do()
		now = now.Add(time.Second)
		if got := shown(); got != step.want {
			t.Errorf("%s: the certificate of %s", step.name, got)
		}
		if got := strings.Count(log.String(), "level=WARN"); got != step.warned {
			t.Errorf("%s: %d warnings:\n%s", step.name, got, log.String())
		}
	}
}

func f1(dir string) string { return filepath.Join(dir, "tls.crt") }
func f2(dir string) string { return filepath.Join(dir, "tls.key") }

func TestFilesThatAreNoGoodAtTheStartAreRefused(t *testing.T) {
	dir := t.TempDir()
	pair(t, dir, "one.example")
	_, other := pemPair(t, "two.example")
	for _, c := range []struct{ name, chain, key string }{
		{"no such file", filepath.Join(dir, "none"), f2(dir)},
		{"no such key", f1(dir), filepath.Join(dir, "none")},
		{"the wrong way round", f2(dir), f1(dir)},
		{"the key of another", f1(dir), filepath.Join(dir, "other.key")},
	} {
		write(t, filepath.Join(dir, "other.key"), other)
		if _, err := certificate.OpenFiles(certificate.FilesConfig{Chain: c.chain, Key: c.key}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// An outdated certificate must not keep a server down: it says so and starts.
func TestAnOutdatedCertificateIsToldOf(t *testing.T) {
	dir := t.TempDir()
	pair(t, dir, "one.example")
	var log bytes.Buffer
	_, err := certificate.OpenFiles(certificate.FilesConfig{
		Chain: f1(dir), Key: f2(dir), Log: slog.New(slog.NewTextHandler(&log, nil)), Now: func() time.Time { return noon.AddDate(2, 0, 0) },
	})
	if err != nil || !strings.Contains(log.String(), "clients will refuse") {
		t.Errorf("%v, log %s", err, log.String())
	}
}

func TestTheDevelopmentAuthoritySignsForThisMachineAlone(t *testing.T) {
	d := development(t, "machine.example", "192.0.2.7")
	server := serverConfig(t, d.Get, "1.3")
	for host, ok := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "::1": true, "machine.example": true, "192.0.2.7": true,
		"example": false, "other.example": false, "192.0.2.8": false, "127.0.0.2": false,
	} {
		if _, _, err := shake(t, server, trusting(t, d, host), nil); (err == nil) != ok {
			t.Errorf("as %s: %v", host, err)
		}
	}
	info, err := os.Stat(strings.TrimSuffix(d.Authority(), ".pem") + ".key")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the authority's key: %v, %v", info.Mode(), err)
	}
}

// What the stolen key of the authority signs for other hosts is refused by who trusts it.
func TestTheDevelopmentAuthorityIsConstrained(t *testing.T) {
	d := development(t)
	signer, err := tls.LoadX509KeyPair(d.Authority(), strings.TrimSuffix(d.Authority(), ".pem")+".key")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		host string
		ok   bool
	}{{"localhost", true}, {"bank.example", false}, {"192.0.2.8", false}} {
		leaf := signed(t, signer, c.host)
		source := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return leaf, nil }
		if _, _, err := shake(t, serverConfig(t, source, "1.3"), trusting(t, d, c.host), nil); (err == nil) != c.ok {
			t.Errorf("a certificate for %s: %v", c.host, err)
		}
	}
}

func TestTheDevelopmentAuthorityStaysAndItsCertificatesAreShort(t *testing.T) {
	dir, now := t.TempDir(), noon
	clock := func() time.Time { return now }
	open := func(hosts ...string) (*certificate.Development, error) {
		return certificate.OpenDevelopment(dir, hosts, clock)
	}
	first, err := open()
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(first.Authority())
	if err != nil {
		t.Fatal(err)
	}
	one, _ := first.Get(nil)
	again, _ := first.Get(nil)
	if one != again || one.Leaf.NotAfter.Sub(now) > 25*time.Hour {
		t.Errorf("a certificate until %v, and another one", one.Leaf.NotAfter)
	}
	now = now.Add(20 * time.Hour)
	if later, err := first.Get(nil); err != nil || !later.Leaf.NotAfter.After(one.Leaf.NotAfter) {
		t.Errorf("it is not renewed: %v", err)
	}
	if second, err := open(); err != nil {
		t.Error(err)
	} else if same, err := os.ReadFile(second.Authority()); err != nil || !bytes.Equal(same, ca) {
		t.Errorf("another start makes another authority: %v", err)
	}
	if _, err := open("other.example"); !fault.Is(err, fault.Invalid) {
		t.Errorf("a host that the authority is not for: %v", err)
	}
	now = now.AddDate(1, 0, 0)
	if _, err := open(); !fault.Is(err, fault.Invalid) {
		t.Errorf("an authority that is no more valid: %v", err)
	}
	if err := os.Remove(first.Authority()); err != nil {
		t.Fatal(err)
	}
	if _, err := open("other.example"); err != nil {
		t.Errorf("when it was moved away: %v", err)
	}
}

func TestAnotherPairIsNoDevelopmentAuthority(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "dev-ca.pem"), []byte("oops"))
	write(t, filepath.Join(dir, "dev-ca.key"), []byte("oops"))
	_, err := certificate.OpenDevelopment(dir, nil, nil)
	var told *fault.Error
	if !errors.As(err, &told) || told.Kind != fault.Invalid || told.Hint == "" {
		t.Errorf("OpenDevelopment = %v", err)
	}
}
