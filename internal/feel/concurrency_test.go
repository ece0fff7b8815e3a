package feel_test

import (
	"sync"
	"testing"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/feel"
)

// TestExpressionsAreShared evaluates one expression over one scope from several
// goroutines; the race detector sees what they would change.
func TestExpressionsAreShared(t *testing.T) {
	src := `sum(people[age > 18].age) / 3 + (function(x) x * 1.5)(a) + string length(replace(first name, "(d)", "$1$1")) + a ** 0.5`
	s := sample(t)
	e, err := feel.Parse(src, feel.Options{Names: s.names()})
	if err != nil {
		t.Fatal(err)
	}
	want, err := e.Eval(s, testEnv)
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for range 100 {
				if got, err := e.Eval(s, testEnv); err != nil || !canon.Equal(got.Value, want.Value) {
					t.Errorf("Eval = %s, %v; want %s", show(got.Value), err, show(want.Value))
				}
			}
		})
	}
	wait.Wait()
}
