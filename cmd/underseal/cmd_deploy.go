package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strconv"

	"github.com/underseal/underseal/api"
)

type deployCmd struct {
	Files []string `arg:"" help:"Models (.bpmn) and what they name: forms." placeholder:"FILE"`
	clientFlags
}

func (deployCmd) Help() string { return talksToServer }

func (c *deployCmd) Run(ctx context.Context, e *env) error {
	files := make([]api.File, len(c.Files))
	for i, path := range c.Files {
		content, err := e.readInput(path)
		if err != nil {
			return err
		}
		files[i] = api.File{Name: filepath.Base(path), Content: content}
	}
	cl, err := e.connect()
	if err != nil {
		return err
	}
	made, err := cl.Deploy(ctx, files...)
	if err != nil {
		return err
	}
	return e.result(made, func(w io.Writer) {
		for _, p := range made.Processes {
			what := "deployed"
			if p.Unchanged {
				what = "unchanged:"
			}
			fmt.Fprintln(w, what, printable(p.ID), "version", strconv.Itoa(p.Version)+",", p.Mode)
		}
	})
}
