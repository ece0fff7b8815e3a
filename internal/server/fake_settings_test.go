package server_test

import (
	"context"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/identity"
)

func (e *fakeEngine) Settings(_ context.Context, c identity.Caller) (api.Settings, error) {
	_, err := e.note("Settings", c, "", "", nil)
	return api.Settings{}, err
}

func (e *fakeEngine) SetNetworks(_ context.Context, c identity.Caller, in api.NetworksRequest, idem string) (api.Settings, error) {
	_, err := e.note("SetNetworks", c, "", idem, in)
	return api.Settings{}, err
}

func (e *fakeEngine) SetLimits(_ context.Context, c identity.Caller, in api.LimitsRequest, idem string) (api.Settings, error) {
	_, err := e.note("SetLimits", c, "", idem, in)
	return api.Settings{}, err
}

func (e *fakeEngine) SetFourEyes(_ context.Context, c identity.Caller, in api.FourEyesRequest, idem string) (api.Settings, error) {
	_, err := e.note("SetFourEyes", c, "", idem, in)
	return api.Settings{}, err
}

func (e *fakeEngine) RequirePasskeys(_ context.Context, c identity.Caller, in api.RequirePasskeyRequest, idem string) (api.Settings, error) {
	_, err := e.note("RequirePasskeys", c, "", idem, in)
	return api.Settings{RequirePasskey: "none"}, err
}

func (e *fakeEngine) Policies(_ context.Context, c identity.Caller) (api.Policies, error) {
	_, err := e.note("Policies", c, "", "", nil)
	return api.Policies{}, err
}

func (e *fakeEngine) SetPolicies(_ context.Context, c identity.Caller, in api.PoliciesRequest, idem string) (api.Policies, error) {
	_, err := e.note("SetPolicies", c, "", idem, in)
	return api.Policies{}, err
}

func (e *fakeEngine) TestPolicies(_ context.Context, c identity.Caller, in api.PoliciesTestRequest) (api.PoliciesTest, error) {
	_, err := e.note("TestPolicies", c, "", "", in)
	return api.PoliciesTest{}, err
}

func (e *fakeEngine) Explain(_ context.Context, c identity.Caller, q api.ExplainQuery) (api.Explanation, error) {
	_, err := e.note("Explain", c, "", "", q)
	return api.Explanation{}, err
}

func (e *fakeEngine) Proposals(_ context.Context, c identity.Caller) (api.Proposals, error) {
	_, err := e.note("Proposals", c, "", "", nil)
	return api.Proposals{}, err
}

func (e *fakeEngine) Proposal(_ context.Context, c identity.Caller, id string) (api.Proposal, error) {
	_, err := e.note("Proposal", c, id, "", nil)
	return api.Proposal{}, err
}

func (e *fakeEngine) ApproveDeployment(_ context.Context, c identity.Caller, id string, in api.ReasonRequest) (api.Deployment, error) {
	_, err := e.note("ApproveDeployment", c, id, "", in)
	return api.Deployment{}, err
}

func (e *fakeEngine) WithdrawDeployment(_ context.Context, c identity.Caller, id string, in api.ReasonRequest) (api.Proposal, error) {
	_, err := e.note("WithdrawDeployment", c, id, "", in)
	return api.Proposal{}, err
}

func (e *fakeEngine) BreakGlasses(_ context.Context, c identity.Caller) (api.BreakGlasses, error) {
	_, err := e.note("BreakGlasses", c, "", "", nil)
	return api.BreakGlasses{}, err
}

func (e *fakeEngine) RequestBreakGlass(_ context.Context, c identity.Caller, in api.BreakGlassRequest, idem string) (api.BreakGlass, error) {
	_, err := e.note("RequestBreakGlass", c, "", idem, in)
	return api.BreakGlass{}, err
}

func (e *fakeEngine) ApproveBreakGlass(_ context.Context, c identity.Caller, id string, in api.ReasonRequest, idem string) (api.BreakGlass, error) {
	_, err := e.note("ApproveBreakGlass", c, id, idem, in)
	return api.BreakGlass{}, err
}

func (e *fakeEngine) EndBreakGlass(_ context.Context, c identity.Caller, id string, in api.ReasonRequest, idem string) (api.BreakGlass, error) {
	_, err := e.note("EndBreakGlass", c, id, idem, in)
	return api.BreakGlass{}, err
}
