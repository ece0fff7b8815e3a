package client

import (
	"context"

	"github.com/underseal/underseal/api"
)

// BreakGlasses lists the break-glasses that wait, count or ended lately: one's own, or all
// for who may know of them.
func (c *Client) BreakGlasses(ctx context.Context) (api.BreakGlasses, error) {
	return call[api.BreakGlasses](ctx, c, get("/v1/break-glass"))
}

// RequestBreakGlass asks for sight of one instance or process in clear, in an emergency.
// It counts once somebody else has approved it.
func (c *Client) RequestBreakGlass(ctx context.Context, in api.BreakGlassRequest) (api.BreakGlass, error) {
	return call[api.BreakGlass](ctx, c, send("POST", "/v1/break-glass", in))
}

// ApproveBreakGlass has a break-glass that somebody else asked for begin.
func (c *Client) ApproveBreakGlass(ctx context.Context, id, reason string) (api.BreakGlass, error) {
	return call[api.BreakGlass](ctx, c, send("POST", "/v1/break-glass/{breakglass}/approve", api.ReasonRequest{Reason: reason}, id))
}

// EndBreakGlass ends a break-glass at once, or refuses one that waits.
func (c *Client) EndBreakGlass(ctx context.Context, id, reason string) (api.BreakGlass, error) {
	return call[api.BreakGlass](ctx, c, send("POST", "/v1/break-glass/{breakglass}/end", api.ReasonRequest{Reason: reason}, id))
}
