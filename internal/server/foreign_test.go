package server_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/underseal/underseal/api"
)

// foreignInputs are, for each field of a query or a body that names something of a company,
// queries or bodies in which {!name} stands in that field, for the id of something of that
// name, and {name} elsewhere for one of the own. Parameters of paths are all asked for.
var foreignInputs = map[string][]string{
	"listAPIKeys.user": {`?user={!user}`}, "createAPIKey.user": {`{"user":"{!user}"}`},
	"searchAudit.principal": {`?principal={!user}`}, "searchAudit.about": {`?about={!user}`}, "searchAudit.process": {`?process={!process}`},
	"searchAudit.object":    {`?object={!instance}`, `?object={!session}`, `?object={!hold}`},
	"exportAudit.principal": {`?principal={!user}`}, "exportAudit.about": {`?about={!user}`}, "exportAudit.process": {`?process={!process}`}, "exportAudit.object": {`?object={!instance}`},
	"requestBreakGlass.instance": {`{"instance":"{!instance}","reason":"fire","lasts_ms":1}`},
	"requestBreakGlass.process":  {`{"process":"{!process}","reason":"fire","lasts_ms":1}`},
	"orderErasure.id":            {`{"kind":"instance","id":"{!spare}","delay_ms":3600000}`, `{"kind":"subject","id":"{!subject}","delay_ms":3600000}`},
	"previewErasure.id":          {`{"kind":"instance","id":"{!spare}"}`, `{"kind":"subject","id":"{!subject}"}`},
	"placeHold.id":               {`{"kind":"instance","id":"{!spare}"}`, `{"kind":"subject","id":"{!subject}"}`},
	"exportEvidence.instance":    {`{"instance":"{!instance}"}`}, "exportEvidence.task": {`{"instance":"{instance}","task":"{!task}"}`},
	"exportEvidence.job": {`{"instance":"{instance}","job":"{!job}"}`}, "exportEvidence.entry": {`{"entry":"{!session}"}`, `{"entry":"{!reader}"}`},
	"explain.principal": {`?principal={!user}&action=task:read`},
	"explain.id": {
		`?principal={user}&action=instance:read&id={!instance}`, `?principal={user}&action=task:read&id={!task}`, `?principal={user}&action=process:read&id={!process}`,
		`?principal={user}&action=incident:read&id={!incident}`, `?principal={user}&action=job:work&id={!job}`,
	},
	"listGrants.user": {`?user={!user}`}, "listGrants.group": {`?group={!group}`},
	"giveGrant.user": {`{"user":"{!user}","right":"view","process":"{process}"}`}, "giveGrant.group": {`{"group":"{!group}","right":"view","process":"{process}"}`},
	"giveGrant.process": {`{"user":"{user}","right":"view","process":"{!process}"}`}, "giveGrant.task": {`{"user":"{user}","right":"work","process":"{process}","task":"{!task}"}`},
	"listIncidents.process": {`?process={!process}`}, "listInstances.process": {`?process={!process}`},
	"listInstances.business_key": {`?process={process}&business_key={!businesskey}`},
	"startInstance.process":      {`{"process":"{!process}"}`},
	"startInstance.business_key": {`{"process":"{process}","business_key":"{!businesskey}"}`},
	"startInstance.variables":    {`{"process":"{process}","variables":{"doc":{"$file":"{!file}"}}}`},
	"setVariables.variables":     {`{"variables":{"doc":{"$file":"{!file}"}}}`},
	"setIssuer.given.groups":     {`{"kind":"people","url":"https://login.example.org","client":"c","public":true,"group_claim":"groups","given":[{"group":"x","groups":["{!group}"]}]}`},
	"completeJob.variables":      {`{"lease":"{lease}","variables":{"doc":{"$file":"{!file}"}}}`},
	"throwJobError.variables":    {`{"lease":"{lease}","code":"c","variables":{"doc":{"$file":"{!file}"}}}`},
	"rotateKey.subject":          {`{"key":"subject","subject":"{!subject}"}`},
	"getLogProof.instance":       {`?instance={!instance}&step=1`},
	"listSessions.user":          {`?user={!user}`},
	"signIn.tenant":              {`{"tenant":"{!tenant}","name":"none","password":"x"}`}, "signIn.name": {`{"tenant":"{tenant}","name":"{!user}","password":"x"}`},
	"registerSigner.principal": {`{"name":"for-{!user}","principal":"{!user}","alg":"ed25519","public":"{public}"}`},
	"registerSigner.name":      {`{"name":"{!signer}","principal":"p","alg":"ed25519","public":"{public}"}`},
	"listTasks.process":        {`?process={!process}`}, "listTasks.assignee": {`?assignee={!user}`}, "listTasks.group": {`?group={!group}`}, "listTasks.user": {`?user={!user}`},
	"claimTask.assignee":     {`{"assignee":"{!user}"}`},
	"completeTask.variables": {`{"variables":{"doc":{"$file":"{!file}"}}}`}, "saveTask.draft": {`{"draft":{"doc":{"$file":"{!file}"}}}`},
	"getStatement.variables": {`{"variables":{"doc":{"$file":"{!file}"}}}`}, "getStatement.passkey": {`{"passkey":"{!passkey}","variables":{}}`},
	"createTenant.name": {`{"name":"{!tenant}"}`}, "createGroup.name": {`{"name":"{!group}"}`},
	"inviteUser.name": {`{"name":"{!user}","kind":"service"}`}, "inviteUser.groups": {`{"name":"new-one","groups":["{!group}"]}`},
	"joinGroup.group": {`{"group":"{!group}"}`}, "leaveGroup.group": {`{"group":"{!group}"}`},
	"linkUser.issuer": {`{"issuer":"{!issuer}","subject":"8"}`}, "unlinkUser.id": {`{"id":"{!link}"}`},
}

// namesNothing are the fields whose values are no names of anything that another company
// has: "operation.field", or "field" for those of all operations.
var namesNothing = []string{
	// what somebody says, and how something is to be
	"reason", "purpose", "name", "display", "mail", "message", "code", "value", "field", "fields", "where.path", "where.value", "kind", "status", "format",
	"expires", "networks", "scopes", "overlap_ms", "lasts_ms", "delay_ms", "lease_ms", "wait_ms", "backoff_ms", "older_than_ms", "max", "limit", "retries", "rate",
	"files.name", "files.content", "files", "text", "mode", "required", "limits.key", "limits.tenant", "limits.user", "networks.all", "networks.roles.from", "networks.roles.role",
	"roles", "role", "right", "action", "result", "oldest_first", "from", "to", "address", "step", "version", "all_fields", "anchored", "no_model", "dry_run", "unassigned",
	"type", "worker", "alg", "public", "shard", "service", "key", "of", "setIssuer.url", "client", "secret", "audiences", "authority", "creates", "group_claim", "name_claim",
	"given.group", "given.roles", "subject", "again", "port", "challenge",
	// a place in a list of the own
	"after",
	// secrets and proofs, of which one of another company is one that is wrong
	"lease", "signed.envelope", "signed.nonce", "signed.statement", "signed.answer.id", "signed.answer.client_data", "signed.answer.authenticator_data", "signed.answer.signature",
	"answer.id", "answer.client_data", "answer.authenticator_data", "answer.signature", "signInByPasskey.user", "cookie", "password", "old", "new", "link", "logout_token", "state", "iss", "error", "verifier",
	"passkey.id", "passkey.client_data", "passkey.authenticator_data", "passkey.signature", "client_data", "attestation",
	// of headers; a key of an earlier request is one of the same caller's
	"Underseal-Purpose", "Idempotency-Key", "Range", "If-Range", "If-None-Match",
}

// described is what the API's description says of what is sent.
type described struct {
	Components struct{ Schemas map[string]schemaOf }
	Paths      map[string]map[string]struct {
		OperationID string
		Parameters  []struct{ Name, In string }
		RequestBody struct {
			Content map[string]struct{ Schema schemaOf }
		}
	}
}

type schemaOf struct {
	Ref        string `json:"$ref"`
	Properties map[string]schemaOf
	Items      *schemaOf
}

// fieldsOf lists the fields of a body; those of what is in a list stand behind its name.
func (d *described) fieldsOf(s schemaOf, prefix string) (fields []string) {
	if s.Ref != "" {
		s = d.Components.Schemas[s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]]
	}
	if s.Items != nil {
		return d.fieldsOf(*s.Items, prefix)
	}
	if len(s.Properties) == 0 {
		return []string{prefix}
	}
	for name, p := range s.Properties {
		fields = append(fields, d.fieldsOf(p, strings.TrimPrefix(prefix+"."+name, "."))...)
	}
	return fields
}

// foreignCase asks one endpoint for one thing of another company, the rest being the own.
type foreignCase struct{ method, path, id, field, input string }

// foreignCases are all of them. A field of the description that nobody has said anything
// about is an error, and so is what is said about none.
func foreignCases(t *testing.T) (cases []foreignCase) {
	t.Helper()
	var d described
	if err := json.Unmarshal(serve(newServer(t, &fakeEngine{}), request("GET", "/openapi.json", "")).Body.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	add := func(method, path, id, field string) {
		inputs, of := foreignInputs[id+"."+field], id+"."+field
		for _, input := range inputs {
			cases = append(cases, foreignCase{method, path, id, field, input})
		}
		if inputs == nil {
			if !slices.Contains(namesNothing, of) {
				of = field
			}
			if !slices.Contains(namesNothing, of) {
				t.Errorf("nobody has said whether %s.%s names something of a company", id, field)
			}
		}
		said[of] = true
	}
	for path, methods := range d.Paths {
		for method, o := range methods {
			for _, p := range o.Parameters {
				if p.In != "path" {
					add(method, path, o.OperationID, p.Name)
					continue
				}
				marked := strings.Replace(path, "{"+p.Name+"}", "{!"+p.Name+"}", 1)
				cases = append(cases, foreignCase{method, marked, o.OperationID, "{" + p.Name + "}", matrixInput[o.OperationID]})
			}
			for content, body := range o.RequestBody.Content {
				for _, field := range d.fieldsOf(body.Schema, "") {
					if field != "" || content == "application/json" { // bytes have none
						add(method, path, o.OperationID, field)
					}
				}
			}
		}
	}
	for of := range foreignInputs {
		if !said[of] {
			t.Errorf("there is no field %s", of)
		}
	}
	for _, of := range namesNothing {
		if !said[of] {
			t.Errorf("there is no field %s", of)
		}
	}
	slices.SortFunc(cases, func(a, b foreignCase) int { return strings.Compare(a.sorted(), b.sorted()) })
	return cases
}

// sorted puts what makes something of a name that another company has, and ends something
// of the own, behind the rest.
func (c *foreignCase) sorted() string {
	last := "0"
	switch {
	case slices.Contains([]string{"createGroup.name", "inviteUser.name", "registerSigner.name", "registerSigner.principal"}, c.id+"."+c.field):
		last = "1"
	case c.id == "completeTask" || c.id == "completeJob" || c.id == "throwJobError" || c.id == "cancelInstance":
		last = "2"
	}
	return last + " " + c.id + "." + c.field + " " + c.input
}

// differs is what differs in answers to the same question: ids, hashes, times, texts of
// credentials.
var differs = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}(\.[0-9]+)?|[0-9a-f]{32,}|[0-9T:-]{19}(\.[0-9]+)?Z|us[a-z]_[^"]+|[A-Za-z0-9+/_-]{40,}=*|"(seq|step|index|rows)":[0-9]+|"request":"[^"]*"`)

// answeredFor is an answer without what the company calls its own, without the id that was
// asked for and without what always differs.
func (m *matrix) answeredFor(w *httptest.ResponseRecorder, id string) string {
	body := w.Body.String()
	for _, own := range slices.SortedFunc(maps.Values(m.ids), func(a, b string) int { return len(b) - len(a) }) {
		body = strings.ReplaceAll(body, own, "OWN")
	}
	body = strings.ReplaceAll(body, id, "ID")
	return fmt.Sprintf("%d %s %s", w.Code, w.Header().Get("Content-Type"), differs.ReplaceAllString(body, "X"))
}

// TestNothingOfAnotherCompanyInAnyField asks every endpoint for something of another company
// in every field that names something, the rest being the caller's own, and for what is
// nowhere: the answers are the same, and nothing of the other company is in them. The
// statuses stand in a table.
func TestNothingOfAnotherCompanyInAnyField(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds: left out by -short")
	}
	const golden = "testdata/foreign.txt"
	cases := foreignCases(t)
	main := newMatrix(t, nil)
	acme := main.beside("acme")
	var table strings.Builder
	table.WriteString("# Status of each endpoint for something of another company in one of its fields, the rest being the own.\n")
	for _, c := range cases {
		theirs, asked := acme.askFor(c, func(name string) string { return main.ids[name] })
		gone, nowhere := acme.askFor(c, missing)
		a, b := acme.answeredFor(theirs, asked), acme.answeredFor(gone, nowhere)
		if a != b {
			t.Errorf("%s.%s %s of another company's: %s\nof what is not there: %s", c.id, c.field, c.input, a, b)
		}
		for name, id := range main.ids {
			if len(id) > 8 && strings.Contains(a, id) {
				t.Errorf("%s.%s: the answer has the other company's %s: %s", c.id, c.field, name, theirs.Body)
			}
		}
		fmt.Fprintf(&table, "%d %s.%s %s\n", theirs.Code, c.id, c.field, c.input)
	}
	if *update {
		if err := os.WriteFile(golden, []byte(table.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) < 120 || string(want) != table.String() {
		lines := strings.Split(string(want), "\n")
		for line := range strings.SplitSeq(table.String(), "\n") {
			if !slices.Contains(lines, line) {
				t.Errorf("not in %s: %s", golden, line)
			}
		}
		t.Errorf("%s is not what %d questions are answered", golden, len(cases))
	}
}

// askFor asks for something by a name: marked is what the marked place is filled with.
func (m *matrix) askFor(c foreignCase, marked func(string) string) (w *httptest.ResponseRecorder, id string) {
	m.Helper()
	if c.id == "claimTask" { // each who is asked for holds one
		m.ids["task"] = m.env.Task(m.env.Start(m.ids["process"], `{}`)).ID
	}
	path, input := c.path, c.input
	for _, name := range slices.Sorted(maps.Keys(m.ids)) {
		if strings.Contains(path+input, "{!"+name+"}") {
			id = marked(name)
			path, input = strings.ReplaceAll(path, "{!"+name+"}", id), strings.ReplaceAll(input, "{!"+name+"}", id)
		}
	}
	if id == "" {
		m.Fatalf("the world has nothing for %s %s", c.path, c.input)
	}
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		m.Fatal(err)
	}
	input = strings.ReplaceAll(input, "{public}", base64.StdEncoding.EncodeToString(public))
	w = m.ask(m.key(signedIn), c.method, path, c.id, input, func(name string) string { return m.ids[name] })
	if c.id == "requestBreakGlass" && w.Code == http.StatusOK { // few may wait
		var asked api.BreakGlass
		if err := json.Unmarshal(w.Body.Bytes(), &asked); err != nil {
			m.Fatal(err)
		}
		must[api.BreakGlass](m, "end")(m.env.Engine.EndBreakGlass(m.Context(), m.env.Ann, asked.ID, api.ReasonRequest{}, ""))
	}
	return w, id
}
