package vault_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A fake answers like Vault as far as the provider asks. It is a fake: test/vault
// runs the provider against the real one.
type fake struct {
	*httptest.Server

	mu     sync.Mutex
	before func(w http.ResponseWriter, r *http.Request) bool // reports whether it answered
	seen   []string                                          // method and path of all requests
	keys   map[string]*fakeKey
	tokens map[string]time.Time // to when they are valid
	policy map[string]bool      // paths that are refused
	logins int
	life   time.Duration // of tokens from a login
	max    time.Duration // how long one can be renewed; 0: for ever
	ignore bool          // heeds no associated data
	now    func() time.Time
}

type fakeKey struct {
	Type          string           `json:"type"`
	Derived       bool             `json:"derived"`
	Convergent    bool             `json:"convergent_encryption"`
	Latest        int              `json:"latest_version"`
	MinAvailable  int              `json:"min_available_version"`
	MinDecryption int              `json:"min_decryption_version"`
	MinEncryption int              `json:"min_encryption_version"`
	Keys          map[string]int64 `json:"keys"`
	secrets       map[int][]byte
}

// token is the one that a fake knows from the beginning.
const token = "s.root"

func newFake(t testing.TB) *fake {
	f := &fake{keys: map[string]*fakeKey{}, policy: map[string]bool{}, life: time.Hour, now: time.Now}
	f.tokens = map[string]time.Time{token: time.Now().Add(24 * 365 * time.Hour)}
	f.Server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.Close)
	return f
}

// add makes a key.
func (f *fake) add(name string, key fakeKey) *fakeKey {
	f.mu.Lock()
	defer f.mu.Unlock()
	key.Keys, key.secrets = map[string]int64{}, map[int][]byte{}
	key.MinDecryption = 1
	key.rotate(int64(1_000 * (len(f.keys) + 1)))
	f.keys[name] = &key
	return &key
}

func (k *fakeKey) rotate(at int64) {
	k.Latest++
	secret := make([]byte, 32)
	rand.Read(secret)
	k.secrets[k.Latest], k.Keys[strconv.Itoa(k.Latest)] = secret, at+int64(k.Latest)
}

// hook has f asked first; nil asks nobody.
func (f *fake) hook(before func(w http.ResponseWriter, r *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = before
}

// status makes every request fail with a status, as Vault writes it.
func (f *fake) status(status int, says string) {
	f.hook(func(w http.ResponseWriter, _ *http.Request) bool { refuse(w, status, says); return true })
}

// count returns how many requests had this method and path.
func (f *fake) count(request string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.seen {
		if s == request {
			n++
		}
	}
	return n
}

func refuse(w http.ResponseWriter, status int, says ...string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": append([]string{}, says...)})
}

func give(w http.ResponseWriter, data any) {
	_ = json.NewEncoder(w).Encode(map[string]any{"data": data})
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	before := f.before
	f.seen = append(f.seen, r.Method+" "+r.URL.Path)
	f.mu.Unlock()
	if before != nil && before(w, r) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	if strings.HasPrefix(path, "auth/") && strings.HasSuffix(path, "/login") {
		f.login(w, r)
		return
	}
	held := r.Header.Get("X-Vault-Token")
	if until, ok := f.tokens[held]; !ok || !f.now().Before(until) {
		refuse(w, http.StatusForbidden, "permission denied", "invalid token")
		return
	}
	if f.policy[path] {
		refuse(w, http.StatusForbidden, "permission denied")
		return
	}
	switch {
	case path == "auth/token/lookup-self":
		give(w, map[string]any{})
	case path == "auth/token/renew-self":
		f.grant(w, held, f.max == 0)
	case path == "sys/internal/ui/mounts/transit":
		give(w, map[string]any{"type": "transit", "uuid": "0a1b-2c3d"})
	case path == "sys/internal/ui/mounts/kv":
		give(w, map[string]any{"type": "kv", "uuid": "0a1b-2c3e"})
	default:
		f.transit(w, r, path)
	}
}

func (f *fake) login(w http.ResponseWriter, r *http.Request) {
	var in map[string]string
	_ = json.NewDecoder(r.Body).Decode(&in)
	ok := r.URL.Path == "/v1/auth/approle/login" && in["role_id"] == "role" && in["secret_id"] == "secret" ||
		r.URL.Path == "/v1/auth/kubernetes/login" && in["role"] == "underseal" && in["jwt"] == "jwt"
	if !ok {
		refuse(w, http.StatusBadRequest, "invalid role or secret ID")
		return
	}
	f.logins++
	f.grant(w, fmt.Sprintf("s.login%d", f.logins), true)
}

// grant writes how long a token is good for.
func (f *fake) grant(w http.ResponseWriter, token string, full bool) {
	life := f.life
	if !full {
		life = f.life / 10
	}
	f.tokens[token] = f.now().Add(life)
	_ = json.NewEncoder(w).Encode(map[string]any{"auth": map[string]any{
		"client_token": token, "lease_duration": int(life.Seconds()), "renewable": true,
	}})
}

func (f *fake) transit(w http.ResponseWriter, r *http.Request, path string) {
	parts := strings.Split(path, "/")
	if len(parts) < 3 || parts[0] != "transit" {
		refuse(w, http.StatusNotFound, "no handler for route")
		return
	}
	var in struct {
		Plaintext      []byte `json:"plaintext"`
		Ciphertext     string `json:"ciphertext"`
		KeyVersion     int    `json:"key_version"`
		AssociatedData []byte `json:"associated_data"`
		Context        []byte `json:"context"`
		MinAvailable   int    `json:"min_available_version"`
		MinDecryption  int    `json:"min_decryption_version"`
		MinEncryption  int    `json:"min_encryption_version"`
	}
	_ = json.NewDecoder(r.Body).Decode(&in)
	key := f.keys[parts[2]]
	if key == nil {
		status := map[bool]int{true: http.StatusNotFound, false: http.StatusBadRequest}[parts[1] == "keys"]
		refuse(w, status)
		return
	}
	if f.ignore {
		in.AssociatedData = nil
	}
	switch strings.Join(append(parts[1:2], parts[3:]...), "/") {
	case "keys":
		give(w, key)
	case "keys/rotate":
		key.rotate(1_000_000)
		w.WriteHeader(http.StatusNoContent)
	case "keys/config":
		key.MinDecryption, key.MinEncryption = in.MinDecryption, in.MinEncryption
		w.WriteHeader(http.StatusNoContent)
	case "keys/trim":
		if in.MinAvailable > min(key.MinDecryption, key.MinEncryption) {
			refuse(w, http.StatusBadRequest, "minimum available version cannot be greater")
			return
		}
		key.MinAvailable = in.MinAvailable
		give(w, key)
	case "encrypt":
		aead := key.aead(in.KeyVersion, in.Context)
		sealed := aead.Seal(nil, nil, in.Plaintext, in.AssociatedData)
		give(w, map[string]any{"ciphertext": fmt.Sprintf("vault:v%d:%s", in.KeyVersion, base64.StdEncoding.EncodeToString(sealed)), "key_version": in.KeyVersion})
	case "decrypt":
		key.decrypt(w, in.Ciphertext, in.Context, in.AssociatedData)
	}
}

func (k *fakeKey) decrypt(w http.ResponseWriter, ciphertext string, context, bound []byte) {
	parts := strings.SplitN(ciphertext, ":", 3)
	version, _ := strconv.Atoi(strings.TrimPrefix(parts[1], "v"))
	sealed, _ := base64.StdEncoding.DecodeString(parts[2])
	switch {
	case version > k.Latest:
		refuse(w, http.StatusBadRequest, "invalid ciphertext: version is too new")
		return
	case version < k.MinDecryption:
		refuse(w, http.StatusBadRequest, "ciphertext or signature version is disallowed by policy (too old)")
		return
	}
	plaintext, err := k.aead(version, context).Open(nil, nil, sealed, bound)
	if err != nil {
		refuse(w, http.StatusBadRequest, "invalid ciphertext: unable to decrypt")
		return
	}
	give(w, map[string][]byte{"plaintext": plaintext})
}

func (k *fakeKey) aead(version int, context []byte) cipher.AEAD {
	secret := k.secrets[version]
	if k.Derived {
		secret, _ = hkdf.Key(sha256.New, secret, nil, string(context), 32)
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return aead
}
