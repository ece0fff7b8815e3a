package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/limit"
)

// origins tells what a browser sends from a page of this very server, or a program, from
// what it sends from the page of another site: by Sec-Fetch-Site, else by Origin.
var origins = http.NewCrossOriginProtection()

// enter finds the caller, before anything else of the request is looked at but where it
// is sent to and where it comes from.
func (x *exchange) enter(ctx context.Context) error {
	if !x.op.free && !names(x.server.config.Hosts, x.r.Host) {
		return fault.New(fault.Invalid, "this server is not reached by the name in the request's Host header").
			WithCode(api.CodeMisdirected).WithHint("its operator names those it has with --hosts")
	}
	if err := origins.Check(x.r); err != nil {
		return fault.New(fault.Denied, "a browser sends this from the page of another site").WithCode(api.CodeCrossOrigin)
	}
	address := x.server.address(x.r)
	switch {
	case x.op.free:
		return nil
	case x.op.public:
		return x.unknown(address)
	}
	if err := x.authenticate(ctx, address); err != nil || x.op.proves {
		return err
	}
	return x.caller.RequireProof()
}

// names reports whether one of hosts is what a Host header (RFC 9110 section 7.2) asks
// for, whatever its port. Clients older than browsers with scripts send none.
func names(hosts []string, header string) bool {
	if len(hosts) == 0 || header == "" {
		return true
	}
	host := hostOf(header)
	for _, h := range hosts {
		if strings.EqualFold(h, host) {
			return true
		}
	}
	return false
}

// hostOf is the name in a Host header, without the port.
func hostOf(header string) string {
	host := header
	if name, _, err := net.SplitHostPort(header); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

// OnlyHosts refuses requests for other hosts, so that a page whose name leads to this
// machine for a moment (DNS rebinding) reads nothing. Without hosts it refuses none.
func OnlyHosts(hosts []string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !names(hosts, r.Host) {
			http.Error(w, "this server is not reached by that name", http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// authenticate finds the caller, and refuses who calls too often.
func (x *exchange) authenticate(ctx context.Context, address netip.Addr) error {
	limits := x.server.config.Limits
	shown, err := x.credential()
	visit, refused := limits.Enter(address, shown.known())
	if refused.Wait > 0 {
		return x.tooMany(refused)
	}
	switch {
	case err != nil:
	case shown.service != nil:
		shown.service.Address = addressText(address)
		x.caller, err = x.server.engine.AuthenticateService(ctx, *shown.service)
	case shown.cookie:
		x.caller, err = x.server.engine.AuthenticateCookie(ctx, shown.text, hostOf(x.r.Host), addressText(address))
	default:
		x.caller, err = x.server.engine.Authenticate(ctx, shown.text, addressText(address))
	}
	switch {
	case fault.CodeOf(err) == api.CodeUnauthenticated:
		visit.Failed()
		x.logRefused(err)
		return err
	case err != nil:
		visit.Spare()
		return err
	}
	visit.Good()
	c := &x.caller
	call := limit.Call{Tenant: c.Scope.Tenant(), Principal: c.Principal, Person: c.Person(), Key: c.Key, Ends: x.op.ends(), Own: c.Limits()}
	if refused = limits.Admit(call); refused.Wait > 0 && x.op.finds() {
		call.Ends = true
		refused = limits.Admit(call)
	}
	if refused.Wait > 0 {
		return x.tooMany(refused)
	}
	return nil
}

// credential is what a caller shows.
type credential struct {
	text    string // empty: none, or a certificate
	cookie  bool
	service *engine.Presented // nil: it is none of a service of an issuer
}

// known is what the limiter knows a credential by; empty: there is none. A certificate is
// no secret: what anybody can write into a header must not pass for one.
func (c *credential) known() string {
	if c.service != nil && c.text == "" && len(c.service.Chain) > 0 {
		return "certificate " + identity.Fingerprint(c.service.Chain[0])
	}
	return c.text
}

// credential returns what the request shows: of a service that names its tenant, what an
// issuer gave it; else the header for programs, or a browser's cookie, which counts for what
// a page of this very host sends.
func (x *exchange) credential() (shown credential, err error) {
	if tenants := x.r.Header[api.TenantHeader]; len(tenants) > 0 {
		return x.ofService(tenants)
	}
	cookies := x.r.CookiesNamed(cookieName)
	if len(cookies) == 0 || len(x.r.Header["Authorization"]) > 0 {
		shown.text, err = bearer(x.r.Header["Authorization"], maxKeyText)
		return shown, err
	}
	if len(cookies) > 1 || !isVisible(cookies[0].Value, 512) { // one of them is not ours
		return shown, unauthenticated("the cookie %s is there twice, or malformed", cookieName)
	}
	return credential{text: cookies[0].Value, cookie: true}, x.sameSite()
}

// sameSite refuses what a browser sends with its cookies from the page of another site,
// whatever it asks for, and changes by who does not say where they come from: every
// browser that keeps such cookies does.
func (x *exchange) sameSite() error {
	site := x.r.Header.Get("Sec-Fetch-Site")
	reads := x.r.Method == http.MethodGet || x.r.Method == http.MethodHead
	if site == "same-origin" || site == "none" || site == "" && (reads || x.r.Header.Get("Origin") != "") {
		return nil
	}
	return fault.New(fault.Denied, "a browser sends this from the page of another site, or does not say from where").WithCode(api.CodeCrossOrigin)
}

// ofService returns the token or, without one, the client certificate of a service. No page
// of another site can have a browser send the header that names the tenant.
func (x *exchange) ofService(tenants []string) (shown credential, err error) {
	if len(tenants) != 1 || !isVisible(tenants[0], 255) {
		return shown, unauthenticated("the header %s must be there once, with the name of a tenant", api.TenantHeader)
	}
	p := &engine.Presented{Tenant: tenants[0], Chain: x.server.chain(x.r)}
	if len(x.r.Header["Authorization"]) > 0 || len(p.Chain) == 0 {
		p.Token, err = bearer(x.r.Header["Authorization"], maxTokenText)
	}
	return credential{text: p.Token, service: p}, err
}

// Bounds of what stands in the header Authorization, in characters.
const (
	maxKeyText   = 512
	maxTokenText = 16 << 10
)

// logRefused writes down why an issuer is not believed, which who calls is not told. Other
// credentials have no more to say than that they do not count.
func (x *exchange) logRefused(err error) {
	var f *fault.Error
	if errors.As(err, &f) && f.Err != nil {
		x.server.log.LogAttrs(x.r.Context(), slog.LevelInfo, "an issuer's word does not count",
			slog.String("request", x.request), slog.String("reason", redact(f.Err)))
	}
}

// unknown refuses an address that calls too often where no credential is asked for.
func (x *exchange) unknown(address netip.Addr) error {
	if _, refused := x.server.config.Limits.Enter(address, ""); refused.Wait > 0 {
		return x.tooMany(refused)
	}
	return nil
}

// tooMany says which limit refuses the call, and when it will not.
func (x *exchange) tooMany(refused limit.Refused) error {
	seconds := int(math.Ceil(refused.Wait.Seconds()))
	x.w.Header().Set("Retry-After", strconv.Itoa(seconds))
	x.server.metrics.refused(refused.Limit)
	hint := fmt.Sprintf("wait %v before the next one", time.Duration(seconds)*time.Second)
	if refused.Limit == "user" && x.caller.Session == nil { // by an API key: maybe it is a program that calls
		hint += "; " + programsHint
	}
	return fault.New(fault.Unavailable, "too many calls of this %s", limited[refused.Limit]).WithCode(api.CodeTooMany).WithHint("%s", hint)
}

// programsHint says what helps who calls as a person more often than people do.
const programsHint = "a program calls as a service, which this limit is not for (underseal users invite NAME --kind service); " +
	"limit_user raises it for all, underseal tenants limits --user for the company"

// limited says what each limit is for.
var limited = map[string]string{"user": "person", "key": "API key", "tenant": "tenant", "address": "address without a good credential",
	"end": "credential, which end something", "sign_in": "person by a password"}
