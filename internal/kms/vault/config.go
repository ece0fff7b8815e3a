package vault

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/underseal/underseal/internal/fault"
)

// Config says which transit key to use and how to sign in.
type Config struct {
	// Address is https://HOST:PORT. Without TLS only loopback is accepted: the
	// keys of all tenants come back in the answers.
	Address   string `koanf:"address"`
	Namespace string `koanf:"namespace"` // default none
	Mount     string `koanf:"mount"`     // of the transit engine; default "transit"
	Key       string `koanf:"key"`       // name of the transit key

	// KeyID is the id of the root key, for a transit key that was moved to another
	// mount or server with its material. Default: the mount's UUID and the key's name.
	KeyID string `koanf:"key_id"`

	// Auth is token (the default), approle or kubernetes, AuthMount where that
	// method is mounted (default: its name). Role is the role id of an AppRole, or
	// the name of a role for Kubernetes.
	Auth      string `koanf:"auth"`
	AuthMount string `koanf:"auth_mount"`
	Role      string `koanf:"role"`
	// Secret returns the token, the secret id of an AppRole, or the service
	// account's token of Kubernetes. It is called whenever it is needed, so that a
	// file can be exchanged.
	Secret func(context.Context) (string, error) `koanf:"-"`

	CAFile     string `koanf:"ca_file"`     // PEM of the server's authority; default: those of the system
	ClientCert string `koanf:"client_cert"` // PEM files of a client certificate, read for each connection
	ClientKey  string `koanf:"client_key"`

	Now func() time.Time `koanf:"-"` // default time.Now
}

// name is what Vault accepts as the name of a key, and a part of a path.
var name = regexp.MustCompile(`^\w([\w.-]*\w)?$`)

// complete sets defaults and refuses what makes no sense.
func (c *Config) complete() error {
	c.Mount = defaultTo(strings.Trim(c.Mount, "/"), "transit")
	c.Namespace = strings.Trim(c.Namespace, "/")
	c.Auth = defaultTo(c.Auth, "token")
	c.AuthMount = defaultTo(strings.Trim(c.AuthMount, "/"), c.Auth)
	if c.Now == nil {
		c.Now = time.Now
	}
	switch {
	case !name.MatchString(c.Key):
		return invalid("key %q is no name of a transit key", c.Key)
	case !isPath(c.Mount) || !isPath(c.AuthMount) || c.Namespace != "" && !isPath(c.Namespace):
		return invalid("mount %q, auth_mount %q or namespace %q is no path", c.Mount, c.AuthMount, c.Namespace)
	case c.Auth != "token" && c.Auth != "approle" && c.Auth != "kubernetes":
		return invalid("auth %q is none of token, approle, kubernetes", c.Auth)
	case (c.Role == "") != (c.Auth == "token"):
		return invalid("auth %s with role %q: approle and kubernetes need one, a token has none", c.Auth, c.Role)
	case c.Secret == nil:
		return invalid("auth %s has no secret", c.Auth)
	case (c.ClientCert == "") != (c.ClientKey == ""):
		return invalid("client_cert and client_key need each other")
	case len(c.KeyID) > 255:
		return invalid("key_id has %d bytes, at most 255", len(c.KeyID))
	}
	return nil
}

func defaultTo(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

func isPath(path string) bool {
	for _, part := range strings.Split(path, "/") {
		if !name.MatchString(part) {
			return false
		}
	}
	return true
}

func invalid(format string, args ...any) error {
	return fault.New(fault.Invalid, "key service of Vault: "+format, args...).WithCode("config_invalid")
}

// base returns the address without its path.
func (c *Config) base() (*url.URL, error) {
	u, err := url.Parse(c.Address)
	switch {
	case err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return nil, invalid("address is not like https://vault.example:8200")
	case u.Scheme == "http" && isLoopback(u.Hostname()), u.Scheme == "https":
		return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
	}
	return nil, invalid("address %s would send token and keys in clear: use https", c.Address)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// transport returns what connects, with the authority and the certificate that
// the configuration names.
func (c *Config) transport() (*http.Transport, error) {
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 5 * time.Second,
		IdleConnTimeout:     time.Minute,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 4,
	}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, invalid("ca_file: %w", err)
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, invalid("ca_file %s holds no PEM certificate", c.CAFile)
		}
	}
	if c.ClientCert != "" {
		if _, err := c.certificate(nil); err != nil {
			return nil, invalid("client_cert: %w", err)
		}
		t.TLSClientConfig.GetClientCertificate = c.certificate
	}
	return t, nil
}

// certificate reads the client certificate again: the short-lived ones are
// exchanged while the server runs.
func (c *Config) certificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.ClientCert, c.ClientKey)
	return &pair, err
}
