package main

import "context"

type workerCmd struct {
	Type    string   `arg:"" help:"Type of the jobs."`
	Command []string `arg:"" passthrough:"partial" help:"The command, after --."`
	clientFlags
}

func (workerCmd) Help() string { return talksToServer }
func (c *workerCmd) Run(ctx context.Context, e *env) error { return nil }
