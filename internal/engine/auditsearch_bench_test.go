package engine_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

// The audit that is searched: entries of 1,000 people, each of whom was shown something of
// 10,000 instances or was refused it, and 20 entries of one more.
const (
	auditEntries   = 1_000_000
	auditPeople    = 1_000
	auditInstances = 10_000
	auditRare      = auditEntries / 20
)

// BenchmarkAuditSearch measures pages of 50 entries of a million, newest first, each with
// the entry that tells of the reading.
func BenchmarkAuditSearch(b *testing.B) {
	env := testenv.New(b, func(c *node.Config) { c.CheckRate = 0 })
	instances := fillAudit(b, env)
	for _, search := range []struct {
		unit   string
		filter api.AuditFilter
		least  int // entries of the page
	}{
		{"ms/newest", api.AuditFilter{}, 50},
		{"ms/person", api.AuditFilter{Principal: "p7"}, 50},
		{"ms/person-and-kind", api.AuditFilter{Principal: "p7", Kind: "access."}, 50},
		{"ms/instance", api.AuditFilter{Object: instances[7]}, 50},
		{"ms/rare-person", api.AuditFilter{Principal: "rare"}, 20},
		{"ms/nobody", api.AuditFilter{Principal: "nobody"}, 0},
	} {
		began, pages := time.Now(), 0
		for ; pages < 20; pages++ {
			found, err := env.Engine.Audit(b.Context(), env.Ann, api.AuditQuery{AuditFilter: search.filter, Page: api.Page{Limit: 50}})
			if err != nil || len(found.Items) < search.least {
				b.Fatalf("%s: %d entries, %v, want %d", search.unit, len(found.Items), err, search.least)
			}
		}
		b.ReportMetric(float64(time.Since(began).Microseconds())/1000/float64(pages), search.unit)
	}
}

// fillAudit makes the entries, and returns the ids of the instances.
func fillAudit(b *testing.B, env *testenv.Env) []string {
	instances := make([]string, auditInstances)
	for i := range instances {
		instances[i] = uuid.Must(uuid.NewV7()).String()
	}
	var made atomic.Int64
	var group errgroup.Group
	for range 64 {
		group.Go(func() error {
			for {
				n := int(made.Add(1)) - 1
				if n >= auditEntries {
					return nil
				}
				who, instance := env.Ann, instances[n*31%auditInstances]
				if who.Principal = fmt.Sprintf("p%d", n%auditPeople); n%auditRare == 0 {
					who.Principal = "rare"
				}
				who.Address = fmt.Sprintf("192.0.2.%d", n%250)
				kind, fields := "data.shown", map[string]canon.Value{"$shown": shownValue(instance)}
				if n/auditPeople%10 == 0 {
					kind, fields = "access.denied", map[string]canon.Value{"$count": canon.NewNumber(1), "$resource": canon.String("instance " + instance)}
				}
				if err := engine.RecordEntry(b.Context(), env.Engine, who, kind, fields); err != nil {
					return err
				}
			}
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	env.Restart(nil) // all have their places
	return instances
}

// shownValue says that a variable of an instance was shown.
func shownValue(instance string) canon.Value {
	shown, err := canon.NewContext(
		canon.Entry{Name: "object", Value: canon.String(instance)},
		canon.Entry{Name: "paths", Value: canon.List{canon.String("amount")}},
	)
	if err != nil {
		panic(err) // the names differ
	}
	return canon.List{shown}
}
