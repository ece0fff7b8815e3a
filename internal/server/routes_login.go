package server

import (
	"bytes"
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"strings"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/limit"
)

// redirect is the answer of an operation that sends a browser elsewhere.
type redirect string

// loginRoutes are how people sign in by their company's OpenID provider: a browser is sent
// there and comes back, and the provider says when somebody signs out.
func (s *Server) loginRoutes() []*operation {
	tag := "sessions"
	begin := newOperation("GET", "/v1/login/{tenant}/{issuer}", "beginLogin", tag, "Send a browser to sign in at a company's OpenID provider", s.beginLogin)
	finish := &operation{
		method: "GET", path: "/v1/login/{tenant}/{issuer}/done", id: "finishLogin", tag: tag,
		summary: "Take the provider's answer from a browser, and sign in by a cookie",
		in:      reflect.TypeFor[api.LoginAnswer](), out: reflect.TypeFor[api.NewSession](), serve: s.finishLogin,
	}
	end := &operation{
		method: "POST", path: "/v1/login/{tenant}/{issuer}/logout", id: "endLogins", tag: tag, unkeyed: true, free: true,
		summary: "Take the provider's word that somebody has signed out there (back-channel logout)",
		in:      reflect.TypeFor[api.LogoutRequest](), out: reflect.TypeFor[api.LoginsEnded](), form: true, serve: s.endLogins,
	}
	all := []*operation{begin, finish, end}
	for _, o := range all {
		o.public, o.param, o.inner = true, "tenant", "issuer"
	}
	return all
}

func (s *Server) beginLogin(ctx context.Context, x *exchange, in api.LoginQuery) (redirect, error) {
	own, err := x.own()
	if err != nil {
		return "", err
	}
	begun, err := s.engine.BeginLogin(ctx, engine.Login{
		At: x.loginAt(), From: x.from(true), To: in.To, Again: in.Again,
		Redirect: own + "/v1/login/" + url.PathEscape(x.id) + "/" + url.PathEscape(x.innerID) + "/done",
	})
	if err != nil {
		return "", err
	}
	x.setAttempt(begun.Attempt, int(identity.AttemptAge.Seconds()))
	return redirect(begun.Address), nil
}

func (x *exchange) loginAt() engine.At { return engine.At{Tenant: x.id, Issuer: x.innerID} }

// finishLogin reads the query as it comes: providers may add to it (RFC 6749 section 4.1.2).
func (s *Server) finishLogin(ctx context.Context, x *exchange) error {
	answer, err := url.ParseQuery(x.r.URL.RawQuery)
	if err != nil {
		return invalidQuery(fault.Detail{Place: "?", Message: "is not a well-formed query string"})
	}
	in := engine.LoginAnswer{At: x.loginAt(), From: x.from(true), Answer: answer}
	if kept := x.r.CookiesNamed(attemptName); len(kept) == 1 {
		in.Attempt = kept[0].Value
	}
	x.setAttempt("", -1) // it was good for one answer
	out, err := s.engine.FinishLogin(ctx, in)
	if fault.CodeOf(err) == api.CodeUnauthenticated {
		x.logRefused(err)
	}
	if err != nil {
		return err
	}
	if out.To != "" {
		// No redirection: the provider's page would go on to be who asks for the next one, and
		// what another site has a browser ask for gets no cookie's rights here.
		x.w.Header().Set("Refresh", "0;url="+out.To)
	}
	return x.answer(http.StatusOK, x.seated(out.Session))
}

// endLogins is asked by providers, of which one may sign out many people: what is taken
// counts as a call of the company, and all else against the address, also while the provider
// cannot be asked whether it is its word.
func (s *Server) endLogins(ctx context.Context, x *exchange) error {
	address := s.address(x.r)
	visit, refused := s.config.Limits.Enter(address, "")
	if refused.Wait > 0 {
		return x.tooMany(refused)
	}
	token, err := x.readToken()
	if err == nil {
		err = s.engine.EndLogins(ctx, x.loginAt(), token, addressText(address))
	}
	if fault.Is(err, fault.Invalid) || fault.Is(err, fault.NotFound) {
		x.logRefused(err)
	}
	if err != nil {
		return err
	}
	visit.Spare()
	// A sign-out is not refused for that: the person would stay signed in.
	s.config.Limits.Admit(limit.Call{Tenant: x.id, Key: "issuer " + x.innerID})
	return x.answer(http.StatusOK, api.LoginsEnded{})
}

// readToken reads the form that has the logout token (OpenID Connect Back-Channel Logout
// 1.0 section 2.5).
func (x *exchange) readToken() (string, error) {
	var body bytes.Buffer
	if err := readBody(x.w, x.r, maxForm, &body); err != nil {
		return "", err
	}
	kind, _, _ := strings.Cut(x.r.Header.Get("Content-Type"), ";")
	if strings.TrimSpace(strings.ToLower(kind)) != formType {
		return "", fault.New(fault.Invalid, "the body must be of Content-Type %s", formType).WithCode(api.CodeUnsupportedMediaType)
	}
	form, err := url.ParseQuery(body.String())
	if err != nil || len(form["logout_token"]) != 1 {
		return "", fault.New(fault.Invalid, "the form must have the field logout_token once").WithCode(api.CodeInvalidBody)
	}
	return form.Get("logout_token"), nil
}

const (
	formType = "application/x-www-form-urlencoded"
	maxForm  = 64 << 10 // bytes
)

// own is the address at which the browser reached the server, without a path. Where there
// is no TLS, a proxy does it, or all is on this machine.
func (x *exchange) own() (string, error) {
	scheme := "https"
	if x.r.TLS == nil && !x.server.config.StrictTransport && isThisMachine(hostOf(x.r.Host)) {
		scheme = "http"
	}
	own := scheme + "://" + x.r.Host
	if u, err := url.Parse(own); err != nil || u.Host != x.r.Host || u.Hostname() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" {
		return "", fault.New(fault.Invalid, "the request's Host header is no name of a host").WithCode(api.CodeMisdirected)
	}
	return own, nil
}

func isThisMachine(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// attemptName is that of the cookie by which a browser keeps a sign-in that it has begun.
const attemptName = "__Host-underseal-login"

// setAttempt has the browser keep a sign-in for seconds; less than zero takes it away.
// SameSite is Lax: it must come along when the provider sends the browser back.
func (x *exchange) setAttempt(text string, seconds int) {
	http.SetCookie(x.w, &http.Cookie{
		Name: attemptName, Value: text, Path: "/", MaxAge: seconds, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}
