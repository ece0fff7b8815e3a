package node

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/anchor"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
)

const (
	// checkEvery is how often the server looks at a part of the database.
	checkEvery = 10 * time.Second
	// checkAtOnce is how many rows one part has, so that a low rate is not a burst.
	checkAtOnce = 128
	// maxFindings bounds the findings that are kept to be asked for.
	maxFindings = 1000
)

// integrity compares the whole database with its logs: again and again, slowly, and at
// once when somebody orders it. A round or an ordered check that the end of the server
// cuts short begins anew, the latter when it is ordered again.
type integrity struct {
	rate    int // rows a second; 0: never
	anchors *anchor.Log

	// Owned by the job.
	round []string      // tenants that the round has still to do; the first is under way
	check *engine.Check // of the first

	mu      sync.Mutex // guards what follows
	current checked    // the round under way
	last    checked    // the newest one that is over
	ordered map[string]*checked
	told    map[string]bool // what the logs have been told of
	ended   time.Time       // of the newest check of everything; zero: none since the start

	wake chan struct{} // an ordered check is due
}

func newIntegrity(rate int) integrity { return integrity{rate: rate, wake: make(chan struct{}, 1)} }

// checked is a check, under way or over.
type checked struct {
	began, ended time.Time // ended is zero while it is under way
	due          bool      // ordered, and nobody carries it out yet
	phase        string
	rows         uint64
	err          error // why it could not go on
	found        []engine.Finding
	names        map[string]bool // of what was found
}

// add adds what a part found.
func (c *checked) add(found []engine.Finding) {
	if c.names == nil {
		c.names = map[string]bool{}
	}
	for _, f := range found {
		if name := f.Name(); !c.names[name] {
			if c.names[name] = true; len(c.found) < maxFindings {
				c.found = append(c.found, f)
			}
		}
	}
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
		rows := i.check.State.Rows - before
		budget -= max(1, int64(rows))
		i.progress(rows, i.check.State.Phase, found)
		if i.check.Done() {
			i.check, i.round = nil, i.round[1:]
			if len(i.round) == 0 {
				i.endRound(n.now())
				return nil // what the next round would see, it sees the next time
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
		tenants, err := n.checked(ctx)
		if err != nil || len(tenants) == 0 {
			return err
		}
		i.round = tenants
		i.beginRound(n.now())
	}
	i.check = n.newCheck(i.round[0], engine.CheckState{}, engine.CheckOptions{Part: checkAtOnce}, i.anchors)
	return nil
}

func (i *integrity) beginRound(at time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.current = checked{began: at}
}

func (i *integrity) progress(rows uint64, phase string, found []engine.Finding) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.current.rows, i.current.phase = i.current.rows+rows, phase
	i.current.add(found)
}

func (i *integrity) endRound(at time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.current.ended, i.ended = at, at
	i.last, i.current = i.current, checked{}
}

// findings is how many things were found by the last round, and by the one under way
// and the ordered check if those have more.
func (i *integrity) findings() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	most := max(len(i.last.names), len(i.current.names))
	for _, c := range i.ordered {
		if i.last.began.Before(c.began) { // a later round knows better
			most = max(most, len(c.names))
		}
	}
	return most
}

// alarm tells the tenant's log, the server's log and the metric of findings, each
// once. Those about the anchor log are told in the first tenant's: the operator has
// none that says anything.
func (n *Node) alarm(ctx context.Context, found []engine.Finding) error {
	var errs []error
	for _, f := range found {
		if !n.integrity.toTell(f) {
			continue
		}
		n.log.Error("the database is not what its log says", "tenant", f.Tenant, "found", f.Kind, "table", f.Where, "object", f.Object, "step", f.Step, "what", f.What)
		tenant := f.Tenant
		if tenant == operator {
			tenant = identity.MainTenant
		}
		if err := n.Engine.Alarm(ctx, tenant, f); err != nil {
			n.integrity.tellAgain(f)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// toTell reports whether nobody was told of a finding yet, and takes down that they are.
func (i *integrity) toTell(f engine.Finding) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.told == nil {
		i.told = map[string]bool{}
	}
	known := i.told[f.Name()]
	i.told[f.Name()] = true
	return !known
}

func (i *integrity) tellAgain(f engine.Finding) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.told, f.Name())
}

// BeginCheck checks all of a tenant, and the anchor logs, at once. First is called
// before it begins; if it fails, nothing does. Conflict (code "check_running") when one is
// under way. It implements engine.Integrity.
func (n *Node) BeginCheck(tenant string, first func() error) error {
	i := &n.integrity
	c, err := i.order(tenant, n.now())
	if err != nil {
		return err
	}
	if err := first(); err != nil {
		i.mu.Lock()
		defer i.mu.Unlock()
		delete(i.ordered, tenant)
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	c.due = true
	select {
	case i.wake <- struct{}{}:
	default: // it is awake
	}
	return nil
}

func (i *integrity) order(tenant string, at time.Time) (*checked, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if c := i.ordered[tenant]; c != nil && c.ended.IsZero() {
		return nil, fault.New(fault.Conflict, "a check of everything is under way").WithCode("check_running").
			WithHint("`underseal fsck --status` says how far it is")
	}
	if i.ordered == nil {
		i.ordered = map[string]*checked{}
	}
	i.ordered[tenant] = &checked{began: at}
	return i.ordered[tenant], nil
}

// runOrders carries out ordered checks until ctx ends.
func (n *Node) runOrders(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.integrity.wake:
		}
		for tenant, c := n.integrity.nextOrder(); c != nil && ctx.Err() == nil; tenant, c = n.integrity.nextOrder() {
			n.runOrdered(ctx, tenant, c)
		}
	}
}

// nextOrder returns an ordered check that nobody carries out yet; nil: there is none.
func (i *integrity) nextOrder() (string, *checked) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, tenant := range slices.Sorted(maps.Keys(i.ordered)) {
		if c := i.ordered[tenant]; c.due {
			c.due = false
			return tenant, c
		}
	}
	return "", nil
}

// runOrdered carries an ordered check out, tells the tenant's log how it ended, and
// then whoever asks. The end of the server cuts it short.
func (n *Node) runOrdered(ctx context.Context, tenant string, c *checked) {
	i := &n.integrity
	err := n.orderedParts(ctx, tenant, c)
	if ctx.Err() == nil {
		n.tellEnd(ctx, tenant, c, err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	c.ended, c.err = n.now(), err
	if err == nil {
		i.ended = c.ended
	}
}

func (n *Node) tellEnd(ctx context.Context, tenant string, c *checked, err error) {
	n.integrity.mu.Lock()
	rows, found := c.rows, len(c.names)
	n.integrity.mu.Unlock()
	if err != nil {
		n.log.Error("an ordered check could not go on", "tenant", tenant, "error", err)
	}
	if err := n.Engine.CheckEnded(ctx, tenant, err == nil, rows, found); err != nil {
		n.log.Error("the log could not be told that a check is over", "tenant", tenant, "error", err)
	}
}

func (n *Node) orderedParts(ctx context.Context, tenant string, c *checked) error {
	i := &n.integrity
	tenants, err := n.checked(ctx)
	if err != nil {
		return err
	}
	for _, name := range tenants {
		if name != tenant && name != operator {
			continue
		}
		for check := n.newCheck(name, engine.CheckState{}, engine.CheckOptions{}, i.anchors); !check.Done(); {
			before := check.State.Rows
			found, err := check.Next(ctx)
			if err == nil {
				err = n.alarm(ctx, found)
			}
			if err != nil {
				return err
			}
			i.mu.Lock()
			c.rows, c.phase = c.rows+check.State.Rows-before, check.State.Phase
			c.add(found)
			i.mu.Unlock()
		}
	}
	return nil
}

// CheckStatus says what was checked of a tenant and when. It implements
// engine.Integrity.
func (n *Node) CheckStatus(tenant string) api.Integrity {
	i := &n.integrity
	i.mu.Lock()
	defer i.mu.Unlock()
	out := api.Integrity{Rate: i.rate, Current: i.current.wire(tenant), Last: i.last.wire(tenant)}
	if c := i.ordered[tenant]; c != nil {
		out.Ordered = c.wire(tenant)
	}
	return out
}

// wire is what a tenant is told of a check, nil if it did not begin.
func (c *checked) wire(tenant string) *api.IntegrityCheck {
	if c.began.IsZero() {
		return nil
	}
	out := &api.IntegrityCheck{State: "running", Began: c.began, Phase: c.phase, Rows: c.rows, Findings: []api.IntegrityFinding{}}
	for _, f := range c.found {
		if f.Tenant == tenant || f.Tenant == operator {
			out.Findings = append(out.Findings, api.IntegrityFinding(f))
		}
	}
	switch {
	case c.err != nil:
		out.State, out.Error = "failed", c.err.Error()
	case !c.ended.IsZero():
		out.State = "done"
	}
	if ended := c.ended; !ended.IsZero() {
		out.Ended = &ended
	}
	return out
}

// Sound returns why the database is not to be trusted; nil when the checks found
// nothing. It implements engine.Integrity.
func (n *Node) Sound() error {
	found := n.integrity.findings()
	if found == 0 {
		return nil
	}
	return fault.New(fault.Integrity, "the database is not what its log says: %d findings", found).WithCode(api.CodeDegraded).
		WithHint("`underseal fsck --status` lists them")
}

func (i *integrity) collectors() []prometheus.Collector {
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "underseal_integrity_findings", Help: "What the checks found that is not as the log says.",
		}, func() float64 { return float64(i.findings()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "underseal_integrity_checked_timestamp_seconds", Help: "When the newest check of everything ended; 0: none since the start.",
		}, func() float64 {
			i.mu.Lock()
			defer i.mu.Unlock()
			if i.ended.IsZero() {
				return 0
			}
			return float64(i.ended.Unix())
		}),
	}
}

var _ engine.Integrity = (*Node)(nil)
