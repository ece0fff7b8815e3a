package oidc_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/passkey"
	"github.com/underseal/underseal/internal/server"
	"github.com/underseal/underseal/internal/testenv"
)

// newCompanyWithPasskeys is a company at a name that a browser gives passkeys to. There is
// no TLS: on a page whose certificate it does not know a browser makes none.
func newCompanyWithPasskeys(t *testing.T) (c *company, address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = fmt.Sprintf("http://localhost:%d", listener.Addr().(*net.TCPAddr).Port)
	c = &company{T: t}
	c.env = testenv.New(t, func(n *node.Config) {
		n.Passkeys = passkey.RelyingParty{ID: "localhost", Origins: []string{address}}
	})
	s, err := server.New(server.Config{Engine: c.env.Engine})
	if err != nil {
		t.Fatal(err)
	}
	c.server = httptest.NewUnstartedServer(s)
	c.server.Listener.Close()
	c.server.Listener = listener
	c.server.Start()
	t.Cleanup(c.server.Close)
	return c, address
}

// call is what a page needs to ask our API.
const call = `const call = async (path, body) => {
	const answer = await fetch(path, {method: body ? "POST" : "GET", body: body && JSON.stringify(body), headers: body ? {"Content-Type": "application/json"} : {}});
	const got = await answer.json();
	if (!answer.ok) throw new Error(path + ": " + JSON.stringify(got));
	return got;
};
`

// onPage runs a script on the page that a browser shows, and reads what it returns.
func onPage(script string, into any) chromedp.Action {
	return chromedp.Evaluate("(async () => {"+call+script+"})()", into, func(p *runtime.EvaluateParams) *runtime.EvaluateParams {
		return p.WithAwaitPromise(true)
	})
}

// A person registers a passkey with a real browser, by a password, and signs in by it.
func TestABrowsersPasskeySignsIn(t *testing.T) {
	c, address := newCompanyWithPasskeys(t)
	invited, err := c.env.Engine.InviteUser(t.Context(), c.env.Ann, api.UserRequest{Name: "zoe", Kind: "user"}, "")
	if err != nil {
		t.Fatal(err)
	}
	const password = "four walls and a blue door"
	if _, err := c.env.Engine.Setup(t.Context(), api.SetupRequest{Link: invited.Link, Password: password}, "127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	zoe := c.browser()
	c.do(zoe, "give the browser an authenticator", page.SetBypassCSP(true), webauthn.Enable(), chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := webauthn.AddVirtualAuthenticator(&webauthn.VirtualAuthenticatorOptions{
			Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
			HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
		}).Do(ctx)
		return err
	}))
	var registered api.Passkey
	c.do(zoe, "register a passkey", chromedp.Navigate(address+"/healthz"), onPage(`
		await call("/v1/sessions", {tenant: "main", name: "zoe", password: "`+password+`", cookie: true});
		const asked = await call("/v1/me/passkeys/begin", {});
		const made = await navigator.credentials.create({publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(asked.public_key)});
		const {response} = made.toJSON();
		const kept = await call("/v1/me/passkeys", {name: "laptop", client_data: response.clientDataJSON, attestation: response.attestationObject});
		await call("/v1/me/sign-out", {});
		return kept;`, &registered))
	if registered.Name != "laptop" || registered.Signer == "" {
		t.Errorf("registered is %+v", registered)
	}
	var in struct {
		Session api.NewSession
		Me      api.Me
	}
	const signIn = `
		const asked = await call("/v1/sessions/passkey/begin", {});
		const found = await navigator.credentials.get({publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(asked.public_key)});
		const {id, response} = found.toJSON();
		const session = await call("/v1/sessions/passkey", {cookie: true, user: response.userHandle,
			answer: {id, client_data: response.clientDataJSON, authenticator_data: response.authenticatorData, signature: response.signature}});
		return {session, me: await call("/v1/me")};`
	c.do(zoe, "sign in by the passkey", onPage(signIn, &in))
	if in.Me.User != "zoe" || in.Session.How != "passkey" || !in.Session.Cookie || in.Session.Text != "" {
		t.Errorf("signed in is %+v", in)
	}
	// At another origin the browser gives no answer, whatever our API asks.
	var elsewhere json.RawMessage
	err = chromedp.Run(zoe, chromedp.Navigate(strings.Replace(address, "localhost", "127.0.0.1", 1)+"/healthz"), onPage(signIn, &elsewhere))
	if err == nil || !strings.Contains(err.Error(), "SecurityError") && !strings.Contains(err.Error(), "domain") {
		t.Errorf("at another name: %s, %v", elsewhere, err)
	}
}
