package engine

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/store"
)

// At is where people sign in by an issuer of a tenant.
type At struct{ Tenant, Issuer string }

// Login is a sign-in that begins.
type Login struct {
	At
	From     From
	Redirect string // where the issuer sends the browser
	To       string // page of this server that is shown in the end; empty: none
	Again    bool   // the issuer asks anew who they are
}

// LoginBegun is a sign-in that was begun.
type LoginBegun struct {
	Address string // to send the browser to
	Attempt string // for the browser to keep, and bring with the issuer's answer
}

// LoginAnswer is what a browser brings from an issuer.
type LoginAnswer struct {
	At
	From    From
	Attempt string
	Answer  url.Values
}

// LoggedIn is a session that was begun by an issuer's word.
type LoggedIn struct {
	Session api.NewSession
	To      string // page of this server to show; empty: none
}

// BeginLogin begins to sign somebody in at an issuer. NotFound where a tenant signs nobody
// in by that: whoever knows both names learns who signs its people in.
func (e *Engine) BeginLogin(ctx context.Context, in Login) (LoginBegun, error) {
	if !isLocal(in.To) {
		return LoginBegun{}, fault.New(fault.Invalid, "the page to show in the end is none of this server").WithCode("invalid_to").
			WithHint("it is a path, such as /tasks")
	}
	scope, i, err := e.loginFrom(ctx, in.At, in.From.Address)
	if err != nil {
		return LoginBegun{}, err
	}
	if err := e.displaces(ctx, in.From, scope, ""); err != nil {
		return LoginBegun{}, err
	}
	a, address, err := e.issuers.Begin(ctx, i, in.Redirect, in.Again)
	if err != nil {
		return LoginBegun{}, err
	}
	a.To = in.To
	text, err := e.identity.SealAttempt(ctx, scope, &i, in.From.Host, &a)
	return LoginBegun{address, text}, err
}

// maxTo bounds the path of the page that is shown in the end, in bytes.
const maxTo = 512

// isLocal reports whether a browser stays at this server when it is sent to a path; empty
// is none.
func isLocal(path string) bool {
	if path == "" {
		return true
	}
	foreign := strings.HasPrefix(path, "//") || strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r == '\\' || r >= 0x7f })
	u, err := url.Parse(path)
	return !foreign && path[0] == '/' && len(path) <= maxTo && err == nil && u.Host == "" && u.Scheme == ""
}

// noLogin is the answer where nobody signs in, whatever of it there is not.
func noLogin() error {
	return fault.New(fault.NotFound, "nobody signs in at this address").WithCode("no_login").
		WithHint("it has the names of your company and of its issuer: ask who administers it")
}

// loginAt returns the issuer that signs people of a tenant in.
func (e *Engine) loginAt(ctx context.Context, at At) (scope store.Scope, i identity.Issuer, err error) {
	found, err := e.identity.Exists(ctx, at.Tenant)
	if err != nil {
		return scope, i, err
	}
	if !found || e.issuers == nil {
		return scope, i, noLogin()
	}
	scope = store.NewScope(at.Tenant)
	rules, err := e.knownRules(ctx, scope)
	if fault.Is(err, fault.NotFound) { // its keys were made, and a crash came before it
		return scope, i, noLogin()
	}
	if err != nil {
		return scope, i, err
	}
	if i, found = peopleIssuer(rules.Tenant, at.Issuer); !found || rules.Tenant.State != identity.Active {
		return scope, i, noLogin()
	}
	return scope, i, nil
}

// loginFrom is loginAt for somebody who comes from an address.
func (e *Engine) loginFrom(ctx context.Context, at At, address string) (scope store.Scope, i identity.Issuer, err error) {
	if scope, i, err = e.loginAt(ctx, at); err != nil {
		return scope, i, err
	}
	if err := e.admitted(scope); err != nil {
		return scope, i, err
	}
	found, err := e.fromTenant(ctx, scope, address)
	if err == nil && !found {
		err = noLogin()
	}
	return scope, i, err
}

func peopleIssuer(t identity.Tenant, id string) (identity.Issuer, bool) {
	i := slices.IndexFunc(t.Issuers, func(i identity.Issuer) bool { return i.ID == id && i.Kind == identity.People })
	if i < 0 {
		return identity.Issuer{}, false
	}
	return t.Issuers[i], true
}

// FinishLogin takes the answer that a browser brings from an issuer and begins a session of
// whom the issuer means. Whatever is wrong with the answer, or with whoever it is, the
// error is the same; its cause, which is for the server's log, says why. What groups of the
// issuer give is given and taken before.
func (e *Engine) FinishLogin(ctx context.Context, in LoginAnswer) (LoggedIn, error) {
	scope, i, err := e.loginFrom(ctx, in.At, in.From.Address)
	if err != nil {
		return LoggedIn{}, err
	}
	out, err := e.finishLogin(ctx, scope, i, in)
	if fault.CodeOf(err) == "unauthenticated" {
		e.strangers.note(ctx, Caller{Scope: scope, Address: in.From.Address}, prefixOf(in.From.Address), "", "")
	}
	return out, err
}

func (e *Engine) finishLogin(ctx context.Context, scope store.Scope, i identity.Issuer, in LoginAnswer) (LoggedIn, error) {
	a, err := e.identity.OpenAttempt(ctx, scope, &i, in.From.Host, in.Attempt)
	if err != nil {
		return LoggedIn{}, nobody(err)
	}
	begins, err := e.unfinished(ctx, scope, a)
	if err != nil {
		return LoggedIn{}, err
	}
	began := e.moment()
	claims, err := e.issuers.Finish(ctx, i, a, in.Answer)
	if err != nil {
		return LoggedIn{}, nobody(err)
	}
	who, err := e.welcome(ctx, scope, i, claims, in.From.Address)
	if err != nil {
		return LoggedIn{}, err
	}
	if err := e.displaces(ctx, in.From, scope, who.name); err != nil {
		return LoggedIn{}, err
	}
	s, err := e.beginSession(ctx, signIn{
		scope: scope, principal: who.name, how: identity.ByIssuer + i.ID, from: in.From,
		link: who.link, there: claims.Session, proved: claims.Proved, entry: begins,
	})
	if err != nil {
		return LoggedIn{}, err
	}
	if err := e.stayed(ctx, scope, claims, s, began); err != nil {
		return LoggedIn{}, err
	}
	return LoggedIn{s, a.To}, nil
}

// displaces refuses a sign-in that would take the place of a session of somebody else, or
// of another tenant, in the same browser: a page of another site can have a browser begin
// and finish one, and its user would go on as somebody else without noticing. Principal ""
// is not known yet.
func (e *Engine) displaces(ctx context.Context, from From, scope store.Scope, principal string) error {
	there, token, found, err := e.identity.Find(ctx, identity.SessionText, from.Former)
	if err != nil || !found {
		return err
	}
	c, err := e.seated(ctx, there, token, from.Address, from.Host)
	switch {
	case fault.CodeOf(err) == "unauthenticated": // nobody is signed in there any more
		return nil
	case err != nil:
		return err
	case c.Scope == scope && (principal == "" || principal == c.Principal):
		return nil
	}
	return fault.New(fault.Conflict, "this browser is signed in as somebody else").WithCode("signed_in_as_other").
		WithHint("sign out first (POST /v1/me/sign-out), if you mean to sign in as another person or at another company, then begin again")
}

// nobody makes what an issuer is not believed the one answer, with the reason as its
// cause. What cannot be asked now is said as it is.
func nobody(reason error) error {
	if !fault.Is(reason, fault.Denied) {
		return reason
	}
	return fault.New(fault.Denied, "nobody is signed in by this answer of the issuer").WithCode("unauthenticated").
		WithHint("begin again; if that does not help, who administers your company links you to the issuer").WithCause(reason)
}

func finishedBefore() error { return fault.New(fault.Denied, "the sign-in was finished before") }

// unfinished returns the id of the log's entry of the session that an attempt leads to: it
// follows from the attempt, so that none leads to two, also where a browser keeps it.
func (e *Engine) unfinished(ctx context.Context, scope store.Scope, a identity.Attempt) (store.ID, error) {
	token, err := e.indexToken(ctx, scope.Tenant(), "sign-in attempt", a.State)
	if err != nil {
		return store.ID{}, err
	}
	id := custodyID(token)
	_, err = e.store.Leaf(ctx, scope, id, 0)
	switch {
	case err == nil:
		return id, nobody(finishedBefore())
	case fault.Is(err, fault.NotFound):
		err = nil
	}
	return id, err
}
