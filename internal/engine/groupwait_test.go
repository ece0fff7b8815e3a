package engine_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/testenv"
)

// TestADeletedGroupIsLookedForWithoutWaiting counts what is read while nobody else changes
// the company's people: as much of many people as of few, and whoever joins meanwhile is seen.
func TestADeletedGroupIsLookedForWithoutWaiting(t *testing.T) {
	t.Parallel()
	var at atomic.Pointer[engine.Engine]
	var read atomic.Int64
	type deleting struct{} // and not what others ask meanwhile
	env := testenv.New(t, func(c *node.Config) {
		c.Observe = func(ctx context.Context, _, _ string, _ int) {
			if e := at.Load(); ctx.Value(deleting{}) != nil && engine.ChangingPeople(e, "main") {
				read.Add(1)
			}
		}
	})
	ctx, e := t.Context(), env.Engine
	create := func(name string) {
		t.Helper()
		if _, err := e.CreateGroup(ctx, env.Ann, api.GroupRequest{Name: name}, ""); err != nil {
			t.Fatal(err)
		}
	}
	invite := func(name string, groups ...string) {
		t.Helper()
		if _, err := e.InviteUser(ctx, env.Ann, api.UserRequest{Name: name, Kind: "service", Groups: groups}, ""); err != nil {
			t.Fatal(err)
		}
	}
	deleted := func(name string) int64 {
		t.Helper()
		create(name)
		read.Store(0)
		at.Store(e)
		ctx := context.WithValue(ctx, deleting{}, true)
		if _, err := e.DeleteGroup(ctx, env.Ann, name, api.ReasonRequest{}, ""); err != nil {
			t.Fatal(err)
		}
		return read.Load()
	}
	few := deleted("few")
	for i := range 20 {
		invite(fmt.Sprintf("p%d", i))
	}
	if many := deleted("many"); few == 0 || many != few {
		t.Errorf("with 20 people more, %d statements are waited for, and %d before", many, few)
	}
	create("clerks")
	invite("bob", "clerks")
	if _, err := e.DeleteGroup(ctx, env.Ann, "clerks", api.ReasonRequest{}, ""); fault.CodeOf(err) != "group_in_use" {
		t.Errorf("a group with a member: %v, want group_in_use", err)
	}
}
