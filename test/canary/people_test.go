package canary_test

import (
	"bytes"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
)

// peoplePlaces are where marks are put that are about people and companies, not about
// instances. What is not among them stands in clear by design (docs/design/store.md): the
// names of principals and groups where tasks and jobs are routed to them, element and
// process ids, job types, worker names of leases, times. The name of a variable that is
// refused is told to who sent it, and to nobody else; its value to nobody.
var peoplePlaces = []string{
	"display-name", "mail", "group-display", "tenant-display", "password", "wrong-password", "new-password", "key-name", "reader-name", "user-agent",
	"reason-invite", "reason-key", "reason-group", "reason-grant", "reason-hold", "reason-erasure", "reason-glass", "reason-glass-end", "reason-policy", "reason-revoke",
	"grant-value", "grant-purpose", "purpose", "erased-person", "issuer-secret", "issuer-client", "policy", "sink-token", "sink-secret", "sink-answer",
}

// sink is a receiver of the audit that takes nothing, and says so with a mark; its address
// and secret, which only references name, are others.
func (s *server) sink(t *testing.T) {
	t.Helper()
	refuses := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Store(true)
		http.Error(w, mark("sink-answer"), http.StatusInternalServerError)
	}))
	t.Cleanup(refuses.Close)
	secrets := t.TempDir() // not searched
	address, secret := filepath.Join(secrets, "address"), filepath.Join(secrets, "secret")
	ok(t, os.WriteFile(address, []byte(refuses.URL+"/"+mark("sink-token")), 0o600))
	ok(t, os.WriteFile(secret, []byte(mark("sink-secret")), 0o600))
	authority := filepath.Join(secrets, "authority.pem")
	ok(t, os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: refuses.Certificate().Raw}), 0o600))
	config := s.path("config", "underseal")
	ok(t, os.MkdirAll(config, 0o700))
	text := "audit_sinks:\n  siem:\n    webhook: file:" + address + "\n    secret: file:" + secret + "\n    ca_file: " + authority + "\n    allow_networks: [127.0.0.0/8]\n"
	ok(t, os.WriteFile(filepath.Join(config, "config.yaml"), []byte(text), 0o600))
}

// fillPeople puts marks into all that is kept of people, and uses credentials, which are
// secrets themselves.
func (s *server) fillPeople(t *testing.T) {
	t.Helper()
	ctx, c := t.Context(), s.client
	secret := func(text string) string {
		if text == "" {
			t.Fatal("no credential was given")
		}
		s.secrets = append(s.secrets, text)
		return text
	}
	invited, err := c.InviteUser(ctx, api.UserRequest{
		Name: "zoe", Display: mark("display-name"), Mail: mark("mail") + "@example.org", Roles: []string{"Admin", "Viewer"}, Reason: mark("reason-invite"),
	})
	ok(t, err)
	at := client.Config{URL: s.url, HTTPClient: &http.Client{Transport: agent{}}}
	_, err = client.Setup(ctx, at, api.SetupRequest{Link: secret(invited.Link), Password: mark("password")})
	ok(t, err)
	if _, err = client.SignIn(ctx, at, api.SignInRequest{Tenant: "main", Name: "zoe", Password: mark("wrong-password")}); err == nil {
		t.Error("a wrong password signs somebody in")
	}
	session, err := client.SignIn(ctx, at, api.SignInRequest{Tenant: "main", Name: "zoe", Password: mark("password")})
	ok(t, err)
	at.Key = secret(session.Text)
	zoe, err := client.New(at)
	ok(t, err)
	t.Cleanup(zoe.Close)
	set, err := zoe.SetPassword(ctx, api.PasswordRequest{Old: mark("password"), New: mark("new-password")})
	ok(t, err)
	if set.Session == nil {
		t.Fatal("the new password left no session")
	}
	at.Key = secret(set.Session.Text)
	zoe, err = client.New(at)
	ok(t, err)
	t.Cleanup(zoe.Close)
	s.cookie(t, secret)

	key, err := c.CreateAPIKey(ctx, api.APIKeyRequest{User: "zoe", Name: mark("key-name"), Reason: mark("reason-key")})
	ok(t, err)
	secret(key.Text)
	_, err = c.RevokeAPIKey(ctx, key.ID, mark("reason-revoke"))
	ok(t, err)
	_, err = c.CreateGroup(ctx, api.GroupRequest{Name: "clerks", Display: mark("group-display"), Reason: mark("reason-group")})
	ok(t, err)
	tenant, err := c.CreateTenant(ctx, api.TenantRequest{Name: "acme", Display: mark("tenant-display")})
	ok(t, err)
	secret(tenant.Link)
	s.fillRights(t, zoe)
	reader, err := c.CreateLogReader(ctx, mark("reader-name"))
	ok(t, err)
	path := secret(strings.Split(strings.Trim(reader.Path, "/"), "/")[1])
	s.raw(t, "GET", "/log/"+path+"/shards", nil, 200)
}

// fillRights puts marks into what people may, and why.
func (s *server) fillRights(t *testing.T, zoe *client.Client) {
	t.Helper()
	ctx, c := t.Context(), s.client
	for _, g := range []api.GrantRequest{
		{User: "zoe", Right: "view", Process: "canary", Where: &api.Where{Path: "person.id", Value: mark("grant-value")}, Reason: mark("reason-grant")},
		{User: "zoe", Right: "reveal", Process: "canary", Fields: []string{"*"}, Purpose: mark("grant-purpose")},
	} {
		_, err := c.GiveGrant(ctx, g)
		ok(t, err)
	}
	_, err := c.For(mark("purpose")).Instance(ctx, s.instance)
	ok(t, err)
	hold, err := c.PlaceHold(ctx, api.HoldRequest{Kind: "instance", ID: s.instance, Reason: mark("reason-hold")})
	ok(t, err)
	_, err = c.ReleaseHold(ctx, hold.ID)
	ok(t, err)
	later := 3_600_000
	order, err := c.OrderErasure(ctx, api.ErasureRequest{Kind: "subject", ID: mark("subject"), Reason: mark("reason-erasure"), DelayMS: &later})
	ok(t, err)
	_, err = c.CancelErasure(ctx, order.ID)
	ok(t, err)
	glass, err := zoe.RequestBreakGlass(ctx, api.BreakGlassRequest{Process: "canary", Reason: mark("reason-glass"), LastsMS: 60_000})
	ok(t, err)
	_, err = zoe.EndBreakGlass(ctx, glass.ID, mark("reason-glass-end")) // nobody is here long enough to approve it
	ok(t, err)
	_, err = c.SetIssuer(ctx, "corp", api.IssuerRequest{
		Kind: "people", URL: "https://corp.example.org", Client: mark("issuer-client"), Secret: mark("issuer-secret"),
	})
	ok(t, err)
	_, err = c.SetPolicies(ctx, api.PoliciesRequest{Reason: mark("reason-policy"), Text: `@id("nobody") forbid (principal, action, resource) when { principal.name == "` + mark("policy") + `" };`})
	ok(t, err)
	if _, err := c.PlaceHold(ctx, api.HoldRequest{Kind: "subject", ID: mark("erased-person")}); err != nil {
		t.Logf("nobody of that name: %v", err)
	}
}

// cookie signs in as a browser does, and calls with what it was given.
func (s *server) cookie(t *testing.T, secret func(string) string) {
	t.Helper()
	body := `{"tenant": "main", "name": "zoe", "password": "` + mark("new-password") + `", "cookie": true}`
	req, err := http.NewRequestWithContext(t.Context(), "POST", s.url+"/v1/sessions", strings.NewReader(body))
	ok(t, err)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultTransport.RoundTrip(req)
	ok(t, err)
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	ok(t, err)
	cookies := res.Cookies()
	if len(cookies) != 1 {
		t.Fatalf("%d cookies with %d %s", len(cookies), res.StatusCode, answer)
	}
	_, text, found := strings.Cut(cookies[0].Value, "uss_")
	if !found {
		t.Fatal("the cookie holds no session")
	}
	if secret("uss_" + text); bytes.Contains(answer, []byte(text)) {
		t.Error("the answer holds what the cookie does")
	}
}

// agent sends requests as a browser with a mark in its name does.
type agent struct{}

func (agent) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("User-Agent", mark("user-agent"))
	return http.DefaultTransport.RoundTrip(r)
}
