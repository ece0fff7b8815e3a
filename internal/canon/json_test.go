package canon_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// pointer returns the place of an error's only detail.
func pointer(t *testing.T, err error) string {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || len(f.Details) != 1 {
		t.Fatalf("%v has not one detail", err)
	}
	return f.Details[0].Place
}

// These cannot stand in the vectors, which are UTF-8 themselves.
func TestDecodeJSONRefusesWhatIsNotText(t *testing.T) {
	for _, test := range []struct{ name, text, pointer string }{
		{"bad UTF-8 in a string", "{\"a\":\"\xff\"}", "/a"},
		{"bad UTF-8 in a string with escapes", "{\"a\":\"\\n\xff\"}", "/a"},
		{"bad UTF-8 in a name", "{\"\xff\":1}", ""},
		{"a surrogate in UTF-8", "[\"\xed\xa0\x80\"]", "/0"},
		{"an overlong slash", "[\"\xc0\xaf\"]", "/0"},
		{"UTF-16", "\xff\xfe[\x00]\x00", ""},
		{"NUL", "\x00", ""},
		{"NUL behind the value", "1\x00", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := canon.DecodeJSON([]byte(test.text))
			if !fault.Is(err, fault.Invalid) {
				t.Fatalf("decoded %v, %v; want invalid", got, err)
			}
			if place := pointer(t, err); place != test.pointer {
				t.Errorf("pointer %q, want %q", place, test.pointer)
			}
		})
	}
}

func TestDecodeJSONTakes128Levels(t *testing.T) {
	nested := func(n int) []byte { return []byte(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	if _, err := canon.DecodeJSON(nested(128)); err != nil {
		t.Error(err)
	}
	_, err := canon.DecodeJSON(nested(129))
	if !fault.Is(err, fault.Invalid) {
		t.Fatalf("129 levels: %v, want invalid", err)
	}
	if want := strings.Repeat("/0", 128); pointer(t, err) != want {
		t.Errorf("pointer %q", pointer(t, err))
	}
	if _, err := canon.DecodeJSON(bytes.Repeat([]byte("["), 10_000_000)); !fault.Is(err, fault.Invalid) {
		t.Errorf("10 million levels: %v, want invalid", err)
	}
}

func TestErrorsDoNotShowValues(t *testing.T) {
	for _, text := range []string{
		`{"ssn":"078-05-1120\x"}`, `{"ssn":"078-05-1120`, `{"ssn":078051120}`, `{"a":1,"a":"078-05-1120"}`,
		`{"ssn":078-05-1120}`, `["078-05-1120" "x"]`, `{"ssn":10780511201078051120107805112010780511201}`,
	} {
		_, err := canon.DecodeJSON([]byte(text))
		if err == nil || strings.Contains(err.Error(), "0511") || strings.Contains(err.Error(), "05-11") {
			t.Errorf("%s: %v", text, err)
		}
		_, err = canon.Decode([]byte(text))
		if err == nil || strings.Contains(err.Error(), "0511") || strings.Contains(err.Error(), "05-11") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestWhatDecodeJSONAcceptsEncodingJSONAcceptsToo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := []byte(rapid.StringOfN(rapid.RuneFrom([]rune(`{}[]",:\u0dfe1-.+ ntrulase`)), 0, 12, -1).Draw(t, "text"))
		if _, err := canon.DecodeJSON(text); err == nil && !json.Valid(text) {
			t.Fatalf("%q is accepted and no JSON", text)
		}
	})
}

// FuzzDecodeJSON looks for a panic, an input that encoding/json refuses, a value
// that does not survive encoding, and an error that is not Invalid.
func FuzzDecodeJSON(f *testing.F) {
	for _, name := range []string{"json_accept.json", "json_refuse.json"} {
		for _, v := range load(f, name) {
			f.Add([]byte(v.Text))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := canon.DecodeJSON(data)
		if err != nil {
			if v != nil || !fault.Is(err, fault.Invalid) {
				t.Errorf("refused with %v, %v", v, err)
			}
			return
		}
		if !json.Valid(data) {
			t.Errorf("%q is no JSON", data)
		}
		if again, err := canon.Decode(canon.Encode(v)); err != nil || !canon.Equal(again, v) {
			t.Errorf("%s decodes to %v, %v", canon.Encode(v), again, err)
		}
		if again, err := canon.DecodeJSON(canon.EncodeJSON(v)); err != nil || !canon.Equal(again, v) {
			t.Errorf("%s decodes to %v, %v", canon.EncodeJSON(v), again, err)
		}
	})
}
