package server

import (
	"bytes"
	"context"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"strconv"
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
// there and comes back, for itself or for a program on its machine, and the provider says
// when somebody signs out.
func (s *Server) loginRoutes() []*operation {
	tag := "sessions"
	begin := newOperation("GET", "/v1/login/{tenant}/{issuer}", "beginLogin", tag, "Send a browser to sign in at a company's OpenID provider", s.beginLogin)
	finish := &operation{
		method: "GET", path: "/v1/login/{tenant}/{issuer}/done", id: "finishLogin", tag: tag,
		summary: "Take the provider's answer from a browser, and sign in by a cookie, or show the code for a program",
		in:      reflect.TypeFor[api.LoginAnswer](), out: reflect.TypeFor[api.NewSession](), serve: s.finishLogin,
	}
	end := &operation{
		method: "POST", path: "/v1/login/{tenant}/{issuer}/logout", id: "endLogins", tag: tag, unkeyed: true, free: true,
		summary: "Take the provider's word that somebody has signed out there (back-channel logout)",
		in:      reflect.TypeFor[api.LogoutRequest](), out: reflect.TypeFor[api.LoginsEnded](), form: true, serve: s.endLogins,
	}
	finish.page = true
	redeem := newOperation("POST", "/v1/login/{tenant}/{issuer}/session", "redeemLogin", tag, "Sign in a program by the code that a browser has brought it", s.redeemLogin)
	redeem.unkeyed = true // a code counts once
	all := []*operation{begin, finish, redeem, end}
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
		At: x.loginAt(), From: x.from(true), To: in.To, Again: in.Again, Port: in.Port, Challenge: in.Challenge,
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
	if out.Handed != nil {
		return x.handOver(out.Handed)
	}
	if out.To != "" {
		// No redirection: the provider's page would go on to be who asks for the next one, and
		// what another site has a browser ask for gets no cookie's rights here.
		x.w.Header().Set("Refresh", "0;url="+out.To)
	}
	return x.answer(http.StatusOK, x.seated(out.Session))
}

// handOver shows who is signed in on the command line, and where, with the link that does
// it. It is followed by hand: any page can have a browser begin, and finish, a sign-in of a
// program that listens on the same machine, whosever that is.
func (x *exchange) handOver(to *engine.Handed) error {
	link := url.URL{
		Scheme: "http", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(to.Port)), Path: "/",
		RawQuery: url.Values{"code": {to.Code}, "challenge": {to.Challenge}}.Encode(),
	}
	var page bytes.Buffer
	err := handOverPage.Execute(&page, map[string]any{
		"User": to.User, "Company": x.id, "Address": to.Address, "Check": api.CheckCode(to.Challenge), "Link": link.String(),
	})
	if err != nil {
		return fault.New(fault.Internal, "the page for the command line cannot be made: %w", err)
	}
	x.write(http.StatusOK, "text/html; charset=utf-8", page.Bytes())
	return nil
}

var handOverPage = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Sign in on the command line</title></head>
<body>
<h1>Sign in on the command line?</h1>
<p>You are <b>{{.User}}</b> at <b>{{.Company}}</b>. A program on this machine asks to be signed in as you. This was begun from the address {{.Address}}.</p>
<p>Its terminal must show the check code <b>{{.Check}}</b>.</p>
<p><a id="go" href="{{.Link}}">The terminal shows this code: sign it in</a></p>
<p>If you have not run <code>underseal login</code> just now, or the terminal shows another code, somebody else may have sent you here: close this page. Nobody is signed in by it then. The link counts for a minute.</p>
</body></html>
`))

// redeemLogin signs in a program, which is no browser: it gets the session's text.
func (s *Server) redeemLogin(ctx context.Context, x *exchange, in api.LoginRedemption) (api.NewSession, error) {
	out, err := s.engine.RedeemLogin(ctx, engine.Redemption{At: x.loginAt(), From: x.from(false), LoginRedemption: in})
	if fault.CodeOf(err) == api.CodeUnauthenticated {
		x.logRefused(err)
	}
	return out, err
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
