package server

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are the server's figures: requests by route, method and status, how
// long they took, how many are under way, those of the Go runtime, and those
// that other packages pass in. No label ever holds a value from a request.
type Metrics struct {
	registry  *prometheus.Registry
	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	inFlight  prometheus.Gauge
	tooMany   *prometheus.CounterVec
}

// NewMetrics makes the figures of one server. It fails when two collectors
// describe the same figure.
func NewMetrics(others ...prometheus.Collector) (*Metrics, error) {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "underseal_http_requests_total", Help: "Requests answered; status 499: the client hung up.",
		}, []string{"route", "method", "status"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "underseal_http_request_duration_seconds", Help: "Time to answer, waiting for jobs included.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"route", "method"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "underseal_http_requests_in_flight", Help: "Requests being answered.",
		}),
		tooMany: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "underseal_limited_requests_total", Help: "Requests refused since there were too many of a person, API key, tenant, address or credential that ends something.",
		}, []string{"limit"}),
	}
	all := append([]prometheus.Collector{
		m.requests, m.durations, m.inFlight, m.tooMany, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	}, others...)
	for _, c := range all {
		if err := m.registry.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

// Handler serves the figures in Prometheus' format. It asks for no credentials
// and belongs on a listener of its own.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

func (m *Metrics) refused(limit string) { m.tooMany.WithLabelValues(limit).Inc() }

// series are the figures of one operation.
type series struct {
	requests  *prometheus.CounterVec
	durations prometheus.Observer
}

func (m *Metrics) series(route, method string) series {
	return series{
		requests:  m.requests.MustCurryWith(prometheus.Labels{"route": route, "method": method}),
		durations: m.durations.WithLabelValues(route, method),
	}
}

func (s series) observe(status int, took time.Duration) {
	s.requests.WithLabelValues(strconv.Itoa(status)).Inc()
	s.durations.Observe(took.Seconds())
}
