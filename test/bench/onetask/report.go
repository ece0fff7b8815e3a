package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// sample is what was measured over some time.
type sample struct {
	took  time.Duration
	times []time.Duration // one for each instance completed
}

func (s *sample) add(other sample) {
	s.took += other.took
	s.times = append(s.times, other.times...)
}

// figures are a sample in short. Times are milliseconds.
type figures struct {
	Completed int     `json:"completed"`
	Rate      float64 `json:"rate"` // completed instances per second
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
}

func (s *sample) figures() figures {
	if len(s.times) == 0 {
		return figures{}
	}
	slices.Sort(s.times)
	at := func(q float64) float64 {
		i := min(int(q*float64(len(s.times))), len(s.times)-1)
		return float64(s.times[i].Microseconds()) / 1000
	}
	return figures{Completed: len(s.times), Rate: float64(len(s.times)) / s.took.Seconds(), P50: at(0.50), P99: at(0.99)}
}

// report is the whole result.
type report struct {
	Database     string   `json:"database"`
	Starters     int      `json:"starters"`
	Workers      int      `json:"workers"`
	Standard     figures  `json:"standard"`
	Confidential figures  `json:"confidential"`
	Ratio        float64  `json:"confidential_to_standard"`
	Half         *figures `json:"confidential_at_half_rate,omitempty"`
}

func (r report) print(w io.Writer) {
	fmt.Fprintf(w, "one_task on %s, %d starters, %d workers\n", r.Database, r.Starters, r.Workers)
	fmt.Fprintf(w, "%-26s %12s %10s %10s\n", "", "instances/s", "p50 ms", "p99 ms")
	line := func(name string, f figures) {
		fmt.Fprintf(w, "%-26s %12.0f %10.1f %10.1f\n", name, f.Rate, f.P50, f.P99)
	}
	line("standard", r.Standard)
	line("confidential", r.Confidential)
	if r.Half != nil {
		line("confidential, half rate", *r.Half)
	}
	fmt.Fprintf(w, "confidential / standard: %.2f\n", r.Ratio)
}
