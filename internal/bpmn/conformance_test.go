package bpmn_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/text/encoding/charmap"

	"github.com/underseal/underseal/internal/bpmn"
)

// conformance returns the files of the conformance material that match; it skips
// when no folder is named, and fails when the folder has none.
func conformance(t *testing.T, pattern string) []string {
	t.Helper()
	dir, set := os.LookupEnv("UNDERSEAL_CONFORMANCE")
	if !set {
		t.Skip("UNDERSEAL_CONFORMANCE is not set: the models of others are left out")
	}
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("UNDERSEAL_CONFORMANCE=%s has no %s: %v", dir, pattern, err)
	}
	return files
}

func parseFile(t testing.TB, file string) *bpmn.Model {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	m, err := bpmn.Parse(filepath.Base(file), data)
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return m
}

func TestModelsAreImportedWithoutLoss(t *testing.T) {
	files := append(conformance(t, "miwg/*.bpmn"), conformance(t, "camunda/*.bpmn")...)
	if len(files) < 23 {
		t.Fatalf("found %d models, want 21 of MIWG and 2 of Camunda", len(files))
	}
	shapes, edges := 0, 0
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			m := parseFile(t, file)
			want := rawCounts(t, file)
			got := modelCounts(m)
			for name, n := range want {
				if got[name] != n {
					t.Errorf("%v: %d in the model, %d in the file", name, got[name], n)
				}
			}
			if len(got) != len(want) {
				t.Errorf("model has %d kinds of elements and attributes, the file %d", len(got), len(want))
			}
			s, e := checkDiagram(t, m)
			shapes, edges = shapes+s, edges+e
		})
	}
	if shapes == 0 || edges == 0 {
		t.Errorf("%d shapes and %d edges in all files, want both", shapes, edges)
	}
}

// counted is an element or, with attr, one of its attributes.
type counted struct{ space, name, attr string }

func modelCounts(m *bpmn.Model) map[counted]int {
	counts := map[counted]int{}
	m.Root.Walk(func(n *bpmn.Node) bool {
		counts[counted{n.Space, n.Name, ""}]++
		for _, a := range n.Attrs {
			counts[counted{n.Space, n.Name, a.Space + " " + a.Name}]++
		}
		return true
	})
	return counts
}

// rawCounts counts with Go's own handling of namespaces, not with ours.
func rawCounts(t *testing.T, file string) map[counted]int {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(bytes.NewReader(data))
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return charmap.ISO8859_1.NewDecoder().Reader(in), nil }
	counts := map[counted]int{}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return counts
		}
		if err != nil {
			t.Fatal(err)
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		counts[counted{start.Name.Space, start.Name.Local, ""}]++
		for _, a := range start.Attr {
			if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" {
				counts[counted{start.Name.Space, start.Name.Local, a.Name.Space + " " + a.Name.Local}]++
			}
		}
	}
}

// checkDiagram asks that what is drawn leads to what is modeled, as far as the
// file itself does.
func checkDiagram(t *testing.T, m *bpmn.Model) (shapes, edges int) {
	m.Root.Walk(func(n *bpmn.Node) bool {
		if n.Space != bpmn.NamespaceDI || n.Name != "BPMNShape" && n.Name != "BPMNEdge" {
			return true
		}
		if n.Name == "BPMNShape" {
			shapes++
		} else {
			edges++
		}
		id := n.Attr("bpmnElement")
		local := id[strings.LastIndex(id, ":")+1:]
		if local != "" && n.Ref("bpmnElement") == nil && m.Find(local) != nil {
			t.Errorf("line %d: %s is of %q, and the reference was not resolved", n.Line, n.Name, id)
		}
		return true
	})
	return shapes, edges
}

func TestReferencesOfTheModelsAreResolved(t *testing.T) {
	resolved, dangling := 0, 0
	for _, file := range conformance(t, "miwg/*.bpmn") {
		m := parseFile(t, file)
		m.Root.Walk(func(n *bpmn.Node) bool {
			for _, r := range n.Refs {
				if n.Space != bpmn.NamespaceBPMN || r.External || strings.HasSuffix(r.Name, "structureRef") {
					continue
				}
				if r.To != nil {
					resolved++
					continue
				}
				dangling++
				t.Logf("%s:%d: %s of <%s> leads nowhere: %q", m.Name, n.Line, r.Name, n.Name, r.ID)
			}
			return true
		})
	}
	t.Logf("%d references resolved", resolved)
	if resolved == 0 || dangling > 0 {
		t.Error("every reference of these models leads somewhere")
	}
}

// TestInvoiceIsRefusedWithAllReasons is Camunda 7's own example: what in it is
// Java, DMN or a call is named, all at once.
func TestInvoiceIsRefusedWithAllReasons(t *testing.T) {
	files := conformance(t, "camunda/invoice.v2.bpmn")
	_, err := bpmn.Compile(parseFile(t, files[0]))
	if err == nil {
		t.Fatal("invoice compiled")
	}
	got := details(t, err)
	for _, want := range []string{
		"invoice.v2.bpmn:30 approveInvoice: dueDate \"${dateTime().plusWeeks(1).toDate()}\": 1:11: calls are not translated",
		"invoice.v2.bpmn:33 approveInvoice: camunda:taskListener is not executed",
		"invoice.v2.bpmn:38 approveInvoice: camunda:taskListener is not executed",
		"invoice.v2.bpmn:56 prepareBankTransfer: dueDate",
		"invoice.v2.bpmn:66 assignApprover: camunda:decisionRef is not executed",
		"invoice.v2.bpmn:70 StartEvent_1: camunda:formKey does nothing on a startEvent",
		"invoice.v2.bpmn:79 ServiceTask_1: camunda:class is not executed",
		"invoice.v2.bpmn:83 reviewInvoice: a callActivity is not executed",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no reason %q in\n%s", want, got)
		}
	}
}
