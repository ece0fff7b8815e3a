// Command short measures what the project promises, as far as minutes suffice:
// the parts that each step pays for, then the smallest useful process on SQLite
// and on Postgres. It prints one table with the floors, and fails when one of
// them is missed. docs/performance.md explains the figures.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/underseal/underseal/internal/pgtest"
	"github.com/underseal/underseal/test/bench/load"
	"github.com/underseal/underseal/test/bench/micro"
	"github.com/underseal/underseal/test/bench/table"
)

// postgres begins the names of the variables through which servers find databases.
const postgres = "UNDERSEAL_BENCH_POSTGRES_"

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
	binary     string
	dir        string
	only       string
	runs       int
	comparison load.Comparison
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o := options{comparison: load.UsualComparison}
	f := flag.NewFlagSet("short", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.binary, "binary", "bin/underseal", "the server's binary")
	f.StringVar(&o.dir, "dir", "", "where the temporary data directory is made; must be a real disk")
	f.StringVar(&o.only, "only", "", "parts, lists, log, sqlite or postgres: just this part of the table")
	f.IntVar(&o.runs, "runs", 4, "runs of each benchmark of a package; the best counts")
	f.DurationVar(&o.comparison.WarmUp, "warmup", o.comparison.WarmUp, "load before the first measurement")
	f.DurationVar(&o.comparison.Measure, "measure", o.comparison.Measure, "time measured for each mode")
	f.DurationVar(&o.comparison.Half, "half", o.comparison.Half, "time measured at half the rate")
	f.IntVar(&o.comparison.Rounds, "rounds", o.comparison.Rounds, "how many rounds the measured time is split into; even")
	if err := f.Parse(args); err != nil {
		return err
	}
	if o.comparison.Rounds < 2 || o.comparison.Rounds%2 != 0 || o.runs < 1 {
		return errors.New("-rounds must be even, and counts positive")
	}
	var t table.Table
	t.Section(table.Machine())
	err := o.measure(ctx, &t, stderr)
	if err == nil {
		err = t.Missed()
	}
	return errors.Join(t.Print(stdout), err) // what was measured before an error is worth seeing
}

func (o options) measure(ctx context.Context, t *table.Table, progress io.Writer) error {
	found := false
	for _, part := range []struct {
		name    string
		measure func(context.Context, *table.Table, io.Writer) error
	}{{"parts", o.parts}, {"lists", o.lists}, {"log", o.log}, {"sqlite", o.onSQLite}, {"postgres", o.onPostgres}} {
		if o.only != "" && o.only != part.name {
			continue
		}
		found = true
		if err := part.measure(ctx, t, progress); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("-only %s: there is no such part", o.only)
	}
	return nil
}

func (o options) onSQLite(ctx context.Context, t *table.Table, progress io.Writer) error {
	if err := o.oneTask(ctx, t, progress, "SQLite", "", oneTaskFloors{rate: 1000, p99: 100}); err != nil {
		return err
	}
	return o.costs(ctx, t, progress, "SQLite", []string{"", "", ""}, 0.15)
}

// part is what one_task is measured without, and what it may take at most.
type part struct {
	load.Part
	what string
	most float64
}

// costs measures what the log, of which most is a bound, and access take of one_task, on as
// many databases as there are servers.
func (o options) costs(ctx context.Context, t *table.Table, progress io.Writer, name string, databases []string, most float64) error {
	parts := []part{
		{load.TheLog, "trees, checkpoints, leaves of what is shown, checks", most},
		{load.Access, "decisions and leaves of what is shown", 0.10},
	}
	fmt.Fprintln(progress, "one_task with and without parts on", name)
	shorter := o.comparison // what is asked for are ratios of what is measured in turn
	shorter.WarmUp, shorter.Measure = o.comparison.WarmUp*3/5, o.comparison.Measure*2/5
	var without []load.Part
	for _, p := range parts {
		without = append(without, p.Part)
	}
	cost, err := shorter.MeasureWithout(ctx, o.binary, o.dir, databases, progress, without...)
	if err != nil {
		return err
	}
	t.Section("one_task on " + name + " against builds without a part")
	t.Show("completed instances with everything", cost.With, "/s")
	for i, p := range parts {
		t.Show("without "+p.Name, cost.Without[i], "/s")
		t.Below("the part of "+p.what, cost.Part(i), p.most, "")
	}
	return nil
}

// parts measures packages, on one core.
func (o options) parts(ctx context.Context, t *table.Table, progress io.Writer) error {
	all := micro.Figures{}
	for _, part := range []struct {
		pkg   string
		names []string
	}{
		{"./envelope", []string{"SHA256", "Seal1KiB", "Open1KiB", "RawGCM1MiB", "RawGCMOpen1MiB", "SealStream1MiB", "OpenStream1MiB"}},
		{"./ledger", []string{"CommitValue", "VerifyBundle"}},
		{"./internal/process", []string{"StepJobGatewayJob"}},
		{"./internal/feel", []string{"Condition"}},
		{"./internal/keyring", []string{"NewKey", "KeyFromTheCache"}},
		{"./internal/access", []string{"Decide", "DecideAgain"}},
		{"./internal/engine", []string{"Authenticate"}},
	} {
		fmt.Fprintln(progress, "benchmarks of", part.pkg)
		got, err := micro.Run(ctx, o.runs, 300*time.Millisecond, part.pkg, part.names...)
		if err != nil {
			return err
		}
		for name, figures := range got {
			all[name] = figures
		}
	}
	t.Section("parts of a step, on one core")
	t.Show("SHA-256 of 1 KiB, to compare machines", all.Micros("SHA256"), "us")
	t.Below("seal 1 KiB", all.Micros("Seal1KiB"), 2, "us")
	t.Below("open 1 KiB", all.Micros("Open1KiB"), 2, "us")
	t.Show("AES-256-GCM of 1 MiB in one piece", all.Micros("RawGCM1MiB"), "us")
	t.AtLeast("seal a stream of 1 MiB / that", all.Micros("RawGCM1MiB")/all.Micros("SealStream1MiB"), 0.8, "")
	t.AtLeast("read and open a stream of 1 MiB / the same in one piece", all.Micros("RawGCMOpen1MiB")/all.Micros("OpenStream1MiB"), 0.8, "")
	t.AtLeast("process.Step: job completed, gateway, next job", all["StepJobGatewayJob"]["steps/s"], 300_000, "/s")
	t.Show("FEEL condition: two comparisons and an and", all.Micros("Condition"), "us")
	t.Show("commit to a value of 128 bytes", all.Micros("CommitValue"), "us")
	t.Below("verify evidence offline: everything that a bundle can hold", all.Micros("VerifyBundle")/1000, 50, "ms")
	t.Below("decide whether a caller may, who has 1,000 grants", all.Micros("Decide"), 10, "us")
	t.Show("the same once more", all.Micros("DecideAgain"), "us")
	t.Below("find out whose an API key is, and what counts for them", all.Micros("Authenticate"), 50, "us")
	t.Show("a new data key, of those made ahead", all.Micros("NewKey"), "us")
	t.Show("a data key from the cache", all.Micros("KeyFromTheCache"), "us")
	return nil
}

// lists measures what somebody with many grants is shown of very many tasks.
func (o options) lists(ctx context.Context, t *table.Table, progress io.Writer) error {
	fmt.Fprintln(progress, "lists of a million tasks")
	got, err := micro.Run(ctx, 1, time.Second, "./internal/engine", "TaskListSQLite", "TaskListPostgres")
	if err != nil {
		return err
	}
	t.Section("50 of 1,000,000 open tasks, for a user with 200 grants")
	t.Below("listed on SQLite", got["TaskListSQLite"]["ms/list"], 20, "ms")
	t.Below("on Postgres", got["TaskListPostgres"]["ms/list"], 20, "ms")
	return nil
}

// log measures the sequencer on SQLite.
func (o options) log(ctx context.Context, t *table.Table, progress io.Writer) error {
	fmt.Fprintln(progress, "benchmarks of ./internal/sequencer")
	got, err := micro.Run(ctx, 1, time.Second, "./internal/sequencer", "Leaves", "UnderACheckpoint", "ProofIn10M")
	if err != nil {
		return err
	}
	t.Section("the log, on SQLite")
	t.AtLeast("leaves that get a place", got["Leaves"]["leaves/s"], 5000, "/s")
	t.AtLeast("leaves committed while the next was measured", got["UnderACheckpoint"]["leaves/s"], 950, "/s")
	t.Below("a leaf under a checkpoint, p99", got["UnderACheckpoint"]["p99-ms"], 2000, "ms")
	t.Below("proof of a leaf in a log of 10 million", got["ProofIn10M"]["ms/proof"], 20, "ms")
	return nil
}

// onPostgres measures on a server of its own, with fsync on.
func (o options) onPostgres(ctx context.Context, t *table.Table, progress io.Writer) (err error) {
	cluster, err := pgtest.Start()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Stop()) }()
	var references [4]string
	for i := range references {
		dsn, err := cluster.CreateDatabase(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, cluster.DropDatabase(context.WithoutCancel(ctx), dsn)) }()
		name := fmt.Sprint(postgres, i)
		if err := os.Setenv(name, dsn); err != nil {
			return err
		}
		references[i] = "env:" + name
	}
	if err := o.oneTask(ctx, t, progress, "Postgres", references[0], oneTaskFloors{rate: 700}); err != nil {
		return err
	}
	return o.costs(ctx, t, progress, "Postgres", references[1:], 0.25)
}

// oneTaskFloors are what one database must reach.
type oneTaskFloors struct {
	rate float64 // completed instances per second
	p99  float64 // milliseconds at half of the rate reached; 0: none
}

func (o options) oneTask(ctx context.Context, t *table.Table, progress io.Writer, name, database string, floors oneTaskFloors) error {
	fmt.Fprintln(progress, "one_task on", name)
	r, err := o.comparison.Run(ctx, o.binary, o.dir, database, progress)
	if err != nil {
		return err
	}
	t.Section("one_task on " + name + ": start, one job, end, over HTTP; confidential")
	t.AtLeast("completed instances", r.Confidential.Rate, floors.rate, "/s")
	if r.Half != nil {
		label := fmt.Sprintf("p99 at half of that (%.0f /s)", r.Half.Rate)
		if floors.p99 > 0 {
			t.Below(label, r.Half.P99, floors.p99, "ms")
		} else {
			t.Show(label, r.Half.P99, "ms")
		}
		t.Show("median at half of that", r.Half.P50, "ms")
	}
	t.Show("completed instances, standard mode", r.Standard.Rate, "/s")
	t.AtLeast("confidential / standard", r.Ratio, 0.9, "")
	return nil
}
