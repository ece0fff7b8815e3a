package azurekms_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
	"github.com/underseal/underseal/internal/kms/azurekms"
	"github.com/underseal/underseal/internal/kms/cloudkey/cloudtest"
	"github.com/underseal/underseal/internal/kms/kmstest"
)

// open returns a service for keys of its own, and their names in its settings.
func open(t *testing.T, f *fake) (kms.Service, azurekms.Config) {
	t.Helper()
	c := f.addKeys()
	s, err := azurekms.Open(t.Context(), c)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s, c
}

// wrap returns a key wrapped in the usual context.
func wrap(t *testing.T, s kms.Service) []byte {
	t.Helper()
	wrapped, err := s.Wrap(t.Context(), kmstest.Context(), make([]byte, 32))
	if err != nil {
		t.Fatalf("Wrap: %v", err)
	}
	return wrapped
}

func TestAzureIsAService(t *testing.T) {
	f := newFake(t)
	kmstest.TestService(t, func(t *testing.T) kms.Service { s, _ := open(t, f); return s })
}

func TestAzureWorksInFIPSMode(t *testing.T) { cloudtest.InFIPSMode(t, "TestAzureIsAService") }

func TestAzureTellsDeniedFromUnreachable(t *testing.T) {
	kmstest.TestFaults(t, func(t *testing.T) (kms.Service, kmstest.Faults) {
		f := newFake(t)
		s, _ := open(t, f)
		return s, f.Faults(refuse(http.StatusForbidden, "Forbidden"), refuse(http.StatusTooManyRequests, "Throttled"))
	})
}

func TestEachRefusalOfAzureHasItsKind(t *testing.T) {
	f := newFake(t)
	s, _ := open(t, f)
	wrapped := wrap(t, s)
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		want   fault.Kind
	}{
		"not allowed":    {refuse(http.StatusForbidden, "Forbidden"), fault.Denied},
		"too much":       {refuse(http.StatusTooManyRequests, "Throttled"), fault.Unavailable},
		"out of order":   {refuse(http.StatusServiceUnavailable, "ServiceUnavailable"), fault.Unavailable},
		"broken":         {refuse(http.StatusInternalServerError, "InternalServerError"), fault.Unavailable},
		"a proxy's page": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) }, fault.Unavailable},
	} {
		f.Fail(test.answer)
		before := f.Requests()
		if _, err := s.Unwrap(t.Context(), kmstest.Context(), wrapped); !fault.Is(err, test.want) {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
		if n := f.Requests() - before; n != 1 {
			t.Errorf("%s: asked %d times, want once", name, n)
		}
	}
}

func TestADisabledVersionIsDenied(t *testing.T) {
	for name, choose := range map[string]func(azurekms.Config) string{
		"of the wrapping key": func(c azurekms.Config) string { return c.Key },
		"of the signing key":  func(c azurekms.Config) string { return c.SigningKey },
	} {
		f := newFake(t)
		s, c := open(t, f)
		wrapped := wrap(t, s)
		f.change(func() { f.keys[choose(c)].versions[0].disabled = true })
		if _, err := s.Unwrap(t.Context(), kmstest.Context(), wrapped); !fault.Is(err, fault.Denied) {
			t.Errorf("Unwrap with a disabled version %s: %v, want denied", name, err)
		}
		if _, err := s.Wrap(t.Context(), kmstest.Context(), make([]byte, 32)); !fault.Is(err, fault.Denied) {
			t.Errorf("Wrap with a disabled version %s: %v, want denied", name, err)
		}
	}
}

func TestADeletedKeyWaitsUntilItIsPurged(t *testing.T) {
	f := newFake(t)
	s, c := open(t, f)
	wrapped := wrap(t, s)
	f.change(func() { delete(f.keys, c.Key); f.deleted[c.Key] = true })
	unwrap := func() error {
		_, err := s.Unwrap(t.Context(), kmstest.Context(), wrapped)
		return err
	}
	if err := unwrap(); !fault.Is(err, fault.Denied) || fault.CodeOf(err) != "key_pending_deletion" {
		t.Errorf("Unwrap while it can be recovered: %v, want denied", err)
	}
	f.change(func() { f.seesAll = false })
	if err := unwrap(); !fault.Is(err, fault.Denied) {
		t.Errorf("Unwrap when that cannot be seen: %v, want denied", err)
	}
	f.change(func() { f.seesAll, f.deleted[c.Key] = true, false })
	if err := unwrap(); !fault.Is(err, fault.NotFound) {
		t.Errorf("Unwrap after it was purged: %v, want not_found", err)
	}
	_, wrapErr := s.Wrap(t.Context(), kmstest.Context(), make([]byte, 32))
	_, describeErr := s.Describe(t.Context())
	for _, err := range []error{wrapErr, describeErr} {
		if !fault.Is(err, fault.Conflict) || fault.CodeOf(err) != "root_key_missing" {
			t.Errorf("%v, want conflict", err)
		}
	}
}

func TestADeletedSigningKeyIsNoChangeOfTheStoredBytes(t *testing.T) {
	f := newFake(t)
	s, c := open(t, f)
	wrapped := wrap(t, s)
	f.change(func() { delete(f.keys, c.SigningKey); f.deleted[c.SigningKey] = true })
	if _, err := s.Unwrap(t.Context(), kmstest.Context(), wrapped); fault.CodeOf(err) != "key_pending_deletion" {
		t.Errorf("Unwrap while it can be recovered: %v", err)
	}
	f.change(func() { f.deleted[c.SigningKey] = false })
	if _, err := s.Unwrap(t.Context(), kmstest.Context(), wrapped); !fault.Is(err, fault.Conflict) || fault.CodeOf(err) != "root_key_missing" {
		t.Errorf("Unwrap after it was purged: %v, want conflict", err)
	}
}

// What a vault wraps, anybody who has the public key can make.
func TestWhoHasOnlyThePublicKeyForgesNothing(t *testing.T) {
	f := newFake(t)
	s, c := open(t, f)
	genuine := wrap(t, s)
	forged := forge(t, f, c, genuine)
	if key, err := s.Unwrap(t.Context(), kmstest.Context(), forged); !fault.Is(err, fault.Integrity) || key != nil {
		t.Errorf("Unwrap of a forgery: %v, want integrity", err)
	}
	// With the vault's signature it opens, so nothing else was wrong with it.
	if _, err := s.Unwrap(t.Context(), kmstest.Context(), sign(t, f, c, forged)); err != nil {
		t.Errorf("the forgery is refused for another reason: %v", err)
	}
}

// blobStart is where the vault's bytes begin: after the header with its version
// of 32 digits, the version of the signing key, and the length.
const blobStart = 1 + 16 + 1 + 32 + 16 + 2

// forge wraps a key of its own as the package comment describes, with the
// signature of the genuine one.
func forge(t *testing.T, f *fake, c azurekms.Config, genuine []byte) []byte {
	t.Helper()
	once := make([]byte, 32)
	rand.Read(once)
	var public *rsa.PublicKey
	f.change(func() { public = &f.keys[c.Key].versions[0].rsa.PublicKey })
	blob, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, public, once, nil)
	if err != nil {
		t.Fatal(err)
	}
	out := append(bytes.Clone(genuine[:blobStart]), blob...)
	bound := append(bytes.Clone(out), kmstest.Context().Encode()...)
	key, err := hkdf.Key(sha256.New, once, nil, "underseal/v1/azure\x00"+string(bound), 32)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	out = aead.Seal(out, nil, []byte("a tenant key the attacker knows."), bound)
	return append(out, genuine[len(genuine)-64:]...)
}

// sign replaces the signature by one of the vault's signing key.
func sign(t *testing.T, f *fake, c azurekms.Config, wrapped []byte) []byte {
	t.Helper()
	bound := kmstest.Context().Encode()
	text := binary.BigEndian.AppendUint32([]byte("underseal/v1/azure signed\x00"), uint32(len(bound)))
	digest := sha256.Sum256(append(append(text, bound...), wrapped[:len(wrapped)-64]...))
	var signature []byte
	var err error
	f.change(func() { signature, err = f.keys[c.SigningKey].versions[0].use("sign", "ES256", digest[:]) })
	if err != nil {
		t.Fatal(err)
	}
	return append(wrapped[:len(wrapped)-64:len(wrapped)-64], signature...)
}

func TestASigningKeyThatVouchesForNothingIsRefused(t *testing.T) {
	f := newFake(t)
	s, c := open(t, f)
	wrapped := wrap(t, s)
	f.change(func() {
		other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		f.keys[c.SigningKey].versions[0].ec = other
	})
	if _, err := s.Unwrap(t.Context(), kmstest.Context(), wrapped); !fault.Is(err, fault.Integrity) {
		t.Errorf("Unwrap with another public key: %v, want integrity", err)
	}
	f.change(func() { f.keys[c.SigningKey] = f.keys[c.Key] })
	if _, err := s.Wrap(t.Context(), kmstest.Context(), make([]byte, 32)); err == nil {
		t.Error("Wrap with an RSA key as the signing key succeeded")
	}
}

func TestTheSigningKeyMayRotateToo(t *testing.T) {
	f := newFake(t)
	s, c := open(t, f)
	old := wrap(t, s)
	f.change(func() { f.keys[c.SigningKey].add(false) })
	for _, wrapped := range [][]byte{old, wrap(t, s)} {
		if _, err := s.Unwrap(t.Context(), kmstest.Context(), wrapped); err != nil {
			t.Errorf("Unwrap: %v", err)
		}
	}
}

func TestTheClientSecretMayBeExchanged(t *testing.T) {
	f := newFake(t)
	text := "a secret that was taken back"
	c := f.addKeys()
	c.Secret = func(context.Context) (string, error) { return text, nil }
	s, err := azurekms.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Wrap(t.Context(), kmstest.Context(), make([]byte, 32)); !fault.Is(err, fault.Denied) || strings.Contains(err.Error(), text) {
		t.Errorf("Wrap with a wrong secret: %v, want denied, without the secret", err)
	}
	text = clientSecret
	wrap(t, s)
	c.Secret = func(context.Context) (string, error) { return "", fault.New(fault.NotFound, "no such file") }
	if s, err = azurekms.Open(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Wrap(t.Context(), kmstest.Context(), make([]byte, 32)); !fault.Is(err, fault.Unavailable) {
		t.Errorf("Wrap without a secret: %v, want unavailable", err)
	}
}

func TestTheEnvironmentDoesNotSayWhereTheSecretGoes(t *testing.T) {
	t.Setenv("AZURE_AUTHORITY_HOST", "https://elsewhere.example/")
	s, _ := open(t, newFake(t))
	wrap(t, s)
}

func TestAmbientCredentialsAreUsedOnlyWhenAskedFor(t *testing.T) {
	f := newFake(t)
	t.Setenv("AZURE_TENANT_ID", tenantID)
	t.Setenv("AZURE_CLIENT_ID", clientID)
	t.Setenv("AZURE_CLIENT_SECRET", clientSecret)
	c := f.addKeys()
	c.Authority = "https://" + signInHost
	explicit := c
	explicit.Secret = secret("wrong")
	c.TenantID, c.ClientID, c.Secret, c.Ambient = "", "", nil, true
	s, err := azurekms.Open(t.Context(), explicit)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Wrap(t.Context(), kmstest.Context(), make([]byte, 32)); !fault.Is(err, fault.Denied) {
		t.Errorf("Wrap with a wrong secret and a good environment: %v, want denied", err)
	}
	if s, err = azurekms.Open(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	wrap(t, s)
}

func TestOpenRefusesNonsense(t *testing.T) {
	good := azurekms.Config{
		Vault: "https://company.vault.azure.net", Key: "underseal", SigningKey: "underseal-sign",
		TenantID: tenantID, ClientID: clientID, Secret: secret(clientSecret),
	}
	for name, edit := range map[string]func(*azurekms.Config){
		"no vault":               func(c *azurekms.Config) { c.Vault = "" },
		"a vault in clear":       func(c *azurekms.Config) { c.Vault = "http://company.vault.azure.net" },
		"a vault elsewhere":      func(c *azurekms.Config) { c.Vault = "https://company.example.org" },
		"a lookalike":            func(c *azurekms.Config) { c.Vault = "https://vault.azure.net.example.org" },
		"a vault with a path":    func(c *azurekms.Config) { c.Vault += "/keys/underseal" },
		"no key":                 func(c *azurekms.Config) { c.Key = "" },
		"a key with a version":   func(c *azurekms.Config) { c.Key += "/0123456789abcdef0123456789abcdef" },
		"no signing key":         func(c *azurekms.Config) { c.SigningKey = "" },
		"one key for both":       func(c *azurekms.Config) { c.SigningKey = "Underseal" },
		"no credentials":         func(c *azurekms.Config) { c.TenantID, c.ClientID, c.Secret = "", "", nil },
		"no secret":              func(c *azurekms.Config) { c.Secret = nil },
		"no directory":           func(c *azurekms.Config) { c.TenantID = "" },
		"no application":         func(c *azurekms.Config) { c.ClientID = "a b" },
		"credentials of 2 kinds": func(c *azurekms.Config) { c.Ambient = true },
		"a sign-in in clear":     func(c *azurekms.Config) { c.Authority = "http://login.example.org" },
	} {
		c := good
		edit(&c)
		if _, err := azurekms.Open(t.Context(), c); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
	for _, vault := range []string{good.Vault, "https://hsm.managedhsm.azure.net", "https://company.vault.azure.cn"} {
		c := good
		c.Vault = vault
		if _, err := azurekms.Open(t.Context(), c); err != nil {
			t.Errorf("vault %s: %v", vault, err)
		}
	}
}
