package oidc_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
)

// A provider that a tenant trusts can sign and publish what it likes: whatever it is, the
// answer is somebody who can be named, or a refusal.

func body(f *testing.F, c any) []byte {
	f.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		f.Fatal(err)
	}
	return text
}

func refusedOr(t *testing.T, err error, kinds ...fault.Kind) {
	t.Helper()
	for _, kind := range kinds {
		if fault.Is(err, kind) {
			return
		}
	}
	t.Errorf("refused by %v", err)
}

func FuzzClaims(f *testing.F) {
	p := newProvider(f)
	s := newSigner(f, "1", jose.EdDSA)
	p.keys = []jose.JSONWebKey{s.public()}
	c := p.client()
	good := claims{
		"iss": p.URL, "aud": []string{client, audience}, "azp": client, "sub": "248289761001", "sid": "s-1", "nonce": "n", "jti": "a", "scope": "underseal:job:*",
		"iat": start.Unix(), "exp": start.Add(2 * time.Minute).Unix(), "preferred_username": "ann", "email": "ann@example.org", "email_verified": true,
		"realm_access": claims{"roles": []string{"clerks"}},
	}
	events := claims{event: claims{}}
	f.Add("at+jwt", body(f, good.with("nonce", nil)))
	f.Add("at+jwt", body(f, good.with("cnf", claims{"x5t#S256": "a"})))
	f.Add("JWT", body(f, good))
	f.Add("JWT", body(f, good.with("_claim_names", claims{"realm_access.roles": "src1"})))
	f.Add("logout+jwt", body(f, good.with("nonce", nil).with("events", events)))
	f.Add("logout+jwt", body(f, good.with("exp", 1e300).with("events", []any{events})))
	f.Add("", []byte(`{"iss":1,"iss":2}`))
	f.Fuzz(func(t *testing.T, kind string, text []byte) {
		token := s.signBytes(t, kind, text)
		named := func(subject string) bool { return subject != "" && len(subject) <= 255 }
		if got, err := c.AccessToken(t.Context(), p.services(), token); err != nil {
			refusedOr(t, err, fault.Denied)
		} else if !named(got.Subject) || got.Issuer != p.URL {
			t.Errorf("an access token of nobody: %+v", got)
		}
		if got, err := signOut(t, c, "acme", p.people(), token); err != nil {
			refusedOr(t, err, fault.Denied, fault.Unavailable)
		} else if got.Subject == "" && got.Session == "" || got.Issuer != p.URL {
			t.Errorf("a logout of nobody: %+v", got)
		}
		p.set(func() { p.codes["code"] = token })
		attempt := identity.Attempt{State: "s", Nonce: "n", Verifier: "v", Redirect: redirect, Begun: start}
		if got, err := c.Finish(t.Context(), p.people(), attempt, url.Values{"state": {"s"}, "code": {"code"}}); err != nil {
			refusedOr(t, err, fault.Denied)
		} else if !named(got.Subject) || got.Issuer != p.URL || len(got.Groups) > 1000 {
			t.Errorf("an ID token of nobody: %+v", got)
		}
	})
}

func FuzzPublished(f *testing.F) {
	p := newProvider(f)
	s, other := newSigner(f, "1", jose.EdDSA), newSigner(f, "2", jose.ES256)
	token := s.sign(f, "at+jwt", claims{"iss": p.URL, "aud": audience, "sub": "robot", "exp": start.Add(time.Minute).Unix()})
	said := claims{"issuer": p.URL, "authorization_endpoint": p.URL + "/auth", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys"}
	keys := claims{"keys": []jose.JSONWebKey{s.public(), other.public()}}
	f.Add(body(f, said), body(f, keys))
	f.Add(body(f, said.with("jwks_uri", "https://127.0.0.1:1/")), body(f, claims{"keys": []jose.JSONWebKey{other.public()}}))
	f.Add(body(f, said.with("issuer", "https://other.example")), []byte(`{"keys":[{"kty":"RSA","n":"AQ","e":"AQAB"},{"kty":"oct","k":"AA"},7]}`))
	f.Add([]byte(`{`), []byte(`{"keys":null}`))
	x := []byte(xOf(f, s))
	f.Fuzz(func(t *testing.T, metadata, keys []byte) {
		p.t = t // one calls at a time
		p.set(func() {
			p.wrong = func(w http.ResponseWriter, r *http.Request) {
				answer := metadata
				if r.URL.Path != "/.well-known/openid-configuration" {
					answer = keys
				}
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Connection", "close") // each client is a new one, and keeps its own for a minute
				_, _ = w.Write(answer)
			}
		})
		got, err := p.client().AccessToken(t.Context(), p.services(), token)
		if err != nil {
			refusedOr(t, err, fault.Denied, fault.Unavailable)
		} else if got.Subject != "robot" || !bytes.Contains(keys, x) {
			t.Errorf("%+v, signed by a key that %q does not have", got, keys)
		}
	})
}

// xOf is the public part of a key as it is published.
func xOf(f *testing.F, s signer) string {
	f.Helper()
	var k struct{ X string }
	if err := json.Unmarshal(body(f, s.public()), &k); err != nil {
		f.Fatal(err)
	}
	return k.X
}
