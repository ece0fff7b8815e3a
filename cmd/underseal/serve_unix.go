//go:build !windows

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/server"
	"github.com/underseal/underseal/internal/tracing"
)

// drainTime bounds how long requests under way may take once the server is asked
// to end. What is not answered then is still durable or not done at all.
const drainTime = 20 * time.Second

// serve runs the server until ctx ends or the database cannot be trusted any more.
func serve(ctx context.Context, e *env) (err error) {
	if err := e.settings.check(); err != nil {
		return err
	}
	tuneMemory()
	certificate, err := e.settings.tls()
	if err != nil {
		return err
	}
	if err := server.CheckListen(e.settings.Listen, certificate != nil, e.settings.BehindProxy); err != nil {
		return err
	}
	stopTracing, err := tracing.Start(ctx, buildVersion().Version)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopTracing(context.WithoutCancel(ctx))) }()
	log := e.logger()
	n, err := e.openNode(ctx, log)
	if err != nil {
		return err
	}
	if n.Created {
		if err := e.makeAPIKey(ctx, n); err != nil {
			return errors.Join(err, n.Close())
		}
	}
	return errors.Join(e.answer(ctx, n, certificate, log), n.Close())
}

// answer serves the API and the metrics over a node.
func (e *env) answer(ctx context.Context, n *node.Node, certificate *tls.Config, log *slog.Logger) error {
	metrics, err := server.NewMetrics(n.Collectors()...)
	if err != nil {
		return err
	}
	proxies, err := parsePrefixes(e.settings.TrustedProxies)
	if err != nil {
		return err
	}
	handler, err := server.New(server.Config{Engine: n.Engine, Log: log, Metrics: metrics, Version: buildVersion().Version, TrustedProxies: proxies})
	if err != nil {
		return err
	}
	api, err := server.NewListener(server.ListenConfig{
		Address: e.settings.Listen, TLS: certificate, BehindProxy: e.settings.BehindProxy, Log: log,
	}, handler)
	if err != nil {
		return err
	}
	figures, err := e.settings.startMetrics(metrics.Handler(), log)
	if err != nil {
		return err
	}
	if err := api.Start(); err != nil {
		return errors.Join(err, stop(figures))
	}
	err = errors.Join(e.announce(n, api, figures), wait(ctx, n, api))
	return errors.Join(err, stop(api), stop(figures))
}

// startMetrics serves the metrics on an address of their own, or not at all: nil.
func (s *settings) startMetrics(handler http.Handler, log *slog.Logger) (*server.Listener, error) {
	if s.MetricsListen == "off" {
		return nil, nil
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", handler)
	l, err := server.NewListener(server.ListenConfig{Address: s.MetricsListen, BehindProxy: s.BehindProxy, Log: log}, mux)
	if err != nil {
		return nil, fmt.Errorf("metrics_listen: %w", err)
	}
	if err := l.Start(); err != nil {
		return nil, fmt.Errorf("metrics_listen: %w", err)
	}
	return l, nil
}

// announce writes the one line on stdout that says where the server answers.
func (e *env) announce(n *node.Node, api, figures *server.Listener) error {
	scheme := "http"
	if e.settings.TLSCert != "" {
		scheme = "https"
	}
	r := ready{URL: scheme + "://" + api.Addr().String()}
	if figures != nil {
		r.Metrics = "http://" + figures.Addr().String() + "/metrics"
	}
	text := "underseal answers at " + r.URL
	if n.Created {
		m := e.settings.made()
		r.Made = &m
		text += ", new data, API key in " + m.APIKeyFile
	}
	if e.json {
		return writeJSON(e.stdout, r, "")
	}
	_, err := fmt.Fprintln(e.stdout, text)
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

func stop(l *server.Listener) error {
	if l == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	return l.Stop(ctx)
}

func (s *settings) tls() (*tls.Config, error) {
	if s.TLSCert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(s.TLSCert, s.TLSKey)
	if err != nil {
		return nil, fault.New(fault.Invalid, "load the certificate: %w", err).WithCode("config_invalid")
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}, nil
}

func parsePrefixes(list string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for text := range strings.SplitSeq(list, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fault.New(fault.Invalid, "trusted_proxies: %w", err).WithCode("config_invalid")
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, nil
}
