package server_test

import (
	"context"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/identity"
)

func (e *fakeEngine) Setup(_ context.Context, in api.SetupRequest, address string) (api.SetupDone, error) {
	_, err := e.note("Setup", identity.Caller{Address: address}, "", "", in)
	return api.SetupDone{}, err
}

func (e *fakeEngine) AuthenticateCookie(_ context.Context, text, host, address string) (identity.Caller, error) {
	e.asked.Add(1)
	if text != goodSession || host != "seal.example.org" {
		return identity.Caller{}, identity.Unauthenticated()
	}
	return identity.Caller{Principal: "p-1", Who: somebody, Key: "s-1", Address: address, Session: &identity.Session{Host: host}}, nil
}

func (e *fakeEngine) ComeFrom(_ context.Context, tenant, _ string) (bool, error) {
	return tenant == "main", nil
}

func (e *fakeEngine) SignIn(_ context.Context, in api.SignInRequest, from engine.From) (api.NewSession, error) {
	_, err := e.note("SignIn", identity.Caller{Address: from.Address}, from.Host, from.Former, in)
	return newSession(from), err
}

func (e *fakeEngine) BeginLogin(_ context.Context, in engine.Login) (engine.LoginBegun, error) {
	_, err := e.note("BeginLogin", identity.Caller{Address: in.From.Address}, in.Tenant+" "+in.Issuer, in.Redirect, in)
	return engine.LoginBegun{Address: "https://login.example.org/auth?state=s", Attempt: goodAttempt}, err
}

func (e *fakeEngine) FinishLogin(_ context.Context, in engine.LoginAnswer) (engine.LoggedIn, error) {
	_, err := e.note("FinishLogin", identity.Caller{Address: in.From.Address}, in.Tenant+" "+in.Issuer, in.Attempt, in)
	if in.Answer.Get("code") == "for-a-command" {
		to := identity.Command{Port: 5000, Challenge: "challenge", Address: "192.0.2.7"}
		return engine.LoggedIn{Handed: &engine.Handed{Code: "c-1", User: "zoe<", Command: to}}, err
	}
	return engine.LoggedIn{Session: newSession(in.From), To: in.Answer.Get("to")}, err
}

func (e *fakeEngine) RedeemLogin(_ context.Context, in engine.Redemption) (api.NewSession, error) {
	_, err := e.note("RedeemLogin", identity.Caller{Address: in.From.Address}, in.Tenant+" "+in.Issuer, in.Code, in)
	return newSession(in.From), err
}

func (e *fakeEngine) EndLogins(_ context.Context, at engine.At, token, address string) error {
	_, err := e.note("EndLogins", identity.Caller{Address: address}, at.Tenant+" "+at.Issuer, token, nil)
	return err
}

// newSession is a session as it would be begun.
func newSession(from engine.From) api.NewSession {
	return api.NewSession{Session: api.Session{ID: "s-1", Cookie: from.Host != ""}, Text: goodSession}
}

func (e *fakeEngine) SignOut(_ context.Context, c identity.Caller) (api.Session, error) {
	_, err := e.note("SignOut", c, "", "", nil)
	return api.Session{ID: "s-1", Cookie: c.Session != nil && c.Session.Host != ""}, err
}

func (e *fakeEngine) Verify(_ context.Context, c identity.Caller, in api.VerifyRequest, from engine.From) (api.NewSession, error) {
	_, err := e.note("Verify", c, from.Host, "", in)
	return newSession(from), err
}

func (e *fakeEngine) SetPassword(_ context.Context, c identity.Caller, in api.PasswordRequest, from engine.From) (api.PasswordSet, error) {
	_, err := e.note("SetPassword", c, from.Host, "", in)
	s := newSession(from)
	return api.PasswordSet{Session: &s}, err
}

func (e *fakeEngine) ResetPassword(_ context.Context, c identity.Caller, name string, in api.ReasonRequest, idem string) (api.Invited, error) {
	_, err := e.note("ResetPassword", c, name, idem, in)
	return api.Invited{}, err
}

func (e *fakeEngine) Sessions(_ context.Context, c identity.Caller, user string, p engine.Page) (api.Sessions, error) {
	_, err := e.note("Sessions", c, "", "", api.SessionsQuery{User: user, Page: api.Page(p)})
	return api.Sessions{}, err
}

func (e *fakeEngine) RevokeSession(_ context.Context, c identity.Caller, id string) (api.Session, error) {
	_, err := e.note("RevokeSession", c, id, "", nil)
	return api.Session{}, err
}

func (e *fakeEngine) EndUserSessions(_ context.Context, c identity.Caller, name string, in api.ReasonRequest, idem string) (api.User, error) {
	_, err := e.note("EndUserSessions", c, name, idem, in)
	return api.User{}, err
}

func (e *fakeEngine) EndAllSessions(_ context.Context, c identity.Caller, in api.ReasonRequest, idem string) (api.Tenant, error) {
	_, err := e.note("EndAllSessions", c, "", idem, in)
	return api.Tenant{}, err
}

func (e *fakeEngine) Me(_ context.Context, c identity.Caller) (api.Me, error) {
	_, err := e.note("Me", c, "", "", nil)
	return api.Me{}, err
}

func (e *fakeEngine) Notices(_ context.Context, c identity.Caller) (api.Notices, error) {
	_, err := e.note("Notices", c, "", "", nil)
	return api.Notices{}, err
}

func (e *fakeEngine) Users(_ context.Context, c identity.Caller, p engine.Page) (api.Users, error) {
	_, err := e.note("Users", c, "", "", api.Page(p))
	return api.Users{}, err
}

func (e *fakeEngine) User(_ context.Context, c identity.Caller, name string) (api.User, error) {
	_, err := e.note("User", c, name, "", nil)
	return api.User{}, err
}

func (e *fakeEngine) InviteUser(_ context.Context, c identity.Caller, in api.UserRequest, idem string) (api.Invited, error) {
	_, err := e.note("InviteUser", c, "", idem, in)
	return api.Invited{}, err
}

func (e *fakeEngine) InviteAgain(_ context.Context, c identity.Caller, name string, in api.ReasonRequest, idem string) (api.Invited, error) {
	_, err := e.note("InviteAgain", c, name, idem, in)
	return api.Invited{}, err
}

func (e *fakeEngine) ChangeUser(_ context.Context, c identity.Caller, name string, in api.ProfileRequest, idem string) (api.User, error) {
	_, err := e.note("ChangeUser", c, name, idem, in)
	return api.User{}, err
}

func (e *fakeEngine) RevokeUser(_ context.Context, c identity.Caller, name string, in api.ReasonRequest, idem string) (api.User, error) {
	_, err := e.note("RevokeUser", c, name, idem, in)
	return api.User{}, err
}

func (e *fakeEngine) DisableUser(_ context.Context, c identity.Caller, name string, in api.ReasonRequest, idem string) (api.User, error) {
	_, err := e.note("DisableUser", c, name, idem, in)
	return api.User{}, err
}

func (e *fakeEngine) EnableUser(_ context.Context, c identity.Caller, name string, in api.ReasonRequest, idem string) (api.User, error) {
	_, err := e.note("EnableUser", c, name, idem, in)
	return api.User{}, err
}

func (e *fakeEngine) GiveUserRole(_ context.Context, c identity.Caller, name string, in api.RoleRequest, idem string) (api.User, error) {
	_, err := e.note("GiveUserRole", c, name, idem, in)
	return api.User{}, err
}

func (e *fakeEngine) TakeUserRole(_ context.Context, c identity.Caller, name string, in api.RoleRequest, idem string) (api.User, error) {
	_, err := e.note("TakeUserRole", c, name, idem, in)
	return api.User{}, err
}

func (e *fakeEngine) JoinGroup(_ context.Context, c identity.Caller, name string, in api.MemberRequest, idem string) (api.User, error) {
	_, err := e.note("JoinGroup", c, name, idem, in)
	return api.User{}, err
}

func (e *fakeEngine) LeaveGroup(_ context.Context, c identity.Caller, name string, in api.MemberRequest, idem string) (api.User, error) {
	_, err := e.note("LeaveGroup", c, name, idem, in)
	return api.User{}, err
}

func (e *fakeEngine) Groups(_ context.Context, c identity.Caller, p engine.Page) (api.Groups, error) {
	_, err := e.note("Groups", c, "", "", api.Page(p))
	return api.Groups{}, err
}

func (e *fakeEngine) CreateGroup(_ context.Context, c identity.Caller, in api.GroupRequest, idem string) (api.Group, error) {
	_, err := e.note("CreateGroup", c, "", idem, in)
	return api.Group{}, err
}

func (e *fakeEngine) DeleteGroup(_ context.Context, c identity.Caller, name string, in api.ReasonRequest, idem string) (api.Group, error) {
	_, err := e.note("DeleteGroup", c, name, idem, in)
	return api.Group{}, err
}

func (e *fakeEngine) Issuers(_ context.Context, c identity.Caller) (api.Issuers, error) {
	_, err := e.note("Issuers", c, "", "", nil)
	return api.Issuers{}, err
}

func (e *fakeEngine) SetIssuer(_ context.Context, c identity.Caller, id string, in api.IssuerRequest, idem string) (api.Issuers, error) {
	_, err := e.note("SetIssuer", c, id, idem, in)
	return api.Issuers{}, err
}

func (e *fakeEngine) RemoveIssuer(_ context.Context, c identity.Caller, id string, in api.ReasonRequest, idem string) (api.Issuers, error) {
	_, err := e.note("RemoveIssuer", c, id, idem, in)
	return api.Issuers{}, err
}

func (e *fakeEngine) LinkUser(_ context.Context, c identity.Caller, name string, in api.LinkRequest, idem string) (api.User, error) {
	_, err := e.note("LinkUser", c, name, idem, in)
	return api.User{}, err
}

func (e *fakeEngine) UnlinkUser(_ context.Context, c identity.Caller, name string, in api.UnlinkRequest, idem string) (api.User, error) {
	_, err := e.note("UnlinkUser", c, name, idem, in)
	return api.User{}, err
}

func (e *fakeEngine) GiveGroupRole(_ context.Context, c identity.Caller, name string, in api.RoleRequest, idem string) (api.Group, error) {
	_, err := e.note("GiveGroupRole", c, name, idem, in)
	return api.Group{}, err
}

func (e *fakeEngine) TakeGroupRole(_ context.Context, c identity.Caller, name string, in api.RoleRequest, idem string) (api.Group, error) {
	_, err := e.note("TakeGroupRole", c, name, idem, in)
	return api.Group{}, err
}

func (e *fakeEngine) Grants(_ context.Context, c identity.Caller, of engine.GrantsOf, p engine.Page) (api.Grants, error) {
	_, err := e.note("Grants", c, "", "", api.GrantsQuery{User: of.User, Group: of.Group, Page: api.Page(p)})
	return api.Grants{}, err
}

func (e *fakeEngine) GiveGrant(_ context.Context, c identity.Caller, in api.GrantRequest, idem string) (api.GivenGrant, error) {
	_, err := e.note("GiveGrant", c, "", idem, in)
	return api.GivenGrant{}, err
}

func (e *fakeEngine) RevokeGrant(_ context.Context, c identity.Caller, id string, in api.ReasonRequest, idem string) (api.Grant, error) {
	_, err := e.note("RevokeGrant", c, id, idem, in)
	return api.Grant{}, err
}

func (e *fakeEngine) APIKeys(_ context.Context, c identity.Caller, user string, p engine.Page) (api.APIKeys, error) {
	_, err := e.note("APIKeys", c, "", "", api.APIKeysQuery{User: user, Page: api.Page(p)})
	return api.APIKeys{}, err
}

func (e *fakeEngine) CreateAPIKey(_ context.Context, c identity.Caller, in api.APIKeyRequest, idem string) (api.NewAPIKey, error) {
	_, err := e.note("CreateAPIKey", c, "", idem, in)
	return api.NewAPIKey{}, err
}

func (e *fakeEngine) RotateAPIKey(_ context.Context, c identity.Caller, id string, in api.RotateAPIKeyRequest, idem string) (api.NewAPIKey, error) {
	_, err := e.note("RotateAPIKey", c, id, idem, in)
	return api.NewAPIKey{}, err
}

func (e *fakeEngine) RevokeAPIKey(_ context.Context, c identity.Caller, id string, in api.ReasonRequest, idem string) (api.APIKey, error) {
	_, err := e.note("RevokeAPIKey", c, id, idem, in)
	return api.APIKey{}, err
}

func (e *fakeEngine) Tenants(_ context.Context, c identity.Caller) (api.Tenants, error) {
	_, err := e.note("Tenants", c, "", "", nil)
	return api.Tenants{}, err
}

func (e *fakeEngine) CreateTenant(_ context.Context, c identity.Caller, in api.TenantRequest, idem string) (api.NewTenant, error) {
	_, err := e.note("CreateTenant", c, "", idem, in)
	return api.NewTenant{}, err
}

func (e *fakeEngine) InviteAdministrator(_ context.Context, c identity.Caller, name string, in api.ReasonRequest, idem string) (api.NewTenant, error) {
	_, err := e.note("InviteAdministrator", c, name, idem, in)
	return api.NewTenant{}, err
}

func (e *fakeEngine) DisableTenant(_ context.Context, c identity.Caller, name string, in api.ReasonRequest, idem string) (api.Tenant, error) {
	_, err := e.note("DisableTenant", c, name, idem, in)
	return api.Tenant{}, err
}

func (e *fakeEngine) EnableTenant(_ context.Context, c identity.Caller, name string, in api.ReasonRequest, idem string) (api.Tenant, error) {
	_, err := e.note("EnableTenant", c, name, idem, in)
	return api.Tenant{}, err
}
