package engine

import (
	"context"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// signer is the object that says whose signatures count, and under which key: a
// worker's, or the platform's own. Each of its steps has a leaf, and a leaf with a
// signature names the newest of them, so evidence shows that a key was registered
// and not revoked. Its head is sealed under the tenant's audit key.
type signer struct {
	object
	key     ledger.SignerKey
	formers []string // ids of all keys that once counted: none ever counts again
}

const formersPath = "formers"

// platformName is the name of each tenant's platform signer.
const platformName = "platform"

// signers are a tenant's signers by the keys that count. They are read once and
// again after each change, which happens here only: one server writes.
type signers struct {
	// changing is held for reading from when a signature is checked until the step
	// with it is durable, and for writing while a signer changes. So no leaf follows a
	// revocation that it does not know of.
	changing locks

	mu     sync.Mutex // guards tenant
	tenant map[string]*registry
}

// registry is what is known of one tenant's signers.
type registry struct {
	byKey    map[string]*signer // PublicKey.ID
	formers  map[string]bool
	platform *signer // nil: none yet

	mu    sync.Mutex // guards links
	links []platformLink
}

// registry returns a tenant's signers, from memory if they did not change.
func (e *Engine) registry(ctx context.Context, scope store.Scope) (*registry, error) {
	e.signers.mu.Lock()
	defer e.signers.mu.Unlock()
	if known := e.signers.tenant[scope.Tenant()]; known != nil {
		return known, nil
	}
	all, err := e.allSigners(ctx, scope)
	if err != nil {
		return nil, err
	}
	r := &registry{byKey: map[string]*signer{}, formers: map[string]bool{}}
	for _, s := range all {
		if s.key.Key != (ledger.PublicKey{}) {
			r.byKey[s.key.Key.ID()] = s
		}
		for _, id := range s.formers {
			r.formers[id] = true
		}
		if s.key.Signer == ledger.PlatformSigner {
			if err := e.readPlatform(ctx, r, s); err != nil {
				return nil, err
			}
		}
	}
	if e.signers.tenant == nil {
		e.signers.tenant = map[string]*registry{}
	}
	e.signers.tenant[scope.Tenant()] = r
	return r, nil
}

func (e *Engine) readPlatform(ctx context.Context, r *registry, s *signer) error {
	chain, err := e.signerChain(ctx, s)
	if err != nil {
		return err
	}
	r.platform = s
	for _, step := range chain {
		r.links = append(r.links, platformLink{
			KeyLink: ledger.KeyLink{Log: step.leaf.Log, Index: math.MaxUint64, Key: step.key}, seq: step.seq, leaf: ledger.LeafHash(step.body),
		})
	}
	return nil
}

func (e *Engine) forgetSigners(scope store.Scope) {
	e.signers.mu.Lock()
	defer e.signers.mu.Unlock()
	delete(e.signers.tenant, scope.Tenant())
}

// allSigners opens a tenant's signers, by name.
func (e *Engine) allSigners(ctx context.Context, scope store.Scope) ([]*signer, error) {
	if err := e.requireAllPinned(ctx, scope, store.Signer); err != nil {
		return nil, err
	}
	ids, err := e.store.Signers(ctx, scope)
	if err != nil {
		return nil, err
	}
	all := make([]*signer, len(ids))
	for i, id := range ids {
		if all[i], err = e.openSigner(ctx, scope, id); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b *signer) int { return strings.Compare(a.key.Name, b.key.Name) })
	return all, nil
}

func (e *Engine) signerID(ctx context.Context, scope store.Scope, name string) (store.ID, error) {
	token, err := e.indexToken(ctx, scope.Tenant(), "signer", name)
	return custodyID(token), err
}

// openSigner reads a signer and checks every row of it.
func (e *Engine) openSigner(ctx context.Context, scope store.Scope, id store.ID) (*signer, error) {
	o, err := e.load(ctx, scope, id, store.Signer)
	if err != nil {
		return nil, err
	}
	values, err := e.checkedValues(ctx, o)
	if err != nil {
		return nil, err
	}
	s := &signer{object: *o}
	if s.key, err = ledger.ParseSignerKey(values[ledger.SignerKeyPath]); err != nil {
		return nil, s.tampered("has a field %q that cannot be read", ledger.SignerKeyPath).WithCause(err)
	}
	if want, err := e.signerID(ctx, scope, s.key.Name); err != nil || want != id {
		if err != nil {
			return nil, err
		}
		return nil, s.tampered("has the name of another")
	}
	formers, _ := values[formersPath].(canon.List)
	for _, id := range formers {
		text, _ := id.(canon.String)
		s.formers = append(s.formers, string(text))
	}
	return s, nil
}

// namedSigner opens a signer by its name.
func (e *Engine) namedSigner(ctx context.Context, scope store.Scope, name string) (*signer, error) {
	id, err := e.signerID(ctx, scope, name)
	if err != nil {
		return nil, err
	}
	s, err := e.openSigner(ctx, scope, id)
	if fault.Is(err, fault.NotFound) {
		return nil, noSuch("signer", name)
	}
	return s, err
}

// newSigner returns a signer that has no step yet.
func (e *Engine) newSigner(ctx context.Context, scope store.Scope, name string) (*signer, error) {
	id, err := e.signerID(ctx, scope, name)
	if err != nil {
		return nil, err
	}
	key, err := e.ring.TenantKey(ctx, scope.Tenant(), keyring.Audit)
	if err != nil {
		return nil, err
	}
	return &signer{object: object{
		scope: scope, id: id, kind: store.Signer, owner: key,
		head: &head{mode: process.Standard, started: e.moment(), owners: []owner{{key.ID, 1}}},
	}}, nil
}

// signerStep is one step of a signer.
type signerStep struct {
	kind   string           // ledger.KeyRegistered ..
	key    ledger.PublicKey // that counts from now on; zero: none
	reason string
	act    string
	actor  *canon.Context
	by     *Caller // as a custodyStep's
	again  *request
}

// recordSigner makes a step of a signer durable. The caller holds signers.changing.
func (e *Engine) recordSigner(ctx context.Context, s *signer, step signerStep) error {
	defer e.forgetSigners(s.scope)
	at := e.moment()
	shard, leave, err := e.enterShard(ctx, s.scope, at)
	if err != nil {
		return err
	}
	defer leave()
	set, err := e.signerSet(ctx, s, step, shard, at)
	if err != nil {
		return err
	}
	release, err := e.people.hold(step.by)
	if err != nil {
		return err
	}
	defer release()
	if err := e.durable("commit " + step.kind); err != nil {
		return err
	}
	return e.commitPinned(ctx, s.scope, set)
}

// signerSet is what a step of a signer writes.
func (e *Engine) signerSet(ctx context.Context, s *signer, step signerStep, shard string, at time.Time) (*store.WriteSet, error) {
	s.key.Former = ""
	if s.key.Key != (ledger.PublicKey{}) {
		s.key.Former = s.key.Key.ID()
		s.formers = append(s.formers, s.key.Former)
	}
	s.key.Key = step.key
	tokens, err := e.requestTokens(ctx, &s.object, step.again)
	if err != nil {
		return nil, err
	}
	written := s.step(step, at, tokens)
	written.shard = shard
	return e.write(ctx, &s.object, written)
}

func (s *signer) step(in signerStep, at time.Time, tokens []store.Token) step {
	formers := make(canon.List, len(s.formers))
	for i, id := range s.formers {
		formers[i] = canon.String(id)
	}
	_, event, _ := strings.Cut(in.kind, ".")
	fields := []fieldWrite{
		{path: ledger.SignerKeyPath, value: s.key.Value(), label: confidential},
		{path: formersPath, value: formers, label: confidential},
		{path: "$actor", value: in.actor, label: confidential, fact: true},
	}
	if in.reason != "" {
		fields = append(fields, fieldWrite{path: "$reason", value: canon.String(in.reason), label: confidential, fact: true})
	}
	return step{kind: in.kind, act: in.act, at: at, tokens: tokens, record: record(event, process.Outcome{}, at), fields: fields}
}
