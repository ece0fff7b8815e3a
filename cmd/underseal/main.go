// Command underseal is the one binary of Underseal: the server and the client
// commands that talk to it.
//
// Results go to stdout, everything else to stderr; an error is one line
// "error: .." followed by a line "hint: .." where there is one, and its kind
// decides the exit code (docs/exit-codes.md). A setting comes from a flag, else
// from the environment, else from the configuration file (config.go).
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(mainCode()) }

// mainCode is the program with the process's own arguments, streams and signals.
// The first signal asks it to end in order; the second one kills it.
func mainCode() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}
