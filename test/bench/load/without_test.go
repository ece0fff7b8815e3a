package load_test

import (
	"testing"

	"github.com/underseal/underseal/test/bench/load"
)

// TestTheServerWithoutAPartCompiles keeps the changes that take a part out of a build for a
// measurement in step with the sources that they change.
func TestTheServerWithoutAPartCompiles(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles packages")
	}
	for _, part := range []load.Part{load.TheLog, load.Access} {
		if err := load.CompileWithout(t.Context(), part, "../../..", t.TempDir()); err != nil {
			t.Error(err)
		}
	}
}
