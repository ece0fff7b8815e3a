package bpmn_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"

	"github.com/underseal/underseal/internal/bpmn"
)

func TestHostileFilesAreRefused(t *testing.T) {
	nested := func(depth int) string {
		return header + strings.Repeat("<documentation>", depth) + strings.Repeat("</documentation>", depth) + "</definitions>"
	}
	attributes := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, ` a%d=""`, i)
		}
		return header + "<documentation" + b.String() + "/></definitions>"
	}
	laughs := `<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;">]>` + header + `&lol2;</definitions>`

	tests := []struct {
		name, file, place, reason string
	}{
		{"a billion laughs", laughs, "t.bpmn:1", "<!DOCTYPE"},
		{"an external entity", "<?xml version=\"1.0\"?>\n<!DOCTYPE d SYSTEM \"file:///etc/passwd\">" + model(""), "t.bpmn:2", "document types and entities are not read"},
		{"a document type in lower case", "<!doctype d>" + model(""), "t.bpmn:1", "<!doctype"},
		{"an entity declaration inside", header + `<!ENTITY a "b"></definitions>`, "t.bpmn:1", "<!ENTITY"},
		{"an entity nobody declared", model(`<documentation>&nbsp;</documentation>`), "t.bpmn:2", "invalid character entity &nbsp;"},
		{"a processing instruction", model("") + `<?php echo 1 ?>`, "t.bpmn:3", "<?php?>"},
		{"an XML declaration inside", model(`<?xml version="1.0" encoding="iso-8859-1"?>`), "t.bpmn:2", "<?xml?>"},
		{"nesting over 256", nested(bpmn.MaxDepth), "t.bpmn:1", "nested more than 256 deep"},
		{"a million levels", header + strings.Repeat("<a>", 1_000_000), "t.bpmn:1", "nested more than 256 deep"},
		{"more than 1,000 attributes", attributes(bpmn.MaxAttributes + 1), "t.bpmn:1", "has 1001 attributes"},
		{"200,000 attributes", attributes(200_000), "t.bpmn:1", "has 200000 attributes"},
		{"more than 20,000 elements", header + strings.Repeat("<documentation/>", bpmn.MaxElements) + "</definitions>", "t.bpmn:1", "more than 20000 elements"},
		{"more than 5 MiB", model(strings.Repeat(" ", bpmn.MaxBytes)), "t.bpmn:1", "at most 5242880 are read"},
		{"namespaces without end", header + namespaces(300) + "</definitions>", "t.bpmn:1", "more than 256 namespaces in scope"},
		{"a prefix nobody declared", model(`<x:process/>`), "t.bpmn:2", "<x:process> has a prefix that nothing declares"},
		{"an attribute's prefix nobody declared", model(`<process x:id="1"/>`), "t.bpmn:2", "attribute x:id of <process> has a prefix"},
		{"a prefix out of scope", model("<process xmlns:x=\"urn:x\"/>\n<x:process/>"), "t.bpmn:3", "<x:process> has a prefix"},
		{"an attribute twice", model(`<process id="a" id="b"/>`), "t.bpmn:2", `has its attribute "id" twice`},
		{"an attribute twice under two prefixes", model(`<process xmlns:a="urn:x" xmlns:b="urn:x" a:id="a" b:id="b"/>`), "t.bpmn:2", `"id" twice`},
		{"tags that cross", model(`<process><startEvent></process></startEvent>`), "t.bpmn:2", "closes </process> inside <startEvent> of line 2"},
		{"an end without a start", "</definitions>", "t.bpmn:1", "which is not open"},
		{"a file that ends early", header + "\n<process>", "t.bpmn:2", "ends inside <process>"},
		{"two roots", model("") + model(""), "t.bpmn:3", "second root"},
		{"text beside the root", model("") + "x", "t.bpmn:3", "text outside its root"},
		{"nothing", "", "t.bpmn:1", "holds no element"},
		{"another language", `<definitions xmlns="urn:dmn"/>`, "t.bpmn:1", `is no BPMN 2.0 model: its root is <definitions> of namespace "urn:dmn"`},
		{"bytes that are not UTF-8", model("<documentation>\xff</documentation>"), "t.bpmn:2", "invalid UTF-8"},
		{"an encoding nobody knows", `<?xml version="1.0" encoding="klingon"?>` + model(""), "t.bpmn:1", `"klingon" is not known`},
		{"UTF-16 that is none", `<?xml version="1.0" encoding="utf-16"?>` + model(""), "t.bpmn:1", "the file is not UTF-16"},
		{"bytes its encoding has not", "<?xml version=\"1.0\" encoding=\"windows-1253\"?>" + model("<documentation>\xd2</documentation>"), "t.bpmn:1", "not valid in its encoding"},
		{"a control character", model("<documentation>\x01</documentation>"), "t.bpmn:2", "illegal character"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, err := bpmn.Parse("t.bpmn", []byte(test.file))
			if err == nil {
				t.Fatalf("Parse gave %v, want a refusal", m.Root.Name)
			}
			if got := details(t, err); !strings.HasPrefix(got, test.place+": ") || !strings.Contains(got, test.reason) {
				t.Errorf("Parse said %q, want it at %q with %q", got, test.place, test.reason)
			}
		})
	}
	t.Run("just inside the limits", func(t *testing.T) {
		parse(t, nested(bpmn.MaxDepth-1))
		parse(t, attributes(bpmn.MaxAttributes))
		parse(t, header+strings.Repeat("<documentation/>", bpmn.MaxElements-1)+"</definitions>")
		text := model("")
		parse(t, text+strings.Repeat(" ", bpmn.MaxBytes-len(text)))
	})
}

func namespaces(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, ` xmlns:n%d="urn:x"`, i)
	}
	return "<documentation" + b.String() + "/>"
}

func TestEncodings(t *testing.T) {
	const name = "Größe prüfen"
	text := model(`<process id="p" name="` + name + `"/>`)
	declared := func(encoding string) string { return `<?xml version="1.0" encoding="` + encoding + `"?>` + "\n" + text }
	latin := func(s string) string { b, _ := charmap.ISO8859_1.NewEncoder().String(s); return b }
	wide := func(e unicode.Endianness, bom unicode.BOMPolicy, s string) string {
		b, _ := unicode.UTF16(e, bom).NewEncoder().String(s)
		return b
	}
	tests := []struct{ name, file string }{
		{"UTF-8", text},
		{"UTF-8 declared", declared("utf-8")},
		{"UTF-8 with a byte order mark", "\xef\xbb\xbf" + declared("UTF-8")},
		{"ISO 8859-1", latin(declared("ISO-8859-1"))},
		{"windows-1252", latin(declared("windows-1252"))},
		{"UTF-16 little-endian", wide(unicode.LittleEndian, unicode.UseBOM, declared("UTF-16"))},
		{"UTF-16 big-endian", wide(unicode.BigEndian, unicode.UseBOM, declared("utf-16"))},
		{"UTF-16 without a mark", wide(unicode.LittleEndian, unicode.IgnoreBOM, declared("UTF-16LE"))},
		{"UTF-16 that says it is UTF-8", wide(unicode.BigEndian, unicode.UseBOM, declared("UTF-8"))},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, err := bpmn.Parse("t.bpmn", []byte(test.file))
			if err != nil {
				t.Fatal(err)
			}
			if got := m.Find("p").Attr("name"); got != name {
				t.Errorf("name is %q, want %q", got, name)
			}
		})
	}
}

func TestParseKeepsTheWholeModel(t *testing.T) {
	m := parse(t, `<a:definitions xmlns:a="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:t="urn:test" xmlns:far="urn:far" targetNamespace="urn:test">
<a:process id="p">
  <a:startEvent
     id="s"><a:outgoing>t:f</a:outgoing></a:startEvent>
  <a:endEvent id="e"/>
  <a:sequenceFlow id="f" sourceRef="s" targetRef="e"/>
  <a:callActivity id="c" default="nowhere"/>
  <a:extensionElements><x:y xmlns:x="urn:x" deep="1"><x:z>text</x:z></x:y></a:extensionElements>
</a:process>
<a:message id="m" itemRef="far:item"/>
<di:BPMNDiagram xmlns:di="http://www.omg.org/spec/BPMN/20100524/DI" id="d"><di:BPMNShape id="s1" bpmnElement="t:s"/><di:BPMNEdge id="e1" bpmnElement="f" sourceElement="s1"/></di:BPMNDiagram>
</a:definitions>`)

	t.Run("elements have the line of their start tag", func(t *testing.T) {
		for id, want := range map[string]int{"p": 2, "s": 3, "e": 5, "f": 6, "m": 10} {
			if got := m.Find(id).Line; got != want {
				t.Errorf("line of %s is %d, want %d", id, got, want)
			}
		}
	})
	t.Run("references are resolved, with and without prefix", func(t *testing.T) {
		if got := m.Find("f").Ref("sourceRef"); got != m.Find("s") {
			t.Errorf("sourceRef leads to %v, want the start event", got)
		}
		if got := m.Find("s").First("outgoing").Ref(""); got != m.Find("f") {
			t.Errorf("outgoing leads to %v, want the flow", got)
		}
		diagram := m.Root.Children[2]
		if got := diagram.Children[0].Ref("bpmnElement"); got != m.Find("s") {
			t.Errorf("shape is of %v, want the start event", got)
		}
		if got := diagram.Children[1].Ref("sourceElement"); got != diagram.Children[0] {
			t.Errorf("edge begins at %v, want the shape", got)
		}
	})
	t.Run("names of other files are external, not dangling", func(t *testing.T) {
		if refs := m.Find("m").Refs; len(refs) != 1 || !refs[0].External || refs[0].To != nil {
			t.Errorf("message has references %+v, want one that is external", refs)
		}
	})
	t.Run("foreign extensions are kept", func(t *testing.T) {
		y := m.Find("p").First("extensionElements").Children[0]
		if y.Space != "urn:x" || y.Attr("deep") != "1" || y.Children[0].Text != "text" {
			t.Errorf("extension is %+v", y)
		}
	})
	t.Run("the hash is of the original bytes", func(t *testing.T) {
		m, err := bpmn.Parse("t.bpmn", []byte("\xef\xbb\xbf"+model("")))
		if err != nil {
			t.Fatal(err)
		}
		if plain := parse(t, model("")); len(m.Hash) != 64 || m.Hash == plain.Hash {
			t.Errorf("hash %q does not tell the byte order mark", m.Hash)
		}
	})
}

// FuzzParse looks for files that crash Parse or Compile, or get past the limits.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.bpmn")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds in testdata: %v", err)
	}
	for _, file := range append(files, "../../examples/loan/loan.bpmn") {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>`))
	f.Add([]byte("\xff\xfe<\x00a\x00>\x00"))
	f.Add([]byte(inProcess(`<sequenceFlow id="f" sourceRef="start" targetRef="end"><conditionExpression>${a[0].b["c"] ? !empty d : -1 lt 2}</conditionExpression></sequenceFlow>`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := bpmn.Parse("f.bpmn", data)
		if err != nil {
			details(t, err)
			return
		}
		elements := 0
		m.Root.Walk(func(n *bpmn.Node) bool {
			if elements++; elements > bpmn.MaxElements || len(n.Attrs) > bpmn.MaxAttributes {
				t.Fatalf("element %d with %d attributes got past the limits", elements, len(n.Attrs))
			}
			if n.Line < 1 || n.Parent == nil && n != m.Root {
				t.Fatalf("<%s> has line %d and parent %v", n.Name, n.Line, n.Parent)
			}
			return true
		})
		if _, err := bpmn.Compile(m); err != nil {
			details(t, err)
		}
	})
}
