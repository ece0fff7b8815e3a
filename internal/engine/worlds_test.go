package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/testenv"
)

// worldModel is a process whose instances say themselves who is asked. Conditions of
// grants can be on a company (SEARCH), on a sensitive region, and on the ward of a person.
const worldModel = `<?xml version="1.0"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" xmlns:seal="urn:underseal:bpmn:1" targetNamespace="x">
<process id="PROCESS" isExecutable="true">
<extensionElements><seal:policy default="internal">
<seal:field path="company" class="internal" SEARCH/>
<seal:field path="region" class="confidential" search="exact"/>
<seal:field path="person.id" class="internal"/>
<seal:field path="person.ward" class="internal" subject="person.id" search="exact"/>
<seal:field path="secret" class="confidential"/>
<seal:field path="scan" class="confidential"/>
</seal:policy></extensionElements>
<startEvent id="start"/><sequenceFlow id="f0" sourceRef="start" targetRef="split"/>
<parallelGateway id="split"/>
<sequenceFlow id="f1" sourceRef="split" targetRef="ask"/><sequenceFlow id="f2" sourceRef="split" targetRef="check"/>
<sequenceFlow id="f3" sourceRef="split" targetRef="fails"/><sequenceFlow id="f4" sourceRef="split" targetRef="works"/>
<userTask id="ask"><extensionElements><zeebe:userTask/><zeebe:formDefinition formKey="ask.schema.json"/><zeebe:assignmentDefinition candidateGroups="=asked.groups" candidateUsers="=asked.users"/></extensionElements></userTask>
<userTask id="check"><extensionElements><zeebe:userTask/></extensionElements></userTask>
<serviceTask id="fails"><extensionElements><zeebe:taskDefinition type="fail"/></extensionElements></serviceTask>
<serviceTask id="works"><extensionElements><zeebe:taskDefinition type="work"/></extensionElements></serviceTask>
</process></definitions>`

const askForm = `{"type": "object", "properties": {"note": {"type": "string"}, "region": {"type": "string"}}}`

// worldFields are the fields of an instance of a world: whether they are sensitive and named
// by the form of the task ask, and where they stand.
var worldFields = []struct {
	path              string
	sensitive, inForm bool
	at                []any
}{
	{"company", false, false, []any{"company"}},
	{"note", false, true, []any{"note"}},
	{"region", true, true, []any{"region"}},
	{"person.id", true, false, []any{"person", "id"}},
	{"person.ward", true, false, []any{"person", "ward"}},
	{"secret", true, false, []any{"secret"}},
	{"scan", true, false, []any{"scan", "file"}},
}

// randomWorld is a company and who comes to look at what it has, as data. Beside it on the same
// server is another company, with the same processes, people and values.
type randomWorld struct {
	Instances    []worldInstance
	Anew         int  // before this one, the process car is deployed anew: its company is not searchable any more
	Rotated      int  // before this one, the company gets another key for what is searched
	Confidential bool // the process car is
	Forgotten    bool // the person whose ward it is was erased at the end
	Groups       []worldGroup
	Own          string // forbids of the company
	ViewersFrom  string // a network that Viewers have to come from; "": from anywhere
	Visitors     []visitor
}

// worldInstance is an instance. Values are JSON; "": it has none.
type worldInstance struct {
	Process               string
	Company, Region, Ward string
	Nameless              bool // whose ward it is was not said
	Users, Groups         []string
	Then                  string // what the company is later
	Claimed               string // who the task ask is claimed by
	Checked               bool   // the task check is done
	Fails                 bool   // there is an incident
	Scanned               bool   // it has a file
	End                   string // canceled or erased

	forgotten bool // what is about a person is erased
}

type worldGroup struct {
	Name    string
	Deleted bool
	Roles   []access.Role
	Grants  []worldGrant
}

// worldGrant is a grant without pointers and times, to be printed.
type worldGrant struct {
	Right             access.Right
	Process           string
	Path, Value, Task string
	Fields            []string
	Purpose           string
	Hours             int // to its end; 0: it has none
	Glass             int // with a break-glass: number of the instance from 1; 0: all of the process
}

// visitor is somebody, and what they ask for.
type visitor struct {
	Name     string
	Roles    []access.Role
	Groups   []string
	Grants   []worldGrant
	Scopes   []access.Scope
	Disabled bool
	From     string
	Purpose  string

	Limit                                  int // of a page
	Process, Status, Assignee, Group, User string
	Unassigned                             bool
	Field, Value                           string
	Jobs                                   int
}

var (
	worldProcesses = []string{"boat", "car", "home"}
	worldNames     = []string{"zoe", "eve", "dan"}
	worldGroups    = []string{"clerks", "night", "gone"}
	worldAddresses = []string{"192.0.2.1", "198.51.100.7"}
)

func sampled[T any](t *rapid.T, label string, from ...T) T {
	return rapid.SampledFrom(from).Draw(t, label)
}

// one in n
func rarely(t *rapid.T, label string, n int) bool {
	return rapid.IntRange(0, n-1).Draw(t, label) == n-1
}

func someOf(t *rapid.T, label string, from ...string) []string {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(from), 0, 2, rapid.ID).Draw(t, label)
}

func aWorldInstance() *rapid.Generator[worldInstance] {
	return rapid.Custom(func(t *rapid.T) worldInstance {
		return worldInstance{
			Process:  sampled(t, "process", "car", "car", "home", "boat"),
			Company:  sampled(t, "company", `"A"`, `"A"`, `"B"`, `""`, `7`, `null`, ``),
			Region:   sampled(t, "region", ``, `"N"`, `"S"`),
			Ward:     sampled(t, "ward", ``, ``, `"W"`),
			Nameless: rapid.Bool().Draw(t, "nameless"),
			Users:    someOf(t, "users", worldNames...),
			Groups:   someOf(t, "groups", worldGroups...),
			Then:     sampled(t, "then", ``, ``, ``, `"A"`, `"B"`, `null`),
			Claimed:  sampled(t, "claimed", "", "", "", "zoe", "eve"),
			Checked:  rarely(t, "checked", 4),
			Fails:    rapid.Bool().Draw(t, "fails"),
			Scanned:  rarely(t, "scanned", 4),
			End:      sampled(t, "end", "", "", "", "", "", "", "canceled", "erased"),
		}
	})
}

func aWorldGrant() *rapid.Generator[worldGrant] {
	return rapid.Custom(func(t *rapid.T) worldGrant {
		g := worldGrant{
			Right:   sampled(t, "right", access.ToView, access.ToView, access.ToWork, access.ToManage, access.ToStart, access.ToRead, access.ToReveal, access.ByBreakGlass),
			Process: sampled(t, "of", "car", "home", "boat", "plane", access.All),
			Hours:   sampled(t, "hours", 0, 0, 0, 1, -1),
		}
		some := g.Process != access.All && rapid.Bool().Draw(t, "some of it")
		switch {
		case g.Right == access.ByBreakGlass:
			if g.Process == access.All {
				g.Process = "car"
			}
			g.Purpose, g.Glass = "fire", rapid.IntRange(0, 4).Draw(t, "glass")
		case g.Right == access.ToRead || g.Right == access.ToReveal:
			g.Fields = sampled(t, "fields", []string{access.All}, []string{"company"}, []string{"person"}, []string{"note", "region"}, []string{"scan", "person.ward", "$incident"})
			if g.Right == access.ToReveal && rapid.Bool().Draw(t, "standing") {
				g.Purpose = "always"
			}
		case some && g.Right == access.ToWork:
			g.Task = sampled(t, "task", "ask", "check", "works", "fails")
		case some && g.Right != access.ToStart:
			g.Path = sampled(t, "path", "company", "company", "region", "person.ward")
			g.Value = sampled(t, "value", "A", "B", "", "N", "W", "7")
		}
		return g
	})
}

func aWorldGroup(name string) *rapid.Generator[worldGroup] {
	return rapid.Custom(func(t *rapid.T) worldGroup {
		return worldGroup{
			Name: name, Deleted: name == "gone",
			Roles:  rapid.SliceOfNDistinct(rapid.SampledFrom([]access.Role{access.Executor, access.Viewer}), 0, 1, rapid.ID).Draw(t, "its roles"),
			Grants: rapid.SliceOfN(aWorldGrant(), 0, 2).Draw(t, "its grants"),
		}
	})
}

func aVisitor() *rapid.Generator[visitor] {
	return rapid.Custom(func(t *rapid.T) visitor {
		return visitor{
			Name: sampled(t, "name", worldNames...),
			Roles: rapid.SliceOfNDistinct(rapid.SampledFrom([]access.Role{
				access.Executor, access.Executor, access.Executor, access.Viewer, access.Designer, access.Admin, access.Auditor,
			}), 0, 2, rapid.ID).Draw(t, "roles"),
			Groups:   someOf(t, "in", worldGroups...),
			Grants:   rapid.SliceOfN(aWorldGrant(), 0, 5).Draw(t, "grants"),
			Scopes:   sampled(t, "scopes", nil, nil, nil, nil, []access.Scope{"task:*", "value:*"}, []access.Scope{"instance:*", "process:read", "job:work"}),
			Disabled: rarely(t, "disabled", 12),
			From:     sampled(t, "from", worldAddresses...),
			Purpose:  sampled(t, "purpose", "", "a reason"),

			Limit:   rapid.IntRange(1, 6).Draw(t, "limit"),
			Process: sampled(t, "only of", "", "", "", "car", "home"), Status: sampled(t, "status", "", "", "active", "canceled"),
			Assignee: sampled(t, "assignee", "", "", "", "zoe"), Unassigned: rarely(t, "unassigned", 6),
			Group: sampled(t, "group", "", "", "", "clerks"), User: sampled(t, "user", "", "", "", "eve"),
			Field: sampled(t, "field", "company", "region", "person.ward"), Value: sampled(t, "with", "A", "B", "N", "W", ""),
			Jobs: rapid.IntRange(1, 20).Draw(t, "jobs"),
		}
	})
}

// worldForbids are policies that a company may have.
var worldForbids = []string{
	"", "", "",
	`@id("x") forbid (principal, action, resource) when { resource.process == "home" };`,
	`@id("x") forbid (principal, action == Action::"task:read", resource) when { resource.assignee == "" };`,
	`@id("x") forbid (principal, action in [Action::"instance:read", Action::"incident:read"], resource) unless { principal.name == "zoe" };`,
	`@id("x") forbid (principal, action in [Action::"value:read", Action::"job:work"], resource) when { resource.field == "company" || resource.process == "car" && resource.element == "works" };`,
}

func aWorld() *rapid.Generator[randomWorld] {
	return rapid.Custom(func(t *rapid.T) randomWorld {
		w := randomWorld{
			Instances:   rapid.SliceOfN(aWorldInstance(), 0, 9).Draw(t, "instances"),
			Anew:        rapid.IntRange(0, 9).Draw(t, "anew"),
			Own:         sampled(t, "own", worldForbids...),
			ViewersFrom: sampled(t, "viewers", "", "", "", "192.0.2.0/24"),
			Visitors:    rapid.SliceOfN(aVisitor(), 1, 10).Draw(t, "visitors"),
		}
		for _, name := range worldGroups {
			w.Groups = append(w.Groups, aWorldGroup(name).Draw(t, name))
		}
		return w
	})
}

// grants returns grants as they are decided about. Instances are those that a break-glass
// may be for.
func (w *randomWorld) grants(list []worldGrant, instances []access.Resource) (grants []access.Grant) {
	for i, g := range list {
		grant := access.Grant{ID: fmt.Sprint(i), Right: g.Right, Process: g.Process, Task: g.Task, Fields: g.Fields, Purpose: g.Purpose}
		if g.Path != "" {
			grant.Where = &access.Where{Path: g.Path, Value: g.Value}
		}
		if g.Hours != 0 {
			grant.Expires = time.Now().Add(time.Duration(g.Hours) * time.Hour)
		}
		if g.Glass > 0 && g.Glass <= len(instances) {
			grant.Process, grant.Instance = instances[g.Glass-1].Process, instances[g.Glass-1].ID
		}
		grants = append(grants, grant)
	}
	return grants
}

// textIn returns what a value in JSON is as a condition sees it; not ok: it sees none.
func textIn(value string) (text string, ok bool) {
	return text, value != "" && value != "null" && json.Unmarshal([]byte(value), &text) == nil
}

// value returns the value of a field, in JSON; "": the instance has none.
func (in worldInstance) value(path string) string {
	switch path {
	case "company":
		return in.Company
	case "region":
		return in.Region
	case "person.ward":
		if in.forgotten {
			return ""
		}
		return in.Ward
	case "person.id":
		if in.forgotten || in.Nameless {
			return ""
		}
	case "scan":
		if !in.Scanned {
			return ""
		}
	}
	return `"x"`
}

// built is a company as it was built: what there is, and what its records say.
type built struct {
	env    *testenv.Env
	tenant string

	processes, instances, tasks, jobs, incidents []access.Resource
	open                                         []access.Resource // jobs, also those that somebody has

	says          map[string]worldInstance // instances, by id
	status, files map[string]string        // of instances, by id
	erased        map[string]bool
	anew          bool // the process car has another version

	users, groups, grants []string
	own                   map[string][]string // grants of users
}

func buildWorld(ctx context.Context, t fataler, env *testenv.Env, w *randomWorld) *built {
	t.Helper()
	b := &built{
		env: env, tenant: env.Ann.Scope.Tenant(), says: map[string]worldInstance{}, status: map[string]string{}, files: map[string]string{},
		erased: map[string]bool{}, users: []string{"ann"}, own: map[string][]string{},
	}
	b.deploy(ctx, t, `search="exact"`, worldProcesses...)
	for _, process := range worldProcesses {
		b.processes = append(b.processes, access.Resource{Kind: access.Process, ID: process, Tenant: b.tenant, Process: process})
	}
	if w.Confidential {
		_, err := env.Engine.SetMode(ctx, env.Ann, "car", "confidential", "")
		must(t, err)
	}
	for i, in := range w.Instances {
		if i == w.Rotated {
			_, err := env.Engine.RotateKey(ctx, env.Ann, api.RotateKeyRequest{Key: "index"})
			must(t, err)
		}
		if i == w.Anew {
			b.deploy(ctx, t, "", "car")
			b.anew = true
		}
		b.start(ctx, t, in)
	}
	b.fail(ctx, t)
	b.finish(ctx, t)
	if w.Forgotten {
		b.forget(ctx, t)
	}
	for _, on := range b.instances {
		if b.status[on.ID] == "active" {
			b.opened(ctx, t, on)
		}
	}
	b.given(ctx, t)
	return b
}

func must(t fataler, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%+v", err)
	}
}

func (b *built) deploy(ctx context.Context, t fataler, search string, processes ...string) {
	t.Helper()
	files := []api.File{{Name: "ask.schema.json", Content: []byte(askForm)}}
	for _, process := range processes {
		model := strings.NewReplacer("PROCESS", process, "SEARCH", search).Replace(worldModel)
		files = append(files, api.File{Name: process + ".bpmn", Content: []byte(model)})
	}
	_, err := b.env.Engine.Deploy(ctx, b.env.Ann, files, "")
	must(t, err)
}

// variables are what an instance is started with.
func (in worldInstance) variables(file string) string {
	quoted := func(names []string) string {
		text, _ := json.Marshal(append([]string{}, names...))
		return string(text)
	}
	person := []string{`"nothing": null`}
	if !in.Nameless {
		person = append(person, `"id": "p"`)
	}
	if in.Ward != "" {
		person = append(person, `"ward": `+in.Ward)
	}
	all := []string{`"note": "n"`, `"secret": "s"`, `"person": {` + strings.Join(person, ", ") + `}`, `"asked": {"users": ` + quoted(in.Users) + `, "groups": ` + quoted(in.Groups) + `}`}
	for name, value := range map[string]string{"company": in.Company, "region": in.Region, "scan": file} {
		if value != "" {
			all = append(all, `"`+name+`": `+value)
		}
	}
	return "{" + strings.Join(all, ", ") + "}"
}

func (b *built) start(ctx context.Context, t fataler, in worldInstance) {
	t.Helper()
	e, ann, scan := b.env.Engine, b.env.Ann, ""
	if in.Scanned {
		up, err := e.PutFile(ctx, ann, engine.Incoming{Name: "scan.pdf", Type: "application/pdf", Size: 4, Body: bytes.NewReader([]byte("scan"))})
		must(t, err)
		scan = named(up.File)
		defer func() { b.files[b.instances[len(b.instances)-1].ID] = up.File }()
	}
	started, err := e.Start(ctx, ann, api.StartRequest{Process: in.Process, Variables: json.RawMessage(in.variables(scan))}, "")
	must(t, err)
	id := started.Instance
	if in.Then != "" {
		_, err := e.SetVariables(ctx, ann, id, []byte(`{"company": `+in.Then+`}`), "")
		must(t, err)
		in.Company = in.Then
	}
	b.says[id], b.status[id] = in, "active"
	on := access.Resource{Kind: access.Instance, ID: id, Tenant: b.tenant, Process: in.Process, Instance: id, Values: map[string]string{}}
	for path, value := range map[string]string{"company": in.Company, "region": in.Region, "person.ward": in.Ward} {
		if text, has := textIn(value); has && !(b.anew && in.Process == "car" && path == "company") {
			on.Values[path] = text
		}
	}
	b.instances = append(b.instances, on)
	seen, err := e.Instance(ctx, ann, id)
	must(t, err)
	for _, at := range seen.Waiting {
		of := on
		of.ID, of.Element = at.ID, at.Element
		switch of.Kind = access.Kind(at.For); at.Element {
		case "ask":
			of.Users, of.Groups, of.Assignee = in.Users, in.Groups, in.Claimed
			if in.Claimed != "" {
				_, err := e.Claim(ctx, ann, at.ID, in.Claimed, "")
				must(t, err)
			}
		case "check":
			if in.Checked {
				_, err := e.CompleteTask(ctx, ann, at.ID, []byte(`{}`), "")
				must(t, err)
				continue
			}
		}
		switch of.Kind {
		case access.Task:
			b.tasks = append(b.tasks, of)
		case access.Job:
			b.jobs = append(b.jobs, of)
		}
	}
}

// fail has the jobs fail that do, for good.
func (b *built) fail(ctx context.Context, t fataler) {
	t.Helper()
	none, e := 0, b.env.Engine
	jobs, err := e.ActivateJobs(ctx, b.env.Ann, api.ActivateRequest{Type: "fail", Worker: "w", Max: 100})
	must(t, err)
	for _, job := range jobs.Items {
		in := b.says[job.Instance]
		if !in.Fails {
			continue
		}
		_, err := e.FailJob(ctx, b.env.Ann, job.ID, api.FailJobRequest{Lease: job.Lease, Retries: &none, Message: "no"}, "")
		must(t, err)
		seen, err := e.Instance(ctx, b.env.Ann, job.Instance)
		must(t, err)
		on := b.instance(job.Instance)
		for _, at := range seen.Waiting {
			if at.For == "incident" {
				on.Kind, on.ID, on.Element = access.Incident, at.ID, at.Element
			}
		}
		b.incidents = append(b.incidents, on)
	}
	b.jobs = slices.DeleteFunc(b.jobs, func(r access.Resource) bool { return r.Element == "fails" }) // they are somebody's
}

func (b *built) instance(id string) access.Resource {
	return b.instances[slices.IndexFunc(b.instances, func(r access.Resource) bool { return r.ID == id })]
}

// finish ends the instances that end.
func (b *built) finish(ctx context.Context, t fataler) {
	t.Helper()
	e := b.env.Engine
	for i := range b.instances {
		on := &b.instances[i]
		end := b.says[on.ID].End
		switch end {
		case "":
			continue
		case "canceled":
			_, err := e.Cancel(ctx, b.env.Ann, on.ID, "")
			must(t, err)
		case "erased":
			b.erase(ctx, t, "instance", on.ID)
			on.Values, b.erased[on.ID] = nil, true
		}
		b.status[on.ID] = end
		for _, list := range []*[]access.Resource{&b.tasks, &b.jobs, &b.incidents} {
			*list = slices.DeleteFunc(*list, func(r access.Resource) bool { return r.Instance == on.ID })
		}
	}
}

func (b *built) erase(ctx context.Context, t fataler, kind, id string) {
	t.Helper()
	done, err := b.env.Engine.OrderErasure(ctx, b.env.Ann, api.ErasureRequest{Kind: kind, ID: id, Reason: "over", DelayMS: new(int)}, "")
	must(t, err)
	if done.State != "done" {
		t.Fatalf("the erasure is %s", done.State)
	}
}

// forget erases the person whose wards are said.
func (b *built) forget(ctx context.Context, t fataler) {
	t.Helper()
	b.erase(ctx, t, "subject", "p")
	for id, in := range b.says {
		in.forgotten = !in.Nameless
		if b.says[id] = in; in.forgotten && !b.erased[id] {
			delete(b.instance(id).Values, "person.ward") // and of what is of it
		}
	}
}

// opened notes which jobs of an instance are open.
func (b *built) opened(ctx context.Context, t fataler, on access.Resource) {
	t.Helper()
	seen, err := b.env.Engine.Instance(ctx, b.env.Ann, on.ID)
	must(t, err)
	for _, at := range seen.Waiting {
		if at.For == "job" {
			on.Kind, on.ID, on.Element, on.Given = access.Job, at.ID, at.Element, true
			b.open = append(b.open, on)
		}
	}
}

// given notes which grants there are.
func (b *built) given(ctx context.Context, t fataler) {
	t.Helper()
	list, err := b.env.Engine.Grants(ctx, b.env.Ann, engine.GrantsOf{}, pageOf(1000))
	must(t, err)
	b.grants = nil
	for _, g := range list.Items {
		b.grants = append(b.grants, g.ID)
		b.own[g.User] = append(b.own[g.User], g.ID)
	}
}

// fullWorld is a company with something of everything.
func fullWorld() *randomWorld {
	w := &randomWorld{Anew: 7, Rotated: 4}
	for _, name := range worldGroups {
		w.Groups = append(w.Groups, worldGroup{Name: name, Deleted: name == "gone"})
	}
	at := func(from []string, i int) string { return from[i%len(from)] }
	for i, process := range []string{"car", "home", "boat", "car", "home", "car", "car", "car", "home"} {
		w.Instances = append(w.Instances, worldInstance{
			Process: process, Company: at([]string{`"A"`, `"B"`, `""`}, i), Region: at([]string{`"N"`, `"S"`}, i), Ward: at([]string{``, `"W"`}, i), Nameless: i%4 == 1,
			Then: at([]string{``, ``, ``, `"B"`}, i), Users: []string{at(worldNames, i)}, Groups: []string{at(worldGroups, i/2)}, Claimed: at([]string{"", "zoe", "", "", "eve"}, i),
			Checked: i == 2, Fails: i != 3, Scanned: i == 0, End: at([]string{"", "", "", "", "", "canceled", "erased"}, i),
		})
	}
	return w
}

// newNeighbour makes the other company: with something of everything, and with people.
func newNeighbour(t *testing.T, env *testenv.Env) *built {
	t.Helper()
	b := buildWorld(t.Context(), t, env.Tenant("neighbour"), fullWorld())
	for _, name := range []string{"clerks", "night"} {
		_, err := b.env.Engine.CreateGroup(t.Context(), b.env.Ann, api.GroupRequest{Name: name}, "")
		must(t, err)
		give(t, b.env, api.GrantRequest{Group: name, Right: "view", Process: "car"})
	}
	b.users, b.groups = append(b.users, worldNames...), []string{"clerks", "night"}
	for i, name := range worldNames {
		_, err := b.env.Engine.InviteUser(t.Context(), b.env.Ann, api.UserRequest{Name: name, Kind: "user"}, "")
		must(t, err)
		for range i {
			give(t, b.env, api.GrantRequest{User: name, Right: "view", Process: "home"})
		}
	}
	b.given(t.Context(), t)
	return b
}
