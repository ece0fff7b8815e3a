package vault_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/keyring/keyringtest"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/kms/kmstest"
	"github.com/underseal/underseal/internal/kms/vault"
)

// A real is a running Vault, which the nested module test/vault starts and
// describes in the environment.
type real struct {
	t       *testing.T
	address string
	ca      string
	http    *http.Client
}

// All tests share one server: its transit engine is enabled once, and names are
// numbered.
var (
	enable   sync.Once
	numbered atomic.Int64
)

func newReal(t *testing.T) *real {
	t.Helper()
	r := &real{t: t, address: os.Getenv("UNDERSEAL_TEST_VAULT_ADDRESS"), ca: os.Getenv("UNDERSEAL_TEST_VAULT_CA")}
	if r.address == "" {
		t.Skip("needs a real Vault: go test -C test/vault starts one")
	}
	pem, err := os.ReadFile(r.ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	r.http = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	t.Cleanup(r.http.CloseIdleConnections)
	enable.Do(func() { r.root("POST", "sys/mounts/transit", settings{"type": "transit"}, nil) })
	return r
}

// root asks with all rights, and must succeed. The answer is decoded into out.
func (r *real) root(method, path string, in, out any) {
	r.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		r.t.Fatal(err)
	}
	request, err := http.NewRequest(method, r.address+"/v1/"+path, bytes.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	request.Header.Set("X-Vault-Token", os.Getenv("UNDERSEAL_TEST_VAULT_TOKEN"))
	response, err := r.http.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode >= 300 {
		r.t.Fatalf("%s %s: %s %s %v", method, path, response.Status, answer, err)
	}
	if out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			r.t.Fatal(err)
		}
	}
}

type settings map[string]any

// key makes a transit key of that type and a policy for it, and returns the name
// of both.
func (r *real) key(kind settings) string {
	r.t.Helper()
	name := fmt.Sprintf("key-%d", numbered.Add(1))
	r.root("POST", "transit/keys/"+name, kind, nil)
	r.policy(name, documented(r.t, name))
	return name
}

func (r *real) policy(name, text string) {
	r.t.Helper()
	r.root("PUT", "sys/policies/acl/"+name, settings{"policy": text}, nil)
}

// documented returns the policy that docs/operations.md tells operators to make,
// for another key.
func documented(t *testing.T, key string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "```hcl\n")
	text, _, closed := strings.Cut(rest, "```")
	if !found || !closed || !strings.Contains(text, "transit/decrypt/underseal") {
		t.Fatal("docs/operations.md shows no policy")
	}
	return strings.ReplaceAll(text, "/underseal", "/"+key)
}

// token returns a token with that policy.
func (r *real) token(policy string, more settings) string {
	r.t.Helper()
	in := settings{"policies": []string{policy}}
	for k, v := range more {
		in[k] = v
	}
	var out struct {
		Auth struct {
			Token string `json:"client_token"`
		} `json:"auth"`
	}
	r.root("POST", "auth/token/create", in, &out)
	return out.Auth.Token
}

// open returns the service for a key with a token that has its policy.
func (r *real) open(key string, edit func(*vault.Config)) kms.Service {
	r.t.Helper()
	config := vault.Config{Address: r.address, CAFile: r.ca, Key: key}
	if edit != nil {
		edit(&config)
	}
	if config.Secret == nil {
		config.Secret = says(r.token(key, nil))
	}
	return open(r.t, config)
}

var aeadKey = settings{"type": "aes256-gcm96"}

func TestRealVaultIsAService(t *testing.T) {
	newReal(t)
	for name, kind := range map[string]settings{
		"associated data": aeadKey, "derived key": {"type": "aes256-gcm96", "derived": true}, "chacha20": {"type": "chacha20-poly1305"},
	} {
		t.Run(name, func(t *testing.T) {
			kmstest.TestService(t, func(t *testing.T) kms.Service {
				r := newReal(t)
				return r.open(r.key(kind), nil)
			})
		})
	}
}

func TestRealVaultTellsDeniedFromUnreachable(t *testing.T) {
	newReal(t)
	kmstest.TestFaults(t, func(t *testing.T) (kms.Service, kmstest.Faults) {
		r := newReal(t)
		wire := newWire(t, strings.TrimPrefix(r.address, "https://"))
		key := r.key(aeadKey)
		s := r.open(key, func(c *vault.Config) { c.Address = "https://" + wire.Addr().String() })
		return s, kmstest.Faults{
			Deny: func() { r.policy(key, `path "transit/keys/`+key+`" { capabilities = ["read"] }`) },
			Cut:  func() { wire.set(cut) },
			Hang: func() { wire.set(hanging) },
			// The server speaks HTTP/1.1, so each of the calls has a connection of its own.
			Slow: func(arrived func(), release <-chan struct{}) { wire.slow(arrived, release) },
			Throttle: func() {
				r.root("POST", "sys/quotas/rate-limit/"+key, settings{"path": "transit/", "rate": 0.1, "interval": "10s"}, nil)
				for fault.CodeOf(second(s.Describe(t.Context()))) != kms.CodeThrottled {
					if t.Context().Err() != nil {
						return
					}
				}
			},
			Restore: func() {
				wire.set(whole)
				r.root("DELETE", "sys/quotas/rate-limit/"+key, nil, nil)
				r.policy(key, documented(t, key))
			},
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestRealTokens(t *testing.T) {
	r := newReal(t)
	key, other := r.key(aeadKey), r.key(aeadKey)
	wrapped := wrap(t, r.open(key, nil))
	revoked := r.token(key, nil)
	r.root("POST", "auth/token/revoke", settings{"token": revoked}, nil)
	for name, test := range map[string]struct{ token, code string }{
		"a wrong token":                 {"hvs.wrong", "key_service_token"},
		"a revoked token":               {revoked, "key_service_token"},
		"a token without rights":        {r.token("default", nil), "denied"},
		"the token of another's key":    {r.token(other, nil), "denied"},
		"a token without a policy file": {r.token("nobody-wrote-this", nil), "denied"},
	} {
		err := unwrap(t, r.open(key, func(c *vault.Config) { c.Secret = says(test.token) }), wrapped)
		want(t, name, err, fault.Denied, test.code)
	}
	if err := unwrap(t, r.open(key, nil), wrapped); err != nil {
		t.Errorf("a good token: %v", err)
	}
	// One for a second; it serves until it has expired.
	brief := r.open(key, func(c *vault.Config) { c.Secret = says(r.token(key, settings{"ttl": "1s"})) })
	for {
		if err := unwrap(t, brief, wrapped); err != nil {
			want(t, "an expired token", err, fault.Denied, "key_service_token")
			break
		}
	}
}

// approle makes an AppRole with the policy of a key and returns what edits a
// configuration to use it.
func (r *real) approle(key string) func(*vault.Config) {
	r.t.Helper()
	mount := "approle-" + key
	r.root("POST", "sys/auth/"+mount, settings{"type": "approle"}, nil)
	r.root("POST", "auth/"+mount+"/role/underseal", settings{"token_policies": []string{key}, "token_ttl": "1h"}, nil)
	var role, secret struct {
		Data struct {
			Role   string `json:"role_id"`
			Secret string `json:"secret_id"`
		} `json:"data"`
	}
	r.root("GET", "auth/"+mount+"/role/underseal/role-id", nil, &role)
	r.root("POST", "auth/"+mount+"/role/underseal/secret-id", nil, &secret)
	return func(c *vault.Config) {
		c.Auth, c.AuthMount, c.Role, c.Secret = "approle", mount, role.Data.Role, says(secret.Data.Secret)
	}
}

func TestRealAppRole(t *testing.T) {
	r := newReal(t)
	key := r.key(aeadKey)
	use := r.approle(key)
	var ahead atomic.Int64
	s := r.open(key, func(c *vault.Config) {
		use(c)
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	wrapped := wrap(t, s)
	ahead.Store(int64(45 * time.Minute)) // two thirds of the hour are over: it is renewed
	if err := unwrap(t, s, wrapped); err != nil {
		t.Errorf("with a renewed lease: %v", err)
	}
	ahead.Store(int64(50 * time.Minute))
	r.root("POST", "sys/leases/revoke-prefix/auth/approle-"+key, nil, nil)
	if err := unwrap(t, s, wrapped); err != nil {
		t.Errorf("with a revoked lease: %v", err)
	}
	r.policy(key, `path "transit/keys/`+key+`" { capabilities = ["read"] }`)
	want(t, "without the right", unwrap(t, s, wrapped), fault.Denied, "denied")
	wrong := r.open(key, func(c *vault.Config) { use(c); c.Secret = says("wrong") })
	want(t, "with a wrong secret", unwrap(t, wrong, wrapped), fault.Denied, "denied")
}

// TestRealKubernetes signs in by a service account's token, which Vault has a
// Kubernetes review; that one is a fake.
func TestRealKubernetes(t *testing.T) {
	r := newReal(t)
	key := r.key(aeadKey)
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	jwt := part(`{"alg":"RS256"}`) + "." + part(`{"sub":"system:serviceaccount:team:underseal","nbf":1700000000,"exp":4102444800,
		"kubernetes.io/serviceaccount/namespace":"team","kubernetes.io/serviceaccount/service-account.name":"underseal",
		"kubernetes.io/serviceaccount/service-account.uid":"u1"}`) + "." + part("signature")
	kubernetes := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(request.Body)
		ok := strings.HasSuffix(request.URL.Path, "/tokenreviews") && bytes.Contains(body, []byte(jwt))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","status":{"authenticated":%t,
			"user":{"username":"system:serviceaccount:team:underseal","uid":"u1"}}}`, ok)
	}))
	t.Cleanup(kubernetes.Close)
	r.root("POST", "sys/auth/pods", settings{"type": "kubernetes"}, nil)
	t.Cleanup(func() { r.root("DELETE", "sys/auth/pods", nil, nil) })
	r.root("POST", "auth/pods/config", settings{"kubernetes_host": kubernetes.URL, "disable_local_ca_jwt": true, "token_reviewer_jwt": jwt}, nil)
	r.root("POST", "auth/pods/role/underseal", settings{
		"bound_service_account_names": "underseal", "bound_service_account_namespaces": "team", "token_policies": key, "audience": "",
	}, nil)
	as := func(role, token string) kms.Service {
		return r.open(key, func(c *vault.Config) { c.Auth, c.AuthMount, c.Role, c.Secret = "kubernetes", "pods", role, says(token) })
	}
	wrapped := wrap(t, as("underseal", jwt))
	want(t, "another role", unwrap(t, as("other", jwt), wrapped), fault.Denied, "denied")
	want(t, "a token of nobody", unwrap(t, as("underseal", "a.b.c"), wrapped), fault.Denied, "denied")
}

func TestRealKeys(t *testing.T) {
	r := newReal(t)
	gone := r.open("never-made", func(c *vault.Config) {
		r.policy("never-made", documented(t, "never-made"))
	})
	_, err := gone.Wrap(t.Context(), kmstest.Context(), make([]byte, 32))
	want(t, "a key that is missing", err, fault.Denied, "root_key_missing")
	for name, kind := range map[string]settings{
		"RSA": {"type": "rsa-2048"}, "convergent": {"type": "aes256-gcm96", "derived": true, "convergent_encryption": true},
	} {
		_, err := r.open(r.key(kind), nil).Wrap(t.Context(), kmstest.Context(), make([]byte, 32))
		want(t, name, err, fault.Invalid, "invalid")
	}

	key := r.key(aeadKey)
	s := r.open(key, nil)
	wrapped := wrap(t, s)
	if _, err := s.(kms.Rotator).Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	config := "transit/keys/" + key + "/config"
	r.root("POST", config, settings{"min_decryption_version": 2}, nil)
	want(t, "a version that is forbidden", unwrap(t, s, wrapped), fault.Denied, "denied")
	r.root("POST", config, settings{"min_decryption_version": 1, "deletion_allowed": true}, nil)
	if err := unwrap(t, s, wrapped); err != nil {
		t.Errorf("allowed again: %v", err)
	}
	r.root("DELETE", "transit/keys/"+key, nil, nil)
	want(t, "a key that was deleted", unwrap(t, s, wrapped), fault.Denied, "root_key_missing")
	// Vault counts the time at which a key was made in seconds.
	for {
		r.root("POST", "transit/keys/"+key, aeadKey, nil)
		err := unwrap(t, s, wrapped)
		if fault.Is(err, fault.Integrity) {
			r.root("POST", config, settings{"deletion_allowed": true}, nil)
			r.root("DELETE", "transit/keys/"+key, nil, nil)
			continue
		}
		want(t, "a key that was made again", err, fault.Conflict, "other_root_key")
		break
	}
}

// TestRealVaultBesideAKeyFile moves a tenant from a key file to Vault, rotates
// there, and destroys the old versions: only the newest keys are left, in Vault alone.
func TestRealVaultBesideAKeyFile(t *testing.T) {
	r := newReal(t)
	name := r.key(aeadKey)
	company := r.open(name, nil)
	file, err := kms.CreateKeyFile(filepath.Join(t.TempDir(), "root.key"))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	config := keyring.Config{
		Services: map[string]kms.Service{"file": file, "company": kms.Guard(company, kms.GuardConfig{Name: "company"})},
		Default:  "file", Storage: keyringtest.NewMemory(), Deployment: "d1",
	}
	open := func() *keyring.Ring {
		ring, err := keyring.Open(ctx, config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(ring.Close)
		return ring
	}
	ring := open()
	key, err := ring.NewKey(ctx, "main")
	if err != nil {
		t.Fatal(err)
	}
	before, err := config.Storage.TenantKeys(ctx, "main")
	if err != nil {
		t.Fatal(err)
	}

	steps := []func() error{
		func() error { return second(ring.RotateTenant(ctx, "main", "company")) },
		func() error { return ring.Rewrap(ctx, "main", 0, nil) },
		func() error { return second(ring.RetireTenant(ctx, "main", before[0].Version, false)) },
		func() error { return second(ring.RotateRoot(ctx, "company")) },
		func() error { return second(ring.RetireRoot(ctx, "company", "1", false)) },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			t.Fatalf("step %d: %v", i+1, err)
		}
	}
	var transit struct {
		Data struct {
			Oldest int `json:"min_available_version"`
		} `json:"data"`
	}
	if r.root("GET", "transit/keys/"+name, nil, &transit); transit.Data.Oldest != 2 {
		t.Errorf("the oldest version in Vault is %d, want 2", transit.Data.Oldest)
	}
	delete(config.Services, "file")
	config.Default = "company"
	got, err := open().Key(ctx, "main", key.ID)
	if err != nil || got != key {
		t.Errorf("the key after all that: %v, the same %t", err, got == key)
	}
}

// TestRealVaultSealed comes last, since all others share the server.
func TestRealVaultSealed(t *testing.T) {
	r := newReal(t)
	s := r.open(r.key(aeadKey), nil)
	wrapped := wrap(t, s)
	r.root("PUT", "sys/seal", nil, nil)
	err := unwrap(t, s, wrapped)
	want(t, "sealed", err, fault.Unavailable, "unavailable")
	if err != nil && !strings.Contains(err.Error(), "sealed") {
		t.Errorf("the error says %q", err)
	}
	for share := range strings.SplitSeq(os.Getenv("UNDERSEAL_TEST_VAULT_UNSEAL"), ",") {
		r.root("PUT", "sys/unseal", settings{"key": share}, nil)
	}
	// It answers again when it has found out that it leads.
	for err = unwrap(t, s, wrapped); err != nil; err = unwrap(t, s, wrapped) {
		if !fault.Is(err, fault.Unavailable) {
			t.Fatalf("unsealed: %v", err)
		}
	}
}

// A wire carries connections to a server, and can be cut.
type wire struct {
	net.Listener
	to string

	mu    sync.Mutex
	state int
	open  map[net.Conn]bool
	held  func() // comes before a connection is carried; nil: nothing
}

const (
	whole = iota
	cut
	hanging
)

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: listener, to: to, open: map[net.Conn]bool{}}
	go w.serve()
	t.Cleanup(func() { listener.Close(); w.set(cut) })
	return w
}

// slow has connections that come carried once release is closed.
func (w *wire) slow(arrived func(), release <-chan struct{}) {
	w.set(whole)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = func() { arrived(); <-release }
}

// set changes what happens to connections. Those that are there end.
func (w *wire) set(state int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state, w.held = state, nil
	for conn := range w.open {
		conn.Close()
	}
	clear(w.open)
}

// keep takes note of a connection, or closes it when the wire is cut.
func (w *wire) keep(conn net.Conn) (state int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state == cut {
		conn.Close()
	} else {
		w.open[conn] = true
	}
	return w.state
}

func (w *wire) serve() {
	for {
		conn, err := w.Accept()
		if err != nil {
			return
		}
		if w.keep(conn) == whole {
			go w.carry(conn)
		}
	}
}

func (w *wire) carry(conn net.Conn) {
	defer conn.Close()
	w.mu.Lock()
	held := w.held
	w.mu.Unlock()
	if held != nil {
		held()
	}
	far, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", w.to)
	if err != nil {
		return
	}
	defer far.Close()
	w.keep(far)
	go func() { _, _ = io.Copy(far, conn); far.Close() }()
	_, _ = io.Copy(conn, far)
}
