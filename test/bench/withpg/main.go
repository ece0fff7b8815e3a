// Command withpg runs another command with a Postgres server of its own: the
// variable UNDERSEAL_BENCH_POSTGRES names an empty database on it, with fsync on.
//
//	go run ./test/bench/withpg go run ./test/bench/onetask -database env:UNDERSEAL_BENCH_POSTGRES
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/underseal/underseal/internal/pgtest"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, command []string) (err error) {
	if len(command) == 0 {
		return errors.New("usage: withpg COMMAND [ARGUMENT]")
	}
	cluster, err := pgtest.Start()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Stop()) }()
	dsn, err := cluster.CreateDatabase(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.DropDatabase(ctx, dsn)) }()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "UNDERSEAL_BENCH_POSTGRES="+dsn)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}
