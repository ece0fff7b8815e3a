package gcpkms_test

import (
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"hash/crc32"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/kms/cloudkey/cloudtest"
	"github.com/underseal/underseal/internal/kms/gcpkms"
)

const (
	host      = "cloudkms.googleapis.com"
	tokenHost = "oauth2.googleapis.com"
	account   = "underseal@acme.iam.gserviceaccount.com"
	scope     = "https://www.googleapis.com/auth/cloudkms"
)

// accountKey is the private key of the service account in all tests.
var accountKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// accountFile returns the JSON key of the service account.
func accountFile() string {
	der, err := x509.MarshalPKCS8PrivateKey(accountKey())
	if err != nil {
		panic(err)
	}
	text, err := json.Marshal(map[string]string{
		"type":           "service_account",
		"client_email":   account,
		"private_key_id": "k1",
		"private_key":    string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"token_uri":      "https://" + tokenHost + "/token",
	})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// A fake answers as Cloud KMS and Google's token endpoint do: it is no Google,
// and shows only that requests are authorized and formed as documented. It
// checks the signature of the sign-in, the token, all checksums, and really
// encrypts, with the additional authenticated data.
type fake struct {
	*cloudtest.Cloud

	mu      sync.Mutex // guards what follows
	keys    map[string]*fakeKey
	tokens  map[string]bool // that were given
	refuses bool            // sign-ins
	hsm     int             // how often a new version is still being made when asked for
	keeps   bool            // versions wait before they are destroyed
	tamper  func(out map[string]any)
}

type fakeKey struct {
	primary  int
	versions []*fakeVersion // the first is number 1
}

type fakeVersion struct {
	state   string
	pending int
	secret  []byte
}

func newFake(t *testing.T) *fake {
	f := &fake{keys: map[string]*fakeKey{}, tokens: map[string]bool{}}
	f.Cloud = cloudtest.New(t, http.HandlerFunc(f.serve), host, tokenHost)
	return f
}

// addKey makes a key with one version and returns its name.
func (f *fake) addKey() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	name := fmt.Sprintf("projects/acme/locations/europe-west3/keyRings/underseal/cryptoKeys/root-%d", len(f.keys))
	key := &fakeKey{primary: 1}
	key.add(0)
	f.keys[name] = key
	return name
}

func (k *fakeKey) add(pending int) *fakeVersion {
	v := &fakeVersion{state: "ENABLED", pending: pending, secret: make([]byte, 32)}
	if pending > 0 {
		v.state = "PENDING_GENERATION"
	}
	rand.Read(v.secret)
	k.versions = append(k.versions, v)
	return v
}

// change changes the fake itself.
func (f *fake) change(edit func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	edit()
}

func (f *fake) config(name string) gcpkms.Config {
	return gcpkms.Config{Key: name, Credentials: secret(accountFile()), Transport: f.Transport()}
}

func secret(text string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return text, nil }
}

// refuse answers with an error of the API.
func refuse(code int, status, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=UTF-8")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": code, "message": message, "status": status}})
	}
}

// An apiError is a refusal that is still to be written.
type apiError struct {
	code            int
	status, message string
}

func (e *apiError) Error() string { return e.message }

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out map[string]any
	var err *apiError
	switch {
	case r.Host == tokenHost:
		out, err = f.signIn(r)
	case !f.tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]:
		err = &apiError{http.StatusUnauthorized, "UNAUTHENTICATED", "no valid token"}
	default:
		out, err = f.api(r)
	}
	if err != nil {
		refuse(err.code, err.status, err.message)(w, r)
		return
	}
	if f.tamper != nil {
		f.tamper(out)
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	_ = json.NewEncoder(w).Encode(out)
}

// signIn gives a token for an assertion that the account signed (RFC 7523).
func (f *fake) signIn(r *http.Request) (map[string]any, *apiError) {
	refused := &apiError{http.StatusBadRequest, "INVALID_ARGUMENT", "invalid_grant"}
	if f.refuses || r.FormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		return nil, refused
	}
	signed, signature, _ := cutLast(r.FormValue("assertion"), ".")
	_, claimsText, _ := strings.Cut(signed, ".")
	raw, err := base64.RawURLEncoding.DecodeString(signature)
	digest := sha256.Sum256([]byte(signed))
	if err != nil || rsa.VerifyPKCS1v15(&accountKey().PublicKey, crypto.SHA256, digest[:], raw) != nil {
		return nil, refused
	}
	var claims struct {
		Iss, Scope, Aud string
		Exp             int64
	}
	text, err := base64.RawURLEncoding.DecodeString(claimsText)
	if err != nil || json.Unmarshal(text, &claims) != nil || claims.Iss != account || claims.Scope != scope ||
		claims.Aud != "https://"+tokenHost+"/token" || time.Unix(claims.Exp, 0).Before(time.Now()) {
		return nil, refused
	}
	token := rand.Text()
	f.tokens[token] = true
	return map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": 3600}, nil
}

func cutLast(text, sep string) (before, after string, found bool) {
	i := strings.LastIndex(text, sep)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(sep):], true
}

var (
	errMissing = &apiError{http.StatusNotFound, "NOT_FOUND", "not found"}
	errBad     = &apiError{http.StatusBadRequest, "INVALID_ARGUMENT", "Decryption failed: the ciphertext is invalid."}
	errSum     = &apiError{http.StatusBadRequest, "INVALID_ARGUMENT", "The checksum in a field such as ciphertext_crc32c does not match."}
)

func (f *fake) api(r *http.Request) (map[string]any, *apiError) {
	name, verb, _ := cutLast(strings.TrimPrefix(r.URL.Path, "/v1/"), ":")
	var in request
	if r.Method == http.MethodPost && json.NewDecoder(r.Body).Decode(&in) != nil {
		return nil, &apiError{http.StatusBadRequest, "INVALID_ARGUMENT", "no JSON"}
	}
	parent, rest, _ := strings.Cut(name, "/cryptoKeyVersions")
	key := f.keys[parent]
	if key == nil {
		return nil, errMissing
	}
	number, _ := strconv.Atoi(strings.TrimPrefix(rest, "/"))
	switch {
	case name == parent+"/cryptoKeyVersions" && verb == "" && r.Method == http.MethodPost:
		key.add(f.hsm)
		return key.version(parent, len(key.versions))
	case name == parent:
		return key.serve(parent, verb, r.Method, in)
	case number < 1 || number > len(key.versions):
		return nil, errMissing
	case verb == "encrypt":
		return key.encrypt(parent, number, in)
	case verb == "destroy":
		return key.destroy(parent, number, f.keeps)
	case verb == "" && r.Method == http.MethodGet:
		return key.version(parent, number)
	}
	return nil, errMissing
}

// A request holds the members of the operations that the fake knows. 64-bit
// numbers are strings in Google's JSON.
type request struct {
	Plaintext                         []byte
	PlaintextCrc32c                   string
	Ciphertext                        []byte
	CiphertextCrc32c                  string
	AdditionalAuthenticatedData       []byte
	AdditionalAuthenticatedDataCrc32c string
	CryptoKeyVersionID                string `json:"cryptoKeyVersionId"`
}

func (k *fakeKey) serve(name, verb, method string, in request) (map[string]any, *apiError) {
	switch {
	case verb == "decrypt":
		return k.decrypt(name, in)
	case verb == "updatePrimaryVersion":
		n, err := strconv.Atoi(in.CryptoKeyVersionID)
		if err != nil || n < 1 || n > len(k.versions) {
			return nil, errMissing
		}
		if k.versions[n-1].state != "ENABLED" {
			return nil, k.notEnabled(name, n)
		}
		k.primary = n
	case verb != "" || method != http.MethodGet:
		return nil, errMissing
	}
	primary, err := k.version(name, k.primary)
	return map[string]any{"name": name, "purpose": "ENCRYPT_DECRYPT", "primary": primary}, err
}

func versionName(name string, n int) string { return name + "/cryptoKeyVersions/" + strconv.Itoa(n) }

func (k *fakeKey) version(name string, n int) (map[string]any, *apiError) {
	v := k.versions[n-1]
	out := map[string]any{"name": versionName(name, n), "state": v.state}
	if v.state == "PENDING_GENERATION" {
		if v.pending--; v.pending == 0 {
			v.state = "ENABLED"
		}
	}
	return out, nil
}

func (k *fakeKey) notEnabled(name string, n int) *apiError {
	return &apiError{http.StatusBadRequest, "FAILED_PRECONDITION",
		versionName(name, n) + " is not enabled, current state is: " + k.versions[n-1].state + "."}
}

func (k *fakeKey) destroy(name string, n int, keeps bool) (map[string]any, *apiError) {
	switch v := k.versions[n-1]; {
	case v.state == "DESTROYED" || v.state == "DESTROY_SCHEDULED":
		return nil, k.notEnabled(name, n)
	case keeps:
		v.state = "DESTROY_SCHEDULED"
	default: // as if the waiting period were over
		v.state, v.secret = "DESTROYED", nil
	}
	return k.version(name, n)
}

// sum is how Google's JSON gives the CRC32C of b.
func sum(b []byte) string {
	return strconv.FormatUint(uint64(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))), 10)
}

// encrypt returns the number of the version and what AES-GCM made.
func (k *fakeKey) encrypt(name string, n int, in request) (map[string]any, *apiError) {
	v := k.versions[n-1]
	if v.state != "ENABLED" {
		return nil, k.notEnabled(name, n)
	}
	if in.PlaintextCrc32c != "" && in.PlaintextCrc32c != sum(in.Plaintext) {
		return nil, errSum
	}
	out := v.cipher().Seal(binary.BigEndian.AppendUint16(nil, uint16(n)), nil, in.Plaintext, in.AdditionalAuthenticatedData)
	return map[string]any{
		"name":                    versionName(name, n),
		"ciphertext":              out,
		"ciphertextCrc32c":        sum(out),
		"verifiedPlaintextCrc32c": in.PlaintextCrc32c != "",
		"verifiedAdditionalAuthenticatedDataCrc32c": in.AdditionalAuthenticatedDataCrc32c == sum(in.AdditionalAuthenticatedData),
	}, nil
}

func (k *fakeKey) decrypt(name string, in request) (map[string]any, *apiError) {
	if in.CiphertextCrc32c != sum(in.Ciphertext) || in.AdditionalAuthenticatedDataCrc32c != sum(in.AdditionalAuthenticatedData) {
		return nil, errSum
	}
	if len(in.Ciphertext) < 2 {
		return nil, errBad
	}
	n := int(binary.BigEndian.Uint16(in.Ciphertext))
	if n < 1 || n > len(k.versions) {
		return nil, errBad
	}
	if k.versions[n-1].state != "ENABLED" {
		return nil, k.notEnabled(name, n)
	}
	plaintext, err := k.versions[n-1].cipher().Open(nil, nil, in.Ciphertext[2:], in.AdditionalAuthenticatedData)
	if err != nil {
		return nil, errBad
	}
	return map[string]any{"plaintext": plaintext, "plaintextCrc32c": sum(plaintext), "usedPrimary": n == k.primary}, nil
}

func (v *fakeVersion) cipher() cipher.AEAD {
	block, err := aes.NewCipher(v.secret)
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return aead
}
