package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/underseal/underseal/api"
)

type processesCmd struct {
	List processesListCmd `cmd:"" default:"withargs" help:"List the newest version of each process."`
	Mode processesModeCmd `cmd:"" help:"Set whether new instances of a process are confidential."`

	Pending  processesPendingCmd  `cmd:"" help:"List deployments that wait for a second person."`
	Approve  processesApproveCmd  `cmd:"" help:"Deploy what somebody else proposed."`
	Withdraw processesWithdrawCmd `cmd:"" help:"End a deployment that waits for a second person."`
}

func (processesCmd) Help() string { return withoutCommand("processes") }

// pageFlags are the options of every list.
type pageFlags struct {
	After string `help:"Go on after this cursor; it comes with the page before." placeholder:"CURSOR"`
	Limit int    `help:"How many, at most 1000 (default: 50)." placeholder:"N"`
}

func (f pageFlags) page() api.Page { return api.Page{After: f.After, Limit: f.Limit} }

type processesListCmd struct {
	pageFlags
	clientFlags
}

func (processesListCmd) Help() string { return talksToServer }

func (c *processesListCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	list, err := cl.Processes(ctx, c.page())
	if err != nil {
		return err
	}
	return e.result(list, func(w io.Writer) {
		var rows [][]string
		for _, p := range list.Items {
			rows = append(rows, []string{p.ID, strconv.Itoa(p.Version), p.Mode, p.ModeSource, p.Name, stamp(p.Deployed)})
		}
		table(w, []string{"PROCESS", "VERSION", "MODE", "SET BY", "NAME", "DEPLOYED"}, rows)
		more(w, list.Next)
	})
}

type processesModeCmd struct {
	Process string `arg:"" help:"Id of the process."`
	Mode    string `arg:"" enum:"standard,confidential,model" help:"standard, confidential, or model to follow the model again."`
	clientFlags
}

func (processesModeCmd) Help() string {
	return talksToServer + " Instances that exist keep the mode they started with. Where two people deploy what is confidential, they also make it less so."
}

func (c *processesModeCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	p, err := cl.SetMode(ctx, c.Process, c.Mode)
	if err != nil {
		return err
	}
	return e.result(p, func(w io.Writer) {
		if p.Pending != nil {
			fmt.Fprintf(w, "%s waits for somebody else to approve it: underseal processes approve %[1]s\n", printable(p.Pending.ID))
		}
		fmt.Fprintf(w, "new instances of %s are %s (set by: %s)\n", printable(p.ID), p.Mode, p.ModeSource)
	})
}
