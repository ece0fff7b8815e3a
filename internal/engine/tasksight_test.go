package engine_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
)

// roomsModel is a process with a task beside a room, in which there is a variable of its
// own, and another task.
const roomsModel = `<?xml version="1.0"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" xmlns:seal="urn:underseal:bpmn:1" targetNamespace="x">
<process id="rooms" isExecutable="true">
<extensionElements><seal:policy default="internal"><seal:field path="scan" class="confidential"/></seal:policy></extensionElements>
<startEvent id="start"/><sequenceFlow id="f0" sourceRef="start" targetRef="split"/>
<parallelGateway id="split"/>
<sequenceFlow id="f1" sourceRef="split" targetRef="outside"/><sequenceFlow id="f2" sourceRef="split" targetRef="room"/>
<userTask id="outside"><extensionElements><zeebe:userTask/><zeebe:formDefinition formKey="rooms.schema.json"/></extensionElements></userTask>
<subProcess id="room"><extensionElements><zeebe:ioMapping><zeebe:input source="=null" target="scan"/><zeebe:input source="=null" target="note"/></zeebe:ioMapping></extensionElements>
<startEvent id="in"/><sequenceFlow id="g0" sourceRef="in" targetRef="fill"/>
<serviceTask id="fill"><extensionElements><zeebe:taskDefinition type="fill"/></extensionElements></serviceTask>
<sequenceFlow id="g1" sourceRef="fill" targetRef="inside"/>
<userTask id="inside"><extensionElements><zeebe:userTask/><zeebe:formDefinition formKey="rooms.schema.json"/></extensionElements></userTask>
</subProcess>
</process></definitions>`

const roomsForm = `{"type": "object", "properties": {"scan": {}, "note": {}}}`

// Who does a task sees of files those that stand in what the task sees, and in its draft:
// none of a scope inside, and none of the draft of another task, whatever its form names.
func TestADoerSeesNoFileOfAnotherTask(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	w := &care{Env: env}
	env.Deploy("rooms.bpmn", roomsModel, "rooms.schema.json", roomsForm)
	w.instance = env.Start("rooms", `{}`)
	files := map[string]string{}
	for _, name := range []string{"scan", "note", "draft"} {
		files[name] = put(t, env, env.Ann, []byte("of the room")).File
	}
	env.Work("fill", `{"scan": `+named(files["scan"])+`, "note": `+named(files["note"])+`}`)
	tasks, err := env.Engine.Tasks(t.Context(), env.Ann, engine.TaskFilter{}, pageOf(10))
	if err != nil || len(tasks.Items) != 2 {
		t.Fatalf("%d tasks, %v", len(tasks.Items), err)
	}
	at := map[string]string{}
	for _, task := range tasks.Items {
		at[task.Element] = task.ID
	}
	if _, err := env.Engine.SaveTask(t.Context(), env.Ann, at["inside"], []byte(`{"scan": `+named(files["draft"])+`}`), ""); err != nil {
		t.Fatal(err)
	}
	out := w.person(t, "out", "", api.GrantRequest{Right: "work", Process: "rooms", Task: "outside"})
	in := w.person(t, "ina", "", api.GrantRequest{Right: "work", Process: "rooms", Task: "inside"})
	for name, file := range files {
		t.Run(name, func(t *testing.T) {
			if _, err := env.Engine.File(t.Context(), out, w.instance, file); !fault.Is(err, fault.NotFound) {
				t.Errorf("who does the task outside: %v, want NotFound", err)
			}
			_, err := env.Engine.SaveTask(t.Context(), out, at["outside"], []byte(`{"note": `+named(file)+`}`), "")
			if fault.CodeOf(err) != "file_claimed" {
				t.Errorf("who names it in the task outside: %v, want file_claimed", err)
			}
			d, err := env.Engine.File(t.Context(), in, w.instance, file)
			if err != nil || !strings.HasSuffix(bytesOf(t, d), "of the room") {
				t.Errorf("who does the task inside: %v, want the file", err)
			}
		})
	}
}

// Who does a task is told which of what it shows was erased, and of no path of a scope
// inside, nor of the draft of another task.
func TestATaskNamesOfWhatWasErasedWhatItShows(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("rooms.bpmn", strings.NewReplacer(
		`</seal:policy>`, `<seal:field path="person.id" class="internal"/><seal:field path="person.diagnosis" class="regulated" subject="person.id"/></seal:policy>`,
		`<zeebe:input source="=null" target="note"/>`, `<zeebe:input source="=person.diagnosis" target="note"/>`,
	).Replace(roomsModel), "rooms.schema.json", roomsForm)
	id := env.Start("rooms", `{"person": {"id": "p-1", "diagnosis": "flu"}}`)
	env.Work("fill", `{}`)
	tasks, err := env.Engine.Tasks(t.Context(), env.Ann, engine.TaskFilter{}, pageOf(10))
	if err != nil || len(tasks.Items) != 2 {
		t.Fatalf("%d tasks, %v", len(tasks.Items), err)
	}
	for _, task := range tasks.Items {
		if _, err := env.Engine.SaveTask(t.Context(), env.Ann, task.ID, []byte(`{"note": "looks ill"}`), ""); err != nil {
			t.Fatal(err)
		}
	}
	erase(t, env, "subject", "p-1")
	if all := erasedPaths(env.Instance(id)); len(strings.Fields(all)) != 5 {
		t.Fatalf("of the instance were erased %s, want the person, what the room has of them, and both drafts", all)
	}
	for _, task := range tasks.Items {
		seen, err := env.Engine.Task(t.Context(), env.Ann, task.ID)
		want := []string{"@" + task.ID[strings.Index(task.ID, ".")+1:] + "/$draft", "person.diagnosis", "person.id"}
		if task.Element == "inside" {
			want = append([]string{"@4/note"}, want...)
		}
		if err != nil || !slices.Equal(seen.Erased, want) {
			t.Errorf("the task %s names %v, %v; want %v", task.Element, seen.Erased, err, want)
		}
	}
}
