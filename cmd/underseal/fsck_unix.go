//go:build !windows

package main

import (
	"context"
	"errors"

	"github.com/underseal/underseal/internal/node"
)

// check checks the database of the settings part by part.
func (c *fsckCmd) check(ctx context.Context, e *env, path string, state *fsckState) error {
	if err := forbidCoreDumps(); err != nil {
		return err
	}
	config, err := e.settings.nodeConfig()
	if err != nil {
		return err
	}
	p := &progress{e: e, path: path, state: state}
	err = node.Check(ctx, config, node.CheckConfig{WithoutKeys: c.WithoutKeys, Begin: state.of, Files: c.Files, FileRate: e.settings.CheckFilesRate, State: state.Tenants, Part: p.part})
	if err != nil && len(state.Tenants) > 0 {
		return errors.Join(err, state.save(path))
	}
	return err
}
