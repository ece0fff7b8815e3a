package engine

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"sync"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/passkey"
	"github.com/underseal/underseal/internal/store"
	"github.com/underseal/underseal/ledger"
)

// A passkey is known in two places: its person's object says that it is theirs, and a
// signer's chain which key it has, whether that counts, and for which address it was
// made. Both change in one commit. So evidence of what was signed with it shows that the
// key was registered and not revoked, and shows nothing else of the person.

// Steps by which a principal gets a passkey, signs in by one that counts its signatures,
// and loses one.
const (
	passkeyRegistered = "passkey.registered"
	passkeyUsed       = "passkey.used"
	passkeyRemoved    = "passkey.removed"

	// passkeyCopied is the entry that says that a passkey's counter went back: somebody may
	// have a copy of it.
	passkeyCopied = "passkey.copied"
)

// passkeyPrefix begins the names of the signers that passkeys are, and of no others.
const passkeyPrefix = "passkey/"

// maxPasskeys bounds how many passkeys a person has.
const maxPasskeys = 20

// mayRegister is may for giving oneself a passkey: a person who proved just now who they
// are, and this server has an address.
func (e *Engine) mayRegister(c Caller) error {
	if err := e.admitted(c.Scope); err != nil {
		return err
	}
	if err := e.requireAddress(); err != nil {
		return err
	}
	return e.fresh(c)
}

// mayAdd refuses another passkey to who has one and signed in without, where a password
// alone is not enough: else whoever knows it would make one of their own. One that signs
// nobody in any more, as after another public_url, is one here, as a session by a password
// alone is good for nothing then, too: else that would be the day for which whoever knows
// a password waits. Somebody else says that its person begins anew by their password,
// and takes it from them; or they come in otherwise.
func (e *Engine) mayAdd(ctx context.Context, c Caller, p *principal) error {
	if len(p.Passkeys) == 0 || !c.Unproven {
		return nil
	}
	usable, err := e.usablePasskeys(ctx, c.Scope, p.Name, p.Passkeys)
	if err == nil && len(usable) == 0 {
		err = fault.New(fault.Denied, "your company demands a passkey, and none of yours counts here any more").WithCode(api.CodePasskeyRequired).
			WithHint("sign in at your company's issuer, or have an administrator take the former ones from you (underseal passkeys remove, with an API key); then you register another")
	}
	return cmp.Or(err, c.RequireProof())
}

// enrolsByPassword reports whether somebody of whom a passkey is demanded can register one
// after a sign-in by password alone: their first one, on a server that has an address.
func (e *Engine) enrolsByPassword(p *identity.Principal) bool {
	return len(p.Passkeys) == 0 && e.relying.Configured()
}

// requireAddress refuses ceremonies on a server that does not know its address.
func (e *Engine) requireAddress() error {
	if e.relying.Configured() {
		return nil
	}
	return fault.New(fault.Conflict, "there are no passkeys here: the server does not know under which address browsers reach it").
		WithCode("no_passkeys").WithHint("set public_url, such as https://seal.example.org")
}

// BeginPasskey says what a browser is to make a passkey of the caller by.
func (e *Engine) BeginPasskey(ctx context.Context, c Caller) (api.PasskeyCeremony, error) {
	return readNow(ctx, e, c, func(c Caller) (api.PasskeyCeremony, error) { return e.beginPasskeyAs(ctx, c) })
}

func (e *Engine) beginPasskeyAs(ctx context.Context, c Caller) (api.PasskeyCeremony, error) {
	if err := e.mayRegister(c); err != nil {
		return api.PasskeyCeremony{}, err
	}
	p, err := e.namedPrincipal(ctx, c.Scope, c.Principal)
	if err != nil {
		return api.PasskeyCeremony{}, err
	}
	if err := e.mayAdd(ctx, c, p); err != nil {
		return api.PasskeyCeremony{}, err
	}
	known, err := e.usablePasskeys(ctx, c.Scope, p.Name, p.Passkeys) // another in the place of one that counts no more may be where that was
	if err != nil {
		return api.PasskeyCeremony{}, err
	}
	challenge := e.challenges.New(passkey.Register, c.Session.ID.String(), e.moment())
	person := passkey.Person{Handle: handleOf(c.Scope, p.id), Name: p.Name, Display: p.Display}
	if person.Display == "" {
		person.Display = p.Name
	}
	return api.PasskeyCeremony{PublicKey: e.relying.Creation(challenge, person, credentialsOf(known))}, nil
}

func credentialsOf(keys []identity.Passkey) (ids [][]byte) {
	for _, k := range keys {
		ids = append(ids, k.Credential)
	}
	return ids
}

// handleOf is by what a passkey says whose it is: TENANT / and the 16 bytes of the
// principal's id.
func handleOf(scope store.Scope, id store.ID) []byte {
	return append([]byte(scope.Tenant()+"/"), id[:]...)
}

// RegisterPasskey gives the caller a passkey that a browser has just made.
func (e *Engine) RegisterPasskey(ctx context.Context, c Caller, in api.PasskeyRequest) (api.Passkey, error) {
	if err := e.mayRegister(c); err != nil {
		return api.Passkey{}, err
	}
	made, challenge, err := e.readRegistration(c, in)
	if err != nil {
		return api.Passkey{}, err
	}
	var key identity.Passkey
	take := sync.OnceValue(func() error { return e.challenges.Take(challenge, e.moment()) }) // by this request, also where it is decided anew
	may := func(c Caller) error { return e.mayRegister(c) }
	_, err = e.changePrincipal(ctx, c, change{name: c.Principal, operation: "register-passkey"}, may, func(c Caller) (*principal, amendment, error) {
		p, err := e.namedPrincipal(ctx, c.Scope, c.Principal)
		if err != nil {
			return nil, amendment{}, err
		}
		if err := e.mayAdd(ctx, c, p); err != nil {
			return nil, amendment{}, err
		}
		change, err := e.addPasskey(ctx, p, in.Name, made)
		if err != nil {
			return nil, amendment{}, err
		}
		key = p.Passkeys[len(p.Passkeys)-1]
		return p, amendment{kind: passkeyRegistered, act: "user", signers: []signerChange{change}}, take()
	})
	if err != nil {
		return api.Passkey{}, err
	}
	return wirePasskey(&key), nil
}

// readRegistration checks what a browser says that it has made, and for which challenge.
func (e *Engine) readRegistration(c Caller, in api.PasskeyRequest) (made ledger.Registration, challenge ledger.Hash, err error) {
	var parts [2][]byte
	if err := fromBase64(parts[:], in.ClientData, in.Attestation); err != nil {
		return made, challenge, err
	}
	if challenge, err = e.challenges.Check(passkey.Register, c.Session.ID.String(), parts[0], e.moment()); err != nil {
		return made, challenge, err
	}
	made, err = ledger.VerifyRegistration(challenge, parts[0], parts[1], e.relying.ID, e.relying.Origins)
	if fault.Is(err, fault.Integrity) {
		err = denied(err)
	}
	return made, challenge, err
}

// fromBase64 reads texts in base64url without padding, each in its one spelling.
func fromBase64(into [][]byte, texts ...string) (err error) {
	for i, text := range texts {
		if into[i], err = base64.RawURLEncoding.Strict().DecodeString(text); err != nil {
			return fault.New(fault.Invalid, "what the browser answered is not base64url without padding").WithCode("malformed")
		}
	}
	return nil
}

// addPasskey gives a principal a passkey, and makes the signer that it is.
func (e *Engine) addPasskey(ctx context.Context, p *principal, name string, made ledger.Registration) (signerChange, error) {
	if len(p.Passkeys) >= maxPasskeys {
		return signerChange{}, fault.New(fault.Invalid, "user %q has %d passkeys; more are not possible", p.Name, len(p.Passkeys)).
			WithCode("too_many_passkeys").WithHint("remove some")
	}
	if p.PasskeyOf(made.ID) >= 0 {
		return signerChange{}, already("passkey", name, "registered")
	}
	number := p.head.seq + 1
	key := identity.Passkey{
		ID: refText(p.id, number), Credential: bytes.Clone(made.ID), Name: name, Counter: made.Counter, Synced: made.Synced,
		Signer: fmt.Sprintf("%s%s/%d", passkeyPrefix, p.Name, number), Key: made.Key.ID(), Made: e.moment(),
	}
	s, err := e.unregistered(ctx, p.scope, key.Signer)
	if err != nil {
		return signerChange{}, err
	}
	s.key.Signer, s.key.Name, s.key.Principal = ledger.PersonSigner, key.Signer, p.Name
	s.key.RP, s.key.Origins = e.relying.ID, e.relying.Origins
	p.Passkeys = append(slices.Clone(p.Passkeys), key)
	return signerChange{s, signerStep{kind: ledger.KeyRegistered, key: made.Key}}, nil
}

func wirePasskey(k *identity.Passkey) api.Passkey {
	return api.Passkey{ID: k.ID, Name: k.Name, Signer: k.Signer, Key: k.Key, Synced: k.Synced, Made: k.Made}
}

// RemovePasskey takes a passkey from its person, themselves or who may revoke their keys.
// It signs nothing any more; what it signed stays proven.
func (e *Engine) RemovePasskey(ctx context.Context, c Caller, id string, r api.ReasonRequest, idem string) (api.Passkey, error) {
	may := func(c Caller) error { return e.mayRemove(ctx, c, id) }
	if err := may(c); err != nil {
		return api.Passkey{}, err
	}
	ref, err := parseRef("passkey", id)
	if err != nil {
		return api.Passkey{}, err
	}
	removed := api.Passkey{ID: id}
	_, err = e.changed(ctx, c, c.Scope, change{"", "remove-passkey " + id, idem, r, r.Reason, false}, may, func(c Caller) (amendment, error) {
		p, i, err := e.passkeyNamed(ctx, c.Scope, ref, id)
		if err != nil {
			return amendment{}, err
		}
		removed = wirePasskey(&p.Passkeys[i])
		a := amendment{of: &p.dossier, kind: passkeyRemoved}
		if a.signers, err = e.revokedKeys(ctx, p, p.Passkeys[i]); err != nil {
			return a, err
		}
		p.Passkeys = slices.Delete(slices.Clone(p.Passkeys), i, i+1)
		a.fields = p.Fields()
		return a, e.requireAdministrator(ctx, c, p)
	})
	return removed, err
}

// mayRemove is may for taking a passkey away. Whose own it is must have proved just now who
// they are.
func (e *Engine) mayRemove(ctx context.Context, c Caller, id string) error {
	owner, err := e.ownerOfPart(ctx, c, id)
	if err == nil {
		err = e.mayOwn(ctx, c, access.RevokeAPIKey, "apikey", id, owner)
	}
	if err == nil && owner != "" {
		err = e.fresh(c)
	}
	return err
}

func (e *Engine) passkeyNamed(ctx context.Context, scope store.Scope, ref JobRef, id string) (*principal, int, error) {
	p, err := e.openPrincipal(ctx, scope, ref.Instance)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return nil, 0, err
	}
	i := -1
	if err == nil {
		i = slices.IndexFunc(p.Passkeys, func(k identity.Passkey) bool { return k.ID == id })
	}
	if i < 0 {
		return nil, 0, noSuch("passkey", id)
	}
	return p, i, nil
}

// revokedKeys are the steps of signers by which passkeys of a principal sign nothing any
// more.
func (e *Engine) revokedKeys(ctx context.Context, p *principal, keys ...identity.Passkey) ([]signerChange, error) {
	var all []signerChange
	for _, k := range keys {
		s, err := e.namedSigner(ctx, p.scope, k.Signer)
		if fault.Is(err, fault.NotFound) || err == nil && s.key.Key == (ledger.PublicKey{}) {
			continue // a restore has lost it, or revoked it
		}
		if err != nil {
			return nil, err
		}
		all = append(all, signerChange{s, signerStep{kind: ledger.KeyRevoked}})
	}
	return all, nil
}
