package client

import (
	"context"

	"github.com/underseal/underseal/api"
)

// Signers lists whose signatures count, by name.
func (c *Client) Signers(ctx context.Context) (api.Signers, error) {
	return call[api.Signers](ctx, c, get("/v1/signers"))
}

// RegisterSigner registers a worker's public key.
func (c *Client) RegisterSigner(ctx context.Context, in api.SignerRequest) (api.Signer, error) {
	return call[api.Signer](ctx, c, send("POST", "/v1/signers", in))
}

// RotateSigner gives a signer another key; the platform makes its own.
func (c *Client) RotateSigner(ctx context.Context, name string, in api.RotateSignerRequest) (api.Signer, error) {
	return call[api.Signer](ctx, c, send("POST", "/v1/signers/{signer}/rotate", in, name))
}

// RevokeSigner ends a signer's key at once.
func (c *Client) RevokeSigner(ctx context.Context, name string, in api.RevokeSignerRequest) (api.Signer, error) {
	return call[api.Signer](ctx, c, send("POST", "/v1/signers/{signer}/revoke", in, name))
}
