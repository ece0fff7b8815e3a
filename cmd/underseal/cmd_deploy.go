package main

import (
	"bytes"
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

func (deployCmd) Help() string {
	return talksToServer + " Says of each process in which mode new instances will be: confidential encrypts every field, standard only what the policy names." + `

    underseal deploy loan.bpmn decide.schema.json    # the model and its forms together`
}

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
	if err := e.result(made, func(w io.Writer) { writeDeployment(w, made) }); err != nil || e.json {
		return err
	}
	return e.hintMode(files, made.Processes)
}

func writeDeployment(w io.Writer, made api.Deployment) {
	for _, p := range made.Processes {
		what := "deployed"
		if p.Unchanged {
			what = "unchanged:"
		}
		fmt.Fprintln(w, what, printable(p.ID), "version", strconv.Itoa(p.Version)+",", modeText(p.Mode))
	}
	if p := made.Pending; p != nil {
		fmt.Fprintf(w, "nothing is deployed yet: somebody else approves it by %s\n", stamp(p.Expires))
		fmt.Fprintf(w, "  underseal processes approve %s\n", printable(p.ID))
	}
}

// modeText is a mode with what it means where that may surprise.
func modeText(mode string) string {
	if mode == "standard" {
		return "standard: only fields classed confidential or regulated, or about a person, are encrypted"
	}
	return mode
}

// hintMode tells who deployed a standard process how to have all of it encrypted,
// unless the files say that they mean it.
func (e *env) hintMode(files []api.File, deployed []api.Process) error {
	for _, f := range files {
		if bytes.Contains(f.Content, []byte("seal:mode")) {
			return nil
		}
	}
	for _, p := range deployed {
		if p.Mode == "standard" && p.ModeSource == "model" {
			_, err := fmt.Fprintf(e.stderr, "hint: seal:mode=\"confidential\" in the model, or underseal processes mode %s confidential, encrypts every field\n", printable(p.ID))
			return err
		}
	}
	return nil
}
