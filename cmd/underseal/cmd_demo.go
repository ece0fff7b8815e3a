package main

import "context"

type demoCmd struct {
	Once bool   `help:"End after the walk instead of serving on."`
	Out  string `help:"Where to write the evidence that an auditor gets." placeholder:"DIR" type:"existingdir" default:"."`
}

func (demoCmd) Help() string {
	return standsAlone + " Starts a server of its own, in a temporary directory on a free port, and reads its database file from outside to show what is in there. Then it exports evidence of a decision, verifies it as an auditor would, changes copies of the database as its administrator could, and shows that each change is named."
}

func (c *demoCmd) Run(ctx context.Context, e *env) error { return demonstrate(ctx, e, c.Once, c.Out) }
