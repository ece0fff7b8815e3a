package server

import (
	"context"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
)

// logRoutes are about who may read the log.
func (s *Server) logRoutes() []*operation {
	e, tag := s.engine, "log"
	create := newOperation("POST", "/v1/log/readers", "createLogReader", tag, "Make a path by which somebody may read the log",
		func(ctx context.Context, x *exchange, in api.LogReaderRequest) (api.NewLogReader, error) {
			return e.CreateLogReader(ctx, x.caller, in)
		})
	revoke := newOperation("POST", "/v1/log/readers/{reader}/revoke", "revokeLogReader", tag, "End a path, at once",
		func(ctx context.Context, x *exchange, _ none) (api.LogReader, error) {
			return e.RevokeLogReader(ctx, x.caller, x.id)
		})
	create.unkeyed, revoke.unkeyed = true, true // a path cannot be given again, and is revoked if it is one too many
	return []*operation{
		create, revoke,
		newOperation("GET", "/v1/log/readers", "listLogReaders", tag, "List who was given a path, oldest first",
			func(ctx context.Context, x *exchange, in api.Page) (api.LogReaders, error) {
				out, err := e.LogReaders(ctx, x.caller, engine.Page(in))
				out.Items = list(out.Items)
				return out, err
			}),
	}
}
