package engine_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
)

// A form must not make the server read a file or call another one.
func TestAFormPointsToNoOtherDocument(t *testing.T) {
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
