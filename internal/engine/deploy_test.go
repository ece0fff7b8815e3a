package engine_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
)

// A set of files is deployed whole or not at all, and every finding names its file.
func TestASetOfFilesIsDeployedWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	file := func(name, content string) api.File { return api.File{Name: name, Content: []byte(content)} }
	loan, form := file("loan.bpmn", example(t, "loan.bpmn")), file("decide.schema.json", example(t, "decide.schema.json"))
	tests := []struct {
		name  string
		files []api.File
		want  []string // how the findings begin
	}{
		{"a model that is not executed", []api.File{loan, form, file("b.bpmn", "<definitions/>")}, []string{"b.bpmn:1: "}},
		{"two models of one process", []api.File{loan, form, file("b.bpmn", example(t, "loan.bpmn"))}, []string{"b.bpmn: process loan is in two"}},
		{"a form that is missing", []api.File{loan}, []string{"loan.bpmn:"}},
		{"a form that is no JSON", []api.File{loan, file("decide.schema.json", "{")}, []string{"decide.schema.json: "}},
		{"a form with a name twice", []api.File{loan, file("decide.schema.json", `{"type": "object", "type": "array"}`)}, []string{"decide.schema.json /type: "}},
		{"a form that is no schema", []api.File{loan, file("decide.schema.json", `{"type": "objekt"}`)}, []string{"decide.schema.json: "}},
		{"a form that nothing names", []api.File{loan, form, file("other.json", `{}`)}, []string{"other.json: no user task"}},
		{"a form beside a broken model", []api.File{form, file("b.bpmn", "<definitions/>")}, []string{"b.bpmn:1: "}},
		{"forms alone", []api.File{form}, []string{"files: there is no BPMN model"}},
		{"a file twice", []api.File{loan, form, form}, []string{"decide.schema.json: file names must"}},
		{"a file in a directory", []api.File{loan, form, file("../b.bpmn", "")}, []string{"../b.bpmn: file names must"}},
		{"neither model nor form", []api.File{loan, form, file("notes.txt", "")}, []string{"notes.txt: the file is neither"}},
		{"each with a finding", []api.File{file("a.bpmn", "<definitions/>"), file("b.bpmn", ""), file("c.json", "{")}, []string{"a.bpmn:1: ", "b.bpmn:1: ", "c.json: "}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := env.Engine.Deploy(t.Context(), env.Ann, test.files, "")
			if got := refusedFor(t, err); !slices.EqualFunc(got, test.want, strings.HasPrefix) {
				t.Errorf("findings are %q, want %q", got, test.want)
			}
		})
	}
	deployed, err := env.Engine.Processes(t.Context(), env.Ann, engine.Page{})
	if err != nil || len(deployed.Items) != 0 {
		t.Errorf("%d processes are there, %v, want none", len(deployed.Items), err)
	}
}

// refusedFor are the findings of a deployment that was refused.
func refusedFor(t *testing.T, err error) []string {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Code != "invalid_deployment" {
		t.Fatalf("Deploy gave %v, want invalid_deployment", err)
	}
	var list []string
	for _, d := range f.Details {
		list = append(list, d.Place+": "+d.Message)
	}
	return list
}
