package engine_test

import (
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

func TestARenewedKeyTakesOver(t *testing.T) { onBoth(t, renewedKey) }

// renewedKey renews an instance's key between two steps: what was sealed before
// and what comes after is both there, also for a server that starts anew.
func renewedKey(t *testing.T, env *testenv.Env) {
	env.Deploy("c.bpmn", classified)
	id := env.Start("classified", somebody)
	env.Restart(func() { // a minute later: no key is older than the moment it was made in
		env.Config.Now = func() time.Time { return time.Now().Add(time.Minute) }
	})
	before := env.Instance(id)
	renewed, err := env.Engine.RenewKeys(t.Context(), env.Ann, api.RenewKeysRequest{})
	if err != nil || renewed.Seen != 1 || renewed.Renewed != 1 || len(renewed.Failed) != 0 {
		t.Fatalf("RenewKeys = %+v, %v, want one of one", renewed, err)
	}
	env.Work("work", `{"undeclared": "result"}`)
	env.Restart(nil)
	after, err := env.Engine.Export(t.Context(), env.Ann, id)
	if err != nil {
		t.Fatalf("Export: %v", err)
	}
	if got := len(after.Steps); got != 3 || after.Steps[1].Event != "key_renewed" || after.Steps[1].Actor != "ann" {
		t.Errorf("%d steps, the second one %+v, want the renewal by ann as second of 3", got, after.Steps[1])
	}
	if got := len(env.Instance(id).Fields); got != len(before.Fields)+1 {
		t.Errorf("%d fields, want those of before, %d, and the job's result", got, len(before.Fields))
	}
}

func TestKeysAreRenewedOnce(t *testing.T) {
	t.Parallel()
	clock := newClock(time.Now())
	env := testenv.New(t, func(c *node.Config) { c.Now = clock.now })
	env.Deploy("c.bpmn", classified)
	for range 5 {
		env.Start("classified", somebody)
	}
	clock.pass(time.Hour)
	seen, renewed, page := 0, 0, api.RenewKeysRequest{OlderThanMS: 30 * 60_000, Limit: 2}
	for {
		out, err := env.Engine.RenewKeys(t.Context(), env.Ann, page)
		if err != nil {
			t.Fatal(err)
		}
		seen, renewed = seen+out.Seen, renewed+out.Renewed
		if page.After = out.Next; out.Next == "" {
			break
		}
	}
	if seen != 5 || renewed != 5 {
		t.Errorf("saw %d instances and renewed %d keys, want 5 and 5", seen, renewed)
	}
	out, err := env.Engine.RenewKeys(t.Context(), env.Ann, api.RenewKeysRequest{OlderThanMS: 30 * 60_000})
	if err != nil || out.Seen != 5 || out.Renewed != 0 {
		t.Errorf("again: %+v, %v, want 5 seen and none renewed", out, err)
	}
	if _, err := env.Engine.RenewKeys(t.Context(), env.Ann, api.RenewKeysRequest{OlderThanMS: -1}); !fault.Is(err, fault.Invalid) {
		t.Errorf("keys newer than now: %v, want invalid", err)
	}
}
