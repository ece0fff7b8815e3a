package server

import (
	"context"

	"github.com/underseal/underseal/api"
)

// integrityRoutes compare the database with the log.
func (s *Server) integrityRoutes() []*operation {
	e, tag := s.engine, "integrity"
	start := newOperation("POST", "/v1/integrity/checks", "startCheck", tag, "Compare everything with the log, at once",
		func(ctx context.Context, x *exchange, in api.CheckRequest) (api.Integrity, error) {
			return e.StartCheck(ctx, x.caller, in)
		})
	start.unkeyed = true // there is one at a time
	return []*operation{
		start,
		newOperation("GET", "/v1/integrity", "getIntegrity", tag, "Say what was checked last, when, and what was found",
			func(ctx context.Context, x *exchange, _ none) (api.Integrity, error) {
				return e.IntegrityStatus(ctx, x.caller)
			}),
	}
}
