package stream

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// figures say how far a sink is behind, over all tenants.
type figures struct {
	sent    uint64
	behind  uint64
	oldest  time.Time // when the oldest entry was made that it did not have at the last round; zero: it had all
	failing bool
}

func (t *target) figures() figures {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := figures{sent: t.sent, failing: t.blind != nil}
	for _, l := range t.lines {
		f.failing = f.failing || l.pause > 0
		if f.behind += l.behind; l.behind > 0 && (f.oldest.IsZero() || l.oldest.Before(f.oldest)) {
			f.oldest = l.oldest
		}
	}
	return f
}

// Collectors returns the metrics of all sinks. They name no tenant.
func (s *Stream) Collectors() []prometheus.Collector {
	var all []prometheus.Collector
	for _, t := range s.targets {
		labels := prometheus.Labels{"sink": t.Name}
		gauge := func(name, help string, value func(figures) float64) {
			all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, func() float64 {
				return value(t.figures())
			}))
		}
		gauge("underseal_audit_sink_behind_entries", "Entries of the log that the sink does not have yet.", func(f figures) float64 { return float64(f.behind) })
		gauge("underseal_audit_sink_behind_seconds", "Age of the oldest entry that the sink does not have; 0: it has all.", func(f figures) float64 {
			if f.behind == 0 {
				return 0
			}
			return max(0, s.cfg.Now().Sub(f.oldest).Seconds())
		})
		gauge("underseal_audit_sink_sent_entries", "Entries that the sink took since the start.", func(f figures) float64 { return float64(f.sent) })
		gauge("underseal_audit_sink_failing", "1 when the sink did not take the last batch.", func(f figures) float64 {
			if f.failing {
				return 1
			}
			return 0
		})
	}
	return all
}
