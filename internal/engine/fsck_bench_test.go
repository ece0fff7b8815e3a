package engine_test

import (
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

// BenchmarkFsckLog measures the check of a log and of what it is of: each iteration
// is one check of 100,000 leaves of no object.
func BenchmarkFsckLog(b *testing.B) {
	const leaves = 100_000
	env := testenv.New(b, func(c *node.Config) { c.CheckRate = 0 })
	var g errgroup.Group
	for range 32 {
		g.Go(func() error {
			for range leaves / 32 {
				if err := engine.RecordEntry(b.Context(), env.Engine, env.Ann, "data.shown", nil); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
	env.Restart(nil) // all have their places
	spent := map[string]time.Duration{}
	rows := uint64(0)
	b.ResetTimer()
	for range b.N {
		c := env.Engine.NewCheck(identity.MainTenant, engine.CheckState{}, engine.CheckOptions{})
		for !c.Done() {
			phase, began := c.State.Phase, time.Now()
			found, err := c.Next(b.Context())
			if err != nil || len(found) > 0 {
				b.Fatalf("%v %v", found, err)
			}
			spent[phase] += time.Since(began)
			if phase == "logs" {
				rows = max(rows, c.State.Rows)
			}
		}
	}
	b.ReportMetric(float64(b.N)*float64(rows)/spent["logs"].Seconds(), "leaves/s")
	b.ReportMetric(float64(b.N)*float64(rows)/spent["objects"].Seconds(), "objects/s")
}
