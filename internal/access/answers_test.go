package access_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/access"
)

// asking is a question of a principal.
type asking struct {
	on access.Resource
	in access.Circumstances
}

// otherwise are changes of a question, one for each thing that a decision may look at.
var otherwise = []func(q *asking){
	func(*asking) {},
	func(q *asking) { q.on.Kind = access.Instance },
	func(q *asking) { q.on.ID = "7" },
	func(q *asking) { q.on.Tenant = "acme" },
	func(q *asking) { q.on.Process = "travel" },
	func(q *asking) { q.on.Instance = "2" },
	func(q *asking) { q.on.Element = "pay" },
	func(q *asking) { q.on.Assignee = "ann" },
	func(q *asking) { q.on.Assignee = "bob" },
	func(q *asking) { q.on.Users = []string{"ann"} },
	func(q *asking) { q.on.Groups = []string{"clerks"} },
	func(q *asking) { q.on.Values = map[string]string{"company": "A"} },
	func(q *asking) { q.on.Field = "card" },
	func(q *asking) { q.on.InForm = true },
	func(q *asking) { q.on.Given = true },
	func(q *asking) { q.on.Name = "main" },
	func(q *asking) { q.on.Owner = "ann" },
	func(q *asking) { q.on.Confidential = true },
	func(q *asking) { q.in.Now = noon.Add(time.Hour) },
	func(q *asking) { q.in.Network = false },
	func(q *asking) { q.in.Held = true },
	func(q *asking) { q.in.FourEyes = true },
	func(q *asking) { q.in.Approved = true },
	func(q *asking) { q.in.Purpose = "fraud" },
}

// TestWhatWasDecidedIsDecidedAlike asks somebody questions that differ in one thing, or two,
// from others that were asked before, and somebody who is the same and was never asked.
func TestWhatWasDecidedIsDecidedAlike(t *testing.T) {
	builtin := builtin(t)
	own, err := builtin.ParseTenantPolicies(`@id("x") forbid (principal, action == Action::"value:read", resource == field::"7");`)
	if err != nil {
		t.Fatal(err)
	}
	grants := []access.Grant{
		{ID: "1", Right: access.ToWork, Process: "loan", Task: "pay"}, {ID: "2", Right: access.ToReveal, Process: "loan", Fields: []string{"card"}},
		{ID: "3", Right: access.ToView, Process: "travel", Expires: noon.Add(time.Minute)}, {ID: "4", Right: access.ToDesign, Process: "loan"},
		{ID: "5", Right: access.ToManage, Process: "loan", Where: &access.Where{Path: "company", Value: "A"}},
	}
	for _, who := range []access.Principal{
		{Name: "ann", Tenant: "main", Roles: []access.Role{access.Executor}, Groups: []string{"clerks"}, Scopes: []access.Scope{"value:*", "task:*"}},
		{Name: "ann", Tenant: "main", Roles: []access.Role{access.Admin, access.Designer}},
		{Name: "ann", Tenant: "main", Grants: grants},
	} {
		for _, action := range []access.Action{
			access.ReadValue, access.RevealValue, access.CompleteTask, access.Deploy, access.OrderErasure, access.ReadTenant, access.RevokeSession, access.WorkJobs,
		} {
			for _, policies := range []*access.Policies{builtin, builtin.With(own)} {
				kept := who.Effective()
				for i, one := range otherwise {
					for _, other := range otherwise[i:] {
						q := asking{
							access.Resource{Kind: access.Field, ID: "1", Tenant: "main", Process: "loan", Instance: "1", Element: "approve", Field: "name"},
							access.Circumstances{Now: noon, Network: true},
						}
						one(&q)
						other(&q)
						got, want := policies.Decide(kept, action, q.on, q.in), policies.Decide(who.Effective(), action, q.on, q.in)
						if !reflect.DeepEqual(got, want) {
							t.Fatalf("%s by %v on %+v: %+v, want %+v", action, who.Roles, q, got, want)
						}
						if could := policies.Could(kept, action, q.on.Kind, q.in); could != policies.Could(who.Effective(), action, q.on.Kind, q.in) {
							t.Fatalf("%s by %v on %+v: could %t", action, who.Roles, q, could)
						}
					}
				}
			}
		}
	}
}

// TestWhatIsKeptOfDecisionsIsBounded has many people ask many questions, with a company's
// own policies and without.
func TestWhatIsKeptOfDecisionsIsBounded(t *testing.T) {
	builtin := builtin(t)
	own, err := builtin.ParseTenantPolicies(`@id("x") forbid (principal, action == Action::"value:read", resource == field::"7");`)
	if err != nil {
		t.Fatal(err)
	}
	builtin.KeepAtMost(100)
	most := 0
	for person := range 20 {
		who := access.Principal{Name: fmt.Sprint("p", person), Tenant: "main", Roles: []access.Role{access.Executor}}.Effective()
		for task := range 70 {
			on := access.Resource{Kind: access.Task, ID: "1", Tenant: "main", Process: "loan", Assignee: fmt.Sprint("p", task)}
			want := task == person
			for _, p := range []*access.Policies{builtin, builtin.With(own)} {
				if got := p.Decide(who, access.CompleteTask, on, access.Circumstances{Now: noon, Network: true}); got.Allowed != want {
					t.Fatalf("p%d completes the task of p%d: %+v", person, task, got)
				}
			}
			counted, there := builtin.Kept()
			if counted != there {
				t.Fatalf("%d decisions are counted, %d are kept", counted, there)
			}
			most = max(most, there)
		}
	}
	if most != 100 {
		t.Errorf("%d decisions were kept at once, want 100", most)
	}
}
