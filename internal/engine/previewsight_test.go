package engine_test

import (
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
)

// Where a person is found is said for a purpose, and by name of what the caller may see.
func TestAPreviewFindsAPersonForAPurpose(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	w := &care{Env: env}
	env.Deploy("c.bpmn", classified)
	id := env.Start("classified", somebody)
	aud := w.person(t, "aud", "Auditor")
	person := api.ErasureTarget{Kind: "subject", ID: "p-1"}
	if _, err := env.Engine.PreviewErasure(t.Context(), env.Ann, person); fault.CodeOf(err) != "purpose_required" || !fault.Is(err, fault.Denied) {
		t.Errorf("without a purpose: %v, want purpose_required", err)
	}
	if p, err := env.Engine.PreviewErasure(t.Context(), env.Ann, api.ErasureTarget{Kind: "instance", ID: id}); err != nil || len(p.Sample) != 1 {
		t.Errorf("an instance, without a purpose: %+v, %v", p, err)
	}
	for _, test := range []struct {
		name  string
		who   engine.Caller
		named int
		told  string
	}{
		{"an Admin", env.Ann, 1, "data.shown"},
		{"an Auditor, who sees no instance", aud, 0, "data.searched"},
	} {
		p, err := env.Engine.PreviewErasure(t.Context(), withPurpose(test.who), person)
		if err != nil || p.Instances != 1 || len(p.Sample) != test.named {
			t.Errorf("%s: %+v, %v, want %d named", test.name, p, err, test.named)
		}
		if purpose, _ := w.told(t, test.told, test.who.Principal)["$purpose"].(canon.String); purpose != "a request by law" {
			t.Errorf("%s: the log tells the purpose %q", test.name, purpose)
		}
	}
}

// A search by what is sensitive that finds nothing is told as well: an answer it is.
func TestASearchThatFindsNothingIsTold(t *testing.T) {
	t.Parallel()
	w := newCare(t)
	rob := w.person(t, "rob", "Viewer", api.GrantRequest{Right: "reveal", Process: "care", Fields: []string{"iban"}, Purpose: "payroll"})
	for _, f := range []engine.InstanceFilter{
		{Process: "care", Field: "company", Value: "nobody"}, // everybody who sees the instances sees it
		{Process: "care", Field: "iban", Value: "nobody"},
	} {
		if list, err := w.Engine.Instances(t.Context(), rob, f, pageOf(10)); err != nil || len(list.Items) != 0 {
			t.Fatalf("%+v, %v", list, err)
		}
	}
	told := w.told(t, "data.searched", "rob")
	searched := string(canon.EncodeJSON(told["$searched"]))
	if purpose, _ := told["$purpose"].(canon.String); searched != `{"path":"iban","process":"care"}` || purpose != "payroll" {
		t.Errorf("the log tells of %s for %q", searched, purpose)
	}
}
