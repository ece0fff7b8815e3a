package main

import (
	"context"
	"fmt"
	"io"

	"github.com/underseal/underseal/api"
)

type startCmd struct {
	Process        string `arg:"" help:"Id of the process."`
	Version        int    `help:"Version of the process (default: the newest)." placeholder:"N"`
	BusinessKey    string `help:"Your own name for the instance; kept as a search token." placeholder:"TEXT"`
	IdempotencyKey string `help:"Makes the command repeatable: the same key starts no second instance." placeholder:"TEXT"`
	variableFlags
	fileFlags
	clientFlags
}

func (startCmd) Help() string {
	return talksToServer + ` Prints the id of the instance. It takes the role Executor, or a grant to start.

    underseal start loan --data application.json
    id=$(underseal start loan --data application.json --business-key K-17)
    underseal start loan --data application.json --file payslip=slip.pdf`
}

func (c *startCmd) Run(ctx context.Context, e *env) error {
	variables, err := c.variables(e)
	if err != nil {
		return err
	}
	cl, err := e.connect()
	if err != nil {
		return err
	}
	if variables, err = c.attach(ctx, e, cl, variables); err != nil {
		return err
	}
	if c.IdempotencyKey != "" {
		cl = cl.Idempotent(c.IdempotencyKey)
	}
	receipt, err := cl.Start(ctx, api.StartRequest{
		Process: c.Process, Version: c.Version, BusinessKey: c.BusinessKey, Variables: variables,
	})
	if err != nil {
		return err
	}
	return e.result(receipt, func(w io.Writer) { fmt.Fprintln(w, receipt.Instance) })
}

// done prints the receipt of a change.
func (e *env) done(what string, receipt api.Receipt) error {
	return e.result(receipt, func(w io.Writer) {
		fmt.Fprintf(w, "%s: instance %s, step %d, leaf %s\n", what, receipt.Instance, receipt.Seq, receipt.Leaf)
	})
}
