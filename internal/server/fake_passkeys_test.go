package server_test

import (
	"context"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/identity"
)

func (e *fakeEngine) BeginPasskeySignIn(context.Context) (api.PasskeyQuestion, error) {
	_, err := e.note("BeginPasskeySignIn", identity.Caller{}, "", "", nil)
	return api.PasskeyQuestion{}, err
}

func (e *fakeEngine) SignInByPasskey(_ context.Context, in api.PasskeySignInRequest, from engine.From) (api.NewSession, error) {
	_, err := e.note("SignInByPasskey", identity.Caller{Address: from.Address}, from.Host, from.Former, in)
	return newSession(from), err
}

func (e *fakeEngine) BeginVerify(_ context.Context, c identity.Caller) (api.PasskeyQuestion, error) {
	_, err := e.note("BeginVerify", c, "", "", nil)
	return api.PasskeyQuestion{}, err
}

func (e *fakeEngine) BeginPasskey(_ context.Context, c identity.Caller) (api.PasskeyCeremony, error) {
	_, err := e.note("BeginPasskey", c, "", "", nil)
	return api.PasskeyCeremony{}, err
}

func (e *fakeEngine) RegisterPasskey(_ context.Context, c identity.Caller, in api.PasskeyRequest) (api.Passkey, error) {
	_, err := e.note("RegisterPasskey", c, "", "", in)
	return api.Passkey{}, err
}

func (e *fakeEngine) RemovePasskey(_ context.Context, c identity.Caller, id string, in api.ReasonRequest, idem string) (api.Passkey, error) {
	_, err := e.note("RemovePasskey", c, id, idem, in)
	return api.Passkey{}, err
}

func (e *fakeEngine) Statement(_ context.Context, c identity.Caller, id string, in api.StatementRequest) (api.Statement, error) {
	_, err := e.note("Statement", c, id, "", in)
	return api.Statement{}, err
}

func (e *fakeEngine) CompleteSignedTask(_ context.Context, c identity.Caller, id string, in api.CompleteTaskRequest, idem string) (api.Receipt, error) {
	return e.note("CompleteTask", c, id, idem, string(in.Variables))
}
