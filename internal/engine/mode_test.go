package engine_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

const classified = `<?xml version="1.0"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:seal="urn:underseal:bpmn:1" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" targetNamespace="x">
<process id="classified" isExecutable="true">
<extensionElements><seal:policy default="internal">
<seal:field path="person.id" class="internal"/>
<seal:field path="person.diagnosis" class="regulated" subject="person.id"/>
<seal:field path="shoe" class="internal" subject="person.id"/>
<seal:field path="salary" class="confidential"/>
<seal:field path="room" class="public"/>
</seal:policy></extensionElements>
<startEvent id="start"/><sequenceFlow id="a" sourceRef="start" targetRef="derive"/>
<scriptTask id="derive"><extensionElements><zeebe:script expression="=salary * 2" resultVariable="twice"/></extensionElements></scriptTask>
<sequenceFlow id="a1" sourceRef="derive" targetRef="derive2"/>
<scriptTask id="derive2"><extensionElements><zeebe:script expression="=person.diagnosis" resultVariable="copied"/></extensionElements></scriptTask>
<sequenceFlow id="a2" sourceRef="derive2" targetRef="work"/>
<serviceTask id="work"><extensionElements><zeebe:taskDefinition type="work"/></extensionElements></serviceTask>
<sequenceFlow id="b" sourceRef="work" targetRef="ask"/><userTask id="ask"/>
</process></definitions>`

const somebody = `{"person": {"id": "p-1", "diagnosis": "flu"}, "shoe": 43, "salary": 1000, "room": "B2", "plain": "x"}`

// sealedFields returns which fields of an instance are sealed, and their class.
func sealedFields(t *testing.T, env *testenv.Env, id string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, f := range env.Instance(id).Fields {
		found[f.Path] = f.Class
		if f.Sealed {
			found[f.Path] += ", sealed"
		}
		if len(f.Subjects) > 0 {
			found[f.Path] += ", about " + strings.Join(f.Subjects, " ")
		}
	}
	return found
}

func TestSealingRule(t *testing.T) { onBoth(t, sealingRule) }

func sealingRule(t *testing.T, env *testenv.Env) {
	env.Deploy("c.bpmn", classified)
	id := env.Start("classified", somebody)
	env.Work("work", `{"undeclared": "result"}`)
	got := sealedFields(t, env, id)
	for path, want := range map[string]string{
		"person.id":        "internal, sealed, about person.id",
		"person.diagnosis": "regulated, sealed, about person.id",
		"shoe":             "internal, sealed, about person.id",
		"salary":           "confidential, sealed",
		"room":             "public",
		"plain":            "internal",
		"twice":            "confidential, sealed",
		"copied":           "regulated, sealed, about person.id",
		"undeclared":       "regulated, sealed, about person.id", // the worker was given everything
	} {
		if got[path] != want {
			t.Errorf("field %s is %q, want %q", path, got[path], want)
		}
	}
}

func TestModeIsFixedWhenAnInstanceStarts(t *testing.T) { onBoth(t, modeIsFixedWhenAnInstanceStarts) }

func modeIsFixedWhenAnInstanceStarts(t *testing.T, env *testenv.Env) {
	env.Deploy("c.bpmn", classified)
	before := env.Start("classified", somebody)
	set := func(mode string) {
		t.Helper()
		if _, err := env.Engine.SetMode(t.Context(), env.Ann, "classified", mode, ""); err != nil {
			t.Fatal(err)
		}
	}
	set("confidential")
	after := env.Start("classified", somebody)
	env.Restart(nil)
	env.Work("work", `{}`)
	env.Work("work", `{}`)
	if got := sealedFields(t, env, before)["plain"]; got != "internal" {
		t.Errorf("started before: plain is %q, want it clear", got)
	}
	if got := sealedFields(t, env, after)["plain"]; got != "internal, sealed" {
		t.Errorf("started after: plain is %q, want it sealed", got)
	}
	env.Deploy("c.bpmn", strings.ReplaceAll(classified, `"ask"`, `"ask2"`))
	if got := env.Instance(env.Start("classified", somebody)); got.Mode != "confidential" || got.Version != 2 {
		t.Errorf("a new version: version %d, mode %s, want the setting to stay", got.Version, got.Mode)
	}
	older := func() (of, shown string) {
		t.Helper()
		p, err := env.Engine.Process(t.Context(), env.Ann, "classified", 1)
		if err != nil {
			t.Fatal(err)
		}
		started, err := env.Engine.Start(t.Context(), env.Ann, api.StartRequest{Process: "classified", Version: 1, Variables: json.RawMessage(somebody)}, "")
		if err != nil {
			t.Fatal(err)
		}
		return env.Instance(started.Instance).Mode, p.Mode
	}
	set("standard")
	if of, shown := older(); of != "standard" || shown != "standard" {
		t.Errorf("an older version, made standard since: %s, told as %s", of, shown)
	}
	set("confidential")
	if of, shown := older(); of != "confidential" || shown != "confidential" {
		t.Errorf("an older version, made confidential since: %s, told as %s", of, shown)
	}
	set("model")
	if of, shown := older(); of != "standard" || shown != "standard" {
		t.Errorf("an older version, back to the model: %s, told as %s", of, shown)
	}
	if got := env.Instance(env.Start("classified", somebody)).Mode; got != "standard" {
		t.Errorf("back to the model: %s, want standard", got)
	}
	if _, err := env.Engine.SetMode(t.Context(), env.Ann, "classified", "secret", ""); !fault.Is(err, fault.Invalid) {
		t.Errorf("mode secret: %v, want Invalid", err)
	}
}

func TestAPersonWhoseIdComesLater(t *testing.T) { onBoth(t, aPersonWhoseIdComesLater) }

func aPersonWhoseIdComesLater(t *testing.T, env *testenv.Env) {
	env.Deploy("c.bpmn", classified)
	nameless := env.Start("classified", `{"shoe": 43, "salary": 1, "person": {"diagnosis": "flu"}}`)
	known := env.Start("classified", somebody)
	env.Restart(nil)
	for _, id := range []string{nameless, known} {
		// The first becomes p-1, who has a key by now; the second becomes p-2.
		name := map[string]string{nameless: "p-1", known: "p-2"}[id]
		if _, err := env.Engine.SetVariables(t.Context(), env.Ann, id, []byte(`{"person": {"id": "`+name+`", "diagnosis": "flu"}}`), ""); err != nil {
			t.Fatal(err)
		}
	}
	env.Restart(nil)
	for _, id := range []string{nameless, known} {
		i := env.Instance(id)
		if !strings.Contains(string(i.Variables), `"diagnosis":"flu"`) || !strings.Contains(string(i.Variables), `"shoe":43`) {
			t.Errorf("variables are %s, want diagnosis and shoe as before", i.Variables)
		}
		for _, f := range i.Fields {
			if len(f.Subjects) > 0 && f.Seq != i.Seq {
				t.Errorf("field %s about a renamed person was not sealed anew (step %d of %d)", f.Path, f.Seq, i.Seq)
			}
		}
		if _, err := env.Engine.Export(t.Context(), env.Ann, id); err != nil {
			t.Error(err)
		}
	}
}

func TestTheSweepSparesKeysInUse(t *testing.T) {
	t.Parallel()
	clock := newClock(time.Now())
	env := testenv.New(t, func(c *node.Config) { c.Now = clock.now })
	env.Deploy("c.bpmn", classified)
	nameless := env.Start("classified", `{"shoe": 43, "salary": 1, "person": {"diagnosis": "flu"}}`)
	named := env.Start("classified", somebody)
	clock.pass(time.Second)
	if out, err := env.Engine.RenewKeys(t.Context(), env.Ann, api.RenewKeysRequest{OlderThanMS: 1}); err != nil || out.Renewed != 2 {
		t.Fatalf("RenewKeys = %+v, %v, want two: their old keys are in use too", out, err)
	}
	env.Restart(func() { // as an older backup of the keys would have it
		db := openRaw(t, filepath.Join(env.Config.Data, "keys.db"))
		defer db.Close()
		if _, err := db.Exec(`UPDATE data_keys SET state = 'ready' WHERE scope = 'pool'`); err != nil {
			t.Fatal(err)
		}
	})
	clock.pass(48 * time.Hour)
	if swept, err := env.Node.SweepKeys(t.Context()); err != nil || swept == 0 {
		t.Fatalf("%d keys swept, %v, want those that were made ahead", swept, err)
	}
	env.Restart(nil)
	for _, id := range []string{nameless, named} {
		if got := string(env.Instance(id).Variables); !strings.Contains(got, `"diagnosis":"flu"`) {
			t.Errorf("variables are %s, want the diagnosis", got)
		}
	}
}

const crowd = `<?xml version="1.0"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:seal="urn:underseal:bpmn:1" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" targetNamespace="x">
<process id="crowd" isExecutable="true">
<extensionElements><seal:policy default="internal">
<seal:field path="people[].phone" class="confidential" subject="people[].id"/>
</seal:policy></extensionElements>
<startEvent id="start"/><sequenceFlow id="a" sourceRef="start" targetRef="work"/>
<serviceTask id="work"><extensionElements><zeebe:taskDefinition type="work"/></extensionElements></serviceTask>
<sequenceFlow id="b" sourceRef="work" targetRef="ask"/><userTask id="ask"/>
</process></definitions>`

func TestAFieldAboutManyPersons(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("crowd.bpmn", crowd)
	var people []string
	for i := range 11 {
		people = append(people, fmt.Sprintf(`{"id": "p-%d", "phone": "55-%d"}`, i, i))
	}
	id := env.Start("crowd", `{"people": [`+strings.Join(people, ",")+`]}`)
	env.Work("work", `{"summary": "eleven people"}`)
	env.Restart(nil)
	i := env.Instance(id)
	if !strings.Contains(string(i.Variables), "eleven people") || !strings.Contains(string(i.Variables), `"phone":"55-10"`) {
		t.Errorf("variables are %s, want the summary and all phones", i.Variables)
	}
	for _, f := range i.Fields {
		if f.Path == "summary" && (len(f.Subjects) != 11 || !f.Sealed) {
			t.Errorf("summary is %+v, want it sealed and about 11 persons", f)
		}
	}
	if _, err := env.Engine.Export(t.Context(), env.Ann, id); err != nil {
		t.Error(err)
	}
}
