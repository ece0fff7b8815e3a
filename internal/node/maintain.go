package node

import (
	"context"
	"errors"
	"time"

	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/fault"
)

// A job is work that a node does by itself, again and again. It begins anew from
// what is stored, so a run that was cut short loses nothing.
type job struct {
	name  string
	every time.Duration // from the end of one run to the next
	run   func(ctx context.Context) error
}

// soon is when at the latest the first run of a job comes, after the start: what became
// due while no server ran does not wait for another hour, and a start is not slowed down.
const soon = time.Minute

// jobs lists all of a node's periodic work.
func (n *Node) jobs() []job {
	return []job{
		{"sweep unused keys", time.Hour, func(ctx context.Context) error { _, err := n.SweepKeys(ctx); return err }},
		{"rotate keys", time.Hour, n.rotateKeys},
		{"collect files", time.Hour, n.collectFiles},
		{"sweep limits", time.Hour, n.sweepLimits},
		{"write down when API keys were used", time.Hour, n.Engine.WriteUses},
		{"write down when sessions were used", 5 * time.Minute, n.Engine.WriteSessionUses},
		{"sweep sessions", time.Hour, n.Engine.SweepSessions},
		{"replay erasures", replayEvery, func(ctx context.Context) error { n.Engine.ReplayWaiting(ctx); n.tellWaiting(); return nil }},
		{"check key services", keysEvery, n.checkKeys},
		{"erase what is due", time.Minute, n.Engine.EraseDue},
		{"end erasure epochs", epochsEvery(n.epoch), n.Engine.EndEpochs},
		{"check integrity", checkEvery, n.checkIntegrity},
		{"tell the log of settings", time.Minute, n.tellSettings},
	}
}

// epochsEvery is how often it is looked whether an erasure epoch is over: every hour,
// so that an end comes an hour late at most, and more often for a shorter epoch.
func epochsEvery(epoch time.Duration) time.Duration {
	if epoch == 0 {
		return time.Hour
	}
	return min(time.Hour, max(time.Second, epoch))
}

const (
	// refusalsEvery is how often is looked whether the log is to be told of refusals that
	// are counted: so much later than they are due it is told of them.
	refusalsEvery = time.Second
	// refusalsAgain is the pause after a log that could not be told.
	refusalsAgain = 15 * time.Second
)

// tellRefusals tells the log of refusals until ctx ends. While there are none, it
// sleeps.
func (n *Node) tellRefusals(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.Engine.Refused():
		}
		for wait := refusalsEvery; n.Engine.CountsRefusals(); {
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			wait = refusalsEvery
			if err := n.Engine.TellRefusals(ctx, false); err != nil && ctx.Err() == nil {
				n.log.Error("the log could not be told of refusals", "error", err)
				wait = refusalsAgain
			}
		}
	}
}

// replayEvery is the pause between tries to replay erasures that wait for a key service.
const replayEvery = 5 * time.Second

// keysEvery is the pause between tries of the key services.
const keysEvery = 5 * time.Second

// checkKeys has the key services unwrap a key unless somebody just asked for readiness,
// so that their figures and the log tell of an outage also where nothing is done. What
// it answers is told by these alone.
func (n *Node) checkKeys(ctx context.Context) error {
	_ = n.ring.Check(ctx)
	return nil
}

// tellWaiting says once of each tenant that it is not served, and when it is again.
func (n *Node) tellWaiting() {
	waiting := n.Engine.Waiting()
	for tenant, err := range waiting {
		if before, told := n.waiting[tenant]; !told || fault.CodeOf(before) != fault.CodeOf(err) {
			n.log.Error("a tenant is not served: its erasures cannot be carried out again", "tenant", tenant, "error", err)
		}
	}
	for tenant := range n.waiting {
		if waiting[tenant] == nil {
			n.log.Info("a tenant is served again", "tenant", tenant)
		}
	}
	n.waiting = waiting
}

// collectFiles clears away what uploads leave behind, of every tenant.
func (n *Node) collectFiles(ctx context.Context) error {
	var errs []error
	if s, ok := n.blobs.(blob.Sweeper); ok {
		errs = append(errs, s.Sweep(ctx))
	}
	tenants, err := n.db.Keys().Tenants(ctx)
	if err != nil {
		return err
	}
	for _, tenant := range tenants { // one that fails must not hold up the others
		_, err := n.Engine.CollectFiles(ctx, tenant)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// sweepLimits clears away what servers on Postgres share of limits.
func (n *Node) sweepLimits(ctx context.Context) error {
	if !n.shared {
		return nil
	}
	tenants, err := n.db.Keys().Tenants(ctx)
	for _, tenant := range tenants {
		err = errors.Join(err, n.Engine.SweepLimits(ctx, tenant))
	}
	return err
}

// maintain runs all jobs, each in a goroutine of its own, until ctx ends. A job
// that fails says so in the log and comes again.
func (n *Node) maintain(ctx context.Context) {
	for _, j := range n.jobs() {
		n.done.Go(func() {
			timer := time.NewTimer(min(j.every, soon))
			defer timer.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-timer.C:
				}
				if err := j.run(ctx); err != nil && ctx.Err() == nil {
					n.log.Error("periodic work failed", "job", j.name, "error", err)
				}
				timer.Reset(j.every)
			}
		})
	}
}
