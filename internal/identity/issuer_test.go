package identity_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"reflect"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
)

// certificateOf returns a self-signed certificate, PEM.
func certificateOf(t *testing.T, authority bool) string {
	t.Helper()
	return certificateBy(t, authority, nil)
}

// certificateBy is certificateOf for a public key, by which nobody can sign; nil: one is
// made.
func certificateBy(t *testing.T, authority bool, public any) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if public == nil {
		public = key.Public()
	}
	what := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: authority, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, what, what, public, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// rsaOf returns a public key of so many bits.
func rsaOf(bits uint) *rsa.PublicKey {
	n := new(big.Int).Lsh(big.NewInt(1), bits-1)
	return &rsa.PublicKey{N: n.SetBit(n, 0, 1), E: 65537}
}

func goodIssuers(t *testing.T) []identity.Issuer {
	ca, long := certificateOf(t, true), certificateBy(t, true, rsaOf(8192))
	return []identity.Issuer{
		{
			ID: "corp", Kind: identity.People, URL: "https://login.example.org/realms/corp", Client: "underseal", Secret: "sesame", Scopes: []string{"profile"},
			NameClaim: "preferred_username", GroupClaim: "groups", Creates: true,
			Given: []identity.Given{{Group: "/Loan Clerks", Groups: []string{"clerks"}, Roles: []access.Role{access.Executor}}},
		},
		{ID: "robots", Kind: identity.Services, URL: "https://login.example.org/realms/corp", Audiences: []string{"https://seal.example.org"}},
		{ID: "mesh", Kind: identity.Certificates, Authority: ca + long},
	}
}

func TestIssuersAreSealed(t *testing.T) {
	c := company
	c.Issuers = goodIssuers(t)
	for i := range c.Issuers {
		c.Issuers[i].Tenant = c.Name
	}
	if got, err := identity.ParseTenant(valuesOf(c.Fields())); err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("tenant: %+v, %v, want %+v", got, err, c)
	}
}

func TestCheckIssuers(t *testing.T) {
	if err := identity.CheckIssuers(nil); err != nil {
		t.Error(err)
	}
	if err := identity.CheckIssuers(goodIssuers(t)); err != nil {
		t.Fatal(err)
	}
	leaf := certificateOf(t, false)
	const people, services, certificates = 0, 1, 2
	tests := []struct {
		name, place string
		of          int
		change      func(*identity.Issuer)
	}{
		{"no id", "/id", people, func(i *identity.Issuer) { i.ID = "" }},
		{"an id that is no name", "/id", people, func(i *identity.Issuer) { i.ID = "Corp" }},
		{"an id that is there twice", "", people, func(i *identity.Issuer) { i.ID = "mesh" }},
		{"no kind", "/kind", services, func(i *identity.Issuer) { i.Kind = "" }},
		{"no URL", "/url", people, func(i *identity.Issuer) { i.URL = "" }},
		{"no address", "/url", people, func(i *identity.Issuer) { i.URL = "https://" }},
		{"in clear", "/url", people, func(i *identity.Issuer) { i.URL = "http://login.example.org" }},
		{"in clear at a name of this machine", "/url", people, func(i *identity.Issuer) { i.URL = "http://localhost" }},
		{"another scheme", "/url", services, func(i *identity.Issuer) { i.URL = "file:///etc/passwd" }},
		{"a query", "/url", services, func(i *identity.Issuer) { i.URL += "?a" }},
		{"an empty query", "/url", services, func(i *identity.Issuer) { i.URL += "?" }},
		{"a fragment", "/url", services, func(i *identity.Issuer) { i.URL += "#" }},
		{"a password", "/url", services, func(i *identity.Issuer) { i.URL = "https://a:b@login.example.org" }},
		{"a space", "/url", services, func(i *identity.Issuer) { i.URL += " " }},
		{"a URL of certificates", "/url", certificates, func(i *identity.Issuer) { i.URL = "https://login.example.org" }},
		{"no client", "/client", people, func(i *identity.Issuer) { i.Client = "" }},
		{"a secret with a line break", "/secret", people, func(i *identity.Issuer) { i.Secret = "sesame\n" }},
		{"a scope with a space", "/scopes", people, func(i *identity.Issuer) { i.Scopes = []string{"a b"} }},
		{"no claim for names", "/name_claim", people, func(i *identity.Issuer) { i.NameClaim = "" }},
		{"no claim for groups", "/group_claim", people, func(i *identity.Issuer) { i.GroupClaim = "" }},
		{"a group without a name", "/given/", people, func(i *identity.Issuer) { i.Given = []identity.Given{{Groups: []string{"a"}}} }},
		{"a group that is given nothing", "/given/a", people, func(i *identity.Issuer) { i.Given = []identity.Given{{Group: "a"}} }},
		{"a group that is no name", "/given/a/groups", people, func(i *identity.Issuer) { i.Given = []identity.Given{{Group: "a", Groups: []string{"B"}}} }},
		{"a role that is none", "/given/a/roles", people, func(i *identity.Issuer) { i.Given = []identity.Given{{Group: "a", Roles: []access.Role{"Boss"}}} }},
		{"the role Operator", "/given/a/roles", people, func(i *identity.Issuer) {
			i.Given = []identity.Given{{Group: "a", Roles: []access.Role{access.Operator}}}
		}},
		{"too many groups", "/given", people, func(i *identity.Issuer) { i.Given = make([]identity.Given, 101) }},
		{"people by a certificate", "/authority", people, func(i *identity.Issuer) { i.Authority = leaf }},
		{"an audience of people", "/audiences", people, func(i *identity.Issuer) { i.Audiences = []string{"a"} }},
		{"no audience", "/audiences", services, func(i *identity.Issuer) { i.Audiences = nil }},
		{"an empty audience", "/audiences", services, func(i *identity.Issuer) { i.Audiences = []string{""} }},
		{"a secret of services", "", services, func(i *identity.Issuer) { i.Secret = "sesame" }},
		{"services that create", "", services, func(i *identity.Issuer) { i.Creates = true }},
		{"no authority", "/authority", certificates, func(i *identity.Issuer) { i.Authority = "" }},
		{"an authority that is none", "/authority", certificates, func(i *identity.Issuer) { i.Authority = leaf }},
		{"a key as authority", "/authority", certificates, func(i *identity.Issuer) { i.Authority = strings.ReplaceAll(i.Authority, "CERTIFICATE", "PRIVATE KEY") }},
		{"something behind the authority", "/authority", certificates, func(i *identity.Issuer) { i.Authority += "x" }},
		{"an authority with a key that takes long", "/authority", certificates, func(i *identity.Issuer) { i.Authority += certificateBy(t, true, rsaOf(8193)) }},
		{"an authority with a short key", "/authority", certificates, func(i *identity.Issuer) { i.Authority += certificateBy(t, true, rsaOf(2047)) }},
		{"a long authority", "/authority", certificates, func(i *identity.Issuer) { i.Authority = strings.Repeat(i.Authority, 200) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			all := goodIssuers(t)
			test.change(&all[test.of])
			wantIssuerFault(t, identity.CheckIssuers(all), test.place)
		})
	}
	twice := append(goodIssuers(t), goodIssuers(t)[1])
	twice[3].ID = "again"
	wantIssuerFault(t, identity.CheckIssuers(twice), "/url")
	wantIssuerFault(t, identity.CheckIssuers(make([]identity.Issuer, 21)), "")
}

// wantIssuerFault requires a fault whose details have a place that ends as is said, and no
// secret.
func wantIssuerFault(t *testing.T, err error, place string) {
	t.Helper()
	if fault.CodeOf(err) != "issuers_invalid" || strings.Contains(err.Error(), "sesame") {
		t.Fatalf("error = %v", err)
	}
	if !strings.Contains(err.Error(), place+": ") {
		t.Errorf("error = %v, want something at %s", err, place)
	}
}
