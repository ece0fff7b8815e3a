package oidc_test

import (
	"errors"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/oidc"
)

const event = "http://schemas.openid.net/event/backchannel-logout"

func (p *provider) logout(id string) claims {
	return claims{
		"iss": p.URL, "aud": client, "sub": "248289761001", "sid": "s-1", "jti": id, "iat": start.Unix(), "exp": start.Add(2 * time.Minute).Unix(),
		"events": claims{event: claims{}},
	}
}

// signOut returns what a logout token says, if it counts.
func signOut(t *testing.T, c *oidc.Client, tenant string, i identity.Issuer, token string) (out identity.Logout, err error) {
	t.Helper()
	err = c.Logout(t.Context(), tenant, i, token, func(said identity.Logout) error {
		out = said
		return nil
	})
	return out, err
}

func TestLogoutTokens(t *testing.T) {
	p := newProvider(t)
	s, stranger := newSigner(t, "1", jose.ES256), newSigner(t, "1", jose.ES256)
	p.keys = []jose.JSONWebKey{s.public()}
	c := p.client()
	good := p.logout("a")
	for _, test := range []struct{ name, token, because string }{
		{"an ID token", s.sign(t, "JWT", good.with("events", nil)), "no logout token"},
		{"another type", s.sign(t, "JWT", good), "no logout token"},
		{"no event", s.sign(t, "logout+jwt", good.with("events", nil)), "no logout token"},
		{"another event", s.sign(t, "logout+jwt", good.with("events", claims{event + "s": claims{}})), "no logout token"},
		{"an event that is no object", s.sign(t, "logout+jwt", good.with("events", claims{event: true})), "no logout token"},
		{"events that are no object", s.sign(t, "logout+jwt", good.with("events", event)), "no logout token"},
		{"a nonce", s.sign(t, "logout+jwt", good.with("nonce", "n")), "no logout token"},
		{"neither person nor session", s.sign(t, "logout+jwt", good.with("sub", nil).with("sid", nil)), "names nobody"},
		{"a person that cannot be read", s.sign(t, "logout+jwt", good.with("sub", 7)), "names nobody"},
		{"a session that cannot be read", s.sign(t, "logout+jwt", good.with("sid", "")), "names nobody"},
		{"no id", s.sign(t, "logout+jwt", good.with("jti", nil)), "(jti)"},
		{"no time of issue", s.sign(t, "logout+jwt", good.with("iat", nil)), "too old"},
		{"old", s.sign(t, "logout+jwt", good.with("iat", start.Add(-6*time.Minute).Unix())), "too old"},
		{"expired", s.sign(t, "logout+jwt", good.with("exp", start.Add(-time.Minute).Unix())), "expired"},
		{"no expiry", s.sign(t, "logout+jwt", good.with("exp", nil)), "expired"},
		{"for another client", s.sign(t, "logout+jwt", good.with("aud", "other")), "somebody else"},
		{"of another issuer", s.sign(t, "logout+jwt", good.with("iss", "https://evil.example")), "another issuer"},
		{"signed by somebody else", stranger.sign(t, "logout+jwt", good), "not signed"},
		{"unsigned", unsigned(t, claims{"alg": "none", "typ": "logout+jwt"}, good, nil), "algorithm"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := signOut(t, c, "acme", p.people(), test.token)
			wantRefused(t, err, test.because)
		})
	}
	for id, test := range map[string]struct {
		token claims
		want  identity.Logout
	}{
		"both":      {good, identity.Logout{Subject: "248289761001", Session: "s-1"}},
		"a session": {good.with("sub", nil), identity.Logout{Session: "s-1"}},
		"a person":  {good.with("sid", nil), identity.Logout{Subject: "248289761001"}},
	} {
		test.want.Issuer, test.want.Until = p.URL, start.Add(time.Minute)
		if got, err := signOut(t, c, "acme", p.people(), s.sign(t, "logout+jwt", test.token.with("jti", id))); err != nil || got != test.want {
			t.Errorf("%s: %+v, %v", id, got, err)
		}
	}
}

func TestALogoutTokenCountsOnce(t *testing.T) {
	p := newProvider(t)
	s := newSigner(t, "1", jose.ES256)
	p.keys = []jose.JSONWebKey{s.public()}
	c := p.client()
	token := s.sign(t, "logout+jwt", p.logout("a").with("exp", start.Add(time.Hour).Unix()))
	if _, err := signOut(t, c, "acme", p.people(), token); err != nil {
		t.Fatal(err)
	}
	for _, passed := range []time.Duration{0, 5 * time.Minute, time.Minute} {
		p.set(func() { p.now = p.now.Add(passed) })
		_, err := signOut(t, c, "acme", p.people(), token)
		because := "(jti)"
		if passed == time.Minute {
			because = "too old"
		}
		wantRefused(t, err, because)
	}
	other := p.people()
	other.Client = "another"
	p.set(func() { p.now = start })
	if _, err := signOut(t, c, "acme", other, s.sign(t, "logout+jwt", p.logout("a").with("aud", "another"))); err != nil {
		t.Errorf("the same id, for another client: %v", err)
	}
	if _, err := signOut(t, c, "another", p.people(), token); err != nil {
		t.Errorf("the same token at another company: %v", err)
	}
}

// A logout token of which nothing came, since nobody could be signed out just then, counts
// when the issuer sends it again, and never twice at a time.
func TestALogoutTokenThatFailedCountsAgain(t *testing.T) {
	p := newProvider(t)
	s := newSigner(t, "1", jose.EdDSA)
	p.keys = []jose.JSONWebKey{s.public()}
	c := p.client()
	token, other := s.sign(t, "logout+jwt", p.logout("a")), s.sign(t, "logout+jwt", p.logout("b"))
	away := errors.New("the database is away")
	for range 2 {
		err := c.Logout(t.Context(), "acme", p.people(), token, func(identity.Logout) error {
			if _, err := signOut(t, c, "acme", p.people(), token); !fault.Is(err, fault.Unavailable) {
				t.Errorf("the same while it is carried out: %v, want Unavailable", err)
			}
			return away
		})
		if !errors.Is(err, away) {
			t.Errorf("a sign-out that fails: %v", err)
		}
	}
	func() {
		defer func() { _ = recover() }()
		_ = c.Logout(t.Context(), "acme", p.people(), token, func(identity.Logout) error { panic("a defect") })
	}()
	for _, token := range []string{token, other} {
		if _, err := signOut(t, c, "acme", p.people(), token); err != nil {
			t.Errorf("then it goes well: %v", err)
		}
		_, err := signOut(t, c, "acme", p.people(), token)
		wantRefused(t, err, "(jti)")
	}
}

// An issuer that signs out a great many people, as whoever administers a tenant can have
// one do, keeps nobody of another issuer or tenant from being signed out, nor for long its
// own.
func TestAnIssuerUsesUpNobodysSignOuts(t *testing.T) {
	p := newProvider(t)
	s := newSigner(t, "1", jose.EdDSA)
	p.keys = []jose.JSONWebKey{s.public()}
	c := p.client()
	if err := oidc.FillLogouts(c, "acme", p.people(), 1); err != nil {
		t.Fatal(err)
	}
	if _, err := signOut(t, c, "acme", p.people(), s.sign(t, "logout+jwt", p.logout("a"))); err != nil {
		t.Errorf("the last: %v", err)
	}
	if _, err := signOut(t, c, "acme", p.people(), s.sign(t, "logout+jwt", p.logout("b"))); !fault.Is(err, fault.Unavailable) {
		t.Errorf("one more: %v, want Unavailable", err)
	}
	other := p.people()
	other.Client = "another"
	if _, err := signOut(t, c, "acme", other, s.sign(t, "logout+jwt", p.logout("b").with("aud", "another"))); err != nil {
		t.Errorf("another issuer: %v", err)
	}
	if _, err := signOut(t, c, "other", p.people(), s.sign(t, "logout+jwt", p.logout("b"))); err != nil {
		t.Errorf("another company: %v", err)
	}
	p.set(func() { p.now = p.now.Add(7 * time.Minute) })
	later := p.logout("b").with("iat", start.Add(7*time.Minute).Unix()).with("exp", start.Add(9*time.Minute).Unix())
	if _, err := signOut(t, c, "acme", p.people(), s.sign(t, "logout+jwt", later)); err != nil {
		t.Errorf("minutes later: %v", err)
	}
}
