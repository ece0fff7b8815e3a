package client

import (
	"context"

	"github.com/underseal/underseal/api"
)

// Me says who the client's key is of, and what they have.
func (c *Client) Me(ctx context.Context) (api.Me, error) { return call[api.Me](ctx, c, get("/v1/me")) }

// Notices says what happened lately to the account of whom the client's key is of.
func (c *Client) Notices(ctx context.Context) (api.Notices, error) {
	return call[api.Notices](ctx, c, get("/v1/me/notices"))
}

// Users lists people and programs.
func (c *Client) Users(ctx context.Context, p api.Page) (api.Users, error) {
	return call[api.Users](ctx, c, get("/v1/users").with("after", p.After, "limit", number(p.Limit)))
}

// User shows a person or program.
func (c *Client) User(ctx context.Context, name string) (api.User, error) {
	return call[api.User](ctx, c, get("/v1/users/{user}", name))
}

// InviteUser invites a person, or makes a program known. The answer alone holds a
// person's link: if it is lost, InviteAgain makes another.
func (c *Client) InviteUser(ctx context.Context, in api.UserRequest) (api.Invited, error) {
	return call[api.Invited](ctx, c, send("POST", "/v1/users", in))
}

// InviteAgain makes another link for an invited person; the one before ends.
func (c *Client) InviteAgain(ctx context.Context, name, reason string) (api.Invited, error) {
	return call[api.Invited](ctx, c, send("POST", "/v1/users/{user}/invite", api.ReasonRequest{Reason: reason}, name))
}

// ChangeUser changes how a person or program is known.
func (c *Client) ChangeUser(ctx context.Context, name string, in api.ProfileRequest) (api.User, error) {
	return call[api.User](ctx, c, send("PUT", "/v1/users/{user}/profile", in, name))
}

// DisableUser ends all that somebody may, at once.
func (c *Client) DisableUser(ctx context.Context, name, reason string) (api.User, error) {
	return call[api.User](ctx, c, send("POST", "/v1/users/{user}/disable", api.ReasonRequest{Reason: reason}, name))
}

// RevokeUser ends all that admits somebody, at once and for good: they are disabled,
// and their sessions, keys, password and link are gone.
func (c *Client) RevokeUser(ctx context.Context, name, reason string) (api.User, error) {
	return call[api.User](ctx, c, send("POST", "/v1/users/{user}/revoke", api.ReasonRequest{Reason: reason}, name))
}

// EnableUser gives somebody back what they had.
func (c *Client) EnableUser(ctx context.Context, name, reason string) (api.User, error) {
	return call[api.User](ctx, c, send("POST", "/v1/users/{user}/enable", api.ReasonRequest{Reason: reason}, name))
}

// GiveUserRole gives somebody a role.
func (c *Client) GiveUserRole(ctx context.Context, name string, in api.RoleRequest) (api.User, error) {
	return call[api.User](ctx, c, send("POST", "/v1/users/{user}/give-role", in, name))
}

// TakeUserRole takes somebody's own role; what groups give stays.
func (c *Client) TakeUserRole(ctx context.Context, name string, in api.RoleRequest) (api.User, error) {
	return call[api.User](ctx, c, send("POST", "/v1/users/{user}/take-role", in, name))
}

// JoinGroup makes somebody a member of a group.
func (c *Client) JoinGroup(ctx context.Context, name string, in api.MemberRequest) (api.User, error) {
	return call[api.User](ctx, c, send("POST", "/v1/users/{user}/join", in, name))
}

// LeaveGroup ends somebody's membership of a group.
func (c *Client) LeaveGroup(ctx context.Context, name string, in api.MemberRequest) (api.User, error) {
	return call[api.User](ctx, c, send("POST", "/v1/users/{user}/leave", in, name))
}

// Groups lists groups.
func (c *Client) Groups(ctx context.Context, p api.Page) (api.Groups, error) {
	return call[api.Groups](ctx, c, get("/v1/groups").with("after", p.After, "limit", number(p.Limit)))
}

// CreateGroup makes a group.
func (c *Client) CreateGroup(ctx context.Context, in api.GroupRequest) (api.Group, error) {
	return call[api.Group](ctx, c, send("POST", "/v1/groups", in))
}

// DeleteGroup deletes a group that nobody is in.
func (c *Client) DeleteGroup(ctx context.Context, name, reason string) (api.Group, error) {
	return call[api.Group](ctx, c, send("POST", "/v1/groups/{group}/delete", api.ReasonRequest{Reason: reason}, name))
}

// GiveGroupRole gives the members of a group a role.
func (c *Client) GiveGroupRole(ctx context.Context, name string, in api.RoleRequest) (api.Group, error) {
	return call[api.Group](ctx, c, send("POST", "/v1/groups/{group}/give-role", in, name))
}

// TakeGroupRole takes a role that a group gives.
func (c *Client) TakeGroupRole(ctx context.Context, name string, in api.RoleRequest) (api.Group, error) {
	return call[api.Group](ctx, c, send("POST", "/v1/groups/{group}/take-role", in, name))
}

// Grants lists grants, also those that are expired.
func (c *Client) Grants(ctx context.Context, q api.GrantsQuery) (api.Grants, error) {
	return call[api.Grants](ctx, c, get("/v1/grants").with("user", q.User, "group", q.Group, "after", q.After, "limit", number(q.Limit)))
}

// GiveGrant gives a grant to somebody or to a group. The answer's notes say what of it may
// be misspelled.
func (c *Client) GiveGrant(ctx context.Context, in api.GrantRequest) (api.GivenGrant, error) {
	return call[api.GivenGrant](ctx, c, send("POST", "/v1/grants", in))
}

// RevokeGrant ends a grant, at once.
func (c *Client) RevokeGrant(ctx context.Context, id, reason string) (api.Grant, error) {
	return call[api.Grant](ctx, c, send("POST", "/v1/grants/{grant}/revoke", api.ReasonRequest{Reason: reason}, id))
}

// APIKeys lists API keys, without their texts.
func (c *Client) APIKeys(ctx context.Context, q api.APIKeysQuery) (api.APIKeys, error) {
	return call[api.APIKeys](ctx, c, get("/v1/apikeys").with("user", q.User, "after", q.After, "limit", number(q.Limit)))
}

// CreateAPIKey makes an API key. The answer alone holds its text: if that is lost, the
// key is of no use, and is to be revoked.
func (c *Client) CreateAPIKey(ctx context.Context, in api.APIKeyRequest) (api.NewAPIKey, error) {
	return call[api.NewAPIKey](ctx, c, send("POST", "/v1/apikeys", in))
}

// RotateAPIKey puts another API key in a key's place, which still counts for a while.
func (c *Client) RotateAPIKey(ctx context.Context, id string, in api.RotateAPIKeyRequest) (api.NewAPIKey, error) {
	return call[api.NewAPIKey](ctx, c, send("POST", "/v1/apikeys/{key}/rotate", in, id))
}

// RevokeAPIKey ends an API key, at once.
func (c *Client) RevokeAPIKey(ctx context.Context, id, reason string) (api.APIKey, error) {
	return call[api.APIKey](ctx, c, send("POST", "/v1/apikeys/{key}/revoke", api.ReasonRequest{Reason: reason}, id))
}

// Tenants lists tenants, for Operators.
func (c *Client) Tenants(ctx context.Context) (api.Tenants, error) {
	return call[api.Tenants](ctx, c, get("/v1/tenants"))
}

// CreateTenant makes a tenant. The answer alone holds the link for its first
// administrator: if it is lost, InviteAdministrator makes another.
func (c *Client) CreateTenant(ctx context.Context, in api.TenantRequest) (api.NewTenant, error) {
	return call[api.NewTenant](ctx, c, send("POST", "/v1/tenants", in))
}

// InviteAdministrator makes another link for a tenant that had no administrator yet.
func (c *Client) InviteAdministrator(ctx context.Context, name, reason string) (api.NewTenant, error) {
	return call[api.NewTenant](ctx, c, send("POST", "/v1/tenants/{tenant}/invite", api.ReasonRequest{Reason: reason}, name))
}

// DisableTenant lets nobody of a tenant in any more.
func (c *Client) DisableTenant(ctx context.Context, name, reason string) (api.Tenant, error) {
	return call[api.Tenant](ctx, c, send("POST", "/v1/tenants/{tenant}/disable", api.ReasonRequest{Reason: reason}, name))
}

// EnableTenant lets a tenant's people in again.
func (c *Client) EnableTenant(ctx context.Context, name, reason string) (api.Tenant, error) {
	return call[api.Tenant](ctx, c, send("POST", "/v1/tenants/{tenant}/enable", api.ReasonRequest{Reason: reason}, name))
}

// Setup uses a link, once, and returns who was set up and their API key, which the answer
// alone holds. The configuration needs no key.
func Setup(ctx context.Context, config Config, in api.SetupRequest) (api.SetupDone, error) {
	config.Key = in.Link // stands in for the key that there is not yet; it is not sent as one
	c, err := New(config)
	if err != nil {
		return api.SetupDone{}, err
	}
	r := send("POST", "/v1/setup", in)
	r.tries, r.bare = 1, true
	return call[api.SetupDone](ctx, c, r)
}
