package process_test

import (
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
)

func TestWhatIsUnseenStays(t *testing.T) {
	const all = `{"applicant":{"id":"x","name":"A","ssn":"1","address":{"city":"C","street":"S"}},"n":1,"people":[{"name":"P","phone":"2"},{"name":"Q"}]}`
	for _, test := range []struct{ name, unseen, written, want string }{
		{"nothing is unseen", "", `{"applicant":{"name":"B"}}`, `{"applicant":{"name":"B"},"n":1,"people":[{"name":"P","phone":"2"},{"name":"Q"}]}`},
		{"a part that is not named", "applicant.ssn", `{"applicant":{"name":"B"}}`, `{"applicant":{"name":"B","ssn":"1"},"n":1,"people":[{"name":"P","phone":"2"},{"name":"Q"}]}`},
		{"a part that is named", "applicant.ssn", `{"applicant":{"name":"B","ssn":"9"}}`, `{"applicant":{"name":"B","ssn":"9"},"n":1,"people":[{"name":"P","phone":"2"},{"name":"Q"}]}`},
		{"a part inside a part", "applicant.address.street", `{"applicant":{"address":{"city":"D"}}}`, `{"applicant":{"address":{"city":"D","street":"S"}},"n":1,"people":[{"name":"P","phone":"2"},{"name":"Q"}]}`},
		{"a part whose place is not written", "applicant.address.street", `{"applicant":{}}`, `{"applicant":{"address":{"street":"S"}},"n":1,"people":[{"name":"P","phone":"2"},{"name":"Q"}]}`},
		{"what is left of a variable", "applicant", `{"applicant":{"ssn":"9","note":"new"}}`, `{"applicant":{"name":"A","note":"new","ssn":"9"},"n":1,"people":[{"name":"P","phone":"2"},{"name":"Q"}]}`},
		{"a variable that is not seen at all", "n", `{"n":2}`, `{"applicant":{"address":{"city":"C","street":"S"},"id":"x","name":"A","ssn":"1"},"n":2,"people":[{"name":"P","phone":"2"},{"name":"Q"}]}`},
		{"a list as it was shown", "people[0].phone", `{"people":[{"name":"P"},{"name":"Q"}],"n":2}`, `{"applicant":{"address":{"city":"C","street":"S"},"id":"x","name":"A","ssn":"1"},"n":2,"people":[{"name":"P","phone":"2"},{"name":"Q"}]}`},
		{"a list as it is", "people[0].phone", `{"people":[{"name":"P","phone":"2"},{"name":"Q"}]}`, ""},
		{"another list", "people[0].phone", `{"people":[{"name":"Q"},{"name":"P"}]}`, ""},
		{"a text in the place of a context", "applicant.ssn", `{"applicant":"none"}`, ""},
		{"null in the place of a context", "applicant.address.street", `{"applicant":{"address":null}}`, ""},
		{"a text in the place of what is left", "applicant", `{"applicant":"none"}`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := play(t, define(t, seenProcess), all)
			event := process.VariablesSet{Variables: vars(t, test.written), Unseen: strings.Fields(test.unseen)}
			if test.want == "" {
				p.reject(event, fault.Denied)
				return
			}
			p.step(event).wantVariables(test.want)
		})
	}
}

// What is left of a variable stays in the items of its lists, too, whose parts are seen.
func TestWhatIsUnseenStaysInItems(t *testing.T) {
	const all = `{"box":{"n":1,"people":[{"name":"P","phone":"2"}]}}`
	for _, test := range []struct{ name, written, want string }{
		{"the list as it was shown", `{"box":{"people":[{"phone":"2"}]}}`, all},
		{"another list", `{"box":{"people":[{"phone":"3"}]}}`, ""},
		{"without the list", `{"box":{"n":2}}`, `{"box":{"n":2,"people":[{"name":"P"}]}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := play(t, define(t, `
				field box.people[].phone confidential
				start s
				user ask
				end e
				s -> ask
				ask -> e
			`), all)
			event := process.VariablesSet{Variables: vars(t, test.written), Unseen: []string{"box"}}
			if test.want == "" {
				p.reject(event, fault.Denied)
				return
			}
			p.step(event).wantVariables(test.want)
		})
	}
}

// What stays keeps the label that it had, also where the policy would give a lower one.
func TestWhatIsUnseenKeepsItsLabel(t *testing.T) {
	p := play(t, define(t, `
		field secret regulated
		field box.part internal
		start s
		script copy | set box = { part: secret, more: 1 }
		user ask
		end e
		s -> copy
		copy -> ask
		ask -> e
	`), `{"secret":"x"}`)
	if got := p.s.Label("box.part").Class; got != process.Regulated {
		t.Fatalf("the copy is %v", got)
	}
	p.step(process.TaskCompleted{Task: p.task("ask"), Variables: vars(t, `{"box":{"more":2}}`), Unseen: []string{"box.part", "secret"}}).wantDone()
	if got := p.s.Label("box.part").Class; got != process.Regulated {
		t.Errorf("what stayed is %v, want regulated", got)
	}
	p.wantVariables(`{"box":{"more":2,"part":"x"},"secret":"x"}`)
}
