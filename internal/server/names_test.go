package server_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/testenv"
)

// byTheServer are the variables of paths that the server makes itself.
var byTheServer = []string{
	"task", "job", "incident", "grant", "key", "passkey", "deployment", "breakglass", "file",
	"instance", "erasure", "hold", "reader", "session",
}

// TestWhatIsNamedIsReached gives names that mean something else in a path to everything
// that a path of the API's description names: they are refused, or what is called so is
// reached by them. Somebody whom no request reaches could never be revoked.
func TestWhatIsNamedIsReached(t *testing.T) {
	env := testenv.New(t, nil)
	handler, ctx, e, ann := newServer(t, env.Engine), t.Context(), env.Engine, env.Ann
	seed := make([]byte, ed25519.SeedSize)
	named := map[string]struct {
		path string // that changes nothing, or with what is refused
		name func(name string) error
	}{
		"user": {"GET /v1/users/{user}", func(name string) error {
			_, err := e.InviteUser(ctx, ann, api.UserRequest{Name: name, Kind: "service", Roles: []string{"Viewer"}}, "")
			return err
		}},
		"group": {"POST /v1/groups/{group}/delete", func(name string) error {
			_, err := e.CreateGroup(ctx, ann, api.GroupRequest{Name: name}, "")
			return err
		}},
		"issuer": {"POST /v1/issuers/{issuer}/remove", func(name string) error {
			_, err := e.SetIssuer(ctx, ann, name, api.IssuerRequest{Kind: "services", URL: "https://login.example.org/" + url.PathEscape(name), Audiences: []string{"seal"}}, "")
			return err
		}},
		"signer": {"POST /v1/signers/{signer}/revoke", func(name string) error {
			seed[0]++
			public := base64.StdEncoding.EncodeToString(ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey))
			_, err := e.RegisterSigner(ctx, ann, api.SignerRequest{Name: name, Principal: "ann", Alg: "ed25519", Public: public}, "")
			return err
		}},
		"tenant": {"POST /v1/tenants/{tenant}/disable", func(name string) error {
			_, err := e.CreateTenant(ctx, ann, api.TenantRequest{Name: name}, "")
			return err
		}},
		"process": {"GET /v1/processes/{process}", func(name string) error {
			model := strings.Replace(matrixModel, `id="claim"`, `id="`+name+`"`, 1)
			_, err := e.Deploy(ctx, ann, []api.File{{Name: "x.bpmn", Content: []byte(model)}}, "")
			return err
		}},
	}
	for path := range readSpec(t).Paths {
		for _, part := range strings.Split(path, "/") {
			if name, ok := strings.CutPrefix(part, "{"); ok {
				if name = strings.TrimSuffix(name, "}"); named[name].path == "" && !slices.Contains(byTheServer, name) {
					t.Errorf("%s: who names a %s? A name that is given is tried here", path, name)
				}
			}
		}
	}
	good := 0
	for _, kind := range slices.Sorted(maps.Keys(named)) {
		for _, name := range []string{".", "..", "/", "a/", "/a", "a//b", "a/../b", "./a", "a/.", "a\x7fb", "a\u0085b", "%2e%2e", "a.b", "...", "a-b"} {
			if err := named[kind].name(name); err != nil {
				continue
			}
			good++
			method, path, _ := strings.Cut(named[kind].path, " ")
			target, err := url.Parse("http://here/")
			if err != nil {
				t.Fatal(err)
			}
			target = target.JoinPath(strings.Replace(path, "{"+kind+"}", url.PathEscape(name), 1)) // as the client does
			r := request(method, "/", "")
			r.URL = target
			r.Header.Set("Authorization", "Bearer "+env.Key())
			if w := serve(handler, r); w.Code != http.StatusOK {
				t.Errorf("a %s was named %q, and %s answers %d %s", kind, name, named[kind].path, w.Code, w.Body)
			}
		}
	}
	if good < 10 {
		t.Errorf("%d names were taken", good)
	}
}
