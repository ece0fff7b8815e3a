// Package plugin reaches a key service through a program beside ours, over a
// Unix socket. docs/design/kms-plugin.md is the protocol.
//
// Open returns the client, a kms.Service. Handler and Serve are the other side:
// they make a plugin of any kms.Service.
package plugin

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
)

// Config says where the plugin listens.
type Config struct {
	Socket  string        `koanf:"socket"`  // absolute path of its Unix socket
	UIDs    []int         `koanf:"uids"`    // users whose process may be the plugin, besides root and our own
	Timeout time.Duration `koanf:"timeout"` // for one call at most; 0: 30 s
}

const (
	defaultTimeout = 30 * time.Second
	maxTimeout     = time.Minute
	maxConns       = 16
	// maxSocket is what fits the address of a Unix socket on every system.
	maxSocket = 103
)

func (c *Config) validate() error {
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	switch {
	case !supported:
		return fault.New(fault.Invalid, "key service plugin: this system does not tell whose process listens on a socket")
	case !filepath.IsAbs(c.Socket) || len(c.Socket) > maxSocket:
		return fault.New(fault.Invalid, "key service plugin: socket %q must be an absolute path of at most %d bytes", c.Socket, maxSocket)
	case c.Timeout < 0 || c.Timeout > maxTimeout:
		return fault.New(fault.Invalid, "key service plugin: timeout %s must be above 0 and at most %s", c.Timeout, maxTimeout)
	case slices.ContainsFunc(c.UIDs, func(uid int) bool { return uid < 0 }):
		return fault.New(fault.Invalid, "key service plugin: uids must be user ids")
	}
	return nil
}

// A client calls a plugin, one connection for each call: an answer that came late
// or was too long cannot be taken for that of the next call.
type client struct {
	socket  string
	allowed users
	timeout time.Duration
	http    *http.Client
}

var (
	_ kms.Service = (*client)(nil)
	_ kms.Rotator = (*client)(nil)
)

// Open returns the plugin at a socket as a key service. The plugin need not run
// yet. Invalid for a configuration that cannot work.
func Open(_ context.Context, c Config) (kms.Service, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	p := &client{socket: c.Socket, allowed: c.UIDs, timeout: c.Timeout}
	p.http = &http.Client{
		// A redirect is an answer like any other that the protocol does not have.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:            p.dial,
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxConnsPerHost:        maxConns,
			MaxResponseHeaderBytes: maxHead,
		},
	}
	return p, nil
}

// String names the socket.
func (p *client) String() string { return "key service plugin " + p.socket }

// Wrap implements kms.Service.
func (p *client) Wrap(ctx context.Context, c kms.Context, key []byte) ([]byte, error) {
	if err := checkContext(c); err != nil {
		return nil, err
	}
	if len(key) < minKey || len(key) > maxKey {
		return nil, fault.New(fault.Invalid, "wrap key: key has %d bytes, must have %d to %d", len(key), minKey, maxKey)
	}
	var answer wrapped
	if err := p.call(ctx, "wrap", wrapRequest{wireContext(c), key}, &answer); err != nil {
		return nil, err
	}
	return answer.encode(), nil
}

// Unwrap implements kms.Service.
func (p *client) Unwrap(ctx context.Context, c kms.Context, stored []byte) ([]byte, error) {
	if err := checkContext(c); err != nil {
		return nil, err
	}
	w, err := decodeWrapped(stored)
	if err != nil {
		return nil, err
	}
	var answer unwrapAnswer
	if err := p.call(ctx, "unwrap", unwrapRequest{wireContext(c), w}, &answer); err != nil {
		return nil, err
	}
	return answer.Key, nil
}

// Version implements kms.Service.
func (p *client) Version(stored []byte) (string, error) {
	w, err := decodeWrapped(stored)
	return w.Version, err
}

// Describe implements kms.Service.
func (p *client) Describe(ctx context.Context) (kms.Description, error) {
	var answer describeAnswer
	if err := p.call(ctx, "describe", nothing{}, &answer); err != nil {
		return kms.Description{}, err
	}
	return kms.Description(answer), nil
}

// Rotate implements kms.Rotator.
func (p *client) Rotate(ctx context.Context) (version string, err error) {
	var answer versionMessage
	if err := p.call(ctx, "rotate", nothing{}, &answer); err != nil {
		return "", err
	}
	return answer.Version, nil
}

// Destroy implements kms.Service.
func (p *client) Destroy(ctx context.Context, version string) error {
	if !isName(version) {
		return fault.New(fault.NotFound, "destroy root key: %s has no version %q", p, version)
	}
	return p.call(ctx, "destroy", versionMessage{version}, &nothing{})
}

// checkContext refuses what would not reach the plugin as it is: JSON has no
// text but Unicode.
func checkContext(c kms.Context) error {
	for _, text := range []string{c.App, c.Deployment, c.Tenant, c.Purpose} {
		if !utf8.ValidString(text) {
			return fault.New(fault.Invalid, "key context: an item is not UTF-8")
		}
	}
	return c.Validate()
}

// dial connects and sees to it that the other side is who it should be, before a
// byte is sent. Somebody else there is an outage and no refusal: the key service
// did not answer.
func (p *client) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if err := checkDirectory(p.socket, p.allowed); err != nil {
		return nil, err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", p.socket)
	if err != nil {
		return nil, err
	}
	if err := p.checkPeer(conn.(*net.UnixConn)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func (p *client) checkPeer(conn *net.UnixConn) error {
	uid, err := peerUID(conn)
	if err != nil {
		return fault.New(fault.Unavailable, "%s: ask whose process listens: %w", p, err)
	}
	if p.allowed.allow(uid) {
		return nil
	}
	return fault.New(fault.Unavailable, "%s: a process of user %d listens there, who is not trusted with keys", p, uid).
		WithCode("plugin_peer").WithHint("run the plugin as user %d or root, or name its user in the setting uids", os.Geteuid())
}

// users are user ids.
type users []int

// allow reports whether a process of that user may be on the other side.
func (u users) allow(uid int) bool {
	return uid == 0 || uid == os.Geteuid() || slices.Contains(u, uid)
}

// checkDirectory refuses a socket in a directory where others could put another
// one in its place.
func checkDirectory(socket string, allowed users) error {
	dir := filepath.Dir(socket)
	info, err := os.Stat(dir)
	if err != nil {
		return fault.New(fault.Unavailable, "directory of the key service plugin's socket: %w", err)
	}
	if uid := owner(info); allowed.allow(uid) && info.Mode().Perm()&0o022 == 0 {
		return nil
	}
	return fault.New(fault.Unavailable, "directory %s of the key service plugin's socket has owner %d and mode %04o: others could listen there",
		dir, owner(info), info.Mode().Perm()).WithCode("plugin_directory").
		WithHint("give the socket a directory of its own that only root, user %d or the plugin's user (setting uids) may write to", os.Geteuid())
}
