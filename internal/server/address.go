package server

import (
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
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	address := peer.Addr().Unmap().WithZone("")
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
