package engine_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

// unsettled lets people decide who are new.
func unsettled(c *node.Config) { c.BreakGlassSettled = -1 }

// designers are two people who deploy, in a tenant that wants four eyes.
func designers(t *testing.T, env *testenv.Env) (dora, emil engine.Caller) {
	t.Helper()
	if _, err := env.Engine.SetFourEyes(t.Context(), env.Ann, api.FourEyesRequest{Required: true, Reason: "audit"}, ""); err != nil {
		t.Fatal(err)
	}
	return env.Person("dora", "Designer"), env.Person("emil", "Designer")
}

func deploying(t *testing.T, env *testenv.Env, c engine.Caller, idem, text string) api.Deployment {
	t.Helper()
	made, err := env.Engine.Deploy(t.Context(), c, []api.File{{Name: "c.bpmn", Content: []byte(text)}}, idem)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// TestTwoPeopleDeployAConfidentialProcess on both databases, over a restart.
func TestTwoPeopleDeployAConfidentialProcess(t *testing.T) {
	t.Parallel()
	onBoth(t, twoPeopleDeploy)
}

func twoPeopleDeploy(t *testing.T, env *testenv.Env) {
	unsettled(&env.Config) // from the restart on
	ctx := t.Context()
	dora, emil := designers(t, env)
	made := deploying(t, env, dora, "k", classified)
	if made.Pending == nil || len(made.Processes) > 0 || made.Pending.By != "dora" || made.Pending.State != "pending" {
		t.Fatalf("the deployment is %+v, want that it waits", made)
	}
	id := made.Pending.ID
	if again := deploying(t, env, dora, "k", classified); again.Pending == nil || again.Pending.ID != id {
		t.Errorf("repeated, it is %+v, want %s", again, id)
	}
	if _, err := env.Engine.Process(ctx, emil, "classified", 0); !fault.Is(err, fault.NotFound) {
		t.Errorf("the process, before it is approved: %v, want NotFound", err)
	}
	if _, err := env.Engine.ApproveDeployment(ctx, dora, id, api.ReasonRequest{}); fault.CodeOf(err) != "own_proposal" {
		t.Errorf("Dora approves her own: %v, want own_proposal", err)
	}
	shown, err := env.Engine.Proposal(ctx, emil, id)
	if err != nil || len(shown.Files) != 1 || string(shown.Files[0].Content) != classified {
		t.Errorf("Emil is shown %+v, %v, want the model", shown, err)
	}
	checkedWhole(t, env)
	env.Restart(nil)
	list, err := env.Engine.Proposals(ctx, emil)
	if err != nil || len(list.Items) != 1 || list.Items[0].ID != id {
		t.Errorf("there wait %+v, %v, want %s", list.Items, err, id)
	}
	for range 2 { // who approves twice gets the same answer
		done, err := env.Engine.ApproveDeployment(ctx, emil, id, api.ReasonRequest{Reason: "seen"})
		if err != nil || len(done.Processes) != 1 || done.Processes[0].ID != "classified" || done.Processes[0].Version != 1 {
			t.Fatalf("approved: %+v, %v", done, err)
		}
	}
	if _, err := env.Engine.ApproveDeployment(ctx, env.Ann, id, api.ReasonRequest{}); fault.CodeOf(err) != "decided" {
		t.Errorf("Ann approves what Emil did: %v, want decided", err)
	}
	if again := deploying(t, env, dora, "", classified); again.Pending != nil || !again.Processes[0].Unchanged {
		t.Errorf("the same files again: %+v, want that nothing changes", again)
	}
	sequenced(t, env)
	audited, err := env.Engine.Audit(ctx, env.Ann, api.AuditQuery{AuditFilter: api.AuditFilter{Kind: "deployment."}})
	if err != nil || len(audited.Items) != 2 || audited.Items[0].Principal != "emil" || audited.Items[0].Reason != "seen" || audited.Items[1].Principal != "dora" ||
		!strings.Contains(string(audited.Items[0].Details), id) {
		t.Errorf("the log says %+v, %v, want both", audited.Items, err)
	}
	checkedWhole(t, env)
}

// TestWhatNeedsFourEyes tells processes apart.
func TestWhatNeedsFourEyes(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, unsettled)
	env.Deploy("timed.bpmn", withTimer)
	if _, err := env.Engine.SetMode(t.Context(), env.Ann, "timed", "confidential", ""); err != nil {
		t.Fatal(err)
	}
	open := regexp.MustCompile(`<seal:policy(.|\n)*</seal:policy>`).ReplaceAllString(classified, "")
	renamed := strings.NewReplacer(`id="classified"`, `id="public"`)
	env.Deploy("public.bpmn", renamed.Replace(classified))
	dora, _ := designers(t, env)
	another := strings.Replace(withTimer, "targetNamespace", `name="two" targetNamespace`, 1)
	internal := strings.NewReplacer("PROCESS", "car", "GROUP", "clerks").Replace(claimModel)
	for _, c := range []struct {
		name, model string
		waits       bool
	}{
		{"classified fields", classified, true},
		{"a process that was set confidential", another, true},
		{"the newest version of one", withTimer, false},
		{"a process that had classified fields", renamed.Replace(open), true},
		{"one that never had", open, false},
		{"internal fields", internal, false},
		{"a searchable person", strings.Replace(internal, `class="internal" search`, `class="internal" subject="company" search`, 1), true},
		{"confidential by default", strings.Replace(internal, `default="internal"`, `default="confidential"`, 1), true},
		{"a confidential model", strings.Replace(internal, `<process id="car"`, `<process id="car" seal:mode="confidential"`, 1), true},
	} {
		if made := deploying(t, env, dora, "", c.model); (made.Pending != nil) != c.waits {
			t.Errorf("%s: %+v, want that it waits: %v", c.name, made, c.waits)
		}
	}
}

// TestTwoPeopleMakeAProcessLessConfidential by its mode alone; more so, one does.
func TestTwoPeopleMakeAProcessLessConfidential(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, unsettled)
	ctx := t.Context()
	env.Deploy("timed.bpmn", withTimer)
	dora, emil := designers(t, env)
	set := func(mode, idem string) api.Process {
		t.Helper()
		p, err := env.Engine.SetMode(ctx, dora, "timed", mode, idem)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, mode := range []string{"standard", "model"} {
		if p := set("confidential", ""); p.Pending != nil || p.Mode != "confidential" {
			t.Fatalf("set to confidential: %+v, want that one person does", p)
		}
		made := set(mode, "k "+mode)
		if made.Mode != "confidential" || made.Pending == nil || made.Pending.Mode != mode || made.Pending.By != "dora" {
			t.Fatalf("set to %s: %+v, want that it waits", mode, made)
		}
		id := made.Pending.ID
		if again := set(mode, "k "+mode); again.Pending == nil || again.Pending.ID != id {
			t.Errorf("repeated: %+v, want %s", again, id)
		}
		if _, err := env.Engine.ApproveDeployment(ctx, dora, id, api.ReasonRequest{}); fault.CodeOf(err) != "own_proposal" {
			t.Errorf("Dora approves her own: %v, want own_proposal", err)
		}
		if shown, err := env.Engine.Proposal(ctx, emil, id); err != nil || shown.Mode != mode || len(shown.Files) > 0 {
			t.Errorf("Emil is shown %+v, %v", shown, err)
		}
		for range 2 { // who approves twice gets the same answer
			done, err := env.Engine.ApproveDeployment(ctx, emil, id, api.ReasonRequest{})
			if err != nil || len(done.Processes) != 1 || done.Processes[0].ID != "timed" || done.Processes[0].Mode != "standard" {
				t.Errorf("approved: %+v, %v, want that it is standard", done, err)
			}
		}
		if p, err := env.Engine.Process(ctx, dora, "timed", 0); err != nil || p.Mode != "standard" {
			t.Errorf("the process is %+v, %v, want standard", p, err)
		}
	}
	if p := set("standard", ""); p.Pending != nil {
		t.Errorf("from the model's mode to the same: %+v, want that one person does", p)
	}
	checkedWhole(t, env)
}

// An older version can be started, so what makes that one standard takes two people as well.
func TestTwoPeopleMakeAnOlderVersionLessConfidential(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, unsettled)
	env.Deploy("c.bpmn", strings.Replace(classified, `<process id="classified"`, `<process id="classified" seal:mode="confidential"`, 1))
	env.Deploy("c.bpmn", classified)
	dora, _ := designers(t, env)
	if p, err := env.Engine.SetMode(t.Context(), dora, "classified", "standard", ""); err != nil || p.Pending == nil {
		t.Errorf("set to standard: %+v, %v, want that it waits", p, err)
	}
	if p, err := env.Engine.SetMode(t.Context(), dora, "classified", "confidential", ""); err != nil || p.Pending != nil {
		t.Errorf("set to confidential: %+v, %v, want that one person does", p, err)
	}
}

// TestWhoMayApprove has people who may deploy little, and a proposer who may no more.
func TestWhoMayApprove(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, unsettled)
	ctx, e := t.Context(), env.Engine
	dora, emil := designers(t, env)
	id := deploying(t, env, dora, "", classified).Pending.ID
	viewer, other := env.Person("bob", "Viewer"), env.PersonsKey("eve")
	give(t, env, api.GrantRequest{User: "eve", Right: "design", Process: "other"})
	if _, err := e.ApproveDeployment(ctx, viewer, id, api.ReasonRequest{}); !fault.Is(err, fault.Denied) {
		t.Errorf("a Viewer approves: %v, want Denied", err)
	}
	acme := env.Tenant("acme")
	for name, c := range map[string]engine.Caller{"who designs another process": env.SignIn(other), "another company": acme.Ann} {
		for what, err := range map[string]error{
			"approves":  errorOf(e.ApproveDeployment(ctx, c, id, api.ReasonRequest{})),
			"withdraws": errorOf(e.WithdrawDeployment(ctx, c, id, api.ReasonRequest{})),
			"looks":     errorOf(e.Proposal(ctx, c, id)),
		} {
			if !fault.Is(err, fault.NotFound) {
				t.Errorf("%s %s: %v, want NotFound", name, what, err)
			}
		}
		if list, err := e.Proposals(ctx, c); err != nil || len(list.Items) > 0 {
			t.Errorf("%s sees %+v, %v", name, list.Items, err)
		}
	}
	if _, err := e.DisableUser(ctx, env.Ann, "dora", api.ReasonRequest{}, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := e.ApproveDeployment(ctx, emil, id, api.ReasonRequest{}); fault.CodeOf(err) != "proposer_may_not" {
		t.Errorf("Emil approves what somebody proposed who is disabled: %v, want proposer_may_not", err)
	}
	if p, err := e.WithdrawDeployment(ctx, emil, id, api.ReasonRequest{Reason: "she left"}); err != nil || p.State != "withdrawn" || p.Decided != "emil" {
		t.Errorf("withdrawn: %+v, %v", p, err)
	}
	if _, err := e.ApproveDeployment(ctx, env.Ann, id, api.ReasonRequest{}); fault.CodeOf(err) != "decided" {
		t.Errorf("a deployment that was withdrawn: %v, want decided", err)
	}
}

// Who withdraws a proposal is decided by what they may then, not when they asked.
func TestAWithdrawalIsDecidedWhenItIsMade(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, unsettled)
	dora, emil := designers(t, env)
	id := deploying(t, env, dora, "", classified).Pending.ID
	if _, err := env.Engine.TakeUserRole(t.Context(), env.Ann, "emil", api.RoleRequest{Role: "Designer"}, ""); err != nil {
		t.Fatal(err)
	}
	give(t, env, api.GrantRequest{User: "emil", Right: "design", Process: "other"})
	if _, err := env.Engine.WithdrawDeployment(t.Context(), emil, id, api.ReasonRequest{}); !fault.Is(err, fault.NotFound) {
		t.Errorf("by somebody who may deploy another process alone by then: %v, want NotFound", err)
	}
	if _, err := env.Engine.WithdrawDeployment(t.Context(), dora, id, api.ReasonRequest{}); err != nil {
		t.Errorf("by who proposed it: %v", err)
	}
}

func TestAProposalExpires(t *testing.T) {
	t.Parallel()
	clock := newClock(time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC))
	env := testenv.New(t, func(c *node.Config) { c.Now = clock.now })
	dora, emil := designers(t, env)
	first := deploying(t, env, dora, "", classified).Pending
	clock.set(first.Expires.Add(-time.Second))
	second := deploying(t, env, dora, "", strings.Replace(classified, "public", "internal", 1)).Pending.ID
	clock.set(first.Expires)
	if _, err := env.Engine.ApproveDeployment(t.Context(), emil, first.ID, api.ReasonRequest{}); !fault.Is(err, fault.NotFound) {
		t.Errorf("a deployment after a week: %v, want NotFound", err)
	}
	if list, err := env.Engine.Proposals(t.Context(), emil); err != nil || len(list.Items) != 1 || list.Items[0].ID != second {
		t.Errorf("there wait %+v, %v, want %s alone", list.Items, err, second)
	}
}

func TestNotMoreProposalsThanSomebodyDecides(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("as many proposals as there may be")
	}
	env := testenv.New(t, unsettled)
	dora, emil := designers(t, env)
	version := func(i int) string {
		return strings.Replace(classified, "targetNamespace", fmt.Sprintf(`name="%d" targetNamespace`, i), 1)
	}
	first := deploying(t, env, dora, "", version(0)).Pending.ID
	for i := 1; i < 50; i++ {
		deploying(t, env, dora, "", version(i))
	}
	file := []api.File{{Name: "c.bpmn", Content: []byte(version(50))}}
	if _, err := env.Engine.Deploy(t.Context(), dora, file, ""); fault.CodeOf(err) != "too_many_proposals" {
		t.Errorf("one more than 50: %v, want too_many_proposals", err)
	}
	if _, err := env.Engine.WithdrawDeployment(t.Context(), emil, first, api.ReasonRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.Deploy(t.Context(), dora, file, ""); err != nil {
		t.Errorf("after one was decided: %v", err)
	}
}

// TestTwoPeopleAreNotOneWithTwoKeys: a program approves nothing, and nobody comes with a
// key that the other one made.
func TestTwoPeopleAreNotOneWithTwoKeys(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, unsettled)
	dora, _ := designers(t, env)
	e := env.Engine
	if _, err := e.InviteUser(t.Context(), env.Ann, api.UserRequest{Name: "robot", Kind: "service", Roles: []string{"Designer"}}, ""); err != nil {
		t.Fatal(err)
	}
	made := map[string]engine.Caller{}
	for _, name := range []string{"robot", "emil"} {
		key, err := e.CreateAPIKey(t.Context(), env.Ann, api.APIKeyRequest{User: name}, "")
		if err != nil {
			t.Fatal(err)
		}
		made[name] = env.SignIn(key.Text)
	}
	for _, c := range []struct {
		name               string
		proposer, approver engine.Caller
		code               string
	}{
		{"a program approves", dora, made["robot"], "no_person"},
		{"by a key that who proposed made", env.Ann, made["emil"], "others_key"},
		{"proposed by a key that who approves made", made["emil"], env.Ann, "others_key"},
		{"a program proposed", made["robot"], dora, ""},
	} {
		id := deploying(t, env, c.proposer, "", classified).Pending.ID
		if _, err := e.ApproveDeployment(t.Context(), c.approver, id, api.ReasonRequest{}); fault.CodeOf(err) != c.code {
			t.Fatalf("%s: %v, want %q", c.name, err, c.code)
		}
	}
}

// grownUp is a company that wants four eyes, at a time of its own, with a second
// administrator who has been there for longer than a day.
func grownUp(t *testing.T) (env *testenv.Env, now *clock, abe string) {
	t.Helper()
	now = newClock(time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC))
	env = testenv.New(t, func(c *node.Config) { c.Now = now.now })
	abe = env.PersonsKey("abe", "Admin", "Designer")
	if _, err := env.Engine.SetFourEyes(t.Context(), env.Ann, api.FourEyesRequest{Required: true}, ""); err != nil {
		t.Fatal(err)
	}
	now.pass(25 * time.Hour)
	return env, now, abe
}

// Who proposes a deployment makes no second person up who approves it, and is not made up.
func TestNobodyMakesUpWhoApprovesADeployment(t *testing.T) {
	t.Parallel()
	env, clock, abe := grownUp(t)
	anns := deploying(t, env, env.SignIn(env.Key()), "", classified).Pending.ID
	sock := env.PersonsKey("sock", "Designer")
	socks := deploying(t, env, env.SignIn(sock), "", classified).Pending.ID
	if _, err := env.Engine.ApproveDeployment(t.Context(), env.SignIn(sock), anns, api.ReasonRequest{}); fault.CodeOf(err) != "not_settled" {
		t.Errorf("somebody whom who proposed it has just made approves: %v, want not_settled", err)
	}
	if _, err := env.Engine.ApproveDeployment(t.Context(), env.SignIn(env.Key()), socks, api.ReasonRequest{}); fault.CodeOf(err) != "not_settled" {
		t.Errorf("proposed by somebody whom who approves has just made: %v, want not_settled", err)
	}
	if _, err := env.Engine.ApproveDeployment(t.Context(), env.SignIn(abe), anns, api.ReasonRequest{}); err != nil {
		t.Errorf("two people who have been there for longer: %v", err)
	}
	clock.pass(25 * time.Hour)
	if _, err := env.Engine.ApproveDeployment(t.Context(), env.SignIn(abe), socks, api.ReasonRequest{}); err != nil {
		t.Errorf("a day later: %v", err)
	}
}

// TestTwoPeopleEndFourEyes so that nobody ends them alone to deploy alone.
func TestTwoPeopleEndFourEyes(t *testing.T) {
	t.Parallel()
	env, clock, abe := grownUp(t)
	set := func(key string, required bool) (api.Settings, error) {
		return env.Engine.SetFourEyes(t.Context(), env.SignIn(key), api.FourEyesRequest{Required: required}, "")
	}
	asks := func(key, name string) {
		t.Helper()
		s, err := set(key, false)
		if err != nil || !s.FourEyes || s.FourEyesOff == nil || s.FourEyesOff.By != name || !s.FourEyesOff.Expires.Equal(clock.now().Add(24*time.Hour)) {
			t.Fatalf("%s asks for an end: %+v, %v", name, s, err)
		}
	}
	refused := func(what, key, code string) {
		t.Helper()
		if _, err := set(key, false); fault.CodeOf(err) != code {
			t.Errorf("%s: %v, want %s", what, err, code)
		}
		if s, err := env.Engine.Settings(t.Context(), env.SignIn(env.Key())); err != nil || !s.FourEyes {
			t.Fatalf("%s: %+v, %v, want four eyes", what, s, err)
		}
	}
	asks(env.Key(), "ann")
	refused("who asked confirms", env.Key(), "own_proposal")
	refused("somebody whom who asked has just made", env.PersonsKey("sock", "Admin"), "not_settled")
	if made := deploying(t, env, env.SignIn(env.Key()), "", classified); made.Pending == nil {
		t.Errorf("deployed before it was confirmed: %+v", made)
	}
	clock.pass(24 * time.Hour)
	asks(abe, "abe") // too late to confirm, so it is asked for anew
	if s, err := set(abe, true); err != nil || s.FourEyesOff != nil {
		t.Errorf("taken back: %+v, %v", s, err)
	}
	asks(env.Key(), "ann")
	if _, err := env.Engine.InviteUser(t.Context(), env.SignIn(abe), api.UserRequest{Name: "robot", Kind: "service", Roles: []string{"Admin"}}, ""); err != nil {
		t.Fatal(err)
	}
	robot, err := env.Engine.CreateAPIKey(t.Context(), env.SignIn(abe), api.APIKeyRequest{User: "robot"}, "")
	if err != nil {
		t.Fatal(err)
	}
	refused("a program confirms", robot.Text, "no_person")
	if s, err := set(abe, false); err != nil || s.FourEyes || s.FourEyesOff != nil {
		t.Errorf("confirmed: %+v, %v", s, err)
	}
	if s, err := set(env.Key(), true); err != nil || !s.FourEyes {
		t.Fatalf("on again: %+v, %v", s, err)
	}
	asks(abe, "abe")
	if _, err := env.Engine.TakeUserRole(t.Context(), env.SignIn(env.Key()), "abe", api.RoleRequest{Role: "Admin"}, ""); err != nil {
		t.Fatal(err)
	}
	refused("who asked is no administrator any more", env.Key(), "asker_may_not")
}
