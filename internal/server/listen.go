package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/underseal/underseal/internal/fault"
)

// CheckListen refuses to offer the API in clear beyond this machine: an address
// other than loopback needs TLS or the word that a proxy before it does TLS.
func CheckListen(address string, withTLS, behindProxy bool) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fault.New(fault.Invalid, "listen address %q is not of the form host:port", address)
	}
	ip, err := netip.ParseAddr(host)
	if host == "localhost" || err == nil && ip.IsLoopback() || withTLS || behindProxy {
		return nil
	}
	return fault.New(fault.Invalid, "listen address %q can be reached from other machines, in clear", address).
		WithCode("listen_in_clear").
		WithHint("listen on 127.0.0.1, give a certificate, or say --behind-proxy if a proxy does TLS before it")
}

// ListenConfig says where to serve a handler.
type ListenConfig struct {
	Address     string       // host:port; port 0 takes a free one
	TLS         *tls.Config  // nil: in clear
	BehindProxy bool         // a proxy in front does TLS
	Log         *slog.Logger // what net/http has to say; default nothing
	// Socket is what Open has opened. Default: Start opens the address.
	Socket net.Listener
	// ReadTimeout bounds the time for a whole request to arrive, IdleTimeout
	// how long a connection may rest. Defaults 60 s and 120 s.
	ReadTimeout, IdleTimeout time.Duration
	// PerAddress bounds the connections that one IPv4 address or IPv6 /64 has open at
	// once, but for those of this machine. 0: no bound. It means nothing behind a proxy.
	PerAddress int
}

// Open opens the address, so that it is known to be free before anything is made
// for the handler. Callers wait until a Listener of this config is started, or
// Socket closed. The flag names the address in hints.
func (c *ListenConfig) Open(flag string) error {
	if err := CheckListen(c.Address, c.TLS != nil, c.BehindProxy); err != nil {
		return err
	}
	socket, err := net.Listen("tcp", c.Address)
	if err != nil {
		return fault.New(fault.Unavailable, "cannot listen: %w", err).
			WithHint("is another server running? choose another port with %s", flag)
	}
	c.Socket = socket
	return nil
}

// Listener serves a handler on one address.
type Listener struct {
	config  ListenConfig
	handler http.Handler
	http    *http.Server

	mu     sync.Mutex // guards what follows
	socket net.Listener
	done   chan struct{} // closed when serving has ended
	failed error         // why it ended by itself
}

// NewListener returns a listener that is not yet open.
func NewListener(config ListenConfig, handler http.Handler) (*Listener, error) {
	if err := CheckListen(config.Address, config.TLS != nil, config.BehindProxy); err != nil {
		return nil, err
	}
	config.ReadTimeout = orDefault(config.ReadTimeout, time.Minute)
	config.IdleTimeout = orDefault(config.IdleTimeout, 2*time.Minute)
	log := orDefault(config.Log, slog.New(slog.DiscardHandler))
	if config.BehindProxy {
		config.PerAddress = 0
	}
	return &Listener{config: config, handler: handler, http: &http.Server{
		ConnState:         (&crowd{most: config.PerAddress, open: map[netip.Prefix]int{}}).note,
		Handler:           handler,
		TLSConfig:         config.TLS,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       config.ReadTimeout,
		WriteTimeout:      config.ReadTimeout + 30*time.Second, // calls that wait move it
		IdleTimeout:       config.IdleTimeout,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}}, nil
}

// Start opens the address and serves until Stop. A second Start does nothing.
func (l *Listener) Start() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.socket != nil {
		return nil
	}
	if l.config.Socket == nil {
		if err := l.config.Open("--listen"); err != nil {
			return err
		}
	}
	l.serveOn(l.config.Socket)
	return nil
}

func (l *Listener) serveOn(socket net.Listener) {
	l.socket, l.done = socket, make(chan struct{})
	go l.serve()
}

func (l *Listener) serve() {
	defer close(l.done)
	var err error
	if l.config.TLS != nil {
		err = l.http.ServeTLS(l.socket, "", "")
	} else {
		err = l.http.Serve(l.socket)
	}
	if !errors.Is(err, http.ErrServerClosed) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.failed = fmt.Errorf("serve: %w", err)
	}
}

// Addr returns the address that is listened on, nil before Start.
func (l *Listener) Addr() net.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.socket == nil {
		return nil
	}
	return l.socket.Addr()
}

// Done returns a channel that is closed when serving has ended, by Stop or by
// itself (Stop then says why). It must not be called before Start.
func (l *Listener) Done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done
}

// Stop drains: it takes no new connections and waits for the requests under
// way, until ctx ends, when it closes their connections. It returns why
// serving ended if that was before Stop. It may be called again.
func (l *Listener) Stop(ctx context.Context) error {
	if l.Addr() == nil {
		return nil
	}
	if d, ok := l.handler.(interface{ Drain() }); ok {
		d.Drain()
	}
	err := l.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, l.http.Close())
	}
	<-l.done
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.failed, err)
}
