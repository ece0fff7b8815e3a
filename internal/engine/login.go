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

	// Of who signs in a program on their machine and not the browser, as a Command has them.
	Port      int
	Challenge string
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

// LoggedIn is what came of an issuer's word: a session of the browser, or what it is to
// bring to the program that is signed in.
type LoggedIn struct {
	Session api.NewSession
	To      string // page of this server to show; empty: none
	Handed  *Handed
}

// Handed is a code for a program on the machine of whoever signs in. The browser gets no
// session.
type Handed struct {
	Code string
	User string
	identity.Command
}

// Redemption is what a program brings to be signed in.
type Redemption struct {
	At
	From From
	api.LoginRedemption
}

// BeginLogin begins to sign somebody in at an issuer. NotFound where a tenant signs nobody
// in by that: whoever knows both names learns who signs its people in.
func (e *Engine) BeginLogin(ctx context.Context, in Login) (LoginBegun, error) {
	if !isLocal(in.To) {
		return LoginBegun{}, fault.New(fault.Invalid, "the page to show in the end is none of this server").WithCode("invalid_to").
			WithHint("it is a path, such as /tasks")
	}
	command, err := in.command()
	if err != nil {
		return LoginBegun{}, err
	}
	scope, i, err := e.loginFrom(ctx, in.At, in.From.Address)
	if err != nil {
		return LoginBegun{}, err
	}
	if command.Port == 0 { // else what is signed in is not the browser
		err = e.displaces(ctx, in.From, scope, "")
	}
	if err != nil {
		return LoginBegun{}, err
	}
	a, address, err := e.issuers.Begin(ctx, i, in.Redirect, in.Again)
	if err != nil {
		return LoginBegun{}, err
	}
	a.To, a.Command = in.To, command
	text, err := e.identity.SealAttempt(ctx, scope, &i, in.From.Host, &a)
	return LoginBegun{address, text}, err
}

// command returns the program that is to be signed in; none is the zero one. Ports below
// 1024 are for services, which a page must not be sent to.
func (in *Login) command() (identity.Command, error) {
	if in.Port == 0 && in.Challenge == "" {
		return identity.Command{}, nil
	}
	var wrong []fault.Detail
	refuse := func(bad bool, place, message string) {
		if bad {
			wrong = append(wrong, fault.Detail{Place: place, Message: message})
		}
	}
	refuse(in.Port < 1024 || in.Port > 65535, "?port", "it is that of a program on the same machine, from 1024 to 65535")
	refuse(!identity.IsChallenge(in.Challenge), "?challenge", "it is the SHA-256 of the verifier in base64url, 43 characters")
	refuse(in.To != "", "?to", "a program that signs in is shown no page of this server")
	if wrong != nil {
		return identity.Command{}, fault.New(fault.Invalid, "no program can be signed in so").WithCode("invalid_command").WithDetails(wrong...).
			WithHint("underseal login --issuer signs in from the command line")
	}
	return identity.Command{Port: in.Port, Challenge: in.Challenge, Address: in.From.Address}, nil
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
func (e *Engine) FinishLogin(ctx context.Context, in LoginAnswer) (out LoggedIn, err error) {
	err = e.vouched(ctx, in.At, in.From, func(scope store.Scope, i identity.Issuer) error {
		out, err = e.finishLogin(ctx, scope, i, in)
		return err
	})
	return out, err
}

// vouched has somebody signed in by an issuer, and notes it if they are not.
func (e *Engine) vouched(ctx context.Context, at At, from From, signIn func(store.Scope, identity.Issuer) error) error {
	scope, i, err := e.loginFrom(ctx, at, from.Address)
	if err != nil {
		return err
	}
	if err = signIn(scope, i); fault.CodeOf(err) == "unauthenticated" {
		e.strangers.note(ctx, Caller{Scope: scope, Address: from.Address}, prefixOf(from.Address), "", "")
	}
	return err
}

func (e *Engine) finishLogin(ctx context.Context, scope store.Scope, i identity.Issuer, in LoginAnswer) (LoggedIn, error) {
	a, err := e.identity.OpenAttempt(ctx, scope, &i, in.From.Host, in.Attempt)
	if err != nil {
		return LoggedIn{}, nobody(err)
	}
	begins, err := e.unfinished(ctx, scope, a.State)
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
	if a.Command.Port != 0 {
		v := identity.Voucher{Challenge: a.Command.Challenge, State: a.State, Principal: who.name, Link: who.link, Claims: claims, Asked: began, Ended: who.ended}
		return e.handOver(ctx, scope, i, v, a.Command, in.From)
	}
	if err := e.displaces(ctx, in.From, scope, who.name); err != nil {
		return LoggedIn{}, err
	}
	s, err := e.beginSession(ctx, signIn{
		scope: scope, principal: who.name, how: identity.ByIssuer + i.ID, from: in.From,
		link: who.link, there: claims.Session, issued: claims.Issued, proved: claims.Proved, entry: begins, ended: who.ended,
	})
	if err != nil {
		return LoggedIn{}, err
	}
	if err := e.stayed(ctx, scope, claims, s, began); err != nil {
		return LoggedIn{}, err
	}
	return LoggedIn{Session: s, To: a.To}, nil
}

// handOver makes an issuer's word a code for the program that is signed in. Nothing of it is
// kept here, as of an attempt: the session that it becomes has its entry in the log, of
// which there is one.
func (e *Engine) handOver(ctx context.Context, scope store.Scope, i identity.Issuer, v identity.Voucher, to identity.Command, from From) (LoggedIn, error) {
	known, err := e.knownPrincipal(ctx, scope, v.Principal)
	if fault.Is(err, fault.NotFound) || err == nil && !known.SignsIn(from.Address) {
		err = nobody(fault.New(fault.Denied, "%s may not come in", v.Principal))
	}
	if err != nil {
		return LoggedIn{}, err
	}
	v.Made = e.moment()
	code, err := e.identity.SealVoucher(ctx, scope, &i, &v)
	return LoggedIn{Handed: &Handed{code, v.Principal, to}}, err
}

// RedeemLogin begins a session of the program that a browser has brought a code, if the
// program is the one that began. Whatever is wrong, the error is that of FinishLogin.
func (e *Engine) RedeemLogin(ctx context.Context, in Redemption) (out api.NewSession, err error) {
	err = e.vouched(ctx, in.At, in.From, func(scope store.Scope, i identity.Issuer) error {
		out, err = e.redeemLogin(ctx, scope, i, in)
		return err
	})
	return out, err
}

func (e *Engine) redeemLogin(ctx context.Context, scope store.Scope, i identity.Issuer, in Redemption) (api.NewSession, error) {
	v, err := e.identity.OpenVoucher(ctx, scope, &i, in.Code, in.Verifier, e.moment())
	if err != nil {
		return api.NewSession{}, nobody(err)
	}
	begins, err := e.unfinished(ctx, scope, v.State)
	if err != nil {
		return api.NewSession{}, err
	}
	s, err := e.beginSession(ctx, signIn{
		scope: scope, principal: v.Principal, how: identity.ByIssuer + i.ID, from: in.From,
		link: v.Link, there: v.Claims.Session, issued: v.Claims.Issued, proved: v.Claims.Proved, entry: begins, ended: v.Ended,
	})
	if err != nil {
		return api.NewSession{}, err
	}
	if err := e.stayed(ctx, scope, v.Claims, s, v.Asked); err != nil {
		return api.NewSession{}, err
	}
	return s, nil
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
func (e *Engine) unfinished(ctx context.Context, scope store.Scope, state string) (store.ID, error) {
	token, err := e.indexToken(ctx, scope.Tenant(), "sign-in attempt", state)
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
