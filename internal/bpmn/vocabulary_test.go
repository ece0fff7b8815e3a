package bpmn_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/bpmn"
	"github.com/underseal/underseal/internal/feel"
	"github.com/underseal/underseal/internal/process"
)

// picture writes a definition down, so that two can be compared.
func picture(d *process.Definition) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q %s %v %s %+v\n", d.ID, d.Name, d.Policy.Mode, d.Policy.Default, d.Policy.Retention, d.Policy.Fields)
	for _, e := range d.Elements {
		fmt.Fprintf(&b, "%s %q kind %d in %d, flows %v %v default %d", e.ID, e.Name, e.Kind, e.Parent, e.Incoming, e.Outgoing, e.Default)
		for _, m := range slices.Concat(e.Inputs, e.Outputs) {
			fmt.Fprintf(&b, " map %s -> %s", source(m.Source), m.Target)
		}
		if e.Job != nil {
			fmt.Fprintf(&b, " job %s retries %s headers %v signed %t", source(e.Job.Type), source(e.Job.Retries), e.Job.Headers, e.Job.Signed)
		}
		if e.User != nil {
			fmt.Fprintf(&b, " user %s groups %s users %s due %s form %q", source(e.User.Assignee), source(e.User.CandidateGroups),
				source(e.User.CandidateUsers), source(e.User.DueDate), e.User.FormKey)
		}
		if e.Script != nil {
			fmt.Fprintf(&b, " script %s -> %s", source(e.Script.Expression), e.Script.Result)
		}
		if e.Timer != nil {
			fmt.Fprintf(&b, " timer %d %s", e.Timer.Kind, source(e.Timer.Expression))
		}
		if e.Error != nil {
			fmt.Fprintf(&b, " error %q", e.Error.Code)
		}
		fmt.Fprintf(&b, " at %d %v %v\n", e.AttachedTo, e.Interrupting, e.Boundaries)
	}
	for _, f := range d.Flows {
		fmt.Fprintf(&b, "%s %d -> %d if %s\n", f.ID, f.From, f.To, source(f.Condition))
	}
	return b.String()
}

func source(e *feel.Expression) string {
	if e == nil {
		return "-"
	}
	return "{" + strings.TrimSpace(e.Source()) + "}"
}

// outcome is what a model compiles to, or what stands against it.
func outcome(m *bpmn.Model) string {
	definitions, err := bpmn.Compile(m)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, d := range definitions {
		b.WriteString(picture(d))
	}
	return b.String()
}

// examples are the models that use every honored word.
func examples(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.bpmn")
	if err != nil || len(files) == 0 {
		t.Fatalf("no models in testdata: %v", err)
	}
	return append(files, "../../examples/loan/loan.bpmn")
}

// TestWordsDoWhatTheTablesSay takes every word out of every model, one at a time.
// Without one that has no effect the same must come out; and for every honored
// word there must be a place where without it something else does.
func TestWordsDoWhatTheTablesSay(t *testing.T) {
	does, idles, _ := bpmn.Words()
	mattered := map[bpmn.Word]bool{}
	for _, file := range examples(t) {
		whole := outcome(parseFile(t, file))
		if strings.Contains(whole, "against it") {
			t.Fatalf("%s does not compile: %s", file, whole)
		}
		for i := 0; ; i++ {
			m := parseFile(t, file)
			word, ok := takeOut(m, i)
			if !ok {
				break
			}
			got := outcome(m)
			mattered[word] = mattered[word] || got != whole
			if got != whole && slices.Contains(idles, word) {
				t.Errorf("%s: without %s:%s something else comes out:\n%s", file, word.Namespace, word.Name, got)
			}
		}
	}
	for _, word := range does {
		if !mattered[word] {
			t.Errorf("%s:%s is honored, and in no model it makes a difference", word.Namespace, word.Name)
		}
	}
}

// takeOut removes the i-th extension element or attribute of a model.
func takeOut(m *bpmn.Model, i int) (word bpmn.Word, ok bool) {
	m.Root.Walk(func(n *bpmn.Node) bool {
		if ok {
			return false
		}
		own := bpmn.Prefix(n.Space)
		for k, a := range n.Attrs {
			prefix, name := bpmn.Prefix(a.Space), "@"+a.Name
			if own != "" && a.Space == "" {
				prefix, name = own, n.Name+" "+a.Name
			}
			if prefix == "" {
				continue
			}
			if i--; i < 0 && !ok {
				word, ok = bpmn.Word{Namespace: prefix, Name: name}, true
				n.Attrs = slices.Delete(n.Attrs, k, k+1)
				return false
			}
		}
		if own != "" {
			if i--; i < 0 {
				word, ok = bpmn.Word{Namespace: own, Name: n.Name}, true
				n.Parent.Children = slices.DeleteFunc(slices.Clone(n.Parent.Children), func(c *bpmn.Node) bool { return c == n })
				return false
			}
		}
		return true
	})
	return word, ok
}

func TestDesignPageNamesEveryHonoredWord(t *testing.T) {
	page, err := os.ReadFile("../../docs/design/bpmn.md")
	if err != nil {
		t.Fatal(err)
	}
	does, _, _ := bpmn.Words()
	for _, word := range does {
		for name := range strings.FieldsSeq(strings.TrimPrefix(word.Name, "@")) {
			if !strings.Contains(string(page), "`"+name+"`") {
				t.Errorf("docs/design/bpmn.md does not name %s of %s", name, word.Namespace)
			}
		}
	}
}

func TestEveryRefusalHasAReason(t *testing.T) {
	reasons := bpmn.Reasons()
	if len(reasons) == 0 {
		t.Fatal("the tables refuse nothing")
	}
	for row, reason := range reasons {
		if !strings.HasPrefix(reason, "is ") {
			t.Errorf("%s is refused with %q, which does not finish the sentence", row, reason)
		}
	}
}

func TestTablesHaveEveryElementOfTheModels(t *testing.T) {
	files := append(conformance(t, "miwg/*.bpmn"), conformance(t, "betsy/*/*.bpmn")...)
	for _, file := range files {
		parseFile(t, file).Root.Walk(func(n *bpmn.Node) bool {
			if n.Space == bpmn.NamespaceBPMN && !bpmn.Known(n.Name) {
				t.Errorf("%s:%d: <%s> is in no table", filepath.Base(file), n.Line, n.Name)
			}
			return n.Space == bpmn.NamespaceBPMN
		})
	}
}
