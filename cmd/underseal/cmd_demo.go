package main

import "context"

type demoCmd struct {
	Once bool `help:"End after the walk instead of serving on."`
}

func (demoCmd) Help() string {
	return talksToServer + " Starts one of its own, in a temporary directory on a free port, and reads its database file from outside to show what is in there."
}

func (c *demoCmd) Run(ctx context.Context, e *env) error { return demonstrate(ctx, e, c.Once) }
