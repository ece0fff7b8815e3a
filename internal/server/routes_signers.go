package server

import (
	"context"

	"github.com/underseal/underseal/api"
)

func (s *Server) signerRoutes() []*operation {
	e, tag := s.engine, "signers"
	return []*operation{
		newOperation("GET", "/v1/signers", "listSigners", tag, "List whose signatures count",
			func(ctx context.Context, x *exchange, _ none) (api.Signers, error) {
				out, err := e.Signers(ctx, x.caller)
				out.Items = list(out.Items)
				return out, err
			}),
		newOperation("POST", "/v1/signers", "registerSigner", tag, "Register a worker's public key",
			func(ctx context.Context, x *exchange, in api.SignerRequest) (api.Signer, error) {
				return e.RegisterSigner(ctx, x.caller, in, x.idem)
			}),
		newOperation("POST", "/v1/signers/{signer}/rotate", "rotateSigner", tag, "Give a signer another key",
			func(ctx context.Context, x *exchange, in api.RotateSignerRequest) (api.Signer, error) {
				return e.RotateSigner(ctx, x.caller, x.id, in, x.idem)
			}),
		newOperation("POST", "/v1/signers/{signer}/revoke", "revokeSigner", tag, "End a signer's key at once",
			func(ctx context.Context, x *exchange, in api.RevokeSignerRequest) (api.Signer, error) {
				return e.RevokeSigner(ctx, x.caller, x.id, in, x.idem)
			}),
	}
}
