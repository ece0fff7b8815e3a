package engine_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/testenv"
)

// keySteps returns the kinds of the leaves in the record of what was done to keys.
func keySteps(t *testing.T, env *testenv.Env) []string {
	t.Helper()
	kinds, err := engine.KeyRecord(t.Context(), env.Engine, env.Ann)
	if err != nil {
		t.Fatal(err)
	}
	return kinds
}

// TestWhatIsDoneToKeysIsOrderedFirst does everything that can be done to keys.
func TestWhatIsDoneToKeysIsOrderedFirst(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	rotated(t, env, api.RotateKeyRequest{Key: "tenant"})
	rotated(t, env, api.RotateKeyRequest{Key: "audit"})
	env.Deploy("c.bpmn", classified)
	env.Start("classified", somebody)
	rotated(t, env, api.RotateKeyRequest{Key: "subject", Subject: "p-1"})
	rewrapped(t, env)
	retired(t, env, api.RetireKeyRequest{Key: "tenant", Version: "1"})
	rotated(t, env, api.RotateKeyRequest{Key: "root"})
	retired(t, env, api.RetireKeyRequest{Key: "root", Version: "1"})
	if _, err := env.Engine.RetireKey(t.Context(), env.Ann, api.RetireKeyRequest{Key: "root", Version: "2"}); err == nil {
		t.Error("the newest root key was retired")
	}
	if _, err := env.Engine.RetireKey(t.Context(), env.Ann, api.RetireKeyRequest{Key: "tenant", Version: "2", DryRun: true}); err == nil {
		t.Error("the newest tenant key could be retired")
	}
	want := []string{
		"tenant_key.made",
		"tenant_key.rotation_ordered", "tenant_key.rotated",
		"audit_key.rotation_ordered", "audit_key.rotated",
		"subject_key.rotation_ordered", "subject_key.rotated",
		"data_keys.rewrap_ordered", "data_keys.rewrapped",
		"tenant_key.retirement_ordered", "tenant_key.retired",
		"root_key.rotation_ordered", "root_key.rotated",
		"root_key.retirement_ordered", "root_key.retired",
		"root_key.retirement_ordered", "root_key.retirement_unfinished",
	}
	if got := keySteps(t, env); !slices.Equal(got, want) {
		t.Errorf("the record says %v, want %v", got, want)
	}
	env.Restart(nil)
	if got := keySteps(t, env); !slices.Equal(got, want) {
		t.Errorf("after a restart the record says %v", got)
	}
}

// TestNoKeyIsChangedWithoutAnOrder has the order fail that each change begins with.
func TestNoKeyIsChangedWithoutAnOrder(t *testing.T) {
	t.Parallel()
	env, now := clocked(t)
	env.Deploy("c.bpmn", classified)
	env.Start("classified", somebody)
	now.pass(time.Second)
	rotated(t, env, api.RotateKeyRequest{Key: "tenant"})
	rewrapped(t, env)
	rotated(t, env, api.RotateKeyRequest{Key: "root"})
	keys := func() api.Keys {
		k, err := env.Engine.Keys(t.Context(), env.Ann)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	before := keys()
	noLeaves(t, env)
	changes := keyChanges(t.Context(), env)
	for _, c := range changes {
		if err := c.do(); err == nil {
			t.Errorf("%s without a leaf", c.name)
		}
	}
	after := keys()
	if len(after.TenantKeys) != len(before.TenantKeys) || len(after.RootKeys) != len(before.RootKeys) || after.Rewrap.Running ||
		!slices.Equal(after.Purposes, before.Purposes) || after.Subjects.Former != before.Subjects.Former {
		t.Errorf("keys changed from %+v to %+v", before, after)
	}
	leavesAgain(t, env)
	for _, c := range changes {
		if err := c.do(); err != nil {
			t.Errorf("%s when leaves can be written again: %v", c.name, err)
		}
	}
}

type keyChange struct {
	name string
	do   func() error
}

// keyChanges are all that can be done to keys, in an order in which each can be done.
func keyChanges(ctx context.Context, env *testenv.Env) []keyChange {
	rotate := func(key string) func() error {
		return func() error {
			_, err := env.Engine.RotateKey(ctx, env.Ann, api.RotateKeyRequest{Key: key})
			return err
		}
	}
	retire := func(key string) func() error {
		return func() error {
			_, err := env.Engine.RetireKey(ctx, env.Ann, api.RetireKeyRequest{Key: key, Version: "1"})
			return err
		}
	}
	return []keyChange{
		{"retire the tenant key", retire("tenant")}, {"retire the root key", retire("root")},
		{"rotate the tenant key", rotate("tenant")}, {"rotate the audit key", rotate("audit")}, {"rotate the index key", rotate("index")}, {"rotate the root key", rotate("root")},
		{"renew the keys of persons", func() error {
			_, err := env.Engine.RenewKeys(ctx, env.Ann, api.RenewKeysRequest{Of: "subjects"})
			return err
		}},
		{"rotate a person's key", func() error {
			_, err := env.Engine.RotateKey(ctx, env.Ann, api.RotateKeyRequest{Key: "subject", Subject: "p-1"})
			return err
		}},
		{"rewrap", func() error {
			_, err := env.Engine.RewrapKeys(ctx, env.Ann, api.RewrapRequest{})
			return err
		}},
	}
}

// TestAnOrderWithoutAnOutcomeIsSettled lets each outcome be lost, as a crash between
// the keys and the log does, and looks at the record after a restart and after the
// next order.
func TestAnOrderWithoutAnOutcomeIsSettled(t *testing.T) {
	t.Parallel()
	crash := errors.New("the power failed")
	for name, c := range map[string]struct {
		at   string // what is not written any more
		want string // last leaf in the end
	}{
		"after the rotation": {"commit tenant_key.rotated", "tenant_key.rotated"},
		"before it":          {"rotate", "tenant_key.rotation_unfinished"},
	} {
		for _, restart := range []bool{true, false} {
			env := testenv.New(t, nil)
			engine.FailErasures(env.Engine, func(point string) error {
				if point == c.at || c.at == "rotate" && point != "commit tenant_key.rotation_ordered" {
					return crash
				}
				return nil
			})
			if _, err := env.Engine.RotateKey(t.Context(), env.Ann, api.RotateKeyRequest{Key: "tenant"}); !errors.Is(err, crash) {
				t.Fatalf("%s: %v", name, err)
			}
			if got := keySteps(t, env); got[len(got)-1] != "tenant_key.rotation_ordered" {
				t.Fatalf("%s: the record says %v", name, got)
			}
			if restart {
				env.Restart(nil)
			} else {
				engine.FailErasures(env.Engine, nil)
				rotated(t, env, api.RotateKeyRequest{Key: "audit"})
			}
			got := keySteps(t, env)
			if len(got) < 3 || got[2] != c.want || slices.Contains(got[3:], c.want) {
				t.Errorf("%s, restarted: %t: the record says %v", name, restart, got)
			}
		}
	}
}
