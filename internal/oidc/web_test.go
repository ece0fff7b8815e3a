package oidc_test

import (
	"crypto/rsa"
	"crypto/x509"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/network"
	"github.com/underseal/underseal/internal/oidc"
)

// The administrator of a tenant names issuers, and is not to reach with that what only
// the server does.
func TestIssuersOutsideOfTheInternetAreForTheOperatorToAllow(t *testing.T) {
	p := newProvider(t)
	s := newSigner(t, "1", jose.ES256)
	p.keys = []jose.JSONWebKey{s.public()}
	roots := x509.NewCertPool()
	roots.AddCert(p.Certificate())
	elsewhere, err := network.Parse([]string{"10.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	for _, allowed := range []network.List{{}, elsewhere} {
		c := oidc.New(oidc.Config{Networks: allowed, Roots: roots, Now: p.clock})
		if _, err := c.AccessToken(t.Context(), p.services(), s.sign(t, "", p.access())); fault.CodeOf(err) != "issuer_unavailable" {
			t.Errorf("an issuer on this machine: %v", err)
		}
	}
	for _, address := range []string{
		"127.0.0.1", "[::1]", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "[::]", "224.0.0.1", "198.18.0.1",
		"255.255.255.255", "[fe80::1]", "[fd00::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[ff02::1]", "192.0.0.8", "240.0.0.1",
	} {
		dialed, err := oidc.Dials(address)
		if dialed || err == nil || !strings.Contains(err.Error(), "--issuer-networks") {
			t.Errorf("%s: %v, %v", address, dialed, err)
		}
	}
	for _, address := range []string{"8.8.8.8", "[2606:4700::1111]", "[::ffff:8.8.8.8]"} {
		if dialed, err := oidc.Dials(address); !dialed || err != nil {
			t.Errorf("%s: %v, %v", address, dialed, err)
		}
	}
}

func TestWhatIssuersAnswer(t *testing.T) {
	s := newSigner(t, "1", jose.ES256)
	other := newProvider(t) // whose keys would do
	other.keys = []jose.JSONWebKey{s.public()}
	tests := []struct {
		name   string
		change func(p *provider)
		good   bool
	}{
		{"what is right", func(*provider) {}, true},
		{"another issuer", func(p *provider) { p.meta["issuer"] = "https://else.example" }, false},
		{"the issuer with a slash", func(p *provider) { p.meta["issuer"] = p.URL + "/" }, false},
		{"no keys", func(p *provider) { p.meta["jwks_uri"] = "" }, false},
		{"keys in clear", func(p *provider) { p.meta["jwks_uri"] = strings.Replace(p.URL, "https", "http", 1) + "/keys" }, false},
		{"keys in a file", func(p *provider) { p.meta["jwks_uri"] = "file:///etc/passwd" }, false},
		{"codes in clear", func(p *provider) { p.meta["token_endpoint"] = "http://" + p.Listener.Addr().String() }, false},
		{"people in clear", func(p *provider) { p.meta["authorization_endpoint"] = "http://" + p.Listener.Addr().String() }, false},
		{"a name and a password", func(p *provider) { p.meta["token_endpoint"] = "https://a:b@else.example" }, false},
		{"keys elsewhere in a network of the operator's", func(p *provider) { p.meta["jwks_uri"] = other.URL + "/keys" }, false},
		{"no key for signatures", func(p *provider) { p.keys = nil }, false},
		{"a key that takes long", func(p *provider) { p.keys = []jose.JSONWebKey{rsaOf(8193)} }, false},
		{"such a key besides", func(p *provider) { p.keys = append(p.keys, rsaOf(8193)) }, true},
		{"metadata of the wrong type", func(p *provider) { p.meta["jwks_uri"] = 7 }, false},
		{"a redirection on the same host", redirects(func(p *provider) string { return p.URL + "/keys?again" }), true},
		{"a redirection to another host", redirects(func(*provider) string { return other.URL + "/keys" }), false},
		{"a redirection in clear", redirects(func(p *provider) string { return "http://" + p.Listener.Addr().String() + "/keys?again" }), false},
		{"a circle", func(p *provider) {
			p.wrong = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }
		}, false},
		{"an endless answer", func(p *provider) { p.meta["more"] = strings.Repeat("x", 1<<20) }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newProvider(t)
			p.keys = other.keys
			test.change(p)
			_, err := p.client().AccessToken(t.Context(), p.services(), s.sign(t, "", p.access()))
			if (err == nil) != test.good || err != nil && fault.CodeOf(err) != "issuer_unavailable" {
				t.Errorf("error = %v", err)
			}
		})
	}
}

// rsaOf returns a public key of so many bits, by which nobody can sign.
func rsaOf(bits uint) jose.JSONWebKey {
	n := new(big.Int).Lsh(big.NewInt(1), bits-1)
	return jose.JSONWebKey{Key: &rsa.PublicKey{N: n.SetBit(n, 0, 1), E: 65537}, KeyID: "rsa", Use: "sig", Algorithm: string(jose.RS256)}
}

// redirects has the provider send who asks for its keys somewhere else.
func redirects(to func(*provider) string) func(*provider) {
	return func(p *provider) {
		p.wrong = func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/keys" && r.URL.RawQuery == "" {
				http.Redirect(w, r, to(p), http.StatusFound)
				return
			}
			own := p.wrong
			p.wrong = nil
			p.mu.Unlock()
			p.ServeHTTP(w, r)
			p.mu.Lock()
			p.wrong = own
		}
	}
}

func TestAnIssuerThatWasNeverReached(t *testing.T) {
	c := oidc.New(oidc.Config{})
	gone := identity.Issuer{ID: "corp", Kind: identity.People, URL: "https://127.0.0.1:1", Client: client}
	for range 2 {
		if _, _, err := c.Begin(t.Context(), gone, redirect, false); fault.CodeOf(err) != "issuer_unavailable" {
			t.Errorf("Begin: %v", err)
		}
	}
}

// Whether a company's issuer was asked lately shows in how long the next one waits who asks:
// nobody of another company is that.
func TestNoCompanyWaitsLessForAnothersIssuer(t *testing.T) {
	p := newProvider(t)
	c := p.client()
	p.keys = []jose.JSONWebKey{newSigner(t, "one", jose.ES256).public()}
	for looks, tenant := range []string{"acme", "other"} {
		i := p.people()
		i.Tenant = tenant
		for range 2 {
			if _, _, err := c.Begin(t.Context(), i, "https://seal.example.org/done", false); err != nil {
				t.Fatal(err)
			}
		}
		if p.looks != looks+1 {
			t.Errorf("for %s it was looked %d times, want %d", tenant, p.looks, looks+1)
		}
	}
}
