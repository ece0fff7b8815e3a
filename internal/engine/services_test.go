package engine_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

const idp = "https://login.example.org"

// words are what an issuer has said, by token. All tokens name idp.
type words map[string]identity.Claims

func (words) IssuerOf(token string) (string, bool) { return idp, token != "malformed" }

func (w words) AccessToken(_ context.Context, i identity.Issuer, token string) (identity.Claims, error) {
	c, ok := w[token]
	if !ok || i.URL != idp || i.Kind != identity.Services {
		return identity.Claims{}, fault.New(fault.Unavailable, "%s is not there", i.URL)
	}
	c.Issuer = i.URL
	return c, nil
}

// Words sign nobody in.
func (words) Begin(context.Context, identity.Issuer, string, bool) (identity.Attempt, string, error) {
	return identity.Attempt{}, "", fault.New(fault.Unavailable, "%s signs nobody in", idp)
}

func (words) Finish(context.Context, identity.Issuer, identity.Attempt, url.Values) (identity.Claims, error) {
	return identity.Claims{}, fault.New(fault.Unavailable, "%s signs nobody in", idp)
}

func (words) Logout(context.Context, string, identity.Issuer, string, func(identity.Logout) error) error {
	return fault.New(fault.Unavailable, "%s signs nobody out", idp)
}

func withIssuers(w engine.Issuers) func(*node.Config) {
	return func(c *node.Config) { c.Issuers = w }
}

// newService makes a service that works jobs, and links it.
func newService(t *testing.T, env *testenv.Env, name string, links ...api.LinkRequest) api.User {
	t.Helper()
	if _, err := env.Engine.InviteUser(t.Context(), env.Ann, api.UserRequest{Name: name, Kind: "service", Roles: []string{"Executor"}}, ""); err != nil {
		t.Fatal(err)
	}
	var u api.User
	for _, l := range links {
		var err error
		if u, err = env.Engine.LinkUser(t.Context(), env.Ann, name, l, ""); err != nil {
			t.Fatal(err)
		}
	}
	return u
}

func setIssuer(t *testing.T, env *testenv.Env, id string, r api.IssuerRequest) {
	t.Helper()
	if _, err := env.Engine.SetIssuer(t.Context(), env.Ann, id, r, ""); err != nil {
		t.Fatal(err)
	}
}

var robots = api.IssuerRequest{Kind: "services", URL: idp, Audiences: []string{"https://seal.example.org"}}

func TestServicesCallWithTokens(t *testing.T) {
	t.Parallel()
	leaf := &x509.Certificate{Raw: []byte("a certificate")}
	sum := sha256.Sum256(leaf.Raw)
	later := time.Now().Add(time.Hour)
	env := testenv.New(t, withIssuers(words{
		"robot":    {Subject: "7", Expires: later},
		"little":   {Subject: "7", Expires: later, Scopes: []string{"openid", "underseal:job:*", "other:x"}},
		"odd":      {Subject: "7", Expires: later, Scopes: []string{"underseal:everything"}},
		"bound":    {Subject: "7", Expires: later, Thumbprint: base64.RawURLEncoding.EncodeToString(sum[:])},
		"expired":  {Subject: "7", Expires: time.Now().Add(-time.Second)},
		"stranger": {Subject: "8", Expires: later},
		"person":   {Subject: "ann", Expires: later},
	}))
	call := func(p engine.Presented) (engine.Caller, error) { return env.Engine.AuthenticateService(t.Context(), p) }
	if _, err := call(engine.Presented{Tenant: "main", Token: "robot"}); !unauthenticated(err) {
		t.Errorf("an issuer that is not set: %v", err)
	}
	setIssuer(t, env, "robots", robots)
	u := newService(t, env, "robot", api.LinkRequest{Issuer: "robots", Subject: "7"})

	for _, test := range []struct {
		name   string
		shown  engine.Presented
		admits bool
	}{
		{"a token", engine.Presented{Tenant: "main", Token: "robot"}, true},
		{"a bound token with its certificate", engine.Presented{Tenant: "main", Token: "bound", Chain: []*x509.Certificate{leaf}}, true},
		{"a bound token with another certificate", engine.Presented{Tenant: "main", Token: "bound", Chain: []*x509.Certificate{{Raw: []byte("b")}}}, false},
		{"a bound token alone", engine.Presented{Tenant: "main", Token: "bound"}, false},
		{"a token that the issuer does not stand by", engine.Presented{Tenant: "main", Token: "forged"}, false},
		{"a token that is none", engine.Presented{Tenant: "main", Token: "malformed"}, false},
		{"an expired token", engine.Presented{Tenant: "main", Token: "expired"}, false},
		{"somebody who is not linked", engine.Presented{Tenant: "main", Token: "stranger"}, false},
		{"a scope that is no action", engine.Presented{Tenant: "main", Token: "odd"}, false},
		{"a tenant that is not", engine.Presented{Tenant: "acme", Token: "robot"}, false},
		{"a tenant that cannot be", engine.Presented{Tenant: "../main", Token: "robot"}, false},
		{"nothing", engine.Presented{Tenant: "main"}, false},
	} {
		test.shown.Address = "192.0.2.7"
		c, err := call(test.shown)
		if test.admits && (err != nil || c.Principal != "robot" || c.Scope.Tenant() != "main" || c.Key != u.Identities[0].ID || c.Address != "192.0.2.7") {
			t.Errorf("%s: %+v, %v", test.name, c, err)
		}
		if !test.admits && (!unauthenticated(err) || err.Error() != identity.Unauthenticated().Error()) {
			t.Errorf("%s: %v, want the one error for everything", test.name, err)
		}
	}
	c, err := call(engine.Presented{Tenant: "main", Token: "little"})
	if err != nil {
		t.Fatal(err)
	}
	if me, err := env.Engine.Me(t.Context(), c); err != nil || !slices.Equal(me.Scopes, []string{"job:*"}) {
		t.Errorf("the scopes are %v, %v", me.Scopes, err)
	}
	if _, err := env.Engine.Processes(t.Context(), c, engine.Page{}); err != nil && !fault.Is(err, fault.Denied) {
		t.Errorf("processes: %v", err)
	}
	if _, err := env.Engine.Start(t.Context(), c, api.StartRequest{Process: "loan"}, ""); !fault.Is(err, fault.Denied) {
		t.Errorf("a start by a token for jobs: %v", err)
	}
}

func TestWhatIsTakenFromAServiceCountsAtOnce(t *testing.T) {
	t.Parallel()
	reason := api.ReasonRequest{}
	for name, take := range map[string]func(*testing.T, *testenv.Env, api.User) error{
		"the link": func(t *testing.T, env *testenv.Env, u api.User) error {
			_, err := env.Engine.UnlinkUser(t.Context(), env.Ann, "robot", api.UnlinkRequest{ID: u.Identities[0].ID}, "")
			return err
		},
		"the issuer": func(t *testing.T, env *testenv.Env, _ api.User) error {
			_, err := env.Engine.RemoveIssuer(t.Context(), env.Ann, "robots", reason, "")
			return err
		},
		"the service": func(t *testing.T, env *testenv.Env, _ api.User) error {
			_, err := env.Engine.DisableUser(t.Context(), env.Ann, "robot", reason, "")
			return err
		},
	} {
		env := testenv.New(t, withIssuers(words{"robot": {Subject: "7", Expires: time.Now().Add(time.Hour)}}))
		setIssuer(t, env, "robots", robots)
		u := newService(t, env, "robot", api.LinkRequest{Issuer: "robots", Subject: "7"})
		shown := engine.Presented{Tenant: "main", Token: "robot"}
		if _, err := env.Engine.AuthenticateService(t.Context(), shown); err != nil {
			t.Errorf("%s is there: %v", name, err)
		}
		if err := take(t, env, u); err != nil {
			t.Fatal(err)
		}
		if _, err := env.Engine.AuthenticateService(t.Context(), shown); !unauthenticated(err) {
			t.Errorf("%s was taken: %v", name, err)
		}
	}
}

// TestARevokedServiceStaysOut when it is enabled again, and its subject is nobody else's
// before somebody says so.
func TestARevokedServiceStaysOut(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, withIssuers(words{"robot": {Subject: "7", Expires: time.Now().Add(time.Hour)}}))
	ctx, reason, link := t.Context(), api.ReasonRequest{}, api.LinkRequest{Issuer: "robots", Subject: "7"}
	setIssuer(t, env, "robots", robots)
	newService(t, env, "robot", link)
	newService(t, env, "other")
	u, err := env.Engine.RevokeUser(ctx, env.Ann, "robot", reason, "")
	if err != nil || len(u.Identities) != 1 || u.Identities[0].Ended == nil {
		t.Fatalf("revoked: %+v, %v, want an identity that has ended", u, err)
	}
	if _, err := env.Engine.RevokeUser(ctx, env.Ann, "robot", reason, ""); fault.CodeOf(err) != "unchanged" {
		t.Errorf("revoked again: %v", err)
	}
	admitted := func(want string) {
		t.Helper()
		c, err := env.Engine.AuthenticateService(ctx, engine.Presented{Tenant: "main", Token: "robot"})
		if c.Principal != want || err != nil && !unauthenticated(err) {
			t.Errorf("admitted is %q, %v, want %q", c.Principal, err, want)
		}
	}
	admitted("")
	if _, err := env.Engine.EnableUser(ctx, env.Ann, "robot", reason, ""); err != nil {
		t.Fatal(err)
	}
	admitted("")
	env.Restart(nil)
	admitted("")
	for _, name := range []string{"robot", "other"} {
		if _, err := env.Engine.LinkUser(ctx, env.Ann, name, link, ""); fault.CodeOf(err) != "linked_already" {
			t.Errorf("%s takes its place: %v", name, err)
		}
	}
	if _, err := env.Engine.RevokeUser(ctx, env.Ann, "robot", reason, ""); err != nil {
		t.Errorf("revoked after it was enabled: %v", err)
	}
	checkedWhole(t, env)
	if _, err := env.Engine.UnlinkUser(ctx, env.Ann, "robot", api.UnlinkRequest{ID: u.Identities[0].ID}, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.LinkUser(ctx, env.Ann, "other", link, ""); err != nil {
		t.Fatal(err)
	}
	admitted("other")
}

// authority signs client certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	var a authority
	a.cert, a.key = (authority{}).issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "an authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

// issue signs a certificate, which counts for an hour unless it says otherwise; the zero
// authority has it sign itself.
func (a authority) issue(t *testing.T, what *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	what.SerialNumber = big.NewInt(1)
	if what.NotAfter.IsZero() {
		what.NotBefore, what.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	if a.key == nil {
		a = authority{what, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, what, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func (a authority) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
}

// holder is a client certificate of names.
func holder(names ...string) *x509.Certificate {
	c := &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, name := range names {
		if u, err := url.Parse(name); err == nil && u.Scheme != "" {
			c.URIs = append(c.URIs, u)
		} else {
			c.DNSNames = append(c.DNSNames, name)
		}
	}
	return c
}

func TestServicesCallWithCertificates(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	ours, theirs := newAuthority(t), newAuthority(t)
	setIssuer(t, env, "mesh", api.IssuerRequest{Kind: "certificates", Authority: ours.pem()})
	lone, _ := (authority{}).issue(t, holder("lone"))
	old, past := holder(), time.Now().Add(-time.Hour)
	old.NotBefore, old.NotAfter = past.Add(-time.Hour), past
	gone, _ := (authority{}).issue(t, old)
	newService(t, env, "robot",
		api.LinkRequest{Issuer: "mesh", Subject: "spiffe://acme/robot"}, api.LinkRequest{Issuer: "mesh", Subject: "dns:robot.example"},
		api.LinkRequest{Issuer: "mesh", Subject: "subject:CN=robot,O=Acme"},
		api.LinkRequest{Issuer: "certificate", Subject: identity.Fingerprint(lone)}, api.LinkRequest{Issuer: "certificate", Subject: identity.Fingerprint(gone)})
	newService(t, env, "other", api.LinkRequest{Issuer: "mesh", Subject: "dns:other.example"})

	signed := func(a authority, what *x509.Certificate) []*x509.Certificate {
		c, _ := a.issue(t, what)
		return []*x509.Certificate{c}
	}
	below := newAuthority(t)
	middle, middleKey := ours.issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "below"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	below.cert, below.key = middle, middleKey
	named := holder()
	named.Subject = pkix.Name{CommonName: "robot", Organization: []string{"Acme"}}
	oid := func(last int, value string) pkix.AttributeTypeAndValue {
		return pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, last}, Value: value}
	}
	twoNames, turned := holder(), holder()
	twoNames.Subject.ExtraNames = []pkix.AttributeTypeAndValue{oid(10, "Acme"), oid(3, "nobody"), oid(3, "robot")}
	turned.Subject.ExtraNames = []pkix.AttributeTypeAndValue{oid(3, "robot"), oid(10, "Acme")}
	expired, early, server := holder("robot.example"), holder("robot.example"), holder("robot.example")
	expired.NotBefore, expired.NotAfter = old.NotBefore, old.NotAfter
	early.NotBefore, early.NotAfter = time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	many := holder("robot.example")
	for range 20 {
		many.DNSNames = append(many.DNSNames, "more.example")
	}
	for _, test := range []struct {
		name, want string
		chain      []*x509.Certificate
	}{
		{"a SPIFFE id", "robot", signed(ours, holder("spiffe://acme/robot"))},
		{"a name", "robot", signed(ours, holder("ROBOT.example"))},
		{"a subject", "robot", signed(ours, named)},
		{"a subject with another name besides", "", signed(ours, twoNames)},
		{"a subject in another order", "", signed(ours, turned)},
		{"names that are all of one", "robot", signed(ours, holder("spiffe://acme/robot", "robot.example", "more.example"))},
		{"an authority below", "robot", append(signed(below, holder("robot.example")), middle)},
		{"a certificate by itself", "robot", []*x509.Certificate{lone}},
		{"another one", "other", signed(ours, holder("other.example"))},
		{"names of two", "", signed(ours, holder("robot.example", "other.example"))},
		{"another authority", "", signed(theirs, holder("robot.example"))},
		{"another authority, with ours behind it", "", append(signed(theirs, holder("robot.example")), ours.cert)},
		{"an authority below that is not shown", "", signed(below, holder("robot.example"))},
		{"no authority", "", signed(authority{}, holder("robot.example"))},
		{"the authority itself", "", []*x509.Certificate{ours.cert}},
		{"a name that nobody has", "", signed(ours, holder("nobody.example"))},
		{"the scheme of another id", "", signed(ours, holder("https://acme/robot"))},
		{"expired", "", signed(ours, expired)},
		{"not yet", "", signed(ours, early)},
		{"for servers", "", signed(ours, server)},
		{"a great many names", "", signed(ours, many)},
		{"a great many certificates", "", slices.Repeat(signed(ours, holder("robot.example")), 11)},
		{"a certificate by itself that is expired", "", []*x509.Certificate{gone}},
		{"none", "", nil},
	} {
		c, err := env.Engine.AuthenticateService(t.Context(), engine.Presented{Tenant: "main", Chain: test.chain})
		if c.Principal != test.want || (err == nil) != (test.want != "") || err != nil && !unauthenticated(err) {
			t.Errorf("%s: %q, %v, want %q", test.name, c.Principal, err, test.want)
		}
	}
}

func TestWhoMayLinkWhom(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	setIssuer(t, env, "robots", robots)
	setIssuer(t, env, "corp", api.IssuerRequest{Kind: "people", URL: idp, Client: "underseal"})
	setIssuer(t, env, "mesh", api.IssuerRequest{Kind: "certificates", Authority: newAuthority(t).pem()})
	newService(t, env, "robot", api.LinkRequest{Issuer: "robots", Subject: "7"})
	newService(t, env, "other")
	env.Person("zoe", "Viewer")
	fingerprint := "sha256:" + strings.Repeat("0a", 32)
	for _, test := range []struct{ name, user, issuer, subject, code string }{
		{"a person", "zoe", "corp", "248289761001", ""},
		{"somebody whom another is", "other", "robots", "7", "linked_already"},
		{"the same again", "robot", "robots", "7", "linked_already"},
		{"an issuer that is not", "robot", "nobody", "8", "not_found"},
		{"a service by an issuer of people", "robot", "corp", "8", "other_kind"},
		{"a person by an issuer for services", "zoe", "robots", "8", "other_kind"},
		{"a person by a certificate", "zoe", "certificate", fingerprint, "not_found"},
		{"a person by an issuer of certificates", "zoe", "mesh", "dns:zoe", "other_kind"},
		{"a user who is not", "nobody", "corp", "8", "not_found"},
		{"a subject with a line break", "robot", "robots", "8\n", "invalid_subject"},
		{"a name of no kind", "robot", "mesh", "robot.example", "invalid_subject"},
		{"a kind without a name", "robot", "mesh", "dns:", "invalid_subject"},
		{"half a fingerprint", "robot", "certificate", fingerprint[:40], "invalid_subject"},
		{"a fingerprint in capitals", "robot", "certificate", strings.ToUpper(fingerprint), "invalid_subject"},
	} {
		_, err := env.Engine.LinkUser(t.Context(), env.Ann, test.user, api.LinkRequest{Issuer: test.issuer, Subject: test.subject}, "")
		if fault.CodeOf(err) != test.code {
			t.Errorf("%s: %v (%s), want %q", test.name, err, fault.CodeOf(err), test.code)
		}
	}
	admin := env.Person("ada", "Admin")
	link := api.LinkRequest{Issuer: "corp", Subject: "9"}
	if _, err := env.Engine.LinkUser(t.Context(), admin, "ann", link, ""); !fault.Is(err, fault.Denied) {
		t.Errorf("an Operator, by an Admin: %v", err)
	}
	if _, err := env.Engine.LinkUser(t.Context(), env.Person("vic", "Viewer"), "zoe", link, ""); !fault.Is(err, fault.Denied) {
		t.Errorf("by a Viewer: %v", err)
	}
	key, err := env.Engine.CreateAPIKey(t.Context(), env.Ann, api.APIKeyRequest{User: "ann", Scopes: []string{"apikey:*", "tenant:*"}}, "")
	if err != nil {
		t.Fatal(err)
	}
	little := env.SignIn(key.Text)
	if _, err := env.Engine.LinkUser(t.Context(), little, "zoe", link, ""); fault.CodeOf(err) != "scope_exceeded" {
		t.Errorf("by a key for little: %v", err)
	}
	if _, err := env.Engine.SetIssuer(t.Context(), little, "more", robots, ""); fault.CodeOf(err) != "scope_exceeded" {
		t.Errorf("an issuer by a key for little: %v", err)
	}
	if _, err := env.Engine.SetIssuer(t.Context(), admin, "more", robots, ""); !fault.Is(err, fault.Denied) {
		t.Errorf("an issuer of main by an Admin who is no Operator: %v", err)
	}
	for i := range 19 { // the twentieth of the other service
		if _, err := env.Engine.LinkUser(t.Context(), env.Ann, "other", api.LinkRequest{Issuer: "robots", Subject: strings.Repeat("x", i+1)}, ""); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []string{"", "too_many_links"} {
		_, err := env.Engine.LinkUser(t.Context(), env.Ann, "other", api.LinkRequest{Issuer: "robots", Subject: strings.Repeat("y", i+1)}, "")
		if fault.CodeOf(err) != want {
			t.Errorf("link %d: %v", 20+i, err)
		}
	}
}

func TestTheSecretOfAnIssuerGoesNowhereElse(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	people := api.IssuerRequest{Kind: "people", URL: idp, Client: "underseal", Secret: "sesame"}
	set := func(change func(*api.IssuerRequest)) api.Issuer {
		t.Helper()
		r := people
		change(&r)
		got, err := env.Engine.SetIssuer(t.Context(), env.Ann, "corp", r, "")
		if err != nil {
			t.Fatal(err)
		}
		return got.Items[0]
	}
	for _, step := range []struct {
		name   string
		change func(*api.IssuerRequest)
		set    bool
	}{
		{"a secret", func(*api.IssuerRequest) {}, true},
		{"left out", func(r *api.IssuerRequest) { r.Secret = "" }, true},
		{"left out with another address", func(r *api.IssuerRequest) { r.Secret, r.URL = "", "https://evil.example" }, false},
		{"given again", func(*api.IssuerRequest) {}, true},
		{"left out with another client", func(r *api.IssuerRequest) { r.Secret, r.Client = "", "other" }, false},
		{"given again, again", func(*api.IssuerRequest) {}, true},
		{"no secret any more", func(r *api.IssuerRequest) { r.Secret, r.Public = "", true }, false},
	} {
		if got := set(step.change); got.SecretSet != step.set || got.NameClaim != "preferred_username" {
			t.Errorf("%s: %+v", step.name, got)
		}
	}
	if _, err := env.Engine.SetIssuer(t.Context(), env.Ann, "corp", api.IssuerRequest{Kind: "people", URL: "http://a.example"}, ""); fault.CodeOf(err) != "issuers_invalid" {
		t.Errorf("an issuer in clear: %v", err)
	}
	if _, err := env.Engine.RemoveIssuer(t.Context(), env.Ann, "other", api.ReasonRequest{}, ""); !fault.Is(err, fault.NotFound) {
		t.Errorf("an issuer that is not: %v", err)
	}
}
