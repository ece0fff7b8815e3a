package engine_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// Whether a grant on a sensitive value matches says what the value is: who does not see it
// gets the same answer for a grant on the right one and on any other.
func TestExplainDoesNotTellASensitiveValue(t *testing.T) {
	t.Parallel()
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

// TestExplainTellsAnAuditorNoValue asks about grants on a value that whoever sees the
// instance sees: an Auditor, who sees no data, is not told whether it matches.
func TestExplainTellsAnAuditorNoValue(t *testing.T) {
	t.Parallel()
	w := newCare(t)
	for name, company := range map[string]string{"zed": "A", "yul": "B"} {
		w.person(t, name, "", api.GrantRequest{Right: "view", Process: "care", Where: &api.Where{Path: "company", Value: company}})
	}
	aud, ada := w.person(t, "aud", "Auditor"), w.person(t, "ada", "Admin")
	for _, name := range []string{"zed", "yul"} {
		q := api.ExplainQuery{Principal: name, Action: "instance:read", ID: w.instance}
		if x, err := w.Engine.Explain(t.Context(), aud, q); err != nil || x.Allowed || !x.Depends {
			t.Errorf("an Auditor asks about %s: %+v, %v", name, x, err)
		}
		if x, err := w.Engine.Explain(t.Context(), ada, q); err != nil || x.Allowed != (name == "zed") || x.Depends {
			t.Errorf("an Admin, who sees the value, asks about %s: %+v, %v", name, x, err)
		}
	}
}

// TestExplainSaysWhatIsSo asks about values of a task and a job, about what is somebody's
// own, and about what is not there yet, and compares with what is so.
func TestExplainSaysWhatIsSo(t *testing.T) {
	t.Parallel()
	w := newCare(t)
	w.group(t, "clerks")
	bob := w.clerk(t, "bob", "Executor")
	w.person(t, "zoe", "Viewer")
	personWithPassword(t, w.Env, "eve", "Viewer")
	signedIn := session(t, w.Env, "eve", home).ID
	for _, x := range []struct {
		who, action, kind, id, field string
		allowed                      bool
		policy                       string
	}{
		{"bob", "value:reveal", "", w.pay, "iban", true, "reveal-form"},
		{"bob", "value:reveal", "", w.pay, "scan", false, ""},
		{"bob", "value:reveal", "", w.look, "iban", false, ""},
		{"bob", "value:reveal", "", w.work.ID, "iban", true, "reveal-job"},
		{"bob", "value:reveal", "", w.work.ID, "other", false, ""},
		{"zoe", "value:reveal", "", w.pay, "iban", false, ""},
		{"bob", "value:reveal", "", w.instance, "iban", false, ""},
		{"bob", "apikey:revoke", "", bob.Key, "", true, "own"},
		{"zoe", "apikey:revoke", "", bob.Key, "", false, ""},
		{"eve", "session:revoke", "", signedIn, "", true, "own"},
		{"zoe", "session:revoke", "", signedIn, "", false, ""},
		{"bob", "instance:start", "", "care", "", true, "role-executor"},
		{"zoe", "instance:start", "", "care", "", false, ""},
	} {
		got, err := w.Engine.Explain(t.Context(), w.Ann, api.ExplainQuery{Principal: x.who, Action: x.action, Kind: x.kind, ID: x.id, Field: x.field})
		if err != nil || got.Allowed != x.allowed || x.allowed && (len(got.Reasons) != 1 || got.Reasons[0].Policy != x.policy) {
			t.Errorf("%s %s on %s %s: %+v, %v", x.who, x.action, x.id, x.field, got, err)
		}
	}
	for name, q := range map[string]api.ExplainQuery{
		"invalid_address": {Principal: "bob", Action: "task:read", Address: "here"},
		"unknown_action":  {Principal: "bob", Action: "tasks:read"},
		"not_found":       {Principal: "bob", Action: "session:read", ID: w.instance},
	} {
		_, err := w.Engine.Explain(t.Context(), w.Ann, q)
		var refused *fault.Error
		if !errors.As(err, &refused) || fault.CodeOf(err) != name || refused.Hint == "" {
			t.Errorf("%+v: %v", q, err)
		}
	}
}
