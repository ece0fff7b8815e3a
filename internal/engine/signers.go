package engine

import (
	"cmp"
	"context"
	"io/fs"
	"strings"
	"time"
	"unicode"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// Signers lists the tenant's signers, those without a key that counts as well.
func (e *Engine) Signers(ctx context.Context, c Caller) (api.Signers, error) {
	return readNow(ctx, e, c, func(c Caller) (api.Signers, error) { return e.signersAs(ctx, c) })
}

func (e *Engine) signersAs(ctx context.Context, c Caller) (api.Signers, error) {
	if err := e.may(ctx, c, access.ReadSigner, "signer", ""); err != nil {
		return api.Signers{}, err
	}
	all, err := e.allSigners(ctx, c.Scope)
	out := api.Signers{Items: []api.Signer{}}
	for _, s := range all {
		wire, err := e.wireSigner(ctx, s)
		if err != nil {
			return api.Signers{}, err
		}
		out.Items = append(out.Items, wire)
	}
	return out, err
}

// RegisterSigner makes a worker's public key count for what a principal reports.
// A name whose key was revoked can be given a new one.
func (e *Engine) RegisterSigner(ctx context.Context, c Caller, r api.SignerRequest, idem string) (api.Signer, error) {
	may := func(c Caller) error { return e.may(ctx, c, access.RegisterSigner, "signer", r.Name) }
	if err := may(c); err != nil {
		return api.Signer{}, err
	}
	key, err := ledger.ParsePublicKey(r.Alg, r.Public)
	if err != nil {
		return api.Signer{}, err
	}
	if r.Name == platformName || strings.HasPrefix(r.Name, passkeyPrefix) {
		return api.Signer{}, fault.New(fault.Invalid, "a worker cannot be named %q: that is the server itself, or a person's passkey", r.Name)
	}
	if !isReached(r.Name) {
		return api.Signer{}, fault.New(fault.Invalid, "a signer cannot be named %q, which can be no part of an address", r.Name).WithCode("invalid_name").
			WithHint("it has no control characters, no / at an end or beside another one, and between them neither . nor ..")
	}
	return e.changeSigner(ctx, c, r.Name, "register-signer", idem, r, may, func() (*signer, signerStep, error) {
		s, err := e.unregistered(ctx, c.Scope, r.Name)
		if err != nil {
			return nil, signerStep{}, err
		}
		s.key.Signer, s.key.Name, s.key.Principal = ledger.WorkerSigner, r.Name, r.Principal
		return s, signerStep{kind: ledger.KeyRegistered, key: key}, nil
	})
}

// isReached reports whether a name can be part of a path. What is called otherwise could be
// made by a request, and never be asked for or revoked by another.
func isReached(name string) bool {
	return fs.ValidPath(name) && name != "." && !strings.ContainsFunc(name, unicode.IsControl)
}

// unregistered returns the signer of a name, which must have no key that counts.
func (e *Engine) unregistered(ctx context.Context, scope store.Scope, name string) (*signer, error) {
	s, err := e.namedSigner(ctx, scope, name)
	switch {
	case fault.Is(err, fault.NotFound):
		return e.newSigner(ctx, scope, name)
	case err == nil && s.key.Key != ledger.PublicKey{}:
		return nil, fault.New(fault.Conflict, "signer %q has a key", name).WithCode("signer_exists").
			WithHint("`underseal signers rotate` gives it another one")
	}
	return s, err
}

// RotateSigner gives a signer another key. From then on nothing counts that is
// signed with the one before; what was, stays as it is. The platform makes its own key.
func (e *Engine) RotateSigner(ctx context.Context, c Caller, name string, r api.RotateSignerRequest, idem string) (api.Signer, error) {
	may := func(c Caller) error { return e.may(ctx, c, access.RotateSigner, "signer", name) }
	return e.changeSigner(ctx, c, name, "rotate-signer "+name, idem, r, may, func() (*signer, signerStep, error) {
		s, err := e.namedSigner(ctx, c.Scope, name)
		if err != nil {
			return nil, signerStep{}, err
		}
		if (s.key.Key == ledger.PublicKey{}) {
			return nil, signerStep{}, revoked(name)
		}
		if s.key.Signer == ledger.PersonSigner {
			return nil, signerStep{}, isPasskey(name)
		}
		key, err := e.nextKey(ctx, s, r)
		return s, signerStep{kind: ledger.KeyRotated, key: key}, err
	})
}

// nextKey returns the key that a signer is to have: what the caller sent, or a new
// one of the platform's.
func (e *Engine) nextKey(ctx context.Context, s *signer, r api.RotateSignerRequest) (ledger.PublicKey, error) {
	if s.key.Signer != ledger.PlatformSigner {
		return ledger.ParsePublicKey(r.Alg, r.Public)
	}
	if r.Alg != "" || r.Public != "" {
		return ledger.PublicKey{}, fault.New(fault.Invalid, "the platform makes its own keys").WithCode("key_unsuitable").
			WithHint("rotate it without naming a key")
	}
	return e.newPlatformKey(ctx, s.scope)
}

func revoked(name string) error {
	return fault.New(fault.Conflict, "signer %q has no key: it was revoked", name).WithCode("signer_revoked").
		WithHint("`underseal signers register` gives it a new one")
}

func isPasskey(name string) error {
	return fault.New(fault.Conflict, "signer %q is a passkey, which is its person's", name).WithCode("is_passkey").
		WithHint("`underseal passkeys remove` takes it from them; they register another one with a browser")
}

// RevokeSigner ends a signer's key at once, because somebody else may have it. The
// platform gets another one by the same step, for it has to go on signing.
func (e *Engine) RevokeSigner(ctx context.Context, c Caller, name string, r api.RevokeSignerRequest, idem string) (api.Signer, error) {
	may := func(c Caller) error {
		return cmp.Or(e.may(ctx, c, access.RevokeSigner, "signer", name), access.CheckReason(r.Reason))
	}
	return e.changeSigner(ctx, c, name, "revoke-signer "+name, idem, r, may, func() (*signer, signerStep, error) {
		s, err := e.namedSigner(ctx, c.Scope, name)
		if err != nil {
			return nil, signerStep{}, err
		}
		step := signerStep{kind: ledger.KeyRevoked, reason: r.Reason}
		switch {
		case s.key.Key == ledger.PublicKey{}:
			err = revoked(name)
		case s.key.Signer == ledger.PersonSigner:
			err = isPasskey(name)
		case s.key.Signer == ledger.PlatformSigner:
			step.key, err = e.newPlatformKey(ctx, c.Scope)
		}
		return s, step, err
	})
}

// changeSigner carries out what an administrator does to a signer, if they may: change opens
// it and says what its step is.
func (e *Engine) changeSigner(ctx context.Context, c Caller, name, operation, idem string, body any, may func(Caller) error, change func() (*signer, signerStep, error)) (api.Signer, error) {
	return asNow(ctx, e, c, func(c Caller) (api.Signer, error) {
		if err := may(c); err != nil {
			return api.Signer{}, err
		}
		return e.changeSignerAs(ctx, c, name, operation, idem, body, change)
	})
}

func (e *Engine) changeSignerAs(ctx context.Context, c Caller, name, operation, idem string, body any, change func() (*signer, signerStep, error)) (api.Signer, error) {
	again, err := e.request(ctx, c, operation, idem, body)
	if err != nil {
		return api.Signer{}, err
	}
	defer e.signers.changing.lock(c.Scope)()
	if _, found, err := e.repeated(ctx, c.Scope, again); found || err != nil {
		if err != nil {
			return api.Signer{}, err
		}
		s, err := e.namedSigner(ctx, c.Scope, name)
		if err != nil {
			return api.Signer{}, err
		}
		return e.wireSigner(ctx, s)
	}
	s, step, err := change()
	if err != nil {
		return api.Signer{}, err
	}
	if err := e.unused(ctx, c.Scope, step.key); err != nil {
		return api.Signer{}, err
	}
	step.act, step.actor, step.by, step.again = "admin", actorOf(c), &c, again
	if err := e.recordSigner(ctx, s, step); err != nil {
		return api.Signer{}, err
	}
	return e.wireSigner(ctx, s)
}

// unused refuses a key that counts for a signer or once did: whoever could use it
// then must not do so under another name now.
func (e *Engine) unused(ctx context.Context, scope store.Scope, key ledger.PublicKey) error {
	r, err := e.registry(ctx, scope)
	if err != nil || (key == ledger.PublicKey{}) {
		return err
	}
	if r.byKey[key.ID()] != nil || r.formers[key.ID()] {
		return fault.New(fault.Conflict, "the key is or was a signer's already").WithCode("signer_key_used").
			WithHint("`underseal signers keygen` makes a new one")
	}
	return nil
}

func (e *Engine) wireSigner(ctx context.Context, s *signer) (api.Signer, error) {
	out := api.Signer{
		Name: s.key.Name, Kind: s.key.Signer, Principal: s.key.Principal, State: "revoked",
		Former: s.formers, Object: textID(s.id), Leaf: s.head.leaf.String(),
	}
	if key := s.key.Key; key != (ledger.PublicKey{}) {
		out.State, out.Alg, out.Public, out.Key = "active", key.Alg(), key.Text(), key.ID()
	}
	steps, err := e.store.Steps(ctx, s.scope, s.id, s.head.seq-1, 1)
	if err != nil || len(steps) != 1 {
		return out, err
	}
	leaf, err := ledger.ParseLeaf(steps[0].Leaf.Body)
	if err != nil {
		return out, err
	}
	out.Since, err = time.Parse(ledger.TimeLayout, leaf.At)
	return out, err
}
