package runner_test

import (
	"testing"

	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/runner"
	"github.com/underseal/underseal/internal/store"
)

// Who leaves a seat with an instance in it may be overtaken by who drops that instance.
func TestASeatThatNobodyUsesMayBeEmpty(t *testing.T) {
	scope := store.NewScope("main")
	before, after := runner.LeaveEmptySeat(scope, func(l *engine.Live) bool { return l.Scope() == scope })
	if before != 1 || after != 0 {
		t.Errorf("%d seats before and %d after, want the empty one and then none", before, after)
	}
}
