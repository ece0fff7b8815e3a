package server

import (
	"context"

	"github.com/underseal/underseal/api"
)

// breakGlassRoutes are about sight in an emergency, which two people give.
func (s *Server) breakGlassRoutes() []*operation {
	e, tag := s.engine, "break-glass"
	return []*operation{
		newOperation("GET", "/v1/break-glass", "listBreakGlass", tag, "List break-glasses that wait, count or ended lately",
			func(ctx context.Context, x *exchange, _ none) (api.BreakGlasses, error) {
				return e.BreakGlasses(ctx, x.caller)
			}),
		newOperation("POST", "/v1/break-glass", "requestBreakGlass", tag, "Ask for sight of an instance or process in clear, in an emergency",
			func(ctx context.Context, x *exchange, in api.BreakGlassRequest) (api.BreakGlass, error) {
				return e.RequestBreakGlass(ctx, x.caller, in, x.idem)
			}),
		newOperation("POST", "/v1/break-glass/{breakglass}/approve", "approveBreakGlass", tag, "Have a break-glass begin that somebody else asked for",
			func(ctx context.Context, x *exchange, in api.ReasonRequest) (api.BreakGlass, error) {
				return e.ApproveBreakGlass(ctx, x.caller, x.id, in, x.idem)
			}),
		newOperation("POST", "/v1/break-glass/{breakglass}/end", "endBreakGlass", tag, "End a break-glass at once, or refuse one that waits",
			func(ctx context.Context, x *exchange, in api.ReasonRequest) (api.BreakGlass, error) {
				return e.EndBreakGlass(ctx, x.caller, x.id, in, x.idem)
			}),
	}
}
