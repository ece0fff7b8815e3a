package node

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"

	"golang.org/x/mod/sumdb/note"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/anchor"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/store"
)

// operator names the tenant that the anchor log's key belongs to. It has nothing but
// keys, and no company can have this name.
const operator = "$operator"

const (
	anchorSigningLabel = "underseal/v1/anchor-signing\x00"
	seedLength         = 32 // of an Ed25519 key
)

// openAnchor begins the anchor log, if somebody is configured to see it. It comes
// before anything is signed: data that were set back halt it, and with it all
// signing. One that was halted stays so, whoever is configured now.
func (n *Node) openAnchor(ctx context.Context, cfg Config, deployment string) error {
	if err := n.anchorBegun(ctx, cfg.Restored); err != nil {
		return err
	}
	if len(cfg.Anchor.Witnesses) == 0 && cfg.Anchor.Authority == nil {
		head, err := n.db.AnchorHead(ctx)
		if fault.Is(err, fault.NotFound) || err == nil && head.Halted == "" {
			return nil
		}
		if err != nil {
			return err
		}
	}
	log, err := anchor.New(n.anchorConfig(cfg, deployment))
	if err != nil {
		return err
	}
	n.anchor = log
	n.Engine.UseAnchors(log)
	return log.Start(ctx)
}

// anchorBegun refuses data whose anchor log is gone: with it is what witnesses are shown
// before anything is signed. The operator's keys are made after its first head, which
// stands beside them. Restored data go on in another anchor log.
func (n *Node) anchorBegun(ctx context.Context, restored bool) error {
	begun, err := n.keyed(ctx, operator)
	if err != nil {
		return err
	}
	if restored {
		return anchor.Renew(ctx, n.db, begun)
	}
	if !begun {
		return nil
	}
	_, err = n.db.AnchorHead(ctx)
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	return fault.New(fault.Integrity, "the anchor log has keys, and no head of it is kept beside them").WithCode("behind_checkpoint").
		WithHint("the keys were changed behind our back: bring back their newest copy, or go on in another anchor log with `underseal restore --in-place`")
}

func (n *Node) anchorConfig(cfg Config, deployment string) anchor.Config {
	c := cfg.Anchor
	c.Store, c.Deployment, c.Log = n.db, deployment, cfg.Log
	c.Scope, c.Tenants, c.Seed = n.Engine.TenantScope, n.db.Keys().Tenants, n.anchorSeed
	return c
}

// published tells the anchor log of a tenant's new checkpoint.
func (n *Node) published(_ context.Context, tenant string, _ store.Shard, _ uint64, _ []byte) {
	if n.anchor != nil {
		n.anchor.Checkpointed(tenant)
	}
}

// haltable signs checkpoints as far as the anchor log, which is opened after the
// tenants' logs, lets it.
type haltable struct{ *Node }

// PlatformSigners returns who signs a checkpoint, nobody when the database was set
// back or forked, or before witnesses have said that it was not.
func (h haltable) PlatformSigners(ctx context.Context, tenant, origin string, size uint64) ([]note.Signer, error) {
	if h.anchor != nil {
		if err := h.anchor.MaySign(); err != nil {
			return nil, err
		}
	}
	return h.Engine.PlatformSigners(ctx, tenant, origin, size)
}

// Genuine tells the leaves that a server made from others.
func (h haltable) Genuine(ctx context.Context, tenant string) (func(store.ID, uint64, store.Leaf) bool, error) {
	return h.Engine.Genuine(ctx, tenant)
}

// anchorSeed derives the seed of the anchor log's key from the operator's log key.
func (n *Node) anchorSeed(ctx context.Context) ([]byte, error) {
	key, err := n.ring.TenantKey(ctx, operator, keyring.Log)
	if err != nil {
		return nil, err
	}
	prk, err := envelope.DeriveSecret([]envelope.Key{key})
	if err != nil {
		return nil, err
	}
	seed, err := hkdf.Expand(sha256.New, prk, anchorSigningLabel, seedLength)
	if err != nil {
		return nil, fault.New(fault.Internal, "derive the key of the anchor log: %w", err)
	}
	return seed, nil
}
