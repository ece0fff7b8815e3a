//go:build !windows

package main

import (
	"context"

	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/node"
)

// goOnRestored starts once with data that may be older than what was signed of it, and
// returns the logs that go on.
func goOnRestored(ctx context.Context, e *env) ([]engine.Reopened, error) {
	if err := forbidCoreDumps(); err != nil {
		return nil, err
	}
	config, err := e.settings.nodeConfig()
	if err != nil {
		return nil, err
	}
	config.Create, config.Restored, config.Log = false, true, e.logger()
	n, err := node.Open(ctx, config)
	if err != nil {
		return nil, err
	}
	return n.Reopened, n.Close()
}
