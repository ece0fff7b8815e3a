package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
	"github.com/underseal/underseal/internal/testenv"
)

// pastCare is an instance of care with a past: what its fields held and what they were
// when they did, step by step. Every value that was ever written is another one.
type pastCare struct {
	*care
	sensitive []map[string]bool   // by step, from 1 on: of each field that there was then
	values    []map[string]string // by step: as JSON
}

// newPast makes one of a mode. Its note is open at first, then has what a worker wrote who
// was given everything, and then is open again; remark ends as such a one.
func newPast(t *testing.T, mode string) *pastCare {
	t.Helper()
	w := &pastCare{care: &care{Env: testenv.New(t, nil)}, sensitive: make([]map[string]bool, 1), values: make([]map[string]string, 1)}
	w.Deploy("care.bpmn", strings.Replace(careModel, `isExecutable="true"`, `isExecutable="true" seal:mode="`+mode+`"`, 1), "pay.schema.json", payForm)
	w.instance = w.Env.Start("care", `{"company": "A", "note": "note 1", "remark": "remark 1", "iban": "iban 1",
		"patient": {"id": "p-1", "diagnosis": "flu 1", "ward": "ward 1"}, "people": [{"name": "Eve 1", "phone": "phone 1"}]}`)
	w.snap(t)
	set := func(variables string) func() (api.Receipt, error) {
		return func() (api.Receipt, error) {
			return w.Engine.SetVariables(t.Context(), w.Ann, w.instance, []byte(variables), "")
		}
	}
	for _, do := range []func() (api.Receipt, error){
		set(`{"note": "note 2", "iban": "iban 2", "patient": {"id": "p-1", "diagnosis": "flu 2", "ward": "ward 2"}}`),
		func() (api.Receipt, error) {
			w.work = w.Job("work")
			return w.Engine.CompleteJob(t.Context(), w.Ann, w.work.ID, api.CompleteJobRequest{Lease: w.work.Lease, Variables: []byte(`{"note": "note 3", "remark": "remark 3", "other": "other 3"}`)}, "")
		},
		set(`{"note": "note 4", "other": "other 4"}`),
		func() (api.Receipt, error) {
			tasks, err := w.Engine.Tasks(t.Context(), w.Ann, engine.TaskFilter{}, pageOf(10))
			if err != nil || len(tasks.Items) != 2 {
				t.Fatalf("%d tasks, %v", len(tasks.Items), err)
			}
			w.pay = tasks.Items[slices.IndexFunc(tasks.Items, func(task api.Task) bool { return task.Element == "pay" })].ID
			return w.Engine.SaveTask(t.Context(), w.Ann, w.pay, []byte(`{"iban": "draft 5"}`), "")
		},
		func() (api.Receipt, error) {
			failing, none := w.Job("fail"), 0
			return w.Engine.FailJob(t.Context(), w.Ann, failing.ID, api.FailJobRequest{Lease: failing.Lease, Retries: &none, Message: "message 6"}, "")
		},
		set(`{"note": "note 7", "people": "people 7"}`),
	} {
		if _, err := do(); err != nil {
			t.Fatal(err)
		}
		w.snap(t)
	}
	erase(t, w.Env, "subject", "p-1")
	if _, err := w.Engine.CompleteTask(t.Context(), w.Ann, w.pay, []byte(`{"paid": true, "iban": "iban 8"}`), ""); err != nil {
		t.Fatal(err)
	}
	w.snap(t)
	return w
}

// snap keeps what the newest step left.
func (w *pastCare) snap(t *testing.T) {
	t.Helper()
	now, err := w.Engine.Instance(t.Context(), w.Ann, w.instance)
	if err != nil || now.Seq != uint64(len(w.sensitive)) {
		t.Fatalf("step %d after %d, %v", now.Seq, len(w.sensitive)-1, err)
	}
	is := map[string]bool{}
	for _, f := range now.Fields {
		class, _ := process.ParseClass(f.Class)
		is[f.Path] = process.Label{Class: class, Subjects: f.Subjects}.Sensitive()
	}
	w.sensitive = append(w.sensitive, is)
	steps := w.export(t, w.Ann).Steps
	w.values = append(w.values, valuesOf(t, steps[len(steps)-1]))
}

func (w *pastCare) export(t fataler, c engine.Caller) api.Export {
	t.Helper()
	all, err := w.Engine.Export(context.Background(), c, w.instance)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// valuesOf are the values of a step of an export.
func valuesOf(t fataler, step api.Step) map[string]string {
	t.Helper()
	var all map[string]json.RawMessage
	if err := json.Unmarshal(step.Values, &all); err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for path, value := range all {
		texts[path] = string(value)
	}
	return texts
}

// closed reports whether a value that a step wrote is to be masked: the field was
// sensitive then, or later.
func (w *pastCare) closed(path string, seq uint64) bool {
	return slices.ContainsFunc(w.sensitive[seq:], func(is map[string]bool) bool { return is[path] })
}

// What was open when it was written, and in the field ever since, is shown to whoever may
// read it, in both modes alike; all else is masked, also when the field has ended.
func TestWhatAViewerSeesOfThePast(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"standard", "confidential"} {
		t.Run(mode, func(t *testing.T) {
			w := newPast(t, mode)
			vic := w.person(t, "vic", "Viewer")
			export := w.export(t, vic)
			got := map[string]string{}
			for _, step := range export.Steps {
				for path, value := range valuesOf(t, step) {
					if path != "$actor" {
						got[fmt.Sprint(step.Seq, " ", path)] = value
					}
				}
			}
			want := map[string]string{
				"1 company": `"A"`, "1 @10/firm": `"A"`, "1 patient": `{"ward":"ward 1"}`, "2 patient": `{"ward":"ward 2"}`, "4 note": `"note 4"`,
				"4 other": `"other 4"`, "7 note": `"note 7"`,
			}
			if !maps.Equal(got, want) {
				t.Errorf("shown is %v, want %v", got, want)
			}
			if first := export.Steps[0].Masked; !slices.Equal(first, []string{"iban", "note", "people", "people[0].phone", "remark"}) {
				t.Errorf("masked of the first step: %v", first)
			}
		})
	}
}

// Whoever asks, and for whatever purpose: the past shows what is decided about it, and in
// both modes nothing in clear that was sensitive when it was written or later, or that the
// instance masks.
func TestThePastShowsWhatIsDecided(t *testing.T) {
	t.Parallel()
	policies, err := access.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	for _, mode := range []string{"standard", "confidential"} {
		t.Run(mode, func(t *testing.T) {
			w := newPast(t, mode)
			erased := map[string]bool{}
			for _, step := range w.export(t, w.Ann).Steps {
				for _, path := range step.Erased {
					erased[fmt.Sprint(step.Seq, path)] = true
				}
			}
			if len(erased) < 4 {
				t.Fatalf("erased are %v", erased)
			}
			rapid.Check(t, func(t *rapid.T) {
				who := anybody(t)
				c := engine.AdmitMadeUp(w.Engine, w.Ann, who)
				c.Purpose = rapid.SampledFrom([]string{"", "a reason"}).Draw(t, "purpose")
				in := access.Circumstances{Now: at, Network: true, Purpose: c.Purpose}
				on := access.Resource{Kind: access.Instance, ID: w.instance, Tenant: "main", Process: "care", Values: map[string]string{"company": "A"}}
				if !policies.Decide(c.Who, access.ExportInstance, on, in).Allowed {
					if _, err := w.Engine.Export(context.Background(), c, w.instance); !fault.Is(err, fault.Denied) && !fault.Is(err, fault.NotFound) {
						t.Fatalf("who may not export gets %v", err)
					}
					return
				}
				export := w.export(t, c)
				for _, step := range export.Steps {
					shown := valuesOf(t, step)
					for path, value := range w.values[step.Seq] {
						of, sensitive := on, w.closed(path, step.Seq) && !strings.HasPrefix(path, "$actor")
						of.Kind, of.Field = access.Field, process.PolicyPath(path)
						reads := policies.Decide(c.Who, access.ReadValue, of, in).Allowed
						clear := reads && (!sensitive || policies.Decide(c.Who, access.RevealValue, of, in).Allowed) && !erased[fmt.Sprint(step.Seq, path)]
						got, isShown := shown[path]
						isMasked := slices.Contains(step.Masked, path)
						if isShown != clear || isShown && got != value || isMasked != (reads && !clear && !erased[fmt.Sprint(step.Seq, path)]) {
							t.Fatalf("step %d: of %s is decided: read %t, clear %t; shown %q, masked %t", step.Seq, path, reads, clear, got, isMasked)
						}
						if isShown && slices.Contains(export.Masked, path) {
							t.Fatalf("step %d shows %s, which the instance masks", step.Seq, path)
						}
					}
					for path := range shown {
						if _, known := w.values[step.Seq][path]; !known {
							t.Fatalf("step %d shows %s, which it did not write", step.Seq, path)
						}
					}
				}
			})
		})
	}
}

// Evidence discloses of a step what the history shows of it.
func TestEvidenceOfThePast(t *testing.T) {
	t.Parallel() // it waits for the log
	for _, mode := range []string{"standard", "confidential"} {
		w := newPast(t, mode)
		vic := w.person(t, "vic", "Viewer")
		ask := func(step int, field string) error {
			_, err := testenv.Proven(func() ([]byte, error) {
				return w.Engine.Evidence(t.Context(), vic, api.EvidenceRequest{Instance: w.instance, Step: step, Fields: []string{field}})
			})
			return err
		}
		for _, test := range []struct {
			step  int
			field string
			code  string
		}{{1, "company", ""}, {1, "iban", "masked"}, {1, "note", "masked"}, {3, "note", "erased"}, {4, "note", ""}, {1, "remark", "masked"}, {1, "people", "masked"}} {
			if err := ask(test.step, test.field); fault.CodeOf(err) != test.code {
				t.Errorf("%s: evidence of %s at step %d: %v, want %q", mode, test.field, test.step, err, test.code)
			}
		}
	}
}
