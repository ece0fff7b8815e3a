package oidc_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/network"
	"github.com/underseal/underseal/internal/oidc"
)

// claims are those of a token.
type claims map[string]any

// with returns the claims with another one; nil takes it out.
func (c claims) with(name string, value any) claims {
	c = maps.Clone(c)
	if c[name] = value; value == nil {
		delete(c, name)
	}
	return c
}

const (
	redirect = "https://seal.example.org/v1/sign-in/acme/corp/done"
	audience = "https://seal.example.org"
	client   = "underseal"
)

var start = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// provider is an OpenID provider that does as a test says.
type provider struct {
	*httptest.Server
	t testing.TB

	mu     sync.Mutex // guards what follows
	now    time.Time
	meta   map[string]any    // what it says of itself, besides what is right
	keys   []jose.JSONWebKey // that it publishes
	looks  int               // how often it was asked for them
	wrong  http.HandlerFunc  // answers in its place; nil: nobody
	codes  map[string]string // ID tokens by code
	posted url.Values        // the newest request for a token
	basic  [2]string         // client and secret in its header
}

func newProvider(t testing.TB) *provider {
	t.Helper()
	p := &provider{t: t, now: start, meta: map[string]any{}, codes: map[string]string{}}
	p.Server = httptest.NewTLSServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.wrong != nil:
		p.wrong(w, r)
	case r.URL.Path == "/.well-known/openid-configuration":
		meta := map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/auth?of=all", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
		}
		maps.Copy(meta, p.meta)
		p.write(w, meta)
	case r.URL.Path == "/keys":
		p.looks++
		p.write(w, map[string]any{"keys": p.keys})
	case r.URL.Path == "/token":
		p.exchange(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (p *provider) write(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		p.t.Error(err)
	}
}

// exchange gives the ID token of a code, once.
func (p *provider) exchange(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		p.t.Error(err)
	}
	p.posted = r.PostForm
	p.basic[0], p.basic[1], _ = r.BasicAuth()
	token, ok := p.codes[r.PostForm.Get("code")]
	delete(p.codes, r.PostForm.Get("code"))
	if !ok {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		p.write(w, map[string]any{"error": "invalid_grant", "error_description": "sesame"})
		return
	}
	p.write(w, map[string]any{"access_token": "sesame", "token_type": "Bearer", "id_token": token})
}

// set changes what the provider does.
func (p *provider) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *provider) clock() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

// client returns a Client that may reach the provider.
func (p *provider) client() *oidc.Client {
	p.t.Helper()
	allowed, err := network.Parse([]string{"127.0.0.0/8", "::1"})
	if err != nil {
		p.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(p.Certificate())
	return oidc.New(oidc.Config{Networks: allowed, Roots: roots, Now: p.clock})
}

func (p *provider) people() identity.Issuer {
	return identity.Issuer{
		ID: "corp", Kind: identity.People, URL: p.URL, Client: client, Secret: "open sesame", Scopes: []string{"profile"},
		NameClaim: "preferred_username", GroupClaim: "realm_access.roles",
	}
}

func (p *provider) services() identity.Issuer {
	return identity.Issuer{ID: "robots", Kind: identity.Services, URL: p.URL, Audiences: []string{audience, "other"}}
}

// signer is a key of a provider.
type signer struct {
	id     string
	by     jose.SignatureAlgorithm
	secret crypto.PrivateKey
}

func newSigner(t testing.TB, id string, by jose.SignatureAlgorithm) signer {
	t.Helper()
	s := signer{id: id, by: by}
	var err error
	switch by {
	case jose.RS256, jose.PS256, jose.RS384:
		s.secret, err = rsa.GenerateKey(rand.Reader, 2048)
	case jose.ES256:
		s.secret, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.ES384:
		s.secret, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case jose.EdDSA:
		_, s.secret, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s signer) public() jose.JSONWebKey {
	k := jose.JSONWebKey{Key: s.secret, KeyID: s.id, Use: "sig", Algorithm: string(s.by)}
	return k.Public()
}

// sign returns a token of a type.
func (s signer) sign(t testing.TB, kind string, c claims) string {
	t.Helper()
	body, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return s.signBytes(t, kind, body)
}

func (s signer) signBytes(t testing.TB, kind string, body []byte) string {
	t.Helper()
	options := &jose.SignerOptions{}
	if kind != "" {
		options = options.WithType(jose.ContentType(kind))
	}
	by, err := jose.NewSigner(jose.SigningKey{Algorithm: s.by, Key: jose.JSONWebKey{Key: s.secret, KeyID: s.id}}, options)
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

// unsigned returns a token with a header of its own and what is given for a signature.
func unsigned(t *testing.T, header claims, c claims, signature []byte) string {
	t.Helper()
	var parts [2]string
	for i, part := range []claims{header, c} {
		body, err := json.Marshal(part)
		if err != nil {
			t.Fatal(err)
		}
		parts[i] = base64.RawURLEncoding.EncodeToString(body)
	}
	return parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// challenge is what a verifier has for PKCE.
func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
