package engine_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/canon"
)

// Whether a grant on a sensitive value matches says what the value is: who does not see it
// gets the same answer for a grant on the right one and on any other.
func TestExplainDoesNotTellASensitiveValue(t *testing.T) {
	w := newCare(t)
	for name, value := range map[string]string{"zed": "DE SECRET", "yul": "DE OTHER"} {
		w.person(t, name, "", api.GrantRequest{Right: "view", Process: "care", Where: &api.Where{Path: "iban", Value: value}})
	}
	reveal := api.GrantRequest{Right: "reveal", Process: "care", Fields: []string{"iban"}, Purpose: "payroll"}
	aud, ada, rev := w.person(t, "aud", "Auditor"), w.person(t, "ada", "Admin"), w.person(t, "rev", "Admin", reveal)
	task := w.pay
	for _, of := range []api.ExplainQuery{
		{Action: "instance:read", ID: w.instance}, {Action: "task:read", ID: task}, {Action: "value:read", ID: w.instance, Field: "note"},
	} {
		for _, who := range []string{"aud", "ada"} {
			asker := aud
			if who == "ada" {
				asker = ada
			}
			var answers []string
			for _, name := range []string{"zed", "yul"} {
				of.Principal = name
				x, err := w.Engine.Explain(t.Context(), asker, of)
				if err != nil {
					t.Fatal(err)
				}
				if x.Allowed || !x.Depends || len(x.NearMisses) != 1 || x.NearMisses[0].Condition != "unseen" {
					t.Fatalf("%s asks about %s for %s: %+v", who, of.Action, name, x)
				}
				data, err := json.Marshal(x)
				if err != nil {
					t.Fatal(err)
				}
				text := strings.ReplaceAll(string(data), name, "NAME")
				answers = append(answers, strings.ReplaceAll(text, x.NearMisses[0].Grant, "GRANT"))
			}
			if answers[0] != answers[1] || strings.Contains(answers[0], canary) {
				t.Errorf("%s is told %s and %s, want the same", who, answers[0], answers[1])
			}
		}
	}
	for name, allowed := range map[string]bool{"zed": true, "yul": false} {
		x, err := w.Engine.Explain(t.Context(), rev, api.ExplainQuery{Principal: name, Action: "instance:read", ID: w.instance})
		if err != nil || x.Allowed != allowed || x.Depends {
			t.Errorf("who sees the value asks about %s: %+v, %v", name, x, err)
		}
	}
	entries := entriesOf(t, w.Env, "data.revealed")
	if n := len(entries); n != 2 || !strings.Contains(string(canon.EncodeJSON(entries[0].Fields["$revealed"])), `"iban"`) {
		t.Errorf("%d entries tell that a value was shown, want 2", n)
	}
}
