package node

import (
	"context"
	"errors"
	"slices"

	"github.com/underseal/underseal/internal/anchor"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/store"
)

// CheckConfig says how a database that no server uses is checked.
type CheckConfig struct {
	WithoutKeys bool // only what needs none; no key service is asked
	// Begin, if not nil, is told whose database it is before the first part. An error
	// ends the check.
	Begin func(deployment string) error
	// State is where to go on, by tenant; one that is not in it is checked from the
	// beginning.
	State map[string]engine.CheckState
	// Files reads all files, too, at most FileRate bytes a second; 0: as many as can be.
	Files    bool
	FileRate int64
	// Rows is how many rows one part has, about; 0: some thousands.
	Rows int
	// Part is called after each part of the check. An error ends it.
	Part func(tenant string, state engine.CheckState, found []engine.Finding) error
}

// Check compares all that a database holds with its logs. Nothing is served or
// carried out meanwhile, and nothing is written but migrations.
func Check(ctx context.Context, cfg Config, check CheckConfig) (err error) {
	cfg.Create = false
	if err := cfg.check(); err != nil {
		return err
	}
	db, err := store.Open(ctx, store.Config{Path: cfg.Data, DSN: cfg.DSN, KeysDSN: cfg.KeysDSN, Fault: cfg.Fault})
	if err != nil {
		return err
	}
	n := &Node{db: db, log: cfg.Log}
	defer func() { err = errors.Join(err, n.Close()) }()
	if err := n.openToCheck(ctx, cfg, check); err != nil {
		return err
	}
	anchors, err := n.anchorsToCheck(ctx, cfg)
	if err != nil {
		return err
	}
	stored, err := n.db.StoredTenants(ctx)
	if err != nil {
		return err
	}
	tenants, err := n.checked(ctx, stored)
	if err != nil {
		return err
	}
	if len(tenants) == 0 {
		f := engine.Finding{Kind: engine.FoundKeys, Where: "tenant_keys", What: "there is a deployment, and no row of any tenant",
			Do: "the data and the keys were taken away: put a backup of both back. If the first start was cut short, start the server again"}
		return check.Part("", engine.CheckState{Phase: "done"}, []engine.Finding{f})
	}
	for _, tenant := range tenants {
		c := n.newCheck(tenant, check.State[tenant], check.options(n), anchors)
		for !c.Done() {
			found, err := c.Next(ctx)
			if err != nil {
				return err
			}
			if err := check.Part(tenant, c.State, found); err != nil {
				return err
			}
		}
	}
	return nil
}

func (check *CheckConfig) options(n *Node) engine.CheckOptions {
	return engine.CheckOptions{WithoutKeys: check.WithoutKeys, Part: check.Rows, Files: n.fileCheck(check.Files), FileRate: check.FileRate}
}

// openToCheck opens the keys, if they are wanted, and an engine that serves nobody.
func (n *Node) openToCheck(ctx context.Context, cfg Config, check CheckConfig) error {
	meta, found, err := n.db.Deployment(ctx)
	if err == nil && !found {
		err = fault.New(fault.NotFound, "the database holds no Underseal data")
	}
	if err == nil && check.Begin != nil {
		err = check.Begin(meta.Deployment)
	}
	if err != nil {
		return err
	}
	if !check.WithoutKeys {
		services, byDefault, err := n.keyServices(ctx, cfg, false)
		if err != nil {
			return err
		}
		n.ring, err = keyring.Open(ctx, keyring.Config{
			Services: n.guard(services, cfg), Default: byDefault, Storage: n.db.Keys(), Deployment: meta.Deployment, Now: cfg.Now,
		})
		if err != nil {
			return err
		}
	}
	if n.blobs, err = n.lookAtBlobs(cfg, meta.Deployment); err != nil {
		return err
	}
	n.identity = identity.New(identity.Config{Store: n.db, Ring: n.ring, Deployment: meta.Deployment, Now: cfg.Now})
	n.Engine, err = engine.New(engine.Config{
		Store: n.db, Ring: n.ring, Identity: n.identity, Deployment: meta.Deployment, Now: cfg.Now, Blobs: n.blobs, ChecksOnly: true,
	})
	return err
}

// checked lists whom a whole check goes through: all tenants, those that only rows name,
// which are given, and the operator, whose check has the anchor logs, if there ever was
// one. An error can come beside tenants.
func (n *Node) checked(ctx context.Context, stored []string) ([]string, error) {
	tenants, err := n.db.Keys().Tenants(ctx)
	if err != nil {
		return nil, err
	}
	for _, tenant := range stored {
		if !slices.Contains(tenants, tenant) {
			tenants = append(tenants, tenant)
		}
	}
	if slices.Contains(tenants, operator) {
		return tenants, nil
	}
	logs, err := n.db.StoredAnchorLogs(ctx)
	if err != nil {
		return tenants, err
	}
	heads, err := n.db.AnchorLogs(ctx)
	if len(logs)+len(heads) > 0 {
		tenants = append(tenants, operator)
	}
	return tenants, err
}

// keyed reports whether a tenant has keys. One that has none has no log that could be told
// of anything: it is what somebody called the rows that they put there, or its keys are gone.
func (n *Node) keyed(ctx context.Context, tenant string) (bool, error) {
	tenants, err := n.db.Keys().Tenants(ctx)
	return slices.Contains(tenants, tenant), err
}

// newCheck begins the check of a tenant, or goes on with one.
func (n *Node) newCheck(tenant string, state engine.CheckState, o engine.CheckOptions, anchors *anchor.Log) *engine.Check {
	if tenant == operator {
		o.Anchors = anchors
	}
	return n.Engine.NewCheck(tenant, state, o)
}

// anchorsToCheck returns what knows the anchor logs' keys, witnesses and authority, also
// when nobody is to see them any more. A check makes no keys: without the operator's it
// finds that they are gone.
func (n *Node) anchorsToCheck(ctx context.Context, cfg Config) (*anchor.Log, error) {
	if n.anchor != nil {
		return n.anchor, nil
	}
	meta, _, err := n.db.Deployment(ctx)
	if err != nil {
		return nil, err
	}
	c := n.anchorConfig(cfg, meta.Deployment)
	c.Seed = func(ctx context.Context) ([]byte, error) {
		tenants, err := n.db.Keys().Tenants(ctx)
		if err == nil && !slices.Contains(tenants, operator) {
			err = fault.New(fault.Integrity, "the keys of the anchor log are gone")
		}
		if err != nil {
			return nil, err
		}
		return n.anchorSeed(ctx)
	}
	return anchor.New(c)
}
