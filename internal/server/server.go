// Package server is the HTTP API: it parses a request, calls one method of the
// engine and writes the answer.
//
// It is strict. Credentials come first, on every route but health and the API's
// own description. Bodies are read by canon's decoder and bound by the schemas
// of the OpenAPI document, so that unknown, repeated, missing and mistyped names
// are refused, all at once, each with its JSON pointer. Every error, whoever
// found it, leaves through one writer as problem+json (RFC 9457). Neither the
// log, the metrics nor an error text holds anything a request carried besides
// names.
//
// OpenAPI types and schemas are huma's; the way of a request is our own, for
// huma decodes twice, quotes values in its errors and costs more than all the
// rest of a request. docs/design/http.md has the figures and the rules.
package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"path"
	"sync"
	"time"

	"github.com/underseal/underseal/internal/limit"
	"github.com/underseal/underseal/internal/network"
)

// Config says how to serve.
type Config struct {
	Engine  Engine       // required
	Log     *slog.Logger // default: nothing is logged
	Metrics *Metrics     // default: figures that nobody reads
	Version string       // of the program, for the OpenAPI document

	// MaxBody bounds a request's body, in bytes. Default 1 MiB.
	MaxBody int64
	// MaxDeployment bounds the body of a deployment. Default 16 MiB.
	MaxDeployment int64
	// Timeout bounds the time to read and answer a request; a call that waits
	// for jobs has its wait in addition. Default 30 s.
	Timeout time.Duration
	// TrustedProxies are the networks of proxies whose X-Forwarded-For header
	// is believed. Default none: the caller's address is the connection's.
	TrustedProxies network.List
	// Limits bound how often somebody may call. Default: nothing is bounded.
	Limits *limit.Limiter
	// Hosts are the names and addresses by which the API is reached, without ports; a
	// request for another one is refused. Default: any.
	Hosts []string
	// StrictTransport tells browsers to come over TLS alone from now on (HSTS).
	StrictTransport bool
}

func (c *Config) validate() error {
	switch {
	case c.Engine == nil:
		return errors.New("server config: Engine is missing")
	case c.MaxBody < 0 || c.MaxDeployment < 0:
		return errors.New("server config: MaxBody and MaxDeployment must not be negative")
	case c.Timeout < 0:
		return errors.New("server config: Timeout must not be negative")
	}
	return nil
}

func (c *Config) setDefaults() (err error) {
	c.MaxBody = orDefault(c.MaxBody, 1<<20)
	c.MaxDeployment = orDefault(c.MaxDeployment, 16<<20)
	c.Timeout = orDefault(c.Timeout, 30*time.Second)
	c.Log = orDefault(c.Log, slog.New(slog.DiscardHandler))
	if c.Limits == nil {
		c.Limits = limit.New(limit.Config{})
	}
	if c.Metrics == nil {
		c.Metrics, err = NewMetrics()
	}
	return err
}

func orDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Server answers the API's requests. It is safe for concurrent use.
type Server struct {
	config   Config
	engine   Engine
	log      *slog.Logger
	metrics  *Metrics
	mux      *http.ServeMux
	openapi  func() ([]byte, error) // made when first asked for
	notFound *operation
	missing  missing

	draining context.Context // ends when Drain is called
	drain    context.CancelFunc
}

var _ http.Handler = (*Server)(nil)

// New returns a server of the API. It starts nothing.
func New(config Config) (*Server, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	if err := config.setDefaults(); err != nil {
		return nil, err
	}
	s := &Server{
		config: config, engine: config.Engine, log: config.Log, metrics: config.Metrics, mux: http.NewServeMux(),
	}
	s.draining, s.drain = context.WithCancel(context.Background())
	s.register(s.operations())
	return s, nil
}

// register puts the operations on the mux.
func (s *Server) register(operations []*operation) {
	s.openapi = sync.OnceValues(func() ([]byte, error) { return describe(operations, s.config.Version) })
	registry := newRegistry()
	methods := map[string][]string{}
	for _, o := range operations {
		o.limit = orDefault(o.limit, s.config.MaxBody)
		o.compile(registry)
		methods[o.path] = append(methods[o.path], o.method)
		s.handle(o.method+" "+o.path, o)
	}
	for path, allowed := range methods {
		s.handle(path, methodNotAllowed(path, allowed))
	}
	s.handleLogFiles()
	s.notFound = noSuchRoute()
	s.handle("/", s.notFound)
}

func (s *Server) handle(pattern string, o *operation) {
	o.series = s.metrics.series(o.path, o.method)
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { s.observe(o, w, r) })
}

// ServeHTTP answers one request. A path that is not in its clean form has no
// route; net/http would answer it with a redirect in HTML.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p := r.URL.Path; p == "" || p[0] != '/' || path.Clean(p) != p {
		s.observe(s.notFound, w, r)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// Drain makes the server not ready and ends the calls that wait for jobs, each
// with what it has. Other requests are still answered. It may be called twice.
func (s *Server) Drain() { s.drain() }
