package server_test

import (
	"cmp"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/identity"
)

func TestRoutesReachTheirUseCase(t *testing.T) {
	zero, backoff, in2031 := 0, 250, time.Date(2031, 1, 31, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		method, path, body string
		name, id           string
		in                 any
	}{
		{"GET", "/v1/deployments", "", "Proposals", "", nil},
		{"GET", "/v1/deployments/1.2", "", "Proposal", "1.2", nil},
		{"POST", "/v1/deployments/1.2/approve", `{"reason":"r"}`, "ApproveDeployment", "1.2", api.ReasonRequest{Reason: "r"}},
		{"POST", "/v1/deployments/1.2/withdraw", "", "WithdrawDeployment", "1.2", api.ReasonRequest{}},
		{"POST", "/v1/deployments", `{"files":[{"name":"loan.bpmn","content":"PGE+"}]}`, "Deploy", "", []api.File{{Name: "loan.bpmn", Content: []byte("<a>")}}},
		{"GET", "/v1/processes?limit=3&after=c", "", "Processes", "", api.Page{After: "c", Limit: 3}},
		{"GET", "/v1/processes/loan?version=2", "", "Process", "loan", 2},
		{"GET", "/v1/processes/loan/model", "", "Model", "loan", 0},
		{"PUT", "/v1/processes/loan/mode", `{"mode":"confidential"}`, "SetMode", "loan", "confidential"},
		{"POST", "/v1/instances", `{"process":"loan","version":2,"business_key":"b","variables":{"a":1}}`, "Start", "",
			api.StartRequest{Process: "loan", Version: 2, BusinessKey: "b", Variables: json.RawMessage(`{"a":1}`)}},
		{"GET", "/v1/instances?process=loan&status=active&business_key=b%20c&field=a.b&value=%C3%BC&limit=1000", "", "Instances", "", api.InstancesQuery{
			InstanceFilter: api.InstanceFilter{Process: "loan", Status: "active", BusinessKey: "b c", Field: "a.b", Value: "ü"}, Page: api.Page{Limit: 1000}}},
		{"GET", "/v1/instances/1", "", "Instance", "1", nil},
		{"GET", "/v1/instances/1/steps?after=9", "", "Steps", "1", api.Page{After: "9"}},
		{"GET", "/v1/instances/1/export", "", "Export", "1", nil},
		{"POST", "/v1/instances/1/cancel", "", "Cancel", "1", nil},
		{"POST", "/v1/instances/1/cancel", "{}", "Cancel", "1", nil},
		{"PATCH", "/v1/instances/1/variables", `{"variables":{"b":[],"a":{"x":null}}}`, "SetVariables", "1", `{"a":{"x":null},"b":[]}`},
		{"GET", "/v1/tasks?process=loan&assignee=ann&group=g&user=u&unassigned=true", "", "Tasks", "", api.TasksQuery{
			TaskFilter: api.TaskFilter{Process: "loan", Assignee: "ann", Group: "g", User: "u", Unassigned: true}}},
		{"GET", "/v1/tasks/1.2", "", "Task", "1.2", nil},
		{"POST", "/v1/tasks/1/claim", ``, "Claim", "1", ""},
		{"POST", "/v1/tasks/1/claim", `{"assignee":"ann"}`, "Claim", "1", "ann"},
		{"POST", "/v1/tasks/1/unclaim", ``, "Unclaim", "1", nil},
		{"PUT", "/v1/tasks/1/draft", `{"draft":{}}`, "SaveTask", "1", `{}`},
		{"POST", "/v1/tasks/1/complete", `{"variables":{"ok":true}}`, "CompleteTask", "1", `{"ok":true}`},
		{"POST", "/v1/tasks/1/statement", `{"variables":{"ok":true},"passkey":"1.2"}`, "Statement", "1", api.StatementRequest{Variables: json.RawMessage(`{"ok":true}`), Passkey: "1.2"}},
		{"POST", "/v1/me/passkeys/begin", "", "BeginPasskey", "", nil},
		{"POST", "/v1/me/passkeys", `{"name":"n","client_data":"A","attestation":"B"}`, "RegisterPasskey", "", api.PasskeyRequest{Name: "n", ClientData: "A", Attestation: "B"}},
		{"POST", "/v1/me/verify/begin", "", "BeginVerify", "", nil},
		{"POST", "/v1/passkeys/1.2/remove", `{"reason":"lost"}`, "RemovePasskey", "1.2", api.ReasonRequest{Reason: "lost"}},
		{"POST", "/v1/jobs/activate", `{"type":"t","worker":"w","max":5,"lease_ms":1,"wait_ms":2}`, "ActivateJobs", "", api.ActivateRequest{Type: "t", Worker: "w", Max: 5, LeaseMS: 1, WaitMS: 2}},
		{"POST", "/v1/jobs/1/complete", `{"lease":"l"}`, "CompleteJob", "1", api.CompleteJobRequest{Lease: "l"}},
		{"POST", "/v1/jobs/1/fail", `{"lease":"l","message":"m","retries":0,"backoff_ms":250}`, "FailJob", "1", api.FailJobRequest{Lease: "l", Message: "m", Retries: &zero, BackoffMS: &backoff}},
		{"POST", "/v1/jobs/1/fail", `{"lease":"l"}`, "FailJob", "1", api.FailJobRequest{Lease: "l"}},
		{"POST", "/v1/jobs/1/error", `{"lease":"l","code":"REJECTED","message":"m","variables":{}}`, "ErrorJob", "1", api.ErrorJobRequest{Lease: "l", Code: "REJECTED", Message: "m", Variables: json.RawMessage(`{}`)}},
		{"POST", "/v1/jobs/1/extend", `{"lease":"l","lease_ms":86400000}`, "ExtendJob", "1", api.ExtendJobRequest{Lease: "l", LeaseMS: 86400000}},
		{"GET", "/v1/instances/1/files/2", "", "File", "1 2", nil},
		{"GET", "/v1/incidents?process=loan", "", "Incidents", "", api.IncidentsQuery{Process: "loan"}},
		{"POST", "/v1/incidents/1/retry", `{"retries":2}`, "RetryIncident", "1", 2},
		{"POST", "/v1/holds", `{"kind":"subject","id":"p-1","reason":"r"}`, "PlaceHold", "", api.HoldRequest{Kind: "subject", ID: "p-1", Reason: "r"}},
		{"POST", "/v1/holds/1.2/release", "", "ReleaseHold", "1.2", nil},
		{"GET", "/v1/holds?limit=3", "", "Holds", "", api.Page{Limit: 3}},
		{"POST", "/v1/erasures", `{"kind":"instance","id":"1","delay_ms":0}`, "OrderErasure", "", api.ErasureRequest{Kind: "instance", ID: "1", DelayMS: &zero}},
		{"POST", "/v1/erasures/preview", `{"kind":"subject","id":"p-1"}`, "PreviewErasure", "", api.ErasureTarget{Kind: "subject", ID: "p-1"}},
		{"POST", "/v1/erasures/1/cancel", "", "CancelErasure", "1", nil},
		{"GET", "/v1/erasures?after=c", "", "Erasures", "", api.Page{After: "c"}},
		{"GET", "/v1/erasures/1/receipt", "", "ErasureReceipt", "1", nil},
		{"POST", "/v1/erasures/1/verify", `{"after":"x"}`, "VerifyErasure", "1", api.ErasureCheckRequest{After: "x"}},
		{"GET", "/v1/keys", "", "Keys", "", nil},
		{"POST", "/v1/keys/rotate", `{"key":"root","service":"s","after":"2"}`, "RotateKey", "", api.RotateKeyRequest{Key: "root", Service: "s", After: "2"}},
		{"POST", "/v1/keys/rewrap", `{"rate":5}`, "RewrapKeys", "", api.RewrapRequest{Rate: 5}},
		{"POST", "/v1/keys/rotate", `{"key":"subject","subject":"p-1"}`, "RotateKey", "", api.RotateKeyRequest{Key: "subject", Subject: "p-1"}},
		{"POST", "/v1/keys/renew", `{"of":"subjects","after":"1.a"}`, "RenewKeys", "", api.RenewKeysRequest{Of: "subjects", After: "1.a"}},
		{"POST", "/v1/keys/renew", `{"older_than_ms":5,"limit":2}`, "RenewKeys", "", api.RenewKeysRequest{OlderThanMS: 5, Limit: 2}},
		{"POST", "/v1/keys/retire", `{"key":"tenant","version":"1","dry_run":true}`, "RetireKey", "", api.RetireKeyRequest{Key: "tenant", Version: "1", DryRun: true}},
		{"GET", "/v1/log/shards", "", "LogShards", "", nil},
		{"GET", "/v1/log/proof?instance=1&step=2", "", "LogProof", "1", 2},
		{"GET", "/v1/log/consistency?shard=2026&from=3&to=5", "", "LogConsistency", "", api.ConsistencyQuery{Shard: "2026", From: 3, To: 5}},
		{"GET", "/v1/log/policy", "", "LogPolicy", "", nil},
		{"POST", "/v1/integrity/checks", `{"files":true}`, "StartCheck", "", api.CheckRequest{Files: true}},
		{"GET", "/v1/integrity", "", "IntegrityStatus", "", nil},
		{"GET", "/v1/audit?" + auditQuery + "&oldest_first=true&after=5&limit=3", "", "Audit", "", api.AuditQuery{AuditFilter: audited, OldestFirst: true, Page: api.Page{After: "5", Limit: 3}}},
		{"GET", "/v1/audit/export?" + auditQuery + "&format=cef", "", "ExportAudit", "", api.AuditExportQuery{AuditFilter: audited, Format: "cef"}},
		{"GET", "/v1/log/anchoring", "", "LogAnchoring", "", nil},
		{"GET", "/v1/instances/1/receipt?step=3", "", "Receipt", "1", 3},
		{"POST", "/v1/evidence", `{"instance":"1","task":"1.2","fields":["a"],"no_model":true}`, "Evidence", "", api.EvidenceRequest{Instance: "1", Task: "1.2", Fields: []string{"a"}, NoModel: true}},
		{"POST", "/v1/log/readers", `{"name":"the auditor"}`, "CreateLogReader", "", api.LogReaderRequest{Name: "the auditor"}},
		{"GET", "/v1/log/readers?limit=3", "", "LogReaders", "", api.Page{Limit: 3}},
		{"POST", "/v1/log/readers/1/revoke", "", "RevokeLogReader", "1", nil},
		{"GET", "/v1/signers", "", "Signers", "", nil},
		{"POST", "/v1/signers", `{"name":"ocr","principal":"p","alg":"p256","public":"AA=="}`, "RegisterSigner", "", api.SignerRequest{Name: "ocr", Principal: "p", Alg: "p256", Public: "AA=="}},
		{"POST", "/v1/signers/platform/rotate", `{}`, "RotateSigner", "platform", api.RotateSignerRequest{}},
		{"POST", "/v1/signers/ocr/revoke", `{"reason":"stolen"}`, "RevokeSigner", "ocr", api.RevokeSignerRequest{Reason: "stolen"}},
		{"GET", "/v1/me", "", "Me", "", nil},
		{"GET", "/v1/me/notices", "", "Notices", "", nil},
		{"GET", "/v1/users?limit=3", "", "Users", "", api.Page{Limit: 3}},
		{"GET", "/v1/users/zoe", "", "User", "zoe", nil},
		{"POST", "/v1/users", `{"name":"zoe","kind":"service","display":"Zoe","mail":"z@example.org","roles":["Viewer"],"groups":["g"],"reason":"r"}`, "InviteUser", "",
			api.UserRequest{Name: "zoe", Kind: "service", Display: "Zoe", Mail: "z@example.org", Roles: []string{"Viewer"}, Groups: []string{"g"}, Reason: "r"}},
		{"POST", "/v1/users/zoe/invite", `{"reason":"r"}`, "InviteAgain", "zoe", api.ReasonRequest{Reason: "r"}},
		{"PUT", "/v1/users/zoe/profile", `{"display":"Zoe","mail":""}`, "ChangeUser", "zoe", api.ProfileRequest{Display: "Zoe"}},
		{"POST", "/v1/users/zoe/disable", `{"reason":"left"}`, "DisableUser", "zoe", api.ReasonRequest{Reason: "left"}},
		{"POST", "/v1/users/zoe/revoke", `{"reason":"stolen"}`, "RevokeUser", "zoe", api.ReasonRequest{Reason: "stolen"}},
		{"POST", "/v1/users/zoe/enable", "", "EnableUser", "zoe", api.ReasonRequest{}},
		{"POST", "/v1/users/zoe/give-role", `{"role":"Viewer"}`, "GiveUserRole", "zoe", api.RoleRequest{Role: "Viewer"}},
		{"POST", "/v1/users/zoe/take-role", `{"role":"Viewer","reason":"r"}`, "TakeUserRole", "zoe", api.RoleRequest{Role: "Viewer", Reason: "r"}},
		{"POST", "/v1/users/zoe/join", `{"group":"g"}`, "JoinGroup", "zoe", api.MemberRequest{Group: "g"}},
		{"POST", "/v1/users/zoe/leave", `{"group":"g"}`, "LeaveGroup", "zoe", api.MemberRequest{Group: "g"}},
		{"GET", "/v1/groups?after=c", "", "Groups", "", api.Page{After: "c"}},
		{"POST", "/v1/groups", `{"name":"g","roles":["Executor"]}`, "CreateGroup", "", api.GroupRequest{Name: "g", Roles: []string{"Executor"}}},
		{"GET", "/v1/issuers", "", "Issuers", "", nil},
		{"PUT", "/v1/issuers/corp", `{"kind":"services","url":"https://a.example","audiences":["b"]}`, "SetIssuer", "corp",
			api.IssuerRequest{Kind: "services", URL: "https://a.example", Audiences: []string{"b"}}},
		{"POST", "/v1/issuers/corp/remove", `{"reason":"r"}`, "RemoveIssuer", "corp", api.ReasonRequest{Reason: "r"}},
		{"POST", "/v1/users/zoe/link", `{"issuer":"corp","subject":"7"}`, "LinkUser", "zoe", api.LinkRequest{Issuer: "corp", Subject: "7"}},
		{"POST", "/v1/users/zoe/unlink", `{"id":"1.2"}`, "UnlinkUser", "zoe", api.UnlinkRequest{ID: "1.2"}},
		{"POST", "/v1/groups/g/delete", "", "DeleteGroup", "g", api.ReasonRequest{}},
		{"POST", "/v1/groups/g/give-role", `{"role":"Viewer"}`, "GiveGroupRole", "g", api.RoleRequest{Role: "Viewer"}},
		{"POST", "/v1/groups/g/take-role", `{"role":"Viewer"}`, "TakeGroupRole", "g", api.RoleRequest{Role: "Viewer"}},
		{"GET", "/v1/grants?user=zoe&limit=2", "", "Grants", "", api.GrantsQuery{User: "zoe", Page: api.Page{Limit: 2}}},
		{"POST", "/v1/grants", `{"group":"g","right":"view","process":"loan","where":{"path":"company","value":"A"}}`, "GiveGrant", "",
			api.GrantRequest{Group: "g", Right: "view", Process: "loan", Where: &api.Where{Path: "company", Value: "A"}}},
		{"POST", "/v1/grants/1.2/revoke", `{"reason":"r"}`, "RevokeGrant", "1.2", api.ReasonRequest{Reason: "r"}},
		{"GET", "/v1/apikeys?user=zoe", "", "APIKeys", "", api.APIKeysQuery{User: "zoe"}},
		{"POST", "/v1/apikeys", `{"user":"ocr","scopes":["job:*"],"networks":["192.0.2.0/24"]}`, "CreateAPIKey", "",
			api.APIKeyRequest{User: "ocr", Scopes: []string{"job:*"}, Networks: []string{"192.0.2.0/24"}}},
		{"POST", "/v1/apikeys", `{"user":"ocr","expires":"2031-01-31T12:00:00Z"}`, "CreateAPIKey", "", api.APIKeyRequest{User: "ocr", Expires: &in2031}},
		{"POST", "/v1/apikeys/1.2/rotate", `{"overlap_ms":0}`, "RotateAPIKey", "1.2", api.RotateAPIKeyRequest{OverlapMS: &zero}},
		{"POST", "/v1/apikeys/1.2/revoke", "", "RevokeAPIKey", "1.2", api.ReasonRequest{}},
		{"POST", "/v1/me/sign-out", "", "SignOut", "", nil},
		{"POST", "/v1/me/verify", `{"password":"x"}`, "Verify", "", api.VerifyRequest{Password: "x"}},
		{"PUT", "/v1/me/password", `{"old":"x","new":"y"}`, "SetPassword", "", api.PasswordRequest{Old: "x", New: "y"}},
		{"GET", "/v1/sessions?user=zoe&limit=2", "", "Sessions", "", api.SessionsQuery{User: "zoe", Page: api.Page{Limit: 2}}},
		{"POST", "/v1/sessions/1/revoke", "", "RevokeSession", "1", nil},
		{"POST", "/v1/sessions/end", `{"reason":"r"}`, "EndAllSessions", "", api.ReasonRequest{Reason: "r"}},
		{"POST", "/v1/users/zoe/end-sessions", `{"reason":"r"}`, "EndUserSessions", "zoe", api.ReasonRequest{Reason: "r"}},
		{"POST", "/v1/users/zoe/reset-password", "", "ResetPassword", "zoe", api.ReasonRequest{}},
		{"GET", "/v1/tenants", "", "Tenants", "", nil},
		{"POST", "/v1/tenants", `{"name":"acme","display":"Acme"}`, "CreateTenant", "", api.TenantRequest{Name: "acme", Display: "Acme"}},
		{"POST", "/v1/tenants/acme/invite", "", "InviteAdministrator", "acme", api.ReasonRequest{}},
		{"POST", "/v1/tenants/acme/disable", `{"reason":"r"}`, "DisableTenant", "acme", api.ReasonRequest{Reason: "r"}},
		{"POST", "/v1/tenants/acme/enable", "", "EnableTenant", "acme", api.ReasonRequest{}},
		{"GET", "/v1/settings", "", "Settings", "", nil},
		{"PUT", "/v1/settings/networks", `{"networks":{"all":["10.0.0.0/8"],"roles":[{"role":"Admin","from":["10.0.0.1"]}]},"reason":"r"}`, "SetNetworks", "",
			api.NetworksRequest{Networks: api.Networks{All: []string{"10.0.0.0/8"}, Roles: []api.RoleNetworks{{Role: "Admin", From: []string{"10.0.0.1"}}}}, Reason: "r"}},
		{"PUT", "/v1/settings/limits", `{"limits":{"user":"5/s"}}`, "SetLimits", "", api.LimitsRequest{Limits: api.Limits{User: "5/s"}}},
		{"GET", "/v1/break-glass", "", "BreakGlasses", "", nil},
		{"POST", "/v1/break-glass", `{"process":"loan","reason":"fire","lasts_ms":1}`, "RequestBreakGlass", "", api.BreakGlassRequest{Process: "loan", Reason: "fire", LastsMS: 1}},
		{"POST", "/v1/break-glass/1.2/approve", `{"reason":"seen"}`, "ApproveBreakGlass", "1.2", api.ReasonRequest{Reason: "seen"}},
		{"POST", "/v1/break-glass/1.2/end", `{}`, "EndBreakGlass", "1.2", api.ReasonRequest{}},
		{"PUT", "/v1/settings/passkeys", `{"of":"administrators"}`, "RequirePasskeys", "", api.RequirePasskeyRequest{Of: "administrators"}},
		{"PUT", "/v1/settings/four-eyes", `{"required":true}`, "SetFourEyes", "", api.FourEyesRequest{Required: true}},
		{"GET", "/v1/policies", "", "Policies", "", nil},
		{"PUT", "/v1/policies", `{"text":"x","reason":"r"}`, "SetPolicies", "", api.PoliciesRequest{Text: "x", Reason: "r"}},
		{"POST", "/v1/policies/test", `{"text":"x"}`, "TestPolicies", "", api.PoliciesTestRequest{Text: "x"}},
		{"GET", "/v1/explain?principal=zoe&action=task:read&kind=task&id=1.2&field=a&address=10.0.0.1&purpose=p", "", "Explain", "",
			api.ExplainQuery{Principal: "zoe", Action: "task:read", Kind: "task", ID: "1.2", Field: "a", Address: "10.0.0.1", Purpose: "p"}},
	} {
		t.Run(c.name+" by "+c.method+" "+c.path, func(t *testing.T) {
			t.Parallel()
			e := &fakeEngine{}
			r := request(c.method, c.path, c.body)
			r.Header.Set("Idempotency-Key", "k-1")
			w := serve(newServer(t, e), r)
			if w.Code != 200 {
				t.Fatalf("status = %d: %s", w.Code, w.Body)
			}
			if got := w.Header().Get("Content-Type"); got == "" || (got == "application/json") != json.Valid(w.Body.Bytes()) {
				t.Errorf("%.200s is said to be %q", w.Body, got)
			}
			idem := "k-1"
			if c.method == "GET" || c.name == "ActivateJobs" || c.name == "ExtendJob" || c.name == "PreviewErasure" || c.name == "VerifyErasure" || strings.HasPrefix(c.path, "/v1/keys/") || strings.HasPrefix(c.path, "/v1/log/") || c.name == "Evidence" || c.name == "TestPolicies" || strings.HasPrefix(c.path, "/v1/deployments/") || c.name == "StartCheck" || unkeyedSessions[c.name] {
				idem = ""
			}
			want := call{c.name, c.id, idem, identity.Caller{Principal: "p-1", Who: somebody, Address: "192.0.2.1"}, c.in}
			if got := e.last(t); !reflect.DeepEqual(got, want) {
				t.Errorf("the engine got %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestListsAreNeverNull(t *testing.T) {
	s := newServer(t, &fakeEngine{})
	for _, path := range []string{"/v1/processes", "/v1/instances", "/v1/instances/1/steps", "/v1/tasks", "/v1/incidents"} {
		if got := serve(s, request("GET", path, "")).Body.String(); got != "{\"items\":[]}\n" {
			t.Errorf("GET %s = %s; want an empty list", path, got)
		}
	}
}

func TestModelIsGivenBackByteForByteAndNeverShown(t *testing.T) {
	w := serve(newServer(t, &fakeEngine{}), request("GET", "/v1/processes/loan/model", ""))
	if got := w.Body.String(); got != "<definitions/>" {
		t.Errorf("model = %q", got)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/xml", "Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s = %q; want %q", name, got, want)
		}
	}
}

// spec is as much of the OpenAPI document as the tests walk.
type spec struct {
	OpenAPI    string
	Security   []map[string][]string
	Components struct {
		SecuritySchemes map[string]struct{ Type, In, Name string }
	}
	Paths map[string]map[string]struct {
		OperationID string
		Security    *[]map[string][]string // nil: that of all
		Parameters  []struct {
			Name, In string
			Required bool
		}
		RequestBody *struct{ Required bool }
		Responses   map[string]json.RawMessage
	}
}

func readSpec(t *testing.T) spec {
	t.Helper()
	var s spec
	if err := json.Unmarshal(serve(newServer(t, &fakeEngine{}), request("GET", "/openapi.json", "")).Body.Bytes(), &s); err != nil {
		t.Fatal(err)
	}
	if s.OpenAPI != "3.1.0" || len(s.Paths) < 20 {
		t.Fatalf("OpenAPI %q with %d paths; want 3.1.0 with at least 20", s.OpenAPI, len(s.Paths))
	}
	return s
}

// unkeyedSessions take no idempotency key.
var unkeyedSessions = map[string]bool{
	"SignOut": true, "Verify": true, "SetPassword": true, "RevokeSession": true,
	"BeginVerify": true, "BeginPasskey": true, "RegisterPasskey": true, "Statement": true,
}

// Every route that is not named here must refuse a call without credentials,
// and the document must say so.
func TestEveryRouteNeedsCredentials(t *testing.T) {
	const answer = `{"id":"A","client_data":"A","authenticator_data":"A","signature":"A"}`
	public := map[string]string{"POST /v1/sessions/passkey/begin": "", "POST /v1/sessions/passkey": `{"user":"A","answer":` + answer + `}`, "/healthz": "", "/readyz": "", "/openapi.json": "", "/v1/setup": `{"link":"usi_x"}`, "POST /v1/sessions": `{"tenant":"t","name":"n","password":"p"}`, // and what is sent
		"/v1/login/{tenant}/{issuer}": "", "/v1/login/{tenant}/{issuer}/done": "", "/v1/login/{tenant}/{issuer}/logout": "logout_token=x",
		"/v1/login/{tenant}/{issuer}/session": redeems}
	other := map[string]int{"/v1/login/{tenant}/{issuer}": 303} // than 200
	s := newServer(t, &fakeEngine{})
	for path, item := range readSpec(t).Paths {
		for method, o := range item {
			named := path
			if _, ok := public[path]; !ok {
				named = strings.ToUpper(method) + " " + path
			}
			r := request(strings.ToUpper(method), strings.NewReplacer("{", "", "}", "").Replace(path), public[named])
			r.Header.Del("Authorization")
			if strings.HasSuffix(path, "/logout") {
				r.Header.Set("Content-Type", formType)
			}
			w := serve(s, r)
			if _, ok := public[named]; ok {
				if want := cmp.Or(other[path], 200); w.Code != want || o.Security == nil || len(*o.Security) != 0 {
					t.Errorf("%s %s = %d without credentials, security %v; want %d, none", method, path, w.Code, o.Security, want)
				}
				continue
			}
			if w.Code != 401 || o.Security != nil {
				t.Errorf("%s %s = %d without credentials, security %v; want 401, that of all", method, path, w.Code, o.Security)
			}
		}
	}
}

// Who signed in by a password that is not enough gets to what makes it enough, and out, and
// to nothing else.
func TestAPasswordThatIsNotEnough(t *testing.T) {
	enough := map[string]bool{"POST /v1/me/passkeys/begin": true, "POST /v1/me/passkeys": true, "POST /v1/me/verify/begin": true, "POST /v1/me/verify": true, "POST /v1/me/sign-out": true}
	s, asked := newServer(t, &fakeEngine{}), 0
	for path, item := range readSpec(t).Paths {
		for method, o := range item {
			if o.Security != nil { // asks for no credentials
				continue
			}
			name := strings.ToUpper(method) + " " + path
			r := request(strings.ToUpper(method), strings.NewReplacer("{", "", "}", "").Replace(path), "")
			r.Header.Set("Authorization", "Bearer "+bareSession)
			w := serve(s, r)
			if refused := w.Code == 403 && strings.Contains(w.Body.String(), api.CodePasskeyRequired); refused == enough[name] {
				t.Errorf("%s: %d %s", name, w.Code, w.Body)
			}
			asked++
		}
	}
	if asked < 100 {
		t.Errorf("only %d routes were asked", asked)
	}
}

// The document names each way to say who calls, and nothing that is none.
func TestDocumentSaysHowToAuthenticate(t *testing.T) {
	s, named := readSpec(t), map[string]bool{}
	for _, way := range s.Security {
		for scheme := range way {
			named[scheme] = true
		}
		if len(way) == 0 {
			t.Error("a way without any credential")
		}
	}
	if len(s.Security) != 4 || len(named) != len(s.Components.SecuritySchemes) {
		t.Errorf("ways %v by %v", s.Security, s.Components.SecuritySchemes)
	}
	for scheme := range named {
		if s.Components.SecuritySchemes[scheme].Type == "" {
			t.Errorf("%s is described nowhere", scheme)
		}
	}
	if c := s.Components.SecuritySchemes["cookie"]; c.Type != "apiKey" || c.In != "cookie" || c.Name != cookieName {
		t.Errorf("the cookie is %+v", c)
	}
}

func TestDocumentSaysWhatChangesTake(t *testing.T) {
	unkeyed := map[string]bool{"activateJobs": true, "extendJob": true, "putFile": true, "previewErasure": true, "verifyErasure": true, "rotateKey": true, "rewrapKeys": true, "renewKeys": true, "retireKey": true, "createLogReader": true, "exportEvidence": true, "revokeLogReader": true, "startCheck": true, "setup": true, "approveDeployment": true, "withdrawDeployment": true, "testPolicies": true,
		"signIn": true, "signOut": true, "verify": true, "setPassword": true, "revokeSession": true, "endLogins": true, "redeemLogin": true,

		"beginPasskeySignIn": true, "signInByPasskey": true, "beginVerify": true, "beginPasskey": true, "registerPasskey": true, "getStatement": true}
	for path, item := range readSpec(t).Paths {
		for method, o := range item {
			var keyed, variable bool
			for _, p := range o.Parameters {
				keyed = keyed || p.Name == "Idempotency-Key" && p.In == "header"
				variable = variable || p.In == "path" && p.Required && strings.Contains(path, "{"+p.Name+"}")
			}
			if want := method != "get" && !unkeyed[o.OperationID]; keyed != want {
				t.Errorf("%s %s takes an idempotency key: %v; want %v", method, path, keyed, want)
			}
			if want := strings.Contains(path, "{"); variable != want {
				t.Errorf("%s %s documents its path variable: %v; want %v", method, path, variable, want)
			}
			if o.Responses["200"] == nil && o.Responses["303"] == nil || o.Responses["default"] == nil {
				t.Errorf("%s %s lacks an answer or the problem", method, path)
			}
		}
	}
}

func TestUnknownRoutesAreProblems(t *testing.T) {
	s := newServer(t, &fakeEngine{})
	for _, c := range []struct {
		method, path string
		status       int
		code, allow  string
	}{
		{"GET", "/", 404, "not_found", ""},
		{"GET", "/v1", 404, "not_found", ""},
		{"GET", "/v1/instances/", 404, "not_found", ""},
		{"GET", "/v1//instances", 404, "not_found", ""},
		{"GET", "/v1/../v1/instances", 404, "not_found", ""},
		{"GET", "/metrics", 404, "not_found", ""}, // has an address of its own
		{"GET", "/debug/pprof/heap", 404, "not_found", ""},
		{"GET", "/v1/instances/1/steps/2", 404, "not_found", ""},
		{"DELETE", "/v1/instances", 405, "method_not_allowed", "GET, HEAD, POST"},
		{"POST", "/v1/instances/1", 405, "method_not_allowed", "GET, HEAD"},
		{"OPTIONS", "/v1/jobs/activate", 405, "method_not_allowed", "POST"},
		{"TRACE", "/v1/instances", 405, "method_not_allowed", "GET, HEAD, POST"},
		{"BREW", "/healthz", 405, "method_not_allowed", "GET, HEAD"},
	} {
		w := serve(s, request(c.method, c.path, ""))
		p := decodeProblem(t, w)
		if p.Status != c.status || p.Code != c.code || w.Header().Get("Allow") != c.allow {
			t.Errorf("%s %s = %d %s, Allow %q; want %d %s, %q", c.method, c.path, p.Status, p.Code, w.Header().Get("Allow"), c.status, c.code, c.allow)
		}
	}
}

func TestHeadIsAnsweredLikeGet(t *testing.T) {
	if w := serve(newServer(t, &fakeEngine{}), request(http.MethodHead, "/healthz", "")); w.Code != 200 {
		t.Errorf("HEAD /healthz = %d", w.Code)
	}
}

// audited is what auditQuery asks for.
var audited = api.AuditFilter{
	From: "2026-01-01T00:00:00Z", To: "2027-01-01T00:00:00Z", Kind: "data.", Principal: "ann", Address: "192.0.2.9", About: "zoe", Object: "i-1", Process: "loan", Result: "done",
}

const auditQuery = "from=2026-01-01T00:00:00Z&to=2027-01-01T00:00:00Z&kind=data.&principal=ann&address=192.0.2.9&about=zoe&object=i-1&process=loan&result=done"
