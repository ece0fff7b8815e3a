package server

import (
	"context"
	"iter"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/identity"
)

// Engine is what the server needs of the engine: one method for each use case.
// Every error is a fault error whose text may be shown to the caller; any other
// error is answered as "internal" without its text. Idem is the idempotency key
// of the request, "" when it has none.
type Engine interface {
	// Authenticate finds the caller by the bearer token. Whoever is not
	// admitted gets a fault with the code "unauthenticated".
	Authenticate(ctx context.Context, key, address string) (identity.Caller, error)
	Missed(ctx context.Context, c identity.Caller, operation string)
	// AuthenticateService finds a service by a token or a client certificate of an
	// issuer that the tenant trusts; the fault is the same.
	AuthenticateService(ctx context.Context, p engine.Presented) (identity.Caller, error)
	// Ready checks what the engine needs, by name; a nil error is a good check.
	Ready(ctx context.Context) map[string]error

	Deploy(ctx context.Context, c identity.Caller, files []api.File, idem string) (api.Deployment, error)
	Proposals(ctx context.Context, c identity.Caller) (api.Proposals, error)
	Proposal(ctx context.Context, c identity.Caller, id string) (api.Proposal, error)
	ApproveDeployment(ctx context.Context, c identity.Caller, id string, in api.ReasonRequest) (api.Deployment, error)
	WithdrawDeployment(ctx context.Context, c identity.Caller, id string, in api.ReasonRequest) (api.Proposal, error)
	Processes(ctx context.Context, c identity.Caller, p engine.Page) (api.Processes, error)
	Process(ctx context.Context, c identity.Caller, id string, version int) (api.Process, error)
	Model(ctx context.Context, c identity.Caller, id string, version int) ([]byte, error)
	SetMode(ctx context.Context, c identity.Caller, process, mode, idem string) (api.Process, error)

	Start(ctx context.Context, c identity.Caller, in api.StartRequest, idem string) (api.Receipt, error)
	Instances(ctx context.Context, c identity.Caller, f engine.InstanceFilter, p engine.Page) (api.Instances, error)
	Instance(ctx context.Context, c identity.Caller, id string) (api.Instance, error)
	Steps(ctx context.Context, c identity.Caller, id string, p engine.Page) (api.Steps, error)
	Export(ctx context.Context, c identity.Caller, id string) (api.Export, error)
	Cancel(ctx context.Context, c identity.Caller, id, idem string) (api.Receipt, error)
	SetVariables(ctx context.Context, c identity.Caller, id string, variables []byte, idem string) (api.Receipt, error)

	Tasks(ctx context.Context, c identity.Caller, f engine.TaskFilter, p engine.Page) (api.Tasks, error)
	Task(ctx context.Context, c identity.Caller, id string) (api.Task, error)
	Claim(ctx context.Context, c identity.Caller, id, assignee, idem string) (api.Receipt, error)
	Unclaim(ctx context.Context, c identity.Caller, id, idem string) (api.Receipt, error)
	SaveTask(ctx context.Context, c identity.Caller, id string, draft []byte, idem string) (api.Receipt, error)
	Statement(ctx context.Context, c identity.Caller, id string, in api.StatementRequest) (api.Statement, error)
	CompleteSignedTask(ctx context.Context, c identity.Caller, id string, in api.CompleteTaskRequest, idem string) (api.Receipt, error)

	// ActivateJobs waits for a job as long as the request says, but returns
	// when ctx ends.
	ActivateJobs(ctx context.Context, c identity.Caller, in api.ActivateRequest) (api.Jobs, error)
	CompleteJob(ctx context.Context, c identity.Caller, id string, in api.CompleteJobRequest, idem string) (api.Receipt, error)
	FailJob(ctx context.Context, c identity.Caller, id string, in api.FailJobRequest, idem string) (api.Receipt, error)
	ErrorJob(ctx context.Context, c identity.Caller, id string, in api.ErrorJobRequest, idem string) (api.Receipt, error)
	ExtendJob(ctx context.Context, c identity.Caller, id string, in api.ExtendJobRequest) (api.Lease, error)

	PutFile(ctx context.Context, c identity.Caller, in engine.Incoming) (api.Upload, error)
	// File opens a file. A read of it may fail with Integrity, and has then given
	// nothing that is wrong.
	File(ctx context.Context, c identity.Caller, instance, file string) (*engine.Download, error)

	Incidents(ctx context.Context, c identity.Caller, process string, p engine.Page) (api.Incidents, error)
	RetryIncident(ctx context.Context, c identity.Caller, id string, retries int, idem string) (api.Receipt, error)

	PlaceHold(ctx context.Context, c identity.Caller, in api.HoldRequest, idem string) (api.Hold, error)
	ReleaseHold(ctx context.Context, c identity.Caller, id, idem string) (api.Hold, error)
	Holds(ctx context.Context, c identity.Caller, p engine.Page) (api.Holds, error)
	OrderErasure(ctx context.Context, c identity.Caller, in api.ErasureRequest, idem string) (api.Erasure, error)
	PreviewErasure(ctx context.Context, c identity.Caller, in api.ErasureTarget) (api.ErasurePreview, error)
	CancelErasure(ctx context.Context, c identity.Caller, id, idem string) (api.Erasure, error)
	Erasures(ctx context.Context, c identity.Caller, p engine.Page) (api.Erasures, error)
	ErasureReceipt(ctx context.Context, c identity.Caller, id string) (api.ErasureReceipt, error)
	VerifyErasure(ctx context.Context, c identity.Caller, id string, in api.ErasureCheckRequest) (api.ErasureCheck, error)

	Keys(ctx context.Context, c identity.Caller) (api.Keys, error)
	RotateKey(ctx context.Context, c identity.Caller, in api.RotateKeyRequest) (api.RotatedKey, error)
	RewrapKeys(ctx context.Context, c identity.Caller, in api.RewrapRequest) (api.Rewrap, error)
	RenewKeys(ctx context.Context, c identity.Caller, in api.RenewKeysRequest) (api.KeysRenewed, error)
	RetireKey(ctx context.Context, c identity.Caller, in api.RetireKeyRequest) (api.Retirement, error)

	CreateLogReader(ctx context.Context, c identity.Caller, in api.LogReaderRequest) (api.NewLogReader, error)
	LogReaders(ctx context.Context, c identity.Caller, p engine.Page) (api.LogReaders, error)
	RevokeLogReader(ctx context.Context, c identity.Caller, id string) (api.LogReader, error)
	LogShards(ctx context.Context, c identity.Caller) (api.LogShards, error)
	LogProof(ctx context.Context, c identity.Caller, instance string, step int) (api.LogProof, error)
	LogConsistency(ctx context.Context, c identity.Caller, q api.ConsistencyQuery) (api.LogConsistency, error)
	LogPolicy(ctx context.Context, c identity.Caller) (api.LogPolicy, error)
	LogAnchoring(ctx context.Context, c identity.Caller) (api.LogAnchoring, error)
	Receipt(ctx context.Context, c identity.Caller, instance string, step int) (api.SignedReceipt, error)
	Evidence(ctx context.Context, c identity.Caller, in api.EvidenceRequest) ([]byte, error)
	Audit(ctx context.Context, c identity.Caller, q api.AuditQuery) (api.AuditEntries, error)
	ExportAudit(ctx context.Context, c identity.Caller, q api.AuditExportQuery) (iter.Seq2[api.AuditEntry, error], error)
	// LogFile returns a file of a log to whoever knows the secret of a reader's path.
	// Everybody else gets NotFound, whatever it is that does not exist.
	LogFile(ctx context.Context, secret, shard, name string) (engine.LogFile, error)
	StartCheck(ctx context.Context, c identity.Caller, in api.CheckRequest) (api.Integrity, error)
	IntegrityStatus(ctx context.Context, c identity.Caller) (api.Integrity, error)
	Signers(ctx context.Context, c identity.Caller) (api.Signers, error)
	RegisterSigner(ctx context.Context, c identity.Caller, in api.SignerRequest, idem string) (api.Signer, error)
	RotateSigner(ctx context.Context, c identity.Caller, name string, in api.RotateSignerRequest, idem string) (api.Signer, error)
	RevokeSigner(ctx context.Context, c identity.Caller, name string, in api.RevokeSignerRequest, idem string) (api.Signer, error)
	// AuthenticateCookie is Authenticate for what a browser showed to a host.
	AuthenticateCookie(ctx context.Context, text, host, address string) (identity.Caller, error)
	ComeFrom(ctx context.Context, tenant, address string) (bool, error)
	SignIn(ctx context.Context, in api.SignInRequest, from engine.From) (api.NewSession, error)
	// BeginLogin, FinishLogin, RedeemLogin and EndLogins are for who signs in by an issuer's word.
	BeginLogin(ctx context.Context, in engine.Login) (engine.LoginBegun, error)
	FinishLogin(ctx context.Context, in engine.LoginAnswer) (engine.LoggedIn, error)
	RedeemLogin(ctx context.Context, in engine.Redemption) (api.NewSession, error)
	EndLogins(ctx context.Context, at engine.At, token, address string) error
	SignOut(ctx context.Context, c identity.Caller) (api.Session, error)
	BeginPasskeySignIn(ctx context.Context) (api.PasskeyQuestion, error)
	SignInByPasskey(ctx context.Context, in api.PasskeySignInRequest, from engine.From) (api.NewSession, error)
	BeginVerify(ctx context.Context, c identity.Caller) (api.PasskeyQuestion, error)
	BeginPasskey(ctx context.Context, c identity.Caller) (api.PasskeyCeremony, error)
	RegisterPasskey(ctx context.Context, c identity.Caller, in api.PasskeyRequest) (api.Passkey, error)
	RemovePasskey(ctx context.Context, c identity.Caller, id string, in api.ReasonRequest, idem string) (api.Passkey, error)
	Verify(ctx context.Context, c identity.Caller, in api.VerifyRequest, from engine.From) (api.NewSession, error)
	SetPassword(ctx context.Context, c identity.Caller, in api.PasswordRequest, from engine.From) (api.PasswordSet, error)
	ResetPassword(ctx context.Context, c identity.Caller, name string, in api.ReasonRequest, idem string) (api.Invited, error)
	Sessions(ctx context.Context, c identity.Caller, user string, p engine.Page) (api.Sessions, error)
	RevokeSession(ctx context.Context, c identity.Caller, id string) (api.Session, error)
	EndUserSessions(ctx context.Context, c identity.Caller, name string, in api.ReasonRequest, idem string) (api.User, error)
	EndAllSessions(ctx context.Context, c identity.Caller, in api.ReasonRequest, idem string) (api.Tenant, error)
	// Setup uses a link of somebody who has no other credential.
	Setup(ctx context.Context, in api.SetupRequest, address string) (api.SetupDone, error)
	Me(ctx context.Context, c identity.Caller) (api.Me, error)
	Notices(ctx context.Context, c identity.Caller) (api.Notices, error)
	Users(ctx context.Context, c identity.Caller, p engine.Page) (api.Users, error)
	User(ctx context.Context, c identity.Caller, name string) (api.User, error)
	InviteUser(ctx context.Context, c identity.Caller, in api.UserRequest, idem string) (api.Invited, error)
	InviteAgain(ctx context.Context, c identity.Caller, name string, in api.ReasonRequest, idem string) (api.Invited, error)
	ChangeUser(ctx context.Context, c identity.Caller, name string, in api.ProfileRequest, idem string) (api.User, error)
	DisableUser(ctx context.Context, c identity.Caller, name string, in api.ReasonRequest, idem string) (api.User, error)
	RevokeUser(ctx context.Context, c identity.Caller, name string, in api.ReasonRequest, idem string) (api.User, error)
	EnableUser(ctx context.Context, c identity.Caller, name string, in api.ReasonRequest, idem string) (api.User, error)
	GiveUserRole(ctx context.Context, c identity.Caller, name string, in api.RoleRequest, idem string) (api.User, error)
	TakeUserRole(ctx context.Context, c identity.Caller, name string, in api.RoleRequest, idem string) (api.User, error)
	JoinGroup(ctx context.Context, c identity.Caller, name string, in api.MemberRequest, idem string) (api.User, error)
	LeaveGroup(ctx context.Context, c identity.Caller, name string, in api.MemberRequest, idem string) (api.User, error)
	Groups(ctx context.Context, c identity.Caller, p engine.Page) (api.Groups, error)
	CreateGroup(ctx context.Context, c identity.Caller, in api.GroupRequest, idem string) (api.Group, error)
	DeleteGroup(ctx context.Context, c identity.Caller, name string, in api.ReasonRequest, idem string) (api.Group, error)
	GiveGroupRole(ctx context.Context, c identity.Caller, name string, in api.RoleRequest, idem string) (api.Group, error)
	TakeGroupRole(ctx context.Context, c identity.Caller, name string, in api.RoleRequest, idem string) (api.Group, error)
	Grants(ctx context.Context, c identity.Caller, of engine.GrantsOf, p engine.Page) (api.Grants, error)
	GiveGrant(ctx context.Context, c identity.Caller, in api.GrantRequest, idem string) (api.GivenGrant, error)
	RevokeGrant(ctx context.Context, c identity.Caller, id string, in api.ReasonRequest, idem string) (api.Grant, error)
	APIKeys(ctx context.Context, c identity.Caller, user string, p engine.Page) (api.APIKeys, error)
	CreateAPIKey(ctx context.Context, c identity.Caller, in api.APIKeyRequest, idem string) (api.NewAPIKey, error)
	RotateAPIKey(ctx context.Context, c identity.Caller, id string, in api.RotateAPIKeyRequest, idem string) (api.NewAPIKey, error)
	RevokeAPIKey(ctx context.Context, c identity.Caller, id string, in api.ReasonRequest, idem string) (api.APIKey, error)
	Tenants(ctx context.Context, c identity.Caller) (api.Tenants, error)
	CreateTenant(ctx context.Context, c identity.Caller, in api.TenantRequest, idem string) (api.NewTenant, error)
	InviteAdministrator(ctx context.Context, c identity.Caller, name string, in api.ReasonRequest, idem string) (api.NewTenant, error)
	DisableTenant(ctx context.Context, c identity.Caller, name string, in api.ReasonRequest, idem string) (api.Tenant, error)
	Issuers(ctx context.Context, c identity.Caller) (api.Issuers, error)
	SetIssuer(ctx context.Context, c identity.Caller, id string, in api.IssuerRequest, idem string) (api.Issuers, error)
	RemoveIssuer(ctx context.Context, c identity.Caller, id string, in api.ReasonRequest, idem string) (api.Issuers, error)
	LinkUser(ctx context.Context, c identity.Caller, name string, in api.LinkRequest, idem string) (api.User, error)
	UnlinkUser(ctx context.Context, c identity.Caller, name string, in api.UnlinkRequest, idem string) (api.User, error)
	EnableTenant(ctx context.Context, c identity.Caller, name string, in api.ReasonRequest, idem string) (api.Tenant, error)
	Settings(ctx context.Context, c identity.Caller) (api.Settings, error)
	SetNetworks(ctx context.Context, c identity.Caller, in api.NetworksRequest, idem string) (api.Settings, error)
	SetLimits(ctx context.Context, c identity.Caller, in api.LimitsRequest, idem string) (api.Settings, error)
	RequirePasskeys(ctx context.Context, c identity.Caller, in api.RequirePasskeyRequest, idem string) (api.Settings, error)
	SetFourEyes(ctx context.Context, c identity.Caller, in api.FourEyesRequest, idem string) (api.Settings, error)
	Policies(ctx context.Context, c identity.Caller) (api.Policies, error)
	SetPolicies(ctx context.Context, c identity.Caller, in api.PoliciesRequest, idem string) (api.Policies, error)
	TestPolicies(ctx context.Context, c identity.Caller, in api.PoliciesTestRequest) (api.PoliciesTest, error)
	Explain(ctx context.Context, c identity.Caller, q api.ExplainQuery) (api.Explanation, error)

	BreakGlasses(ctx context.Context, c identity.Caller) (api.BreakGlasses, error)
	RequestBreakGlass(ctx context.Context, c identity.Caller, r api.BreakGlassRequest, idem string) (api.BreakGlass, error)
	ApproveBreakGlass(ctx context.Context, c identity.Caller, id string, r api.ReasonRequest, idem string) (api.BreakGlass, error)
	EndBreakGlass(ctx context.Context, c identity.Caller, id string, r api.ReasonRequest, idem string) (api.BreakGlass, error)
}

var _ Engine = (*engine.Engine)(nil)
