package identity_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
)

// The list of break-glasses is bounded: what is over makes room, the asker's own first, and
// what waits or counts does not.
func TestBreakGlassesThatAreOverMakeRoom(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	n := 0
	ask := func(of *identity.Tenant, by string, state identity.BreakGlassState) error {
		n++
		return of.Ask(identity.BreakGlass{ID: fmt.Sprintf("%s %d", by, n), By: by, State: state, Expires: now.Add(time.Hour)}, now)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var of identity.Tenant
	must(ask(&of, "vic", identity.EndedByHand))
	for range 200 {
		must(ask(&of, "dora", identity.EndedByHand))
	}
	if len(of.BreakGlass) != 50 || of.BreakGlass[0].By != "vic" || of.BreakGlass[49].ID != "dora 201" {
		t.Errorf("%d are listed, from %q to %q, want 50, Vic's and Dora's newest", len(of.BreakGlass), of.BreakGlass[0].ID, of.BreakGlass[49].ID)
	}
	for i := range 50 {
		must(ask(&of, fmt.Sprint("person ", i/3), identity.Asked))
	}
	if slices.ContainsFunc(of.BreakGlass, func(b identity.BreakGlass) bool { return b.State != identity.Asked }) || len(of.BreakGlass) != 50 {
		t.Error("those that are over are kept in place of those that wait")
	}
	if err := ask(&of, "zoe", identity.Asked); fault.CodeOf(err) != "too_many_break_glass" || len(of.BreakGlass) != 50 {
		t.Errorf("the fifty-first that waits: %v", err)
	}
	now = now.Add(25 * time.Hour)
	if must(ask(&of, "zoe", identity.Asked)); len(of.BreakGlass) != 1 {
		t.Errorf("%d are kept, want those that are long over left out", len(of.BreakGlass))
	}
}
