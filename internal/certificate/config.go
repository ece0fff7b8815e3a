// Package certificate says where the server's TLS certificate comes from: from two
// files, which may be replaced while it runs; from an ACME authority; or, for
// development, from an authority of its own.
package certificate

import (
	"crypto/tls"

	"github.com/underseal/underseal/internal/fault"
)

// A Source gives the certificate of one handshake.
type Source func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// Versions are those that may be the oldest accepted one, the default first.
var Versions = []string{"1.3", "1.2"}

// Config is how the server does TLS. Under 1.2 there are the suites that encrypt and
// authenticate in one go with a key of their own per connection (BCP 195, RFC 9325
// section 4.2), and no other.
func Config(source Source, oldest string, protocols ...string) (*tls.Config, error) {
	c := &tls.Config{GetCertificate: source, MinVersion: tls.VersionTLS13, NextProtos: protocols}
	switch oldest {
	case "1.3":
	case "1.2":
		c.MinVersion = tls.VersionTLS12
		c.CipherSuites = []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		}
	default:
		return nil, fault.New(fault.Invalid, "%q is no version of TLS that can be the oldest: 1.3 or 1.2", oldest).WithCode("config_invalid")
	}
	return c, nil
}
