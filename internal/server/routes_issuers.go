package server

import (
	"context"

	"github.com/underseal/underseal/api"
)

// issuerRoutes are about whose word counts for who calls, and for whom.
func (s *Server) issuerRoutes() []*operation {
	e, tag := s.engine, "issuers"
	return []*operation{
		newOperation("GET", "/v1/issuers", "listIssuers", tag, "List whose word the tenant takes for who calls",
			func(ctx context.Context, x *exchange, _ none) (api.Issuers, error) {
				out, err := e.Issuers(ctx, x.caller)
				out.Items = list(out.Items)
				return out, err
			}),
		newOperation("PUT", "/v1/issuers/{issuer}", "setIssuer", tag, "Make an issuer, or set another in its place",
			func(ctx context.Context, x *exchange, in api.IssuerRequest) (api.Issuers, error) {
				return e.SetIssuer(ctx, x.caller, x.id, in, x.idem)
			}),
		newOperation("POST", "/v1/issuers/{issuer}/remove", "removeIssuer", tag, "Take an issuer's word no more, at once",
			func(ctx context.Context, x *exchange, in api.ReasonRequest) (api.Issuers, error) {
				return e.RemoveIssuer(ctx, x.caller, x.id, in, x.idem)
			}),
		newOperation("POST", "/v1/users/{user}/link", "linkUser", tag, "Say who a person or program is elsewhere",
			func(ctx context.Context, x *exchange, in api.LinkRequest) (api.User, error) {
				return e.LinkUser(ctx, x.caller, x.id, in, x.idem)
			}),
		newOperation("POST", "/v1/users/{user}/unlink", "unlinkUser", tag, "End that a person or program is somebody elsewhere, at once",
			func(ctx context.Context, x *exchange, in api.UnlinkRequest) (api.User, error) {
				return e.UnlinkUser(ctx, x.caller, x.id, in, x.idem)
			}),
	}
}
