package oidc_test

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/underseal/underseal/internal/fault"
)

// access is what an access token of a service says.
func (p *provider) access() claims {
	return claims{"iss": p.URL, "aud": audience, "sub": "robot-7", "client_id": "robot-7", "iat": start.Unix(), "exp": start.Add(5 * time.Minute).Unix()}
}

func TestAccessTokensOfEachAlgorithmCount(t *testing.T) {
	p := newProvider(t)
	all := []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.EdDSA}
	var signers []signer
	for _, by := range all {
		s := newSigner(t, string(by), by)
		signers, p.keys = append(signers, s), append(p.keys, s.public())
	}
	c := p.client()
	for _, s := range signers {
		for _, kind := range []string{"at+jwt", "application/at+jwt", "JWT", ""} {
			got, err := c.AccessToken(t.Context(), p.services(), s.sign(t, kind, p.access().with("scope", "read underseal:job:work")))
			if err != nil || got.Subject != "robot-7" || got.Issuer != p.URL || !got.Expires.Equal(start.Add(5*time.Minute)) ||
				!slices.Equal(got.Scopes, []string{"read", "underseal:job:work"}) {
				t.Errorf("%s, type %q: %+v, %v", s.by, kind, got, err)
			}
		}
	}
	if p.looks != 1 {
		t.Errorf("the keys were asked for %d times", p.looks)
	}
}

func TestAccessTokensAreBoundToCertificates(t *testing.T) {
	p := newProvider(t)
	s := newSigner(t, "1", jose.ES256)
	p.keys = []jose.JSONWebKey{s.public()}
	c := p.client()
	got, err := c.AccessToken(t.Context(), p.services(), s.sign(t, "at+jwt", p.access().with("cnf", claims{"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"})))
	if err != nil || got.Thumbprint != "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2" {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bound := range []any{claims{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}, claims{}, "x", claims{"x5t#S256": "a", "jkt": "b"}, claims{"x5t#S256": 7}} {
		_, err := c.AccessToken(t.Context(), p.services(), s.sign(t, "at+jwt", p.access().with("cnf", bound)))
		wantRefused(t, err, "bound")
	}
}

// wantRefused requires that something was refused for a reason, and that the text holds
// nothing of a token.
func wantRefused(t *testing.T, err error, reason string) {
	t.Helper()
	if !fault.Is(err, fault.Denied) || fault.CodeOf(err) != "token_refused" || !strings.Contains(err.Error(), reason) {
		t.Errorf("error = %v (%s), want token_refused because of %q", err, fault.CodeOf(err), reason)
	}
	for cause := err; cause != nil; cause = errors.Unwrap(cause) {
		if strings.Contains(cause.Error(), "eyJ") || strings.Contains(cause.Error(), "sesame") {
			t.Errorf("a secret is in %q", cause)
		}
	}
}

func TestBadAccessTokensAreRefused(t *testing.T) {
	p := newProvider(t)
	s, stranger := newSigner(t, "1", jose.RS256), newSigner(t, "1", jose.RS256)
	wide := newSigner(t, "wide", jose.RS384)
	small := newSigner(t, "small", jose.RS256)
	var err error
	if small.secret, err = rsa.GenerateKey(rand.Reader, 1024); err != nil {
		t.Fatal(err)
	}
	forOther := newSigner(t, "encrypts", jose.ES256)
	encrypts := forOther.public()
	encrypts.Use = "enc"
	p.keys = []jose.JSONWebKey{s.public(), wide.public(), small.public(), encrypts}
	good := p.access()
	at := func(d time.Duration) int64 { return start.Add(d).Unix() }
	other := s
	other.id = "2"
	ps := s
	ps.by = jose.PS256

	tests := []struct{ name, token, because string }{
		{"nothing", "", "malformed"},
		{"no token", "usk_main_abc", "malformed"},
		{"two parts", strings.Join(strings.Split(s.sign(t, "", good), ".")[:2], "."), "malformed"},
		{"JSON serialization", `{"payload":"e30","signatures":[]}`, "malformed"},
		{"too long", s.sign(t, "", good.with("more", strings.Repeat("x", 16<<10))), "16384"},
		{"signed by somebody else", stranger.sign(t, "", good), "not signed"},
		{"changed claims", changed(t, s.sign(t, "", good)), "not signed"},
		{"signature of another token", swapped(s.sign(t, "", good), s.sign(t, "", good.with("sub", "admin"))), "not signed"},
		{"unknown key", other.sign(t, "", good), "not signed"},
		{"a key's other algorithm", ps.sign(t, "", good), "not signed"},
		{"a key that is too small", small.sign(t, "", good), "not signed"},
		{"a key for encryption", forOther.sign(t, "", good), "not signed"},
		{"algorithm RS384", wide.sign(t, "", good), "algorithm"},
		{"algorithm none", unsigned(t, claims{"alg": "none"}, good, nil), "algorithm"},
		{"algorithm None", unsigned(t, claims{"alg": "None", "kid": "1"}, good, []byte("x")), "algorithm"},
		{"HS256 with the public key", publicAsSecret(t, s, good), "algorithm"},
		{"a key in the header", ownKey(t, stranger, good), "not signed"},
		{"claims that are no object", s.signBytes(t, "", []byte(`[1]`)), "cannot be read"},
		{"claims that are no JSON", s.signBytes(t, "", []byte(`{`)), "cannot be read"},
		{"a claim that is there twice", s.signBytes(t, "", []byte(`{"sub":"a","sub":"b"}`)), "cannot be read"},
		{"another issuer", s.sign(t, "", good.with("iss", "https://evil.example")), "another issuer"},
		{"the issuer with a slash", s.sign(t, "", good.with("iss", p.URL+"/")), "another issuer"},
		{"no issuer", s.sign(t, "", good.with("iss", nil)), "another issuer"},
		{"another audience", s.sign(t, "", good.with("aud", "https://else.example")), "somebody else"},
		{"other audiences", s.sign(t, "", good.with("aud", []string{"a", audience + "/"})), "somebody else"},
		{"no audience", s.sign(t, "", good.with("aud", nil)), "somebody else"},
		{"an empty audience", s.sign(t, "", good.with("aud", "")), "somebody else"},
		{"no subject", s.sign(t, "", good.with("sub", nil)), "names nobody"},
		{"a number as subject", s.sign(t, "", good.with("sub", 7)), "names nobody"},
		{"a subject with a line break", s.sign(t, "", good.with("sub", "robot\n7")), "names nobody"},
		{"a long subject", s.sign(t, "", good.with("sub", strings.Repeat("x", 256))), "names nobody"},
		{"expired", s.sign(t, "", good.with("exp", at(-time.Minute))), "expired"},
		{"no expiry", s.sign(t, "", good.with("exp", nil)), "expired"},
		{"a text as expiry", s.sign(t, "", good.with("exp", "9999999999")), "expired"},
		{"an expiry beyond time", s.sign(t, "", good.with("exp", 1e300)), "expired"},
		{"not yet", s.sign(t, "", good.with("nbf", at(61*time.Second))), "(nbf)"},
		{"nbf that is no time", s.sign(t, "", good.with("nbf", "soon")), "(nbf)"},
		{"issued in the future", s.sign(t, "", good.with("iat", at(61*time.Second))), "(iat)"},
		{"an ID token", s.sign(t, "JWT", good.with("nonce", "n")), "no access token"},
		{"an ID token with a hash", s.sign(t, "", good.with("at_hash", "h")), "no access token"},
		{"a logout token", s.sign(t, "logout+jwt", good), "no access token"},
		{"a logout token without its type", s.sign(t, "JWT", good.with("events", claims{})), "no access token"},
		{"another type", s.sign(t, "secevent+jwt", good), "no access token"},
		{"a list of scopes", s.sign(t, "", good.with("scope", []string{"underseal:job:*"})), "(scope)"},
		{"a number as scope", s.sign(t, "", good.with("scope", 7)), "(scope)"},
		{"scopes without an end", s.sign(t, "", good.with("scope", "underseal:job:* "+strings.Repeat("x", 1<<10))), "(scope)"},
		{"scopes with a line break", s.sign(t, "", good.with("scope", "read\nunderseal:job:*")), "(scope)"},
	}
	c := p.client()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := c.AccessToken(t.Context(), p.services(), test.token)
			wantRefused(t, err, test.because)
		})
	}
	for _, edge := range []claims{good.with("exp", at(-time.Minute+time.Second)), good.with("nbf", at(time.Minute)), good.with("aud", []string{"a", "other"}), good.with("scope", "")} {
		if _, err := c.AccessToken(t.Context(), p.services(), s.sign(t, "", edge)); err != nil {
			t.Errorf("%v: %v", edge, err)
		}
	}
}

// changed returns a token with claims that were not signed.
func changed(t *testing.T, token string) string {
	t.Helper()
	parts := strings.Split(token, ".")
	parts[1] = strings.Split(unsigned(t, claims{}, claims{"sub": "admin"}, nil), ".")[1]
	return strings.Join(parts, ".")
}

// swapped returns the second token with the signature of the first.
func swapped(a, b string) string {
	return b[:strings.LastIndex(b, ".")] + a[strings.LastIndex(a, "."):]
}

// publicAsSecret signs by HMAC with what everybody knows.
func publicAsSecret(t *testing.T, s signer, c claims) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(s.public().Key)
	if err != nil {
		t.Fatal(err)
	}
	text := unsigned(t, claims{"alg": "HS256", "kid": s.id}, c, nil)
	text = strings.TrimSuffix(text, ".")
	mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	mac.Write([]byte(text))
	return unsigned(t, claims{"alg": "HS256", "kid": s.id}, c, mac.Sum(nil))
}

// ownKey signs by a key that the token brings.
func ownKey(t *testing.T, s signer, c claims) string {
	t.Helper()
	body, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	by, err := jose.NewSigner(jose.SigningKey{Algorithm: s.by, Key: s.secret}, &jose.SignerOptions{EmbedJWK: true})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := by.Sign(body)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestTheIssuerThatATokenNames(t *testing.T) {
	p := newProvider(t)
	s := newSigner(t, "1", jose.ES256)
	c := p.client()
	if url, ok := c.IssuerOf(s.sign(t, "", p.access())); !ok || url != p.URL {
		t.Errorf("IssuerOf = %q, %v", url, ok)
	}
	for _, bad := range []string{"", "usk_a", s.sign(t, "", p.access().with("iss", nil)), s.signBytes(t, "", []byte("x"))} {
		if url, ok := c.IssuerOf(bad); ok || url != "" {
			t.Errorf("IssuerOf(%.20q) = %q, %v", bad, url, ok)
		}
	}
}

func TestKeysAreChanged(t *testing.T) {
	p := newProvider(t)
	first, second := newSigner(t, "1", jose.ES256), newSigner(t, "2", jose.ES256)
	p.keys = []jose.JSONWebKey{first.public()}
	c := p.client()
	ask := func(s signer) error {
		_, err := c.AccessToken(t.Context(), p.services(), s.sign(t, "", p.access().with("exp", start.Add(24*time.Hour).Unix())))
		return err
	}
	steps := []struct {
		name   string
		pass   time.Duration
		change func()
		by     signer
		counts bool
		looks  int
	}{
		{"the first key", 0, nil, first, true, 1},
		{"again", time.Minute, nil, first, true, 1},
		{"an unknown one is looked for", 0, nil, second, false, 2},
		{"but not again at once", 9 * time.Second, func() { p.keys = append(p.keys, second.public()) }, second, false, 2},
		{"only after a while", time.Second, nil, second, true, 3},
		{"both count", 0, nil, first, true, 3},
		{"one that was withdrawn is known for a while", 9 * time.Minute, func() { p.keys = p.keys[1:] }, first, true, 3},
		{"and then no more", time.Minute, nil, first, false, 4},
		{"the other one does", 0, nil, second, true, 4},
		{"a failing provider's keys count", 59 * time.Minute, func() { p.wrong = http.NotFound }, second, true, 4},
		{"for an hour", time.Minute, nil, second, false, 4},
		{"a provider that is back is asked", 10 * time.Second, func() { p.wrong = nil }, second, true, 5},
	}
	for _, step := range steps {
		p.set(func() {
			p.now = p.now.Add(step.pass)
			if step.change != nil {
				step.change()
			}
		})
		if err := ask(step.by); (err == nil) != step.counts {
			t.Errorf("%s: %v", step.name, err)
		}
		if p.looks != step.looks {
			t.Errorf("%s: %d looks, want %d", step.name, p.looks, step.looks)
		}
	}
}

func TestATokenWithoutAKeyID(t *testing.T) {
	p := newProvider(t)
	first, second := newSigner(t, "", jose.ES256), newSigner(t, "", jose.ES256)
	p.keys = []jose.JSONWebKey{first.public(), newSigner(t, "other", jose.RS256).public()}
	c := p.client()
	if _, err := c.AccessToken(t.Context(), p.services(), first.sign(t, "", p.access())); err != nil {
		t.Error(err)
	}
	_, err := c.AccessToken(t.Context(), p.services(), second.sign(t, "", p.access()))
	wantRefused(t, err, "not signed")
	p.set(func() { p.keys, p.now = append(p.keys, second.public()), p.now.Add(10*time.Second) })
	if _, err := c.AccessToken(t.Context(), p.services(), second.sign(t, "", p.access())); err != nil {
		t.Error(err)
	}
}
