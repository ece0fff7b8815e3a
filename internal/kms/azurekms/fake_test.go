package azurekms_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/underseal/underseal/internal/kms/azurekms"
	"github.com/underseal/underseal/internal/kms/cloudkey/cloudtest"
)

const (
	vaultHost    = "company.vault.azure.net"
	signInHost   = "login.microsoftonline.com"
	tenantID     = "5d9ff0c4-0000-4000-8000-000000000001"
	clientID     = "5d9ff0c4-0000-4000-8000-000000000002"
	clientSecret = "the secret of a test"
)

// A fake answers as a key vault and as Microsoft's sign-in do: it is no Azure,
// and shows only that requests are authorized and formed as documented. It
// challenges, checks the client's secret and the token, and really wraps and
// signs, with RSA and ECDSA keys in versions.
type fake struct {
	*cloudtest.Cloud

	mu      sync.Mutex // guards what follows
	keys    map[string]*fakeKey
	deleted map[string]bool // and not yet purged
	tokens  map[string]bool // that were given
	seesAll bool            // may see deleted keys
}

// A fakeKey has its versions in order.
type fakeKey struct{ versions []*fakeVersion }

type fakeVersion struct {
	id       string
	disabled bool
	rsa      *rsa.PrivateKey
	ec       *ecdsa.PrivateKey
}

func newFake(t *testing.T) *fake {
	f := &fake{keys: map[string]*fakeKey{}, deleted: map[string]bool{}, tokens: map[string]bool{}, seesAll: true}
	f.Cloud = cloudtest.New(t, http.HandlerFunc(f.serve), vaultHost, signInHost)
	return f
}

// addKeys makes a wrapping key and a signing key and returns the settings for them.
func (f *fake) addKeys() azurekms.Config {
	f.mu.Lock()
	defer f.mu.Unlock()
	wrapping, signing := fmt.Sprintf("root-%d", len(f.keys)), fmt.Sprintf("sign-%d", len(f.keys))
	f.keys[wrapping], f.keys[signing] = &fakeKey{}, &fakeKey{}
	f.keys[wrapping].add(true)
	f.keys[signing].add(false)
	return azurekms.Config{
		Vault: "https://" + vaultHost, Key: wrapping, SigningKey: signing,
		TenantID: tenantID, ClientID: clientID, Secret: secret(clientSecret), Transport: f.Transport(),
	}
}

// rsaKeys are few, since making them takes long. Versions made one after the
// other have different ones.
var rsaKeys = sync.OnceValue(func() (keys [3]*rsa.PrivateKey) {
	for i := range keys {
		var err error
		if keys[i], err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			panic(err)
		}
	}
	return keys
})

// made counts the versions with RSA keys.
var made atomic.Int32

// add makes a version of the kind of key.
func (k *fakeKey) add(wraps bool) *fakeVersion {
	id := make([]byte, 16)
	rand.Read(id)
	v := &fakeVersion{id: hex.EncodeToString(id)}
	if wraps {
		v.rsa = rsaKeys()[made.Add(1)%3]
	} else {
		var err error
		if v.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			panic(err)
		}
	}
	k.versions = append(k.versions, v)
	return v
}

func (k *fakeKey) find(id string) *fakeVersion {
	if id == "" {
		return k.versions[len(k.versions)-1]
	}
	if i := slices.IndexFunc(k.versions, func(v *fakeVersion) bool { return v.id == id }); i >= 0 {
		return k.versions[i]
	}
	return nil
}

// change changes the fake itself.
func (f *fake) change(edit func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	edit()
}

func secret(text string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return text, nil }
}

// refuse answers with an error of the API.
func refuse(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"error":{"code":%q,"message":"as the fake says"}}`, code)
	}
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Host == signInHost {
		f.signIn(w, r)
		return
	}
	if !f.tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")] {
		w.Header().Set("WWW-Authenticate", `Bearer authorization="https://`+signInHost+"/"+tenantID+`", resource="https://vault.azure.net"`)
		refuse(http.StatusUnauthorized, "Unauthorized")(w, r)
		return
	}
	f.api(w, r)
}

func reply(w http.ResponseWriter, out map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out)
}

// signIn gives a token to the client that knows its secret.
func (f *fake) signIn(w http.ResponseWriter, r *http.Request) {
	base := "https://" + signInHost + "/" + tenantID
	switch r.URL.Path {
	case "/" + tenantID + "/v2.0/.well-known/openid-configuration":
		reply(w, map[string]any{"issuer": base + "/v2.0", "authorization_endpoint": base + "/oauth2/v2.0/authorize", "token_endpoint": base + "/oauth2/v2.0/token"})
	case "/" + tenantID + "/oauth2/v2.0/token":
		if r.FormValue("grant_type") != "client_credentials" || r.FormValue("client_id") != clientID ||
			r.FormValue("client_secret") != clientSecret || !strings.Contains(r.FormValue("scope"), "https://vault.azure.net/.default") {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":"invalid_client","error_description":"AADSTS7000215: invalid client secret"}`)
			return
		}
		token := rand.Text()
		f.tokens[token] = true
		reply(w, map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": 3600})
	default:
		http.NotFound(w, r)
	}
}

// A request holds the members of the operations that the fake knows. Bytes are
// base64url in Azure's JSON.
type request struct{ Alg, Value string }

func (f *fake) api(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if r.URL.Query().Get("api-version") == "" || len(parts) < 2 {
		refuse(http.StatusBadRequest, "BadParameter")(w, r)
		return
	}
	name := parts[1]
	if parts[0] == "deletedkeys" {
		f.deletedKey(w, r, name)
		return
	}
	key, verb, id := f.keys[name], "", ""
	if len(parts) > 2 && parts[len(parts)-1] != "" && r.Method == http.MethodPost {
		verb, parts = parts[len(parts)-1], parts[:len(parts)-1]
	}
	if len(parts) > 2 {
		id = parts[2]
	}
	if key == nil || key.find(id) == nil {
		refuse(http.StatusNotFound, "KeyNotFound")(w, r)
		return
	}
	if verb == "rotate" {
		key.add(key.versions[0].rsa != nil)
		verb = ""
	}
	key.find(id).answer(w, r, name, verb)
}

func (f *fake) deletedKey(w http.ResponseWriter, r *http.Request, name string) {
	switch {
	case !f.seesAll:
		refuse(http.StatusForbidden, "Forbidden")(w, r)
	case !f.deleted[name]:
		refuse(http.StatusNotFound, "KeyNotFound")(w, r)
	default:
		reply(w, map[string]any{"recoveryId": "https://" + vaultHost + "/deletedkeys/" + name})
	}
}

func (v *fakeVersion) answer(w http.ResponseWriter, r *http.Request, name, verb string) {
	kid := "https://" + vaultHost + "/keys/" + name + "/" + v.id
	if verb == "" {
		jwk := v.public()
		jwk["kid"] = kid
		reply(w, map[string]any{"key": jwk, "attributes": map[string]any{"enabled": !v.disabled}})
		return
	}
	if v.disabled {
		refuse(http.StatusForbidden, "Forbidden")(w, r)
		return
	}
	var in request
	if json.NewDecoder(r.Body).Decode(&in) != nil {
		refuse(http.StatusBadRequest, "BadParameter")(w, r)
		return
	}
	value, err := base64.RawURLEncoding.DecodeString(in.Value)
	var out []byte
	if err == nil {
		out, err = v.use(verb, in.Alg, value)
	}
	if err != nil {
		refuse(http.StatusBadRequest, "BadParameter")(w, r)
		return
	}
	reply(w, map[string]any{"kid": kid, "value": base64.RawURLEncoding.EncodeToString(out)})
}

func (v *fakeVersion) public() map[string]any {
	text := base64.RawURLEncoding.EncodeToString
	if v.rsa != nil {
		return map[string]any{"kty": "RSA", "n": text(v.rsa.N.Bytes()), "e": "AQAB", "key_ops": []string{"wrapKey", "unwrapKey"}}
	}
	point, err := v.ec.PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	return map[string]any{"kty": "EC", "crv": "P-256", "x": text(point[1:33]), "y": text(point[33:]), "key_ops": []string{"sign"}}
}

func (v *fakeVersion) use(verb, algorithm string, value []byte) ([]byte, error) {
	switch {
	case verb == "wrapkey" && algorithm == "RSA-OAEP-256" && v.rsa != nil:
		return rsa.EncryptOAEP(sha256.New(), rand.Reader, &v.rsa.PublicKey, value, nil)
	case verb == "unwrapkey" && algorithm == "RSA-OAEP-256" && v.rsa != nil:
		return rsa.DecryptOAEP(sha256.New(), nil, v.rsa, value, nil)
	case verb == "sign" && algorithm == "ES256" && v.ec != nil && len(value) == 32:
		r, s, err := ecdsa.Sign(rand.Reader, v.ec, value)
		if err != nil {
			return nil, err
		}
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), nil
	}
	return nil, fmt.Errorf("no %s with %s", verb, algorithm)
}
