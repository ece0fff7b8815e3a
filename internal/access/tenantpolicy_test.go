package access_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/fault"
)

const weekend = `
@id("no-service-reads")
@reason("programs read no instances of loan")
forbid (principal is service, action in [Action::"instance:read", Action::"instance:export"], resource is instance)
when { resource.process == "loan" && !principal.groups.contains("exporters") };

@id("purpose-has-a-ticket")
forbid (principal, action == Action::"value:reveal", resource)
unless { context.purpose like "T-*" };
`

func TestTenantPoliciesForbid(t *testing.T) {
	policies := builtin(t)
	own, err := policies.ParseTenantPolicies(weekend)
	if err != nil {
		t.Fatal(err)
	}
	if own.Text() != weekend || !slices.Equal(own.IDs(), []string{"no-service-reads", "purpose-has-a-ticket"}) {
		t.Errorf("the policies have the ids %v and the text %s", own.IDs(), own.Text())
	}
	reader := access.Principal{Name: "etl", Tenant: "main", Kind: access.Service, Roles: []access.Role{access.Viewer}}
	exporter := reader
	exporter.Groups = []string{"exporters"}
	person := reader
	person.Kind = access.User
	loan := access.Resource{Kind: access.Instance, Tenant: "main", Process: "loan"}
	for _, test := range []struct {
		name    string
		who     access.Principal
		allowed bool
		reason  string
	}{
		{"a program", reader, false, "no-service-reads"}, {"a program of the group", exporter, true, "role-viewer"}, {"a person", person, true, "role-viewer"},
	} {
		got := policies.With(own).Decide(test.who.Effective(), access.ReadInstance, loan, usual)
		if got.Allowed != test.allowed || !slices.Equal(got.Policies, []string{test.reason}) {
			t.Errorf("%s: %+v", test.name, got)
		}
	}
	if !policies.Decide(reader.Effective(), access.ReadInstance, loan, usual).Allowed {
		t.Error("a tenant's policies count for others")
	}
	x := policies.With(own).Explain(reader.Effective(), access.ReadInstance, loan, usual)
	if len(x.NearMisses) != 1 || x.NearMisses[0].Policy != "no-service-reads" || !strings.Contains(x.NearMisses[0].Text, "programs read no instances of loan") {
		t.Errorf("Explain = %+v", x)
	}
	if policies.With(nil) != policies {
		t.Error("no policies of a tenant change something")
	}
}

func TestTenantPoliciesThatAreRefused(t *testing.T) {
	many := ""
	for i := range access.MaxPolicies + 1 {
		many += `@id("p` + strings.Repeat("x", i) + `") forbid (principal, action, resource) when { false };` + "\n"
	}
	forbid := func(body string) string {
		return `@id("x") forbid (principal, action, resource) when { ` + body + ` };`
	}
	tests := []struct{ name, text, place, says string }{
		{"no Cedar", "\nforbid all;", "2:", "is no Cedar"},
		{"a text that does not end", `@id("x") forbid (principal, action, resource) when { principal.name == "`, "1:", "is no Cedar"},
		{"a permit", `@id("x") permit (principal, action, resource);`, "1:1", "can only forbid"},
		{"no id", "\n  forbid (principal, action, resource);", "2:3", "give it an @id"},
		{"an empty id", `@id forbid (principal, action, resource);`, "1:1", "give it an @id"},
		{"an id of a built-in policy", `@id("legal-hold") forbid (principal, action, resource);`, "1:1", "of a built-in policy"},
		{"an id twice", forbid("true") + "\n" + forbid("true"), "2:1", "of another one"},
		{"an unknown annotation", `@id("x") @right("view") forbid (principal, action, resource);`, "1:1", "annotation @right"},
		{"a long reason", `@id("x") @reason("` + strings.Repeat("r", 256) + `") forbid (principal, action, resource);`, "1:1", "long reason"},
		{"an action that there is not", `@id("x") forbid (principal, action == Action::"instance:own", resource);`, "1:1", "is no action"},
		{"an action that there is not among others", `@id("x") forbid (principal, action in [Action::"task:read", Action::"task:own"], resource);`, "1:1", "is no action"},
		{"an action that there is not in a condition", forbid(`action == Action::"task:own"`), "1:1", "is no action"},
		{"an action in the place of a principal", `@id("x") forbid (principal == Action::"task:read", action, resource);`, "1:1", "is no action"},
		{"a resource in the place of a principal", `@id("x") forbid (principal == task::"1", action, resource);`, "1:1", "names an entity"},
		{"a kind that there is not", `@id("x") forbid (principal, action, resource is Document);`, "1:1", "names an entity"},
		{"a kind that there is not in a condition", forbid("resource is Document"), "1:1", "names an entity"},
		{"an entity that there is not", forbid(`resource == Album::"1"`), "1:1", "names an entity"},
		{"a group as an entity", `@id("x") forbid (principal in user::"x", action, resource);`, "1:1", "use principal.groups"},
		{"a kind in an entity", `@id("x") forbid (principal is user in user::"x", action, resource);`, "1:1", "use principal.groups"},
		{"in a condition", forbid(`principal in user::"x"`), "1:1", "use principal.groups"},
		{"is in a condition", forbid(`principal is user in user::"x"`), "1:1", "use principal.groups"},
		{"an attribute that there is not", forbid(`principal.age > 3`), "1:1", "reads principal.age"},
		{"an attribute of another variable", forbid(`resource.roles.contains("Admin")`), "1:1", "reads resource.roles"},
		{"an attribute of an action", forbid(`action.name == "x"`), "1:1", "something else"},
		{"an attribute of an entity", forbid(`user::"ann".name == "x"`), "1:1", "something else"},
		{"a hold, of everything", forbid(`context.held`), "1:1", "known for erasure:order alone"},
		{"a hold, of something else as well", `@id("x") forbid (principal, action in [Action::"erasure:order", Action::"instance:cancel"], resource) unless { context.held };`, "1:1", "known for erasure:order alone"},
		{"has", forbid(`principal has age`), "1:1", "not available"},
		{"an extension", forbid(`ip("10.0.0.1").isLoopback()`), "1:1", "not available"},
		{"a record", forbid(`{a: 1} == {a: 1}`), "1:1", "not available"},
		{"a tag", forbid(`principal.getTag("x") == 1`), "1:1", "not available"},
		{"another type", forbid(`principal.name > 3`), "1:1", "cannot be evaluated"},
		{"another type for one action only", `@id("x") forbid (principal, action == Action::"policy:set", resource) when { principal.name > 3 };`, "1:1", "cannot be evaluated"},
		{"more than anybody reads", forbid(strings.Repeat("!", 5000) + "true"), "1:1", "more than 500 nodes"},
		{"too many", many, "51:1", "more than 50"},
		{"too large", forbid("true") + strings.Repeat(" ", access.MaxPolicyBytes), "1:1", "more than 16384 bytes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			own, err := builtin(t).ParseTenantPolicies(test.text)
			if own != nil || !fault.Is(err, fault.Invalid) || fault.CodeOf(err) != "invalid_policies" {
				t.Fatalf("parsed as %v, %v", own, err)
			}
			if !strings.Contains(err.Error(), "\n  "+test.place) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v, want something at %s that says %q", err, test.place, test.says)
			}
		})
	}
}

func TestPoliciesThatLockOut(t *testing.T) {
	ann := access.Principal{Name: "ann", Tenant: "main", Roles: []access.Role{access.Admin}}
	bob := access.Principal{Name: "bob", Tenant: "main", Roles: []access.Role{access.Admin}, Disabled: true}
	for _, test := range []struct {
		name, text string
		who        access.Principal
		want       bool
	}{
		{"none", "", ann, false},
		{"who is disabled", "", bob, true},
		{"everybody", `@id("x") forbid (principal, action, resource);`, ann, true},
		{"ann", `@id("x") forbid (principal == user::"ann", action, resource);`, ann, true},
		{"setting policies", `@id("x") forbid (principal, action == Action::"policy:set", resource);`, ann, true},
		{"reading policies", `@id("x") forbid (principal, action == Action::"policy:read", resource);`, ann, true},
		{"something else", `@id("x") forbid (principal, action == Action::"task:read", resource);`, ann, false},
		{"somebody else", `@id("x") forbid (principal == user::"eve", action, resource);`, ann, false},
		{"while two people deploy", `@id("x") forbid (principal, action, resource) when { context.four_eyes };`, ann, true},
		{"while one person deploys", `@id("x") forbid (principal, action == Action::"policy:read", resource) unless { context.four_eyes };`, ann, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			policies := builtin(t)
			own, err := policies.ParseTenantPolicies(test.text)
			if err != nil {
				t.Fatal(err)
			}
			if got := policies.With(own).LocksOut(test.who.Effective(), noon); got != test.want {
				t.Errorf("LocksOut = %t", got)
			}
		})
	}
}

func TestVocabulary(t *testing.T) {
	words := access.Vocabulary()
	if len(words) != 3 {
		t.Fatalf("%d variables, want 3", len(words))
	}
	for _, w := range words {
		for _, name := range w.Attributes {
			read := w.Variable + "." + name
			if _, err := builtin(t).ParseTenantPolicies(`@id("x") forbid (principal, action == Action::"erasure:order", resource) when { ` + read + " == " + read + " };"); err != nil {
				t.Errorf("%s: %v", read, err)
			}
		}
	}
}

// FuzzTenantPolicies wants that nothing fails otherwise than with Invalid, and that what
// is accepted can be evaluated and permits nothing.
func FuzzTenantPolicies(f *testing.F) {
	for _, seed := range []string{
		"", weekend, `@id("x") forbid (principal, action, resource);`, `@id("x") permit (principal, action, resource);`,
		`@id("x") forbid (principal == user::"ann", action in [Action::"task:read"], resource is task) unless { context.four_eyes || [1, 2].contains(3) };`,
		`@id("x") forbid (principal, action, resource) when { if context.network then resource.process like "a*" else -1 < 2 * 3 };`,
		`@id("x") forbid (principal, action, resource) when { ` + strings.Repeat("!", 5000) + ` true };`,
		`@id("x") forbid (principal, action, resource) when { ` + strings.Repeat("(", 5000) + ` true };`,
		"@id(\"\\u{0}\") forbid", "forbid\x00", "// only a comment",
	} {
		f.Add(seed)
	}
	policies := builtin(f)
	who := access.Principal{Name: "ann", Tenant: "main", Kind: access.User, Roles: access.Roles()}.Effective()
	f.Fuzz(func(t *testing.T, text string) {
		own, err := policies.ParseTenantPolicies(text)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatalf("%v is of the kind %s", err, fault.KindOf(err))
			}
			return
		}
		for _, action := range access.Actions() {
			on := access.Resource{Kind: access.Instance, Tenant: "main", Process: "loan", Assignee: "bob"}
			before, with := policies.Decide(who, action, on, usual), policies.With(own).Decide(who, action, on, usual)
			if with.Allowed && !before.Allowed {
				t.Fatalf("%s is allowed because of %v", action, with.Policies)
			}
		}
	})
}

// TestAPolicyThatFailsDenies needs a policy that the trial lets through, since what fails
// in it is evaluated for one process alone.
func TestAPolicyThatFailsDenies(t *testing.T) {
	policies := builtin(t)
	own, err := policies.ParseTenantPolicies(`@id("x") forbid (principal, action, resource) when { resource.process == "loan" && principal.name > 3 };`)
	if err != nil {
		t.Fatal(err)
	}
	viewer := access.Principal{Name: "vic", Tenant: "main", Roles: []access.Role{access.Viewer}}.Effective()
	on := access.Resource{Kind: access.Instance, Tenant: "main", Process: "loan"}
	if got := policies.With(own).Decide(viewer, access.ReadInstance, on, usual); got.Allowed || !slices.Equal(got.Failed, []string{"x"}) {
		t.Errorf("Decide = %+v", got)
	}
	if x := policies.With(own).Explain(viewer, access.ReadInstance, on, usual); !slices.ContainsFunc(x.Reasons, func(r access.Reason) bool {
		return r.Policy == "x" && strings.Contains(r.Text, "could not be evaluated")
	}) {
		t.Errorf("Explain = %+v", x)
	}
	on.Process = "travel"
	if got := policies.With(own).Decide(viewer, access.ReadInstance, on, usual); !got.Allowed {
		t.Errorf("of another process: %+v", got)
	}
}
