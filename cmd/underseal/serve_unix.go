//go:build !windows

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/server"
	"github.com/underseal/underseal/internal/tracing"
)

// serve runs the server until ctx ends or the database cannot be trusted any more.
// The addresses come first: when one is taken, nothing has been made yet.
func serve(ctx context.Context, e *env) (err error) {
	if err := e.settings.check(); err != nil {
		return err
	}
	tuneMemory()
	log := e.logger()
	for _, w := range e.settings.unknown {
		log.Warn(w)
	}
	if e.settings.BehindProxy && e.settings.TrustedProxies == "" {
		log.Warn("behind a proxy that is not named in trusted_proxies all callers have the proxy's address")
	}
	api, figures, caFile, err := e.settings.addresses(log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeSocket(api), closeSocket(figures)) }()
	stopTracing, err := tracing.Start(ctx, buildVersion().Version)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopTracing(context.WithoutCancel(ctx))) }()
	n, err := e.openNode(ctx, log, true)
	if err != nil {
		return err
	}
	says := ready{CAFile: caFile}
	if says.Made, err = e.offerSetup(ctx, n, log); err != nil {
		return errors.Join(err, n.Close())
	}
	if err := n.TellSettings(ctx, e.settings.told()); err != nil {
		return errors.Join(err, n.Close())
	}
	if err := e.streamAudit(n); err != nil {
		return errors.Join(err, n.Close())
	}
	return errors.Join(e.answer(ctx, n, *api, figures, says, log), n.Close())
}

// streamAudit has the node send the audit to whom the configuration names.
func (e *env) streamAudit(n *node.Node) error {
	targets, err := e.settings.auditTargets()
	if err == nil && len(targets) > 0 {
		n.StreamAudit(targets, buildVersion().Version)
	}
	return err
}

// offerSetup makes the setup link of new data and says what was made, before anything
// else can go wrong. Of data that exist it tells when nobody was let in yet; the link
// that was made is kept nowhere, and not said again.
func (e *env) offerSetup(ctx context.Context, n *node.Node, log *slog.Logger) (*made, error) {
	if !n.Created {
		return nil, e.missSetup(ctx, n, log)
	}
	m, err := e.makeLink(ctx, n, firstTenant)
	if err != nil || e.json {
		return &m, err
	}
	return &m, e.result(nil, m.write)
}

func (e *env) missSetup(ctx context.Context, n *node.Node, log *slog.Logger) error {
	until, awaits, err := n.Engine.AwaitsSetup(ctx)
	if fault.Is(err, fault.Unavailable) {
		return nil // without the key service nothing is known of it now
	}
	if err == nil && awaits {
		ends := "there is none"
		if !until.IsZero() {
			ends = stamp(until)
		}
		log.Warn("nobody was let in yet: use the setup link (underseal setup); if it is lost or ended, stop the server and make another: underseal init --new-link",
			"ends", ends)
	}
	return err
}

// addresses opens what will be listened on; figures is nil when metrics are off. caFile is
// what clients are to trust, if the certificate is one for development.
func (s *settings) addresses(log *slog.Logger) (api, figures *server.ListenConfig, caFile string, err error) {
	certificate, caFile, err := s.tls(log)
	if err != nil {
		return nil, nil, "", err
	}
	api = &server.ListenConfig{Address: s.Listen, TLS: certificate, BehindProxy: s.BehindProxy, PerAddress: s.LimitConnections, Log: log}
	if err := api.Open("--listen"); err != nil {
		return nil, nil, "", err
	}
	if s.MetricsListen == "off" {
		return api, nil, caFile, nil
	}
	figures = &server.ListenConfig{Address: s.MetricsListen, BehindProxy: s.BehindProxy, Log: log}
	if err := figures.Open("--metrics-listen"); err != nil {
		return nil, nil, "", errors.Join(err, closeSocket(api))
	}
	return api, figures, caFile, nil
}

// answer serves the API and the metrics over a node.
func (e *env) answer(ctx context.Context, n *node.Node, at server.ListenConfig, figuresAt *server.ListenConfig, says ready, log *slog.Logger) error {
	metrics, err := server.NewMetrics(n.Collectors()...)
	if err != nil {
		return err
	}
	handler, err := e.handler(n, metrics, log)
	if err != nil {
		return err
	}
	api, err := server.NewListener(at, handler)
	if err != nil {
		return err
	}
	figures, err := startMetrics(figuresAt, server.OnlyHosts(e.settings.metricsHosts(), metrics.Handler()))
	if err != nil {
		return err
	}
	if err := api.Start(); err != nil {
		return errors.Join(err, stop(figures))
	}
	err = e.announce(says, api, figures)
	forgetTheStart()
	err = errors.Join(err, wait(ctx, n, api))
	return errors.Join(err, stop(api), stop(figures))
}

// handler is the API over a node.
func (e *env) handler(n *node.Node, metrics *server.Metrics, log *slog.Logger) (*server.Server, error) {
	s := e.settings
	proxies, err := s.proxies()
	if err != nil {
		return nil, err
	}
	return server.New(server.Config{
		Engine: n.Engine, Log: log, Metrics: metrics, Version: buildVersion().Version,
		TrustedProxies: proxies, Limits: n.Limits, Hosts: s.apiHosts(),
		StrictTransport: (s.withTLS() || s.BehindProxy) && !s.TLSDev, // for the name localhost it would bind other programs here
	})
}

// startMetrics serves the metrics on an address of their own, or not at all: nil.
func startMetrics(at *server.ListenConfig, handler http.Handler) (*server.Listener, error) {
	if at == nil {
		return nil, nil
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", handler)
	l, err := server.NewListener(*at, mux)
	if err != nil {
		return nil, err
	}
	return l, l.Start()
}

// announce writes the line on stdout that says where the server answers.
func (e *env) announce(r ready, api, figures *server.Listener) error {
	scheme := "http"
	if e.settings.withTLS() {
		scheme = "https"
	}
	r.URL = scheme + "://" + api.Addr().String()
	if figures != nil {
		r.Metrics = "http://" + figures.Addr().String() + "/metrics"
	}
	if e.json {
		return writeJSON(e.stdout, r, "")
	}
	_, err := fmt.Fprintln(e.stdout, "underseal answers at "+r.URL)
	if err == nil && r.CAFile != "" {
		_, err = fmt.Fprintf(e.stdout, "for development only: clients trust it with --ca-file %[1]s (curl --cacert %[1]s), browsers when you import that file as an authority\n", r.CAFile)
	}
	return err
}

// wait returns nil when the process is asked to end or its address is gone (what
// stops the listener says why), and an error when the database failed: its state
// is unknown then, and only a restart reads it again.
func wait(ctx context.Context, n *node.Node, api *server.Listener) error {
	select {
	case <-ctx.Done():
		return nil
	case <-api.Done():
		return nil
	case <-n.Failed():
		return fault.New(fault.KindOf(n.Err()), "the database cannot be trusted any more, so the server ends: %w", n.Err()).
			WithCode("database_failed").WithHint("cure the cause (disk full, broken disk), then start again: what was acknowledged is there")
	}
}
