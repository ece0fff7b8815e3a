// Package oidc_test has people sign in with a real OpenID provider, oidc-provider on Node,
// in a real browser, headless Chromium. It is a module of its own, so that what drives the
// browser never becomes a dependency of the program.
package oidc_test

import (
	"bufio"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	cdpnetwork "github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/network"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/oidc"
	"github.com/underseal/underseal/internal/server"
	"github.com/underseal/underseal/internal/testenv"
)

const (
	secret   = "a-secret-of-the-client-and-a-long-one"
	audience = "https://seal.example.org"
)

// account is what the provider knows of somebody, by its claims.
type account struct {
	Name   string   `json:"preferred_username"`
	Groups []string `json:"groups"`
}

// company is one on a server of ours whose people sign in at a real provider.
type company struct {
	*testing.T
	env    *testenv.Env
	server *httptest.Server
	issuer string // the provider's address
	input  io.Writer
	output *bufio.Reader
	ahead  atomic.Int64 // nanoseconds that the clock of who asks the provider is ahead
	bin    string       // where the program is, once it was built
}

func newCompany(t *testing.T, accounts map[string]account) *company {
	t.Helper()
	loopback, err := network.Parse([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	c := &company{T: t}
	c.env = testenv.New(t, func(n *node.Config) {
		n.Issuers = oidc.New(oidc.Config{Networks: loopback, Now: func() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }})
	})
	s, err := server.New(server.Config{Engine: c.env.Engine})
	if err != nil {
		t.Fatal(err)
	}
	c.server = httptest.NewTLSServer(s)
	t.Cleanup(c.server.Close)
	c.startProvider(accounts)
	return c
}

// startProvider starts the provider, which ends with its input.
func (c *company) startProvider(accounts map[string]account) {
	c.Helper()
	own := c.server.URL + "/v1/login/main/corp"
	settings, err := json.Marshal(map[string]any{
		"audience": audience, "accounts": accounts,
		"clients": []map[string]any{{
			"client_id": "underseal", "client_secret": secret, "redirect_uris": []string{own + "/done"}, "scope": "openid profile groups",
			"backchannel_logout_uri": own + "/logout", "backchannel_logout_session_required": true,
		}, {
			"client_id": "robot", "client_secret": secret, "redirect_uris": []string{}, "response_types": []string{}, "grant_types": []string{"client_credentials"},
		}},
	})
	if err != nil {
		c.Fatal(err)
	}
	authority := filepath.Join(c.TempDir(), "server.pem") // whom the provider believes when it calls here
	if err := os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.server.Certificate().Raw}), 0o600); err != nil {
		c.Fatal(err)
	}
	p := exec.CommandContext(c.Context(), nodeBinary(c.T), "provider.mjs", string(settings))
	p.Env, p.Stderr = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+authority), os.Stderr
	input, err := p.StdinPipe()
	if err != nil {
		c.Fatal(err)
	}
	output, err := p.StdoutPipe()
	if err != nil {
		c.Fatal(err)
	}
	if err := p.Start(); err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { _ = input.Close(); _ = p.Wait() }) // how it ends is nobody's matter
	c.input, c.output = input, bufio.NewReader(output)
	c.issuer = c.line()
}

// nodeBinary is the Node of the lock file.
func nodeBinary(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob("node_modules/node-linux-*/bin/node")
	if err != nil || len(found) != 1 {
		t.Fatalf("node is found %d times, %v; \"npm ci\" in test/oidc gets it", len(found), err)
	}
	path, err := filepath.Abs(found[0])
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// line is the next line of the provider.
func (c *company) line() string {
	c.Helper()
	line, err := c.output.ReadString('\n')
	if err != nil {
		c.Fatalf("the provider ended: %v", err)
	}
	return strings.TrimSpace(line)
}

// rotate has the provider take other keys, which are looked for every ten seconds at most.
func (c *company) rotate() {
	c.Helper()
	if _, err := io.WriteString(c.input, "rotate\n"); err != nil {
		c.Fatal(err)
	}
	if got := c.line(); got != "rotated" {
		c.Fatalf("the provider says %q", got)
	}
	c.ahead.Add(int64(10 * time.Second))
}

func (c *company) setIssuer(id string, in api.IssuerRequest) {
	c.Helper()
	if in.URL == "" {
		in.URL = c.issuer
	}
	if _, err := c.env.Engine.SetIssuer(c.Context(), c.env.Ann, id, in, ""); err != nil {
		c.Fatal(err)
	}
}

// people are signed in by the provider, and its leads are clerks here.
func (c *company) people() {
	c.Helper()
	if _, err := c.env.Engine.CreateGroup(c.Context(), c.env.Ann, api.GroupRequest{Name: "clerks"}, ""); err != nil {
		c.Fatal(err)
	}
	c.setIssuer("corp", api.IssuerRequest{
		Kind: "people", Client: "underseal", Secret: secret, Scopes: []string{"profile", "groups"}, GroupClaim: "groups", Creates: true,
		Given: []api.IssuerGroup{{Group: "leads", Groups: []string{"clerks"}, Roles: []string{"Designer"}}},
	})
}

// browser is a new one, of a person of its own.
func (c *company) browser() context.Context {
	c.Helper()
	found, err := exec.LookPath("chromium")
	if err != nil {
		c.Fatalf("%v; test/setup installs it", err)
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(found), chromedp.NoSandbox, chromedp.Flag("ignore-certificate-errors", true), chromedp.UserDataDir(c.TempDir()))
	ctx, cancel := context.WithTimeout(c.Context(), 2*time.Minute)
	c.Cleanup(cancel)
	ctx, closes := chromedp.NewExecAllocator(ctx, options...)
	c.Cleanup(closes)
	ctx, cancel = chromedp.NewContext(ctx)
	c.Cleanup(cancel)
	return ctx
}

// do has a browser do something.
func (c *company) do(browser context.Context, what string, actions ...chromedp.Action) {
	c.Helper()
	if err := chromedp.Run(browser, actions...); err != nil {
		c.Fatalf("%s: %v", what, err)
	}
}

// begin opens the address where people sign in; in the end the browser shows who they are.
func (c *company) begin() chromedp.Action {
	return chromedp.Navigate(c.server.URL + "/v1/login/main/corp?to=/v1/me")
}

// enter fills in the provider's form.
func enter(name string) chromedp.Action {
	return chromedp.Tasks{
		chromedp.WaitVisible(`input[name=login]`), chromedp.SendKeys(`input[name=login]`, name),
		chromedp.SendKeys(`input[name=password]`, "any"), chromedp.Submit(`input[name=password]`),
	}
}

// me is what the browser shows in the end. It goes from page to page until then, and a page
// that it leaves cannot be asked.
func (c *company) me(browser context.Context) (me api.Me) {
	c.Helper()
	const shown = `location.pathname == "/v1/me" && document.readyState == "complete" ? document.body.innerText : ""`
	var text string
	var err error
	for range 3000 {
		if err = chromedp.Run(browser, chromedp.Evaluate(shown, &text)); err == nil && text != "" {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if bad := json.Unmarshal([]byte(text), &me); bad != nil || me.User == "" {
		c.Fatalf("the browser shows %q, %v", text, err)
	}
	return me
}

// signedIn reports whether the browser is signed in here.
func (c *company) signedIn(browser context.Context) bool {
	c.Helper()
	answer, err := chromedp.RunResponse(browser, chromedp.Navigate(c.server.URL+"/v1/me"))
	if err != nil {
		c.Fatal(err)
	}
	return answer.Status == http.StatusOK
}

func TestPeopleSignInWithARealProvider(t *testing.T) {
	c := newCompany(t, map[string]account{"zoe": {"zoe.berg", []string{"leads", "all"}}, "bob": {"bob", nil}})
	c.people()
	if _, err := c.env.Engine.InviteUser(t.Context(), c.env.Ann, api.UserRequest{Name: "zoe", Kind: "user", Roles: []string{"Viewer"}}, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := c.env.Engine.LinkUser(t.Context(), c.env.Ann, "zoe", api.LinkRequest{Issuer: "corp", Subject: "zoe"}, ""); err != nil {
		t.Fatal(err)
	}
	zoe, bob := c.browser(), c.browser()
	c.do(zoe, "sign zoe in", c.begin(), enter("zoe"))
	if me := c.me(zoe); me.User != "zoe" || !slices.Equal(me.Groups, []string{"clerks"}) || !slices.Contains(me.Roles, "Designer") || !slices.Contains(me.Roles, "Viewer") {
		t.Errorf("signed in is %+v", me)
	}
	c.do(bob, "sign bob in, whom nobody invited", c.begin(), enter("bob"))
	if me := c.me(bob); me.User != "bob" || len(me.Roles) != 0 {
		t.Errorf("signed in is %+v", me)
	}

	// The provider takes other keys, by which who comes next is signed in.
	c.rotate()
	again := c.browser()
	c.do(again, "sign zoe in once more", c.begin(), enter("zoe"))
	if me := c.me(again); me.User != "zoe" {
		t.Errorf("signed in is %+v", me)
	}

	// Who signs out at the provider is signed out here, in that browser and no other.
	c.do(again, "sign zoe out at the provider", chromedp.Navigate(c.issuer+"/session/end"), chromedp.Click(`button[name=logout]`))
	c.ends("zoe", 1)
	if c.signedIn(again) || !c.signedIn(zoe) || !c.signedIn(bob) {
		t.Errorf("signed in are zoe: %v, after the sign-out: %v, bob: %v", c.signedIn(zoe), c.signedIn(again), c.signedIn(bob))
	}
}

// ends waits until somebody has so many sessions.
func (c *company) ends(user string, sessions int) {
	c.Helper()
	for range 1000 {
		all, err := c.env.Engine.Sessions(c.Context(), c.env.Ann, user, engine.Page{})
		if err != nil {
			c.Fatal(err)
		}
		if len(all.Items) == sessions {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.Fatalf("%s does not come to have %d sessions", user, sessions)
}

// An answer that the provider gave one browser is nothing in another, and nothing once more.
func TestAnAnswerOfARealProviderIsOneBrowsers(t *testing.T) {
	c := newCompany(t, map[string]account{"zoe": {"zoe", nil}})
	c.people()
	var answer string
	zoe, eve := c.browser(), c.browser()
	chromedp.ListenTarget(zoe, func(event any) {
		if sent, ok := event.(*cdpnetwork.EventRequestWillBeSent); ok && strings.Contains(sent.Request.URL, "/done?") {
			answer = sent.Request.URL
		}
	})
	c.do(zoe, "sign zoe in", cdpnetwork.Enable(), c.begin(), enter("zoe"))
	if me := c.me(zoe); me.User != "zoe" {
		t.Fatalf("signed in is %+v", me)
	}
	if u, err := url.Parse(answer); err != nil || u.Query().Get("code") == "" || u.Query().Get("iss") != c.issuer {
		t.Fatalf("the answer is %q, %v", answer, err)
	}
	c.do(eve, "begin in another browser", c.begin(), chromedp.WaitVisible(`input[name=login]`))
	for name, browser := range map[string]context.Context{"the same browser": zoe, "another one": eve} {
		got, err := chromedp.RunResponse(browser, chromedp.Navigate(answer))
		if err != nil || got.Status != http.StatusUnauthorized {
			t.Errorf("%s brings the answer again: %+v, %v", name, got, err)
		}
	}
	if c.signedIn(eve) || !c.signedIn(zoe) {
		t.Errorf("signed in: eve %v, zoe %v; want zoe alone", c.signedIn(eve), c.signedIn(zoe))
	}
}

// A service calls with an access token that it gets by client credentials, also by a key
// that the provider has taken since.
func TestAServiceCallsWithATokenOfARealProvider(t *testing.T) {
	c := newCompany(t, nil)
	c.setIssuer("robots", api.IssuerRequest{Kind: "services", Audiences: []string{audience}})
	if _, err := c.env.Engine.InviteUser(t.Context(), c.env.Ann, api.UserRequest{Name: "robot", Kind: "service", Roles: []string{"Executor"}}, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := c.env.Engine.LinkUser(t.Context(), c.env.Ann, "robot", api.LinkRequest{Issuer: "robots", Subject: "robot"}, ""); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"first", "second"} {
		cl, err := client.New(client.Config{URL: c.server.URL, Tenant: "main", Token: c.token, HTTPClient: c.server.Client()})
		if err != nil {
			t.Fatal(err)
		}
		me, err := cl.Me(t.Context())
		if err != nil || me.User != "robot" || !slices.Equal(me.Scopes, []string{"job:*"}) {
			t.Errorf("by the %s key: %+v, %v", key, me, err)
		}
		c.rotate()
	}
}

// token gets an access token.
func (c *company) token(ctx context.Context) (string, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"underseal:job:*"}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.issuer+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("robot", url.QueryEscape(secret))
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	var got struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil || got.Token == "" {
		return "", fmt.Errorf("no token (status %d): %w", answer.StatusCode, err)
	}
	return got.Token, nil
}
