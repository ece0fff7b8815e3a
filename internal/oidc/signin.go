package oidc

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	provider "github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/identity"
)

// Begin begins to sign somebody in at an issuer, which sends the browser to redirect in the
// end, and returns the address to send it to. Again has the issuer ask anew who they are,
// also of somebody who is signed in there.
func (c *Client) Begin(ctx context.Context, i identity.Issuer, redirect string, again bool) (identity.Attempt, string, error) {
	p, err := c.published(ctx, &i, (*published).signsIn)
	if err != nil {
		return identity.Attempt{}, "", err
	}
	if !p.signsIn() {
		return identity.Attempt{}, "", unreachable(i.URL, errors.New("it signs nobody in by the authorization code flow with PKCE (S256)"))
	}
	a := identity.Attempt{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Redirect: redirect, Begun: c.now(), Again: again}
	options := []oauth2.AuthCodeOption{provider.Nonce(a.Nonce), oauth2.S256ChallengeOption(a.Verifier)}
	if again {
		options = append(options, oauth2.SetAuthURLParam("max_age", "0"))
	}
	return a, c.flow(&i, p, redirect).AuthCodeURL(a.State, options...), nil
}

// signsIn reports whether an issuer has what the code flow needs. Those that say nothing of
// PKCE get a challenge, too.
func (p *published) signsIn() bool {
	return p.Authorization != "" && p.Token != "" && (p.Challenges == nil || slices.Contains(p.Challenges, "S256"))
}

// flow is the client that the tenant is at an issuer.
func (c *Client) flow(i *identity.Issuer, p *published, redirect string) *oauth2.Config {
	style := oauth2.AuthStyleInHeader
	if i.Secret == "" || p.ClientAuth != nil && !slices.Contains(p.ClientAuth, "client_secret_basic") {
		style = oauth2.AuthStyleInParams
	}
	return &oauth2.Config{
		ClientID: i.Client, ClientSecret: i.Secret, RedirectURL: redirect, Scopes: append([]string{provider.ScopeOpenID}, i.Scopes...),
		Endpoint: oauth2.Endpoint{AuthURL: p.Authorization, TokenURL: p.Token, AuthStyle: style},
	}
}

// Finish takes the answer that a browser brings from an issuer, and returns who has signed
// in. The caller keeps an attempt from being finished twice, and by another browser. What
// does not belong to the attempt is Denied.
func (c *Client) Finish(ctx context.Context, i identity.Issuer, a identity.Attempt, answer url.Values) (identity.Claims, error) {
	p, err := c.published(ctx, &i, (*published).signsIn)
	if err != nil {
		return identity.Claims{}, err
	}
	code, err := c.codeIn(answer, &i, p, a)
	if err != nil {
		return identity.Claims{}, err
	}
	text, access, err := c.exchange(ctx, &i, p, a, code)
	if err != nil {
		return identity.Claims{}, err
	}
	t, err := c.open(ctx, &i, text, []string{i.Client})
	if err != nil {
		return identity.Claims{}, err
	}
	if err := cmp.Or(t.isOf(&i, a), t.goesWith(i.URL, access)); err != nil {
		return identity.Claims{}, err
	}
	claims, err := t.person(&i)
	if err == nil && a.Again {
		claims.Proved, err = t.proved(i.URL, a, c.now())
	}
	return claims, err
}

// proved returns when somebody proved who they are, which must be after they were asked to
// (OpenID Connect Core 1.0 section 3.1.3.7): an issuer may pass over max_age.
func (t *token) proved(issuer string, a identity.Attempt, now time.Time) (time.Time, error) {
	at, ok := t.time("auth_time")
	if !ok || at.Before(a.Begun.Add(-skew)) {
		return at, refused("%s does not say that it has asked anew who they are (auth_time)", issuer)
	}
	if at.After(now) {
		at = now
	}
	return at, nil
}

// codeIn returns the code of an answer, if it is the one to the attempt and of the issuer
// that was asked: another one that the tenant trusts, too, may have sent the browser (RFC
// 9207).
func (c *Client) codeIn(answer url.Values, i *identity.Issuer, p *published, a identity.Attempt) (string, error) {
	for _, name := range []string{"state", "code", "iss", "error"} {
		if len(answer[name]) > 1 {
			return "", refused("the answer of %s has more than one %s", i.URL, name)
		}
	}
	if !within(c.now(), a.Begun, identity.AttemptAge) {
		return "", refused("signing in at %s took too long", i.URL).WithHint("begin again")
	}
	if a.State == "" || subtle.ConstantTimeCompare([]byte(answer.Get("state")), []byte(a.State)) != 1 {
		return "", refused("the answer of %s belongs to no sign-in that was begun here (state)", i.URL).WithHint("begin again")
	}
	if issuer := answer.Get("iss"); issuer != i.URL && (answer.Has("iss") || p.NamesItself) {
		return "", refused("the answer is not of %s, which was asked (iss)", i.URL)
	}
	if answer.Has("error") {
		return "", refused("%s has signed nobody in: %s", i.URL, word(answer.Get("error")))
	}
	if answer.Get("code") == "" {
		return "", refused("the answer of %s has no code", i.URL)
	}
	return answer.Get("code"), nil
}

// word returns an error code (RFC 6749 section 4.1.2.1) as it may be shown.
func word(code string) string {
	if code == "" || len(code) > 64 || strings.Trim(code, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return "error"
	}
	return code
}

// exchange gets the ID token for a code, and the access token that came with it, which is
// for nothing here.
func (c *Client) exchange(ctx context.Context, i *identity.Issuer, p *published, a identity.Attempt, code string) (id, access string, err error) {
	got, err := c.flow(i, p, a.Redirect).Exchange(provider.ClientContext(ctx, c.web.client(i.URL, p.Token)), code, oauth2.VerifierOption(a.Verifier))
	var answered *oauth2.RetrieveError // its text holds all that was answered
	switch {
	case errors.As(err, &answered) && answered.Response != nil && answered.Response.StatusCode < 500:
		return "", "", refused("%s does not take the code: %s", i.URL, word(answered.ErrorCode))
	case answered != nil:
		return "", "", unreachable(i.URL, errors.New("it fails to take the code"))
	case err != nil:
		return "", "", unreachable(i.URL, errors.New("it does not answer to the code"))
	}
	id, _ = got.Extra("id_token").(string)
	if id == "" {
		return "", "", refused("%s gives no ID token for the code", i.URL)
	}
	return id, got.AccessToken, nil
}

// isOf requires that a token is the ID token of an attempt (OpenID Connect Core 1.0 section
// 3.1.3.7).
func (t *token) isOf(i *identity.Issuer, a identity.Attempt) error {
	if t.kind != "" && t.kind != "jwt" || t.has("events") {
		return refused("what %s gives for the code is no ID token", i.URL)
	}
	if client := t.text("azp"); client != i.Client && (t.has("azp") || len(t.texts("aud")) > 1) {
		return refused("the ID token of %s was made for another client (azp)", i.URL)
	}
	if subtle.ConstantTimeCompare([]byte(t.text("nonce")), []byte(a.Nonce)) != 1 {
		return refused("the ID token of %s belongs to another sign-in (nonce)", i.URL)
	}
	if issued, ok := t.time("iat"); !ok || issued.Before(a.Begun.Add(-skew)) {
		return refused("the ID token of %s is older than the sign-in (iat)", i.URL)
	}
	return nil
}

// goesWith requires of an ID token that names the access token it was given with (at_hash)
// that it is this one (OpenID Connect Core 1.0 section 3.1.3.8).
func (t *token) goesWith(issuer, access string) error {
	if !t.has("at_hash") {
		return nil
	}
	sum := sha256.Sum256([]byte(access))
	hash := sum[:]
	if t.by == jose.EdDSA {
		long := sha512.Sum512([]byte(access))
		hash = long[:]
	}
	if t.text("at_hash") != base64.RawURLEncoding.EncodeToString(hash[:len(hash)/2]) {
		return refused("the ID token of %s was given with another access token (at_hash)", issuer)
	}
	return nil
}

// person returns what an ID token says of somebody.
func (t *token) person(i *identity.Issuer) (identity.Claims, error) {
	claims, err := t.about(i)
	if err != nil {
		return claims, err
	}
	claims.Issued, _ = t.time("iat") // which it has
	claims.Name, claims.Display = t.text(i.NameClaim), t.text("name")
	if verified, _ := t.claims.Get("email_verified"); verified == canon.Bool(true) {
		claims.Mail = t.text("email")
	} else if i.NameClaim == "email" { // anybody could have said that it is theirs
		claims.Name = ""
	}
	if i.GroupClaim == "" {
		return claims, nil
	}
	if t.leftOut(i.GroupClaim) {
		return claims, refused("%s has left the groups out of the ID token, as they are too many", i.URL).
			WithHint("have the issuer name only the groups that are given something here")
	}
	claims.Groups = t.texts(i.GroupClaim)
	return claims, nil
}

// leftOut reports whether a claim is said to be somewhere else (OpenID Connect Core 1.0
// section 5.6.2), which is how Entra ID says that the groups are too many.
func (t *token) leftOut(claim string) bool {
	v, _ := t.claims.Get("_claim_names")
	names, _ := v.(*canon.Context)
	_, ok := names.Get(claim)
	return ok || len(t.texts(claim)) >= maxGroups
}
