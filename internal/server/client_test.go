package server_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
)

// The public client must call every route that the server describes, in a way
// that the server takes.
func TestClientCallsEveryRoute(t *testing.T) {
	s := newServer(t, &fakeEngine{})
	var mu sync.Mutex
	called := map[string]bool{}
	config := client.Config{URL: "http://127.0.0.1", Key: goodKey, HTTPClient: &http.Client{Transport: inProcess(
		func(r *http.Request) *http.Response {
			w := serve(s, r)
			mu.Lock()
			defer mu.Unlock()
			called[strings.ToLower(r.Method)+" "+r.Pattern] = true
			return w.Result()
		})}}
	c, err := client.New(config)
	if err != nil {
		t.Fatal(err)
	}
	all := callAll(t.Context(), c)
	_, all["Setup"] = client.Setup(t.Context(), config, api.SetupRequest{Link: "usi_x", Name: "zoe"})
	_, all["SignIn"] = client.SignIn(t.Context(), config, api.SignInRequest{Tenant: "t", Name: "n", Password: "p"})
	_, all["BeginPasskeySignIn"] = client.BeginPasskeySignIn(t.Context(), config)
	_, all["SignInByPasskey"] = client.SignInByPasskey(t.Context(), config, api.PasskeySignInRequest{User: "A", Answer: passkeyAnswer})
	_, all["RedeemLogin"] = client.RedeemLogin(t.Context(), config, "acme", "corp", api.LoginRedemption{Code: "c-1", Verifier: strings.Repeat("v", 43)})
	for name, err := range all {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for path, item := range readSpec(t).Paths {
		if strings.HasPrefix(path, "/v1/login/") && !strings.HasSuffix(path, "/session") { // is for browsers and providers
			continue
		}
		for method := range item {
			if pattern := method + " " + strings.ToUpper(method) + " " + path; !called[pattern] {
				t.Errorf("no method of the client calls %s %s", method, path)
			}
		}
	}
}

// What a client says that it needs values for reaches the use case.
func TestThePurposeOfAClient(t *testing.T) {
	e := &fakeEngine{}
	s := newServer(t, e)
	c, err := client.New(client.Config{URL: "http://127.0.0.1", Key: goodKey, HTTPClient: &http.Client{Transport: inProcess(
		func(r *http.Request) *http.Response { return serve(s, r).Result() })}})
	if err != nil {
		t.Fatal(err)
	}
	for purpose, of := range map[string]*client.Client{"": c, "Prüfung 7": c.For("Prüfung 7")} {
		if _, err := of.Instance(t.Context(), "1"); err != nil {
			t.Fatal(err)
		}
		if got := e.last(t).caller.Purpose; got != purpose {
			t.Errorf("the purpose %q arrives as %q", purpose, got)
		}
	}
	if _, err := c.For("a\nb").Instance(t.Context(), "1"); err == nil {
		t.Error("a purpose of two lines is sent")
	}
}

// inProcess hands requests to a handler without a network.
type inProcess func(r *http.Request) *http.Response

func (f inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	r.RequestURI = r.URL.RequestURI()
	return f(r), nil
}

// callAll calls every method of the client once, with every option it has.
func callAll(ctx context.Context, c *client.Client) map[string]error {
	page, variables := api.Page{After: "c", Limit: 10}, json.RawMessage(`{"a":1}`)
	errs := map[string]error{}
	_, errs["Proposals"] = c.Proposals(ctx)
	_, errs["Proposal"] = c.Proposal(ctx, "1.2")
	_, errs["ApproveDeployment"] = c.ApproveDeployment(ctx, "1.2", "seen")
	_, errs["WithdrawDeployment"] = c.WithdrawDeployment(ctx, "1.2", "")
	_, errs["Deploy"] = c.Deploy(ctx, api.File{Name: "a.bpmn", Content: []byte("<a/>")})
	_, errs["Processes"] = c.Processes(ctx, page)
	_, errs["Process"] = c.Process(ctx, "loan", 2)
	_, errs["Model"] = c.Model(ctx, "loan", 0)
	_, errs["SetMode"] = c.SetMode(ctx, "loan", "model")
	_, errs["Start"] = c.Start(ctx, api.StartRequest{Process: "loan", Version: 1, BusinessKey: "b", Variables: client.Variables(map[string]int{"a": 1})})
	_, errs["Instances"] = c.Instances(ctx, api.InstanceFilter{Process: "p", Status: "active", BusinessKey: "b & c", Field: "f", Value: "ü%"}, page)
	_, errs["Instance"] = c.Instance(ctx, "1")
	_, errs["Steps"] = c.Steps(ctx, "1", page)
	_, errs["Export"] = c.Export(ctx, "1")
	_, errs["Cancel"] = c.Cancel(ctx, "1")
	_, errs["SetVariables"] = c.SetVariables(ctx, "1", variables)
	_, errs["Tasks"] = c.Tasks(ctx, api.TaskFilter{Process: "p", Assignee: "a", Group: "g", User: "u", Unassigned: true}, page)
	_, errs["Task"] = c.Task(ctx, "1")
	_, errs["Claim"] = c.Claim(ctx, "1", "")
	_, errs["Unclaim"] = c.Unclaim(ctx, "1")
	_, errs["SaveTask"] = c.SaveTask(ctx, "1", variables)
	_, errs["CompleteTask"] = c.CompleteTask(ctx, "1", nil)
	callPasskeys(ctx, c, errs)
	_, errs["ActivateJobs"] = c.ActivateJobs(ctx, api.ActivateRequest{Type: "t", Worker: "w", Max: 1, LeaseMS: 1, WaitMS: 1})
	_, errs["CompleteJob"] = c.CompleteJob(ctx, "1", api.CompleteJobRequest{Lease: "l", Variables: variables})
	_, errs["FailJob"] = c.FailJob(ctx, "1", api.FailJobRequest{Lease: "l"})
	_, errs["ErrorJob"] = c.ErrorJob(ctx, "1", api.ErrorJobRequest{Lease: "l", Code: "E"})
	_, errs["ExtendJob"] = c.ExtendJob(ctx, "1", api.ExtendJobRequest{Lease: "l", LeaseMS: 1})
	_, errs["PutFile"] = c.PutFile(ctx, "a b.pdf", "application/pdf", strings.NewReader("content"))
	f, err := c.GetFile(ctx, "1", "2")
	if errs["GetFile"] = err; err == nil {
		_, errs["File.Read"] = io.Copy(io.Discard, f)
		errs["File.Close"] = f.Close()
	}
	_, errs["Incidents"] = c.Incidents(ctx, "loan", page)
	_, errs["RetryIncident"] = c.RetryIncident(ctx, "1", 0)
	target := api.ErasureTarget{Kind: "subject", ID: "p-1"}
	_, errs["PlaceHold"] = c.PlaceHold(ctx, api.HoldRequest{Kind: target.Kind, ID: target.ID})
	_, errs["ReleaseHold"] = c.ReleaseHold(ctx, "1.2")
	_, errs["Holds"] = c.Holds(ctx, page)
	_, errs["OrderErasure"] = c.OrderErasure(ctx, api.ErasureRequest{Kind: target.Kind, ID: target.ID})
	_, errs["PreviewErasure"] = c.PreviewErasure(ctx, target)
	_, errs["CancelErasure"] = c.CancelErasure(ctx, "1")
	_, errs["Erasures"] = c.Erasures(ctx, page)
	_, errs["ErasureReceipt"] = c.ErasureReceipt(ctx, "1")
	_, errs["VerifyErasure"] = c.VerifyErasure(ctx, "1", "")
	_, errs["Keys"] = c.Keys(ctx)
	_, errs["RotateKey"] = c.RotateKey(ctx, api.RotateKeyRequest{Key: "tenant", Service: "s", After: "1"})
	_, errs["RewrapKeys"] = c.RewrapKeys(ctx, api.RewrapRequest{Rate: 1})
	_, errs["RenewKeys"] = c.RenewKeys(ctx, api.RenewKeysRequest{Limit: 1})
	_, errs["RetireKey"] = c.RetireKey(ctx, api.RetireKeyRequest{Key: "root", Version: "1", DryRun: true})
	_, errs["CreateLogReader"] = c.CreateLogReader(ctx, "the auditor")
	_, errs["LogShards"] = c.LogShards(ctx)
	_, errs["LogProof"] = c.LogProof(ctx, "1", 2)
	_, errs["LogConsistency"] = c.LogConsistency(ctx, "2026", 3, 5)
	_, errs["LogPolicy"] = c.LogPolicy(ctx)
	_, errs["StartCheck"] = c.StartCheck(ctx, api.CheckRequest{})
	_, errs["IntegrityStatus"] = c.Integrity(ctx)
	_, errs["Audit"] = c.Audit(ctx, api.AuditQuery{AuditFilter: audited, OldestFirst: true, Page: page})
	errs["ExportAudit"] = c.ExportAudit(ctx, api.AuditExportQuery{AuditFilter: audited, Format: "cef"}, io.Discard)
	_, errs["LogAnchoring"] = c.LogAnchoring(ctx)
	_, errs["Receipt"] = c.Receipt(ctx, "1", 2)
	_, errs["Evidence"] = c.Evidence(ctx, api.EvidenceRequest{Instance: "1"})
	_, errs["LogReaders"] = c.LogReaders(ctx, page)
	_, errs["RevokeLogReader"] = c.RevokeLogReader(ctx, "1")
	_, errs["Signers"] = c.Signers(ctx)
	_, errs["RegisterSigner"] = c.RegisterSigner(ctx, api.SignerRequest{Name: "ocr", Principal: "p", Alg: "ed25519", Public: "AA=="})
	_, errs["RotateSigner"] = c.RotateSigner(ctx, "ocr", api.RotateSignerRequest{Alg: "p256", Public: "AA=="})
	_, errs["RevokeSigner"] = c.RevokeSigner(ctx, "platform", api.RevokeSignerRequest{Reason: "stolen"})
	_, errs["Me"] = c.Me(ctx)
	_, errs["Notices"] = c.Notices(ctx)
	_, errs["Users"] = c.Users(ctx, page)
	_, errs["User"] = c.User(ctx, "zoe")
	_, errs["InviteUser"] = c.InviteUser(ctx, api.UserRequest{Name: "zoe", Roles: []string{"Viewer"}})
	_, errs["InviteAgain"] = c.InviteAgain(ctx, "zoe", "lost")
	_, errs["ChangeUser"] = c.ChangeUser(ctx, "zoe", api.ProfileRequest{Display: "Zoe"})
	_, errs["DisableUser"] = c.DisableUser(ctx, "zoe", "left")
	_, errs["EnableUser"] = c.EnableUser(ctx, "zoe", "")
	_, errs["GiveUserRole"] = c.GiveUserRole(ctx, "zoe", api.RoleRequest{Role: "Viewer"})
	_, errs["TakeUserRole"] = c.TakeUserRole(ctx, "zoe", api.RoleRequest{Role: "Viewer"})
	_, errs["JoinGroup"] = c.JoinGroup(ctx, "zoe", api.MemberRequest{Group: "g"})
	_, errs["LeaveGroup"] = c.LeaveGroup(ctx, "zoe", api.MemberRequest{Group: "g"})
	_, errs["Groups"] = c.Groups(ctx, page)
	_, errs["CreateGroup"] = c.CreateGroup(ctx, api.GroupRequest{Name: "g"})
	_, errs["Issuers"] = c.Issuers(ctx)
	_, errs["SetIssuer"] = c.SetIssuer(ctx, "corp", api.IssuerRequest{Kind: "services"})
	_, errs["RemoveIssuer"] = c.RemoveIssuer(ctx, "corp", "")
	_, errs["LinkUser"] = c.LinkUser(ctx, "zoe", api.LinkRequest{Issuer: "corp", Subject: "7"})
	_, errs["UnlinkUser"] = c.UnlinkUser(ctx, "zoe", api.UnlinkRequest{ID: "1.2"})
	_, errs["DeleteGroup"] = c.DeleteGroup(ctx, "g", "")
	_, errs["GiveGroupRole"] = c.GiveGroupRole(ctx, "g", api.RoleRequest{Role: "Viewer"})
	_, errs["TakeGroupRole"] = c.TakeGroupRole(ctx, "g", api.RoleRequest{Role: "Viewer"})
	_, errs["Grants"] = c.Grants(ctx, api.GrantsQuery{Page: page, User: "zoe", Group: "g"})
	_, errs["GiveGrant"] = c.GiveGrant(ctx, api.GrantRequest{User: "zoe", Right: "view", Process: "loan"})
	_, errs["RevokeGrant"] = c.RevokeGrant(ctx, "1.2", "")
	_, errs["APIKeys"] = c.APIKeys(ctx, api.APIKeysQuery{Page: page, User: "zoe"})
	_, errs["CreateAPIKey"] = c.CreateAPIKey(ctx, api.APIKeyRequest{User: "zoe"})
	_, errs["RotateAPIKey"] = c.RotateAPIKey(ctx, "1.2", api.RotateAPIKeyRequest{})
	_, errs["RevokeAPIKey"] = c.RevokeAPIKey(ctx, "1.2", "stolen")
	_, errs["SignOut"] = c.SignOut(ctx)
	_, errs["Verify"] = c.Verify(ctx, "p")
	_, errs["SetPassword"] = c.SetPassword(ctx, api.PasswordRequest{New: "p"})
	_, errs["ResetPassword"] = c.ResetPassword(ctx, "zoe", "")
	_, errs["Sessions"] = c.Sessions(ctx, api.SessionsQuery{User: "zoe", Page: page})
	_, errs["RevokeSession"] = c.RevokeSession(ctx, "1")
	_, errs["EndUserSessions"] = c.EndUserSessions(ctx, "zoe", "")
	_, errs["EndAllSessions"] = c.EndAllSessions(ctx, "")
	_, errs["Tenants"] = c.Tenants(ctx)
	_, errs["CreateTenant"] = c.CreateTenant(ctx, api.TenantRequest{Name: "acme"})
	_, errs["InviteAdministrator"] = c.InviteAdministrator(ctx, "acme", "lost")
	_, errs["DisableTenant"] = c.DisableTenant(ctx, "acme", "")
	_, errs["EnableTenant"] = c.EnableTenant(ctx, "acme", "")
	_, errs["RevokeUser"] = c.RevokeUser(ctx, "zoe", "stolen")
	_, errs["Settings"] = c.Settings(ctx)
	_, errs["SetNetworks"] = c.SetNetworks(ctx, api.NetworksRequest{Networks: api.Networks{All: []string{"10.0.0.0/8"}, Roles: []api.RoleNetworks{{Role: "Admin", From: []string{"10.0.0.1"}}}}})
	_, errs["SetLimits"] = c.SetLimits(ctx, api.LimitsRequest{Limits: api.Limits{User: "5/s"}})
	_, errs["RequirePasskeys"] = c.RequirePasskeys(ctx, api.RequirePasskeyRequest{Of: "everyone"})
	_, errs["SetFourEyes"] = c.SetFourEyes(ctx, api.FourEyesRequest{Required: true})
	_, errs["Policies"] = c.Policies(ctx)
	_, errs["SetPolicies"] = c.SetPolicies(ctx, api.PoliciesRequest{})
	_, errs["TestPolicies"] = c.TestPolicies(ctx, api.PoliciesTestRequest{})
	_, errs["BreakGlasses"] = c.BreakGlasses(ctx)
	_, errs["RequestBreakGlass"] = c.RequestBreakGlass(ctx, api.BreakGlassRequest{Process: "loan", Reason: "fire", LastsMS: 1})
	_, errs["ApproveBreakGlass"] = c.ApproveBreakGlass(ctx, "1.2", "seen")
	_, errs["EndBreakGlass"] = c.EndBreakGlass(ctx, "1.2", "")
	_, errs["Explain"] = c.Explain(ctx, api.ExplainQuery{Principal: "zoe", Action: "task:read", Kind: "task", ID: "1.2", Field: "a", Address: "10.0.0.1", Purpose: "p"})
	_, errs["Health"] = c.Health(ctx)
	_, errs["Ready"] = c.Ready(ctx)
	_, errs["OpenAPI"] = c.OpenAPI(ctx)
	return errs
}

var passkeyAnswer = api.PasskeyAnswer{ID: "AAAA", ClientData: "AAAA", Authenticator: "AAAA", Signature: "AAAA"}

func callPasskeys(ctx context.Context, c *client.Client, errs map[string]error) {
	text, answer := "AAAA", passkeyAnswer
	_, errs["BeginVerify"] = c.BeginVerify(ctx)
	_, errs["VerifyByPasskey"] = c.VerifyByPasskey(ctx, answer)
	_, errs["BeginPasskey"] = c.BeginPasskey(ctx)
	_, errs["RegisterPasskey"] = c.RegisterPasskey(ctx, api.PasskeyRequest{Name: "laptop", ClientData: text, Attestation: text})
	_, errs["RemovePasskey"] = c.RemovePasskey(ctx, "1.2", "lost")
	_, errs["Statement"] = c.Statement(ctx, "1", api.StatementRequest{Passkey: "1.2"})
	_, errs["CompleteSignedTask"] = c.CompleteSignedTask(ctx, "1", api.CompleteTaskRequest{Signed: &api.SignedTask{Statement: "{}", Nonce: strings.Repeat("0", 64), Answer: answer}})
}

// BenchmarkLoopback is a start by the public client over TCP, both sides and
// net/http included, with 32 starters.
func BenchmarkLoopback(b *testing.B) {
	ts := httptest.NewServer(newServer(b, &idleEngine{}))
	defer ts.Close()
	c, err := client.New(client.Config{URL: ts.URL, Key: goodKey})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	in := api.StartRequest{Process: "loan", BusinessKey: "order-4711", Variables: json.RawMessage(variables(8))}
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Start(context.Background(), in); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
