package engine

import (
	"context"
	"strings"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/passkey"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// stepUpAge is how long ago somebody may have proved who they are, for what weighs more
// than to be signed in.
const stepUpAge = 5 * time.Minute

// fresh requires that a person proved just now who they are.
func (e *Engine) fresh(c Caller) error {
	if err := signedInBySession(c); err != nil {
		return err
	}
	if e.moment().Sub(c.Session.Verified) <= stepUpAge {
		return nil
	}
	return fault.New(fault.Denied, "this asks for a proof of who you are that is no older than %d minutes", int(stepUpAge/time.Minute)).
		WithCode(api.CodeStepUp).WithHint("prove it again, by password or passkey (POST /v1/me/verify), or where your company signs you in (GET /v1/login/TENANT/ISSUER?again=true), and repeat the request")
}

// freshPerson is fresh for what an API key may do, too: who finds somebody signed in makes
// nothing there that outlives the session.
func (e *Engine) freshPerson(c Caller) error {
	if c.Session == nil {
		return nil
	}
	return e.fresh(c)
}

// BeginPasskeySignIn says what a browser is to ask a passkey, anybody's, to sign in.
func (e *Engine) BeginPasskeySignIn(context.Context) (api.PasskeyQuestion, error) {
	if err := e.requireAddress(); err != nil {
		return api.PasskeyQuestion{}, err
	}
	challenge := e.challenges.New(passkey.SignIn, "", e.moment())
	return api.PasskeyQuestion{PublicKey: e.relying.Request(challenge, nil)}, nil
}

// SignInByPasskey begins a session of whose passkey has answered. Whatever is wrong with
// the passkey or its person, the answer is the same.
func (e *Engine) SignInByPasskey(ctx context.Context, in api.PasskeySignInRequest, from From) (api.NewSession, error) {
	if err := e.requireAddress(); err != nil {
		return api.NewSession{}, err
	}
	scope, id, err := e.handle(ctx, in.User, from.Address)
	if err != nil {
		if fault.CodeOf(err) == "unauthenticated" {
			e.strange(ctx, from.Address)
		}
		return api.NewSession{}, err
	}
	by, err := e.answered(ctx, scope, id, question{passkey.SignIn, ""}, in.Answer, from)
	if err != nil {
		return api.NewSession{}, err
	}
	return e.beginSession(ctx, signIn{scope: scope, principal: by.name, how: identity.ByPasskey, from: from, passkey: by.passkey, ended: by.ended})
}

// badPasskey is the answer to whatever is wrong with a passkey by which somebody signs
// in; the reason is for the server's log.
func badPasskey(reason error) error {
	return fault.New(fault.Denied, "nobody is signed in by this passkey").WithCode("unauthenticated").WithCause(reason).
		WithHint("sign in by password, or by another passkey")
}

// handle reads whose a passkey says that it is (see handleOf). Who names no tenant, or one
// whose people do not come from there, is looked for where nobody is, so that the time does
// not say which tenants there are.
func (e *Engine) handle(ctx context.Context, text, address string) (scope store.Scope, id store.ID, err error) {
	var parts [1][]byte
	if err := fromBase64(parts[:], text); err != nil {
		return scope, id, err
	}
	tenant, rest, ok := strings.Cut(string(parts[0]), "/")
	if !ok || len(rest) != len(id) {
		return scope, id, badPasskey(fault.New(fault.Denied, "the user handle is none of this server's"))
	}
	there, err := e.ComeFrom(ctx, tenant, address)
	if err != nil || !there {
		return e.TenantScope(identity.MainTenant), id, err
	}
	return e.TenantScope(tenant), store.ID([]byte(rest)), nil
}

// question is what a passkey was asked for: the purpose, and whom it was asked of.
type question struct {
	purpose passkey.Purpose
	bound   string
}

// answer is whose passkey has answered.
type answer struct {
	name    string // of the principal, if there is one
	passkey string // its id
	counter uint32
	ended   identity.Generations // of the principal
}

// answered requires that a passkey of somebody has answered a question. The tenant's log is
// told of a passkey that is not theirs.
func (e *Engine) answered(ctx context.Context, scope store.Scope, id store.ID, q question, in api.PasskeyAnswer, from From) (answer, error) {
	var parts [4][]byte
	if err := fromBase64(parts[:], in.ID, in.ClientData, in.Authenticator, in.Signature); err != nil {
		return answer{}, err
	}
	challenge, err := e.challenges.Check(q.purpose, q.bound, parts[1], e.moment())
	if err != nil {
		return answer{}, err
	}
	assertion := ledger.Assertion{AuthenticatorData: parts[2], ClientData: parts[1], Signature: parts[3]}
	by, err := e.checkAnswer(ctx, scope, id, parts[0], challenge, assertion, from.Address)
	if err == nil {
		err = e.challenges.Take(challenge, e.moment())
	}
	if err == nil {
		return by, e.countPasskey(ctx, scope, id, parts[0], by.counter, from)
	}
	if fault.CodeOf(err) == "unauthenticated" {
		who := by.name
		if who == "" {
			who = prefixOf(from.Address)
		}
		e.strangers.note(ctx, Caller{Scope: scope, Principal: by.name, Address: from.Address}, who, "", "")
	}
	return by, err
}

// checkAnswer requires that a principal has the passkey of a credential's id, that it may
// come in, and that this is the passkey's answer.
func (e *Engine) checkAnswer(ctx context.Context, scope store.Scope, id store.ID, credential []byte, challenge ledger.Hash, assertion ledger.Assertion, address string) (by answer, err error) {
	p, err := e.openPrincipal(ctx, scope, id)
	if fault.Is(err, fault.NotFound) {
		return by, badPasskey(err)
	}
	if err != nil {
		return by, err
	}
	by.name = p.Name
	known, err := e.knownPrincipal(ctx, scope, p.Name)
	if err == nil && !known.SignsIn(address) {
		err = badPasskey(fault.New(fault.Denied, "%s may not come in", p.Name))
	}
	if err != nil {
		return by, err
	}
	i := p.PasskeyOf(credential)
	if i < 0 {
		return by, badPasskey(fault.New(fault.Denied, "%s has no such passkey", p.Name))
	}
	r, err := e.registry(ctx, scope)
	if err != nil {
		return by, err
	}
	s := e.passkeySigner(r, p.Name, p.Passkeys[i])
	if s == nil {
		return by, badPasskey(fault.New(fault.Denied, "the key of the passkey was revoked, or is for another address than %s", e.relying.ID))
	}
	if by.counter, err = ledger.VerifyAssertion(challenge, assertion, credentialOf(s)); err != nil {
		return by, badPasskey(err)
	}
	by.passkey, by.ended = p.Passkeys[i].ID, known.Ended()
	return by, nil
}

// passkeySigner returns the signer that somebody's passkey is; nil: it signs nobody in here,
// since its key was revoked, or it is for another address.
func (e *Engine) passkeySigner(r *registry, owner string, k identity.Passkey) *signer {
	s := r.byKey[k.Key]
	if s == nil || s.key.Signer != ledger.PersonSigner || s.key.Principal != owner || !e.relying.Owns(credentialOf(s)) {
		return nil
	}
	return s
}

// usablePasskeys are those of somebody's passkeys by which they are signed in here. The
// others are theirs still, until they are removed.
func (e *Engine) usablePasskeys(ctx context.Context, scope store.Scope, owner string, keys []identity.Passkey) (usable []identity.Passkey, err error) {
	if len(keys) == 0 {
		return nil, nil
	}
	r, err := e.registry(ctx, scope)
	for _, k := range keys {
		if err == nil && e.passkeySigner(r, owner, k) != nil {
			usable = append(usable, k)
		}
	}
	return usable, err
}

func credentialOf(s *signer) ledger.Credential {
	return ledger.Credential{Key: s.key.Key, RP: s.key.RP, Origins: s.key.Origins}
}

// countPasskey notes how often a passkey has signed, if it counts that. One whose counter
// did not grow signs nobody in, and raises the alarm: it may be a copy.
func (e *Engine) countPasskey(ctx context.Context, scope store.Scope, id store.ID, credential []byte, counter uint32, from From) error {
	defer e.people.change(scope, scope)()
	p, err := e.openPrincipal(ctx, scope, id)
	if err != nil {
		return err
	}
	i := p.PasskeyOf(credential)
	if i < 0 {
		return badPasskey(fault.New(fault.Denied, "the passkey of %s was removed just now", p.Name))
	}
	k := p.Passkeys[i]
	by := Caller{Scope: scope, Principal: p.Name, Address: from.Address}
	switch {
	case counter == 0 && k.Counter == 0:
		return nil
	case counter <= k.Counter:
		if err := e.tellCopied(ctx, scope, by, k, counter); err != nil {
			return err
		}
		return badPasskey(fault.New(fault.Denied, "the counter of passkey %s of %s went from %d to %d: somebody may have a copy", k.ID, p.Name, k.Counter, counter))
	}
	p.Passkeys[i].Counter = counter
	return e.amend(ctx, scope, amender{act: "user", actor: actorOf(by)}, amendment{of: &p.dossier, kind: passkeyUsed, fields: p.Fields()})
}

// tellCopied tells the log of a passkey whose counter did not grow.
func (e *Engine) tellCopied(ctx context.Context, scope store.Scope, by Caller, k identity.Passkey, counter uint32) error {
	return e.record(ctx, scope, act{kind: passkeyCopied, act: "user", actor: by, fields: []fieldWrite{
		{path: "$passkey", value: canon.String(k.ID)},
		{path: "$counter", value: canon.NewNumber(int64(counter))},
		{path: "$expected", value: canon.NewNumber(int64(k.Counter) + 1)},
	}})
}

// BeginVerify says what a browser is to ask the caller's passkeys, to prove once more who
// they are.
func (e *Engine) BeginVerify(ctx context.Context, c Caller) (api.PasskeyQuestion, error) {
	return readNow(ctx, e, c, func(c Caller) (api.PasskeyQuestion, error) { return e.beginVerifyAs(ctx, c) })
}

func (e *Engine) beginVerifyAs(ctx context.Context, c Caller) (api.PasskeyQuestion, error) {
	if err := signedInBySession(c); err != nil {
		return api.PasskeyQuestion{}, err
	}
	if err := e.requireAddress(); err != nil {
		return api.PasskeyQuestion{}, err
	}
	keys, err := e.ownPasskeys(ctx, c)
	if err != nil {
		return api.PasskeyQuestion{}, err
	}
	challenge := e.challenges.New(passkey.Verify, c.Session.ID.String(), e.moment())
	return api.PasskeyQuestion{PublicKey: e.relying.Request(challenge, credentialsOf(keys))}, nil
}

// ownPasskeys are the caller's that count here. Conflict: they have none.
func (e *Engine) ownPasskeys(ctx context.Context, c Caller) ([]identity.Passkey, error) {
	known, err := e.knownPrincipal(ctx, c.Scope, c.Principal)
	if err != nil {
		return nil, err
	}
	keys, err := e.usablePasskeys(ctx, c.Scope, c.Principal, known.Passkeys())
	if err == nil && len(keys) == 0 {
		err = fault.New(fault.Conflict, "%s has no passkey that counts here", c.Principal).WithCode("no_passkey").WithHint("register one first, with a browser")
	}
	return keys, err
}

// verifyByPasskey requires that a passkey of the caller has answered, and returns its id.
func (e *Engine) verifyByPasskey(ctx context.Context, c Caller, in api.PasskeyAnswer, from From) (used string, err error) {
	if err := e.requireAddress(); err != nil {
		return "", err
	}
	id, err := e.dossierID(ctx, c.Scope, store.Principal, c.Principal)
	if err != nil {
		return "", err
	}
	by, err := e.answered(ctx, c.Scope, id, question{passkey.Verify, c.Session.ID.String()}, in, from)
	if fault.CodeOf(err) == "unauthenticated" { // which does not sign them out
		err = fault.New(fault.Denied, "this is no passkey of %s", c.Principal).WithCode("wrong_passkey").WithCause(err)
	}
	return by.passkey, err
}
