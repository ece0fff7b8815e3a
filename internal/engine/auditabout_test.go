package engine_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
)

// isAbout says by what an entry tells whether it is of something that was done to somebody.
func isAbout(x api.AuditEntry, name, object string) bool {
	var details struct {
		User, Resource string
		BreakGlass     json.RawMessage `json:"break_glass"`
	}
	var glass struct{ By string }
	_ = json.Unmarshal(x.Details, &details)
	_ = json.Unmarshal(details.BreakGlass, &glass) // a list, in answers that were given by one
	return x.Object == object || details.User == name || glass.By == name || details.Resource == "principal "+name || details.Resource == "apikey "+name
}

func TestTheAuditFindsWhatWasDoneToSomebody(t *testing.T) {
	t.Parallel()
	onBoth(t, theAuditFindsWhatWasDoneToSomebody)
}

func theAuditFindsWhatWasDoneToSomebody(t *testing.T, env *testenv.Env) {
	ctx, e := t.Context(), env.Engine
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	personWithPassword(t, env, "zoe", "Viewer")
	env.Person("zoe.b", "Viewer")
	group, err := e.CreateGroup(ctx, env.Ann, api.GroupRequest{Name: "zoe"}, "")
	must(err)
	must(errorOf(e.JoinGroup(ctx, env.Ann, "zoe", api.MemberRequest{Group: "zoe"}, "")))
	must(errorOf(e.GiveUserRole(ctx, env.Ann, "zoe", api.RoleRequest{Role: "Executor"}, "")))
	must(errorOf(e.RevokeGrant(ctx, env.Ann, give(t, env, api.GrantRequest{User: "zoe", Right: "view", Process: "*"}).ID, api.ReasonRequest{}, "")))
	newIndexKey(t, env)
	env.Deploy("all.bpmn", everything)
	zoe, err := e.Authenticate(ctx, session(t, env, "zoe", home).Text, home.Address)
	must(err)
	must(errorOf(e.RequestBreakGlass(ctx, zoe, api.BreakGlassRequest{Process: "everything", Reason: "fire", LastsMS: 60_000}, "")))
	must(errorOf(e.CreateAPIKey(ctx, env.Ann, api.APIKeyRequest{User: "zoe"}, "")))
	for _, refused := range []error{
		errorOf(e.DisableUser(ctx, env.Person("bob"), "zoe", api.ReasonRequest{}, "")),
		errorOf(e.CreateAPIKey(ctx, env.Person("bea"), api.APIKeyRequest{User: "zoe"}, "")),
		errorOf(e.DeleteGroup(ctx, env.Person("bud"), "zoe", api.ReasonRequest{}, "")),
	} {
		if !fault.Is(refused, fault.Denied) {
			t.Fatalf("refused by %v", refused)
		}
	}
	must(errorOf(e.EndUserSessions(ctx, env.Ann, "zoe", api.ReasonRequest{Reason: "lost"}, "")))
	must(errorOf(e.DisableUser(ctx, env.Ann, "zoe", api.ReasonRequest{Reason: "left"}, "")))
	acme := env.Tenant("acme")
	acme.Person("zoe", "Viewer")
	user, err := e.User(ctx, env.Ann, "zoe")
	must(err)

	sequenced(t, env)
	var want []string
	kinds := map[string]bool{}
	all := audit(t, env, api.AuditQuery{OldestFirst: true})
	for _, x := range all {
		if isAbout(x, "zoe", user.Object) {
			want, kinds[x.Kind] = append(want, x.Entry+" "+x.Kind), true
		}
		if named := x.Object == user.Object || x.Object == group.Object; named != (x.Name == "zoe") {
			t.Errorf("%s %s of %s is told with the name %q", x.Entry, x.Kind, x.Object, x.Name)
		}
	}
	for _, kind := range strings.Fields("principal.invited principal.activated group.joined role.given grant.given grant.revoked api_key.created " +
		"session.started breakglass.requested access.denied principal.signed_out principal.disabled") {
		if !kinds[kind] {
			t.Errorf("no entry %s is about her", kind)
		}
	}
	got := audit(t, env, api.AuditQuery{AuditFilter: api.AuditFilter{About: "zoe"}, OldestFirst: true})
	if !slices.Equal(names(got), want) {
		t.Errorf("what was done to her:\n%q, want\n%q", names(got), want)
	}
	if got := audit(t, env, api.AuditQuery{AuditFilter: api.AuditFilter{About: "zoe", Kind: "access.", Principal: "bob"}}); len(got) != 1 {
		t.Errorf("what bob was refused to do to her: %q", names(got))
	}
	if got := audit(t, env, api.AuditQuery{AuditFilter: api.AuditFilter{About: "nobody"}}); len(got) != 0 {
		t.Errorf("about nobody: %q", names(got))
	}
	sequenced(t, acme)
	for _, x := range audit(t, acme, api.AuditQuery{AuditFilter: api.AuditFilter{About: "zoe"}}) {
		if x.Object == user.Object || !strings.HasPrefix(x.Kind, "principal.") {
			t.Errorf("another company is told %+v", x)
		}
	}
}
