package server_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

// matrixModel has a task for a group, a job, and a file among its data.
const matrixModel = `<?xml version="1.0"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" xmlns:seal="urn:underseal:bpmn:1" targetNamespace="x">
<process id="claim" isExecutable="true">
<extensionElements><seal:policy default="internal"/></extensionElements>
<startEvent id="start"/><sequenceFlow id="f0" sourceRef="start" targetRef="split"/>
<parallelGateway id="split"/>
<sequenceFlow id="f1" sourceRef="split" targetRef="ask"/><sequenceFlow id="f2" sourceRef="split" targetRef="work"/>
<userTask id="ask"><extensionElements><zeebe:userTask/><zeebe:assignmentDefinition candidateGroups="clerks"/></extensionElements></userTask>
<serviceTask id="work"><extensionElements><zeebe:taskDefinition type="work"/></extensionElements></serviceTask>
</process></definitions>`

// matrixInput is what an operation is sent, where it needs something: its query or its
// body. Names in braces are ids of the world. What would do harm to the next is asked for
// so that it is refused once the caller may.
var matrixInput = map[string]string{
	"createAPIKey": `{"user":"{user}"}`, "deploy": `{"files":[{"name":"x.txt","content":""}]}`,
	"orderErasure": `{"kind":"instance","id":"{spare}","delay_ms":3600000}`, "previewErasure": `{"kind":"instance","id":"{spare}"}`,
	"exportEvidence": `{"instance":"{instance}"}`, "explain": `?principal={user}&action=task:read`, "putFile": `?name=a.txt`,
	"setIssuer": `{"kind":"people"}`, "linkUser": `{"issuer":"{issuer}","subject":"7"}`, "unlinkUser": `{"id":"7"}`,
	"giveGrant": `{"user":"{user}","right":"view"}`, "createGroup": `{"name":"NO NAME"}`,
	"giveGroupRole": `{"role":"King"}`, "takeGroupRole": `{"role":"King"}`, "placeHold": `{"kind":"instance","id":"{spare}"}`, "retryIncident": `{}`,
	"startInstance": `{"process":"{process}"}`, "getReceipt": `?step=1`, "setVariables": `{"variables":{"a":1}}`,
	"activateJobs": `{"type":"none","worker":"w"}`, "completeJob": `{"lease":"x"}`, "throwJobError": `{"lease":"x","code":"c"}`,
	"extendJob": `{"lease":"x","lease_ms":1000}`, "failJob": `{"lease":"x"}`, "renewKeys": `{"of":"subjects","after":"x"}`,
	"retireKey": `{"key":"root","version":"99","dry_run":true}`, "rotateKey": `{"key":"root","service":"none"}`, "rewrapKeys": `{"rate":5}`,
	"getLogConsistency": `?shard=1999&from=1&to=2`, "getLogProof": `?instance={instance}&step=1`, "createLogReader": `{"name":"x"}`,
	"setPolicies": `{"text":"x"}`, "testPolicies": `{"text":"x"}`, "setMode": `{"mode":"model"}`, "setFourEyes": `{"required":true}`, "requirePasskeys": `{"of":"none"}`, "requestBreakGlass": `{"instance":"{instance}","reason":"fire","lasts_ms":86400000}`,
	"setLimits": `{"limits":{"user":"x"}}`, "setNetworks": `{"networks":{"all":["x"],"roles":[]}}`, "setup": `{"link":"usi_x"}`,
	"registerSigner": `{"name":"x","principal":"p","alg":"p256","public":"AA=="}`, "claimTask": `{}`, "completeTask": `{}`, "saveTask": `{"draft":{}}`,
	"createTenant": `{"name":"NO NAME"}`, "inviteUser": `{"name":"NO NAME"}`, "giveUserRole": `{"role":"King"}`, "takeUserRole": `{"role":"King"}`,
	"joinGroup": `{"group":"none"}`, "leaveGroup": `{"group":"none"}`, "changeUser": `{"display":"","mail":""}`,
	"signIn": `{"tenant":"NONE","name":"none","password":"x"}`, "verify": `{"password":"x"}`, "setPassword": `{"new":"x"}`, "endLogins": "logout_token=x", "redeemLogin": redeems,
	"signInByPasskey": `{"user":"A","answer":{"id":"A","client_data":"A","authenticator_data":"A","signature":"A"}}`,
	"registerPasskey": `{"name":"x","client_data":"A","attestation":"A"}`, "getStatement": `{}`,
}

// missing are ids of what is not there, in the form that those of the world have.
func missing(name string) string {
	switch name {
	case "task", "job", "incident", "grant", "key", "passkey", "deployment", "breakglass":
		return "00000000-0000-7000-8000-000000000000.1"
	case "file":
		return strings.Repeat("0", 32)
	case "process", "user", "group", "signer", "tenant", "issuer", "subject", "businesskey":
		return "nobody-or-nothing"
	}
	return "00000000-0000-7000-8000-000000000000"
}

// matrix is a server on a company with one of everything, and people with one role each.
type matrix struct {
	*testing.T
	env    *testenv.Env
	server http.Handler
	ids    map[string]string
	keys   map[string]string // by role

	company string
	prefix  string // of all names that this company gives, so that no other has one of them
}

var matrixRoles = []string{"none", "Viewer", "Auditor", "Executor", "Designer", "Operator", "Admin", signedIn}

func newMatrix(t *testing.T, edit func(*node.Config)) *matrix {
	env := testenv.New(t, func(c *node.Config) {
		c.BreakGlassSettled = -1 // the people are new
		if edit != nil {
			edit(c)
		}
	})
	m := &matrix{T: t, env: env, server: newServer(t, env.Engine), company: "main"}
	m.fill()
	return m
}

// beside returns another company on the same server, with one of everything, too, by other
// names.
func (m *matrix) beside(company string) *matrix {
	other := &matrix{T: m.T, env: m.env.Tenant(company), server: m.server, company: company, prefix: company + "-"}
	must[api.User](m, "auditor")(other.env.Engine.GiveUserRole(m.Context(), other.env.Ann, "ann", api.RoleRequest{Role: "Auditor"}, ""))
	other.env.Ann = other.env.SignIn(other.env.Key())
	other.fill()
	return other
}

func (m *matrix) fill() {
	env, t := m.env, m.T
	m.ids, m.keys = map[string]string{}, map[string]string{}
	for _, role := range matrixRoles {
		if role == "Operator" && m.company != "main" || role == signedIn {
			continue
		}
		if m.keys[role] = env.PersonsKey(roleName(role)); role != "none" {
			must[api.User](m, "give "+role)(env.Engine.GiveUserRole(t.Context(), env.Ann, roleName(role), api.RoleRequest{Role: role}, ""))
		}
	}
	m.people()
	m.work()
	m.rest()
}

func must[V any](m *matrix, what string) func(V, error) V {
	m.Helper()
	return func(v V, err error) V {
		m.Helper()
		if err != nil {
			m.Fatalf("%s: %v", what, err)
		}
		return v
	}
}

func (m *matrix) people() {
	ctx, e, ann := m.Context(), m.env.Engine, m.env.Ann
	name, group := m.prefix+"victim", m.prefix+"clerks"
	victim := m.env.Person(name)
	m.ids["user"], m.ids["group"], m.ids["key"], m.ids["tenant"] = name, group, victim.Key, m.company
	must[api.Group](m, "group")(e.CreateGroup(ctx, ann, api.GroupRequest{Name: group}, ""))
	for _, name := range []string{name, roleName("Executor")} {
		must[api.User](m, "join")(e.JoinGroup(ctx, ann, name, api.MemberRequest{Group: group}, ""))
	}
	m.ids["grant"] = must[api.GivenGrant](m, "grant")(e.GiveGrant(ctx, ann, api.GrantRequest{User: name, Right: "view", Process: m.prefix + "claim"}, "")).ID
	session := m.signIn(name)
	m.ids["session"] = session.ID
	victim = must[engine.Caller](m, "signed in")(e.Authenticate(ctx, session.Text, fromHome.Address))
	question := must[api.PasskeyCeremony](m, "begin")(e.BeginPasskey(ctx, victim))
	made := testenv.NewAuthenticator(m.T, true).Create("x", question)
	m.ids["passkey"] = must[api.Passkey](m, "passkey")(e.RegisterPasskey(ctx, victim, made)).ID
	m.ids["issuer"] = m.prefix + "the-robots-of-the-company"
	robots := api.IssuerRequest{Kind: "services", URL: "https://login.example.org", Audiences: []string{"seal"}}
	must[api.Issuers](m, "issuer")(e.SetIssuer(ctx, ann, m.ids["issuer"], robots, ""))
	must[api.Invited](m, "service")(e.InviteUser(ctx, ann, api.UserRequest{Name: "robot", Kind: "service"}, ""))
	linked := must[api.User](m, "link")(e.LinkUser(ctx, ann, "robot", api.LinkRequest{Issuer: m.ids["issuer"], Subject: m.prefix + "7"}, ""))
	m.ids["link"] = linked.Identities[0].ID
	if m.company == "main" {
		m.ids["tenant"] = "spare"
		must[api.NewTenant](m, "tenant")(e.CreateTenant(ctx, ann, api.TenantRequest{Name: "spare"}, ""))
	}
	m.env.PersonsKey("seated", "Admin", "Designer", "Executor", "Viewer", "Auditor")
	must[api.User](m, "join")(e.JoinGroup(ctx, ann, "seated", api.MemberRequest{Group: group}, ""))
	if m.company != "main" { // where they would end what the next are to ask for
		must[api.GivenGrant](m, "manage")(e.GiveGrant(ctx, ann, api.GrantRequest{User: "seated", Right: "manage", Process: "*"}, ""))
		must[api.GivenGrant](m, "reveal")(e.GiveGrant(ctx, ann, api.GrantRequest{User: "seated", Right: "reveal", Process: m.prefix + "claim", Fields: []string{"$business_key"}}, ""))
	}
	m.keys[signedIn] = m.signIn("seated").Text
	seated := must[engine.Caller](m, "signed in")(e.Authenticate(ctx, m.keys[signedIn], fromHome.Address))
	question = must[api.PasskeyCeremony](m, "begin")(e.BeginPasskey(ctx, seated))
	must[api.Passkey](m, "passkey")(e.RegisterPasskey(ctx, seated, testenv.NewAuthenticator(m.T, true).Create("x", question)))
}

// signedIn is the column of somebody with all roles of a company who is signed in by a
// session.
const signedIn = "session"

var fromHome = engine.From{Address: "192.0.2.1"}

// signIn signs somebody in, with a password of their own from the first time on.
func (m *matrix) signIn(name string) api.NewSession {
	ctx, e := m.Context(), m.env.Engine
	const words = "four words of no list"
	in := api.SignInRequest{Tenant: m.company, Name: name, Password: words}
	if s, err := e.SignIn(ctx, in, fromHome); err == nil {
		return s
	}
	reset := must[api.Invited](m, "link")(e.ResetPassword(ctx, m.env.Ann, name, api.ReasonRequest{}, ""))
	must[api.SetupDone](m, "password")(e.Setup(ctx, api.SetupRequest{Link: reset.Link, Password: words}, fromHome.Address))
	return must[api.NewSession](m, "session")(e.SignIn(ctx, in, fromHome))
}

// key returns the credential of somebody of a role, and signs them in again if what was
// tried before has ended their session.
func (m *matrix) key(role string) string {
	if role == signedIn {
		if _, err := m.env.Engine.Authenticate(m.Context(), m.keys[role], fromHome.Address); err != nil {
			m.keys[role] = m.signIn("seated").Text
		}
	}
	return m.keys[role]
}

func (m *matrix) work() {
	ctx, e, ann := m.Context(), m.env.Engine, m.env.Ann
	process, model := m.prefix+"claim", m.model()
	m.env.Deploy("claim.bpmn", model)
	file := must[api.Upload](m, "file")(e.PutFile(ctx, ann, engine.Incoming{Name: "a.txt", Body: strings.NewReader("a"), Size: 1})).File
	m.ids["process"], m.ids["file"] = process, file
	m.ids["instance"], m.ids["spare"] = m.env.Start(process, `{"doc": {"$file": "`+file+`"}}`), m.env.Start(process, `{}`)
	m.ids["businesskey"] = m.prefix + "order-of-the-company"
	must[api.Receipt](m, "business key")(e.Start(ctx, ann, api.StartRequest{Process: process, BusinessKey: m.ids["businesskey"]}, ""))
	jobs := must[api.Jobs](m, "jobs")(e.ActivateJobs(ctx, ann, api.ActivateRequest{Type: "work", Worker: "w", Max: 2, LeaseMS: 3_600_000}))
	zero := 0
	for _, j := range jobs.Items {
		if j.Instance == m.ids["instance"] {
			m.ids["job"], m.ids["lease"] = j.ID, j.Lease
			continue
		}
		must[api.Receipt](m, "fail")(e.FailJob(ctx, ann, j.ID, api.FailJobRequest{Lease: j.Lease, Retries: &zero}, ""))
	}
	m.ids["incident"] = must[api.Incidents](m, "incidents")(e.Incidents(ctx, ann, "", engine.Page{})).Items[0].ID
	m.ids["task"] = m.env.Task(m.ids["instance"]).ID
}

func (m *matrix) rest() {
	ctx, e, ann := m.Context(), m.env.Engine, m.env.Ann
	m.ids["subject"] = m.prefix + "person-of-the-company"
	m.ids["hold"] = must[api.Hold](m, "hold")(e.PlaceHold(ctx, ann, api.HoldRequest{Kind: "subject", ID: m.ids["subject"]}, "")).ID
	hour := 3_600_000
	m.ids["erasure"] = must[api.Erasure](m, "erasure")(e.OrderErasure(ctx, ann, api.ErasureRequest{Kind: "instance", ID: m.env.Start(m.prefix+"claim", `{}`), DelayMS: &hour}, "")).ID
	m.ids["reader"] = must[api.NewLogReader](m, "reader")(e.CreateLogReader(ctx, ann, api.LogReaderRequest{Name: "r"})).ID
	public := base64.StdEncoding.EncodeToString(ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey))
	m.ids["signer"] = must[api.Signer](m, "signer")(e.RegisterSigner(ctx, ann, api.SignerRequest{Name: m.prefix + "ocr-of-the-company", Principal: m.ids["user"], Alg: "ed25519", Public: public}, "")).Name
	asked := must[api.BreakGlass](m, "break-glass")(e.RequestBreakGlass(ctx, ann, api.BreakGlassRequest{Process: m.prefix + "claim", Reason: "fire", LastsMS: 3_600_000}, ""))
	m.ids["breakglass"] = asked.ID
	must[api.Settings](m, "four eyes")(e.SetFourEyes(ctx, ann, api.FourEyesRequest{Required: true}, ""))
	m.env.Ann = m.env.SignIn(m.env.Key())
	confidential := strings.Replace(m.model(), `default="internal"`, `default="confidential"`, 1)
	m.ids["deployment"] = m.env.Deploy("claim.bpmn", confidential).Pending.ID
	must[[]byte](m, "evidence")(testenv.Proven(func() ([]byte, error) { // all that came before has its place in the log then
		return e.Evidence(ctx, ann, api.EvidenceRequest{Instance: m.ids["instance"]})
	}))
}

// model is matrixModel by the company's names.
func (m *matrix) model() string {
	return strings.NewReplacer(`id="claim"`, `id="`+m.prefix+`claim"`, `"clerks"`, `"`+m.prefix+`clerks"`).Replace(matrixModel)
}

// ask makes a call with names in braces replaced.
func (m *matrix) ask(key, method, path, id, input string, named func(string) string) *httptest.ResponseRecorder {
	m.Helper()
	if query, ok := strings.CutPrefix(input, "?"); ok {
		path, input = path+"?"+query, ""
	}
	for _, name := range slices.Sorted(maps.Keys(m.ids)) {
		path, input = strings.ReplaceAll(path, "{"+name+"}", named(name)), strings.ReplaceAll(input, "{"+name+"}", named(name))
	}
	if strings.Contains(path, "{") {
		m.Fatalf("the world has nothing for %s %s", method, path)
	}
	r := httptest.NewRequestWithContext(context.WithValue(m.Context(), lookedAt{}, true), strings.ToUpper(method), path, strings.NewReader(input))
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set(api.Purpose, "to try it")
	switch {
	case id == "endLogins":
		r.Header.Set("Content-Type", formType)
	case input != "":
		r.Header.Set("Content-Type", "application/json")
	}
	w := serve(m.server, r)
	if id == "startCheck" && w.Code == 200 {
		m.checkEnds()
	}
	return w
}

// checkEnds waits for the end of the check that was started: there is one at a time.
func (m *matrix) checkEnds() {
	testenv.Until(m, "the check that was ordered is over", func() bool {
		return must[api.Integrity](m, "integrity")(m.env.Engine.IntegrityStatus(m.Context(), m.env.Ann)).Ordered.Ended != nil
	})
}

// said is a refusal without what differs from request to request, and without ids.
func (m *matrix) said(w *httptest.ResponseRecorder) string {
	var p api.Problem
	_ = json.Unmarshal(w.Body.Bytes(), &p) // what is none stays empty
	p.Request = ""
	names := slices.SortedFunc(maps.Keys(m.ids), func(a, b string) int { return len(m.ids[b]) - len(m.ids[a]) }) // one may begin with another
	var ids []string
	for _, name := range names {
		id := m.ids[name]
		ids = append(ids, `"`+id+`"`, "ID", `"`+missing(name)+`"`, "ID")
		if len(id) > 20 { // else it may be a word
			ids = append(ids, id, "ID", missing(name), "ID")
		}
	}
	return strings.NewReplacer(ids...).Replace(fmt.Sprintf("%+v", p))
}

// TestEveryEndpointForEveryRole asks every endpoint of the API's description as somebody
// of each role, with an API key, and of all roles, signed in by a session, and as the same
// people of another company. The expected statuses stand in a table: a new endpoint has no
// row. What is another company's is answered as what is not there, to each of them.
func TestEveryEndpointForEveryRole(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds: left out by -short")
	}
	const golden = "testdata/matrix.txt"
	m := newMatrix(t, nil)
	acme := m.beside("acme")
	var table bytes.Buffer
	fmt.Fprintf(&table, "# Status of each endpoint by role; then, for ids of another company, by each role but Operator.\n%-24s %s\n", "", strings.Join(matrixRoles, " "))
	spec := readSpec(t)
	for _, method := range []string{"get", "post", "put", "patch", "delete"} { // what changes nothing comes first
		for _, path := range slices.Sorted(maps.Keys(spec.Paths)) {
			if o, ok := spec.Paths[path][method]; ok {
				fmt.Fprintf(&table, "%-24s", o.OperationID)
				m.row(&table, method, path, o.OperationID, acme)
			}
		}
	}
	if *update {
		if err := os.WriteFile(golden, table.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(want), "\n")
	for i, line := range strings.Split(table.String(), "\n") {
		if i >= len(lines) || line != lines[i] {
			t.Errorf("%s differs: the API answers\n%s\n%s", golden, lines[1], line)
		}
	}
	if len(lines) != strings.Count(table.String(), "\n")+1 {
		t.Errorf("%s has %d lines, the API %d", golden, len(lines), strings.Count(table.String(), "\n")+1)
	}
}

// proves are the endpoints whose input is to prove who somebody is.
var proves = map[string]bool{"setup": true, "signIn": true, "verify": true, "finishLogin": true, "redeemLogin": true}

// row asks one endpoint: as somebody of each role, by ids of the own company and by those
// of another.
func (m *matrix) row(table *bytes.Buffer, method, path, id string, other *matrix) {
	m.Helper()
	theirs := ""
	for _, role := range matrixRoles {
		if other.keys[role] == "" {
			continue
		}
		status := "-"
		if m.names(path + matrixInput[id]) {
			status = m.foreign(other.key(role), method, path, id)
		}
		theirs += " " + status
	}
	for _, role := range matrixRoles {
		w := m.ask(m.key(role), method, path, id, matrixInput[id], func(name string) string { return m.ids[name] })
		fmt.Fprintf(table, " %d", w.Code)
		if w.Code == http.StatusInternalServerError || w.Code == http.StatusUnauthorized && !proves[id] {
			m.Errorf("%s as %s: %d %s", id, role, w.Code, w.Body)
		}
	}
	fmt.Fprintf(table, " |%s\n", theirs)
}

// names reports whether a text has an id of the world.
func (m *matrix) names(text string) bool {
	for name := range m.ids {
		if strings.Contains(text, "{"+name+"}") {
			return true
		}
	}
	return false
}

// foreign asks an endpoint that names something as somebody of another company.
func (m *matrix) foreign(key, method, path, id string) string {
	m.Helper()
	theirs := m.ask(key, method, path, id, matrixInput[id], func(name string) string { return m.ids[name] })
	gone := m.ask(key, method, path, id, matrixInput[id], missing)
	if a, b := m.said(theirs), m.said(gone); theirs.Code != gone.Code || a != b || theirs.Code < 400 {
		m.Errorf("%s of another company's: %d %s\nof what is not there: %d %s", id, theirs.Code, a, gone.Code, b)
	}
	return fmt.Sprint(theirs.Code)
}

// roleName is what somebody is called who has a role.
func roleName(role string) string { return "with-" + strings.ToLower(role) }
