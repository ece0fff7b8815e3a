package network_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/network"
)

func parse(t interface{ Fatal(...any) }, texts ...string) network.List {
	l, err := network.Parse(texts)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAllows(t *testing.T) {
	office := []string{"192.0.2.0/24", "2001:db8:1::/48", "198.51.100.7"}
	for _, c := range []struct {
		list    []string
		address string
		ok      bool
	}{
		{office, "192.0.2.0", true},
		{office, "192.0.2.255", true},
		{office, "192.0.3.0", false},
		{office, "2001:db8:1:2::3", true},
		{office, "2001:db8:2::", false},
		{office, "198.51.100.7", true},
		{office, "198.51.100.8", false},
		{office, "::ffff:192.0.2.9", true},
		{office, "2001:db8:1::1%eth0", true},
		{office, "", false},
		{[]string{"0.0.0.0/0"}, "203.0.113.1", true},
		{[]string{"0.0.0.0/0"}, "2001:db8::1", false},
		{[]string{"::/0"}, "203.0.113.1", false},
		{[]string{"::ffff:192.0.2.0/120"}, "192.0.2.9", true},
		{nil, "203.0.113.1", true},
		{nil, "", true},
	} {
		address, _ := netip.ParseAddr(c.address) // empty: not known
		if got := parse(t, c.list...).Allows(address); got != c.ok {
			t.Errorf("%q allows %q: %v", c.list, c.address, got)
		}
	}
}

func TestMatchNamesTheEntry(t *testing.T) {
	l := parse(t, "10.0.0.0/8", "10.1.0.0/16", "::1")
	if entry, ok := l.Match(netip.MustParseAddr("10.1.2.3")); !ok || entry.String() != "10.0.0.0/8" {
		t.Errorf("Match = %v, %v", entry, ok)
	}
	if entry, ok := l.Match(netip.MustParseAddr("11.0.0.1")); ok {
		t.Errorf("Match = %v", entry)
	}
}

func TestParseRefusesWhatCanBeReadInTwoWays(t *testing.T) {
	for _, text := range []string{
		"", " ", "*", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/08", "010.0.0.0/8", "10.0.0/8", "10/8", "10.0.0.0/", "10.0.0.0/8 ", "10.0.0.0/255.0.0.0",
		"10.0.0.0-10.0.0.9", "2001:db8::1/32", "fe80::1%eth0", "fe80::%eth0/64", "::ffff:0.0.0.0/90", "example.org", "[::1]", "127.0.0.1:80",
	} {
		l, err := network.Parse([]string{"192.0.2.0/24", text})
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "/1: ") || len(l.Strings()) > 0 {
			t.Errorf("Parse(%q) = %q, %v", text, l.Strings(), err)
		}
	}
	if _, err := network.Parse(slices.Repeat([]string{"::1"}, network.MaxEntries+1)); !fault.Is(err, fault.Invalid) {
		t.Errorf("a long list: %v", err)
	}
}

func TestAPortIsNamed(t *testing.T) {
	for _, text := range []string{"10.0.0.7:443", "[2001:db8::7]:443"} {
		if _, err := network.Parse([]string{text}); err == nil || !strings.Contains(err.Error(), "has a port") {
			t.Errorf("Parse(%q): %v, want that it has a port", text, err)
		}
	}
}

// A list allows exactly the addresses between the first and the last of each network,
// which a model finds out by comparing numbers; and it reads what it writes.
func TestListsAgreeWithAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var texts []string
		var all []netip.Prefix
		for range rapid.IntRange(1, 5).Draw(t, "entries") {
			a := drawAddress(t)
			p, _ := a.Prefix(rapid.IntRange(0, a.BitLen()).Draw(t, "bits")) // always in range
			all, texts = append(all, p), append(texts, p.String())
		}
		l := parse(t, texts...)
		if again := parse(t, l.Strings()...); !slices.Equal(again.Strings(), l.Strings()) {
			t.Fatalf("%q reads as %q", l.Strings(), again.Strings())
		}
		address := drawAddress(t)
		want := slices.ContainsFunc(all, func(p netip.Prefix) bool { return between(p, address) })
		if got := l.Allows(address); got != want {
			t.Fatalf("%q allows %s: %v", texts, address, got)
		}
	})
}

func TestWithin(t *testing.T) {
	for _, c := range []struct {
		list, outer []string
		ok          bool
	}{
		{nil, nil, true},
		{[]string{"192.0.2.0/24"}, nil, true},
		{nil, []string{"0.0.0.0/0", "::/0"}, false},
		{[]string{"192.0.2.0/24"}, []string{"192.0.2.0/24"}, true},
		{[]string{"192.0.2.128/25", "2001:db8::1"}, []string{"2001:db8::/32", "192.0.2.0/24"}, true},
		{[]string{"192.0.2.0/23"}, []string{"192.0.2.0/24"}, false},
		{[]string{"192.0.2.7", "198.51.100.7"}, []string{"192.0.2.0/24"}, false},
		{[]string{"192.0.2.7"}, []string{"::/0"}, false},
	} {
		if got := parse(t, c.list...).Within(parse(t, c.outer...)); got != c.ok {
			t.Errorf("%q within %q: %v", c.list, c.outer, got)
		}
	}
}

// What a list that is within another one allows, that one allows.
func TestWithinAllowsNoMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) network.List {
			var texts []string
			for range rapid.IntRange(1, 3).Draw(t, name) {
				a := drawAddress(t)
				p, _ := a.Prefix(rapid.IntRange(0, a.BitLen()).Draw(t, "bits")) // always in range
				texts = append(texts, p.String())
			}
			return parse(t, texts...)
		}
		inner, outer := draw("inner"), draw("outer")
		if !inner.Within(outer) {
			return
		}
		if a := drawAddress(t); inner.Allows(a) && !outer.Allows(a) {
			t.Fatalf("%q is within %q, which does not allow %s", inner.Strings(), outer.Strings(), a)
		}
	})
}

// drawAddress draws addresses that often share a beginning.
func drawAddress(t *rapid.T) netip.Addr {
	if rapid.Bool().Draw(t, "four") {
		return netip.AddrFrom4([4]byte{10, byte(rapid.IntRange(0, 1).Draw(t, "b")), 0, byte(rapid.IntRange(0, 255).Draw(t, "d"))})
	}
	bytes := [16]byte{0x20, 1, 0x0d, 0xb8, 4: byte(rapid.IntRange(0, 1).Draw(t, "5th")), 15: byte(rapid.IntRange(0, 255).Draw(t, "16th"))}
	return netip.AddrFrom16(bytes)
}

func between(p netip.Prefix, a netip.Addr) bool {
	if p.Addr().Is4() != a.Is4() {
		return false
	}
	last := p.Addr().AsSlice()
	for bit := p.Bits(); bit < p.Addr().BitLen(); bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	end, _ := netip.AddrFromSlice(last)
	return p.Masked().Addr().Compare(a) <= 0 && a.Compare(end) <= 0
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"10.0.0.0/8", "::1", "::ffff:192.0.2.0/120", "fe80::1%eth0", "10.0.0.1/8", "x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := network.Parse([]string{text})
		if err != nil {
			return
		}
		if again, err := network.Parse(l.Strings()); err != nil || again.Strings()[0] != l.Strings()[0] {
			t.Errorf("%q is %q, which is %q: %v", text, l.Strings(), again.Strings(), err)
		}
	})
}
