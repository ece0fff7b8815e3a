package runner_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/underseal/underseal/internal/runner"
)

// TestJobsComeOldestFirst of those that still wait, whichever ended meanwhile; of the
// others nothing is kept but what one copy is spared by.
func TestJobsComeOldestFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := runner.NewWaiting()
		var waits []uint64
		last := uint64(0)
		drop := func(i int) {
			w.Drop(waits[i])
			waits = slices.Delete(waits, i, i+1)
		}
		t.Repeat(map[string]func(*rapid.T){
			"offer": func(t *rapid.T) {
				last++
				w.Offer(last, rapid.SampledFrom([]string{"a", "b"}).Draw(t, "element"))
				waits = append(waits, last)
			},
			"drop": func(t *rapid.T) {
				if len(waits) == 0 {
					t.Skip("none waits")
				}
				drop(rapid.IntRange(0, len(waits)-1).Draw(t, "which"))
			},
			"drop all but the first": func(t *rapid.T) {
				for len(waits) > 1 {
					drop(1)
				}
			},
			"take": func(t *rapid.T) {
				want := uint64(0)
				if len(waits) > 0 {
					want = waits[0]
					waits = slices.Delete(waits, 0, 1)
				}
				if got := w.Pop(); got != want {
					t.Fatalf("job %d comes, want %d", got, want)
				}
			},
			"": func(t *rapid.T) {
				if n := w.Tickets(); n < len(waits) || n > 2*len(waits) {
					t.Fatalf("%d tickets are kept of %d jobs that wait", n, len(waits))
				}
			},
		})
	})
}
