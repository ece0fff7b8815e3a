// Command big measures what takes a large database: that a million finished
// instances slow nothing down, how much memory ten thousand live ones take, how
// fast the server starts with both, and what very many keys and a long log take. It
// prints one table with the floors, and fails when one of them is missed.
// docs/performance.md explains the figures.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/underseal/underseal/test/bench/load"
	"github.com/underseal/underseal/test/bench/micro"
	"github.com/underseal/underseal/test/bench/table"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	binary   string
	dir      string
	few      int
	finished int
	live     int
	warmUp   time.Duration
	measure  time.Duration
	rounds   int
	starts   int
}

func parseOptions(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("big", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.binary, "binary", "bin/underseal", "the server's binary")
	f.StringVar(&o.dir, "dir", "", "where the temporary data directories are made: a real disk with 10 GB free for a million instances")
	f.IntVar(&o.few, "few", 10_000, "finished instances of the small database")
	f.IntVar(&o.finished, "finished", 1_000_000, "finished instances of the large database")
	f.IntVar(&o.live, "live", 10_000, "live instances")
	f.DurationVar(&o.warmUp, "warmup", 4*time.Second, "load before each measurement")
	f.DurationVar(&o.measure, "measure", 60*time.Second, "time measured for each database")
	f.IntVar(&o.rounds, "rounds", 6, "how many rounds the measured time is split into; even")
	f.IntVar(&o.starts, "starts", 5, "starts of the server that are timed")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.few < 1 || o.finished < o.few || o.live < 1 || o.rounds < 2 || o.rounds%2 != 0 || o.starts < 1 {
		return o, errors.New("-rounds must be even, -finished not below -few, and counts positive")
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseOptions(args, stderr)
	if err != nil {
		return err
	}
	if err := load.OnDisk(o.dir); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "underseal-big-")
	if err != nil {
		return err
	}
	b := &bench{options: o, dir: dir, progress: stderr}
	b.table.Section(table.Machine())
	err = errors.Join(b.run(ctx), os.RemoveAll(dir))
	if err == nil {
		err = b.table.Missed()
	}
	return errors.Join(b.table.Print(stdout), err) // what was measured before an error is worth seeing
}

// bench is one run of everything.
type bench struct {
	options
	dir      string
	progress io.Writer
	table    table.Table
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.progress, format+"\n", args...) }

func (b *bench) run(ctx context.Context) error {
	size, err := os.Stat(b.binary)
	if err != nil {
		return err
	}
	small, large, err := b.fillBoth(ctx)
	if err != nil {
		return err
	}
	if err := b.rates(ctx, small, large); err != nil {
		return err
	}
	if err := b.memory(ctx, large); err != nil {
		return err
	}
	if err := b.starting(large); err != nil {
		return err
	}
	b.table.Below("size of the binary", megabytes(size.Size()), 60, "MB")
	if err := b.manyStates(ctx); err != nil {
		return err
	}
	if err := b.manyKeys(ctx); err != nil {
		return err
	}
	return b.manyLeaves(ctx)
}

// manyLeaves measures what reads very much of a log.
func (b *bench) manyLeaves(ctx context.Context) error {
	b.say("checking a log of 100,000 leaves")
	check, err := micro.Run(ctx, 1, time.Second, "./internal/engine", "FsckLog")
	if err != nil {
		return err
	}
	b.say("searching an audit of 1,000,000 entries, which are made first")
	all, err := micro.RunOnAllCores(ctx, 1, time.Second, "./internal/engine", "AuditSearch")
	if err != nil {
		return err
	}
	b.table.Section("the log, on SQLite")
	b.table.AtLeast("fsck, one core: leaves with their tree and checkpoints", check["FsckLog"]["leaves/s"], 50_000, "/s")
	b.table.Show("fsck, one core: leaves of no object, opened and committed to again", check["FsckLog"]["objects/s"], "/s")
	search := all["AuditSearch"]
	b.table.Section("a page of 50 of 1,000,000 entries of the audit, newest first")
	b.table.Show("of everything", search["ms/newest"], "ms")
	b.table.Show("of one of 1,000 people", search["ms/person"], "ms")
	b.table.Show("what was refused to them", search["ms/person-and-kind"], "ms")
	b.table.Show("of one of 10,000 instances", search["ms/instance"], "ms")
	b.table.Show("all 20 entries of somebody", search["ms/rare-person"], "ms")
	b.table.Show("none, of nobody", search["ms/nobody"], "ms")
	return nil
}

// manyKeys measures what touches very many keys at once.
func (b *bench) manyKeys(ctx context.Context) error {
	b.say("rewrapping 100,000 keys, erasing a person of 1,000 instances")
	rewrap, err := micro.RunOnAllCores(ctx, 3, time.Second, "./internal/keyring", "Rewrap")
	if err != nil {
		return err
	}
	erase, err := micro.Run(ctx, 1, time.Second, "./internal/engine", "EraseSubject")
	if err != nil {
		return err
	}
	b.table.Section("keys")
	b.table.AtLeast("data keys wrapped anew, on all cores", rewrap["Rewrap"]["keys/s"], 50_000, "/s")
	b.table.Below("erase a person with 10,000 fields in 1,000 instances", erase["EraseSubject"]["ms/person"], 1000, "ms")
	return nil
}

// manyStates compares the interpreter with many instances in memory with one.
// The two run in turn, so that what else the machine does hits both; the median
// of the ratios counts.
func (b *bench) manyStates(ctx context.Context) error {
	const pairs = 3
	b.say("process.Step with one instance and with 200,000")
	var one, many, ratios []float64
	for range pairs {
		f, err := micro.Run(ctx, 1, time.Second, "./internal/process", "StepJobGatewayJob", "StepJobGatewayJob200k")
		if err != nil {
			return err
		}
		one = append(one, f["StepJobGatewayJob"]["steps/s"])
		many = append(many, f["StepJobGatewayJob200k"]["steps/s"])
		ratios = append(ratios, many[len(many)-1]/one[len(one)-1])
	}
	slices.Sort(ratios)
	b.table.Section("process.Step on one core: job completed, gateway, next job")
	b.table.AtLeast("with one live instance, best of three", slices.Max(one), 300_000, "/s")
	b.table.AtLeast("with 200,000, best of three", slices.Max(many), 0.8*300_000, "/s")
	b.table.Show("200,000 / one, median of three", ratios[pairs/2], "")
	return nil
}

func megabytes(bytes int64) float64 { return float64(bytes) / 1e6 }

// usual is a confidential load on a server.
func usual(s *load.Server) *load.Load { return load.New(s.Client, "confidential", load.Usual) }
