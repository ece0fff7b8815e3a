package load

import (
	"slices"
	"time"
)

// Sample is what was measured over some time.
type Sample struct {
	took  time.Duration
	times []time.Duration // one for each instance completed
}

// Add adds what was measured over some other time.
func (s *Sample) Add(other Sample) {
	s.took += other.took
	s.times = append(s.times, other.times...)
}

// Figures are a sample in short. Times are milliseconds.
type Figures struct {
	Completed int     `json:"completed"`
	Rate      float64 `json:"rate"` // completed instances per second
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
}

// Figures returns the sample in short.
func (s *Sample) Figures() Figures {
	if len(s.times) == 0 {
		return Figures{}
	}
	slices.Sort(s.times)
	at := func(q float64) float64 {
		i := min(int(q*float64(len(s.times))), len(s.times)-1)
		return float64(s.times[i].Microseconds()) / 1000
	}
	return Figures{Completed: len(s.times), Rate: float64(len(s.times)) / s.took.Seconds(), P50: at(0.50), P99: at(0.99)}
}
