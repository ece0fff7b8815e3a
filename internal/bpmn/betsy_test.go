package bpmn_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/bpmn"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
)

var update = flag.Bool("update", false, "write testdata/betsy.txt anew")

// betsyProcess is one process of betsy with its cases, as cases.json has them.
type betsyProcess struct {
	ID, Name, File string
	Cases          []betsyCase
}

type betsyCase struct {
	Expect          []string
	Test            string
	IntegerVariable int
	DelayMS         int `json:"delay_ms"`
	ParallelProcess bool
}

// TestBetsy runs betsy's cases over the interpreter in virtual time. Each case
// either passes or is refused when it is deployed, for the reasons that
// testdata/betsy.txt names; a case that deploys and does something else fails.
func TestBetsy(t *testing.T) {
	cases := conformance(t, "betsy/cases.json")[0]
	data, err := os.ReadFile(cases)
	if err != nil {
		t.Fatal(err)
	}
	var processes []betsyProcess
	if err := json.Unmarshal(data, &processes); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, p := range processes {
		for i, c := range p.Cases {
			got[fmt.Sprintf("%s#%d", p.ID, i+1)] = betsyStatus(t, filepath.Join(filepath.Dir(cases), p.File), p.Name, c)
		}
	}
	if len(got) < 210 {
		t.Fatalf("%d cases ran, want 210", len(got))
	}
	if *update {
		writeStatuses(t, got)
	}
	want := readStatuses(t)
	passes := 0
	for _, id := range slices.Sorted(maps.Keys(got)) {
		if got[id] != want[id] {
			t.Errorf("%s %s\nthe list has %q", id, got[id], want[id])
		}
		if got[id] == "passes" {
			passes++
		}
		delete(want, id)
	}
	for id := range want {
		t.Errorf("the list has %s, which is no case", id)
	}
	t.Logf("%d cases: %d pass, %d refused", len(got), passes, len(got)-passes)
}

const betsyList = "testdata/betsy.txt"

func readStatuses(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile(betsyList)
	if err != nil {
		t.Fatal(err)
	}
	statuses := map[string]string{}
	for line := range strings.Lines(string(data)) {
		id, status, _ := strings.Cut(strings.TrimSpace(line), " ")
		if _, twice := statuses[id]; twice {
			t.Errorf("%s has %s twice", betsyList, id)
		}
		if status != "passes" && !strings.HasPrefix(status, "refused: ") {
			t.Errorf("%s: %s is neither passed nor refused: %s", betsyList, id, status)
		}
		statuses[id] = status
	}
	return statuses
}

func writeStatuses(t *testing.T, statuses map[string]string) {
	t.Helper()
	var b bytes.Buffer
	for _, id := range slices.Sorted(maps.Keys(statuses)) {
		fmt.Fprintln(&b, id, statuses[id])
	}
	if err := os.WriteFile(betsyList, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// betsyStatus is "passes", "refused: " with the reasons, or what went differently.
func betsyStatus(t *testing.T, file, name string, c betsyCase) string {
	m := parseFile(t, file)
	translateBetsy(t, m)
	definitions, err := bpmn.Compile(m)
	if err != nil {
		return "refused: " + reasons(t, err)
	}
	d := definitions[0]
	for _, candidate := range definitions {
		if candidate.ID == name {
			d = candidate
		}
	}
	r := betsyRun{t: t, d: d, s: process.NewState(), started: map[uint64]time.Time{}}
	trace := r.run(c)
	slices.Sort(trace)
	want := slices.Sorted(slices.Values(c.Expect))
	if !slices.Equal(trace, want) {
		return fmt.Sprintf("differs: %v, want %v", trace, want)
	}
	return "passes"
}

// reasons are the distinct messages of a refusal, without places.
func reasons(t *testing.T, err error) string {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || len(f.Details) == 0 {
		t.Fatalf("refused without reasons: %v", err)
	}
	distinct := map[string]bool{}
	for _, d := range f.Details {
		distinct[d.Message] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(distinct)), "; ")
}

// betsyConditions are the 17 texts that betsy has in a form of Java, in FEEL.
var betsyConditions = map[string]string{
	`test.contains("a")`:   `contains(test, "a")`,
	`test.contains("a")>`:  `contains(test, "a")`,
	`test.contains("b")`:   `contains(test, "b")`,
	`test.contains("c")`:   `contains(test, "c")`,
	`!test.contains("a")`:  `not(contains(test, "a"))`,
	`integerVariable<2`:    `integerVariable < 2`,
	`integerVariable<3`:    `integerVariable < 3`,
	`${integerVariable}`:   `integerVariable`,
	`activationCount >= 1`: `activationCount >= 1`,
	`activationCount>=1`:   `activationCount >= 1`,
	`true`:                 `true`,
	`false`:                `false`,
	`-1`:                   `-1`,
	`3`:                    `3`,
}

// betsyScripts are the scripts that betsy writes as symbols: an expression and the
// variable it goes to.
var betsyScripts = map[string][2]string{
	"CREATE_LOG_FILE":                    {`trace`, "trace"},
	"SCRIPT_task1":                       {`append(trace, "SCRIPT_task1")`, "trace"},
	"SCRIPT_task2":                       {`append(trace, "SCRIPT_task2")`, "trace"},
	"SCRIPT_task3":                       {`append(trace, "SCRIPT_task3")`, "trace"},
	"SCRIPT_task4":                       {`append(trace, "SCRIPT_task4")`, "trace"},
	"SCRIPT_task5":                       {`append(trace, "SCRIPT_task5")`, "trace"},
	"CREATE_MARKER_FILE":                 {`append(trace, "MARKER_exists")`, "trace"},
	"SET_STRING_DATA":                    {`"String"`, "data"},
	"LOG_DATA":                           {`append(trace, if data = "String" then "DATA_correct" else "DATA_wrong")`, "trace"},
	"INCREMENT_INTEGER_VARIABLE":         {`integerVariable + 1`, "integerVariable"},
	"INCREMENT_INTEGER_VARIABLE_AND_LOG": {`integerVariable + 1`, "integerVariable"},
}

// betsyJobs are the scripts that FEEL cannot express, done by a worker instead.
var betsyJobs = map[string]time.Duration{
	"THROW_ERROR":            0,
	"WAIT_TEN_SECONDS":       10 * time.Second,
	"CREATE_TIMESTAMP_LOG_1": 10 * time.Second,
	"CREATE_TIMESTAMP_LOG_2": 10 * time.Second,
}

const camunda = "http://camunda.org/schema/1.0/bpmn"

// translateBetsy gives a model's conditions and scripts in words that are executed.
func translateBetsy(t *testing.T, m *bpmn.Model) {
	t.Helper()
	conditions := []string{"conditionExpression", "condition", "loopCondition", "loopCardinality", "activationCondition"}
	m.Root.Walk(func(n *bpmn.Node) bool {
		text := strings.TrimSpace(n.Text)
		switch {
		case n.Space != bpmn.NamespaceBPMN:
		case slices.Contains(conditions, n.Name) && text != "":
			feel, ok := betsyConditions[text]
			if !ok {
				t.Fatalf("%s:%d: condition %q is in no table", m.Name, n.Line, text)
			}
			n.Text = "=" + feel
		case n.Name == "script" && n.Parent.Is("scriptTask"):
			translateScript(t, n, text)
		}
		return true
	})
}

func translateScript(t *testing.T, n *bpmn.Node, symbol string) {
	t.Helper()
	task := n.Parent
	if script, ok := betsyScripts[symbol]; ok {
		n.Text = "=" + script[0]
		task.Attrs = append(task.Attrs, bpmn.Attr{Space: camunda, Name: "resultVariable", Value: script[1]})
		return
	}
	if _, ok := betsyJobs[symbol]; !ok {
		t.Fatalf("line %d: script %q is in no table", n.Line, symbol)
	}
	task.Name = "serviceTask"
	task.Children = slices.DeleteFunc(task.Children, func(c *bpmn.Node) bool { return c == n })
	task.Attrs = append(task.Attrs, bpmn.Attr{Space: camunda, Name: "type", Value: "external"}, bpmn.Attr{Space: camunda, Name: "topic", Value: symbol})
}

// betsyRun is one instance with its clock and its worker.
type betsyRun struct {
	t       *testing.T
	d       *process.Definition
	s       *process.State
	now     time.Time
	started map[uint64]time.Time
	spans   [][2]time.Time // of timestamp jobs
}

func (r *betsyRun) step(event process.Event) {
	r.t.Helper()
	out, err := process.Step(r.d, r.s, process.Input{Event: event, At: r.now})
	if err != nil || out.Rejected != nil {
		r.t.Fatalf("%s: step %T: %v, %v", r.d.ID, event, err, out.Rejected)
	}
}

// run starts the instance, lets the case's time pass, and returns its trace.
func (r *betsyRun) run(c betsyCase) []string {
	r.t.Helper()
	r.now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	end := r.now.Add(time.Duration(c.DelayMS) * time.Millisecond)
	variables, err := canon.NewContext(
		canon.Entry{Name: "test", Value: canon.String(c.Test)},
		canon.Entry{Name: "integerVariable", Value: canon.NewNumber(int64(c.IntegerVariable))},
		canon.Entry{Name: "trace", Value: canon.List{}})
	if err != nil {
		r.t.Fatal(err)
	}
	r.step(process.Start{Variables: variables})
	for range 1000 {
		due, event := r.next()
		if event == nil || due.After(end) || r.s.Status() != process.Active {
			return r.trace()
		}
		r.now = due
		r.step(event)
	}
	r.t.Fatalf("%s does not come to rest", r.d.ID)
	return nil
}

// next is what happens first, of timers and the worker's jobs.
func (r *betsyRun) next() (time.Time, process.Event) {
	var due time.Time
	var event process.Event
	earlier := func(at time.Time, e process.Event) {
		if event == nil || at.Before(due) {
			due, event = at, e
		}
	}
	for _, timer := range r.s.Timers() {
		earlier(timer.Due, process.TimerFired{Timer: timer.ID})
	}
	for _, job := range r.s.Jobs() {
		if job.Failed {
			continue
		}
		if _, ok := r.started[job.ID]; !ok {
			r.started[job.ID] = r.now
			r.spans = append(r.spans, [2]time.Time{r.now, r.now.Add(betsyJobs[job.Type])})
		}
		at := r.started[job.ID].Add(betsyJobs[job.Type])
		if job.Type == "THROW_ERROR" {
			earlier(at, process.JobErrored{Job: job.ID, Code: "ERR_CODE"})
		} else {
			earlier(at, process.JobCompleted{Job: job.ID})
		}
	}
	return due, event
}

// trace is what the instance wrote, and what became of it.
func (r *betsyRun) trace() []string {
	var trace []string
	if value, ok := r.s.Variables(nil).Get("trace"); ok {
		for _, item := range value.(canon.List) {
			trace = append(trace, string(item.(canon.String)))
		}
	}
	for _, incident := range r.s.Incidents() {
		if incident.Code == "unhandled_error" {
			trace = append(trace, "ERROR_thrownErrorEvent")
		} else {
			trace = append(trace, "ERROR_runtime")
		}
	}
	if r.overlap() {
		trace = append(trace, "EXECUTION_parallel")
	}
	return trace
}

// overlap reports whether two timestamp jobs ran at the same time.
func (r *betsyRun) overlap() bool {
	for i, a := range r.spans {
		for _, b := range r.spans[i+1:] {
			if a[0].Before(b[1]) && b[0].Before(a[1]) {
				return true
			}
		}
	}
	return false
}
