package client

import (
	"context"

	"github.com/underseal/underseal/api"
)

// StartCheck has the server compare everything that it holds with the log, at once. It
// answers when that has begun; Integrity says how far it is.
func (c *Client) StartCheck(ctx context.Context, in api.CheckRequest) (api.Integrity, error) {
	return call[api.Integrity](ctx, c, send("POST", "/v1/integrity/checks", in))
}

// Integrity says what was checked last, when, and what was found.
func (c *Client) Integrity(ctx context.Context) (api.Integrity, error) {
	return call[api.Integrity](ctx, c, get("/v1/integrity"))
}
