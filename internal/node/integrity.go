package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/anchor"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
)

const (
	// checkEvery is how often the server looks at a part of the database.
	checkEvery = 10 * time.Second
	// checkAtOnce is how many rows one part has, so that a low rate is not a burst.
	checkAtOnce = 128
	// waitsAtMost is how long an ordered check waits for the end of one outage: over a
	// night, and no order stands in the way of another one for ever.
	waitsAtMost = 12 * time.Hour
	// maxFindings bounds the findings that are kept to be asked for.
	maxFindings = 1000
)

// integrity compares the whole database with its logs: tenant after tenant, again and
// again, slowly, and at once when somebody orders it. What it knows outlives the server
// (kept.go); an ordered check that the end of the server cuts short is ordered again.
type integrity struct {
	rate     int   // rows a second; 0: never
	fileRate int64 // bytes of files a second; 0: as many as can be
	anchors  *anchor.Log

	// Owned by the job.
	round []string      // tenants that the round has still to do; the first is under way
	check *engine.Check // of the first; nil: to be begun

	loading sync.Mutex // held by whoever reads what was kept; guards stored and storedAt
	// stored are the tenants that rows name, as of storedAt.
	stored   []string
	storedAt time.Time

	mu      sync.Mutex // guards what follows
	tenants map[string]*checks

	wake chan struct{} // an ordered check is due, or a log is to be told of something
}

func newIntegrity(rate int, fileRate int64) integrity {
	return integrity{rate: rate, fileRate: fileRate, tenants: map[string]*checks{}, wake: make(chan struct{}, 1)}
}

// checks are what is known of the checks of one tenant.
type checks struct {
	loaded  bool              // what was kept is in here
	place   engine.CheckState // where current stands
	current checked           // the server's own that is under way
	last    checked           // the newest of those that is over
	ordered *checked
	// content are the findings of the newest check that read all files which only reading
	// them tells. A check that reads none says nothing about them.
	content []engine.Finding
	told    map[string]bool  // names of findings that the server's log was told of
	owed    []engine.Finding // of those, what the tenant's log is still to be told of
	telling sync.Mutex       // held by whoever tells it
}

// checked is a check, under way or over.
type checked struct {
	began, ended time.Time // ended is zero while it is under way
	order        order     // of an ordered one
	phase        string
	rows         uint64
	files        bool   // all of them are read too
	bytes        uint64 // of them so far
	uncovered    uint64 // leaves of which there will be no proof
	err          string // why it could not go on
	found        []engine.Finding
	names        map[string]bool  // of what was found
	content      []engine.Finding // of these, what only reading files tells
}

// order says how far an ordered check is. It waits where it stands while there is an
// outage.
type order struct {
	due     bool              // nobody carries it out now
	place   engine.CheckState // where it goes on
	away    time.Time         // since when it cannot; zero: it can
	waiting string            // why it cannot
	anchors *checked          // what is the operator's of it
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

// of returns what is known of a tenant. The caller holds i.mu.
func (i *integrity) of(tenant string) *checks {
	c := i.tenants[tenant]
	if c == nil {
		c = &checks{told: map[string]bool{}}
		i.tenants[tenant] = c
	}
	return c
}

// checkIntegrity looks at the next rows, and tells the logs what they were not told of yet.
func (n *Node) checkIntegrity(ctx context.Context) error {
	i := &n.integrity
	errs := []error{n.tellAllOwed(ctx)}
	for budget := int64(i.rate) * int64(checkEvery/time.Second); budget > 0; {
		errs = append(errs, n.nextTenant(ctx))
		if i.check == nil {
			return errors.Join(errs...)
		}
		tenant := i.round[0]
		rows, err := n.checkPart(ctx, tenant)
		budget -= max(1, int64(rows))
		if err == nil && !i.check.Done() {
			if budget <= 0 {
				errs = append(errs, n.keepChecks(ctx, tenant))
			}
			continue
		}
		if err == nil {
			i.endCheck(tenant, n.now())
		}
		// The check of one that cannot be looked at now goes on in the next round, and
		// that of the others in this one.
		i.check, i.round = nil, i.round[1:]
		errs = append(errs, err, n.keepChecks(ctx, tenant))
		if len(i.round) == 0 {
			break // what the next round would see, it sees the next time
		}
	}
	return errors.Join(errs...)
}

// checkPart looks at the next part of a tenant. After an outage it is tried again.
func (n *Node) checkPart(ctx context.Context, tenant string) (rows uint64, err error) {
	i := &n.integrity
	before := i.check.State.Rows
	found, err := i.check.Next(ctx)
	if fault.CodeOf(err) == engine.CodeCheckState {
		i.progress(tenant, engine.CheckState{}, 0, nil) // from the beginning
	}
	if err != nil {
		return 0, err
	}
	n.alarm(ctx, tenant, found)
	rows = i.check.State.Rows - before
	i.progress(tenant, i.check.State.Clone(), rows, found)
	return rows, nil
}

// nextTenant begins the check of a tenant, or goes on with it, and begins a round if the
// last one is over. An error is about tenants that the round has not.
func (n *Node) nextTenant(ctx context.Context) error {
	i := &n.integrity
	if i.check != nil {
		return nil
	}
	var err error
	if len(i.round) == 0 {
		var tenants []string
		if tenants, err = n.loadAllChecks(ctx); len(tenants) == 0 {
			return err
		}
		i.round = i.inTurn(tenants)
	}
	i.check = n.newCheck(i.round[0], i.begin(i.round[0], n.now()), engine.CheckOptions{Part: checkAtOnce, Files: n.fileCheck(false)}, i.anchors)
	return err
}

// inTurn orders tenants for a round: those whose check was cut short come first, then
// those whose check was longest ago.
func (i *integrity) inTurn(tenants []string) []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	since := func(tenant string) time.Time {
		if c := i.of(tenant); c.current.began.IsZero() {
			return c.last.ended
		}
		return time.Time{}
	}
	tenants = slices.Clone(tenants)
	slices.SortStableFunc(tenants, func(a, b string) int { return since(a).Compare(since(b)) })
	return tenants
}

// begin returns where the check of a tenant goes on; the zero state: at its beginning.
func (i *integrity) begin(tenant string, at time.Time) engine.CheckState {
	i.mu.Lock()
	defer i.mu.Unlock()
	c := i.of(tenant)
	if c.current.began.IsZero() {
		c.current, c.place = checked{began: at}, engine.CheckState{}
	}
	return c.place.Clone()
}

func (i *integrity) progress(tenant string, place engine.CheckState, rows uint64, found []engine.Finding) {
	i.mu.Lock()
	defer i.mu.Unlock()
	c := i.of(tenant)
	c.place, c.current.rows, c.current.phase, c.current.uncovered = place, c.current.rows+rows, place.Phase, place.Uncovered
	c.current.add(found)
}

func (i *integrity) endCheck(tenant string, at time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	c := i.of(tenant)
	c.current.ended = at
	c.last, c.current, c.place = c.current, checked{}, engine.CheckState{}
	c.forget(&c.last)
}

// forget has findings told again that a whole check did not find any more, nor a later
// one that is under way or was ordered. The caller holds i.mu.
func (c *checks) forget(whole *checked) {
	content := c.contentNames()
	maps.DeleteFunc(c.told, func(name string, _ bool) bool {
		later := c.ordered != nil && c.ordered.began.After(whole.began) && c.ordered.names[name]
		return !whole.names[name] && !c.current.names[name] && !later && !content[name]
	})
}

func (c *checks) contentNames() map[string]bool {
	names := map[string]bool{}
	for _, f := range c.content {
		names[f.Name()] = true
	}
	return names
}

// read takes down what a check that is over and read files has found in them. One that
// could not go on says nothing of the rest. The caller holds i.mu.
func (c *checks) read(of *checked) {
	if of.err == "" {
		c.content = nil
	}
	names := c.contentNames()
	for _, f := range of.content {
		if !names[f.Name()] {
			c.content = append(c.content, f)
		}
	}
}

// findings is how many things were found by the last check of each tenant, the one under
// way, the ordered one, if it is newer, and the last one that read files, in these.
func (i *integrity) findings() (sum int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, c := range i.tenants {
		names := c.contentNames()
		maps.Copy(names, c.last.names)
		maps.Copy(names, c.current.names)
		if o := c.ordered; o != nil && c.last.began.Before(o.began) { // a later check knows better
			maps.Copy(names, o.names)
		}
		sum += len(names)
	}
	return sum
}

// whole is when everything had been checked last: each tenant since then. Zero: some
// tenant never was.
func (i *integrity) whole() (at time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, c := range i.tenants {
		newest := time.Time{}
		if c.last.err == "" {
			newest = c.last.ended
		}
		if o := c.ordered; o != nil && o.err == "" && o.ended.After(newest) {
			newest = o.ended
		}
		if newest.IsZero() {
			return time.Time{}
		}
		if at.IsZero() || newest.Before(at) {
			at = newest
		}
	}
	return at
}

// alarm tells the server's log and the tenant's of findings, each once. The tenant's that
// cannot be told now is told later, and the check does not wait for that.
func (n *Node) alarm(ctx context.Context, tenant string, found []engine.Finding) {
	var err error
	for _, f := range found {
		if !n.integrity.toTell(tenant, f) {
			continue
		}
		n.logFinding(f)
		if err == nil {
			err = n.tellOwed(ctx, tenant) // checkIntegrity tries again, and says why it cannot
		}
	}
}

func (n *Node) logFinding(f engine.Finding) {
	n.log.Error("the database is not what its log says", "tenant", f.Tenant, "found", f.Kind, "table", f.Where, "object", f.Object, "step", f.Step, "what", f.What)
}

// Refused tells the server's log, and soon the tenant's, of what a read refused, and has it
// stand among the findings until a check of all is over. It implements engine.Integrity.
func (n *Node) Refused(f engine.Finding) {
	if !n.integrity.toTell(f.Tenant, f) {
		return
	}
	n.logFinding(f)
	n.integrity.stand(f)
	n.integrity.rouse()
}

// stand adds a finding to those of the check under way, or else of the last one.
func (i *integrity) stand(f engine.Finding) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if c := i.of(f.Tenant); c.current.began.IsZero() {
		c.last.add([]engine.Finding{f})
	} else {
		c.current.add([]engine.Finding{f})
	}
}

// rouse has runOrders look at what there is to do.
func (i *integrity) rouse() {
	select {
	case i.wake <- struct{}{}:
	default: // it is awake
	}
}

// toTell reports whether nobody was told of a finding yet, and takes down that they are.
// Those about the anchor log are the operator's, who has no log that says anything. Of
// more than can be kept for a tenant's log the next check tells.
func (i *integrity) toTell(tenant string, f engine.Finding) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	c := i.of(tenant)
	if c.told[f.Name()] || len(c.owed) >= maxFindings {
		return false
	}
	c.told[f.Name()] = true
	if tenant != operator {
		c.owed = append(c.owed, f)
	}
	return true
}

// tellOwed tells a tenant's log of findings that it was not told of yet. A tenant without
// keys has no log: the server's and the metric tell of it.
func (n *Node) tellOwed(ctx context.Context, tenant string) error {
	i := &n.integrity
	i.mu.Lock()
	c := i.of(tenant)
	i.mu.Unlock()
	c.telling.Lock()
	defer c.telling.Unlock()
	for {
		i.mu.Lock()
		owed := c.owed
		i.mu.Unlock()
		if len(owed) == 0 {
			return nil
		}
		keyed, err := n.keyed(ctx, tenant)
		if err == nil && keyed {
			err = n.Engine.Alarm(ctx, tenant, owed[0])
		}
		if err != nil {
			return err
		}
		i.mu.Lock()
		c.owed = c.owed[1:]
		i.mu.Unlock()
	}
}

// tellAllOwed tells the logs of all tenants what they could not be told of before.
func (n *Node) tellAllOwed(ctx context.Context) error {
	var errs []error
	for _, tenant := range n.integrity.owing() {
		err := n.loadChecks(ctx, tenant) // or what was kept would be written over
		if err == nil {
			err = n.tellOwed(ctx, tenant)
		}
		if err == nil {
			err = n.keepChecks(ctx, tenant)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// owing lists the tenants whose logs are still to be told of findings.
func (i *integrity) owing() (tenants []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for tenant, c := range i.tenants {
		if len(c.owed) > 0 {
			tenants = append(tenants, tenant)
		}
	}
	slices.Sort(tenants)
	return tenants
}

// BeginCheck checks all of a tenant, and the anchor logs, at once, and reads all of the
// tenant's files if files is set. First is called before it begins; if it fails, nothing
// does. Conflict (code "check_running") when one is under way. It implements
// engine.Integrity.
func (n *Node) BeginCheck(tenant string, files bool, first func() error) error {
	i := &n.integrity
	if err := n.loadChecks(context.Background(), tenant); err != nil {
		return err
	}
	c, former, err := i.order(tenant, files, n.now())
	if err != nil {
		return err
	}
	if err := first(); err != nil {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.of(tenant).ordered = former
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	c.order.due = true
	i.rouse()
	return nil
}

// order takes an order down, and returns the one before too.
func (i *integrity) order(tenant string, files bool, at time.Time) (c, former *checked, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	of := i.of(tenant)
	if former = of.ordered; former != nil && former.ended.IsZero() {
		return nil, nil, fault.New(fault.Conflict, "a check of everything is under way").WithCode("check_running").
			WithHint("`underseal fsck --status` says how far it is")
	}
	of.ordered = &checked{began: at, files: files, order: order{anchors: &checked{began: at}}}
	return of.ordered, former, nil
}

// runOrders tells the logs of what reads refused, and carries out ordered checks, until ctx
// ends.
func (n *Node) runOrders(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.integrity.wake:
		}
		if err := n.tellAllOwed(ctx); err != nil && ctx.Err() == nil {
			n.log.Warn("a log cannot be told now of what was found: it is when it can be", "error", err)
		}
		for _, tenant := range n.integrity.dueOrders() {
			n.runOrdered(ctx, tenant)
		}
	}
}

// dueOrders takes the tenants with an ordered check that nobody carries out now.
func (i *integrity) dueOrders() (tenants []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for tenant, of := range i.tenants {
		if c := of.ordered; c != nil && c.order.due {
			c.order.due, tenants = false, append(tenants, tenant)
		}
	}
	slices.Sort(tenants)
	return tenants
}

// runOrdered carries an ordered check out, and one of the operator with it, tells the
// tenant's log how it ended, and then whoever asks. An outage puts it off; the end of the
// server cuts it short.
func (n *Node) runOrdered(ctx context.Context, tenant string) {
	i := &n.integrity
	c := i.ordered(tenant)
	err := n.orderedParts(ctx, tenant, c)
	if err == nil {
		err = n.tellEnd(ctx, tenant, c, true)
	}
	if ctx.Err() != nil || fault.Is(err, fault.Unavailable) && n.putOff(tenant, c, err) {
		return
	}
	if err != nil {
		n.log.Error("an ordered check could not go on", "tenant", tenant, "error", err)
		if err := n.tellEnd(ctx, tenant, c, false); err != nil {
			n.log.Error("the log could not be told that a check is over", "tenant", tenant, "error", err)
		}
	}
	i.endOrdered(tenant, c, err, n.now())
	ctx = context.WithoutCancel(ctx) // it is over, whatever ends now
	if err := errors.Join(n.keepChecks(ctx, tenant), n.keepChecks(ctx, operator)); err != nil {
		n.log.Error("what an ordered check found is known until the server ends, and could not be kept", "tenant", tenant, "error", err)
	}
}

// ordered is the check of a tenant that was ordered last.
func (i *integrity) ordered(tenant string) *checked {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.of(tenant).ordered
}

// putOff has an ordered check tried again where it stands, unless the outage that keeps it
// from going on is too long. An outage says nothing about the data.
func (n *Node) putOff(tenant string, c *checked, because error) bool {
	i := &n.integrity
	i.mu.Lock()
	defer i.mu.Unlock()
	o, at := &c.order, n.now()
	if o.away.IsZero() {
		o.away = at
		n.log.Warn("an ordered check waits for the end of an outage", "tenant", tenant, "error", because)
	}
	if at.Sub(o.away) >= waitsAtMost {
		return false
	}
	o.due, o.waiting = true, told(because)
	time.AfterFunc(checkEvery, i.rouse)
	return true
}

// told is what a tenant is told of an error; the server's log has all of it.
func told(err error) string {
	var f *fault.Error
	if !errors.As(err, &f) {
		return "something went wrong; the server's log has more"
	}
	return f.OwnText()
}

func (i *integrity) endOrdered(tenant string, c *checked, err error, at time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, of := range []*checked{c, c.order.anchors} {
		if of.ended, of.order.waiting = at, ""; fault.Is(err, fault.Unavailable) {
			of.err = fmt.Sprintf("it waited %v for the end of an outage: %s", waitsAtMost, told(err))
		} else if err != nil {
			of.err = told(err)
		}
	}
	if i.tenants[operator] != nil {
		i.tenants[operator].ordered = c.order.anchors
	}
	if c.files {
		i.of(tenant).read(c)
	}
}

func (n *Node) tellEnd(ctx context.Context, tenant string, c *checked, whole bool) error {
	n.integrity.mu.Lock()
	rows, found := c.rows, len(c.names)
	n.integrity.mu.Unlock()
	return n.Engine.CheckEnded(ctx, tenant, whole, rows, found)
}

// orderedParts checks a tenant, and what is the operator's, from where the order stands.
func (n *Node) orderedParts(ctx context.Context, tenant string, c *checked) error {
	tenants, err := n.checked(ctx, nil)
	if err != nil {
		return err
	}
	for _, name := range tenants {
		of := map[string]*checked{operator: c.order.anchors, tenant: c}[name]
		if of == nil {
			continue
		}
		o := engine.CheckOptions{Files: n.fileCheck(of.files), FileRate: n.integrity.fileRate}
		for check := n.newCheck(name, of.order.place.Clone(), o, n.integrity.anchors); !check.Done(); {
			if err := n.orderedPart(ctx, name, check, of); err != nil {
				return err
			}
			n.integrity.goesOn(c)
		}
	}
	return nil
}

// goesOn takes down that an ordered check can go on: another outage is waited out anew.
func (i *integrity) goesOn(c *checked) {
	i.mu.Lock()
	defer i.mu.Unlock()
	c.order.away, c.order.waiting = time.Time{}, ""
}

func (n *Node) orderedPart(ctx context.Context, tenant string, check *engine.Check, of *checked) error {
	before, files := check.State.Rows, check.ReadsFiles()
	found, err := check.Next(ctx)
	if err != nil {
		return err
	}
	n.alarm(ctx, tenant, found)
	n.integrity.mu.Lock()
	defer n.integrity.mu.Unlock()
	of.rows, of.phase, of.uncovered = of.rows+check.State.Rows-before, check.State.Phase, check.State.Uncovered
	of.bytes, of.order.place = check.State.Bytes, check.State.Clone()
	of.add(found)
	if files {
		of.content = append(of.content, found[:min(len(found), maxFindings-len(of.content))]...)
	}
	return nil
}

// CheckStatus says what was checked of a tenant and when. It implements
// engine.Integrity.
func (n *Node) CheckStatus(tenant string) api.Integrity {
	i := &n.integrity
	if err := n.loadChecks(context.Background(), tenant); err != nil {
		n.log.Warn("what was kept of checks cannot be read now", "tenant", tenant, "error", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	c := i.of(tenant)
	out := api.Integrity{Rate: i.rate, Current: c.current.wire(c.content), Last: c.last.wire(c.content)}
	if c.ordered != nil {
		out.Ordered = c.ordered.wire(c.content)
	}
	return out
}

// wire is what a tenant is told of a check, nil if it did not begin. Content is what the
// last one that read files found in them: that stands until one that reads them is over.
func (c *checked) wire(content []engine.Finding) *api.IntegrityCheck {
	if c.began.IsZero() {
		return nil
	}
	out := &api.IntegrityCheck{
		State: "running", Began: c.began, Phase: c.phase, Rows: c.rows, Files: c.files, Bytes: c.bytes, Uncovered: c.uncovered, Waiting: c.order.waiting,
		Findings: []api.IntegrityFinding{},
	}
	for _, f := range c.found {
		out.Findings = append(out.Findings, api.IntegrityFinding(f))
	}
	for _, f := range content {
		if whole := c.files && c.err == "" && !c.ended.IsZero(); !whole && !c.names[f.Name()] {
			out.Findings = append(out.Findings, api.IntegrityFinding(f))
		}
	}
	switch {
	case c.err != "":
		out.State, out.Error = "failed", c.err
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
		WithHint("`underseal fsck --status` lists those of a tenant, the server's log all")
}

func (i *integrity) collectors() []prometheus.Collector {
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "underseal_integrity_findings", Help: "What the checks found that is not as the log says.",
		}, func() float64 { return float64(i.findings()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "underseal_integrity_checked_timestamp_seconds", Help: "When everything had been checked last; 0: something never was.",
		}, func() float64 {
			at := i.whole()
			if at.IsZero() {
				return 0
			}
			return float64(at.Unix())
		}),
	}
}

var _ engine.Integrity = (*Node)(nil)
