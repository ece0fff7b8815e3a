package certificate

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"github.com/underseal/underseal/internal/fault"
)

// ACME has an authority sign certificates for hosts, and renews them (RFC 8555). The
// authority finds out by a handshake on port 443 whether we are these hosts (TLS-ALPN-01,
// RFC 8737), so no other port is opened.
type ACME struct {
	Hosts     []string // the only ones that certificates are asked for
	Directory string   // URL of the authority; empty: Let's Encrypt
	CAFile    string   // PEM: who signed the authority's own certificate, if it is not a public one
	Email     string   // whom the authority tells of trouble, may be empty
	Cache     string   // directory for keys and certificates
}

// ACMEProtocol is what a server must negotiate for the authority's handshake.
const ACMEProtocol = acme.ALPNProto

// Source asks nobody yet: the first handshake does.
func (a ACME) Source() (Source, error) {
	client, err := a.client()
	if err != nil {
		return nil, err
	}
	m := &autocert.Manager{
		Prompt: autocert.AcceptTOS, Cache: autocert.DirCache(a.Cache), Email: a.Email,
		HostPolicy: autocert.HostWhitelist(a.Hosts...),
		Client:     &acme.Client{DirectoryURL: a.Directory, HTTPClient: client, UserAgent: "underseal"},
	}
	return m.GetCertificate, nil
}

func (a ACME) client() (*http.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	client := &http.Client{Transport: transport, Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if a.CAFile == "" {
		return client, nil
	}
	text, err := os.ReadFile(a.CAFile)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read acme_ca_file: %w", err).WithCode("config_invalid")
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fault.New(fault.Invalid, "acme_ca_file %s holds no PEM certificate", a.CAFile).WithCode("config_invalid")
	}
	transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return client, nil
}
