package server

import (
	"context"
	"net/http"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
)

// sessionRoutes are about signing in, and where somebody is signed in.
func (s *Server) sessionRoutes() []*operation {
	e, tag := s.engine, "sessions"
	signIn := newOperation("POST", "/v1/sessions", "signIn", tag, "Sign in",
		func(ctx context.Context, x *exchange, in api.SignInRequest) (api.NewSession, error) {
			if err := x.mayTry(ctx, in.Tenant, in.Name); err != nil {
				return api.NewSession{}, err
			}
			out, err := e.SignIn(ctx, in, x.from(in.Cookie))
			return x.seated(out), err
		})
	signIn.public, signIn.unkeyed = true, true // each one is a session of its own
	signOut := newOperation("POST", "/v1/me/sign-out", "signOut", tag, "End the session that one is signed in by",
		func(ctx context.Context, x *exchange, _ none) (api.Session, error) {
			out, err := e.SignOut(ctx, x.caller)
			if err == nil && out.Cookie {
				x.setCookie("", -1)
				// What pages and caches kept of what was shown goes as well. Not "cookies", which
				// would be those of every other host of the company's domain, too.
				x.w.Header().Set("Clear-Site-Data", `"cache", "storage"`)
			}
			return out, err
		})
	verify := newOperation("POST", "/v1/me/verify", "verify", tag, "Prove once more who one is, and get another session in place of the one that there is",
		func(ctx context.Context, x *exchange, in api.VerifyRequest) (api.NewSession, error) {
			if err := x.mayTry(ctx, x.caller.Scope.Tenant(), x.caller.Principal); err != nil {
				return api.NewSession{}, err
			}
			out, err := e.Verify(ctx, x.caller, in, x.from(x.byCookie()))
			return x.seated(out), err
		})
	password := newOperation("PUT", "/v1/me/password", "setPassword", tag, "Set one's own password, and end all one's sessions",
		func(ctx context.Context, x *exchange, in api.PasswordRequest) (api.PasswordSet, error) {
			if err := x.mayTry(ctx, x.caller.Scope.Tenant(), x.caller.Principal); err != nil {
				return api.PasswordSet{}, err
			}
			out, err := e.SetPassword(ctx, x.caller, in, x.from(x.byCookie()))
			if out.Session != nil {
				seated := x.seated(*out.Session)
				out.Session = &seated
			}
			return out, err
		})
	revoke := newOperation("POST", "/v1/sessions/{session}/revoke", "revokeSession", tag, "End a session, at once",
		func(ctx context.Context, x *exchange, _ none) (api.Session, error) {
			return e.RevokeSession(ctx, x.caller, x.id)
		})
	signOut.proves, verify.proves = true, true
	for _, o := range []*operation{signOut, verify, password, revoke} {
		o.unkeyed = true // what has ended does not end again; a new session or password is one for each request
	}
	return []*operation{
		signIn, signOut, verify, password, revoke,
		newOperation("GET", "/v1/sessions", "listSessions", tag, "List where a user, or anybody, is signed in",
			func(ctx context.Context, x *exchange, in api.SessionsQuery) (api.Sessions, error) {
				out, err := e.Sessions(ctx, x.caller, in.User, engine.Page(in.Page))
				out.Items = list(out.Items)
				return out, err
			}),
		newOperation("POST", "/v1/sessions/end", "endAllSessions", tag, "End all sessions of one's company, at once",
			func(ctx context.Context, x *exchange, in api.ReasonRequest) (api.Tenant, error) {
				return e.EndAllSessions(ctx, x.caller, in, x.idem)
			}),
		newOperation("POST", "/v1/users/{user}/end-sessions", "endUserSessions", tag, "End all sessions of somebody, at once",
			func(ctx context.Context, x *exchange, in api.ReasonRequest) (api.User, error) {
				return e.EndUserSessions(ctx, x.caller, x.id, in, x.idem)
			}),
		newOperation("POST", "/v1/users/{user}/reset-password", "resetPassword", tag, "Make a link by which somebody sets another password",
			func(ctx context.Context, x *exchange, in api.ReasonRequest) (api.Invited, error) {
				return e.ResetPassword(ctx, x.caller, x.id, in, x.idem)
			}),
	}
}

// from is where the caller signs in; cookie says that a browser is to keep the session.
func (x *exchange) from(cookie bool) engine.From {
	f := engine.From{Address: addressText(x.server.address(x.r))}
	if cookie {
		f.Host = hostOf(x.r.Host)
	}
	if kept := x.r.CookiesNamed(cookieName); len(kept) == 1 {
		f.Former = kept[0].Value
	}
	return f
}

// mayTry refuses who tries passwords of an account too often. Tries from where the tenant's
// people do not come from take nothing of those from where they do.
func (x *exchange) mayTry(ctx context.Context, tenant, name string) error {
	address := x.server.address(x.r)
	inside, err := x.server.engine.ComeFrom(ctx, tenant, addressText(address))
	if err != nil {
		return err
	}
	if refused := x.server.config.Limits.SignIn(address, tenant, name, inside); refused.Wait > 0 {
		return x.tooMany(refused)
	}
	return nil
}

// byCookie reports whether the caller is signed in by a cookie.
func (x *exchange) byCookie() bool { return x.caller.Session != nil && x.caller.Session.Host != "" }

// seated gives a session's text to a browser as a cookie, and to nobody else.
func (x *exchange) seated(s api.NewSession) api.NewSession {
	if s.Cookie {
		x.setCookie(s.Text, 0)
		s.Text = ""
	}
	return s
}

// cookieName begins with what has browsers take the cookie from this very host over TLS,
// and send it nowhere else (RFC 6265bis, section 4.1.3.2).
const cookieName = "__Host-underseal"

// setCookie has the browser keep a session until it is closed; an age below zero takes it
// away. SameSite is Lax and not Strict, with which somebody who comes from their company's
// sign-in would not be signed in yet; what other sites' pages send is refused anyway.
func (x *exchange) setCookie(text string, age int) {
	http.SetCookie(x.w, &http.Cookie{
		Name: cookieName, Value: text, Path: "/", MaxAge: age, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}
