package engine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"net/url"
	"slices"
	"strings"

	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/store"
)

// Issuers checks what those say whose word tenants take (package oidc). What is not to be
// believed is Denied; Unavailable when an issuer cannot be asked.
type Issuers interface {
	// IssuerOf returns the issuer that a token names, which proves nothing.
	IssuerOf(token string) (url string, ok bool)
	// AccessToken checks a token that a service calls with.
	AccessToken(ctx context.Context, i identity.Issuer, token string) (identity.Claims, error)
	// Begin begins to sign a person in at an issuer, which sends the browser to redirect in
	// the end, and returns the address to send it to.
	Begin(ctx context.Context, i identity.Issuer, redirect string, again bool) (a identity.Attempt, address string, err error)
	// Finish takes the answer that a browser brings from an issuer to an attempt.
	Finish(ctx context.Context, i identity.Issuer, a identity.Attempt, answer url.Values) (identity.Claims, error)
	// Logout checks a logout token and has end do what it says. The token counts once, unless
	// end fails.
	Logout(ctx context.Context, tenant string, i identity.Issuer, token string, end func(identity.Logout) error) error
}

// Presented is what a service calls with that has no API key: a token, or else a
// certificate whose key it has proved to have.
type Presented struct {
	Tenant  string
	Token   string              // empty: none
	Chain   []*x509.Certificate // of the connection; the first is the client's
	Address string
}

// AuthenticateService admits a service by the word of one of the tenant's issuers. Whatever
// is wrong, the answer is the one of Authenticate.
func (e *Engine) AuthenticateService(ctx context.Context, p Presented) (Caller, error) {
	c, err := e.recognizeService(ctx, p)
	if fault.CodeOf(err) == "unauthenticated" {
		e.strangeAt(ctx, p.Tenant, p.Address)
	}
	return c, err
}

func (e *Engine) recognizeService(ctx context.Context, p Presented) (Caller, error) {
	found, err := e.identity.Exists(ctx, p.Tenant)
	if err != nil {
		return Caller{}, err
	}
	if !found {
		return Caller{}, e.recognizeNobody(ctx, p)
	}
	scope := store.NewScope(p.Tenant)
	if found, err = e.fromTenant(ctx, scope, p.Address); err != nil {
		return Caller{}, err
	}
	if !found {
		return Caller{}, e.recognizeNobody(ctx, p)
	}
	rules, err := e.knownRules(ctx, scope)
	if err != nil {
		return Caller{}, err
	}
	issuers := rules.Tenant.Issuers
	var all []vouched
	if p.Token != "" {
		all, err = e.byToken(ctx, issuers, p)
	} else {
		all = e.byCertificate(issuers, p.Chain)
	}
	if err != nil {
		return Caller{}, err
	}
	return e.admitVouched(ctx, scope, all, p.Address)
}

// recognizeNobody answers who names no tenant, or comes from outside of its networks. It
// takes as long as in a tenant that trusts nobody, so that the time does not say which
// tenants there are.
func (e *Engine) recognizeNobody(ctx context.Context, p Presented) error {
	if p.Token != "" {
		_, err := e.byToken(ctx, nil, p)
		return cmp.Or(err, identity.Unauthenticated())
	}
	for _, v := range e.byCertificate(nil, p.Chain) {
		v.issuer = "" // by which nobody is anybody
		if _, err := e.admitAs(ctx, e.TenantScope(identity.MainTenant), v, p.Address); err != nil && fault.CodeOf(err) != "unauthenticated" {
			return err
		}
	}
	return identity.Unauthenticated()
}

// vouched is who somebody is by an issuer's word.
type vouched struct {
	issuer, subject string
	word            identity.Word
}

// byToken returns who calls with a token. Why it does not count is for the server's log:
// another answer would say whose word a tenant takes.
func (e *Engine) byToken(ctx context.Context, issuers []identity.Issuer, p Presented) ([]vouched, error) {
	if e.issuers == nil {
		return nil, nil
	}
	url, ok := e.issuers.IssuerOf(p.Token)
	i := slices.IndexFunc(issuers, func(i identity.Issuer) bool { return i.Kind == identity.Services && i.URL == url })
	if !ok || i < 0 {
		return nil, nil
	}
	claims, err := e.issuers.AccessToken(ctx, issuers[i], p.Token)
	if err != nil {
		return nil, unbelieved(err)
	}
	if claims.Thumbprint != "" && claims.Thumbprint != thumbprint(p.Chain) {
		return nil, unbelieved(fault.New(fault.Denied, "the token is bound to another client certificate"))
	}
	scopes, err := scopesOf(claims.Scopes)
	if err != nil {
		return nil, unbelieved(err)
	}
	return []vouched{{claims.Issuer, claims.Subject, identity.Word{Until: claims.Expires, Scopes: scopes}}}, nil
}

// unbelieved is Unauthenticated with the reason, which only the server's log has.
func unbelieved(reason error) error {
	return fault.New(fault.Denied, "%s", identity.Unauthenticated().Error()).WithCode("unauthenticated").WithCause(reason)
}

// thumbprint is how a token names the certificate that it is bound to (RFC 8705 section
// 3.1).
func thumbprint(chain []*x509.Certificate) string {
	if len(chain) == 0 {
		return ""
	}
	sum := sha256.Sum256(chain[0].Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// scopePrefix marks the scopes of a token that are actions of ours. The others are for
// others.
const scopePrefix = "underseal:"

// scopesOf returns what a token's scopes restrict it to; none: nothing.
func scopesOf(words []string) (scopes []access.Scope, err error) {
	for _, word := range words {
		text, ours := strings.CutPrefix(word, scopePrefix)
		if !ours {
			continue
		}
		scope, err := access.ParseScope(text)
		if err != nil {
			return nil, err
		}
		scopes = append(scopes, scope)
	}
	return scopes, nil
}

// byCertificate returns who the holder of a client certificate may be: by the certificate
// itself, and by each name that an issuer vouches for.
func (e *Engine) byCertificate(issuers []identity.Issuer, chain []*x509.Certificate) (all []vouched) {
	if len(chain) == 0 {
		return nil
	}
	leaf, now := chain[0], e.moment()
	word := identity.Word{Until: leaf.NotAfter}
	if !now.Before(leaf.NotBefore) {
		all = append(all, vouched{identity.ByFingerprint, identity.Fingerprint(leaf), word})
	}
	for i := range issuers {
		if issuers[i].Kind != identity.Certificates {
			continue
		}
		for _, name := range issuers[i].Vouches(chain, now) {
			all = append(all, vouched{issuers[i].Named(), name, word})
		}
	}
	return all
}

// admitVouched admits the one service that somebody is. Who would be two is nobody.
func (e *Engine) admitVouched(ctx context.Context, scope store.Scope, all []vouched, address string) (Caller, error) {
	var admitted Caller
	for _, v := range all {
		c, err := e.admitAs(ctx, scope, v, address)
		if fault.CodeOf(err) == "unauthenticated" {
			continue
		}
		if err != nil {
			return Caller{}, err
		}
		if admitted.Principal != "" && admitted.Principal != c.Principal {
			return Caller{}, unbelieved(fault.New(fault.Denied, "the certificate names both %s and %s", admitted.Principal, c.Principal))
		}
		if admitted.Principal == "" {
			admitted = c
		}
	}
	if admitted.Principal == "" {
		return Caller{}, identity.Unauthenticated()
	}
	return admitted, nil
}

func (e *Engine) admitAs(ctx context.Context, scope store.Scope, v vouched, address string) (Caller, error) {
	token, err := e.identity.FederatedToken(ctx, scope, v.issuer, v.subject)
	if err != nil {
		return Caller{}, err
	}
	known, err := e.knownBearer(ctx, scope, token)
	if fault.Is(err, fault.NotFound) {
		return Caller{}, identity.Unauthenticated()
	}
	if err != nil {
		return Caller{}, err
	}
	now := e.moment()
	c, err := known.AdmitService(token, v.word, address, now)
	if err == nil {
		e.used(ctx, c, token, now)
	}
	return c, err
}
