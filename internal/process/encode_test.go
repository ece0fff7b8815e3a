package process_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
)

var update = flag.Bool("update", false, "write the golden files of the present structure version anew")

// samples are instances that together hold everything a structure can hold.
func samples(t tester) map[string]*player {
	busy := play(t, define(t, declared+`
		start s
		and fork
		sub box | input applicant = applicant
		on-timer late | on box | every "R3/PT1H"
		start s1 | in box
		user approve | in box | groups ["b","a"] | users ["u"] | due "2026-12-01T00:00:00Z"
		service check | input n = income
		service fail | retries 1
		and join
		xor wrong
		service mapped | output y = string length(string join(for i in 1..n return text))
		error bad | code E9
		timer pause | after "PT5M"
		end e
		s -> fork
		fork -> box
		s1 -> approve
		fork -> check
		fork -> fail
		fork -> join
		box -> join
		check -> join
		fork -> wrong
		wrong -> e if missing
		fork -> mapped
		fork -> bad
		fork -> pause
		pause -> e
		join -> e
	`), fmt.Sprintf(`{"applicant":{"id":"p1","name":"Änn \"A\"","ssn":"1"},"income":5,"odd.name":1,"n":2000,"text":%q}`, strings.Repeat("x", 16<<10)))
	busy.step(process.TaskClaimed{Task: busy.task("approve"), Assignee: "ann"})
	busy.step(process.TaskSaved{Task: busy.task("approve"), Draft: vars(t, `{"ok":true}`)})
	busy.step(process.JobFailed{Job: busy.job("check"), Retries: 2, Backoff: -1})
	busy.step(process.JobFailed{Job: busy.job("fail"), Retries: -1, Message: "no"})
	busy.complete("mapped", `{"k":1}`).fire("late")

	unstarted := &player{t: t, d: define(t, sequence), s: process.NewState(), fields: map[string]process.Change{}}
	return map[string]*player{
		"unstarted": unstarted,
		"waiting":   play(t, define(t, sequence), `{"amount":5}`),
		"busy":      busy,
		"looping":   play(t, define(t, endless), `{"stop":false}`),
		"canceled":  play(t, define(t, sequence), `{"amount":5}`).step(process.Canceled{}),
		"completed": play(t, define(t, sequence), `{"amount":5}`).complete("check", ""),
	}
}

// TestStructuresStayReadable keeps what earlier releases wrote readable: golden
// files of older versions are only added to, never changed.
func TestStructuresStayReadable(t *testing.T) {
	for name, p := range samples(t) {
		path := filepath.Join("testdata", "structure", "v1", name+".json")
		if *update {
			if err := os.WriteFile(path, p.s.Encode(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		golden, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.s.Encode(); !bytes.Equal(got, golden) {
			t.Errorf("%s is encoded as\n%s\nnot as in the golden file\n%s", name, got, golden)
		}
		if loaded, err := p.decode(golden); err != nil || !bytes.Equal(loaded.Encode(), golden) {
			t.Errorf("%s does not decode from its golden file: %v", name, err)
		}
	}
	files, err := filepath.Glob("testdata/structure/v1/*.json")
	if err != nil || len(files) != len(samples(t)) {
		t.Errorf("%d golden files for %d samples: %v", len(files), len(samples(t)), err)
	}
}

func (p *player) decode(data []byte) (*process.State, error) {
	return process.Decode(p.d, data, func(path string) (canon.Value, error) {
		if c, ok := p.fields[path]; ok {
			return c.Value, nil
		}
		return nil, fault.New(fault.Integrity, "no field %q", path)
	})
}

func TestStructuresHoldNoValues(t *testing.T) {
	p := play(t, define(t, declared+"start s\nuser u | groups [\"g\"]\nservice a | retries 1\ns -> u\ns -> a"),
		`{"applicant":{"id":"MARK","ssn":"MARK"},"list":["MARK"]}`)
	p.step(process.TaskSaved{Task: p.task("u"), Draft: vars(t, `{"x":"MARK"}`)})
	p.step(process.JobFailed{Job: p.job("a"), Retries: 0, Message: "MARK"})
	if data := p.s.Encode(); bytes.Contains(data, []byte("MARK")) {
		t.Errorf("structure holds a value: %s", data)
	}
}

func TestDecodeRefusesWhatIsDamaged(t *testing.T) {
	p := samples(t)["busy"]
	good := string(p.s.Encode())
	replace := func(old, with string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("no %s in %s", old, good)
		}
		return strings.Replace(good, old, with, 1)
	}
	cases := map[string]string{
		"nothing":                        ``,
		"other JSON":                     `[]`,
		"a later version":                replace(`"v":1`, `"v":2`),
		"a space":                        replace(`{"v":1,`, `{"v":1, `),
		"more behind":                    good + ` `,
		"an unknown member":              replace(`{"v":1,`, `{"v":1,"w":1,`),
		"a member twice":                 replace(`{"v":1,`, `{"v":1,"v":1,`),
		"a null":                         replace(`{"v":1,`, `{"v":1,"jobs":null,`),
		"an unknown status":              replace(`"active"`, `"asleep"`),
		"no status":                      replace(`"status":"active",`, ``),
		"an unknown element":             replace(`"element":"check"`, `"element":"chuck"`),
		"an unknown flow":                replace(`"flow":"fork>check"`, `"flow":"fork>chuck"`),
		"a flow to another element":      replace(`"flow":"fork>check"`, `"flow":"fork>fail"`),
		"an unknown phase":               replace(`"phase":"joined"`, `"phase":"gone"`),
		"a phase of other elements":      replace(`"phase":"throwing"`, `"phase":"joined"`),
		"a token of no scope":            replace(`"scope":9`, `"scope":10`),
		"a job of no token":              replace(`{"id":13,"token":2`, `{"id":13,"token":99`),
		"numbers above the last one":     replace(`"last":`, `"last":1,"x":`),
		"numbers out of order":           replace(`{"id":3,"element":"fail"`, `{"id":1,"element":"fail"`),
		"a cycle that stands still":      replace(`"every":"PT1H"`, `"every":"PT0S"`),
		"a cycle of no duration":         replace(`"every":"PT1H"`, `"every":"soon"`),
		"a time out of range":            replace(`"due":1795269600000000`, `"due":-1795269600000000000`),
		"an unknown class":               replace(`["income","confidential"]`, `["income","secret"]`),
		"a field without a label":        replace(`["income","confidential"]`, `["income"]`),
		"an empty field":                 replace(`["income","confidential"]`, `[]`),
		"given less than the default":    replace(`"given":["confidential"]`, `"given":["public"]`),
		"given the default":              replace(`"given":["confidential"]`, `"given":["internal"]`),
		"given without persons in order": replace(`"given":["regulated","@9/applicant.id","applicant.id"]`, `"given":["regulated","applicant.id","@9/applicant.id"]`),
		"fields out of order":            replace(`["income","confidential"],["n","internal"]`, `["n","internal"],["income","confidential"]`),
		"a field twice":                  replace(`["n","internal"]`, `["n","internal"],["n","internal"]`),
		"notes out of order":             replace(`["$incident.15","internal"],["$incident.17","internal"]`, `["$incident.17","internal"],["$incident.15","internal"]`),
		"a part without the rest":        replace(`["applicant","internal"],`, ``),
		"an unescaped path":              replace(`odd%2Ename`, `odd.name`),
		"a field of no scope":            replace(`["@9/applicant"`, `["@99/applicant"`),
	}
	for name, data := range cases {
		t.Run(name, func(t *testing.T) {
			s, err := p.decode([]byte(data))
			if err == nil {
				t.Fatalf("accepted as %s", s.Encode())
			}
			if !fault.Is(err, fault.Integrity) {
				t.Errorf("refused as %v: %v, want integrity", fault.KindOf(err), err)
			}
		})
	}
	t.Run("a value that does not fit the policy", func(t *testing.T) {
		rest := p.fields["applicant"]
		p.fields["applicant"] = process.Change{Value: canon.String("text"), Label: rest.Label}
		if _, err := p.decode([]byte(good)); !fault.Is(err, fault.Integrity) {
			t.Errorf("got %v, want integrity", err)
		}
	})
	t.Run("a value that cannot be opened", func(t *testing.T) {
		_, err := process.Decode(p.d, []byte(good), func(string) (canon.Value, error) {
			return nil, fault.New(fault.Sealed, "erased")
		})
		if !fault.Is(err, fault.Sealed) {
			t.Errorf("got %v, want the error of the field", err)
		}
	})
}

// FuzzDecode checks that whatever decodes has one spelling and can be stepped.
func FuzzDecode(f *testing.F) {
	p := samples(f)["busy"]
	f.Add(p.s.Encode())
	f.Add([]byte(`{"v":1}`))
	f.Add([]byte(`{"v":1,"status":"active","last":3,"tokens":[{"id":1,"element":"join","flow":"check>join","phase":"joined"}],"fields":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := p.decode(data)
		if err != nil {
			return
		}
		if !bytes.Equal(s.Encode(), data) {
			t.Fatalf("%s was accepted and is encoded as %s", data, s.Encode())
		}
		for id := range uint64(30) {
			for _, e := range []process.Event{
				process.IncidentRetried{Incident: id}, process.JobCompleted{Job: id}, process.TaskCompleted{Task: id},
				process.TimerFired{Timer: id}, process.JobErrored{Job: id, Code: "x"},
			} {
				if _, err := process.Step(p.d, s, process.Input{Event: e, At: p.now}); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

func TestStepRefusesAnotherDefinition(t *testing.T) {
	p := play(t, define(t, sequence), "")
	in := process.Input{Event: process.Canceled{}, At: begin}
	if _, err := process.Step(define(t, sequence), p.s, in); !fault.Is(err, fault.Internal) {
		t.Errorf("another definition: %v", err)
	}
	if _, err := process.Step(draft(t, sequence), process.NewState(), in); !fault.Is(err, fault.Internal) {
		t.Errorf("one that is not sealed: %v", err)
	}
}
