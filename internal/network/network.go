// Package network says whether an address is in a list of networks, and because of which
// entry: allow-lists of tenants, roles and API keys are such lists.
//
// It is pure. A list is written as CIDR networks or single addresses, in the one spelling
// that means nothing else: what different programs read differently (zeros before a
// number, bits behind the mask, zones) is refused when the list is made, not ignored when
// it is used.
package network

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/underseal/underseal/internal/fault"
)

// MaxEntries bounds a list: it is looked through at every request.
const MaxEntries = 100

// List is a list of networks. The zero List is no restriction. It is immutable.
type List struct{ networks []netip.Prefix }

// Parse makes a list, or says of all entries that are none what is wrong with them. An
// IPv4 network in the form of IPv6 (::ffff:192.0.2.0/120) is the IPv4 network.
func Parse(texts []string) (List, error) {
	if len(texts) > MaxEntries {
		return List{}, fault.New(fault.Invalid, "a list of networks has at most %d entries, not %d", MaxEntries, len(texts)).WithCode("networks_invalid")
	}
	var l List
	var wrong []fault.Detail
	for i, text := range texts {
		p, err := parse(text)
		if err != nil {
			wrong = append(wrong, fault.Detail{Place: fmt.Sprintf("/%d", i), Message: err.Error()})
			continue
		}
		l.networks = append(l.networks, p)
	}
	if wrong != nil {
		return List{}, fault.New(fault.Invalid, "the list of networks cannot be read").WithCode("networks_invalid").WithDetails(wrong...).
			WithHint("write networks such as 10.0.0.0/8 or 2001:db8::/32, or single addresses")
	}
	return l, nil
}

func parse(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		if a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q has a zone, which means something on one machine only", text)
		}
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	if a, err := netip.ParseAddrPort(text); err == nil {
		return netip.Prefix{}, fmt.Errorf("%q has a port: write %s, for whatever port is used", text, a.Addr())
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is no network and no address", text)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%q has bits behind the mask: is it %s or %s/%d?", text, p.Masked(), p.Addr(), p.Addr().BitLen())
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, fmt.Errorf("%q holds all of IPv4 and more", text)
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p, nil
}

// Match returns the first entry that has the address. An address that is not known is in
// no network.
func (l List) Match(a netip.Addr) (entry netip.Prefix, ok bool) {
	a = a.Unmap().WithZone("")
	i := slices.IndexFunc(l.networks, func(p netip.Prefix) bool { return p.Contains(a) })
	if i < 0 {
		return netip.Prefix{}, false
	}
	return l.networks[i], true
}

// Allows reports whether the address is in the list, or the list is no restriction.
func (l List) Allows(a netip.Addr) bool {
	_, ok := l.Match(a)
	return ok || len(l.networks) == 0
}

// Within reports whether each network of the list is in one of another: from wherever the
// list allows something, that one does. No restriction is within no restriction alone.
func (l List) Within(outer List) bool {
	if len(outer.networks) == 0 {
		return true
	}
	beyond := func(p netip.Prefix) bool {
		return !slices.ContainsFunc(outer.networks, func(o netip.Prefix) bool { return o.Bits() <= p.Bits() && o.Contains(p.Addr()) })
	}
	return len(l.networks) > 0 && !slices.ContainsFunc(l.networks, beyond)
}

// Strings returns the list as Parse reads it, in its one spelling.
func (l List) Strings() []string {
	texts := make([]string, len(l.networks))
	for i, p := range l.networks {
		texts[i] = p.String()
	}
	return texts
}
