package main

import (
	"context"

	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
)

func initialize(context.Context, *env, bool, string) (made, error) { return made{}, onlyClient("init") }

func serve(context.Context, *env) error { return onlyClient("serve") }

func demonstrate(context.Context, *env, bool, string) error { return onlyClient("demo") }

func onlyClient(command string) error {
	return fault.New(fault.Invalid, "%s does not run on Windows", command).WithCode("platform").
		WithHint("run the server on Linux or macOS; all commands that talk to a server work here")
}

func (c *fsckCmd) check(context.Context, *env, string, *fsckState) error { return onlyClient("fsck") }

func goOnRestored(context.Context, *env) ([]engine.Reopened, error) {
	return nil, onlyClient("restore")
}
