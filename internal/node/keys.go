package node

import (
	"context"
	"errors"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/underseal/underseal/internal/keyring"
)

// keyWatch is what a node knows of its keys' ages.
type keyWatch struct {
	schedule keyring.Schedule
	told     map[keyring.OldKey]bool // owned by the job

	mu      sync.Mutex // guards what follows
	figures keyring.Figures
}

// rotateKeys rotates the keys that are due, finishes rotations that were begun, and
// tells once of each old key that can be given up.
func (n *Node) rotateKeys(ctx context.Context) error {
	err := n.Engine.RotateDue(ctx, n.keys.schedule)
	figures, errFigures := n.ring.Figures(ctx)
	if errFigures != nil {
		return errors.Join(err, errFigures)
	}
	n.keys.mu.Lock()
	n.keys.figures = figures
	n.keys.mu.Unlock()
	told := map[keyring.OldKey]bool{}
	for _, key := range figures.Dispensable {
		if told[key] = true; !n.keys.told[key] {
			n.log.Info("an old key can be destroyed: underseal keys retire", "tenant", key.Tenant, "service", key.Service, "version", key.Version)
		}
	}
	n.keys.told = told
	return err
}

// collectors returns figures of the last hour. They name no tenant.
func (w *keyWatch) collectors() []prometheus.Collector {
	gauge := func(name, help string, labels prometheus.Labels, value func(f keyring.Figures) int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, func() float64 {
			w.mu.Lock()
			defer w.mu.Unlock()
			return float64(value(w.figures))
		})
	}
	const help = "Data keys and rows of persons, by whether their tenant key is the newest."
	return []prometheus.Collector{
		gauge("underseal_data_keys", help, prometheus.Labels{"tenant_key": "newest"}, func(f keyring.Figures) int { return f.Newest }),
		gauge("underseal_data_keys", help, prometheus.Labels{"tenant_key": "older"}, func(f keyring.Figures) int { return f.Older }),
		gauge("underseal_old_keys_dispensable", "Old tenant keys and versions of root keys that nothing needs.", nil,
			func(f keyring.Figures) int { return len(f.Dispensable) }),
	}
}
