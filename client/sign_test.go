package client_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/ledger"
)

func keyFile(t *testing.T, key any, mode os.FileMode) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadKey(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{"Ed25519": ed, "P-256": p256} {
		loaded, err := client.LoadKey(keyFile(t, key, 0o600))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want, _ := ledger.NewPublicKey(key.Public())
		if got, err := ledger.NewPublicKey(loaded.Public()); err != nil || got != want {
			t.Errorf("%s: another key came back (%v)", name, err)
		}
	}
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("key"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused := map[string]string{"no file": filepath.Join(t.TempDir(), "none"), "no key": text, "P-384": keyFile(t, p384, 0o600)}
	if runtime.GOOS != "windows" {
		refused["open to others"] = keyFile(t, ed, 0o640)
	}
	for name, path := range refused {
		if _, err := client.LoadKey(path); err == nil || !strings.HasPrefix(err.Error(), "worker key: ") {
			t.Errorf("%s: %v, want an error", name, err)
		}
	}
}
