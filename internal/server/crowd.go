package server

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// crowd closes connections of addresses that have too many open.
type crowd struct {
	most int // 0: no bound

	mu   sync.Mutex // guards open
	open map[netip.Prefix]int
}

// note is told by net/http of a connection before anything is read from it, and when it
// is over, which it is for one that is closed here as well.
func (c *crowd) note(conn net.Conn, state http.ConnState) {
	peer, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if c.most == 0 || err != nil || peer.Addr().Unmap().IsLoopback() {
		return
	}
	by := holder(peer.Addr())
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		if c.open[by]++; c.open[by] > c.most {
			conn.Close()
		}
	case http.StateClosed, http.StateHijacked:
		if c.open[by]--; c.open[by] <= 0 {
			delete(c.open, by)
		}
	}
}

// holder is what of an address its holder cannot change at will.
func holder(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	return netip.PrefixFrom(a, bits).Masked()
}
