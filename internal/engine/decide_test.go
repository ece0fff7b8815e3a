package engine_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
)

// claimModel is a process with two tasks, one of them for nobody in particular, and a job.
const claimModel = `<?xml version="1.0"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" xmlns:seal="urn:underseal:bpmn:1" targetNamespace="x">
<process id="PROCESS" isExecutable="true">
<extensionElements><seal:policy default="internal"><seal:field path="company" class="internal" search="exact"/></seal:policy></extensionElements>
<startEvent id="start"/><sequenceFlow id="f0" sourceRef="start" targetRef="split"/>
<parallelGateway id="split"/>
<sequenceFlow id="f1" sourceRef="split" targetRef="ask"/><sequenceFlow id="f2" sourceRef="split" targetRef="check"/><sequenceFlow id="f3" sourceRef="split" targetRef="fails"/>
<userTask id="ask"><extensionElements><zeebe:userTask/><zeebe:assignmentDefinition candidateGroups="GROUP" candidateUsers="zoe"/></extensionElements></userTask>
<userTask id="check"><extensionElements><zeebe:userTask/></extensionElements></userTask>
<serviceTask id="fails"><extensionElements><zeebe:taskDefinition type="fail"/></extensionElements></serviceTask>
</process></definitions>`

// claims is a world of claims: what there is, and what its records say.
type claims struct {
	env                         *testenv.Env
	instances, tasks, incidents []access.Resource
}

func newClaims(t *testing.T, env *testenv.Env) *claims {
	t.Helper()
	w := &claims{env: env}
	deployClaims(t, env)
	for _, s := range []struct{ process, company, assignee string }{
		{"car", "A", ""}, {"car", "B", "eve"}, {"car", "A", "zoe"}, {"home", "A", ""}, {"home", "B", "eve"},
	} {
		w.start(t, s.process, s.company, s.assignee)
	}
	w.fail(t)
	return w
}

// deployClaims deploys two processes with claims.
func deployClaims(t *testing.T, env *testenv.Env) {
	t.Helper()
	for process, group := range map[string]string{"car": "clerks", "home": "night"} {
		model := strings.NewReplacer("PROCESS", process, "GROUP", group).Replace(claimModel)
		if _, err := env.Engine.Deploy(t.Context(), env.Ann, []api.File{{Name: process + ".bpmn", Content: []byte(model)}}, ""); err != nil {
			t.Fatal(err)
		}
	}
}

// start starts a claim; its task ask is claimed by the assignee, if there is one.
func (w *claims) start(t *testing.T, process, company, assignee string) {
	t.Helper()
	id := w.env.Start(process, `{"company": "`+company+`"}`)
	on := access.Resource{Kind: access.Instance, ID: id, Tenant: "main", Process: process, Values: map[string]string{"company": company}}
	w.instances = append(w.instances, on)
	list, err := w.env.Engine.Tasks(t.Context(), w.env.Ann, engine.TaskFilter{Process: process}, pageOf(100))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range list.Items {
		if task.Instance != id {
			continue
		}
		on.Kind, on.ID, on.Element, on.Users, on.Groups, on.Assignee = access.Task, task.ID, task.Element, task.Users, task.Groups, ""
		if task.Element == "ask" && assignee != "" {
			on.Assignee = assignee
			if _, err := w.env.Engine.Claim(t.Context(), w.env.Ann, task.ID, assignee, ""); err != nil {
				t.Fatal(err)
			}
		}
		w.tasks = append(w.tasks, on)
	}
}

// fail makes an incident of the job of every claim.
func (w *claims) fail(t *testing.T) {
	t.Helper()
	none := 0
	for range w.instances {
		job := w.env.Job("fail")
		if _, err := w.env.Engine.FailJob(t.Context(), w.env.Ann, job.ID, api.FailJobRequest{Lease: job.Lease, Retries: &none, Message: "no"}, ""); err != nil {
			t.Fatal(err)
		}
	}
	list, err := w.env.Engine.Incidents(t.Context(), w.env.Ann, "", pageOf(100))
	if err != nil || len(list.Items) != len(w.instances) {
		t.Fatalf("%d incidents, %v", len(list.Items), err)
	}
	for _, i := range list.Items {
		on := w.instances[slices.IndexFunc(w.instances, func(r access.Resource) bool { return r.ID == i.Instance })]
		on.Kind, on.ID, on.Element = access.Incident, i.ID, i.Element
		w.incidents = append(w.incidents, on)
	}
}

// as returns a caller with the rights of somebody.
func (w *claims) as(who access.Principal) engine.Caller {
	who.Tenant, who.Kind = "main", access.User
	return engine.AdmitMadeUp(w.env.Engine, w.env.Ann, who)
}

type fataler interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

// TestWhatMayNotBeSeenIsNotThere compares the answer about a record that may not be seen
// with that about one that never was.
func TestWhatMayNotBeSeenIsNotThere(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		w := newClaims(t, env)
		seesCar := w.as(access.Principal{Name: "vic", Roles: []access.Role{access.Executor}, Grants: []access.Grant{
			{ID: "v", Right: access.ToView, Process: "car", Where: &access.Where{Path: "company", Value: "A"}},
			{ID: "m", Right: access.ToManage, Process: "car", Where: &access.Where{Path: "company", Value: "A"}},
			{ID: "d", Right: access.ToDesign, Process: "car"},
		}})
		var hidden access.Resource
		for _, r := range w.instances {
			if r.Process == "car" && r.Values["company"] == "B" {
				hidden = r
			}
		}
		task, incident := "", ""
		for _, r := range w.tasks {
			if strings.HasPrefix(r.ID, hidden.ID+".") {
				task = r.ID
			}
		}
		for _, r := range w.incidents {
			if strings.HasPrefix(r.ID, hidden.ID+".") {
				incident = r.ID
			}
		}
		if task == "" || incident == "" {
			t.Fatal("there is nothing to hide")
		}
		nowhere := func(id string) string {
			return strings.Replace(id, hidden.ID, "0199aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee", 1)
		}
		ctx, e := t.Context(), env.Engine
		calls := map[string]struct {
			id   string
			call func(id string) error
		}{
			"Instance":     {hidden.ID, func(id string) error { return errorOf(e.Instance(ctx, seesCar, id)) }},
			"Steps":        {hidden.ID, func(id string) error { return errorOf(e.Steps(ctx, seesCar, id, pageOf(2))) }},
			"Export":       {hidden.ID, func(id string) error { return errorOf(e.Export(ctx, seesCar, id)) }},
			"Cancel":       {hidden.ID, func(id string) error { return errorOf(e.Cancel(ctx, seesCar, id, "")) }},
			"SetVariables": {hidden.ID, func(id string) error { return errorOf(e.SetVariables(ctx, seesCar, id, []byte(`{"a":1}`), "")) }},
			"File": {hidden.ID, func(id string) error {
				return errorOf(e.File(ctx, seesCar, id, "0199aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee"))
			}},
			"Evidence":      {hidden.ID, func(id string) error { return errorOf(e.Evidence(ctx, seesCar, api.EvidenceRequest{Instance: id})) }},
			"Task":          {task, func(id string) error { return errorOf(e.Task(ctx, seesCar, id)) }},
			"Claim":         {task, func(id string) error { return errorOf(e.Claim(ctx, seesCar, id, "", "")) }},
			"Assign":        {task, func(id string) error { return errorOf(e.Claim(ctx, seesCar, id, "eve", "")) }},
			"Unclaim":       {task, func(id string) error { return errorOf(e.Unclaim(ctx, seesCar, id, "")) }},
			"SaveTask":      {task, func(id string) error { return errorOf(e.SaveTask(ctx, seesCar, id, []byte(`{}`), "")) }},
			"CompleteTask":  {task, func(id string) error { return errorOf(e.CompleteTask(ctx, seesCar, id, []byte(`{}`), "")) }},
			"RetryIncident": {incident, func(id string) error { return errorOf(e.RetryIncident(ctx, seesCar, id, 0, "")) }},
			"Start":         {"home", func(id string) error { return errorOf(e.Start(ctx, w.stranger(), api.StartRequest{Process: id}, "")) }},
			"Process":       {"home", func(id string) error { return errorOf(e.Process(ctx, w.stranger(), id, 0)) }},
			"Model":         {"home", func(id string) error { return errorOf(e.Model(ctx, w.stranger(), id, 3)) }},
			"SetMode":       {"home", func(id string) error { return errorOf(e.SetMode(ctx, w.stranger(), id, "confidential", "")) }},
		}
		for name, c := range calls {
			other := nowhere(c.id)
			if c.id == "home" {
				other = "boat"
			}
			hides, misses := c.call(c.id), c.call(other)
			if !fault.Is(hides, fault.NotFound) || !fault.Is(misses, fault.NotFound) || strings.ReplaceAll(hides.Error(), c.id, other) != misses.Error() {
				t.Errorf("%s: of what is hidden: %v, of what is not there: %v", name, hides, misses)
			}
		}
	})
}

// stranger may design another process than those that there are.
func (w *claims) stranger() engine.Caller {
	return w.as(access.Principal{Name: "sam", Grants: []access.Grant{
		{ID: "d", Right: access.ToDesign, Process: "plane"}, {ID: "s", Right: access.ToStart, Process: "plane"},
	}})
}

func TestTasksAreDoneByTheirPeople(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		w := newClaims(t, env)
		eve := w.as(access.Principal{Name: "eve", Roles: []access.Role{access.Executor}, Groups: []string{"clerks"}})
		zoe := w.as(access.Principal{Name: "zoe", Roles: []access.Role{access.Executor}})
		vic := w.as(access.Principal{Name: "vic", Roles: []access.Role{access.Viewer}})
		dan := w.as(access.Principal{Name: "dan", Roles: []access.Role{access.Executor}})
		id := w.tasks[slices.IndexFunc(w.tasks, func(r access.Resource) bool { return r.Process == "car" && r.Element == "ask" && r.Assignee == "" })].ID
		ctx, e := t.Context(), env.Engine
		refused := func(what string, kind fault.Kind, err error) {
			t.Helper()
			if !fault.Is(err, kind) {
				t.Errorf("%s: %v, want %s", what, err, kind)
			}
		}
		refused("somebody else sees it", fault.NotFound, errorOf(e.Task(ctx, dan, id)))
		refused("a Viewer claims it", fault.Denied, errorOf(e.Claim(ctx, vic, id, "", "")))
		refused("a Viewer cancels", fault.Denied, errorOf(e.Cancel(ctx, vic, w.instances[0].ID, "")))
		refused("a candidate assigns it", fault.Denied, errorOf(e.Claim(ctx, eve, id, "dan", "")))
		if _, err := e.Claim(ctx, eve, id, "", "once"); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Task(ctx, zoe, id); err != nil {
			t.Errorf("another candidate sees it: %v", err)
		}
		refused("another candidate completes it", fault.Denied, errorOf(e.CompleteTask(ctx, zoe, id, []byte(`{}`), "")))
		refused("another candidate gives it back", fault.Denied, errorOf(e.Unclaim(ctx, zoe, id, "")))
		if _, err := e.SaveTask(ctx, eve, id, []byte(`{"note": "x"}`), ""); err != nil {
			t.Errorf("who claimed it saves: %v", err)
		}
		first, err := e.CompleteTask(ctx, eve, id, []byte(`{"note": "y"}`), "done")
		if err != nil {
			t.Fatal(err)
		}
		again, err := e.CompleteTask(ctx, eve, id, []byte(`{"note": "y"}`), "done")
		if err != nil || again != first {
			t.Errorf("the same request again: %+v, %v, want %+v", again, err, first)
		}
	})
}

// Who sees the instance is told that a task is done already, whoever might have done it; to
// others it is not there, as one that never was.
func TestATaskThatIsDoneIsToldToWhoSeesIt(t *testing.T) {
	env := testenv.New(t, nil)
	w := newClaims(t, env)
	as := func(name string, groups []string, roles ...access.Role) engine.Caller {
		return w.as(access.Principal{Name: name, Roles: roles, Groups: groups})
	}
	clerk := as("eve", []string{"clerks"}, access.Executor, access.Viewer)
	sees := map[string]engine.Caller{"sees all": as("rob", nil, access.Executor, access.Viewer), "sees instances": as("adm", nil, access.Executor, access.Admin)}
	ctx, e := t.Context(), env.Engine
	id := w.tasks[slices.IndexFunc(w.tasks, func(r access.Resource) bool { return r.Process == "car" && r.Element == "ask" && r.Assignee == "" })].ID
	instance, _, _ := strings.Cut(id, ".")
	if _, err := e.CompleteTask(ctx, sees["sees all"], id, []byte(`{}`), ""); !fault.Is(err, fault.Denied) {
		t.Errorf("who sees it and may not, while it waits: %v, want Denied", err)
	}
	first, err := e.CompleteTask(ctx, clerk, id, []byte(`{"note": "y"}`), "done")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := e.CompleteTask(ctx, clerk, id, []byte(`{"note": "y"}`), "done"); err != nil || again != first {
		t.Errorf("the same request again: %+v, %v, want %+v", again, err, first)
	}
	seq := env.Instance(instance).Seq
	acts := func(c engine.Caller, id string) map[string]error {
		return map[string]error{
			"complete": errorOf(e.CompleteTask(ctx, c, id, []byte(`{"note": "z"}`), "other")), "claim": errorOf(e.Claim(ctx, c, id, "", "")),
			"give back": errorOf(e.Unclaim(ctx, c, id, "")), "save": errorOf(e.SaveTask(ctx, c, id, []byte(`{}`), "")),
		}
	}
	sees["a candidate"] = clerk
	for who, c := range sees {
		for what, err := range acts(c, id) {
			if fault.CodeOf(err) != "task_closed" || !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "instance "+instance+": active at step ") {
				t.Errorf("%s, to %s: %v, want that it is done, and how the instance stands", who, what, err)
			}
		}
		for what, err := range acts(c, instance+".999") {
			if !fault.Is(err, fault.NotFound) {
				t.Errorf("%s, to %s what never was: %v, want NotFound", who, what, err)
			}
		}
		if _, err := e.Task(ctx, c, id); fault.Is(err, fault.Conflict) || err == nil {
			t.Errorf("%s reads it: %v", who, err)
		}
	}
	if now := env.Instance(instance).Seq; now != seq {
		t.Errorf("the instance is at step %d after that, want %d", now, seq)
	}
	for what, err := range acts(as("dan", []string{"clerks"}, access.Executor), id) {
		never := acts(as("dan", []string{"clerks"}, access.Executor), instance+".999")[what]
		if !fault.Is(err, fault.NotFound) || strings.ReplaceAll(err.Error(), id, instance+".999") != never.Error() {
			t.Errorf("who does not see the instance, to %s: %v, want NotFound as of what never was: %v", what, err, never)
		}
	}
	for what, err := range acts(as("vic", nil, access.Viewer), id) {
		if !fault.Is(err, fault.Denied) {
			t.Errorf("who does no tasks at all, to %s: %v, want Denied", what, err)
		}
	}
	if _, err := e.Cancel(ctx, env.Ann, instance, ""); err != nil {
		t.Fatal(err)
	}
	for what, err := range acts(sees["sees all"], id) {
		if fault.CodeOf(err) != "instance_ended" {
			t.Errorf("of an instance that has ended, to %s: %v", what, err)
		}
	}
}

func TestWhoMayDesignDeploysNothingElse(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	newClaims(t, env)
	model := func(process string) []api.File {
		return []api.File{{Name: "p.bpmn", Content: []byte(strings.NewReplacer("PROCESS", process, "GROUP", "x").Replace(claimModel))}}
	}
	key := env.PersonsKey("dora")
	give(t, env, api.GrantRequest{User: "dora", Right: "design", Process: "car"})
	dora := env.SignIn(key)
	if _, err := env.Engine.Deploy(t.Context(), dora, model("home"), ""); !fault.Is(err, fault.Denied) {
		t.Errorf("another process: %v", err)
	}
	if done, err := env.Engine.Deploy(t.Context(), dora, model("car"), ""); err != nil || len(done.Processes) != 1 || done.Processes[0].Version != 2 {
		text, _ := json.Marshal(done)
		t.Errorf("their own: %s, %v", text, err)
	}
}

func TestAnErasedInstanceIsHiddenAsBefore(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	w := newClaims(t, env)
	gone := w.instances[0]
	erase(t, env, "instance", gone.ID)
	grant := func(g access.Grant) engine.Caller {
		g.ID, g.Right = "v", access.ToView
		return w.as(access.Principal{Name: "vic", Grants: []access.Grant{g}})
	}
	for _, test := range []struct {
		name string
		on   access.Grant
		kind fault.Kind
	}{
		{"of its process", access.Grant{Process: gone.Process}, fault.Sealed},
		{"of another process", access.Grant{Process: "boat"}, fault.NotFound},
		{"of a value that it had", access.Grant{Process: gone.Process, Where: &access.Where{Path: "company", Value: "A"}}, fault.NotFound},
	} {
		vic := grant(test.on)
		if _, err := env.Engine.Instance(t.Context(), vic, gone.ID); !fault.Is(err, test.kind) {
			t.Errorf("%s: the instance: %v, want %s", test.name, err, test.kind)
		}
		list, err := env.Engine.Instances(t.Context(), vic, engine.InstanceFilter{}, pageOf(100))
		if err != nil {
			t.Fatal(err)
		}
		listed := slices.ContainsFunc(list.Items, func(i api.Instance) bool { return i.ID == gone.ID })
		if want := test.kind == fault.Sealed; listed != want {
			t.Errorf("%s: listed: %t, want %t", test.name, listed, want)
		}
	}
	task := w.tasks[slices.IndexFunc(w.tasks, func(r access.Resource) bool { return strings.HasPrefix(r.ID, gone.ID) })].ID
	if _, err := env.Engine.Task(t.Context(), grant(access.Grant{Process: "boat"}), task); !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "no task") {
		t.Errorf("its task: %v", err)
	}
}
