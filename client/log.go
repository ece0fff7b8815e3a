package client

import (
	"context"

	"github.com/underseal/underseal/api"
)

// CreateLogReader makes a path by which somebody may read the log. It is told this
// once: if the answer is lost, revoke the reader and make another.
func (c *Client) CreateLogReader(ctx context.Context, name string) (api.NewLogReader, error) {
	r := send("POST", "/v1/log/readers", api.LogReaderRequest{Name: name})
	r.tries = 1
	return call[api.NewLogReader](ctx, c, r)
}

// LogReaders lists who was given a path, oldest first, revoked ones too.
func (c *Client) LogReaders(ctx context.Context, p api.Page) (api.LogReaders, error) {
	return call[api.LogReaders](ctx, c, get("/v1/log/readers").with("after", p.After, "limit", number(p.Limit)))
}

// RevokeLogReader ends a path.
func (c *Client) RevokeLogReader(ctx context.Context, id string) (api.LogReader, error) {
	return call[api.LogReader](ctx, c, send("POST", "/v1/log/readers/{reader}/revoke", nil, id))
}
