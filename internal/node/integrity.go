package node

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/underseal/underseal/internal/engine"
)

const (
	// checkEvery is how often the server looks at a part of the database.
	checkEvery = 10 * time.Second
	// checkAtOnce is how many rows one part has, so that a low rate is not a burst.
	checkAtOnce = 128
)

// integrity compares the whole database with its logs, again and again, slowly. A
// round that the end of the server cuts short begins anew.
type integrity struct {
	rate int // rows a second; 0: never

	// Owned by the job.
	round []string      // tenants that the round has still to do; the first is under way
	check *engine.Check // of the first
	now   map[string]bool
	told  map[string]bool // what the logs have been told of

	findings atomic.Int64 // of the round before and, if it has more, of this one
}

// checkIntegrity looks at the next rows.
func (n *Node) checkIntegrity(ctx context.Context) error {
	i := &n.integrity
	if i.rate <= 0 {
		return nil
	}
	for budget := int64(i.rate) * int64(checkEvery/time.Second); budget > 0; {
		if err := n.nextTenant(ctx); err != nil || i.check == nil {
			return err
		}
		before := i.check.State.Rows
		found, err := i.check.Next(ctx)
		if err == nil {
			err = n.alarm(ctx, found)
		}
		if err != nil {
			i.check = nil // from the tenant's beginning
			return err
		}
		budget -= max(1, int64(i.check.State.Rows-before))
		if i.check.Done() {
			i.check, i.round = nil, i.round[1:]
			if len(i.round) == 0 {
				i.findings.Store(int64(len(i.now)))
				i.now = nil
			}
		}
	}
	return nil
}

// nextTenant begins the check of a tenant, and a round if the last one is over.
func (n *Node) nextTenant(ctx context.Context) error {
	i := &n.integrity
	if i.check != nil {
		return nil
	}
	if len(i.round) == 0 {
		tenants, err := n.db.Keys().Tenants(ctx)
		if err != nil || len(tenants) == 0 {
			return err
		}
		i.round, i.now = tenants, map[string]bool{}
	}
	i.check = n.Engine.NewCheck(i.round[0], engine.CheckState{}, engine.CheckOptions{Part: checkAtOnce})
	return nil
}

// alarm tells the tenant's log, the server's log and the metric of findings, each
// once.
func (n *Node) alarm(ctx context.Context, found []engine.Finding) error {
	i := &n.integrity
	var errs []error
	for _, f := range found {
		name := f.Name()
		i.now[name] = true
		if i.told[name] {
			continue
		}
		n.log.Error("the database is not what its log says", "tenant", f.Tenant, "found", f.Kind, "table", f.Where, "object", f.Object, "step", f.Step, "what", f.What)
		if err := n.Engine.Alarm(ctx, f); err != nil {
			errs = append(errs, err)
			continue
		}
		if i.told == nil {
			i.told = map[string]bool{}
		}
		i.told[name] = true
	}
	i.findings.Store(max(i.findings.Load(), int64(len(i.now))))
	return errors.Join(errs...)
}

func (i *integrity) collector() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "underseal_integrity_findings", Help: "What the background check found that is not as the log says.",
	}, func() float64 { return float64(i.findings.Load()) })
}
