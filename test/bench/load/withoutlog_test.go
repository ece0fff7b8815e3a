package load_test

import (
	"testing"

	"github.com/underseal/underseal/test/bench/load"
)

// TestTheServerWithoutItsLogCompiles keeps the changes that take the log out of a build
// for a measurement in step with the sources that they change.
func TestTheServerWithoutItsLogCompiles(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles packages")
	}
	if err := load.CompileWithoutLog(t.Context(), "../../..", t.TempDir()); err != nil {
		t.Error(err)
	}
}
