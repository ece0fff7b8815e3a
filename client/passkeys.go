package client

import (
	"context"

	"github.com/underseal/underseal/api"
)

// BeginPasskeySignIn asks what a browser is to ask a passkey, to sign in by it. The
// configuration needs no key.
func BeginPasskeySignIn(ctx context.Context, config Config) (api.PasskeyQuestion, error) {
	return stranger[api.PasskeyQuestion](ctx, config, send("POST", "/v1/sessions/passkey/begin", nil))
}

// SignInByPasskey signs in whose passkey has answered, and returns the session as SignIn
// does.
func SignInByPasskey(ctx context.Context, config Config, in api.PasskeySignInRequest) (api.NewSession, error) {
	r := send("POST", "/v1/sessions/passkey", in)
	r.tries = 1 // a question is answered once
	return stranger[api.NewSession](ctx, config, r)
}

// BeginVerify asks what a browser is to ask the passkeys of who is signed in.
func (c *Client) BeginVerify(ctx context.Context) (api.PasskeyQuestion, error) {
	return call[api.PasskeyQuestion](ctx, c, send("POST", "/v1/me/verify/begin", nil))
}

// VerifyByPasskey is Verify by a passkey instead of the password.
func (c *Client) VerifyByPasskey(ctx context.Context, answer api.PasskeyAnswer) (api.NewSession, error) {
	r := send("POST", "/v1/me/verify", api.VerifyRequest{Passkey: &answer})
	r.tries = 1 // after the first the session is another one
	return call[api.NewSession](ctx, c, r)
}

// BeginPasskey asks what a browser is to make a passkey by.
func (c *Client) BeginPasskey(ctx context.Context) (api.PasskeyCeremony, error) {
	return call[api.PasskeyCeremony](ctx, c, send("POST", "/v1/me/passkeys/begin", nil))
}

// RegisterPasskey registers a passkey that a browser has made.
func (c *Client) RegisterPasskey(ctx context.Context, in api.PasskeyRequest) (api.Passkey, error) {
	r := send("POST", "/v1/me/passkeys", in)
	r.tries = 1 // a question is answered once
	return call[api.Passkey](ctx, c, r)
}

// RemovePasskey takes a passkey from its person, at once. User lists them.
func (c *Client) RemovePasskey(ctx context.Context, id, reason string) (api.Passkey, error) {
	return call[api.Passkey](ctx, c, send("POST", "/v1/passkeys/{passkey}/remove", api.ReasonRequest{Reason: reason}, id))
}

// Statement asks for what a person signs with a passkey, for CompleteSignedTask.
func (c *Client) Statement(ctx context.Context, task string, in api.StatementRequest) (api.Statement, error) {
	return call[api.Statement](ctx, c, send("POST", "/v1/tasks/{task}/statement", in, task))
}

// CompleteSignedTask is CompleteTask with the person's signature.
func (c *Client) CompleteSignedTask(ctx context.Context, id string, in api.CompleteTaskRequest) (api.Receipt, error) {
	return call[api.Receipt](ctx, c, send("POST", "/v1/tasks/{task}/complete", in, id))
}
