// Package oidc takes the word of OpenID providers for who somebody is: it signs people in
// by the authorization code flow with PKCE (OpenID Connect Core 1.0, RFC 7636, RFC 9207),
// and checks the access tokens of services (RFC 9068) and the logout tokens of providers
// (OpenID Connect Back-Channel Logout 1.0).
//
// A token counts by a key that the issuer publishes under the address in the tenant's
// settings, by an algorithm of a short list, and for one purpose: its type and its claims
// keep what was made for another. A token is nowhere in an error or a log.
//
// The address of an issuer is written by the administrator of a tenant, who is not the
// operator of the server. So requests go to public addresses, whatever a name resolves to,
// and to the networks that the operator names at the address of the issuer alone, follow no
// redirection to another host, and are bounded in time and size.
package oidc

import (
	"crypto/x509"
	"sync"
	"time"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/network"
)

// Config is what a Client works with. The zero Config is good.
type Config struct {
	// Networks are addresses of issuers that are not public: of this machine, or private.
	Networks network.List
	// Roots sign the issuers' certificates. Default: whom this machine trusts.
	Roots *x509.CertPool
	Now   func() time.Time // default time.Now
}

// Client asks issuers and checks what they say. It is safe for concurrent use.
type Client struct {
	now func() time.Time
	web *web

	mu      sync.Mutex // guards what follows
	issuers map[whose]*issuer
	swept   time.Time                        // when logouts were looked through
	logouts map[signsOut]map[[32]byte]logout // tokens that were used, by the hash of their id, until they expire
}

// New returns a Client.
func New(c Config) *Client {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Client{now: c.Now, web: newWeb(c.Networks, c.Roots), issuers: map[whose]*issuer{}, logouts: map[signsOut]map[[32]byte]logout{}}
}

// skew is how far the clock of an issuer may be off.
const skew = time.Minute

// refused is the fault of what an issuer said, or was to have said.
func refused(format string, args ...any) *fault.Error {
	return fault.New(fault.Denied, format, args...).WithCode("token_refused")
}
