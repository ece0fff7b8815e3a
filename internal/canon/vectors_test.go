package canon_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// vector is one case of a file in testdata. Without kind it is accepted.
type vector struct {
	Name    string `json:"name"`
	Text    string `json:"text"`              // the input
	Type    string `json:"type,omitempty"`    // TypeName of the value
	Canon   string `json:"canon,omitempty"`   // its encoding
	JSON    string `json:"json,omitempty"`    // as ordinary JSON
	Kind    string `json:"kind,omitempty"`    // of the error
	Pointer string `json:"pointer,omitempty"` // to what is wrong
}

// load reads vectors and fails when there are none.
func load(t testing.TB, name string) (vectors []vector) {
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &vectors); err != nil {
		t.Fatalf("testdata/%s: %v", name, err)
	}
	if len(vectors) == 0 {
		t.Fatalf("testdata/%s has no vectors", name)
	}
	return vectors
}

// forEach runs a test for every vector of a file.
func forEach(t *testing.T, name string, test func(*testing.T, vector)) {
	for _, v := range load(t, name) {
		t.Run(v.Name, func(t *testing.T) { test(t, v) })
	}
}

func TestCanonVectorsDecode(t *testing.T) {
	forEach(t, "canon_accept.json", func(t *testing.T, v vector) {
		got, err := canon.Decode([]byte(v.Text))
		if err != nil {
			t.Fatal(err)
		}
		if canon.TypeName(got) != v.Type {
			t.Errorf("type %s, want %s", canon.TypeName(got), v.Type)
		}
		if again := string(canon.Encode(got)); again != v.Text {
			t.Errorf("encodes again as %s", again)
		}
		if plain := string(canon.EncodeJSON(got)); plain != v.JSON {
			t.Errorf("as JSON %s, want %s", plain, v.JSON)
		}
	})
}

func TestCanonVectorsAreRefused(t *testing.T) {
	forEach(t, "canon_refuse.json", func(t *testing.T, v vector) {
		got, err := canon.Decode([]byte(v.Text))
		if got != nil || !fault.Is(err, fault.Integrity) || v.Kind != "integrity" {
			t.Errorf("decoded %v, %v; want %s", got, err, v.Kind)
		}
	})
}

func TestJSONVectorsDecode(t *testing.T) {
	forEach(t, "json_accept.json", func(t *testing.T, v vector) {
		got, err := canon.DecodeJSON([]byte(v.Text))
		if err != nil {
			t.Fatal(err)
		}
		if encoded := string(canon.Encode(got)); encoded != v.Canon {
			t.Errorf("encodes as %s, want %s", encoded, v.Canon)
		}
		again, err := canon.DecodeJSON(canon.EncodeJSON(got))
		if err != nil || !canon.Equal(again, got) {
			t.Errorf("as JSON %s, which gives %v, %v", canon.EncodeJSON(got), again, err)
		}
	})
}

func TestJSONVectorsAreRefused(t *testing.T) {
	forEach(t, "json_refuse.json", func(t *testing.T, v vector) {
		got, err := canon.DecodeJSON([]byte(v.Text))
		if got != nil || !fault.Is(err, fault.Invalid) || v.Kind != "invalid" {
			t.Fatalf("decoded %v, %v; want %s", got, err, v.Kind)
		}
		if place := pointer(t, err); place != v.Pointer {
			t.Errorf("pointer %q, want %q", place, v.Pointer)
		}
		if canon.CheckJSON([]byte(v.Text)) == nil {
			t.Error("CheckJSON accepts it")
		}
	})
}
