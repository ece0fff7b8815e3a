package client

import (
	"context"

	"github.com/underseal/underseal/api"
)

// Issuers lists whose word the tenant takes for who calls.
func (c *Client) Issuers(ctx context.Context) (api.Issuers, error) {
	return call[api.Issuers](ctx, c, get("/v1/issuers"))
}

// SetIssuer makes an issuer, or sets another in its place.
func (c *Client) SetIssuer(ctx context.Context, id string, in api.IssuerRequest) (api.Issuers, error) {
	return call[api.Issuers](ctx, c, send("PUT", "/v1/issuers/{issuer}", in, id))
}

// RemoveIssuer ends that an issuer's word counts, at once.
func (c *Client) RemoveIssuer(ctx context.Context, id, reason string) (api.Issuers, error) {
	return call[api.Issuers](ctx, c, send("POST", "/v1/issuers/{issuer}/remove", api.ReasonRequest{Reason: reason}, id))
}

// LinkUser says who a person or program is elsewhere.
func (c *Client) LinkUser(ctx context.Context, name string, in api.LinkRequest) (api.User, error) {
	return call[api.User](ctx, c, send("POST", "/v1/users/{user}/link", in, name))
}

// UnlinkUser ends that a person or program is somebody elsewhere, at once.
func (c *Client) UnlinkUser(ctx context.Context, name string, in api.UnlinkRequest) (api.User, error) {
	return call[api.User](ctx, c, send("POST", "/v1/users/{user}/unlink", in, name))
}
