package oidc_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/oidc"
)

// signIn is one sign-in at a provider, as far as the answer that the browser brings.
type signIn struct {
	p       *provider
	s       signer
	c       *oidc.Client
	issuer  identity.Issuer
	attempt identity.Attempt
	answer  url.Values
	kind    string // type of the ID token
	id      claims // of it
}

func newSignIn(t *testing.T) *signIn {
	t.Helper()
	p := newProvider(t)
	in := &signIn{p: p, s: newSigner(t, "1", jose.ES256), c: p.client(), issuer: p.people(), kind: "JWT"}
	p.keys = []jose.JSONWebKey{in.s.public()}
	in.begin(t)
	return in
}

func (in *signIn) begin(t *testing.T) (sent url.Values) {
	t.Helper()
	attempt, address, err := in.c.Begin(t.Context(), in.issuer, redirect, false)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil || !strings.HasPrefix(address, in.p.URL+"/auth?") {
		t.Fatalf("address = %q, %v", address, err)
	}
	in.attempt = attempt
	in.answer = url.Values{"state": {attempt.State}, "code": {"the code"}}
	in.id = claims{
		"iss": in.p.URL, "aud": client, "sub": "248289761001", "sid": "s-1", "nonce": attempt.Nonce,
		"iat": start.Unix(), "exp": start.Add(time.Minute).Unix(),
		"preferred_username": "ann", "name": "Ann Ash", "email": "ann@example.org", "email_verified": true,
		"realm_access": claims{"roles": []string{"clerks", "leads"}},
	}
	return u.Query()
}

func (in *signIn) finish(t *testing.T) (identity.Claims, error) {
	t.Helper()
	in.p.set(func() { in.p.codes["the code"] = in.s.sign(t, in.kind, in.id) })
	return in.c.Finish(t.Context(), in.issuer, in.attempt, in.answer)
}

func TestSigningIn(t *testing.T) {
	in := newSignIn(t)
	sent := in.begin(t)
	want := url.Values{
		"of": {"all"}, "response_type": {"code"}, "client_id": {client}, "redirect_uri": {redirect}, "scope": {"openid profile"},
		"state": {in.attempt.State}, "nonce": {in.attempt.Nonce}, "code_challenge": {challenge(in.attempt.Verifier)}, "code_challenge_method": {"S256"},
	}
	if !reflect.DeepEqual(sent, want) {
		t.Errorf("the browser is sent with %v, want %v", sent, want)
	}
	if in.attempt.State == in.attempt.Nonce || len(in.attempt.State) < 26 || len(in.attempt.Nonce) < 26 || len(in.attempt.Verifier) < 43 {
		t.Errorf("the attempt is %+v", in.attempt)
	}
	got, err := in.finish(t)
	if err != nil {
		t.Fatal(err)
	}
	if want := (identity.Claims{
		Issuer: in.p.URL, Subject: "248289761001", Session: "s-1", Issued: start, Expires: start.Add(time.Minute),
		Name: "ann", Display: "Ann Ash", Mail: "ann@example.org", Groups: []string{"clerks", "leads"},
	}); !reflect.DeepEqual(got, want) {
		t.Errorf("claims = %+v, want %+v", got, want)
	}
	if p := in.p; p.posted.Get("code_verifier") != in.attempt.Verifier || p.posted.Get("redirect_uri") != redirect || p.basic != [2]string{client, "open+sesame"} {
		t.Errorf("asked for the token with %v by %v", p.posted, p.basic)
	}
	if _, err := in.c.Finish(t.Context(), in.issuer, in.attempt, in.answer); fault.CodeOf(err) != "token_refused" {
		t.Errorf("the same code again: %v", err)
	}
}

// Who is to prove anew who they are must have, whatever the provider makes of being asked.
func TestSigningInAnew(t *testing.T) {
	in := newSignIn(t)
	begin := func(with any) {
		t.Helper()
		in.begin(t)
		attempt, address, err := in.c.Begin(t.Context(), in.issuer, redirect, true)
		if err != nil || !strings.Contains(address, "&max_age=0&") || !attempt.Again {
			t.Fatalf("sent to %s, %+v, %v", address, attempt, err)
		}
		in.attempt = attempt
		in.answer.Set("state", attempt.State)
		in.id = in.id.with("nonce", attempt.Nonce).with("auth_time", with)
	}
	for name, at := range map[string]any{"nothing": nil, "a text": "now", "an hour ago": start.Add(-time.Hour).Unix(), "just before": start.Add(-2 * time.Minute).Unix()} {
		begin(at)
		_, err := in.finish(t)
		t.Run(name, func(t *testing.T) { wantRefused(t, err, "auth_time") })
	}
	for said, want := range map[time.Duration]time.Duration{0: 0, -30 * time.Second: -30 * time.Second, 30 * time.Second: 0} {
		begin(start.Add(said).Unix())
		if got, err := in.finish(t); err != nil || !got.Proved.Equal(start.Add(want)) {
			t.Errorf("proved %v after: %v, %v", said, got.Proved, err)
		}
	}
	in.begin(t)
	in.id = in.id.with("auth_time", start.Unix())
	if got, err := in.finish(t); err != nil || !got.Proved.IsZero() {
		t.Errorf("proved without being asked: %v, %v", got.Proved, err)
	}
}

func TestHowAClientAuthenticates(t *testing.T) {
	for _, test := range []struct {
		name, secret string
		ways         []string
		basic, body  string
	}{
		{"by default", "sesame", nil, "sesame", ""},
		{"in the body alone", "sesame", []string{"client_secret_post"}, "", "sesame"},
		{"either way", "sesame", []string{"client_secret_post", "client_secret_basic"}, "sesame", ""},
		{"a public client", "", nil, "", ""},
	} {
		in := newSignIn(t)
		in.issuer.Secret, in.c = test.secret, in.p.client()
		if test.ways != nil {
			in.p.meta["token_endpoint_auth_methods_supported"] = test.ways
		}
		in.begin(t)
		if _, err := in.finish(t); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if in.p.basic[1] != test.basic || in.p.posted.Get("client_secret") != test.body {
			t.Errorf("%s: %v, %v", test.name, in.p.basic, in.p.posted)
		}
	}
}

func TestBadAnswersAreRefused(t *testing.T) {
	tests := []struct {
		name    string
		change  func(in *signIn)
		because string
	}{
		{"no state", func(in *signIn) { in.answer.Del("state") }, "(state)"},
		{"another state", func(in *signIn) { in.answer.Set("state", "x") }, "(state)"},
		{"two states", func(in *signIn) { in.answer.Add("state", "x") }, "more than one state"},
		{"an attempt without a state", func(in *signIn) { in.attempt.State = ""; in.answer.Set("state", "") }, "(state)"},
		{"no code", func(in *signIn) { in.answer.Del("code") }, "no code"},
		{"two codes", func(in *signIn) { in.answer.Add("code", "x") }, "more than one code"},
		{"a code of somebody else", func(in *signIn) { in.answer.Set("code", "x") }, "invalid_grant"},
		{"another issuer (mix-up)", func(in *signIn) { in.answer.Set("iss", "https://evil.example") }, "(iss)"},
		{"an empty issuer", func(in *signIn) { in.answer.Set("iss", "") }, "(iss)"},
		{"no issuer of one that names itself", func(in *signIn) {
			in.p.meta["authorization_response_iss_parameter_supported"] = true
			in.c = in.p.client()
		}, "(iss)"},
		{"an error", func(in *signIn) { in.answer.Set("error", "access_denied") }, "access_denied"},
		{"an error that is no word", func(in *signIn) { in.answer.Set("error", "<b>sesame</b>") }, "nobody in: error"},
		{"late", func(in *signIn) { in.attempt.Begun = start.Add(-identity.AttemptAge) }, "too long"},
		{"from the future", func(in *signIn) { in.attempt.Begun = start.Add(time.Second) }, "too long"},
		{"never begun", func(in *signIn) { in.attempt.Begun = time.Time{} }, "too long"},

		{"another nonce", func(in *signIn) { in.id = in.id.with("nonce", "x") }, "(nonce)"},
		{"no nonce", func(in *signIn) { in.id = in.id.with("nonce", nil) }, "(nonce)"},
		{"an ID token for another client", func(in *signIn) { in.id = in.id.with("aud", "other") }, "somebody else"},
		{"an ID token for an audience of services", func(in *signIn) { in.id = in.id.with("aud", audience) }, "somebody else"},
		{"two audiences without azp", func(in *signIn) { in.id = in.id.with("aud", []string{client, "other"}) }, "(azp)"},
		{"another azp", func(in *signIn) { in.id = in.id.with("azp", "other") }, "(azp)"},
		{"an empty azp", func(in *signIn) { in.id = in.id.with("azp", "") }, "(azp)"},
		{"another issuer's token", func(in *signIn) { in.id = in.id.with("iss", "https://evil.example") }, "another issuer"},
		{"expired", func(in *signIn) { in.id = in.id.with("exp", start.Add(-time.Minute).Unix()) }, "expired"},
		{"not yet", func(in *signIn) { in.id = in.id.with("nbf", start.Add(2*time.Minute).Unix()) }, "(nbf)"},
		{"issued before the sign-in", func(in *signIn) { in.id = in.id.with("iat", start.Add(-61*time.Second).Unix()) }, "(iat)"},
		{"no time of issue", func(in *signIn) { in.id = in.id.with("iat", nil) }, "(iat)"},
		{"an access token for an ID token", func(in *signIn) { in.kind = "at+jwt" }, "no ID token"},
		{"a logout token for an ID token", func(in *signIn) { in.kind = "logout+jwt" }, "no ID token"},
		{"a logout token without its type", func(in *signIn) { in.id = in.id.with("events", claims{}) }, "no ID token"},
		{"another access token's", func(in *signIn) { in.id = in.id.with("at_hash", challenge("other")[:22]) }, "(at_hash)"},
		{"an access token's that is none", func(in *signIn) { in.id = in.id.with("at_hash", "") }, "(at_hash)"},
		{"nobody", func(in *signIn) { in.id = in.id.with("sub", "") }, "names nobody"},
		{"groups that were left out", func(in *signIn) {
			in.issuer.GroupClaim = "groups"
			in.id = in.id.with("_claim_names", claims{"groups": "src1"})
		}, "left the groups out"},
		{"signed by another key", func(in *signIn) { in.s.secret = newSigner(in.p.t, "1", jose.ES256).secret }, "not signed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in := newSignIn(t)
			test.change(in)
			_, err := in.finish(t)
			wantRefused(t, err, test.because)
		})
	}
}

// half is how an ID token names an access token (OpenID Connect Core 1.0 section 3.1.3.6).
func half(access string) string {
	sum := sha256.Sum256([]byte(access))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

func TestGoodAnswers(t *testing.T) {
	for name, change := range map[string]func(in *signIn){
		"it names itself": func(in *signIn) {
			in.p.meta["authorization_response_iss_parameter_supported"] = true
			in.c = in.p.client()
			in.answer.Set("iss", in.p.URL)
		},
		"two audiences with azp": func(in *signIn) { in.id = in.id.with("aud", []string{"other", client}).with("azp", client) },
		"the access token's":     func(in *signIn) { in.id = in.id.with("at_hash", half("sesame")) },
		"the access token's, by Ed25519": func(in *signIn) {
			in.s = newSigner(in.p.t, "1", jose.EdDSA)
			in.p.keys, in.c = []jose.JSONWebKey{in.s.public()}, in.p.client()
			sum := sha512.Sum512([]byte("sesame"))
			in.id = in.id.with("at_hash", base64.RawURLEncoding.EncodeToString(sum[:32]))
		},
		"a clock that is behind": func(in *signIn) { in.id = in.id.with("iat", start.Add(-time.Minute).Unix()) },
	} {
		in := newSignIn(t)
		change(in)
		if _, err := in.finish(t); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatIsNotSaidOfSomebody(t *testing.T) {
	in := newSignIn(t)
	in.id = in.id.with("email_verified", false).with("name", nil).with("preferred_username", 7).with("realm_access", claims{"roles": "clerks"}).with("sid", nil)
	got, err := in.finish(t)
	if err != nil || got.Mail != "" || got.Display != "" || got.Name != "" || got.Session != "" || !reflect.DeepEqual(got.Groups, []string{"clerks"}) {
		t.Errorf("%+v, %v", got, err)
	}
	in.issuer.NameClaim = "email"
	in.begin(t)
	in.id = in.id.with("email_verified", nil)
	if got, err := in.finish(t); err != nil || got.Name != "" {
		t.Errorf("called after an address that was not verified: %q, %v", got.Name, err)
	}
	in.begin(t)
	in.id = in.id.with("email_verified", true)
	if got, err := in.finish(t); err != nil || got.Name != "ann@example.org" {
		t.Errorf("called after an address that was verified: %q, %v", got.Name, err)
	}
	for _, groups := range []any{nil, "x", claims{}, []string{"clerks"}} {
		in.begin(t)
		in.id = in.id.with("realm_access", groups)
		if got, err := in.finish(t); err != nil || got.Groups != nil {
			t.Errorf("groups in %v: %v, %v", groups, got.Groups, err)
		}
	}
}

func TestIssuersThatSignNobodyIn(t *testing.T) {
	for name, meta := range map[string]map[string]any{
		"no address to send people to": {"authorization_endpoint": ""},
		"no address for codes":         {"token_endpoint": ""},
		"PKCE in clear alone":          {"code_challenge_methods_supported": []string{"plain"}},
	} {
		p := newProvider(t)
		p.keys, p.meta = []jose.JSONWebKey{newSigner(t, "1", jose.ES256).public()}, meta
		if _, _, err := p.client().Begin(t.Context(), p.people(), redirect, false); fault.CodeOf(err) != "issuer_unavailable" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAFailingIssuer(t *testing.T) {
	in := newSignIn(t)
	in.p.set(func() {
		in.p.wrong = func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "sesame", http.StatusBadGateway) }
	})
	if _, err := in.finish(t); !fault.Is(err, fault.Unavailable) || strings.Contains(err.Error(), "sesame") {
		t.Errorf("a failing provider: %v", err)
	}
	in.p.set(func() {
		in.p.wrong = func(w http.ResponseWriter, _ *http.Request) { in.p.write(w, claims{"access_token": "sesame"}) }
	})
	_, err := in.finish(t)
	wantRefused(t, err, "no ID token")
	in.p.Close()
	if _, err := in.finish(t); !fault.Is(err, fault.Unavailable) || strings.Contains(err.Error(), "sesame") {
		t.Errorf("a provider that is gone: %v", err)
	}
}
