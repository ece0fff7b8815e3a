package kms

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/underseal/underseal/internal/fault"
)

// GuardConfig says how a service is guarded. Only Name is mandatory.
type GuardConfig struct {
	Name string           // of the service, in errors, metrics and the log
	Log  *slog.Logger     // default: nowhere
	Now  func() time.Time // default time.Now

	// Timeout is how long one call may take. Default 5 seconds; rotating and
	// destroying, which are several requests, may take six times as long.
	Timeout time.Duration
	// Failures is how many calls in a row must fail for the service to be left
	// alone. Default 3.
	Failures int
	// FirstPause is how long it is left alone then. Each further failure doubles
	// it, up to MaxPause. Defaults 1 and 5 seconds: readiness, which asks every 10
	// seconds, tells of a service that is back the next time it asks.
	FirstPause, MaxPause time.Duration
	// MaxWait is the longest pause that a service can ask for by itself. Default 1
	// minute: a wrong answer must not shut us out for a day.
	MaxWait time.Duration
}

func (c *GuardConfig) complete() {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Timeout = defaultTo(c.Timeout, 5*time.Second)
	c.Failures = defaultTo(c.Failures, 3)
	c.FirstPause = defaultTo(c.FirstPause, time.Second)
	c.MaxPause = defaultTo(c.MaxPause, 5*time.Second)
	c.MaxWait = defaultTo(c.MaxWait, time.Minute)
}

func defaultTo[T int | time.Duration](value, otherwise T) T {
	if value == 0 {
		return otherwise
	}
	return value
}

// Guarded is a Service that gives up a call after a while, leaves a service
// alone that does not answer, and counts. A refusal is an answer: it comes
// through each time and pauses nothing, so that it is seen when the right is
// given back.
type Guarded struct {
	config  GuardConfig
	inner   Service
	breaker breaker
	meter   *meter
}

var (
	_ Service = (*Guarded)(nil)
	_ Rotator = (*Guarded)(nil)
)

// Guard puts a guard around inner.
func Guard(inner Service, config GuardConfig) *Guarded {
	config.complete()
	g := &Guarded{config: config, inner: inner}
	g.breaker.config = &g.config
	g.meter = newMeter(&g.config)
	return g
}

// Wrap implements Service.
func (g *Guarded) Wrap(ctx context.Context, c Context, key []byte) (wrapped []byte, err error) {
	err = g.call(ctx, "wrap", g.config.Timeout, func(ctx context.Context) error {
		wrapped, err = g.inner.Wrap(ctx, c, key)
		return err
	})
	return wrapped, err
}

// Unwrap implements Service.
func (g *Guarded) Unwrap(ctx context.Context, c Context, wrapped []byte) (key []byte, err error) {
	err = g.call(ctx, "unwrap", g.config.Timeout, func(ctx context.Context) error {
		key, err = g.inner.Unwrap(ctx, c, wrapped)
		return err
	})
	return key, err
}

// Version implements Service; it is no call.
func (g *Guarded) Version(wrapped []byte) (string, error) { return g.inner.Version(wrapped) }

// Describe implements Service.
func (g *Guarded) Describe(ctx context.Context) (d Description, err error) {
	err = g.call(ctx, "describe", g.config.Timeout, func(ctx context.Context) error {
		d, err = g.inner.Describe(ctx)
		return err
	})
	return d, err
}

// Destroy implements Service.
func (g *Guarded) Destroy(ctx context.Context, version string) error {
	return g.call(ctx, "destroy", 6*g.config.Timeout, func(ctx context.Context) error { return g.inner.Destroy(ctx, version) })
}

// Rotates reports whether the service makes versions by itself.
func (g *Guarded) Rotates() bool {
	_, ok := g.inner.(Rotator)
	return ok
}

// Rotate implements Rotator. Invalid when the service cannot rotate.
func (g *Guarded) Rotate(ctx context.Context) (version string, err error) {
	rotator, ok := g.inner.(Rotator)
	if !ok {
		return "", fault.New(fault.Invalid, "key service %s makes no versions by itself", g.config.Name).
			WithHint("rotate with the tools of the service, or move its tenants to a key service with another key")
	}
	err = g.call(ctx, "rotate", 6*g.config.Timeout, func(ctx context.Context) error {
		version, err = rotator.Rotate(ctx)
		return err
	})
	return version, err
}

// call makes one call, unless the service is to be left alone.
func (g *Guarded) call(ctx context.Context, operation string, timeout time.Duration, f func(context.Context) error) error {
	probe, err := g.breaker.enter()
	if err != nil {
		g.meter.count(operation, "not_tried")
		return err
	}
	inner, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	began := g.config.Now()
	err = f(inner)
	g.meter.took.WithLabelValues(operation).Observe(max(0, g.config.Now().Sub(began).Seconds()))
	// A caller who went away has learned nothing about the service.
	if err != nil && ctx.Err() == context.Canceled {
		g.breaker.forget(probe)
		g.meter.count(operation, "canceled")
		return err
	}
	g.meter.answer(operation, err)
	g.breaker.leave(probe, err)
	return err
}

// Collectors returns the service's figures.
func (g *Guarded) Collectors() []prometheus.Collector { return g.meter.collectors(&g.breaker) }
