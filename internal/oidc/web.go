package oidc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"github.com/underseal/underseal/internal/network"
)

// Bounds of a request to an issuer.
const (
	callTime  = 10 * time.Second
	maxAnswer = 1 << 20 // bytes
	maxHops   = 3
)

// web is how issuers are reached.
type web struct {
	own    http.Client // at their own addresses
	others http.Client // at addresses of others that they name
}

// newWeb returns a web in which issuers may be in the networks that are allowed. What they
// name at other hosts is on the Internet alone: any tenant could have an issuer of its own
// on the Internet name what lies there.
func newWeb(allowed network.List, roots *x509.CertPool) *web {
	return &web{newClient(allowed, roots), newClient(network.List{}, roots)}
}

func newClient(allowed network.List, roots *x509.CertPool) http.Client {
	dialer := &net.Dialer{Timeout: callTime, Control: reach(allowed).mayDial}
	return http.Client{
		Timeout:       callTime,
		CheckRedirect: sameHost,
		Transport: &bounded{&http.Transport{
			// No proxy: behind one, the address that is reached would not be looked at.
			DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: callTime, ForceAttemptHTTP2: true,
			DisableKeepAlives:      true, // or a connection that is there would say that another tenant has the issuer, too
			MaxResponseHeaderBytes: 64 << 10,
		}},
	}
}

// client returns what an address is reached with that an issuer names.
func (w *web) client(issuer, address string) *http.Client {
	own, err := url.Parse(issuer)
	named, bad := url.Parse(address)
	if err == nil && bad == nil && named.Host == own.Host {
		return &w.own
	}
	return &w.others
}

// reach are the networks, besides the Internet, that may be connected to.
type reach network.List

// mayDial looks at the address that a name resolved to, right before it is connected to.
func (r reach) mayDial(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := at.Addr().Unmap().WithZone("")
	if _, ok := network.List(r).Match(ip); ok || isPublic(ip) {
		return nil
	}
	return fmt.Errorf("%s is no public address: the operator allows it with --issuer-networks", ip)
}

// shared are networks that belong to nobody alone, or lead into IPv4 (RFC 6890).
var shared = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("2001::/32"),
}

// isPublic reports whether an address is on the Internet.
func isPublic(ip netip.Addr) bool {
	for _, n := range shared {
		if n.Contains(ip) {
			return false
		}
	}
	return ip.IsGlobalUnicast() && !ip.IsPrivate()
}

// sameHost follows no redirection to another host: nobody has configured that one.
func sameHost(next *http.Request, before []*http.Request) error {
	first := before[0].URL
	if next.URL.Host != first.Host || next.URL.Scheme != first.Scheme || len(before) >= maxHops {
		return errors.New("it sends elsewhere")
	}
	return nil
}

// bounded ends answers that are too long.
type bounded struct{ http.RoundTripper }

func (b *bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		answer.Body = &boundedBody{answer.Body, maxAnswer}
	}
	return answer, err
}

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	return n, err
}

// get returns the body of a good answer at an address that an issuer names.
func (w *web) get(ctx context.Context, issuer, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	answer, err := w.client(issuer, address).Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers with status %d", answer.StatusCode)
	}
	return io.ReadAll(answer.Body)
}
