// Package client talks to an Underseal server: typed calls for every route of
// its API, and a worker that carries out jobs.
//
//	c, err := client.New(client.Config{URL: "http://127.0.0.1:8700", Key: key})
//	receipt, err := c.Start(ctx, api.StartRequest{Process: "loan", Variables: client.Variables(application)})
//
// Every change carries an idempotency key, by default a new random one, so a
// call whose answer was lost on the way is repeated without being done twice:
// the client does that by itself, a few times, with growing pauses. Idempotent
// takes a key of the caller's, for repeats that outlive the program.
//
// What the server refuses comes back as *Error, which has a stable Code and a
// Kind to decide on (IsNotFound, IsConflict, ..).
package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/underseal/underseal/ledger"
)

// Config says which server to call, and as whom.
type Config struct {
	// URL of the server, for instance "https://underseal.example.com". In clear
	// (http) it must be on this machine, for the key travels with every call.
	URL string
	// Key is the API key, "usk_...". Read it from a file or a secret store, not
	// from a flag.
	Key string
	// Tenant is named by a service without an API key, whom an issuer of the tenant
	// vouches for: by Token, or by the client certificate of HTTPClient.
	Tenant string
	// Token returns the issuer's access token, for each try of a call; it keeps it as
	// long as it is good (as golang.org/x/oauth2 does). nil: there is a certificate.
	Token func(context.Context) (string, error)
	// InsecureHTTP allows http to other machines, for networks that encrypt by
	// other means.
	InsecureHTTP bool
	// HTTPClient makes the requests. Default: one with a connection pool fit
	// for workers. Its redirects are not followed.
	HTTPClient *http.Client
	// Timeout bounds each try of a call; a call that waits for jobs has its
	// wait in addition. Default 30 s.
	Timeout time.Duration
	// Tries is how often a call is made at most while the server cannot be
	// reached or is not available. Default 5, which takes some 4 s; 1 never
	// repeats.
	Tries int
	// Policy says which keys sign for the server. With one, Receipt gives out only what
	// holds by it. Get it from elsewhere than the server; ledger.ParsePolicy reads it.
	Policy *ledger.Policy
}

// String names the server and hides the key.
func (c Config) String() string { return "client of " + c.URL }

// GoString hides the key from %#v.
func (c Config) GoString() string { return c.String() }

func (c *Config) validate() (*url.URL, error) {
	base, err := url.Parse(c.URL)
	switch {
	case err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https":
		return nil, fmt.Errorf("client config: URL %q is not of the form https://host", c.URL)
	case base.User != nil || base.RawQuery != "" || base.Fragment != "":
		return nil, errors.New("client config: URL must have no user, query or fragment")
	case c.Tenant == "" && c.Key == "":
		return nil, errors.New("client config: Key is missing")
	case c.Tenant != "" && c.Key != "" || c.Tenant == "" && c.Token != nil:
		return nil, errors.New("client config: Tenant goes with a Token or a client certificate, and not with a Key")
	case base.Scheme == "http" && !isLocal(base.Hostname()) && !c.InsecureHTTP:
		return nil, fmt.Errorf("client config: URL %q would send the key in clear; use https, or set InsecureHTTP", c.URL)
	case c.Timeout < 0 || c.Tries < 0:
		return nil, errors.New("client config: Timeout and Tries must not be negative")
	}
	return base, nil
}

func isLocal(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// Client calls one server as one principal. It is safe for concurrent use.
type Client struct {
	base    *url.URL
	key     string
	tenant  string
	token   func(context.Context) (string, error) // nil: none
	http    *http.Client
	timeout time.Duration
	tries   int
	policy  *ledger.Policy // nil: receipts are not checked
	purpose string         // that values are needed for, may be empty
	idem    string         // fixed idempotency key; "": a new one for each change
}

// New returns a client. It connects when it is used.
func New(config Config) (*Client, error) {
	base, err := config.validate()
	if err != nil {
		return nil, err
	}
	c := &Client{base: base, key: config.Key, tenant: config.Tenant, token: config.Token, timeout: config.Timeout, tries: config.Tries, policy: config.Policy, http: &http.Client{}}
	if config.HTTPClient != nil {
		*c.http = *config.HTTPClient
	}
	if c.http.Transport == nil {
		c.http.Transport = newTransport()
	}
	// A redirect would send the key to who knows whom.
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if c.timeout == 0 {
		c.timeout = 30 * time.Second
	}
	if c.tries == 0 {
		c.tries = 5
	}
	return c, nil
}

// newTransport keeps as many connections as busy workers use; net/http's own
// two per host would open and close the rest all the time. They rest shorter
// here than at the server, so that it is rarely the one to close.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   256,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		DisableCompression:    true, // compressing secrets next to chosen text tells of them
	}
}

// Idempotent returns a client whose changes carry this key (1 to 255 visible
// ASCII characters). Use it for one change, with a key that stands for it, such
// as an order's number: whoever repeats it, even after a crash, gets the answer
// of the first time.
func (c *Client) Idempotent(key string) *Client {
	other := *c
	other.idem = key
	return &other
}

// For returns a client whose calls say what sensitive values are needed for, in one line
// of at most 255 bytes: a grant to reveal them may ask for that. The server writes it into
// its log.
func (c *Client) For(purpose string) *Client {
	other := *c
	other.purpose = purpose
	return &other
}

// Close closes the connections that are not in use.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// String names the server and hides the key.
func (c *Client) String() string { return "client of " + c.base.String() }

// GoString hides the key from %#v.
func (c *Client) GoString() string { return c.String() }
