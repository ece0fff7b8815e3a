package node

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
)

// keptChecks is what is known of the checks of a tenant after a restart.
type keptChecks struct {
	Place   engine.CheckState `json:"place"`
	Current keptCheck         `json:"current"`
	Last    keptCheck         `json:"last"`
	Ordered *keptCheck        `json:"ordered,omitempty"` // one that is over
	Content []engine.Finding  `json:"content,omitempty"` // see checks
	Owed    []engine.Finding  `json:"owed,omitempty"`
}

type keptCheck struct {
	Began     time.Time        `json:"began"`
	Ended     time.Time        `json:"ended"`
	Phase     string           `json:"phase"`
	Rows      uint64           `json:"rows"`
	Files     bool             `json:"files,omitempty"`
	Bytes     uint64           `json:"bytes,omitempty"`
	Uncovered uint64           `json:"uncovered,omitempty"`
	Error     string           `json:"error,omitempty"`
	Found     []engine.Finding `json:"found"`
}

func (c *checked) kept() keptCheck {
	return keptCheck{
		Began: c.began, Ended: c.ended, Phase: c.phase, Rows: c.rows, Files: c.files, Bytes: c.bytes, Uncovered: c.uncovered, Error: c.err, Found: c.found,
	}
}

func (k keptCheck) checked() checked {
	c := checked{began: k.Began, ended: k.Ended, phase: k.Phase, rows: k.Rows, files: k.Files, bytes: k.Bytes, uncovered: k.Uncovered, err: k.Error}
	c.add(k.Found)
	return c
}

// keepChecks stores what is known of a tenant. Of one without keys, as the operator is
// before there is an anchor log, nothing is kept.
func (n *Node) keepChecks(ctx context.Context, tenant string) error {
	if keyed, err := n.keyed(ctx, tenant); err != nil || !keyed {
		return err
	}
	n.integrity.mu.Lock()
	c := n.integrity.of(tenant)
	k := keptChecks{Place: c.place, Current: c.current.kept(), Last: c.last.kept(), Content: c.content, Owed: c.owed}
	if c.ordered != nil && !c.ordered.ended.IsZero() {
		ordered := c.ordered.kept()
		k.Ordered = &ordered
	}
	text, err := json.Marshal(k) // before anything in it is changed
	n.integrity.mu.Unlock()
	if err != nil {
		return fault.New(fault.Internal, "write down the checks of a tenant: %w", err)
	}
	return n.Engine.KeepCheck(ctx, tenant, text)
}

// readKept has what was kept of all tenants read, so that findings that are open show,
// also when a key service is away at first.
func (n *Node) readKept(ctx context.Context) {
	for {
		_, err := n.loadAllChecks(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		n.log.Warn("what was kept of checks cannot be read yet", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(checkEvery):
		}
	}
}

// loadAllChecks reads what was kept of all tenants, once, and returns those of whom it
// could. An error is about the others, who hold nobody up.
func (n *Node) loadAllChecks(ctx context.Context) (loaded []string, err error) {
	stored, err := n.storedTenants(ctx)
	errs := []error{err}
	tenants, err := n.checked(ctx, stored)
	errs = append(errs, err)
	for _, tenant := range tenants {
		if err := n.loadChecks(ctx, tenant); err != nil {
			errs = append(errs, err)
			continue
		}
		loaded = append(loaded, tenant)
	}
	return loaded, errors.Join(errs...)
}

// storedEvery is for how long the server knows which tenants rows name: on Postgres it
// connects as the owner of the data to ask.
const storedEvery = time.Minute

// storedTenants lists the tenants that rows name. Beside an error it lists those that they
// named before.
func (n *Node) storedTenants(ctx context.Context) ([]string, error) {
	i := &n.integrity
	i.loading.Lock()
	defer i.loading.Unlock()
	if at := n.now(); i.storedAt.IsZero() || at.Sub(i.storedAt).Abs() >= storedEvery {
		stored, err := n.db.StoredTenants(ctx)
		if err != nil {
			return i.stored, err
		}
		i.stored, i.storedAt = stored, at
	}
	return i.stored, nil
}

// loadChecks reads what was kept of a tenant, once. What no server wrote is a finding,
// and then nothing was checked yet.
func (n *Node) loadChecks(ctx context.Context, tenant string) error {
	i := &n.integrity
	i.loading.Lock()
	defer i.loading.Unlock()
	if i.knows(tenant) {
		return nil
	}
	var k keptChecks
	keyed, err := n.keyed(ctx, tenant)
	if err != nil {
		return err
	}
	if !keyed {
		i.take(tenant, k)
		return nil
	}
	text, err := n.Engine.KeptCheck(ctx, tenant)
	if err == nil && text != nil {
		err = json.Unmarshal(text, &k)
	}
	if err != nil && !fault.Is(err, fault.Integrity) {
		return err
	}
	if err == nil {
		i.take(tenant, k)
		return nil
	}
	f := engine.Finding{Kind: engine.FoundObject, Tenant: tenant, Where: "checks", What: err.Error(), Do: "check everything: underseal fsck --online"}
	n.alarm(ctx, tenant, []engine.Finding{f})
	i.take(tenant, keptChecks{Last: keptCheck{Began: n.now(), Ended: n.now(), Error: "what was kept of it is not what the server wrote", Found: []engine.Finding{f}}})
	return nil
}

func (i *integrity) knows(tenant string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.of(tenant).loaded
}

func (i *integrity) take(tenant string, k keptChecks) {
	i.mu.Lock()
	defer i.mu.Unlock()
	c := i.of(tenant)
	refused := c.last.found // by reads that were faster than this
	c.loaded, c.place, c.current, c.last = true, k.Place, k.Current.checked(), k.Last.checked()
	c.last.add(refused)
	c.content, c.owed = k.Content, slices.Concat(k.Owed, c.owed)
	all := slices.Concat(c.current.found, c.last.found, c.content, c.owed)
	if k.Ordered != nil {
		ordered := k.Ordered.checked()
		c.ordered = &ordered
		all = append(all, ordered.found...)
	}
	for _, f := range all {
		c.told[f.Name()] = true
	}
}
