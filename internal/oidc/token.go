package oidc

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/identity"
)

// algorithms are what signatures may be by: the ones whose keys are public.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.EdDSA}

// Bounds of a token.
const (
	maxToken  = 16 << 10 // characters
	maxText   = 255      // bytes of a subject, a session or a name
	maxGroups = 1000
)

// token is one whose signature is the issuer's.
type token struct {
	kind   string // its type (RFC 7515 section 4.1.9), in lower case
	by     jose.SignatureAlgorithm
	claims *canon.Context
}

// open checks the signature of a token and what all kinds of tokens have in common: issuer,
// audience (one of those given) and times.
func (c *Client) open(ctx context.Context, i *identity.Issuer, text string, audiences []string) (*token, error) {
	t, err := c.signed(ctx, i, text)
	if err != nil {
		return nil, err
	}
	if t.text("iss") != i.URL {
		return nil, refused("the token is of another issuer than %s", i.URL)
	}
	if !slices.ContainsFunc(t.texts("aud"), func(a string) bool { return slices.Contains(audiences, a) }) {
		return nil, refused("the token of %s is for somebody else (aud)", i.URL)
	}
	return t, c.checkTimes(i.URL, t)
}

// signed opens a token by a key that the issuer publishes. Headers that bring or name a key
// (jwk, jku, x5c, x5u) mean nothing.
func (c *Client) signed(ctx context.Context, issuer *identity.Issuer, text string) (*token, error) {
	parsed, err := parse(text)
	if err != nil {
		return nil, err
	}
	header := parsed.Signatures[0].Protected
	by := jose.SignatureAlgorithm(header.Algorithm)
	var body []byte
	verifies := func(p *published) bool {
		for _, k := range p.keysFor(header.KeyID, by) {
			if b, err := parsed.Verify(k.Key); err == nil {
				body = b
				return true
			}
		}
		return false
	}
	// A key that is there and did not sign is no reason to look for others.
	enough := func(p *published) bool {
		return header.KeyID != "" && len(p.keysFor(header.KeyID, by)) > 0 || verifies(p)
	}
	p, err := c.published(ctx, issuer, enough)
	if err != nil {
		return nil, err
	}
	if !verifies(p) {
		return nil, refused("the token is not signed by a key that %s publishes", issuer.URL)
	}
	t := &token{by: by}
	kind, _ := header.ExtraHeaders[jose.HeaderType].(string)
	t.kind = strings.TrimPrefix(strings.ToLower(kind), "application/")
	t.claims, err = claimsIn(body)
	return t, err
}

// parse reads a token, of which nothing is known yet.
func parse(text string) (*jose.JSONWebSignature, error) {
	if len(text) > maxToken {
		return nil, refused("the token has more than %d characters", maxToken)
	}
	parsed, err := jose.ParseSignedCompact(text, algorithms)
	if err != nil {
		return nil, refused("the token is malformed, or signed by another algorithm than RS256, PS256, ES256 and EdDSA")
	}
	return parsed, nil
}

// claimsIn reads the claims of a token; a name that is there twice means two things.
func claimsIn(body []byte) (*canon.Context, error) {
	v, err := canon.DecodeJSON(body)
	claims, ok := v.(*canon.Context)
	if err != nil || !ok {
		return nil, refused("the claims of the token cannot be read")
	}
	return claims, nil
}

// IssuerOf returns the issuer that a token names. That is no more than a reason to ask
// whether it is.
func (c *Client) IssuerOf(text string) (url string, ok bool) {
	parsed, err := parse(text)
	if err != nil {
		return "", false
	}
	claims, err := claimsIn(parsed.UnsafePayloadWithoutVerification())
	if err != nil {
		return "", false
	}
	url = (&token{claims: claims}).text("iss")
	return url, url != ""
}

// checkTimes requires that a token counts now: not before nbf, which it need not have, and
// until exp. One that was issued in the future comes from a clock that is not to be trusted.
func (c *Client) checkTimes(issuer string, t *token) error {
	now := c.now()
	expires, ok := t.time("exp")
	if !ok || !now.Before(expires.Add(skew)) {
		return refused("the token of %s has expired, or says no time of expiry", issuer).WithHint("is this machine's clock right?")
	}
	for _, name := range []string{"nbf", "iat"} {
		at, ok := t.time(name)
		if t.has(name) && !ok || ok && now.Add(skew).Before(at) {
			return refused("the token of %s does not count yet (%s)", issuer, name).WithHint("is this machine's clock right?")
		}
	}
	return nil
}

func (t *token) has(name string) bool {
	_, ok := t.claims.Get(name)
	return ok
}

// text returns a claim; empty: it is missing, or none that could be shown.
func (t *token) text(name string) string {
	v, _ := t.claims.Get(name)
	return shown(v)
}

func shown(v canon.Value) string {
	s, _ := v.(canon.String)
	text := string(s)
	if len(text) > maxText*4 || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return ""
	}
	return text
}

// texts returns a claim that is a text or a list of them. "a.b" is b in a, if nothing has
// that very name.
func (t *token) texts(path string) []string {
	v, ok := t.claims.Get(path)
	for in := t.claims; !ok; {
		name, rest, more := strings.Cut(path, ".")
		if v, _ = in.Get(name); !more {
			break
		}
		if in, _ = v.(*canon.Context); in == nil {
			return nil
		}
		path = rest
	}
	list, many := v.(canon.List)
	if !many {
		list = canon.List{v}
	}
	var found []string
	for _, item := range list[:min(len(list), maxGroups)] {
		if text := shown(item); text != "" {
			found = append(found, text)
		}
	}
	return found
}

// time returns a claim that is a time (RFC 7519 section 2, NumericDate).
func (t *token) time(name string) (time.Time, bool) {
	v, _ := t.claims.Get(name)
	n, ok := v.(canon.Number)
	if !ok {
		return time.Time{}, false
	}
	seconds, err := strconv.ParseFloat(n.String(), 64)
	if err != nil || seconds < 0 || seconds > 1<<40 {
		return time.Time{}, false
	}
	return time.UnixMicro(int64(seconds * 1e6)).UTC(), true
}

// about returns what a token says of whom it is about.
func (t *token) about(i *identity.Issuer) (identity.Claims, error) {
	subject := t.text("sub")
	if subject == "" || len(subject) > maxText {
		return identity.Claims{}, refused("the token of %s names nobody (sub)", i.URL)
	}
	expires, _ := t.time("exp")
	return identity.Claims{Issuer: i.URL, Subject: subject, Session: t.text("sid"), Expires: expires}, nil
}

// AccessToken checks a token that a service calls with, for one of the issuer's audiences.
// A token that does not count is Denied; Unavailable when the issuer cannot be asked.
func (c *Client) AccessToken(ctx context.Context, i identity.Issuer, text string) (identity.Claims, error) {
	t, err := c.open(ctx, &i, text, i.Audiences)
	if err != nil {
		return identity.Claims{}, err
	}
	if err := t.isAccess(i.URL); err != nil {
		return identity.Claims{}, err
	}
	claims, err := t.about(&i)
	if err != nil {
		return identity.Claims{}, err
	}
	if claims.Scopes, err = t.scopes(i.URL); err == nil {
		claims.Thumbprint, err = t.thumbprint(i.URL)
	}
	return claims, err
}

// scopes returns the words of the claim scope (RFC 8693 section 4.2). A token is for
// everything without it, so one that cannot be read must not pass for none.
func (t *token) scopes(issuer string) ([]string, error) {
	v, there := t.claims.Get("scope")
	text := shown(v)
	if there && text == "" && !canon.Equal(v, canon.String("")) {
		return nil, refused("the token of %s says what it is for (scope) in a way that cannot be read", issuer)
	}
	return strings.Fields(text), nil
}

// isAccess requires that a token is for calling with. Not every provider types them as RFC
// 9068 has it; those that do not must have nothing that other tokens have.
func (t *token) isAccess(issuer string) error {
	foreign := slices.ContainsFunc([]string{"nonce", "at_hash", "c_hash", "events"}, t.has)
	if t.kind == "at+jwt" || (t.kind == "" || t.kind == "jwt") && !foreign {
		return nil
	}
	return refused("the token of %s is no access token", issuer)
}

// thumbprint returns the certificate that a token is bound to. One that is bound in a way
// that is not looked at here does not count.
func (t *token) thumbprint(issuer string) (string, error) {
	if !t.has("cnf") {
		return "", nil
	}
	v, _ := t.claims.Get("cnf")
	confirmation, _ := v.(*canon.Context)
	print, _ := confirmation.Get("x5t#S256")
	if confirmation.Len() != 1 || shown(print) == "" {
		return "", refused("the token of %s is bound to a key in another way than by a client certificate", issuer)
	}
	return shown(print), nil
}
