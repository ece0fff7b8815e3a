package access_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/underseal/underseal/internal/access"
)

// A second implementation of docs/design/access.md, as plain as can be, to compare with:
// it walks over all grants and knows no policies.

func plainly(who access.Principal, action access.Action, on access.Resource, in access.Circumstances) bool {
	if who.Tenant != on.Tenant || who.Disabled || who.TenantDisabled || !in.Network {
		return false
	}
	if len(who.Scopes) > 0 && !slices.ContainsFunc(who.Scopes, func(s access.Scope) bool { return inScope(string(s), string(action)) }) {
		return false
	}
	if action == access.OrderErasure && in.Held || (action == access.Deploy || action == access.SetMode) && in.FourEyes && on.Confidential && !in.Approved {
		return false
	}
	return strings.HasSuffix(string(action), ":list") || action == access.TakeJobs ||
		byRole(who, action, on) || byTheirWork(who, action, on) || own(who, action, on) || byGrant(who, action, on, in)
}

func inScope(scope, action string) bool {
	return scope == action || strings.HasSuffix(scope, ":*") && strings.HasPrefix(action, strings.TrimSuffix(scope, "*"))
}

func byRole(who access.Principal, action access.Action, on access.Resource) bool {
	for _, role := range who.Roles {
		if !slices.Contains(strings.Fields(ofRoles[action]), string(role)) {
			continue
		}
		ofTenants := action == access.ReadTenant || action == access.ChangeTenant
		if role == access.Operator && who.Tenant != "main" || role == access.Admin && ofTenants && on.Name != who.Tenant {
			continue
		}
		return true
	}
	return false
}

func byTheirWork(who access.Principal, action access.Action, on access.Resource) bool {
	executor := slices.Contains(who.Roles, access.Executor)
	works := executor && on.Assignee == who.Name
	candidate := executor && slices.Contains(on.Users, who.Name)
	for _, g := range on.Groups {
		candidate = candidate || executor && slices.Contains(who.Groups, g)
	}
	switch action {
	case access.ReadTask:
		return candidate || works
	case access.ReadValue, access.ReadFile:
		return candidate || works || on.Given && executor
	case access.ClaimTask, access.SaveTask, access.CompleteTask:
		return candidate && on.Assignee == "" || works
	case access.RevealValue:
		return on.InForm && (candidate && on.Assignee == "" || works) || on.Given && executor
	}
	return false
}

func own(who access.Principal, action access.Action, on access.Resource) bool {
	switch action {
	case access.ReadPrincipal, access.ReadGrant, access.ReadAPIKey, access.RevokeAPIKey, access.ReadSession, access.RevokeSession,
		access.ReadBreakGlass, access.EndBreakGlass:
		return on.Owner == who.Name
	}
	return false
}

func byGrant(who access.Principal, action access.Action, on access.Resource, in access.Circumstances) bool {
	for _, g := range who.Grants {
		if !g.Expires.IsZero() && !g.Expires.After(in.Now) {
			continue
		}
		allows := slices.Contains(strings.Fields(ofRights[g.Right]), string(action)) ||
			g.Right == access.ToWork && action == access.RevealValue && (on.InForm || on.Given)
		if allows && isOn(g, on) && (g.Right != access.ToReveal || g.Purpose != "" || in.Purpose != "") {
			return true
		}
	}
	return false
}

func isOn(g access.Grant, on access.Resource) bool {
	whole := on.Kind == access.Process || on.Kind == access.File
	value, has := "", false
	if g.Where != nil {
		value, has = on.Values[g.Where.Path]
	}
	switch {
	case g.Right == access.ToUse:
		return g.Name == "*" || g.Name == on.Name
	case g.Process != "*" && g.Process != on.Process && on.Kind != access.File,
		g.Instance != "" && g.Instance != on.Instance && !whole,
		g.Task != "" && g.Task != on.Element && !whole,
		g.Where != nil && !whole && !(has && value == g.Where.Value):
		return false
	}
	return on.Kind != access.Field || len(g.Fields) == 0 || slices.ContainsFunc(g.Fields, func(f string) bool {
		return f == "*" || f == on.Field || strings.HasPrefix(on.Field, f+".") || strings.HasPrefix(on.Field, f+"[")
	})
}

func aPrincipal() *rapid.Generator[access.Principal] {
	return rapid.Custom(func(t *rapid.T) access.Principal {
		return access.Principal{
			Name:           rapid.SampledFrom([]string{"ann", "bob"}).Draw(t, "name"),
			Tenant:         rapid.SampledFrom([]string{"main", "acme"}).Draw(t, "tenant"),
			Kind:           rapid.SampledFrom([]string{access.User, access.Service}).Draw(t, "kind"),
			Roles:          rapid.SliceOfNDistinct(rapid.SampledFrom(access.Roles()), 0, 2, rapid.ID).Draw(t, "roles"),
			Groups:         rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"clerks", "night"}), 0, 2, rapid.ID).Draw(t, "groups"),
			Grants:         rapid.SliceOfN(rapid.OneOf(aGrant(), aGrant(), aBreakGlass()), 0, 8).Draw(t, "grants"),
			Scopes:         rapid.SampledFrom([][]access.Scope{nil, nil, nil, {"task:*"}, {"instance:read", "value:*"}}).Draw(t, "scopes"),
			Disabled:       rare(t, "disabled"),
			TenantDisabled: rare(t, "tenant disabled"),
		}
	})
}

// aBreakGlass draws what an approved break-glass gives.
func aBreakGlass() *rapid.Generator[access.Grant] {
	return rapid.Custom(func(t *rapid.T) access.Grant {
		return access.Grant{
			ID: "glass", Right: access.ByBreakGlass, Process: rapid.SampledFrom([]string{"loan", "travel"}).Draw(t, "process"),
			Instance: rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "instance"), Purpose: "fire",
			Expires: noon.Add(time.Duration(rapid.IntRange(0, 1).Draw(t, "hours")) * time.Hour),
		}
	})
}

func rare(t *rapid.T, label string) bool { return rapid.IntRange(0, 9).Draw(t, label) == 0 }

func aResource() *rapid.Generator[access.Resource] {
	names := rapid.SampledFrom([]string{"", "ann", "bob"})
	return rapid.Custom(func(t *rapid.T) access.Resource {
		r := access.Resource{
			Kind:         rapid.SampledFrom([]access.Kind{access.Process, access.Instance, access.Task, access.Field, access.File, access.Secret}).Draw(t, "kind"),
			ID:           rapid.SampledFrom([]string{"", "1"}).Draw(t, "id"),
			Tenant:       rapid.SampledFrom([]string{"main", "main", "acme"}).Draw(t, "tenant"),
			Process:      rapid.SampledFrom([]string{"loan", "travel"}).Draw(t, "process"),
			Instance:     rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "instance"),
			Element:      rapid.SampledFrom([]string{"", "approve", "pay"}).Draw(t, "element"),
			Assignee:     names.Draw(t, "assignee"),
			Users:        rapid.SliceOfN(rapid.SampledFrom([]string{"ann", "bob"}), 0, 1).Draw(t, "users"),
			Groups:       rapid.SliceOfN(rapid.SampledFrom([]string{"clerks", "day"}), 0, 2).Draw(t, "candidate groups"),
			Field:        rapid.SampledFrom([]string{"name", "card", "card.number", "cards[0].number", "amount"}).Draw(t, "field"),
			InForm:       rapid.Bool().Draw(t, "in form"),
			Given:        rare(t, "given"),
			Name:         rapid.SampledFrom([]string{"", "mail", "main", "acme"}).Draw(t, "its name"),
			Owner:        names.Draw(t, "owner"),
			Confidential: rapid.Bool().Draw(t, "confidential"),
		}
		if r.Kind == access.File {
			r.Process = ""
		}
		if rapid.Bool().Draw(t, "has a value") {
			r.Values = map[string]string{"company": rapid.SampledFrom([]string{"A", "B", "C"}).Draw(t, "value")}
		}
		return r
	})
}

func someCircumstances() *rapid.Generator[access.Circumstances] {
	return rapid.Custom(func(t *rapid.T) access.Circumstances {
		return access.Circumstances{
			Now: noon, Network: !rare(t, "no network"), Held: rapid.Bool().Draw(t, "held"), FourEyes: rapid.Bool().Draw(t, "four eyes"),
			Approved: rapid.Bool().Draw(t, "approved"), Purpose: rapid.SampledFrom([]string{"", "fraud"}).Draw(t, "purpose"),
		}
	})
}

func TestDecisionsAreThoseOfAPlainImplementation(t *testing.T) {
	policies := builtin(t)
	rapid.Check(t, func(t *rapid.T) {
		who, action := aPrincipal().Draw(t, "who"), rapid.SampledFrom(access.Actions()).Draw(t, "action")
		on, in := aResource().Draw(t, "on"), someCircumstances().Draw(t, "in")
		got, want := policies.Decide(who.Effective(), action, on, in), plainly(who, action, on, in)
		if got.Allowed != want || len(got.Failed) > 0 || got.Allowed && len(got.Policies) == 0 {
			t.Fatalf("Decide = %+v, want allowed: %t", got, want)
		}
		if x := policies.Explain(who.Effective(), action, on, in); x.Allowed != want || len(x.Reasons) != len(got.Policies) {
			t.Fatalf("Explain = %+v, Decide = %+v", x, got)
		}
	})
}

// Where fields are said to be alike, no other one is decided otherwise.
func TestFieldsAlike(t *testing.T) {
	policies := builtin(t)
	own, err := policies.ParseTenantPolicies(`@id("x") forbid (principal, action == Action::"value:read", resource) when { resource.field == "card" };`)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		who, action := aPrincipal().Draw(t, "who").Effective(), rapid.SampledFrom([]access.Action{access.ReadValue, access.RevealValue}).Draw(t, "action")
		set := rapid.SampledFrom([]*access.Policies{policies, policies.With(own)}).Draw(t, "policies")
		on, in := aResource().Draw(t, "on"), someCircumstances().Draw(t, "in")
		other := on
		other.Field = aResource().Draw(t, "other").Field
		a, b := set.Decide(who, action, on, in), set.Decide(who, action, other, in)
		if set.FieldsAlike(who, action) && (a.Allowed != b.Allowed || a.Purpose != b.Purpose) {
			t.Fatalf("%s is %+v, %s is %+v", on.Field, a, other.Field, b)
		}
	})
	on := func(right access.Right, fields ...string) *access.Effective {
		return access.Principal{Name: "ann", Tenant: "main", Grants: []access.Grant{{ID: "g", Right: right, Process: "loan", Fields: fields}}}.Effective()
	}
	for name, test := range map[string]struct {
		who    *access.Effective
		set    *access.Policies
		action access.Action
		want   bool
	}{
		"a grant on the process":      {on(access.ToWork), policies, access.ReadValue, true},
		"a grant on all fields":       {on(access.ToReveal, access.All), policies, access.RevealValue, true},
		"a grant on a field":          {on(access.ToReveal, "card"), policies, access.RevealValue, false},
		"a grant for something else":  {on(access.ToReveal, "card"), policies, access.ReadValue, true},
		"a policy of the tenant":      {on(access.ToWork), policies.With(own), access.ReadValue, false},
		"a policy for something else": {on(access.ToWork), policies.With(own), access.RevealValue, true},
	} {
		if got := test.set.FieldsAlike(test.who, test.action); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// reaches is what a list does with a reach.
func reaches(r access.Reach, who access.Principal, on access.Resource) bool {
	mine := on.Assignee == who.Name || slices.Contains(on.Users, who.Name) ||
		slices.ContainsFunc(on.Groups, func(g string) bool { return slices.Contains(who.Groups, g) })
	return r.All || r.Candidate && mine || slices.Contains(r.Processes, on.Process) || slices.Contains(r.Instances, on.Instance) ||
		slices.Contains(r.Tasks, access.Part{Process: on.Process, Element: on.Element}) ||
		slices.ContainsFunc(r.Where, func(c access.Condition) bool {
			value, ok := on.Values[c.Path]
			return c.Process == on.Process && ok && value == c.Value
		})
}

func TestNothingThatMayBeSeenIsOutOfReach(t *testing.T) {
	policies := builtin(t)
	kinds := map[access.Action]access.Kind{
		access.ReadProcess: access.Process, access.ReadInstance: access.Instance, access.ReadTask: access.Task, access.WorkJobs: access.Job,
		access.ReadIncident: access.Incident,
	}
	rapid.Check(t, func(t *rapid.T) {
		action := rapid.SampledFrom([]access.Action{access.ReadProcess, access.ReadInstance, access.ReadTask, access.WorkJobs, access.ReadIncident}).Draw(t, "action")
		who, on, in := aPrincipal().Draw(t, "who"), aResource().Draw(t, "on"), someCircumstances().Draw(t, "in")
		on.Kind = kinds[action]
		r := policies.Reach(who.Effective(), action, on.Kind, in)
		if policies.Decide(who.Effective(), action, on, in).Allowed && !reaches(r, who, on) {
			t.Fatalf("%+v leaves out what may be seen", r)
		}
	})
}

func TestCould(t *testing.T) {
	policies := builtin(t)
	rapid.Check(t, func(t *rapid.T) {
		action := rapid.SampledFrom([]access.Action{access.ReadProcess, access.ReadInstance, access.CompleteTask, access.CancelInstance}).Draw(t, "action")
		who, on, in := aPrincipal().Draw(t, "who"), aResource().Draw(t, "on"), someCircumstances().Draw(t, "in")
		could := policies.Could(who.Effective(), action, on.Kind, in)
		if policies.Decide(who.Effective(), action, on, in).Allowed && on.Kind != access.Secret && !could {
			t.Fatal("they may, and could not")
		}
		outOfScope := len(who.Scopes) > 0 && !slices.ContainsFunc(who.Scopes, func(s access.Scope) bool { return s.Covers(action) })
		if could && (who.Disabled || who.TenantDisabled || !in.Network || outOfScope) {
			t.Fatal("they could, and nothing is permitted to them")
		}
	})
	for _, who := range []access.Principal{
		{Name: "vic", Tenant: "main", Roles: []access.Role{access.Viewer}, Disabled: true},
		{Name: "vic", Tenant: "main", Roles: []access.Role{access.Viewer}, Scopes: []access.Scope{"job:*"}},
		{Name: "vic", Tenant: "main", Roles: []access.Role{access.Auditor}},
	} {
		if policies.Could(who.Effective(), access.ReadInstance, access.Instance, usual) {
			t.Errorf("%+v could", who)
		}
	}
	own, err := policies.ParseTenantPolicies(`@id("x") forbid (principal, action, resource) unless { resource.process == "loan" };`)
	if err != nil {
		t.Fatal(err)
	}
	vic := access.Principal{Name: "vic", Tenant: "main", Roles: []access.Role{access.Viewer}}.Effective()
	if !policies.With(own).Could(vic, access.ReadInstance, access.Instance, usual) {
		t.Error("a policy about some processes keeps from all")
	}
}
