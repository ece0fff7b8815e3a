package server

import (
	"crypto/x509"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// address returns where a request came from: the peer of the connection or, if
// that is a trusted proxy, the last address in X-Forwarded-For that is not one.
// What stands further left was written by the caller and proves nothing.
// An address that cannot be read is the zero one.
func (s *Server) address(r *http.Request) netip.Addr {
	address := peer(r)
	if !s.trusts(address) {
		return address
	}
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for _, hop := range slices.Backward(hops) {
		next, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		address = next.Unmap().WithZone("")
		if !s.trusts(address) {
			break
		}
	}
	return address
}

// peer is the other end of the connection; the zero address: it cannot be read.
func peer(r *http.Request) netip.Addr {
	peer, _ := netip.ParseAddrPort(r.RemoteAddr)
	return peer.Addr().Unmap().WithZone("")
}

// chain returns the client certificate of the connection, with those behind it. That of a
// trusted proxy is the proxy's, and proves nothing of who sent it the request.
func (s *Server) chain(r *http.Request) []*x509.Certificate {
	if r.TLS == nil || s.trusts(peer(r)) {
		return nil
	}
	return r.TLS.PeerCertificates
}

func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func (s *Server) trusts(address netip.Addr) bool {
	_, ok := s.config.TrustedProxies.Match(address)
	return ok
}
