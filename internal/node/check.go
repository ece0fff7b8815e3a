package node

import (
	"context"
	"errors"

	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/store"
)

// CheckConfig says how a database that no server uses is checked.
type CheckConfig struct {
	WithoutKeys bool // only what needs none; no key service is asked
	// State is where to go on, by tenant; one that is not in it is checked from the
	// beginning.
	State map[string]engine.CheckState
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
	db, err := store.Open(ctx, store.Config{Path: cfg.Data, DSN: cfg.DSN, KeysDSN: cfg.KeysDSN})
	if err != nil {
		return err
	}
	n := &Node{db: db, log: cfg.Log}
	defer func() { err = errors.Join(err, n.Close()) }()
	if err := n.openToCheck(ctx, cfg, check.WithoutKeys); err != nil {
		return err
	}
	tenants, err := db.Keys().Tenants(ctx)
	if err != nil {
		return err
	}
	for _, tenant := range tenants {
		c := n.Engine.NewCheck(tenant, check.State[tenant], engine.CheckOptions{WithoutKeys: check.WithoutKeys})
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

// openToCheck opens the keys, if they are wanted, and an engine that serves nobody.
func (n *Node) openToCheck(ctx context.Context, cfg Config, withoutKeys bool) error {
	meta, found, err := n.db.Deployment(ctx)
	if err == nil && !found {
		err = fault.New(fault.NotFound, "the database holds no Underseal data")
	}
	if err != nil {
		return err
	}
	if !withoutKeys {
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
	n.Engine, err = engine.New(engine.Config{Store: n.db, Ring: n.ring, Deployment: meta.Deployment, Now: cfg.Now})
	return err
}
