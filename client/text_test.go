package client_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/client"
)

// inner, label and named are types that encoding/json has rules of its own for.
type inner struct {
	Note string
	Bad  string `json:"-"`
	bad  string
}

type label struct{ text string }

func (l label) MarshalText() ([]byte, error) { return []byte(l.text), nil }

type pointed struct{ text string }

func (p *pointed) MarshalText() ([]byte, error) { return []byte(p.text), nil }

// encoding/json would mend text that is not UTF-8 without a word, and something else
// than was given would be kept and signed.
func TestTextThatIsNotUTF8IsNotSent(t *testing.T) {
	const bad = "secret\xff"
	for _, c := range []struct {
		name  string
		value any
		place string
	}{
		{"a value", map[string]any{"a": 1, "note": bad}, "/variables/note"},
		{"a cut character", map[string]any{"note": "caf\xc3"}, "/variables/note"},
		{"half of a surrogate pair", map[string]any{"note": "\xed\xa0\x80"}, "/variables/note"},
		{"a name", map[string]any{"a": map[string]int{bad: 1}}, "/variables/a"},
		{"a name of the first level", map[string]any{bad: 1}, "/variables"},
		{"the first of two", map[string]any{"b": bad, "a": bad}, "/variables/a"},
		{"below lists and names", map[string]any{"a": []any{1, map[string]any{"x/y~": []string{"", bad}}}}, "/variables/a/1/x~1y~0/1"},
		{"an array", map[string]any{"a": [2]string{"", bad}}, "/variables/a/1"},
		{"a number's name", map[string]any{"a": map[int]string{7: bad}}, "/variables/a/7"},
		{"a name that makes its text", map[string]any{"a": map[label]int{{bad}: 7}}, "/variables/a"},
		{"a field", struct{ Note string }{bad}, "/variables/Note"},
		{"a field with a name", struct {
			Note string `json:"note,omitempty"`
		}{bad}, "/variables/note"},
		{"an embedded field", struct{ inner }{inner{Note: bad}}, "/variables/Note"},
		{"an embedded field with a name", struct {
			inner `json:"in"`
		}{inner{Note: bad}}, "/variables/in/Note"},
		{"a pointer", map[string]any{"a": &inner{Note: bad}}, "/variables/a/Note"},
		{"what makes its text", map[string]any{"a": label{bad}}, "/variables/a"},
		{"what makes its text by a pointer", &struct{ A pointed }{pointed{bad}}, "/variables/A"},
		{"JSON", map[string]any{"a": json.RawMessage(`{"b":"` + bad + `"}`)}, "/variables/a/b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := newClient(t, func(*http.Request) (*http.Response, error) {
				t.Error("the call was sent")
				return answer(200, api.Receipt{})
			})
			_, err := cl.Start(t.Context(), api.StartRequest{Process: "p", Variables: client.Variables(c.value)})
			e, ok := err.(*client.Error)
			if !ok || !client.IsInvalid(err) || client.Code(err) != "not_utf8" || len(e.Errors) != 1 || e.Errors[0].Place != c.place {
				t.Errorf("Start = %v, want not_utf8 at %s", err, c.place)
			}
			if err != nil && bytes.Contains([]byte(err.Error()), []byte("secret")) {
				t.Errorf("the error holds the value: %v", err)
			}
		})
	}
	t.Run("no variable", func(t *testing.T) {
		cl := newClient(t, func(*http.Request) (*http.Response, error) { return answer(200, api.Receipt{}) })
		_, err := cl.Start(t.Context(), api.StartRequest{Process: "p", BusinessKey: bad})
		if e, ok := err.(*client.Error); !ok || !client.IsInvalid(err) || e.Errors[0].Place != "/business_key" {
			t.Errorf("Start = %v, want not_utf8 at /business_key", err)
		}
	})
}

// What is UTF-8, and what is no text, is sent as encoding/json makes it.
func TestVariablesAreSentAsTheyAre(t *testing.T) {
	var none *pointed
	for _, value := range []any{
		map[string]any{"replaced": "\ufffd", "escaped": json.RawMessage(`"\ufffd"`), "ü": "\u2028"},
		map[string]any{"bytes": []byte{0xff}, "fixed": [1]byte{0xff}, "at": time.Unix(0, 0).UTC(), "none": none, "nil": nil},
		inner{Note: "a", Bad: "\xff", bad: "\xff"},
		map[int]any{1: json.Number("1.50"), 2: label{"a"}},
		struct{ Own json.Marshaler }{},
	} {
		variables, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(api.StartRequest{Process: "p", Variables: variables})
		if err != nil {
			t.Fatal(err)
		}
		var sent []byte
		cl := newClient(t, func(r *http.Request) (*http.Response, error) {
			sent, _ = io.ReadAll(r.Body)
			return answer(200, api.Receipt{})
		})
		if _, err := cl.Start(t.Context(), api.StartRequest{Process: "p", Variables: client.Variables(value)}); err != nil || !bytes.Equal(sent, want) {
			t.Errorf("sent %s, %v; want %s", sent, err, want)
		}
	}
}
