package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/testenv"
)

const notedModel = `<?xml version="1.0"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" xmlns:seal="urn:underseal:bpmn:1" targetNamespace="x">
<process id="noted" isExecutable="true">
<extensionElements><seal:policy default="internal">
<seal:field path="FIELD" class="internal" search="exact"/><seal:field path="applicant.ssn" class="confidential" subject="person.id"/></seal:policy></extensionElements>
<startEvent id="start"/><sequenceFlow id="f0" sourceRef="start" targetRef="TASK"/>
<userTask id="TASK"><extensionElements><zeebe:userTask/><zeebe:formDefinition formKey="noted.schema.json"/></extensionElements></userTask>
<sequenceFlow id="f1" sourceRef="TASK" targetRef="check"/>
<serviceTask id="check"><extensionElements><zeebe:taskDefinition type="work"/><zeebe:ioMapping><zeebe:output source="=rating" target="score"/></zeebe:ioMapping></extensionElements></serviceTask>
</process></definitions>`

func deployNoted(env *testenv.Env, task, field string) {
	env.Deploy("noted.bpmn", strings.NewReplacer("TASK", task, "FIELD", field).Replace(notedModel),
		"noted.schema.json", `{"type": "object", "properties": {"verdict": {"properties": {"why": {}}}}}`)
}

// A grant is given whatever it names, since that may be deployed later; who gives it is told
// what nothing fits now.
func TestAGrantNotesWhatNothingFits(t *testing.T) {
	env := testenv.New(t, nil)
	env.Person("zoe")
	deployNoted(env, "first", "branch")
	deployNoted(env, "second", "region")
	ask := func(c engine.Caller, r api.GrantRequest) []string {
		t.Helper()
		r.User = "zoe"
		g, err := env.Engine.GiveGrant(t.Context(), c, r, "")
		if err != nil {
			t.Fatal(err)
		}
		if g.ID == "" || g.Right != r.Right || g.Notes == nil {
			t.Errorf("%+v is given as %+v", r, g)
		}
		return g.Notes
	}
	where := func(path string) *api.Where { return &api.Where{Path: path, Value: "x"} }
	for _, x := range []struct {
		r    api.GrantRequest
		want []string
	}{
		{api.GrantRequest{Right: "view", Process: "noted"}, nil},
		{api.GrantRequest{Right: "view", Process: "*"}, nil},
		{api.GrantRequest{Right: "use", Name: "mail"}, nil},
		{api.GrantRequest{Right: "read", Process: "*", Fields: []string{"aplicant"}}, nil},
		{api.GrantRequest{Right: "reveal", Process: "noted", Fields: []string{"*"}}, nil},
		{api.GrantRequest{Right: "work", Process: "noted", Task: "first"}, nil},
		{api.GrantRequest{Right: "work", Process: "noted", Task: "second"}, nil},
		{api.GrantRequest{Right: "work", Process: "noted", Task: "check"}, nil},
		{api.GrantRequest{Right: "work", Process: "noted", Task: "third"}, []string{`no version of "noted" has a task "third"`}},
		{api.GrantRequest{Right: "work", Process: "noted", Task: "start"}, []string{`no version of "noted" has a task "start"`}},
		{api.GrantRequest{Right: "view", Process: "noted", Where: where("branch")}, nil},
		{api.GrantRequest{Right: "manage", Process: "noted", Where: where("region")}, nil},
		{api.GrantRequest{Right: "view", Process: "noted", Where: where("score")}, []string{`no version of "noted" has a searchable field "score"`}},
		{api.GrantRequest{Right: "reveal", Process: "noted", Fields: []string{"applicant.ssn", "person", "verdict", "score", "rating", "branch", "$business_key"}}, nil},
		{api.GrantRequest{Right: "read", Process: "noted", Fields: []string{"aplicant.ssn", "score", "scores"}}, []string{
			`no version of "noted" has a field "aplicant.ssn" in its policy, its forms or an expression`,
			`no version of "noted" has a field "scores" in its policy, its forms or an expression`,
		}},
		{api.GrantRequest{Right: "start", Process: "note"}, []string{`no process "note" is deployed (yet)`}},
	} {
		if got := ask(env.Ann, x.r); !slices.Equal(got, x.want) {
			t.Errorf("%+v: %q, want %q", x.r, got, x.want)
		}
	}

	// Who may not see processes is told nothing of them.
	key, err := env.Engine.CreateAPIKey(t.Context(), env.Ann, api.APIKeyRequest{User: "ann", Scopes: []string{"grant:*"}}, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []api.GrantRequest{{Right: "start", Process: "note"}, {Right: "work", Process: "noted", Task: "third"}} {
		if got := ask(env.SignIn(key.Text), r); len(got) != 0 {
			t.Errorf("who may not see processes is told %q", got)
		}
	}

	// The same request again, and many versions.
	again := api.GrantRequest{User: "zoe", Right: "start", Process: "note"}
	for range 2 {
		if g, err := env.Engine.GiveGrant(t.Context(), env.Ann, again, "k"); err != nil || len(g.Notes) != 1 {
			t.Errorf("repeated: %+v, %v", g, err)
		}
	}
	for n := range 20 {
		deployNoted(env, "later", fmt.Sprintf("field%d", n))
	}
	if got := ask(env.Ann, api.GrantRequest{Right: "work", Process: "noted", Task: "second"}); !slices.Equal(got, []string{`none of the newest 20 versions of "noted" has a task "second"`}) {
		t.Errorf("of an old version: %q", got)
	}
}

// What somebody may do is asked for before a process is deployed, too: who may see processes
// is told that there is none of that name.
func TestExplainNotesWhatIsNotDeployed(t *testing.T) {
	env := testenv.New(t, nil)
	env.Person("zoe", "Executor")
	deployNoted(env, "first", "branch")
	for _, x := range []struct {
		asks    engine.Caller
		process string
		want    []string
	}{
		{env.Ann, "note", []string{`no process "note" is deployed (yet)`}},
		{env.Ann, "noted", nil},
		{env.Ann, "", nil},
		{env.Person("pia", "Auditor"), "note", nil},
	} {
		got, err := env.Engine.Explain(t.Context(), x.asks, api.ExplainQuery{Principal: "zoe", Action: "instance:start", ID: x.process})
		if err != nil || !got.Allowed || got.Notes == nil || !slices.Equal(got.Notes, x.want) {
			t.Errorf("%s asks about %q: %q, allowed %v, %v; want %q", x.asks.Principal, x.process, got.Notes, got.Allowed, err, x.want)
		}
	}
}
