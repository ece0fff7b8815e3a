package access_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/fault"
)

func builtin(t testing.TB) *access.Policies {
	t.Helper()
	p, err := access.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// usual are circumstances that forbid nothing.
var usual = access.Circumstances{Now: noon, Network: true}

// ofRoles says who may do what by role alone, on something that they are neither a
// candidate nor the owner of, in the tenant main.
var ofRoles = map[access.Action]string{
	access.ListProcesses: "Admin Designer Executor Viewer Auditor Operator",
	access.ListInstances: "Admin Designer Executor Viewer Auditor Operator",
	access.ListTasks:     "Admin Designer Executor Viewer Auditor Operator",
	access.ListIncidents: "Admin Designer Executor Viewer Auditor Operator",
	access.TakeJobs:      "Admin Designer Executor Viewer Auditor Operator",

	access.ReadProcess: "Admin Designer Executor Viewer",
	access.Deploy:      "Designer",
	access.SetMode:     "Designer",

	access.Start:          "Executor",
	access.ReadInstance:   "Admin Viewer",
	access.ExportInstance: "Admin Viewer",
	access.CancelInstance: "",
	access.SetVariables:   "",
	access.ReadTask:       "Viewer",
	access.ClaimTask:      "",
	access.AssignTask:     "",
	access.SaveTask:       "",
	access.CompleteTask:   "",
	access.WorkJobs:       "Executor",
	access.ReadIncident:   "Viewer",
	access.RetryIncident:  "",
	access.ReadValue:      "Admin Viewer",
	access.RevealValue:    "",
	access.PutFile:        "Executor",
	access.ReadFile:       "Admin Viewer",
	access.UseSecret:      "",
	access.UseConnector:   "",

	access.OrderErasure:   "Admin",
	access.CancelErasure:  "Admin",
	access.ReadErasure:    "Admin Auditor",
	access.VerifyErasure:  "Admin Auditor",
	access.PlaceHold:      "Admin",
	access.ReleaseHold:    "Admin",
	access.ReadHold:       "Admin Auditor",
	access.ReadKey:        "Admin Auditor Operator",
	access.RotateKey:      "Admin",
	access.RetireKey:      "Admin",
	access.RotateRootKey:  "Operator",
	access.RetireRootKey:  "Operator",
	access.RegisterSigner: "Admin",
	access.RotateSigner:   "Admin",
	access.RevokeSigner:   "Admin",
	access.ReadSigner:     "Admin Auditor",

	access.ReadLog:          "Admin Auditor",
	access.ManageLogReaders: "Admin",
	access.CheckIntegrity:   "Admin Auditor",
	access.ReadIntegrity:    "Admin Auditor",
	access.ExportEvidence:   "Admin Viewer Auditor",
	access.ReadAudit:        "Admin Auditor",
	access.ExportAudit:      "Admin Auditor",

	access.InvitePrincipal:  "Admin",
	access.ReadPrincipal:    "Admin Auditor",
	access.ChangePrincipal:  "Admin",
	access.DisablePrincipal: "Admin",
	access.GiveRole:         "Admin",
	access.ReadGroup:        "Admin Auditor",
	access.CreateGroup:      "Admin",
	access.ChangeGroup:      "Admin",
	access.DeleteGroup:      "Admin",
	access.GiveGrant:        "Admin",
	access.RevokeGrant:      "Admin",
	access.ReadGrant:        "Admin Auditor",
	access.CreateAPIKey:     "Admin",
	access.RotateAPIKey:     "Admin",
	access.RevokeAPIKey:     "Admin",
	access.ReadAPIKey:       "Admin Auditor",
	access.ReadSession:      "Admin Auditor",
	access.RevokeSession:    "Admin",
	access.ReadPolicy:       "Admin Auditor",
	access.SetPolicy:        "Admin",
	access.AskExplain:       "Admin Auditor",

	access.RequestBreakGlass: "Admin Designer Executor Viewer",
	access.ApproveBreakGlass: "Admin",
	access.EndBreakGlass:     "Admin",
	access.ReadBreakGlass:    "Admin Auditor",

	access.CreateTenant:  "Operator",
	access.ReadTenant:    "Admin Auditor Operator",
	access.ChangeTenant:  "Admin",
	access.DisableTenant: "Operator",
}

func TestWhatEachRoleMayDo(t *testing.T) {
	policies := builtin(t)
	for _, action := range access.Actions() {
		roles, listed := ofRoles[action]
		if !listed {
			t.Errorf("%s has no row in this test", action)
		}
		for _, role := range access.Roles() {
			who := access.Principal{Name: "ann", Tenant: "main", Roles: []access.Role{role}}
			on := access.Resource{Kind: access.Instance, ID: "1", Tenant: "main", Process: "loan", Assignee: "bob", Owner: "bob", Name: "main"}
			want := slices.Contains(strings.Fields(roles), string(role))
			if got := policies.Decide(who.Effective(), action, on, usual); got.Allowed != want {
				t.Errorf("%s, %s: %+v, want allowed: %t", role, action, got, want)
			}
		}
	}
	if len(ofRoles) != len(access.Actions()) {
		t.Errorf("%d rows for %d actions", len(ofRoles), len(access.Actions()))
	}
}

// ofRights says what each right allows of what it is on.
var ofRights = map[access.Right]string{
	access.ToView:   "process:read instance:read instance:export task:read incident:read value:read file:read evidence:export",
	access.ToStart:  "process:read instance:start file:put",
	access.ToWork:   "process:read task:read task:claim task:assign task:save task:complete job:work value:read file:put file:read",
	access.ToManage: "process:read instance:read instance:cancel instance:set-variables task:read task:assign incident:read incident:retry value:read file:put file:read",
	access.ToDesign: "process:read process:deploy process:set-mode",
	access.ToRead:   "process:read instance:read instance:export value:read file:read",
	access.ToReveal: "value:reveal",
	access.ToUse:    "secret:use connector:use",

	access.ByBreakGlass: "process:read instance:read task:read incident:read value:read value:reveal file:read",
}

func TestWhatEachRightAllows(t *testing.T) {
	policies := builtin(t)
	rights := append(access.Rights(), access.ByBreakGlass)
	for _, right := range rights {
		g := access.Grant{ID: "g", Right: right, Process: "loan"}
		switch right {
		case access.ToRead:
			g.Fields = []string{"name"}
		case access.ToReveal:
			g.Fields, g.Purpose = []string{"name"}, "audit"
		case access.ToUse:
			g.Process, g.Name = "", "mail"
		}
		if err := g.Validate(); (err == nil) != (right != access.ByBreakGlass) {
			t.Fatalf("%s as a grant: %v", right, err)
		}
		who := access.Principal{Name: "ann", Tenant: "main", Grants: []access.Grant{g}}.Effective()
		nobody := access.Principal{Name: "bob", Tenant: "main"}.Effective()
		for _, action := range access.Actions() {
			on := access.Resource{Kind: access.Field, Tenant: "main", Process: "loan", Field: "name", Name: "mail"}
			everybody := policies.Decide(nobody, action, on, usual).Allowed
			want := everybody || slices.Contains(strings.Fields(ofRights[right]), string(action))
			if got := policies.Decide(who, action, on, usual); got.Allowed != want {
				t.Errorf("%s, %s: %+v, want allowed: %t", right, action, got, want)
			}
		}
	}
	if len(ofRights) != len(rights) {
		t.Errorf("%d rows for %d rights", len(ofRights), len(rights))
	}
}

func TestDecide(t *testing.T) {
	ann := access.Principal{Name: "ann", Tenant: "main", Roles: []access.Role{access.Admin}}
	exec := access.Principal{Name: "eve", Tenant: "main", Roles: []access.Role{access.Executor}, Groups: []string{"clerks", "night"}}
	designer := access.Principal{Name: "dan", Tenant: "main", Roles: []access.Role{access.Designer}}
	operator := access.Principal{Name: "ops", Tenant: "main", Roles: []access.Role{access.Operator}}
	given := func(p access.Principal, g ...access.Grant) access.Principal { p.Grants = g; return p }
	work := access.Grant{ID: "w", Right: access.ToWork, Process: "loan", Task: "approve"}
	reveal := access.Grant{ID: "r", Right: access.ToReveal, Process: "loan", Fields: []string{"card"}}
	instance := access.Resource{Kind: access.Instance, ID: "1", Tenant: "main", Process: "loan"}
	task := access.Resource{Kind: access.Task, ID: "1-2", Tenant: "main", Process: "loan", Element: "approve", Groups: []string{"clerks"}, Users: []string{"bob"}}
	claimed := func(by string) access.Resource { r := task; r.Assignee = by; return r }
	field := func(r access.Resource, path string) access.Resource { r.Kind, r.Field = access.Field, path; return r }
	inForm := func(r access.Resource) access.Resource { r = field(r, "salary"); r.InForm = true; return r }
	toJob := access.Resource{Kind: access.Field, Tenant: "main", Process: "loan", Element: "approve", Field: "salary", Given: true}
	in := func(change func(*access.Circumstances)) access.Circumstances { c := usual; change(&c); return c }
	foreign := instance
	foreign.Tenant = "other"
	someone := access.Resource{Kind: access.Someone, ID: "eve", Tenant: "main", Owner: "eve"}
	confidential := access.Resource{Kind: access.Process, ID: "loan", Tenant: "main", Process: "loan", Confidential: true}
	other := access.Resource{Kind: access.Tenant, ID: "acme", Name: "acme", Tenant: "main"}
	disabled, disabledTenant, scoped, away := ann, ann, ann, operator
	disabled.Disabled, disabledTenant.TenantDisabled, scoped.Scopes, away.Tenant = true, true, []access.Scope{"task:*", "log:read"}, "acme"
	atAway := other
	atAway.Tenant = "acme"

	ofA := instance
	ofA.Values = map[string]string{"company": "A", "branch": "north"}
	ofB := instance
	ofB.Values = map[string]string{"company": "B"}
	viewA := access.Grant{ID: "v", Right: access.ToView, Process: "loan", Where: &access.Where{Path: "company", Value: "A"}}

	tests := []struct {
		name    string
		who     access.Principal
		action  access.Action
		on      access.Resource
		in      access.Circumstances
		reasons string // policies that decided
		allowed bool
	}{
		{"an Admin sees an instance", ann, access.ReadInstance, instance, usual, "role-admin", true},
		{"an Admin of another tenant", ann, access.ReadInstance, foreign, usual, "tenant-isolation", false},
		{"nobody at all", access.Principal{}, access.ReadInstance, instance, usual, "tenant-isolation", false},
		{"an unknown role", access.Principal{Name: "x", Tenant: "main", Roles: []access.Role{"Clerk"}}, access.ReadInstance, instance, usual, "", false},
		{"an action that there is not", ann, "instance:own", instance, usual, "", false},
		{"somebody disabled", disabled, access.ReadInstance, instance, usual, "disabled", false},
		{"somebody of a tenant that is disabled", disabledTenant, access.ReadInstance, instance, usual, "disabled", false},
		{"another network", ann, access.ReadInstance, instance, in(func(c *access.Circumstances) { c.Network = false }), "network", false},
		{"no circumstances", ann, access.ReadInstance, instance, access.Circumstances{}, "network", false},
		{"a key for something else", scoped, access.ReadInstance, instance, usual, "scope", false},
		{"a key for it", scoped, access.ReadLog, access.Resource{Kind: access.Log, Tenant: "main"}, usual, "role-admin", true},
		{"a key for its family", scoped, access.ListTasks, access.Resource{Kind: access.Task, Tenant: "main"}, usual, "lists", true},
		{"two forbids", disabled, access.ReadInstance, instance, access.Circumstances{}, "disabled network", false},
		{"erasing what is held", ann, access.OrderErasure, instance, in(func(c *access.Circumstances) { c.Held = true }), "legal-hold", false},
		{"seeing what is held", ann, access.ReadInstance, instance, in(func(c *access.Circumstances) { c.Held = true }), "role-admin", true},
		{"deploying what is confidential alone", designer, access.Deploy, confidential, in(func(c *access.Circumstances) { c.FourEyes = true }), "four-eyes", false},
		{"setting its mode alone", designer, access.SetMode, confidential, in(func(c *access.Circumstances) { c.FourEyes = true }), "four-eyes", false},
		{"with a second person", designer, access.Deploy, confidential, in(func(c *access.Circumstances) { c.FourEyes, c.Approved = true, true }), "role-designer", true},
		{"what is not confidential", designer, access.Deploy, access.Resource{Kind: access.Process, Tenant: "main"}, in(func(c *access.Circumstances) { c.FourEyes = true }), "role-designer", true},
		{"where two are not wanted", designer, access.Deploy, confidential, usual, "role-designer", true},

		{"a candidate sees the task", exec, access.ReadTask, task, usual, "task-seen", true},
		{"a candidate claims it", exec, access.ClaimTask, task, usual, "task-candidate", true},
		{"a candidate completes it", exec, access.CompleteTask, task, usual, "task-candidate", true},
		{"a candidate sees a task that somebody has claimed", exec, access.ReadTask, claimed("bob"), usual, "task-seen", true},
		{"a candidate completes it for them", exec, access.CompleteTask, claimed("bob"), usual, "", false},
		{"a candidate claims it from them", exec, access.ClaimTask, claimed("bob"), usual, "", false},
		{"who claimed it completes it", exec, access.CompleteTask, claimed("eve"), usual, "task-assignee", true},
		{"a candidate assigns it to somebody", exec, access.AssignTask, task, usual, "", false},
		{"a candidate who is no Executor", access.Principal{Name: "bob", Tenant: "main"}, access.ReadTask, task, usual, "", false},
		{"no candidate", access.Principal{Name: "dora", Tenant: "main", Roles: []access.Role{access.Executor}, Groups: []string{"days"}}, access.ReadTask, task, usual, "", false},
		{"a task for nobody", exec, access.ReadTask, access.Resource{Kind: access.Task, Tenant: "main", Process: "loan", Element: "approve"}, usual, "", false},
		{"a grant for the task", given(designer, work), access.CompleteTask, claimed("bob"), usual, "grant-work", true},
		{"a grant for another task", given(designer, access.Grant{ID: "w", Right: access.ToWork, Process: "loan", Task: "pay"}), access.CompleteTask, task, usual, "", false},

		{"a grant for a value", given(designer, viewA), access.ReadInstance, ofA, usual, "grant-view", true},
		{"a grant for another value", given(designer, viewA), access.ReadInstance, ofB, usual, "", false},
		{"a grant for a value of an instance without", given(designer, viewA), access.ReadInstance, instance, usual, "", false},

		{"a form shows its field", exec, access.RevealValue, inForm(task), usual, "reveal-form", true},
		{"a form shows its field to who claimed the task", exec, access.RevealValue, inForm(claimed("eve")), usual, "reveal-form", true},
		{"a form shows nothing when somebody else has claimed the task", exec, access.RevealValue, inForm(claimed("bob")), usual, "", false},
		{"a form shows its field by a grant", given(designer, work), access.RevealValue, inForm(claimed("bob")), usual, "reveal-form", true},
		{"another field of the task", exec, access.RevealValue, field(task, "salary"), usual, "", false},
		{"a job shows what it was given", exec, access.RevealValue, toJob, usual, "reveal-job", true},
		{"a job shows what it was given by a grant", given(designer, work), access.RevealValue, toJob, usual, "reveal-job", true},
		{"a job of others", designer, access.RevealValue, toJob, usual, "", false},
		{"in clear with a purpose", given(designer, reveal), access.RevealValue, field(instance, "card.number"), in(func(c *access.Circumstances) { c.Purpose = "fraud" }), "grant-reveal", true},
		{"in clear without a purpose", given(designer, reveal), access.RevealValue, field(instance, "card"), usual, "", false},
		{"another field in clear", given(designer, reveal), access.RevealValue, field(instance, "cardinal"), in(func(c *access.Circumstances) { c.Purpose = "fraud" }), "", false},
		{"the instance of a field in clear", given(designer, reveal), access.ReadInstance, instance, in(func(c *access.Circumstances) { c.Purpose = "fraud" }), "", false},

		{"oneself", exec, access.ReadPrincipal, someone, usual, "own", true},
		{"somebody else", designer, access.ReadPrincipal, someone, usual, "", false},
		{"another tenant's settings", ann, access.ChangeTenant, other, usual, "", false},
		{"another tenant, by an Operator", operator, access.DisableTenant, other, usual, "role-operator", true},
		{"an Operator of another tenant than main", away, access.DisableTenant, atAway, usual, "", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := builtin(t).Decide(test.who.Effective(), test.action, test.on, test.in)
			if got.Allowed != test.allowed || strings.Join(got.Policies, " ") != test.reasons || len(got.Failed) > 0 {
				t.Errorf("Decide = %+v, want %v because of %q", got, test.allowed, test.reasons)
			}
		})
	}
}

func TestThePurposeThatCounts(t *testing.T) {
	standing := access.Grant{ID: "s", Right: access.ToReveal, Process: access.All, Fields: []string{access.All}, Purpose: "service desk"}
	asked := access.Grant{ID: "a", Right: access.ToReveal, Process: access.All, Fields: []string{access.All}}
	field := access.Resource{Kind: access.Field, Tenant: "main", Process: "loan", Field: "card"}
	for _, test := range []struct {
		name    string
		grants  []access.Grant
		purpose string
		want    string
	}{
		{"of the request", []access.Grant{asked}, "fraud", "fraud"},
		{"of the grant", []access.Grant{asked, standing}, "", "service desk"},
		{"of the request rather than of the grant", []access.Grant{standing}, "fraud", "fraud"},
		{"none", []access.Grant{asked}, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			who := access.Principal{Name: "ann", Tenant: "main", Grants: test.grants}.Effective()
			in := usual
			in.Purpose = test.purpose
			if got := builtin(t).Decide(who, access.RevealValue, field, in); got.Purpose != test.want || got.Allowed != (test.want != "") {
				t.Errorf("Decide = %+v, want the purpose %q", got, test.want)
			}
		})
	}
}

// Who has to know a value for their work sees it for no purpose that the log has to tell.
func TestWhatWorkShowsNeedsNoPurpose(t *testing.T) {
	reveal := access.Grant{ID: "s", Right: access.ToReveal, Process: access.All, Fields: []string{access.All}, Purpose: "service desk"}
	who := access.Principal{Name: "ann", Tenant: "main", Roles: []access.Role{access.Executor}, Grants: []access.Grant{reveal}}.Effective()
	for name, on := range map[string]access.Resource{
		"in the form of a task": {Kind: access.Field, Tenant: "main", Process: "loan", Field: "card", InForm: true, Assignee: "ann"},
		"given to a job":        {Kind: access.Field, Tenant: "main", Process: "loan", Field: "card", Given: true},
	} {
		if got := builtin(t).Decide(who, access.RevealValue, on, usual); !got.Allowed || got.Purpose != "" {
			t.Errorf("%s: %+v, want allowed without a purpose", name, got)
		}
	}
}

// What a break-glass was needed for says so, with its reason; what a grant reveals too, does
// not.
func TestWhatIsSeenByBreakGlass(t *testing.T) {
	glass := access.Grant{ID: "b", Right: access.ByBreakGlass, Process: "loan", Instance: "1", Purpose: "fire"}
	reveal := access.Grant{ID: "r", Right: access.ToReveal, Process: "loan", Fields: []string{"card"}, Purpose: "audit"}
	on := access.Resource{Kind: access.Field, Tenant: "main", Process: "loan", Instance: "1", Field: "card"}
	for _, c := range []struct {
		name           string
		roles          []access.Role
		grants         []access.Grant
		action         access.Action
		purpose        string // of the request
		glass, counted string
	}{
		{"in clear", nil, []access.Grant{glass}, access.RevealValue, "", "b", "fire"},
		{"in clear, with a purpose", nil, []access.Grant{glass}, access.RevealValue, "ticket 7", "b", "ticket 7"},
		{"at all", nil, []access.Grant{glass}, access.ReadValue, "", "b", "fire"},
		{"what a Viewer sees anyway", []access.Role{access.Viewer}, []access.Grant{glass}, access.ReadValue, "", "", ""},
		{"what is revealed anyway", nil, []access.Grant{glass, reveal}, access.RevealValue, "", "", "audit"},
	} {
		who := access.Principal{Name: "ann", Tenant: "main", Roles: c.roles, Grants: c.grants}.Effective()
		in := usual
		in.Purpose = c.purpose
		if got := builtin(t).Decide(who, c.action, on, in); !got.Allowed || got.Glass != c.glass || got.Purpose != c.counted {
			t.Errorf("%s: %+v, want it by %q for %q", c.name, got, c.glass, c.counted)
		}
	}
}

func TestTextsThatAreNoPurpose(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, "ticket 7": true, "Prüfung": true, strings.Repeat("p", 255): true, strings.Repeat("p", 256): false, "a\nb": false, "a\xff": false, "\x00": false,
	} {
		if err := access.CheckPurpose(text); (err == nil) != want || err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("CheckPurpose(%q) = %v, want it to pass: %t", text, err, want)
		}
	}
}

func TestAKeyTakesAwayFromWhatIsPrepared(t *testing.T) {
	who := access.Principal{Name: "ann", Tenant: "main", Roles: []access.Role{access.Viewer}}.Effective()
	on := access.Resource{Kind: access.Instance, Tenant: "main"}
	if !builtin(t).Decide(who, access.ReadInstance, on, usual).Allowed {
		t.Error("without a scope: denied")
	}
	if builtin(t).Decide(who.Scoped([]access.Scope{"task:*"}), access.ReadInstance, on, usual).Allowed {
		t.Error("with the scope of a key for tasks: allowed")
	}
	if len(who.Principal().Scopes) != 0 {
		t.Error("the scopes of a key have become the principal's")
	}
}

// BenchmarkDecide decides what was not decided before.
func BenchmarkDecide(b *testing.B) {
	p, who, on := manyGrants(b)
	b.ReportAllocs()
	for b.Loop() {
		if !p.Decide(who.Scoped(nil), access.ReadInstance, on, usual).Allowed {
			b.Fatal("denied")
		}
	}
}

func BenchmarkDecideAgain(b *testing.B) {
	p, who, on := manyGrants(b)
	b.ReportAllocs()
	for b.Loop() {
		if !p.Decide(who, access.ReadInstance, on, usual).Allowed {
			b.Fatal("denied")
		}
	}
}

// manyGrants returns somebody with 1,000 grants, and an instance that one of them is on.
func manyGrants(b *testing.B) (*access.Policies, *access.Effective, access.Resource) {
	p := builtin(b)
	var grants []access.Grant
	for i := range access.MaxGrants {
		g := access.Grant{ID: strings.Repeat("g", 1+i%50), Right: access.ToView, Process: "loan"}
		if i%4 == 0 {
			g.Right, g.Fields = access.ToRead, []string{"f" + strings.Repeat("x", i%40)}
		} else {
			g.Where = &access.Where{Path: "company", Value: strings.Repeat("c", i%200)}
		}
		grants = append(grants, g)
	}
	who := access.Principal{Name: "ann", Tenant: "main", Roles: []access.Role{access.Executor}, Groups: []string{"clerks"}, Grants: grants}.Effective()
	on := access.Resource{Kind: access.Instance, ID: "1", Tenant: "main", Process: "loan", Values: map[string]string{"company": strings.Repeat("c", 199)}}
	return p, who, on
}

// Whoever explains an action without a kind of resources asks about one that there is.
func TestEveryActionIsOnSomething(t *testing.T) {
	for _, action := range access.Actions() {
		if _, err := access.ParseKind(string(action.Kind())); err != nil {
			t.Errorf("%s is on %q: %v", action, action.Kind(), err)
		}
	}
}
