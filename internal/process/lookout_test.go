package process_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/process"
)

// crowd is a process in which n inclusive joins wait at once.
func crowd(n int) string {
	var b strings.Builder
	b.WriteString("start s\nand fork\n")
	for i := range n {
		fmt.Fprintf(&b, "or j%d\n", i)
	}
	b.WriteString("s -> fork\n")
	for i := range n {
		fmt.Fprintf(&b, "fork -> j%d\nfork -> j%d\n", i, i)
	}
	return b.String()
}

// A look at every join for each that fires would be 50 times the limit.
func TestManyInclusiveJoinsAreLookedAtOnlyWhenSomethingChanged(t *testing.T) {
	play(t, define(t, crowd(1000)), "").wantDone()
}

func TestLooksAtJoinsCountAsWork(t *testing.T) {
	p := play(t, define(t, crowd(4500)), "") // 9,000 arrivals and 4,500 looks
	if got := p.open(); !strings.HasPrefix(got, "loop_limit@j") {
		t.Fatalf("open: %q, want loop_limit", got)
	}
	p.step(process.IncidentRetried{Incident: p.s.Incidents()[0].ID}).wantDone()
}
