package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// Comparison is how the two modes are measured on one server.
type Comparison struct {
	Shape
	WarmUp  time.Duration // before the first round, both modes together
	Measure time.Duration // for each mode, over all rounds
	Half    time.Duration // at half the rate, confidential; 0 leaves it out
	Rounds  int           // even
}

// UsualComparison is what the floors are about.
var UsualComparison = Comparison{Shape: Usual, WarmUp: 10 * time.Second, Measure: 30 * time.Second, Half: 15 * time.Second, Rounds: 6}

// Report is what a comparison found.
type Report struct {
	Database     string   `json:"database"`
	Starters     int      `json:"starters"`
	Workers      int      `json:"workers"`
	Standard     Figures  `json:"standard"`
	Confidential Figures  `json:"confidential"`
	Ratio        float64  `json:"confidential_to_standard"`
	Half         *Figures `json:"confidential_at_half_rate,omitempty"`
}

// Run starts a server on an empty home below dir ("": the temporary directory),
// or on the database of a reference, compares the modes on it and removes it.
func (c Comparison) Run(ctx context.Context, binary, dir, database string, progress io.Writer) (r Report, err error) {
	if err := OnDisk(dir); err != nil {
		return r, err
	}
	h := Home{Binary: binary, Database: database}
	if h.Dir, err = os.MkdirTemp(dir, "underseal-bench-"); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(h.Dir)) }()
	server, err := h.Start(c.Shape)
	if err != nil {
		return r, err
	}
	r, err = c.measure(ctx, server, progress)
	if r.Database = "sqlite"; database != "" {
		r.Database = "postgres"
	}
	return r, errors.Join(err, server.Stop())
}

// measure deploys both processes and measures them in turn, in the order
// standard, confidential, confidential, standard, so that drift hits both alike.
func (c Comparison) measure(ctx context.Context, s *Server, progress io.Writer) (Report, error) {
	r := Report{Starters: c.Starters, Workers: c.Workers}
	standard, confidential := New(s.Client, "standard", c.Shape), New(s.Client, "confidential", c.Shape)
	for _, l := range []*Load{standard, confidential} {
		if err := l.Deploy(ctx); err != nil {
			return r, err
		}
	}
	fmt.Fprintf(progress, "warming up for %v\n", c.WarmUp)
	for _, l := range []*Load{standard, confidential} {
		if _, err := l.Full(ctx, c.WarmUp/2); err != nil {
			return r, err
		}
	}
	slice := c.Measure / time.Duration(c.Rounds)
	samples := map[*Load]*Sample{standard: {}, confidential: {}}
	for round := range c.Rounds {
		order := []*Load{standard, confidential}
		if round%2 == 1 {
			order = []*Load{confidential, standard}
		}
		for _, l := range order {
			fmt.Fprintf(progress, "round %d of %d: %s for %v\n", round+1, c.Rounds, l.mode, slice)
			got, err := l.Full(ctx, slice)
			if err != nil {
				return r, err
			}
			samples[l].Add(got)
		}
	}
	r.Standard, r.Confidential = samples[standard].Figures(), samples[confidential].Figures()
	r.Ratio = r.Confidential.Rate / r.Standard.Rate
	return r, c.atHalf(ctx, confidential, &r, progress)
}

// halfRounds is how many rounds the time at half the rate is split into. Odd, so that
// one of them is in the middle.
const halfRounds = 5

// atHalf measures times where a slow answer does not thin out the load. What the full
// load left behind is over when the first round, which does not count, is. The p99 is
// the middle one of the rounds': a pause of the machine then counts once.
func (c Comparison) atHalf(ctx context.Context, l *Load, r *Report, progress io.Writer) error {
	if c.Half == 0 {
		return nil
	}
	fmt.Fprintf(progress, "confidential at half the rate for %v\n", c.Half)
	var all Sample
	var p99s []float64
	for round := range halfRounds + 1 {
		got, err := l.Paced(ctx, r.Confidential.Rate/2, c.Half/halfRounds)
		if err != nil {
			return err
		}
		if round == 0 {
			continue
		}
		p99s = append(p99s, got.Figures().P99)
		all.Add(got)
	}
	half := all.Figures()
	slices.Sort(p99s)
	half.P99 = p99s[halfRounds/2]
	r.Half = &half
	return nil
}
