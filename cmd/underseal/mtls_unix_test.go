//go:build unix

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/server"
	"github.com/underseal/underseal/internal/testenv"
)

// workersCertificate signs a client certificate, and returns the authority's own in PEM.
func workersCertificate(t *testing.T, chain, key string) (authority string) {
	t.Helper()
	made := func(what, by *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if signer == nil {
			by, signer = what, own
		}
		what.SerialNumber, what.NotBefore, what.NotAfter = big.NewInt(1), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, what, by, own.Public(), signer)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c, own
	}
	ca, caKey := made(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	leaf, leafKey := made(&x509.Certificate{DNSNames: []string{"robot.example"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, ca, caKey)
	der, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{chain: {Type: "CERTIFICATE", Bytes: leaf.Raw}, key: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}))
}

// A worker calls over TLS with its certificate alone, once the server asks for one and the
// tenant says whose it is.
func TestAWorkerCallsWithItsCertificate(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds: left out by -short")
	}
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	chain, key := filepath.Join(dir, "robot.pem"), filepath.Join(dir, "robot.key")
	authority := workersCertificate(t, chain, key)
	world := testenv.New(t, nil)
	do := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	do(world.Engine.SetIssuer(t.Context(), world.Ann, "mesh", api.IssuerRequest{Kind: "certificates", Authority: authority}, ""))
	do(world.Engine.InviteUser(t.Context(), world.Ann, api.UserRequest{Name: "robot", Kind: "service", Roles: []string{"Executor"}}, ""))
	do(world.Engine.LinkUser(t.Context(), world.Ann, "robot", api.LinkRequest{Issuer: "mesh", Subject: "dns:robot.example"}, ""))

	for _, asks := range []bool{true, false} {
		s := &settings{config: config{Listen: "127.0.0.1:0", TLSDev: true, TLSMin: "1.3", ClientCerts: asks}}
		if err := s.checkClientCerts(); err != nil {
			t.Fatal(err)
		}
		how, ca, err := s.tls(slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		handler, err := server.New(server.Config{Engine: world.Engine})
		if err != nil {
			t.Fatal(err)
		}
		l, err := server.NewListener(server.ListenConfig{Address: s.Listen, TLS: how}, handler)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := l.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		})
		calls := func(change func(*config)) (api.Me, error) {
			t.Helper()
			e := &env{settings: &settings{config: config{
				Server: "https://" + l.Addr().String(), CAFile: ca, Tenant: "main", ClientCert: chain, ClientKey: key, APIKeyFile: filepath.Join(dir, "none"),
			}}}
			change(&e.settings.config)
			cl, err := e.connect()
			if err != nil {
				return api.Me{}, err
			}
			return cl.Me(t.Context())
		}
		me, err := calls(func(*config) {})
		if asks && (err != nil || me.User != "robot" || me.Tenant != "main") || !asks && !client.IsUnauthenticated(err) {
			t.Errorf("the server asks for a certificate %v: %+v, %v", asks, me, err)
		}
		if _, err := calls(func(c *config) { c.Tenant = "acme" }); !client.IsUnauthenticated(err) {
			t.Errorf("another tenant: %v", err)
		}
		for name, change := range map[string]func(*config){
			"no tenant": func(c *config) { c.Tenant = "" }, "no key": func(c *config) { c.ClientKey = "" }, "no certificate": func(c *config) { c.ClientCert = "" },
			"another key": func(c *config) { c.ClientKey = ca },
		} {
			if _, err := calls(change); fault.CodeOf(err) != "config_invalid" {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if err := (&settings{config: config{ClientCerts: true}}).checkClientCerts(); err == nil {
		t.Error("certificates without TLS are no mistake")
	}
}
