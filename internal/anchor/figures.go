package anchor

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// figures are what the metrics show of the log itself.
type figures struct {
	mu       sync.Mutex // guards what follows
	size     uint64     // of the newest signed checkpoint
	complete uint64     // of the newest one that all have seen
	since    time.Time  // when the former became more than the latter
}

func (f *figures) set(size, complete uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.size == f.complete {
		f.since = time.Now()
	}
	f.size, f.complete = size, complete
}

// waiting returns for how long a signed checkpoint has been incomplete.
func (f *figures) waiting(now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.size == f.complete {
		return 0
	}
	return now.Sub(f.since)
}

// Collectors returns the log's metrics.
func (l *Log) Collectors() []prometheus.Collector {
	all := []prometheus.Collector{
		gauge("underseal_anchor_halted", "1 when no checkpoint is signed any more: raise the alarm.", nil,
			func() float64 { return yes(l.Halted() != nil) }),
		gauge("underseal_anchor_waiting_seconds", "For how long the newest checkpoint of the anchor log has lacked cosignatures or a timestamp.", nil,
			func() float64 { return l.figures.waiting(time.Now()).Seconds() }),
	}
	for _, w := range l.witnesses {
		labels := prometheus.Labels{"witness": w.Key.Name()}
		all = append(all,
			gauge("underseal_witness_failing", "1 when a witness did not cosign at the last try.", labels, func() float64 { return yes(w.failing.Load()) }),
			gauge("underseal_witness_set_back", "How often a witness had forgotten what it cosigned.", labels, func() float64 { return float64(w.setBack.Load()) }))
	}
	if a := l.authority; a != nil {
		all = append(all,
			gauge("underseal_timestamp_failing", "1 when the timestamp authority gave no timestamp at the last try.", nil, func() float64 { return yes(a.failing.Load()) }),
			gauge("underseal_clock_ahead_seconds", "How far this machine's clock is before the timestamp authority's; negative: behind it.", nil, func() float64 { return time.Duration(a.ahead.Load()).Seconds() }))
	}
	return all
}

func gauge(name, help string, labels prometheus.Labels, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, value)
}

func yes(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
