package kms

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/underseal/underseal/internal/fault"
)

// A meter counts what became of calls, and raises an alarm when one is refused.
type meter struct {
	config *GuardConfig
	calls  *prometheus.CounterVec
	took   *prometheus.HistogramVec

	mu      sync.Mutex      // guards what follows
	success time.Time       // when the last call succeeded; at first, when the service was opened
	denied  map[string]bool // the operations whose last call was refused
}

func newMeter(config *GuardConfig) *meter {
	return &meter{
		config: config, success: config.Now(), denied: map[string]bool{},
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name:        "underseal_key_service_calls_total",
			Help:        "Calls of the key service by what became of them; not_tried: it was left alone after failures.",
			ConstLabels: prometheus.Labels{"service": config.Name},
		}, []string{"operation", "result"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:        "underseal_key_service_call_seconds",
			Help:        "How long calls of the key service took, also those that failed.",
			ConstLabels: prometheus.Labels{"service": config.Name},
			Buckets:     []float64{0.001, 0.005, 0.02, 0.1, 0.5, 1, 2.5, 5, 30},
		}, []string{"operation"}),
	}
}

func (m *meter) count(operation, result string) { m.calls.WithLabelValues(operation, result).Inc() }

// answer takes note of what became of a call.
func (m *meter) answer(operation string, err error) {
	m.count(operation, result(err))
	denied := fault.Is(err, fault.Denied)
	if fault.Is(err, fault.Unavailable) {
		return // says nothing about our rights
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		m.success = m.config.Now()
	}
	switch {
	case denied && !m.denied[operation] && hinders(operation):
		m.config.Log.Error("key service refuses us: work waits until it is given the right again",
			"service", m.config.Name, "operation", operation, "code", fault.CodeOf(err), "error", err, "hint", hint(err))
	case denied && !m.denied[operation]:
		m.config.Log.Warn("key service refuses what work does not need: its own operators do that",
			"service", m.config.Name, "operation", operation, "code", fault.CodeOf(err), "error", err, "hint", hint(err))
	case !denied && m.denied[operation]:
		m.config.Log.Info("key service no longer refuses us", "service", m.config.Name, "operation", operation)
	}
	m.denied[operation] = denied
}

// result names the outcome of a call.
func result(err error) string {
	switch {
	case err == nil:
		return "ok"
	case fault.CodeOf(err) == CodeThrottled:
		return "throttled"
	}
	return fault.KindOf(err).String()
}

// hinders reports whether work waits while that operation is refused. The rights to
// rotate and to destroy need not be given to us.
func hinders(operation string) bool { return operation != "rotate" && operation != "destroy" }

// refused reports whether some operation that work needs was refused the last time.
func (m *meter) refused() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for operation, denied := range m.denied {
		if denied && hinders(operation) {
			return true
		}
	}
	return false
}

func (m *meter) sinceSuccess() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return max(0, m.config.Now().Sub(m.success).Seconds())
}

// collectors returns the counter and gauges that are computed when they are read.
func (m *meter) collectors(b *breaker) []prometheus.Collector {
	all := []prometheus.Collector{
		m.calls, m.took,
		m.gauge("breaker", "0: the service is asked; 1: one call finds out whether it answers again; 2: it is left alone.", nil,
			func() float64 { state, _ := b.view(); return float64(state) }),
		m.gauge("success_age_seconds", "Seconds since a call of the key service succeeded. One is made every 5 seconds, also when there is nothing to do.", nil, m.sinceSuccess),
	}
	for reason, failing := range map[string]func() bool{
		"denied":      m.refused,
		"unreachable": func() bool { state, throttled := b.view(); return state != closed && !throttled },
		"throttled":   func() bool { state, throttled := b.view(); return state != closed && throttled },
	} {
		all = append(all, m.gauge("failing", "1 while the key service cannot be used, and why. It is tried every 5 seconds, also when there is nothing to do; 1 after three failures or a refusal.", prometheus.Labels{"reason": reason},
			func() float64 { return map[bool]float64{true: 1}[failing()] }))
	}
	return all
}

func (m *meter) gauge(name, help string, labels prometheus.Labels, value func() float64) prometheus.Collector {
	all := prometheus.Labels{"service": m.config.Name}
	for k, v := range labels {
		all[k] = v
	}
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "underseal_key_service_" + name, Help: help, ConstLabels: all}, value)
}
