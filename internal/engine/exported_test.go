package engine_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/testenv"
)

// What an instance was ever told is in its export, also what no variable holds any
// more; and the log says of each path that it was exported.
func TestAnExportIsAllData(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	ctx := t.Context()
	env.Deploy("all.bpmn", everything)
	id := env.Start("everything", `{"note": "at first", "other": 1}`)
	task := env.Task(id).ID
	for _, do := range []func() (api.Receipt, error){
		func() (api.Receipt, error) {
			return env.Engine.SetVariables(ctx, env.Ann, id, []byte(`{"note": "then"}`), "")
		},
		func() (api.Receipt, error) {
			return env.Engine.SaveTask(ctx, env.Ann, task, []byte(`{"answer": "unsure"}`), "")
		},
		func() (api.Receipt, error) {
			job, none := env.Job("fail"), 0
			return env.Engine.FailJob(ctx, env.Ann, job.ID, api.FailJobRequest{Lease: job.Lease, Message: "no such bureau", Retries: &none}, "")
		},
	} {
		if _, err := do(); err != nil {
			t.Fatal(err)
		}
	}
	env.Complete(id, `{"answer": "yes"}`) // the draft is gone with the task
	export, err := env.Engine.Export(ctx, env.Ann, id)
	if err != nil {
		t.Fatal(err)
	}
	text, paths := written(t, export)
	for _, value := range []string{"at first", "then", "unsure", "no such bureau", "yes", `"principal":"ann"`} {
		if !strings.Contains(text, value) {
			t.Errorf("the export lacks %q: %s", value, text)
		}
	}
	told := entriesOf(t, env, "data.exported")
	if len(told) != 1 {
		t.Fatalf("%d exports are in the log, want 1", len(told))
	}
	shown := string(canon.EncodeJSON(told[0].Fields["$shown"]))
	for path := range paths {
		if !strings.Contains(shown, `"`+path+`"`) {
			t.Errorf("the log does not tell that %s was exported: %s", path, shown)
		}
	}
}

// The keys of files and what was erased are in no export.
func TestAnExportHoldsNoKeysAndNothingErased(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", classified)
	file := put(t, env, env.Ann, content(10)).File
	id := env.Start("classified", `{"shoe": `+named(file)+`, "room": "B2", "person": {"id": "p-1", "diagnosis": "flu"}}`)
	before, err := env.Engine.Export(t.Context(), env.Ann, id)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := written(t, before)
	if !strings.Contains(text, "flu") || !strings.Contains(text, "payslip.pdf") || strings.Contains(text, "secret") {
		t.Errorf("the export holds %s, want the person's data and no key of the file", text)
	}
	erase(t, env, "subject", "p-1")
	after, err := env.Engine.Export(t.Context(), env.Ann, id)
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := written(t, after); strings.Contains(text, "flu") || strings.Contains(text, "payslip") || !strings.Contains(text, "B2") {
		t.Errorf("the export holds %s, want nothing of the person and all else", text)
	}
}

// written is the export as text, and the paths whose values its steps have.
func written(t *testing.T, export api.Export) (text string, paths map[string]bool) {
	t.Helper()
	data, err := json.Marshal(export)
	if err != nil {
		t.Fatal(err)
	}
	paths = map[string]bool{}
	for _, step := range export.Steps {
		var values map[string]json.RawMessage
		if err := json.Unmarshal(step.Values, &values); err != nil {
			t.Fatal(err)
		}
		for path := range values {
			paths[path] = true
		}
	}
	return string(data), paths
}
