package export_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/export"
	"github.com/underseal/underseal/internal/fault"
)

var update = flag.Bool("update", false, "write the vectors anew")

var origin = export.Origin{Tenant: "main", Version: "1.2.3"}

// vector is an entry and its lines.
type vector struct {
	Name  string         `json:"name"`
	Entry api.AuditEntry `json:"entry"`
	OCSF  map[string]any `json:"ocsf"` // without what is unmapped, the entry itself
	CEF   string         `json:"cef"`
}

func TestVectors(t *testing.T) {
	path := filepath.Join("testdata", "vectors.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) < 12 {
		t.Fatalf("only %d vectors", len(all))
	}
	for i := range all {
		v := &all[i]
		if v.Entry.Details != nil {
			var compact bytes.Buffer
			if err := json.Compact(&compact, v.Entry.Details); err != nil {
				t.Fatal(err)
			}
			v.Entry.Details = compact.Bytes()
		}
		t.Run(v.Name, func(t *testing.T) {
			var back api.AuditEntry
			if err := json.Unmarshal([]byte(line(t, export.JSONL, v.Entry)), &back); err != nil || !reflect.DeepEqual(back, v.Entry) {
				t.Errorf("as JSON it is read as %+v (%v), want %+v", back, err, v.Entry)
			}
			var event map[string]any
			if err := json.Unmarshal([]byte(line(t, export.OCSF, v.Entry)), &event); err != nil {
				t.Fatal(err)
			}
			delete(event, "unmapped")
			cef := line(t, export.CEF, v.Entry)
			if *update {
				v.OCSF, v.CEF = event, cef
				return
			}
			if !reflect.DeepEqual(event, v.OCSF) {
				t.Errorf("as OCSF it is\n%v, want\n%v", event, v.OCSF)
			}
			if cef != v.CEF {
				t.Errorf("as CEF it is\n%s, want\n%s", cef, v.CEF)
			}
		})
	}
	if *update {
		var out bytes.Buffer
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(all); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// line returns the line of an entry, of which there must be one.
func line(t interface{ Fatalf(string, ...any) }, f export.Format, e api.AuditEntry) string {
	data, err := f.Append(nil, origin, e)
	if err != nil {
		t.Fatalf("%s: %v", f, err)
	}
	text, ok := strings.CutSuffix(string(data), "\n")
	if !ok || strings.ContainsAny(text, "\n\r\u2028\u2029\x00") {
		t.Fatalf("%s writes %q, want one line", f, data)
	}
	return text
}

// demanded are the attributes that a class demands, of OCSF 1.1.
var demanded = map[float64][]string{
	3001: {"user"}, 3002: {"user", "service"}, 3004: {"entity"}, 3005: {"user", "privileges"}, 6003: {"actor", "api", "src_endpoint"},
}

func TestEventsHaveWhatTheirClassDemands(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var e map[string]any
		if err := json.Unmarshal([]byte(line(t, export.OCSF, drawEntry(t))), &e); err != nil {
			t.Fatalf("%v", err)
		}
		class, activity := e["class_uid"].(float64), e["activity_id"].(float64)
		more, known := demanded[class]
		if !known || e["type_uid"] != class*100+activity || e["category_uid"] != float64(int(class)/1000) {
			t.Fatalf("class %v, activity %v, type %v, category %v", class, activity, e["type_uid"], e["category_uid"])
		}
		for _, name := range append(more, "severity_id", "status_id", "time", "metadata", "activity_name") {
			if e[name] == nil || e[name] == "" {
				t.Fatalf("an event of class %v lacks %s", class, name)
			}
		}
		metadata := e["metadata"].(map[string]any)
		if metadata["version"] != "1.1.0" || metadata["product"].(map[string]any)["vendor_name"] != "Underseal" {
			t.Fatalf("the metadata are %v", metadata)
		}
	})
}

func drawEntry(t *rapid.T) api.AuditEntry {
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", `a|b`, `a=b`, `a\b`, "a\nb", "a\r\nb cs1=x", "\u2028", "\x00", "|CEF:0|", "\xff"}))
	e := api.AuditEntry{
		Entry: "2026/7", Kind: rapid.SampledFrom([]string{
			"data.shown", "access.denied", "sign_in.failed", "session.ended", "principal.invited", "principal.changed", "role.given", "grant.revoked",
			"instance.started", "key.destroyed", "integrity.alarm", "audit.exported", "x", "",
		}).Draw(t, "kind"),
		At: time.UnixMicro(rapid.Int64Range(0, 4e15).Draw(t, "at")).UTC(), Act: rapid.SampledFrom([]string{"user", "engine", "admin", "worker"}).Draw(t, "act"),
		Result: rapid.SampledFrom([]string{"done", "denied", "failed"}).Draw(t, "result"), Leaf: "ab",
		Principal: text.Draw(t, "principal"), Address: text.Draw(t, "address"), Reason: text.Draw(t, "reason"), Purpose: text.Draw(t, "purpose"), Object: text.Draw(t, "object"),
	}
	if rapid.Bool().Draw(t, "shown") {
		e.Shown = []api.AuditShown{{Object: text.Draw(t, "of"), Paths: []string{text.Draw(t, "path")}}}
	}
	return e
}

// TestNothingInAnEntryEndsItsField reads CEF as its rules say and finds what went in.
func TestNothingInAnEntryEndsItsField(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEntry(t)
		header, pairs, ok := readCEF(line(t, export.CEF, e))
		if !ok || len(header) != 7 || header[0] != "CEF:0" || header[1] != "Underseal" || header[4] != e.Kind {
			t.Fatalf("the header is %q", header)
		}
		for key, want := range map[string]string{"suser": e.Principal, "src": e.Address, "reason": e.Reason, "cs2": e.Object, "cs6": e.Purpose, "cs1": "main"} {
			if pairs[key] != readable(want) {
				t.Fatalf("%s is %q, want %q", key, pairs[key], readable(want))
			}
		}
	})
}

// readable is what a text is told as: without control characters but line breaks.
func readable(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\r' && (r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd"))
}

// readCEF reads a line: a header of seven fields, and pairs whose keys stand before an
// equals sign that is not escaped.
func readCEF(text string) (header []string, pairs map[string]string, ok bool) {
	for len(header) < 7 {
		field, rest, found := cutUnescaped(text, '|')
		if !found {
			return header, nil, false
		}
		header, text = append(header, unescaped(field)), rest
	}
	pairs = map[string]string{}
	key, text, found := cutUnescaped(text, '=')
	for found {
		value, rest, more := cutUnescaped(text, '=')
		next := ""
		if more {
			space := strings.LastIndexByte(value, ' ')
			if space < 0 {
				return header, nil, false
			}
			value, next = value[:space], value[space+1:]
		}
		if _, twice := pairs[key]; twice {
			return header, nil, false
		}
		pairs[key], key, text, found = unescaped(value), next, rest, more
	}
	return header, pairs, true
}

func cutUnescaped(text string, end byte) (before, after string, found bool) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case end:
			return text[:i], text[i+1:], true
		}
	}
	return text, "", false
}

func unescaped(text string) string {
	return strings.NewReplacer(`\\`, `\`, `\|`, `|`, `\=`, `=`, `\n`, "\n", `\r`, "\r").Replace(text)
}

func TestParseFormat(t *testing.T) {
	for name, want := range map[string]export.Format{"": export.JSONL, "jsonl": export.JSONL, "ocsf": export.OCSF, "cef": export.CEF} {
		if got, err := export.ParseFormat(name); got != want || err != nil {
			t.Errorf("ParseFormat(%q) = %q, %v", name, got, err)
		}
	}
	if _, err := export.ParseFormat("xml"); !fault.Is(err, fault.Invalid) {
		t.Errorf("ParseFormat(xml): %v", err)
	}
}
