package engine_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
)

const asking = `<?xml version="1.0"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" targetNamespace="x">
<process id="asking" isExecutable="true">
<startEvent id="start"/><sequenceFlow id="a" sourceRef="start" targetRef="ask"/>
<userTask id="ask"><extensionElements><zeebe:formDefinition formKey="ask.json"/></extensionElements></userTask>
</process></definitions>`

func deployAsking(t *testing.T, env *testenv.Env, form string) error {
	t.Helper()
	_, err := env.Engine.Deploy(t.Context(), env.Ann, []api.File{
		{Name: "ask.bpmn", Content: []byte(asking)}, {Name: "ask.json", Content: []byte(form)},
	}, "")
	return err
}

// TestAFormAsksForAFile enters files of all kinds into a form, and what is none.
func TestAFormAsksForAFile(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	for _, draft := range []string{"", `"$schema": "http://json-schema.org/draft-07/schema#",`, `"$schema": "https://json-schema.org/draft/2020-12/schema",`} {
		form := `{` + draft + ` "type": "object", "required": ["scan"], "additionalProperties": false, "properties": {
			"scan": {"x-file": {"accept": ["application/pdf", "image/*"], "maxSize": 1e3}},
			"any": {"x-file": true}, "not": {"x-file": false}}}`
		if err := deployAsking(t, env, form); err != nil {
			t.Fatal(err)
		}
		file := func(media string, n int) string {
			u, err := env.Engine.PutFile(t.Context(), env.Ann, engine.Incoming{Name: "n", Type: media, Body: bytes.NewReader(content(n))})
			if err != nil {
				t.Fatal(err)
			}
			return named(u.File)
		}
		id := env.Start("asking", `{}`)
		task := env.Task(id).ID
		for _, c := range []struct{ entered, want string }{
			{`{"scan": "a.pdf"}`, "/variables/scan must be a file"},
			{`{"scan": {"name": "a.pdf", "type": "application/pdf", "size": 1}}`, "/variables/scan must be a file"},
			{`{"scan": ` + file("text/html", 5) + `}`, "/variables/scan must be a file of type application/pdf or image/*"},
			{`{"scan": ` + file("imagex/png", 5) + `}`, "/variables/scan must be a file of type"},
			{`{"scan": ` + file("image/png", 1001) + `}`, "/variables/scan must be a file of at most 1000 bytes"},
			{`{"scan": ` + file("application/pdf; x=y", 1000) + `, "any": 1}`, "/variables/any must be a file"},
			{`{"scan": ` + file("Image/PNG", 1000) + `, "any": ` + file("text/html", 9999) + `, "not": 1}`, ""},
		} {
			_, err := env.Engine.CompleteTask(t.Context(), env.Ann, task, []byte(c.entered), "")
			if got := finding(err); c.want == "" && err != nil || !strings.HasPrefix(got, c.want) {
				t.Errorf("entered %s: %v, want %q", c.entered, err, c.want)
			}
		}
		if got := len(env.Instance(id).Files); got != 2 {
			t.Errorf("the instance has %d files, want the two that were accepted", got)
		}
	}
}

// finding is the first finding of a refusal.
func finding(err error) string {
	var f *fault.Error
	if !errors.As(err, &f) || len(f.Details) == 0 {
		return ""
	}
	return f.Details[0].Place + " " + f.Details[0].Message
}

func TestAMalformedFileKeywordIsRefused(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	for _, rule := range []string{`"yes"`, `1`, `null`, `{"maxsize": 1}`, `{"maxSize": 0}`, `{"maxSize": 1.5}`, `{"accept": []}`, `{"accept": ["pdf"]}`, `{"accept": "image/*"}`} {
		if err := deployAsking(t, env, `{"properties": {"a": {"x-file": `+rule+`}}}`); !fault.Is(err, fault.Invalid) {
			t.Errorf(`"x-file": %s: %v, want Invalid`, rule, err)
		}
	}
}
