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
func (s *Server) address(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	address := peer.Addr().Unmap()
	if !s.trusts(address) {
		return address.String()
	}
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for _, hop := range slices.Backward(hops) {
		next, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		address = next.Unmap()
		if !s.trusts(address) {
			break
		}
	}
	return address.String()
}

func (s *Server) trusts(address netip.Addr) bool {
	return slices.ContainsFunc(s.config.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(address) })
}
