package vault_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/kms/kmstest"
	"github.com/underseal/underseal/internal/kms/vault"
)

// says returns a secret that is always the same.
func says(text string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return text, nil }
}

func open(t testing.TB, config vault.Config) kms.Service {
	t.Helper()
	if config.Secret == nil {
		config.Secret = says(token)
	}
	if config.Key == "" {
		config.Key = "underseal"
	}
	s, err := vault.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// aes256 is the usual kind of key.
var aes256 = fakeKey{Type: "aes256-gcm96"}

// setup returns a fake with one key and the service for it.
func setup(t testing.TB, edit func(*vault.Config)) (*fake, kms.Service) {
	f := newFake(t)
	f.add("underseal", aes256)
	config := vault.Config{Address: f.URL}
	if edit != nil {
		edit(&config)
	}
	return f, open(t, config)
}

func wrap(t *testing.T, s kms.Service) []byte {
	t.Helper()
	wrapped, err := s.Wrap(t.Context(), kmstest.Context(), make([]byte, 32))
	if err != nil {
		t.Fatalf("Wrap: %v", err)
	}
	return wrapped
}

func unwrap(t *testing.T, s kms.Service, wrapped []byte) error {
	t.Helper()
	key, err := s.Unwrap(t.Context(), kmstest.Context(), wrapped)
	if err == nil && !bytes.Equal(key, make([]byte, 32)) || err != nil && key != nil {
		t.Errorf("Unwrap: %d bytes and %v", len(key), err)
	}
	return err
}

func want(t *testing.T, what string, err error, kind fault.Kind, code string) {
	t.Helper()
	if !fault.Is(err, kind) || fault.CodeOf(err) != code {
		t.Errorf("%s: %v (code %q), want %s with code %q", what, err, fault.CodeOf(err), kind, code)
	}
}

func TestVaultIsAService(t *testing.T) {
	for name, key := range map[string]fakeKey{"associated data": aes256, "derived key": {Type: "chacha20-poly1305", Derived: true}} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			var made atomic.Int64
			kmstest.TestService(t, func(t *testing.T) kms.Service {
				name := "key-" + string(rune('a'+made.Add(1)))
				f.add(name, key)
				return open(t, vault.Config{Address: f.URL, Key: name})
			})
		})
	}
}

func TestVaultTellsDeniedFromUnreachable(t *testing.T) {
	kmstest.TestFaults(t, func(t *testing.T) (kms.Service, kmstest.Faults) {
		f, s := setup(t, nil)
		release := make(chan struct{})
		t.Cleanup(func() { close(release) })
		return s, kmstest.Faults{
			Deny: func() { f.status(http.StatusForbidden, "permission denied") },
			Cut: func() {
				f.hook(func(w http.ResponseWriter, _ *http.Request) bool {
					conn, _, err := http.NewResponseController(w).Hijack()
					if err != nil {
						panic(err)
					}
					return conn.Close() == nil
				})
			},
			Hang:     func() { f.hook(func(http.ResponseWriter, *http.Request) bool { <-release; return true }) },
			Throttle: func() { f.status(http.StatusTooManyRequests, "request path is rate limited") },
			Slow: func(arrived func(), release <-chan struct{}) {
				f.hook(func(http.ResponseWriter, *http.Request) bool {
					arrived()
					<-release
					return false
				})
			},
			Restore: func() { f.hook(nil) },
		}
	})
}

func TestAnswersAreToldApart(t *testing.T) {
	answer := func(status int, body string) func(*fake) {
		return func(f *fake) {
			f.hook(func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Location", "https://elsewhere.example/")
				w.WriteHeader(status)
				_, err := w.Write([]byte(body))
				return err == nil
			})
		}
	}
	for name, test := range map[string]struct {
		happens func(*fake)
		kind    fault.Kind
		code    string
		says    string
	}{
		"sealed":                      {answer(503, `{"errors":["Vault is sealed"]}`), fault.Unavailable, "unavailable", "sealed"},
		"a standby that sends us on":  {answer(307, ``), fault.Unavailable, "unavailable", "elsewhere"},
		"an inner error":              {answer(500, `{"errors":["boom"]}`), fault.Unavailable, "unavailable", "boom"},
		"a replica that is behind":    {answer(412, `{"errors":["required index state not present"]}`), fault.Unavailable, "unavailable", "412"},
		"a refusal of the policy":     {func(f *fake) { f.policy["transit/decrypt/underseal"] = true }, fault.Denied, "denied", "refuses"},
		"a token that nobody knows":   {func(f *fake) { delete(f.tokens, token) }, fault.Denied, "key_service_token", "does not know our token"},
		"a proxy that refuses":        {answer(403, `<html>no</html>`), fault.Unavailable, "unavailable", "403"},
		"a proxy that misunderstands": {answer(400, `<html>what?</html>`), fault.Unavailable, "unavailable", "400"},
		"a proxy that finds nothing":  {answer(404, `<html>gone</html>`), fault.Unavailable, "unavailable", "404"},
		"a page instead of an answer": {answer(200, `<html>hello</html>`), fault.Unavailable, "unavailable", "not what was asked"},
		"no key in the answer":        {answer(200, `{"data":{"plaintext":"AAAA"}}`), fault.Unavailable, "unavailable", "no key"},
		"half an answer":              {answer(200, `{"data":{"plaintext":"AAAA`), fault.Unavailable, "unavailable", "not what was asked"},
		"an endless answer":           {answer(200, `{"data":{"plaintext":"`+strings.Repeat("A", 2<<20)), fault.Unavailable, "unavailable", "over"},
		"a key that was deleted":      {func(f *fake) { delete(f.keys, "underseal") }, fault.Denied, "root_key_missing", "no transit key"},
		"a version that is forbidden": {func(f *fake) { f.keys["underseal"].MinDecryption = 2 }, fault.Denied, "denied", "min_decryption_version"},
	} {
		t.Run(name, func(t *testing.T) {
			f, s := setup(t, nil)
			wrapped := wrap(t, s)
			if err := unwrap(t, s, wrapped); err != nil {
				t.Fatal(err)
			}
			test.happens(f)
			err := unwrap(t, s, wrapped)
			want(t, "Unwrap", err, test.kind, test.code)
			if err != nil && (!strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), token)) {
				t.Errorf("the error says %q, want %q and no token", err, test.says)
			}
		})
	}
}

func TestAKeyThatWasDeletedAndMadeAgainIsAnother(t *testing.T) {
	f, s := setup(t, nil)
	wrapped := wrap(t, s)
	f.add("underseal", aes256)
	want(t, "Unwrap", unwrap(t, s, wrapped), fault.Conflict, "other_root_key")
}

func TestAKeyThatMovedKeepsItsID(t *testing.T) {
	f, s := setup(t, nil)
	d, err := s.Describe(t.Context())
	if err != nil || d.Provider != "vault" || d.KeyID != "0a1b-2c3d/underseal" || d.Version != "1" {
		t.Fatalf("Describe: %+v, %v", d, err)
	}
	wrapped := wrap(t, s)
	f.mu.Lock()
	f.keys["moved"] = f.keys["underseal"]
	f.mu.Unlock()
	want(t, "Unwrap by another name", unwrap(t, open(t, vault.Config{Address: f.URL, Key: "moved"}), wrapped), fault.Conflict, "other_root_key")
	if err := unwrap(t, open(t, vault.Config{Address: f.URL, Key: "moved", KeyID: d.KeyID}), wrapped); err != nil {
		t.Errorf("Unwrap with the former id: %v", err)
	}
}

func TestVersionsAreDestroyedFromTheOldestOn(t *testing.T) {
	_, s := setup(t, nil)
	for range 2 {
		if _, err := s.(kms.Rotator).Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	wrapped := wrap(t, s)
	want(t, "Destroy of the newest of three", s.Destroy(t.Context(), "3"), fault.Conflict, "conflict")
	if err := unwrap(t, s, wrapped); err != nil {
		t.Errorf("Unwrap after that: %v", err)
	}
	for _, version := range []string{"1", "2", "1"} {
		if err := s.Destroy(t.Context(), version); err != nil {
			t.Errorf("Destroy(%s): %v", version, err)
		}
	}
	if err := unwrap(t, s, wrapped); err != nil {
		t.Errorf("Unwrap in the end: %v", err)
	}
}

func TestKeysThatBindNoContextAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		key    fakeKey
		ignore bool
	}{
		"a type without":                        {fakeKey{Type: "rsa-4096"}, false},
		"CBC":                                   {fakeKey{Type: "aes256-cbc"}, false},
		"convergent":                            {fakeKey{Type: "aes256-gcm96", Derived: true, Convergent: true}, false},
		"a server that ignores associated data": {aes256, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.ignore = test.ignore
			f.add("underseal", test.key)
			wrapped, err := open(t, vault.Config{Address: f.URL}).Wrap(t.Context(), kmstest.Context(), make([]byte, 32))
			if !fault.Is(err, fault.Invalid) || wrapped != nil {
				t.Errorf("Wrap: %d bytes, %v, want invalid", len(wrapped), err)
			}
		})
	}
}

func TestAnotherEngineIsRefused(t *testing.T) {
	f := newFake(t)
	_, err := open(t, vault.Config{Address: f.URL, Mount: "kv"}).Describe(t.Context())
	want(t, "Describe", err, fault.Invalid, "invalid")
}

func TestAWrapAsksNoMoreThanItMust(t *testing.T) {
	f, s := setup(t, nil)
	wrapped := wrap(t, s)
	before := len(f.seen)
	if err := unwrap(t, s, wrapped); err != nil {
		t.Fatal(err)
	}
	if n := len(f.seen) - before; n != 1 {
		t.Errorf("an Unwrap is %d requests, want 1: %v", n, f.seen[before:])
	}
}

func TestTheTokenIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	put := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, s := setup(t, func(c *vault.Config) {
		c.Secret = func(context.Context) (string, error) { data, err := os.ReadFile(path); return string(data), err }
	})
	put(token + "\n")
	wrapped := wrap(t, s)
	f.tokens["s.next"] = time.Now().Add(time.Hour)
	delete(f.tokens, token)
	put("s.next")
	if err := unwrap(t, s, wrapped); err != nil {
		t.Errorf("with the new token: %v", err)
	}
	for name, text := range map[string]string{"empty": "\n", "two lines": "a\nb", "binary": "\x00\x01"} {
		put(text)
		err := unwrap(t, s, wrapped)
		want(t, name, err, fault.Unavailable, "unavailable")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	want(t, "without the file", unwrap(t, s, wrapped), fault.Unavailable, "unavailable")
}

// clocked is a fake and a service that signs in, with a clock.
func clocked(t *testing.T, edit func(*vault.Config)) (*fake, kms.Service, *atomic.Int64) {
	var minutes atomic.Int64
	now := func() time.Time { return time.Unix(60*minutes.Load(), 0) }
	f, s := setup(t, func(c *vault.Config) {
		c.Auth, c.Role, c.Secret, c.Now = "approle", "role", says("secret"), now
		if edit != nil {
			edit(c)
		}
	})
	f.now = now
	return f, s, &minutes
}

func TestSigningIn(t *testing.T) {
	for name, test := range map[string]struct {
		edit func(*vault.Config)
		kind fault.Kind // Internal: it works
	}{
		"AppRole":                    {func(c *vault.Config) {}, fault.Internal},
		"Kubernetes":                 {func(c *vault.Config) { c.Auth, c.Role, c.Secret = "kubernetes", "underseal", says("jwt\n") }, fault.Internal},
		"a wrong secret":             {func(c *vault.Config) { c.Secret = says("wrong") }, fault.Denied},
		"a method that is not there": {func(c *vault.Config) { c.AuthMount = "elsewhere" }, fault.Denied},
		"a secret out of reach": {func(c *vault.Config) {
			c.Secret = func(context.Context) (string, error) { return "", errors.New("no file") }
		}, fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			_, s, _ := clocked(t, test.edit)
			_, err := s.Wrap(t.Context(), kmstest.Context(), make([]byte, 32))
			if test.kind == fault.Internal && err != nil || test.kind != fault.Internal && !fault.Is(err, test.kind) {
				t.Errorf("Wrap: %v, want %s", err, test.kind)
			}
		})
	}
}

func TestALeaseIsRenewedAndReplacedWhenItCannotBe(t *testing.T) {
	for name, test := range map[string]struct {
		max    time.Duration
		logins int
	}{"it can be renewed for ever": {0, 1}, "its maximal time is near": {time.Hour, 6}} {
		t.Run(name, func(t *testing.T) {
			f, s, minutes := clocked(t, nil)
			f.max = test.max
			wrapped := wrap(t, s)
			for range 4 * 60 {
				minutes.Add(1)
				if err := unwrap(t, s, wrapped); err != nil {
					t.Fatalf("minute %d: %v", minutes.Load(), err)
				}
			}
			if n := f.count("POST /v1/auth/approle/login"); n > test.logins+1 || n < test.logins {
				t.Errorf("%d logins in four hours, want about %d", n, test.logins)
			}
		})
	}
}

func TestAnExpiredTokenIsReplacedAndARefusalIsNot(t *testing.T) {
	f, s, minutes := clocked(t, nil)
	wrapped := wrap(t, s)
	minutes.Add(5)
	clear(f.tokens) // as if Vault had been restored or the lease revoked
	if err := unwrap(t, s, wrapped); err != nil || f.logins != 2 {
		t.Errorf("with a revoked lease: %v after %d logins, want another login", err, f.logins)
	}
	f.policy["transit/decrypt/underseal"] = true
	for range 10 {
		minutes.Add(1)
		want(t, "refused", unwrap(t, s, wrapped), fault.Denied, "denied")
	}
	if f.logins != 2 {
		t.Errorf("%d logins, want none for a refusal", f.logins)
	}
}

func TestATokenThatExpiresWhileVaultIsAwayServesUntilThen(t *testing.T) {
	f, s, minutes := clocked(t, nil)
	wrapped := wrap(t, s)
	f.hook(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/v1/auth/") {
			return false
		}
		refuse(w, 503, "Vault is sealed")
		return true
	})
	minutes.Add(50)
	if err := unwrap(t, s, wrapped); err != nil {
		t.Errorf("at 50 of 60 minutes: %v", err)
	}
	minutes.Add(11)
	want(t, "at 61 of 60 minutes", unwrap(t, s, wrapped), fault.Unavailable, "unavailable")
	minutes.Add(-120) // a clock that is set back
	f.hook(nil)
	if err := unwrap(t, s, wrapped); err != nil {
		t.Errorf("with the clock set back: %v", err)
	}
}

func TestARedirectionGetsNoToken(t *testing.T) {
	var asked atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(other.Close)
	f, s := setup(t, nil)
	f.hook(func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
		return true
	})
	_, err := s.Describe(t.Context())
	want(t, "Describe", err, fault.Unavailable, "unavailable")
	if asked.Load() != 0 {
		t.Error("the redirection was followed")
	}
}

func TestTheNamespaceIsSent(t *testing.T) {
	f, s := setup(t, func(c *vault.Config) { c.Namespace = "/team/a/" })
	var other atomic.Int64
	f.hook(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("X-Vault-Namespace") != "team/a" || r.Header.Get("X-Vault-Request") != "true" {
			other.Add(1)
		}
		return false
	})
	wrap(t, s)
	if other.Load() != 0 {
		t.Errorf("%d requests without the namespace", other.Load())
	}
}

func TestTLSWithItsOwnAuthorityAndAClientCertificate(t *testing.T) {
	plain := newFake(t)
	plain.add("underseal", aes256)
	secure := httptest.NewUnstartedServer(plain.Config.Handler)
	secure.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	secure.StartTLS()
	t.Cleanup(secure.Close)
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca := write("ca.pem", "CERTIFICATE", secure.Certificate().Raw)
	cert, key := clientCertificate(t)
	whole := vault.Config{Address: secure.URL, CAFile: ca, ClientCert: write("cert.pem", "CERTIFICATE", cert), ClientKey: write("key.pem", "PRIVATE KEY", key)}
	wrap(t, open(t, whole))

	for name, edit := range map[string]func(*vault.Config){
		"an unknown authority":  func(c *vault.Config) { c.CAFile = "" },
		"no client certificate": func(c *vault.Config) { c.ClientCert, c.ClientKey = "", "" },
	} {
		config := whole
		edit(&config)
		_, err := open(t, config).Describe(t.Context())
		want(t, name, err, fault.Unavailable, "unavailable")
	}
}

func TestNobodyThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	_, err = open(t, vault.Config{Address: "http://" + address}).Describe(t.Context())
	want(t, "Describe", err, fault.Unavailable, "unavailable")
}

func TestNonsenseIsRefusedWithoutAsking(t *testing.T) {
	notPEM := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(notPEM, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*vault.Config){
		"no address":                       func(c *vault.Config) { c.Address = "" },
		"an address without a scheme":      func(c *vault.Config) { c.Address = "vault.example:8200" },
		"an address with a path":           func(c *vault.Config) { c.Address = "https://vault.example/v1" },
		"an address with a user":           func(c *vault.Config) { c.Address = "https://me:secret@vault.example" },
		"no TLS":                           func(c *vault.Config) { c.Address = "http://vault.example:8200" },
		"no key":                           func(c *vault.Config) { c.Key = "" },
		"a key that is a path":             func(c *vault.Config) { c.Key = "../sys/seal" },
		"a mount that leads out":           func(c *vault.Config) { c.Mount = "transit/../sys" },
		"a namespace that leads out":       func(c *vault.Config) { c.Namespace = "a/../b" },
		"an unknown method":                func(c *vault.Config) { c.Auth = "ldap" },
		"AppRole without a role":           func(c *vault.Config) { c.Auth = "approle" },
		"a token with a role":              func(c *vault.Config) { c.Role = "role" },
		"no secret":                        func(c *vault.Config) { c.Secret = nil },
		"a certificate without a key":      func(c *vault.Config) { c.ClientCert = notPEM },
		"an authority out of reach":        func(c *vault.Config) { c.CAFile = notPEM + ".not" },
		"an authority of nonsense":         func(c *vault.Config) { c.CAFile = notPEM },
		"a client certificate of nonsense": func(c *vault.Config) { c.ClientCert, c.ClientKey = notPEM, notPEM },
		"an id too long":                   func(c *vault.Config) { c.KeyID = strings.Repeat("x", 256) },
	} {
		config := vault.Config{Address: "https://vault.example:8200", Key: "underseal", Secret: says(token)}
		if _, err := vault.Open(t.Context(), config); err != nil {
			t.Fatalf("the whole configuration: %v", err)
		}
		edit(&config)
		if _, err := vault.Open(t.Context(), config); !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), "secret@") {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
}

// FuzzVersion reads bytes that anybody may have put in the place of wrapped ones.
func FuzzVersion(f *testing.F) {
	_, s := setup(f, nil)
	wrapped, err := s.Wrap(f.Context(), kmstest.Context(), make([]byte, 32))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wrapped)
	f.Add(wrapped[:28])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		version, err := s.Version(data)
		if (err == nil) != (version != "" && version != "0") || err != nil && !fault.Is(err, fault.Integrity) {
			t.Errorf("Version: %q, %v", version, err)
		}
	})
}
