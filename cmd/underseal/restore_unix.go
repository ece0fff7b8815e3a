//go:build !windows

package main

import (
	"context"

	"github.com/underseal/underseal/internal/node"
)

// goOnRestored starts once with data that may be older than what was signed of it.
func goOnRestored(ctx context.Context, e *env) error {
	if err := forbidCoreDumps(); err != nil {
		return err
	}
	config, err := e.settings.nodeConfig()
	if err != nil {
		return err
	}
	config.Create, config.Restored, config.Log = false, true, e.logger()
	n, err := node.Open(ctx, config)
	if err != nil {
		return err
	}
	return n.Close()
}
