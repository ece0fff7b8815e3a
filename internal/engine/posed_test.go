package engine_test

import (
	"strings"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

// TestOwnPoliciesMeetWhatTheyAreOf has a company forbid things by whose they are, which
// process they are of, and of which kind: each is refused, what it is not of is not, and
// explain says the same.
func TestOwnPoliciesMeetWhatTheyAreOf(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, func(c *node.Config) { c.BreakGlassSettled = -1 })
	ctx, e := t.Context(), env.Engine
	env.Deploy("c.bpmn", classified)
	env.Deploy("o.bpmn", strings.ReplaceAll(classified, `id="classified"`, `id="other"`))
	kept, other := env.Start("classified", somebody), env.Start("other", somebody)
	zoesKey := env.PersonsKey("zoe", "Viewer")
	zoe := env.SignIn(zoesKey)
	abesKey := env.PersonsKey("abe", "Admin")
	for _, group := range []string{"closed", "open"} {
		if _, err := e.CreateGroup(ctx, env.Ann, api.GroupRequest{Name: group}, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := e.JoinGroup(ctx, env.Ann, "abe", api.MemberRequest{Group: group}, ""); err != nil {
			t.Fatal(err)
		}
	}
	glass := func(r api.BreakGlassRequest) string {
		t.Helper()
		r.Reason, r.LastsMS = "an emergency", int(time.Minute/time.Millisecond)
		b, err := e.RequestBreakGlass(ctx, zoe, r, "")
		if err != nil {
			t.Fatal(err)
		}
		return b.ID
	}
	keptGlass, otherGlass := glass(api.BreakGlassRequest{Instance: kept}), glass(api.BreakGlassRequest{Process: "other"})
	env.Tenant("acme")
	env.Tenant("corp")
	setPolicies(t, env, `
@id("acme-stays")
forbid (principal, action == Action::"tenant:disable", resource) when { resource.name == "acme" };
@id("not-oneself")
forbid (principal, action in [Action::"role:give", Action::"grant:give", Action::"apikey:create", Action::"principal:change"], resource)
when { resource.owner == principal.name };
@id("closed")
forbid (principal, action == Action::"group:change", resource == group::"closed");
@id("no-persons")
forbid (principal, action == Action::"erasure:order", resource is person);
@id("kept")
forbid (principal, action in [Action::"erasure:order", Action::"hold:place", Action::"breakglass:approve", Action::"breakglass:request"], resource)
when { resource.process == "classified" };`)
	env.Ann, zoe = env.SignIn(env.Key()), env.SignIn(zoesKey) // who have these policies
	abe := env.SignIn(abesKey)
	no := func(_ any, err error) error { return err }
	for _, c := range []struct {
		name     string
		do       func(of string) error
		of, not  string
		explains api.ExplainQuery // as far as it is not of the thing
	}{
		{"a role", func(of string) error {
			return no(e.GiveUserRole(ctx, env.Ann, of, api.RoleRequest{Role: "Auditor"}, ""))
		}, "ann", "zoe", api.ExplainQuery{Action: "role:give"}},
		{"a member", func(of string) error { return no(e.JoinGroup(ctx, env.Ann, "zoe", api.MemberRequest{Group: of}, "")) }, "closed", "open", api.ExplainQuery{Action: "group:change"}},
		{"a member of before", func(of string) error { return no(e.LeaveGroup(ctx, env.Ann, "abe", api.MemberRequest{Group: of}, "")) }, "closed", "open", api.ExplainQuery{}},
		{"a guest", func(of string) error {
			return no(e.InviteUser(ctx, env.Ann, api.UserRequest{Name: "guest", Groups: []string{of}}, ""))
		}, "closed", "open", api.ExplainQuery{}},
		{"another name", func(of string) error {
			return no(e.ChangeUser(ctx, env.Ann, of, api.ProfileRequest{Display: "X"}, ""))
		}, "ann", "zoe", api.ExplainQuery{Action: "principal:change"}},
		{"a grant", func(of string) error {
			return no(e.GiveGrant(ctx, env.Ann, api.GrantRequest{User: of, Right: "view", Process: "*"}, ""))
		}, "ann", "zoe", api.ExplainQuery{}},
		{"an API key", func(of string) error { return no(e.CreateAPIKey(ctx, env.Ann, api.APIKeyRequest{User: of}, "")) }, "ann", "zoe", api.ExplainQuery{}},
		{"the erasure of a person", func(of string) error { return no(order(t, env, "subject", of, time.Hour)) }, "p-1", "", api.ExplainQuery{Action: "erasure:order", Kind: "person"}},
		{"the erasure of an instance", func(of string) error { return no(order(t, env, "instance", of, time.Hour)) }, kept, other, api.ExplainQuery{Action: "erasure:order"}},
		{"a hold", func(of string) error {
			return no(e.PlaceHold(ctx, env.Ann, api.HoldRequest{Kind: "instance", ID: of, Reason: "a lawsuit"}, ""))
		}, kept, other, api.ExplainQuery{Action: "hold:place"}},
		{"a second person", func(of string) error { return no(e.ApproveBreakGlass(ctx, abe, of, api.ReasonRequest{}, "")) }, keptGlass, otherGlass, api.ExplainQuery{Action: "breakglass:approve"}},
		{"sight in an emergency", func(of string) error {
			return no(e.RequestBreakGlass(ctx, zoe, api.BreakGlassRequest{Process: of, Reason: "an emergency", LastsMS: 1}, ""))
		}, "classified", "other", api.ExplainQuery{}},
		{"a company", func(of string) error { return no(e.DisableTenant(ctx, env.Ann, of, api.ReasonRequest{}, "")) }, "acme", "corp", api.ExplainQuery{Action: "tenant:disable"}},
	} {
		if err := c.do(c.of); !fault.Is(err, fault.Denied) {
			t.Errorf("%s of %s: %v, want it forbidden", c.name, c.of, err)
		}
		if c.explains.Action != "" {
			q := c.explains
			q.Principal, q.ID = "ann", c.of
			if x, err := e.Explain(ctx, env.Ann, q); err != nil || x.Allowed {
				t.Errorf("%s of %s is explained as %+v, %v", c.name, c.of, x, err)
			}
		}
		if c.not == "" {
			continue
		}
		if err := c.do(c.not); err != nil {
			t.Errorf("%s of %s: %v, want it done", c.name, c.not, err)
		}
	}
	if err := no(order(t, env, "instance", "00000000-0000-7000-8000-000000000000", time.Hour)); !fault.Is(err, fault.NotFound) {
		t.Errorf("the erasure of an instance that is not there: %v, want NotFound", err)
	}
}
