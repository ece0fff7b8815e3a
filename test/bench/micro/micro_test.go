package micro_test

import (
	"testing"

	"github.com/underseal/underseal/test/bench/micro"
)

const output = `goos: linux
pkg: github.com/underseal/underseal/internal/process
BenchmarkStep-2   	  100000	      1200 ns/op	    800000 steps/s	     512 B/op
BenchmarkStep-2   	  100000	      1000 ns/op	   1000000 steps/s	     512 B/op
BenchmarkStep-2   	  100000	      1100 ns/op	    900000 steps/s	     512 B/op
PASS
ok  	github.com/underseal/underseal/internal/process	3.638s
`

func TestTheBestOfSeveralRunsIsKept(t *testing.T) {
	got, err := micro.Read(output)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got["Step"]["ns/op"] != 1000 || got["Step"]["steps/s"] != 1_000_000 || got.Micros("Step") != 1 {
		t.Errorf("Read gives %v, want the best of three runs of Step", got)
	}
}

func TestWhatIsNoFigureIsRefused(t *testing.T) {
	for _, line := range []string{"BenchmarkStep-2 100 many ns/op", "BenchmarkStep-2 100 12 ns/op 13"} {
		if got, err := micro.Read(line); err == nil {
			t.Errorf("Read(%q) = %v, want an error", line, got)
		}
	}
}
