package engine

import (
	"bytes"
	"context"
	"crypto/ed25519"

	"golang.org/x/mod/sumdb/note"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// The platform signs checkpoints and receipts of a tenant with a key that comes from
// the tenant's log key, which the key service wraps in the end. Which one counts is
// said by the steps of the tenant's platform signer, leaves like others: a checkpoint
// is signed with the key of the newest of them that it covers. So the tree says
// itself which key signs which size, and a key that was replaced cannot sign on.

// platformLink is one step of the platform signer's chain.
type platformLink struct {
	ledger.KeyLink
	seq   uint64
	leaf  ledger.Hash
	known bool // Index is; else the leaf has no place yet
}

// PlatformSigners returns who signs the checkpoint of a size of one of a tenant's
// logs. The first call for a tenant registers the platform's key, which is a leaf.
func (e *Engine) PlatformSigners(ctx context.Context, tenant, origin string, size uint64) ([]note.Signer, error) {
	scope := store.NewScope(tenant)
	links, err := e.platformLinks(ctx, scope)
	if err != nil {
		return nil, err
	}
	key, ok := ledger.PlatformKeyAt(links, origin, size)
	if !ok {
		return nil, fault.New(fault.Integrity, "it cannot be told which key signs log %s at size %d", origin, size).WithCode("tampered")
	}
	signer, err := e.platformSigner(ctx, scope, origin, key)
	return []note.Signer{signer}, err
}

// platformSigner returns the signer of a log by one of the platform's keys.
func (e *Engine) platformSigner(ctx context.Context, scope store.Scope, origin string, key ledger.PublicKey) (note.Signer, error) {
	keys, err := e.ring.PurposeKeys(ctx, scope.Tenant(), keyring.Log)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		seed, public, err := platformKey(k)
		if err != nil {
			return nil, err
		}
		if public == key {
			return ledger.NoteSigner(origin, seed)
		}
	}
	return nil, fault.New(fault.Integrity, "none of the tenant's log keys is the one that signs log %s", origin).WithCode("tampered")
}

const platformLabel = "underseal/v1/log-signing\x00\x01" // the last byte makes it one block of HKDF-Expand

// platformKey derives a platform key from one of the tenant's log keys.
func platformKey(k envelope.Key) (seed []byte, public ledger.PublicKey, err error) {
	prk, err := envelope.DeriveSecret([]envelope.Key{k})
	if err != nil {
		return nil, public, err
	}
	mac := envelope.MAC(prk, []byte(platformLabel))
	seed = mac[:]
	public, err = ledger.NewPublicKey(ed25519.NewKeyFromSeed(seed).Public())
	return seed, public, err
}

// newPlatformKey makes a log key and returns the platform key that comes from it.
func (e *Engine) newPlatformKey(ctx context.Context, scope store.Scope) (ledger.PublicKey, error) {
	if _, err := e.ring.RotatePurpose(ctx, scope.Tenant(), keyring.Log); err != nil {
		return ledger.PublicKey{}, err
	}
	return e.newestPlatformKey(ctx, scope)
}

func (e *Engine) newestPlatformKey(ctx context.Context, scope store.Scope) (ledger.PublicKey, error) {
	k, err := e.ring.TenantKey(ctx, scope.Tenant(), keyring.Log)
	if err != nil {
		return ledger.PublicKey{}, err
	}
	_, public, err := platformKey(k)
	return public, err
}

// platformLinks returns the chain of the platform signer with the places of its
// leaves, as far as they have any. It makes the signer if there is none.
func (e *Engine) platformLinks(ctx context.Context, scope store.Scope) ([]ledger.KeyLink, error) {
	r, err := e.registry(ctx, scope)
	if err != nil {
		return nil, err
	}
	if r.platform == nil {
		if err := e.registerPlatform(ctx, scope); err != nil {
			return nil, err
		}
		if r, err = e.registry(ctx, scope); err != nil {
			return nil, err
		}
	}
	return r.located(ctx, e.store, scope)
}

// registerPlatform makes the platform signer, unless somebody else just did.
func (e *Engine) registerPlatform(ctx context.Context, scope store.Scope) error {
	defer e.signers.changing.lock(scope)()
	if r, err := e.registry(ctx, scope); err != nil || r.platform != nil {
		return err
	}
	s, err := e.unregistered(ctx, scope, platformName)
	if err != nil {
		return err
	}
	s.key.Signer, s.key.Name, s.key.Principal = ledger.PlatformSigner, platformName, platformName
	key, err := e.newestPlatformKey(ctx, scope)
	if err != nil {
		return err
	}
	return e.recordSigner(ctx, s, signerStep{kind: ledger.KeyRegistered, key: key, act: "engine", actor: engineActor})
}

// located returns the links of the platform's chain; those whose leaf has no place
// yet stand behind every size.
func (r *registry) located(ctx context.Context, db *store.DB, scope store.Scope) ([]ledger.KeyLink, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	links := make([]ledger.KeyLink, len(r.links))
	for i := range r.links {
		l := &r.links[i]
		if !l.known {
			_, index, err := db.LogIndex(ctx, scope, r.platform.id, l.seq)
			if err != nil && !fault.Is(err, fault.NotFound) {
				return nil, err
			}
			if l.known = err == nil; l.known {
				l.Index = index
			}
		}
		links[i] = l.KeyLink
	}
	return links, nil
}

// keyStep is one step of a signer's chain, opened and checked.
type keyStep struct {
	seq  uint64
	leaf ledger.Leaf
	body []byte // of the leaf
	key  ledger.SignerKey
}

// signerChain returns the steps of a signer, oldest first.
func (e *Engine) signerChain(ctx context.Context, s *signer) ([]keyStep, error) {
	var chain []keyStep
	var prev ledger.Hash
	for uint64(len(chain)) < s.head.seq {
		rows, err := e.store.Steps(ctx, s.scope, s.id, uint64(len(chain)), historyBatch)
		if err != nil {
			return nil, err
		}
		if len(rows) == 0 {
			break
		}
		for _, row := range rows {
			step, err := e.keyStep(ctx, s, row, prev)
			if err != nil {
				return nil, err
			}
			chain, prev = append(chain, step), row.Leaf.Hash
		}
	}
	if !bytes.Equal(prev[:], s.head.leaf[:]) {
		return nil, s.tampered("has %d steps and a head of step %d", len(chain), s.head.seq)
	}
	return chain, nil
}

func (e *Engine) keyStep(ctx context.Context, s *signer, row store.StepRow, prev ledger.Hash) (keyStep, error) {
	leaf, err := s.chained(row, prev)
	if err != nil {
		return keyStep{}, err
	}
	fields, err := e.store.StepFields(ctx, s.scope, s.id, row.Seq)
	if err != nil {
		return keyStep{}, err
	}
	for _, f := range fields {
		if f.Path != ledger.SignerKeyPath {
			continue
		}
		p, _, err := e.checkPast(ctx, &s.object, leaf, f)
		if err != nil {
			return keyStep{}, err
		}
		key, err := ledger.ParseSignerKey(p.value)
		return keyStep{row.Seq, leaf, row.Leaf.Body, key}, err
	}
	return keyStep{}, s.tampered("lacks what step %d says of its key", row.Seq)
}
