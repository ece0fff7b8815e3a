package main

import (
	"crypto/tls"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/certificate"
)

// On loopback a server has the names of loopback and those that it is given; a page under
// any other name gets nothing from it.
func TestTheNamesOfAServer(t *testing.T) {
	loopback := []string{"localhost", "127.0.0.1", "::1"}
	for _, c := range []struct {
		listen, hosts string
		proxied       bool
		want          []string // nil: any
	}{
		{"127.0.0.1:8700", "", false, loopback},
		{"localhost:8700", "", false, loopback},
		{"[::1]:8700", "", false, loopback},
		{"127.0.0.2:8700", "", false, append(loopback[:3:3], "127.0.0.2")},
		{"127.0.0.1:8700", "seal.example.org, 10.0.0.7", false, append([]string{"seal.example.org", "10.0.0.7"}, loopback...)},
		{"127.0.0.1:8700", "", true, nil},
		{"127.0.0.1:8700", "seal.example.org", true, append([]string{"seal.example.org"}, loopback...)},
		{"0.0.0.0:443", "", false, nil},
		{":443", "", false, nil},
		{"0.0.0.0:443", "seal.example.org", false, []string{"seal.example.org"}},
		{"192.0.2.7:443", "seal.example.org", false, []string{"seal.example.org", "192.0.2.7"}},
	} {
		s := settings{config: config{Listen: c.listen, Hosts: c.hosts, BehindProxy: c.proxied}}
		got := s.apiHosts()
		slices.Sort(got)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) {
			t.Errorf("listening on %s, hosts %q, behind a proxy %v: %q, want %q", c.listen, c.hosts, c.proxied, got, c.want)
		}
	}
	for listen, want := range map[string]bool{"127.0.0.1:8701": true, "0.0.0.0:8701": false} {
		s := settings{config: config{MetricsListen: listen}}
		if got := s.metricsHosts(); (got != nil) != want {
			t.Errorf("metrics at %s: %q", listen, got)
		}
	}
}

// Each of the three ways leads to a certificate, or to the reason why not.
func TestTheWaysToACertificate(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	d, err := certificate.OpenDevelopment(filepath.Join(dir, "other"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	chain, key := d.Authority(), strings.TrimSuffix(d.Authority(), ".pem")+".key"
	for _, c := range []struct {
		name      string
		config    config
		tls       bool
		protocols []string
		authority string
		problem   string
	}{
		{"none", config{TLSMin: "1.3"}, false, nil, "", ""},
		{"files", config{TLSMin: "1.3", TLSCert: chain, TLSKey: key}, true, nil, "", ""},
		{"files that do not belong together", config{TLSMin: "1.3", TLSCert: chain, TLSKey: chain}, false, nil, "", "load the certificate"},
		{"ACME", config{TLSMin: "1.2", ACMEHosts: "seal.example.org"}, true, []string{"acme-tls/1"}, "", ""},
		{"for development", config{TLSMin: "1.3", TLSDev: true, Listen: "127.0.0.1:8700"}, true, nil, filepath.Join(dir, "underseal", "dev-ca.pem"), ""},
	} {
		s := settings{config: c.config}
		got, authority, err := s.tls(slog.New(slog.DiscardHandler))
		switch {
		case c.problem != "":
			if err == nil || !strings.Contains(err.Error(), c.problem) {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		case err != nil || (got != nil) != c.tls || s.withTLS() != c.tls || authority != c.authority:
			t.Errorf("%s: %v, %q, %v", c.name, got, authority, err)
			continue
		case got == nil:
			continue
		}
		if !slices.Equal(got.NextProtos, c.protocols) || (got.MinVersion == tls.VersionTLS12) != (c.config.TLSMin == "1.2") {
			t.Errorf("%s: protocols %q, oldest %x", c.name, got.NextProtos, got.MinVersion)
		}
		if c.protocols == nil {
			if shown, err := got.GetCertificate(&tls.ClientHelloInfo{ServerName: "localhost"}); err != nil || shown.Leaf == nil {
				t.Errorf("%s: no certificate: %v", c.name, err)
			}
		}
	}
}
