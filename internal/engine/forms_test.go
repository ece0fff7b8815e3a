package engine_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
)

// A form must not make the server read a file or call another one.
func TestAFormPointsToNoOtherDocument(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	file := filepath.Join(t.TempDir(), "other.json")
	if err := os.WriteFile(file, []byte(`{"type": "object"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{"file://" + file, "http://127.0.0.1:1/other.json", "other.json"} {
		files := []api.File{
			{Name: "loan.bpmn", Content: []byte(example(t, "loan.bpmn"))},
			{Name: "decide.schema.json", Content: []byte(`{"$ref": "` + place + `"}`)},
		}
		if _, err := env.Engine.Deploy(t.Context(), env.Ann, files, ""); !fault.Is(err, fault.Invalid) {
			t.Errorf("a form that points to %s: %v, want Invalid", place, err)
		}
	}
}

// Rules about several fields together hold on the server, whatever a client checked.
func TestAFormSaysWhatBelongsTogether(t *testing.T) {
	env := testenv.New(t, nil)
	form := `{"type": "object", "dependentRequired": {"iban": ["owner"]},
		"properties": {"country": {"enum": ["CH", "DE"]}, "zip": {"type": "string"}, "iban": {"type": "string"}, "owner": {"type": "string"}},
		"if": {"properties": {"country": {"const": "CH"}}}, "then": {"properties": {"zip": {"pattern": "^[0-9]{4}$"}}}, "else": {"properties": {"zip": {"pattern": "^[0-9]{5}$"}}}}`
	if err := deployAsking(t, env, form); err != nil {
		t.Fatal(err)
	}
	id := env.Start("asking", `{}`)
	for _, entered := range []string{`{"country": "CH", "zip": "80331"}`, `{"country": "DE", "zip": "8001"}`, `{"iban": "CH93"}`} {
		if _, err := env.Engine.CompleteTask(t.Context(), env.Ann, env.Task(id).ID, []byte(entered), ""); fault.CodeOf(err) != "form_violation" {
			t.Errorf("%s: %v, want a form violation", entered, err)
		}
	}
	if _, err := env.Engine.CompleteTask(t.Context(), env.Ann, env.Task(id).ID, []byte(`{"country": "CH", "zip": "8001", "iban": "CH93", "owner": "Zoe"}`), ""); err != nil {
		t.Errorf("what fits together: %v", err)
	}
}

// What a form names is shown to who does the task, so it names no more than it describes.
func TestWhatAFormNames(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, form, want string }{
		{"nothing", `{}`, ""},
		{"properties", `{"properties": {"b": {"type": "string"}, "a": true}}`, "a b"},
		{"the parts that are described", `{"properties": {"a": {"properties": {"x": {}, "y": {"properties": {"z": {}}}}}}}`, "a.x a.y.z"},
		{"all of what is not described", `{"properties": {"a": {"type": "object"}}}`, "a"},
		{"a name as paths spell it", `{"properties": {"a.b": {"properties": {"[]": {}}}}}`, "a%2Eb.%5B%5D"},
		{"no property that may not be there", `{"properties": {"a": false, "b": {}}}`, "b"},
		{"items", `{"properties": {"a": {"items": {"properties": {"x": {}}}}, "b": {"items": {"type": "string"}}, "c": {"prefixItems": [{"properties": {"y": {}}}]}}}`, "a[].x b[] c[].y"},
		{"what stands elsewhere", `{"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"properties": {"x": {}}}}}`, "a.x"},
		{"alternatives", `{"anyOf": [{"properties": {"a": {}}}], "oneOf": [{"properties": {"b": {}}}], "allOf": [{"properties": {"c": {}}}], "if": {"properties": {"n": {}}}, "then": {"properties": {"d": {}}}, "else": {"properties": {"e": {}}}, "dependentSchemas": {"m": {"properties": {"f": {}}}}}`, "c a b d e f"},
		{"a restriction beside a description", `{"properties": {"a": {"properties": {"x": {}}, "allOf": [{"required": ["x"]}]}}}`, "a.x"},
		{"nothing that is denied", `{"not": {"properties": {"a": {}}}}`, ""},
		{"no further than it refers to itself", `{"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"properties": {"x": {}, "next": {"$ref": "#/$defs/a"}}}}}`, "a.next a.x"},
		{"a file", `{"properties": {"a": {"x-file": true}}}`, "a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			names, err := engine.FormNames([]byte(test.form))
			if got := strings.Join(names, " "); err != nil || got != test.want {
				t.Errorf("names %q, %v; want %q", got, err, test.want)
			}
		})
	}
}

// Forms can be written so that they name more than any memory holds, or nothing for very
// long.
func TestAFormNamesNoEndOfThings(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		each        string // refers to the next one, N
		least, most int
	}{
		"properties":   {`{"properties": {"x": {"$ref": "N"}, "y": {"$ref": "N"}, "z": {"$ref": "N"}}}`, 1, 1000},
		"restrictions": {`{"allOf": [{"$ref": "N"}, {"$ref": "N"}, {"$ref": "N"}]}`, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			form := `{"properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": {`
			for i := range 20 {
				form += fmt.Sprintf(`"d%d": %s, `, i, strings.ReplaceAll(test.each, "N", fmt.Sprintf("#/$defs/d%d", i+1)))
			}
			names, err := engine.FormNames([]byte(form + `"d20": {}}}`))
			if err != nil || len(names) < test.least || len(names) > test.most {
				t.Errorf("%d names, %v; want %d to %d", len(names), err, test.least, test.most)
			}
		})
	}
}
