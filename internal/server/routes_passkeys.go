package server

import (
	"context"

	"github.com/underseal/underseal/api"
)

// passkeyRoutes are about passkeys: making, asking and removing them.
func (s *Server) passkeyRoutes() []*operation {
	e, tag := s.engine, "passkeys"
	beginSignIn := newOperation("POST", "/v1/sessions/passkey/begin", "beginPasskeySignIn", tag, "Ask what a browser is to ask a passkey, to sign in by it",
		func(ctx context.Context, _ *exchange, _ none) (api.PasskeyQuestion, error) {
			return e.BeginPasskeySignIn(ctx)
		})
	signIn := newOperation("POST", "/v1/sessions/passkey", "signInByPasskey", tag, "Sign in by passkey",
		func(ctx context.Context, x *exchange, in api.PasskeySignInRequest) (api.NewSession, error) {
			out, err := e.SignInByPasskey(ctx, in, x.from(in.Cookie))
			return x.seated(out), err
		})
	beginSignIn.public, signIn.public = true, true
	beginVerify := newOperation("POST", "/v1/me/verify/begin", "beginVerify", tag, "Ask what a browser is to ask one's passkeys, to prove once more who one is",
		func(ctx context.Context, x *exchange, _ none) (api.PasskeyQuestion, error) {
			return e.BeginVerify(ctx, x.caller)
		})
	begin := newOperation("POST", "/v1/me/passkeys/begin", "beginPasskey", tag, "Ask what a browser is to make a passkey by",
		func(ctx context.Context, x *exchange, _ none) (api.PasskeyCeremony, error) {
			return e.BeginPasskey(ctx, x.caller)
		})
	register := newOperation("POST", "/v1/me/passkeys", "registerPasskey", tag, "Register a passkey that a browser has made",
		func(ctx context.Context, x *exchange, in api.PasskeyRequest) (api.Passkey, error) {
			return e.RegisterPasskey(ctx, x.caller, in)
		})
	remove := newOperation("POST", "/v1/passkeys/{passkey}/remove", "removePasskey", tag, "Take a passkey from its person, at once",
		func(ctx context.Context, x *exchange, in api.ReasonRequest) (api.Passkey, error) {
			return e.RemovePasskey(ctx, x.caller, x.id, in, x.idem)
		})
	beginVerify.proves, begin.proves, register.proves = true, true, true
	for _, o := range []*operation{beginSignIn, signIn, beginVerify, begin, register} {
		o.unkeyed = true // each question is another, and is answered once
	}
	return []*operation{beginSignIn, signIn, beginVerify, begin, register, remove}
}

// statementRoute gives out what a person is to sign.
func (s *Server) statementRoute() *operation {
	statement := newOperation("POST", "/v1/tasks/{task}/statement", "getStatement", "tasks", "Ask for the statement by which one signs what one is about to enter",
		func(ctx context.Context, x *exchange, in api.StatementRequest) (api.Statement, error) {
			return s.engine.Statement(ctx, x.caller, x.id, in)
		})
	statement.unkeyed = true // it changes nothing
	return statement
}
