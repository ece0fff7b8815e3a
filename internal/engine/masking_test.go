package engine_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
)

// careModel is a process with sensitive fields, a task whose form names one of them, a
// task without a form, a job, a job that fails, and one that is given one field.
const careModel = `<?xml version="1.0"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" xmlns:seal="urn:underseal:bpmn:1" targetNamespace="x">
<process id="care" isExecutable="true">
<extensionElements><seal:policy default="internal">
<seal:field path="company" class="internal" search="exact"/>
<seal:field path="iban" class="confidential" search="exact"/>
<seal:field path="patient.id" class="internal"/>
<seal:field path="patient.diagnosis" class="regulated" subject="patient.id"/>
<seal:field path="people[].phone" class="confidential"/>
<seal:field path="scan" class="confidential"/>
</seal:policy></extensionElements>
<startEvent id="start"/><sequenceFlow id="f0" sourceRef="start" targetRef="split"/>
<parallelGateway id="split"/>
<sequenceFlow id="f1" sourceRef="split" targetRef="pay"/><sequenceFlow id="f2" sourceRef="split" targetRef="look"/>
<sequenceFlow id="f3" sourceRef="split" targetRef="work"/><sequenceFlow id="f4" sourceRef="split" targetRef="fails"/>
<sequenceFlow id="f5" sourceRef="split" targetRef="some"/>
<userTask id="pay"><extensionElements><zeebe:userTask/><zeebe:formDefinition formKey="pay.schema.json"/><zeebe:assignmentDefinition candidateGroups="clerks"/></extensionElements></userTask>
<userTask id="look"><extensionElements><zeebe:userTask/><zeebe:assignmentDefinition candidateGroups="clerks"/></extensionElements></userTask>
<serviceTask id="work"><extensionElements><zeebe:taskDefinition type="work"/></extensionElements></serviceTask>
<serviceTask id="fails"><extensionElements><zeebe:taskDefinition type="fail"/></extensionElements></serviceTask>
<serviceTask id="some"><extensionElements><zeebe:taskDefinition type="some"/><zeebe:ioMapping><zeebe:input source="=company" target="firm"/></zeebe:ioMapping></extensionElements></serviceTask>
</process></definitions>`

const payForm = `{"type": "object", "properties": {"iban": {"type": "string"}, "paid": {"type": "boolean"}, "patient": {"type": "object", "properties": {"diagnosis": {"type": "string"}}}}}`

// canary is in every sensitive value of an instance of care, and in nothing else.
const canary = "SECRET"

// care is an instance with values of every kind, and what names them.
type care struct {
	*testenv.Env
	instance, file string
	pay, look      string // tasks
	work           api.Job
}

func newCare(t *testing.T) *care {
	t.Helper()
	env := testenv.New(t, nil)
	ctx := t.Context()
	env.Deploy("care.bpmn", careModel, "pay.schema.json", payForm)
	w := &care{Env: env}
	upload, err := env.Engine.PutFile(ctx, env.Ann, engine.Incoming{Name: "scan-" + canary + ".pdf", Type: "application/pdf", Body: bytes.NewReader([]byte("scanned " + canary)), Size: 14})
	if err != nil {
		t.Fatal(err)
	}
	w.file = upload.File
	started, err := env.Engine.Start(ctx, env.Ann, api.StartRequest{Process: "care", BusinessKey: "key-" + canary, Variables: json.RawMessage(
		`{"company": "A", "note": "plain", "iban": "DE ` + canary + `", "scan": ` + named(w.file) + `,
		  "patient": {"id": "p ` + canary + `", "diagnosis": "flu ` + canary + `", "ward": "B2"}, "people": [{"name": "Eve", "phone": "555 ` + canary + `"}]}`)}, "")
	if err != nil {
		t.Fatal(err)
	}
	w.instance = started.Instance
	tasks, err := env.Engine.Tasks(ctx, env.Ann, engine.TaskFilter{}, pageOf(10))
	if err != nil || len(tasks.Items) != 2 {
		t.Fatalf("%d tasks, %v", len(tasks.Items), err)
	}
	for _, task := range tasks.Items {
		if task.Element == "pay" {
			w.pay = task.ID
		} else {
			w.look = task.ID
		}
	}
	w.work = env.Job("work")
	none, failing := 0, env.Job("fail")
	if _, err := env.Engine.FailJob(ctx, env.Ann, failing.ID, api.FailJobRequest{Lease: failing.Lease, Retries: &none, Message: "no account " + canary}, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.SaveTask(ctx, env.Ann, w.pay, []byte(`{"iban": "draft `+canary+`"}`), ""); err != nil {
		t.Fatal(err)
	}
	return w
}

// group makes a group with nobody in it.
func (w *care) group(t *testing.T, name string) {
	t.Helper()
	if _, err := w.Engine.CreateGroup(t.Context(), w.Ann, api.GroupRequest{Name: name}, ""); err != nil {
		t.Fatal(err)
	}
}

// person invites somebody with roles and grants.
func (w *care) person(t *testing.T, name, roles string, grants ...api.GrantRequest) engine.Caller {
	t.Helper()
	key := w.PersonsKey(name, strings.Fields(roles)...)
	for _, g := range grants {
		g.User = name
		if _, err := w.Engine.GiveGrant(t.Context(), w.Ann, g, ""); err != nil {
			t.Fatal(err)
		}
	}
	return w.SignIn(key)
}

// clerk is somebody in the group of both tasks.
func (w *care) clerk(t *testing.T, name, roles string) engine.Caller {
	t.Helper()
	key := w.PersonsKey(name, strings.Fields(roles)...)
	if _, err := w.Engine.JoinGroup(t.Context(), w.Ann, name, api.MemberRequest{Group: "clerks"}, ""); err != nil {
		t.Fatal(err)
	}
	return w.SignIn(key)
}

// told returns the one entry of a kind about somebody.
func (w *care) told(t *testing.T, kind, who string) map[string]canon.Value {
	t.Helper()
	var found []map[string]canon.Value
	for _, past := range entriesOf(t, w.Env, kind) {
		if actor, _ := past.Fields["$actor"].(*canon.Context).Get("principal"); actor == canon.Value(canon.String(who)) {
			found = append(found, past.Fields)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d entries %s about %s, want 1", len(found), kind, who)
	}
	return found[0]
}

// failsAs reports whether an error is of a kind, 0: none.
func failsAs(err error, kind fault.Kind) bool {
	return (err == nil) == (kind == 0) && (err == nil || fault.Is(err, kind))
}

// bytesOf is all that an answer would be sent as.
func bytesOf(t fataler, answer any) string {
	t.Helper()
	switch a := answer.(type) {
	case []byte:
		z, err := zip.NewReader(bytes.NewReader(a), int64(len(a)))
		if err != nil {
			return string(a)
		}
		var all bytes.Buffer
		for _, f := range z.File {
			from, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(&all, from); err != nil {
				t.Fatal(err)
			}
		}
		return all.String()
	case *engine.Download:
		if a == nil {
			return ""
		}
		data, err := io.ReadAll(a)
		if err != nil {
			t.Fatal(err)
		}
		return a.Name + " " + string(data)
	}
	data, err := json.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// answers is every use case that returns values of instances, or could: what
// TestEveryAnswerWithValuesIsKnown demands.
func (w *care) answers() map[string]func(context.Context, engine.Caller) (any, error) {
	e := w.Engine
	return map[string]func(context.Context, engine.Caller) (any, error){
		"Instance": func(ctx context.Context, c engine.Caller) (any, error) { return e.Instance(ctx, c, w.instance) },
		"Export":   func(ctx context.Context, c engine.Caller) (any, error) { return e.Export(ctx, c, w.instance) },
		"Steps": func(ctx context.Context, c engine.Caller) (any, error) {
			return e.Steps(ctx, c, w.instance, pageOf(100))
		},
		"Instances": func(ctx context.Context, c engine.Caller) (any, error) {
			return e.Instances(ctx, c, engine.InstanceFilter{}, pageOf(10))
		},
		"Tasks": func(ctx context.Context, c engine.Caller) (any, error) {
			return e.Tasks(ctx, c, engine.TaskFilter{}, pageOf(10))
		},
		"Task":      func(ctx context.Context, c engine.Caller) (any, error) { return e.Task(ctx, c, w.look) },
		"Incidents": func(ctx context.Context, c engine.Caller) (any, error) { return e.Incidents(ctx, c, "", pageOf(10)) },
		"File":      func(ctx context.Context, c engine.Caller) (any, error) { return e.File(ctx, c, w.instance, w.file) },
		"Evidence": func(ctx context.Context, c engine.Caller) (any, error) {
			return testenv.Proven(func() ([]byte, error) {
				return e.Evidence(ctx, c, api.EvidenceRequest{Instance: w.instance, Step: 1, AllFields: true})
			})
		},
		"ActivateJobs": func(ctx context.Context, c engine.Caller) (any, error) {
			return e.ActivateJobs(ctx, c, api.ActivateRequest{Type: "none", Worker: "w"})
		},
		"LogProof": func(ctx context.Context, c engine.Caller) (any, error) { return e.LogProof(ctx, c, w.instance, 1) },
		"Model":    func(ctx context.Context, c engine.Caller) (any, error) { return e.Model(ctx, c, "care", 0) },
		"Audit": func(ctx context.Context, c engine.Caller) (any, error) {
			return e.Audit(ctx, c, api.AuditQuery{Page: api.Page{Limit: 1000}})
		},
		"ErasureReceipt": func(ctx context.Context, c engine.Caller) (any, error) {
			return e.ErasureReceipt(ctx, c, w.instance)
		},
	}
}

// mayHold reports whether a type can hold a value of an instance.
func mayHold(t reflect.Type) bool {
	switch {
	case t == reflect.TypeFor[json.RawMessage](), t == reflect.TypeFor[[]byte](), t == reflect.TypeFor[*engine.Download]():
		return true
	case t.Kind() == reflect.Slice, t.Kind() == reflect.Pointer:
		return mayHold(t.Elem())
	case t.Kind() != reflect.Struct || t.PkgPath() == "time" || t == reflect.TypeFor[api.ProposedFile](): // of a model
		return false
	}
	for i := range t.NumField() {
		if f := t.Field(i); f.Name == "Masked" || mayHold(f.Type) {
			return true
		}
	}
	return false
}

func TestEveryAnswerWithValuesIsKnown(t *testing.T) {
	t.Parallel()
	known, all := (&care{Env: &testenv.Env{}}).answers(), reflect.TypeFor[*engine.Engine]()
	found := 0
	for i := range all.NumMethod() {
		m := all.Method(i)
		if m.Type.NumIn() < 3 || m.Type.In(2) != reflect.TypeFor[engine.Caller]() || m.Type.NumOut() == 0 || !mayHold(m.Type.Out(0)) {
			continue
		}
		found++
		if known[m.Name] == nil {
			t.Errorf("%s can return values, and nothing tries whether it masks them", m.Name)
		}
	}
	if found < 10 {
		t.Errorf("%d use cases can return values", found)
	}
}

// Whoever sees an instance by role alone gets no sensitive value, in no answer.
func TestNoMaskedValueIsInAnyAnswer(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("every answer, for everybody")
	}
	w := newCare(t)
	w.group(t, "clerks")
	people := map[string]engine.Caller{
		"viewer":   w.person(t, "vic", "Viewer"),
		"admin":    w.person(t, "ada", "Admin"),
		"auditor":  w.person(t, "aud", "Auditor"),
		"executor": w.clerk(t, "eve", "Executor"),
		"worker":   w.clerk(t, "wes", "Viewer Executor Designer"),
		"manager":  w.person(t, "max", "", api.GrantRequest{Right: "manage", Process: "*"}),
		"reader":   w.person(t, "rea", "", api.GrantRequest{Right: "read", Process: "care", Fields: []string{"*"}}),
		"partner":  w.person(t, "pat", "", api.GrantRequest{Right: "view", Process: "care", Where: &api.Where{Path: "company", Value: "A"}}),
		"revealer": w.person(t, "rob", "Viewer", api.GrantRequest{Right: "reveal", Process: "*", Fields: []string{"*"}}), // without a purpose
	}
	answers := w.answers()
	answered := 0
	for _, name := range slices.Sorted(maps.Keys(people)) {
		for _, of := range slices.Sorted(maps.Keys(answers)) {
			if of == "File" && (name == "worker" || name == "executor") { // it stands in a field that the open job was given
				continue
			}
			answer, err := answers[of](t.Context(), people[name])
			if err != nil {
				if strings.Contains(fmt.Sprintf("%+v", err), canary) {
					t.Errorf("%s of %s: the error holds a masked value: %+v", of, name, err)
				}
				continue
			}
			answered++
			if text := bytesOf(t, answer); strings.Contains(text, canary) {
				t.Errorf("%s shows %s a masked value: %s", of, name, text)
			}
		}
	}
	if answered < 40 {
		t.Errorf("%d answers, too few to say anything", answered)
	}
	// Seen with the right to it, all of these answers hold what the others lack.
	for _, of := range []string{"Instance", "Export", "Task", "Incidents", "File", "Evidence"} {
		answer, err := answers[of](t.Context(), w.Ann)
		if err != nil || !strings.Contains(bytesOf(t, answer), canary) {
			t.Errorf("%s shows Ann %s, %v: want the values in clear", of, bytesOf(t, answer), err)
		}
	}
}

func TestWhatAViewerSeesOfAnInstance(t *testing.T) {
	t.Parallel()
	w := newCare(t)
	seen, err := w.Engine.Instance(t.Context(), w.person(t, "vic", "Viewer"), w.instance)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(seen.Variables), `{"company":"A","note":"plain","patient":{"ward":"B2"},"people":[{"name":"Eve"}]}`; got != want {
		t.Errorf("variables are %s, want %s", got, want)
	}
	want := []string{"$business_key", "$file:" + w.file, "iban", "patient.diagnosis", "patient.id", "people[0].phone", "scan"}
	if !slices.Equal(seen.Masked, want) || seen.BusinessKey != "" || len(seen.Files) != 0 {
		t.Errorf("masked are %v, want %v", seen.Masked, want)
	}
	if !slices.ContainsFunc(seen.Fields, func(f api.FieldInfo) bool { return f.Path == "iban" && f.Class == "confidential" }) {
		t.Error("how a masked field is kept is not told")
	}
	told := w.told(t, "data.shown", "vic")
	shows, withheld := string(canon.EncodeJSON(told["$shown"])), string(canon.EncodeJSON(told["$withheld"]))
	if !strings.Contains(shows, `"paths":["company","note","patient","people"]`) || !strings.Contains(withheld, `"paths":["patient.diagnosis","patient.id","people[0].phone"]`) {
		t.Errorf("the log tells that %s was shown without %s", shows, withheld)
	}
}

// A grant to read some fields shows no more than these, and names no others.
func TestWhatAReaderSees(t *testing.T) {
	t.Parallel()
	w := newCare(t)
	rea := w.person(t, "rea", "", api.GrantRequest{Right: "read", Process: "care", Fields: []string{"note", "patient", "iban"}})
	seen, err := w.Engine.Instance(t.Context(), rea, w.instance)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(seen.Variables), `{"note":"plain","patient":{"ward":"B2"}}`; got != want {
		t.Errorf("variables are %s, want %s", got, want)
	}
	if want := []string{"iban", "patient.diagnosis", "patient.id"}; !slices.Equal(seen.Masked, want) {
		t.Errorf("masked are %v, want %v", seen.Masked, want)
	}
	for _, of := range []string{"Instance", "Export", "Steps"} {
		answer, err := w.answers()[of](t.Context(), rea)
		if err != nil {
			t.Fatalf("%s: %v", of, err)
		}
		for _, other := range []string{"company", "people", "scan", "$business_key", w.file, "$incident", "$draft", `"ann"`} {
			if text := bytesOf(t, answer); strings.Contains(text, other) {
				t.Errorf("%s names %q to who may read other fields: %s", of, other, text)
			}
		}
	}
	if _, err := w.Engine.File(t.Context(), rea, w.instance, w.file); !fault.Is(err, fault.NotFound) {
		t.Errorf("a file in a field that they may not read: %v, want NotFound", err)
	}
}

// Who does a task sees in clear what its form names, and its draft.
func TestWhatTheDoerOfATaskSees(t *testing.T) {
	t.Parallel()
	w := newCare(t)
	w.group(t, "clerks")
	eve, zoe := w.clerk(t, "eve", "Executor"), w.clerk(t, "zoe", "Executor")
	if _, err := w.Engine.Claim(t.Context(), zoe, w.look, "", ""); err != nil {
		t.Fatal(err)
	}
	open := `{"company":"A","iban":"DE SECRET","note":"plain","patient":{"diagnosis":"flu SECRET","ward":"B2"},"people":[{"name":"Eve"}]}`
	none := `{"company":"A","note":"plain","patient":{"ward":"B2"},"people":[{"name":"Eve"}]}`
	check := func(what string, c engine.Caller, id, variables, draft string, masked ...string) {
		t.Helper()
		task, err := w.Engine.Task(t.Context(), c, id)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if string(task.Variables) != variables || string(task.Draft) != draft || !slices.Equal(task.Masked, masked) {
			t.Errorf("%s: %s, the draft %s, masked %v; want %s, %s, %v", what, task.Variables, task.Draft, task.Masked, variables, draft, masked)
		}
	}
	draft := "@" + w.pay[strings.Index(w.pay, ".")+1:] + "/$draft"
	check("who may claim it", eve, w.pay, open, `{"iban":"draft SECRET"}`, "patient.id", "people[0].phone", "scan")
	check("a task without a form", zoe, w.look, none, "", "iban", "patient.diagnosis", "patient.id", "people[0].phone", "scan")
	if _, err := w.Engine.Claim(t.Context(), zoe, w.pay, "", ""); err != nil {
		t.Fatal(err)
	}
	check("who has claimed it", zoe, w.pay, open, `{"iban":"draft SECRET"}`, "patient.id", "people[0].phone", "scan")
	check("a candidate for what another has claimed", eve, w.pay, none, "", draft, "iban", "patient.diagnosis", "patient.id", "people[0].phone", "scan")
	check("a Viewer", w.person(t, "vic", "Viewer"), w.pay, none, "", draft, "iban", "patient.diagnosis", "patient.id", "people[0].phone", "scan")
	if told := entriesOf(t, w.Env, "data.revealed"); slices.ContainsFunc(told, func(p engine.PastEntry) bool {
		return strings.Contains(string(canon.EncodeJSON(p.Fields["$actor"])), `"eve"`)
	}) {
		t.Error("what a form shows is told as revealed by a grant")
	}
}

// Who works a job is given what the job was given.
func TestWhatAWorkerIsGiven(t *testing.T) {
	t.Parallel()
	w := newCare(t)
	id := w.Start("care", `{"iban": "DE SECRET", "patient": {"diagnosis": "flu"}}`)
	jobs, err := w.Engine.ActivateJobs(t.Context(), w.person(t, "wes", "Executor"), api.ActivateRequest{Type: "work", Worker: "w"})
	if err != nil || len(jobs.Items) != 1 || jobs.Items[0].Instance != id {
		t.Fatalf("%+v, %v", jobs, err)
	}
	if got, want := string(jobs.Items[0].Variables), `{"iban":"DE SECRET","patient":{"diagnosis":"flu"}}`; got != want || len(jobs.Items[0].Masked) > 0 {
		t.Errorf("given %s, masked %v, want %s", got, jobs.Items[0].Masked, want)
	}
}

// A grant to reveal a field shows it, and nothing else, for a purpose that the log has.
func TestWhatIsRevealedAndWhatFor(t *testing.T) {
	t.Parallel()
	w := newCare(t)
	reveal := api.GrantRequest{Right: "reveal", Process: "care", Fields: []string{"iban", "people[].phone"}}
	standing := reveal
	standing.Purpose = "payroll"
	for _, test := range []struct {
		name    string
		who     engine.Caller
		purpose string
		clear   bool
		told    string
	}{
		{"without a purpose", w.person(t, "nil", "Viewer", reveal), "", false, ""},
		{"with one", w.person(t, "one", "Viewer", reveal), "ticket 7", true, "ticket 7"},
		{"with a standing one", w.person(t, "two", "Viewer", standing), "", true, "payroll"},
		{"with both", w.person(t, "both", "Viewer", standing), "ticket 8", true, "ticket 8"},
		{"with a purpose and no grant", w.person(t, "no", "Viewer"), "ticket 9", false, "ticket 9"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := test.who
			c.Purpose = test.purpose
			seen, err := w.Engine.Instance(t.Context(), c, w.instance)
			if err != nil {
				t.Fatal(err)
			}
			want := `{"company":"A","note":"plain","patient":{"ward":"B2"},"people":[{"name":"Eve"}]}`
			kind, revealed := "data.shown", "null"
			if test.clear {
				want = `{"company":"A","iban":"DE SECRET","note":"plain","patient":{"ward":"B2"},"people":[{"name":"Eve","phone":"555 SECRET"}]}`
				kind, revealed = "data.revealed", `[{"object":"`+w.instance+`","paths":["iban","people[0].phone"]}]`
			}
			if string(seen.Variables) != want {
				t.Errorf("shown %s, want %s", seen.Variables, want)
			}
			told := w.told(t, kind, c.Principal)
			purpose, _ := told["$purpose"].(canon.String)
			got := "null"
			if told["$revealed"] != nil {
				got = string(canon.EncodeJSON(told["$revealed"]))
			}
			if string(purpose) != test.told || got != revealed {
				t.Errorf("the log tells %s for %q, want %s for %q", got, purpose, revealed, test.told)
			}
		})
	}
	t.Run("a grant to reveal gives no sight", func(t *testing.T) {
		c := w.person(t, "only", "", standing)
		if _, err := w.Engine.Instance(t.Context(), c, w.instance); !fault.Is(err, fault.Denied) {
			t.Errorf("%v, want Denied", err)
		}
	})
}

// To find by a value says who has it: a search by a sensitive field needs the right to
// see it in clear, one by another field the right to read it.
func TestASearchShowsNoMoreThanALook(t *testing.T) {
	t.Parallel()
	w := newCare(t)
	iban := engine.InstanceFilter{Process: "care", Field: "iban", Value: "DE SECRET"}
	company := engine.InstanceFilter{Process: "care", Field: "company", Value: "A"}
	key := engine.InstanceFilter{Process: "care", BusinessKey: "key-SECRET"}
	read := api.GrantRequest{Right: "read", Process: "care", Fields: []string{"note"}}
	for _, test := range []struct {
		name   string
		who    engine.Caller
		filter engine.InstanceFilter
		found  int
		kind   fault.Kind
	}{
		{"a Viewer by a sensitive field", w.person(t, "vic", "Viewer"), iban, 0, fault.Denied},
		{"a Viewer by the business key", w.person(t, "vik", "Viewer"), key, 0, fault.Denied},
		{"a Viewer by another field", w.person(t, "val", "Viewer"), company, 1, 0},
		{"who may reveal it", w.person(t, "rob", "Viewer", api.GrantRequest{Right: "reveal", Process: "care", Fields: []string{"iban"}, Purpose: "x"}), iban, 1, 0},
		{"who may reveal it, without a purpose", w.person(t, "ron", "Viewer", api.GrantRequest{Right: "reveal", Process: "care", Fields: []string{"iban"}}), iban, 0, fault.Denied},
		{"who may reveal another", w.person(t, "rox", "Viewer", api.GrantRequest{Right: "reveal", Process: "care", Fields: []string{"scan"}, Purpose: "x"}), iban, 0, fault.Denied},
		{"who may reveal the business key", w.person(t, "ray", "Viewer", api.GrantRequest{Right: "reveal", Process: "*", Fields: []string{"$business_key"}, Purpose: "x"}), key, 1, 0},
		{"who may read another field", w.person(t, "rea", "", read), company, 0, fault.Denied},
		{"who may read the field", w.person(t, "reb", "", api.GrantRequest{Right: "read", Process: "care", Fields: []string{"company"}}), company, 1, 0},
		{"who sees some instances, by what they are", w.person(t, "pat", "", api.GrantRequest{Right: "view", Process: "care", Where: &api.Where{Path: "company", Value: "A"}}), company, 1, 0},
		{"who sees another process", w.person(t, "pia", "", api.GrantRequest{Right: "view", Process: "other"}), company, 0, fault.NotFound},
	} {
		t.Run(test.name, func(t *testing.T) {
			list, err := w.Engine.Instances(t.Context(), test.who, test.filter, pageOf(10))
			if !failsAs(err, test.kind) || len(list.Items) != test.found {
				t.Errorf("%d found, %v; want %d, %v", len(list.Items), err, test.found, test.kind)
			}
		})
	}
}

// What is masked is disclosed in no evidence.
func TestEvidenceOfMaskedValues(t *testing.T) {
	t.Parallel() // it waits for the log
	w := newCare(t)
	ask := func(c engine.Caller, fields ...string) error {
		_, err := testenv.Proven(func() ([]byte, error) {
			return w.Engine.Evidence(t.Context(), c, api.EvidenceRequest{Instance: w.instance, Step: 1, Fields: fields})
		})
		return err
	}
	vic := w.person(t, "vic", "Viewer")
	if err := ask(vic, "note"); err != nil {
		t.Errorf("a value that everybody sees: %v", err)
	}
	all, err := testenv.Proven(func() ([]byte, error) {
		return w.Engine.Evidence(t.Context(), vic, api.EvidenceRequest{Instance: w.instance, Step: 1, AllFields: true})
	})
	if err != nil || !strings.Contains(bytesOf(t, all), "plain") || strings.Contains(bytesOf(t, all), canary) {
		t.Errorf("all that they see: %v, want what is not masked", err)
	}
	if err := ask(vic, "note", "iban"); fault.CodeOf(err) != "masked" {
		t.Errorf("a masked value: %v, want masked", err)
	}
	if err := ask(w.person(t, "rob", "Viewer", api.GrantRequest{Right: "reveal", Process: "care", Fields: []string{"iban"}, Purpose: "court"}), "iban"); err != nil {
		t.Errorf("a value that is revealed: %v", err)
	}
	if err := ask(w.Ann, "$file:"+w.file); !fault.Is(err, fault.Invalid) {
		t.Errorf("the key of a file: %v, want Invalid", err)
	}
	if purpose, _ := w.told(t, "data.exported", "rob")["$purpose"].(canon.String); purpose != "court" {
		t.Errorf("the log tells the purpose %q", purpose)
	}
}

// A file is shown to who sees in clear where it stands.
func TestWhoSeesAFile(t *testing.T) {
	t.Parallel()
	w := newCare(t)
	pam := w.person(t, "pam", "", api.GrantRequest{Right: "work", Process: "care", Task: "pay"})
	for _, test := range []struct {
		name string
		who  engine.Caller
		kind fault.Kind
	}{
		{"a Viewer", w.person(t, "vic", "Viewer"), fault.Denied},
		{"who may reveal its field", w.person(t, "rob", "Viewer", api.GrantRequest{Right: "reveal", Process: "care", Fields: []string{"scan"}, Purpose: "x"}), 0},
		{"who may reveal another", w.person(t, "ron", "Viewer", api.GrantRequest{Right: "reveal", Process: "care", Fields: []string{"iban"}, Purpose: "x"}), fault.Denied},
		{"who works a job that was given it", w.person(t, "wes", "Executor"), 0},
		{"who works one that was not", w.person(t, "wil", "", api.GrantRequest{Right: "work", Process: "care", Task: "some"}), fault.NotFound},
		{"who does a task whose form does not name its field", pam, fault.Denied},
		{"who may start the process", w.person(t, "sam", "", api.GrantRequest{Right: "start", Process: "care"}), fault.Denied},
		{"who sees another process", w.person(t, "pia", "", api.GrantRequest{Right: "view", Process: "other"}), fault.NotFound},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, err := w.Engine.File(t.Context(), test.who, w.instance, w.file)
			if !failsAs(err, test.kind) {
				t.Fatalf("%v, want %v", err, test.kind)
			}
			if err == nil && !strings.Contains(bytesOf(t, d), canary) {
				t.Error("the file is not the one")
			}
		})
	}
	t.Run("who does a task in whose draft it stands", func(t *testing.T) {
		own := put(t, w.Env, pam, []byte("of pam")).File
		if _, err := w.Engine.SaveTask(t.Context(), pam, w.pay, []byte(`{"scan": `+named(own)+`}`), ""); err != nil {
			t.Fatal(err)
		}
		if d, err := w.Engine.File(t.Context(), pam, w.instance, own); err != nil || !strings.HasSuffix(bytesOf(t, d), " of pam") {
			t.Errorf("%v, want the file", err)
		}
	})
	t.Run("who does its tasks, when none is open", func(t *testing.T) {
		wim := w.person(t, "wim", "", api.GrantRequest{Right: "work", Process: "care"})
		if _, err := w.Engine.Cancel(t.Context(), w.Ann, w.instance, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Engine.File(t.Context(), wim, w.instance, w.file); !fault.Is(err, fault.NotFound) {
			t.Errorf("%v, want NotFound", err)
		}
	})
}

// Of a grant to reveal that is revoked nothing comes any more, not of a file that was
// begun.
func TestADownloadEndsWithTheGrantToRevealIt(t *testing.T) {
	t.Parallel()
	w := newCare(t)
	key := w.PersonsKey("rob", "Viewer")
	given, err := w.Engine.GiveGrant(t.Context(), w.Ann, api.GrantRequest{User: "rob", Right: "reveal", Process: "care", Fields: []string{"scan"}, Purpose: "x"}, "")
	if err != nil {
		t.Fatal(err)
	}
	d, err := w.Engine.File(t.Context(), w.SignIn(key), w.instance, w.file)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	part := make([]byte, 3)
	if n, err := io.ReadFull(d, part); err != nil {
		t.Fatalf("the first part: %d bytes, %v", n, err)
	}
	if _, err := w.Engine.RevokeGrant(t.Context(), w.Ann, given.ID, api.ReasonRequest{}, ""); err != nil {
		t.Fatal(err)
	}
	if n, err := d.Read(part); n != 0 || fault.CodeOf(err) != "masked" {
		t.Errorf("the next part: %d bytes, %v; want masked", n, err)
	}
}

// What somebody does not see of a variable stays when they write to it.
func TestWhatIsUnseenIsNotOverwritten(t *testing.T) {
	t.Parallel()
	w := newCare(t)
	w.group(t, "clerks")
	eve, mia := w.clerk(t, "eve", "Executor"), w.person(t, "mia", "", api.GrantRequest{Right: "manage", Process: "care"})
	if _, err := w.Engine.Claim(t.Context(), eve, w.pay, "", ""); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, writes, code, patient, people string }{
		{"what they see", `{"patient": {"ward": "C1"}}`, "", `{"diagnosis":"flu SECRET","id":"p SECRET","ward":"C1"}`, `[{"name":"Eve","phone":"555 SECRET"}]`},
		{"what they know is there", `{"patient": {"diagnosis": "none"}}`, "", `{"diagnosis":"none","id":"p SECRET"}`, `[{"name":"Eve","phone":"555 SECRET"}]`},
		{"a list as they see it", `{"people": [{"name": "Eve"}]}`, "", `{"diagnosis":"none","id":"p SECRET"}`, `[{"name":"Eve","phone":"555 SECRET"}]`},
		{"another list", `{"people": []}`, "unseen_parts", `{"diagnosis":"none","id":"p SECRET"}`, `[{"name":"Eve","phone":"555 SECRET"}]`},
		{"something else", `{"patient": 1}`, "unseen_parts", `{"diagnosis":"none","id":"p SECRET"}`, `[{"name":"Eve","phone":"555 SECRET"}]`},
	} {
		_, err := w.Engine.SetVariables(t.Context(), mia, w.instance, []byte(test.writes), "")
		if fault.CodeOf(err) != test.code {
			t.Fatalf("%s: %v, want %q", test.name, err, test.code)
		}
		w.holds(t, test.name, test.patient, test.people)
	}
	// Of a task its form shows the diagnosis, so it goes when it is left out.
	if _, err := w.Engine.CompleteTask(t.Context(), eve, w.pay, []byte(`{"paid": true, "patient": {"ward": "C2"}}`), ""); err != nil {
		t.Fatal(err)
	}
	w.holds(t, "a task", `{"id":"p SECRET","ward":"C2"}`, `[{"name":"Eve","phone":"555 SECRET"}]`)
}

// holds compares two variables of the instance.
func (w *care) holds(t *testing.T, what, patient, people string) {
	t.Helper()
	all, err := w.Engine.Instance(t.Context(), w.Ann, w.instance)
	var got struct{ Patient, People json.RawMessage }
	if err == nil {
		err = json.Unmarshal(all.Variables, &got)
	}
	if err != nil || string(got.Patient) != patient || string(got.People) != people {
		t.Fatalf("%s: the instance holds %s and %s, %v; want %s and %s", what, got.Patient, got.People, err, patient, people)
	}
}

// By the id of a file that they do not see nobody puts it where they do.
func TestAnUnseenFileIsNotNamed(t *testing.T) {
	t.Parallel()
	w := newCare(t)
	entered := []byte(`{"note": ` + named(w.file) + `}`)
	mia := w.person(t, "mia", "", api.GrantRequest{Right: "manage", Process: "care"})
	if _, err := w.Engine.SetVariables(t.Context(), mia, w.instance, entered, ""); fault.CodeOf(err) != "file_claimed" {
		t.Errorf("who may set variables: %v, want file_claimed", err)
	}
	for _, test := range []struct {
		name string
		job  api.Job
		code string
	}{
		{"a job that was not given it", w.Job("some"), "file_claimed"},
		{"a job that was given it", w.work, ""},
	} {
		_, err := w.Engine.CompleteJob(t.Context(), w.Ann, test.job.ID, api.CompleteJobRequest{Lease: test.job.Lease, Variables: entered}, "")
		if fault.CodeOf(err) != test.code {
			t.Errorf("%s: %v, want %q", test.name, err, test.code)
		}
	}
	if seen, err := w.Engine.Instance(t.Context(), mia, w.instance); err != nil || strings.Contains(bytesOf(t, seen), canary) {
		t.Errorf("then they see %s, %v", bytesOf(t, seen), err)
	}
}

// careFields are the fields of an instance of care that hold something: how a policy spells
// them, whether they are sensitive and named by the form, and where they stand.
var careFields = []struct {
	path      string
	sensitive bool
	inForm    bool
	at        []any
}{
	{"company", false, false, []any{"company"}},
	{"note", false, false, []any{"note"}},
	{"iban", true, true, []any{"iban"}},
	{"scan", true, false, []any{"scan"}},
	{"patient", false, false, []any{"patient", "ward"}},
	{"patient.id", true, false, []any{"patient", "id"}},
	{"patient.diagnosis", true, true, []any{"patient", "diagnosis"}},
	{"people", false, false, []any{"people", 0, "name"}},
	{"people[].phone", true, false, []any{"people", 0, "phone"}},
}

// standsIn reports whether something stands at a place of variables.
func standsIn(t fataler, variables json.RawMessage, at []any) bool {
	t.Helper()
	var v any
	if err := json.Unmarshal(variables, &v); err != nil {
		t.Fatalf("variables %s: %v", variables, err)
	}
	for _, step := range at {
		switch step := step.(type) {
		case string:
			v = v.(map[string]any)[step]
		case int:
			v = v.([]any)[step]
		}
		if v == nil {
			return false
		}
	}
	return true
}

// anybody draws somebody with roles, groups and grants.
func anybody(t *rapid.T) access.Principal {
	who := access.Principal{Name: "zoe", Tenant: "main", Kind: access.User}
	for _, role := range []access.Role{access.Viewer, access.Executor, access.Admin, access.Auditor} {
		if rapid.IntRange(0, 3).Draw(t, string(role)) == 0 {
			who.Roles = append(who.Roles, role)
		}
	}
	if rapid.Bool().Draw(t, "clerk") {
		who.Groups = []string{"clerks"}
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "grants") {
		g := access.Grant{
			ID:      fmt.Sprint(i),
			Right:   rapid.SampledFrom([]access.Right{access.ToView, access.ToRead, access.ToRead, access.ToReveal, access.ToReveal, access.ToWork, access.ToManage}).Draw(t, "right"),
			Process: rapid.SampledFrom([]string{"care", "care", access.All, "other"}).Draw(t, "process"),
		}
		switch g.Right {
		case access.ToRead, access.ToReveal:
			g.Fields = rapid.SampledFrom([][]string{{access.All}, {"iban", "note"}, {"patient"}, {"patient.id", "company"}, {"people"}, {"people[].phone", "scan"}}).Draw(t, "fields")
		case access.ToView, access.ToManage:
			if g.Process == "care" && rapid.Bool().Draw(t, "where") {
				g.Where = &access.Where{Path: "company", Value: rapid.SampledFrom([]string{"A", "B"}).Draw(t, "company")}
			}
		}
		if g.Right == access.ToReveal && rapid.Bool().Draw(t, "standing") {
			g.Purpose = "always"
		}
		who.Grants = append(who.Grants, g)
	}
	return who
}

// Whoever asks: of each field an instance and a task show what is decided about it.
func TestWhatIsShownIsWhatIsDecided(t *testing.T) {
	t.Parallel()
	w := newCare(t)
	policies, err := access.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	rapid.Check(t, func(t *rapid.T) {
		who := anybody(t)
		c := engine.AdmitMadeUp(w.Engine, w.Ann, who)
		c.Purpose = rapid.SampledFrom([]string{"", "a reason"}).Draw(t, "purpose")
		in := access.Circumstances{Now: at, Network: true, Purpose: c.Purpose}
		compare := func(what string, err error, on access.Resource, sight access.Action, variables json.RawMessage, masked []string) {
			t.Helper()
			if may := policies.Decide(c.Who, sight, on, in).Allowed; may != (err == nil) {
				t.Fatalf("%s: %v, decided: %t", what, err, may)
			}
			if err != nil {
				return
			}
			for _, f := range careFields {
				of := on
				of.Kind, of.Field, of.InForm = access.Field, f.path, f.inForm && on.Kind == access.Task
				reads := policies.Decide(c.Who, access.ReadValue, of, in).Allowed
				clear := reads && (!f.sensitive || policies.Decide(c.Who, access.RevealValue, of, in).Allowed)
				isMasked := slices.ContainsFunc(masked, func(path string) bool { return strings.ReplaceAll(path, "[0]", "[]") == f.path })
				if standsIn(t, variables, f.at) != clear || isMasked != (reads && !clear) {
					t.Fatalf("%s: of %s is decided: read %t, clear %t; shown %s, masked %v", what, f.path, reads, clear, variables, masked)
				}
			}
		}
		on := access.Resource{Kind: access.Instance, ID: w.instance, Tenant: "main", Process: "care", Values: map[string]string{"company": "A"}}
		seen, err := w.Engine.Instance(context.Background(), c, w.instance)
		compare("an instance", err, on, access.ReadInstance, seen.Variables, seen.Masked)
		on.Kind, on.ID, on.Element, on.Groups = access.Task, w.pay, "pay", []string{"clerks"}
		task, err := w.Engine.Task(context.Background(), c, w.pay)
		compare("a task", err, on, access.ReadTask, task.Variables, task.Masked)
	})
}

// Whoever writes what they do not see learns from the history not whether they guessed it:
// the step says the same of the right value and of any other.
func TestAStepDoesNotTellAGuess(t *testing.T) {
	t.Parallel()
	w := newCare(t)
	w.group(t, "clerks")
	mia, eve := w.person(t, "mia", "", api.GrantRequest{Right: "manage", Process: "care"}), w.clerk(t, "eve", "Executor")
	set := func(id, variables string) (api.Receipt, error) {
		return w.Engine.SetVariables(t.Context(), mia, id, []byte(variables), "")
	}
	for _, test := range []struct {
		name    string
		guess   func(id, variables string) (api.Receipt, error)
		guesses [2]string // the right one first
	}{
		{"a variable", set, [2]string{`{"iban": "DE1"}`, `{"iban": "DE2"}`}},
		{"a part", set, [2]string{`{"patient": {"diagnosis": "flu"}}`, `{"patient": {"diagnosis": "cold"}}`}},
		{"who somebody is", set, [2]string{`{"patient": {"id": "p-1"}}`, `{"patient": {"id": "p-2"}}`}},
		{"of a task that does not show it", func(id, variables string) (api.Receipt, error) {
			tasks, err := w.Engine.Tasks(t.Context(), w.Ann, engine.TaskFilter{}, pageOf(100))
			if err != nil {
				t.Fatal(err)
			}
			look := slices.IndexFunc(tasks.Items, func(task api.Task) bool { return task.Instance == id && task.Element == "look" })
			return w.Engine.CompleteTask(t.Context(), eve, tasks.Items[look].ID, []byte(variables), "")
		}, [2]string{`{"iban": "DE1"}`, `{"iban": "DE2"}`}},
		{"by a job that was not given it", func(id, variables string) (api.Receipt, error) {
			job := w.Job("some")
			for ; job.Instance != id; job = w.Job("some") {
			}
			return w.Engine.CompleteJob(t.Context(), w.Ann, job.ID, api.CompleteJobRequest{Lease: job.Lease, Variables: []byte(variables)}, "")
		}, [2]string{`{"iban": "DE1"}`, `{"iban": "DE2"}`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var told [2][]string
			for i, guess := range test.guesses {
				id := w.Start("care", `{"note": "plain", "iban": "DE1", "patient": {"id": "p-1", "diagnosis": "flu", "ward": "B2"}}`)
				if _, err := test.guess(id, guess); err != nil {
					t.Fatal(err)
				}
				steps, err := w.Engine.Steps(t.Context(), mia, id, pageOf(10))
				if err != nil {
					t.Fatal(err)
				}
				told[i] = steps.Items[len(steps.Items)-1].Fields
			}
			if len(told[0]) == 0 || !slices.Equal(told[0], told[1]) {
				t.Errorf("the step wrote %v after the right guess, and %v after another", told[0], told[1])
			}
		})
	}
}

// Who may read some fields is told of no other: not whom one is about, be it by the path of
// the field that names them.
func TestWhomAFieldIsAboutIsToldToWhoMayReadThat(t *testing.T) {
	t.Parallel()
	w := newCare(t)
	file := put(t, w.Env, w.Ann, []byte("of the patient")).File
	w.instance = w.Start("care", `{"patient": {"id": "p-1", "diagnosis": `+named(file)+`}}`)
	fields := []string{"patient.diagnosis"}
	rea := w.person(t, "rea", "", api.GrantRequest{Right: "read", Process: "care", Fields: fields}, api.GrantRequest{Right: "reveal", Process: "care", Fields: fields, Purpose: "x"})
	for _, test := range []struct {
		who   engine.Caller
		names bool
	}{{w.Ann, true}, {rea, false}} {
		seen, err := w.Engine.Instance(t.Context(), test.who, w.instance)
		if err != nil || len(seen.Files) != 1 || !slices.ContainsFunc(seen.Fields, func(f api.FieldInfo) bool { return f.Path == "patient.diagnosis" }) {
			t.Fatalf("%+v, %v; want the field and its file", seen, err)
		}
		for what, told := range map[string]any{"its field": seen.Fields, "its file": seen.Files} {
			if strings.Contains(bytesOf(t, told), `"patient.id"`) != test.names {
				t.Errorf("%s: %s, want the path named: %t", what, bytesOf(t, told), test.names)
			}
		}
	}
}

func TestABusinessKeyIsToldAsConfidential(t *testing.T) {
	t.Parallel()
	w := newCare(t)
	seen, err := w.Engine.Instance(t.Context(), w.Ann, w.instance)
	if err != nil || !slices.ContainsFunc(seen.Fields, func(f api.FieldInfo) bool { return f.Path == "$business_key" && f.Class == "confidential" }) {
		t.Errorf("fields %+v, %v", seen.Fields, err)
	}
}

// How an instance stands is told, with a refusal, to who sees it; a worker sees a job.
func TestARefusalTellsNoStateOfWhatIsNotSeen(t *testing.T) {
	t.Parallel()
	w := newCare(t)
	for _, test := range []struct {
		name, roles string
		told        bool
	}{{"wes", "Executor", false}, {"wim", "Executor Viewer", true}} {
		c := w.person(t, test.name, test.roles)
		w.Start("care", `{}`)
		jobs, err := w.Engine.ActivateJobs(t.Context(), c, api.ActivateRequest{Type: "work", Worker: "w"})
		if err != nil || len(jobs.Items) != 1 {
			t.Fatalf("%d jobs, %v", len(jobs.Items), err)
		}
		job := jobs.Items[0]
		_, extend := w.Engine.ExtendJob(t.Context(), c, job.ID, api.ExtendJobRequest{Lease: job.Lease, LeaseMS: 1})
		_, lost := w.Engine.CompleteJob(t.Context(), c, job.ID, api.CompleteJobRequest{Lease: "none"}, "")
		_, first := w.Engine.CompleteJob(t.Context(), c, job.ID, api.CompleteJobRequest{Lease: job.Lease}, "")
		_, again := w.Engine.CompleteJob(t.Context(), c, job.ID, api.CompleteJobRequest{Lease: job.Lease}, "")
		_, closed := w.Engine.ExtendJob(t.Context(), c, job.ID, api.ExtendJobRequest{Lease: job.Lease, LeaseMS: 1})
		if extend != nil || first != nil {
			t.Fatal(extend, first)
		}
		for what, err := range map[string]error{"a lost lease": lost, "a closed job": again, "the lease of a closed job": closed} {
			if !fault.Is(err, fault.Conflict) || strings.Contains(fmt.Sprintf("%+v", err), " waits at ") != test.told {
				t.Errorf("%s is told of %s: %+v, want the state with it: %t", test.name, what, err, test.told)
			}
		}
	}
}

// Of a field that somebody may not read, evidence says not even that it was erased.
func TestEvidenceNamesNoErasedFieldThatIsHidden(t *testing.T) {
	t.Parallel() // it waits for the log
	w := newCare(t)
	w.instance = w.Start("care", `{"patient": {"id": "p-1", "diagnosis": "flu"}}`)
	erase(t, w.Env, "subject", "p-1")
	vic := w.PersonsKey("vic", "Viewer")
	for _, test := range []struct{ policies, code string }{
		{"", "erased"},
		{`@id("no-diagnosis") forbid (principal == user::"vic", action == Action::"value:read", resource) when { resource.field == "patient.diagnosis" };`, "no_such_field"},
	} {
		if _, err := w.Engine.SetPolicies(t.Context(), w.Ann, api.PoliciesRequest{Text: test.policies}, ""); err != nil {
			t.Fatal(err)
		}
		_, err := testenv.Proven(func() ([]byte, error) {
			return w.Engine.Evidence(t.Context(), w.SignIn(vic), api.EvidenceRequest{Instance: w.instance, Step: 1, Fields: []string{"patient.diagnosis"}})
		})
		if fault.CodeOf(err) != test.code {
			t.Errorf("under %q: %v, want %q", test.policies, err, test.code)
		}
	}
}
