// Package passkey is the server's side of the ceremonies of WebAuthn: for which address
// passkeys are, which challenges count, and what a browser is asked.
//
// The formats, and the checks of what comes back, are package ledger's, so that a passkey
// signs somebody in by the same rules by which a stranger verifies a signed statement.
package passkey

import (
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

// RelyingParty is what passkeys are for.
type RelyingParty struct {
	ID      string   // the host, to which browsers bind a passkey
	Origins []string // where a ceremony may take place: "https://seal.example.org"
}

// ParseAddress returns the relying party of the address under which browsers reach the
// server: https, or http on localhost, with no path. Anything else is Invalid, as is an
// IP address, for which browsers make no passkeys.
func ParseAddress(text string) (RelyingParty, error) {
	u, err := url.Parse(text)
	bad := fault.New(fault.Invalid, "%q is no address for which there can be passkeys", text).WithCode("config_invalid").
		WithHint("write the server's address as browsers show it: https://seal.example.org, or http://localhost:8700 for development")
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return RelyingParty{}, bad
	}
	host := strings.ToLower(u.Hostname())
	if u.Scheme != "https" && (u.Scheme != "http" || host != "localhost") || net.ParseIP(host) != nil {
		return RelyingParty{}, bad
	}
	origin := u.Scheme + "://" + host
	if port := u.Port(); port != "" && port != map[string]string{"https": "443", "http": "80"}[u.Scheme] {
		origin += ":" + port
	}
	return RelyingParty{ID: host, Origins: []string{origin}}, nil
}

// Configured reports whether there is an address for which there can be passkeys.
func (rp RelyingParty) Configured() bool { return rp.ID != "" }

// Owns reports whether a passkey that was registered for a credential's relying party can
// be asked for by this one.
func (rp RelyingParty) Owns(c ledger.Credential) bool {
	return rp.Configured() && c.RP == rp.ID && slices.Equal(c.Origins, rp.Origins)
}
