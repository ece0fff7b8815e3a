package server

import (
	"context"
	"slices"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
)

// peopleRoutes are about who may sign in, and what they have.
func (s *Server) peopleRoutes() []*operation {
	return slices.Concat(s.userRoutes(), s.groupRoutes(), s.grantRoutes(), s.apiKeyRoutes(), s.issuerRoutes(), s.tenantRoutes(), s.setupRoutes())
}

func (s *Server) userRoutes() []*operation {
	e, tag := s.engine, "users"
	return []*operation{
		newOperation("GET", "/v1/me", "getMe", tag, "Say who the caller is, and what they have",
			func(ctx context.Context, x *exchange, _ none) (api.Me, error) {
				out, err := e.Me(ctx, x.caller)
				out.Roles, out.Groups, out.Grants = list(out.Roles), list(out.Groups), list(out.Grants)
				return out, err
			}),
		newOperation("GET", "/v1/me/notices", "listNotices", tag, "Say what happened to the caller's account lately, and which of their keys end soon",
			func(ctx context.Context, x *exchange, _ none) (api.Notices, error) {
				out, err := e.Notices(ctx, x.caller)
				out.Items, out.Ending = list(out.Items), list(out.Ending)
				return out, err
			}),
		newOperation("GET", "/v1/users", "listUsers", tag, "List people and programs",
			func(ctx context.Context, x *exchange, in api.Page) (api.Users, error) {
				out, err := e.Users(ctx, x.caller, engine.Page(in))
				out.Items = list(out.Items)
				return out, err
			}),
		newOperation("GET", "/v1/users/{user}", "getUser", tag, "Show a person or program",
			func(ctx context.Context, x *exchange, _ none) (api.User, error) { return e.User(ctx, x.caller, x.id) }),
		newOperation("POST", "/v1/users", "inviteUser", tag, "Invite a person, or make a program known",
			func(ctx context.Context, x *exchange, in api.UserRequest) (api.Invited, error) {
				return e.InviteUser(ctx, x.caller, in, x.idem)
			}),
		newOperation("POST", "/v1/users/{user}/invite", "inviteAgain", tag, "Make another link for an invited person",
			func(ctx context.Context, x *exchange, in api.ReasonRequest) (api.Invited, error) {
				return e.InviteAgain(ctx, x.caller, x.id, in, x.idem)
			}),
		newOperation("PUT", "/v1/users/{user}/profile", "changeUser", tag, "Change how a person or program is known",
			func(ctx context.Context, x *exchange, in api.ProfileRequest) (api.User, error) {
				return e.ChangeUser(ctx, x.caller, x.id, in, x.idem)
			}),
		newOperation("POST", "/v1/users/{user}/disable", "disableUser", tag, "End all that somebody may, at once",
			func(ctx context.Context, x *exchange, in api.ReasonRequest) (api.User, error) {
				return e.DisableUser(ctx, x.caller, x.id, in, x.idem)
			}),
		newOperation("POST", "/v1/users/{user}/revoke", "revokeUser", tag, "End all that admits somebody, at once and for good",
			func(ctx context.Context, x *exchange, in api.ReasonRequest) (api.User, error) {
				return e.RevokeUser(ctx, x.caller, x.id, in, x.idem)
			}),
		newOperation("POST", "/v1/users/{user}/enable", "enableUser", tag, "Give somebody back what they had",
			func(ctx context.Context, x *exchange, in api.ReasonRequest) (api.User, error) {
				return e.EnableUser(ctx, x.caller, x.id, in, x.idem)
			}),
		newOperation("POST", "/v1/users/{user}/give-role", "giveUserRole", tag, "Give somebody a role",
			func(ctx context.Context, x *exchange, in api.RoleRequest) (api.User, error) {
				return e.GiveUserRole(ctx, x.caller, x.id, in, x.idem)
			}),
		newOperation("POST", "/v1/users/{user}/take-role", "takeUserRole", tag, "Take somebody's role",
			func(ctx context.Context, x *exchange, in api.RoleRequest) (api.User, error) {
				return e.TakeUserRole(ctx, x.caller, x.id, in, x.idem)
			}),
		newOperation("POST", "/v1/users/{user}/join", "joinGroup", tag, "Make somebody a member of a group",
			func(ctx context.Context, x *exchange, in api.MemberRequest) (api.User, error) {
				return e.JoinGroup(ctx, x.caller, x.id, in, x.idem)
			}),
		newOperation("POST", "/v1/users/{user}/leave", "leaveGroup", tag, "End somebody's membership of a group",
			func(ctx context.Context, x *exchange, in api.MemberRequest) (api.User, error) {
				return e.LeaveGroup(ctx, x.caller, x.id, in, x.idem)
			}),
	}
}

func (s *Server) groupRoutes() []*operation {
	e, tag := s.engine, "groups"
	return []*operation{
		newOperation("GET", "/v1/groups", "listGroups", tag, "List groups",
			func(ctx context.Context, x *exchange, in api.Page) (api.Groups, error) {
				out, err := e.Groups(ctx, x.caller, engine.Page(in))
				out.Items = list(out.Items)
				return out, err
			}),
		newOperation("POST", "/v1/groups", "createGroup", tag, "Make a group",
			func(ctx context.Context, x *exchange, in api.GroupRequest) (api.Group, error) {
				return e.CreateGroup(ctx, x.caller, in, x.idem)
			}),
		newOperation("POST", "/v1/groups/{group}/delete", "deleteGroup", tag, "Delete a group that nobody is in",
			func(ctx context.Context, x *exchange, in api.ReasonRequest) (api.Group, error) {
				return e.DeleteGroup(ctx, x.caller, x.id, in, x.idem)
			}),
		newOperation("POST", "/v1/groups/{group}/give-role", "giveGroupRole", tag, "Give the members of a group a role",
			func(ctx context.Context, x *exchange, in api.RoleRequest) (api.Group, error) {
				return e.GiveGroupRole(ctx, x.caller, x.id, in, x.idem)
			}),
		newOperation("POST", "/v1/groups/{group}/take-role", "takeGroupRole", tag, "Take a role that a group gives",
			func(ctx context.Context, x *exchange, in api.RoleRequest) (api.Group, error) {
				return e.TakeGroupRole(ctx, x.caller, x.id, in, x.idem)
			}),
	}
}

func (s *Server) grantRoutes() []*operation {
	e, tag := s.engine, "grants"
	return []*operation{
		newOperation("GET", "/v1/grants", "listGrants", tag, "List grants",
			func(ctx context.Context, x *exchange, in api.GrantsQuery) (api.Grants, error) {
				out, err := e.Grants(ctx, x.caller, engine.GrantsOf{User: in.User, Group: in.Group}, engine.Page(in.Page))
				out.Items = list(out.Items)
				return out, err
			}),
		newOperation("POST", "/v1/grants", "giveGrant", tag, "Give a grant to somebody or to a group",
			func(ctx context.Context, x *exchange, in api.GrantRequest) (api.GivenGrant, error) {
				return e.GiveGrant(ctx, x.caller, in, x.idem)
			}),
		newOperation("POST", "/v1/grants/{grant}/revoke", "revokeGrant", tag, "End a grant, at once",
			func(ctx context.Context, x *exchange, in api.ReasonRequest) (api.Grant, error) {
				return e.RevokeGrant(ctx, x.caller, x.id, in, x.idem)
			}),
	}
}

func (s *Server) apiKeyRoutes() []*operation {
	e, tag := s.engine, "apikeys"
	return []*operation{
		newOperation("GET", "/v1/apikeys", "listAPIKeys", tag, "List API keys",
			func(ctx context.Context, x *exchange, in api.APIKeysQuery) (api.APIKeys, error) {
				out, err := e.APIKeys(ctx, x.caller, in.User, engine.Page(in.Page))
				out.Items = list(out.Items)
				return out, err
			}),
		newOperation("POST", "/v1/apikeys", "createAPIKey", tag, "Make an API key",
			func(ctx context.Context, x *exchange, in api.APIKeyRequest) (api.NewAPIKey, error) {
				return e.CreateAPIKey(ctx, x.caller, in, x.idem)
			}),
		newOperation("POST", "/v1/apikeys/{key}/rotate", "rotateAPIKey", tag, "Put another API key in a key's place",
			func(ctx context.Context, x *exchange, in api.RotateAPIKeyRequest) (api.NewAPIKey, error) {
				return e.RotateAPIKey(ctx, x.caller, x.id, in, x.idem)
			}),
		newOperation("POST", "/v1/apikeys/{key}/revoke", "revokeAPIKey", tag, "End an API key, at once",
			func(ctx context.Context, x *exchange, in api.ReasonRequest) (api.APIKey, error) {
				return e.RevokeAPIKey(ctx, x.caller, x.id, in, x.idem)
			}),
	}
}

func (s *Server) tenantRoutes() []*operation {
	e, tag := s.engine, "tenants"
	return []*operation{
		newOperation("GET", "/v1/tenants", "listTenants", tag, "List tenants",
			func(ctx context.Context, x *exchange, _ none) (api.Tenants, error) {
				out, err := e.Tenants(ctx, x.caller)
				out.Items = list(out.Items)
				return out, err
			}),
		newOperation("POST", "/v1/tenants", "createTenant", tag, "Make a tenant",
			func(ctx context.Context, x *exchange, in api.TenantRequest) (api.NewTenant, error) {
				return e.CreateTenant(ctx, x.caller, in, x.idem)
			}),
		newOperation("POST", "/v1/tenants/{tenant}/invite", "inviteAdministrator", tag, "Make another link for a tenant without an administrator",
			func(ctx context.Context, x *exchange, in api.ReasonRequest) (api.NewTenant, error) {
				return e.InviteAdministrator(ctx, x.caller, x.id, in, x.idem)
			}),
		newOperation("POST", "/v1/tenants/{tenant}/disable", "disableTenant", tag, "Let nobody of a tenant in any more",
			func(ctx context.Context, x *exchange, in api.ReasonRequest) (api.Tenant, error) {
				return e.DisableTenant(ctx, x.caller, x.id, in, x.idem)
			}),
		newOperation("POST", "/v1/tenants/{tenant}/enable", "enableTenant", tag, "Let a tenant's people in again",
			func(ctx context.Context, x *exchange, in api.ReasonRequest) (api.Tenant, error) {
				return e.EnableTenant(ctx, x.caller, x.id, in, x.idem)
			}),
	}
}

func (s *Server) setupRoutes() []*operation {
	setup := newOperation("POST", "/v1/setup", "setup", "users", "Use a link, once, and get an API key",
		func(ctx context.Context, x *exchange, in api.SetupRequest) (api.SetupDone, error) {
			return s.engine.Setup(ctx, in, addressText(s.address(x.r)))
		})
	setup.public, setup.unkeyed = true, true // a link counts once: it cannot be used again by mistake
	return []*operation{setup}
}
