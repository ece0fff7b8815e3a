package engine

import (
	"cmp"
	"context"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/password"
	"github.com/underseal/underseal/internal/store"
)

// passwordSet is the step by which a principal gets a password.
const passwordSet = "password.set"

// badSignIn is the answer to whatever is wrong with who signs in.
func badSignIn() error {
	return fault.New(fault.Denied, "nobody is signed in by this company, name and password").WithCode("unauthenticated").
		WithHint("an administrator can make a link that sets another password")
}

// SignIn begins a session of who knows a password. Whatever is wrong (there is no such
// tenant or person, they have no password or another, they are disabled or not allowed in
// from there), the answer is the same, and takes as long.
func (e *Engine) SignIn(ctx context.Context, in api.SignInRequest, from From) (api.NewSession, error) {
	there, err := e.ComeFrom(ctx, in.Tenant, from.Address)
	if err != nil {
		return api.NewSession{}, err
	}
	if !there {
		return api.NewSession{}, e.turnAway(ctx, in, from)
	}
	scope := e.TenantScope(in.Tenant)
	known, err := e.knownPrincipal(ctx, scope, in.Name)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return api.NewSession{}, err
	}
	if err := e.verify(ctx, scope, known, in.Password, from); err != nil {
		return api.NewSession{}, err
	}
	return e.beginSession(ctx, signIn{scope: scope, principal: in.Name, how: identity.ByPassword, from: from, ended: known.Ended()})
}

// ComeFrom reports whether people of a tenant may come from an address. Those of a name that
// is no tenant's come from nowhere.
func (e *Engine) ComeFrom(ctx context.Context, tenant, address string) (bool, error) {
	there, err := e.identity.Exists(ctx, tenant)
	if err != nil || !there {
		return false, err
	}
	return e.fromTenant(ctx, e.TenantScope(tenant), address)
}

// turnAway answers who names no tenant, or one whose people do not come from there: no
// password of the tenant is looked at, and none of its turns is taken.
func (e *Engine) turnAway(ctx context.Context, in api.SignInRequest, from From) error {
	err := e.passwords.Pretend(ctx, in.Tenant, func() error {
		_, err := password.Matches("", in.Password, func([]byte) [32]byte { return [32]byte{} })
		return err
	})
	if err != nil {
		return err
	}
	e.strangeAt(ctx, in.Tenant, from.Address)
	return badSignIn()
}

// verify requires that somebody, who may be nobody (nil), can come in and knows their
// password. That of who cannot is compared with nothing, which takes as long. The tenant's
// log is told of who does not.
func (e *Engine) verify(ctx context.Context, scope store.Scope, known *identity.Known, text string, from From) error {
	mac, err := e.identity.PasswordMAC(ctx, scope)
	if err != nil {
		return err
	}
	kept, name := "", ""
	if known != nil {
		name = known.Who().Name
	}
	if known != nil && known.SignsIn(from.Address) {
		kept = known.Password()
	}
	matches := false
	err = e.passwords.Do(ctx, scope.Tenant(), func() (err error) {
		matches, err = password.Matches(kept, text, mac)
		return err
	})
	if err != nil {
		return err
	}
	if matches {
		return nil
	}
	who := name
	if name == "" { // what was typed may be anything, such as a password
		who = prefixOf(from.Address)
	}
	e.strangers.note(ctx, Caller{Scope: scope, Principal: name, Address: from.Address}, who, "", "")
	return badSignIn()
}

// Verify proves once more that the caller is who signed in, which what weighs more may
// ask for. Another session takes the place of theirs.
func (e *Engine) Verify(ctx context.Context, c Caller, in api.VerifyRequest, from From) (api.NewSession, error) {
	if err := signedInBySession(c); err != nil {
		return api.NewSession{}, err
	}
	how, used := identity.ByPassword, ""
	var err error
	switch {
	case (in.Passkey == nil) == (in.Password == ""):
		err = fault.New(fault.Invalid, "one of the password and the answer of a passkey proves who you are").WithCode("no_proof")
	case in.Passkey != nil:
		how = identity.ByPasskey
		used, err = e.verifyByPasskey(ctx, c, *in.Passkey, from)
	default:
		err = e.verifyByPassword(ctx, c, in.Password, from)
	}
	if err != nil {
		return api.NewSession{}, err
	}
	return e.beginSession(ctx, signIn{scope: c.Scope, principal: c.Principal, how: how, from: from, instead: c.Session, passkey: used, ended: c.Session.Ended})
}

func (e *Engine) verifyByPassword(ctx context.Context, c Caller, text string, from From) error {
	known, err := e.knownPrincipal(ctx, c.Scope, c.Principal)
	if err != nil {
		return err
	}
	return e.verifyAgain(ctx, c, known, text, from)
}

// verifyAgain is verify for who is signed in: that they do not know the password does not
// sign them out.
func (e *Engine) verifyAgain(ctx context.Context, c Caller, known *identity.Known, text string, from From) error {
	err := e.verify(ctx, c.Scope, known, text, from)
	if fault.CodeOf(err) == "unauthenticated" {
		err = fault.New(fault.Denied, "this is not the password of %s", c.Principal).WithCode("wrong_password").
			WithHint("say the password that there is (--old file:PATH); who has lost it gets a link: underseal users reset-password %s", c.Principal)
	}
	return err
}

// SetPassword sets the caller's own password, which only whoever knows the one that there
// is can do. The first one is set by a link: whoever has somebody's API key, or is signed
// in by the word of an issuer, does not get a way in with that which outlives it. All their
// sessions end; who asks by one gets another.
func (e *Engine) SetPassword(ctx context.Context, c Caller, in api.PasswordRequest, from From) (api.PasswordSet, error) {
	if err := e.admitted(c.Scope); err != nil {
		return api.PasswordSet{}, err
	}
	if !c.Person() {
		return api.PasswordSet{}, fault.New(fault.Conflict, "a program has no password").WithCode("no_person").WithHint("it has API keys")
	}
	may := func(c Caller) error { return cmp.Or(c.RequireProof(), notMightier(c, identity.APIKey{})) }
	if err := may(c); err != nil {
		return api.PasswordSet{}, err
	}
	known, err := e.knownPrincipal(ctx, c.Scope, c.Principal)
	if err != nil {
		return api.PasswordSet{}, err
	}
	if known.Password() == "" {
		return api.PasswordSet{}, fault.New(fault.Conflict, "%s has no password, and the first one is set by a link", c.Principal).WithCode("password_by_link").
			WithHint("an administrator makes it: underseal users reset-password %s", c.Principal)
	}
	if err := e.verifyAgain(ctx, c, known, in.Old, from); err != nil {
		return api.PasswordSet{}, err
	}
	p, err := e.namedPrincipal(ctx, c.Scope, c.Principal)
	if err != nil {
		return api.PasswordSet{}, err
	}
	kept, err := e.keep(ctx, p, in.New)
	if err != nil {
		return api.PasswordSet{}, err
	}
	p, err = e.changePrincipal(ctx, c, change{name: c.Principal, operation: "set-password"}, may, func(c Caller) (*principal, amendment, error) {
		p, err := e.namedPrincipal(ctx, c.Scope, c.Principal)
		if err != nil {
			return nil, amendment{}, err
		}
		if p.Password != known.Password() {
			return nil, amendment{}, fault.New(fault.Conflict, "the password was changed meanwhile").WithCode("stale")
		}
		a := amendment{kind: passwordSet, act: "user"}
		p.setPassword(kept, &a)
		return p, a, nil
	})
	if err != nil || c.Session == nil {
		return api.PasswordSet{}, err
	}
	ended := identity.Generations{Principal: p.Ended, Tenant: c.Session.Ended.Tenant}
	s, err := e.beginSession(ctx, signIn{scope: c.Scope, principal: c.Principal, how: c.Session.How, from: from, instead: c.Session, ended: ended})
	return api.PasswordSet{Session: &s}, err
}

// setPassword gives a principal a password, as it is kept, and ends all sessions and the
// link, if there is one.
func (p *principal) setPassword(kept string, a *amendment) {
	withdraw(&p.Invitation, a)
	p.Password = kept
	p.Ended++
}

// keep returns a new password of a principal as it is kept, unless it is no good.
func (e *Engine) keep(ctx context.Context, p *principal, text string) (kept string, err error) {
	if err := password.Check(text, []string{p.Name, p.Display, p.Mail, p.scope.Tenant(), "underseal"}, e.breached); err != nil {
		return "", err
	}
	mac, err := e.identity.PasswordMAC(ctx, p.scope)
	if err != nil {
		return "", err
	}
	err = e.passwords.Do(ctx, p.scope.Tenant(), func() error {
		kept, err = password.Keep(text, mac)
		return err
	})
	return kept, err
}

// ResetPassword makes a link by which a user sets another password; the one that there is
// counts until then. Whoever makes the link never knows either.
func (e *Engine) ResetPassword(ctx context.Context, c Caller, name string, r api.ReasonRequest, idem string) (api.Invited, error) {
	return e.linkAgain(ctx, c, change{name, "reset-password " + name, idem, r, r.Reason, true}, func(p *principal) error {
		if p.Kind == access.User && p.State == identity.Active {
			return nil
		}
		return fault.New(fault.Conflict, "%s %q is %s: only an active person sets a password", p.Kind, name, p.State).WithCode("not_active")
	})
}
