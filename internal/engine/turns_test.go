package engine_test

import (
	"context"
	"slices"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

// TestNoCompanyWaitsForAnothersTurn looks, while a company changes a hold, an erasure, a
// signer or a key, who has to wait: whoever does the same there, and nobody of another company.
func TestNoCompanyWaitsForAnothersTurn(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	acme := env.Tenant("acme")
	ctx, e := t.Context(), acme.Engine
	acme.Deploy("c.bpmn", classified)
	instance := acme.Start("classified", somebody)
	sequenced(t, acme) // the first head makes a signer
	looked := map[string]bool{}
	during, changes := "", ""
	engine.FailErasures(e, func(point string) error {
		if point == "rotate a key" { // which is between the steps that tell of it, and keeps nobody waiting
			return nil
		}
		looked[during] = true
		if got := engine.Changing(e, "acme"); !slices.Equal(got, []string{changes}) {
			t.Errorf("%s, %s: of the company are changed %q, want %s", during, point, got, changes)
		}
		if got := engine.Changing(e, "main"); len(got) > 0 {
			t.Errorf("%s, %s: another company waits: %q", during, point, got)
		}
		return nil
	})
	defer engine.FailErasures(e, nil)
	no := func(_ any, err error) error { return err }
	for _, c := range []struct {
		what, changes string
		do            func() error
	}{
		{"a hold", "custodies", func() error {
			return no(e.PlaceHold(ctx, acme.Ann, api.HoldRequest{Kind: "subject", ID: "p-2", Reason: "a lawsuit"}, ""))
		}},
		{"an erasure", "custodies", func() error { return no(order(t, acme, "instance", instance, 0)) }},
		{"a signer", "signers", func() error {
			register(t, acme, "scorer", newKey(t))
			return nil
		}},
		{"a key", "keys", func() error {
			return no(e.RotateKey(ctx, acme.Ann, api.RotateKeyRequest{Key: "tenant"}))
		}},
	} {
		if during, changes = c.what, c.changes; c.do() != nil || !looked[during] {
			t.Errorf("%s was not changed", c.what)
		}
	}
}

// TestACompanyTriesPoliciesOnceAtATime has policies tried while others are.
func TestACompanyTriesPoliciesOnceAtATime(t *testing.T) {
	t.Parallel()
	var during func()
	env := testenv.New(t, func(c *node.Config) {
		c.Observe = func(ctx context.Context, _, _ string, _ int) {
			if ctx.Value(lookedAt{}) != nil && during != nil {
				f := during
				during = nil
				f()
			}
		}
	})
	acme := env.Tenant("acme")
	try := func(ctx context.Context, c engine.Caller) error {
		_, err := env.Engine.TestPolicies(ctx, c, api.PoliciesTestRequest{Text: noHome})
		return err
	}
	looked := false
	during = func() {
		looked = true
		if err := try(t.Context(), acme.Ann); fault.CodeOf(err) != "too_many_requests" {
			t.Errorf("twice at a time: %v, want too_many_requests", err)
		}
		if err := try(t.Context(), env.Ann); err != nil {
			t.Errorf("another company at the same time: %v", err)
		}
	}
	for range 2 {
		if err := try(context.WithValue(t.Context(), lookedAt{}, true), acme.Ann); err != nil {
			t.Errorf("one after the other: %v", err)
		}
	}
	if !looked {
		t.Error("nothing was tried meanwhile")
	}
}
