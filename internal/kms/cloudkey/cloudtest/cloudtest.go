// Package cloudtest runs fakes of the clouds' key services in the process of a
// test. A fake answers at the cloud's own host names with the cloud's own
// protocol; every other host is out of reach, so that a provider that asks
// somebody else, such as a machine's metadata service, is found out.
package cloudtest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/underseal/underseal/internal/kms/kmstest"
)

// A Cloud serves a fake over TLS and fails on command.
type Cloud struct {
	server    *httptest.Server
	transport *http.Transport
	hosts     []string
	handler   http.Handler

	mu       sync.Mutex // guards what follows
	fail     http.HandlerFunc
	cut      bool
	strays   []string // other hosts that were asked for
	requests int
}

// New serves handler at the given hosts until the test ends, and then makes sure
// that no other host was asked for.
func New(t testing.TB, handler http.Handler, hosts ...string) *Cloud {
	c := &Cloud{hosts: hosts, handler: handler}
	c.server = httptest.NewUnstartedServer(http.HandlerFunc(c.serve))
	c.server.Config.ErrorLog = log.New(io.Discard, "", 0) // of connections that are cut
	c.server.StartTLS()
	roots := x509.NewCertPool()
	roots.AddCert(c.server.Certificate())
	c.transport = &http.Transport{
		DialContext: c.dial,
		// The server's certificate is for this name, whatever host it plays.
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "example.com"},
	}
	t.Cleanup(func() {
		c.transport.CloseIdleConnections()
		c.server.Close()
		if len(c.strays) > 0 {
			t.Errorf("hosts that were asked for besides %v: %v", hosts, c.strays)
		}
	})
	return c
}

// Transport reaches the fake and nothing else.
func (c *Cloud) Transport() http.RoundTripper { return c.transport }

// Requests returns how many requests came in.
func (c *Cloud) Requests() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requests
}

// Fail has f answer every request; nil is a working service again.
func (c *Cloud) Fail(f http.HandlerFunc) {
	c.mu.Lock()
	c.fail, c.cut = f, false
	c.mu.Unlock()
}

// Cut makes the service unreachable.
func (c *Cloud) Cut() {
	c.mu.Lock()
	c.cut = true
	c.mu.Unlock()
	c.transport.CloseIdleConnections()
}

// Faults makes the service fail in the ways of kmstest.TestFaults; deny and
// throttle answer as this cloud does.
func (c *Cloud) Faults(deny, throttle http.HandlerFunc) kmstest.Faults {
	return kmstest.Faults{
		Deny:     func() { c.Fail(deny) },
		Throttle: func() { c.Fail(throttle) },
		Hang: func() {
			c.Fail(func(_ http.ResponseWriter, r *http.Request) {
				<-r.Context().Done()
				panic(http.ErrAbortHandler) // returning would answer 200, if anybody still listens
			})
		},
		Cut: c.Cut,
		Slow: func(arrived func(), release <-chan struct{}) {
			c.Fail(func(w http.ResponseWriter, r *http.Request) {
				arrived()
				<-release
				c.handler.ServeHTTP(w, r)
			})
		},
		Restore: func() { c.Fail(nil) },
	}
}

func (c *Cloud) serve(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.requests++
	fail := c.fail
	c.mu.Unlock()
	// The server notices that a client is gone only once it has read the body.
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, "body", http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if fail != nil {
		fail(w, r)
		return
	}
	c.handler.ServeHTTP(w, r)
}

func (c *Cloud) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	known, cut := slices.Contains(c.hosts, host), c.cut
	if !known {
		c.strays = append(c.strays, host)
	}
	c.mu.Unlock()
	if cut || !known {
		return nil, errors.New("no route to host " + host)
	}
	var dialer net.Dialer
	return dialer.DialContext(ctx, network, c.server.Listener.Addr().String())
}
