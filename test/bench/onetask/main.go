// Command onetask measures how many instances of the smallest useful process a
// server completes: start, one job by a worker over loopback HTTP, end.
//
// It starts "underseal serve" as a child process with a fresh data directory (or
// on the Postgres of -database), and uses nothing but the public client. Load
// comes from 32 starters and 4 workers on the same machine. Each mode is measured
// in rounds, alternating; then at half the rate reached, with starts at fixed
// times.
//
// An instance's time runs from when its start was due until the server has
// acknowledged the job's completion, which is the instance's last step.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/underseal/underseal/test/bench/load"
)

// options are the flags.
type options struct {
	binary     string
	dir        string
	database   string
	comparison load.Comparison
	json       bool
}

func parseOptions(args []string, stderr io.Writer) (options, error) {
	o := options{comparison: load.UsualComparison}
	c := &o.comparison
	f := flag.NewFlagSet("onetask", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.binary, "binary", "bin/underseal", "the server's binary")
	f.StringVar(&o.dir, "dir", "", "where the temporary data directory is made; must be a real disk")
	f.StringVar(&o.database, "database", "", "Postgres instead of SQLite: env:NAME or file:PATH of a connection string to an empty database")
	f.IntVar(&c.Starters, "starters", c.Starters, "goroutines that start instances")
	f.IntVar(&c.Workers, "workers", c.Workers, "workers")
	f.IntVar(&c.Batch, "batch", c.Batch, "jobs a worker takes and works on at a time")
	f.IntVar(&c.Open, "open", c.Open, "instances that may be open at a time")
	f.DurationVar(&c.WarmUp, "warmup", c.WarmUp, "load before the first measurement")
	f.DurationVar(&c.Measure, "measure", c.Measure, "time measured for each mode")
	f.DurationVar(&c.Half, "half", c.Half, "time measured at half the rate, confidential; 0 leaves it out")
	f.IntVar(&c.Rounds, "rounds", c.Rounds, "how many rounds the measured time is split into; even")
	f.BoolVar(&o.json, "json", false, "write the result as JSON")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if c.Rounds < 2 || c.Rounds%2 != 0 || c.Starters < 1 || c.Workers < 1 || c.Batch < 1 || c.Open < 1 {
		return o, errors.New("-rounds must be even, and counts positive")
	}
	return o, nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseOptions(args, stderr)
	if err != nil {
		return err
	}
	result, err := o.comparison.Run(ctx, o.binary, o.dir, o.database, stderr)
	if err != nil {
		return err
	}
	if o.json {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(result)
	}
	write(stdout, result)
	return nil
}

func write(w io.Writer, r load.Report) {
	fmt.Fprintf(w, "one_task on %s, %d starters, %d workers\n", r.Database, r.Starters, r.Workers)
	fmt.Fprintf(w, "%-26s %12s %10s %10s\n", "", "instances/s", "p50 ms", "p99 ms")
	line := func(name string, f load.Figures) {
		fmt.Fprintf(w, "%-26s %12.0f %10.1f %10.1f\n", name, f.Rate, f.P50, f.P99)
	}
	line("standard", r.Standard)
	line("confidential", r.Confidential)
	if r.Half != nil {
		line("confidential, half rate", *r.Half)
	}
	fmt.Fprintf(w, "confidential / standard: %.2f\n", r.Ratio)
}
