package client

import (
	"context"
	"errors"
	"net/http"

	"github.com/underseal/underseal/api"
)

// SignIn signs somebody in by their password and returns the session, whose text the
// answer alone holds; it takes the place of an API key in a Config. The configuration
// needs no key.
func SignIn(ctx context.Context, config Config, in api.SignInRequest) (api.NewSession, error) {
	r := send("POST", "/v1/sessions", in)
	r.tries = 1
	return stranger[api.NewSession](ctx, config, r)
}

// CheckLogin asks whether people of a company can sign in now at its OpenID provider of a
// name; nil: they can. A server tells that whoever names both, as it does a browser.
func CheckLogin(ctx context.Context, config Config, tenant, issuer string) error {
	r := get("/v1/login/{tenant}/{issuer}", tenant, issuer)
	r.tries = 1
	_, err := stranger[struct{}](ctx, config, r)
	var answer *Error
	if errors.As(err, &answer) && answer.Status == http.StatusSeeOther { // where a browser would go on
		return nil
	}
	return err
}

// RedeemLogin signs in by what a browser brought from a company's OpenID provider, and
// returns the session as SignIn does.
func RedeemLogin(ctx context.Context, config Config, tenant, issuer string, in api.LoginRedemption) (api.NewSession, error) {
	r := send("POST", "/v1/login/{tenant}/{issuer}/session", in, tenant, issuer)
	r.tries = 1 // a code counts once
	return stranger[api.NewSession](ctx, config, r)
}

// stranger makes a call without a credential.
func stranger[T any](ctx context.Context, config Config, r request) (out T, err error) {
	config.Key = "none" // stands in for the key that there is not yet; it is not sent
	c, err := New(config)
	if err != nil {
		return out, err
	}
	r.bare = true
	return call[T](ctx, c, r)
}

// SignOut ends the session that the client is signed in by.
func (c *Client) SignOut(ctx context.Context) (api.Session, error) {
	return call[api.Session](ctx, c, send("POST", "/v1/me/sign-out", nil))
}

// Verify proves once more who is signed in. The answer's session takes the place of the
// client's, which ends.
func (c *Client) Verify(ctx context.Context, password string) (api.NewSession, error) {
	r := send("POST", "/v1/me/verify", api.VerifyRequest{Password: password})
	r.tries = 1 // after the first the session is another one
	return call[api.NewSession](ctx, c, r)
}

// SetPassword sets one's own password. All sessions end; a client that is signed in by one
// gets another.
func (c *Client) SetPassword(ctx context.Context, in api.PasswordRequest) (api.PasswordSet, error) {
	r := send("PUT", "/v1/me/password", in)
	r.tries = 1
	return call[api.PasswordSet](ctx, c, r)
}

// ResetPassword makes a link by which somebody sets another password. The answer alone
// holds it.
func (c *Client) ResetPassword(ctx context.Context, name, reason string) (api.Invited, error) {
	return call[api.Invited](ctx, c, send("POST", "/v1/users/{user}/reset-password", api.ReasonRequest{Reason: reason}, name))
}

// Sessions lists where a user, or anybody, is signed in.
func (c *Client) Sessions(ctx context.Context, q api.SessionsQuery) (api.Sessions, error) {
	return call[api.Sessions](ctx, c, get("/v1/sessions").with("user", q.User, "after", q.After, "limit", number(q.Limit)))
}

// RevokeSession ends a session, at once.
func (c *Client) RevokeSession(ctx context.Context, id string) (api.Session, error) {
	return call[api.Session](ctx, c, send("POST", "/v1/sessions/{session}/revoke", nil, id))
}

// EndUserSessions ends all sessions of somebody, at once.
func (c *Client) EndUserSessions(ctx context.Context, name, reason string) (api.User, error) {
	return call[api.User](ctx, c, send("POST", "/v1/users/{user}/end-sessions", api.ReasonRequest{Reason: reason}, name))
}

// EndAllSessions ends all sessions of the client's company, at once.
func (c *Client) EndAllSessions(ctx context.Context, reason string) (api.Tenant, error) {
	return call[api.Tenant](ctx, c, send("POST", "/v1/sessions/end", api.ReasonRequest{Reason: reason}))
}
