package main

import (
	"slices"
	"testing"
)

// On loopback a server has the names of loopback and those that it is given; a page under
// any other name gets nothing from it.
func TestTheNamesOfAServer(t *testing.T) {
	loopback := []string{"localhost", "127.0.0.1", "::1"}
	for _, c := range []struct {
		listen, hosts string
		proxied       bool
		want          []string // nil: any
	}{
		{"127.0.0.1:8700", "", false, loopback},
		{"localhost:8700", "", false, loopback},
		{"[::1]:8700", "", false, loopback},
		{"127.0.0.2:8700", "", false, append(loopback[:3:3], "127.0.0.2")},
		{"127.0.0.1:8700", "seal.example.org, 10.0.0.7", false, append([]string{"seal.example.org", "10.0.0.7"}, loopback...)},
		{"127.0.0.1:8700", "", true, nil},
		{"127.0.0.1:8700", "seal.example.org", true, append([]string{"seal.example.org"}, loopback...)},
		{"0.0.0.0:443", "", false, nil},
		{":443", "", false, nil},
		{"0.0.0.0:443", "seal.example.org", false, []string{"seal.example.org"}},
		{"192.0.2.7:443", "seal.example.org", false, []string{"seal.example.org", "192.0.2.7"}},
	} {
		s := settings{config: config{Listen: c.listen, Hosts: c.hosts, BehindProxy: c.proxied}}
		got := s.apiHosts()
		slices.Sort(got)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) {
			t.Errorf("listening on %s, hosts %q, behind a proxy %v: %q, want %q", c.listen, c.hosts, c.proxied, got, c.want)
		}
	}
	for listen, want := range map[string]bool{"127.0.0.1:8701": true, "0.0.0.0:8701": false} {
		s := settings{config: config{MetricsListen: listen}}
		if got := s.metricsHosts(); (got != nil) != want {
			t.Errorf("metrics at %s: %q", listen, got)
		}
	}
}
