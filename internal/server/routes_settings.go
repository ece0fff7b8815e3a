package server

import (
	"context"

	"github.com/underseal/underseal/api"
)

// settingsRoutes are about what is set for everybody of a tenant, and why decisions are as
// they are.
func (s *Server) settingsRoutes() []*operation {
	e, tag := s.engine, "settings"
	test := newOperation("POST", "/v1/policies/test", "testPolicies", "policies", "Say what other policies would decide otherwise",
		func(ctx context.Context, x *exchange, in api.PoliciesTestRequest) (api.PoliciesTest, error) {
			return e.TestPolicies(ctx, x.caller, in)
		})
	test.unkeyed = true // it changes nothing
	return []*operation{
		test,
		newOperation("GET", "/v1/settings", "getSettings", tag, "Show what is set for everybody of the tenant",
			func(ctx context.Context, x *exchange, _ none) (api.Settings, error) { return e.Settings(ctx, x.caller) }),
		newOperation("PUT", "/v1/settings/networks", "setNetworks", tag, "Set where people may come from",
			func(ctx context.Context, x *exchange, in api.NetworksRequest) (api.Settings, error) {
				return e.SetNetworks(ctx, x.caller, in, x.idem)
			}),
		newOperation("PUT", "/v1/settings/limits", "setLimits", tag, "Set how often people may call",
			func(ctx context.Context, x *exchange, in api.LimitsRequest) (api.Settings, error) {
				return e.SetLimits(ctx, x.caller, in, x.idem)
			}),
		newOperation("PUT", "/v1/settings/four-eyes", "setFourEyes", tag, "Set whether two people deploy a confidential process",
			func(ctx context.Context, x *exchange, in api.FourEyesRequest) (api.Settings, error) {
				return e.SetFourEyes(ctx, x.caller, in, x.idem)
			}),
		newOperation("PUT", "/v1/settings/passkeys", "requirePasskeys", tag, "Set whose password alone is not enough to sign in",
			func(ctx context.Context, x *exchange, in api.RequirePasskeyRequest) (api.Settings, error) {
				return e.RequirePasskeys(ctx, x.caller, in, x.idem)
			}),
		newOperation("GET", "/v1/policies", "getPolicies", "policies", "Show the tenant's own policies",
			func(ctx context.Context, x *exchange, _ none) (api.Policies, error) { return e.Policies(ctx, x.caller) }),
		newOperation("PUT", "/v1/policies", "setPolicies", "policies", "Set the tenant's own policies",
			func(ctx context.Context, x *exchange, in api.PoliciesRequest) (api.Policies, error) {
				return e.SetPolicies(ctx, x.caller, in, x.idem)
			}),
		newOperation("GET", "/v1/explain", "explain", "policies", "Say why somebody may, or may not, do something",
			func(ctx context.Context, x *exchange, in api.ExplainQuery) (api.Explanation, error) {
				return e.Explain(ctx, x.caller, in)
			}),
	}
}
