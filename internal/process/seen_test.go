package process_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/process"
)

const seenProcess = `
	field applicant.ssn regulated about applicant.id
	field applicant.address confidential
	field applicant.address.street regulated
	field people[].phone confidential
	field tags[] confidential
	start s
	user ask | input mine = applicant
	end e
	s -> ask
	ask -> e
`

func TestWhatAnEyeSees(t *testing.T) {
	const whole = `{"applicant":{"id":"x","name":"A","ssn":"1","address":{"city":"C","street":"S"}},"people":[{"name":"P","phone":"2"},{"name":"Q"}],"tags":["a","b"],"n":1}`
	for _, test := range []struct {
		name   string
		unseen string
		want   string
	}{
		{"all", "", `{"applicant":{"address":{"city":"C","street":"S"},"id":"x","name":"A","ssn":"1"},"n":1,"people":[{"name":"P","phone":"2"},{"name":"Q"}],"tags":["a","b"]}`},
		{"a variable less", "n", `{"applicant":{"address":{"city":"C","street":"S"},"id":"x","name":"A","ssn":"1"},"people":[{"name":"P","phone":"2"},{"name":"Q"}],"tags":["a","b"]}`},
		{"parts less", "applicant.ssn applicant.address.street people[0].phone", `{"applicant":{"address":{"city":"C"},"id":"x","name":"A"},"n":1,"people":[{"name":"P"},{"name":"Q"}],"tags":["a","b"]}`},
		{"no more than parts", "applicant applicant.address applicant.id people", `{"applicant":{"address":{"street":"S"},"ssn":"1"},"n":1,"people":[{"phone":"2"}],"tags":["a","b"]}`},
		{"items less", "tags[0]", `{"applicant":{"address":{"city":"C","street":"S"},"id":"x","name":"A","ssn":"1"},"n":1,"people":[{"name":"P","phone":"2"},{"name":"Q"}],"tags":[null,"b"]}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := play(t, define(t, seenProcess), whole)
			unseen := strings.Fields(test.unseen)
			see := func(f process.Field) bool {
				for _, path := range unseen {
					if f.Path == path {
						return false
					}
				}
				return true
			}
			if got := string(canon.EncodeJSON(p.s.Variables(see))); got != test.want {
				t.Errorf("seen %s\nwant %s", got, test.want)
			}
		})
	}
}

// Whatever the data: what an eye does not see is not in what it is shown, what it sees is,
// and one that sees everything is shown what there is.
func TestAnEyeSeesItsFields(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shapes := []string{
			`"?"`, `{"id":"?","ssn":"?","address":{"city":"?","street":"?"},"name":"?"}`, `{"address":"?","phone":["?"]}`, `[{"phone":"?","name":"?"},"?"]`, `null`,
		}
		n := 0
		var all []string
		for _, name := range []string{"applicant", "people", "tags", "n"} {
			if !rapid.Bool().Draw(t, name+" is there") {
				continue
			}
			shape := rapid.SampledFrom(shapes).Draw(t, name)
			for ; strings.Contains(shape, "?"); n++ {
				shape = strings.Replace(shape, "?", fmt.Sprintf("v%04d", n), 1)
			}
			all = append(all, `"`+name+`":`+shape)
		}
		p := play(t, define(t, seenProcess), "{"+strings.Join(all, ",")+"}")
		unseen := map[string]bool{}
		for _, f := range p.s.Fields() {
			unseen[f.Path] = rapid.Bool().Draw(t, "unseen "+f.Path)
		}
		see := func(f process.Field) bool { return !unseen[f.Path] }
		task, err := p.s.TaskVariables(p.task("ask"), see)
		if err != nil {
			t.Fatal(err)
		}
		shown, more := string(canon.EncodeJSON(p.s.Variables(see))), string(canon.EncodeJSON(task))
		for _, f := range p.s.Fields() {
			scope, _ := process.CutScope(f.Path)
			for v := range strings.SplitSeq(string(canon.EncodeJSON(f.Value)), `"`) {
				if !strings.HasPrefix(v, "v") {
					continue
				}
				if scope == 0 && strings.Contains(shown, v) == unseen[f.Path] {
					t.Fatalf("%s, unseen %v: %s in %s", f.Path, unseen[f.Path], v, shown)
				}
				if !unseen[f.Path] && !strings.Contains(more, v) {
					t.Fatalf("%s is seen: %s is not in what the task shows: %s", f.Path, v, more)
				}
			}
		}
		everything := func(process.Field) bool { return true }
		if got, want := string(canon.EncodeJSON(p.s.Variables(everything))), string(canon.EncodeJSON(p.s.Variables(nil))); got != want {
			t.Fatalf("who sees every field is shown %s, not %s", got, want)
		}
	})
}

// A place holds a field that is inside it, and a field its places that no other field
// has.
func TestWhatAPlaceHolds(t *testing.T) {
	p := policy(t, seenProcess)
	for _, test := range []struct {
		field, place string
		want         bool
	}{
		{"n", "n", true},
		{"n", "nn", false},
		{"applicant", "applicant", true},
		{"applicant.ssn", "applicant", true},
		{"applicant.ssn", "applicant.ssn", true},
		{"applicant", "applicant.ssn", false},
		{"applicant", "applicant.name", true},
		{"applicant.ssn", "applicant.name", false},
		{"applicant.address", "applicant.address.city", true},
		{"applicant.address", "applicant.address.street", false},
		{"applicant.address.street", "applicant.address", true},
		{"people[].phone", "people", true},
		{"people[].phone", "people[]", true},
		{"people[].phone", "people[].phone", true},
		{"people", "people[].name", true},
		{"people", "people[].phone", false},
		{"tags[]", "tags", true},
		{"tags", "tags[]", false},
		{"$incident.3", "n", false},
	} {
		if got := p.Holds(test.field, test.place); got != test.want {
			t.Errorf("Holds(%q, %q) = %t, want %t", test.field, test.place, got, test.want)
		}
	}
	for path, want := range map[string]string{
		"n": "n", "@7/applicant.ssn": "applicant.ssn", "people[0].phone": "people[].phone", "@12/a[3][4].b": "a[][].b",
		"@7/$draft": "$draft", "$incident.3": "$incident.3",
	} {
		if got := process.PolicyPath(path); got != want {
			t.Errorf("PolicyPath(%q) = %q, want %q", path, got, want)
		}
	}
	for path, want := range map[string]bool{
		"applicant.ssn": true, "applicant.id": true, "applicant": false, "n": false, "people[].phone": true, "people": false,
	} {
		if got := p.Sensitive(path); got != want {
			t.Errorf("Sensitive(%q) = %t, want %t", path, got, want)
		}
	}
}
