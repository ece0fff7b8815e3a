package client

import (
	"context"

	"github.com/underseal/underseal/api"
)

// Settings shows what is set for everybody of the tenant.
func (c *Client) Settings(ctx context.Context) (api.Settings, error) {
	return call[api.Settings](ctx, c, get("/v1/settings"))
}

// SetNetworks sets where people of the tenant may come from, for requests from then on.
func (c *Client) SetNetworks(ctx context.Context, in api.NetworksRequest) (api.Settings, error) {
	return call[api.Settings](ctx, c, send("PUT", "/v1/settings/networks", in))
}

// SetLimits sets how often people of the tenant may call.
func (c *Client) SetLimits(ctx context.Context, in api.LimitsRequest) (api.Settings, error) {
	return call[api.Settings](ctx, c, send("PUT", "/v1/settings/limits", in))
}

// SetFourEyes sets whether a confidential process is deployed by two people.
func (c *Client) SetFourEyes(ctx context.Context, in api.FourEyesRequest) (api.Settings, error) {
	return call[api.Settings](ctx, c, send("PUT", "/v1/settings/four-eyes", in))
}

// RequirePasskeys sets whose password alone is not enough to sign in.
func (c *Client) RequirePasskeys(ctx context.Context, in api.RequirePasskeyRequest) (api.Settings, error) {
	return call[api.Settings](ctx, c, send("PUT", "/v1/settings/passkeys", in))
}

// Policies shows the tenant's own policies.
func (c *Client) Policies(ctx context.Context) (api.Policies, error) {
	return call[api.Policies](ctx, c, get("/v1/policies"))
}

// SetPolicies sets the tenant's own policies, in place of those before.
func (c *Client) SetPolicies(ctx context.Context, in api.PoliciesRequest) (api.Policies, error) {
	return call[api.Policies](ctx, c, send("PUT", "/v1/policies", in))
}

// TestPolicies says what policies would decide otherwise, and sets nothing.
func (c *Client) TestPolicies(ctx context.Context, in api.PoliciesTestRequest) (api.PoliciesTest, error) {
	return call[api.PoliciesTest](ctx, c, send("POST", "/v1/policies/test", in))
}

// Explain says why somebody may, or may not, do something.
func (c *Client) Explain(ctx context.Context, q api.ExplainQuery) (api.Explanation, error) {
	return call[api.Explanation](ctx, c, get("/v1/explain").with(
		"principal", q.Principal, "action", q.Action, "kind", q.Kind, "id", q.ID, "field", q.Field, "address", q.Address, "purpose", q.Purpose))
}
