package process_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/process"
)

// The process of the floors: a job completed, one exclusive gateway, the next job,
// and so for ever, over 8 variables of 128 bytes.
const benchmarked = `
	start s
	service a
	xor gate
	end e
	s -> a
	a -> gate
	gate -> a if amount > 10
	gate -> e default
`

type fleet struct {
	d      *process.Definition
	states []*process.State
	jobs   []uint64
}

func launch(b *testing.B, n int) *fleet {
	b.Helper()
	f := &fleet{d: define(b, benchmarked), states: make([]*process.State, n), jobs: make([]uint64, n)}
	for i := range n {
		f.states[i] = process.NewState()
		// Values and names of its own, as an instance loaded from the store has.
		entries := []canon.Entry{{Name: "amount", Value: canon.NewNumber(int64(11 + i))}}
		for k := range 8 {
			entries = append(entries, canon.Entry{
				Name: fmt.Sprint("variable", k), Value: canon.String(strings.Repeat("x", 128)),
			})
		}
		variables, err := canon.NewContext(entries...)
		if err != nil {
			b.Fatal(err)
		}
		f.step(b, i, process.Start{Variables: variables})
	}
	return f
}

func (f *fleet) step(b *testing.B, i int, e process.Event) {
	out, err := process.Step(f.d, f.states[i], process.Input{Event: e, At: begin})
	if err != nil || out.Rejected != nil {
		b.Fatal(err, out.Rejected)
	}
	for _, c := range out.Commands {
		if offer, ok := c.(process.OfferJob); ok {
			f.jobs[i] = offer.Job
		}
	}
}

// run completes one job after another, each of another instance, on one core.
func (f *fleet) run(b *testing.B) {
	old := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(old)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		f.step(b, i, process.JobCompleted{Job: f.jobs[i]})
		i = (i + 7919) % len(f.states) // not in the order of memory
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "steps/s")
}

func BenchmarkStepJobGatewayJob(b *testing.B) { launch(b, 1).run(b) }

func BenchmarkStepJobGatewayJob200k(b *testing.B) {
	before := heap()
	f := launch(b, 200_000)
	b.Logf("%d bytes per instance with its variables", (heap()-before)/200_000)
	f.run(b)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
