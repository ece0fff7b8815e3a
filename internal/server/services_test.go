package server_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/limit"
	"github.com/underseal/underseal/internal/server"
)

// service is a request of a service of a tenant; an empty token: it sends none.
func service(tenant, token string, chain ...*x509.Certificate) *http.Request {
	r := httptest.NewRequest("GET", "/v1/tasks", nil)
	r.RemoteAddr = "192.0.2.1:1"
	r.Header.Set("Underseal-Tenant", tenant)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if chain != nil {
		r.TLS = &tls.ConnectionState{PeerCertificates: chain}
	}
	return r
}

func TestServicesCallWithTokensAndCertificates(t *testing.T) {
	long, leaf := strings.Repeat("x", 16<<10), &x509.Certificate{Raw: []byte("leaf")}
	with := func(r *http.Request, name string, values ...string) *http.Request { r.Header[name] = values; return r }
	for _, test := range []struct {
		name    string
		request *http.Request
		status  int
		asked   bool // the engine
		token   string
		chain   int
	}{
		{"a token", service("acme", goodToken), 200, true, goodToken, 0},
		{"a token and a certificate", service("acme", goodToken, leaf), 200, true, goodToken, 1},
		{"a certificate", service("acme", "", leaf, leaf), 200, true, "", 2},
		{"another token", service("acme", "x"), 401, true, "x", 0},
		{"another tenant", service("other", goodToken), 401, true, goodToken, 0},
		{"a long token", service("acme", long), 401, true, long, 0},
		{"too long a token", service("acme", long+"x"), 401, false, "", 0},
		{"nothing", service("acme", ""), 401, false, "", 0},
		{"two tenants", with(service("acme", goodToken), "Underseal-Tenant", "acme", "acme"), 401, false, "", 0},
		{"a tenant that is no text", service("a b", goodToken), 401, false, "", 0},
		{"no tenant", with(service("", "", leaf), "Underseal-Tenant"), 401, false, "", 0},
		{"an API key and a certificate, without a tenant", with(with(service("", "", leaf), "Underseal-Tenant"), "Authorization", "Bearer "+goodKey), 200, false, "", 0},
		{"another way to authenticate", with(service("acme", "", leaf), "Authorization", "Basic YTpi"), 401, false, "", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := &fakeEngine{}
			if w := serve(newServer(t, e), test.request); w.Code != test.status {
				t.Errorf("status %d, want %d: %s", w.Code, test.status, w.Body)
			}
			if got := e.presented; (got.Tenant != "") != test.asked || got.Token != test.token || len(got.Chain) != test.chain || test.asked && got.Address != "192.0.2.1" {
				t.Errorf("presented: tenant %q, token %.20q, %d certificates from %q", got.Tenant, got.Token, len(got.Chain), got.Address)
			}
		})
	}
}

// Why a service is not admitted is for who runs the server: its operator, and nobody else.
func TestTheLogSaysWhyAServiceIsNotAdmitted(t *testing.T) {
	var log bytes.Buffer
	s := newServer(t, &fakeEngine{}, func(c *server.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	w := serve(s, service("acme", "eyJ.bad.token"))
	if w.Code != 401 || strings.Contains(w.Body.String(), "clock") {
		t.Errorf("answer %d: %s", w.Code, w.Body)
	}
	if text := log.String(); !strings.Contains(text, "the clock is wrong") || strings.Contains(text, "eyJ") {
		t.Errorf("log: %s", text)
	}
}

func TestWhoGuessesTokensIsHeldUp(t *testing.T) {
	e := &fakeEngine{}
	s := newServer(t, e, limits(t, limit.Rates{Address: hour(10)}))
	for range 3 {
		if w := serve(s, service("acme", goodToken)); w.Code != 200 {
			t.Fatalf("a good token: %d", w.Code)
		}
	}
	codes := map[int]int{}
	for i := range 10 {
		codes[serve(s, service("acme", strings.Repeat("y", i+1))).Code]++
	}
	if codes[401] != 2 || codes[429] != 8 {
		t.Errorf("answers: %v, want 2 of 401 and 8 of 429", codes)
	}
	if w := serve(s, service("acme", goodToken)); w.Code != 200 {
		t.Errorf("a good token afterwards: %d", w.Code)
	}
}

// The certificate of a connection through a trusted proxy is the proxy's.
func TestTheCertificateOfAProxyIsNobodys(t *testing.T) {
	leaf := &x509.Certificate{Raw: []byte("leaf")}
	for _, test := range []struct {
		name, peer, token string
		status, chain     int
	}{
		{"a proxy, for whoever calls", "10.1.1.1:1", "", 401, 0},
		{"a proxy, with a token", "10.1.1.1:1", goodToken, 200, 0},
		{"somebody else", "192.0.2.1:1", "", 200, 1},
	} {
		e := &fakeEngine{}
		r := from(service("acme", test.token, leaf), test.peer)
		r.Header.Set("X-Forwarded-For", "192.0.2.7")
		if w := serve(newServer(t, e, trusting("10.0.0.0/8")), r); w.Code != test.status || len(e.presented.Chain) != test.chain {
			t.Errorf("%s: %d with %d certificates, want %d with %d", test.name, w.Code, len(e.presented.Chain), test.status, test.chain)
		}
	}
}

// A certificate is no secret: who writes down what one is known by is a stranger still.
func TestWhoNamesACertificateIsAStranger(t *testing.T) {
	leaf := &x509.Certificate{Raw: []byte("leaf")}
	s := newServer(t, &fakeEngine{}, limits(t, limit.Rates{Address: hour(5)}))
	named := identity.Fingerprint(leaf)
	for i, call := range []struct {
		request *http.Request
		want    int
	}{
		{service("acme", "", leaf), 200}, {service("acme", "guess"), 401}, {service("acme", named), 429},
		{from(withKey(request("GET", "/v1/tasks", ""), named), "192.0.2.1:1"), 429}, {service("acme", "", leaf), 200},
	} {
		if w := serve(s, call.request); w.Code != call.want {
			t.Errorf("call %d: %d, want %d", i, w.Code, call.want)
		}
	}
}
