package sequencer

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/underseal/underseal/internal/store"
)

// figures are what is shown of a tenant's log.
type figures struct {
	size        uint64 // leaves with a place, in all of its logs
	unsequenced int    // leaves without one, after the last work on it
	published   time.Time
	stopped     error // why nothing more is signed; nil: nothing is wrong
}

// countLimit bounds how many leaves are counted that have no place.
const countLimit = 100_000

// measure takes the figures of a tenant.
func (s *Sequencer) measure(ctx context.Context, t *tenant) error {
	shards, err := s.cfg.Store.Shards(ctx, t.scope)
	if err != nil {
		return err
	}
	left, err := s.cfg.Store.CountUnsequenced(ctx, t.scope, countLimit)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.figures.unsequenced, t.figures.size = left, 0
	for _, sh := range shards {
		t.figures.size += sh.Size
	}
	return nil
}

// published takes down when the newest checkpoint of the open log was, and when it
// will be published again.
func (s *Sequencer) published(t *tenant, shard store.Shard, at time.Time) {
	if !shard.Open {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.figures.published = at
	t.pulse = time.Now().Add(at.Add(s.cfg.Heartbeat).Sub(s.cfg.Now()))
}

// Collectors returns the sequencer's metrics. They name no tenant.
func (s *Sequencer) Collectors() []prometheus.Collector {
	gauge := func(name, help string, value func(figures) float64, join func(a, b float64) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() (total float64) {
			for _, t := range s.copied() {
				t.mu.Lock()
				total = join(total, value(t.figures))
				t.mu.Unlock()
			}
			return total
		})
	}
	sum := func(a, b float64) float64 { return a + b }
	largest := func(a, b float64) float64 { return max(a, b) }
	return []prometheus.Collector{
		gauge("underseal_log_leaves", "Leaves that have a place in a log.", func(f figures) float64 { return float64(f.size) }, sum),
		gauge("underseal_log_unsequenced", "Leaves that wait for their place in a log, when it was last looked.",
			func(f figures) float64 { return float64(f.unsequenced) }, sum),
		gauge("underseal_log_checkpoint_age_seconds", "Age of the tenant's newest checkpoint that is the oldest.", func(f figures) float64 {
			if f.published.IsZero() {
				return 0
			}
			return s.cfg.Now().Sub(f.published).Seconds()
		}, largest),
		gauge("underseal_log_stopped_tenants", "Tenants whose log is not what was signed, so that nothing more is.", func(f figures) float64 {
			if f.stopped != nil {
				return 1
			}
			return 0
		}, sum),
	}
}
