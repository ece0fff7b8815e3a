// Command onetask measures how many instances of the smallest useful process a
// server completes: start, one job by a worker over loopback HTTP, end.
//
// It starts "underseal serve" as a child process with a fresh data directory (or
// on the Postgres of -database), and uses nothing but the public client. An
// instance has 8 variables of 128 bytes, of which the job changes 2. Load comes
// from 32 starters and 4 workers on the same machine. Each mode is measured in
// rounds, alternating in the order standard, confidential, confidential,
// standard, so that drift hits both alike; then at half the rate reached, with
// starts at fixed times, so that a slow answer does not thin out the load.
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
	"time"
)

// options are the flags.
type options struct {
	binary   string
	dir      string
	database string
	starters int
	workers  int
	batch    int
	open     int
	warmUp   time.Duration
	measure  time.Duration
	half     time.Duration
	rounds   int
	json     bool
}

func parseOptions(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("onetask", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.binary, "binary", "bin/underseal", "the server's binary")
	f.StringVar(&o.dir, "dir", "", "where the temporary data directory is made; must be a real disk")
	f.StringVar(&o.database, "database", "", "Postgres instead of SQLite: env:NAME or file:PATH of a connection string to an empty database")
	f.IntVar(&o.starters, "starters", 32, "goroutines that start instances")
	f.IntVar(&o.workers, "workers", 4, "workers")
	f.IntVar(&o.batch, "batch", 32, "jobs a worker takes and works on at a time")
	f.IntVar(&o.open, "open", 256, "instances that may be open at a time")
	f.DurationVar(&o.warmUp, "warmup", 10*time.Second, "load before the first measurement")
	f.DurationVar(&o.measure, "measure", 30*time.Second, "time measured for each mode")
	f.DurationVar(&o.half, "half", 20*time.Second, "time measured at half the rate, confidential; 0 leaves it out")
	f.IntVar(&o.rounds, "rounds", 2, "how many rounds the measured time is split into; even")
	f.BoolVar(&o.json, "json", false, "write the result as JSON")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.rounds < 2 || o.rounds%2 != 0 || o.starters < 1 || o.workers < 1 || o.batch < 1 || o.open < 1 {
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
	server, err := startServer(o)
	if err != nil {
		return err
	}
	result, err := measureAll(ctx, o, server, stderr)
	if err = errors.Join(err, server.stop()); err != nil {
		return err
	}
	if o.json {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(result)
	}
	result.print(stdout)
	return nil
}

// measureAll deploys both processes and measures them in turn.
func measureAll(ctx context.Context, o options, s *server, progress io.Writer) (report, error) {
	r := report{Database: "sqlite", Starters: o.starters, Workers: o.workers}
	if o.database != "" {
		r.Database = "postgres"
	}
	standard, confidential := newLoad(o, s.client, "standard"), newLoad(o, s.client, "confidential")
	for _, l := range []*load{standard, confidential} {
		if err := l.deploy(ctx); err != nil {
			return r, err
		}
	}
	slice := o.measure / time.Duration(o.rounds)
	fmt.Fprintf(progress, "warming up for %v\n", o.warmUp)
	for _, l := range []*load{standard, confidential} {
		if _, err := l.full(ctx, o.warmUp/2); err != nil {
			return r, err
		}
	}
	samples := map[*load]*sample{standard: {}, confidential: {}}
	for round := range o.rounds {
		order := []*load{standard, confidential}
		if round%2 == 1 {
			order = []*load{confidential, standard}
		}
		for _, l := range order {
			fmt.Fprintf(progress, "round %d of %d: %s for %v\n", round+1, o.rounds, l.mode, slice)
			got, err := l.full(ctx, slice)
			if err != nil {
				return r, err
			}
			samples[l].add(got)
		}
	}
	r.Standard, r.Confidential = samples[standard].figures(), samples[confidential].figures()
	r.Ratio = r.Confidential.Rate / r.Standard.Rate
	if o.half > 0 {
		fmt.Fprintf(progress, "confidential at half the rate for %v\n", o.half)
		got, err := confidential.paced(ctx, r.Confidential.Rate/2, o.half)
		if err != nil {
			return r, err
		}
		half := got.figures()
		r.Half = &half
	}
	return r, nil
}
