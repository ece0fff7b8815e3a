package stream

import (
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/underseal/underseal/internal/fault"
)

// special are the networks that are not the internet's although netip does not say so
// (RFC 6890): carriers, protocol assignments, documentation, benchmarks, reserved ones,
// and those whose addresses hold others of IPv4.
var special = prefixes("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16")

func prefixes(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		all[i] = netip.MustParsePrefix(text)
	}
	return all
}

// newDialer returns a dialer that reaches public addresses, and others only in the
// given networks. It looks at the address that is dialed, after the name was resolved:
// whoever has a name point to an address inside gets nowhere.
func newDialer(allowed []netip.Prefix) *net.Dialer {
	return &net.Dialer{Timeout: 10 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fault.New(fault.Invalid, "%q is no address", address)
		}
		return mayDial(at.Addr(), allowed)
	}}
}

func mayDial(ip netip.Addr, allowed []netip.Prefix) error {
	ip = ip.Unmap().WithZone("")
	within := func(p netip.Prefix) bool { return p.Contains(ip) }
	if slices.ContainsFunc(allowed, within) {
		return nil
	}
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || slices.ContainsFunc(special, within) {
		return fault.New(fault.Denied, "the address %s is none of the internet", ip).WithCode("sink_address").
			WithHint("if the receiver is to be there, name its network in the sink's allow_networks")
	}
	return nil
}
